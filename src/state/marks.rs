//! How far each partition of a source has been seen in a partition of the calls topic: what ingest
//! wrote twice is known by it.
//!
//! Every writer writes a source partition's calls in their order and without a gap, and begins at
//! or below what was acknowledged when it began. So whatever several of them write, frozen ones
//! included, everything up to the highest place seen has been seen, and what lies at or below it is
//! a repeat. A source that was replaced by an empty one of the same name begins again at 0: there a
//! call at or below the mark was appended after every call seen, which no repeat can be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::Origin;

/// The most source partitions known in one partition of the calls topic; of more, the one whose
/// calls are oldest is forgotten.
pub const MARKS_MAX: usize = 8_192;

/// What a call is, by its place in its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// It was not seen before.
    First,
    /// It was seen before.
    Again,
    /// It was not seen before: the source is another log than the one that was read last.
    FirstOfAnotherLog,
}

/// How far one source partition was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    /// The highest offset, and place in its record.
    place: (i64, u32),
    /// The newest append time of any call seen, in milliseconds.
    append_ms: Option<i64>,
}

/// How far source partitions were seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks(BTreeMap<Box<str>, BTreeMap<i32, Mark>>);

impl Marks {
    /// Source partitions known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    /// Whether no source partition is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether what was read keeps the bound.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.len() <= MARKS_MAX
    }

    /// Notes a call. Returns what it is, and whether another source partition was forgotten for it.
    pub fn note(&mut self, origin: &Origin) -> (Sighting, bool) {
        let place = (origin.offset, origin.index);
        let known = self.0.get_mut(&origin.topic).and_then(|it| it.get_mut(&origin.partition));
        if let Some(mark) = known {
            let newest = mark.append_ms;
            mark.append_ms = newest.max(origin.append_ms);
            let is_beyond = place > mark.place;
            if !is_beyond && origin.append_ms <= newest {
                return (Sighting::Again, false);
            }
            mark.place = place;
            let first = if is_beyond { Sighting::First } else { Sighting::FirstOfAnotherLog };
            return (first, false);
        }
        let is_full = self.len() >= MARKS_MAX;
        if is_full {
            self.forget_oldest();
        }
        let mark = Mark { place, append_ms: origin.append_ms };
        self.0.entry(origin.topic.clone()).or_default().insert(origin.partition, mark);
        (Sighting::First, is_full)
    }

    /// Keeps the marks of those source topics only.
    pub fn keep(&mut self, is_read: impl Fn(&str) -> bool) {
        self.0.retain(|topic, _| is_read(topic));
    }

    fn forget_oldest(&mut self) {
        let all = self.0.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, mark)| (mark.append_ms, topic, *partition))
        });
        let Some((_, topic, partition)) = all.min() else { return };
        let topic = topic.clone();
        if let Some(partitions) = self.0.get_mut(&topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.0.remove(&topic);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin(partition: i32, offset: i64, index: u32, append_ms: i64) -> Origin {
        Origin { topic: "spans".into(), partition, offset, index, append_ms: Some(append_ms) }
    }

    #[test]
    fn a_call_at_or_below_the_mark_of_its_source_partition_is_a_repeat() {
        let mut marks = Marks::default();
        let sighting = |marks: &mut Marks, origin: Origin| marks.note(&origin).0;
        for (origin, expected) in [
            (origin(0, 5, 0, 100), Sighting::First),
            (origin(0, 5, 1, 100), Sighting::First),
            (origin(0, 5, 0, 100), Sighting::Again),
            (origin(1, 5, 0, 100), Sighting::First),
            (origin(0, 6, 0, 90), Sighting::First),
            (origin(0, 5, 1, 100), Sighting::Again),
            (origin(0, 6, 0, 90), Sighting::Again),
        ] {
            assert_eq!(sighting(&mut marks, origin.clone()), expected, "{origin:?}");
        }
        let timeless = Origin { append_ms: None, ..origin(0, 6, 0, 0) };
        assert_eq!(sighting(&mut marks, timeless), Sighting::Again);
    }

    #[test]
    fn a_source_that_was_replaced_is_read_from_its_beginning() {
        let mut marks = Marks::default();
        marks.note(&origin(0, 900, 0, 1_000));
        assert_eq!(marks.note(&origin(0, 0, 0, 1_001)).0, Sighting::FirstOfAnotherLog);
        assert_eq!(marks.note(&origin(0, 1, 0, 1_001)).0, Sighting::First);
        assert_eq!(marks.note(&origin(0, 1, 0, 1_001)).0, Sighting::Again);
    }

    #[test]
    fn marks_are_bounded_and_the_oldest_goes() {
        let mut marks = Marks::default();
        let max = i32::try_from(MARKS_MAX).unwrap();
        for partition in 0..max {
            let (_, forgot) = marks.note(&origin(partition, 0, 0, 10_000 - i64::from(partition)));
            assert!(!forgot);
        }
        assert_eq!(marks.note(&origin(max, 0, 0, 20_000)), (Sighting::First, true));
        assert_eq!(marks.len(), MARKS_MAX);
        assert!(marks.is_sound());
        assert_eq!(marks.note(&origin(0, 0, 0, 10_000)).0, Sighting::Again, "not the oldest");
        assert_eq!(marks.note(&origin(max - 1, 0, 0, 1)).0, Sighting::First, "the oldest");
        marks.keep(|topic| topic != "spans");
        assert!(marks.is_empty());
    }

    proptest! {
        /// Writers that stop anywhere, go on from what was acknowledged, and wake up late.
        #[test]
        fn whatever_several_writers_write_each_call_counts_once(
            starts in prop::collection::vec((0_i64..40, 1_i64..40), 1..6),
            picks in prop::collection::vec(0_usize..6, 0..400),
        ) {
            // Each begins at or below what was acknowledged when it began, and is cut off somewhere;
            // the last one writes to the end.
            const END: i64 = 60;
            let mut log = Vec::new();
            let mut writers: Vec<(i64, i64)> = Vec::new();
            let mut picks = picks.into_iter();
            for (number, (back, length)) in starts.iter().enumerate() {
                let contiguous = log.iter().copied().max().map_or(0, |max: i64| max + 1);
                let begin = (contiguous - back).max(0);
                let is_last = number + 1 == starts.len();
                writers.push((begin, if is_last { END } else { (begin + length).min(END) }));
                for pick in picks.by_ref().take(20) {
                    let pick = pick % writers.len();
                    let (next, end) = &mut writers[pick];
                    if next < end {
                        log.push(*next);
                        *next += 1;
                    }
                }
            }
            for (next, end) in writers.iter().rev() {
                log.extend(*next..*end);
            }
            let mut marks = Marks::default();
            let mut counted = Vec::new();
            for offset in log {
                if marks.note(&origin(0, offset, 0, offset)).0 != Sighting::Again {
                    counted.push(offset);
                }
            }
            prop_assert_eq!(counted, (0..END).collect::<Vec<_>>());
        }
    }
}
