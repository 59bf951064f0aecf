//! How often a class of values turns out to be new: decayed counts, the last 150 values or so.

use crate::event::TargetKind;
use serde::{Deserialize, Serialize};

/// What is left of a count after one more value: half after 150 of them.
const FADE: f32 = 0.995_389_7;

/// Values of its kind's rate that a class begins with.
const KIND_VALUES: f64 = 3.0;

/// Classes remembered. A class with the fewest values makes room.
const CLASSES_MAX: usize = 320;

/// Values seen, and those of them that were new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Rate {
    new: f32,
    seen: f32,
}

impl Rate {
    fn add(&mut self, is_new: bool) {
        self.new = self.new * FADE + f32::from(u8::from(is_new));
        self.seen = self.seen * FADE + 1.0;
    }
}

/// Rates of classes and kinds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Rates {
    kinds: [Rate; TargetKind::ALL.len()],
    classes: Vec<(u32, Rate)>,
    /// Classes had to make room for others.
    is_full: bool,
}

fn place(kind: TargetKind) -> usize {
    TargetKind::ALL.iter().position(|it| *it == kind).unwrap_or(0)
}

impl Rates {
    /// One value of a class.
    pub(super) fn add(&mut self, class: u32, kind: TargetKind, is_new: bool) {
        if let Some(rate) = self.kinds.get_mut(place(kind)) {
            rate.add(is_new);
        }
        let at = match self.classes.binary_search_by_key(&class, |(known, _)| *known) {
            Ok(at) => at,
            Err(_) => {
                if self.classes.len() >= CLASSES_MAX {
                    self.make_room();
                }
                let at = self.classes.partition_point(|(known, _)| *known < class);
                self.classes.insert(at, (class, Rate::default()));
                at
            }
        };
        if let Some((_, rate)) = self.classes.get_mut(at) {
            rate.add(is_new);
        }
    }

    /// The chance, above 0 and below 1, that the next value of a class is new to the group.
    pub(super) fn rate(&self, class: u32, kind: TargetKind) -> f64 {
        let of_kind = self.kinds.get(place(kind)).filter(|rate| rate.seen > 0.0);
        let (new, seen) =
            of_kind.map_or((1.0, 2.0), |rate| (f64::from(rate.new), f64::from(rate.seen)));
        let prior = (new + 0.5) / (seen + 1.0);
        let known = self.classes.binary_search_by_key(&class, |(known, _)| *known).ok();
        let rate = known.and_then(|at| self.classes.get(at)).map(|(_, rate)| *rate);
        let rate = rate.unwrap_or_default();
        (f64::from(rate.new) + KIND_VALUES * prior) / (f64::from(rate.seen) + KIND_VALUES)
    }

    /// Whether classes had to make room.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    pub(super) const fn heap_bytes(&self) -> usize {
        self.classes.capacity() * size_of::<(u32, Rate)>()
    }

    /// Gives back what the vector holds beyond its classes.
    pub(super) fn shrink(&mut self) {
        self.classes.shrink_to_fit();
    }

    fn make_room(&mut self) {
        self.is_full = true;
        let fewest = self
            .classes
            .iter()
            .enumerate()
            .min_by(|(_, (a, x)), (_, (b, y))| x.seen.total_cmp(&y.seen).then(a.cmp(b)));
        if let Some(at) = fewest.map(|(at, _)| at) {
            self.classes.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_that_never_finds_anything_new_has_a_low_rate() {
        let mut rates = Rates::default();
        (0..100).for_each(|_| rates.add(1, TargetKind::Account, false));
        (0..100).for_each(|_| rates.add(2, TargetKind::Account, true));
        assert!(rates.rate(1, TargetKind::Account) < 0.03);
        assert!(rates.rate(2, TargetKind::Account) > 0.9);
        let unknown = rates.rate(3, TargetKind::Account);
        assert!((0.3..0.9).contains(&unknown), "{unknown}");
        assert!((rates.rate(3, TargetKind::Host) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn classes_are_bounded_and_those_in_use_stay() {
        let mut rates = Rates::default();
        (0..9).for_each(|_| rates.add(7, TargetKind::Path, false));
        (100..3_000).for_each(|class| rates.add(class, TargetKind::Path, true));
        assert!(rates.classes.len() <= CLASSES_MAX);
        assert!(rates.rate(7, TargetKind::Path) < 0.5);
    }
}
