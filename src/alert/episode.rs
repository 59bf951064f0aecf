//! The life of one incident: it opens, it may get worse, it ends.
//!
//! A rule that goes on firing makes one episode, not one alert a call. An episode ends when its
//! rule has been quiet for [`EPISODE_GAP_SECS`]; the end is decided by event time alone.

use serde::{Deserialize, Serialize};

use crate::alert::{AlertId, Evidence};
use crate::event::Timestamp;

/// How long a rule must be quiet before its episode ends, in seconds of event time.
pub const EPISODE_GAP_SECS: i64 = 1_800;

/// An episode is spoken of again when its score rose by this much...
const SCORE_RISE: f64 = 10.0;

/// ...or this many seconds after the last word.
const UPDATE_AFTER_SECS: i64 = 600;

/// How many sample calls an episode keeps: the first ones, which show how it began.
pub const EVIDENCE_MAX: usize = 5;

/// What an episode has to say about one more firing call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It has just opened.
    Opened,
    /// It has got worse, or it is time for another word.
    Updated,
    /// It goes on; nothing new to tell.
    Quiet,
}

/// One open incident of one rule and one agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    /// Its identity.
    pub id: AlertId,
    /// When it opened.
    pub opened: Timestamp,
    /// Its last firing call.
    pub last: Timestamp,
    /// The highest score so far.
    pub peak: f64,
    /// When it was last spoken of, and at what peak.
    told: (Timestamp, f64),
    /// Words so far: the next alert's `revision`.
    pub revision: u32,
    /// Firing calls so far.
    pub calls: u64,
    /// The first firing calls.
    pub evidence: Vec<Evidence>,
    /// The last word, kept so that `resolved` can repeat what was wrong.
    pub last_summary: String,
}

impl Episode {
    /// Opens an episode with its first firing call.
    #[must_use]
    pub fn open(id: AlertId, time: Timestamp, score: f64, evidence: Vec<Evidence>) -> Self {
        Self {
            id,
            opened: time,
            last: time,
            peak: score,
            told: (time, score),
            revision: 0,
            calls: 1,
            evidence,
            last_summary: String::new(),
        }
    }

    /// Whether the episode is over at `now`.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        now >= self.deadline()
    }

    /// When it ends if nothing more is seen.
    #[must_use]
    pub fn deadline(&self) -> Timestamp {
        self.last.plus_secs(EPISODE_GAP_SECS)
    }

    /// One more firing call. An older call than the last does not shorten the episode.
    pub fn extend(&mut self, time: Timestamp, score: f64) -> Step {
        self.last = self.last.max(time);
        self.calls += 1;
        self.peak = self.peak.max(score);
        let (told_at, told_peak) = self.told;
        let worse = score >= told_peak + SCORE_RISE;
        if !worse && time < told_at.plus_secs(UPDATE_AFTER_SECS) {
            return Step::Quiet;
        }
        self.told = (time, told_peak.max(score));
        self.revision += 1;
        Step::Updated
    }

    /// Speaks of a firing call that [`Self::extend`] would have passed over in silence.
    pub fn speak(&mut self, time: Timestamp, score: f64) {
        self.told = (time, self.told.1.max(score));
        self.revision += 1;
    }

    /// Keeps one more sample call, while there is room.
    pub fn sample(&mut self, evidence: impl FnOnce() -> Evidence) {
        if self.evidence.len() < EVIDENCE_MAX {
            self.evidence.push(evidence());
        }
    }
}
