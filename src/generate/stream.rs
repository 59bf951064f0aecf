//! The calls of a scenario, all agents merged, in the order of event time.
//!
//! One day is in memory at a time; uniform load needs no memory at all.

use crate::event::Timestamp;
use crate::generate::anomaly::Truth;
use crate::generate::day::{Agent, day_start};
use crate::generate::draw;
use crate::generate::event::Generated;
use crate::generate::plant::{Marked, splice};
use crate::generate::scenario::{Product, Scenario, Traffic};
use crate::generate::uniform::Uniform;

impl Scenario {
    /// The calls, in the order of event time; ties stand in the order of the agents.
    #[must_use]
    pub fn events(&self) -> Events<'_> {
        let source = match &self.traffic {
            Traffic::Products(products) => Source::Work(Work::new(self, products)),
            Traffic::Uniform { agents, calls } => {
                Source::Uniform(Uniform::new(self.seed, self.start, *agents, *calls))
            }
        };
        Events { source }
    }

    /// The truth about everything planted, in the order in which it was planted.
    ///
    /// Draws only the days concerned.
    #[must_use]
    pub fn truth(&self) -> Vec<Truth> {
        let Traffic::Products(products) = &self.traffic else {
            return Vec::new();
        };
        let agents = Agent::all(self, products);
        let mut truths = Vec::new();
        for (number, planted) in self.planted.iter().enumerate() {
            let mut agents = agents.iter();
            let agent = agents.find(|agent| agent.is(&planted.tenant_id, &planted.agent_id));
            let found = agent.filter(|_| planted.day < self.days).and_then(|agent| {
                let (_, truths) = agent_day(agent, products, planted.day);
                truths.into_iter().find(|(known, _)| *known == number)
            });
            truths.extend(found.map(|(_, truth)| truth));
        }
        truths
    }
}

/// The calls of a scenario; made by [`Scenario::events`].
#[derive(Debug)]
pub struct Events<'a> {
    source: Source<'a>,
}

#[derive(Debug)]
enum Source<'a> {
    Work(Work<'a>),
    Uniform(Uniform),
}

impl Iterator for Events<'_> {
    type Item = Generated;

    fn next(&mut self) -> Option<Generated> {
        match &mut self.source {
            Source::Work(work) => work.next(),
            Source::Uniform(uniform) => {
                uniform.next().map(|event| Generated { event, truth: None })
            }
        }
    }
}

/// Agents at work, a day at a time.
#[derive(Debug)]
struct Work<'a> {
    scenario: &'a Scenario,
    products: &'a [Product],
    agents: Vec<Agent<'a>>,
    next_day: u32,
    today: std::vec::IntoIter<Marked>,
}

impl<'a> Work<'a> {
    fn new(scenario: &'a Scenario, products: &'a [Product]) -> Self {
        let agents = Agent::all(scenario, products);
        Self { scenario, products, agents, next_day: 0, today: Vec::new().into_iter() }
    }

    fn next(&mut self) -> Option<Generated> {
        loop {
            if let Some((event, number)) = self.today.next() {
                let planted = number.and_then(|number| self.scenario.planted.get(number));
                return Some(Generated { event, truth: planted.map(|planted| planted.kind) });
            }
            if self.next_day >= self.scenario.days {
                return None;
            }
            let mut calls = Vec::new();
            for agent in &self.agents {
                calls.append(&mut agent_day(agent, self.products, self.next_day).0);
            }
            calls.sort_by_key(|(event, _): &Marked| event.time);
            self.today = calls.into_iter();
            self.next_day += 1;
        }
    }
}

/// One agent's calls of one day with what is planted in them, and the truth about it by number.
fn agent_day(
    agent: &Agent<'_>,
    products: &[Product],
    day: u32,
) -> (Vec<Marked>, Vec<(usize, Truth)>) {
    let mut calls: Vec<Marked> =
        agent.natural(day).into_iter().map(|event| (event, None)).collect();
    let mut truths = Vec::new();
    for (number, planted) in agent.scenario.planted.iter().enumerate() {
        if planted.day == day && agent.is(&planted.tenant_id, &planted.agent_id) {
            truths.extend(splice(number, agent, products, &mut calls).map(|found| (number, found)));
            calls.sort_by_key(|(event, _)| event.time);
        }
    }
    let end: Timestamp = day_start(agent.scenario, day.saturating_add(1));
    calls.retain(|(event, _)| event.time < end);
    for (index, (event, _)) in (0_u64..).zip(&mut calls) {
        event.call_id =
            call_id(agent.scenario.seed, agent.index << 44 | u64::from(day) << 24 | index);
    }
    (calls, truths)
}

/// An id that looks random; no two numbers below 2^64 share one.
pub(crate) fn call_id(seed: u64, number: u64) -> String {
    format!("call_{:016x}", draw::mix(number ^ draw::mix(seed)))
}
