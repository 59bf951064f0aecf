//! One call told several times within a record (client and server, outer and inner span, a
//! redelivery) becomes one. Across records that is the engine's task.

use std::collections::BTreeMap;

use crate::decode::calls::Calls;
use crate::decode::stamp::Stamp;
use crate::event::{Arguments, Quality, Status, ToolCall};

/// One telling of a call.
#[derive(Debug)]
pub(super) struct Draft<'b> {
    pub(super) call: ToolCall<'b>,
    pub(super) stamp: Stamp,
    /// How far the teller stands from the agent; the nearest one is believed.
    pub(super) distance: u8,
}

/// The calls of one record so far.
#[derive(Debug, Default)]
pub(super) struct Drafts<'b> {
    drafts: Vec<Draft<'b>>,
    known: BTreeMap<(String, String), usize>,
}

impl<'b> Drafts<'b> {
    /// Adds a telling; without a key it is a call of its own.
    pub(super) fn add(&mut self, key: Option<(String, String)>, draft: Draft<'b>) {
        let Some(key) = key else {
            return self.drafts.push(draft);
        };
        let next = self.drafts.len();
        let index = *self.known.entry(key).or_insert(next);
        match self.drafts.get_mut(index) {
            Some(known) => absorb(known, draft),
            None => self.drafts.push(draft),
        }
    }

    /// Checks every call and hands it in.
    pub(super) fn hand_in(self, calls: &mut Calls<'_>) {
        for Draft { mut call, stamp, .. } in self.drafts {
            match calls.finish(&mut call, stamp) {
                Ok(()) => calls.push(call),
                Err(error) => calls.reject(error),
            }
        }
    }
}

/// Fills what the nearer telling does not say from the farther one.
fn absorb<'b>(known: &mut Draft<'b>, mut other: Draft<'b>) {
    if other.distance < known.distance {
        std::mem::swap(known, &mut other);
    }
    let (into, from) = (&mut known.call, other.call);
    if into.arguments == Arguments::default() {
        into.arguments = from.arguments;
        into.targets = from.targets;
        into.words = from.words;
        for flag in [Quality::BAD_ARGUMENTS, Quality::MANY_TARGETS] {
            if from.quality.contains(flag) {
                into.quality.insert(flag);
            }
        }
    }
    if into.call_id.is_empty() {
        into.call_id = from.call_id;
    }
    if into.status == Status::Unknown || from.status == Status::Denied {
        into.status = from.status;
    }
    into.tool_server = into.tool_server.take().or(from.tool_server);
    into.agent_version = into.agent_version.take().or(from.agent_version);
    into.agent_group = into.agent_group.take().or(from.agent_group);
    into.user_id = into.user_id.take().or(from.user_id);
    into.parent_agent_id = into.parent_agent_id.take().or(from.parent_agent_id);
    into.duration_ms = into.duration_ms.or(from.duration_ms);
    into.bytes_in = into.bytes_in.or(from.bytes_in);
    into.bytes_out = into.bytes_out.or(from.bytes_out);
    known.stamp = known.stamp.or(other.stamp);
}
