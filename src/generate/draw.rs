//! Drawing from the distributions that work follows: waits, sizes, choices.
//!
//! Every draw takes the generator it uses; floats go through `libm`, so that a seed gives the same
//! traffic on every machine.

use fastrand::Rng;

/// A generator for one purpose, derived from the seed and whatever tells the purpose apart.
pub(crate) fn rng(seed: u64, parts: &[u64]) -> Rng {
    Rng::with_seed(parts.iter().fold(mix(seed), |state, part| mix(state ^ mix(*part))))
}

/// Scrambles 64 bits; no two inputs share an output.
///
/// Source: Sebastiano Vigna, `SplitMix64`.
pub(crate) const fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A standard normal draw (Box and Muller's).
pub(crate) fn normal(rng: &mut Rng) -> f64 {
    let radius = libm::sqrt(-2.0 * libm::log(1.0 - rng.f64()));
    radius * libm::cos(std::f64::consts::TAU * rng.f64())
}

/// A log-normal draw with this median and this spread of the logarithm, cut at ±2.5 spreads.
pub(crate) fn lognormal(rng: &mut Rng, median: f64, sigma: f64) -> f64 {
    median * libm::exp(sigma * normal(rng).clamp(-2.5, 2.5))
}

/// An exponential draw with this mean.
pub(crate) fn exponential(rng: &mut Rng, mean: f64) -> f64 {
    -mean * libm::log(1.0 - rng.f64())
}

/// A geometric draw with this mean, between 1 and four times the mean.
pub(crate) fn geometric(rng: &mut Rng, mean: f64) -> u64 {
    let mean = mean.max(1.0);
    if mean <= 1.0 {
        return 1;
    }
    let draw = libm::log(1.0 - rng.f64()) / libm::log(1.0 - 1.0 / mean);
    whole(draw.min(4.0 * mean - 1.0)) + 1
}

/// A Poisson draw; for the means of this module (up to a few hundred).
pub(crate) fn poisson(rng: &mut Rng, mean: f64) -> u64 {
    let mut left = mean;
    let mut count = 0;
    loop {
        left -= exponential(rng, 1.0);
        if left <= 0.0 || count == 10_000 {
            return count;
        }
        count += 1;
    }
}

/// Whether something with this probability happens.
pub(crate) fn chance(rng: &mut Rng, probability: f64) -> bool {
    rng.f64() < probability
}

/// One of the items.
pub(crate) fn pick<'a, T>(rng: &mut Rng, items: &'a [T]) -> Option<&'a T> {
    let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
    (count > 0).then(|| rng.u32(..count)).and_then(|index| items.get(usize::try_from(index).ok()?))
}

/// One of the items, by weight; negative weights count as none.
pub(crate) fn weighted<'a, T>(
    rng: &mut Rng,
    items: &'a [T],
    weight: impl Fn(&T) -> f64,
) -> Option<&'a T> {
    let total: f64 = items.iter().map(|item| weight(item).max(0.0)).sum();
    let mut left = rng.f64() * total;
    for item in items {
        left -= weight(item).max(0.0);
        if left < 0.0 {
            return Some(item);
        }
    }
    items.last()
}

/// The whole part of a float; 0 below zero and for NaN.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, which is what is asked for"
)]
pub(crate) const fn whole(value: f64) -> u64 {
    value as u64
}

/// Seconds as whole milliseconds, at least `least`.
pub(crate) fn millis(secs: f64, least: i64) -> i64 {
    i64::try_from(whole(secs * 1000.0)).unwrap_or(i64::MAX).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_means_they_promise() {
        let mut rng = rng(1, &[2, 3]);
        let mut mean = |draw: &mut dyn FnMut(&mut Rng) -> f64| {
            (0..20_000).map(|_| draw(&mut rng)).sum::<f64>() / 20_000.0
        };
        assert!((mean(&mut |rng| exponential(rng, 3.0)) - 3.0).abs() < 0.15);
        assert!((mean(&mut normal)).abs() < 0.05);
        assert!(
            (mean(&mut |rng| f64::from(u32::try_from(poisson(rng, 4.0)).unwrap())) - 4.0).abs()
                < 0.1
        );
        let geometric = mean(&mut |rng| f64::from(u32::try_from(geometric(rng, 9.0)).unwrap()));
        assert!((8.0..9.5).contains(&geometric), "{geometric}");
    }

    #[test]
    fn a_weighted_choice_follows_the_weights_and_never_takes_a_zero() {
        let mut rng = rng(1, &[]);
        let items = [("a", 3.0), ("never", 0.0), ("b", 1.0)];
        let taken: Vec<_> =
            (0..4_000).map(|_| weighted(&mut rng, &items, |item| item.1).unwrap().0).collect();
        let a = taken.iter().filter(|name| **name == "a").count();
        assert!((2_800..3_200).contains(&a), "{a}");
        assert!(!taken.contains(&"never"));
    }

    #[test]
    fn nothing_is_chosen_from_nothing() {
        let mut rng = rng(1, &[]);
        assert_eq!(pick::<u8>(&mut rng, &[]), None);
        assert_eq!(weighted::<u8>(&mut rng, &[], |_| 1.0), None);
    }
}
