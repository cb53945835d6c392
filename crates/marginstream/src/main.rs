//! The command `marginstream`.

use std::process::ExitCode;

fn main() -> ExitCode {
    marginstream::run(std::env::args_os())
}
