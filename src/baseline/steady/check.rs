//! Whether evidence keeps its promise: how often it crossed low levels, against how often it may.
//!
//! A level `c` may be crossed `days / c` times while nothing happens. A stream whose evidence
//! crosses more often is not what it was taken for, and must be judged otherwise. The levels are
//! far below what anybody is told of, so that a wrong assumption shows long before a false alarm.

use serde::{Deserialize, Serialize};

use crate::baseline::realised::NEAR;
use crate::baseline::steady::GATED_FROM;

/// The levels: at most once in so many expected active days. They are the tiers at which a group's
/// near-misses are counted, of the evidence at which somebody is told.
const LEVELS: [f64; NEAR.len()] =
    [NEAR[0] * GATED_FROM, NEAR[1] * GATED_FROM, NEAR[2] * GATED_FROM];

/// A level is left when the evidence is below this part of it.
const LEFT: f64 = 0.1;

/// Days after which everything counts half.
const DAYS_MAX: f32 = 60.0;

/// The crossings of one kind of evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SelfCheck {
    crossings: [u16; NEAR.len()],
    /// One bit a level that is not left yet.
    above: u8,
    days: f32,
}

impl SelfCheck {
    /// Looks at the evidence, which was given `mass` expected active days since the last look.
    pub(crate) fn look(&mut self, evidence: f64, mass: f32) {
        self.days += mass;
        if self.days > DAYS_MAX {
            self.days /= 2.0;
            self.crossings.iter_mut().for_each(|crossings| *crossings /= 2);
        }
        for (place, level) in (0_u8..).zip(LEVELS) {
            if evidence < LEFT * level {
                self.above &= !(1 << place);
            }
        }
        self.cross(evidence);
    }

    /// Looks at evidence that is not complete: it may have reached a level, but has not left one.
    pub(crate) fn cross(&mut self, evidence: f64) {
        for ((place, crossings), level) in (0_u8..).zip(&mut self.crossings).zip(LEVELS) {
            let bit = 1 << place;
            if self.above & bit == 0 && evidence >= level {
                self.above |= bit;
                *crossings = crossings.saturating_add(1);
            }
        }
    }

    /// Whether the crossings are as few as promised, three deviations and one anomaly allowed.
    #[must_use]
    pub(crate) fn holds(&self) -> bool {
        self.crossings.iter().zip(LEVELS).all(|(crossings, level)| {
            // By Doob's inequality for upcrossings from a tenth of the level to the level.
            let bound = (f64::from(self.days) / level + LEFT) / (1.0 - LEFT);
            f64::from(*crossings) <= bound + 3.0 * libm::sqrt(bound) + 1.0
        })
    }
}
