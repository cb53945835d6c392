//! What happens in the demo: who pays what, and what that costs. A pure function of seed, time and
//! size.

use chrono::{DateTime, Utc};
use schemas::money::Microdollars;
use schemas::period::Period;
use serde_json::{Value, json};

use super::names::{CUSTOMERS, MODELS, PRICES, tag_of};
use super::random::Random;

/// A customer's way through the season: cost as a share of revenue, in percent, in the first month
/// and by how much it changes each month.
#[derive(Debug, Clone, Copy)]
struct Course {
    first_percent: (u64, u64),
    change: i64,
    weight: u64,
}

const COURSES: [Course; 7] = [
    Course {
        first_percent: (12, 34),
        change: 1,
        weight: 40,
    },
    Course {
        first_percent: (26, 42),
        change: -3,
        weight: 12,
    },
    Course {
        first_percent: (52, 72),
        change: 2,
        weight: 18,
    },
    Course {
        first_percent: (28, 40),
        change: 18,
        weight: 10,
    },
    Course {
        first_percent: (78, 90),
        change: 4,
        weight: 8,
    },
    Course {
        first_percent: (105, 130),
        change: 16,
        weight: 8,
    },
    Course {
        first_percent: (110, 120),
        change: -24,
        weight: 4,
    },
];

/// Customers on a free trial: cost, but no invoice.
const NUM_TRIALS: usize = 2;
/// The last customers of the list have no mapping: they wait among the unmatched.
const NUM_UNMAPPED: usize = 2;

/// A customer of the demo.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Customer {
    pub(super) name: &'static str,
    pub(super) tag: String,
    pub(super) stripe_id: String,
    pub(super) is_mapped: bool,
    /// Index of the model that most of its events use.
    pub(super) main_model: usize,
}

/// What one customer costs in one month.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spend {
    /// Index of the customer.
    pub(super) customer: usize,
    pub(super) period: Period,
    /// In microdollars; the events come to about this.
    pub(super) target: u64,
    pub(super) num_events: u64,
}

/// Three whole months, and the current one so far.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Season {
    pub(super) now: DateTime<Utc>,
    pub(super) customers: Vec<Customer>,
    /// Stripe's invoice objects.
    pub(super) invoices: Vec<Value>,
    pub(super) spends: Vec<Spend>,
}

impl Season {
    /// Generates a season that ends `now`, with about `num_events` events.
    pub(super) fn generate(seed: u64, now: DateTime<Utc>, num_events: u64) -> Self {
        let mut random = Random::new(seed);
        let mut season = Self {
            now,
            customers: Vec::new(),
            invoices: Vec::new(),
            spends: Vec::new(),
        };
        for (index, name) in CUSTOMERS.into_iter().enumerate() {
            season.add_customer(index, name, &mut random);
        }
        season.share_events(num_events);
        season
    }

    /// Returns the month that the demo shows: the last whole one.
    pub(super) fn shown_period(&self) -> Period {
        Period::containing(self.now).previous()
    }

    /// Returns the months, oldest first; the last is the current one.
    pub(super) fn periods(&self) -> [Period; 4] {
        let [first, second, third] = self.shown_period().window_of_three();
        [first, second, third, Period::containing(self.now)]
    }

    /// Returns what was invoiced to mapped customers and counts in `period`, in microdollars.
    pub(super) fn revenue(&self, period: Period) -> i64 {
        let mapped: Vec<_> = self
            .customers
            .iter()
            .filter(|customer| customer.is_mapped)
            .collect();
        let counts = |invoice: &&Value| {
            let created = invoice["created"]
                .as_i64()
                .and_then(|secs| DateTime::from_timestamp(secs, 0));
            invoice["status"] == "paid"
                && created.is_some_and(|created| Period::containing(created) == period)
                && mapped
                    .iter()
                    .any(|customer| invoice["customer"] == *customer.stripe_id)
        };
        let cents = self
            .invoices
            .iter()
            .filter(counts)
            .filter_map(|invoice| invoice["amount_paid"].as_i64());
        cents.sum::<i64>() * Microdollars::PER_CENT
    }

    fn add_customer(&mut self, index: usize, name: &'static str, random: &mut Random) {
        let customer = Customer {
            name,
            tag: tag_of(name),
            stripe_id: format!("cus_Demo{index:04}"),
            is_mapped: index < CUSTOMERS.len() - NUM_UNMAPPED,
            main_model: random.range(0, MODELS.len() as u64) as usize,
        };
        let course = pick_course(random);
        let first_percent = random.range(course.first_percent.0, course.first_percent.1);
        let price_cents = random.pick(&PRICES);
        let is_trial = index % (CUSTOMERS.len() / NUM_TRIALS) == 5;
        for (month, period) in self.periods().into_iter().enumerate() {
            let growth = random.range(96, 112) * (100 + 3 * month as u64);
            let cents = price_cents * growth as i64 / 10_000;
            if !is_trial {
                self.add_invoices(&customer, period, cents, random);
            }
            let noise = random.range(94, 107);
            let percent = (first_percent as i64 + course.change * month as i64).max(5) as u64;
            let whole_month = cents as u64 * Microdollars::PER_CENT as u64 * percent / 100 * noise / 100;
            let target = whole_month * self.elapsed_permille(period) / 1_000;
            self.spends.push(Spend {
                customer: index,
                period,
                target,
                num_events: 0,
            });
        }
        self.customers.push(customer);
    }

    /// Returns how much of the month has passed, in thousandths.
    fn elapsed_permille(&self, period: Period) -> u64 {
        let total = (period.next().start() - period.start()).num_seconds().max(1);
        let elapsed = (self.now - period.start()).num_seconds().clamp(0, total);
        (elapsed * 1_000 / total) as u64
    }

    /// Adds the month's invoice; sometimes one for extra use, or one that was voided.
    fn add_invoices(&mut self, customer: &Customer, period: Period, cents: i64, random: &mut Random) {
        let start = period.start().timestamp();
        self.add_invoice(customer, start + random.range(0, 72 * 3600) as i64, cents, "paid");
        if random.chance(15) {
            let created = start + random.range(14 * 86_400, 20 * 86_400) as i64;
            self.add_invoice(customer, created, cents / 8, "paid");
        }
        if random.chance(5) {
            let created = start + random.range(3 * 86_400, 9 * 86_400) as i64;
            self.add_invoice(customer, created, 0, "void");
        }
    }

    fn add_invoice(&mut self, customer: &Customer, created: i64, cents: i64, status: &str) {
        // What lies ahead has not been invoiced, but the current month's plan has.
        let created = created.min(self.now.timestamp());
        let number = self.invoices.len();
        self.invoices.push(json!({
            "id": format!("in_Demo{number:06}"),
            "object": "invoice",
            "amount_paid": cents,
            "created": created,
            "currency": "usd",
            "customer": customer.stripe_id,
            "customer_name": customer.name,
            "customer_email": format!("billing@{}.example", customer.tag),
            "status": status,
        }));
    }

    /// Gives each month of each customer its part of the events, by cost; at least one where there is any.
    fn share_events(&mut self, num_events: u64) {
        let total: u128 = self.spends.iter().map(|spend| u128::from(spend.target)).sum();
        for spend in &mut self.spends {
            let share = u128::from(num_events) * u128::from(spend.target) / total.max(1);
            spend.num_events = u64::try_from(share).unwrap_or(0).max(u64::from(spend.target > 0));
        }
    }
}

fn pick_course(random: &mut Random) -> Course {
    let total = COURSES.iter().map(|course| course.weight).sum();
    let mut left = random.range(0, total);
    for course in COURSES {
        if left < course.weight {
            return course;
        }
        left -= course.weight;
    }
    COURSES[0]
}

#[cfg(test)]
mod tests {
    use schemas::id::OrgId;
    use schemas::invoice::parse_stripe_invoice;
    use schemas::time::TimestampMs;

    use super::*;

    fn season() -> Season {
        Season::generate(7, "2026-05-20T12:00:00Z".parse().unwrap(), 10_000)
    }

    #[test]
    fn the_same_seed_gives_the_same_season() {
        assert_eq!(season(), season());
        assert_ne!(
            season().invoices,
            Season::generate(8, season().now, 10_000).invoices
        );
    }

    #[test]
    fn covers_three_whole_months_and_the_current_one() {
        let season = season();
        let periods = season.periods().map(|period| period.to_string());
        assert_eq!(periods, ["2026-02", "2026-03", "2026-04", "2026-05"]);
        assert_eq!(season.shown_period().to_string(), "2026-04");
        let num_events: u64 = season.spends.iter().map(|spend| spend.num_events).sum();
        assert!((9_000..=10_200).contains(&num_events), "{num_events}");
    }

    #[test]
    fn every_invoice_is_one_that_the_import_takes() {
        let season = season();
        let now = TimestampMs(season.now.timestamp_millis());
        for invoice in &season.invoices {
            let record = parse_stripe_invoice(invoice, OrgId::random(), now).unwrap();
            assert!(record.state.unwrap().created_at <= now);
        }
        assert!(season.revenue(season.shown_period()) > 1_000 * 1_000_000);
    }

    #[test]
    fn some_customers_lose_money_and_most_do_not() {
        let season = season();
        let period = season.shown_period();
        let costs = season.spends.iter().filter(|spend| spend.period == period);
        let losing = costs.filter(|spend| {
            let stripe_id = &season.customers[spend.customer].stripe_id;
            let paid = season.invoices.iter().filter(|invoice| {
                let created = DateTime::from_timestamp(invoice["created"].as_i64().unwrap(), 0).unwrap();
                invoice["customer"] == **stripe_id && Period::containing(created) == period
            });
            let cents: i64 = paid.map(|invoice| invoice["amount_paid"].as_i64().unwrap()).sum();
            spend.target as i64 > cents * Microdollars::PER_CENT
        });
        let losing = losing.count();
        assert!((2..=14).contains(&losing), "{losing}");
    }
}
