//! What can go wrong between the log and the warehouse.

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use event_log::LogError;
use warehouse::WarehouseError;

/// Why processing failed.
#[derive(Debug, thiserror::Error)]
pub enum ProcessorError {
    /// The event log failed.
    #[error("event log failed")]
    Log(#[from] LogError),
    /// The warehouse failed.
    #[error("warehouse failed")]
    Warehouse(#[from] WarehouseError),
    /// A roll-up's plan failed.
    #[error("roll-up {name} failed")]
    RollUp {
        /// The roll-up's table.
        name: &'static str,
        /// Why.
        #[source]
        source: Box<DataFusionError>,
    },
    /// Columns could not be built.
    #[error("building columns failed")]
    Arrow(#[from] ArrowError),
    /// The metadata of a committed offset is none that this program wrote.
    #[error("partition {partition} has the unreadable batch intent {metadata:?}")]
    Intent {
        /// The partition.
        partition: String,
        /// What stands there.
        metadata: String,
    },
    /// An amount does not fit 64 bits.
    #[error("an amount does not fit 64 bits of microdollars")]
    Overflow,
    /// A blocking task did not end by itself.
    #[error("a task panicked")]
    Panicked(#[from] tokio::task::JoinError),
}

impl ProcessorError {
    /// Tells whether the same work may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Log(error) => error.is_retryable(),
            Self::Warehouse(error) => error.is_retryable(),
            Self::RollUp { .. }
            | Self::Arrow(_)
            | Self::Intent { .. }
            | Self::Overflow
            | Self::Panicked(_) => false,
        }
    }
}
