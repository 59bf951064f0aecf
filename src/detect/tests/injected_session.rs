//! Sessions that pay somebody new after they have read: through the whole engine.

use super::*;
use crate::alert::PAGE_SCORE;
use crate::baseline::session;
use crate::detect::tests::world::World;
use crate::policy::Limits;

/// 2026-01-05T09:00:00Z, a Monday.
const MONDAY: i64 = 1_767_603_600;

const KNOWN: u64 = 11;
const ATTACKER: u64 = 66_666;

fn rules() -> Rules {
    let test = |expect: &str| serde_json::json!({"name": expect, "input": [{"at": "10:00:00", "tool": "x"}], "expect": expect});
    let rule: RawRule = serde_json::from_value(serde_json::json!({
        "id": "injected_session.target", "title": "t", "description": "d",
        "detector": "injected_session", "severity": "high", "budget": 0.1, "runbook": "docs",
        "tests": [test("firing"), test("silent")],
    }))
    .unwrap();
    let limits = Limits { listed_score: 0.0, ..Limits::default() };
    Rules::from_raw(vec![rule]).unwrap().with_limits(limits)
}

fn target(kind: TargetKind, value: u64) -> Target {
    Target { kind, key: 3, value, is_whole: true, ..Target::default() }
}

impl World {
    /// Two agents with `days` days of four sessions each, which read and then pay `KNOWN`.
    fn that_pays(days: i64) -> Self {
        let mut world = Self::of(rules());
        for n in 0..days * 4 {
            for agent in 0..2 {
                let secs = n / 4 * 86_400 + n % 4 * 3_600;
                let alerts = world.session(agent, secs, &format!("s{n}"), KNOWN);
                assert!(alerts.iter().all(|it| it.score < PAGE_SCORE), "{alerts:?}");
            }
        }
        world
    }

    /// A session that reads and then pays `account`.
    fn session(&mut self, agent: usize, secs: i64, id: &str, account: u64) -> Vec<Alert> {
        let mut alerts = self.act(agent, secs, id, ("read_inbox", Operation::Read, None));
        let pay = ("send_money", Operation::Write, Some(account));
        alerts.extend(self.act(agent, secs + 20, id, pay));
        alerts
    }

    fn act(
        &mut self,
        agent: usize,
        secs: i64,
        session: &str,
        (tool, operation, account): (&str, Operation, Option<u64>),
    ) -> Vec<Alert> {
        let targets = account.map(|value| target(TargetKind::Account, value));
        self.aim(agent, secs, session, (tool, operation, targets.as_slice()))
    }

    fn aim(
        &mut self,
        agent: usize,
        secs: i64,
        session: &str,
        (tool, operation, targets): (&str, Operation, &[Target]),
    ) -> Vec<Alert> {
        self.calls += 1;
        let call = ToolCall {
            time: Timestamp::from_secs(MONDAY + secs),
            tenant_id: "acme".into(),
            agent_id: format!("helper@{agent}").into(),
            session_id: session.into(),
            call_id: format!("call-{}", self.calls).into(),
            tool_name: tool.into(),
            operation,
            targets: targets.into(),
            ..ToolCall::default()
        };
        self.let_pass(call.time);
        let alerts = self.judge(&call);
        alerts.into_iter().filter(|it| it.status != AlertStatus::Resolved).collect()
    }

    fn support(&mut self, account: u64) -> u16 {
        let group = self.agents[0].group;
        let target = Target { kind: TargetKind::Account, value: account, ..Target::default() };
        let peers = self.epochs.peers(i64::MAX);
        peers.habits(group).unwrap().support(session::entity(&target))
    }
}

const DAY: i64 = 86_400;

#[test]
fn a_new_payee_after_reading_pages_and_is_never_learned() {
    let mut world = World::that_pays(15);
    for n in 0..3 {
        let alerts = world.session(0, 15 * DAY + n * 7_200, &format!("x{n}"), ATTACKER);
        let alert = &alerts[0];
        assert!(alert.score >= 60.0, "{}", alert.score);
        assert!(alert.summary.contains("account #046a, which none of 1"), "{}", alert.summary);
        assert_eq!((alerts.len(), alert.status), (1, AlertStatus::Firing));
    }
    let later = world.session(1, 16 * DAY, "later", KNOWN);
    assert_eq!(later, []);
    // The session that paid it last is not over.
    assert_eq!((world.support(ATTACKER), world.support(KNOWN)), (0, 120));
}

#[test]
fn a_first_call_and_a_known_payee_are_silent() {
    let mut world = World::that_pays(15);
    let pay = |account| ("send_money", Operation::Write, Some(account));
    assert_eq!(world.act(0, 15 * DAY, "a", pay(ATTACKER)), []);
    assert_eq!(world.session(1, 15 * DAY + 100, "b", KNOWN), []);
}

#[test]
fn while_the_group_is_learned_nobody_is_woken_and_all_is_learned() {
    let mut world = World::that_pays(9);
    let alerts = world.session(0, 10 * DAY, "x", ATTACKER);
    assert!(alerts[0].score <= LEARNING_SCORE_MAX && alerts[0].learning.progress < 1.0);
    drop(world.session(0, 11 * DAY, "y", KNOWN));
    assert_eq!(world.support(ATTACKER), 1);
}

#[test]
fn every_session_has_its_episode_and_every_new_target_a_word() {
    let mut world = World::that_pays(15);
    let pay = |n| ("send_money", Operation::Write, Some(ATTACKER + n));
    let mut alerts = Vec::new();
    for (session, secs) in [("x", 15 * DAY), ("y", 15 * DAY + 300)] {
        drop(world.act(0, secs, session, ("read_inbox", Operation::Read, None)));
        for n in [0, 1, 2, 0] {
            alerts.extend(world.act(0, secs + 60, session, pay(n)));
        }
    }
    use AlertStatus::{Firing, Updated};
    let statuses: Vec<_> = alerts.iter().map(|it| it.status).collect();
    assert_eq!(statuses, [Firing, Updated, Updated, Firing, Updated, Updated]);
    let ids: std::collections::BTreeSet<_> = alerts.iter().map(|it| &it.alert_id).collect();
    assert_eq!(ids.len(), 2);
}

#[test]
fn a_payee_that_every_session_of_a_new_job_has_becomes_usual() {
    let mut world = World::that_pays(15);
    let scores: Vec<f64> = (0..40)
        .map(|n| {
            let (secs, id) = (15 * DAY + n * 7_200, format!("job{n}"));
            drop(world.act(0, secs, &id, ("open_ledger", Operation::Read, None)));
            let pay = ("pay_bill", Operation::Write, Some(500));
            let alerts = world.act(0, secs + 20, &id, pay);
            alerts.iter().map(|it| it.score).fold(0.0, f64::max)
        })
        .collect();
    assert!(scores[0] >= PAGE_SCORE, "{scores:?}");
    assert!(scores.iter().skip(20).all(|score| *score < PAGE_SCORE), "{scores:?}");
}

/// Sessions of eight calls, of a few jobs, on a few things of each kind: half of the calls act, and
/// one thing in twenty is new.
fn drawn(world: &mut World) -> Vec<Alert> {
    let mut alerts = Vec::new();
    let tools = ["read", "list", "send", "pay", "write", "delete"];
    for session in 0..480_u64 {
        for n in 0..8 {
            let draw = session::mix(session * 8 + n + 1);
            let part = |shift: u32, of: u64| (draw >> shift) % of;
            let aimed = (0..part(0, 4)).map(|place| {
                let kind = TargetKind::ALL[usize::try_from(part(8, 7) + place).unwrap()];
                let job = session % 3 * 100;
                let value = if part(16, 20) == 0 { draw } else { job + part(24, 6) };
                let near = [u32::try_from(value % 7_919 + 1).unwrap(), 0];
                Target { domain: job + 1, near, ..target(kind, value) }
            });
            let targets: Vec<Target> = aimed.collect();
            let tool = tools[usize::try_from(session % 3 + part(32, 4)).unwrap()];
            let is_acting = part(40, 2) == 0;
            let operation = if is_acting { Operation::Write } else { Operation::Read };
            let secs = i64::try_from(session * 3_600 + n * 20).unwrap();
            let agent = usize::try_from(session % 2).unwrap();
            let id = format!("s{session}");
            alerts.extend(world.aim(agent, secs, &id, (tool, operation, &targets)));
        }
    }
    alerts
}

/// What is too little of a surprise is not looked up. Where even scores of 0 are listed everything
/// is, so the two must agree on what is told, what is listed of it and what is learned.
#[test]
fn what_is_not_looked_up_would_have_changed_nothing() {
    let (mut all, mut some) = (World::of(rules()), World::of(rules()));
    some.rules = rules().with_limits(Limits::default());
    let told = drawn(&mut all);
    let listed = Limits::default().listed_score;
    let count = |is_it: &dyn Fn(f64) -> bool| told.iter().filter(|it| is_it(it.score)).count();
    let counts =
        [count(&|it| it < listed), count(&|it| it >= listed), count(&|it| it >= PAGE_SCORE)];
    assert!(counts.iter().all(|count| *count >= 5), "{counts:?}");
    let expected: Vec<Alert> = told.into_iter().filter(|it| it.score >= listed).collect();
    assert_eq!(drawn(&mut some), expected);
    assert_eq!(some.agents, all.agents);
}
