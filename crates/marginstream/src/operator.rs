//! What an operator may do on the machine that holds the data: whoever can read the data directory.
//!
//! A running server does it when asked on `operator.sock`, a Unix socket in the data directory of
//! mode 0600. Where no server runs the command takes the data directory itself, and with it the lock of the
//! event log, and calls the very same functions.

pub(crate) mod margins;
mod server;
mod session;
pub(crate) mod socket;

pub(crate) use server::{OperatorState, Status, serve};
pub(crate) use session::{OperatorSession, choose_org};
