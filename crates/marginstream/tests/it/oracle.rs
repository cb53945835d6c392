//! What any correct run must show, summed in plain loops from what was sent.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use crate::deployment::Deployment;

/// Cost in microdollars, and number of events.
pub(crate) type Sums = BTreeMap<String, (i64, u64)>;

/// Sums of distinct events.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    seen: HashSet<(String, String)>,
    pub(crate) total: (i64, u64),
    pub(crate) by_customer: Sums,
    pub(crate) by_model: Sums,
    pub(crate) by_tag: BTreeMap<String, Sums>,
    pub(crate) tokens: (i64, i64),
}

impl Oracle {
    /// Counts an event, unless one of the same key and provider was counted.
    pub(crate) fn count(&mut self, event: &Value) {
        let text = |member: &str| event[member].as_str().unwrap().to_owned();
        if !self.seen.insert((text("idempotencyKey"), text("provider"))) {
            return;
        }
        let cost = event["costMicrodollars"].as_i64().unwrap();
        add(&mut self.total, cost);
        add(self.by_customer.entry(text("customer")).or_default(), cost);
        add(self.by_model.entry(text("model")).or_default(), cost);
        for (key, value) in event["tags"].as_object().into_iter().flatten() {
            let sums = self.by_tag.entry(key.clone()).or_default();
            add(sums.entry(value.as_str().unwrap().to_owned()).or_default(), cost);
        }
        self.tokens.0 += event["inputTokens"].as_i64().unwrap();
        self.tokens.1 += event["outputTokens"].as_i64().unwrap();
    }

    /// Asserts that the site shows these sums, through the API and in SQL, from raw rows and from
    /// roll-ups.
    pub(crate) fn assert_shown_by(&self, site: &impl Deployment) {
        site.wait_for_rows(self.total.1);
        for (table, count) in [("cost_events", "count()"), ("cost_by_hour", "sum(requests)")] {
            assert_eq!(
                sql_sums(site, "''", count, table),
                BTreeMap::from([(String::new(), self.total)]),
                "{table}"
            );
            assert_eq!(
                sql_sums(site, "customer_id", count, table),
                self.by_customer,
                "{table}"
            );
            assert_eq!(
                sql_sums(site, "toString(model)", count, table),
                self.by_model,
                "{table}"
            );
        }
        assert_eq!(
            sql_sums(site, "customer_id", "sum(requests)", "cost_by_customer_month"),
            self.by_customer
        );
        let tokens = &site.sql("SELECT sum(input_tokens) AS i, sum(output_tokens) AS o FROM cost_by_hour")[0];
        assert_eq!(
            (tokens["i"].as_i64().unwrap(), tokens["o"].as_i64().unwrap()),
            self.tokens
        );
        let cookie = site.sign_in();
        for (key, sums) in self
            .by_tag
            .iter()
            .chain([(&"customer".to_owned(), &self.by_customer)])
        {
            let from = format!("cost_by_tag_day WHERE tag_key = '{key}'");
            assert_eq!(
                sql_sums(site, "tag_value", "sum(requests)", &from),
                *sums,
                "tag {key}"
            );
            assert_eq!(
                self.attribution(site, &cookie, key),
                *sums,
                "attribution by {key}"
            );
        }
    }

    fn attribution(&self, site: &impl Deployment, cookie: &str, key: &str) -> Sums {
        let path = format!("/api/cost-events/attribution?groupBy={key}&period=90d&limit=500");
        let data = site.get(cookie, &path).expect(200).json()["data"].clone();
        assert_eq!(data["hasMore"], false);
        assert_eq!(data["totals"]["totalCostMicrodollars"], self.total.0);
        assert_eq!(data["totals"]["totalRequests"], self.total.1);
        let groups = data["groups"].as_array().unwrap().iter();
        groups
            .map(|group| {
                let sums = (
                    group["totalCostMicrodollars"].as_i64().unwrap(),
                    group["requestCount"].as_u64().unwrap(),
                );
                (group["key"].as_str().unwrap().to_owned(), sums)
            })
            .collect()
    }
}

pub(crate) fn add(sums: &mut (i64, u64), cost: i64) {
    sums.0 += cost;
    sums.1 += 1;
}

fn sql_sums(site: &impl Deployment, key: &str, count: &str, from: &str) -> Sums {
    let rows = site.sql(&format!(
        "SELECT {key} AS k, sum(cost_microdollars) AS cost, toUInt64({count}) AS n FROM {from} GROUP BY k"
    ));
    rows.iter()
        .map(|row| {
            (
                row["k"].as_str().unwrap().to_owned(),
                (row["cost"].as_i64().unwrap(), row["n"].as_u64().unwrap()),
            )
        })
        .collect()
}
