//! Tests of the corpora: what they promise of rates, runs, tools and order.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Status, Timestamp, ToolCall};
use crate::generate::corpora::{Change, Corpus, Crew, CrewPlan, Workload, midnight};

fn plan(corpus: Corpus) -> CrewPlan {
    CrewPlan {
        corpus,
        seed: 1,
        number: 0,
        agents: 20,
        workload: Workload::Fixed(0.5),
        change: None,
    }
}

/// What a test looks at of a call.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    time: Timestamp,
    agent: u32,
    session: String,
    call_id: String,
    tool: String,
    failed: bool,
}

fn seen(agent: u32, call: &ToolCall<'_>) -> Seen {
    Seen {
        time: call.time,
        agent,
        session: call.session_id.to_string(),
        call_id: call.call_id.to_string(),
        tool: call.tool_name.to_string(),
        failed: call.status == Status::Error,
    }
}

fn played(plan: &CrewPlan, days: u32) -> Vec<Seen> {
    let mut calls = Vec::new();
    Crew::new(plan).play(midnight(days), &mut |agent, call| calls.push(seen(agent, call)));
    calls
}

fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

#[test]
fn every_corpus_is_in_order_and_the_same_again() {
    for corpus in Corpus::ALL {
        let calls = played(&plan(corpus), 3);
        assert!(calls.is_sorted_by_key(|call| call.time), "{corpus:?}");
        assert_eq!(calls, played(&plan(corpus), 3), "{corpus:?}");
        let ids: BTreeSet<_> = calls.iter().map(|call| (call.agent, &call.call_id)).collect();
        assert_eq!(ids.len(), calls.len(), "{corpus:?}: call ids are unique");
    }
}

#[test]
fn a_working_day_has_the_rate_that_was_asked_for() {
    for corpus in [Corpus::Poisson, Corpus::Sessions, Corpus::HeavyRuns, Corpus::Workflow] {
        let calls = played(&plan(corpus), 5);
        let a_minute = float(calls.len()) / (20.0 * 5.0 * 1_440.0);
        assert!((0.4..0.62).contains(&a_minute), "{corpus:?}: {a_minute}");
    }
}

#[test]
fn days_are_busier_than_nights_and_weekends() {
    let calls = played(&plan(Corpus::Poisson), 7);
    let of = |wanted: &dyn Fn(Timestamp) -> bool| {
        float(calls.iter().filter(|call| wanted(call.time)).count())
    };
    let by_day = of(&|time| (11..17).contains(&time.hour_of_day()));
    let by_night = of(&|time| time.hour_of_day() < 5 || time.hour_of_day() == 23);
    assert!((4.0..8.0).contains(&(by_day / by_night)), "{}", by_day / by_night);
    let weekend = of(&|time| time >= midnight(5)) / 2.0;
    let working = of(&|time| time < midnight(5)) / 5.0;
    assert!((0.35..0.45).contains(&(weekend / working)), "{}", weekend / working);
}

#[test]
fn runs_have_the_sizes_that_were_asked_for() {
    for (corpus, mean, largest) in
        [(Corpus::Sessions, 19.0..21.5, 60), (Corpus::HeavyRuns, 17.0..23.0, 150)]
    {
        let mut sizes: BTreeMap<String, usize> = BTreeMap::new();
        for call in played(&plan(corpus), 5) {
            *sizes.entry(call.session).or_default() += 1;
        }
        let found = float(sizes.values().sum()) / float(sizes.len());
        assert!(mean.contains(&found), "{corpus:?}: {found}");
        assert!(sizes.values().max().unwrap() > &largest, "{corpus:?}");
    }
}

#[test]
fn off_days_have_no_call_and_a_generalist_has_a_hundred_tools() {
    let days: BTreeSet<_> =
        played(&plan(Corpus::OnOff), 14).iter().map(|call| (call.agent, call.time.day())).collect();
    assert!((110..170).contains(&days.len()), "{}", days.len());
    let tools: BTreeSet<_> = played(&plan(Corpus::Generalist), 14)
        .into_iter()
        .filter(|call| call.agent == 0)
        .map(|call| call.tool)
        .collect();
    assert!((40..200).contains(&tools.len()), "{}", tools.len());
}

#[test]
fn a_tool_is_taken_up_every_fortnight_and_a_workflow_keeps_its_order() {
    let of = |days| -> BTreeSet<String> {
        let calls = played(&plan(Corpus::Adoption), days).into_iter();
        calls.filter(|call| call.agent == 3).map(|call| call.tool).collect()
    };
    assert_eq!((of(14).len() - 5) + 3, of(56).len() - 5);
    let calls = played(&plan(Corpus::Workflow), 2);
    let mut firsts: BTreeMap<&str, &str> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.agent == 0) {
        firsts.entry(&call.session).or_insert(&call.tool);
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    firsts.values().for_each(|tool| *counts.entry(tool).or_default() += 1);
    let most = counts.values().max().unwrap();
    assert!(most * 10 > firsts.len() * 8, "{counts:?}");
}

#[test]
fn a_change_begins_when_it_was_asked_to() {
    let from = midnight(2).plus_secs(10 * 3_600 + 1_800);
    let change = Change::lasting(from, 4.0);
    let calls = played(&CrewPlan { change: Some(change), ..plan(Corpus::Poisson) }, 3);
    let within = |start: Timestamp, secs| {
        float(calls.iter().filter(|c| c.time >= start && c.time < start.plus_secs(secs)).count())
    };
    let ratio = within(from, 1_800) / within(from.plus_secs(-1_800), 1_800);
    assert!((3.0..5.4).contains(&ratio), "{ratio}");
    let silence = CrewPlan { change: Some(Change::lasting(from, 0.0)), ..plan(Corpus::Poisson) };
    let last = played(&silence, 3).last().unwrap().time;
    assert!(last < from.plus_secs(10), "{last}");
}

#[test]
fn a_ramp_grows_day_by_day() {
    let ramp = Change { from: midnight(1), until: Timestamp::MAX, factor: 1.0, growth_a_day: 0.10 };
    assert!((ramp.factor_at(midnight(8)) - 1.1_f64.powi(7)).abs() < 1e-9);
    assert!((ramp.factor_at(midnight(0)) - 1.0).abs() < 1e-12);
}

#[test]
fn one_agent_goes_on_alone_as_it_would_have_in_its_crew() {
    let mut crew = Crew::new(&plan(Corpus::Poisson));
    crew.play(midnight(1), &mut |_, _| {});
    let (mut whole, mut alone) = (crew.clone(), crew);
    alone.follow(7, None);
    let (mut of_whole, mut of_alone) = (Vec::new(), Vec::new());
    whole.play(midnight(2), &mut |agent, call| of_whole.push(seen(agent, call)));
    alone.play(midnight(2), &mut |agent, call| of_alone.push(seen(agent, call)));
    of_whole.retain(|call| call.agent == 7);
    // A call tried again after midnight was begun before.
    of_whole.retain(|call| of_alone.first().is_none_or(|first| call.time >= first.time));
    assert_eq!(of_whole, of_alone);
}
