//! What happens on the way to a receiver. No event here knows a URL: tokens travel in paths.

use std::time::Duration;

use crate::telemetry::{Event, Metrics};

/// Why an attempt at a notification failed: a closed set, as it is a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureReason {
    /// 4xx: the receiver does not take what we send.
    ClientError,
    /// 5xx.
    ServerError,
    /// 401 or 403: a secret was changed on one side.
    AuthError,
    /// 429.
    RateLimited,
    /// 3xx: redirects are not followed.
    Redirect,
    /// No answer in time.
    Timeout,
    /// No connection, or it broke.
    Connect,
    /// Its address is not one that the receiver may have.
    Blocked,
    /// Anything else.
    Other,
}

impl FailureReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::ClientError,
        Self::ServerError,
        Self::AuthError,
        Self::RateLimited,
        Self::Redirect,
        Self::Timeout,
        Self::Connect,
        Self::Blocked,
        Self::Other,
    ];

    /// The word used in metrics and dead letters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientError => "client_error",
            Self::ServerError => "server_error",
            Self::AuthError => "auth_error",
            Self::RateLimited => "rate_limited",
            Self::Redirect => "redirect",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Blocked => "blocked",
            Self::Other => "other",
        }
    }
}

/// An attempt succeeded: the notification is delivered.
#[derive(Clone, Copy, Debug)]
pub struct NotificationDelivered<'a> {
    /// The receiver's name.
    pub receiver: &'a str,
    /// How long the attempt took.
    pub latency: Duration,
}

impl Event for NotificationDelivered<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { receiver, latency } = self;
        let families = metrics.families();
        families.notification_requests.with_label_values(&[receiver]).inc();
        families.notifications.with_label_values(&[receiver]).inc();
        families.notification_latency.with_label_values(&[receiver]).observe(latency.as_secs_f64());
        tracing::debug!(receiver, ?latency, "notification delivered");
    }
}

/// An attempt failed; another one follows, or [`NotificationFailed`].
#[derive(Clone, Copy, Debug)]
pub struct NotificationAttemptFailed<'a> {
    /// The receiver's name.
    pub receiver: &'a str,
    /// Why.
    pub reason: FailureReason,
}

impl Event for NotificationAttemptFailed<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { receiver, reason } = self;
        let families = metrics.families();
        families.notification_requests.with_label_values(&[receiver]).inc();
        families.notification_request_failures.with_label_values(&[receiver]).inc();
        tracing::warn!(receiver, reason = reason.as_str(), "an attempt to notify failed");
    }
}

/// An attempt was not made: the receiver's name stands for addresses that it may not have.
///
/// [`NotificationAttemptFailed`] counts it as one that failed.
#[derive(Clone, Copy, Debug)]
pub struct NotificationBlocked<'a> {
    /// The receiver's name.
    pub receiver: &'a str,
    /// Which address it was, and what would allow it.
    pub detail: &'a str,
}

impl Event for NotificationBlocked<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { receiver, detail } = self;
        metrics.families().notification_requests_blocked.with_label_values(&[receiver]).inc();
        tracing::error!(receiver, detail, "the receiver's address is not allowed; its alerts wait");
    }
}

/// A notification was given up.
#[derive(Clone, Copy, Debug)]
pub struct NotificationFailed<'a> {
    /// The receiver's name.
    pub receiver: &'a str,
    /// Why the last attempt failed.
    pub reason: FailureReason,
}

impl Event for NotificationFailed<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { receiver, reason } = self;
        let families = metrics.families();
        families.notifications.with_label_values(&[receiver]).inc();
        families.notifications_failed.with_label_values(&[receiver, reason.as_str()]).inc();
        tracing::error!(receiver, reason = reason.as_str(), "a notification was given up");
    }
}

/// A notification that was given up is safe in the dead-letter topic.
///
/// Counts for its receiver; [`crate::telemetry::DeadLettered`] counts the record.
#[derive(Clone, Copy, Debug)]
pub struct NotificationDeadLettered<'a> {
    /// The receiver's name.
    pub receiver: &'a str,
}

impl Event for NotificationDeadLettered<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { receiver } = self;
        metrics.families().notification_dead_letters.with_label_values(&[receiver]).inc();
        tracing::error!(receiver, "an undelivered notification went to the dead-letter topic");
    }
}

/// A firing alert is sent as the update of an incident that was told before.
#[derive(Clone, Copy, Debug)]
pub struct NotificationDeduplicated<'a> {
    /// The receiver's name.
    pub receiver: &'a str,
    /// Incidents that had to be forgotten to remember this one.
    pub forgotten: u64,
    /// Whether it was one, rather than a new incident.
    pub is_duplicate: bool,
}

impl Event for NotificationDeduplicated<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { receiver, forgotten, is_duplicate } = self;
        let families = metrics.families();
        if is_duplicate {
            families.notifications_deduplicated.with_label_values(&[receiver]).inc();
            tracing::debug!(receiver, "an incident that was told before goes on");
        }
        if forgotten > 0 {
            let counter = &families.notification_incidents_forgotten;
            counter.with_label_values(&[receiver]).inc_by(forgotten);
            tracing::warn!(receiver, forgotten, "too many incidents to remember all of them");
        }
    }
}

/// An alert was read again that the receiver has.
#[derive(Clone, Copy, Debug)]
pub struct NotificationKnown<'a> {
    /// The receiver's name.
    pub receiver: &'a str,
}

impl Event for NotificationKnown<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { receiver } = self;
        metrics.families().notifications_known.with_label_values(&[receiver]).inc();
        tracing::debug!(receiver, "an alert that the receiver has was read again");
    }
}

/// There was no room for an alert, which is read again later; critical ones get ahead of it.
#[derive(Clone, Copy, Debug)]
pub struct NotificationPassedOver<'a> {
    /// The receiver's name.
    pub receiver: &'a str,
}

impl Event for NotificationPassedOver<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { receiver } = self;
        metrics.families().notifications_passed_over.with_label_values(&[receiver]).inc();
        tracing::debug!(receiver, "there is no room for an alert now: it is read again later");
    }
}

/// A receiver's circuit breaker has moved.
#[derive(Clone, Copy, Debug)]
pub struct BreakerMoved<'a> {
    /// The receiver's name.
    pub receiver: &'a str,
    /// Where it stands: 0 closed, 1 half open, 2 open.
    pub level: u8,
    /// Whether it stood closed before and is open now.
    pub has_opened: bool,
    /// Whether it is closed now.
    pub has_closed: bool,
}

impl Event for BreakerMoved<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { receiver, level, has_opened, has_closed } = self;
        let families = metrics.families();
        families.notification_breaker_state.with_label_values(&[receiver]).set(level.into());
        if has_opened {
            families.notification_breaker_opened.with_label_values(&[receiver]).inc();
            tracing::warn!(receiver, "the receiver fails: only one alert at a time tries it");
        }
        if has_closed {
            tracing::warn!(receiver, "the receiver is back: what waits is sent, oldest first");
        }
    }
}

/// Alerts went from the alerts topic before a receiver was told of them.
#[derive(Clone, Copy, Debug)]
pub struct NotificationsOvertaken<'a> {
    /// The receiver's name.
    pub receiver: &'a str,
    /// How many offsets are missing.
    pub alerts: u64,
}

impl Event for NotificationsOvertaken<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { receiver, alerts } = self;
        metrics.families().notifications_overtaken.with_label_values(&[receiver]).inc_by(alerts);
        tracing::error!(receiver, alerts, "alerts went before the receiver was told of them");
    }
}
