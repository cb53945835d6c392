//! Ranking of attribution groups, and their CSV (`../spec/cost-events.md` §10).

use std::cmp::Reverse;
use std::collections::HashMap;

use marginstream_http::csv::CsvText;
use schemas::api::attribution::{AttributionGroup, AttributionTotals};
use schemas::id::ApiKeyId;
use schemas::money::{Microdollars, MoneyError, round_half_up};

/// Key of the group of events that lack the tag, or the customer.
const NO_VALUE: &str = "(none)";
/// Key of the group of events without an API key.
const NO_KEY: &str = "(no key)";

const HEADER: &str =
    "key,key_id,total_cost_microdollars,total_cost_usd,request_count,avg_cost_microdollars,avg_cost_usd";

/// Cost and number of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) cost_microdollars: i64,
    pub(crate) requests: u64,
}

/// The sum of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupSum {
    pub(crate) key: String,
    pub(crate) key_id: Option<ApiKeyId>,
    pub(crate) sum: Sum,
}

/// Returns the group of the events that do not carry a tag: `totals` less `tagged`, the sum over
/// all events that carry it. None where there are no such events.
///
/// The two sums come from two tables, which a batch in flight reaches one after the other; a
/// difference that is not positive means that there is nothing to show yet.
///
/// # Errors
/// [`MoneyError::Overflow`].
pub(crate) fn untagged(totals: Sum, tagged: Sum) -> Result<Option<GroupSum>, MoneyError> {
    let Some(requests) = totals
        .requests
        .checked_sub(tagged.requests)
        .filter(|requests| *requests > 0)
    else {
        return Ok(None);
    };
    let cost = Microdollars(totals.cost_microdollars).checked_sub(Microdollars(tagged.cost_microdollars))?;
    let sum = Sum {
        cost_microdollars: cost.0,
        requests,
    };
    Ok(Some(GroupSum {
        key: NO_VALUE.to_owned(),
        key_id: None,
        sum,
    }))
}

/// Gives the groups of API keys their names. A key whose name is not known goes by its id.
pub(crate) fn name_keys(
    sums: Vec<(Option<ApiKeyId>, Sum)>,
    names: &HashMap<ApiKeyId, String>,
) -> Vec<GroupSum> {
    let named = |(key_id, sum): (Option<ApiKeyId>, Sum)| {
        let key = match key_id {
            Some(id) => names.get(&id).cloned().unwrap_or_else(|| id.to_string()),
            None => NO_KEY.to_owned(),
        };
        GroupSum { key, key_id, sum }
    };
    sums.into_iter().map(named).collect()
}

/// Returns the `limit` dearest groups, ties by key ascending, and whether there are more.
pub(crate) fn rank(mut groups: Vec<GroupSum>, limit: usize) -> (Vec<AttributionGroup>, bool) {
    groups.sort_by(|a, b| rank_key(a).cmp(&rank_key(b)));
    let has_more = groups.len() > limit;
    (
        groups.into_iter().take(limit).map(GroupSum::into_api).collect(),
        has_more,
    )
}

fn rank_key(group: &GroupSum) -> impl Ord + '_ {
    (
        Reverse(group.sum.cost_microdollars),
        group.key.as_str(),
        group.key_id,
    )
}

impl GroupSum {
    fn into_api(self) -> AttributionGroup {
        let Sum {
            cost_microdollars,
            requests,
        } = self.sum;
        let average = round_half_up(i128::from(cost_microdollars), i128::from(requests));
        AttributionGroup {
            key: self.key,
            key_id: self.key_id,
            total_cost_microdollars: cost_microdollars,
            request_count: requests,
            // Not larger than the cost, which fits.
            avg_cost_microdollars: i64::try_from(average).unwrap_or(cost_microdollars),
        }
    }
}

impl From<Sum> for AttributionTotals {
    fn from(sum: Sum) -> Self {
        Self {
            total_cost_microdollars: sum.cost_microdollars,
            total_requests: sum.requests,
        }
    }
}

/// Prints the groups in their order; dollars with all six decimals.
pub(crate) fn print_attribution_csv(groups: &[AttributionGroup]) -> String {
    let mut csv = CsvText::with_header(HEADER);
    for group in groups {
        csv.start_row();
        csv.text(&group.key);
        match group.key_id {
            Some(id) => csv.text(&id.to_string()),
            None => csv.empty(),
        }
        csv.number(group.total_cost_microdollars);
        csv.number(Microdollars(group.total_cost_microdollars).to_dollars_6());
        csv.number(group.request_count);
        csv.number(group.avg_cost_microdollars);
        csv.number(Microdollars(group.avg_cost_microdollars).to_dollars_6());
    }
    csv.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(cost_microdollars: i64, requests: u64) -> Sum {
        Sum {
            cost_microdollars,
            requests,
        }
    }

    fn group(key: &str, cost: i64, requests: u64) -> GroupSum {
        GroupSum {
            key: key.to_owned(),
            key_id: None,
            sum: sum(cost, requests),
        }
    }

    #[test]
    fn ranks_by_cost_then_key() {
        let groups = vec![
            group("b", 5, 1),
            group("c", 9, 1),
            group("a", 5, 1),
            group("", 5, 1),
        ];
        let (ranked, has_more) = rank(groups, 3);
        assert_eq!(
            ranked.iter().map(|group| group.key.as_str()).collect::<Vec<_>>(),
            ["c", "", "a"]
        );
        assert!(has_more);
        assert!(!rank(vec![group("a", 1, 1)], 1).1);
    }

    #[test]
    fn averages_are_rounded_half_up() {
        let average = |cost, requests| rank(vec![group("a", cost, requests)], 1).0[0].avg_cost_microdollars;
        assert_eq!(average(20, 3), 7);
        assert_eq!(average(5, 2), 3);
        assert_eq!(average(-5, 2), -2);
        assert_eq!(average(i64::MAX, 1), i64::MAX);
        assert_eq!(average(7, 0), 0);
    }

    #[test]
    fn what_lacks_the_tag_is_the_rest() {
        assert_eq!(
            untagged(sum(25, 6), sum(20, 3)).unwrap(),
            Some(group("(none)", 5, 3))
        );
        assert_eq!(untagged(sum(25, 6), sum(25, 6)).unwrap(), None);
        assert_eq!(untagged(sum(25, 6), sum(30, 7)).unwrap(), None);
        assert!(untagged(sum(i64::MAX, 2), sum(-1, 1)).is_err());
    }

    #[test]
    fn keys_of_one_name_stay_apart() {
        let (first, second) = (ApiKeyId::random(), ApiKeyId::random());
        let names = HashMap::from([(first, "etl".to_owned()), (second, "etl".to_owned())]);
        let unknown = ApiKeyId::random();
        let sums = vec![
            (Some(first), sum(1, 1)),
            (Some(second), sum(2, 1)),
            (None, sum(3, 1)),
            (Some(unknown), sum(4, 1)),
        ];
        let groups = name_keys(sums, &names);
        let keys: Vec<_> = groups.iter().map(|group| group.key.as_str()).collect();
        assert_eq!(keys, ["etl", "etl", "(no key)", unknown.to_string().as_str()]);
    }
}
