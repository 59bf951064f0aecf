//! How bursty calls are, and how much the hours vary beyond that.
//!
//! Burstiness is read from differences of neighbouring ten-minute counts, which a wrong or drifting
//! mean does not touch (von Neumann's estimator). Variation is what remains of the hours against
//! their expected calls.

use serde::{Deserialize, Serialize};

use crate::baseline::steady::BLOCK;
use crate::baseline::steady::evidence::narrow;

/// The dispersion believed in before anything was seen, and how many calls that is worth.
const PRIOR: f64 = 1.5;
const PRIOR_CALLS: f64 = 100.0;

/// What a pair of blocks keeps of those before: half after 48 days.
const FADE: f64 = 0.9998;

/// The index of dispersion of one agent's calls, from pairs of ten-minute blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Dispersion {
    /// Calls of this block, and of the first one of its pair.
    block: u32,
    first: u32,
    squares: f32,
    sums: f32,
    /// Whether the pair is not to be learned from.
    is_broken: bool,
}

impl Dispersion {
    /// Counts a call in the open block.
    pub(crate) fn add_call(&mut self) {
        self.block = self.block.saturating_add(1);
    }

    /// Leaves the pair under way out.
    pub(crate) fn forget_block(&mut self) {
        (self.block, self.first, self.is_broken) = (0, 0, true);
    }

    /// Lets time pass from one bucket to another, both of one hour or its end.
    pub(crate) fn pass(&mut self, from: i32, to: i32) {
        let (mut block, last) = (from.div_euclid(BLOCK), to.div_euclid(BLOCK));
        while block < last {
            if block.rem_euclid(2) == 0 {
                self.first = self.block;
            } else {
                self.end_pair();
            }
            self.block = 0;
            block += 1;
        }
    }

    fn end_pair(&mut self) {
        let (first, second) = (f64::from(self.first), f64::from(self.block));
        let (difference, sum) = (first - second, first + second);
        if !self.is_broken {
            let index = self.index();
            let limit = 16.0 * index * (sum + index);
            let square = (difference * difference).min(limit);
            self.squares = narrow(f64::from(self.squares) * FADE + square);
            self.sums = narrow(f64::from(self.sums) * FADE + sum);
        }
        self.is_broken = false;
    }

    /// The variance of a count over its mean, at least 1.
    #[must_use]
    pub(crate) fn index(&self) -> f64 {
        let sums = f64::from(self.sums) + PRIOR_CALLS;
        ((f64::from(self.squares) + PRIOR * PRIOR_CALLS) / sums).max(1.0)
    }

    /// The same with a margin for what is not known of it yet.
    #[must_use]
    pub(crate) fn index_high(&self) -> f64 {
        let sums = f64::from(self.sums) + PRIOR_CALLS;
        self.index() * (1.02 + libm::sqrt(self.index() / sums)).min(1.2)
    }
}

/// What an hour's variation is believed to be before any was seen, and how many hours that is
/// worth.
const PRIOR_DEVIATION: f64 = 0.05;
const PRIOR_HOURS: f64 = 100.0;

/// No hour counts for more than this deviation of the logarithm.
const DEVIATION_MAX: f64 = 1.5;

/// What an hour keeps of those before: half after two months.
const HOUR_FADE: f64 = 0.9995;

/// How much the hours vary beyond what counts do, in logarithms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Variation {
    squares: f32,
    weight: f32,
}

/// One hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Hour {
    /// Its calls.
    pub(crate) calls: f64,
    /// Those expected.
    pub(crate) expected: f64,
    /// The index of dispersion.
    pub(crate) dispersion: f64,
    /// The variance of what is known of the mean, relative to it.
    pub(crate) uncertainty: f64,
}

impl Variation {
    /// Learns an hour that is over.
    pub(crate) fn learn(&mut self, hour: &Hour) {
        let Hour { calls, expected, dispersion, uncertainty } = *hour;
        let ratio = libm::log((calls + dispersion) / (expected + dispersion));
        let deviation = ratio.clamp(-DEVIATION_MAX, DEVIATION_MAX);
        let sensitivity = expected / (expected + dispersion);
        let weight = sensitivity * sensitivity;
        let sampling = weight * (dispersion / expected.max(1e-9) + uncertainty);
        let square = deviation * deviation - sampling;
        self.squares = narrow(f64::from(self.squares) * HOUR_FADE + square);
        self.weight = narrow(f64::from(self.weight) * HOUR_FADE + weight);
    }

    /// The deviation of the logarithm of the hourly mean.
    #[must_use]
    pub(crate) fn deviation(&self) -> f64 {
        let prior = PRIOR_HOURS * PRIOR_DEVIATION * PRIOR_DEVIATION;
        let weight = PRIOR_HOURS + f64::from(self.weight);
        libm::sqrt(((prior + f64::from(self.squares)) / weight).max(0.0))
    }

    /// How many hours that rests on, those with few calls counted in part.
    #[must_use]
    pub(crate) fn weight(&self) -> f64 {
        f64::from(self.weight)
    }
}
