//! What the names of keys give, remembered: the arguments of one tool have the same names in every
//! call. A name that is not remembered costs what it would cost without this, so nobody gains by
//! making up many.

use std::fmt;

use crate::decode::digest::hash_of_key;
use crate::decode::targets::role::Role;

/// Names that are remembered; of those that fall on one place, the last.
const NAMES: usize = 64;

/// The longest name that is remembered, in bytes.
const BYTES_MAX: usize = 23;

/// A key that was seen below other keys.
#[derive(Clone, Copy, Default)]
struct Name {
    /// The hash of the keys that lead to it.
    above: u64,
    bytes: [u8; BYTES_MAX],
    /// 0 for none.
    length: u8,
    keys: u64,
    role: Role,
}

/// Names that were seen; they are remembered to be known again, and never shown.
#[derive(Default)]
pub(super) struct Names(Option<Box<[Name; NAMES]>>);

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

impl Names {
    /// None so far. The default remembers none ever.
    pub(super) fn new() -> Self {
        Self(Some(Box::new([Name::default(); NAMES])))
    }

    /// The hash of `key` with the keys `above` it, and the role that it gives.
    #[inline]
    pub(super) fn of(&mut self, above: u64, key: &str) -> (u64, Role) {
        let bytes = key.as_bytes();
        let is_short = !bytes.is_empty() && bytes.len() <= BYTES_MAX;
        let Some(names) = self.0.as_mut().filter(|_| is_short) else { return given(above, key) };
        let Some(name) = names.get_mut(place(above, bytes) % NAMES) else {
            return given(above, key);
        };
        let is_it =
            name.above == above && name.bytes.get(..usize::from(name.length)) == Some(bytes);
        if !is_it {
            let (keys, role) = given(above, key);
            *name = Name { above, keys, role, ..Name::default() };
            if let (Some(place), Ok(length)) =
                (name.bytes.get_mut(..bytes.len()), u8::try_from(bytes.len()))
            {
                place.copy_from_slice(bytes);
                name.length = length;
            }
        }
        (name.keys, name.role)
    }
}

fn given(above: u64, key: &str) -> (u64, Role) {
    (hash_of_key(above, key), Role::of(key))
}

/// Where a name is looked for: by its ends and its length, as most names differ there.
fn place(above: u64, bytes: &[u8]) -> usize {
    let [low, ..] = above.to_le_bytes();
    let end = |byte: Option<&u8>| byte.map_or(0, |byte| usize::from(*byte));
    let ends = end(bytes.first()) * 7 + end(bytes.last()) * 31;
    usize::from(low) + ends + bytes.len() * 5 + end(bytes.get(bytes.len() / 2))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_remembered_is_what_the_name_gives(
            names in prop::collection::vec((0_u64..3, "[a-c_]{0,3}|(api_)?key|path|.{20,26}"), 0..200),
        ) {
            let (mut remembered, mut never) = (Names::new(), Names::default());
            for (above, name) in &names {
                prop_assert_eq!(remembered.of(*above, name), given(*above, name));
                prop_assert_eq!(never.of(*above, name), given(*above, name));
            }
        }
    }
}
