//! The self-check: what a detector promises is counted against what it does.
//!
//! Every detector hands in its ratio of budget to chance whenever it has computed one that could
//! alert, fired or not. The agent's group is told when a ratio reaches a tier of
//! [`crate::baseline::realised::TIERS`] for the first time on an active day, and of every active
//! day itself. Only agents that were known when the day began count, in neither number otherwise.
//! Nothing is counted for what people said is expected.
//!
//! A detector beyond its promise in a group goes on judging there, with a severity one step lower,
//! and its alerts say so. Whoever plants alerts by the dozen gains that one step and no silence.
//!
//! Detectors without a model of chance are counted by what they alert only (tier 1): an unusual
//! hour and a look-alike have a constant ratio, and a session's surprise is no chance. A silence is
//! looked at only once it alerts, and has the severity that its agent's last hour knew: it is told
//! when time passes, and what peers are known then is not fixed. Lists (first use, dormant tool,
//! version) promise nothing and are left out.

use serde::{Deserialize, Serialize};

use crate::alert::Calibration;
use crate::baseline::peers::{Fact, Peers};
use crate::baseline::realised::{Excess, TIERS};
use crate::detect::agent::AgentState;
use crate::detect::{Judgement, Verdict};
use crate::event::Timestamp;
use crate::policy::{Detector, Rules, Words};

/// Below this nothing is counted.
pub(crate) const LOWEST: f64 = TIERS[0];

/// What an agent's detectors reached today.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shadow {
    /// For each tier one bit a detector.
    crossed: [u32; TIERS.len()],
}

impl AgentState {
    /// Begins an active day.
    pub(crate) fn begin_shadow(&mut self, time: Timestamp, verdict: &mut Verdict) {
        self.shadow = Shadow::default();
        self.is_day_counted = self.learning().is_none();
        if self.is_day_counted {
            verdict.facts.push(Fact::JudgedDay { day: day(time) });
        }
    }

    /// Takes the ratio that a detector has computed for a call, whether it fires or not.
    pub(crate) fn weigh(
        &mut self,
        judgement: &Judgement<'_>,
        (detector, ratio): (Detector, f64),
        verdict: &mut Verdict,
    ) {
        if ratio >= LOWEST && self.is_day_counted {
            let at = (judgement.call.time, judgement.peers);
            self.cross(judgement.rules, at, (detector, ratio), verdict);
        }
    }

    /// The same for what happens at a time without a call.
    pub(crate) fn weigh_silence(&mut self, rules: &Rules, time: Timestamp, verdict: &mut Verdict) {
        if self.is_day_counted {
            self.cross(rules, (time, &Peers::default()), (Detector::Silence, 1.0), verdict);
        }
    }

    fn cross(
        &mut self,
        rules: &Rules,
        (time, peers): (Timestamp, &Peers),
        (detector, ratio): (Detector, f64),
        verdict: &mut Verdict,
    ) {
        let bit = 1_u32.checked_shl(detector.place().into()).unwrap_or(0);
        let tiers = (0_u8..).zip(TIERS).skip(if has_tiers(detector) { 0 } else { 3 });
        for (tier, threshold) in tiers {
            let is_known = |crossed: &u32| *crossed & bit != 0;
            if ratio < threshold || self.shadow.crossed.get(usize::from(tier)).is_none_or(is_known)
            {
                continue;
            }
            // A score that is held back pages nobody, so it breaks no promise.
            if self.is_capped(detector, rules, peers) {
                return;
            }
            if let Some(crossed) = self.shadow.crossed.get_mut(usize::from(tier)) {
                *crossed |= bit;
            }
            let (detector, hour) = (detector.place(), time.hour());
            verdict.facts.push(Fact::Crossing { detector, tier, hour });
        }
    }

    /// How far a rule's detector is beyond its promise in the agent's group; `None` when it is not.
    pub(crate) fn excess(&self, rule: &Words, peers: &Peers) -> Option<Excess> {
        if !promises(rule.detector) {
            return None;
        }
        peers.group(self.group)?.realised().excess(rule.detector.place(), rule.budget)
    }
}

/// Why an alert of a rule is less severe than the rule says.
pub(crate) fn calibration(rule: &Words, excess: &Excess) -> Calibration {
    Calibration {
        tier: excess.tier,
        observed: excess.observed,
        allowed: libm::round(excess.allowed * 100.0) / 100.0,
        agent_days: excess.days,
        rule_severity: rule.severity,
    }
}

/// Whether a detector promises anything of agents: a list does not, nor what judges groups.
#[must_use]
pub const fn promises(detector: Detector) -> bool {
    !matches!(
        detector,
        Detector::FirstUse | Detector::DormantTool | Detector::Version | Detector::CommonMode
    )
}

/// Whether a detector's ratio falls with the chance of what was seen, so that low tiers mean
/// something.
#[must_use]
pub const fn has_tiers(detector: Detector) -> bool {
    let is_constant = matches!(
        detector,
        Detector::UnusualHour
            | Detector::LookAlike
            | Detector::InjectedSession
            | Detector::Silence
            | Detector::Drift
    );
    promises(detector) && !is_constant
}

fn day(time: Timestamp) -> i32 {
    i32::try_from(time.day()).unwrap_or(i32::MAX)
}
