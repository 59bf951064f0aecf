//! Who wrote a record of the state topic, or of the groups topic: a code over its place and its
//! bytes, under a key that only the instances hold.
//!
//! A checksum finds accidents. Whoever may write to the state topic could plant a baseline that knows
//! no alarm, or delete one, and on the groups topic teach what peers are said to do; what carries no
//! code of a known key is therefore refused. The code covers the kind of topic,
//! the partition, the record's key (which names the source topic and the agent) and its value or that
//! there is none, so that no record can be put in another one's place. What an instance wrote itself
//! can be written again by others: of several records of one agent the one that reflects most counts.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What a code is about, so that it can never be taken for one of something else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum About {
    #[default]
    State,
    Groups,
}

impl About {
    const fn context(self) -> &'static [u8] {
        match self {
            Self::State => b"toolwarden state 1\0",
            Self::Groups => b"toolwarden groups 1\0",
        }
    }
}

/// Bytes of a code: half of what SHA-256 gives, which nobody guesses either (NIST SP 800-107).
const CODE_BYTES: usize = 16;

/// What the code of a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It is of the key that signs, or no key is known and none is asked for.
    Current,
    /// It may be used, and should be written anew: its code is of an older key, or it has none and
    /// such are still taken.
    Stale,
    /// It has none.
    Missing,
    /// It is of no key that is known.
    Wrong,
}

impl Checked {
    /// Whether the record may be used.
    #[must_use]
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Current | Self::Stale)
    }
}

/// The keys that records are signed with: the first signs, all of them are taken. Without any,
/// nothing is signed and everything taken.
#[derive(Clone, Default)]
pub struct MacKeys {
    keys: Arc<[Hmac<Sha256>]>,
    about: About,
    /// Whether records without a code are taken, too.
    takes_unsigned: bool,
}

impl std::fmt::Debug for MacKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { keys, takes_unsigned, about: _ } = self;
        let keys = keys.len();
        f.debug_struct("MacKeys").field("keys", &keys).field("unsigned", takes_unsigned).finish()
    }
}

impl MacKeys {
    /// These keys, of any length; `takes_unsigned` while a topic is signed for the first time.
    #[must_use]
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a str>, takes_unsigned: bool) -> Self {
        // A key of any length is taken: this drops none.
        let keyed = keys.into_iter().filter_map(|key| Hmac::new_from_slice(key.as_bytes()).ok());
        Self { keys: keyed.collect(), about: About::State, takes_unsigned }
    }

    /// The same keys for records of the groups topic.
    #[must_use]
    pub fn for_groups(&self) -> Self {
        Self { about: About::Groups, ..self.clone() }
    }

    /// The code of a record in `partition`, as text; `None` without a key.
    #[must_use]
    pub fn code(&self, partition: i32, key: &[u8], value: Option<&[u8]>) -> Option<String> {
        let mac = self.over(self.keys.first()?, partition, (key, value)).finalize().into_bytes();
        Some(mac.iter().take(CODE_BYTES).map(|byte| format!("{byte:02x}")).collect())
    }

    /// What the code of a record in `partition` says.
    #[must_use]
    pub fn check(
        &self,
        partition: i32,
        (key, value): (&[u8], Option<&[u8]>),
        code: Option<&str>,
    ) -> Checked {
        if self.keys.is_empty() {
            return Checked::Current;
        }
        let Some(code) = code else {
            return if self.takes_unsigned { Checked::Stale } else { Checked::Missing };
        };
        let Some(code) = bytes_of(code) else { return Checked::Wrong };
        // Compared in constant time.
        let is_of = |keyed: &Hmac<Sha256>| {
            self.over(keyed, partition, (key, value)).verify_truncated_left(&code).is_ok()
        };
        match self.keys.iter().position(is_of) {
            Some(0) => Checked::Current,
            Some(_) => Checked::Stale,
            None => Checked::Wrong,
        }
    }

    fn over(
        &self,
        keyed: &Hmac<Sha256>,
        partition: i32,
        (key, value): (&[u8], Option<&[u8]>),
    ) -> Hmac<Sha256> {
        let mut mac = keyed.clone();
        mac.update(self.about.context());
        mac.update(&partition.to_le_bytes());
        mac.update(&u64::try_from(key.len()).unwrap_or(u64::MAX).to_le_bytes());
        mac.update(key);
        mac.update(&[u8::from(value.is_some())]);
        mac.update(value.unwrap_or_default());
        mac
    }
}

/// The bytes that a code was written as; `None` when it is no code.
fn bytes_of(code: &str) -> Option<[u8; CODE_BYTES]> {
    if code.len() != 2 * CODE_BYTES || !code.bytes().all(|it| it.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(code, 16).ok().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Record = (&'static [u8], Option<&'static [u8]>);

    const RECORD: Record = (b"agent/calls/01", Some(b"known"));

    fn keys(keys: &[&str], takes_unsigned: bool) -> MacKeys {
        MacKeys::new(keys.iter().copied(), takes_unsigned)
    }

    #[test]
    fn a_code_holds_for_its_record_in_its_place_only() {
        let keys = keys(&["first"], false);
        let code = keys.code(3, RECORD.0, RECORD.1);
        assert_eq!(code.as_deref().map(str::len), Some(32));
        let check = |partition, record| keys.check(partition, record, code.as_deref());
        assert_eq!(check(3, RECORD), Checked::Current);
        let others: [(i32, Record); 5] = [
            (4, RECORD),
            (3, (b"agent/calls/02", RECORD.1)),
            (3, (RECORD.0, Some(b"Known"))),
            (3, (RECORD.0, None)),
            (3, (b"agent/calls/01known", Some(b""))),
        ];
        for (partition, record) in others {
            assert_eq!(check(partition, record), Checked::Wrong, "{record:?}");
        }
    }

    #[test]
    fn a_code_of_one_topic_is_none_in_another() {
        let keys = keys(&["first"], false);
        let code = keys.for_groups().code(0, RECORD.0, RECORD.1);
        assert_eq!(keys.check(0, RECORD, code.as_deref()), Checked::Wrong);
        assert_eq!(keys.for_groups().check(0, RECORD, code.as_deref()), Checked::Current);
    }

    #[test]
    fn a_deletion_is_signed_too_and_is_not_an_empty_value() {
        let keys = keys(&["first"], false);
        let code = keys.code(0, RECORD.0, None);
        assert_eq!(keys.check(0, (RECORD.0, None), code.as_deref()), Checked::Current);
        assert_eq!(keys.check(0, (RECORD.0, Some(b"")), code.as_deref()), Checked::Wrong);
    }

    #[test]
    fn the_first_key_signs_and_all_are_taken() {
        let (old, both, new) =
            (keys(&["old"], false), keys(&["new", "old"], false), keys(&["new"], false));
        let by_old = old.code(0, RECORD.0, RECORD.1);
        let by_both = both.code(0, RECORD.0, RECORD.1);
        assert_eq!(by_both, new.code(0, RECORD.0, RECORD.1));
        assert_eq!(both.check(0, RECORD, by_old.as_deref()), Checked::Stale);
        assert_eq!(both.check(0, RECORD, by_both.as_deref()), Checked::Current);
        assert_eq!(new.check(0, RECORD, by_old.as_deref()), Checked::Wrong);
    }

    #[test]
    fn without_a_code_or_with_nonsense_a_record_is_not_good_unless_such_are_taken() {
        let strict = keys(&["first"], false);
        assert_eq!(strict.check(0, RECORD, None), Checked::Missing);
        for nonsense in ["", "zz", "+0000000000000000000000000000001", "00"] {
            assert_eq!(strict.check(0, RECORD, Some(nonsense)), Checked::Wrong, "{nonsense}");
        }
        let lenient = keys(&["first"], true);
        assert_eq!(lenient.check(0, RECORD, None), Checked::Stale);
        assert_eq!(lenient.check(0, RECORD, Some("00")), Checked::Wrong);
        let none = MacKeys::default();
        assert_eq!(none.check(0, RECORD, None), Checked::Current);
        assert_eq!(none.code(0, RECORD.0, RECORD.1), None);
    }

    #[test]
    fn a_key_is_never_shown() {
        assert_eq!(
            format!("{:?}", keys(&["hidden"], false)),
            "MacKeys { keys: 1, unsigned: false }"
        );
    }
}
