//! An agent that becomes busier so slowly that everything that learns goes along.

use super::*;

/// Calls of a day of the first fortnight.
const CALLS: f64 = 80.0;

/// What becomes of an agent that makes `growth` times the calls of the day before, once a fortnight
/// is over.
struct Frog {
    rules: Rules,
    state: AgentState,
    id: u64,
}

impl Frog {
    fn make(&mut self, secs: f64, digest: u64) -> Vec<Alert> {
        self.id += 1;
        let tool = format!("tool-{}", self.id % 4);
        let session = format!("session-{}", self.id / 10);
        let call =
            ToolCall { session_id: session.as_str().into(), ..call(secs, self.id, &tool, digest) };
        let context = Peers::default();
        observe(&Context::new(&self.rules, &context), &mut self.state, &call).alerts
    }

    /// A day from 8 to 18 of `factor` times the usual, give or take a tenth.
    fn work(&mut self, day: u32, factor: f64) -> Vec<Alert> {
        let wobble = 0.9 + 0.2 * f64::from(day * 7 % 11) / 10.0;
        let calls = libm::round(CALLS * factor * wobble);
        let mut alerts = Vec::new();
        let mut done = 0.0;
        while done < calls {
            let secs = f64::from(day) * 86_400.0 + 28_800.0 + done * 36_000.0 / calls;
            alerts.extend(self.make(secs, self.id + 1_000_000));
            done += 1.0;
        }
        alerts
    }

    /// The same call again and again; how many it takes until that is told.
    fn loop_until_told(&mut self, day: u32) -> Option<u32> {
        (1..=30).find(|n| {
            let secs = f64::from(day) * 86_400.0 + 66_000.0 + f64::from(*n);
            let alerts = self.make_same(secs);
            alerts.iter().any(|alert| alert.detector == "repeat")
        })
    }

    fn make_same(&mut self, secs: f64) -> Vec<Alert> {
        self.id += 1;
        let call = ToolCall { session_id: "loop".into(), ..call(secs, self.id, "tool-1", 7) };
        let peers = Peers::default();
        observe(&Context::new(&self.rules, &peers), &mut self.state, &call).alerts
    }
}

#[test]
fn row_38_one_percent_more_a_day_is_told_at_twice_and_a_loop_is_told_as_on_the_first_days() {
    let frog = |growth: f64, days: u32| {
        let first = call(28_799.0, 0, "tool-1", 1);
        let mut frog = Frog { rules: rules(), state: AgentState::new(&first), id: 0 };
        let mut told = None;
        let mut factor = 1.0;
        for day in 0..days {
            if day >= 14 {
                factor *= growth;
            }
            let alerts = frog.work(day, factor);
            if told.is_none() && alerts.iter().any(|it| it.detector == "drift") {
                told = Some(factor);
            }
        }
        (frog, told)
    };
    let (mut steady, told) = frog(1.0, 110);
    assert_eq!(told, None, "who stays as he is drifts nowhere");
    let usual = steady.loop_until_told(110).unwrap();
    let (mut grown, told) = frog(1.01, 110);
    let factor = told.expect("it is told");
    assert!((1.9..2.2).contains(&factor), "told at {factor} times what it was");
    let after = grown.loop_until_told(110).unwrap();
    assert!(after <= usual + 2 && after <= 12, "{after} calls, and {usual} without the drift");
    let (_, shrunk) = frog(0.99, 110);
    let factor = shrunk.expect("less is told as well");
    assert!((1.0 / 2.2..1.0 / 1.9).contains(&factor), "told at {factor} of what it was");
}
