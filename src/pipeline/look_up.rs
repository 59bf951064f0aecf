//! What one receiver has of a partition and where to go on with it, found on a thread of its own: the
//! partition is paused meanwhile and the group goes on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use crate::deliver::{KEEP, Record, Restoring};
use crate::event::Timestamp;
use crate::kafka::{
    ClientSettings, KafkaError, LogReader, PartitionReader, SourceEnds, TopicPartition,
};
use crate::pipeline::clock;

/// A receiver that never committed hears of alerts this far back: those written while the first
/// instance started, and not those of last month.
const NEW_RECEIVER: Duration = Duration::from_secs(3_600);

/// Before an alert that is no older than this by the clock here, for the clock may be ahead.
const CLOCK_AHEAD: Duration = Duration::from_secs(3 * 3_600);

/// How long to wait before a cluster that did not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What there is to know of a partition before alerts are taken.
#[derive(Debug)]
pub struct Found {
    /// What the log of deliveries says, by offset.
    pub records: Vec<Record>,
    /// Where to go on.
    pub from: i64,
    /// Alerts that went before they were told.
    pub overtaken: u64,
    /// Notes that could not be read.
    pub refused: u64,
}

/// Partitions that are asked for.
pub type Questions = Receiver<TopicPartition>;

/// Where what was found goes.
pub type Answers = Sender<(TopicPartition, Found)>;

/// Who finds it: a thread, or a simulation.
#[derive(Debug)]
pub struct LookUp {
    questions: Sender<TopicPartition>,
    answers: Receiver<(TopicPartition, Found)>,
}

impl LookUp {
    /// One whose questions are answered by whoever has the other ends.
    #[must_use]
    pub fn asking() -> (Self, Questions, Answers) {
        let (questions, asked) = mpsc::channel();
        let (found, answers) = mpsc::channel();
        (Self { questions, answers }, asked, found)
    }

    /// Starts the thread for `receiver`, whose consumer group is `group`; it ends with this handle.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started.
    pub fn start(
        client: &ClientSettings,
        (group, deliveries, receiver): (&str, Arc<str>, &str),
    ) -> std::io::Result<Self> {
        let (look_up, asked, found) = Self::asking();
        let (client, group, receiver) = (client.clone(), group.to_owned(), receiver.to_owned());
        std::thread::Builder::new().name(format!("look-up-{receiver}")).spawn(move || {
            answer(&asked, &found, ASK_AGAIN, &mut |name| {
                let reader = PartitionReader::new(&client, &group);
                let it = reader.and_then(|it| find(&it, (name, &deliveries), &receiver));
                it.inspect_err(|error| {
                    tracing::warn!(receiver, partition = name.partition, %error,
                        "what the receiver has is not known yet, asked again");
                })
            });
        })?;
        Ok(look_up)
    }

    /// Asks for a partition of the alerts topic.
    pub fn ask(&self, name: &TopicPartition) {
        // The thread lives as long as this handle.
        drop(self.questions.send(name.clone()));
    }

    /// What was found since.
    #[must_use]
    pub fn found(&self) -> Option<(TopicPartition, Found)> {
        self.answers.try_recv().ok()
    }
}

/// Answers one question after the other as long as somebody may ask; one that has no answer yet is
/// asked again after `ask_again`.
fn answer<E>(
    asked: &Questions,
    found: &Answers,
    ask_again: Duration,
    find: &mut dyn FnMut(&TopicPartition) -> Result<Found, E>,
) {
    let mut open: VecDeque<TopicPartition> = VecDeque::new();
    let mut wait = Duration::ZERO;
    loop {
        let question = match open.is_empty() {
            true => asked.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => asked.recv_timeout(wait),
        };
        match question {
            Ok(name) if open.contains(&name) => continue,
            Ok(name) => {
                open.push_back(name);
                continue;
            }
            // Whoever asked has gone, and with it the use of an answer.
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let Some(name) = open.front() else { continue };
        wait = match find(name) {
            Ok(it) => {
                // Nobody listens when the instance has stopped.
                drop(found.send((name.clone(), it)));
                open.pop_front();
                Duration::ZERO
            }
            Err(_) => ask_again,
        };
    }
}

/// Finds what there is to know of the partition `name` of the alerts topic for `receiver`, whose
/// deliveries stand in the topic `deliveries`.
///
/// # Errors
///
/// When the cluster does not answer.
pub fn find(
    reader: &dyn LogReader,
    (name, deliveries): (&TopicPartition, &Arc<str>),
    receiver: &str,
) -> Result<Found, KafkaError> {
    let log = TopicPartition { topic: Arc::clone(deliveries), partition: name.partition };
    let mut restoring = Restoring::new(receiver);
    reader.read(&log, &mut |key, value| restoring.take(key, value))?;
    let refused = restoring.refused;
    let records = restoring.finish();
    let ends = reader.source_ends(name, None)?;
    let recent = match ends.committed {
        Some(_) => None,
        None => {
            let now = clock::wall();
            let since = match records.is_empty() {
                true => begins(now, reader.newest_ms(name)?.map(Timestamp::from_millis)),
                // Where the group's commits have expired, the log still tells what was told.
                false => now.minus(KEEP),
            };
            reader.first_since(name, since.as_millis())?
        }
    };
    let (from, overtaken) = go_on(&ends, recent);
    Ok(Found { records, from, overtaken, refused })
}

/// From when on a receiver hears of alerts that never heard of any, where the last one was written at
/// `newest`.
fn begins(now: Timestamp, newest: Option<Timestamp>) -> Timestamp {
    let is_recent = |newest: &Timestamp| *newest >= now.minus(CLOCK_AHEAD);
    newest.filter(is_recent).map_or(now, |newest| newest.min(now)).minus(NEW_RECEIVER)
}

/// Where to go on, and how many alerts went before they were told; `recent` is where a receiver that
/// never committed begins, if there is anything as young.
fn go_on(ends: &SourceEnds, recent: Option<i64>) -> (i64, u64) {
    let SourceEnds { low, high, committed, .. } = *ends;
    match committed {
        None => (recent.unwrap_or(high), 0),
        // The topic was made anew: what it holds is told.
        Some(committed) if committed > high => (low, 0),
        Some(committed) if committed < low => {
            (low, u64::try_from(low.saturating_sub(committed)).unwrap_or(0))
        }
        Some(committed) => (committed, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(partition: i32) -> TopicPartition {
        TopicPartition { topic: "alerts".into(), partition }
    }

    fn nothing() -> Found {
        Found { records: Vec::new(), from: 7, overtaken: 0, refused: 0 }
    }

    #[test]
    fn nobody_is_asked_on_behalf_of_a_delivery_that_has_gone() {
        let (questions, asked) = mpsc::channel();
        let (found, answers) = mpsc::channel();
        questions.send(named(0)).unwrap();
        let mut questions = Some(questions);
        let mut times = 0;
        // Returns: as long as the cluster is away the first question has no answer.
        answer(&asked, &found, Duration::MAX, &mut |_| -> Result<Found, ()> {
            (times, questions) = (times + 1, None);
            Err(())
        });
        assert_eq!((times, answers.try_iter().count()), (1, 0));
    }

    #[test]
    fn what_has_no_answer_yet_is_asked_again_and_the_others_in_turn() {
        let (questions, asked) = mpsc::channel();
        let (found, answers) = mpsc::channel();
        for partition in [0, 1, 0] {
            questions.send(named(partition)).unwrap();
        }
        let mut questions = Some(questions);
        let mut seen = Vec::new();
        answer(&asked, &found, Duration::ZERO, &mut |name| {
            seen.push(name.partition);
            if seen.len() == 3 {
                questions = None;
            }
            if seen.len() == 1 { Err(()) } else { Ok(nothing()) }
        });
        assert_eq!(seen, [0, 0, 1]);
        let answered: Vec<i32> = answers.try_iter().map(|(name, _)| name.partition).collect();
        assert_eq!(answered, [0, 1]);
    }

    #[test]
    fn a_new_receiver_hears_of_the_last_hour_also_by_a_clock_that_is_ahead() {
        let hours = |hours: i64| Timestamp::from_secs(hours * 3_600);
        let now = hours(100);
        assert_eq!(begins(now, None), hours(99));
        assert_eq!(begins(now, Some(hours(98))), hours(97));
        assert_eq!(begins(now, Some(hours(96))), hours(99), "it is old, whatever the clock says");
        assert_eq!(begins(now, Some(hours(101))), hours(99), "the clock is behind");
    }

    #[test]
    fn it_goes_on_at_the_commit_and_counts_what_retention_took() {
        let ends = |committed| SourceEnds { low: 10, high: 50, committed, ..SourceEnds::default() };
        assert_eq!(go_on(&ends(Some(20)), None), (20, 0));
        assert_eq!(go_on(&ends(Some(50)), None), (50, 0));
        assert_eq!(go_on(&ends(Some(3)), None), (10, 7));
        assert_eq!(go_on(&ends(Some(51)), None), (10, 0), "another topic of that name");
        assert_eq!(go_on(&ends(None), Some(40)), (40, 0), "a new receiver hears of the last hour");
        assert_eq!(go_on(&ends(None), None), (50, 0));
    }
}
