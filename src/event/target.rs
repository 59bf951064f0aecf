//! What a call reaches for: the recipients, hosts, accounts, files and names in its arguments.
//!
//! A value is known by a keyed hash and, for people, a short form that the operator may switch off;
//! its text is never kept.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The most targets kept of one call; of more, the first ones of the record stay.
pub const TARGETS_MAX: usize = 24;

/// The most words kept of one call.
pub const WORDS_MAX: usize = 64;

/// What kind of thing a value is, told by its shape or, where the shape does not tell, by the name
/// of its key.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum TargetKind {
    /// An e-mail address.
    Email,
    /// A host: of a URL, or bare.
    Host,
    /// A bank account, card or other long number that money or goods go to.
    Account,
    /// A telephone number.
    Phone,
    /// A file or directory.
    Path,
    /// A source repository: `owner/name`.
    Repository,
    /// A table of a database: `schema.table`.
    Table,
    /// A password, token or key, told by the name of its key. Never has a short form.
    Secret,
    /// A short token with a digit in it: an order, a ticket, a customer.
    Identifier,
    /// A few words.
    #[default]
    Word,
    /// Host and path of a URL: tells sessions apart, is no target of its own.
    Url,
    /// The directory a path lies in: likewise.
    Directory,
    /// The first parts of a path: likewise.
    Root,
    /// The program and first word of a command line, `git commit`: likewise.
    Command,
}

impl TargetKind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::Email,
        Self::Host,
        Self::Account,
        Self::Phone,
        Self::Path,
        Self::Repository,
        Self::Table,
        Self::Secret,
        Self::Identifier,
        Self::Word,
        Self::Url,
        Self::Directory,
        Self::Root,
        Self::Command,
    ];

    /// The word used in alerts and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Host => "host",
            Self::Account => "account",
            Self::Phone => "phone",
            Self::Path => "path",
            Self::Repository => "repository",
            Self::Table => "table",
            Self::Secret => "secret",
            Self::Identifier => "identifier",
            Self::Word => "word",
            Self::Url => "url",
            Self::Directory => "directory",
            Self::Root => "root",
            Self::Command => "command",
        }
    }

    /// Whether it is something a call can be aimed at, rather than only a sign of what a session is
    /// about.
    #[must_use]
    pub const fn is_target(self) -> bool {
        !matches!(self, Self::Url | Self::Directory | Self::Root | Self::Command)
    }
}

/// One value of a call's arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// What it is.
    pub kind: TargetKind,
    /// Where it stands: a hash of the keys that lead to it, places in lists left out.
    pub key: u32,
    /// A keyed hash of the value in its normal form, the same for every kind; never 0.
    pub value: u64,
    /// The hash, made like `value`, of an e-mail address's domain; 0 for other kinds.
    pub domain: u64,
    /// Whether anybody can have a mailbox at that domain.
    pub is_freemail: bool,
    /// The value is a whole argument; otherwise it stands in a longer text.
    pub is_whole: bool,
    /// The name is one that RFC 2606 or RFC 6761 keep for examples and tests.
    pub is_reserved: bool,
    /// Coarse hashes that nearly the same values share (the letters of a host, the name of a
    /// mailbox, the name or the directory of a file); 0 where there is none.
    pub near: [u32; 2],
    /// The hash, made like those of [`crate::event::ToolCall::words`], of the value's telling part;
    /// 0 when that is too short to tell anything.
    pub stem: u32,
    /// The short form.
    pub shown: Shown,
}

/// A short form of a value for people, at most 23 bytes; empty when it is switched off or the value
/// is a secret. Hostile text like any other.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Shown {
    bytes: [u8; Self::BYTES_MAX],
    length: u8,
}

impl Shown {
    /// The longest short form, in bytes.
    pub const BYTES_MAX: usize = 23;

    /// `text`, cut at a character's border with `…` when it is too long.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut shown = Self::default();
        if text.len() <= Self::BYTES_MAX {
            shown.push(text);
        } else {
            let ellipsis = "…";
            let mut end = Self::BYTES_MAX - ellipsis.len();
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            shown.push(text.get(..end).unwrap_or_default());
            shown.push(ellipsis);
        }
        shown
    }

    /// The end of `text`, cut at a character's border with `…` before it when it is too long.
    #[must_use]
    pub fn of_end(text: &str) -> Self {
        let ellipsis = "…";
        if text.len() <= Self::BYTES_MAX {
            return Self::new(text);
        }
        let mut start = text.len() - Self::BYTES_MAX + ellipsis.len();
        while !text.is_char_boundary(start) {
            start += 1;
        }
        let mut shown = Self::default();
        shown.push(ellipsis);
        shown.push(text.get(start..).unwrap_or_default());
        shown
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }

    fn push(&mut self, text: &str) {
        let start = usize::from(self.length);
        if let Some(place) = self.bytes.get_mut(start..start + text.len()) {
            place.copy_from_slice(text.as_bytes());
            self.length = u8::try_from(start + text.len()).unwrap_or(self.length);
        }
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_cut_at_a_character() {
        assert_eq!(Shown::new("short").as_str(), "short");
        assert_eq!(Shown::new(&"a".repeat(23)).as_str().len(), 23);
        assert_eq!(Shown::new(&"a".repeat(24)).as_str(), format!("{}…", "a".repeat(20)));
        assert_eq!(Shown::new(&"ä".repeat(20)).as_str(), format!("{}…", "ä".repeat(10)));
        assert_eq!(Shown::of_end("short").as_str(), "short");
        assert_eq!(Shown::of_end(&"a".repeat(24)).as_str(), format!("…{}", "a".repeat(20)));
        assert_eq!(Shown::of_end(&"ä".repeat(20)).as_str(), format!("…{}", "ä".repeat(10)));
    }

    #[test]
    fn every_kind_has_its_own_word() {
        let words: std::collections::BTreeSet<_> =
            TargetKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(words.len(), TargetKind::ALL.len());
    }
}
