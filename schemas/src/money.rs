//! Integer money. 1 USD = 1_000_000 microdollars; no floats, no silent overflow.
#![deny(
    clippy::float_arithmetic,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount in microdollars. Negative amounts are credits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Microdollars(pub i64);

/// Why an amount could not be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The result does not fit 64 bits.
    #[error("amount does not fit 64 bits of microdollars")]
    Overflow,
}

impl Microdollars {
    /// No money.
    pub const ZERO: Self = Self(0);
    /// Microdollars in a cent.
    pub const PER_CENT: i64 = 10_000;
    /// The largest amount that an API member accepts: 2^53 - 1.
    pub const MAX_WIRE: i64 = 9_007_199_254_740_991;

    /// Converts whole US cents, as Stripe states amounts.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`] beyond 64 bits of microdollars.
    pub fn from_cents(cents: i64) -> Result<Self, MoneyError> {
        cents
            .checked_mul(Self::PER_CENT)
            .map(Self)
            .ok_or(MoneyError::Overflow)
    }

    /// Adds.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_add(other.0).map(Self).ok_or(MoneyError::Overflow)
    }

    /// Subtracts.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_sub(other.0).map(Self).ok_or(MoneyError::Overflow)
    }

    /// Formats as dollars with two decimals, halves away from zero: `-0.01`, `1234.50`.
    #[must_use]
    pub fn to_dollars_2(self) -> String {
        decimal(round_half_away(i128::from(self.0), i128::from(Self::PER_CENT)), 2)
    }

    /// Formats as dollars with all six decimals: `0.006390`.
    #[must_use]
    pub fn to_dollars_6(self) -> String {
        decimal(i128::from(self.0), 6)
    }
}

impl fmt::Display for Microdollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} microdollars", self.0)
    }
}

/// Divides and rounds to the nearest integer, halves toward positive infinity.
/// `divisor` must be positive; a divisor of zero or less yields zero.
#[must_use]
pub fn round_half_up(value: i128, divisor: i128) -> i128 {
    if divisor <= 0 {
        return 0;
    }
    let doubled = value.saturating_mul(2).saturating_add(divisor);
    doubled.checked_div_euclid(divisor.saturating_mul(2)).unwrap_or(0)
}

/// Divides and rounds to the nearest integer, halves away from zero.
fn round_half_away(value: i128, divisor: i128) -> i128 {
    if value < 0 {
        round_half_up(value.saturating_neg(), divisor).saturating_neg()
    } else {
        round_half_up(value, divisor)
    }
}

/// Prints `value` / 10^`places` exactly; zero never carries a sign.
#[must_use]
pub fn decimal(value: i128, places: u32) -> String {
    let scale = 10_u128.saturating_pow(places);
    let magnitude = value.unsigned_abs();
    let whole = magnitude.checked_div(scale).unwrap_or(0);
    let fraction = magnitude.checked_rem(scale).unwrap_or(0);
    let sign = if value < 0 { "-" } else { "" };
    let width = usize::try_from(places).unwrap_or(0);
    format!("{sign}{whole}.{fraction:0width$}")
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "generated values are within bounds"
)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prints_dollars() {
        assert_eq!(Microdollars(70_000_000).to_dollars_2(), "70.00");
        assert_eq!(Microdollars(-5_000).to_dollars_2(), "-0.01");
        assert_eq!(Microdollars(-4_999).to_dollars_2(), "0.00");
        assert_eq!(Microdollars(4_999).to_dollars_2(), "0.00");
        assert_eq!(Microdollars(6_390).to_dollars_6(), "0.006390");
        assert_eq!(Microdollars(i64::MIN).to_dollars_6(), "-9223372036854.775808");
    }

    #[test]
    fn rounds_halves_toward_positive_infinity() {
        assert_eq!(round_half_up(5, 10), 1);
        assert_eq!(round_half_up(-5, 10), 0);
        assert_eq!(round_half_up(-6, 10), -1);
        assert_eq!(round_half_up(7, 0), 0);
    }

    proptest! {
        #[test]
        fn rounding_is_within_half(value in -1_000_000_i128..1_000_000, divisor in 1_i128..5_000) {
            let rounded = round_half_up(value, divisor);
            let twice_error = 2 * (rounded * divisor - value);
            prop_assert!(twice_error <= divisor && twice_error > -divisor);
        }
    }
}
