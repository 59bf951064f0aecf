//! The calls of a crew, all its agents merged, in the order of event time.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::event::{
    Arguments, HOUR_NS, Operation, Position, Status, Target, TargetKind, Timestamp, ToolCall,
};
use crate::generate::corpora::habit::{Habit, Planned};
use crate::generate::corpora::{Change, CrewPlan, FIRST_DAY};
use crate::generate::draw;

/// Accounts that the runs of a crew are about.
const ACCOUNTS: u64 = 60;

/// Some agents at work. A clone goes on exactly as the original would.
#[derive(Clone, Debug)]
pub struct Crew {
    plan: CrewPlan,
    tenant: String,
    names: Vec<String>,
    tools: Vec<(String, Operation)>,
    habits: Vec<Habit>,
    /// The hour planned next, in nanoseconds.
    next: i64,
    /// Planned and not yet made, runs that go on.
    planned: Vec<Planned>,
    /// The texts of the call that is being made.
    call_id: String,
    session_id: String,
}

impl Crew {
    /// The crew of a plan, on the morning of its first day.
    #[must_use]
    pub fn new(plan: &CrewPlan) -> Self {
        let product = format!("{}-{:03}", plan.corpus.as_str(), plan.number);
        let tools = (0..plan.corpus.tools()).map(|tool| {
            if tool.is_multiple_of(2) {
                (format!("get_{tool:03}"), Operation::Read)
            } else {
                (format!("update_{tool:03}"), Operation::Write)
            }
        });
        Self {
            tenant: plan.corpus.as_str().to_owned(),
            names: (0..plan.agents).map(|agent| format!("{product}@{agent:03}")).collect(),
            tools: tools.collect(),
            habits: (0..plan.agents).map(|agent| Habit::new(plan, agent)).collect(),
            next: FIRST_DAY.as_nanos(),
            planned: Vec::new(),
            call_id: String::new(),
            session_id: String::new(),
            plan: plan.clone(),
        }
    }

    /// Only agent number `agent` goes on, with `change` from now on; what the others and it have
    /// already begun is left out.
    pub fn follow(&mut self, agent: u32, change: Option<Change>) {
        let place = usize::try_from(agent).unwrap_or(usize::MAX);
        self.habits = self.habits.get(place).cloned().into_iter().collect();
        self.habits.iter_mut().for_each(|habit| habit.set_change(change));
        self.planned.clear();
    }

    /// Makes every call before `until`, which is taken to the full hour above, in order; `sink` gets
    /// the agent's number and the call.
    pub fn play(&mut self, until: Timestamp, sink: &mut dyn FnMut(u32, &ToolCall<'_>)) {
        while self.next < until.as_nanos() {
            let start = Timestamp::from_nanos(self.next);
            self.next += HOUR_NS;
            for habit in &mut self.habits {
                habit.plan_hour(start, &mut self.planned);
            }
            self.planned.sort_unstable();
            let end = self.next;
            let due = self.planned.partition_point(|planned| planned.time < end);
            let later = self.planned.split_off(due);
            let now = std::mem::replace(&mut self.planned, later);
            for planned in &now {
                self.make(planned, sink);
            }
        }
    }

    fn make(&mut self, planned: &Planned, sink: &mut dyn FnMut(u32, &ToolCall<'_>)) {
        self.call_id.clear();
        self.session_id.clear();
        // Writing into a text does not fail.
        write!(self.call_id, "{:x}.{:x}", planned.agent, planned.serial).unwrap_or_default();
        if planned.run > 0 {
            write!(self.session_id, "{:x}-{:x}", planned.agent, planned.run).unwrap_or_default();
        }
        let place = usize::try_from(planned.agent).unwrap_or(0);
        let name = self.names.get(place).map_or("", String::as_str);
        let tool = self.tools.get(usize::from(planned.tool));
        let (tool, operation) = tool.map_or(("", Operation::Read), |(tool, it)| (tool, *it));
        let (targets, count) = self.targets(planned, operation);
        let call = ToolCall {
            position: Position { topic: self.plan.corpus.as_str(), ..Position::default() },
            time: Timestamp::from_nanos(planned.time),
            tenant_id: Cow::Borrowed(&self.tenant),
            agent_id: Cow::Borrowed(name),
            session_id: Cow::Borrowed(&self.session_id),
            call_id: Cow::Borrowed(&self.call_id),
            tool_name: Cow::Borrowed(tool),
            operation,
            arguments: Arguments {
                digest: planned.argument,
                bytes: size(planned.argument, 300),
                shape: u32::from(planned.tool) + 1,
            },
            targets: Cow::Borrowed(targets.get(..count).unwrap_or_default()),
            status: if planned.has_failed { Status::Error } else { Status::Ok },
            duration_ms: Some(size(draw::mix(planned.argument), 100).min(400)),
            bytes_out: Some(size(!planned.argument, 2_000)),
            ..ToolCall::default()
        };
        sink(planned.agent, &call);
    }

    /// What a call reaches for: an order that is new with each run or call, and on acting calls of
    /// runs one of the crew's accounts.
    fn targets(&self, planned: &Planned, operation: Operation) -> ([Target; 2], usize) {
        let of = |kind, key, value: u64| Target {
            kind,
            key,
            value: draw::mix(value).max(1),
            is_whole: true,
            ..Target::default()
        };
        let agent = u64::from(planned.agent) << 40 | u64::from(self.plan.number) << 52;
        if planned.run == 0 {
            return ([of(TargetKind::Identifier, 1, planned.argument), Target::default()], 1);
        }
        let run = agent | planned.run;
        // Of two draws the smaller: some accounts have far more to do than others.
        let draws = (draw::mix(run ^ 1) % ACCOUNTS, draw::mix(run ^ 2) % ACCOUNTS);
        let account = u64::from(self.plan.number) << 8 | draws.0.min(draws.1);
        let targets =
            [of(TargetKind::Identifier, 1, run), of(TargetKind::Account, 2, account | 1 << 63)];
        (targets, if operation.is_acting() { 2 } else { 1 })
    }
}

/// A size that hangs on `bits` alone: log-normal around `median`, between a tenth and ten times.
fn size(bits: u64, median: u64) -> u64 {
    // The sum of four bytes is nearly normal, with a mean of 510 and a deviation of 148.
    let bytes = draw::mix(bits).to_le_bytes();
    let sum: u16 = bytes.iter().take(4).map(|byte| u16::from(*byte)).sum();
    let normal = (f64::from(sum) - 510.0) / 148.0;
    let median = f64::from(u32::try_from(median).unwrap_or(u32::MAX));
    draw::whole(median * libm::exp(0.67 * normal)).max(1)
}
