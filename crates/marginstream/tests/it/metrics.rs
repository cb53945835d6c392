//! Metrics and probes of a running server: the books balance, and agree with what was sent and with
//! the warehouse.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::deployment::Deployment;
use crate::events::{event, lines};
use crate::http;
use crate::server::Site;

/// Labels by name.
type Labels = BTreeMap<String, String>;

/// What a server shows, read by the rules of the text format 0.0.4.
pub(crate) struct Scrape {
    help: BTreeMap<String, String>,
    kinds: BTreeMap<String, String>,
    samples: Vec<(String, Labels, f64)>,
}

impl Scrape {
    pub(crate) fn of(site: &Site) -> Self {
        let answer = http::send(site.listen, "GET", "/metrics", &[], b"")
            .unwrap()
            .expect(200);
        assert_eq!(
            answer.header("content-type"),
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        let mut scrape = Self {
            help: BTreeMap::new(),
            kinds: BTreeMap::new(),
            samples: Vec::new(),
        };
        for line in answer.text().lines().filter(|line| !line.is_empty()) {
            scrape.read(line);
        }
        scrape
    }

    fn read(&mut self, line: &str) {
        let pair = |text: &str| {
            let (name, rest) = text.split_once(' ').unwrap();
            (name.to_owned(), rest.to_owned())
        };
        if let Some(help) = line.strip_prefix("# HELP ") {
            self.help.extend([pair(help)]);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = pair(kind);
            assert!(
                self.kinds.insert(name.clone(), kind).is_none(),
                "two types of {name}"
            );
        } else {
            let (key, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = match key.split_once('{') {
                Some((name, labels)) => (name, read_labels(labels.strip_suffix('}').unwrap())),
                None => (key, Labels::new()),
            };
            self.samples
                .push((name.to_owned(), labels, value.parse().unwrap()));
        }
    }

    /// The sum over all series that have these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let has = |known: &Labels| {
            labels
                .iter()
                .all(|(label, value)| known.get(*label).is_some_and(|known| known == value))
        };
        let named = self.samples.iter().filter(|(known, ..)| known == name);
        let values: Vec<f64> = named
            .filter(|(_, known, _)| has(known))
            .map(|(.., value)| *value)
            .collect();
        assert!(!values.is_empty(), "{name} {labels:?} is not shown");
        values.iter().sum::<f64>() as u64
    }

    fn ingested(&self, what: &str) -> u64 {
        self.sum(&format!("marginstream_ingest_{what}_events_total"), &[])
    }

    fn rejected(&self, reason: &str) -> u64 {
        self.sum("marginstream_ingest_rejected_events_total", &[("reason", reason)])
    }

    fn processed(&self, what: &str, topic: &str) -> u64 {
        self.sum(
            &format!("marginstream_processor_{what}_items_total"),
            &[("topic", topic)],
        )
    }

    fn assert_books_balance(&self) {
        let outcomes = ["accepted", "duplicate", "rejected", "limited"].map(|what| self.ingested(what));
        assert_eq!(
            self.ingested("received"),
            outcomes.iter().sum::<u64>(),
            "{outcomes:?}"
        );
        for topic in ["cost-events", "invoices", "dimensions"] {
            let outcomes = ["inserted", "duplicate", "dead_lettered"].map(|what| self.processed(what, topic));
            assert_eq!(
                self.processed("consumed", topic),
                outcomes.iter().sum::<u64>(),
                "{topic}: {outcomes:?}"
            );
        }
    }

    /// Scrapes until nothing waits, and the processor has consumed so many events.
    fn once_processed(site: &Site, num_events: u64) -> Self {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let scrape = Self::of(site);
            let lag = scrape.sum("marginstream_processor_lag_records", &[]);
            let waiting = scrape.sum("marginstream_ingest_waiting_events", &[]);
            let consumed = scrape.processed("consumed", "cost-events");
            if (lag, waiting) == (0, 0) && consumed >= num_events {
                return scrape;
            }
            assert!(
                Instant::now() < deadline,
                "lag {lag}, waiting {waiting}, consumed {consumed} of {num_events}:\n{}",
                site.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Values here have no quotes, so that commas between pairs of them are the borders.
fn read_labels(text: &str) -> Labels {
    let pairs = text.trim_end_matches('"').split("\",");
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once("=\"").unwrap();
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

/// Name, type and labels of each metric, as the documentation lists them.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let page = include_str!("../../../../docs/metrics.md");
    let rows = page.lines().filter(|line| line.starts_with("| `marginstream_"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let labels = cells[3].split(", ").filter(|label| !label.is_empty());
        let labels = labels.map(str::to_owned).collect();
        (cells[1].clone(), (cells[2].clone(), labels))
    })
    .collect()
}

/// Each documented metric appears with its type, its meaning and its labels, and no other does.
fn assert_documented(scrape: &Scrape) {
    let documented = documented();
    let kinds: BTreeMap<&str, &str> = documented
        .iter()
        .map(|(name, (kind, _))| (&**name, &**kind))
        .collect();
    let shown: BTreeMap<&str, &str> = scrape
        .kinds
        .iter()
        .map(|(name, kind)| (&**name, &**kind))
        .collect();
    assert_eq!(shown, kinds);
    for name in documented.keys() {
        assert!(
            scrape.help.get(name).is_some_and(|help| !help.is_empty()),
            "{name} has no HELP"
        );
    }
    for (name, labels, _) in &scrape.samples {
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| {
                name.strip_suffix(suffix)
                    .filter(|base| documented.contains_key(*base))
            })
            .unwrap_or(name);
        let shown: BTreeSet<_> = labels.keys().filter(|label| *label != "le").cloned().collect();
        assert_eq!(shown, documented[base].1, "labels of {name}");
    }
}

/// No label says who did something, or to what.
fn assert_no_ids(scrape: &Scrape, site: &Site, ids: &[&str]) {
    for (name, labels, _) in &scrape.samples {
        for (label, value) in labels.iter().filter(|(label, _)| *label != "le") {
            let longest_hex = value
                .split(|c: char| !c.is_ascii_hexdigit())
                .map(str::len)
                .max()
                .unwrap_or(0);
            let is_id = longest_hex >= 8 || value.contains('@') || value.contains("ns_");
            assert!(!is_id, "{name} has the label {label}={value}");
            assert!(value.len() < 64, "{name} has the label {label}={value}");
            for id in ids.iter().chain([&&*site.owner().email, &&*site.owner().api_key]) {
                assert!(!value.contains(id), "{name} has the label {label}={value}");
            }
        }
    }
}

fn post_batch(site: &Site, events: &[Value]) -> http::Answer {
    let body = json!({ "events": events }).to_string();
    site.with_key("/api/cost-events/batch", "application/json", body.as_bytes())
        .unwrap()
}

#[test]
fn the_books_balance_and_agree_with_the_warehouse() {
    let site = Site::new();
    site.start(&[("MARGINSTREAM_EVENTS_PER_KEY_PER_MIN", "600")]);
    let events: Vec<Value> = (0..100).map(|index| event("books", index)).collect();
    let mut conflicting = events[0].clone();
    conflicting["costMicrodollars"] = json!(4_000_000);

    // New ones, in each way: 1 + 9 + 90; and known ones: 1 + 2 + 3, one of them with other content.
    site.post_event(&events[0]).unwrap().expect(201);
    site.post_event(&events[0]).unwrap().expect(200);
    post_batch(&site, &events[..10]).expect(201);
    assert_eq!(post_batch(&site, &events[1..3]).expect(201).json()["inserted"], 0);
    let mut body = lines(events[10..].iter().chain(&events[..2]).chain([&conflicting]));
    body.extend_from_slice(b"\nnot json\n{\"provider\":1}\n\n");
    let outcome = site.stream(&body).unwrap().expect(200).json()["data"].clone();
    assert_eq!(
        outcome.as_object().map(|outcome| [
            &outcome["accepted"],
            &outcome["duplicates"],
            &outcome["rejected"]
        ]),
        Some([&json!(90), &json!(3), &json!(2)])
    );

    // Refused: one that is no JSON, one that breaks a rule, a batch with one such item.
    for broken in ["{", "{\"provider\":1}"] {
        site.with_key("/api/cost-events", "application/json", broken.as_bytes())
            .unwrap()
            .expect(400);
    }
    post_batch(&site, &[event("fine", 1), json!({})]).expect(400);
    // A body that is no batch has no events; neither has one without a valid key.
    site.with_key("/api/cost-events/batch", "application/json", b"[]")
        .unwrap()
        .expect(400);
    let stranger = [
        ("X-NullSpend-Key", "ns_live_sk_0"),
        ("Content-Type", "application/json"),
    ];
    http::send(site.listen, "POST", "/api/cost-events", &stranger, b"{}")
        .unwrap()
        .expect(401);

    // The quota of 600 a minute lets only some of these through.
    let mut limited = 0;
    let mut accepted = 100;
    for batch in 0..8 {
        let events: Vec<_> = (0..100).map(|index| event("much", batch * 100 + index)).collect();
        match post_batch(&site, &events).status {
            201 => accepted += 100,
            429 => limited += 100,
            status => panic!("{status}"),
        }
    }
    assert!(limited >= 200 && accepted >= 500, "{limited} {accepted}");

    let scrape = Scrape::once_processed(&site, accepted + 1);
    scrape.assert_books_balance();
    assert_eq!(scrape.ingested("accepted"), accepted);
    assert_eq!(scrape.ingested("duplicate"), 1 + 1 + 2 + 3);
    assert_eq!(scrape.ingested("limited"), limited);
    assert_eq!(scrape.rejected("invalid_json"), 2);
    assert_eq!(scrape.rejected("validation_error"), 1 + 1 + 2);
    assert_eq!(scrape.rejected("abandoned"), 0);
    // The conflict is in the log as well, for the processor to list.
    assert_eq!(scrape.processed("consumed", "cost-events"), accepted + 1);
    assert_eq!(scrape.processed("inserted", "cost-events"), accepted);
    assert_eq!(
        scrape.sum(
            "marginstream_processor_dead_lettered_items_total",
            &[("reason", "idempotency_conflict")]
        ),
        1
    );
    assert_eq!(scrape.sum("marginstream_known_events_filter_ids", &[]), accepted);

    // The warehouse says the same.
    let count = |from: &str| {
        site.sql(&format!("SELECT toUInt64(count()) AS n FROM {from}"))[0]["n"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(count("cost_events"), accepted);
    assert_eq!(count("dead_letters"), 1);
    let ledger = &site.sql(
        "SELECT toUInt64(sum(consumed)) AS consumed, toUInt64(count()) AS batches FROM batches WHERE topic = 'cost-events'",
    )[0];
    let topic = [("topic", "cost-events")];
    assert_eq!(
        *ledger,
        json!({
            "consumed": scrape.processed("consumed", "cost-events"),
            "batches": scrape.sum("marginstream_processor_batches_total", &topic),
        })
    );
    for (name, expected) in [
        ("batch_rows_sum", accepted + 1),
        ("batch_rows_count", ledger["batches"].as_u64().unwrap()),
        (
            "received_to_queryable_seconds_count",
            ledger["batches"].as_u64().unwrap(),
        ),
    ] {
        let shown = scrape.sum(&format!("marginstream_processor_{name}"), &topic);
        assert_eq!(shown, expected, "{name}");
    }
}

#[test]
fn every_documented_metric_shows_and_no_label_holds_an_id() {
    let site = Site::started();
    let cookie = site.sign_in();
    site.map(&cookie, "globex", "cus_1234567890");
    let created = site.post_event(&event("shown", 1)).unwrap().expect(201).json();
    let id = created["data"]["id"].as_str().unwrap().to_owned();
    for path in [
        "/api/margins",
        "/api/margins/globex",
        "/api/customer-mappings",
        "/api/cost-events",
        "/api/cost-events/attribution?groupBy=customer&period=7d",
        "/api/cost-events/attribution?groupBy=api_key&period=7d",
    ] {
        site.get(&cookie, path).expect(200);
    }
    let by_id = format!("/api/cost-events/{id}");
    let deadline = Instant::now() + Duration::from_secs(20);
    while site.get(&cookie, &by_id).status != 200 {
        assert!(Instant::now() < deadline, "the event is not shown");
        std::thread::sleep(Duration::from_millis(20));
    }
    site.get(&cookie, &format!("/api/nothing/{id}")).expect(404);
    http::send(site.listen, "BREW", &format!("/{}", site.owner().email), &[], b"")
        .unwrap()
        .expect(404);

    let scrape = Scrape::once_processed(&site, 1);
    assert_documented(&scrape);
    assert_no_ids(&scrape, &site, &[&id, "globex", "cus_1234567890", "1234567890"]);
    let requests = |labels: &[(&str, &str)]| scrape.sum("marginstream_http_requests_total", labels);
    assert_eq!(
        requests(&[
            ("route", "/api/cost-events"),
            ("method", "POST"),
            ("status", "201")
        ]),
        1
    );
    assert!(requests(&[("route", "/api/cost-events/{id}"), ("status", "200")]) >= 1);
    assert_eq!(requests(&[("route", "unmatched"), ("method", "other")]), 1);
    let memory = scrape.sum("marginstream_process_resident_memory_bytes", &[]);
    assert!((50 << 20..8 << 30).contains(&memory), "{memory}");
}

#[test]
fn operators_ask_outside_of_the_edge() {
    let site = Site::started();
    let get = |path: &str| http::send(site.listen, "GET", path, &[], b"").unwrap();
    for path in ["/metrics", "/health/live", "/health/ready"] {
        let answer = get(path).expect(200);
        assert_eq!(answer.header("nullspend-version"), None, "{path}");
    }
    assert_eq!(get("/health/live").json(), json!({"status": "ok"}));
    assert_eq!(
        get("/health/ready").json(),
        json!({"status": "ok", "components": {
            "controlStore": {"status": "ok"}, "eventLog": {"status": "ok"},
        }})
    );
    assert_eq!(get("/api/health").header("nullspend-version"), Some("2026-04-01"));
}

#[test]
fn the_detail_of_health_is_for_those_who_have_the_secret() {
    let site = Site::new();
    site.start(&[("MARGINSTREAM_HEALTH_SECRET", "only-for-operators")]);
    let get = |headers: &[(&str, &str)]| {
        http::send(site.listen, "GET", "/api/health?verbose=1", headers, b"")
            .unwrap()
            .expect(200)
            .json()
    };
    assert_eq!(get(&[]), json!({"status": "ok"}));
    assert_eq!(get(&[("x-ops-health-secret", "guess")]), json!({"status": "ok"}));
    let full = get(&[("x-ops-health-secret", "only-for-operators")]);
    let components = full["components"].as_object().unwrap();
    assert_eq!(
        components.keys().collect::<Vec<_>>(),
        ["controlStore", "disk", "eventLog", "processor", "warehouse"]
    );
    assert!(
        components
            .values()
            .all(|component| *component == json!({"status": "ok"})),
        "{full}"
    );
}
