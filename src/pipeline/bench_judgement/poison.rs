//! What an attacker can teach: slow ramps, one wild hour, and a release that changes everybody.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::alert::Alert;
use crate::detect::AgentState;
use crate::event::Timestamp;
use crate::generate::corpora::{Change, Corpus, Crew, CrewPlan, Workload, midnight};
use crate::pipeline::bench_judgement::delay::{Trained, notice, train};
use crate::pipeline::bench_judgement::quiet::{TRAINING_DAYS, is_page};
use crate::pipeline::bench_judgement::{Options, in_parallel};
use crate::pipeline::pager::{Page, Pager};
use crate::policy::Rules;

/// Growth a day of the slow ramps.
const RAMPS: [f64; 4] = [0.01, 0.025, 0.05, 0.10];

/// A ramp must be noticed before the rate is this many times what was learned.
const ANCHOR_FACTOR: f64 = 3.0;

/// Detectors that judge how much an agent does. Others may alarm on a ramp, but for no reason.
const OF_AMOUNTS: [&str; 8] = [
    "call_rate",
    "run_size",
    "run_rate",
    "bytes_sent",
    "bytes_read",
    "rate_shift",
    "drift",
    "errors",
];

/// Agents of the group that a release changes, all at once, however many others are asked for: pages
/// are a few a release, whatever the size of the group, so that their share hangs on it.
const RELEASE_AGENTS: u32 = 1_000;

/// What one ramp came to.
#[derive(Clone, Debug, Serialize)]
pub struct RampRow {
    /// Growth a day, .05 for 5 %.
    pub growth_a_day: f64,
    /// Calls a minute at the start.
    pub a_minute: f64,
    /// Ramps made.
    pub runs: usize,
    /// Ramps noticed before three times the rate that was learned.
    pub noticed: usize,
    /// The median rate when they were, over the one learned; of those noticed.
    pub factor: Option<f64>,
}

/// What one hour of a hundred times the usual calls taught.
#[derive(Clone, Debug, Serialize)]
pub struct BurstRow {
    /// Hours made.
    pub runs: usize,
    /// The largest move of any learned level on the day after, .05 for 5 %.
    pub moved: f64,
    /// Whose level it was.
    pub by: &'static str,
}

/// What a release that triples everybody for two hours came to.
#[derive(Clone, Debug, Serialize)]
pub struct ReleaseRow {
    /// The corpus.
    pub corpus: &'static str,
    /// Agents of the group.
    pub agents: u32,
    /// Agents with an alert of their own within six hours that a receiver gets, be it as an update of
    /// an incident told before.
    pub alarmed: usize,
    /// Pages that a receiver gets, the group's finding included: alerts that are not such updates.
    pub pages: usize,
    /// Findings about the group.
    pub findings: usize,
    /// Whose alerts page, with how often.
    pub by: BTreeMap<String, usize>,
}

impl ReleaseRow {
    /// Pages over agents.
    #[must_use]
    pub fn paged(&self) -> f64 {
        self.share(self.pages)
    }

    /// Agents with an alert of their own over agents.
    #[must_use]
    pub fn told(&self) -> f64 {
        self.share(self.alarmed)
    }

    fn share(&self, part: usize) -> f64 {
        f64::from(u32::try_from(part).unwrap_or(u32::MAX)) / f64::from(self.agents.max(1))
    }
}

/// Slow ramps, every growth and two rates.
pub(super) fn ramps(rules: &Rules, options: &Options) -> Vec<RampRow> {
    let mut rows = Vec::new();
    for a_minute in [0.1, 1.0] {
        let plans: Vec<CrewPlan> = (0..2).map(|number| plan(options, number, a_minute)).collect();
        let found = in_parallel(&plans, options.threads, |plan| {
            let trained = train(rules, plan);
            let of_ramp = |growth: &f64| -> Vec<Option<f64>> {
                (0..plan.agents).map(|agent| ramp(&trained, agent, *growth)).collect()
            };
            RAMPS.iter().map(of_ramp).collect::<Vec<_>>()
        });
        for (place, growth_a_day) in RAMPS.iter().enumerate() {
            let all: Vec<Option<f64>> =
                found.iter().filter_map(|of| of.get(place)).flatten().copied().collect();
            let mut factors: Vec<f64> = all.iter().flatten().copied().collect();
            factors.sort_unstable_by(f64::total_cmp);
            rows.push(RampRow {
                growth_a_day: *growth_a_day,
                a_minute,
                runs: all.len(),
                noticed: factors.len(),
                factor: factors.get(factors.len() / 2).copied(),
            });
        }
    }
    rows
}

fn plan(options: &Options, number: u32, a_minute: f64) -> CrewPlan {
    CrewPlan {
        corpus: Corpus::Poisson,
        seed: options.seed,
        number: 100 + number,
        agents: 8,
        workload: Workload::Fixed(a_minute),
        change: None,
    }
}

/// The rate over the learned one at which a ramp is noticed, if that is soon enough.
fn ramp(trained: &Trained<'_>, agent: u32, growth_a_day: f64) -> Option<f64> {
    let from = midnight(TRAINING_DAYS);
    let change = Change { from, until: Timestamp::MAX, factor: 1.0, growth_a_day };
    let days = libm::log(ANCHOR_FACTOR) / libm::log1p(growth_a_day);
    let until = from.plus_millis(crate::generate::corpora::millis_of_days(days));
    let noticed =
        notice(trained, (agent, change, until), |detector| OF_AMOUNTS.contains(&detector))?;
    Some(change.factor_at(noticed.at))
}

/// One hour of a hundred times the usual calls: how far the levels learned are from those of the
/// same agent without it, two mornings later.
pub(super) fn burst(rules: &Rules, options: &Options) -> BurstRow {
    let plans: Vec<CrewPlan> = (0..2).map(|number| plan(options, number, 1.0)).collect();
    let moves = in_parallel(&plans, options.threads, |plan| {
        let trained = train(rules, plan);
        let from = midnight(TRAINING_DAYS).plus_secs(11 * 3_600);
        let change = Change { until: from.plus_secs(3_600), ..Change::lasting(from, 100.0) };
        let of_agent = |agent| {
            let before = levels(&trained, agent, None);
            let after = levels(&trained, agent, Some(change));
            let pairs = before.into_iter().zip(after);
            pairs
                .map(|((name, before), (_, after))| ((after / before.max(1e-9) - 1.0).abs(), name))
                .fold((0.0, ""), |worst, it| if it.0 > worst.0 { it } else { worst })
        };
        (0..plan.agents).map(of_agent).collect::<Vec<(f64, &'static str)>>()
    });
    let all: Vec<(f64, &'static str)> = moves.into_iter().flatten().collect();
    let worst = all.iter().copied().fold((0.0, ""), |a, b| if b.0 > a.0 { b } else { a });
    BurstRow { runs: all.len(), moved: worst.0, by: worst.1 }
}

/// What an agent's levels are two mornings after the training.
fn levels(trained: &Trained<'_>, agent: u32, change: Option<Change>) -> Vec<(&'static str, f64)> {
    let mut trained = trained.clone();
    trained.crew.follow(agent, change);
    let Trained { world, crew, .. } = &mut trained;
    crew.play(midnight(TRAINING_DAYS + 2), &mut |agent, call| {
        world.call(agent, call, &mut |_, _| {});
    });
    world.agent(agent).map(AgentState::usual_levels).unwrap_or_default()
}

/// A release that triples what everybody of a group does, for two hours of a Monday.
pub(super) fn releases(rules: &Rules, options: &Options) -> Vec<ReleaseRow> {
    let corpora = [Corpus::Poisson, Corpus::Sessions];
    in_parallel(&corpora, options.threads, |corpus| release(rules, options, *corpus))
}

fn release(rules: &Rules, options: &Options, corpus: Corpus) -> ReleaseRow {
    let from = midnight(TRAINING_DAYS).plus_secs(11 * 3_600);
    let until = from.plus_secs(2 * 3_600);
    let plan = CrewPlan {
        corpus,
        seed: options.seed,
        number: 200,
        agents: RELEASE_AGENTS,
        workload: Workload::Mixed,
        change: Some(Change { until, ..Change::lasting(from, 3.0) }),
    };
    let mut world = crate::pipeline::bench_judgement::world::World::new(rules);
    let mut pager = Pager::new(std::time::Duration::from_secs(86_400));
    let (mut alarmed, mut by) = (BTreeSet::new(), BTreeMap::new());
    let (mut pages, mut findings) = (0, 0);
    let end = from.plus_secs(6 * 3_600);
    Crew::new(&plan).play(end, &mut |agent, call| {
        world.call(agent, call, &mut |agent, alert: &Alert| {
            let is_after = alert.time.parse::<Timestamp>().is_ok_and(|time| time >= from);
            let told = is_page(alert).then(|| pager.decide(alert).0);
            if !is_after || told.is_none() || alert.revision > 0 {
                return;
            }
            if alert.detector == "common_mode" {
                findings += 1;
            } else {
                alarmed.insert(agent);
                *by.entry(alert.detector.clone()).or_default() += 1;
            }
            pages += usize::from(told == Some(Page::AsIs));
        });
    });
    ReleaseRow {
        corpus: corpus.as_str(),
        agents: plan.agents,
        alarmed: alarmed.len(),
        pages,
        findings,
        by,
    }
}
