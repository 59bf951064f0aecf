//! Why bytes are no state.

use crate::state::codec::{FORMAT, Kind};

/// Why bytes are no state, or no longer, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// They are something else.
    #[error("these bytes are no state of toolwarden; name a file that `baseline export` wrote")]
    Foreign,
    /// A newer version wrote them.
    #[error(
        "written by a newer toolwarden (format {found}; this one reads {FORMAT}); use that version, \
         or export again with this one"
    )]
    Newer {
        /// The format found.
        found: u16,
    },
    /// An older version wrote them.
    #[error(
        "written by an older toolwarden (format {found}; this one reads {FORMAT}); export again \
         with this version"
    )]
    Older {
        /// The format found.
        found: u16,
    },
    /// They end too early.
    #[error("the bytes end too early: the copy was cut short; export or copy again")]
    Truncated,
    /// They have changed.
    #[error("{} is damaged: its checksum does not fit; export or copy again", .0.as_str())]
    Damaged(Kind),
    /// They hold something else than was asked for.
    #[error("found {} where {} belongs; export again", found.as_str(), wanted.as_str())]
    Misplaced {
        /// What was found.
        found: Kind,
        /// What belongs there.
        wanted: Kind,
    },
    /// It is larger than it may be.
    #[error("{} takes {bytes} bytes, more than it may; it is not taken", kind.as_str())]
    TooLarge {
        /// What it is.
        kind: Kind,
        /// Its size.
        bytes: usize,
    },
    /// The content is not what it says.
    #[error("{} cannot be taken: {words}", kind.as_str())]
    Unfit {
        /// What it is.
        kind: Kind,
        /// What is wrong.
        words: String,
    },
    /// Nobody vouches for them, and somebody must.
    #[error(
        "it carries no code of `state.mac_key_file`, so anybody may have written it; where a topic is \
         signed for the first time, set `state.accept_unsigned`"
    )]
    Unsigned,
    /// Whoever vouches for them does not hold a key that is known, or they have changed since.
    #[error(
        "its code is of none of the keys in `state.mac_key_file`: it was forged, or its key is no \
         longer named there"
    )]
    Forged,
    /// They could not be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
