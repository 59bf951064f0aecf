//! Records in a partition of the state topic that its owner did not write.
//!
//! A process that was frozen and lost its partition may still have records on their way. They reach
//! the log after those of the next owner, and compaction then keeps only the older ones. So an owner
//! remembers the offsets of its own records: an offset between them is somebody else's. No record
//! has to be read to know that there is none.

use crate::state::changelog::{Stamp, Touched, read_stamp};

/// Offsets of records that were written and acknowledged, as spans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// First offset and the one after the last; in order, apart from each other.
    spans: Vec<(i64, i64)>,
}

impl Written {
    /// The record at `offset` is there.
    pub fn note(&mut self, offset: i64) {
        let place = self.spans.partition_point(|(_, end)| *end < offset);
        let next = offset.saturating_add(1);
        match self.spans.get_mut(place) {
            Some((first, _)) if *first > next => self.spans.insert(place, (offset, next)),
            Some((first, end)) => {
                *first = (*first).min(offset);
                *end = (*end).max(next);
                let end = *end;
                // It may have closed the gap before the next span.
                if let Some((_, last)) = self.spans.get(place + 1).filter(|(it, _)| *it <= end) {
                    let last = *last;
                    self.spans.remove(place + 1);
                    self.spans.iter_mut().skip(place).take(1).for_each(|it| it.1 = last);
                }
            }
            None => self.spans.push((offset, next)),
        }
    }

    /// Whether the record at `offset` is one of them.
    #[must_use]
    pub fn holds(&self, offset: i64) -> bool {
        self.spans.iter().any(|(first, end)| (*first..*end).contains(&offset))
    }

    /// The offset after the last of them.
    #[must_use]
    pub fn end(&self) -> Option<i64> {
        self.spans.last().map(|(_, end)| *end)
    }

    /// From the first offset at or after `from` and before `to` that is none of them to the one
    /// after the last such; `None` when all are.
    #[must_use]
    pub fn gap(&self, from: i64, to: i64) -> Option<(i64, i64)> {
        let (mut from, mut to) = (from, to);
        for (first, end) in &self.spans {
            if *first <= from && from < *end {
                from = *end;
            }
        }
        for (first, end) in self.spans.iter().rev() {
            if *first < to && to <= *end {
                to = *first;
            }
        }
        (from < to).then_some((from, to))
    }

    /// Forgets what lies below `offset`.
    pub fn forget_below(&mut self, offset: i64) {
        self.spans.retain(|(_, end)| *end > offset);
    }

    /// Spans kept.
    #[must_use]
    pub fn spans(&self) -> usize {
        self.spans.len()
    }
}

/// A record that somebody else wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Where it stands; -1 where only the order is known.
    pub offset: i64,
    /// What stands under its key.
    pub touched: Touched,
    /// When it was written and by whom; `None` for a deletion, and for bytes that are no record.
    pub stamp: Option<Stamp>,
}

/// What the record at `offset` says of the partition of `topic`; `None` when it is about another
/// source, or about nothing that is read back.
#[must_use]
pub fn foreign(topic: &str, offset: i64, key: &[u8], value: Option<&[u8]>) -> Option<Foreign> {
    let (touched, stamp) = read_stamp(topic, key, value)?;
    Some(Foreign { offset, touched, stamp })
}

/// What is to be done about the records between an owner's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What somebody with less right wrote over: it is to be written anew.
    pub heal: Vec<Foreign>,
    /// A record of somebody who took the partition over later: it is not ours any more.
    pub successor: Option<Foreign>,
}

/// Sorts foreign records by who has more right to the partition, this `owner` or their writer. Each
/// owner's number is higher than every number it found in the log, so the highest took over last. A
/// record of the same number is a repetition whose first acknowledgement was lost.
#[must_use]
pub fn judge(owner: u64, records: impl IntoIterator<Item = Foreign>) -> Findings {
    let mut findings = Findings::default();
    for record in records {
        match record.stamp.map(|stamp| stamp.owner) {
            Some(other) if other == owner => {}
            Some(other) if other > owner => {
                findings.successor.get_or_insert(record);
            }
            _ => findings.heal.push(record),
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(offsets: &[i64]) -> Written {
        let mut written = Written::default();
        offsets.iter().for_each(|offset| written.note(*offset));
        written
    }

    #[test]
    fn offsets_in_any_order_make_the_same_spans() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let mut offsets: Vec<i64> = (0..40).filter(|_| random.bool()).collect();
            let sorted = written(&offsets);
            random.shuffle(&mut offsets);
            let shuffled = written(&offsets);
            assert_eq!(shuffled, sorted);
            (0..40).for_each(|at| assert_eq!(shuffled.holds(at), offsets.contains(&at)));
            let others: Vec<i64> = (0..40).filter(|at| !offsets.contains(at)).collect();
            let gap = others.first().zip(others.last()).map(|(first, last)| (*first, last + 1));
            assert_eq!(shuffled.gap(0, 40), gap, "{shuffled:?}");
        }
    }

    #[test]
    fn acknowledgements_in_order_are_one_span_however_many() {
        let all: Vec<i64> = (100..10_000).collect();
        let mut written = written(&all);
        assert_eq!((written.spans(), written.end()), (1, Some(10_000)));
        assert_eq!(written.gap(100, 10_000), None);
        assert_eq!(written.gap(98, 10_002), Some((98, 10_002)));
        assert_eq!(written.gap(150, 10_002), Some((10_000, 10_002)));
        written.forget_below(10_000);
        assert_eq!(written.spans(), 0);
    }

    #[test]
    fn who_took_over_last_has_the_right_whatever_the_cut() {
        let record = |owner: Option<u64>, cut| Foreign {
            offset: 4,
            touched: Touched::Marker,
            stamp: owner.map(|owner| Stamp { owner, cut, ..Stamp::default() }),
        };
        let older = record(Some(4), 900);
        let deletion = record(None, 0);
        let newer = record(Some(6), 1);
        let found = judge(5, [older, record(Some(5), 3), deletion]);
        assert_eq!(found, Findings { heal: vec![older, deletion], successor: None });
        assert_eq!(judge(5, [older, newer]).successor, Some(newer));
    }
}
