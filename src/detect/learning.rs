//! How much is known of an agent, for each detector: so that nobody takes a guess for knowledge.

use crate::alert::{Learning, LearningState};
use crate::baseline::float;
use crate::baseline::peaks::KNOWN_DAYS;
use crate::baseline::peers::Peers;
use crate::baseline::steady::{Steady, Trust};
use crate::detect::agent::{AgentState, LEARNED};
use crate::detect::{injected_session, version};
use crate::event::Timestamp;
use crate::policy::{Detector, Rules};
use serde::{Deserialize, Serialize};

/// Days without a call after which an agent that comes back is stale.
const SILENT_DAYS: i64 = 30;

/// Active days after which a detector that still lacks data is starved, rather than learning.
const STARVED_AFTER_DAYS: u32 = 7;

/// Days a tool must lie idle, and so the age an agent needs before one can.
const DORMANT_DAYS: i64 = 60;

/// Whether a detector judges by the sessions of the agent's group, rather than by the agent.
const fn judges_by_group(detector: Detector) -> bool {
    matches!(detector, Detector::InjectedSession | Detector::LookAlike)
}

/// An agent's last return after a long silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Return {
    /// The day it came back, since the Unix epoch.
    pub(crate) day: i64,
    /// How many days it was silent.
    pub(crate) silent_days: i64,
    /// Its active days before that.
    active_days: u32,
}

impl AgentState {
    /// How much is known of the agent as far as `detector` is concerned; `peers` tells how many
    /// colleagues it has.
    ///
    /// The agent itself comes first (learning, then stale), then what the detector needs besides.
    #[must_use]
    pub fn learning_of(&self, detector: Detector, rules: &Rules, peers: &Peers) -> Learning {
        let (state, progress) = self.known_to(detector, rules, peers);
        Learning {
            state,
            progress,
            since: self.since.to_string(),
            active_days: self.history.days,
            peers: u32::try_from(self.peer_count(peers)).unwrap_or(u32::MAX),
            version: version::learning(self),
            group: self.peer_group(),
        }
    }

    /// Whether a detector's score is held below the one that pages: the agent is being learned, or
    /// the detector has no daily maxima to judge it by.
    pub(crate) fn is_capped(&self, detector: Detector, rules: &Rules, peers: &Peers) -> bool {
        if judges_by_group(detector) {
            return injected_session::group_progress(rules, peers, (self.group, self.newest))
                .is_some();
        }
        let lacks_days = |days: f64| days < KNOWN_DAYS;
        self.learning().is_some() || self.peaks.days(detector).is_some_and(lacks_days)
    }

    /// Notes that the agent has come back, before its newest call is moved to `time`.
    pub(crate) fn note_return(&mut self, time: Timestamp) {
        // Most calls come within the day of the one before, and days need not be counted for them.
        if time <= self.newest.plus_secs(86_400) {
            return;
        }
        let silent_days = time.day().saturating_sub(self.newest.day());
        if self.history.calls > 0 && silent_days >= SILENT_DAYS {
            self.rare.set_returned(Return {
                day: time.day(),
                silent_days,
                active_days: self.history.days,
            });
        }
    }

    /// Days of the last `days` in which the agent was around: its last long silence is left out.
    pub(crate) fn days_around(&self, days: u32, now: Timestamp) -> i64 {
        let days = i64::from(days);
        let silent = self
            .rare
            .returned()
            .filter(|returned| now.day().saturating_sub(returned.day) <= days)
            .map_or(0, |returned| returned.silent_days);
        days - silent.min(days)
    }

    fn known_to(&self, detector: Detector, rules: &Rules, peers: &Peers) -> (LearningState, f64) {
        if judges_by_group(detector) {
            return match injected_session::group_progress(rules, peers, (self.group, self.newest)) {
                Some(progress) => (LearningState::Learning, progress),
                None => (LearningState::Active, 1.0),
            };
        }
        if let Some(progress) = self.learning() {
            return (LearningState::Learning, progress);
        }
        if let Some(progress) = self.staleness() {
            return (LearningState::Stale, progress);
        }
        if let Some(known) = self.steadiness(detector) {
            return known;
        }
        let progress = self.data_of(detector);
        let state = match progress {
            p if p >= 1.0 => LearningState::Active,
            _ if self.history.days < STARVED_AFTER_DAYS => LearningState::Learning,
            // Age comes by itself; nothing is missing from the records.
            _ if matches!(detector, Detector::DormantTool | Detector::Drift) => {
                LearningState::Learning
            }
            _ => LearningState::Starved,
        };
        (state, progress.min(1.0))
    }

    /// How far the detectors of steady agents judge this one; `None` for other detectors. An agent
    /// that is not steady starves them, and is judged by its daily maxima instead.
    fn steadiness(&self, detector: Detector) -> Option<(LearningState, f64)> {
        let trust = match detector {
            Detector::RateShift => Steady::trust,
            Detector::Silence => Steady::trust_low,
            _ => return None,
        };
        let starts = self.run_starts().filter(|_| detector == Detector::RateShift);
        if starts.is_some_and(|starts| starts.trust() == Trust::Active) {
            return Some((LearningState::Active, 1.0));
        }
        let Some(steady) = self.steady() else {
            let is_young = self.history.days < STARVED_AFTER_DAYS;
            let state = if is_young { LearningState::Learning } else { LearningState::Starved };
            return Some((state, 0.0));
        };
        Some(match trust(steady) {
            Trust::Learning(progress) => (LearningState::Learning, progress),
            Trust::Starved => (LearningState::Starved, 0.0),
            Trust::Active => (LearningState::Active, 1.0),
        })
    }

    /// How far an agent that came back is known again, 0 to 1; `None` when it was never away.
    fn staleness(&self) -> Option<f64> {
        let returned = self.rare.returned()?;
        let days = self.history.days.saturating_sub(returned.active_days);
        let (needed, _) = LEARNED;
        (days < needed).then(|| float(days.into()) / float(needed.into()))
    }

    /// How much of what a detector needs besides the agent's history is there; 1 is enough.
    fn data_of(&self, detector: Detector) -> f64 {
        if let Some(days) = self.peaks.days(detector) {
            return days / KNOWN_DAYS;
        }
        match detector {
            Detector::Drift => self.anchors.as_ref().map_or(0.0, |anchors| anchors.progress()),
            Detector::CallRate => self.minutes.days() / KNOWN_DAYS,
            Detector::ArgumentShape => f64::from(u8::from(self.tools.knows_shapes())),
            Detector::UnusualHour => f64::from(u8::from(self.hours.is_known())),
            Detector::DormantTool => {
                let age = self.newest.day().saturating_sub(self.since.day()).max(0);
                float(age.unsigned_abs()) / float(DORMANT_DAYS.unsigned_abs())
            }
            _ => 1.0,
        }
    }
}
