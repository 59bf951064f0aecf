//! Clocks that jump, and stamps of the future. Row 40.
//!
//! Nothing else happens, so that all of what is said and known must be the same.

use fastrand::Rng;
use serde_json::Value;
use toolwarden::event::Timestamp;

use crate::sim::input::{Input, MORNINGS, morning};
use crate::sim::play::{Outcome, Plan, Said, play};
use crate::sim::world::{Broken, Met};

/// Spans by which a stamp is ahead, in seconds: just more than is believed, an hour, a day, a century.
const AHEAD: [i64; 4] = [61, 3_600, 86_400, 100 * 365 * 86_400];

fn played(plan: Plan, input: &[Input]) -> (Said, Met) {
    let Outcome { said, wrongs, met, .. } = play(plan, Broken::Nothing, input);
    assert!(wrongs.is_empty(), "{plan:?}: {wrongs:?}");
    assert!(said.alerts.len() >= 6, "{plan:?}: {:#?}", said.alerts);
    (said, met)
}

/// Field by field: all of it is too much to read.
fn assert_same(said: &Said, wanted: &Said, plan: Plan) {
    assert_eq!(said.alerts, wanted.alerts, "{plan:?}");
    assert_eq!(said.watermarks, wanted.watermarks, "{plan:?}");
    assert_eq!(said.audits, wanted.audits, "{plan:?}");
    assert!(said == wanted, "{plan:?}: agents or peers are known otherwise");
}

#[test]
fn row_40_clocks_that_jump_an_hour_to_and_fro_change_nothing_of_what_is_said_and_known() {
    let mut jumps = 0;
    for seed in 0..3 * MORNINGS {
        let reorder_ns = if seed % 3 == 2 { 30_000_000_000 } else { 0 };
        let input = morning(seed % MORNINGS, reorder_ns == 0);
        let calm = Plan { seed, reorder_ns, ..Plan::default() };
        let plan = Plan { clocks_jump: true, ..calm };
        let (said, met) = played(plan, &input);
        assert_same(&said, &played(calm, &input).0, plan);
        jumps += met.jumps;
    }
    assert!(jumps > 200, "{jumps} jumps prove little");
}

/// The same records, of which a third have stamps that lie ahead of when they were appended, and
/// those that lay ahead before lie ahead by another span.
fn stamped_ahead(honest: &[Input], seed: u64) -> (Vec<Input>, usize) {
    let mut random = Rng::with_seed(seed);
    let mut ahead = 0;
    let input = honest.iter().map(|input| {
        let Ok(mut call) = serde_json::from_str::<Value>(&input.value) else {
            return input.clone();
        };
        let at: Timestamp = call["ts"].as_str().unwrap().parse().unwrap();
        if at > input.appended || random.u32(..3) == 0 {
            let span = AHEAD[random.usize(..AHEAD.len())];
            call["ts"] = Value::from(input.appended.plus_secs(span).to_string());
            ahead += 1;
        }
        Input { value: call.to_string(), ..input.clone() }
    });
    (input.collect(), ahead)
}

#[test]
fn row_40_stamps_of_the_future_count_as_appended_and_move_no_watermark() {
    for seed in 0..2 * MORNINGS {
        let honest = morning(seed % MORNINGS, false);
        let (input, ahead) = stamped_ahead(&honest, seed);
        assert!(ahead > 20, "{ahead} stamps prove little");
        let plan = Plan { seed, ..Plan::default() };
        let (said, _) = played(plan, &input);
        assert_same(&said, &played(plan, &honest).0, plan);
        let newest = honest.iter().map(|it| it.appended).max();
        assert_eq!(said.watermarks.iter().max().copied(), newest, "{plan:?}");
    }
}
