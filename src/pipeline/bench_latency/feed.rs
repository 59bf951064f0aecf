//! Calls at an even rate, made now, and among them loops of agents that have never been seen.

use std::time::Duration;

use crate::event::{Status, Timestamp};
use crate::generate::{Arguments, Event, Scenario};
use crate::kafka::{Feeder, KafkaError};
use crate::pipeline::bench_latency::LatencyOptions;
use crate::pipeline::clock::{self, Moment};

/// The tenant of the agents that loop.
pub(super) const LOOPING_TENANT: &str = "looping";

/// Equal calls of a loop, all at once. Of an agent that is new the thirteenth is one too many.
const LOOP_CALLS: u32 = 16;

/// How long the feeder sleeps when it is ahead.
const NAP: Duration = Duration::from_millis(1);

/// How long the cluster may take for what is left at the end.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was fed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fed {
    /// Calls in all.
    pub(super) calls: u64,
    /// Agents that loop.
    pub(super) loops: u64,
    /// When what is measured began and ended.
    pub(super) measured: (Timestamp, Timestamp),
}

/// Feeds until the time is over. What is late is made up for, as fast as the cluster takes it.
pub(super) fn feed(feeder: &Feeder, options: &LatencyOptions) -> Result<Fed, KafkaError> {
    let warm_up = Duration::from_secs(options.warm_up_seconds);
    let whole = warm_up + Duration::from_secs(options.seconds);
    let calls = options.rate.saturating_mul(whole.as_secs());
    let scenario = Scenario::bench(options.agents, calls, options.seed);
    let mut events = scenario.events();
    let began = Moment::now();
    let from = clock::wall().plus(warm_up);
    let mut json = Vec::with_capacity(1_024);
    let mut send = |event: &Event| {
        json.clear();
        event.write_json(&mut json);
        feeder.send(event.key().as_bytes(), &json)
    };
    let (mut sent, mut loops) = (0, 0);
    while began.elapsed() < whole {
        let now = clock::wall();
        let passed = began.elapsed();
        let due = due(options.rate, passed).saturating_sub(sent);
        for mut generated in events.by_ref().take(usize::try_from(due).unwrap_or(usize::MAX)) {
            generated.event.time = now;
            send(&generated.event)?;
            sent += 1;
        }
        let measured = passed.saturating_sub(warm_up);
        if !measured.is_zero() && loops < due_loops(options, measured) {
            for call in 0..LOOP_CALLS {
                send(&looping(loops, call, now))?;
            }
            loops += 1;
        }
        feeder.poll();
        std::thread::sleep(NAP);
    }
    let until = clock::wall();
    feeder.flush(PATIENCE)?;
    let calls = sent + loops * u64::from(LOOP_CALLS);
    Ok(Fed { calls, loops, measured: (from, until) })
}

/// How many of `rate` a second are due after `passed`.
fn due(rate: u64, passed: Duration) -> u64 {
    let due = passed.as_nanos().saturating_mul(u128::from(rate)) / 1_000_000_000;
    u64::try_from(due).unwrap_or(u64::MAX)
}

/// How many loops are due after `measured`: the first at once, none beyond those asked for.
fn due_loops(options: &LatencyOptions, measured: Duration) -> u64 {
    let rate = u64::from(options.alerts_a_second);
    due(rate, measured).saturating_add(1).min(rate.saturating_mul(options.seconds))
}

/// One call of a loop. Each agent is a product of its own, so that nobody is its peer.
fn looping(number: u64, call: u32, time: Timestamp) -> Event {
    Event {
        time,
        tenant_id: LOOPING_TENANT.to_owned(),
        agent_id: format!("loop-{number:06}@1"),
        agent_version: None,
        session_id: format!("loop-{number:06}"),
        call_id: format!("loop-{number:06}-{call:02}"),
        tool_name: "update_row".to_owned(),
        tool_server: Some("rows".to_owned()),
        arguments: Arguments::default().text("row", "one and the same"),
        status: Status::Ok,
        duration_ms: 20,
        bytes_out: 200,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_even_and_ends_with_what_was_asked_for() {
        assert_eq!(due(50_000, Duration::from_millis(1)), 50);
        assert_eq!(due(50_000, Duration::from_secs(3_600)), 180_000_000);
        let options = LatencyOptions {
            rate: 50_000,
            agents: 1,
            partitions: 1,
            workers: 1,
            warm_up_seconds: 0,
            seconds: 2,
            alerts_a_second: 5,
            seed: 1,
        };
        let loops: Vec<u64> =
            (0..=20).map(|tenth| due_loops(&options, Duration::from_millis(tenth * 100))).collect();
        assert_eq!(loops.first(), Some(&1));
        assert_eq!(loops.last(), Some(&10));
        assert!(loops.windows(2).all(|it| it[1] - it[0] <= 1));
    }
}
