//! What one wild hour teaches: less than a twentieth, whatever it is wild in.

use super::*;
use crate::baseline::maxima::BlockMaxima;
use crate::baseline::peaks::{Peak, Scale, Seen};
use crate::detect::repeat::LONGEST_RUN;
use crate::policy::Detector;

/// The most that a learned level may move.
const MOVED_MAX: f64 = 0.05;

/// Calls of a usual hour of work, two minutes apart, in sessions of ten.
const CALLS: u32 = 100;

/// The statistic that a wild hour is wild in.
#[derive(Clone, Copy, Debug)]
enum Wild {
    Calls,
    Loop,
    Failures,
    Denials,
    Sent,
    Read,
    Run,
}

const KINDS: [(Wild, Detector); 7] = [
    (Wild::Calls, Detector::CallRate),
    (Wild::Loop, Detector::Repeat),
    (Wild::Failures, Detector::Errors),
    (Wild::Denials, Detector::Denials),
    (Wild::Sent, Detector::BytesSent),
    (Wild::Read, Detector::BytesRead),
    (Wild::Run, Detector::RunSize),
];

/// One that lives on, usually.
struct Life {
    rules: Rules,
    state: AgentState,
    id: u64,
    told: Vec<String>,
}

impl Life {
    fn make(&mut self, secs: f64, change: impl Fn(u64, &mut ToolCall<'_>)) {
        self.id += 1;
        let mut call = ToolCall {
            bytes_in: Some(1_500 + self.id * 37 % 1_000),
            bytes_out: Some(4_000 + self.id * 53 % 3_000),
            session_id: format!("session-{}", self.id / 10).into(),
            ..call(secs, self.id, "tool-1", self.id)
        };
        if self.id.is_multiple_of(16) {
            call.status = Status::Error;
        }
        if self.id.is_multiple_of(40) {
            call.status = Status::Denied;
        }
        change(self.id, &mut call);
        let alerts = run(&self.rules, &mut self.state, &[call]);
        self.told.extend(alerts.into_iter().map(|alert| alert.detector));
    }

    /// Work as usual, from the hour `hour` of the day on.
    fn work(&mut self, day: u32, hour: u32) {
        let start = f64::from(day) * 86_400.0 + f64::from(hour) * 3_600.0;
        (0..CALLS).for_each(|n| self.make(start + f64::from(n) * 120.0, |_, _| {}));
    }

    /// An hour of a hundred times what is usual.
    fn rage(&mut self, day: u32, kind: Wild) {
        let start = f64::from(day) * 86_400.0 + 13.0 * 3_600.0;
        let (count, every) = match kind {
            Wild::Calls => (3_000, 1.2),
            Wild::Loop | Wild::Failures | Wild::Denials => (600, 6.0),
            Wild::Sent | Wild::Read | Wild::Run => (300, 12.0),
        };
        for n in 0..count {
            self.make(start + f64::from(n) * every, |_, call| match kind {
                Wild::Calls => {}
                Wild::Loop => call.arguments.digest = 99,
                Wild::Failures => call.status = Status::Error,
                Wild::Denials => call.status = Status::Denied,
                Wild::Sent => call.bytes_in = Some(200_000),
                Wild::Read => call.bytes_out = Some(500_000),
                Wild::Run => call.session_id = "endless".into(),
            });
        }
    }
}

#[test]
fn an_hour_of_a_hundred_times_anything_moves_no_level_by_a_twentieth() {
    let state = AgentState::new(&call(0.0, 0, "tool-1", 1));
    let mut known = Life { rules: rules(), state, id: 0, told: Vec::new() };
    for day in 0..14 {
        known.work(day, 8);
    }
    let after = |wild: Option<Wild>| {
        let (rules, state) = (rules(), known.state.clone());
        let mut life = Life { rules, state, id: known.id, told: Vec::new() };
        life.work(14, 8);
        let id = life.id;
        if let Some(kind) = wild {
            life.rage(14, kind);
        }
        life.id = id;
        life.work(14, 16);
        life.work(15, 8);
        life.work(16, 8);
        (life.state.usual_levels(), life.told)
    };
    let (calm, told) = after(None);
    assert!(!told.iter().any(|it| KINDS.iter().any(|kind| kind.1.as_str() == it)), "{told:?}");
    for (kind, detector) in KINDS {
        let (wild, told) = after(Some(kind));
        let is_told = told.iter().any(|it| it == detector.as_str());
        assert!(is_told, "{kind:?} is told by {detector:?}: {told:?}");
        // Ten times as many calls as usual are no part of what the others are wild in.
        let is_looked_at =
            |name: &str| name == detector.as_str() || matches!(kind, Wild::Calls | Wild::Loop);
        for ((name, before), (_, after)) in calm.iter().zip(wild) {
            if !is_looked_at(name) {
                continue;
            }
            let moved = (after / before - 1.0).abs();
            assert!(moved < MOVED_MAX, "{kind:?} moved {name} from {before} to {after}");
        }
    }
}

proptest! {
    #[test]
    fn whatever_the_history_one_wild_hour_teaches_less_than_a_twentieth(
        days in prop::collection::vec(-0.4_f64..0.4, 14..60),
        morning in -0.4_f64..0.0,
        afternoon in -0.4_f64..0.4,
        times in 5.0_f64..1e4,
    ) {
        let measures = [
            (peaks::RUN_SIZE, run_size::DEVIATION, 80.0),
            (peaks::COUNT, errors::DEVIATION, 12.0),
            (peaks::COUNT, crate::detect::fan_out::DEVIATION, 9.0),
            (peaks::BYTES, bytes::DEVIATION, 3e5),
            (Scale::Root, crate::detect::run_rate::DEVIATION, 9.0),
        ];
        for (scale, deviation, usual) in measures {
            let measure = peaks::measure(scale, usual, deviation);
            let seen = |part: f64, hour: u8| Seen { value: usual * part.exp(), hour };
            let mut calm = Peak::default();
            for part in &days {
                calm.note(seen(*part, 9));
                calm.end_day(scale, 100, true);
            }
            let mut wild = calm;
            for peak in [&mut calm, &mut wild] {
                peak.note(seen(morning, 9));
            }
            // The run-up too, in steps of a third.
            let (mut part, mut is_told) = (morning, false);
            while !is_told && part < times.ln() {
                part += 0.3;
                let flood = seen(part, 11);
                if let Some(standing) = wild.stand(flood.value, &measure, 0.005) {
                    is_told = standing.ratio >= 1.0;
                    wild.raise(flood, &standing);
                }
            }
            prop_assert!(is_told || times < 1_000.0);
            for peak in [&mut calm, &mut wild] {
                peak.note(seen(afternoon, 15));
                peak.end_day(scale, 100, true);
            }
            let moved = (wild.usual(scale) / calm.usual(scale) - 1.0).abs();
            prop_assert!(moved < MOVED_MAX || !is_told, "{moved}");
        }
    }

    #[test]
    fn a_run_of_any_length_moves_the_longest_run_by_less_than_a_twentieth(
        days in prop::collection::vec(3_u32..6, 16..60),
        length in 3_u32..1_000_000,
    ) {
        let mut calm = BlockMaxima::default();
        days.iter().for_each(|longest| calm.learn_capped(*longest, 100, 20.0, &LONGEST_RUN));
        let mut wild = calm;
        wild.learn_capped(length, 100, 20.0, &LONGEST_RUN);
        let moved = (wild.centre() - calm.centre()).exp() - 1.0;
        prop_assert!(moved < MOVED_MAX, "{moved}");
    }
}
