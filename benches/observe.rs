//! How long one call of a warm agent takes to judge, with every shipped rule in force and in a group
//! of 400 known sessions: one agent over and over, and a hundred thousand in turn, whose states are
//! in no cache.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark stops by panicking"
)]

#[path = "observe/scene.rs"]
mod scene;
#[path = "../tests/it/shipped.rs"]
mod shipped;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use scene::{Scene, Work};
use toolwarden::detect::Fate;
use toolwarden::policy::Rules;

/// As the program allocates.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ONE: Work =
    Work { agents: 1, days: 20, calls_a_day: 200, has_targets: true, fresh_every: usize::MAX };
/// All eight jobs come in the two days, so that none of them is new afterwards.
const MANY: Work = Work { agents: 100_000, days: 2, calls_a_day: 160, ..ONE };

/// Calls of each agent before the first one that is measured, beyond its days.
const CALLS_BEFORE: usize = 20;

fn case(criterion: &mut Criterion, name: &str, work: Work) {
    let rules = shipped::rules().into_iter().map(|(_, rule)| rule).collect();
    let mut scene = Scene::new(Rules::from_raw(rules).unwrap(), work);
    let mut alerts = 0;
    for _ in 0..CALLS_BEFORE * work.agents {
        alerts += scene.step().alerts.len();
    }
    assert_eq!(alerts, 0, "judging is measured, not writing alerts");
    let mut group = criterion.benchmark_group("observe");
    group.throughput(Throughput::Elements(1));
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let verdict = scene.step();
            assert_eq!(verdict.fate, Fate::Judged);
            black_box(verdict)
        });
    });
    group.finish();
}

fn benches(criterion: &mut Criterion) {
    case(criterion, "one agent, 3 targets a call, group of 400 sessions", ONE);
    let fresh = Work { fresh_every: 20, ..ONE };
    case(criterion, "the same, 1 call in 20 names a new record", fresh);
    case(criterion, "one agent, no targets", Work { has_targets: false, ..ONE });
    case(criterion, "100,000 agents in turn, 3 targets a call, group of 400 sessions", MANY);
    let plain = Work { has_targets: false, ..MANY };
    case(criterion, "100,000 agents in turn, no targets", plain);
}

criterion_group!(group, benches);
criterion_main!(group);
