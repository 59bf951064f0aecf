//! How rare a burst of argument shapes is that an agent never used.
//!
//! Like bursts of tools (`discovery`), with a rate of its own: a shape is new far more often than a
//! tool, because optional arguments come and go.

use crate::baseline::discovery::burst_tail;
use crate::baseline::float;

/// Bursts an active day believed of an agent without history, and for how many days that stands.
const PRIOR: (f64, f64) = (0.5, 10.0);

/// Bursts an active day, from `bursts` that did not alert in `days` days.
#[must_use]
pub fn rate(bursts: u16, days: u32) -> f64 {
    let (prior, prior_days) = PRIOR;
    (f64::from(bursts) + prior * prior_days) / (float(days.into()) + prior_days)
}

/// The chance, 0 to 1, that an active day has a burst of at least this weight.
///
/// The tail falls with the cube of the weight: shapes come in clusters less than calls of a new
/// tool do, since each counts once.
#[must_use]
pub fn tail(rate: f64, weight: f64) -> f64 {
    (burst_tail(rate, weight) / weight.max(1.0)).clamp(0.0, 1.0)
}

/// The largest weight that stays less rare than `probability`.
#[must_use]
pub fn silent_weight(rate: f64, probability: f64) -> f64 {
    libm::cbrt(rate / probability.max(1e-12)).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use statrs::distribution::{ContinuousCDF, Pareto};

    #[test]
    fn an_agent_that_discovers_nothing_makes_a_burst_rarer() {
        assert!((rate(0, 0) - 0.5).abs() < 1e-12);
        assert!(rate(0, 90) < 0.06 && rate(90, 90) > 0.9);
    }

    proptest! {
        #[test]
        fn the_tail_is_that_of_a_pareto_distribution(rate in 0.001_f64..1.0, weight in 1.0_f64..1e4) {
            let expected = rate * Pareto::new(1.0, 3.0).unwrap().sf(weight);
            prop_assert!((tail(rate, weight) - expected).abs() <= 1e-9 * expected);
        }

        #[test]
        fn the_silent_weight_is_where_the_tail_meets_the_budget(rate in 0.05_f64..1.0, budget in 0.001_f64..0.02) {
            let weight = silent_weight(rate, budget);
            prop_assert!(tail(rate, weight + 0.01) <= budget);
            prop_assert!((0.0..=1.0).contains(&tail(rate, weight)));
        }
    }
}
