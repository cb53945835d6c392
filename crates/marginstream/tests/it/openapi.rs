//! The served document is the one in `docs`, so that a change of the API is seen where it is reviewed.

use std::fs;
use std::path::Path;

use crate::http;
use crate::server::Site;

/// Set to write the file anew.
const UPDATE: &str = "MARGINSTREAM_UPDATE_DOCS";

#[test]
fn the_document_is_the_one_in_docs() {
    let site = Site::started();
    let served = http::send(site.listen, "GET", "/api/openapi.json", &[], b"")
        .unwrap()
        .expect(200)
        .json();
    let served = format!("{}\n", serde_json::to_string_pretty(&served).unwrap());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&file, &served).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    let differs = kept
        .lines()
        .zip(served.lines())
        .find(|(kept, served)| kept != served);
    assert!(
        kept == served,
        "docs/openapi.json is not what is served, first at {differs:?}; if the change is meant, write it anew with \
         {UPDATE}=1"
    );
}
