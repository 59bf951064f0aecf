//! How what is known is kept: its times, and the keys its records are signed with.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use crate::config::checked::State;
use crate::config::checking::secrets::Origin;
use crate::config::checking::{Checker, HOUR, SECOND};
use crate::config::problem::Code;
use crate::config::state::RawState;

/// The fewest characters of a key.
const KEY_CHARACTERS_MIN: usize = 32;

/// How to make a key.
const MAKE_KEY: &str = "make one with: openssl rand -base64 32";

impl Checker<'_> {
    /// Checks how what is known is kept. What cannot be used was reported.
    pub(super) fn state(&mut self, raw: &RawState) -> State {
        State {
            durable: raw.durable,
            flush_interval: self.duration(
                "/state/flush_interval",
                raw.flush_interval,
                (SECOND / 10, Duration::from_secs(600)),
            ),
            lessons_bytes: self.size(
                "/state/lessons_bytes",
                raw.lessons_bytes,
                (16 << 20, 16 << 30),
            ),
            forget_after: self.duration(
                "/state/forget_after",
                raw.forget_after,
                (14 * 24 * HOUR, 3_650 * 24 * HOUR),
            ),
            yield_after: self.duration(
                "/state/yield_after",
                raw.yield_after,
                (12 * HOUR, 90 * 24 * HOUR),
            ),
            mac_keys: self.mac_keys(raw),
            accept_unsigned: raw.accept_unsigned,
        }
    }

    fn mac_keys(&mut self, raw: &RawState) -> Vec<SecretString> {
        let origin = Origin {
            pointer: "/state",
            name: "mac_key",
            file: raw.mac_key_file.as_deref(),
            env: raw.mac_key_env.as_deref(),
        };
        if raw.accept_unsigned && origin.file.or(origin.env).is_none() {
            let message = "`accept_unsigned` says something only beside a key".to_owned();
            let help = "without `mac_key_file` or `mac_key_env` nothing is signed";
            self.fault(Code::Conflict, "/state/accept_unsigned".to_owned(), message, Some(help));
        }
        let Some(secret) = self.secret(origin) else { return Vec::new() };
        let keys = secret.expose_secret().split_whitespace();
        if keys.clone().any(|key| key.chars().count() < KEY_CHARACTERS_MIN) {
            let message = format!("each key must have at least {KEY_CHARACTERS_MIN} characters");
            self.fault(Code::UnusableSecret, origin.field(), message, Some(MAKE_KEY));
        }
        keys.map(SecretString::from).collect()
    }
}
