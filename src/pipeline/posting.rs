//! Making attempts: what a delivery asks of its receiver, and how a webhook is asked.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use crate::alert::Alert;
use crate::deliver::{Failure, Manner, Message, Webhook};
use crate::kill_point::{self, Point};
use crate::pipeline::clock::{self, Moment};
use crate::pipeline::courier::Post;

/// How long an attempt waits for its note to arrive: people are told even when the broker is away.
const ANNOUNCE_MAX: Duration = Duration::from_secs(2);

/// How often a waiting attempt looks whether its note has arrived.
const ANNOUNCE_LOOK: Duration = Duration::from_millis(2);

/// How an attempt ended: its number, and the status of the answer or what went wrong.
pub type Ended = (u64, Result<u16, Failure>);

/// Whoever is told.
pub trait Receiver: Debug + Send {
    /// Its name.
    fn name(&self) -> &str;

    /// Whether it is told of `alert` at all.
    fn wants(&self, alert: &Alert) -> bool;

    /// Begins an attempt, whose end is sent to `ended`.
    fn attempt(&self, post: Post, ended: Sender<Ended>);
}

/// A webhook whose requests run beside the delivery.
#[derive(Debug)]
pub struct Posting {
    webhook: Arc<Webhook>,
    runtime: tokio::runtime::Handle,
}

impl Posting {
    /// Requests to `webhook` run on `runtime`.
    #[must_use]
    pub fn new(webhook: Webhook, runtime: tokio::runtime::Handle) -> Self {
        Self { webhook: Arc::new(webhook), runtime }
    }
}

impl Receiver for Posting {
    fn name(&self) -> &str {
        self.webhook.name()
    }

    fn wants(&self, alert: &Alert) -> bool {
        self.webhook.wants(alert)
    }

    fn attempt(&self, post: Post, ended: Sender<Ended>) {
        self.runtime.spawn(attempt(Arc::clone(&self.webhook), post, ended));
    }
}

/// Makes one attempt, once its note has arrived.
async fn attempt(webhook: Arc<Webhook>, post: Post, ended: Sender<Ended>) {
    let Post { number, message, manner, announced } = post;
    let began = Moment::now();
    while !announced.is_empty() && began.elapsed() < ANNOUNCE_MAX {
        tokio::time::sleep(ANNOUNCE_LOOK).await;
    }
    let result = make(&webhook, &message, manner).await;
    // Nobody listens when the instance has stopped.
    drop(ended.send((number, result)));
}

async fn make(webhook: &Webhook, message: &Message, manner: Manner) -> Result<u16, Failure> {
    kill_point::hit(Point::Posting);
    let result = webhook.attempt(message, manner, &clock::wall).await;
    if result.is_ok() {
        kill_point::hit(Point::PostAnswered);
    }
    result
}
