//! Seeded traffic: agents that work, and planted anomalies with the truth about them. Pure; no IO.
//!
//! A [`Scenario`] is plain data. [`Scenario::events`] draws its calls in the order of event time,
//! [`Scenario::truth`] says where the planted anomalies are. The same scenario gives the same bytes
//! on every machine. Demo, benches and tests draw from here; nothing here judges.

mod anomaly;
mod arguments;
mod check;
mod company;
pub mod corpora;
mod day;
mod draw;
mod event;
mod plant;
mod scenario;
mod stream;
mod uniform;

pub use anomaly::{Anomaly, Planted, Truth};
pub use check::ScenarioError;
pub use event::{Arguments, Event, Generated, Value};
pub use scenario::{Pace, Product, Scenario, Shape, Tool, Traffic, Upgrade, Work};
pub use stream::Events;

/// Writes every call of `scenario` as a native JSON event and hands it on with its record key,
/// `tenant/agent`. The JSON carries no line end; the buffer is used again for the next call.
///
/// # Errors
///
/// Stops at the first error `sink` returns, and returns it.
pub fn write_events<E>(
    scenario: &Scenario,
    mut sink: impl FnMut(&str, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut json = Vec::with_capacity(1024);
    for generated in scenario.events() {
        json.clear();
        generated.event.write_json(&mut json);
        sink(&generated.event.key(), &json)?;
    }
    Ok(())
}
