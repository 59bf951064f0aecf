//! How long a change of rate goes unnoticed: steady agents, fourteen days learned, then one of them
//! works more, or not at all.
//!
//! The first alert of any detector that pages counts, and is of an episode that began after the
//! change. Nobody else of the crew goes on: what peers do becomes known hours later.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::event::Timestamp;
use crate::generate::corpora::{Change, Corpus, Crew, CrewPlan, Workload, midnight};
use crate::pipeline::bench_judgement::quiet::{TRAINING_DAYS, is_page};
use crate::pipeline::bench_judgement::world::World;
use crate::pipeline::bench_judgement::{Options, in_parallel};
use crate::policy::Rules;

/// Agents of one crew, and crews of one rate; one crew of a rate that makes many calls.
const CREW: u32 = 8;
const CREWS: u32 = 4;
const MANY_A_MINUTE: f64 = 50.0;

/// One kind of change and how soon it must be noticed.
#[derive(Clone, Copy, Debug)]
struct Shift {
    corpus: Corpus,
    /// Calls a minute before, the mean of a working day.
    a_minute: f64,
    factor: f64,
    /// The median delay allowed, in minutes; `None` where the best is good enough.
    bar: Option<f64>,
}

const fn shift(a_minute: f64, factor: f64, bar: f64) -> Shift {
    Shift { corpus: Corpus::Poisson, a_minute, factor, bar: Some(bar) }
}

const fn of_sessions(a_minute: f64, factor: f64, bar: f64) -> Shift {
    Shift { corpus: Corpus::Sessions, a_minute, factor, bar: Some(bar) }
}

/// What must be noticed, and how soon.
const SHIFTS: [Shift; 25] = [
    Shift { bar: None, ..shift(0.1, 2.0, 0.0) },
    shift(0.1, 3.0, 200.0),
    shift(0.1, 5.0, 45.0),
    shift(0.1, 10.0, 12.0),
    shift(0.1, 0.0, 150.0),
    shift(1.0, 2.0, 60.0),
    shift(1.0, 3.0, 10.0),
    shift(1.0, 5.0, 4.0),
    shift(1.0, 10.0, 1.2),
    shift(1.0, 0.0, 20.0),
    shift(10.0, 2.0, 8.0),
    shift(10.0, 3.0, 3.0),
    shift(10.0, 5.0, 0.7),
    shift(10.0, 10.0, 0.35),
    shift(10.0, 0.0, 4.0),
    shift(100.0, 2.0, 1.2),
    shift(100.0, 3.0, 0.5),
    shift(100.0, 5.0, 0.17),
    shift(100.0, 10.0, 0.17),
    shift(100.0, 0.0, 1.0),
    of_sessions(0.1, 10.0, 150.0),
    of_sessions(1.0, 3.0, 200.0),
    of_sessions(1.0, 10.0, 20.0),
    of_sessions(10.0, 3.0, 20.0),
    of_sessions(10.0, 10.0, 4.0),
];

/// What one kind of change came to.
#[derive(Clone, Debug, Serialize)]
pub struct DelayRow {
    /// The corpus.
    pub corpus: &'static str,
    /// Calls a minute before, the mean of a working day.
    pub a_minute: f64,
    /// The rate after over the one before; 0 is silence.
    pub factor: f64,
    /// Changes made.
    pub runs: usize,
    /// Changes noticed within the day; half of one for ten calls a minute, two hours for a hundred.
    pub noticed: usize,
    /// The median delay in minutes; `None` when less than half were noticed.
    pub median: Option<f64>,
    /// The delay that nine of ten stay below, likewise.
    pub p90: Option<f64>,
    /// The median allowed.
    pub bar: Option<f64>,
    /// Who noticed first, with how often.
    pub by: Vec<(String, usize)>,
}

impl DelayRow {
    /// Whether it reaches its bar, if there is one.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.bar.is_none_or(|bar| self.median.is_some_and(|median| median <= bar))
    }
}

/// A crew after its training.
#[derive(Clone, Debug)]
pub(super) struct Trained<'a> {
    pub(super) world: World<'a>,
    pub(super) crew: Crew,
    told: BTreeSet<String>,
}

/// Judges the training of one crew.
pub(super) fn train<'a>(rules: &'a Rules, plan: &CrewPlan) -> Trained<'a> {
    let mut trained =
        Trained { world: World::new(rules), crew: Crew::new(plan), told: BTreeSet::new() };
    let Trained { world, crew, told } = &mut trained;
    crew.play(midnight(TRAINING_DAYS), &mut |agent, call| {
        world.call(agent, call, &mut |_, alert| {
            told.insert(alert.alert_id.clone());
        });
    });
    trained
}

/// One alert that noticed a change.
#[derive(Clone, Debug)]
pub(super) struct Noticed {
    pub(super) at: Timestamp,
    pub(super) detector: String,
}

/// Lets one agent of a crew change, and tells the first alert that pages before `until` and that
/// `counts`.
pub(super) fn notice(
    trained: &Trained<'_>,
    (agent, change, until): (u32, Change, Timestamp),
    counts: impl Fn(&str) -> bool,
) -> Option<Noticed> {
    let Trained { mut world, mut crew, told } = trained.clone();
    crew.follow(agent, Some(change));
    let mut first: Option<Noticed> = None;
    let mut hour = midnight(TRAINING_DAYS);
    let mut began_before = told;
    while hour < until && first.is_none() {
        hour = hour.plus_secs(3_600);
        let mut note = |who: u32, alert: &crate::alert::Alert| {
            let Ok(at) = alert.time.parse::<Timestamp>() else { return };
            if at < change.from {
                began_before.insert(alert.alert_id.clone());
            }
            let is_new = who == agent && !began_before.contains(&alert.alert_id);
            if first.is_none() && is_new && is_page(alert) && counts(&alert.detector) {
                first = Some(Noticed { at, detector: alert.detector.clone() });
            }
        };
        crew.play(hour, &mut |agent, call| world.call(agent, call, &mut note));
        world.advance(hour, &mut note);
    }
    first.filter(|noticed| noticed.at < until)
}

/// Measures every kind of change.
pub(super) fn measure(
    rules: &Rules,
    options: &Options,
    say: &mut dyn FnMut(&DelayRow),
) -> Vec<DelayRow> {
    let mut rows = Vec::new();
    for group in
        SHIFTS.chunk_by(|a, b| a.corpus == b.corpus && a.a_minute.total_cmp(&b.a_minute).is_eq())
    {
        let Some(first) = group.first() else { continue };
        let crews = if first.a_minute > MANY_A_MINUTE { 1 } else { CREWS };
        let plans: Vec<CrewPlan> = (0..crews)
            .map(|number| CrewPlan {
                corpus: first.corpus,
                seed: options.seed,
                number,
                agents: CREW,
                workload: Workload::Fixed(first.a_minute),
                change: None,
            })
            .collect();
        let delays = in_parallel(&plans, options.threads, |plan| {
            let trained = train(rules, plan);
            let of_shift = |shift: &Shift| -> Vec<Option<(f64, String)>> {
                (0..plan.agents).map(|agent| delay(&trained, agent, shift)).collect()
            };
            group.iter().map(of_shift).collect::<Vec<_>>()
        });
        for (place, shift) in group.iter().enumerate() {
            let of_crews = delays.iter().filter_map(|of_shifts| of_shifts.get(place));
            let row = sum_up(shift, of_crews.flatten().cloned().collect());
            say(&row);
            rows.push(row);
        }
    }
    rows
}

/// How many minutes one change goes unnoticed, and who notices it.
fn delay(trained: &Trained<'_>, agent: u32, shift: &Shift) -> Option<(f64, String)> {
    // Between 10 and 15 h of a Monday, at another minute for each agent.
    let minute = 600 + i64::from(agent) * 37 % 300;
    let from = midnight(TRAINING_DAYS).plus_secs(minute * 60 + 17);
    let hours = match shift.a_minute {
        it if it > MANY_A_MINUTE => 2,
        it if it > 5.0 => 12,
        _ => 24,
    };
    let change = Change::lasting(from, shift.factor);
    let noticed = notice(trained, (agent, change, from.plus_secs(hours * 3_600)), |_| true)?;
    Some((noticed.at.secs_since(from) / 60.0, noticed.detector))
}

fn sum_up(shift: &Shift, delays: Vec<Option<(f64, String)>>) -> DelayRow {
    let runs = delays.len();
    let mut minutes = Vec::new();
    let mut by: Vec<(String, usize)> = Vec::new();
    for (delay, detector) in delays.into_iter().flatten() {
        minutes.push(delay);
        match by.iter_mut().find(|(known, _)| *known == detector) {
            Some((_, count)) => *count += 1,
            None => by.push((detector, 1)),
        }
    }
    minutes.sort_unstable_by(f64::total_cmp);
    by.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    DelayRow {
        corpus: shift.corpus.as_str(),
        a_minute: shift.a_minute,
        factor: shift.factor,
        runs,
        noticed: minutes.len(),
        // Those never noticed come last.
        median: minutes.get(runs / 2).copied(),
        p90: minutes.get(runs * 9 / 10).copied(),
        bar: shift.bar,
        by,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_noticed_counts_as_latest() {
        let noticed = |minutes| Some((minutes, "call_rate".to_owned()));
        let row = sum_up(&shift(1.0, 3.0, 10.0), vec![noticed(3.0), None, noticed(1.0), None]);
        assert_eq!((row.noticed, row.median), (2, None));
        assert!(!row.is_ok());
        let row = sum_up(&shift(1.0, 3.0, 10.0), vec![noticed(3.0), noticed(2.0), None]);
        assert_eq!((row.median, row.p90), (Some(3.0), None));
        assert!(row.is_ok() && row.by == [("call_rate".to_owned(), 2)]);
    }
}
