//! One receiver: a webhook signed per Standard Webhooks 1.0.0.
//!
//! At least once: every attempt at one word of an episode carries the same `webhook-id`, so that a
//! receiver can drop what it has. When an attempt is made is `dispatch`'s business. The URL is a
//! secret; it stands in no log, error or `Debug`.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::alert::{Alert, AlertStatus, Severity};
use crate::deliver::deliveries::id_of;
use crate::deliver::escape;
use crate::deliver::guard::{Guard, Refused};
use crate::deliver::names::{self, LookUpName, Names};
use crate::deliver::retry::{Failure, Ruling, is_ambiguous, retry_after, rule};
use crate::deliver::signature::Signer;
use crate::event::Timestamp;
use crate::telemetry::{
    Event, FailureReason, Metrics, NotificationAttemptFailed, NotificationBlocked,
    NotificationDelivered,
};

/// How much of an answer is read; what follows is left unread.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// The header of an attempt whose notification the receiver may have already.
pub const POSSIBLE_DUPLICATE: &str = "toolwarden-possible-duplicate";

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
    /// The signing secret before that one, while the receiver may still know only the old one:
    /// everything is then signed with both.
    pub previous_signing_secret: Option<SecretString>,
    /// Alerts below this score are not sent.
    pub min_score: f64,
    /// Whether the end of an episode is told.
    pub send_resolved: bool,
    /// How long one attempt may take, answer included.
    pub timeout: Duration,
    /// Where it may be, beside the public internet.
    pub allow_networks: Vec<IpNet>,
}

/// Why a receiver cannot be used. Names the receiver, never its URL or secret.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// The URL is none.
    #[error("receiver `{0}`: the url is not valid; it must be absolute, `https://` or `http://`")]
    Url(String),
    /// The URL names an address that the receiver may not have.
    #[error("receiver `{name}`: {refused}")]
    Address {
        /// The receiver's name.
        name: String,
        /// Which, and what would allow it.
        refused: Refused,
    },
    /// The signing secret is none.
    #[error(
        "receiver `{0}`: a signing secret is not valid; it must be `whsec_` followed by 24 to 64 bytes in base64, as `echo whsec_$(openssl rand -base64 32)` prints"
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

/// How one attempt is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// With the smallest body: the receiver did not take the whole alert.
    pub is_minimal: bool,
    /// Saying that the receiver may have it already.
    pub is_possible_duplicate: bool,
}

/// One notification, ready to be signed and sent as often as it takes.
#[derive(Clone, Debug)]
pub struct Message {
    id: Arc<str>,
    body: Vec<u8>,
    /// What says the least that is of use, for a receiver that does not take the whole.
    minimal: Vec<u8>,
}

/// The body of a notification: Standard Webhooks' own three fields.
#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    timestamp: &'a str,
    data: &'a RawValue,
}

/// The least that is of use of an alert.
#[derive(Serialize)]
struct Least<'a> {
    schema: &'a str,
    alert_id: &'a str,
    revision: u32,
    status: AlertStatus,
    dedup_key: &'a str,
    time: &'a str,
    rule_id: &'a str,
    severity: Severity,
    score: f64,
    tenant_id: &'a str,
    agent_id: &'a str,
    title: &'a str,
    #[serde(rename = "minimal")]
    is_minimal: bool,
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
        Self::with_names(settings, metrics, Arc::new(names::system))
    }

    /// The same, where names are looked up by `look_up`.
    ///
    /// # Errors
    ///
    /// As of [`new`](Self::new).
    pub fn with_names(
        settings: WebhookSettings,
        metrics: Metrics,
        look_up: Arc<LookUpName>,
    ) -> Result<Self, DeliverError> {
        let name = || settings.name.clone();
        let url = Url::parse(settings.url.expose_secret().trim()).ok();
        let url = url.filter(|url| matches!(url.scheme(), "https" | "http"));
        let host = url.as_ref().and_then(Url::host_str);
        let host = host.ok_or_else(|| DeliverError::Url(name()))?;
        let guard = Guard::new(settings.allow_networks.clone());
        // The client asks for no name where the URL has an address, so that is checked here, once:
        // the URL never changes.
        guard
            .check_host(host)
            .map_err(|refused| DeliverError::Address { name: name(), refused })?;
        let secrets = [Some(&settings.signing_secret), settings.previous_signing_secret.as_ref()];
        let signer = Signer::new(secrets.into_iter().flatten())
            .ok_or_else(|| DeliverError::Secret(name()))?;
        let names = Names::new(guard, look_up);
        let client = client(settings.timeout, names).map_err(|source| DeliverError::Client {
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

    /// Signs and sends once; the status of the answer if it was taken.
    ///
    /// Dropping the future is safe: the next attempt carries the same `webhook-id`.
    ///
    /// # Errors
    ///
    /// A [`Failure`], which says whether and when to try again.
    pub async fn attempt(
        &self,
        message: &Message,
        manner: Manner,
        clock: &(dyn Fn() -> Timestamp + Sync),
    ) -> Result<u16, Failure> {
        let started = clock();
        let result = match self.send(message, manner, started).await {
            Ok(response) => answered(response, clock()).await,
            Err(error) => Err(broken(error)),
        };
        match &result {
            Ok(_) => {
                let latency = elapsed(started, clock());
                NotificationDelivered { receiver: self.name(), latency }.emit(&self.metrics);
            }
            Err(failure) => {
                let (receiver, reason) = (self.name(), failure.reason());
                NotificationAttemptFailed { receiver, reason }.emit(&self.metrics);
                if reason == FailureReason::Blocked {
                    let detail = &failure.detail;
                    NotificationBlocked { receiver, detail }.emit(&self.metrics);
                }
            }
        }
        result
    }

    async fn send(
        &self,
        message: &Message,
        manner: Manner,
        now: Timestamp,
    ) -> reqwest::Result<Response> {
        let body = message.body(manner);
        let signature = self.signer.sign(&message.id, now.as_secs(), body);
        let mut request = self
            .client
            .post(self.settings.url.expose_secret().trim())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header("webhook-id", &*message.id)
            .header("webhook-timestamp", now.as_secs())
            .header("webhook-signature", signature);
        if manner.is_possible_duplicate {
            request = request.header(POSSIBLE_DUPLICATE, HeaderValue::from_static("true"));
        }
        request.body(body.to_vec()).send().await
    }
}

/// A client that goes where it was told and nowhere else.
fn client(timeout: Duration, names: Names) -> reqwest::Result<Client> {
    Client::builder()
        .dns_resolver(names)
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
    /// The bodies and the id of one word of an episode. `body` is the alert as it stands in the
    /// alerts topic, byte for byte.
    ///
    /// # Errors
    ///
    /// Words on what is wrong, when the alert is not one toolwarden writes.
    pub fn new(alert: &Alert, body: &[u8]) -> Result<Self, String> {
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
        let whole: &RawValue = serde_json::from_slice(body).map_err(broken)?;
        let wrap = |data: &RawValue| {
            serde_json::to_vec(&Body { r#type, timestamp: &alert.time, data }).map_err(broken)
        };
        let least = serde_json::value::to_raw_value(&Least::of(alert)).map_err(broken)?;
        let (body, minimal) = (wrap(whole)?, wrap(&least)?);
        Ok(Self { id: id_of(id, alert.revision), body, minimal })
    }

    /// What it is known by, however often it is sent: its `webhook-id`.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// The bytes that are signed and sent.
    #[must_use]
    pub fn body(&self, manner: Manner) -> &[u8] {
        if manner.is_minimal { &self.minimal } else { &self.body }
    }

    /// The size of both bodies.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.body.len() + self.minimal.len()
    }
}

impl<'a> Least<'a> {
    fn of(alert: &'a Alert) -> Self {
        Self {
            schema: &alert.schema,
            alert_id: &alert.alert_id,
            revision: alert.revision,
            status: alert.status,
            dedup_key: &alert.dedup_key,
            time: &alert.time,
            rule_id: &alert.rule_id,
            severity: alert.severity,
            score: alert.score,
            tenant_id: &alert.tenant_id,
            agent_id: &alert.agent_id,
            title: &alert.title,
            is_minimal: true,
        }
    }
}

/// What an answer says; the status when the notification was taken.
async fn answered(mut response: Response, now: Timestamp) -> Result<u16, Failure> {
    let status = response.status().as_u16();
    let ruling = rule(status);
    let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let asked_wait = asked.and_then(|value| retry_after(value, now));
    let answer = read_capped(&mut response).await;
    if ruling == Ruling::Delivered {
        return Ok(status);
    }
    let detail = escape(String::from_utf8_lossy(&answer).trim());
    let is_ambiguous = is_ambiguous(status);
    Err(Failure { ruling, status: Some(status), asked_wait, detail, is_ambiguous })
}

/// What is wrong when there was no answer.
fn broken(error: reqwest::Error) -> Failure {
    if let Some(refused) = refused(&error) {
        let (ruling, detail) = (Ruling::RetrySlowly(FailureReason::Blocked), refused.to_string());
        return Failure { ruling, status: None, asked_wait: None, detail, is_ambiguous: false };
    }
    let reason = if error.is_timeout() {
        FailureReason::Timeout
    } else if error.is_connect() || error.is_request() || error.is_body() {
        FailureReason::Connect
    } else {
        FailureReason::Other
    };
    // Without a connection nothing was sent; with one nobody knows.
    let is_ambiguous = !error.is_connect();
    let error = error.without_url();
    let mut detail = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        detail.push_str(": ");
        detail.push_str(&error.to_string());
        cause = error.source();
    }
    let (ruling, detail) = (Ruling::Retry(reason), escape(&detail));
    Failure { ruling, status: None, asked_wait: None, detail, is_ambiguous }
}

/// The refusal that an error comes from.
fn refused(error: &reqwest::Error) -> Option<&Refused> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref() {
            return Some(refused);
        }
        cause = error.source();
    }
    None
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
