//! Lists for what there is a million of: [`Exact`] takes 16 bytes where a vector takes 24 and has room to
//! spare, [`Few`] takes eight as long as it is empty.

use serde::{Deserialize, Serialize};
use std::ops::{Deref, DerefMut};

/// A list with room for what it holds and for nothing more. Every change of its length moves it, so it
/// is for short lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Exact<T>(Box<[T]>);

impl<T> Default for Exact<T> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<T> From<Vec<T>> for Exact<T> {
    fn from(list: Vec<T>) -> Self {
        Self(list.into())
    }
}

impl<T> Deref for Exact<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for Exact<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T> Exact<T> {
    /// A list of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one at the end.
    pub fn push(&mut self, new: T) {
        self.change(|list| {
            list.reserve_exact(1);
            list.push(new);
        });
    }

    /// Adds some at the end.
    pub fn extend(&mut self, new: &[T])
    where
        T: Copy,
    {
        // A list of its own takes fewer steps than to make one that is there larger.
        if !new.is_empty() {
            self.0 = [&*self.0, new].concat().into_boxed_slice();
        }
    }

    /// Puts one in at `place`, or at the end when there are fewer.
    pub fn insert(&mut self, place: usize, new: T) {
        self.change(|list| {
            list.reserve_exact(1);
            list.insert(place.min(list.len()), new);
        });
    }

    /// Puts some in at `place`, or at the end when there are fewer.
    pub fn insert_all<const N: usize>(&mut self, place: usize, new: [T; N]) {
        self.change(|list| {
            let place = place.min(list.len());
            list.reserve_exact(N);
            list.splice(place..place, new);
        });
    }

    /// Takes the one at `place` out, if there is one; the others keep their order.
    pub fn remove(&mut self, place: usize) -> Option<T> {
        (place < self.len()).then(|| self.change(|list| list.remove(place)))
    }

    /// The same, with the last one put in its place.
    pub fn swap_remove(&mut self, place: usize) -> Option<T> {
        (place < self.len()).then(|| self.change(|list| list.swap_remove(place)))
    }

    /// Keeps those that `is_kept` says.
    pub fn retain_mut(&mut self, is_kept: impl FnMut(&mut T) -> bool) {
        self.change(|list| list.retain_mut(is_kept));
    }

    /// Takes those out that `is_over` says, in their order.
    pub fn take_out(&mut self, is_over: impl FnMut(&mut T) -> bool) -> Vec<T> {
        self.change(|list| list.extract_if(.., is_over).collect())
    }

    /// Bytes on the heap, without what its items hold there.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        size_of_val::<[T]>(self)
    }

    fn change<R>(&mut self, how: impl FnOnce(&mut Vec<T>) -> R) -> R {
        let mut list = std::mem::take(&mut self.0).into_vec();
        let answer = how(&mut list);
        self.0 = list.into_boxed_slice();
        answer
    }
}

/// A list that takes memory of its own only while it holds something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Few<T>(Option<Box<Held<T>>>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Held<T> {
    list: Exact<T>,
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.0.as_ref().map_or(&[], |held| &*held.list)
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.0.as_mut().map_or(&mut [], |held| &mut *held.list)
    }
}

impl<T> Few<T> {
    /// Adds one at the end.
    pub fn push(&mut self, new: T) {
        let held = self.0.get_or_insert_with(|| Box::new(Held { list: Exact::new() }));
        held.list.push(new);
    }

    /// Takes the one at `place` out, if there is one; the others keep their order.
    pub fn remove(&mut self, place: usize) -> Option<T> {
        let removed = self.0.as_mut()?.list.remove(place);
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
        let of = |held: &Held<T>| size_of::<Held<T>>() + held.list.heap_bytes();
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
    fn a_list_takes_what_it_holds_and_no_more() {
        let mut list = Exact::new();
        (1..=5_u64).for_each(|n| list.push(n));
        assert_eq!((size_of::<Exact<u64>>(), list.heap_bytes()), (16, 5 * 8));
        assert_eq!((list.swap_remove(0), list.swap_remove(9)), (Some(1), None));
        assert_eq!(list[..], [5, 2, 3, 4]);
        assert_eq!((list.remove(0), list.remove(9)), (Some(5), None));
        list.insert(1, 8);
        list.insert_all(9, [6]);
        list.insert_all(1, []);
        list.extend(&[]);
        list.extend(&[7, 7]);
        assert_eq!((list.heap_bytes(), list.remove(6), list.remove(5)), (7 * 8, Some(7), Some(7)));
        assert_eq!(list[..], [2, 8, 3, 4, 6]);
        assert_eq!(list.take_out(|n| *n % 2 == 0), [2, 8, 4, 6]);
        assert_eq!((list[..].len(), list.heap_bytes()), (1, 8));
        list.retain_mut(|n| *n > 3);
        assert_eq!(list, Exact::default());
    }

    #[test]
    fn an_empty_list_takes_eight_bytes_and_a_list_gives_them_back() {
        let mut few = Few::default();
        assert_eq!((size_of::<Few<u64>>(), few.heap_bytes()), (8, 0));
        (1..=3_u64).for_each(|n| few.push(n));
        assert_eq!(few[..], [1, 2, 3]);
        assert_eq!((few.remove(1), few.remove(9)), (Some(2), None));
        few.retain_mut(|n| *n > 1);
        assert_eq!(few[..], [3]);
        assert_eq!(few.heap_bytes(), 16 + 8);
        few.iter_mut().for_each(|n| *n += 1);
        assert_eq!(few.remove(0), Some(4));
        assert_eq!(few, Few::default());
    }
}
