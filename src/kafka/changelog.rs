//! Reading one partition of a topic whole, outside any group, and asking what there is of another:
//! what a partition's judge needs before it goes on.
//!
//! It blocks, so it runs on a thread of its own and never in a rebalance callback.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as LibraryError;
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::kafka::consumer::digest_of;
use crate::kafka::{ClientSettings, KafkaError, TopicPartition};

/// How long the cluster may take for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);

/// Reading has failed after so many polls in a row that brought nothing: 15 s.
const EMPTY_POLLS_MAX: u32 = 150;

/// A record that is asked for is not there after so many: 5 s.
const MISSING_AFTER: u32 = 50;

/// What there is of a source partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceEnds {
    /// The oldest offset there is.
    pub low: i64,
    /// The offset the next record will get.
    pub high: i64,
    /// What the group has committed.
    pub committed: Option<i64>,
    /// Partitions of the topic.
    pub partitions: i32,
    /// The digest of the record that was asked for, if it is still there.
    pub digest: Option<u64>,
}

/// What is done with a record: its key, and its value or nothing for a deletion.
pub type Take<'a> = dyn FnMut(&[u8], Option<&[u8]>) + 'a;

/// The same, with the record's offset first.
pub type TakeAt<'a> = dyn FnMut(i64, &[u8], Option<&[u8]>) + 'a;

/// The header that holds the code by which somebody vouches for a record.
pub const CODE_HEADER: &str = "toolwarden-mac";

/// A record and what vouches for it.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Where it stands.
    pub offset: i64,
    /// Its key.
    pub key: &'a [u8],
    /// Its value; `None` for a deletion.
    pub value: Option<&'a [u8]>,
    /// What stands in [`CODE_HEADER`]; empty when that is no text.
    pub code: Option<&'a str>,
}

/// What is done with a record that somebody may vouch for.
pub type TakeShown<'a> = dyn FnMut(Shown<'_>) + 'a;

/// Reads partitions whole, outside any group, and tells what there is of them.
pub trait LogReader {
    /// [`Self::read`] with the codes of the records; a log without headers has none.
    ///
    /// # Errors
    ///
    /// Those of [`Self::read`].
    fn read_shown(
        &self,
        partition: &TopicPartition,
        take: &mut TakeShown<'_>,
    ) -> Result<i64, KafkaError> {
        self.read(partition, &mut |key, value| {
            take(Shown { offset: -1, key, value, code: None });
        })
    }

    /// [`Self::read_between`] with the codes of the records; a log without headers has none.
    ///
    /// # Errors
    ///
    /// Those of [`Self::read_between`].
    fn read_between_shown(
        &self,
        partition: &TopicPartition,
        between: (i64, i64),
        take: &mut TakeShown<'_>,
    ) -> Result<(), KafkaError> {
        self.read_between(partition, between, &mut |offset, key, value| {
            take(Shown { offset, key, value, code: None });
        })
    }

    /// Shows every record of `partition` from its oldest to the one that is newest now: key, and
    /// value or nothing for a deletion. Returns the end that was read to.
    ///
    /// # Errors
    ///
    /// When the cluster does not answer, or nothing comes for 15 s.
    fn read(&self, partition: &TopicPartition, take: &mut Take<'_>) -> Result<i64, KafkaError>;

    /// The offset the next record of `partition` will get.
    ///
    /// # Errors
    ///
    /// When the cluster does not answer.
    fn end(&self, partition: &TopicPartition) -> Result<i64, KafkaError>;

    /// Shows what there still is of the records from `between.0` on and before
    /// `between.1`, each with its offset.
    ///
    /// # Errors
    ///
    /// When the cluster does not answer, or nothing comes for 15 s.
    fn read_between(
        &self,
        partition: &TopicPartition,
        between: (i64, i64),
        take: &mut TakeAt<'_>,
    ) -> Result<(), KafkaError>;

    /// What there is of a source partition; `known` is the offset of a record whose digest is
    /// wanted.
    ///
    /// # Errors
    ///
    /// When the cluster does not answer one of the questions in time. An answer that is missing is
    /// never a default: taking an unread commit for none would begin in the wrong place.
    fn source_ends(
        &self,
        partition: &TopicPartition,
        known: Option<i64>,
    ) -> Result<SourceEnds, KafkaError>;

    /// The offset of the first record of `partition` appended at or after `since_ms`, in
    /// milliseconds since the Unix epoch; `None` when there is none.
    ///
    /// # Errors
    ///
    /// When the cluster does not answer in time.
    fn first_since(
        &self,
        partition: &TopicPartition,
        since_ms: i64,
    ) -> Result<Option<i64>, KafkaError>;

    /// When the newest record of `partition` was appended, in milliseconds since the Unix epoch;
    /// `None` when there is none, or it cannot be read.
    ///
    /// # Errors
    ///
    /// When the cluster does not answer in time.
    fn newest_ms(&self, partition: &TopicPartition) -> Result<Option<i64>, KafkaError>;
}

/// Reads partitions whole, from the cluster.
pub struct PartitionReader {
    consumer: BaseConsumer,
}

impl std::fmt::Debug for PartitionReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PartitionReader")
    }
}

impl PartitionReader {
    /// A reader that may ask what `group` has committed. It never joins the group.
    ///
    /// # Errors
    ///
    /// When a property is not one librdkafka knows.
    pub fn new(settings: &ClientSettings, group: &str) -> Result<Self, KafkaError> {
        let consumer: BaseConsumer = settings
            .config(&[
                ("group.id", group),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("enable.partition.eof", "true"),
                ("auto.offset.reset", "earliest"),
                ("allow.auto.create.topics", "false"),
                ("check.crcs", "true"),
                ("fetch.wait.max.ms", "50"),
                ("fetch.queue.backoff.ms", "2"),
                ("queued.max.messages.kbytes", "32768"),
                ("statistics.interval.ms", "0"),
            ])
            .create()
            .map_err(KafkaError::when("create a consumer"))?;
        Ok(Self { consumer })
    }

    fn read_to(&self, high: i64, take: &mut TakeShown<'_>) -> Result<(), KafkaError> {
        let mut empty = 0;
        loop {
            match self.consumer.poll(POLL) {
                None => empty += 1,
                Some(Ok(message)) => {
                    empty = 0;
                    // Beyond the end that was asked for lies what others write meanwhile.
                    if message.offset() >= high {
                        return Ok(());
                    }
                    take(shown(&message));
                    if message.offset() + 1 >= high {
                        return Ok(());
                    }
                }
                Some(Err(LibraryError::PartitionEOF(_))) => return Ok(()),
                Some(Err(error)) if empty >= EMPTY_POLLS_MAX => {
                    return Err(KafkaError::when("read a partition")(error));
                }
                Some(Err(_)) => empty += 1,
            }
            if empty >= EMPTY_POLLS_MAX {
                return Err(KafkaError::no_answer("read a partition"));
            }
        }
    }

    /// The digest of the record at `offset`; `None` when that offset holds none.
    fn digest_at(
        &self,
        partition: &TopicPartition,
        offset: i64,
    ) -> Result<Option<u64>, KafkaError> {
        self.assign(partition, Offset::Offset(offset))?;
        let mut outcome = Ok(None);
        for _ in 0..MISSING_AFTER {
            match self.consumer.poll(POLL) {
                None | Some(Err(LibraryError::PartitionEOF(_))) => {}
                Some(Ok(message)) => {
                    let is_it = message.offset() == offset;
                    outcome = Ok(is_it.then(|| digest_of(&message)));
                    break;
                }
                Some(Err(error)) => {
                    outcome = Err(KafkaError::when("read a record")(error));
                }
            }
        }
        drop(self.consumer.unassign());
        outcome
    }

    fn assign(&self, partition: &TopicPartition, from: Offset) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&partition.topic, partition.partition, from)
            .map_err(KafkaError::when("choose where to read"))?;
        self.consumer.assign(&list).map_err(KafkaError::when("read a partition"))
    }
}

/// What stands in [`CODE_HEADER`] of a record; empty when that is no text.
pub(super) fn code_in<'a>(record: &'a BorrowedMessage<'_>) -> Option<&'a str> {
    let mut headers = record.headers().into_iter().flat_map(Headers::iter);
    let code = headers.find(|header| header.key == CODE_HEADER);
    code.map(|it| std::str::from_utf8(it.value.unwrap_or_default()).unwrap_or_default())
}

fn shown<'a>(record: &'a BorrowedMessage<'_>) -> Shown<'a> {
    Shown {
        offset: record.offset(),
        key: record.key().unwrap_or_default(),
        value: record.payload(),
        code: code_in(record),
    }
}

impl LogReader for PartitionReader {
    fn read(&self, partition: &TopicPartition, take: &mut Take<'_>) -> Result<i64, KafkaError> {
        self.read_shown(partition, &mut |record| take(record.key, record.value))
    }

    fn read_shown(
        &self,
        partition: &TopicPartition,
        take: &mut TakeShown<'_>,
    ) -> Result<i64, KafkaError> {
        let (low, high) = self
            .consumer
            .fetch_watermarks(&partition.topic, partition.partition, ANSWER_TIMEOUT)
            .map_err(KafkaError::when("read the ends of a partition"))?;
        if low >= high {
            return Ok(high);
        }
        // Not from the beginning by that name, which would be asked for once more.
        self.assign(partition, Offset::Offset(low))?;
        let outcome = self.read_to(high, take);
        drop(self.consumer.unassign());
        outcome.map(|()| high)
    }

    fn end(&self, partition: &TopicPartition) -> Result<i64, KafkaError> {
        self.consumer
            .fetch_watermarks(&partition.topic, partition.partition, ANSWER_TIMEOUT)
            .map(|(_, high)| high)
            .map_err(KafkaError::when("read the ends of a partition"))
    }

    fn read_between(
        &self,
        partition: &TopicPartition,
        (from, to): (i64, i64),
        take: &mut TakeAt<'_>,
    ) -> Result<(), KafkaError> {
        let mut take = |it: Shown<'_>| take(it.offset, it.key, it.value);
        self.read_between_shown(partition, (from, to), &mut take)
    }

    fn read_between_shown(
        &self,
        partition: &TopicPartition,
        (from, to): (i64, i64),
        take: &mut TakeShown<'_>,
    ) -> Result<(), KafkaError> {
        self.assign(partition, Offset::Offset(from))?;
        let outcome = self.read_to(to, take);
        drop(self.consumer.unassign());
        outcome
    }

    fn source_ends(
        &self,
        partition: &TopicPartition,
        known: Option<i64>,
    ) -> Result<SourceEnds, KafkaError> {
        let (topic, number) = (&*partition.topic, partition.partition);
        let mut asked = TopicPartitionList::new();
        asked.add_partition(topic, number);
        let answer = self
            .consumer
            .committed_offsets(asked, ANSWER_TIMEOUT)
            .map_err(KafkaError::when("read what is committed"))?;
        let element = answer.find_partition(topic, number);
        let committed = match element {
            Some(element) => {
                element.error().map_err(KafkaError::when("read what is committed"))?;
                match element.offset() {
                    Offset::Offset(offset) => Some(offset),
                    _ => None,
                }
            }
            None => None,
        };
        let (low, high) = self
            .consumer
            .fetch_watermarks(topic, number, ANSWER_TIMEOUT)
            .map_err(KafkaError::when("read the ends of a partition"))?;
        let metadata = self
            .consumer
            .fetch_metadata(Some(topic), ANSWER_TIMEOUT)
            .map_err(KafkaError::when("read the topic's metadata"))?;
        let of_topic = metadata.topics().iter().find(|it| it.name() == topic);
        let partitions = of_topic.map_or(0, |it| i32::try_from(it.partitions().len()).unwrap_or(0));
        let known = known.filter(|offset| (low..high).contains(offset));
        let digest = known.map_or(Ok(None), |offset| self.digest_at(partition, offset))?;
        Ok(SourceEnds { low, high, committed, partitions, digest })
    }

    fn first_since(
        &self,
        partition: &TopicPartition,
        since_ms: i64,
    ) -> Result<Option<i64>, KafkaError> {
        let what = "find where to begin";
        let (topic, number) = (&*partition.topic, partition.partition);
        let mut asked = TopicPartitionList::new();
        asked
            .add_partition_offset(topic, number, Offset::Offset(since_ms))
            .map_err(KafkaError::when(what))?;
        let answer = self
            .consumer
            .offsets_for_times(asked, ANSWER_TIMEOUT)
            .map_err(KafkaError::when(what))?;
        let Some(element) = answer.find_partition(topic, number) else { return Ok(None) };
        element.error().map_err(KafkaError::when(what))?;
        if let Offset::Offset(offset) = element.offset() {
            return Ok(Some(offset));
        }
        // The embedded cluster knows no times. Where the last record is that young, all count.
        let newest = self.newest_ms(partition)?;
        if newest.is_none_or(|newest| newest < since_ms) {
            return Ok(None);
        }
        let ends = self.consumer.fetch_watermarks(topic, number, ANSWER_TIMEOUT);
        ends.map(|(low, _)| Some(low)).map_err(KafkaError::when(what))
    }

    fn newest_ms(&self, partition: &TopicPartition) -> Result<Option<i64>, KafkaError> {
        let (low, high) = self
            .consumer
            .fetch_watermarks(&partition.topic, partition.partition, ANSWER_TIMEOUT)
            .map_err(KafkaError::when("read the ends of a partition"))?;
        if low >= high {
            return Ok(None);
        }
        self.assign(partition, Offset::Offset(high - 1))?;
        let mut newest = None;
        for _ in 0..MISSING_AFTER {
            if let Some(Ok(message)) = self.consumer.poll(POLL) {
                newest = message.timestamp().to_millis();
                break;
            }
        }
        drop(self.consumer.unassign());
        Ok(newest)
    }
}
