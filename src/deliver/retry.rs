//! When an attempt is made again: pure functions of an answer, an attempt and a random number.

use std::time::Duration;

use crate::event::Timestamp;
use crate::telemetry::FailureReason;

/// The longest wait that the exponential backoff reaches.
pub const RETRY_WAIT_MAX: Duration = Duration::from_secs(300);

/// The longest wait a receiver can ask for with `Retry-After`.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// What an answer's status means for the notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It is delivered.
    Delivered,
    /// Try again, soon at first.
    Retry(FailureReason),
    /// Try again, but a person has to mend something first.
    RetrySlowly(FailureReason),
    /// The receiver does not take this body: try once more with the smallest one.
    RetryMinimal(FailureReason),
    /// Trying again cannot help.
    GiveUp(FailureReason),
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What is to be done.
    pub ruling: Ruling,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The wait the receiver asked for, from 1 s to [`RETRY_AFTER_MAX`].
    pub asked_wait: Option<Duration>,
    /// Words for the person who mends it: the error, or the beginning of the answer, escaped.
    pub detail: String,
    /// Whether the receiver may have taken the notification all the same.
    pub is_ambiguous: bool,
}

impl Failure {
    /// Why it failed.
    #[must_use]
    pub const fn reason(&self) -> FailureReason {
        match self.ruling {
            Ruling::Retry(reason)
            | Ruling::RetrySlowly(reason)
            | Ruling::RetryMinimal(reason)
            | Ruling::GiveUp(reason) => reason,
            Ruling::Delivered => FailureReason::Other,
        }
    }

    /// Whether it speaks of the receiver rather than of this notification.
    #[must_use]
    pub const fn is_of_receiver(&self) -> bool {
        matches!(
            self.ruling,
            Ruling::Retry(_) | Ruling::RetrySlowly(_) | Ruling::GiveUp(FailureReason::Redirect)
        )
    }
}

/// Reads an HTTP status. Redirects are failures: they would send an alert, and a valid signature,
/// to a place nobody configured.
#[must_use]
pub const fn rule(status: u16) -> Ruling {
    match status {
        200..=299 => Ruling::Delivered,
        300..=399 => Ruling::GiveUp(FailureReason::Redirect),
        400 | 413 | 422 => Ruling::RetryMinimal(FailureReason::ClientError),
        401 | 403 => Ruling::RetrySlowly(FailureReason::AuthError),
        // Moved or switched off, or an ingress on its way up: nobody is written off in silence.
        404 | 410 => Ruling::RetrySlowly(FailureReason::ClientError),
        408 => Ruling::Retry(FailureReason::Timeout),
        425 => Ruling::Retry(FailureReason::ClientError),
        429 => Ruling::Retry(FailureReason::RateLimited),
        400..=499 => Ruling::GiveUp(FailureReason::ClientError),
        500..=599 => Ruling::Retry(FailureReason::ServerError),
        _ => Ruling::GiveUp(FailureReason::Other),
    }
}

/// The wait after the failed attempt number `attempt`, counted from 1: exponential from 1 s to
/// [`RETRY_WAIT_MAX`] with full jitter.
///
/// `unit_random` lies in 0..1; values outside are clamped. Full jitter, because the receivers of
/// many instances come back at the same moment.
#[must_use]
pub fn backoff(attempt: u32, unit_random: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    Duration::from_secs(1_u64 << doublings).min(RETRY_WAIT_MAX).mul_f64(unit(unit_random))
}

/// The wait when a secret has to be changed before anything can work: half to all of
/// [`RETRY_WAIT_MAX`].
#[must_use]
pub fn slow_backoff(unit_random: f64) -> Duration {
    half_to_all(RETRY_WAIT_MAX, unit_random)
}

/// The wait a `Retry-After` header asks for, in seconds or as an HTTP date, clamped to 1 s and
/// [`RETRY_AFTER_MAX`]; `None` when it cannot be read.
#[must_use]
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let at = httpdate::parse_http_date(value).ok()?;
        let since_epoch = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let now = Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or(0));
        since_epoch.saturating_sub(now)
    };
    Some(wait.clamp(Duration::from_secs(1), RETRY_AFTER_MAX))
}

/// Whether a receiver that answered with this status, which is no success, may have taken the
/// notification: an error behind its door, or a gateway that lost the answer.
#[must_use]
pub(super) const fn is_ambiguous(status: u16) -> bool {
    matches!(status, 408 | 500..=502 | 504..=599)
}

/// Half to all of `longest`, by a number in 0..1.
pub(super) fn half_to_all(longest: Duration, unit_random: f64) -> Duration {
    longest.mul_f64(0.5 + 0.5 * unit(unit_random))
}

fn unit(random: f64) -> f64 {
    if random.is_nan() { 1.0 } else { random.clamp(0.0, 1.0) }
}
