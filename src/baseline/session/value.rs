//! A value that a session has named, in as few bytes as it takes.

use crate::baseline::identity::short;
use crate::baseline::session::{entity_of, place};
use crate::event::{Target, TargetKind};
use serde::{Deserialize, Serialize};

/// A value that a session has named: 21 bytes, since a session has many. Numbers are kept as bytes,
/// which leaves no gaps between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionValue {
    value: [u8; 8],
    /// The class it was seen in; its lowest bit says whether the value counts.
    class: [u8; 4],
    /// Its kind.
    pub kind: TargetKind,
    /// What else is known of a value of its kind: the key it stands under, of an identifier or a
    /// word; what nearly the same values share, of a path, a host or an e-mail address, and of the
    /// last its domain.
    more: [[u8; 4]; 2],
}

impl SessionValue {
    /// The hash of the value.
    #[must_use]
    pub const fn value(&self) -> u64 {
        u64::from_le_bytes(self.value)
    }

    /// The class it was seen in.
    #[must_use]
    pub const fn class(&self) -> u32 {
        u32::from_le_bytes(self.class) & !1
    }

    /// Whether it was new to the session there, so that its class had a chance to discover it.
    #[must_use]
    pub const fn counts(&self) -> bool {
        u32::from_le_bytes(self.class) & 1 != 0
    }

    /// What it names.
    #[must_use]
    pub fn entity(&self) -> u64 {
        entity_of(self.kind, self.place(), self.value())
    }

    /// What nearly the same values share; 0 where there is nothing.
    #[must_use]
    pub const fn near(&self) -> [u32; 2] {
        let [first, second] = self.more();
        match self.kind {
            TargetKind::Path => [first, second],
            TargetKind::Email | TargetKind::Host => [first, 0],
            _ => [0, 0],
        }
    }

    /// Of an e-mail address, 32 bits of its domain's hash; 0 otherwise, and of a mailbox provider.
    #[must_use]
    pub const fn domain(&self) -> u32 {
        let [_, second] = self.more();
        if matches!(self.kind, TargetKind::Email) { second } else { 0 }
    }

    /// A target in a class.
    #[must_use]
    pub fn of(target: &Target, class: u32, counts: bool) -> Self {
        let [first, second] = target.near;
        let more = match target.kind {
            TargetKind::Path => [first, second],
            TargetKind::Email if target.is_freemail => [first, 0],
            TargetKind::Email => [first, short(target.domain)],
            TargetKind::Host => [first, 0],
            _ => [place(target), 0],
        };
        Self {
            value: target.value.to_le_bytes(),
            class: (class & !1 | u32::from(counts)).to_le_bytes(),
            kind: target.kind,
            more: more.map(u32::to_le_bytes),
        }
    }

    const fn more(&self) -> [u32; 2] {
        let [first, second] = self.more;
        [u32::from_le_bytes(first), u32::from_le_bytes(second)]
    }

    const fn place(&self) -> u32 {
        let [first, _] = self.more();
        if matches!(self.kind, TargetKind::Identifier | TargetKind::Word) { first } else { 0 }
    }

    pub(super) fn names(&self, target: &Target) -> bool {
        self.value() == target.value && self.kind == target.kind && self.place() == place(target)
    }
}
