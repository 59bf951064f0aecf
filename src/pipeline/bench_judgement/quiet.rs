//! False alarms on traffic that holds no attack, for each detector beside its budget.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::alert::{Alert, AlertStatus, PAGE_SCORE};
use crate::event::Timestamp;
use crate::generate::corpora::{Corpus, Crew, CrewPlan, Workload, midnight};
use crate::pipeline::bench_judgement::world::World;
use crate::pipeline::bench_judgement::{Options, in_parallel};
use crate::pipeline::clock::Moment;
use crate::policy::Rules;

/// Days that are learned from and not counted.
pub(super) const TRAINING_DAYS: u32 = 14;

/// Agents of one crew.
const CREW: u32 = 100;

/// What one corpus came to.
#[derive(Clone, Debug, Serialize)]
pub struct QuietRow {
    /// The corpus.
    pub corpus: &'static str,
    /// Agents at work.
    pub agents: u32,
    /// Calls judged, training included.
    pub calls: u64,
    /// Days with a call, of all agents together, training left out.
    pub active_days: u64,
    /// Wall time.
    pub seconds: f64,
    /// Agents that had an alert that pages.
    pub agents_alarmed: u64,
    /// Every detector that has a rule.
    pub detectors: Vec<Realised>,
    /// The largest share of its budget that a detector used up.
    pub worst: f64,
    /// Alerts that page, of all detectors, an active agent-day.
    pub alarms_a_day: f64,
}

/// What one detector came to on one corpus.
#[derive(Clone, Debug, Serialize)]
pub struct Realised {
    /// The detector.
    pub detector: &'static str,
    /// False alarms that its rule allows an active agent-day.
    pub budget: f64,
    /// Alerts that page.
    pub alarms: u64,
    /// The same an active agent-day.
    pub a_day: f64,
}

/// What one crew came to.
#[derive(Debug, Default)]
struct Counted {
    calls: u64,
    active_days: u64,
    alarms: BTreeMap<String, u64>,
    agents_alarmed: BTreeSet<u32>,
    told: BTreeSet<String>,
}

/// Alerts that page; each episode counts once.
pub(super) fn is_page(alert: &Alert) -> bool {
    alert.status != AlertStatus::Resolved && alert.score >= PAGE_SCORE
}

/// Judges one corpus.
pub(super) fn measure(rules: &Rules, options: &Options, corpus: Corpus) -> QuietRow {
    let began = Moment::now();
    let plans: Vec<CrewPlan> = (0..options.agents.div_ceil(CREW))
        .map(|number| CrewPlan {
            corpus,
            seed: options.seed,
            number,
            agents: CREW.min(options.agents - number * CREW),
            workload: Workload::Mixed,
            change: None,
        })
        .collect();
    let days = TRAINING_DAYS + options.days;
    let counted = in_parallel(&plans, options.threads, |plan| judge_crew(rules, plan, days));
    let calls = counted.iter().map(|it| it.calls).sum();
    let active_days: u64 = counted.iter().map(|it| it.active_days).sum();
    let a_day = |alarms: u64| as_f64(alarms) / as_f64(active_days).max(1.0);
    let alarms_of =
        |detector: &str| -> u64 { counted.iter().filter_map(|it| it.alarms.get(detector)).sum() };
    let detectors: Vec<Realised> = rules
        .words()
        .map(|words| {
            let alarms = alarms_of(words.detector.as_str());
            let detector = words.detector.as_str();
            Realised { detector, budget: words.budget, alarms, a_day: a_day(alarms) }
        })
        .collect();
    let shares = detectors.iter().map(|it| it.a_day / it.budget);
    QuietRow {
        corpus: corpus.as_str(),
        agents: options.agents,
        calls,
        active_days,
        seconds: began.elapsed().as_secs_f64(),
        agents_alarmed: counted.iter().map(|it| as_u64(it.agents_alarmed.len())).sum(),
        worst: shares.fold(0.0, f64::max),
        alarms_a_day: a_day(detectors.iter().map(|it| it.alarms).sum()),
        detectors,
    }
}

fn judge_crew(rules: &Rules, plan: &CrewPlan, days: u32) -> Counted {
    let mut world = World::new(rules);
    let mut counted = Counted::default();
    let mut newest_days = BTreeMap::new();
    let measured_from = midnight(TRAINING_DAYS);
    let mut crew = Crew::new(plan);
    crew.play(midnight(days), &mut |agent, call| {
        counted.calls += 1;
        let day = call.time.day();
        let is_new_day = newest_days.insert(agent, day) != Some(day);
        counted.active_days += u64::from(is_new_day && call.time >= measured_from);
        world.call(agent, call, &mut |agent, alert| counted.note(agent, alert, measured_from));
    });
    counted
}

impl Counted {
    fn note(&mut self, agent: u32, alert: &Alert, from: Timestamp) {
        let is_measured = alert.time.parse::<Timestamp>().is_ok_and(|time| time >= from);
        if is_page(alert) && is_measured && self.told.insert(alert.alert_id.clone()) {
            *self.alarms.entry(alert.detector.clone()).or_default() += 1;
            self.agents_alarmed.insert(agent);
        }
    }
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn as_f64(count: u64) -> f64 {
    crate::baseline::float(count)
}
