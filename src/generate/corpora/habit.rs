//! One agent of a crew: when it works, how much comes at once, and with which tools.

use fastrand::Rng;

use crate::event::{HOUR_NS, Timestamp};
use crate::generate::corpora::{Change, Corpus, CrewPlan, FIRST_DAY, Workload};
use crate::generate::draw;

/// Days between two tools that an agent of [`Corpus::Adoption`] takes up.
const ADOPTION_DAYS: i64 = 14;

/// How an hour's rate of [`Corpus::SlowSessions`] hangs on the hour before, and how far it wanders
/// (of its logarithm): twelve hours, three tenths.
const WANDER: (f64, f64) = (0.920_044_414_629_323, 0.3);

/// The process of [`Corpus::Generalist`]: concentration and discount.
const DISCOVERY: (f64, f64) = (2.0, 0.3);

/// Seconds between two calls of a run, on average.
const GAP_SECS: f64 = 5.0;

/// One call that will be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Planned {
    /// When, in nanoseconds.
    pub(crate) time: i64,
    /// The agent's number.
    pub(crate) agent: u32,
    /// Its number among the agent's calls.
    pub(crate) serial: u64,
    /// The tool's number among the crew's.
    pub(crate) tool: u16,
    /// The run, for corpora of runs; 0 otherwise.
    pub(crate) run: u64,
    /// What tells its arguments from others.
    pub(crate) argument: u64,
    pub(crate) has_failed: bool,
}

/// An agent and what it remembers.
#[derive(Clone, Debug)]
pub(crate) struct Habit {
    number: u32,
    corpus: Corpus,
    change: Option<Change>,
    rng: Rng,
    /// Draws of what a change adds or leaves out.
    changes: Rng,
    /// Arrivals an hour, the mean of a working day.
    rate: f64,
    /// How the agent likes each hour of the day; 1 on average.
    hours: [f64; 24],
    /// The logarithm of what a slow rate is at the moment.
    wander: f64,
    is_off: bool,
    /// The tools in use, with how often each was.
    tools: Vec<(u16, u32)>,
    uses: u32,
    /// The day it takes up its next tool, for [`Corpus::Adoption`].
    adopts_on: i64,
    runs: u64,
    calls: u64,
}

impl Habit {
    pub(crate) fn new(plan: &CrewPlan, number: u32) -> Self {
        let parts = [plan.corpus.run().to_bits(), u64::from(plan.number), u64::from(number)];
        let name =
            plan.corpus.as_str().bytes().fold(0, |hash, byte| draw::mix(hash ^ u64::from(byte)));
        let mut rng = draw::rng(plan.seed ^ name, &parts);
        let a_minute = match plan.workload {
            Workload::Fixed(a_minute) => a_minute,
            Workload::Mixed => {
                let usual = if number.is_multiple_of(20) { 1.0 } else { 0.1 };
                usual * gamma(&mut rng, 2)
            }
        };
        let mut hours = [1.0; 24];
        hours.iter_mut().for_each(|hour| *hour = gamma(&mut rng, 10));
        let mut habit = Self {
            number,
            corpus: plan.corpus,
            change: plan.change,
            rate: a_minute * 60.0 / plan.corpus.run(),
            hours,
            wander: 0.0,
            is_off: false,
            tools: Vec::new(),
            uses: 0,
            adopts_on: FIRST_DAY.day() + rng.i64(1..=ADOPTION_DAYS),
            runs: 0,
            calls: 0,
            changes: rng.fork(),
            rng,
        };
        let own: u16 = match plan.corpus {
            Corpus::Generalist => 0,
            Corpus::Adoption => 5,
            _ => plan.corpus.tools(),
        };
        (0..own).for_each(|_| habit.take_up());
        habit
    }

    /// What changes for this agent from now on.
    pub(crate) fn set_change(&mut self, change: Option<Change>) {
        self.change = change;
    }

    /// Plans what arrives in the hour that begins at `start`; runs may go on beyond it.
    pub(crate) fn plan_hour(&mut self, start: Timestamp, planned: &mut Vec<Planned>) {
        self.begin_hour(start);
        if self.is_off {
            return;
        }
        let mean = self.rate * self.shape(start);
        for time in self.arrivals(start, mean) {
            let factor = self.factor_at(time);
            let is_left_out = factor < 1.0 && !draw::chance(&mut self.changes, factor);
            let made = planned.len();
            self.arrive(time, planned);
            if is_left_out {
                planned.truncate(made);
            }
        }
        let highest = self.highest_factor(start);
        if highest > 1.0 {
            // What comes on top is drawn apart, so that the usual work stays the same call by call.
            std::mem::swap(&mut self.rng, &mut self.changes);
            for time in self.arrivals(start, mean * (highest - 1.0)) {
                let factor = self.factor_at(time);
                if draw::chance(&mut self.rng, (factor - 1.0) / (highest - 1.0)) {
                    self.arrive(time, planned);
                }
            }
            std::mem::swap(&mut self.rng, &mut self.changes);
        }
    }

    /// When something arrives in the hour that begins at `start`, `mean` times on average.
    fn arrivals(&mut self, start: Timestamp, mean: f64) -> Vec<Timestamp> {
        let (mut times, mut at) = (Vec::new(), 0.0);
        if mean <= 0.0 {
            return times;
        }
        loop {
            at += draw::exponential(&mut self.rng, 1.0 / mean);
            if at >= 1.0 {
                return times;
            }
            times.push(start.plus_millis(draw::millis(at * 3_600.0, 0)));
        }
    }

    fn factor_at(&self, time: Timestamp) -> f64 {
        self.change.map_or(1.0, |change| change.factor_at(time))
    }

    fn begin_hour(&mut self, start: Timestamp) {
        if start.hour_of_day() == 0 {
            self.is_off = self.corpus == Corpus::OnOff && draw::chance(&mut self.rng, 0.5);
            if self.corpus == Corpus::Adoption && start.day() >= self.adopts_on {
                self.adopts_on += ADOPTION_DAYS;
                self.take_up();
            }
        }
        if self.corpus == Corpus::SlowSessions {
            let (kept, spread) = WANDER;
            let fresh = spread * libm::sqrt(1.0 - kept * kept);
            self.wander = self.wander * kept + fresh * draw::normal(&mut self.rng);
        }
    }

    /// How busy the agent is in an hour, over its mean of a working day.
    fn shape(&self, start: Timestamp) -> f64 {
        let hour = start.hour_of_day();
        let turn = (f64::from(hour) - 13.5) / 24.0 * std::f64::consts::TAU;
        let of_day = 1.0 + 0.75 * libm::cos(turn);
        // 1 January 1970 was a Thursday.
        let is_weekend = matches!(start.day().rem_euclid(7), 2 | 3);
        let of_week = if is_weekend { 0.4 } else { 1.0 };
        let own = self.hours.get(usize::from(hour)).copied().unwrap_or(1.0);
        of_day * of_week * own * libm::exp(self.wander)
    }

    /// The highest factor of the change within the hour.
    fn highest_factor(&self, start: Timestamp) -> f64 {
        let Some(change) = self.change else { return 1.0 };
        let end = Timestamp::from_nanos(start.as_nanos() + HOUR_NS - 1);
        let begins = change.from > start && change.from <= end;
        let within = begins.then(|| change.factor_at(change.from));
        [change.factor_at(start), change.factor_at(end)]
            .into_iter()
            .chain(within)
            .fold(0.0, f64::max)
    }

    /// One call, or one run of calls.
    fn arrive(&mut self, start: Timestamp, planned: &mut Vec<Planned>) {
        self.runs += 1;
        let calls = self.size();
        let is_run = self.corpus.run() > 1.0;
        let run = if is_run { self.runs } else { 0 };
        let mut time = start;
        for step in 0..calls {
            let tool = self.tool(step);
            let argument = self.rng.u64(1..);
            let has_failed = draw::chance(&mut self.rng, 0.01);
            self.make(time, (tool, run, argument), has_failed, planned);
            if has_failed {
                // Tried again, once, with the same arguments.
                time = time.plus_millis(2_000);
                self.make(time, (tool, run, argument), false, planned);
            }
            let gap = draw::exponential(&mut self.rng, GAP_SECS);
            time = time.plus_millis(draw::millis(gap, 400));
        }
    }

    fn make(
        &mut self,
        time: Timestamp,
        (tool, run, argument): (u16, u64, u64),
        has_failed: bool,
        planned: &mut Vec<Planned>,
    ) {
        self.calls += 1;
        let (agent, serial) = (self.number, self.calls);
        planned.push(Planned {
            time: time.as_nanos(),
            agent,
            serial,
            tool,
            run,
            argument,
            has_failed,
        });
    }

    /// How many calls arrive together.
    fn size(&mut self) -> u64 {
        let mean = self.corpus.run();
        match self.corpus {
            Corpus::Workflow => 6,
            Corpus::HeavyRuns => {
                // The mean of a log-normal is its median times e^(sigma squared / 2).
                let median = mean / libm::exp(0.5 * 1.2 * 1.2);
                draw::whole(median * libm::exp(1.2 * draw::normal(&mut self.rng))).max(1)
            }
            Corpus::Sessions | Corpus::SlowSessions => {
                let stay = libm::log1p(-1.0 / mean);
                draw::whole(libm::log(1.0 - self.rng.f64()) / stay) + 1
            }
            _ => 1,
        }
    }

    /// The tool of the next call, which is step number `step` of its run.
    fn tool(&mut self, step: u64) -> u16 {
        let place = match self.corpus {
            Corpus::Generalist => return self.discover(),
            Corpus::Workflow if !draw::chance(&mut self.rng, 0.05) => {
                usize::try_from(step).unwrap_or(0)
            }
            _ => self.favourite(),
        };
        let known = self.tools.get(place).or_else(|| self.tools.first());
        known.map_or(0, |(tool, _)| *tool)
    }

    /// The place of one of the tools, the first far more often than the last (Zipf's law).
    fn favourite(&mut self) -> usize {
        let weights = || (1_u32..).map(|rank| 1.0 / f64::from(rank)).take(self.tools.len());
        let mut left = self.rng.f64() * weights().sum::<f64>();
        let place = weights().position(|weight| {
            left -= weight;
            left < 0.0
        });
        place.unwrap_or(0)
    }

    /// A tool by Pitman and Yor's process: now and then one never used, mostly a frequent one.
    fn discover(&mut self) -> u16 {
        let (concentration, discount) = DISCOVERY;
        let known = f64::from(u32::try_from(self.tools.len()).unwrap_or(u32::MAX));
        let uses = f64::from(self.uses);
        let chance = (concentration + discount * known) / (uses + concentration);
        if draw::chance(&mut self.rng, chance) {
            self.take_up();
        } else {
            let mut left = self.rng.f64() * (uses - discount * known).max(0.0);
            let place = self.tools.iter().position(|(_, count)| {
                left -= f64::from(*count) - discount;
                left < 0.0
            });
            let place = place.unwrap_or(0);
            if let Some(moved) = self.tools.get_mut(..=place) {
                // What was used last stands first, so that the search is short.
                moved.rotate_right(1);
            }
        }
        self.uses += 1;
        let first = self.tools.first_mut();
        first.map_or(0, |(tool, count)| {
            *count += 1;
            *tool
        })
    }

    /// Takes up a tool of the crew's, mostly a common one; it stands first for a generalist and last
    /// for everybody else.
    fn take_up(&mut self) {
        let all = self.corpus.tools();
        let is_known = |tools: &[(u16, u32)], tool| tools.iter().any(|(known, _)| *known == tool);
        // Of some draws the first that is new: common tools have small numbers.
        for _ in 0..64 {
            let tool = self.rng.u16(..all).min(self.rng.u16(..all));
            if !is_known(&self.tools, tool) {
                let place = if self.corpus == Corpus::Generalist { 0 } else { self.tools.len() };
                self.tools.insert(place, (tool, 0));
                return;
            }
        }
        if let Some(tool) = (0..all).find(|tool| !is_known(&self.tools, *tool)) {
            self.tools.push((tool, 0));
        }
    }
}

/// A Gamma draw of mean 1 and this whole shape.
fn gamma(rng: &mut Rng, shape: u32) -> f64 {
    let sum: f64 = (0..shape).map(|_| draw::exponential(rng, 1.0)).sum();
    sum / f64::from(shape)
}
