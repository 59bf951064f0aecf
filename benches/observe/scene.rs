//! Agents at work whose calls are judged: all of them known, in a group whose sessions are known,
//! with every shipped rule in force. What is measured goes on as their days before went.

use toolwarden::baseline::identity::{hash_texts, tool_hash};
use toolwarden::baseline::peers::{Fact, GroupKey, GroupSummary, Peers};
use toolwarden::baseline::session::LiveSession;
use toolwarden::detect::{AgentState, Context, Verdict, observe};
use toolwarden::event::{Arguments, Operation, Status, Target, TargetKind, Timestamp, ToolCall};
use toolwarden::policy::Rules;

/// 2026-01-05T09:00:00Z.
const START_SECS: i64 = 1_767_603_600;

/// Jobs that the agents of the group do, and the tools and names of each.
const JOBS: usize = 8;
const TOOLS_A_JOB: usize = 4;
const NAMES_A_JOB: usize = 24;

/// Calls of a session.
const CALLS_A_SESSION: usize = 40;

/// Different calls; after them they come again.
const CALLS: usize = 40_000;

/// Sessions of the group that are learned, of which the newest [`SKETCHES`] are kept.
const SESSIONS: usize = 900;
const SKETCHES: usize = 400;
const SESSIONS_AN_HOUR: usize = 12;

/// What the agents do.
#[derive(Clone, Copy)]
pub(crate) struct Work {
    /// How many agents take turns.
    pub(crate) agents: usize,
    /// Active days behind each of them, of so many calls each.
    pub(crate) days: usize,
    pub(crate) calls_a_day: usize,
    /// Whether calls name targets: somebody, a record and a topic, and sixteen words.
    pub(crate) has_targets: bool,
    /// Every how many calls a record is named that nobody named before.
    pub(crate) fresh_every: usize,
}

/// What a call says, whoever makes it and whenever.
struct Content {
    id: String,
    tool: String,
    arguments: Arguments,
    targets: Vec<Target>,
    words: Vec<u32>,
    operation: Operation,
    status: Status,
}

/// The agents, and what their next calls are.
pub(crate) struct Scene {
    rules: Rules,
    peers: Peers,
    work: Work,
    names: Vec<String>,
    states: Vec<AgentState>,
    sessions: Vec<String>,
    contents: Vec<Content>,
    /// Calls judged so far.
    judged: usize,
}

impl Scene {
    /// Lets the agents work for their days.
    pub(crate) fn new(rules: Rules, work: Work) -> Self {
        let names: Vec<String> =
            (0..work.agents).map(|n| format!("claude-code@dev{n:06}")).collect();
        let mut scene = Self {
            rules,
            peers: Peers::default(),
            work,
            names,
            states: Vec::new(),
            sessions: (0..1_000).map(|n| format!("session-{n:08}")).collect(),
            contents: (0..CALLS).map(|n| content(n, work)).collect(),
            judged: 0,
        };
        scene.learn();
        scene
    }

    fn learn(&mut self) {
        let group = AgentState::new(&self.call(0, 0)).group;
        // The group is known from the first day on, as for an agent that joins it.
        self.peers = with_sessions(&with_agents(&Peers::default(), group), group);
        for agent in 0..self.work.agents {
            let mut state = AgentState::new(&self.call(agent, 0));
            for n in 0..self.work.days * self.work.calls_a_day {
                let call = self.call(agent, n);
                drop(observe(&Context::new(&self.rules, &self.peers), &mut state, &call));
            }
            self.states.push(state);
        }
        self.judged = self.work.days * self.work.calls_a_day * self.work.agents;
    }

    /// Judges the next call of the agent whose turn it is.
    pub(crate) fn step(&mut self) -> Verdict {
        let (agent, n) = (self.judged % self.work.agents, self.judged / self.work.agents);
        self.judged += 1;
        let mut states = std::mem::take(&mut self.states);
        let call = self.call(agent, n);
        let verdict = observe(&Context::new(&self.rules, &self.peers), &mut states[agent], &call);
        self.states = states;
        verdict
    }

    /// The `n`-th call of an agent: sixteen close to each other, then two minutes' rest.
    fn call(&self, agent: usize, n: usize) -> ToolCall<'_> {
        let (day, of_day) = (n / self.work.calls_a_day, n % self.work.calls_a_day);
        let secs = day * 86_400 + of_day * 4 + of_day / 16 * 120;
        let content = &self.contents[n % CALLS];
        ToolCall {
            time: Timestamp::from_secs(START_SECS).plus_secs(i64::try_from(secs).unwrap()),
            tenant_id: "acme".into(),
            agent_id: self.names[agent].as_str().into(),
            session_id: self.sessions[n / CALLS_A_SESSION % self.sessions.len()].as_str().into(),
            call_id: content.id.as_str().into(),
            tool_name: content.tool.as_str().into(),
            operation: content.operation,
            arguments: content.arguments,
            targets: content.targets.as_slice().into(),
            words: content.words.as_slice().into(),
            status: content.status,
            duration_ms: Some(800),
            bytes_out: Some(1_500),
            ..ToolCall::default()
        }
    }
}

fn content(n: usize, work: Work) -> Content {
    // Every tenth call is the one before it again; every twentieth fails.
    let said = if n % 10 == 9 { n - 1 } else { n };
    let job = n / CALLS_A_SESSION % JOBS;
    let fresh = (n % work.fresh_every == work.fresh_every - 1).then_some(n);
    let word = |word: usize| u32::try_from(said % 50 * 16 + word).unwrap();
    let targets = if work.has_targets { targets(job, said, fresh) } else { Vec::new() };
    Content {
        id: format!("toolu_{:024x}", n * 7_919),
        tool: tool_of(job, said),
        arguments: Arguments {
            digest: hash_texts(&[&said.to_string()]),
            bytes: 120,
            shape: u32::try_from(said % TOOLS_A_JOB).unwrap(),
        },
        words: if work.has_targets { (0..16).map(word).collect() } else { Vec::new() },
        targets,
        operation: if n.is_multiple_of(3) { Operation::Read } else { Operation::Write },
        status: if n % 20 == 7 { Status::Error } else { Status::Ok },
    }
}

fn target(kind: TargetKind, name: &str) -> Target {
    let near = hash_texts(&[name.get(..6).unwrap_or(name)]) % 0xffff_ffff;
    Target {
        kind,
        key: 5,
        value: hash_texts(&[name]),
        is_whole: true,
        near: [u32::try_from(near).unwrap(), 0],
        ..Target::default()
    }
}

/// What call `n` of a job names. `fresh` is a record that nobody named.
fn targets(job: usize, n: usize, fresh: Option<usize>) -> Vec<Target> {
    let of = |n: usize| n * n % NAMES_A_JOB;
    let record =
        fresh.map_or_else(|| format!("{job}-record-{}", of(n / 3)), |n| format!("new-{n}"));
    vec![
        target(TargetKind::Email, &format!("{job}-somebody-{}", of(n / 5))),
        target(TargetKind::Identifier, &record),
        target(TargetKind::Word, &format!("{job}-topic-{}", of(n / 7))),
    ]
}

fn tool_of(job: usize, n: usize) -> String {
    format!("tool_number_{}", (job + n * n % TOOLS_A_JOB) % 10)
}

/// Twelve agents, with what they use.
fn with_agents(known: &Peers, group: GroupKey) -> Peers {
    let mut summary = GroupSummary::default();
    for agent in 0..12 {
        summary.add(Fact::Agent);
        for tool in 0..10 {
            let tool = tool_hash(None, &format!("tool_number_{tool}"));
            let hour = START_SECS / 3_600;
            summary.add(Fact::Tool { tool, agent, hour, began: false });
        }
    }
    known.with_epoch(0, [(group, &summary)])
}

/// The learned sessions, of five calls each; one record in four is new.
fn with_sessions(known: &Peers, group: GroupKey) -> Peers {
    let learned = |session: usize| {
        let secs = i64::try_from(session).unwrap() * 300;
        let time = Timestamp::from_secs(START_SECS).plus_secs(secs - 30 * 86_400);
        let mut live = LiveSession::new(hash_texts(&[&session.to_string()]), time);
        let job = session * 7_919 % JOBS;
        for n in session * 13..session * 13 + 5 {
            let fresh = n.is_multiple_of(4).then_some(n + 1_000_000);
            live.add(time, tool_hash(None, &tool_of(job, n)), &targets(job, n, fresh), &[]);
        }
        let agent = u64::try_from(session % 12).unwrap();
        Fact::Session(live.learned(agent, live.deadline()).into())
    };
    // Hour by hour, since an hour teaches no more than its bound.
    let peers = (0..SESSIONS / SESSIONS_AN_HOUR).fold(known.clone(), |peers, hour| {
        let mut summary = GroupSummary::default();
        let first = hour * SESSIONS_AN_HOUR;
        for session in first..first + SESSIONS_AN_HOUR {
            summary.add(learned(session));
        }
        peers.with_epoch(0, [(group, &summary)])
    });
    let sketches = peers.habits(group).unwrap().sketches();
    assert_eq!(sketches, SKETCHES, "the bound on bytes leaves fewer");
    peers
}
