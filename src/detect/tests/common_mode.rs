//! What changes a whole group: one finding, whoever speaks for the group.

use super::*;
use crate::alert::Severity;
use crate::policy::Detector;

/// Agents of the group.
const AGENTS: u32 = 24;

/// Days that are learned from.
const DAYS: u32 = 12;

/// Agents of one product at work around the clock.
#[derive(Clone)]
struct Crew {
    rules: Rules,
    epochs: Epochs,
    states: Vec<AgentState>,
    alerts: Vec<Alert>,
    id: u64,
    is_reversed: bool,
}

impl Crew {
    /// A crew that was learned.
    fn known(is_reversed: bool) -> Self {
        let first = |agent| AgentState::new(&of(agent, call(0.0, 0, "tool-1", 0)));
        let mut crew = Self {
            rules: rules(),
            epochs: Epochs::default(),
            states: (0..AGENTS).map(first).collect(),
            alerts: Vec::new(),
            id: 0,
            is_reversed,
        };
        (0..DAYS * 24).for_each(|hour| crew.hour(hour, 1));
        crew
    }

    /// An hour in which everybody does `factor` times the usual.
    fn hour(&mut self, hour: u32, factor: u32) {
        let mut agents: Vec<u32> = (0..AGENTS).collect();
        if self.is_reversed {
            agents.reverse();
        }
        for agent in agents {
            // A day shape, with a little noise that hangs on the agent and the hour.
            let of_day = 6 - (hour % 24).abs_diff(12) / 3;
            let noise = (hour * 31 + agent * 17) % 5;
            self.work(agent, hour, factor * (of_day + noise));
        }
    }

    fn work(&mut self, agent: u32, hour: u32, calls: u32) {
        for n in 0..calls {
            self.id += 1;
            let secs = f64::from(hour) * 3_600.0 + f64::from(n) * 3_500.0 / f64::from(calls);
            // The same id whatever the order.
            let id = u64::from(agent) << 48 | u64::from(hour) << 20 | u64::from(n);
            let call = of(agent, call(secs, id, "tool-1", id));
            let context = Context::new(&self.rules, self.epochs.peers(call.time.hour()));
            let state = &mut self.states[usize::try_from(agent).unwrap()];
            let verdict = observe(&context, state, &call);
            self.epochs.learn(call.time.hour(), state.group, &verdict.facts);
            self.alerts.extend(verdict.alerts);
        }
    }

    fn of(&self, detector: Detector) -> Vec<&Alert> {
        let is_it = |alert: &&Alert| {
            alert.detector == detector.as_str() && alert.status == AlertStatus::Firing
        };
        self.alerts.iter().filter(is_it).collect()
    }
}

fn of(agent: u32, call: ToolCall<'static>) -> ToolCall<'static> {
    ToolCall { agent_id: format!("helper@{agent:02}").into(), ..call }
}

/// The twelfth day, with everybody at three times the usual between 11 and 13 h.
fn released(is_reversed: bool) -> Crew {
    let mut crew = Crew::known(is_reversed);
    assert!(crew.of(Detector::CommonMode).is_empty());
    for hour in 0..24 {
        let factor = if (11..13).contains(&hour) { 3 } else { 1 };
        crew.hour(DAYS * 24 + hour, factor);
    }
    crew
}

#[test]
fn a_release_is_one_finding_about_the_group_whatever_the_order_of_its_agents() {
    let crew = released(false);
    let found = crew.of(Detector::CommonMode);
    assert_eq!(found.len(), 1, "{found:?}");
    let alert = found[0];
    assert_eq!(alert.agent_id, "helper@*");
    assert!(alert.time.contains("T13:00:00") && alert.score >= 40.0, "{alert:?}");
    assert!(alert.summary.starts_with("The 24 agents of `helper` did "), "{}", alert.summary);
    assert!(alert.observed > 2.0 && alert.trigger.is_none());
    let resolved =
        |alert: &&Alert| alert.detector == "common_mode" && alert.status == AlertStatus::Resolved;
    assert_eq!(crew.alerts.iter().filter(resolved).count(), 1);
    assert_eq!(released(true).of(Detector::CommonMode), found);
}

#[test]
fn what_an_agent_does_meanwhile_is_milder_and_of_the_groups_incident() {
    let mut crew = Crew::known(false);
    for hour in 0..14 {
        crew.hour(DAYS * 24 + hour, if hour < 11 { 1 } else { 3 });
    }
    let incident = crew.of(Detector::CommonMode)[0].dedup_key.clone();
    let before = crew.of(Detector::CallRate).len();
    crew.work(3, DAYS * 24 + 14, 3_000);
    let flood = crew.of(Detector::CallRate)[before..].to_vec();
    assert_eq!(flood.len(), 1);
    assert_eq!((&flood[0].dedup_key, flood[0].severity), (&incident, Severity::Medium));
    assert!(flood[0].summary.contains("Its whole group has done"), "{}", flood[0].summary);
}

#[test]
fn what_agents_are_told_of_in_the_hour_it_began_is_of_the_groups_incident_as_well() {
    let mut crew = Crew::known(false);
    for hour in 0..14 {
        crew.hour(DAYS * 24 + hour, if hour < 11 { 1 } else { 3 });
        if hour == 11 {
            // In the middle of it, when nothing is known of the group.
            crew.work(3, DAYS * 24 + 11, 3_000);
        }
    }
    let incident = &crew.of(Detector::CommonMode)[0].dedup_key;
    let of_hour = |alert: &&&Alert| alert.time.contains("T11:");
    let found = crew.of(Detector::CallRate);
    let flood = found.iter().find(of_hour).unwrap();
    assert_eq!((&flood.dedup_key, flood.severity), (incident, Severity::High));
    assert!(!flood.summary.contains("Its whole group"), "{}", flood.summary);
}

#[test]
fn an_agents_flood_in_a_quiet_group_is_as_bad_as_ever() {
    let mut crew = Crew::known(false);
    (0..14).for_each(|hour| crew.hour(DAYS * 24 + hour, 1));
    crew.work(3, DAYS * 24 + 14, 3_000);
    let flood = crew.of(Detector::CallRate);
    assert_eq!((flood.len(), flood[0].severity), (1, Severity::High));
    assert!(crew.of(Detector::CommonMode).is_empty());
}
