//! `marginstream reconcile`.

use processor::reconcile::{ReconcileReport, TableDifference};

use crate::cli::ReconcileArgs;
use crate::commands::print;
use crate::config::Config;
use crate::error::{CommandError, Outcome};
use crate::operator::OperatorSession;
use crate::progress;

pub(super) async fn run(args: ReconcileArgs, config: Config) -> Result<Outcome, CommandError> {
    let session = OperatorSession::open(&args.data.data, &args.backends, config).await?;
    let spinner = progress::spinner("reconcile").with_message("comparing roll-ups with raw events");
    let report = session.reconcile(args.repair).await;
    spinner.finish_and_clear();
    let closed = session.close().await;
    let report = report?;
    closed?;
    print(&if args.json {
        to_json(&report)?
    } else {
        to_text(&report)
    })?;
    Ok(if report.num_differences() == 0 {
        Outcome::Done
    } else {
        Outcome::DoneInPart
    })
}

fn to_json(report: &ReconcileReport) -> Result<String, CommandError> {
    serde_json::to_string(report).map_err(|error| CommandError::Output(error.into()))
}

fn to_text(report: &ReconcileReport) -> String {
    let mut lines = Vec::new();
    for table in &report.tables {
        lines.push(to_line(table));
        lines.extend(table.examples.iter().map(|example| format!("    {example}")));
    }
    if let Some(completeness) = &report.completeness {
        lines.push(match completeness.complete_to {
            Some(at) => format!("complete up to {at}: all that was received before is counted"),
            None => "nothing is counted yet of what waits in the log".to_owned(),
        });
        let waiting = completeness.partitions.iter().filter(|state| state.lag > 0);
        lines.extend(waiting.map(|state| {
            let (topic, partition, lag) = (&state.topic, state.partition, state.lag);
            format!("    {topic}:{partition}: {lag} records wait")
        }));
    }
    let remaining = report.num_differences();
    lines.push(match remaining {
        0 => "no differences".to_owned(),
        _ => format!("{remaining} differences; add them with --repair"),
    });
    lines.join("\n")
}

fn to_line(table: &TableDifference) -> String {
    let repaired = if table.repaired { ", repaired" } else { "" };
    format!(
        "{:<24} {:>10} compared {:>8} different{repaired} ({})",
        table.table, table.num_keys, table.differences, table.compared
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_remains() {
        let table = |differences, repaired| TableDifference {
            table: "cost_by_hour".to_owned(),
            compared: "sums by key".to_owned(),
            num_keys: 10,
            differences,
            examples: vec!["{}".to_owned()],
            repaired,
        };
        let text = |tables| {
            to_text(&ReconcileReport {
                tables,
                completeness: None,
            })
        };
        assert!(text(vec![table(0, false), table(4, true)]).ends_with("no differences"));
        assert!(text(vec![table(4, false)]).ends_with("4 differences; add them with --repair"));
        assert!(text(vec![table(4, true)]).contains("different, repaired (sums by key)\n    {}"));
    }
}
