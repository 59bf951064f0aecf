//! Privacy: the key of hashes, by file or by variable.

use secrecy::ExposeSecret as _;

use crate::config::checked::Privacy;
use crate::config::checking::Checker;
use crate::config::checking::secrets::Origin;
use crate::config::problem::Code;
use crate::config::raw::RawPrivacy;
use crate::decode::HashKey;

/// The fewest characters of a key. Anybody who sees its fingerprint can try shorter ones.
const KEY_CHARACTERS_MIN: usize = 16;

/// How to make a key.
const MAKE_KEY: &str = "make one with: openssl rand -base64 32";

impl Checker<'_> {
    /// Checks what is kept and shown. A key that cannot be used was reported.
    pub(super) fn privacy(&mut self, raw: &RawPrivacy) -> Privacy {
        let hash_key = self.hash_key(raw).unwrap_or_default();
        Privacy { hash_key, show_targets: raw.show_targets }
    }

    fn hash_key(&mut self, raw: &RawPrivacy) -> Option<HashKey> {
        let origin = Origin {
            pointer: "/privacy",
            name: "hash_key",
            file: raw.hash_key_file.as_deref(),
            env: raw.hash_key_env.as_deref(),
        };
        let secret = self.secret(origin)?;
        if secret.expose_secret().chars().count() < KEY_CHARACTERS_MIN {
            let message =
                format!("the key of hashes must have at least {KEY_CHARACTERS_MIN} characters");
            self.fault(Code::UnusableSecret, origin.field(), message, Some(MAKE_KEY));
            return None;
        }
        Some(HashKey::of_secret(secret.expose_secret()))
    }
}
