//! Where something of an agent had to make room: told with the verdict, so that it is counted.
//!
//! Not rings that are meant to turn, such as the last calls' ids or the last minute.

/// A table of one agent that is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    /// An adopted tool was forgotten for another one.
    Tools,
    /// First uses of today beyond those that are listed and told to peers.
    FirstUses,
    /// A session was told to the group before it was over.
    Sessions,
    /// A part of a session was told to the group, because of its many values.
    Values,
    /// The evidence of a session under way was forgotten.
    Fits,
    /// An episode was ended before it was over.
    Episodes,
    /// A record of what changed was left out.
    Audits,
}

impl Bound {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::Tools,
        Self::FirstUses,
        Self::Sessions,
        Self::Values,
        Self::Fits,
        Self::Episodes,
        Self::Audits,
    ];

    /// The word used in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::FirstUses => "first_uses",
            Self::Sessions => "sessions",
            Self::Values => "session_values",
            Self::Fits => "session_evidence",
            Self::Episodes => "episodes",
            Self::Audits => "audit_records",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Tools => 1,
            Self::FirstUses => 2,
            Self::Sessions => 4,
            Self::Values => 8,
            Self::Fits => 16,
            Self::Episodes => 32,
            Self::Audits => 64,
        }
    }
}

/// The bounds that one call met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds(u8);

impl Bounds {
    /// Whether it met none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those it met.
    pub fn iter(self) -> impl Iterator<Item = Bound> {
        Bound::ALL.into_iter().filter(move |bound| self.0 & bound.bit() != 0)
    }

    pub(crate) const fn note(&mut self, bound: Bound) {
        self.0 |= bound.bit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bound_is_told_apart() {
        let mut bounds = Bounds::default();
        assert!(bounds.is_empty());
        for (n, bound) in Bound::ALL.into_iter().enumerate() {
            bounds.note(bound);
            bounds.note(bound);
            assert_eq!(bounds.iter().count(), n + 1);
        }
        assert_eq!(bounds.iter().collect::<Vec<_>>(), Bound::ALL);
    }
}
