//! The keys of a changelog's records.

use crate::baseline::peers::GroupKey;
use crate::state::AgentKey;
use crate::state::changelog::restoring::Packed;
use crate::state::changelog::{LessonRecord, MARKERS, Marker, Stamp};
use crate::state::codec::{Kind, StateError, open};

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
    pub(super) what: Touched,
}

/// What stands under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touched {
    /// An agent, or that it was forgotten.
    Agent(AgentKey),
    /// The end of a flush.
    Marker,
    /// What an open epoch taught about a group.
    Lesson {
        /// The epoch.
        epoch: i64,
        /// The group.
        group: GroupKey,
        /// Under which of its two keys.
        second: bool,
    },
}

/// What a record of the partition of `topic` is about, and when it was written and by whom: `None`
/// for a deletion, and for bytes that are no record. `None` when it is about another source.
#[must_use]
pub fn read_stamp(
    topic: &str,
    key: &[u8],
    value: Option<&[u8]>,
) -> Option<(Touched, Option<Stamp>)> {
    let named = Named::of(key).filter(|named| named.topic == topic)?;
    Some((named.what, value.and_then(|value| stamp_of(named.what, value).ok())))
}

fn stamp_of(touched: Touched, value: &[u8]) -> Result<Stamp, StateError> {
    match touched {
        Touched::Agent(_) => Packed::of(value).map(|it| it.stamp),
        Touched::Marker => open(Kind::Marker, value).map(|it: Marker| it.stamp),
        Touched::Lesson { .. } => open(Kind::Lesson, value).map(|it: LessonRecord| it.stamp),
    }
}

impl<'a> Named<'a> {
    /// Topic names hold no slash, so the parts stand between slashes.
    pub(super) fn of(key: &'a [u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(key).ok()?.split('/');
        let (kind, topic) = (parts.next()?, parts.next()?);
        let what = match kind {
            "agent" => {
                Touched::Agent(AgentKey::from_number(u128::from_str_radix(parts.next()?, 16).ok()?))
            }
            "marker" => {
                parts.next()?;
                Touched::Marker
            }
            "lesson" => Touched::Lesson {
                epoch: parts.next()?.parse().ok()?,
                group: GroupKey(u64::from_str_radix(parts.next()?, 16).ok()?),
                second: parts.next()? == "1",
            },
            _ => return None,
        };
        parts.next().is_none().then_some(Self { topic, what })
    }
}
