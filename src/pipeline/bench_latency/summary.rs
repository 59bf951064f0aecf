//! Many spans in four figures.

use serde::Serialize;

/// What spans come to, in milliseconds. Each figure is one of the spans, none lies between two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Half of them are no longer.
    pub p50: f64,
    /// Nine of ten are no longer.
    pub p90: f64,
    /// Ninety-nine of a hundred are no longer.
    pub p99: f64,
    /// None is longer.
    pub max: f64,
}

impl Summary {
    /// What `spans` come to; zeros when there are none.
    #[must_use]
    pub fn of(mut spans: Vec<f64>) -> Self {
        spans.sort_by(f64::total_cmp);
        let percentile = |percent: usize| {
            // The nearest rank: the smallest span that so many of them do not exceed.
            let rank = (spans.len() * percent).div_ceil(100).max(1);
            spans.get(rank - 1).copied().unwrap_or(0.0)
        };
        Self { p50: percentile(50), p90: percentile(90), p99: percentile(99), max: percentile(100) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_smallest_span_that_so_many_do_not_exceed() {
        let hundred = (1..=100).rev().map(f64::from).collect();
        assert_eq!(Summary::of(hundred), Summary { p50: 50.0, p90: 90.0, p99: 99.0, max: 100.0 });
        // One of ten is more than one of a hundred.
        let ten = vec![1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 900.0];
        assert_eq!(Summary::of(ten), Summary { p50: 1.0, p90: 1.0, p99: 900.0, max: 900.0 });
        let two = Summary { p50: 3.0, p90: 7.0, p99: 7.0, max: 7.0 };
        assert_eq!(Summary::of(vec![7.0, 3.0]), two);
        assert_eq!(Summary::of(vec![7.0]), Summary { p50: 7.0, p90: 7.0, p99: 7.0, max: 7.0 });
        assert_eq!(Summary::of(Vec::new()), Summary::default());
    }
}
