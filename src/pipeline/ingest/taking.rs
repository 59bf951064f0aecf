//! One record of a source on its way to the calls topic.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::decode::{self, DecodeError, Item, Reason, Record, canonical};
use crate::event::{Position, Timestamp, ToolCall};
use crate::kafka::{
    Consumed, Forwarder, GroupMember, OutgoingRecord, PartitionConsumer, TopicPartition,
};
use crate::pipeline::clock;
use crate::pipeline::dead_letter;
use crate::pipeline::ingest::reading::Reading;
use crate::pipeline::ingest::{Ingest, Name};
use crate::telemetry::{DeadLetterKind, DeadLettered, Event};

/// Takes one record in: its calls go to the calls topic, what cannot be read to the dead-letter
/// topic. Returns whether a commit is due at once that the broker has not taken.
pub(super) fn take(
    (ingest, forwarder, consumer): (&Ingest, &Forwarder<Name>, &PartitionConsumer),
    record: &Consumed<'_>,
    partitions: &mut BTreeMap<TopicPartition, Reading>,
) -> bool {
    let sources = &ingest.settings.sources;
    let Some(source) = sources.iter().find(|it| &*it.topic == record.topic()) else { return false };
    let name = TopicPartition { topic: Arc::clone(&source.topic), partition: record.partition() };
    let Some(reading) = partitions.get_mut(&name) else { return false };
    let mut moved = false;
    if reading.takes(record.offset())
        && !consumer.is_from_earliest()
        && !reading.compare(consumer, &name, &ingest.metrics)
    {
        // Whoever goes on after a stop must begin here and not at what comes next then: a gap
        // would be taken for calls that were read.
        reading.compare_no_more();
        consumer.finish(&name, record.offset());
        moved = !consumer.commit();
    }
    let bytes = record.payload().map_or(0, <[u8]>::len);
    source.metrics.records.inc();
    source.metrics.bytes.inc_by(u64::try_from(bytes).unwrap_or(0));
    let append_ms = record.timestamp_ms();
    let decoded = Record {
        position: Position {
            topic: &source.topic,
            partition: record.partition(),
            offset: record.offset(),
            index: 0,
        },
        append_time: append_ms.map_or_else(clock::wall, Timestamp::from_millis),
        key: record.key(),
        content_type: record.header("content-type"),
        payload: record.payload(),
    };
    let mut rejected: Vec<DecodeError> = Vec::new();
    let mut forwarded = 0;
    decode::decode(&decoded, &source.options, &mut |item| match item {
        Item::Call(call) => {
            let place = call.position;
            let name = (Arc::clone(&source.topic), place.partition, place.offset, place.index);
            let key = source.options.hash_key;
            match canonical::encode(&call, append_ms, key) {
                Err(error) => rejected.push(error),
                Ok(_) if ingest.unfit.contains(&name) => rejected.push(refused(&call)),
                Ok(payload) => {
                    let outgoing = outgoing(&call, payload, &ingest.settings.calls);
                    let ticket = reading.ledger.ticket(place.offset);
                    if forwarder.send(&outgoing, ticket, name) {
                        rejected.push(refused(&call));
                    } else {
                        forwarded += 1;
                    }
                }
            }
        }
        Item::Ignored(ignored) => source.metrics.ignored(ignored.as_str()),
        Item::Rejected(error) => rejected.push(error),
    });
    ingest.counters.calls.inc_by(forwarded);
    if !rejected.is_empty() {
        dead_letter::tell(&decoded, &rejected, &ingest.metrics);
        let letter = dead_letter::letter(&decoded, &rejected, &ingest.settings.dead_letter);
        ingest.outbox.send(letter, reading.ledger.ticket(record.offset()));
        DeadLettered { kind: DeadLetterKind::Record }.emit(&ingest.metrics);
    }
    moved
}

/// A call as a record, under the key that `crate::pipeline::keys` looks for.
fn outgoing(call: &ToolCall<'_>, payload: Vec<u8>, topic: &Arc<str>) -> OutgoingRecord {
    OutgoingRecord {
        topic: Arc::clone(topic),
        key: format!("{}/{}", call.tenant_id, call.agent_id).into_bytes(),
        payload: Some(payload),
        // What is refused, for its size too, is the forwarder's to tell.
        ..OutgoingRecord::default()
    }
}

fn refused(call: &ToolCall<'_>) -> DecodeError {
    let detail = format!(
        "the calls topic does not take call {} of this record: raise its `max.message.bytes`",
        call.position.index
    );
    DecodeError::new(Reason::TooLarge, detail)
}
