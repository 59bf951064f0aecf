//! Agents that work like services, and agents that drift: through the whole engine.

use super::*;
use crate::baseline::peers::Fact;
use crate::policy::Detector;

/// A call `secs` after Monday midnight of the week of the tests.
fn plain(secs: f64, id: u64) -> ToolCall<'static> {
    call(secs, id, "tool-1", id + 1)
}

/// One that lives through days of evenly spread calls.
struct Life {
    rules: Rules,
    state: AgentState,
    id: u64,
    alerts: Vec<Alert>,
}

impl Life {
    fn new() -> Self {
        let state = AgentState::new(&plain(0.0, 0));
        Self { rules: rules(), state, id: 0, alerts: Vec::new() }
    }

    fn call(&mut self, secs: f64) {
        self.id += 1;
        let call = plain(secs, self.id);
        self.alerts.extend(run(&self.rules, &mut self.state, &[call]));
    }

    /// Works on the day `day` between two hours, `calls` times.
    fn work(&mut self, day: u32, hours: (f64, f64), calls: u32) {
        let step = (hours.1 - hours.0) * 3_600.0 / f64::from(calls);
        for n in 0..calls {
            // Not quite regular, so that no bucket is like the other.
            let shake = f64::from(n * 7 % 11) / 11.0;
            let secs = f64::from(day) * 86_400.0 + hours.0 * 3_600.0;
            self.call(secs + (f64::from(n) + shake) * step);
        }
    }

    /// Works on the day `day` between two hours in `runs` runs of ten calls, each at a drawn moment.
    fn work_in_runs(&mut self, day: u32, hours: (f64, f64), runs: u32, random: &mut fastrand::Rng) {
        let mut calls = Vec::new();
        for run in 0..runs {
            let hour = hours.0 + random.f64() * (hours.1 - hours.0 - 0.02);
            let start = f64::from(day) * 86_400.0 + hour * 3_600.0;
            calls.extend((0..10_u32).map(|turn| (start + f64::from(turn) * 5.0, run)));
        }
        calls.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (secs, run_of_day) in calls {
            self.id += 1;
            let session = format!("run-{day}-{:.1}-{run_of_day}", hours.0);
            let call = ToolCall { session_id: session.into(), ..plain(secs, self.id) };
            self.alerts.extend(run(&self.rules, &mut self.state, &[call]));
        }
    }

    fn told(&self, detector: Detector) -> usize {
        let of_it = |alert: &&Alert| {
            alert.detector == detector.as_str() && alert.status == AlertStatus::Firing
        };
        self.alerts.iter().filter(of_it).count()
    }
}

const ALL_DAY: (f64, f64) = (0.0, 24.0);
const OFFICE: (f64, f64) = (9.0, 17.0);

#[test]
fn a_ramp_is_told_before_three_times_the_anchor() {
    for hours in [ALL_DAY, OFFICE] {
        for daily in [1.01_f64, 1.025, 1.05, 1.1] {
            let mut life = Life::new();
            (0..16).for_each(|day| life.work(day, hours, 120));
            let mut level = 120.0;
            let told = (16..200_u32).find_map(|day| {
                level *= daily;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    clippy::as_conversions,
                    reason = "a test"
                )]
                life.work(day, hours, level as u32);
                let is_told = life.told(Detector::Drift)
                    + life.told(Detector::RateShift)
                    + life.told(Detector::CallRate);
                (is_told > 0).then_some(level / 120.0)
            });
            assert!(told.is_some_and(|times| times < 3.0), "{hours:?} {daily} {told:?}");
        }
    }
}

#[test]
fn a_rise_is_told_on_the_day_that_suffices_for_it() {
    let mut life = Life::new();
    (0..16).for_each(|day| life.work(day, OFFICE, 120));
    (16..24).for_each(|day| life.work(day, OFFICE, 400));
    let told: Vec<_> = life.alerts.iter().filter(|alert| alert.detector == "drift").collect();
    let hour = told[0].time.get(11..13).unwrap();
    assert!(("10".."17").contains(&hour), "{}", told[0].time);
    let is_new = |alert: &&&Alert| alert.status == AlertStatus::Firing;
    assert_eq!(told.iter().filter(is_new).count(), 1, "not again when the day is over");
}

#[test]
fn the_first_week_of_an_agent_with_many_runs_an_hour_is_learned_as_it_was() {
    let mut random = fastrand::Rng::with_seed(5);
    let mut life = Life::new();
    for day in 0..9 {
        life.work_in_runs(day, (0.0, 12.0), 72, &mut random);
        life.work_in_runs(day, (12.0, 17.0), 200, &mut random);
    }
    life.work_in_runs(9, (0.0, 12.0), 72, &mut random);
    life.work_in_runs(9, (12.0, 15.0), 120, &mut random);
    // Forty an hour, after six.
    let hourly = life.state.run_starts().unwrap().hourly();
    assert!((34.0..46.0).contains(&hourly), "{hourly}");
}

#[test]
fn work_as_it_always_was_is_neither_drift_nor_a_shift() {
    for hours in [ALL_DAY, OFFICE] {
        let mut life = Life::new();
        (0..40).for_each(|day| life.work(day, hours, 120 + day * 37 % 60));
        let told = [Detector::Drift, Detector::RateShift, Detector::Silence];
        assert_eq!(told.map(|detector| life.told(detector)), [0, 0, 0]);
        assert_eq!(life.state.steady().is_some(), hours == ALL_DAY);
    }
}

#[test]
fn an_hour_of_a_hundred_times_as_many_calls_hardly_moves_what_is_usual() {
    let mut calm = Life::new();
    (0..20).for_each(|day| calm.work(day, OFFICE, 240));
    let mut wild = Life { rules: rules(), alerts: Vec::new(), state: calm.state.clone(), ..calm };
    let mut calm =
        Life { rules: rules(), alerts: Vec::new(), state: wild.state.clone(), id: wild.id };
    wild.work(20, (9.0, 10.0), 3_000);
    for life in [&mut calm, &mut wild] {
        life.work(20, (11.0, 17.0), 240);
        life.work(21, OFFICE, 240);
    }
    assert!(wild.told(Detector::CallRate) > 0 && calm.told(Detector::CallRate) == 0);
    let prior = crate::baseline::maxima::Prior {
        maximum: 10.0,
        deviation: 0.45,
        days: 4.0,
        deviation_min: 0.35,
    };
    let mean = |life: &Life| life.state.minutes.model(&prior).usual_at();
    let moved = ((mean(&wild).0 + mean(&wild).1 - mean(&calm).0 - mean(&calm).1) / 2.0).exp();
    assert!((0.95..1.05).contains(&moved), "{moved}");
    let day = |life: &Life| life.state.history.usual_day.calls();
    assert!((0.95..1.05).contains(&(day(&wild) / day(&calm))), "{}", day(&wild) / day(&calm));
}

#[test]
fn silence_is_told_without_a_call_whenever_time_is_let_pass() {
    let mut life = Life::new();
    (0..16).for_each(|day| life.work(day, ALL_DAY, 1_440));
    life.work(16, (0.0, 10.0), 600);
    assert_eq!(life.told(Detector::Silence), 0);
    let rules = rules();
    let peers = Peers::default();
    let context = Context::new(&rules, &peers);
    let back = plain(16.0 * 86_400.0 + 50_000.0, 999_999);
    let mut late = life.state.clone();
    let mut alerts = Vec::new();
    while let Some(deadline) = life.state.deadline().filter(|it| *it <= back.time) {
        alerts.extend(tick(&context, &mut life.state, deadline).alerts);
        assert!(life.state.deadline().is_none_or(|next| next > deadline));
    }
    alerts.extend(run(&rules, &mut life.state, std::slice::from_ref(&back)));
    assert_eq!(json(&alerts), json(&run(&rules, &mut late, std::slice::from_ref(&back))));
    let silence: Vec<_> =
        alerts.iter().filter(|alert| alert.rule_id == "silence.stopped").collect();
    let (first, last) = (silence[0], silence[1]);
    assert!(first.trigger.is_none() && first.evidence.is_empty());
    assert!(first.summary.contains("has made no call for"), "{}", first.summary);
    let time = first.time.as_str();
    assert!(time > "2026-01-21T10:05" && time < "2026-01-21T10:25", "{time}");
    assert_eq!((last.status, &last.time), (AlertStatus::Resolved, &back.time.to_string()));
    assert_eq!(life.state.open_episodes(), 0);
}

#[test]
fn a_silence_is_milder_where_its_detector_is_beyond_its_promise_and_says_so() {
    use crate::baseline::realised::Excess;
    let mut life = Life::new();
    (0..16).for_each(|day| life.work(day, ALL_DAY, 1_440));
    life.work(16, (0.0, 10.0), 600);
    let excess = Excess { tier: 1.0, observed: 40, allowed: 2.345, days: 469 };
    life.state.steady_mut().unwrap().excess = Some(Box::new(excess));
    let (rules, peers) = (rules(), Peers::default());
    let back = plain(16.0 * 86_400.0 + 50_000.0, 999_999).time;
    let alerts = tick(&Context::new(&rules, &peers), &mut life.state, back).alerts;
    let silence = alerts.iter().find(|alert| alert.detector == "silence").unwrap();
    let calibration = silence.calibration.clone().unwrap();
    let rule = calibration.rule_severity;
    assert_eq!((silence.severity, rule), (rule.lowered(), crate::alert::Severity::High));
    assert_eq!((calibration.observed, calibration.agent_days), (40, 469));
    assert!((calibration.allowed - 2.35).abs() < 0.011, "{calibration:?}");
}

#[test]
fn near_misses_of_a_shifted_rate_are_counted() {
    let mut life = Life::new();
    (0..16).for_each(|day| life.work(day, ALL_DAY, 1_440));
    life.work(16, (0.0, 10.0), 600);
    let mut tiers = Vec::new();
    for n in 0..60_u32 {
        life.id += 1;
        let call = plain(16.0 * 86_400.0 + 36_000.0 + f64::from(n) * 10.0, life.id);
        let peers = Peers::default();
        let verdict = observe(&Context::new(&life.rules, &peers), &mut life.state, &call);
        tiers.extend(verdict.facts.into_iter().filter_map(|fact| match fact {
            Fact::Crossing { detector, tier, .. } if detector == Detector::RateShift.place() => {
                Some(tier)
            }
            _ => None,
        }));
    }
    assert_eq!(tiers, [0, 1, 2, 3]);
}

#[test]
fn the_end_of_a_log_is_no_silence() {
    let mut life = Life::new();
    (0..17).for_each(|day| life.work(day, ALL_DAY, 1_440));
    let peers = Peers::default();
    let alerts = tick(&Context::new(&life.rules, &peers), &mut life.state, Timestamp::MAX).alerts;
    assert!(alerts.iter().all(|alert| alert.rule_id != "silence.stopped"));
}

#[test]
fn runs_that_come_three_times_as_often_are_told_by_their_starts() {
    let mut random = fastrand::Rng::with_seed(11);
    let mut life = Life::new();
    (0..17).for_each(|day| life.work_in_runs(day, ALL_DAY, 72, &mut random));
    assert_eq!(life.told(Detector::RateShift), 0);
    let starts = life.state.run_starts().unwrap();
    assert_eq!(starts.trust(), crate::baseline::steady::Trust::Active);
    let known = life.state.learning_of(Detector::RateShift, &life.rules, &Peers::default());
    assert_eq!(known.state, crate::alert::LearningState::Active);
    life.work_in_runs(17, (0.0, 10.0), 30, &mut random);
    assert_eq!(life.told(Detector::RateShift), 0);
    life.work_in_runs(17, (10.0, 14.0), 60, &mut random);
    let told = life.alerts.iter().find(|alert| alert.detector == "rate_shift").unwrap();
    assert!(told.summary.contains(" began ") && told.summary.contains(" runs in "), "{told:?}");
    assert!(told.expected.unit.starts_with("runs in "), "{:?}", told.expected);
    // A person accepts a level in calls, whatever it was seen by: 15 runs of ten calls an hour, and
    // where few of them suffice, what these came to.
    let level = told.subjects[0].level.unwrap();
    assert!((90.0..330.0).contains(&level), "{level}");
    let time = told.time.as_str();
    assert!(time < "2026-01-22T14:00", "{time}");
}

#[test]
fn who_makes_single_calls_is_not_judged_by_runs() {
    let mut life = Life::new();
    (0..7).for_each(|day| life.work(day, ALL_DAY, 240));
    assert!(life.state.run_starts().is_some());
    (7..10).for_each(|day| life.work(day, ALL_DAY, 240));
    assert!(life.state.steady().is_some() && life.state.run_starts().is_none());
    // Neither is one that is no service any more.
    let mut random = fastrand::Rng::with_seed(3);
    let mut life = Life::new();
    (0..3).for_each(|day| life.work_in_runs(day, ALL_DAY, 72, &mut random));
    assert!(life.state.run_starts().is_some());
    (3..6).for_each(|day| life.work_in_runs(day, (9.0, 12.0), 20, &mut random));
    assert!(life.state.steady().is_none() && life.state.run_starts().is_none());
}

#[test]
fn a_fast_ramp_of_an_agent_with_weekends_is_told_in_time() {
    let mut life = Life::new();
    // Day 0 is a Monday.
    let calls = |day: u32, level: f64| {
        let week = if day % 7 >= 5 { 0.4 } else { 1.0 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::as_conversions,
            reason = "a test"
        )]
        let calls = (240.0 * week * level) as u32;
        calls
    };
    (0..15).for_each(|day| life.work(day, ALL_DAY, calls(day, 1.0)));
    let told = (15..40_u32).find_map(|day| {
        let level = 1.1_f64.powi(i32::try_from(day - 14).unwrap());
        life.work(day, ALL_DAY, calls(day, level));
        (life.told(Detector::Drift) > 0).then_some(level)
    });
    assert!(told.is_some_and(|times| times < 3.0), "{told:?}");
}
