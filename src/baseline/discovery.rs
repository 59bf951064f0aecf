//! How often an agent takes up new tools, and how rare a burst of them is.
//!
//! One adoption is six to seventeen calls in ten minutes, so the unit is the burst and not the
//! call: its rate comes from the agent and its peers, its size has a tail that falls with the
//! square.

use crate::baseline::float;
use crate::baseline::peers::GroupSummary;
use serde::{Deserialize, Serialize};

/// How many days of the group's rate an agent's own rate starts with.
const GROUP_DAYS: f64 = 20.0;

/// What is believed of a group before anything was seen: three bursts in ten days.
const PRIOR: (f64, f64) = (3.0, 10.0);

/// Bursts of discoveries of one agent that did not alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discoveries {
    bursts: u16,
}

impl Discoveries {
    /// Learns one burst that ended without an alert.
    pub fn learn(&mut self) {
        self.bursts = self.bursts.saturating_add(1);
    }

    /// Bursts an active day, from `days` days of the agent and what its group does.
    #[must_use]
    pub fn rate(&self, days: u32, group: Option<&GroupSummary>) -> f64 {
        let (bursts, group_days) = group.map_or((0, 0), |g| (g.discoveries, g.active_days));
        let group_rate = (PRIOR.0 + float(bursts)) / (PRIOR.1 + float(group_days));
        (float(self.bursts.into()) + GROUP_DAYS * group_rate) / (float(days.into()) + GROUP_DAYS)
    }
}

/// The chance, 0 to 1, that an active day has a burst of at least this weight.
#[must_use]
pub fn burst_tail(rate: f64, weight: f64) -> f64 {
    let weight = weight.max(1.0);
    (rate / (weight * weight)).clamp(0.0, 1.0)
}

/// The largest weight that stays less rare than `probability`.
#[must_use]
pub fn silent_weight(rate: f64, probability: f64) -> f64 {
    libm::sqrt(rate / probability.max(1e-12)).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use statrs::distribution::{ContinuousCDF, Pareto};

    #[test]
    fn without_history_the_rate_is_the_prior() {
        assert!((Discoveries::default().rate(0, None) - 0.3).abs() < 1e-12);
    }

    #[test]
    fn a_group_that_discovers_nothing_lowers_the_rate() {
        let mut quiet = GroupSummary::default();
        quiet.active_days = 90;
        assert!(Discoveries::default().rate(0, Some(&quiet)) < 0.05);
    }

    proptest! {
        #[test]
        fn tails_are_probabilities_and_fall(rate in 0.0_f64..5.0, weight in 0.0_f64..1e6) {
            let (here, above) = (burst_tail(rate, weight), burst_tail(rate, weight + 0.5));
            prop_assert!((0.0..=1.0).contains(&here));
            prop_assert!(above <= here);
        }

        #[test]
        fn the_tail_is_that_of_a_pareto_distribution(rate in 0.01_f64..1.0, weight in 1.0_f64..1e4) {
            let pareto = Pareto::new(1.0, 2.0).unwrap();
            let expected = rate * pareto.sf(weight);
            prop_assert!((burst_tail(rate, weight) - expected).abs() <= 1e-9 * expected);
            let silent = silent_weight(rate, expected);
            prop_assert!((silent - weight).abs() <= 1e-6 * weight, "{silent}");
        }
    }
}
