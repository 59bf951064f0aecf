//! Facts of one process, put into epochs and handed back two epochs later.
//!
//! For readers that see every partition themselves: `replay`, rule tests, the demo. What several
//! instances share goes through Kafka and is not this.

use std::collections::BTreeMap;

use crate::baseline::peers::{EPOCHS_BEHIND, Fact, GroupKey, GroupSummary, Peers};

/// The open epochs and what the closed ones taught.
#[derive(Clone, Debug)]
pub struct Epochs {
    open: BTreeMap<i64, BTreeMap<GroupKey, GroupSummary>>,
    peers: Peers,
}

impl Default for Epochs {
    fn default() -> Self {
        Self {
            open: BTreeMap::new(),
            peers: Peers::default().with_epoch(i64::MIN, std::iter::empty()),
        }
    }
}

impl Epochs {
    /// The peers that an event of epoch `hour` is judged against. Never goes back: an older event
    /// is judged by what the newest one saw.
    pub fn peers(&mut self, hour: i64) -> &Peers {
        let known = hour.saturating_sub(EPOCHS_BEHIND);
        if known > self.peers.epoch {
            let later = self.open.split_off(&known.saturating_add(1));
            let closed = std::mem::replace(&mut self.open, later);
            for (epoch, groups) in &closed {
                let summaries = groups.iter().map(|(key, summary)| (*key, summary));
                self.peers = self.peers.with_epoch(*epoch, summaries);
            }
            self.peers.epoch = known;
        }
        &self.peers
    }

    /// Takes the facts that an event of epoch `hour` gave. Facts of an epoch that is closed join
    /// the first one that is open.
    pub fn learn(&mut self, hour: i64, group: GroupKey, facts: &[Fact]) {
        for fact in facts {
            let epoch = fact.epoch().unwrap_or(hour).max(self.peers.epoch.saturating_add(1));
            let summary = self.open.entry(epoch).or_default().entry(group).or_default();
            summary.add(fact.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupKey = GroupKey(1);

    fn agents(epochs: &mut Epochs, hour: i64) -> u64 {
        epochs.peers(hour).group(GROUP).map_or(0, |group| group.agents)
    }

    #[test]
    fn facts_are_known_two_epochs_later() {
        let mut epochs = Epochs::default();
        epochs.learn(10, GROUP, &[Fact::Agent]);
        assert_eq!((agents(&mut epochs, 11), agents(&mut epochs, 12)), (0, 1));
    }

    #[test]
    fn a_late_fact_joins_the_first_open_epoch() {
        let mut epochs = Epochs::default();
        assert_eq!(agents(&mut epochs, 12), 0);
        epochs.learn(3, GROUP, &[Fact::Agent]);
        assert_eq!((agents(&mut epochs, 12), agents(&mut epochs, 13)), (0, 1));
    }
}
