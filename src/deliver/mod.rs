//! Telling people: one alert to one receiver, and the same alert on a terminal.
//!
//! Not a queue. What is to be delivered, in which order and how often an instance starts again is
//! the business of the alerts topic and its consumer group; this room takes one alert and comes
//! back when it is delivered, or when it is certain that it will not be.

mod escape;
mod retry;
mod signature;
mod terminal;
#[cfg(test)]
mod tests;
mod webhook;

pub use escape::escape;
pub use retry::{RETRY_AFTER_MAX, RETRY_WAIT_MAX, backoff, retry_after};
pub use terminal::render_text;
pub use webhook::{Dead, DeliverError, Delivery, Webhook, WebhookSettings};
