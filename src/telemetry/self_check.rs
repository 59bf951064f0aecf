//! What the self-check counted: how near detectors came to an alert, and how near they may.

use crate::telemetry::Metrics;

/// The label of each tier, nearest last.
pub const TIER_LABELS: [&str; 4] = ["0.03", "0.1", "0.3", "1"];

impl Metrics {
    /// Begins the series of one detector at 0.
    pub(super) fn seed_self_check(&self, detector: &str) {
        for tier in TIER_LABELS {
            self.self_check(detector, tier, (0, 0.0));
        }
        self.miscalibrated(detector, 0);
    }

    /// Counts agent-days on which a detector reached a tier, and how many its budget allows more.
    pub fn self_check(&self, detector: &str, tier: &str, (crossings, allowed): (u64, f64)) {
        let it = self.families();
        it.self_check_crossings.with_label_values(&[detector, tier]).inc_by(crossings);
        it.self_check_allowed.with_label_values(&[detector, tier]).inc_by(allowed.max(0.0));
    }

    /// Groups in which a detector is beyond its promise now.
    pub fn miscalibrated(&self, detector: &str, groups: usize) {
        let groups = i64::try_from(groups).unwrap_or(i64::MAX);
        self.families().self_check_miscalibrated.with_label_values(&[detector]).set(groups);
    }
}
