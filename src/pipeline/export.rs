//! Everything a running instance has learned, written while it works.
//!
//! What is known of groups and of agents is in memory that all share. What the agents of a partition
//! taught in hours that are not over lies with the partition's judge, on its worker's thread: so each
//! worker is asked, and answers when it next keeps house.
//!
//! Agents are copied one by one while calls go on, so the states of two agents may be a few seconds
//! apart. No lock is held while bytes are handed on: who reads slowly keeps no call waiting.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::event::Timestamp;
use crate::pipeline::baselines;
use crate::pipeline::clock::Moment;
use crate::pipeline::epochs::kept::{Kept, Lessons, merge};
use crate::pipeline::judge::{Judge, Shared};
use crate::pipeline::worker::Signals;
use crate::state::codec::StateError;

/// How long a worker may take to answer; one that hangs is left out.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked whether the workers have answered.
const EVERY: Duration = Duration::from_millis(20);

/// How often the workers are asked again because an hour ended between their answers and the
/// board's.
const ROUNDS_MAX: u64 = 4;

/// What a worker's partitions taught in hours that are not over.
#[derive(Clone, Debug, Default)]
pub struct Taught {
    lessons: Lessons,
    upto: Option<Timestamp>,
}

impl Taught {
    /// Adds what one partition taught.
    pub fn add(&mut self, judge: &Judge) {
        merge(&mut self.lessons, judge.taught());
        self.upto = self.upto.max(judge.watermark());
    }
}

/// A question to all workers, and their answers.
#[derive(Debug, Default)]
pub struct Question {
    round: AtomicU64,
    answers: Mutex<BTreeMap<usize, (u64, Taught)>>,
}

impl Question {
    /// The round that a worker has to answer; `None` when it has.
    #[must_use]
    pub fn open_to(&self, worker: usize) -> Option<u64> {
        let round = self.round.load(Ordering::Relaxed);
        let answered = self.answers().get(&worker).map_or(0, |(round, _)| *round);
        (round > answered).then_some(round)
    }

    /// Takes a worker's answer.
    pub fn answer(&self, worker: usize, round: u64, taught: Taught) {
        self.answers().insert(worker, (round, taught));
    }

    /// Asks `workers` workers; what they answer within [`PATIENCE`], and whether all of them did.
    fn ask(&self, workers: usize) -> (Taught, bool) {
        let round = self.round.fetch_add(1, Ordering::Relaxed) + 1;
        let began = Moment::now();
        let answered = || self.answers().values().filter(|(of, _)| *of == round).count();
        while answered() < workers && began.elapsed() < PATIENCE {
            std::thread::sleep(EVERY);
        }
        let mut all = Taught::default();
        let mut count = 0;
        for (of, taught) in self.answers().values_mut() {
            let taught = std::mem::take(taught);
            if *of == round {
                merge(&mut all.lessons, &taught.lessons);
                all.upto = all.upto.max(taught.upto);
                count += 1;
            }
        }
        (all, count >= workers)
    }

    fn answers(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, (u64, Taught)>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what an instance has learned.
#[derive(Clone, Debug)]
pub struct RunningExport {
    /// What the workers share.
    pub shared: Shared,
    /// How the workers are asked.
    pub signals: Arc<Signals>,
    /// How many there are.
    pub workers: usize,
    /// The fingerprint of the key that targets are hashed with.
    pub hash_key: String,
}

impl RunningExport {
    /// Writes everything, as a file that `run --baseline` reads.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, out: impl Write) -> Result<(), StateError> {
        let (board, taught) = self.gather();
        let written = (taught.upto, &taught.lessons);
        baselines::write_shared(&self.shared, &board, written, (self.hash_key.clone(), out))
    }

    /// The board and what is not on it yet. An hour that ends in between would stand in both or in
    /// neither, so the board is looked at before and after.
    fn gather(&self) -> (Kept, Taught) {
        let mut board = self.shared.board.kept();
        for round in 1.. {
            let (taught, is_whole) = self.signals.question.ask(self.workers);
            if !is_whole {
                tracing::warn!("a worker does not answer: what it taught this hour is left out");
            }
            let after = self.shared.board.kept();
            let is_same = after.merged == board.merged && after.pending == board.pending;
            if is_same || !is_whole || round >= ROUNDS_MAX {
                return (board, taught);
            }
            board = after;
        }
        (board, Taught::default())
    }
}
