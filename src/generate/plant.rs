//! Splices planted anomalies into an agent's day and writes down where they are.

use crate::event::{Status, Timestamp};
use crate::generate::anomaly::{Anomaly, Planted, Truth};
use crate::generate::arguments::{Session, strange_target};
use crate::generate::day::{Agent, Desk, day_start};
use crate::generate::draw;
use crate::generate::event::{Event, Value};
use crate::generate::scenario::{Product, Shape, Tool};

/// Tools no built-in product has: server, name, what they are called with.
const STRANGE_TOOLS: [(&str, &str, Shape); 6] = [
    ("vault", "export_secret", Shape::Record),
    ("cloud-admin", "create_access_key", Shape::Update),
    ("tunnel", "start_tunnel", Shape::Host),
    ("vault", "rotate_secret", Shape::Update),
    ("cloud-admin", "attach_policy", Shape::Update),
    ("backup", "restore_snapshot", Shape::Host),
];

/// A call of the day, and the number of the anomaly it belongs to.
pub(crate) type Marked = (Event, Option<usize>);

/// Splices the anomaly `number` into the agent's calls of the day.
///
/// Returns the truth about it, or nothing when nothing could be planted (an agent that would have
/// been silent anyway).
pub(crate) fn splice(
    number: usize,
    agent: &Agent<'_>,
    products: &[Product],
    calls: &mut Vec<Marked>,
) -> Option<Truth> {
    let planted = agent.scenario.planted.get(number)?;
    let start = day_start(agent.scenario, planted.day).plus_secs(i64::from(planted.minute) * 60);
    let day_end = day_start(agent.scenario, planted.day.saturating_add(1));
    if planted.kind == Anomaly::Silence {
        let missing: Vec<_> =
            calls.extract_if(.., |(event, _)| event.time >= start).map(|(e, _)| e.time).collect();
        return truth(planted, missing.iter().min().copied(), missing.iter().max().copied(), 0);
    }
    let mut intruder = Intruder::new(number, agent, start, calls);
    let mut events = intruder.act(planted.kind, products);
    events.retain(|(event, _)| event.time < day_end);
    let own = || events.iter().filter(|(_, truth)| truth.is_some()).map(|(event, _)| event.time);
    let (first, last, count) = (own().min(), own().max(), own().count());
    if planted.kind == Anomaly::RunawayLoop {
        let busy = first.zip(last);
        calls.retain(|(event, truth)| {
            truth.is_some() || !busy.is_some_and(|(a, z)| (a..=z).contains(&event.time))
        });
    }
    calls.append(&mut events);
    truth(planted, first, last, u64::try_from(count).unwrap_or(u64::MAX))
}

fn truth(
    planted: &Planted,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    calls: u64,
) -> Option<Truth> {
    Some(Truth {
        tenant_id: planted.tenant_id.clone(),
        agent_id: planted.agent_id.clone(),
        attack: planted.kind,
        start: start?,
        end: end?,
        calls,
    })
}

/// Whoever makes the planted calls, at the agent's desk.
struct Intruder<'a> {
    number: usize,
    agent: &'a Agent<'a>,
    day: u32,
    desk: Desk<'a>,
    session: Session,
    /// What the agent did before, latest last.
    before: Vec<Event>,
    now: Timestamp,
    made: Vec<Marked>,
}

impl<'a> Intruder<'a> {
    fn new(number: usize, agent: &'a Agent<'a>, start: Timestamp, calls: &[Marked]) -> Self {
        let day = agent.scenario.planted.get(number).map_or(0, |planted| planted.day);
        let mut desk = Desk::new(agent, day);
        desk.rng = agent.rng(u64::MAX, day ^ u32::try_from(number << 20).unwrap_or(u32::MAX));
        let natural = calls.iter().filter(|(_, truth)| truth.is_none());
        let before: Vec<Event> =
            natural.map(|(event, _)| event).filter(|event| event.time < start).cloned().collect();
        let running = before.last().filter(|event| start.secs_since(event.time) < 1_800.0);
        let id = running.map(|event| event.session_id.clone());
        let id = id.unwrap_or_else(|| format!("{:012x}", desk.rng.u64(..1 << 48)));
        let session = Session::new(id);
        Self { number, agent, day, desk, session, before, now: start, made: Vec::new() }
    }

    fn act(&mut self, kind: Anomaly, products: &'a [Product]) -> Vec<Marked> {
        match kind {
            Anomaly::RunawayLoop => self.runaway_loop(),
            Anomaly::FastReplay => self.fast_replay(),
            Anomaly::NewTools => self.new_tools(),
            Anomaly::OffHours => self.usual_calls(25, 45.0, |_| ()),
            Anomaly::RateBurst => self.rate_burst(),
            Anomaly::Masquerade => self.masquerade(products),
            Anomaly::NewTarget => self.new_target(),
            Anomaly::Silence => {}
            Anomaly::ErrorStorm => self.usual_calls(60, 4.0, |event| event.status = Status::Error),
            Anomaly::Exfiltration => self.exfiltration(),
        }
        std::mem::take(&mut self.made)
    }

    fn runaway_loop(&mut self) {
        let drawn = self.reading_tool().map(|tool| self.call(tool));
        let Some(call) = self.before.last().cloned().or(drawn) else {
            return;
        };
        for _ in 0..self.desk.rng.u32(80..=150) {
            let mut again = call.clone();
            again.duration_ms = again.duration_ms.min(200);
            self.make(again);
            self.wait(0.4, 0.2, 1.0);
        }
    }

    fn fast_replay(&mut self) {
        let count = usize::try_from(self.desk.rng.u32(60..=150)).unwrap_or(150);
        let past = self.acting_calls(count);
        let mut last = past.first().map_or(self.now, |event| event.time);
        for mut again in past {
            let gap = again.time.secs_since(last) / 10.0;
            last = again.time;
            self.now = self.now.plus_millis(draw::millis(gap.min(1.2), 200));
            again.duration_ms = again.duration_ms.min(200);
            self.make(again);
        }
    }

    /// The agent's latest `count` acting calls, from as many days as it takes.
    fn acting_calls(&self, count: usize) -> Vec<Event> {
        let acting = |event: &Event| {
            self.agent.product.tools.iter().any(|tool| tool.acting && tool.name == event.tool_name)
        };
        let mut past: Vec<Event> =
            self.before.iter().filter(|event| acting(event)).cloned().collect();
        for day in (0..self.day).rev() {
            if past.len() >= count {
                break;
            }
            let mut earlier = self.agent.natural(day);
            earlier.retain(acting);
            earlier.append(&mut past);
            past = earlier;
        }
        past.split_off(past.len().saturating_sub(count))
    }

    fn new_tools(&mut self) {
        let count = usize::try_from(self.desk.rng.u32(6..=8)).unwrap_or(8);
        let first = usize::try_from(self.desk.rng.u32(..6)).unwrap_or(0);
        let chosen = STRANGE_TOOLS.iter().cycle().skip(first).take(4).cycle().take(count);
        for (server, name, shape) in chosen {
            let tool = Tool {
                name: (*name).to_owned(),
                server: Some((*server).to_owned()),
                acting: true,
                weight: 1.0,
                arguments: *shape,
                duration_ms: 400.0,
                bytes_out: 900.0,
            };
            self.draw(&tool, |_| ());
            self.wait(15.0, 0.4, 60.0);
        }
    }

    fn usual_calls(&mut self, count: u32, gap_secs: f64, change: impl Fn(&mut Event)) {
        for _ in 0..count {
            let product = self.agent.product;
            let tool = draw::weighted(&mut self.desk.rng, &product.tools, |tool| tool.weight);
            let Some(tool) = tool else { return };
            self.draw(tool, &change);
            self.wait(gap_secs, 0.5, 120.0);
        }
    }

    fn rate_burst(&mut self) {
        for _ in 0..120 {
            let Some(tool) = self.acting_tool() else { return };
            self.draw(tool, |event| event.duration_ms = event.duration_ms.min(400));
            self.wait(0.7, 0.3, 2.0);
        }
    }

    fn masquerade(&mut self, products: &'a [Product]) {
        let own = |name: &str| self.agent.product.tools.iter().any(|tool| tool.name == name);
        let strange = |other: &&Product| !other.tools.iter().any(|tool| own(&tool.name));
        let others: Vec<&Product> = products.iter().filter(strange).collect();
        let Some(other) = draw::pick(&mut self.desk.rng, &others).copied() else {
            return;
        };
        for _ in 0..30 {
            let tool = draw::weighted(&mut self.desk.rng, &other.tools, |tool| tool.weight);
            let Some(tool) = tool else { return };
            self.draw(tool, |_| ());
            self.wait(6.0, 0.8, 120.0);
        }
    }

    fn new_target(&mut self) {
        let Some(read) = self.reading_tool() else { return };
        for _ in 0..3 {
            let event = self.call(read);
            self.made.push((event, None));
            self.wait(5.0, 0.5, 60.0);
        }
        let mut tools = self.agent.product.tools.iter().filter(|tool| tool.acting);
        let aimed = tools.clone().find(|tool| strange_target(tool.arguments).is_some());
        let Some(tool) = aimed.or_else(|| tools.next()) else { return };
        let (key, value) =
            strange_target(tool.arguments).unwrap_or(("to", "collections@blackfen.example"));
        for _ in 0..2 {
            self.draw(tool, |event| event.arguments.set(key, Value::Text(value.to_owned())));
            self.wait(5.0, 0.5, 60.0);
        }
    }

    fn exfiltration(&mut self) {
        for _ in 0..20 {
            let Some(tool) = self.reading_tool() else { return };
            self.draw(tool, |event| event.bytes_out = event.bytes_out.saturating_mul(100));
            self.wait(6.0, 0.5, 60.0);
        }
    }

    fn acting_tool(&mut self) -> Option<&'a Tool> {
        let weight = |tool: &Tool| if tool.acting { tool.weight } else { 0.0 };
        let tool = draw::weighted(&mut self.desk.rng, &self.agent.product.tools, weight);
        tool.filter(|tool| tool.acting)
    }

    fn reading_tool(&mut self) -> Option<&'a Tool> {
        let weight = |tool: &Tool| if tool.acting { 0.0 } else { tool.weight };
        let tool = draw::weighted(&mut self.desk.rng, &self.agent.product.tools, weight);
        tool.filter(|tool| !tool.acting)
    }

    fn call(&mut self, tool: &Tool) -> Event {
        self.desk.call(tool, &mut self.session, self.now)
    }

    fn draw(&mut self, tool: &Tool, change: impl Fn(&mut Event)) {
        let mut event = self.call(tool);
        change(&mut event);
        self.make(event);
    }

    fn make(&mut self, mut event: Event) {
        event.time = self.now;
        event.session_id.clone_from(&self.session.id);
        self.made.push((event, Some(self.number)));
    }

    fn wait(&mut self, median_secs: f64, sigma: f64, most_secs: f64) {
        let wait = draw::lognormal(&mut self.desk.rng, median_secs, sigma).min(most_secs);
        self.now = self.now.plus_millis(draw::millis(wait, 50));
    }
}
