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
    /// The topic of cost events has fewer partitions than its events are spread over.
    #[error("the topic of cost events has {found} partitions, its events are spread over {needed}")]
    FewerPartitions {
        /// What the log has.
        found: u32,
        /// What the warehouse remembers.
        needed: u32,
    },
    /// The number of partitions in use changed while this process was away.
    #[error(
        "cost events are spread over {in_force} partitions now, and this process knows {known}: it must start anew"
    )]
    LayoutChanged {
        /// What this process was started with.
        known: u32,
        /// What is in force.
        in_force: u32,
    },
    /// Another process joined the processors' group, whose work would be counted twice.
    #[error("a processor started meanwhile; stop all of them, and run the command again")]
    NotAlone,
    /// A rebuilt roll-up is not what the raw rows say; raw rows changed meanwhile.
    #[error(
        "rebuilt roll-up {0} does not sum to the raw rows, so it was not put in place: let nothing write meanwhile"
    )]
    Replay(&'static str),
    /// The warehouse does not show what it acknowledged.
    #[error("the warehouse does not show the layout of the log that was just written")]
    LayoutMissing,
    /// An amount does not fit 64 bits.
    #[error("an amount does not fit 64 bits of microdollars")]
    Overflow,
    /// A blocking task did not end by itself.
    #[error("a task panicked")]
    Panicked(#[from] tokio::task::JoinError),
}

impl ProcessorError {
    /// Tells whether another member of the group owns the partition now.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Log(LogError::Fenced { .. }))
    }

    /// Tells whether the same work may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Log(error) => error.is_retryable(),
            Self::Warehouse(error) => error.is_retryable(),
            Self::RollUp { .. }
            | Self::Arrow(_)
            | Self::Intent { .. }
            | Self::FewerPartitions { .. }
            | Self::LayoutMissing
            | Self::LayoutChanged { .. }
            | Self::NotAlone
            | Self::Replay(_)
            | Self::Overflow
            | Self::Panicked(_) => false,
        }
    }
}
