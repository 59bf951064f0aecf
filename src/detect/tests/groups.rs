//! Who is whose peer: what decides it, when it changes, and that an attack changes nothing.

use super::*;
use crate::alert::PeerBasis;
use crate::detect::tests::world::World;
use crate::policy::{GroupPattern, Groups};

impl World {
    fn new() -> Self {
        Self::of(rules())
    }

    fn call(&mut self, agent: &str, group: Option<&str>, secs: f64, tool: &str) -> Vec<Alert> {
        self.calls += 1;
        let call = ToolCall {
            agent_id: agent.to_owned().into(),
            agent_group: group.map(|group| group.to_owned().into()),
            ..call(secs, self.calls, tool, self.calls)
        };
        self.judge(&call)
    }

    /// A day of eighty calls of these tools in turn by each of these agents.
    fn day(&mut self, day: u32, agents: &[(&str, &[&str])]) {
        for n in 0..80_u32 {
            for (place, (agent, tools)) in (0_u32..).zip(agents) {
                let tool = tools[usize::try_from(n).unwrap() % tools.len()];
                let secs = f64::from(day) * 86_400.0 + 32_400.0 + f64::from(n) * 300.0;
                self.call(agent, None, secs + f64::from(place), tool);
            }
        }
    }

    fn group(&self, agent: &str) -> (String, PeerBasis) {
        let state = self.agents.iter().find(|state| *state.agent_id == *agent).unwrap();
        assert_eq!(state.group, GroupKey::of("acme", state.group_name()));
        let group = state.peer_group();
        (group.name, group.basis)
    }
}

const ALPHA: &str = "0b54";
const BETA: &str = "9c11";
const OTHER: &str = "77aa";
const WORK: [&str; 6] = ["fetch_order", "price", "stock", "quote_customer", "note", "close"];
const ELSEWHERE: [&str; 6] = ["scan", "triage", "page", "silence", "report", "escalate"];
const GEMINI: [&str; 5] = ["read_file", "replace", "glob", "write_file", "run_shell_command"];

#[test]
fn agents_that_use_the_same_tools_become_peers_and_others_do_not() {
    let mut world = World::new();
    for day in 0..12 {
        world.day(day, &[(ALPHA, &WORK), (BETA, &WORK), (OTHER, &ELSEWHERE)]);
    }
    assert_eq!(world.group(ALPHA), (ALPHA.to_owned(), PeerBasis::Id));
    assert_eq!(world.group(BETA), (ALPHA.to_owned(), PeerBasis::Inferred));
    assert_eq!(world.group(OTHER), (OTHER.to_owned(), PeerBasis::Id));
    let peers = world.epochs.peers(i64::MAX).clone();
    let counts: Vec<u64> = world.agents.iter().map(|state| state.peer_count(&peers)).collect();
    assert_eq!(counts, [1, 1, 0]);
    // The tools of the one that came are known to its new peers.
    let group = peers.group(GroupKey::of("acme", ALPHA)).unwrap();
    assert_eq!(group.tool(tool_hash(None, "price")).unwrap().users().count(), 2);
}

#[test]
fn an_agent_that_uses_a_products_tools_is_taken_for_one_and_its_alerts_say_why() {
    let mut world = World::new();
    for day in 0..4 {
        world.day(day, &[(ALPHA, &GEMINI)]);
    }
    assert_eq!(world.group(ALPHA), ("gemini-cli".to_owned(), PeerBasis::Inferred));
    let mut alerts = Vec::new();
    for n in 0..20_u32 {
        let tool = ["dump_table", "upload"][usize::try_from(n % 2).unwrap()];
        let secs = 4.0 * 86_400.0 + 36_000.0 + f64::from(n) * 20.0;
        alerts.extend(world.call(ALPHA, None, secs, tool));
    }
    let burst = alerts.iter().find(|alert| alert.detector == "new_tool").unwrap();
    assert!(burst.summary.contains("`gemini-cli` does not ship with it"), "{}", burst.summary);
    assert_eq!(burst.learning.group.basis, PeerBasis::Inferred);
}

#[test]
fn what_records_declare_counts_at_the_first_call_and_changes_after_two_days_and_a_week() {
    let mut world = World::new();
    let mut groups = Vec::new();
    for (day, declared) in
        ["a", "a", "b", "a", "b", "b", "b", "b", "b", "c", "c", "c"].into_iter().enumerate()
    {
        let secs = f64::from(u32::try_from(day).unwrap()) * 86_400.0;
        world.call("bot@1", Some(declared), secs, "x");
        // The first call of a day decides, and nothing after it.
        world.call("bot@1", Some("z"), secs + 60.0, "x");
        groups.push(world.group("bot@1").0);
    }
    assert_eq!(groups.concat(), "aaaaaaabbbbb");
    assert_eq!(world.group("bot@1").1, PeerBasis::Declared);
}

#[test]
fn one_call_that_declares_a_group_moves_no_agent_that_has_one_by_its_id() {
    let mut world = World::new();
    for day in 0..5_u32 {
        let declared = (day == 3).then_some("treasury");
        world.call("bot@1", declared, f64::from(day) * 86_400.0, "x");
    }
    assert_eq!(world.group("bot@1"), ("bot".to_owned(), PeerBasis::Id));
}

#[test]
fn what_the_operator_says_counts_before_everything_else() {
    let mut world = World::new();
    let pattern =
        GroupPattern { tenant: "acme".into(), agent: "bot*".into(), group: "workers".into() };
    world.rules = world.rules.with_groups(Groups::new(vec![pattern]));
    world.call("bot@1", Some("declared"), 0.0, "x");
    assert_eq!(world.group("bot@1"), ("workers".to_owned(), PeerBasis::Configured));
    world.call("cat@1", None, 0.0, "x");
    assert_eq!(world.group("cat@1"), ("cat".to_owned(), PeerBasis::Id));
    // Taken back, from the next day on.
    world.rules = rules();
    world.call("bot@1", None, 60.0, "x");
    assert_eq!(world.group("bot@1").1, PeerBasis::Configured);
    world.call("bot@1", None, 86_400.0, "x");
    assert_eq!(world.group("bot@1"), ("bot".to_owned(), PeerBasis::Id));
}

#[test]
fn a_burst_of_another_agents_tools_moves_nobody() {
    let mut world = World::new();
    for day in 0..2 {
        world.day(day, &[(ALPHA, &WORK), (OTHER, &ELSEWHERE)]);
    }
    // For weeks the first one uses the tools of the other, and too few of them to become usual.
    for day in 2..30 {
        world.day(day, &[(ALPHA, &WORK), (OTHER, &ELSEWHERE)]);
        for n in 0..12_u32 {
            let secs = f64::from(day) * 86_400.0 + 80_000.0 + f64::from(n);
            world.call(ALPHA, None, secs, ELSEWHERE[usize::try_from(n % 6).unwrap()]);
        }
        assert_eq!(world.group(ALPHA).0, ALPHA, "day {day}");
    }
}

#[test]
fn facts_after_a_change_go_to_the_new_group_and_those_before_to_the_old_one() {
    let rules = rules();
    let call_of = |secs: f64, id: u64, group: &str| ToolCall {
        agent_group: Some(group.to_owned().into()),
        ..call(secs, id, "x", id)
    };
    let mut state = AgentState::new(&call_of(0.0, 1, "old"));
    let peers = Peers::default();
    let context = Context::new(&rules, &peers);
    for day in 0..8_u32 {
        drop(observe(
            &context,
            &mut state,
            &call_of(f64::from(day) * 86_400.0, 1 + u64::from(day), "old"),
        ));
    }
    drop(observe(&context, &mut state, &call_of(8.0 * 86_400.0, 20, "new")));
    let moved = observe(&context, &mut state, &call_of(9.0 * 86_400.0, 21, "new"));
    let (former, before) = moved.left.unwrap();
    assert_eq!(former, GroupKey::of("acme", "old"));
    // The session of the day before ended in the old group, whoever noticed.
    assert!(before.iter().all(|fact| matches!(fact, Fact::Session(_))) && before.len() == 1);
    assert_eq!(state.group, GroupKey::of("acme", "new"));
    assert!(moved.facts.contains(&Fact::Agent) && moved.facts.contains(&Fact::ActiveDay));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn groups_do_not_depend_on_who_is_read_first_within_an_hour(order in any::<u64>()) {
        let agents = [(ALPHA, &WORK), (BETA, &WORK), (OTHER, &ELSEWHERE)];
        let judged = |order: u64| {
            let mut world = World::new();
            for hour in 0..9_u32 * 24 {
                if hour % 24 < 9 || hour % 24 > 16 { continue; }
                for turn in 0..3_u64 {
                    let place = usize::try_from((turn + (order >> (hour % 60)) % 3) % 3).unwrap();
                    let (agent, tools) = agents[place];
                    for n in 0..10_u32 {
                        let secs = f64::from(hour) * 3_600.0 + f64::from(n) * 300.0;
                        world.calls = u64::from(hour) * 1_000 + u64::from(n) * 10 + u64::try_from(place).unwrap();
                        world.call(agent, None, secs, tools[usize::try_from(n).unwrap() % tools.len()]);
                    }
                }
            }
            [ALPHA, BETA, OTHER].map(|agent| world.group(agent))
        };
        prop_assert_eq!(judged(0), judged(order));
    }
}
