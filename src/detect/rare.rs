//! What few agents have, kept together, so that all others take one pointer for the whole of it.

use crate::baseline::versions::Versions;
use crate::detect::audit::AuditDay;
use crate::detect::grouping::Grouping;
use crate::detect::learning::Return;
use serde::{Deserialize, Serialize};

/// What an agent has that most have not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rare {
    held: Option<Box<Held>>,
}

/// At least one of them is there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Held {
    grouping: Option<Box<Grouping>>,
    versions: Option<Box<Versions>>,
    returned: Option<Box<Return>>,
    audits: Option<Box<AuditDay>>,
}

impl Rare {
    /// The group of an agent that is not simply in the one its id names.
    pub(crate) fn grouping(&self) -> Option<&Grouping> {
        self.held.as_ref()?.grouping.as_deref()
    }

    /// The same, to be changed.
    pub(crate) fn grouping_mut(&mut self) -> Option<&mut Grouping> {
        self.held.as_mut()?.grouping.as_deref_mut()
    }

    /// Puts another grouping in its place.
    pub(crate) fn set_grouping(&mut self, grouping: Grouping) -> &mut Grouping {
        self.held().grouping.insert(Box::new(grouping))
    }

    /// The versions of an agent whose records name one.
    pub(crate) fn versions(&self) -> Option<&Versions> {
        self.held.as_ref()?.versions.as_deref()
    }

    /// The same, to be changed.
    pub(crate) fn versions_mut(&mut self) -> Option<&mut Versions> {
        self.held.as_mut()?.versions.as_deref_mut()
    }

    /// The same, made when they are not there.
    pub(crate) fn versions_or_new(&mut self) -> &mut Versions {
        self.held().versions.get_or_insert_default()
    }

    /// When the agent last came back after a long silence.
    pub(crate) fn returned(&self) -> Option<&Return> {
        self.held.as_ref()?.returned.as_deref()
    }

    /// Notes that it came back.
    pub(crate) fn set_returned(&mut self, returned: Return) {
        self.held().returned = Some(Box::new(returned));
    }

    /// What was written of the agent today.
    pub(crate) fn audits(&self) -> Option<&AuditDay> {
        self.held.as_ref()?.audits.as_deref()
    }

    /// The same, to be changed.
    pub(crate) fn audits_mut(&mut self) -> Option<&mut AuditDay> {
        self.held.as_mut()?.audits.as_deref_mut()
    }

    /// The same, made when there is none.
    pub(crate) fn audits_or_new(&mut self) -> &mut AuditDay {
        self.held().audits.get_or_insert_default()
    }

    /// Forgets what was written today.
    pub(crate) fn forget_audits(&mut self) {
        let Some(held) = &mut self.held else { return };
        held.audits = None;
        if **held == Held::default() {
            self.held = None;
        }
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| {
            let of = |bytes: usize, more: usize| bytes + more;
            size_of::<Held>()
                + held.grouping.as_ref().map_or(0, |it| of(size_of::<Grouping>(), it.heap_bytes()))
                + held.versions.as_ref().map_or(0, |it| of(size_of::<Versions>(), it.heap_bytes()))
                + held.audits.as_ref().map_or(0, |it| of(size_of::<AuditDay>(), it.heap_bytes()))
                + held.returned.as_ref().map_or(0, |_| size_of::<Return>())
        })
    }

    fn held(&mut self) -> &mut Held {
        self.held.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_does_not_have_takes_eight_bytes_and_is_given_back() {
        let mut rare = Rare::default();
        assert_eq!((size_of::<Rare>(), rare.heap_bytes()), (8, 0));
        rare.audits_or_new();
        assert!(rare.audits().is_some() && rare.heap_bytes() > size_of::<Held>());
        rare.forget_audits();
        assert_eq!(rare, Rare::default());
        rare.versions_or_new();
        rare.audits_or_new();
        rare.forget_audits();
        assert!(rare.versions().is_some() && rare.audits().is_none());
    }
}
