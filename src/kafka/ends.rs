//! Who asks the broker where partitions end, so that polling goes on without the answer.
//!
//! A question takes two round trips, and as long as may be while nothing answers. There is one
//! question a partition at a time, so what is held is bounded by the partitions of the topics.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::kafka::TopicPartition;

/// Where a partition begins and ends, and what its group has committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The oldest offset there is.
    pub(crate) low: i64,
    /// The offset that the next record gets.
    pub(crate) high: i64,
    /// What is committed, if anything is.
    pub(crate) committed: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
enum Question {
    /// Nobody has asked the broker yet. Whether it is to be asked for the commit, too.
    Open(bool),
    /// The thread asks it.
    Asked,
    /// What the broker said; `None` if it did not answer.
    Answered(Option<Ends>),
}

#[derive(Debug, Default)]
struct Slot {
    questions: BTreeMap<TopicPartition, Question>,
    ends: bool,
}

#[derive(Debug, Default)]
struct Shared {
    slot: Mutex<Slot>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread of one consumer that asks; it ends when dropped, after the question under way.
#[derive(Debug)]
pub(crate) struct EndAsker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl EndAsker {
    /// A thread that calls `ask` for each partition somebody wants to know of; its second argument
    /// is whether the commit is wanted, too, which another broker may know.
    pub(crate) fn start(
        ask: impl Fn(&TopicPartition, bool) -> Option<Ends> + Send + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let working = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("end-asker".to_owned()).spawn(move || {
            while let Some((partition, with_commit)) = next(&working) {
                let ends = ask(&partition, with_commit);
                // Whoever has asked again meanwhile wants to know what is true since then.
                if let Some(it @ Question::Asked) = working.lock().questions.get_mut(&partition) {
                    *it = Question::Answered(ends);
                }
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Asks where `partition` ends; an earlier answer is forgotten.
    pub(crate) fn ask(&self, partition: &TopicPartition, with_commit: bool) {
        self.shared.lock().questions.insert(partition.clone(), Question::Open(with_commit));
        self.shared.changed.notify_all();
    }

    /// The answer to the last question about `partition`; `None` until it has come.
    pub(crate) fn answer(&self, partition: &TopicPartition) -> Option<Ends> {
        let question = self.shared.lock().questions.get(partition).copied()?;
        match question {
            Question::Answered(ends) => ends,
            Question::Open(_) | Question::Asked => None,
        }
    }

    /// Ends the thread, after the question under way.
    pub(crate) fn end(&mut self) {
        self.shared.lock().ends = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there has been told, and there is nothing more to ask.
            drop(thread.join());
        }
    }
}

impl Drop for EndAsker {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits for a question. Returns what it is about, `None` at the end.
fn next(shared: &Shared) -> Option<(TopicPartition, bool)> {
    let mut slot = shared.lock();
    loop {
        if slot.ends {
            return None;
        }
        for (partition, question) in &mut slot.questions {
            if let Question::Open(with_commit) = *question {
                *question = Question::Asked;
                return Some((partition.clone(), with_commit));
            }
        }
        slot = shared.changed.wait(slot).unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn partition(number: i32) -> TopicPartition {
        TopicPartition { topic: "calls".into(), partition: number }
    }

    fn ends(high: i64) -> Ends {
        Ends { low: 0, high, committed: None }
    }

    #[test]
    fn an_answer_to_an_earlier_question_is_none_to_a_later_one() {
        let (asked, asks) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let asker = EndAsker::start(move |partition, with_commit| {
            asked.send((partition.partition, with_commit)).unwrap();
            answers.recv().unwrap()
        });
        let mut asker = asker.unwrap();
        asker.ask(&partition(1), false);
        assert_eq!(asks.recv().unwrap(), (1, false));
        // Asked again, and another one, while the broker does not answer.
        asker.ask(&partition(1), false);
        asker.ask(&partition(2), true);
        assert_eq!(asker.answer(&partition(1)), None);
        answer.send(Some(ends(10))).unwrap();
        assert_eq!(asks.recv().unwrap(), (1, false), "the question that is still open");
        assert_eq!(asker.answer(&partition(1)), None, "it may have grown since");
        answer.send(Some(ends(11))).unwrap();
        assert_eq!(asks.recv().unwrap(), (2, true));
        assert_eq!(asker.answer(&partition(1)), Some(ends(11)));
        answer.send(None).unwrap();
        asker.end();
        assert_eq!(asker.answer(&partition(2)), None, "the broker did not answer");
    }
}
