//! What goes wrong around the process: a clear sentence, an exit code, and nothing lost.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

use crate::deployment::Deployment;
use crate::events::{event, lines};
use crate::oracle::Oracle;
use crate::server::{Site, run};

/// Asserts that a start fails with a sentence that holds all of `words`.
fn assert_refused(output: &Output, words: &[&str]) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it started: {errors}");
    assert!(output.status.code().is_some(), "it was killed: {errors}");
    for word in words {
        assert!(errors.contains(word), "{word:?} is not in: {errors}");
    }
    assert!(!errors.contains("panicked"), "{errors}");
}

/// A site that holds some events and does not run.
fn stopped_site(oracle: &mut Oracle) -> Site {
    let site = Site::started();
    let events: Vec<Value> = (0..50).map(|index| event("fault", index)).collect();
    events.iter().for_each(|event| oracle.count(event));
    site.stream(&lines(&events)).unwrap().expect(200);
    site.wait_for_rows(50);
    site.stop();
    site
}

fn segments(site: &Site) -> PathBuf {
    let dir = site.data.join("log/cost-events/0");
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "log"));
    files.sort();
    files.pop().unwrap()
}

#[test]
fn a_busy_port_is_named() {
    let site = Site::new();
    let _taken = TcpListener::bind(site.listen).unwrap();
    assert_refused(
        &run(&mut site.standalone()),
        &[&site.listen.to_string(), "--listen"],
    );
}

#[test]
fn a_second_server_on_the_same_data_says_so() {
    let site = Site::started();
    let mut second = crate::server::marginstream();
    second.arg("standalone").arg("--data").arg(&site.data);
    second.args(["--listen", "127.0.0.1:0", "--clickhouse-listen", "127.0.0.1:0"]);
    assert_refused(&run(&mut second), &["in use", site.data.to_str().unwrap()]);
    assert!(!site.has_ended());
}

#[test]
fn a_missing_libchdb_says_how_to_install_it() {
    let site = Site::new();
    let output = run(site.standalone().env("CHDB_LIB", "/nonexistent/libchdb.so"));
    assert_refused(&output, &["/nonexistent/libchdb.so", "make libchdb", "CHDB_LIB"]);
}

#[test]
fn a_damaged_configuration_names_the_key() {
    let site = Site::new();
    let file = site.data.with_file_name("config.toml");
    for (content, words) in [
        ("lisen = \"127.0.0.1:1\"\n", &["lisen", "listen"][..]),
        ("listen = \"nowhere\"\n", &["listen", "nowhere"]),
        ("listen = [\n", &["config.toml"]),
    ] {
        fs::write(&file, content).unwrap();
        let mut command = crate::server::marginstream();
        let output = run(command
            .arg("standalone")
            .arg("--data")
            .arg(&site.data)
            .arg("--config")
            .arg(&file));
        assert_refused(&output, words);
        assert_eq!(output.status.code(), Some(2), "{content}");
    }
}

#[test]
fn a_corrupted_tail_of_the_log_is_refused_and_repaired_without_loss() {
    let mut oracle = Oracle::default();
    let site = stopped_site(&mut oracle);
    let segment = segments(&site);
    let intact = fs::metadata(&segment).unwrap().len();

    // Cut-off writes were never acknowledged; they go without a question.
    let whole = fs::read(&segment).unwrap();
    fs::write(&segment, [&whole[..], &whole[..30]].concat()).unwrap();
    site.start(&[]);
    oracle.assert_shown_by(&site);
    site.stop();
    assert_eq!(fs::metadata(&segment).unwrap().len(), intact);

    // Anything else might have been acknowledged.
    fs::write(
        &segment,
        [
            &whole[..],
            &b"this was no record of ours at all, but it is long enough to be one"[..],
        ]
        .concat(),
    )
    .unwrap();
    let output = run(&mut site.standalone());
    assert_refused(
        &output,
        &["log repair", segment.file_name().unwrap().to_str().unwrap()],
    );
    let repaired = site.command(&["log", "repair"], &[]);
    assert!(
        repaired.status.success(),
        "{}",
        String::from_utf8_lossy(&repaired.stderr)
    );
    site.start(&[]);
    oracle.assert_shown_by(&site);
    let more = event("fault", 1_000);
    oracle.count(&more);
    site.post_event(&more).unwrap().expect(201);
    oracle.assert_shown_by(&site);
    site.assert_reconciled();
}

/// Mounts a file system of a few megabytes; none where the user may not.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf, megabytes: u32) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(&at)
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self(at))
    }

    fn set_read_only(&self, read_only: bool) -> bool {
        let option = if read_only { "remount,ro" } else { "remount,rw" };
        Command::new("mount")
            .args(["-o", option])
            .arg(&self.0)
            .status()
            .is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let mut oracle = Oracle::default();
    let site = Site::new();
    let Some(_disk) = SmallDisk::mount(site.data.join("log"), 3) else {
        println!("SKIPPED a_full_disk_refuses_and_loses_nothing: mounting a tmpfs needs root");
        return;
    };
    fs::set_permissions(site.data.join("log"), fs::Permissions::from_mode(0o700)).unwrap();
    site.start(&[]);
    let mut refused = None;
    for round in 0..200 {
        let events: Vec<Value> = (0..200).map(|index| event("full", round * 200 + index)).collect();
        let answer = site.stream(&lines(&events)).unwrap();
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
        events.iter().for_each(|event| oracle.count(event));
    }
    let refused = refused.expect("the disk never filled").expect(503);
    assert_eq!(refused.json()["error"]["code"], "service_unavailable");
    assert!(refused.header("retry-after").is_some());
    assert!(
        site.log().contains("full") || site.log().contains("space"),
        "{}",
        site.log()
    );
    // What was acknowledged is there, before and after a restart.
    oracle.assert_shown_by(&site);
    site.kill();
    site.start(&[]);
    oracle.assert_shown_by(&site);
}

#[test]
fn a_read_only_data_directory_is_named() {
    let mut oracle = Oracle::default();
    let site = Site::new();
    let Some(disk) = SmallDisk::mount(site.data.join("clickhouse"), 200) else {
        println!("SKIPPED a_read_only_data_directory_is_named: mounting a tmpfs needs root");
        return;
    };
    drop(disk);
    let Some(disk) = SmallDisk::mount(site.data.clone(), 400) else {
        panic!("the second mount failed")
    };
    let bootstrap = site.command(
        &[
            "admin",
            "bootstrap",
            "--org",
            "Acme",
            "--email",
            "a@acme.test",
            "--json",
        ],
        &[],
    );
    assert!(
        bootstrap.status.success(),
        "{}",
        String::from_utf8_lossy(&bootstrap.stderr)
    );
    oracle.count(&event("ro", 1));
    assert!(disk.set_read_only(true));
    assert_refused(
        &run(&mut site.standalone()),
        &[site.data.to_str().unwrap(), "ead-only"],
    );
    assert!(disk.set_read_only(false));
}

/// The library that lies to a process about the time (Debian: faketime).
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

#[test]
fn a_jumping_clock_loses_nothing() {
    if !std::path::Path::new(FAKETIME).exists() {
        assert!(
            std::env::var_os("CI").is_none(),
            "{FAKETIME} is missing: run `make test`"
        );
        println!("SKIPPED a_jumping_clock_loses_nothing: {FAKETIME} is missing; run `make test`");
        return;
    }
    let site = Site::new();
    let offset = site.data.with_file_name("clock-offset");
    fs::write(&offset, "-2h").unwrap();
    let variables = [
        ("LD_PRELOAD", FAKETIME),
        ("FAKETIME_TIMESTAMP_FILE", offset.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    site.start(&variables);
    let mut oracle = Oracle::default();
    // Back and forth by hours, and killed on the way, too.
    for (round, offset_hours) in [-2, -9, -1, -30, -3, -8].into_iter().enumerate() {
        fs::write(&offset, format!("{offset_hours}h")).unwrap();
        let start = round as u64 * 400;
        let events: Vec<Value> = (start.saturating_sub(100)..start + 400)
            .map(|index| event("clock", index))
            .collect();
        events.iter().for_each(|event| oracle.count(event));
        site.stream(&lines(&events)).unwrap().expect(200);
        if round % 2 == 1 {
            site.kill();
            site.start(&variables);
        }
    }
    site.wait_for_rows(oracle.total.1);
    // Queries ask for times up to now.
    site.kill();
    site.start(&[]);
    oracle.assert_shown_by(&site);
    site.assert_reconciled();
}
