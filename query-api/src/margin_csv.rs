//! The margin table as CSV (`../spec/margins.md` §4).

use marginstream_http::csv::CsvText;
use schemas::api::margins::MarginTable;
use schemas::money::Microdollars;

const HEADER: &str = "Customer,Stripe ID,Tag Value,Revenue ($),Cost ($),Margin (%),Margin ($),Health Tier";

/// Prints the rows in the table's order: dollars with two decimals, percent with two decimals.
pub(crate) fn print_margin_csv(table: &MarginTable) -> String {
    let mut csv = CsvText::with_header(HEADER);
    for row in &table.customers {
        csv.start_row();
        csv.text(row.customer_name.as_ref().unwrap_or(&row.tag_value));
        csv.text(&row.stripe_customer_id);
        csv.text(&row.tag_value);
        csv.number(Microdollars(row.revenue_microdollars).to_dollars_2());
        csv.number(Microdollars(row.cost_microdollars).to_dollars_2());
        csv.number(row.margin_percent.to_decimal_2());
        csv.number(Microdollars(row.margin_microdollars).to_dollars_2());
        csv.text(row.health_tier.as_str());
    }
    csv.finish()
}
