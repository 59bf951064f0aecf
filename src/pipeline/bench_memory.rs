//! `toolwarden bench memory`: what agents take in memory, on the way every call goes.
//!
//! Calls are made up and judged by one partition's judge: agents with ten tools each, at work twice, in
//! groups of peers. They work in shifts of one hour, so that no more than those asked for hold what only
//! an agent at work needs; at the end so many are in a session with targets. What counts is the
//! resident memory of the whole process, at its peak and at the end, so maps, deadlines, what peers
//! know and what the allocator holds back count as well; nothing is estimated.

use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;

use crate::baseline::identity::hash_texts;
use crate::event::{
    Arguments, Operation, Position, Status, Target, TargetKind, Timestamp, ToolCall,
};
use crate::pipeline::epochs::PeerBoard;
use crate::pipeline::judge::{Judge, Shared};
use crate::pipeline::verdicts::VerdictBoard;
use crate::policy::Rules;
use crate::state::{Agents, PartitionId};

/// 2026-01-05T09:00:00Z in milliseconds.
pub(super) const START_MILLIS: i64 = 1_767_603_600_000;

/// An hour in milliseconds: the length of a shift.
pub(super) const HOUR_MILLIS: i64 = 3_600_000;

/// A day in hours.
pub(super) const DAY_HOURS: i64 = 24;

/// Shifts whose agents hold what they need at work: one works, and the one before comes to rest
/// with the end of this hour.
const SHIFTS_AT_WORK: u32 = 2;

/// Tools of each agent.
const TOOLS: u32 = 10;

/// Calls of each agent on each of two days: each tool once.
const CALLS_A_DAY: u32 = 10;

/// Calls of the session of one at work.
const CALLS_A_SESSION: u32 = 12;

/// Agents of one peer group.
const AGENTS_A_GROUP: u32 = 1_000;

/// The most that may be resident for a million agents: 1.5 GiB.
const BYTES_A_MILLION: f64 = 1.5 * 1_073_741_824.0;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct MemoryOptions {
    /// Agents.
    pub agents: u32,
    /// The most of them that are at work at once; so many are in a session at the end.
    pub live: u32,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct MemoryReport {
    /// Agents in memory.
    pub agents: usize,
    /// How many of them are in a session.
    pub live: usize,
    /// Calls judged.
    pub calls: u64,
    /// Resident bytes before the first agent.
    pub before_bytes: u64,
    /// Resident bytes with all of them.
    pub resident_bytes: u64,
    /// The same in GiB.
    pub resident_gib: f64,
    /// The most that ever was resident, in GiB.
    pub peak_gib: f64,
    /// The most agents that held what only an agent at work needs.
    pub live_peak: usize,
    /// What the agents added, each.
    pub bytes_an_agent: f64,
    /// Bytes of the state of an agent at rest, without the allocator's part; the mean of all.
    pub idle_state_bytes: f64,
    /// Bytes of the state of one in a session; the mean of all.
    pub live_state_bytes: f64,
    /// The bar for this many agents, in GiB.
    pub bar_gib: f64,
}

/// Measures; `say` is told how it goes.
///
/// # Errors
///
/// Where the system does not tell how much memory a process has (only Linux does), or when not
/// every agent found room.
pub fn memory(
    rules: Rules,
    options: &MemoryOptions,
    say: &mut dyn FnMut(&str),
) -> anyhow::Result<MemoryReport> {
    let before_bytes = resident_bytes()?;
    let room = usize::try_from(options.agents).context("too many agents")?;
    let shared = Shared {
        rules: Arc::new(rules),
        agents: Arc::new(Agents::new(room)),
        board: PeerBoard::default(),
        verdicts: VerdictBoard::default(),
        reorder_ns: 0,
        lateness_ns: 30_000_000_000,
    };
    let partition = PartitionId { topic: 0, partition: 0 };
    let mut fleet = Fleet::new(Judge::new(shared.clone(), partition, Arc::from("memory")), 0);
    let mut live_peak = 0;
    let shifts = options.agents.div_ceil((options.live / SHIFTS_AT_WORK).max(1)).max(1);
    // Each works twice, on whole days apart.
    let between = (i64::from(shifts).div_euclid(DAY_HOURS) + 1) * DAY_HOURS;
    for day in 0..2 {
        for shift in 0..shifts {
            let start = START_MILLIS + (day * between + i64::from(shift)) * HOUR_MILLIS;
            fleet.shift(options.agents, (shift, shifts), start)?;
            live_peak = live_peak.max(shared.agents.count(|state| state.deadline().is_some()));
        }
        say(&format!("day {day}: {} calls, {}", fleet.calls, resident()?));
    }
    // All of them come to rest before some begin to work.
    let start = START_MILLIS + 2 * between * HOUR_MILLIS;
    for round in 0..CALLS_A_SESSION {
        let start = start + i64::from(round) * 20_000;
        fleet.round((0..options.live).step_by(1), (start, 19_000), round, true)?;
    }
    say(&format!("in sessions: {} calls, {}", fleet.calls, resident()?));
    report(&shared.agents, options, (before_bytes, fleet.judge.tally().judged), live_peak)
}

fn report(
    agents: &Agents,
    options: &MemoryOptions,
    (before_bytes, calls): (u64, u64),
    live_peak: usize,
) -> anyhow::Result<MemoryReport> {
    let (resident_bytes, peak_bytes) = (resident_bytes()?, status_bytes("VmHWM:")?);
    let live = agents.count(|state| state.deadline().is_some());
    if agents.len() != usize::try_from(options.agents).unwrap_or(usize::MAX) {
        bail!("{} of {} agents are in memory", agents.len(), options.agents);
    }
    let mean = |is_live: bool| {
        let (mut bytes, mut count) = (0.0, 0.0_f64);
        agents.each(|state| {
            if state.deadline().is_some() == is_live {
                bytes += f64::from(u32::try_from(state.memory_bytes()).unwrap_or(u32::MAX));
                count += 1.0;
            }
        });
        bytes / count.max(1.0)
    };
    let added = as_f64(resident_bytes.saturating_sub(before_bytes));
    Ok(MemoryReport {
        agents: agents.len(),
        live,
        calls,
        before_bytes,
        resident_bytes,
        resident_gib: as_f64(resident_bytes) / 1_073_741_824.0,
        peak_gib: as_f64(peak_bytes) / 1_073_741_824.0,
        live_peak: live_peak.max(live),
        bytes_an_agent: added / f64::from(options.agents.max(1)),
        idle_state_bytes: mean(false),
        live_state_bytes: mean(true),
        bar_gib: BYTES_A_MILLION / 1_073_741_824.0 * f64::from(options.agents) / 1e6,
    })
}

/// The agents and who judges them.
pub(super) struct Fleet {
    pub(super) judge: Judge,
    /// The number of its first agent.
    first: u32,
    tools: Vec<String>,
    calls: u32,
    /// The offset of the record that holds the calls that come next.
    pub(super) record: i64,
}

impl Fleet {
    /// Agents judged by `judge`, whose numbers begin at `first`.
    pub(super) fn new(judge: Judge, first: u32) -> Self {
        let tools = (0..TOOLS).map(|tool| format!("tool_number_{tool}")).collect();
        Self { judge, first, tools, calls: 0, record: 0 }
    }

    /// An hour in which every agent of a shift makes its calls of a day, one round after the other.
    ///
    /// # Errors
    ///
    /// When the judge waits for something that is not to come.
    pub(super) fn shift(
        &mut self,
        agents: u32,
        (shift, shifts): (u32, u32),
        start: i64,
    ) -> anyhow::Result<()> {
        let step = usize::try_from(shifts).unwrap_or(1);
        for round in 0..CALLS_A_DAY {
            // A round takes five minutes, and the next one begins after six.
            let start = start + i64::from(round) * 360_000;
            self.round((shift..agents).step_by(step), (start, 300_000), round, false)?;
        }
        Ok(())
    }

    /// Call number `round` of each of `agents`, spread over a span from a start on, both in
    /// milliseconds; with targets when it is one of a session.
    fn round(
        &mut self,
        agents: std::iter::StepBy<std::ops::Range<u32>>,
        (start, span): (i64, i64),
        round: u32,
        has_targets: bool,
    ) -> anyhow::Result<()> {
        let count = i64::try_from(agents.len()).unwrap_or(1).max(1);
        for (place, agent) in (0_i64..).zip(agents) {
            let (agent, after) = (self.first + agent, place * span / count);
            let name =
                format!("product-{}@agent-{}", agent / AGENTS_A_GROUP, agent % AGENTS_A_GROUP);
            let tool = usize::try_from(round.wrapping_add(agent) % TOOLS).unwrap_or(0);
            let id = format!("call-{:x}", self.calls);
            let mut call = ToolCall {
                position: Position {
                    offset: self.record,
                    index: self.calls,
                    ..Position::default()
                },
                time: Timestamp::from_millis(start + after),
                tenant_id: "acme".into(),
                agent_id: name.as_str().into(),
                session_id: "5b7028e59d71".into(),
                tool_name: self.tools.get(tool).map_or("tool", String::as_str).into(),
                operation: if tool.is_multiple_of(3) { Operation::Read } else { Operation::Write },
                arguments: Arguments { digest: hash_texts(&[&id]), bytes: 120, shape: 77 },
                status: Status::Ok,
                duration_ms: Some(800),
                bytes_out: Some(1_500),
                call_id: id.as_str().into(),
                ..ToolCall::default()
            };
            if has_targets {
                call.targets = targets(agent, round).into();
                call.words = (0..12).map(|word| round % 8 * 12 + word).collect::<Vec<_>>().into();
            }
            self.judge.hold(&call);
            self.judge.judge_due(&mut |_| ());
            self.judge.take_audits().clear();
            self.calls = self.calls.wrapping_add(1);
        }
        while !self.judge.judge_all(&mut |_| ()) {
            ensure!(
                !self.judge.is_held_back(),
                "what was judged before must be written down first"
            );
        }
        self.judge.take_audits().clear();
        Ok(())
    }
}

/// Somebody, a record and a topic.
fn targets(agent: u32, round: u32) -> Vec<Target> {
    let of = |kind, name: String| Target {
        kind,
        key: 3,
        value: hash_texts(&[&name]),
        is_whole: true,
        ..Target::default()
    };
    let group = agent / AGENTS_A_GROUP;
    vec![
        of(TargetKind::Email, format!("{group}-somebody-{}", (agent + round / 3) % 40)),
        of(TargetKind::Identifier, format!("{group}-record-{}", (agent + round / 2) % 200)),
        of(TargetKind::Word, format!("{group}-topic-{}", agent % 10)),
    ]
}

fn resident() -> anyhow::Result<String> {
    Ok(format!("{:.3} GiB resident", as_f64(resident_bytes()?) / 1_073_741_824.0))
}

/// The resident memory of this process, as Linux tells it.
fn resident_bytes() -> anyhow::Result<u64> {
    status_bytes("VmRSS:")
}

/// A line of what Linux tells of this process, which is in KiB.
fn status_bytes(name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")
        .context("only Linux says how much memory a process has")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).context("no such line")?;
    Ok(kib.parse::<u64>().context("it is no number")?.saturating_mul(1_024))
}

#[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "bytes, for people")]
const fn as_f64(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RuleSource, load_rules};

    #[test]
    fn a_few_agents_are_measured_with_those_in_a_session_told_apart() {
        let rules = load_rules(&RuleSource::default()).unwrap().rules;
        let options = MemoryOptions { agents: 40, live: 5 };
        let report = memory(rules, &options, &mut |_| ()).unwrap();
        assert_eq!((report.agents, report.live), (40, 5));
        assert!(report.live_peak <= 5, "{}", report.live_peak);
        assert!(report.peak_gib >= report.resident_gib);
        assert_eq!(report.calls, u64::from(2 * CALLS_A_DAY * 40 + CALLS_A_SESSION * 5));
        assert!(report.idle_state_bytes <= 1_331.0, "at rest: {}", report.idle_state_bytes);
        assert!(report.live_state_bytes <= 2_048.0, "at work: {}", report.live_state_bytes);
        assert!(report.idle_state_bytes < report.live_state_bytes);
    }
}
