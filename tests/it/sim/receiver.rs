//! Who is told: one receiver behind a network that delays, loses answers and is away at times. What
//! is on its way to it belongs to a life; what it took stays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use serde_json::Value;
use toolwarden::alert::Alert;
use toolwarden::deliver::{Failure, Manner, Message, Ruling, id_of, rule};
use toolwarden::kafka::{Ledger, PlainRecord};
use toolwarden::pipeline::courier::Post;
use toolwarden::pipeline::posting::{Ended, Receiver};
use toolwarden::telemetry::FailureReason;

use crate::sim::client::Client;
use crate::sim::world::{World, lock, step};

/// Its name.
pub(crate) const NAME: &str = "soc";

/// How long an attempt waits for its note, as the product's own do.
const ANNOUNCE_MS: u64 = 2_000;

/// How an attempt fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Taken,
    /// The receiver has it, and answers with an error.
    TakenAndFailed,
    /// The receiver has it, and the answer is lost.
    TakenUnheard,
    /// It asks to be left alone for a while, and has not got it.
    Busy,
    /// It has not got it.
    Refused,
}

#[derive(Debug)]
enum Stage {
    /// It has waited for its note since then.
    Waits(u64),
    /// It arrives then.
    Flies(u64, Fate),
    /// Its answer comes then.
    Answered(u64, Result<u16, Failure>),
}

/// An attempt on its way.
#[derive(Debug)]
struct Attempt {
    life: u64,
    number: u64,
    message: Arc<Message>,
    manner: Manner,
    announced: Ledger,
    /// Which turn of its partition it was made in.
    turn: Option<u64>,
    /// Nobody, when its process is gone.
    ended: Option<Sender<Ended>>,
    stage: Stage,
}

/// A notification that the receiver took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) id: Arc<str>,
    pub(crate) body: String,
    pub(crate) is_marked: bool,
    /// Whether it was noted before, and who told it has had the partition ever since it began to.
    pub(crate) is_orderly: bool,
}

/// The receiver, and what is on its way to it.
#[derive(Debug, Default)]
pub(crate) struct Told {
    attempts: Vec<Attempt>,
    pub(crate) taken: Vec<Taken>,
    /// Until when it is not to be reached.
    pub(crate) away_until_ms: u64,
    /// The alerts there are, in the order in which they came, each with its partition, its incident
    /// and its bytes.
    pub(crate) alerts: Vec<(Arc<str>, i32, String)>,
    places: BTreeMap<Arc<str>, i32>,
}

impl Told {
    /// Whether nothing is on its way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.attempts.is_empty()
    }

    /// An alert is written.
    pub(crate) fn note(&mut self, record: &PlainRecord) {
        let Some(payload) = &record.payload else { return };
        let alert: Value = serde_json::from_slice(payload).unwrap();
        let revision = u32::try_from(alert["revision"].as_u64().unwrap()).unwrap();
        let id = id_of(alert["alert_id"].as_str().unwrap(), revision);
        if self.places.insert(Arc::clone(&id), record.partition).is_none() {
            let incident = alert["dedup_key"].as_str().unwrap_or_default().to_owned();
            self.alerts.push((id, record.partition, incident));
        }
    }

    /// A life has ended: what it had not sent yet is never sent, the rest arrives and nobody hears.
    pub(crate) fn bereave(&mut self, life: u64) {
        self.attempts.retain(|it| it.life != life || !matches!(it.stage, Stage::Waits(_)));
        for it in self.attempts.iter_mut().filter(|it| it.life == life) {
            it.ended = None;
        }
    }
}

/// What a life has of the receiver.
#[derive(Debug)]
pub(crate) struct Soc(pub(crate) Client);

impl Receiver for Soc {
    fn name(&self) -> &str {
        NAME
    }

    fn wants(&self, _: &Alert) -> bool {
        true
    }

    fn attempt(&self, post: Post, ended: Sender<Ended>) {
        step(&self.0.world);
        let mut world = lock(&self.0.world);
        let (life, since_ms) = (self.0.life, world.now_ms);
        let Post { number, message, manner, announced } = post;
        let (ended, stage) = (Some(ended), Stage::Waits(since_ms));
        let turn = world.turn_of(life, message.id());
        let attempt = Attempt { life, number, message, manner, announced, turn, ended, stage };
        world.receiver.attempts.push(attempt);
    }
}

impl World {
    /// Attempts go on: those whose time has come.
    pub(crate) fn tell(&mut self) {
        for mut it in std::mem::take(&mut self.receiver.attempts) {
            let is_frozen = self.frozen.contains(&it.life);
            let goes_on = match it.stage {
                Stage::Waits(_) if is_frozen => true,
                Stage::Waits(since_ms) => {
                    let is_late = self.now_ms >= since_ms + ANNOUNCE_MS;
                    if it.announced.is_empty() || is_late {
                        it.stage = self.posted();
                    }
                    true
                }
                Stage::Flies(due_ms, fate) => {
                    if due_ms <= self.now_ms {
                        it.stage = self.arrives(&it, fate);
                    }
                    true
                }
                Stage::Answered(due_ms, ref result) => {
                    let is_heard = due_ms <= self.now_ms && !is_frozen;
                    if is_heard && let Some(ended) = &it.ended {
                        // Nobody listens any more where the process is being ended.
                        drop(ended.send((it.number, result.clone())));
                    }
                    !is_heard && it.ended.is_some()
                }
            };
            if goes_on {
                self.receiver.attempts.push(it);
            }
        }
    }

    /// Which turn this is of the partition of an alert, if `life` has it.
    fn turn_of(&self, life: u64, id: &str) -> Option<u64> {
        let partition = self.receiver.places.get(id)?;
        self.deliver.turn_of(life, *partition)
    }

    fn posted(&mut self) -> Stage {
        let fate = match self.is_rough.then(|| self.random.u32(..20)) {
            Some(0) => Fate::TakenAndFailed,
            Some(1) => Fate::TakenUnheard,
            Some(2) => Fate::Busy,
            Some(3) => Fate::Refused,
            _ => Fate::Taken,
        };
        let longest = if self.once_in(12) { 15_000 } else { 400 };
        let delay = if self.is_rough { self.random.u64(..longest) } else { 1 };
        Stage::Flies(self.now_ms + delay, fate)
    }

    fn arrives(&mut self, it: &Attempt, fate: Fate) -> Stage {
        let is_away = self.is_rough && self.now_ms < self.receiver.away_until_ms;
        let failure = |ruling, status, is_ambiguous| Failure {
            ruling,
            status,
            asked_wait: (status == Some(429)).then_some(Duration::from_secs(2)),
            detail: String::new(),
            is_ambiguous,
        };
        let answered = |status| Err(failure(rule(status), Some(status), status == 500));
        let lost = |reason, is_ambiguous| Err(failure(Ruling::Retry(reason), None, is_ambiguous));
        let result = match fate {
            _ if is_away => lost(FailureReason::Connect, false),
            Fate::Taken => Ok(200),
            Fate::TakenAndFailed => answered(500),
            Fate::TakenUnheard => lost(FailureReason::Timeout, true),
            Fate::Busy => answered(429),
            Fate::Refused => answered(503),
        };
        let is_taken = matches!(fate, Fate::Taken | Fate::TakenAndFailed | Fate::TakenUnheard);
        self.met.untold += u32::from(result.is_err());
        if is_taken && !is_away {
            let id = Arc::clone(it.message.id());
            let is_its = it.turn.is_some() && it.turn == self.turn_of(it.life, &id);
            let is_orderly = it.announced.is_empty() && is_its;
            let body = String::from_utf8(it.message.body(it.manner).to_vec()).unwrap();
            let is_marked = it.manner.is_possible_duplicate;
            self.receiver.taken.push(Taken { id, body, is_marked, is_orderly });
        }
        let heard = if self.is_rough { self.random.u64(..300) } else { 0 };
        Stage::Answered(self.now_ms + heard, result)
    }
}
