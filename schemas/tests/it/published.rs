//! The files in `docs` are what the types say.

use std::fs;
use std::path::{Path, PathBuf};

use schemas::asyncapi;
use schemas::codec::decode_cost_events;
use schemas::record_schemas::{COST_EVENT, record_schemas};
use serde_json::Value;

use crate::validator::Validator;

/// Set to anything, it lets the test write the files that it else compares.
const UPDATE: &str = "MARGINSTREAM_UPDATE_DOCS";

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

#[test]
fn documents_are_those_that_the_types_generate() {
    let document = (asyncapi::FILE, asyncapi::document());
    for (file, mut value) in record_schemas().into_iter().chain([document]) {
        // Members keep their order where another crate of the build asks serde_json for it.
        value.sort_all_objects();
        let generated = serde_json::to_string_pretty(&value).unwrap() + "\n";
        let path = docs().join(file);
        if std::env::var_os(UPDATE).is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &generated).unwrap();
        }
        assert!(
            fs::read_to_string(&path).is_ok_and(|kept| kept == generated),
            "docs/{file} is not what the types say: run `{UPDATE}=1 cargo test --release --package \
             marginstream-schemas` and commit what it changes"
        );
    }
}

#[test]
fn references_of_the_asyncapi_document_lead_somewhere() {
    let document = asyncapi::document();
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 15, "{references:?}");
    for reference in references {
        let is_there = match reference.strip_prefix('#') {
            Some(pointer) => document.pointer(pointer).is_some(),
            None => record_schemas()
                .iter()
                .any(|(file, _)| format!("./{file}") == reference),
        };
        assert!(is_there, "{reference}");
    }
}

fn collect_references(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            references.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members
                .values()
                .for_each(|value| collect_references(value, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, references)),
        _ => {}
    }
}

#[test]
fn the_documented_event_is_valid() {
    let text = fs::read_to_string(docs().join("records.md")).unwrap();
    let (_, rest) = text.split_once("```json\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let event = serde_json::from_str(example).unwrap();
    let Some(validator) = Validator::of(COST_EVENT) else {
        return;
    };
    assert_eq!(validator.check(&event), Ok(()));
    decode_cost_events(b"application/json", example.as_bytes().to_vec().into()).unwrap();
}
