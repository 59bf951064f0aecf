//! From the verdicts topic to the board: everything there is before the first call is judged, and
//! what comes later as it comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;

use crate::kafka::{ClientSettings, KafkaError, TopicReader, TopicRecord};
use crate::pipeline::clock::{self, Moment};
use crate::pipeline::verdict_book::VerdictBook;
use crate::pipeline::verdicts::VerdictBoard;
use crate::policy::{Acceptance, Stance};
use crate::telemetry::{
    Event, Metrics, TopicUnreadable, VerdictChange, VerdictChanged, VerdictRefused, VerdictsRead,
};

/// How long a poll waits; stopping waits as long.
const POLL: Duration = Duration::from_millis(200);

/// How long everything there is may take to be read at the start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a topic that did not exist is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Reads the verdicts topic for one instance.
#[derive(Debug)]
pub struct VerdictFeed {
    source: (ClientSettings, String, String),
    reader: TopicReader,
    book: VerdictBook,
    board: VerdictBoard,
    metrics: Metrics,
    /// Whether the book differs from the board.
    changed: bool,
    looked: Moment,
}

impl VerdictFeed {
    /// A feed from `topic` to `board`, with room for `capacity` verdicts. `group` is the name it
    /// goes by at the cluster.
    ///
    /// # Errors
    ///
    /// When the cluster does not answer.
    pub fn new(
        client: ClientSettings,
        (group, topic): (String, String),
        (board, capacity): (VerdictBoard, usize),
        metrics: &Metrics,
    ) -> Result<Self, KafkaError> {
        let reader = TopicReader::new(&client, &group, &topic)?;
        Ok(Self {
            source: (client, group, topic),
            reader,
            book: VerdictBook::new(capacity),
            board,
            metrics: metrics.clone(),
            changed: false,
            looked: Moment::now(),
        })
    }

    /// Reads everything there is.
    ///
    /// # Errors
    ///
    /// When that takes too long: judging without it would tell what people have accepted.
    pub fn catch_up(&mut self) -> anyhow::Result<()> {
        let began = Moment::now();
        let mut trouble = None;
        while !self.reader.is_caught_up() {
            match self.reader.next(POLL) {
                Ok(Some(record)) => self.take(&record, false),
                Ok(None) => {}
                Err(error) => trouble = Some(error),
            }
            if began.elapsed() > START_TIMEOUT {
                let words = format!("the topic `{}` could not be read to its end", self.source.2);
                return match trouble {
                    Some(error) => Err(error).context(words),
                    None => Err(anyhow::anyhow!(words)),
                };
            }
        }
        // What ended while nobody was looking is history, not news.
        drop(self.book.ended(clock::wall()));
        VerdictsRead { count: self.book.len() }.emit(&self.metrics);
        self.publish();
        Ok(())
    }

    /// Follows the topic until told to stop.
    pub fn run(mut self, stop: &Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            match self.reader.next(POLL) {
                Ok(Some(record)) => {
                    self.take(&record, true);
                    // More may be under way; the board is swapped once for all of them.
                    while let Ok(Some(record)) = self.reader.next(Duration::ZERO) {
                        self.take(&record, true);
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    let (topic, why, now) = (&self.source.2, error.to_string(), clock::wall());
                    TopicUnreadable { topic, why: &why, now }.emit(&self.metrics);
                    std::thread::sleep(POLL);
                }
            }
            for ended in self.book.ended(clock::wall()) {
                self.tell(VerdictChange::Expired, &ended);
            }
            if self.changed {
                self.publish();
            }
            if self.reader.partitions() == 0 && self.looked.elapsed() >= LOOK_AGAIN {
                self.look_again();
            }
        }
    }

    fn look_again(&mut self) {
        self.looked = Moment::now();
        let (client, group, topic) = &self.source;
        if let Ok(reader) = TopicReader::new(client, group, topic) {
            self.reader = reader;
        }
    }

    fn take(&mut self, record: &TopicRecord, is_news: bool) {
        let Some(payload) = &record.payload else {
            let key = String::from_utf8_lossy(&record.key);
            if self.book.withdraw(&key) {
                self.changed = true;
                VerdictRefused { change: VerdictChange::Withdrawn, detail: &key }
                    .emit(&self.metrics);
            }
            return;
        };
        let acceptance = match Acceptance::parse(payload) {
            Ok(acceptance) => acceptance,
            Err(error) => {
                let detail = error.to_string();
                let change = VerdictChange::Rejected;
                VerdictRefused { change, detail: &detail }.emit(&self.metrics);
                return;
            }
        };
        match self.book.take(acceptance.clone(), clock::wall()) {
            Ok(is_new) => {
                self.changed |= is_new;
                if is_new && is_news {
                    let change = match acceptance.stance() {
                        Stance::Expected => VerdictChange::Accepted,
                        Stance::NotExpected => VerdictChange::Revoked,
                    };
                    self.tell(change, &acceptance);
                }
            }
            Err(full) => {
                let (change, detail) = (VerdictChange::Refused, full.to_string());
                VerdictRefused { change, detail: &detail }.emit(&self.metrics);
            }
        }
    }

    fn tell(&self, change: VerdictChange, acceptance: &Acceptance) {
        let raw = acceptance.raw();
        VerdictChanged {
            change,
            tenant_id: &raw.tenant_id,
            scope: (raw.scope.word(), raw.scope.name()),
            subject: &raw.subject,
            author: &raw.author,
            reason: &raw.reason,
            alert_id: raw.alert_id.as_deref().unwrap_or_default(),
        }
        .emit(&self.metrics);
    }

    fn publish(&mut self) {
        self.changed = false;
        self.metrics.verdicts(self.book.len());
        self.board.publish(self.book.expectations());
    }
}
