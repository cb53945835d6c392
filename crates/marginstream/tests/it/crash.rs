//! `kill -9`, again and again, while a client sends and sends again: every acknowledged event
//! counts once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::deployment::Deployment;
use crate::events::{Numbers, event, lines};
use crate::oracle::Oracle;
use crate::server::Site;

/// Every step between a request and its rows at which the server can be killed.
const POINTS: [&str; 8] = [
    "ingest-before-append",
    "ingest-after-append",
    "processor-before-intent",
    "processor-after-intent",
    "processor-prepared",
    "processor-between-inserts:1",
    "processor-between-inserts:3",
    "processor-after-commit",
];

/// Kills at each point; the same one again is a later pass.
const ROUNDS_OF_POINTS: usize = 4;
const RANDOM_KILLS: usize = 20;
const EVENTS_PER_REQUEST: u64 = 150;

/// Sends until the server acknowledges; starts it again whenever it is gone.
fn send_until_acknowledged(site: &Site, send: impl Fn() -> std::io::Result<crate::http::Answer>) -> Value {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        match send() {
            Ok(answer) if answer.status < 300 => return answer.json(),
            Ok(answer) => assert!(answer.status == 503, "{}", answer.text()),
            Err(_) if site.has_ended() => site.start(&[]),
            Err(_) => {}
        }
        assert!(Instant::now() < deadline, "no acknowledgement:\n{}", site.log());
    }
}

/// Sends one request of each kind, repeating some events of the request before.
fn send_some(site: &Site, oracle: &mut Oracle, next: &mut u64) {
    let start = next.saturating_sub(20);
    let streamed: Vec<Value> = (start..*next + EVENTS_PER_REQUEST)
        .map(|index| event("crash", index))
        .collect();
    let body = lines(&streamed);
    let outcome = send_until_acknowledged(site, || site.stream(&body));
    assert_eq!(outcome["data"]["rejected"], 0);
    let single = event("crash", *next + EVENTS_PER_REQUEST);
    send_until_acknowledged(site, || site.post_event(&single));
    streamed
        .iter()
        .chain([&single])
        .for_each(|event| oracle.count(event));
    *next += EVENTS_PER_REQUEST + 1;
}

#[test]
fn every_acknowledged_event_counts_once_whenever_the_process_is_killed() {
    let site = Site::new();
    let (mut oracle, mut next) = (Oracle::default(), 0);
    for round in 0..ROUNDS_OF_POINTS {
        for point in POINTS {
            // The n-th pass of a point lies in another batch in each round.
            let (name, pass) = point
                .split_once(':')
                .map_or((point, 1), |(name, pass)| (name, pass.parse().unwrap()));
            kill_at(&site, &format!("{name}:{}", pass + round), &mut oracle, &mut next);
        }
    }
    let killed_at_points = ROUNDS_OF_POINTS * POINTS.len();

    if site.has_ended() {
        site.start(&[]);
    }
    kill_at_random(&site, &mut oracle, &mut next);
    oracle.assert_shown_by(&site);
    site.assert_reconciled();
    println!(
        "killed {killed_at_points} times at named points and {RANDOM_KILLS} times at random: \
         {} events sent, 0 lost, 0 double",
        oracle.total.1
    );
    site.stop();
    site.start(&[]);
    oracle.assert_shown_by(&site);
}

/// Starts a server that kills itself at a point, and sends until it has.
fn kill_at(site: &Site, point: &str, oracle: &mut Oracle, next: &mut u64) {
    site.kill();
    // It may die while it still counts what the log held.
    let is_up = site.try_start(&[("MARGINSTREAM_CRASH_AT", point)]);
    let num_starts = site.num_starts();
    let deadline = Instant::now() + Duration::from_secs(60);
    while is_up && site.num_starts() == num_starts && !site.has_ended() {
        send_some(site, oracle, next);
        assert!(Instant::now() < deadline, "point {point} was not reached");
    }
}

fn kill_at_random(site: &Site, oracle: &mut Oracle, next: &mut u64) {
    let (is_done, num_killed) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut numbers = Numbers(42);
            for _ in 0..RANDOM_KILLS {
                std::thread::sleep(Duration::from_millis(20 + numbers.below(900)));
                // A server that is just starting is killed too.
                site.kill();
                num_killed.fetch_add(1, Ordering::Relaxed);
                while site.has_ended() {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            is_done.store(true, Ordering::Relaxed);
        });
        while !is_done.load(Ordering::Relaxed) {
            if site.has_ended() {
                site.try_start(&[]);
                continue;
            }
            send_while_killed(site, oracle, next);
        }
    });
    assert_eq!(num_killed.load(Ordering::Relaxed), RANDOM_KILLS);
    if site.has_ended() {
        site.start(&[]);
    }
}

/// Like [`send_some`], for a server that another thread kills.
fn send_while_killed(site: &Site, oracle: &mut Oracle, next: &mut u64) {
    let streamed: Vec<Value> = (*next..*next + EVENTS_PER_REQUEST)
        .map(|index| event("crash", index))
        .collect();
    let body = lines(&streamed);
    loop {
        match site.stream(&body) {
            Ok(answer) if answer.status == 200 => break,
            _ if site.has_ended() => {
                site.try_start(&[]);
            }
            _ => {}
        }
    }
    streamed.iter().for_each(|event| oracle.count(event));
    *next += EVENTS_PER_REQUEST;
}
