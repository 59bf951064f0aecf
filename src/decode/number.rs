//! The few conversions between floats and integers that decoding needs, each exact or bounded.

/// The largest integer below which every integer is a float exactly.
const EXACT_MAX: u64 = 1 << 53;

/// A float as a count: rounded, and 0 when it is negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::as_conversions,
    reason = "the cast saturates, which is the bound wanted"
)]
pub(super) fn to_count(float: f64) -> u64 {
    libm::round(float) as u64
}

/// A float as nanoseconds, where a unit has `unit_ns` of them. `None` outside 64 bits.
pub(super) fn to_nanos(float: f64, unit_ns: i64) -> Option<i64> {
    if !float.is_finite() || float.abs() > 9.3e18 {
        return None;
    }
    let whole = libm::trunc(float);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::as_conversions,
        reason = "`whole` is below 2^63.1 and the cast saturates; the fraction is below one unit"
    )]
    let (whole, fraction) = (whole as i64, libm::round((float - whole) * unit_ns as f64) as i64);
    whole.checked_mul(unit_ns)?.checked_add(fraction)
}

/// The integer a float stands for, so that `1` and `1.0` are the same number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "only integers below 2^53 pass the guard, and those are exact"
)]
pub(super) fn exact_integer(float: f64) -> Option<i64> {
    (float.abs() <= EXACT_MAX as f64 && libm::trunc(float).total_cmp(&float).is_eq())
        .then_some(float as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_become_what_they_stand_for() {
        assert_eq!(to_count(374.5), 375);
        assert_eq!(to_count(-3.0), 0);
        assert_eq!(to_count(1e300), u64::MAX);
        assert_eq!(to_nanos(1.25, 1_000_000_000), Some(1_250_000_000));
        assert_eq!(to_nanos(1e300, 1), None);
        assert_eq!(to_nanos(f64::NAN, 1), None);
        assert_eq!(to_nanos(9.2e18, 1_000), None);
        assert_eq!(exact_integer(1.0), Some(1));
        assert_eq!(exact_integer(-0.0), Some(0));
        assert_eq!(exact_integer(1.5), None);
        assert_eq!(exact_integer(1e300), None);
    }
}
