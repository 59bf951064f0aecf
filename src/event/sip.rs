//! SipHash-1-3 of one short text at once, as all hashes of names and values are made.
//!
//! The same function as `siphasher::sip::SipHasher13`, whose state is made for text that comes in
//! pieces: for the few bytes of a word or a key, keeping that state costs more than the hash.

/// The hash of `bytes` under the key `(first, second)`.
#[inline]
#[must_use]
pub fn sip13((first, second): (u64, u64), bytes: &[u8]) -> u64 {
    let mut state = State {
        a: first ^ 0x736f_6d65_7073_6575,
        b: second ^ 0x646f_7261_6e64_6f6d,
        c: first ^ 0x6c79_6765_6e65_7261,
        d: second ^ 0x7465_6462_7974_6573,
    };
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state.take(u64::from_le_bytes(*word));
    }
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    state.take(length << 56 | last_word(rest));
    state.c ^= 0xff;
    state.round();
    state.round();
    state.round();
    state.a ^ state.b ^ state.c ^ state.d
}

/// At most seven bytes as a number, the first one lowest.
#[inline]
fn last_word(bytes: &[u8]) -> u64 {
    if let (Some(head), Some(tail)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        // Where both overlap they say the same.
        let shift = 8 * (bytes.len() - 4);
        u64::from(u32::from_le_bytes(*head)) | u64::from(u32::from_le_bytes(*tail)) << shift
    } else {
        bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
    }
}

/// The state between two words.
#[derive(Clone, Copy)]
struct State {
    a: u64,
    b: u64,
    c: u64,
    d: u64,
}

impl State {
    #[inline]
    const fn take(&mut self, word: u64) {
        self.d ^= word;
        self.round();
        self.a ^= word;
    }

    #[inline]
    const fn round(&mut self) {
        self.a = self.a.wrapping_add(self.b);
        self.c = self.c.wrapping_add(self.d);
        self.b = self.b.rotate_left(13) ^ self.a;
        self.d = self.d.rotate_left(16) ^ self.c;
        self.a = self.a.rotate_left(32);
        self.c = self.c.wrapping_add(self.b);
        self.a = self.a.wrapping_add(self.d);
        self.b = self.b.rotate_left(17) ^ self.c;
        self.d = self.d.rotate_left(21) ^ self.a;
        self.c = self.c.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use siphasher::sip::SipHasher13;

    use super::sip13;

    proptest! {
        #[test]
        fn it_is_the_siphash_that_everybody_has(
            bytes in prop::collection::vec(any::<u8>(), 0..70),
            key in any::<(u64, u64)>(),
        ) {
            let expected = SipHasher13::new_with_keys(key.0, key.1).hash(&bytes);
            prop_assert_eq!(sip13(key, &bytes), expected);
        }
    }
}
