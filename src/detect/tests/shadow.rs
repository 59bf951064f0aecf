//! The self-check: what detectors promise against what they do.

use super::*;
use crate::alert::{Alert, Severity};
use crate::baseline::realised::{TIERS, allowed};
use crate::policy::Detector;

const AGENTS: [&str; 12] = [
    "helper@a", "helper@b", "helper@c", "helper@d", "helper@e", "helper@f", "helper@g", "helper@h",
    "helper@i", "helper@j", "helper@k", "helper@l",
];

const DAY: f64 = 86_400.0;

/// What a group came to.
struct Told {
    alerts: Vec<Alert>,
    group: GroupSummary,
}

/// Days of twelve agents of one group, each with some calls a minute apart and, on every fifth
/// day of each, as many calls within a minute as `flood` says.
fn days(rules: &Rules, days: u32, flood: u32) -> Told {
    lived(rules, days, flood, |day, number| day % 5 == number % 5)
}

/// The same with the agent-days that `is_flooded` names.
fn lived(rules: &Rules, days: u32, flood: u32, is_flooded: impl Fn(u32, u32) -> bool) -> Told {
    let mut epochs = Epochs::default();
    let first = |name: &'static str| ToolCall { agent_id: name.into(), ..call(0.0, 0, "t", 1) };
    let mut states: Vec<AgentState> = AGENTS.map(|name| AgentState::new(&first(name))).into();
    let (mut alerts, mut id) = (Vec::new(), 0);
    for day in 0..days {
        for (number, state) in (0_u32..).zip(&mut states) {
            let start = f64::from(day) * DAY + 36_000.0;
            let is_flooded = is_flooded(day, number);
            let calm = (0..80).map(|n| f64::from(n) * 60.0);
            let wild = (0..flood).filter(|_| is_flooded).map(|n| 4_800.0 + f64::from(n) * 0.1);
            for secs in calm.chain(wild) {
                id += 1;
                let name = AGENTS[usize::try_from(number).unwrap()];
                let call = ToolCall { agent_id: name.into(), ..call(start + secs, id, "t", id) };
                let peers = epochs.peers(call.time.hour()).clone();
                let verdict = observe(&Context::new(rules, &peers), state, &call);
                epochs.learn(call.time.hour(), state.group, &verdict.facts);
                alerts.extend(verdict.alerts);
            }
        }
    }
    let peers = epochs.peers(i64::MAX);
    Told { alerts, group: peers.group(states[0].group).unwrap().clone() }
}

fn flood_rules() -> Rules {
    Rules::from_raw(vec![raw("call_rate.burst", 0.04)]).unwrap()
}

#[test]
fn a_detector_beyond_its_budget_is_found_and_its_alerts_are_milder_and_say_so() {
    let told = days(&flood_rules(), 40, 120);
    let excess = told.group.realised().excess(Detector::CallRate.place(), 0.04).unwrap();
    assert!(excess.observed > 40, "{excess:?}");
    let (first, last) = (told.alerts.first().unwrap(), told.alerts.last().unwrap());
    assert_eq!((first.severity, &first.calibration), (Severity::High, &None));
    let calibration = last.calibration.clone().unwrap();
    assert_eq!((last.severity, calibration.rule_severity), (Severity::Medium, Severity::High));
    assert!(calibration.observed > 8 && calibration.agent_days > 100, "{calibration:?}");
    assert!(calibration.allowed < 0.5 * f64::from(u32::try_from(calibration.observed).unwrap()));
}

#[test]
fn ten_attacked_agent_days_are_no_wrong_model() {
    // An agent a day for ten days, at the end of four weeks and more.
    let attacked = |day: u32, number: u32| day >= 22 && day - 22 == number && number < 10;
    let told = lived(&flood_rules(), 36, 120, attacked);
    let opened: Vec<_> = told.alerts.iter().filter(|alert| alert.revision == 0).collect();
    assert_eq!(opened.len(), 10);
    let place = Detector::CallRate.place();
    assert_eq!(told.group.realised().crossings(place)[3], 10);
    assert_eq!(told.group.realised().excess(place, 0.04), None);
    for alert in opened {
        assert_eq!((alert.severity, &alert.calibration), (Severity::High, &None));
    }
}

#[test]
fn an_episode_keeps_the_severity_it_was_opened_with() {
    let told = days(&flood_rules(), 40, 120);
    for alert in &told.alerts {
        let opened = told.alerts.iter().find(|it| it.alert_id == alert.alert_id).unwrap();
        assert_eq!(opened.severity, alert.severity, "{}", alert.summary);
    }
}

#[test]
fn a_detector_within_its_budget_is_trusted() {
    let rules = rules();
    let told = days(&rules, 30, 0);
    let realised = told.group.realised();
    assert!(realised.days() > 250, "{}", realised.days());
    for rule in rules.words() {
        let place = rule.detector.place();
        assert_eq!(realised.excess(place, rule.budget), None, "{}", rule.id);
        for (tier, observed) in TIERS.iter().zip(realised.crossings(place)) {
            let allowed = allowed(rule.budget, *tier, realised.days());
            let observed = f64::from(u32::try_from(observed).unwrap());
            assert!(observed <= allowed.max(8.0), "{} at {tier}: {observed}", rule.id);
        }
    }
}

#[test]
fn a_day_counts_once_for_each_tier_whatever_happens_on_it() {
    let rules = flood_rules();
    let mut state = known_agent(&rules);
    let mut crossings = Vec::new();
    for n in 0..600_u32 {
        let secs = 4.0 * DAY + 40_000.0 + f64::from(n) * 0.5;
        let call = call(secs, 10_000 + u64::from(n), "tool-0", u64::from(n));
        let verdict = observe(&Context::new(&rules, &Peers::default()), &mut state, &call);
        crossings.extend(verdict.facts.into_iter().filter_map(|fact| match fact {
            Fact::Crossing { detector, tier, .. } => Some((detector, tier)),
            _ => None,
        }));
    }
    crossings.sort_unstable();
    assert_eq!(crossings, [0, 1, 2, 3].map(|tier| (Detector::CallRate.place(), tier)));
}

#[test]
fn an_agent_that_is_still_learned_counts_in_neither_number() {
    let rules = flood_rules();
    let mut state = AgentState::new(&call(0.0, 0, "t", 1));
    for n in 0..400_u32 {
        let call = call(f64::from(n) * 0.1, u64::from(n), "t", u64::from(n));
        let verdict = observe(&Context::new(&rules, &Peers::default()), &mut state, &call);
        let is_counted =
            |fact: &Fact| matches!(fact, Fact::JudgedDay { .. } | Fact::Crossing { .. });
        assert!(!verdict.facts.iter().any(is_counted), "{:?}", verdict.facts);
    }
}

#[test]
fn every_detector_has_a_place_of_its_own() {
    let places: Vec<u8> = Detector::ALL.map(Detector::place).into();
    assert!(places.is_sorted_by(|a, b| a < b) && places.iter().all(|place| *place < 32));
}
