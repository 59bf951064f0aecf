//! What is bounded stays bounded, whoever makes up ids.

use std::collections::BTreeMap;
use std::sync::Arc;

use toolwarden::alert::{Alert, AlertStatus};
use toolwarden::detect::no_room;
use toolwarden::event::{Position, Timestamp, ToolCall};
use toolwarden::pipeline::judge::{Decision, Judge, Shared};
use toolwarden::state::admission::Room;
use toolwarden::state::{AgentKey, Agents, PartitionId, codec};

use crate::support::variable;

/// 2026-03-02T00:00:00Z, a Monday.
const MONDAY: i64 = 1_772_409_600;

const DAY: i64 = 86_400;

/// One partition, call after call.
struct World {
    shared: Shared,
    judge: Judge,
    offset: i64,
    alerts: Vec<Alert>,
}

impl World {
    fn new(room: Room) -> Self {
        let agents = Arc::new(Agents::within(room));
        let shared = Shared { agents, ..crate::pipeline::shared(0) };
        let id = PartitionId { topic: 0, partition: 0 };
        let judge = Judge::new(shared.clone(), id, Arc::from("calls"));
        Self { shared, judge, offset: 0, alerts: Vec::new() }
    }

    fn call(&mut self, (tenant, agent): (&str, &str), secs: i64, tool: &str) {
        let offset = self.offset;
        self.offset += 1;
        self.judge.begin(offset);
        self.judge.hold(&ToolCall {
            position: Position { topic: "calls", partition: 0, offset, index: 0 },
            time: Timestamp::from_secs(MONDAY + secs),
            tenant_id: tenant.into(),
            agent_id: agent.into(),
            session_id: "s".into(),
            call_id: format!("c{offset}").into(),
            tool_name: tool.into(),
            ..ToolCall::default()
        });
        self.judge.record_done(offset);
        self.judge.judge_all(&mut |decision: Decision| self.alerts.push(decision.alert));
    }

    fn knows(&self, tenant: &str, agent: &str) -> bool {
        self.shared.agents.read(AgentKey::from_ids(tenant, agent), |_| ()).is_some()
    }

    fn bytes(&self) -> BTreeMap<AgentKey, Vec<u8>> {
        let keys = self.shared.agents.find(usize::MAX, |_| true);
        let bytes = |key| self.shared.agents.read(key, |it| codec::agent_to_bytes(it).unwrap());
        keys.into_iter().map(|key| (key, bytes(key).unwrap())).collect()
    }

    /// What was told of agents without room, by status.
    fn told(&self, status: AlertStatus) -> Vec<&Alert> {
        let of_room = self.alerts.iter().filter(|alert| alert.rule_id == no_room::RULE);
        of_room.filter(|alert| alert.status == status).collect()
    }
}

const ROOM: Room = Room {
    agents: 100,
    per_partition: 6,
    per_tenant: 4,
    yield_after_secs: DAY,
    forget_after_secs: 30 * DAY,
};

#[test]
fn one_tenant_leaves_room_for_others() {
    let mut world = World::new(ROOM);
    for n in 0..9 {
        world.call(("acme", &format!("flood-{n}")), n, "read");
    }
    assert_eq!(world.shared.agents.len(), 4);
    world.call(("globex", "helper"), 20, "read");
    world.call(("globex", "writer"), 21, "read");
    assert!(world.knows("globex", "helper") && world.knows("globex", "writer"));
    world.call(("initech", "late"), 22, "read");
    assert!(!world.knows("initech", "late"), "the partition is full");
    let [acme, initech] = world.told(AlertStatus::Firing)[..] else {
        panic!("{:?}", world.alerts);
    };
    assert_eq!((&*acme.tenant_id, &*initech.tenant_id), ("acme", "initech"));
    assert!(acme.summary.contains("limits.agents_per_tenant allows 4"), "{}", acme.summary);
    assert!(initech.summary.contains("limits.agents_per_partition allows 6"), "{initech:?}");
}

#[test]
fn one_finding_tells_what_came_of_a_tenants_hour() {
    let mut world = World::new(ROOM);
    for n in 0..9 {
        world.call(("acme", &format!("flood-{n}")), n, "read");
        world.call(("acme", &format!("flood-{n}")), n, "read");
    }
    assert!(world.told(AlertStatus::Resolved).is_empty(), "the hour is not over");
    world.call(("globex", "helper"), 3_600, "read");
    let [opened] = world.told(AlertStatus::Firing)[..] else { panic!("{:?}", world.alerts) };
    let [ended] = world.told(AlertStatus::Resolved)[..] else { panic!("{:?}", world.alerts) };
    assert_eq!((&opened.alert_id, &opened.dedup_key), (&ended.alert_id, &ended.dedup_key));
    assert!(ended.summary.contains("about 5 agents"), "{}", ended.summary);
    assert!(ended.summary.contains("10 calls were not judged"), "{}", ended.summary);
    assert_eq!(ended.evidence_total, 10);
    world.call(("acme", "flood-10"), 3_601, "read");
    assert_eq!(world.told(AlertStatus::Firing).len(), 2, "the next hour is another finding");
}

#[test]
fn who_comes_twice_takes_the_place_of_one_long_idle_and_not_known_yet() {
    let mut world = World::new(ROOM);
    for n in 0..4 {
        world.call(("acme", &format!("old-{n}")), n, "read");
    }
    let later = 2 * DAY;
    world.call(("acme", "old-0"), later - 3_600, "read");
    world.call(("acme", "new"), later, "read");
    assert!(!world.knows("acme", "new"), "ids that are used once replace nobody");
    world.call(("acme", "new"), later + 1, "read");
    assert!(world.knows("acme", "new"));
    assert!(!world.knows("acme", "old-1"), "the one idle longest went");
    assert!(["old-0", "old-2", "old-3"].iter().all(|agent| world.knows("acme", agent)));
    assert_eq!(world.judge.tally().yielded, 1);
}

#[test]
fn an_agent_is_forgotten_after_a_long_time_without_a_call() {
    let mut world = World::new(ROOM);
    world.call(("acme", "gone"), 0, "read");
    for day in 0..40 {
        world.call(("acme", "there"), day * DAY + 60, "read");
        assert_eq!(world.knows("acme", "gone"), day <= 30, "day {day}");
    }
    assert_eq!(world.judge.tally().forgotten, 1);
    assert_eq!(world.shared.agents.len(), 1);
}

/// Floods a partition with ids that nobody has seen, each with a tool of its own, for six hours.
fn flood(ids: u32) {
    let room = Room {
        agents: 10_000,
        per_partition: 600,
        per_tenant: 500,
        yield_after_secs: DAY / 2,
        forget_after_secs: 90 * DAY,
    };
    let mut world = World::new(room);
    for day in 0..4 {
        for n in 0..2_000_i64 {
            let at = day * DAY + n * 20;
            world.call(
                ("acme", &format!("staff@{}", n % 20)),
                at,
                ["read", "write"][usize::from(n % 3 == 0)],
            );
        }
    }
    assert_eq!(world.shared.agents.count(|it| it.learning().is_none()), 20, "all are known");
    // All of them rest.
    world.call(("globex", "first"), 6 * DAY - 1, "read");
    let known = world.bytes();
    world.alerts.clear();
    let mut random = fastrand::Rng::with_seed(36);
    for n in 0..ids {
        let id = format!("{:016x}", random.u64(..));
        let at = 6 * DAY + i64::from(n) * 6 * 3_600 / i64::from(ids);
        let tool = format!("tool-{}", n % 100_000);
        // Some come back at once, to look like somebody.
        for _ in 0..=n % 2 {
            world.call(("acme", &id), at, &tool);
        }
        assert!(world.shared.agents.len() <= 501);
    }
    let after = world.bytes();
    let changed = known.iter().filter(|(key, bytes)| after.get(key) != Some(*bytes));
    let changed: Vec<_> = changed.map(|(key, _)| *key).collect();
    assert_eq!(changed, [AgentKey::from_ids("globex", "first")], "it came to rest");
    assert_eq!(after.len(), 501, "who came first took the room there was, and no more");
    let calls = world.told(AlertStatus::Firing).len();
    assert_eq!(calls, 6, "one finding an hour");
    // Another tenant is let in all the while.
    world.call(("globex", "helper"), 6 * DAY + 6 * 3_600, "read");
    assert!(world.knows("globex", "helper"));
}

#[test]
fn row_36_random_agents_take_no_known_ones_place_and_are_one_finding_an_hour() {
    flood(50_000);
}

#[test]
fn row_36_a_million_random_agents_take_no_known_ones_place() {
    if variable("TOOLWARDEN_LONG_TESTS").is_none() {
        return;
    }
    flood(1_000_000);
}
