//! An alert's identity is derived from what it is about, never drawn at random.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::alert::Subject;
use crate::event::Timestamp;

/// The identity of one episode: 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AlertId([u8; 16]);

impl AlertId {
    /// The identity of the episode of `rule_id` for one agent that opened with the call `call_id`
    /// at `opened`.
    ///
    /// The same calls give the same identity, whoever reads them and how often.
    #[must_use]
    pub fn derive(
        rule_id: &str,
        tenant_id: &str,
        agent_id: &str,
        opened: (Timestamp, &str),
    ) -> Self {
        Self::of(&[rule_id, tenant_id, agent_id, opened.1], opened.0.as_nanos().to_le_bytes())
    }

    fn of(parts: &[&str], tail: [u8; 8]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.update(tail);
        let digest = hasher.finalize();
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(digest.iter()) {
            *to = *from;
        }
        Self(id)
    }
}

/// The incident that an alert of `rule_id` on one agent of `group` belongs to, if its first subject
/// is the same thing for the whole group: 32 hexadecimal digits.
#[must_use]
pub fn incident(
    rule_id: &str,
    tenant_id: &str,
    group: &str,
    subjects: &[Subject],
) -> Option<String> {
    let first = subjects.first().filter(|subject| subject.kind.is_shared())?;
    let parts = ["incident", rule_id, tenant_id, group, first.kind.as_str()];
    Some(AlertId::of(&parts, first.hash.0.to_le_bytes()).to_string())
}

/// The incident of everything that a `matter` makes of `group` in an hour since the Unix epoch: 32
/// hexadecimal digits.
#[must_use]
pub fn crowd(matter: &str, tenant_id: &str, group: &str, hour: i64) -> String {
    AlertId::of(&["crowd", matter, tenant_id, group], hour.to_le_bytes()).to_string()
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlertId({self})")
    }
}
