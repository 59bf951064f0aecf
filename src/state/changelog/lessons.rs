//! What one open epoch taught about one group, as it is read back: of several records the newest
//! that the marker knows of.

use std::collections::BTreeMap;

use crate::baseline::peers::GroupSummary;
use crate::state::changelog::Stamp;

/// Records of one key that are kept while a partition is read back: that of the marker, and what
/// owners before and after it wrote over.
const VERSIONS_MAX: usize = 3;

/// The records under the two keys of a lesson.
#[derive(Debug, Default)]
pub(super) struct Versions(BTreeMap<bool, BTreeMap<Stamp, GroupSummary>>);

impl Versions {
    /// Takes a record under the first or the second key. Returns whether none of its key before it
    /// is newer.
    pub(super) fn take(&mut self, second: bool, (stamp, summary): (Stamp, GroupSummary)) -> bool {
        let versions = self.0.entry(second).or_default();
        let is_newer = versions.last_key_value().is_none_or(|(newest, _)| *newest <= stamp);
        versions.insert(stamp, summary);
        if versions.len() > VERSIONS_MAX {
            versions.pop_first();
        }
        is_newer
    }

    /// What stands under the first or the second key is deleted.
    pub(super) fn delete(&mut self, second: bool) {
        self.0.remove(&second);
    }

    /// The newest that a marker of this stamp knows of, and whether it stands under the second key:
    /// what was written after the marker belongs to a flush that never ended.
    pub(super) fn known_to(self, marker: Stamp) -> Option<(bool, GroupSummary)> {
        let newest = |(second, versions): (bool, BTreeMap<Stamp, GroupSummary>)| {
            let (stamp, summary) = versions.into_iter().rfind(|(stamp, _)| *stamp <= marker)?;
            Some((stamp, second, summary))
        };
        let newest = self.0.into_iter().filter_map(newest).max_by_key(|(stamp, ..)| *stamp);
        newest.map(|(_, second, summary)| (second, summary))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn stamp(cut: i64, owner: u64) -> Stamp {
        Stamp { log: 0, judged: 0, cut, flush: 3, owner }
    }

    #[test]
    fn what_a_flush_that_never_ended_wrote_does_not_hide_what_the_marker_knows() {
        for order in [[9, 5], [5, 9]] {
            let mut versions = Versions::default();
            let taken =
                order.map(|cut| versions.take(false, (stamp(cut, 1), GroupSummary::default())));
            assert_eq!(taken, [true, order == [5, 9]]);
            assert!(versions.known_to(stamp(7, 2)).is_some(), "{order:?}");
        }
        let mut versions = Versions::default();
        assert!(versions.take(true, (stamp(9, 1), GroupSummary::default())));
        assert!(versions.known_to(stamp(7, 2)).is_none());
    }

    #[test]
    fn the_newest_of_both_keys_counts_and_few_are_kept() {
        let mut versions = Versions::default();
        for cut in 0..100 {
            versions.take(cut % 2 == 1, (stamp(cut, 1), GroupSummary::default()));
        }
        assert!(versions.0.values().all(|it| it.len() == VERSIONS_MAX));
        versions.delete(true);
        let (second, _) = versions.known_to(stamp(99, 1)).unwrap();
        assert!(!second);
    }
}
