//! From a surprise to a score people can compare.

/// The score at which a rule's budget of false alarms is just spent, and somebody is told.
pub const PAGE_SCORE: f64 = 40.0;

/// The highest score while an agent is still being learned: listed, never paged.
pub const LEARNING_SCORE_MAX: f64 = 39.0;

/// The score of a surprise `ratio`: how many times rarer than the rule's budget allows.
///
/// `20 * (log10 ratio + 2)`, clamped to 0..=100 and rounded to one decimal: 40 at the budget, 60
/// at a tenth of it, 80 at a hundredth.
///
/// # Examples
///
/// ```
/// use toolwarden::alert::score;
///
/// assert_eq!(score(1.0), 40.0);
/// assert_eq!(score(100.0), 80.0);
/// assert_eq!(score(0.0), 0.0);
/// ```
#[must_use]
pub fn score(ratio: f64) -> f64 {
    let raw = 20.0 * (libm::log10(ratio.max(1e-9)) + 2.0);
    libm::round(raw.clamp(0.0, 100.0) * 10.0) / 10.0
}
