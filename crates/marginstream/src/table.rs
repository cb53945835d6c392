//! The margin table for a terminal.

mod sparkline;

use std::io::IsTerminal;

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use schemas::money::Microdollars;
use schemas::period::Period;
use serde::Deserialize;
use serde_json::Value;

use crate::error::CommandError;
use sparkline::{Scale, sparkline};

/// `GET /api/margins`, as far as the table shows it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct MarginTableView {
    pub(crate) summary: SummaryView,
    pub(crate) customers: Vec<RowView>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SummaryView {
    blended_margin_percent: f64,
    pub(crate) total_revenue_microdollars: i64,
    pub(crate) total_cost_microdollars: i64,
    critical_count: usize,
    at_risk_count: usize,
}

/// Percentages are for display alone: they arrive with two decimals and are printed with two.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RowView {
    customer_name: Option<String>,
    tag_value: String,
    revenue_microdollars: i64,
    cost_microdollars: i64,
    margin_microdollars: i64,
    margin_percent: f64,
    health_tier: String,
    sparkline: Vec<PointView>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PointView {
    margin_percent: f64,
    #[serde(default)]
    projected: bool,
}

/// Whether colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Coloured,
}

impl Style {
    /// Colours where standard output is a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
    pub(crate) fn of_stdout() -> Self {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if std::io::stdout().is_terminal() && !is_unwanted {
            Self::Coloured
        } else {
            Self::Plain
        }
    }
}

impl MarginTableView {
    pub(crate) fn of_json(value: Value) -> Result<Self, CommandError> {
        serde_json::from_value(value).map_err(|error| CommandError::Output(error.into()))
    }

    /// Renders the table of `period`, with the sums below it. No line ends in blanks.
    pub(crate) fn render(&self, period: Period, style: Style) -> String {
        let mut table = Table::new();
        table
            .load_preset(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        if style == Style::Coloured {
            table.enforce_styling()
        } else {
            table.force_no_tty()
        };
        let titles = ["Customer", "Revenue", "Cost", "Margin", "%", "Tier", "Trend"];
        table.set_header(titles.map(|title| Cell::new(title).add_attribute(Attribute::Bold)));
        for index in 1..=4 {
            if let Some(column) = table.column_mut(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let points = self.customers.iter().flat_map(|row| &row.sparkline);
        let scale = Scale::of(points.map(|point| point.margin_percent));
        for row in &self.customers {
            table.add_row(row.cells(scale));
        }
        let mut lines = vec![format!("Margins of {period}"), String::new()];
        lines.extend(table.lines().map(|line| line.trim_end().to_owned()));
        lines.extend([String::new(), self.totals()]);
        lines.join("\n")
    }

    fn totals(&self) -> String {
        let summary = &self.summary;
        format!(
            "{} customers · revenue {} · cost {} · blended margin {:.2} % · {} critical · {} at risk",
            self.customers.len(),
            dollars(summary.total_revenue_microdollars),
            dollars(summary.total_cost_microdollars),
            summary.blended_margin_percent,
            summary.critical_count,
            summary.at_risk_count
        )
    }
}

impl RowView {
    fn cells(&self, scale: Scale) -> [Cell; 7] {
        let tier = tier_color(&self.health_tier);
        let name = self.customer_name.as_deref().unwrap_or(&self.tag_value);
        let points = self
            .sparkline
            .iter()
            .map(|point| (point.margin_percent, point.projected));
        [
            Cell::new(printable(name)),
            Cell::new(dollars(self.revenue_microdollars)),
            Cell::new(dollars(self.cost_microdollars)),
            Cell::new(dollars(self.margin_microdollars)),
            Cell::new(format!("{:.2}", self.margin_percent)).fg(tier),
            Cell::new(self.health_tier.replace('_', " ")).fg(tier),
            Cell::new(sparkline(points, scale)).fg(tier),
        ]
    }
}

/// Names come from customers: nothing in them may steer the terminal, or break the line.
fn printable(name: &str) -> String {
    const MAX_CHARS: usize = 32;
    let clean = name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    if name.chars().count() <= MAX_CHARS {
        return clean.collect();
    }
    clean.take(MAX_CHARS - 1).chain(['…']).collect()
}

fn tier_color(tier: &str) -> Color {
    match tier {
        "healthy" => Color::Green,
        "moderate" => Color::Cyan,
        "at_risk" => Color::Yellow,
        _ => Color::Red,
    }
}

/// Prints dollars with two decimals and commas between thousands: `-$1,234.50`.
fn dollars(microdollars: i64) -> String {
    let text = Microdollars(microdollars).to_dollars_2();
    let (sign, text) = text
        .strip_prefix('-')
        .map_or(("", text.as_str()), |rest| ("-", rest));
    let (whole, cents) = text.split_once('.').unwrap_or((text, "00"));
    let mut grouped = String::with_capacity(whole.len() + whole.len() / 3);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}${grouped}.{cents}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn view() -> MarginTableView {
        let row = |name: Value, tag: &str, revenue: i64, cost: i64, percent: f64, tier: &str| {
            json!({"customerName": name, "tagValue": tag, "revenueMicrodollars": revenue, "costMicrodollars": cost,
                "marginMicrodollars": revenue - cost, "marginPercent": percent, "healthTier": tier,
                "sparkline": [{"period": "2026-02", "marginPercent": 10}, {"period": "2026-03", "marginPercent": -5},
                    {"period": "2026-04", "marginPercent": percent},
                    {"period": "2026-05", "marginPercent": -61.67, "projected": true}]})
        };
        MarginTableView::of_json(json!({
            "summary": {"blendedMarginPercent": 52.5, "totalRevenueMicrodollars": 1_284_000_000_i64,
                "totalCostMicrodollars": 610_000_000, "criticalCount": 1, "atRiskCount": 0, "syncStatus": "active"},
            "customers": [
                row(json!("Globex"), "globex", 50_000_000, 70_000_000, -40.0, "critical"),
                row(Value::Null, "initech\u{1b}[2J", 1_234_000_000, 540_000_000, 56.24, "healthy"),
            ],
        }))
        .unwrap()
    }

    #[test]
    fn columns_are_aligned_and_amounts_to_the_right() {
        let text = view().render("2026-04".parse().unwrap(), Style::Plain);
        insta::assert_snapshot!(text, @r"
        Margins of 2026-04

         Customer       Revenue     Cost   Margin       %  Tier      Trend
         Globex          $50.00   $70.00  -$20.00  -40.00  critical  ▅▄▂›▁
         initech�[2J  $1,234.00  $540.00  $694.00   56.24  healthy   ▅▄█›▁

        2 customers · revenue $1,284.00 · cost $610.00 · blended margin 52.50 % · 1 critical · 0 at risk
        ");
    }

    #[test]
    fn colours_follow_the_tier_on_a_terminal_only() {
        let period = "2026-04".parse().unwrap();
        let coloured = view().render(period, Style::Coloured);
        assert!(
            coloured.contains("\u{1b}[38;5;9m") && coloured.contains("\u{1b}[38;5;10m"),
            "{coloured:?}"
        );
        assert!(!view().render(period, Style::Plain).contains('\u{1b}'));
    }

    #[test]
    fn dollars_have_commas() {
        for (amount, text) in [
            (0, "$0.00"),
            (999_990_000, "$999.99"),
            (-1_234_500_000, "-$1,234.50"),
            (1_234_567_890_000, "$1,234,567.89"),
        ] {
            assert_eq!(dollars(amount), text);
        }
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(printable(&"é".repeat(33)).chars().count(), 32);
        assert_eq!(printable("a\tb"), "a\u{fffd}b");
    }
}
