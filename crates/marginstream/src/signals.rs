//! SIGTERM and SIGINT: the first asks for an orderly stop, the second ends the process at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::error::CommandError;

/// What shells add to a signal's number.
const SIGNAL_EXIT_BASE: i32 = 128;

/// Returns a token that the first signal cancels. From then on signals no longer end the process by
/// themselves.
///
/// # Errors
/// [`CommandError::Runtime`] where signals cannot be caught.
pub(crate) fn stop_on_signal() -> Result<CancellationToken, CommandError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(CommandError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CommandError::Runtime)?;
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    tokio::spawn(async move {
        loop {
            let number = tokio::select! {
                _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
                _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            };
            if cancelled.is_cancelled() {
                warn!(signal = number, "second signal: ending at once");
                std::process::exit(SIGNAL_EXIT_BASE + number);
            }
            info!(signal = number, "signal received");
            cancelled.cancel();
        }
    });
    Ok(stop)
}
