use super::*;
use proptest::prelude::*;
use schemas::id::OrgId;
use schemas::mapping::MatchType;
use schemas::margin::Percent;
use schemas::time::TimestampMs;
use serde_json::{Value, json};
use uuid::Uuid;

/// Tag value, revenue and cost of three months, oldest first.
type Customer<'a> = (&'a str, MonthlyAmounts, MonthlyAmounts);

fn mapping(tag_value: &str) -> CustomerMapping {
    CustomerMapping {
        id: Uuid::nil(),
        org_id: OrgId(Uuid::nil()),
        stripe_customer_id: format!("cus_{tag_value}"),
        tag_key: "customer".to_owned(),
        tag_value: tag_value.to_owned(),
        match_type: MatchType::Manual,
        confidence: Some(100),
        created_at: TimestampMs(0),
    }
}

fn april() -> Period {
    "2026-04".parse().unwrap()
}

fn build(customers: &[Customer<'_>]) -> Result<MarginTable, MoneyError> {
    let mappings: Vec<_> = customers
        .iter()
        .map(|(tag_value, ..)| mapping(tag_value))
        .collect();
    let costs = customers
        .iter()
        .map(|(tag_value, _, costs)| ((*tag_value).to_owned(), *costs))
        .collect();
    let revenues = customers
        .iter()
        .map(|(tag_value, revenues, _)| (format!("cus_{tag_value}"), *revenues))
        .collect();
    build_margin_table(april(), &mappings, &costs, &revenues, &HashMap::new())
}

fn row(revenue: MonthlyAmounts, cost: MonthlyAmounts) -> MarginRow {
    build(&[("globex", revenue, cost)]).unwrap().customers.remove(0)
}

fn order(customers: &[Customer<'_>]) -> Vec<String> {
    build(customers)
        .unwrap()
        .customers
        .into_iter()
        .map(|row| row.tag_value)
        .collect()
}

#[test]
fn prints_the_table_of_the_contract() {
    let customers: [Customer<'_>; 1] = [("globex", [50_000_000; 3], [45_000_000, 52_500_000, 70_000_000])];
    let table = build(&customers).unwrap();
    let expected = json!({
        "summary": {
            "blendedMarginPercent": -40, "totalRevenueMicrodollars": 50_000_000, "totalCostMicrodollars": 70_000_000,
            "criticalCount": 1, "atRiskCount": 0, "lastSyncAt": null, "syncStatus": "disconnected",
            "skippedCurrencies": null
        },
        "customers": [{
            "stripeCustomerId": "cus_globex", "customerName": null, "avatarUrl": null, "tagValue": "globex",
            "revenueMicrodollars": 50_000_000, "costMicrodollars": 70_000_000, "marginMicrodollars": -20_000_000,
            "marginPercent": -40, "healthTier": "critical",
            "sparkline": [
                {"period": "2026-02", "marginPercent": 10}, {"period": "2026-03", "marginPercent": -5},
                {"period": "2026-04", "marginPercent": -40},
                {"period": "2026-05", "marginPercent": -61.67, "projected": true}
            ],
            "projectedTierWorsening": false, "budgetSuggestionMicrodollars": 25_000_000
        }]
    });
    let printed: Value = serde_json::from_str(&serde_json::to_string(&table).unwrap()).unwrap();
    assert_eq!(printed, expected);
}

#[test]
fn rows_follow_the_formulas() {
    // Revenue and cost of the last month; percent in hundredths, tier, suggestion.
    let cases = [
        (0, 5, 0, HealthTier::Critical, None),
        (5, 0, 10_000, HealthTier::Healthy, None),
        (200_000_000, 100_006_000, 5_000, HealthTier::Moderate, None),
        (
            1_000_000_000_000,
            1_000_000_000_001,
            0,
            HealthTier::Critical,
            Some(500_000_000_000),
        ),
        (100, 500, -40_000, HealthTier::Critical, Some(50)),
        (3, 2, 3_333, HealthTier::Moderate, None),
        (100, 100, 0, HealthTier::AtRisk, None),
    ];
    for (revenue, cost, percent, tier, suggestion) in cases {
        let row = row([0, 0, revenue], [0, 0, cost]);
        assert_eq!(row.margin_percent, Percent(percent), "{revenue} {cost}");
        assert_eq!(row.health_tier, tier, "{revenue} {cost}");
        assert_eq!(row.budget_suggestion_microdollars, suggestion, "{revenue} {cost}");
        assert_eq!(row.margin_microdollars, revenue - cost);
        assert_eq!(
            row.sparkline.len(),
            3,
            "two months are empty, so nothing is projected"
        );
    }
}

#[test]
fn the_sparkline_shows_cost_without_revenue_as_minus_100() {
    let row = row([0, 100, 0], [0, 40, 7]);
    let percents: Vec<_> = row.sparkline.iter().map(|point| point.margin_percent).collect();
    assert_eq!(percents, [Percent(0), Percent(6_000), Percent(-10_000)]);
    assert_eq!(row.margin_percent, Percent(0));
}

#[test]
fn a_worse_projected_tier_is_flagged() {
    // 65, 60, 51 %: the line reaches 44.67 %, which is moderate.
    let falling = row([100; 3], [35, 40, 49]);
    assert_eq!(falling.sparkline[3].margin_percent, Percent(4_467));
    assert!(falling.health_tier == HealthTier::Healthy && falling.projected_tier_worsening);
    // 65, 68, 70 %: 72.67 %.
    let rising = row([100; 3], [35, 32, 30]);
    assert_eq!(rising.sparkline[3].margin_percent, Percent(7_267));
    assert!(!rising.projected_tier_worsening);
    let critical = row([100; 3], [100, 200, 300]);
    assert!(critical.sparkline.len() == 4 && !critical.projected_tier_worsening);
}

#[test]
fn ghosts_are_dropped_everywhere() {
    let table = build(&[("ghost", [9, 9, 0], [9, 9, 0]), ("live", [0, 0, 10], [0, 0, 4])]).unwrap();
    assert_eq!(table.customers.len(), 1);
    assert_eq!(
        (
            table.summary.total_revenue_microdollars,
            table.summary.total_cost_microdollars
        ),
        (10, 4)
    );
    let empty = build(&[]).unwrap();
    assert!(empty.customers.is_empty());
    assert_eq!(empty.summary.blended_margin_percent, Percent(0));
}

#[test]
fn customers_without_a_mapping_count_nowhere() {
    let amounts = HashMap::from([("globex".to_owned(), [1; 3]), ("cus_globex".to_owned(), [1; 3])]);
    let table = build_margin_table(april(), &[], &amounts, &amounts, &HashMap::new()).unwrap();
    assert!(table.customers.is_empty() && table.summary.total_cost_microdollars == 0);
}

#[test]
fn ties_are_ordered_by_tier_cost_and_tag_value() {
    let last = |revenue, cost| ([0, 0, revenue], [0, 0, cost]);
    let (zero_revenue, even) = (last(0, 5), last(7, 7));
    let customers = [
        ("even", even.0, even.1),
        ("loss", last(100, 101).0, last(100, 101).1),
        ("b", zero_revenue.0, zero_revenue.1),
        ("a", zero_revenue.0, zero_revenue.1),
        ("dear", last(0, 9).0, last(0, 9).1),
    ];
    // All but the first are 0 %.
    assert_eq!(order(&customers), ["loss", "dear", "a", "b", "even"]);
}

#[test]
fn sums_beyond_64_bits_are_an_error() {
    let huge = [0, 0, i64::MAX];
    assert!(build(&[("a", huge, [0; 3])]).is_ok());
    assert_eq!(
        build(&[("a", huge, [0; 3]), ("b", [0, 0, 1], [0; 3])]).unwrap_err(),
        MoneyError::Overflow
    );
    assert_eq!(
        build(&[("a", [0; 3], huge), ("b", [0; 3], [0, 0, 1])]).unwrap_err(),
        MoneyError::Overflow
    );
    assert_eq!(
        build(&[("a", huge, [0, 0, -1])]).unwrap_err(),
        MoneyError::Overflow
    );
}

#[test]
fn the_detail_of_a_ghost_is_at_risk() {
    let detail = build_margin_detail(
        april(),
        mapping("globex"),
        margins_of([0; 3], [0; 3]),
        None,
        Vec::new(),
    );
    assert_eq!(
        (detail.health_tier, detail.margin_percent),
        (HealthTier::AtRisk, Percent(0))
    );
    assert_eq!(detail.revenue_over_time.len(), 3);
}

/// An exact rational number with a positive denominator.
#[derive(Debug, Clone, Copy)]
struct Fraction {
    numerator: i128,
    denominator: i128,
}

impl Fraction {
    fn percent_of(revenue: i64, cost: i64) -> Self {
        let (revenue, cost) = (i128::from(revenue), i128::from(cost));
        Self {
            numerator: 100 * (revenue - cost),
            denominator: revenue,
        }
    }

    /// The only multiple of 1/100 in `(x - 1/200, x + 1/200]`, found by search.
    fn rounded(self) -> Percent {
        let guess = self.numerator * 100 / self.denominator;
        let is_nearest = |hundredths: &i128| {
            let twice_error = 2 * (hundredths * self.denominator - 100 * self.numerator);
            -self.denominator < twice_error && twice_error <= self.denominator
        };
        Percent((guess - 2..=guess + 2).find(is_nearest).unwrap())
    }

    fn is_at_least(self, percent: i128) -> bool {
        self.numerator >= percent * self.denominator
    }

    fn tier(self) -> HealthTier {
        let bounds = [
            (50, HealthTier::Healthy),
            (20, HealthTier::Moderate),
            (0, HealthTier::AtRisk),
        ];
        let reached = bounds.into_iter().find(|(bound, _)| self.is_at_least(*bound));
        reached.map_or(HealthTier::Critical, |(_, tier)| tier)
    }
}

/// Least squares by the textbook: slope = (n Sxy - Sx Sy) / (n Sxx - Sx^2), in hundredths.
fn textbook_projection(values: [Percent; 3]) -> Fraction {
    let (mut sum_x, mut sum_y, mut sum_xy, mut sum_xx) = (0, 0, 0, 0);
    for (x, value) in (0_i128..).zip(values) {
        sum_x += x;
        sum_y += value.0;
        sum_xy += x * value.0;
        sum_xx += x * x;
    }
    let spread = 3 * sum_xx - sum_x * sum_x;
    let slope = 3 * sum_xy - sum_x * sum_y;
    // intercept + 3 slope, with intercept = (Sy - slope Sx) / n; then from hundredths to percent.
    Fraction {
        numerator: sum_y * spread - slope * sum_x + 9 * slope,
        denominator: 3 * spread * 100,
    }
}

/// What the spec says of one month in the sparkline.
fn expected_point(revenue: i64, cost: i64) -> Percent {
    match (revenue, cost) {
        (0, 0) => Percent(0),
        (0, _) => Percent(-10_000),
        _ => Fraction::percent_of(revenue, cost).rounded(),
    }
}

fn amounts() -> impl Strategy<Value = MonthlyAmounts> {
    let amount = prop_oneof![Just(0_i64), 1_i64..1_000, 0_i64..10_000_000_000_000];
    [amount.clone(), amount.clone(), amount]
}

fn check_row(row: &MarginRow, revenue: MonthlyAmounts, cost: MonthlyAmounts) {
    let (current_revenue, current_cost) = (revenue[2], cost[2]);
    if current_revenue > 0 {
        let exact = Fraction::percent_of(current_revenue, current_cost);
        assert_eq!(row.margin_percent, exact.rounded());
        assert_eq!(row.health_tier, exact.tier());
    } else {
        assert_eq!(
            (row.margin_percent, row.health_tier),
            (Percent(0), HealthTier::Critical)
        );
    }
    let suggestion = (row.health_tier == HealthTier::Critical && current_revenue > 0)
        .then_some(current_revenue / 2 + current_revenue % 2);
    assert_eq!(row.budget_suggestion_microdollars, suggestion);

    let points = [0, 1, 2].map(|month| expected_point(revenue[month], cost[month]));
    let printed: Vec<_> = row.sparkline.iter().map(|point| point.margin_percent).collect();
    assert_eq!(printed[..3], points);
    let all_have_data = (0..3).all(|month| revenue[month] > 0 || cost[month] > 0);
    assert_eq!(row.sparkline.len(), if all_have_data { 4 } else { 3 });
    if all_have_data {
        let projected = textbook_projection(points).rounded();
        assert_eq!(printed[3], projected);
        let tier = Fraction {
            numerator: projected.0,
            denominator: 100,
        }
        .tier();
        assert_eq!(row.projected_tier_worsening, tier > row.health_tier);
    }
}

proptest! {
    #[test]
    fn every_number_agrees_with_exact_rationals(
        customers in proptest::collection::vec((amounts(), amounts()), 0..12)
    ) {
        let named: Vec<_> = (0..).map(|number: usize| format!("c{number:02}")).zip(&customers).collect();
        let input: Vec<Customer<'_>> =
            named.iter().map(|(name, (revenue, cost))| (name.as_str(), *revenue, *cost)).collect();
        let table = build(&input).unwrap();

        let live: Vec<_> = input.iter().filter(|(_, revenue, cost)| revenue[2] != 0 || cost[2] != 0).collect();
        prop_assert_eq!(table.customers.len(), live.len());
        for row in &table.customers {
            let (_, revenue, cost) = live.iter().find(|(name, ..)| *name == row.tag_value).unwrap();
            check_row(row, *revenue, *cost);
        }
        prop_assert!(table.customers.is_sorted_by_key(|row| row.margin_percent));

        let total_revenue: i64 = live.iter().map(|(_, revenue, _)| revenue[2]).sum();
        let total_cost: i64 = live.iter().map(|(_, _, cost)| cost[2]).sum();
        let blended =
            if total_revenue > 0 { Fraction::percent_of(total_revenue, total_cost).rounded() } else { Percent(0) };
        prop_assert_eq!(table.summary.blended_margin_percent, blended);
        prop_assert_eq!(table.summary.total_revenue_microdollars, total_revenue);
        prop_assert_eq!(table.summary.total_cost_microdollars, total_cost);
        let count = |tier| table.customers.iter().filter(|row| row.health_tier == tier).count();
        prop_assert_eq!(table.summary.critical_count, count(HealthTier::Critical));
        prop_assert_eq!(table.summary.at_risk_count, count(HealthTier::AtRisk));
    }
}
