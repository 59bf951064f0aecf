//! Who wrote a record of the groups topic: records are signed as those of the state topic are, and
//! what nobody vouches for is passed over.
//!
//! What was taken while the topic was signed for the first time, or under a key that is to go, must
//! not be missing later, when it is taken no more: a snapshot is written that stands in for it.

use std::time::Duration;

use crate::kafka::{LogWriter, RefusedEntry, TopicRecord};
use crate::pipeline::clock::Moment;
use crate::pipeline::epochs::link::LogSink;
use crate::state::mac::{Checked, MacKeys};

/// How often, at most, a snapshot is written in the place of what will not be taken any more.
const RENEW_EVERY: Duration = Duration::from_secs(600);

/// Records passed over at the start that are kept track of.
const PASSED_MAX: usize = 1_000;

/// The way into the topic: each record with its code.
#[derive(Debug)]
pub(super) struct Signing {
    pub(super) writer: LogWriter,
    pub(super) keys: MacKeys,
}

impl LogSink for Signing {
    fn append(&self, key: &[u8], payload: Option<&[u8]>) {
        let code = self.keys.code(0, key, payload);
        self.writer.append(key, payload, code.as_deref());
    }

    fn may_have_lost(&self) -> bool {
        self.writer.take_lost()
    }

    fn take_refused(&self) -> Vec<RefusedEntry> {
        self.writer.take_refused()
    }
}

/// What is known of who wrote the records.
#[derive(Debug)]
pub(super) struct Vouching {
    keys: MacKeys,
    /// Whether everything there was at the start has been read.
    has_read_all: bool,
    /// Where records were passed over before that.
    passed: Vec<i64>,
    /// Records were taken that will not be taken any more one day.
    has_stale: bool,
    renewed: Option<Moment>,
}

impl Vouching {
    /// Nothing read yet.
    pub(super) const fn new(keys: MacKeys) -> Self {
        Self { keys, has_read_all: false, passed: Vec::new(), has_stale: false, renewed: None }
    }

    /// Whether a record may be used.
    pub(super) fn takes(&mut self, record: &TopicRecord) -> bool {
        let content = (&*record.key, record.payload.as_deref());
        let checked = self.keys.check(0, content, record.code.as_deref());
        self.has_stale |= checked == Checked::Stale;
        checked.is_good()
    }

    /// The record at `offset` was passed over. Returns whether that is to be told now: at the start
    /// it may turn out that a snapshot stands in for it.
    pub(super) fn passed(&mut self, offset: i64) -> bool {
        if !self.has_read_all && self.passed.len() < PASSED_MAX {
            self.passed.push(offset);
            return false;
        }
        true
    }

    /// Everything there was has been read, and the board was put up from a snapshot at `loaded`.
    /// Returns where records were passed over that it does not stand in for.
    pub(super) fn read_all(&mut self, loaded: i64) -> Vec<i64> {
        self.has_read_all = true;
        let mut passed = std::mem::take(&mut self.passed);
        passed.retain(|offset| *offset >= loaded);
        passed
    }

    /// Whether a snapshot is to be written now, in the place of records that will not be taken any
    /// more.
    pub(super) fn is_to_renew(&mut self) -> bool {
        let is_soon = self.renewed.is_some_and(|it| it.elapsed() < RENEW_EVERY);
        let renews = self.has_stale && !is_soon;
        if renews {
            (self.has_stale, self.renewed) = (false, Some(Moment::now()));
        }
        renews
    }
}
