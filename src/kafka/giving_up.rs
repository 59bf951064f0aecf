//! A consumer that can never go on tells whoever has to end the process.

use tokio::sync::watch;

/// Why a consumer can never go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaveUp {
    /// Another process has joined the group as the same static member.
    Replaced,
    /// librdkafka says that only a new start helps.
    Broken,
}

/// Where consumers say that they can never go on; clones speak to the same listener.
#[derive(Clone, Debug, Default)]
pub struct GivingUp(watch::Sender<Option<GaveUp>>);

impl GivingUp {
    /// Says why; the first reason stays.
    pub(crate) fn say(&self, why: GaveUp) {
        self.0.send_if_modified(|said| {
            let is_first = said.is_none();
            said.get_or_insert(why);
            is_first
        });
    }

    /// Waits until a consumer can never go on.
    pub async fn said(&self) -> GaveUp {
        let mut heard = self.0.subscribe();
        loop {
            let why = *heard.borrow_and_update();
            if let Some(why) = why {
                return why;
            }
            if heard.changed().await.is_err() {
                // Nobody is left who could say anything.
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{GaveUp, GivingUp};

    #[tokio::test]
    async fn the_first_reason_is_heard_before_and_after_it_is_said() {
        let giving_up = GivingUp::default();
        let early = {
            let heard = giving_up.clone();
            tokio::spawn(async move { heard.said().await })
        };
        tokio::task::yield_now().await;
        assert!(!early.is_finished());
        giving_up.say(GaveUp::Replaced);
        giving_up.say(GaveUp::Broken);
        assert_eq!(early.await.unwrap(), GaveUp::Replaced);
        assert_eq!(giving_up.said().await, GaveUp::Replaced);
    }
}
