//! A list that is empty for most agents: eight bytes then, where a vector takes 24.

use serde::{Deserialize, Serialize};
use std::ops::{Deref, DerefMut};

/// A list that takes memory of its own only while it holds something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Few<T>(Option<Box<Held<T>>>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Held<T> {
    list: Vec<T>,
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.0.as_ref().map_or(&[], |held| held.list.as_slice())
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.0.as_mut().map_or(&mut [], |held| held.list.as_mut_slice())
    }
}

impl<T> Few<T> {
    /// Adds one at the end.
    pub fn push(&mut self, new: T) {
        let held = self.0.get_or_insert_with(|| Box::new(Held { list: Vec::new() }));
        held.list.reserve_exact(1);
        held.list.push(new);
    }

    /// Takes the one at `place` out, if there is one; the others keep their order.
    pub fn remove(&mut self, place: usize) -> Option<T> {
        let list = &mut self.0.as_mut()?.list;
        let removed = (place < list.len()).then(|| list.remove(place));
        self.tidy();
        removed
    }

    /// Keeps those that `is_kept` says.
    pub fn retain_mut(&mut self, is_kept: impl FnMut(&mut T) -> bool) {
        if let Some(held) = &mut self.0 {
            held.list.retain_mut(is_kept);
            self.tidy();
        }
    }

    /// Bytes on the heap, without what its items hold there.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let of = |held: &Held<T>| size_of::<Held<T>>() + held.list.capacity() * size_of::<T>();
        self.0.as_ref().map_or(0, |held| of(held))
    }

    fn tidy(&mut self) {
        if self.is_empty() {
            self.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_takes_eight_bytes_and_a_list_gives_them_back() {
        let mut few = Few::default();
        assert_eq!((size_of::<Few<u64>>(), few.heap_bytes()), (8, 0));
        (1..=3_u64).for_each(|n| few.push(n));
        assert_eq!(few[..], [1, 2, 3]);
        assert_eq!((few.remove(1), few.remove(9)), (Some(2), None));
        few.retain_mut(|n| *n > 1);
        assert_eq!(few[..], [3]);
        assert_eq!(few.heap_bytes(), 24 + 3 * 8);
        few.iter_mut().for_each(|n| *n += 1);
        assert_eq!(few.remove(0), Some(4));
        assert_eq!(few, Few::default());
    }
}
