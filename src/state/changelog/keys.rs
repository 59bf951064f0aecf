//! The keys of a changelog's records.

use crate::baseline::peers::GroupKey;
use crate::state::AgentKey;
use crate::state::changelog::MARKERS;

/// The key of an agent's record.
#[must_use]
pub fn agent_key(topic: &str, agent: AgentKey) -> Vec<u8> {
    format!("agent/{topic}/{:032x}", agent.number()).into_bytes()
}

/// The key of a flush's marker.
#[must_use]
pub fn marker_key(topic: &str, flush: u64) -> Vec<u8> {
    format!("marker/{topic}/{}", flush % MARKERS).into_bytes()
}

/// The key of what an epoch taught about a group. Two records take turns, so that the one of the
/// last marker is there until the next marker is.
#[must_use]
pub fn lesson_key(topic: &str, (epoch, group): (i64, GroupKey), second: bool) -> Vec<u8> {
    format!("lesson/{topic}/{epoch}/{:016x}/{}", group.0, u8::from(second)).into_bytes()
}

/// A key that was read.
pub(super) struct Named<'a> {
    pub(super) topic: &'a str,
    pub(super) what: What,
}

pub(super) enum What {
    Agent(AgentKey),
    Marker,
    Lesson { epoch: i64, group: GroupKey, second: bool },
}

impl<'a> Named<'a> {
    /// Topic names hold no slash, so the parts stand between slashes.
    pub(super) fn of(key: &'a [u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(key).ok()?.split('/');
        let (kind, topic) = (parts.next()?, parts.next()?);
        let what = match kind {
            "agent" => {
                What::Agent(AgentKey::from_number(u128::from_str_radix(parts.next()?, 16).ok()?))
            }
            "marker" => {
                parts.next()?;
                What::Marker
            }
            "lesson" => What::Lesson {
                epoch: parts.next()?.parse().ok()?,
                group: GroupKey(u64::from_str_radix(parts.next()?, 16).ok()?),
                second: parts.next()? == "1",
            },
            _ => return None,
        };
        parts.next().is_none().then_some(Self { topic, what })
    }
}
