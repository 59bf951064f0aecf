//! A record that could not be read, as it goes to the dead-letter topic: its bytes, where they stood,
//! and why.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::decode::{DecodeError, Record};
use crate::event::Position;
use crate::kafka::{OutgoingRecord, WhenTooLarge};
use crate::pipeline::clock;
use crate::pipeline::cut;
use crate::telemetry::{DeadLetterKind, Event, Metrics, RecordRejected};

/// The most of a record's bytes that a dead letter carries; what is longer is cut and its digest
/// given, because the dead-letter topic may take less than the source topic does.
pub const DEAD_LETTER_BYTES_MAX: usize = 512 * 1024;

/// The most of a record's key that a dead letter carries. With a longer one the letter would be
/// larger than a producer may send, and its partition could never be committed past it.
const DEAD_LETTER_KEY_BYTES_MAX: usize = 64 * 1024;

/// Says what of a record could not be read.
pub fn tell(record: &Record<'_>, rejected: &[DecodeError], metrics: &Metrics) {
    let Position { topic, partition, offset, .. } = record.position;
    for error in rejected {
        RecordRejected {
            topic,
            partition,
            offset,
            reason: error.reason.as_str(),
            detail: &error.detail,
            now: clock::wall(),
        }
        .emit(metrics);
    }
}

/// The letter, with the reason of the first of `rejected`.
#[must_use]
pub fn letter(record: &Record<'_>, rejected: &[DecodeError], topic: &Arc<str>) -> OutgoingRecord {
    let (reason, detail) = rejected
        .first()
        .map(|first| (first.reason.as_str(), first.detail.clone()))
        .unwrap_or_default();
    let Position { topic: source, partition, offset, .. } = record.position;
    let payload = record.payload.unwrap_or_default();
    let kept = payload.get(..DEAD_LETTER_BYTES_MAX).unwrap_or(payload);
    let mut headers = vec![
        ("toolwarden-kind", DeadLetterKind::Record.as_str().to_owned()),
        ("toolwarden-reason", reason.to_owned()),
        ("toolwarden-detail", detail),
        ("toolwarden-rejected", rejected.len().to_string()),
        ("toolwarden-topic", source.to_owned()),
        ("toolwarden-partition", partition.to_string()),
        ("toolwarden-offset", offset.to_string()),
    ];
    if kept.len() < payload.len() {
        headers.push(("toolwarden-original-bytes", payload.len().to_string()));
        headers.push(("toolwarden-original-sha256", hex(&Sha256::digest(payload))));
    }
    let key = record.key.unwrap_or_default();
    let kept_key = key.get(..DEAD_LETTER_KEY_BYTES_MAX).unwrap_or(key);
    if kept_key.len() < key.len() {
        headers.push(("toolwarden-original-key-bytes", key.len().to_string()));
    }
    OutgoingRecord {
        topic: Arc::clone(topic),
        partition: None,
        key: kept_key.to_vec(),
        payload: Some(kept.to_vec()),
        headers,
        when_too_large: WhenTooLarge::Cut(cut::letter),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
