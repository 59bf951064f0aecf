//! Telling people: one alert to one receiver, and the same alert on a terminal.
//!
//! What is to be delivered is the business of the alerts topic and each receiver's consumer group.
//! Here stands which alert goes next and when ([`Dispatch`], pure), what a receiver is known to have
//! ([`Deliveries`], pure), which addresses it may have ([`Guard`], pure), and how one attempt is made
//! ([`Webhook`]).

mod breaker;
mod deliveries;
mod dispatch;
mod escape;
mod guard;
mod names;
mod retry;
mod signature;
mod terminal;
#[cfg(test)]
pub(crate) mod tests;
mod webhook;

pub use breaker::{Admission, Breaker, FAILURES_TO_OPEN, OPEN_FIRST, OPEN_MAX, Phase};
pub use deliveries::{
    DELIVERIES_MAX, Deliveries, KEEP, Known, Outcome, Record, Restoring, id_of, incident_of, key,
};
pub use dispatch::{Attempt, Dispatch, Done, IN_FLIGHT_MAX, Job, Next, Place};
pub use escape::escape;
pub use guard::{Guard, Purpose, Refused};
pub use names::LookUpName;
pub use retry::{
    Failure, RETRY_AFTER_MAX, RETRY_WAIT_MAX, Ruling, backoff, retry_after, rule, slow_backoff,
};
pub use terminal::render_text;
pub use webhook::{DeliverError, Manner, Message, POSSIBLE_DUPLICATE, Webhook, WebhookSettings};
