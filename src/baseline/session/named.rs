//! What a session has named and used of a call before it: looked up once a call, for whoever asks.

use crate::baseline::session::{LiveSession, SessionValue, tool_token};
use crate::event::Target;

/// Targets of a call whose places are kept; those of more are looked up by whoever asks.
const KEPT: usize = 8;

/// What a session has named and used of a call before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Of each target the place behind the newest value that is the same; 0 where there is none.
    behind: [u16; KEPT],
    are_all: bool,
    are_same: bool,
    has_tool: bool,
}

impl Named {
    /// Whether every target of the call that it can be aimed at is known to have been named.
    #[must_use]
    pub const fn are_all(&self) -> bool {
        self.are_all
    }

    /// The same, and of the same kind and in the same place: nothing in the call is new to the session.
    pub(super) const fn are_same(&self) -> bool {
        self.are_same
    }

    /// Whether the session has used the call's tool.
    #[must_use]
    pub const fn has_tool(&self) -> bool {
        self.has_tool
    }

    /// Whether the session has named target `at` of the call, or an address at that host.
    #[must_use]
    pub fn is_named(&self, session: &LiveSession, (at, target): (usize, &Target)) -> bool {
        self.place(&session.values, (at, target)).is_some()
            || session.has_named_otherwise(target.value)
    }

    /// The place of the newest of the session's values before the call that is the same as target `at`.
    pub(super) fn place(
        &self,
        before: &[SessionValue],
        (at, target): (usize, &Target),
    ) -> Option<usize> {
        match self.behind.get(at) {
            Some(behind) => usize::from(*behind).checked_sub(1),
            None => newest(before, target.value).map(|(place, _)| place),
        }
    }
}

impl LiveSession {
    /// Looks the tool and the targets of a call up.
    #[must_use]
    pub fn named(&self, tool: u64, targets: &[Target]) -> Named {
        let has_tool = self.has_token(tool_token(tool));
        let is_short = targets.len() <= KEPT;
        let mut named =
            Named { behind: [0; KEPT], are_all: is_short, are_same: is_short, has_tool };
        let places = named.behind.iter_mut().zip(targets);
        for (behind, target) in places.filter(|(_, target)| target.kind.is_target()) {
            let newest = newest(&self.values, target.value);
            *behind = newest.and_then(|(at, _)| u16::try_from(at + 1).ok()).unwrap_or(0);
            named.are_all &= newest.is_some();
            named.are_same &= newest.is_some_and(|(_, known)| known.names(target));
        }
        named
    }
}

/// The newest value that is this one, and its place. Most calls name what was named just before.
fn newest(values: &[SessionValue], value: u64) -> Option<(usize, &SessionValue)> {
    // Four at a time, so that there are fewer steps.
    let is_it = |known: &SessionValue| known.value() == value;
    let (first, fours) = values.as_rchunks::<4>();
    let mut earlier = fours.iter();
    let mut place = None;
    while let (None, Some(four)) = (place, earlier.next_back()) {
        place = four.iter().rposition(is_it).map(|at| first.len() + 4 * earlier.len() + at);
    }
    let place = place.or_else(|| first.iter().rposition(is_it))?;
    Some((place, values.get(place)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::session::class;
    use crate::event::{TargetKind, Timestamp};
    use proptest::prelude::*;

    const TOOL: u64 = 7;

    fn target((kind, value, key): (usize, u64, u32)) -> Target {
        let kinds = [TargetKind::Word, TargetKind::Host, TargetKind::Url, TargetKind::Identifier];
        Target { kind: kinds[kind % 4], value: value + 1, key, ..Target::default() }
    }

    /// What a session is to keep of a call, target after target.
    fn expected(values: &mut Vec<SessionValue>, targets: &[Target]) {
        let before = values.len();
        for target in targets.iter().filter(|target| target.kind.is_target()) {
            let is_known = values[..before].iter().any(|it| it.value() == target.value);
            let class = class(TOOL, target.key, target.kind);
            let is_it = |it: &SessionValue| it.names(target) && (is_known || it.class() == class);
            if !values.iter().any(is_it) {
                values.push(SessionValue::of(target, class, !is_known));
            }
        }
    }

    proptest! {
        #[test]
        fn a_session_keeps_the_same_whatever_was_looked_up(
            calls in prop::collection::vec(prop::collection::vec((0_usize..4, 0_u64..9, 0_u32..2), 0..14), 1..6),
        ) {
            let (mut session, mut values) = (LiveSession::new(1, Timestamp::default()), Vec::new());
            for call in calls {
                let targets: Vec<Target> = call.into_iter().map(target).collect();
                let named = session.named(TOOL, &targets);
                for it in targets.iter().enumerate().filter(|(_, it)| it.kind.is_target()) {
                    prop_assert_eq!(named.is_named(&session, it), session.has_named(it.1.value));
                    prop_assert!(!named.are_all() || session.has_named(it.1.value));
                }
                prop_assert_eq!(named.has_tool(), session.has_token(tool_token(TOOL)));
                session.add_named(Timestamp::default(), TOOL, (&targets, &named), &[]);
                if values.len() < 40 {
                    expected(&mut values, &targets);
                    prop_assert_eq!(&session.values[..], &values[..]);
                }
            }
        }
    }
}
