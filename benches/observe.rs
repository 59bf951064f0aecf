//! How long one call of a warm agent takes to judge: one agent, a hundred thousand in turn, and one
//! in a group whose sessions are known.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark stops by panicking"
)]

#[path = "../tests/it/shipped.rs"]
mod shipped;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use toolwarden::baseline::epochs::Epochs;
use toolwarden::baseline::identity::{hash_texts, tool_hash};
use toolwarden::baseline::peers::{Fact, GroupKey, GroupSummary, Peers};
use toolwarden::baseline::session::LiveSession;
use toolwarden::detect::{AgentState, Context, Fate, observe};
use toolwarden::event::{Arguments, Operation, Status, Target, TargetKind, Timestamp, ToolCall};
use toolwarden::policy::Rules;

/// 2026-01-05T09:00:00Z in milliseconds.
const START_MILLIS: i64 = 1_767_603_600_000;

/// Active days behind every agent, and calls on each of them.
const DAYS: i64 = 4;
const CALLS_A_DAY: i64 = 60;

/// An agent's `n`-th call, `n` counted from 0, four minutes apart.
fn call<'a>(agent: &'a str, id: &'a str, tool: &'a str, n: i64) -> ToolCall<'a> {
    let millis = START_MILLIS + n / CALLS_A_DAY * 86_400_000 + n % CALLS_A_DAY * 240_000;
    ToolCall {
        time: Timestamp::from_millis(millis),
        tenant_id: "acme".into(),
        agent_id: agent.into(),
        session_id: "5b7028e59d71".into(),
        call_id: id.into(),
        tool_name: tool.into(),
        operation: if n % 3 == 0 { Operation::Read } else { Operation::Write },
        arguments: Arguments { digest: hash_texts(&[id]), bytes: 120, shape: 0 },
        ..ToolCall::default()
    }
}

struct Fleet {
    rules: Rules,
    epochs: Epochs,
    names: Vec<String>,
    states: Vec<AgentState>,
    tools: Vec<String>,
}

fn fleet(agents: usize) -> Fleet {
    let rules = shipped::rules().into_iter().map(|(_, rule)| rule).collect();
    let rules = Rules::from_raw(rules).unwrap();
    let tools: Vec<String> = (0..10).map(|n| format!("tool_number_{n}")).collect();
    let names: Vec<String> = (0..agents).map(|n| format!("claude-code@dev{n:06}")).collect();
    let mut epochs = Epochs::default();
    let states = names
        .iter()
        .map(|name| {
            let mut state = AgentState::new(&call(name, "call-0", &tools[0], 0));
            for n in 0..DAYS * CALLS_A_DAY {
                let id = format!("call-{n}");
                let call = call(name, &id, &tools[usize::try_from(n % 10).unwrap()], n);
                let verdict = observe(&Context::new(&rules, epochs.peers(0)), &mut state, &call);
                epochs.learn(0, state.group, &verdict.facts);
            }
            state
        })
        .collect();
    epochs.peers(START_MILLIS / 3_600_000);
    Fleet { rules, epochs, names, states, tools }
}

fn round_robin(criterion: &mut Criterion, agents: usize) {
    let Fleet { rules, mut epochs, names, mut states, tools } = fleet(agents);
    // Ids are made beforehand: formatting one takes as long as judging a call.
    let ids: Vec<String> = (0..4_096).map(|n| format!("toolu_{:024x}", n * 7_919)).collect();
    let peers = epochs.peers(i64::MAX).clone();
    let mut n = 0_usize;
    let mut group = criterion.benchmark_group("observe");
    group.throughput(Throughput::Elements(1));
    group.bench_function(format!("{agents} warm agents"), |bencher| {
        bencher.iter(|| {
            let agent = n % agents;
            let turn = i64::try_from(n / agents).unwrap();
            let tool = &tools[n % tools.len()];
            let mut call = call(&names[agent], &ids[n % ids.len()], tool, 0);
            call.time =
                call.time.plus_secs(DAYS * 86_400 + turn * 20 % 20_000 + turn / 1_000 * 86_400);
            call.operation = if n.is_multiple_of(3) { Operation::Read } else { Operation::Write };
            n += 1;
            let verdict = observe(&Context::new(&rules, &peers), &mut states[agent], &call);
            assert_eq!(verdict.fate, Fate::Judged);
            black_box(verdict)
        });
    });
    group.finish();
}

/// Jobs that the agents of the group do, and the tools and names of each.
const JOBS: usize = 8;
const TOOLS_A_JOB: usize = 4;
const NAMES_A_JOB: usize = 24;

/// Calls of a session of the warm agent.
const CALLS_A_SESSION: usize = 40;

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

/// What call `n` of a job names: somebody, a record and a topic. `fresh` is a record nobody named.
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

/// The agents' group with 400 sessions learned, of six calls each; one record in twenty is new.
fn peers_with_sessions(known: &Peers, group: GroupKey) -> Peers {
    let learned = |session: usize| {
        let secs = i64::try_from(session).unwrap() * 300;
        let time = Timestamp::from_millis(START_MILLIS).plus_secs(secs);
        let mut live = LiveSession::new(hash_texts(&[&session.to_string()]), time);
        let job = session * 7_919 % JOBS;
        for n in session * 13..session * 13 + 6 {
            let fresh = n.is_multiple_of(20).then_some(n + 1_000_000);
            live.add(time, tool_hash(None, &tool_of(job, n)), &targets(job, n, fresh), &[]);
        }
        let agent = u64::try_from(session % 12).unwrap();
        Fact::Session(live.learned(agent, live.deadline()).into())
    };
    let peers = (0..6).fold(known.clone(), |peers, epoch| {
        let mut summary = GroupSummary::default();
        (epoch * 150..epoch * 150 + 150).for_each(|session| summary.add(learned(session)));
        peers.with_epoch(0, [(group, &summary)])
    });
    let sketches = peers.habits(group).unwrap().sketches();
    assert!(sketches > 350, "{sketches}: the bound on bytes leaves fewer");
    peers
}

/// One warm agent in a group with 400 learned sessions, three targets a call. `fresh_every` is how
/// often a call names a record that nobody named before.
fn in_a_group(criterion: &mut Criterion, what: &str, fresh_every: usize) {
    let Fleet { rules, mut epochs, names, mut states, .. } = fleet(4);
    let group = states[0].group;
    let peers = peers_with_sessions(epochs.peers(i64::MAX), group);
    let ids: Vec<String> = (0..4_096).map(|n| format!("toolu_{:024x}", n * 7_919)).collect();
    // Calls are made beforehand, so that only judging them is measured.
    let calls: Vec<(String, Vec<Target>, Vec<u32>)> = (0..40_000)
        .map(|n| {
            let job = n / CALLS_A_SESSION % JOBS;
            let fresh = (n % fresh_every == fresh_every - 1).then_some(n);
            let words = (0..16).map(|word| u32::try_from(n % 50 * 16 + word).unwrap());
            (tool_of(job, n), targets(job, n, fresh), words.collect())
        })
        .collect();
    let sessions: Vec<String> = (0..1_000).map(|n| format!("session-{n}")).collect();
    let mut n = 0_usize;
    let mut criterion_group = criterion.benchmark_group("observe");
    criterion_group.throughput(Throughput::Elements(1));
    criterion_group.bench_function(what, |bencher| {
        bencher.iter(|| {
            let (tool, targets, words) = &calls[n % calls.len()];
            let mut call = call(&names[0], &ids[n % ids.len()], tool, 0);
            let turn = i64::try_from(n).unwrap();
            call.time =
                call.time.plus_secs(DAYS * 86_400 + turn * 20 % 20_000 + turn / 1_000 * 86_400);
            call.operation = if n.is_multiple_of(3) { Operation::Read } else { Operation::Write };
            call.status = Status::Ok;
            call.duration_ms = Some(800);
            call.bytes_out = Some(1_500);
            call.session_id = sessions[n / CALLS_A_SESSION % sessions.len()].as_str().into();
            call.targets = targets.into();
            call.words = words.into();
            n += 1;
            let verdict = observe(&Context::new(&rules, &peers), &mut states[0], &call);
            assert_eq!(verdict.fate, Fate::Judged);
            black_box(verdict)
        });
    });
    criterion_group.finish();
}

fn benches(criterion: &mut Criterion) {
    round_robin(criterion, 1);
    round_robin(criterion, 100_000);
    in_a_group(criterion, "in a group of 400 sessions, all names known", usize::MAX);
    in_a_group(criterion, "in a group of 400 sessions, 1 name in 20 new", 20);
}

criterion_group!(group, benches);
criterion_main!(group);
