//! The order and the times of attempts, in virtual time.

use std::time::Duration;

use super::*;
use crate::deliver::rule;
use crate::telemetry::FailureReason;

const START_MS: i64 = 1_000_000;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(START_MS + ms)
}

fn job(offset: i64, appended_ms: i64, incident: &str) -> Job<i64> {
    Job {
        place: Place { appended_ms: START_MS + appended_ms, partition: 0, offset },
        incident: incident.into(),
        is_urgent: false,
        deadline: at(appended_ms + 72 * 3_600_000),
        is_repeat: false,
        item: offset,
    }
}

fn failed(status: Option<u16>, asked_secs: Option<u64>) -> Failure {
    Failure {
        ruling: status.map_or(Ruling::Retry(FailureReason::Connect), rule),
        status,
        asked_wait: asked_secs.map(Duration::from_secs),
        detail: String::new(),
        is_ambiguous: false,
    }
}

/// What happened: when an attempt was made, with which alert, and whether it was taken.
#[derive(Debug)]
struct Made {
    ms: i64,
    offset: i64,
    taken: bool,
}

/// Plays alerts against a receiver that answers after `latency_ms` as `answers` says of the time
/// and the alert. Returns every attempt and those given up.
fn play(
    dispatch: &mut Dispatch<i64>,
    mut jobs: Vec<Job<i64>>,
    (until_ms, latency_ms): (i64, i64),
    answers: impl Fn(i64, i64) -> Result<(), Failure>,
) -> (Vec<Made>, Vec<i64>) {
    let mut random = fastrand::Rng::with_seed(7);
    jobs.reverse();
    let (mut made, mut dead) = (Vec::new(), Vec::new());
    let mut flying: Vec<(i64, Attempt, i64)> = Vec::new();
    let mut ms = 0;
    while ms <= until_ms {
        while jobs.last().is_some_and(|job| job.place.appended_ms <= START_MS + ms) {
            assert!(dispatch.take(jobs.pop().unwrap()));
        }
        flying.sort_by_key(|it| it.0);
        while flying.first().is_some_and(|it| it.0 <= ms) {
            let (_, attempt, offset) = flying.remove(0);
            let answer = answers(ms, offset);
            made.push(Made { ms, offset, taken: answer.is_ok() });
            match dispatch.done(attempt.number, answer, at(ms), random.f64()).unwrap() {
                Done::Dead { item, .. } => dead.push(item),
                Done::Delivered { .. } | Done::Again => {}
            }
        }
        let mut next = i64::MAX;
        loop {
            match dispatch.next(at(ms)) {
                Next::Send(attempt) => {
                    let offset = *dispatch.item(attempt.number).unwrap();
                    flying.push((ms + latency_ms, attempt, offset));
                }
                Next::Wait(until) => {
                    next = until.as_millis() - START_MS;
                    break;
                }
                Next::Idle => break,
            }
        }
        let coming = jobs.last().map_or(i64::MAX, |job| job.place.appended_ms - START_MS);
        let landing = flying.iter().map(|it| it.0).min().unwrap_or(i64::MAX);
        let soonest = next.min(coming).min(landing);
        if soonest == i64::MAX {
            break;
        }
        ms = soonest.max(ms + 1);
    }
    (made, dead)
}

fn taken(made: &[Made]) -> Vec<i64> {
    made.iter().filter(|it| it.taken).map(|it| it.offset).collect()
}

const HALF_AN_HOUR_MS: i64 = 30 * 60_000;

#[test]
fn row_27_webhook_down_for_thirty_minutes_loses_nothing() {
    let jobs: Vec<_> = (0..900).map(|n| job(n, n * 2_000, &format!("incident-{n}"))).collect();
    let mut dispatch = Dispatch::new(10);
    let (made, dead) = play(&mut dispatch, jobs, (3 * HALF_AN_HOUR_MS, 20), |ms, _| {
        if ms < HALF_AN_HOUR_MS { Err(failed(None, None)) } else { Ok(()) }
    });
    assert_eq!(dead, Vec::<i64>::new());
    let told = taken(&made);
    assert_eq!(told.len(), 900, "each is delivered");
    // The alert that found out that the receiver is back went first; the others oldest first.
    assert!(told[1..].is_sorted(), "{told:?}");
    let times: Vec<i64> = made.iter().filter(|it| it.taken).map(|it| it.ms).collect();
    assert!(times[0] - HALF_AN_HOUR_MS <= 61_000, "found out within a minute: {}", times[0]);
    for (n, time) in times.iter().enumerate() {
        let within = times[n..].iter().take_while(|it| **it < time + 1_000).count();
        assert!(within <= 20, "{within} in a second");
    }
    let took = times[899] - times[0];
    assert!((88_000..=95_000).contains(&took), "900 at 10 a second took {took} ms");
    let refused = made.iter().filter(|it| !it.taken).count();
    assert!(refused < 120, "a receiver that is down is asked seldom: {refused} times");
    assert!(dispatch.is_empty());
}

#[test]
fn row_27_an_alert_nobody_could_tell_for_three_days_dies_after_an_attempt_of_its_own() {
    let day = 24 * 3_600_000;
    let jobs = vec![job(0, 0, "a"), job(1, 2 * day, "b")];
    let mut dispatch = Dispatch::new(10);
    let (made, dead) =
        play(&mut dispatch, jobs, (4 * day, 20), |_, _| Err(failed(Some(503), None)));
    assert_eq!(dead, [0]);
    let last = made.iter().filter(|it| it.offset == 0).map(|it| it.ms).max().unwrap();
    assert!((3 * day..3 * day + 180_000).contains(&last), "{last}");
    assert_eq!(dispatch.len(), 1, "the younger one waits on");
}

#[test]
fn row_28_every_kind_of_failure_is_waited_out_as_it_asks() {
    for (status, asked_secs) in [(500, None), (429, Some(40)), (503, Some(90)), (408, None)] {
        let mut dispatch = Dispatch::new(10);
        let jobs = (0..3).map(|n| job(n, 0, &format!("{n}"))).collect();
        let down_ms = 120_000;
        let (made, dead) = play(&mut dispatch, jobs, (HALF_AN_HOUR_MS, 20), |ms, _| {
            if ms < down_ms { Err(failed(Some(status), asked_secs)) } else { Ok(()) }
        });
        assert_eq!((dead, dispatch.len()), (vec![], 0), "{status}");
        let mut told = taken(&made);
        told.sort_unstable();
        assert_eq!(told, [0, 1, 2]);
        let Some(asked_secs) = asked_secs else { continue };
        let starts: Vec<i64> = made.iter().map(|it| it.ms - 20).collect();
        for pair in starts.windows(2).filter(|pair| pair[0] < down_ms && pair[1] > pair[0]) {
            let asked_ms = i64::try_from(asked_secs * 1_000).unwrap();
            assert!(pair[1] - pair[0] >= asked_ms, "{status}: {starts:?}");
        }
    }
}

#[test]
fn row_28_a_slow_receiver_has_a_few_attempts_at_a_time_and_loses_nothing() {
    let jobs: Vec<_> = (0..40).map(|n| job(n, 0, &format!("{n}"))).collect();
    let mut dispatch = Dispatch::new(10);
    for job in jobs {
        dispatch.take(job);
    }
    for round in 0..10 {
        let now = at(round * 29_000);
        let mut numbers = Vec::new();
        while let Next::Send(attempt) = dispatch.next(now) {
            numbers.push(attempt.number);
        }
        assert_eq!(numbers.len(), IN_FLIGHT_MAX, "never more than that is on its way");
        let end = at(round * 29_000 + 28_999);
        numbers.iter().for_each(|it| drop(dispatch.done(*it, Ok(()), end, 0.5)));
    }
    assert!(dispatch.is_empty());
}

#[test]
fn row_30_a_refused_alert_goes_alone_and_a_changed_secret_loses_nobody() {
    let jobs: Vec<_> = (0..20).map(|n| job(n, n * 1_000, &format!("{n}"))).collect();
    let mut dispatch = Dispatch::new(10);
    let (made, dead) =
        play(&mut dispatch, jobs, (2 * HALF_AN_HOUR_MS, 20), |ms, offset| match (ms, offset) {
            (_, 3) => Err(failed(Some(413), None)),
            (..HALF_AN_HOUR_MS, _) => Err(failed(Some(401), None)),
            _ => Ok(()),
        });
    assert_eq!(dead, [3]);
    assert_eq!(made.iter().filter(|it| it.offset == 3).count(), 2, "once more, minimal");
    assert_eq!(taken(&made).len(), 19);
    assert_eq!(dispatch.phase(), Phase::Closed);
}

#[test]
fn row_31_one_alert_that_is_never_digested_holds_up_no_other() {
    let mut jobs = vec![job(0, 0, "poison")];
    jobs.extend((1..10).map(|n| job(n, 600_000, &format!("{n}"))));
    let mut dispatch = Dispatch::new(10);
    let (made, dead) = play(&mut dispatch, jobs, (HALF_AN_HOUR_MS, 20), |_, offset| {
        if offset == 0 { Err(failed(Some(500), None)) } else { Ok(()) }
    });
    assert_eq!((dead, dispatch.len()), (vec![], 1));
    let last = made.iter().filter(|it| it.taken).map(|it| it.ms).max().unwrap();
    assert_eq!(taken(&made).len(), 9);
    assert!(last <= 600_000 + 2 * 61_000, "{last}");
}

#[test]
fn row_37_a_critical_alert_behind_a_flood_is_sent_within_ten_seconds() {
    let mut jobs: Vec<_> = (0..5_000).map(|n| job(n, 0, &format!("{n}"))).collect();
    jobs.push(Job { is_urgent: true, ..job(5_000, 1_000, "critical") });
    let mut dispatch = Dispatch::new(10);
    let (made, dead) = play(&mut dispatch, jobs, (2 * HALF_AN_HOUR_MS, 20), |_, _| Ok(()));
    let critical = made.iter().find(|it| it.offset == 5_000).unwrap();
    assert!(critical.ms <= 11_000, "{critical:?}");
    assert_eq!((made.len(), dead.len()), (5_001, 0), "all are told once");
}

#[test]
fn the_words_of_an_incident_go_one_after_the_other_over_retries() {
    let jobs: Vec<_> = (0..60).map(|n| job(n, n * 100, &format!("{}", n % 3))).collect();
    let mut dispatch = Dispatch::new(100);
    let mut random = std::cell::RefCell::new(fastrand::Rng::with_seed(1));
    random.get_mut().seed(3);
    let (made, dead) = play(&mut dispatch, jobs, (HALF_AN_HOUR_MS, 30), |_, _| {
        if random.borrow_mut().bool() { Err(failed(Some(503), None)) } else { Ok(()) }
    });
    assert_eq!(dead, Vec::<i64>::new());
    for incident in 0..3 {
        let words: Vec<i64> =
            taken(&made).into_iter().filter(|offset| offset % 3 == incident).collect();
        assert!(words.len() == 20 && words.is_sorted(), "{words:?}");
    }
}

#[test]
fn a_partition_that_goes_takes_what_waits_along_and_may_come_back() {
    let mut dispatch = Dispatch::new(10);
    for n in 0..4 {
        let mut job = job(n, 0, "x");
        job.place.partition = i32::from(n % 2 == 0);
        dispatch.take(job);
    }
    let Next::Send(attempt) = dispatch.next(at(0)) else { panic!("one may go") };
    dispatch.forget(0, false);
    assert_eq!((dispatch.len(), dispatch.in_flight(Some(0))), (3, 1));
    dispatch.forget(0, true);
    assert_eq!((dispatch.len(), dispatch.in_flight(None)), (2, 0));
    assert_eq!(dispatch.done(attempt.number, Ok(()), at(1), 0.5), None, "nobody asks any more");
    assert!(dispatch.take(job(1, 0, "x")) && !dispatch.take(job(1, 0, "x")));
    assert!(matches!(dispatch.next(at(2_000)), Next::Send(_)));
}
