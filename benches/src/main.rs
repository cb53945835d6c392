//! The load harness: starts the real `marginstream` on an empty data directory, sends seeded events
//! over HTTP on loopback, measures, and fails unless every event and microdollar is counted once.

mod cli;
mod client;
mod error;
mod input;
mod latency;
mod process;
mod report;
mod scenarios;
mod server;
mod verify;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match scenarios::run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error::chain(&error));
            ExitCode::FAILURE
        }
    }
}
