//! A receiver of alerts as it is written in the configuration.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::units::FriendlyDuration;
use crate::deliver::Guard;

/// One receiver of alerts.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-refused" = {
    "signing_secret": "a secret does not belong in this file: write `signing_secret_file: PATH` or `signing_secret_env: NAME`",
    "previous_signing_secret": "a secret does not belong in this file: write `previous_signing_secret_file: PATH` or `previous_signing_secret_env: NAME`",
    "secret": "a secret does not belong in this file: write `signing_secret_file: PATH` or `signing_secret_env: NAME`",
}))]
#[schemars(rename = "Receiver")]
pub(crate) struct RawReceiver {
    /// Its name, in metrics and dead letters.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_-]{0,62}$"), extend("x-expects" = "a name of lower-case letters, digits, `_` and `-`, at most 63"))]
    pub(crate) name: String,
    /// What kind it is: a webhook signed per Standard Webhooks.
    #[serde(rename = "type")]
    pub(crate) kind: RawReceiverKind,
    /// Where to post. If the URL itself is secret, use `url_file` or `url_env` instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<RawUrl>,
    /// A file that holds the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) url_file: Option<String>,
    /// The environment variable that holds the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) url_env: Option<String>,
    /// A file that holds the signing secret: `whsec_` and 24 to 64 bytes in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signing_secret_file: Option<String>,
    /// The environment variable that holds the signing secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signing_secret_env: Option<String>,
    /// A file that holds the signing secret before that one: while a receiver may know either,
    /// everything is signed with both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous_signing_secret_file: Option<String>,
    /// The environment variable that holds the signing secret before that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous_signing_secret_env: Option<String>,
    /// Alerts below this score are not sent. At 40 a rule's budget of false alarms is just spent;
    /// each 20 more is ten times rarer.
    #[serde(default = "RawReceiver::min_score")]
    #[schemars(range(min = 0, max = 100))]
    pub(crate) min_score: f64,
    /// Whether the end of an episode is told.
    #[serde(default = "RawReceiver::send_resolved")]
    pub(crate) send_resolved: bool,
    /// How long one attempt may take; 100ms to 2m.
    #[serde(default = "RawReceiver::timeout")]
    pub(crate) timeout: FriendlyDuration,
    /// How long an alert is tried, from when it was written, before it goes to the dead-letter
    /// topic and the other receivers are told; at most 7d.
    #[serde(default = "RawReceiver::retry_for")]
    pub(crate) retry_for: FriendlyDuration,
    /// A firing alert of an incident (`dedup_key`) that was told within this span of event time is
    /// sent as `updated` with `duplicate_of`, not as a new page, unless it is more severe or ten
    /// times rarer; at most 7d, `0s` pages each.
    #[serde(default = "RawReceiver::dedup_for")]
    pub(crate) dedup_for: FriendlyDuration,
    /// Notifications a second, at most: after an outage what waits is sent no faster, critical
    /// alerts first and then the oldest.
    #[serde(default = "RawReceiver::catch_up_rate")]
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) catch_up_rate: u32,
    /// Where the receiver may be, beside the public internet: networks, as `10.0.0.0/8`, and
    /// addresses. What its name stands for is checked with every connection, and a receiver that is
    /// elsewhere is not told; its alerts wait. The default has the private networks of
    /// organisations; `[]` leaves the public internet alone. This machine and link-local addresses
    /// must be named, and a cloud's metadata service by its very address.
    #[serde(default = "RawReceiver::allow_networks")]
    #[schemars(length(max = 100))]
    pub(crate) allow_networks: Vec<String>,
}

impl RawReceiver {
    pub(crate) fn allow_networks() -> Vec<String> {
        Guard::organisations().iter().map(ToString::to_string).collect()
    }

    const fn catch_up_rate() -> u32 {
        10
    }

    const fn dedup_for() -> FriendlyDuration {
        FriendlyDuration::secs(86_400)
    }

    const fn min_score() -> f64 {
        40.0
    }

    const fn send_resolved() -> bool {
        true
    }

    const fn timeout() -> FriendlyDuration {
        FriendlyDuration::secs(10)
    }

    const fn retry_for() -> FriendlyDuration {
        FriendlyDuration::secs(3 * 86_400)
    }
}

/// What kind a receiver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ReceiverKind")]
pub(crate) enum RawReceiverKind {
    /// A POST signed per Standard Webhooks.
    Webhook,
}

/// A URL as written; it may hold a token.
#[derive(Clone, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
#[schemars(rename = "Url")]
pub(crate) struct RawUrl(pub(crate) String);

impl fmt::Debug for RawUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawUrl(***)")
    }
}
