//! One day of one agent: habits become sessions, sessions become calls.
//!
//! A day is drawn from the seed, the agent and the day alone, so any day can be drawn by itself.

use std::collections::VecDeque;

use fastrand::Rng;

use crate::event::{Status, Timestamp};
use crate::generate::arguments::{Session, arguments};
use crate::generate::draw;
use crate::generate::event::{Arguments, Event, Value};
use crate::generate::scenario::{Product, Scenario, Tool, Work};

const DAY_SECS: i64 = 86_400;

/// Within this many seconds ...
const REPEAT_SECS: i64 = 300;
/// ... natural traffic makes the same call at most so often.
const REPEAT_MAX: usize = 3;

/// One agent of a scenario.
#[derive(Clone, Debug)]
pub(crate) struct Agent<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) product: &'a Product,
    /// Its id, `product@instance`.
    pub(crate) id: String,
    /// Its number among all agents of the scenario.
    pub(crate) index: u64,
    /// Its number among the instances of its product.
    rank: u32,
}

impl<'a> Agent<'a> {
    /// All agents, in the order of the scenario.
    pub(crate) fn all(scenario: &'a Scenario, products: &'a [Product]) -> Vec<Self> {
        let instances = products.iter().flat_map(|product| {
            (0..).zip(&product.instances).map(move |(rank, instance)| (product, rank, instance))
        });
        (0..)
            .zip(instances)
            .map(|(index, (product, rank, instance))| Self {
                scenario,
                product,
                id: format!("{}@{instance}", product.name),
                index,
                rank,
            })
            .collect()
    }

    pub(crate) fn is(&self, tenant_id: &str, agent_id: &str) -> bool {
        self.product.tenant_id == tenant_id && self.id == agent_id
    }

    /// A generator for one purpose of one day of this agent.
    pub(crate) fn rng(&self, purpose: u64, day: u32) -> Rng {
        draw::rng(self.scenario.seed, &[purpose, self.index, u64::from(day)])
    }

    /// How much of a usual day's work is done on `day`; 0 on a day off.
    fn load(&self, day: u32) -> f64 {
        let date = day_start(self.scenario, day).day();
        // 1970-01-01 was a Thursday.
        let weekend = matches!((date + 3).rem_euclid(7), 5 | 6);
        let mut rng = self.rng(1, day);
        let usual = draw::lognormal(&mut rng, 1.0, 0.12);
        let planted =
            self.scenario.planted.iter().any(|planted| {
                planted.day == day && self.is(&planted.tenant_id, &planted.agent_id)
            });
        if weekend {
            return usual * self.product.weekend;
        }
        if draw::chance(&mut rng, self.product.days_off) && !planted {
            return 0.0;
        }
        if self.product.deploy_day == Some(day) { usual * 1.33 } else { usual }
    }

    /// The upgrade's tool if the agent knows it on `day`, and whether it is still being tried.
    fn upgrade(&self, day: u32) -> Option<(&'a Tool, bool)> {
        let upgrade = self.product.upgrade.as_ref()?;
        let first = upgrade.first_day.saturating_add(self.rank);
        let worked = (first..=day).filter(|day| self.load(*day) > 0.0).take(3).count();
        (worked > 0).then_some((&upgrade.tool, worked < 3))
    }

    /// The natural calls of one day, by time; their call ids are still empty.
    pub(crate) fn natural(&self, day: u32) -> Vec<Event> {
        let load = self.load(day);
        if load <= 0.0 {
            return Vec::new();
        }
        let mut desk = Desk::new(self, day);
        for (start, calls) in desk.work(load) {
            desk.session(start, calls);
        }
        let end = day_start(self.scenario, day).plus_secs(DAY_SECS);
        desk.events.retain(|event| event.time < end);
        desk.events.sort_by_key(|event| event.time);
        desk.events
    }
}

/// Midnight UTC at the start of `day`.
pub(crate) fn day_start(scenario: &Scenario, day: u32) -> Timestamp {
    scenario.start.plus_secs(i64::from(day).saturating_mul(DAY_SECS))
}

/// An agent at work: draws calls and keeps what the next one depends on.
pub(crate) struct Desk<'a> {
    agent: &'a Agent<'a>,
    day: u32,
    pub(crate) rng: Rng,
    tools: Vec<&'a Tool>,
    /// A tool to be used once, from this time on.
    once: Option<(Timestamp, &'a Tool)>,
    recent: VecDeque<(Timestamp, String, Arguments)>,
    free: Timestamp,
    sessions: u64,
    events: Vec<Event>,
}

impl<'a> Desk<'a> {
    pub(crate) fn new(agent: &'a Agent<'a>, day: u32) -> Self {
        let mut rng = agent.rng(2, day);
        let mut tools: Vec<&Tool> = agent.product.tools.iter().collect();
        let curious = draw::chance(&mut rng, 0.125);
        let occasional = draw::pick(&mut rng, &agent.product.occasional).filter(|_| curious);
        let once = match agent.upgrade(day) {
            Some((tool, true)) => Some(tool),
            Some((tool, false)) => {
                tools.push(tool);
                occasional
            }
            None => occasional,
        };
        let start = day_start(agent.scenario, day);
        let once = once.map(|tool| (start.plus_secs(3_600 * rng.i64(9..15)), tool));
        let (recent, events) = (VecDeque::new(), Vec::new());
        Self { agent, day, rng, tools, once, recent, free: start, sessions: 0, events }
    }

    /// When each piece of work comes up, and how many calls it takes.
    fn work(&mut self, load: f64) -> Vec<(Timestamp, u64)> {
        match self.agent.product.work {
            Work::Sessions { a_day, calls } => self.habits(a_day, calls * load),
            Work::Jobs { an_hour, calls } => self.arrivals(an_hour * load, calls),
        }
    }

    /// Sessions at habitual times: spread over the working hours, each within its own part.
    fn habits(&mut self, a_day: u32, calls: f64) -> Vec<(Timestamp, u64)> {
        let hours = (0_u32..).zip(self.agent.product.hours).filter(|(_, weight)| *weight > 0.0);
        let hours: Vec<u32> = hours.map(|(hour, _)| hour).collect();
        let (Some(first), Some(last)) = (hours.first(), hours.last()) else {
            return Vec::new();
        };
        let part = f64::from(last + 1 - first) * 3_600.0 / f64::from(a_day.max(1));
        let habit = 0.2 * self.agent.rng(3, 0).f64();
        let start = day_start(self.agent.scenario, self.day).plus_secs(i64::from(first * 3_600));
        (0..a_day)
            .filter_map(|index| {
                let at = part * (f64::from(index) + habit + 0.4 * self.rng.f64());
                let calls = draw::geometric(&mut self.rng, calls);
                let skipped = draw::chance(&mut self.rng, 0.08);
                (!skipped).then(|| (start.plus_millis(draw::millis(at, 0)), calls.max(4)))
            })
            .collect()
    }

    /// Jobs that arrive at random, hour by hour.
    fn arrivals(&mut self, an_hour: f64, calls: f64) -> Vec<(Timestamp, u64)> {
        let start = day_start(self.agent.scenario, self.day);
        let mut jobs = Vec::new();
        for (hour, weight) in (0_i64..).zip(self.agent.product.hours) {
            for _ in 0..draw::poisson(&mut self.rng, an_hour * weight) {
                let at = start.plus_secs(hour * 3_600).plus_millis(self.rng.i64(0..3_600_000));
                jobs.push((at, draw::geometric(&mut self.rng, calls)));
            }
        }
        jobs.sort_unstable();
        jobs
    }

    pub(crate) fn open_session(&mut self) -> Session {
        self.sessions += 1;
        let mut rng = self.agent.rng(4 + self.sessions, self.day);
        Session::new(format!("{:012x}", rng.u64(..1 << 48)))
    }

    /// One piece of work, begun at `start` or when the one before it is done.
    fn session(&mut self, start: Timestamp, calls: u64) {
        let mut session = self.open_session();
        let mut now = start.max(self.free);
        let end = day_start(self.agent.scenario, self.day).plus_secs(DAY_SECS);
        for index in 0..calls {
            if now >= end {
                break;
            }
            let Some(tool) = self.next_tool(now, index == 0) else { return };
            now = self.take(tool, &mut session, now);
            if draw::chance(&mut self.rng, self.agent.product.pace.burst) {
                now = self.burst(&mut session, now);
            }
        }
        self.free = now.plus_millis(draw::millis(draw::lognormal(&mut self.rng, 12.0, 0.5), 0));
    }

    fn next_tool(&mut self, now: Timestamp, first: bool) -> Option<&'a Tool> {
        if first && let Some(tool) = self.tools.iter().find(|tool| !tool.acting) {
            return Some(tool);
        }
        if let Some((_, tool)) = self.once.take_if(|(from, _)| now >= *from) {
            return Some(tool);
        }
        draw::weighted(&mut self.rng, &self.tools, |tool| tool.weight).copied()
    }

    /// Makes one call and waits; returns when the next may start.
    fn take(&mut self, tool: &'a Tool, session: &mut Session, now: Timestamp) -> Timestamp {
        let event = self.call(tool, session, now);
        let next = event.end().plus_millis(self.gap());
        self.events.push(event);
        next
    }

    fn gap(&mut self) -> i64 {
        let pace = self.agent.product.pace;
        draw::millis(draw::lognormal(&mut self.rng, pace.gap_secs, pace.gap_sigma), 300)
    }

    /// Reads started side by side, as sub-agents do; returns when all of them are done.
    fn burst(&mut self, session: &mut Session, now: Timestamp) -> Timestamp {
        let reads = 4 + self.rng.u32(..self.agent.product.pace.burst_max.saturating_sub(3).max(1));
        let (mut at, mut done) = (now, now);
        for _ in 0..reads {
            let weight = |tool: &&Tool| if tool.acting { 0.0 } else { tool.weight };
            let Some(tool) = draw::weighted(&mut self.rng, &self.tools, weight).copied() else {
                return now;
            };
            at = at.plus_millis(draw::millis(draw::exponential(&mut self.rng, 0.9), 20));
            let event = self.call(tool, session, at);
            done = done.max(event.end());
            self.events.push(event);
        }
        done.plus_millis(self.gap())
    }

    /// One call of `tool` at `time`, not yet made. It repeats an earlier one only so often.
    pub(crate) fn call(&mut self, tool: &Tool, session: &mut Session, time: Timestamp) -> Event {
        let oldest = time.plus_secs(-REPEAT_SECS);
        while self.recent.front().is_some_and(|(at, ..)| *at < oldest) {
            self.recent.pop_front();
        }
        let mut with = arguments(tool.arguments, session, &mut self.rng);
        let same = |(_, name, known): &&(Timestamp, String, Arguments)| {
            *name == tool.name && *known == with
        };
        if self.recent.iter().filter(same).count() >= REPEAT_MAX {
            with.set("request", Value::Number(self.rng.u64(..1 << 40)));
        }
        self.recent.push_back((time, tool.name.clone(), with.clone()));
        self.event(tool, session, time, with)
    }

    fn event(&mut self, tool: &Tool, session: &Session, time: Timestamp, with: Arguments) -> Event {
        let product = self.agent.product;
        let failed = draw::chance(&mut self.rng, product.error_rate);
        let deployed = product
            .deploy_day
            .is_some_and(|day| time >= day_start(self.agent.scenario, day).plus_secs(DAY_SECS / 2));
        Event {
            time,
            tenant_id: product.tenant_id.clone(),
            agent_id: self.agent.id.clone(),
            agent_version: Some(format!("v{}", product.version + u32::from(deployed))),
            session_id: session.id.clone(),
            call_id: String::new(),
            tool_name: tool.name.clone(),
            tool_server: tool.server.clone(),
            arguments: with,
            status: if failed { Status::Error } else { Status::Ok },
            duration_ms: draw::whole(draw::lognormal(&mut self.rng, tool.duration_ms, 0.6)).max(1),
            bytes_out: draw::whole(draw::lognormal(&mut self.rng, tool.bytes_out, 0.8)),
        }
    }
}
