//! What one receiver is known to have: the deliveries log, as a state machine without IO.
//!
//! The log is compacted and lies beside the alerts topic, partition for partition. Before its first
//! attempt an alert is noted as `sending`, after its last as `delivered` or `dead`. So whoever reads
//! an alert again, after a restart or a rewind, knows whether this receiver has it, may have it, or
//! lacks it. What is noted goes after [`KEEP`], and earlier beyond [`DELIVERIES_MAX`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alert::{Alert, AlertStatus, Severity};
use crate::event::Timestamp;

/// Notes kept of one receiver; of more, the oldest go.
pub const DELIVERIES_MAX: usize = 50_000;

/// How long a note is kept: longer than an alert is tried, and than anybody reads back.
pub const KEEP: Duration = Duration::from_secs(14 * 86_400);

/// How far an alert has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// An attempt may have been made.
    Sending,
    /// The receiver has it.
    Delivered,
    /// It was given up; the dead-letter topic has it.
    Dead,
}

/// One note of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// How far it has come.
    pub outcome: Outcome,
    /// Attempts made by whoever wrote this.
    pub attempts: u32,
    /// The HTTP status of the last answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// When this was noted (RFC 3339).
    pub time: String,
    /// The alert's offset in its partition of the alerts topic.
    pub offset: i64,
    /// The alert's id.
    pub alert_id: String,
    /// The alert's revision.
    pub revision: u32,
    /// Where the alert is in its life.
    pub status: AlertStatus,
    /// The incident it belongs to.
    pub dedup_key: String,
    /// The alert's own time (RFC 3339).
    pub alert_time: String,
    /// The alert's score.
    pub score: f64,
    /// The alert's severity; missing in notes of before it was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// The alert it was sent as an update of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<String>,
}

impl Record {
    /// The note that an attempt at `alert`, which stands at `offset`, may have been made by `now`.
    #[must_use]
    pub fn sending(alert: &Alert, offset: i64, now: Timestamp) -> Self {
        Self {
            outcome: Outcome::Sending,
            attempts: 0,
            code: None,
            time: now.to_string(),
            offset,
            alert_id: alert.alert_id.clone(),
            revision: alert.revision,
            status: alert.status,
            dedup_key: alert.dedup_key.clone(),
            alert_time: alert.time.clone(),
            score: alert.score,
            severity: Some(alert.severity),
            duplicate_of: alert.duplicate_of.clone(),
        }
    }

    /// What the alert is known by: its id and revision.
    #[must_use]
    pub fn id(&self) -> Arc<str> {
        id_of(&self.alert_id, self.revision)
    }

    /// The note as the log holds it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // Text and numbers that JSON has.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// What an alert is known by, to a receiver as its `webhook-id`: its id and revision.
#[must_use]
pub fn id_of(alert_id: &str, revision: u32) -> Arc<str> {
    format!("{alert_id}_{revision}").into()
}

/// The key of a note.
#[must_use]
pub fn key(receiver: &str, id: &str) -> Vec<u8> {
    format!("{receiver}/{id}").into_bytes()
}

/// What is known of one alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing: it is to be sent.
    Nothing,
    /// An attempt may have been made, as an update of this alert if it names one: it is to be sent
    /// again, alike.
    Sending(Option<String>),
    /// It is over.
    Done,
}

/// One partition of the log, read back for one receiver.
#[derive(Debug)]
pub struct Restoring {
    prefix: Vec<u8>,
    records: BTreeMap<Arc<str>, Record>,
    /// Notes that could not be read.
    pub refused: u64,
}

impl Restoring {
    /// Nothing read yet, for `receiver`.
    #[must_use]
    pub fn new(receiver: &str) -> Self {
        Self { prefix: key(receiver, ""), records: BTreeMap::new(), refused: 0 }
    }

    /// Takes one record of the log, in its order.
    pub fn take(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Some(id) = key.strip_prefix(&*self.prefix) else { return };
        let Ok(id) = std::str::from_utf8(id) else {
            self.refused += 1;
            return;
        };
        let Some(value) = value else {
            self.records.remove(id);
            return;
        };
        match serde_json::from_slice::<Record>(value) {
            Ok(record) if &*record.id() == id => {
                self.records.insert(id.into(), record);
            }
            // What cannot be read says nothing: the alert is sent, at worst twice.
            _ => self.refused += 1,
        }
        if self.records.len() > 2 * DELIVERIES_MAX {
            let mut offsets: Vec<i64> = self.records.values().map(|it| it.offset).collect();
            offsets.sort_unstable();
            let from = offsets.get(DELIVERIES_MAX).copied().unwrap_or(i64::MAX);
            self.records.retain(|_, it| it.offset >= from);
        }
    }

    /// What was read, by offset.
    #[must_use]
    pub fn finish(self) -> Vec<Record> {
        let mut records: Vec<Record> = self.records.into_values().collect();
        records.sort_by_key(|it| it.offset);
        // An incident's alerts go one after the other: who was followed was finished.
        let mut followed = BTreeSet::new();
        for record in records.iter_mut().rev() {
            let is_last = followed.insert(incident_of(&record.dedup_key, &record.alert_id));
            if !is_last && record.outcome == Outcome::Sending {
                record.outcome = Outcome::Delivered;
            }
        }
        records
    }
}

/// What an alert's order is kept within: its incident, or itself if it names none.
#[must_use]
pub fn incident_of(dedup_key: &str, alert_id: &str) -> Arc<str> {
    if dedup_key.is_empty() { alert_id.into() } else { dedup_key.into() }
}

#[derive(Debug)]
struct Note {
    at: Timestamp,
    partition: i32,
    /// Where the attempt that may have been made is not known to be over.
    sending: Option<Option<String>>,
}

/// What one receiver is known to have, of the partitions that are ours.
#[derive(Debug)]
pub struct Deliveries {
    capacity: usize,
    notes: BTreeMap<Arc<str>, Note>,
    by_time: BTreeSet<(Timestamp, Arc<str>)>,
}

impl Default for Deliveries {
    fn default() -> Self {
        Self::with_capacity(DELIVERIES_MAX)
    }
}

impl Deliveries {
    /// Nothing known, and at most `capacity` alerts.
    #[must_use]
    pub const fn with_capacity(capacity: usize) -> Self {
        Self { capacity, notes: BTreeMap::new(), by_time: BTreeSet::new() }
    }

    /// Notes a record of `partition`, written or read back.
    pub fn note(&mut self, partition: i32, record: &Record) {
        let id = record.id();
        let at = record.time.parse().unwrap_or(Timestamp::from_secs(0));
        let is_sending = record.outcome == Outcome::Sending;
        let sending = is_sending.then(|| record.duplicate_of.clone());
        if let Some(before) = self.notes.insert(Arc::clone(&id), Note { at, partition, sending }) {
            self.by_time.remove(&(before.at, Arc::clone(&id)));
        }
        self.by_time.insert((at, id));
    }

    /// What is known of the alert `id`.
    #[must_use]
    pub fn known(&self, id: &str) -> Known {
        match self.notes.get(id) {
            None => Known::Nothing,
            Some(Note { sending: Some(duplicate_of), .. }) => Known::Sending(duplicate_of.clone()),
            Some(_) => Known::Done,
        }
    }

    /// Forgets the oldest note if it is older than [`KEEP`] at `now` or there are too many. Returns
    /// its partition and alert, to be deleted from the log, and whether its time was not over.
    pub fn forget_one(&mut self, now: Timestamp) -> Option<(i32, Arc<str>, bool)> {
        let (at, id) = self.by_time.first()?;
        let is_early = at.plus(KEEP) > now;
        if is_early && self.notes.len() <= self.capacity {
            return None;
        }
        let id = Arc::clone(id);
        self.by_time.pop_first();
        let note = self.notes.remove(&id)?;
        Some((note.partition, id, is_early))
    }

    /// A partition is not ours any more.
    pub fn leave(&mut self, partition: i32) {
        self.notes.retain(|_, note| note.partition != partition);
        let notes = &self.notes;
        self.by_time.retain(|(_, id)| notes.contains_key(id));
    }

    /// Alerts of which something is known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.notes.len()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, offset: i64, outcome: Outcome) -> Record {
        Record {
            outcome,
            attempts: 1,
            code: Some(202),
            time: Timestamp::from_secs(1_000 + offset).to_string(),
            offset,
            alert_id: id.into(),
            revision: 0,
            status: AlertStatus::Firing,
            dedup_key: "incident".into(),
            alert_time: Timestamp::from_secs(900).to_string(),
            score: 62.5,
            severity: Some(Severity::High),
            duplicate_of: None,
        }
    }

    fn read_back(records: &[Record]) -> Vec<Record> {
        let mut restoring = Restoring::new("soc");
        for record in records {
            restoring.take(&key("soc", &record.id()), Some(&record.to_json()));
        }
        restoring.finish()
    }

    /// Instances of two versions share the log: a note must stay readable.
    #[test]
    fn a_note_is_written_and_read_as_it_always_was() {
        let wanted = r#"{"outcome":"delivered","attempts":1,"code":202,"time":"1970-01-01T00:16:47.000Z","offset":7,"alert_id":"a","revision":0,"status":"firing","dedup_key":"incident","alert_time":"1970-01-01T00:15:00.000Z","score":62.5,"severity":"high"}"#;
        let record = record("a", 7, Outcome::Delivered);
        assert_eq!(String::from_utf8(record.to_json()).unwrap(), wanted);
        assert_eq!(read_back(std::slice::from_ref(&record)), std::slice::from_ref(&record));
        let before = wanted.replace(r#","severity":"high""#, "");
        let before: Record = serde_json::from_str(&before).unwrap();
        assert_eq!(before, Record { severity: None, ..record });
        assert_eq!(key("soc", "a_0"), b"soc/a_0");
    }

    #[test]
    fn what_another_receiver_has_what_is_deleted_and_what_cannot_be_read_says_nothing() {
        let mut restoring = Restoring::new("soc");
        let json = record("a", 1, Outcome::Delivered).to_json();
        restoring.take(b"soc-2/a_0", Some(&json));
        restoring.take(b"soc/a_0", Some(&json));
        restoring.take(b"soc/a_0", None);
        restoring.take(b"soc/b_0", Some(&json));
        restoring.take(b"soc/a_0", Some(b"{\"outcome\":\"delivered\"}"));
        restoring.take(b"soc/\xff", None);
        assert_eq!(restoring.refused, 3);
        assert_eq!(restoring.finish(), []);
    }

    #[test]
    fn only_the_last_of_an_incident_may_be_on_its_way() {
        let records = read_back(&[
            record("a", 1, Outcome::Sending),
            record("b", 2, Outcome::Sending),
            Record { dedup_key: "other".into(), ..record("c", 3, Outcome::Sending) },
        ]);
        let mut known = Deliveries::default();
        records.iter().for_each(|record| known.note(0, record));
        assert_eq!(known.known("a_0"), Known::Done);
        assert_eq!(known.known("b_0"), Known::Sending(None));
        assert_eq!(known.known("c_0"), Known::Sending(None));
        assert_eq!(known.known("d_0"), Known::Nothing);
    }

    #[test]
    fn notes_go_when_they_are_old_or_too_many_and_with_their_partition() {
        let mut known = Deliveries::with_capacity(2);
        for (offset, id) in (0..).zip(["a", "b", "c"]) {
            known.note(i32::from(offset == 2), &record(id, offset, Outcome::Delivered));
        }
        let now = Timestamp::from_secs(2_000);
        assert_eq!(known.forget_one(now), Some((0, "a_0".into(), true)));
        assert_eq!(known.forget_one(now), None);
        let late = Timestamp::from_secs(1_001 + 14 * 86_400);
        assert_eq!(known.forget_one(late), Some((0, "b_0".into(), false)));
        assert_eq!(known.forget_one(late), None);
        known.leave(1);
        assert!(known.is_empty());
    }

    #[test]
    fn a_log_somebody_floods_is_held_within_its_bound() {
        let mut restoring = Restoring::new("soc");
        for offset in 0..=2 * i64::try_from(DELIVERIES_MAX).unwrap() {
            let record = record(&format!("{offset:06}"), offset, Outcome::Delivered);
            restoring.take(&key("soc", &record.id()), Some(&record.to_json()));
        }
        let records = restoring.finish();
        assert_eq!(records.len(), DELIVERIES_MAX + 1);
        assert_eq!(records[0].offset, i64::try_from(DELIVERIES_MAX).unwrap());
    }
}
