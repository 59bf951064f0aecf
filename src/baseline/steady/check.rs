//! Whether evidence keeps its promise: how often it crossed low levels, against how often it may.
//!
//! A level `c` may be crossed `days / c` times while nothing happens. A stream whose evidence
//! crosses more often is not what it was taken for, and must be judged otherwise. The levels are
//! far below what anybody is told of, so that a wrong assumption shows long before a false alarm.

use serde::{Deserialize, Serialize};

/// The levels: at most once in so many expected active days.
pub(crate) const LEVELS: [f64; 3] = [6.0, 20.0, 60.0];

/// A level is left when the evidence is below this part of it.
const LEFT: f64 = 0.1;

/// Days after which everything counts half.
const DAYS_MAX: f32 = 60.0;

/// The crossings of one kind of evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SelfCheck {
    crossings: [u16; 3],
    above: [bool; 3],
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
        for ((above, crossings), level) in
            self.above.iter_mut().zip(&mut self.crossings).zip(LEVELS)
        {
            if *above {
                *above = evidence >= LEFT * level;
            } else if evidence >= level {
                *above = true;
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
