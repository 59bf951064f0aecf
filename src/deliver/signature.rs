//! Signatures per Standard Webhooks 1.0.0: `v1`, HMAC-SHA256 over `id.timestamp.body`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// A signing secret is this many bytes long, at least and at most.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The keys that sign; they never show themselves.
#[derive(Clone)]
pub(super) struct Signer(Vec<Hmac<Sha256>>);

impl Signer {
    /// Reads secrets, each `whsec_` and 24 to 64 bytes in base64; `None` for anything else. With two,
    /// a receiver may know either.
    pub(super) fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Option<Self> {
        secrets.into_iter().map(key).collect::<Option<_>>().map(Self)
    }

    /// The value of the header `webhook-signature`: one signature a secret, in their order.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let sign = |key: &Hmac<Sha256>| {
            let mut mac = key.clone();
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body);
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        };
        self.0.iter().map(sign).collect::<Vec<_>>().join(" ")
    }
}

fn key(secret: &SecretString) -> Option<Hmac<Sha256>> {
    let encoded = secret.expose_secret().trim().strip_prefix("whsec_")?;
    let key = STANDARD.decode(encoded).ok()?;
    SECRET_BYTES.contains(&key.len()).then(|| Hmac::new_from_slice(&key).ok()).flatten()
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(..)")
    }
}
