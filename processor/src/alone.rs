//! Making sure that no processor joined while a command must be alone with the warehouse.

use event_log::EventLog;

use crate::error::ProcessorError;

/// Tells whether this process is the only one of the processors' group.
#[derive(Debug, Clone, Copy)]
pub struct Alone<'l> {
    log: &'l dyn EventLog,
    group: &'l str,
}

impl<'l> Alone<'l> {
    /// Looks at `group`.
    #[must_use]
    pub fn new(log: &'l dyn EventLog, group: &'l str) -> Self {
        Self { log, group }
    }

    /// To be called right before each change that a processor's batch would double.
    ///
    /// # Errors
    /// [`ProcessorError::NotAlone`] where another process joined; [`ProcessorError::Log`].
    pub(crate) async fn check(&self) -> Result<(), ProcessorError> {
        if self.log.num_members(self.group).await? > 1 {
            return Err(ProcessorError::NotAlone);
        }
        Ok(())
    }
}
