//! Names as 64-bit hashes, so that state holds numbers and never an agent's text.
//!
//! SipHash with fixed keys: the same on every machine and in every version, because peers of
//! different instances meet on these numbers. Not a secret and not a signature.

use crate::baseline::peers::GroupKey;
use crate::event::sip13;

/// The hash of several texts; the borders between them count.
///
/// Each text is hashed whole, under keys that the texts before it and its place decide.
#[must_use]
pub fn hash_texts(texts: &[&str]) -> u64 {
    let hash_one = |(place, hash), text: &&str| (place + 1, sip13((hash, place), text.as_bytes()));
    texts.iter().fold((0_u64, 0_u64), hash_one).1
}

/// The identity of a tool: its server, if it has one, and its name.
#[must_use]
pub fn tool_hash(server: Option<&str>, name: &str) -> u64 {
    let server = match server {
        None | Some("") => NO_TEXT,
        Some(server) => hash_texts(&[server]),
    };
    sip13((server, 1), name.as_bytes())
}

/// What [`hash_texts`] makes of one empty text: most tools have no server.
const NO_TEXT: u64 = 0xd1fb_a762_150c_532c;

/// The identity of an agent among its peers.
#[must_use]
pub fn agent_hash(tenant_id: &str, agent_id: &str) -> u64 {
    hash_texts(&[tenant_id, agent_id])
}

impl GroupKey {
    /// The key of what every agent of a tenant may know.
    #[must_use]
    pub fn of_tenant(tenant_id: &str) -> Self {
        Self(hash_texts(&["tenant", tenant_id]))
    }

    /// The key of the peer group `group` of a tenant.
    #[must_use]
    pub fn of(tenant_id: &str, group: &str) -> Self {
        Self(hash_texts(&["group", tenant_id, group]))
    }
}

/// 32 bits of a hash, where a rare collision costs nothing.
#[must_use]
pub fn short(hash: u64) -> u32 {
    let [a, b, c, d, ..] = hash.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_moved_between_server_and_tool_is_another_tool() {
        assert_ne!(tool_hash(Some("ab"), "c"), tool_hash(Some("a"), "bc"));
        assert_eq!(tool_hash(None, "Read"), tool_hash(None, "Read"));
    }

    #[test]
    fn a_tool_is_known_by_the_hash_of_its_server_and_name() {
        for server in [None, Some(""), Some("files")] {
            let expected = hash_texts(&[server.unwrap_or_default(), "Read"]);
            assert_eq!(tool_hash(server, "Read"), expected, "{server:?}");
        }
    }

    #[test]
    fn groups_of_two_tenants_are_two_groups() {
        assert_ne!(GroupKey::of("a", "claude-code"), GroupKey::of("b", "claude-code"));
    }
}
