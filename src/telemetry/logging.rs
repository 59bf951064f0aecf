//! The log: lines on stderr, as text for people or as JSON for machines.
//!
//! Stdout is never written to; it belongs to data.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is not one.
    #[error(
        "`{0}` is not a log level: use error, warn, info, debug or trace, or a filter such as info,toolwarden=debug"
    )]
    Level(String),
    /// The process has a log subscriber already.
    #[error("the log was set up already")]
    Twice,
}

/// Sends the log to stderr, from `level` (or a filter such as `info,toolwarden=debug`) upwards.
///
/// # Errors
///
/// [`LogError::Level`] when `level` cannot be read, [`LogError::Twice`] on a second call.
pub fn init_logging(level: &str, format: LogFormat) -> Result<(), LogError> {
    let filter = filter(level)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        // A log nobody reads any more is no reason to stop judging: telling of it would panic.
        .log_internal_errors(false);
    let done = match format {
        LogFormat::Text => builder.with_ansi(stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    done.map_err(|_| LogError::Twice)
}

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    let level = level.trim();
    // A filter takes any word as the name of a target: `inof` would silence everything.
    let known = |part: &str| {
        let level = part.rsplit('=').next().unwrap_or(part).trim();
        !level.is_empty() && level.parse::<tracing::level_filters::LevelFilter>().is_ok()
    };
    let fail = || LogError::Level(level.chars().take(80).collect());
    if !level.split(',').all(known) {
        return Err(fail());
    }
    EnvFilter::try_new(level).map_err(|_| fail())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters_are_taken() {
        for level in ["info", "WARN", "off", "info,toolwarden=debug", " debug "] {
            assert!(filter(level).is_ok(), "{level}");
        }
    }

    #[test]
    fn a_mistyped_level_is_refused_with_the_valid_ones() {
        for level in ["", "inof", "info,toolwarden", "toolwarden=loud"] {
            let message = filter(level).unwrap_err().to_string();
            assert!(message.contains("error, warn, info"), "{level}: {message}");
        }
    }
}
