//! Retries, on every way in and at every age, and conflicts.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::deployment::Deployment;
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

/// Copies with other content follow within one request, so that their chunks are on their way to
/// the log together.
#[test]
fn the_first_content_wins_however_close_the_other_follows() {
    let site = Site::started();
    let mut oracle = Oracle::default();
    let first: Vec<Value> = (0..30_000).map(|index| event("close", index)).collect();
    first.iter().for_each(|event| oracle.count(event));
    let other = first.iter().map(|event| {
        let mut other = event.clone();
        other["costMicrodollars"] = json!(1);
        other
    });
    let body = [lines(&first), lines(&other.collect::<Vec<_>>())].concat();
    let outcome = site.stream(&body).unwrap().expect(200).json()["data"].clone();
    assert_eq!(
        (&outcome["accepted"], &outcome["duplicates"]),
        (&json!(30_000), &json!(30_000))
    );
    oracle.assert_shown_by(&site);
    let deadline = Instant::now() + Duration::from_secs(60);
    let query = "SELECT toUInt64(count()) AS n FROM dead_letters WHERE reason = 'idempotency_conflict' AND raw LIKE '%\"cost_microdollars\":1,%'";
    // Those whose first content costs 1 too are no conflicts.
    let num_conflicts = first
        .iter()
        .filter(|event| event["costMicrodollars"] != json!(1))
        .count() as u64;
    while site.sql(query) != vec![json!({"n": num_conflicts})] {
        assert!(
            Instant::now() < deadline,
            "{:?} of {num_conflicts}:\n{}",
            site.sql(query),
            site.log()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    oracle.assert_shown_by(&site);
    site.assert_reconciled();
}

#[test]
fn a_stream_waits_for_a_processor_that_is_behind() {
    let site = Site::new();
    site.start(&[("MARGINSTREAM_MAX_UNPROCESSED_EVENTS", "1000")]);
    let mut oracle = Oracle::default();
    let events: Vec<Value> = (0..40_000).map(|index| event("behind", index)).collect();
    events.iter().for_each(|event| oracle.count(event));
    let outcome = site.stream(&lines(&events)).unwrap().expect(200).json()["data"].clone();
    assert_eq!(outcome["accepted"], 40_000);
    oracle.assert_shown_by(&site);
}

/// A client that hangs up does not know whether its event is durable; its retry counts once.
#[test]
fn a_client_that_hangs_up_may_repeat() {
    use std::io::Write;
    let site = Site::started();
    let mut oracle = Oracle::default();
    for index in 0..200 {
        let sent = event("hung-up", index);
        oracle.count(&sent);
        let body = sent.to_string();
        let mut connection = std::net::TcpStream::connect(site.listen).unwrap();
        write!(
            connection,
            "POST /api/cost-events HTTP/1.1\r\nHost: a\r\nX-NullSpend-Key: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            site.owner().api_key,
            body.len()
        )
        .unwrap();
        drop(connection);
        let status = site.post_event(&sent).unwrap().status;
        assert!(status == 200 || status == 201, "{status}");
    }
    oracle.assert_shown_by(&site);
    site.assert_reconciled();
}
