//! Service-like traffic without any attack in it: what every detector must stay quiet on.
//!
//! A [`Corpus`] is one way of working, a [`Crew`] some agents of one product that work that way.
//! The same plan gives the same calls on every machine. Nothing here judges; changes of rate are
//! part of the plan, so that whoever measures knows when each begins.

mod crew;
mod habit;
#[cfg(test)]
mod tests;

use crate::event::{HOUR_NS, Timestamp};
use crate::generate::draw;

pub use crew::Crew;

/// The first day of every corpus: Monday, 5 January 2026, 00:00 UTC.
pub const FIRST_DAY: Timestamp = Timestamp::from_secs(1_767_571_200);

/// One way of working.
///
/// All have a day (busiest at 14 h UTC, seven times as busy as at 2 h), a weekend (four tenths),
/// hours that each agent likes or not, and agents that differ in how much they do.
///
/// Source: `Poisson` to `Adoption` are the usual stress tests of rate and novelty detectors:
/// independent calls, over-dispersed ones, a rate that wanders, heavy tails, missing days, a
/// vocabulary without end, an order that holds, and a vocabulary that grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Corpus {
    /// Calls that do not know of each other.
    Poisson,
    /// Sessions of about twenty calls, geometric.
    Sessions,
    /// The same at a rate that wanders over half a day.
    SlowSessions,
    /// Sessions whose size is log-normal with a heavy tail.
    HeavyRuns,
    /// Calls on every other day or so, and none on the rest.
    OnOff,
    /// One agent with a hundred tools and always one more (Pitman and Yor's process).
    Generalist,
    /// Six steps in a fixed order, one in twenty of them another.
    Workflow,
    /// An agent that takes up one more tool of its group every fortnight.
    Adoption,
}

impl Corpus {
    /// Every corpus.
    pub const ALL: [Self; 8] = [
        Self::Poisson,
        Self::Sessions,
        Self::SlowSessions,
        Self::HeavyRuns,
        Self::OnOff,
        Self::Generalist,
        Self::Workflow,
        Self::Adoption,
    ];

    /// The name on the command line and in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Poisson => "poisson",
            Self::Sessions => "sessions",
            Self::SlowSessions => "slow-sessions",
            Self::HeavyRuns => "heavy-runs",
            Self::OnOff => "on-off",
            Self::Generalist => "generalist",
            Self::Workflow => "workflow",
            Self::Adoption => "adoption",
        }
    }

    /// Tools that a crew has between them.
    pub(crate) const fn tools(self) -> u16 {
        match self {
            Self::Generalist => 600,
            Self::Adoption => 20,
            _ => 8,
        }
    }

    /// Calls that arrive together, on average.
    pub(crate) const fn run(self) -> f64 {
        match self {
            Self::Sessions | Self::SlowSessions | Self::HeavyRuns => 20.0,
            Self::Workflow => 6.0,
            Self::Poisson | Self::OnOff | Self::Generalist | Self::Adoption => 1.0,
        }
    }
}

/// How much the agents of a crew do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Workload {
    /// Of twenty agents nineteen make about one call in ten minutes of a working day and one a call
    /// a minute, each times a draw of mean 1 (Gamma of shape 2).
    Mixed,
    /// Every agent makes so many calls a minute, the mean of a working day; by day it is up to 1.75
    /// times as many.
    Fixed(f64),
}

/// A change of how much is done, while it lasts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// When it begins.
    pub from: Timestamp,
    /// When it is over.
    pub until: Timestamp,
    /// The rate at its beginning over the usual one; 0 is silence.
    pub factor: f64,
    /// By how much the rate grows a day, .05 for 5 %.
    pub growth_a_day: f64,
}

impl Change {
    /// A change that lasts and does not grow.
    #[must_use]
    pub const fn lasting(from: Timestamp, factor: f64) -> Self {
        Self { from, until: Timestamp::MAX, factor, growth_a_day: 0.0 }
    }

    /// The rate at `time` over the usual one; 1 outside of the change.
    #[must_use]
    pub fn factor_at(&self, time: Timestamp) -> f64 {
        if time < self.from || time >= self.until {
            return 1.0;
        }
        let days = time.secs_since(self.from) / 86_400.0;
        self.factor * libm::pow(1.0 + self.growth_a_day, days)
    }
}

/// Some agents of one product.
#[derive(Clone, Debug, PartialEq)]
pub struct CrewPlan {
    /// How they work.
    pub corpus: Corpus,
    /// The seed of every draw.
    pub seed: u64,
    /// Which crew of its corpus this is: part of its names and its draws.
    pub number: u32,
    /// How many agents.
    pub agents: u32,
    /// How much they do.
    pub workload: Workload,
    /// What changes for all of them; it leaves alone when and how the usual work is done.
    pub change: Option<Change>,
}

/// Midnight of day number `day`, counted from [`FIRST_DAY`].
#[must_use]
pub fn midnight(day: u32) -> Timestamp {
    Timestamp::from_nanos(FIRST_DAY.as_nanos() + i64::from(day) * 24 * HOUR_NS)
}

/// So many days in milliseconds.
#[must_use]
pub fn millis_of_days(days: f64) -> i64 {
    draw::millis(days * 86_400.0, 0)
}
