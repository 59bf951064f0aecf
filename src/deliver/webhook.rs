//! One receiver: a webhook signed per Standard Webhooks 1.0.0.
//!
//! At least once: every attempt at one word of an episode carries the same `webhook-id`, so that a
//! receiver can drop what it has. The URL is a secret; it stands in no log, error or `Debug`.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::alert::{Alert, AlertStatus};
use crate::deliver::escape;
use crate::deliver::retry::{Ruling, backoff, retry_after, rule, slow_backoff};
use crate::deliver::signature::Signer;
use crate::event::Timestamp;
use crate::telemetry::{
    Event, FailureReason, Metrics, NotificationAttemptFailed, NotificationDelivered,
    NotificationFailed,
};

/// How much of an answer is read; what follows is left unread.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// The longest alert id that travels in a header.
const ID_BYTES_MAX: usize = 128;

/// What a receiver is told about itself.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// Its name, in metrics and dead letters.
    pub name: String,
    /// Where to post, `https` or `http`; secret, because tokens travel in paths.
    pub url: SecretString,
    /// The signing secret: `whsec_` and 24 to 64 bytes in base64.
    pub signing_secret: SecretString,
    /// Alerts below this score are not sent.
    pub min_score: f64,
    /// Whether the end of an episode is told.
    pub send_resolved: bool,
    /// How long one attempt may take, answer included.
    pub timeout: Duration,
    /// How long an alert is tried before it is given up; 0 is one attempt.
    pub retry_for: Duration,
}

/// Why a receiver cannot be used. Names the receiver, never its URL or secret.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// The URL is none.
    #[error("receiver `{0}`: the url is not valid; it must be absolute, `https://` or `http://`")]
    Url(String),
    /// The signing secret is none.
    #[error(
        "receiver `{0}`: the signing secret is not valid; it must be `whsec_` followed by 24 to 64 bytes in base64, as `echo whsec_$(openssl rand -base64 32)` prints"
    )]
    Secret(String),
    /// The HTTP client could not be set up.
    #[error("receiver `{name}`: the HTTP client could not be set up")]
    Client {
        /// The receiver's name.
        name: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
}

/// What became of one alert at one receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The receiver took it.
    Delivered {
        /// How many attempts it took.
        attempts: u32,
    },
    /// The receiver does not want it: below its score, or an end it is not told.
    Skipped,
    /// It was given up: it belongs in the dead-letter topic.
    Dead(Dead),
}

/// Why a notification was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// Why the last attempt failed.
    pub reason: FailureReason,
    /// The HTTP status of the last answer, if there was one.
    pub status: Option<u16>,
    /// How many attempts were made.
    pub attempts: u32,
    /// Words for the person who mends it: the error, or the beginning of the answer, escaped.
    pub detail: String,
}

/// A failed attempt.
#[derive(Debug)]
struct Failure {
    ruling: Ruling,
    status: Option<u16>,
    asked_wait: Option<Duration>,
    detail: String,
}

/// One notification, ready to be signed and sent as often as it takes.
#[derive(Debug)]
struct Message {
    id: String,
    body: Vec<u8>,
}

/// The body of a notification: Standard Webhooks' own three fields.
#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    timestamp: &'a str,
    data: &'a RawValue,
}

/// One receiver of alerts.
#[derive(Clone, Debug)]
pub struct Webhook {
    settings: WebhookSettings,
    signer: Signer,
    client: Client,
    metrics: Metrics,
}

impl Webhook {
    /// A receiver that is ready to be told.
    ///
    /// # Errors
    ///
    /// [`DeliverError`] when the URL or the signing secret cannot be used.
    pub fn new(settings: WebhookSettings, metrics: Metrics) -> Result<Self, DeliverError> {
        let name = || settings.name.clone();
        let url = Url::parse(settings.url.expose_secret().trim());
        if !url.is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host()) {
            return Err(DeliverError::Url(name()));
        }
        let signer =
            Signer::new(&settings.signing_secret).ok_or_else(|| DeliverError::Secret(name()))?;
        let client = client(settings.timeout).map_err(|source| DeliverError::Client {
            name: name(),
            source: source.without_url(),
        })?;
        Ok(Self { settings, signer, client, metrics })
    }

    /// The receiver's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Whether the receiver is told of `alert` at all.
    ///
    /// The end of an episode carries its highest score: who was told of an episode hears its end.
    #[must_use]
    pub fn wants(&self, alert: &Alert) -> bool {
        alert.score >= self.settings.min_score
            && (alert.status != AlertStatus::Resolved || self.settings.send_resolved)
    }

    /// Delivers one alert, however long it takes within the receiver's `retry_for`.
    ///
    /// `body` is the alert as it stands in the alerts topic, byte for byte. Dropping the future is
    /// safe: the next try carries the same `webhook-id`.
    pub async fn deliver(
        &self,
        alert: &Alert,
        body: &[u8],
        clock: &(dyn Fn() -> Timestamp + Sync),
    ) -> Delivery {
        self.deliver_with(alert, body, clock, tokio::time::sleep).await
    }

    /// As [`Webhook::deliver`], with the waits between attempts in the caller's hands.
    pub async fn deliver_with<F>(
        &self,
        alert: &Alert,
        body: &[u8],
        clock: &(dyn Fn() -> Timestamp + Sync),
        wait: impl Fn(Duration) -> F,
    ) -> Delivery
    where
        F: Future<Output = ()>,
    {
        if !self.wants(alert) {
            return Delivery::Skipped;
        }
        let message = match Message::new(alert, body) {
            Ok(message) => message,
            Err(detail) => {
                let reason = FailureReason::Other;
                return self.dead(Dead { reason, status: None, attempts: 0, detail });
            }
        };
        let deadline = clock().plus_millis(millis(self.settings.retry_for));
        let mut attempts = 0;
        loop {
            attempts += 1;
            let failure = match self.attempt(&message, clock).await {
                Ok(latency) => {
                    NotificationDelivered { receiver: self.name(), latency }.emit(&self.metrics);
                    return Delivery::Delivered { attempts };
                }
                Err(failure) => failure,
            };
            let left = elapsed(clock(), deadline);
            match failure.wait(attempts).filter(|_| !left.is_zero()) {
                // The last attempt is made when the time is up, not before.
                Some(pause) => wait(pause.min(left)).await,
                None => return self.dead(failure.into_dead(attempts)),
            }
        }
    }

    /// Signs and sends once; how long it took if it was taken.
    async fn attempt(
        &self,
        message: &Message,
        clock: &(dyn Fn() -> Timestamp + Sync),
    ) -> Result<Duration, Failure> {
        let started = clock();
        let result = match self.send(message, started).await {
            Ok(response) => Failure::of(response, clock()).await,
            Err(error) => Some(Failure::broken(error)),
        };
        match result {
            None => Ok(elapsed(started, clock())),
            Some(failure) => {
                let reason = failure.reason();
                NotificationAttemptFailed { receiver: self.name(), reason }.emit(&self.metrics);
                Err(failure)
            }
        }
    }

    async fn send(&self, message: &Message, now: Timestamp) -> reqwest::Result<Response> {
        let signature = self.signer.sign(&message.id, now.as_secs(), &message.body);
        self.client
            .post(self.settings.url.expose_secret().trim())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", now.as_secs())
            .header("webhook-signature", signature)
            .body(message.body.clone())
            .send()
            .await
    }

    fn dead(&self, dead: Dead) -> Delivery {
        NotificationFailed { receiver: self.name(), reason: dead.reason }.emit(&self.metrics);
        Delivery::Dead(dead)
    }
}

/// A client that goes where it was told and nowhere else.
fn client(timeout: Duration) -> reqwest::Result<Client> {
    Client::builder()
        .user_agent(concat!("toolwarden/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .tls_version_min(reqwest::tls::Version::TLS_1_2)
        .connect_timeout(timeout)
        .timeout(timeout)
        .pool_max_idle_per_host(1)
        .build()
}

impl Message {
    /// The body and the id of one word of an episode.
    fn new(alert: &Alert, body: &[u8]) -> Result<Self, String> {
        let id = &alert.alert_id;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(plain) {
            return Err("the alert's id is not one toolwarden writes".to_owned());
        }
        let broken = |error: serde_json::Error| format!("the alert is not valid JSON: {error}");
        let r#type = match alert.status {
            AlertStatus::Firing => "toolwarden.alert.firing",
            AlertStatus::Updated => "toolwarden.alert.updated",
            AlertStatus::Resolved => "toolwarden.alert.resolved",
        };
        let data = serde_json::from_slice(body).map_err(broken)?;
        let body = Body { r#type, timestamp: &alert.time, data };
        let body = serde_json::to_vec(&body).map_err(broken)?;
        Ok(Self { id: format!("{id}_{}", alert.revision), body })
    }
}

impl Failure {
    /// What is wrong with an answer; `None` when the notification was taken.
    async fn of(mut response: Response, now: Timestamp) -> Option<Self> {
        let status = response.status().as_u16();
        let ruling = rule(status);
        let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let asked_wait = asked.and_then(|value| retry_after(value, now));
        let answer = read_capped(&mut response).await;
        if ruling == Ruling::Delivered {
            return None;
        }
        let detail = escape(String::from_utf8_lossy(&answer).trim());
        Some(Self { ruling, status: Some(status), asked_wait, detail })
    }

    /// What is wrong when there was no answer.
    fn broken(error: reqwest::Error) -> Self {
        let reason = if error.is_timeout() {
            FailureReason::Timeout
        } else if error.is_connect() || error.is_request() || error.is_body() {
            FailureReason::Connect
        } else {
            FailureReason::Other
        };
        let error = error.without_url();
        let mut detail = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            detail.push_str(": ");
            detail.push_str(&error.to_string());
            cause = error.source();
        }
        let ruling = Ruling::Retry(reason);
        Self { ruling, status: None, asked_wait: None, detail: escape(&detail) }
    }

    const fn reason(&self) -> FailureReason {
        match self.ruling {
            Ruling::Retry(reason) | Ruling::RetrySlowly(reason) | Ruling::GiveUp(reason) => reason,
            Ruling::Delivered => FailureReason::Other,
        }
    }

    /// How long to wait before the next attempt; `None` when there is to be none.
    fn wait(&self, attempts: u32) -> Option<Duration> {
        match self.ruling {
            Ruling::Retry(_) => {
                Some(self.asked_wait.unwrap_or_else(|| backoff(attempts, fastrand::f64())))
            }
            Ruling::RetrySlowly(_) => {
                Some(self.asked_wait.unwrap_or_else(|| slow_backoff(fastrand::f64())))
            }
            Ruling::GiveUp(_) | Ruling::Delivered => None,
        }
    }

    fn into_dead(self, attempts: u32) -> Dead {
        Dead { reason: self.reason(), status: self.status, attempts, detail: self.detail }
    }
}

/// The beginning of an answer. It only serves to explain a failure: an answer that breaks off does
/// not turn a success into one.
async fn read_capped(response: &mut Response) -> Vec<u8> {
    let mut answer = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = ANSWER_BYTES_MAX - answer.len();
        answer.extend(chunk.iter().take(room));
        if answer.len() >= ANSWER_BYTES_MAX {
            break;
        }
    }
    answer
}

/// The time from `from` to `to`, 0 when a clock was set back.
fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    let nanos = to.as_nanos().saturating_sub(from.as_nanos());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
