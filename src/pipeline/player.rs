//! Plays a scenario onto a topic, never further ahead of its readers than they can hold.

use std::time::Duration;

use crate::event::Timestamp;
use crate::generate::Scenario;
use crate::kafka::{Feeder, KafkaError};

/// How long the player sleeps when it is too far ahead.
const NAP: Duration = Duration::from_millis(2);

/// Records sent between two looks at how far the readers are.
const STRIDE: u64 = 100;

/// What a player must know of its surroundings.
pub struct Stage<'a> {
    /// How many records have been judged.
    pub judged: &'a (dyn Fn() -> u64 + Sync),
    /// How far ahead of that it may be.
    pub ahead_max: u64,
    /// Told the number of records sent and the event time reached; may sleep to slow the play down.
    pub progress: &'a (dyn Fn(u64, Timestamp) + Sync),
    /// Whether to stop.
    pub stopped: &'a (dyn Fn() -> bool + Sync),
}

impl std::fmt::Debug for Stage<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage").field("ahead_max", &self.ahead_max).finish_non_exhaustive()
    }
}

/// Plays `scenario` and tells how many records were sent.
///
/// # Errors
///
/// When the cluster does not take them.
pub fn play(scenario: &Scenario, feeder: &Feeder, stage: &Stage<'_>) -> Result<u64, KafkaError> {
    let mut sent = 0;
    let mut json = Vec::with_capacity(1_024);
    for generated in scenario.events() {
        json.clear();
        generated.event.write_json(&mut json);
        feeder.send(generated.event.key().as_bytes(), &json)?;
        sent += 1;
        if sent % STRIDE == 0 {
            feeder.poll();
            (stage.progress)(sent, generated.event.time);
            while sent.saturating_sub((stage.judged)()) > stage.ahead_max && !(stage.stopped)() {
                feeder.poll();
                std::thread::sleep(NAP);
            }
        }
        if (stage.stopped)() {
            break;
        }
    }
    feeder.flush(Duration::from_secs(30))?;
    Ok(sent)
}
