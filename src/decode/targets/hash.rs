//! Keyed hashes: how a value is known without being kept.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::event::sip13;

/// The shortest text that tells anything, in bytes of its letters and digits.
pub(super) const STEM_BYTES_MIN: usize = 4;

/// The longest text that counts as one name, likewise.
pub(super) const STEM_BYTES_MAX: usize = 64;

/// The key of every hash of a value.
///
/// Whoever knows it can find out values that are easily guessed (a telephone number, an account) by
/// trying them. Instances that share a consumer group must share it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey(u64, u64);

impl HashKey {
    /// The key of whoever has none of their own. It is in the source, so it keeps nothing secret.
    pub const BUILT_IN: Self = Self(0x746f_6f6c_7761_7264, 0x656e_2074_6172_6765);

    /// The key made of a secret: the first half of its SHA-256.
    #[must_use]
    pub fn of_secret(secret: &str) -> Self {
        let digest = Sha256::digest(secret.as_bytes());
        let word = |start: usize| {
            let bytes = digest.iter().skip(start).take(8);
            bytes.fold(0, |word, byte| word << 8 | u64::from(*byte))
        };
        Self(word(0), word(8))
    }

    /// Eight characters that differ when keys do and tell nothing else about them.
    #[must_use]
    pub fn fingerprint(self) -> String {
        format!("{:08x}", self.salted(Salt::Fingerprint, ""))
    }

    /// The hash of a value in its normal form, the same for every kind; never 0.
    pub(super) fn value(self, normal: impl AsRef<[u8]>) -> u64 {
        self.hash(Salt::Value, normal.as_ref()).max(1)
    }

    /// A short hash of one of several sorts, which never meet; never 0.
    pub(super) fn salted(self, salt: Salt, text: impl AsRef<[u8]>) -> u32 {
        u32::try_from(self.hash(salt, text.as_ref()) >> 32).unwrap_or_default().max(1)
    }

    /// The hash of a name in its letters and digits, lower case; 0 where it is too short to tell
    /// anything or too long to be a name.
    pub(super) fn stem(self, letters: impl AsRef<[u8]>) -> u32 {
        let letters = letters.as_ref();
        let is_name = (STEM_BYTES_MIN..=STEM_BYTES_MAX).contains(&letters.len());
        if is_name { self.salted(Salt::Stem, letters) } else { 0 }
    }

    #[expect(clippy::as_conversions, reason = "the discriminant of a fieldless enum")]
    fn hash(self, salt: Salt, text: &[u8]) -> u64 {
        sip13((self.0 ^ salt as u64, self.1), text)
    }
}

impl Default for HashKey {
    fn default() -> Self {
        Self::BUILT_IN
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(***)")
    }
}

/// What is hashed, so that equal texts of different sorts differ.
#[derive(Clone, Copy, Debug)]
pub(super) enum Salt {
    Value,
    Stem,
    HostLetters,
    Mailbox,
    FileName,
    Directory,
    Fingerprint,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_depend_on_the_key_and_on_what_is_hashed() {
        let (one, other) = (HashKey::of_secret("a secret"), HashKey::of_secret("another secret"));
        assert_eq!(one.value("evil.example"), HashKey::of_secret("a secret").value("evil.example"));
        assert_ne!(one.value("evil.example"), other.value("evil.example"));
        assert_ne!(one.fingerprint(), other.fingerprint());
        assert_ne!(one.salted(Salt::Mailbox, "alice"), one.salted(Salt::FileName, "alice"));
        assert_eq!(format!("{one:?}"), "HashKey(***)");
    }

    #[test]
    fn what_is_too_short_or_too_long_for_a_name_has_no_stem() {
        let key = HashKey::BUILT_IN;
        assert_eq!((key.stem("abc"), key.stem("a".repeat(65))), (0, 0));
        assert_ne!(key.stem("abcd"), 0);
        assert_ne!(key.stem("a".repeat(64)), 0);
    }
}
