//! How long one call of a warm agent takes to judge: one agent, and a hundred thousand in turn.
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
use toolwarden::baseline::identity::hash_texts;
use toolwarden::detect::{AgentState, Context, Fate, observe};
use toolwarden::event::{Arguments, Operation, Timestamp, ToolCall};
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
            assert_eq!((verdict.fate, verdict.alerts.len()), (Fate::Judged, 0));
            black_box(verdict)
        });
    });
    group.finish();
}

fn benches(criterion: &mut Criterion) {
    round_robin(criterion, 1);
    round_robin(criterion, 100_000);
}

criterion_group!(group, benches);
criterion_main!(group);
