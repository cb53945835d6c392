//! The README names a test for each rule; each of them exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn tests_below(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            let names = source.split("fn ").skip(1);
            found.extend(names.filter_map(|rest| Some(rest.split_once('(')?.0.to_owned())));
        }
    }
}

#[test]
fn every_test_that_the_readme_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for directory in [
        "src",
        "tests",
        "../control/tests",
        "../marginstream/tests",
        "../../query-api/tests",
    ] {
        tests_below(&root.join(directory), &mut found);
    }
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let rows = readme
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains("`"));
    let named: Vec<_> = rows
        .filter_map(|row| row.trim_end_matches('|').rsplit('|').next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert!(named.len() > 50, "{}", named.len());
    for name in named {
        assert!(found.contains(name), "{name}");
    }
}
