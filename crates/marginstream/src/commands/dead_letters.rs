//! `marginstream dead-letters`.

use comfy_table::{Table, presets};
use processor::dead_letters::{DeadLetter, Selection};

use crate::cli::{DeadLettersCommand, SelectionArgs};
use crate::commands::print;
use crate::config::Config;
use crate::error::{CommandError, Outcome};
use crate::operator::OperatorSession;

pub(super) async fn run(command: DeadLettersCommand, config: Config) -> Result<Outcome, CommandError> {
    match command {
        DeadLettersCommand::List(args) => {
            let letters = fetch(&args, config).await?;
            print(&if args.json {
                to_json(&letters)?
            } else {
                to_table(&letters)
            })?;
        }
        DeadLettersCommand::Show(args) => {
            let letters = fetch(&args, config).await?;
            print(&if args.json {
                to_json(&letters)?
            } else {
                letters.iter().map(to_text).collect::<Vec<_>>().join("\n\n")
            })?;
        }
        DeadLettersCommand::Redrive(args) => {
            let session = OperatorSession::open(&args.data.data, &args.backends, config).await?;
            let redriven = session.redrive(&selection(&args)).await;
            let closed = session.close().await;
            let redriven = redriven?;
            closed?;
            print(&if args.json {
                format!("{{\"redriven\":{redriven}}}")
            } else {
                format!("{redriven} dead letters were sent through the log again")
            })?;
        }
    }
    Ok(Outcome::Done)
}

fn selection(args: &SelectionArgs) -> Selection {
    Selection {
        places: args.places.clone(),
        reason: args.reason.clone(),
        topic: args.topic.clone(),
        with_redriven: args.with_redriven,
        limit: args.limit,
    }
}

async fn fetch(args: &SelectionArgs, config: Config) -> Result<Vec<DeadLetter>, CommandError> {
    let session = OperatorSession::open(&args.data.data, &args.backends, config).await?;
    let letters = session.dead_letters(&selection(args)).await;
    let closed = session.close().await;
    let letters = letters?;
    closed?;
    Ok(letters)
}

fn to_json(letters: &[DeadLetter]) -> Result<String, CommandError> {
    serde_json::to_string(letters).map_err(|error| CommandError::Output(error.into()))
}

fn to_table(letters: &[DeadLetter]) -> String {
    if letters.is_empty() {
        return "no dead letters".to_owned();
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["PLACE", "RECEIVED (UTC)", "REASON", "BYTES", "DETAIL"]);
    for letter in letters {
        table.add_row([
            letter.place.to_string(),
            letter.received_at.clone(),
            letter.reason.clone(),
            letter.raw_bytes.to_string(),
            one_line(&letter.detail),
        ]);
    }
    table.trim_fmt()
}

fn to_text(letter: &DeadLetter) -> String {
    let redriven = if letter.redriven_at.is_empty() {
        "never"
    } else {
        &letter.redriven_at
    };
    format!(
        "place         {}\nreceived      {} UTC\nreason        {}\ndetail        {}\norganization  {}\n\
         content type  {}\nsent again    {redriven}\nbytes         {}\n{}",
        letter.place,
        letter.received_at,
        letter.reason,
        letter.detail,
        letter.org_id,
        letter.content_type,
        letter.raw_bytes,
        letter.raw
    )
}

/// The start of a detail, which may quote anything.
fn one_line(detail: &str) -> String {
    let end = detail.floor_char_boundary(100);
    detail[..end].replace(char::is_control, " ")
}
