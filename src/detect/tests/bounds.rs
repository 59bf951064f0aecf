//! What an agent can make the state hold has an end, and reaching it is told.

use super::*;
use crate::alert::Expected;
use crate::detect::Moment;
use crate::detect::episodes::{Decided, Description};

fn described() -> Description {
    Description {
        summary: "It did.".to_owned(),
        expected: Expected { low: 0.0, high: 0.0, unit: "calls".to_owned(), basis: String::new() },
        observed: 1.0,
        start: Timestamp::from_secs(0),
        counterfactual: "silent if it had not".to_owned(),
        evidence: Vec::new(),
        evidence_total: 1,
        subjects: Vec::new(),
    }
}

#[test]
fn of_too_many_open_episodes_the_one_quiet_longest_ends() {
    let (rules, peers) = (rules(), Peers::default());
    let context = Context::new(&rules, &peers);
    let mut state = known_agent(&rules);
    let rule = &rules.injected_session.as_ref().unwrap().words;
    let mut ended = Vec::new();
    for n in 1..=20_u32 {
        let call = call(MORNING + f64::from(n) * 10.0, 1_000 + u64::from(n), "tool-1", 5);
        let judgement = Judgement {
            rules: &rules,
            peers: &peers,
            said: context.expectations.said(state.agent, state.group, call.time),
            call: &call,
            group: None,
            habits: None,
            tool: 1,
            session: n.into(),
            moment: Moment::of(call.time),
        };
        let mut verdict = Verdict::default();
        let decided = Decided { rule, ratio: 10.0, session: n.into() };
        state.report_session(&judgement, &decided, &mut verdict, |_| described());
        assert_eq!(verdict.bounds.iter().eq([Bound::Episodes]), n > 8, "{n}");
        let resolved = |alert: &&Alert| alert.status == AlertStatus::Resolved;
        ended.extend(verdict.alerts.iter().filter(resolved).map(|alert| alert.alert_id.clone()));
    }
    assert_eq!((state.open_episodes(), ended.len()), (8, 12));
    ended.dedup();
    assert_eq!(ended.len(), 12, "each ends once");
}
