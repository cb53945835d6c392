//! `marginstream invoices import`.

use std::io::Read;
use std::path::Path;

use indicatif::ProgressBar;
use schemas::id::OrgId;
use schemas::invoice::{InvoiceRecord, parse_stripe_invoice, split_documents};
use schemas::time::TimestampMs;

use crate::cli::ImportArgs;
use crate::commands::print;
use crate::config::Config;
use crate::error::{CommandError, Outcome};
use crate::operator::OperatorSession;
use crate::progress;

/// Invoices that are made durable together: so many are repeated at most after an interruption.
const RECORDS_PER_PUBLISH: usize = 1_000;
/// The only currency that counts as revenue (`spec/margins.md` §9).
const COUNTED_CURRENCY: &str = "usd";
/// Standard input's name among files.
const STDIN: &str = "-";

/// What became of the invoices of all files.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    imported: u64,
    broken: u64,
    /// Those of the imported ones that are kept but are no revenue.
    other_currencies: u64,
}

pub(super) async fn run(args: ImportArgs, config: Config) -> Result<Outcome, CommandError> {
    let session = OperatorSession::open(&args.data.data, &args.backends, config).await?;
    let outcome = import(&session, &args).await;
    let closed = session.close().await;
    let tally = outcome?;
    closed?;
    print(&summary(&tally))?;
    Ok(if tally.broken == 0 {
        Outcome::Done
    } else {
        Outcome::DoneInPart
    })
}

async fn import(session: &OperatorSession, args: &ImportArgs) -> Result<Tally, CommandError> {
    let org = session.choose_org(args.org).await?;
    let mut tally = Tally::default();
    for file in &args.files {
        let (records, broken) = read_file(file, org);
        tally.broken += broken.len() as u64;
        for reason in &broken {
            eprintln!("{}: {reason}", file.display());
        }
        let bar = progress::bar("invoices", records.len() as u64).with_message(file.display().to_string());
        publish(session, &records, &mut tally, &bar).await?;
        bar.finish();
    }
    Ok(tally)
}

async fn publish(
    session: &OperatorSession,
    records: &[InvoiceRecord],
    tally: &mut Tally,
    bar: &ProgressBar,
) -> Result<(), CommandError> {
    for chunk in records.chunks(RECORDS_PER_PUBLISH) {
        if let Err(error) = session.publish_invoices(chunk).await {
            eprintln!(
                "{} invoices went in before the failure; importing them again is safe",
                tally.imported
            );
            return Err(error);
        }
        tally.imported += chunk.len() as u64;
        tally.other_currencies += chunk.iter().filter(|record| is_other_currency(record)).count() as u64;
        bar.inc(chunk.len() as u64);
    }
    Ok(())
}

fn is_other_currency(record: &InvoiceRecord) -> bool {
    record
        .state
        .as_ref()
        .is_some_and(|state| state.currency != COUNTED_CURRENCY)
}

/// Returns the file's invoices, and a reason for each that is broken; a file that cannot be read
/// counts as one.
fn read_file(path: &Path, org: OrgId) -> (Vec<InvoiceRecord>, Vec<String>) {
    match read_text(path) {
        Ok(text) => parse(&text, org, TimestampMs::now()),
        Err(error) => (Vec::new(), vec![format!("cannot be read: {error}")]),
    }
}

fn read_text(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if path == Path::new(STDIN) {
        std::io::stdin().lock().read_to_end(&mut bytes)?;
    } else {
        bytes = std::fs::read(path)?;
    }
    // Some tools begin UTF-8 files with a byte order mark.
    let text = String::from_utf8(bytes)
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))?;
    Ok(text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned))
}

fn parse(text: &str, org: OrgId, now: TimestampMs) -> (Vec<InvoiceRecord>, Vec<String>) {
    let documents = match split_documents(text) {
        Ok(documents) => documents,
        Err(reason) => return (Vec::new(), vec![reason]),
    };
    let mut records = Vec::with_capacity(documents.len());
    let mut broken = Vec::new();
    for (position, document) in documents {
        let record = document.and_then(|object| {
            parse_stripe_invoice(&object, org, now).map_err(|invalid| invalid.to_string())
        });
        match record {
            Ok(record) => records.push(record),
            Err(reason) => broken.push(format!("{position}: {reason}")),
        }
    }
    (records, broken)
}

fn summary(tally: &Tally) -> String {
    let mut text = format!("imported {}, broken {}", tally.imported, tally.broken);
    if tally.other_currencies > 0 {
        text.push_str(&format!(
            ", of the imported {} in other currencies (kept, not counted)",
            tally.other_currencies
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_for_test(text: &str) -> (Vec<InvoiceRecord>, Vec<String>) {
        parse(text, OrgId::random(), TimestampMs(0))
    }

    #[test]
    fn names_each_broken_invoice_and_keeps_the_others() {
        let good = r#"{"id":"in_1","amount_paid":100,"created":1775000000,"currency":"eur","customer":"cus_1","status":"paid"}"#;
        let (records, broken) = parse_for_test(&format!("[{good}, 5, {good}]"));
        assert_eq!((records.len(), broken.len()), (2, 1));
        assert!(broken[0].starts_with("item 2: "), "{broken:?}");
        assert!(is_other_currency(&records[0]));
        let (records, broken) = parse_for_test(&format!("{good}\n{{broken\n{good}"));
        assert_eq!((records.len(), broken.len()), (2, 1));
        assert!(broken[0].starts_with("line 2: not JSON"), "{broken:?}");
        assert_eq!(parse_for_test("5").1.len(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_broken() {
        let root = tempfile::tempdir().unwrap();
        let (records, broken) = read_file(&root.path().join("none.json"), OrgId::random());
        assert!(
            records.is_empty() && broken[0].starts_with("cannot be read"),
            "{broken:?}"
        );
        let latin = root.path().join("latin1.json");
        std::fs::write(&latin, b"[{\"customer_name\": \"Caf\xe9\"}]").unwrap();
        assert!(read_file(&latin, OrgId::random()).1[0].contains("utf-8"));
        let marked = root.path().join("bom.json");
        std::fs::write(&marked, "\u{feff}[]").unwrap();
        assert_eq!(read_file(&marked, OrgId::random()), (vec![], vec![]));
    }

    #[test]
    fn says_what_went_in() {
        let mut tally = Tally {
            imported: 12,
            broken: 3,
            other_currencies: 0,
        };
        assert_eq!(summary(&tally), "imported 12, broken 3");
        tally.other_currencies = 2;
        assert_eq!(
            summary(&tally),
            "imported 12, broken 3, of the imported 2 in other currencies (kept, not counted)"
        );
    }
}
