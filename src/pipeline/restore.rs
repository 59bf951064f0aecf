//! Going on where another judge stopped: its records are read on threads of their own, and what the
//! source's log looks like now decides where reading begins.
//!
//! A partition is not judged until this has ended. Nothing here is ever skipped in silence: a log
//! that is not the one that was judged, or that has lost records, is a finding ([`LogChange`]) with a
//! counter and an alert.

use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::kafka::{
    ClientSettings, KafkaError, LogReader, PartitionReader, Shown, SourceEnds, TopicPartition,
};
use crate::kill_point::{self, Point};
use crate::pipeline::clock::Moment;
use crate::pipeline::watch::{FOREIGN_MAX, Looking, Seen, answers};
use crate::state::changelog::{Restored, Restoring};
use crate::state::foreign::{Written, foreign};
use crate::state::mac::MacKeys;
use crate::telemetry::SourceLogChanged;

/// What there is to know of a partition before it is judged.
#[derive(Debug)]
pub struct Found {
    /// What was written down.
    pub restored: Restored,
    /// What there is of the source.
    pub ends: SourceEnds,
    /// The offset of the state topic's partition before which all was read.
    pub state_end: i64,
    /// How long it took to find.
    pub took: Duration,
}

/// Something that happened to a source's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogChange {
    /// Records between these offsets were deleted before they were judged.
    Overtaken {
        /// Where reading should have gone on.
        from: i64,
        /// The oldest record there is.
        oldest: i64,
    },
    /// It ends before what was judged, or holds another record where the last one judged stood: the
    /// topic was made anew, or its end was cut off. What is there is read from its beginning.
    Replaced {
        /// The offset that was to be read next.
        expected: i64,
        /// The end that was found.
        end: i64,
    },
    /// The topic has another number of partitions: keys lead to other partitions than before, where
    /// their agents are not known.
    Repartitioned {
        /// The number before.
        before: i32,
        /// The number now.
        now: i32,
    },
}

impl LogChange {
    /// The label of its metric.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Overtaken { .. } => "overtaken",
            Self::Replaced { .. } => "replaced",
            Self::Repartitioned { .. } => "repartitioned",
        }
    }

    /// What is told of it, as it happened to a partition of `topic`.
    #[must_use]
    pub fn in_partition(self, topic: &str, partition: i32) -> SourceLogChanged<'_> {
        let (expected, found, lost) = match self {
            Self::Overtaken { from, oldest } => (from, oldest, oldest - from),
            Self::Replaced { expected, end } => (expected, end, 0),
            Self::Repartitioned { before, now } => (before.into(), now.into(), 0),
        };
        SourceLogChanged { topic, partition, change: self.as_str(), expected, found, lost }
    }
}

/// How to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoOn {
    /// The offset to read from.
    pub from: i64,
    /// How often the log was replaced, this time included.
    pub log: u32,
    /// Whether the positions that were written down are those of this log.
    pub is_same_log: bool,
    /// What happened to it.
    pub changes: Vec<LogChange>,
}

/// Where to go on, by what was written down and what there is.
#[must_use]
pub fn go_on(restored: &Restored, ends: &SourceEnds, from_earliest: bool) -> GoOn {
    let SourceEnds { low, high, committed, .. } = *ends;
    let mut changes = Vec::new();
    let Some(marker) = &restored.marker else {
        let begin = if from_earliest { low } else { high };
        let from = match committed {
            Some(committed) if committed > high => {
                changes.push(LogChange::Replaced { expected: committed, end: high });
                low
            }
            Some(committed) if committed < low => {
                changes.push(LogChange::Overtaken { from: committed, oldest: low });
                low
            }
            Some(committed) => committed,
            None => begin,
        };
        return GoOn { from, log: 0, is_same_log: true, changes };
    };
    if marker.partitions != ends.partitions && marker.partitions > 0 && ends.partitions > 0 {
        let (before, now) = (marker.partitions, ends.partitions);
        changes.push(LogChange::Repartitioned { before, now });
    }
    let log = marker.stamp.log;
    let expected = marker.reached.next_offset.unwrap_or(low);
    let is_other = match (marker.last, ends.digest) {
        (Some((_, known)), Some(found)) => known != found,
        _ => false,
    };
    // A flush that was cut off may have written agents beyond the marker.
    let expected = restored.floor.map_or(expected, |floor| floor.max(expected));
    if expected > high || is_other {
        changes.push(LogChange::Replaced { expected, end: high });
        return GoOn { from: low, log: log.saturating_add(1), is_same_log: false, changes };
    }
    let from = marker.reached.read_from().unwrap_or(low);
    if from < low {
        changes.push(LogChange::Overtaken { from, oldest: low });
    }
    GoOn { from: from.max(low), log, is_same_log: true, changes }
}

/// What is asked of whoever reads partitions back. Dropped, it has failed.
pub struct Request(Asking, MacKeys);

enum Asking {
    Restore {
        name: TopicPartition,
        answer: Sender<Result<Found, KafkaError>>,
    },
    Look {
        name: TopicPartition,
        seen: i64,
        written: Written,
        answer: Sender<Result<Seen, KafkaError>>,
    },
}

/// Who reads partitions back: threads, or a simulation.
#[derive(Clone, Debug)]
pub struct Restorer {
    requests: Sender<Request>,
    keys: MacKeys,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Asking::Restore { name, .. } | Asking::Look { name, .. }) = &self.0;
        f.debug_struct("Request").field("name", name).finish_non_exhaustive()
    }
}

impl Request {
    /// Answers by what `reader` reads of the topic `state`. `tools_max` is how many tools an agent
    /// may remember.
    pub fn answer(
        self,
        reader: Result<&dyn LogReader, KafkaError>,
        state: &Arc<str>,
        tools_max: usize,
    ) {
        let of = |name: &TopicPartition| TopicPartition {
            topic: Arc::clone(state),
            partition: name.partition,
        };
        let Self(asking, keys) = self;
        // Nobody listens when the partition has gone meanwhile.
        match asking {
            Asking::Restore { name, answer } => {
                let found = reader.and_then(|it| find((it, &keys), &name, &of(&name), tools_max));
                drop(answer.send(found));
            }
            Asking::Look { name, seen, written, answer } => {
                let (source, seen) = (&*name.topic, (seen, &written));
                let found = reader.and_then(|it| look((it, &keys), source, &of(&name), seen));
                drop(answer.send(found));
            }
        }
    }
}

/// An answer that is on its way.
#[derive(Debug)]
pub struct Answer(Receiver<Result<Found, KafkaError>>);

/// Whether an answer has come.
#[derive(Debug)]
pub enum Asked {
    /// Not yet.
    Waiting,
    /// It has.
    Found(Box<Found>),
    /// The cluster did not answer; it may be asked again.
    Failed(String),
}

impl Restorer {
    /// One whose requests are answered by whoever has the other end.
    #[must_use]
    pub fn asking() -> (Self, Receiver<Request>) {
        let (requests, queue) = mpsc::channel();
        (Self { requests, keys: MacKeys::default() }, queue)
    }

    /// `threads` that read from the topic `state`, whose records are signed with `keys`, for the
    /// consumer group `group`. They end when the last handle is dropped. `tools_max` is how many
    /// tools an agent may remember.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started.
    pub fn start(
        client: &ClientSettings,
        (group, state, keys): (&str, Arc<str>, MacKeys),
        tools_max: usize,
        threads: usize,
    ) -> std::io::Result<Self> {
        let (mut restorer, queue) = Self::asking();
        restorer.keys = keys;
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..threads {
            let (queue, client, group) = (Arc::clone(&queue), client.clone(), group.to_owned());
            let state = Arc::clone(&state);
            std::thread::Builder::new().name(format!("restore-{number}")).spawn(move || {
                let mut known = None;
                loop {
                    let request = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(request) = request else { return };
                    // A client is kept, for making one means connecting and logging in anew.
                    let reader =
                        known.take().map_or_else(|| PartitionReader::new(&client, &group), Ok);
                    match reader {
                        Ok(reader) => {
                            request.answer(Ok(&reader), &state, tools_max);
                            known = Some(reader);
                        }
                        Err(error) => request.answer(Err(error), &state, tools_max),
                    }
                }
            })?;
        }
        Ok(restorer)
    }

    /// Asks for a partition.
    #[must_use]
    pub fn ask(&self, name: &TopicPartition) -> Answer {
        let (answer, answers) = mpsc::channel();
        self.send(Asking::Restore { name: name.clone(), answer });
        Answer(answers)
    }

    /// Looks for records that the owner of the partition `name` did not write, from `seen` on.
    #[must_use]
    pub fn look(&self, name: &TopicPartition, seen: i64, written: Written) -> Looking {
        let (answer, looking) = answers();
        self.send(Asking::Look { name: name.clone(), seen, written, answer });
        looking
    }

    /// What the records it reads are signed with.
    #[must_use]
    pub const fn keys(&self) -> &MacKeys {
        &self.keys
    }

    fn send(&self, asking: Asking) {
        // The threads live as long as this handle.
        drop(self.requests.send(Request(asking, self.keys.clone())));
    }
}

impl Answer {
    /// Whether it has come; asked once it has, it is gone.
    #[must_use]
    pub fn look(&self) -> Asked {
        match self.0.try_recv() {
            Ok(Ok(found)) => Asked::Found(Box::new(found)),
            Ok(Err(error)) => Asked::Failed(error.to_string()),
            Err(TryRecvError::Empty) => Asked::Waiting,
            Err(TryRecvError::Disconnected) => Asked::Failed("its thread has ended".to_owned()),
        }
    }
}

fn find(
    (reader, keys): (&dyn LogReader, &MacKeys),
    name: &TopicPartition,
    state: &TopicPartition,
    tools_max: usize,
) -> Result<Found, KafkaError> {
    let began = Moment::now();
    let mut restoring = Restoring::new(Arc::clone(&name.topic), tools_max);
    let state_end = reader.read_shown(state, &mut |Shown { key, value, code, .. }| {
        kill_point::hit(Point::Restoring);
        restoring.take_checked(key, value, keys.check(state.partition, (key, value), code));
    })?;
    let restored = restoring.finish();
    let last = restored.marker.as_ref().and_then(|marker| marker.last);
    let ends = reader.source_ends(name, last.map(|(offset, _)| offset))?;
    Ok(Found { restored, ends, state_end, took: began.elapsed() })
}

/// Reads what stands between the owner's own records, about the source topic `source`.
fn look(
    (reader, keys): (&dyn LogReader, &MacKeys),
    source: &str,
    state: &TopicPartition,
    (seen, written): (i64, &Written),
) -> Result<Seen, KafkaError> {
    let high = reader.end(state)?;
    let mut out = Seen { end: high, foreign: Vec::new() };
    let Some(gap) = written.gap(seen, high) else { return Ok(out) };
    reader.read_between_shown(state, gap, &mut |Shown { offset, key, value, code }| {
        // What nobody vouches for names no writer, whatever it says.
        let is_good = keys.check(state.partition, (key, value), code).is_good();
        let value = value.filter(|_| is_good);
        if out.foreign.len() < FOREIGN_MAX && !written.holds(offset) {
            out.foreign.extend(foreign(source, offset, key, value));
            if out.foreign.len() >= FOREIGN_MAX {
                out.end = offset.saturating_add(1);
            }
        }
    })?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::changelog::{Marker, Stamp};
    use crate::state::reached::Reached;

    const ENDS: SourceEnds =
        SourceEnds { low: 10, high: 100, committed: Some(50), partitions: 4, digest: Some(7) };

    fn restored(next: i64, held: &[(i64, u32)]) -> Restored {
        let reached =
            Reached { next_offset: Some(next), held: held.to_vec(), ..Reached::default() };
        let stamp = Stamp { log: 2, cut: next, flush: 9, owner: 1, ..Stamp::default() };
        let last = Some((next - 1, 7));
        let marker = Marker { stamp, reached, partitions: 4, last, ..Marker::default() };
        Restored { marker: Some(marker), ..Restored::default() }
    }

    fn ways(restored: &Restored, ends: &SourceEnds) -> (i64, u32, Vec<&'static str>) {
        let way = go_on(restored, ends, true);
        (way.from, way.log, way.changes.iter().map(|change| change.as_str()).collect())
    }

    #[test]
    fn reading_goes_on_at_the_first_call_that_was_held() {
        assert_eq!(ways(&restored(60, &[]), &ENDS), (60, 2, vec![]));
        assert_eq!(ways(&restored(60, &[(55, 0), (57, 1)]), &ENDS), (55, 2, vec![]));
        assert_eq!(ways(&restored(100, &[]), &ENDS), (100, 2, vec![]), "nothing has come since");
    }

    #[test]
    fn without_a_marker_it_begins_at_the_commit_or_where_the_configuration_says() {
        let nothing = Restored::default();
        assert_eq!(ways(&nothing, &ENDS), (50, 0, vec![]));
        let none = SourceEnds { committed: None, ..ENDS };
        assert_eq!(go_on(&nothing, &none, true).from, 10);
        assert_eq!(go_on(&nothing, &none, false).from, 100);
        let old = SourceEnds { committed: Some(3), ..ENDS };
        assert_eq!(ways(&nothing, &old), (10, 0, vec!["overtaken"]));
        let anew = SourceEnds { committed: Some(300), ..ENDS };
        assert_eq!(ways(&nothing, &anew), (10, 0, vec!["replaced"]));
    }

    #[test]
    fn records_that_retention_took_are_told_and_the_rest_is_read() {
        assert_eq!(ways(&restored(4, &[]), &ENDS), (10, 2, vec!["overtaken"]));
    }

    #[test]
    fn a_log_that_ends_too_early_or_holds_another_record_is_another_log() {
        let way = go_on(&restored(101, &[]), &ENDS, true);
        assert_eq!((way.from, way.log, way.is_same_log), (10, 3, false));
        assert_eq!(way.changes, [LogChange::Replaced { expected: 101, end: 100 }]);
        let other = SourceEnds { digest: Some(8), ..ENDS };
        assert_eq!(ways(&restored(60, &[]), &other), (10, 3, vec!["replaced"]));
        let gone = SourceEnds { digest: None, ..ENDS };
        assert_eq!(ways(&restored(60, &[]), &gone), (60, 2, vec![]), "retention took that record");
    }

    #[test]
    fn another_number_of_partitions_is_told() {
        let more = SourceEnds { partitions: 6, ..ENDS };
        assert_eq!(ways(&restored(60, &[]), &more), (60, 2, vec!["repartitioned"]));
    }
}
