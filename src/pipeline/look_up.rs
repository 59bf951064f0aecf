//! What one receiver has of a partition and where to go on with it, found on a thread of its own: the
//! partition is paused meanwhile and the group goes on.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use crate::deliver::{KEEP, Record, Restoring};
use crate::kafka::{
    ClientSettings, KafkaError, LogReader, PartitionReader, SourceEnds, TopicPartition,
};
use crate::pipeline::clock;

/// A receiver that never committed hears of alerts this far back: those written while the first
/// instance started, and not those of last month.
const NEW_RECEIVER: Duration = Duration::from_secs(3_600);

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
            while let Ok(name) = asked.recv() {
                loop {
                    let reader = PartitionReader::new(&client, &group);
                    match reader.and_then(|it| find(&it, (&name, &deliveries), &receiver)) {
                        Ok(it) => {
                            // Nobody listens when the instance has stopped.
                            drop(found.send((name, it)));
                            break;
                        }
                        Err(error) => {
                            tracing::warn!(receiver, partition = name.partition, %error,
                                "what the receiver has is not known yet, asked again");
                            std::thread::sleep(ASK_AGAIN);
                        }
                    }
                }
            }
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
    // Where the group's commits have expired, the log still tells what was told.
    let span = if records.is_empty() { NEW_RECEIVER } else { KEEP };
    let since_ms = clock::wall().as_millis() - i64::try_from(span.as_millis()).unwrap_or(0);
    let recent = match ends.committed {
        Some(_) => None,
        None => reader.first_since(name, since_ms)?,
    };
    let (from, overtaken) = go_on(&ends, recent);
    Ok(Found { records, from, overtaken, refused })
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
