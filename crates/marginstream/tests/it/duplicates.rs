//! Retries, on every way in and at every age, and conflicts.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::events::{event, lines};
use crate::oracle::Oracle;
use crate::server::Site;

#[test]
fn a_retry_counts_once_on_every_way_in_and_after_a_restart() {
    let site = Site::started();
    let mut oracle = Oracle::default();
    let events: Vec<Value> = (0..400).map(|index| event("retry", index)).collect();
    events.iter().for_each(|event| oracle.count(event));

    let twice = lines(events.iter().chain(&events[..100]));
    let outcome = site.stream(&twice).unwrap().expect(200).json()["data"].clone();
    assert_eq!(
        (&outcome["accepted"], &outcome["duplicates"]),
        (&json!(400), &json!(100))
    );

    let first = site.post_event(&events[0]).unwrap().expect(200).json();
    let batch = json!({"events": [events[1], events[1], event("retry", 400)]}).to_string();
    let answer = site
        .with_key("/api/cost-events/batch", "application/json", batch.as_bytes())
        .unwrap()
        .expect(201);
    assert_eq!(answer.json()["inserted"], 1);
    oracle.count(&event("retry", 400));
    oracle.assert_shown_by(&site);

    // Known from the warehouse alone.
    site.stop();
    site.start(&[]);
    let outcome = site.stream(&twice).unwrap().expect(200).json()["data"].clone();
    assert_eq!(
        (&outcome["accepted"], &outcome["duplicates"]),
        (&json!(0), &json!(500))
    );
    assert_eq!(
        site.post_event(&events[0]).unwrap().expect(200).json(),
        first,
        "the first id and createdAt"
    );
    oracle.assert_shown_by(&site);
    site.assert_reconciled();
}

#[test]
fn the_first_of_two_contents_wins_and_the_other_is_listed() {
    let site = Site::started();
    let mut oracle = Oracle::default();
    let first = event("conflict", 1);
    oracle.count(&first);
    let mut second = first.clone();
    second["costMicrodollars"] = json!(1);
    site.post_event(&first).unwrap().expect(201);
    site.post_event(&second).unwrap().expect(200);
    site.stream(&lines([&second])).unwrap().expect(200);
    oracle.assert_shown_by(&site);
    let deadline = Instant::now() + Duration::from_secs(20);
    let query = "SELECT reason, toUInt64(count()) AS n FROM dead_letters GROUP BY reason";
    while site.sql(query) != vec![json!({"reason": "idempotency_conflict", "n": 2})] {
        assert!(Instant::now() < deadline, "{:?}", site.sql(query));
        std::thread::sleep(Duration::from_millis(50));
    }
    oracle.assert_shown_by(&site);
    site.assert_reconciled();
}

#[test]
fn concurrent_copies_count_once() {
    let site = Site::started();
    let mut oracle = Oracle::default();
    let events: Vec<Value> = (0..300).map(|index| event("race", index)).collect();
    events.iter().for_each(|event| oracle.count(event));
    let body = lines(&events);
    let accepted: u64 = std::thread::scope(|scope| {
        let sent: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| site.stream(&body).unwrap().expect(200).json()))
            .collect();
        sent.into_iter()
            .map(|answer| answer.join().unwrap()["data"]["accepted"].as_u64().unwrap())
            .sum()
    });
    assert_eq!(accepted, 300);
    oracle.assert_shown_by(&site);
}

#[test]
fn a_broken_line_rejects_that_line_only() {
    let site = Site::started();
    let good = event("lines", 1);
    let mut body = lines([&good]);
    body.extend_from_slice(b"\nnot json\n{\"provider\":1}\n");
    body.extend(lines([&event("lines", 2)]));
    let outcome = site.stream(&body).unwrap().expect(200).json()["data"].clone();
    assert_eq!(
        (&outcome["accepted"], &outcome["rejected"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(outcome["errors"][0]["line"], 3);
    assert_eq!(outcome["errors"][1]["line"], 4);
    assert_eq!(outcome["errors"][1]["issues"].as_array().unwrap().len(), 5);
    site.wait_for_rows(2);
}

#[test]
fn an_acknowledged_event_shows_in_margins_within_a_second() {
    let site = Site::started();
    let cookie = site.sign_in();
    site.map(&cookie, "fresh", "cus_fresh");
    for round in 1..=5 {
        let mut fresh = event("fresh", round);
        fresh["customer"] = json!("fresh");
        fresh["costMicrodollars"] = json!(1_000);
        site.post_event(&fresh).unwrap().expect(201);
        let acknowledged = Instant::now();
        loop {
            let table = site.get(&cookie, "/api/margins").expect(200).json();
            if table["data"]["summary"]["totalCostMicrodollars"] == json!(1_000 * round) {
                break;
            }
            assert!(
                acknowledged.elapsed() < Duration::from_secs(1),
                "not shown after a second: {table}"
            );
        }
        println!("shown after {} ms", acknowledged.elapsed().as_millis());
    }
}
