//! Sub-agents of sub-agents, and of all agents of a user: who is told of them.

use super::*;
use crate::baseline::identity::agent_hash;

/// Nine days of work of `helper@1`, and the peers after an hour in which its sub-agents worked.
struct World {
    rules: Rules,
    epochs: Epochs,
}

impl World {
    fn new() -> Self {
        Self { rules: rules(), epochs: Epochs::default() }
    }

    /// One call of `agent`, started by `parent`, for `user`.
    fn tell(&mut self, agent: &str, parent: &str, user: Option<&str>, secs: f64) {
        let call = ToolCall {
            agent_id: agent.to_owned().into(),
            parent_agent_id: Some(parent.to_owned().into()),
            user_id: user.map(|user| user.to_owned().into()),
            ..call(secs, 1, "tool-1", 1)
        };
        let hour = call.time.hour();
        let mut state = AgentState::new(&call);
        let context = Context::new(&self.rules, self.epochs.peers(hour));
        let verdict = observe(&context, &mut state, &call);
        self.epochs.learn(hour, GroupKey::of_tenant("acme"), &verdict.tenant_facts);
    }

    /// What is said of sub-agents when `helper@1` speaks again, two hours later.
    fn said(&mut self, user: Option<&str>, parent: Option<&str>) -> Vec<String> {
        let mut state = known_agent(&self.rules);
        let call = ToolCall {
            user_id: user.map(|user| user.to_owned().into()),
            parent_agent_id: parent.map(|parent| parent.to_owned().into()),
            ..call(MORNING + 3.0 * 3_600.0, 9_000, "tool-1", 9_000)
        };
        let context = Context::new(&self.rules, self.epochs.peers(call.time.hour()));
        let alerts = observe(&context, &mut state, &call).alerts;
        alerts.into_iter().filter(|it| it.detector == "fan_out").map(|it| it.summary).collect()
    }
}

#[test]
fn the_sub_agents_of_sub_agents_count_for_the_root() {
    let mut world = World::new();
    for n in 0..6_u32 {
        let middle = format!("middle@{n}");
        world.tell(&middle, "helper@1", None, MORNING + f64::from(n));
        for m in 0..9 {
            world.tell(&format!("leaf@{n}-{m}"), &middle, None, MORNING + 60.0 + f64::from(m));
        }
    }
    let said = world.said(None, None);
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("`helper@1` had 60 sub-agents at work between 10:00"), "{said:?}");
    let tenant = GroupKey::of_tenant("acme");
    let peers = world.epochs.peers(i64::MAX);
    let of = |agent: &str| peers.family(tenant, agent_hash("acme", agent)).unwrap().hours()[0].1;
    assert_eq!((of("middle@3"), of("helper@1")), (9, 60));
}

#[test]
fn six_sub_agents_with_one_each_are_no_burst() {
    let mut world = World::new();
    for n in 0..4_u32 {
        let middle = format!("middle@{n}");
        world.tell(&middle, "helper@1", None, MORNING + f64::from(n));
        world.tell(&format!("leaf@{n}"), &middle, None, MORNING + 60.0);
    }
    assert!(world.said(None, None).is_empty());
}

#[test]
fn the_sub_agents_of_all_agents_of_a_user_count_together_for_the_agents_nobody_started() {
    let mut world = World::new();
    for n in 0..60_u32 {
        let parent = format!("helper@{}", n % 12 + 1);
        world.tell(&format!("leaf@{n}"), &parent, Some("kim"), MORNING + f64::from(n));
    }
    let said = world.said(Some("kim"), None);
    assert_eq!(said.len(), 1);
    assert!(
        said[0].starts_with("The agents of `kim`, `helper@1` among them, had 60 sub-agents"),
        "{said:?}"
    );
    assert!(world.said(Some("lee"), None).is_empty(), "another user's are not counted");
    assert!(world.said(Some("kim"), Some("root@1")).is_empty(), "a sub-agent is not blamed");
}

#[test]
fn a_ring_of_agents_ends() {
    let mut world = World::new();
    for (agent, parent) in [("a@1", "b@1"), ("b@1", "c@1"), ("c@1", "a@1")] {
        world.tell(agent, parent, None, MORNING);
    }
    let peers = world.epochs.peers(i64::MAX);
    let of = |agent: &str| {
        let root = agent_hash("acme", agent);
        peers.family(GroupKey::of_tenant("acme"), root).unwrap().hours()[0].1
    };
    // Everybody has one of its own, and those of the two others.
    assert_eq!([of("a@1"), of("b@1"), of("c@1")], [3, 3, 3]);
}
