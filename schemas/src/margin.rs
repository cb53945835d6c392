//! The margin formulas (`../spec/margins.md` §3), in exact integers.
#![deny(
    clippy::float_arithmetic,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::money::{Microdollars, decimal, round_half_up};

/// A percentage in hundredths of a percent: `6_667` is 66.67 %. Unbounded below.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(pub i128);

impl Percent {
    /// Formats with two decimals: `70.00`, `-400.00`.
    #[must_use]
    pub fn to_decimal_2(self) -> String {
        decimal(self.0, 2)
    }
}

/// Prints as the shortest JSON number: `70`, `66.6`, `-400`.
impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.to_decimal_2();
        let text = text.trim_end_matches('0').trim_end_matches('.');
        // The text is made of digits, a sign and a point, so it is always a JSON number.
        let raw =
            serde_json::value::RawValue::from_string(text.to_owned()).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "In percent, rounded to two decimals.", "type": "number" })
    }
}

/// How healthy a customer's margin is, from best to worst; the order is the severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthTier {
    /// At least 50 %.
    Healthy,
    /// At least 20 %.
    Moderate,
    /// At least 0 %.
    AtRisk,
    /// Below 0 %, or cost without revenue.
    Critical,
}

impl HealthTier {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Moderate => "moderate",
            Self::AtRisk => "at_risk",
            Self::Critical => "critical",
        }
    }

    /// Tier of `100 * numerator / denominator` percent; `denominator` must be positive.
    fn of_ratio(numerator: i128, denominator: i128) -> Self {
        let scaled = numerator.saturating_mul(100);
        if scaled >= denominator.saturating_mul(50) {
            Self::Healthy
        } else if scaled >= denominator.saturating_mul(20) {
            Self::Moderate
        } else if numerator >= 0 {
            Self::AtRisk
        } else {
            Self::Critical
        }
    }

    /// Tier of a percentage that is already rounded, as projections are.
    #[must_use]
    pub fn of_percent(percent: Percent) -> Self {
        Self::of_ratio(percent.0, 10_000)
    }
}

/// What one customer earned and cost in one period, in microdollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Margin {
    /// Revenue, `R` in the spec's formulas.
    pub revenue: i64,
    /// Cost, `C` in the spec's formulas.
    pub cost: i64,
}

impl Margin {
    /// Revenue minus cost, in microdollars; wide, so that it cannot overflow.
    #[must_use]
    pub fn amount(self) -> i128 {
        i128::from(self.revenue).saturating_sub(i128::from(self.cost))
    }

    /// True where nothing was earned and nothing spent.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.revenue == 0 && self.cost == 0
    }

    /// Returns 100 x (R - C) / R rounded to two decimals, halves toward positive infinity;
    /// 0 where R is not positive.
    #[must_use]
    pub fn percent(self) -> Percent {
        if self.revenue <= 0 {
            return Percent(0);
        }
        Percent(round_half_up(
            self.amount().saturating_mul(10_000),
            i128::from(self.revenue),
        ))
    }

    /// Returns the tier, from the exact ratio: cost without revenue is critical, nothing at all
    /// is at risk (0 %).
    #[must_use]
    pub fn tier(self) -> HealthTier {
        if self.revenue <= 0 {
            return if self.cost > 0 || self.revenue < 0 {
                HealthTier::Critical
            } else {
                HealthTier::AtRisk
            };
        }
        HealthTier::of_ratio(self.amount(), i128::from(self.revenue))
    }

    /// Returns the cost ceiling for a 50 % margin, half of revenue rounded half up, for a
    /// critical customer with revenue; otherwise none.
    #[must_use]
    pub fn budget_suggestion(self) -> Option<Microdollars> {
        if self.revenue <= 0 || self.tier() != HealthTier::Critical {
            return None;
        }
        i64::try_from(round_half_up(i128::from(self.revenue), 2))
            .ok()
            .map(Microdollars)
    }

    /// Returns the sparkline's point: cost without revenue is -100 %, nothing is 0 %.
    #[must_use]
    pub fn sparkline_percent(self) -> Percent {
        if self.revenue <= 0 && self.cost > 0 {
            Percent(-10_000)
        } else {
            self.percent()
        }
    }
}

/// Projects the month after three consecutive ones, oldest first: the least-squares line through
/// the rounded values, `(4 m3 + m2 - 2 m1) / 3`, rounded to two decimals. Not clamped.
#[must_use]
pub fn project(months: [Percent; 3]) -> Percent {
    let [first, second, third] = months;
    let sum = third
        .0
        .saturating_mul(4)
        .saturating_add(second.0)
        .saturating_sub(first.0.saturating_mul(2));
    Percent(round_half_up(sum, 3))
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "generated values are within bounds"
)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn margin(revenue: i64, cost: i64) -> Margin {
        Margin { revenue, cost }
    }

    fn json(percent: Percent) -> String {
        serde_json::to_string(&percent).unwrap()
    }

    #[test]
    fn follows_the_table_of_the_spec() {
        let cases = [
            (
                margin(50_000_000, 70_000_000),
                "-40",
                HealthTier::Critical,
                Some(25_000_000),
            ),
            (margin(0, 5), "0", HealthTier::Critical, None),
            (margin(0, 0), "0", HealthTier::AtRisk, None),
            (margin(100, 0), "100", HealthTier::Healthy, None),
            (margin(100, 50), "50", HealthTier::Healthy, None),
            (margin(100, 80), "20", HealthTier::Moderate, None),
            (margin(100, 100), "0", HealthTier::AtRisk, None),
            (margin(100, 500), "-400", HealthTier::Critical, Some(50)),
            (margin(3, 1), "66.67", HealthTier::Healthy, None),
            (margin(200_000_000, 100_006_000), "50", HealthTier::Moderate, None),
            (
                margin(1_000_000_000_000, 1_000_000_000_001),
                "0",
                HealthTier::Critical,
                Some(500_000_000_000),
            ),
            (margin(1_001, 2_000), "-99.8", HealthTier::Critical, Some(501)),
        ];
        for (margin, percent, tier, suggestion) in cases {
            assert_eq!(json(margin.percent()), percent, "{margin:?}");
            assert_eq!(margin.tier(), tier, "{margin:?}");
            assert_eq!(
                margin.budget_suggestion(),
                suggestion.map(Microdollars),
                "{margin:?}"
            );
        }
        assert_eq!(json(margin(0, 5).sparkline_percent()), "-100");
        assert_eq!(json(margin(0, 0).sparkline_percent()), "0");
    }

    #[test]
    fn projects_the_least_squares_line() {
        assert_eq!(
            json(project([Percent(6_500), Percent(6_800), Percent(7_000)])),
            "72.67"
        );
        assert_eq!(
            json(project([Percent(1_000), Percent(-500), Percent(-4_000)])),
            "-61.67"
        );
    }

    proptest! {
        #[test]
        fn percent_is_the_nearest_hundredth(revenue in 1_i64..i64::MAX, cost in 0_i64..i64::MAX) {
            let m = margin(revenue, cost);
            let exact = m.amount() * 10_000;
            let twice_error = 2 * (m.percent().0 * i128::from(revenue) - exact);
            prop_assert!(twice_error.abs() <= i128::from(revenue));
        }

        #[test]
        fn tier_agrees_with_exact_rationals(revenue in 1_i64..1_000_000, cost in 0_i64..3_000_000) {
            let scaled = 100 * (i128::from(revenue) - i128::from(cost));
            let expected = [(50, HealthTier::Healthy), (20, HealthTier::Moderate), (0, HealthTier::AtRisk)]
                .into_iter()
                .find(|(bound, _)| scaled >= bound * i128::from(revenue))
                .map_or(HealthTier::Critical, |(_, tier)| tier);
            prop_assert_eq!(margin(revenue, cost).tier(), expected);
        }
    }
}
