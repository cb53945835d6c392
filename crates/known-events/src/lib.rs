//! Which events were counted already: a filter in memory that answers "certainly new" for almost
//! all, and an exact look-up in the warehouse for the rest (architecture §3.5).

mod filter;
mod lookup;

use std::sync::{PoisonError, RwLock};

use schemas::id::EventId;
use warehouse::{Warehouse, WarehouseError};

use filter::GrowingFilter;
pub use lookup::{BatchRange, KnownEvent, lookup_known_events};

/// A filter over the ids in table `cost_event_ids`. Shared between the processor, which adds the
/// ids of each batch once it is durable, and ingest, which asks.
///
/// Memory: at most 4 bytes per id, see [`KnownEvents::num_bytes`].
#[derive(Debug, Default)]
pub struct KnownEvents {
    filter: RwLock<GrowingFilter>,
}

impl KnownEvents {
    /// Builds the filter from the warehouse.
    ///
    /// # Errors
    /// [`WarehouseError`] where the ids cannot be read.
    pub async fn load(warehouse: &Warehouse) -> Result<Self, WarehouseError> {
        let mut filter = GrowingFilter::default();
        let mut ids = lookup::all_event_ids(warehouse)?;
        while let Some(id) = lookup::next_event_id(&mut ids).await? {
            filter.insert(id);
        }
        Ok(Self {
            filter: RwLock::new(filter),
        })
    }

    /// Returns those of `ids` that may be known; the others certainly are not. Of new ids, about
    /// one in two hundred is returned too.
    pub fn maybe_known<T>(&self, ids: impl IntoIterator<Item = (EventId, T)>) -> Vec<(EventId, T)> {
        let filter = self.filter.read().unwrap_or_else(PoisonError::into_inner);
        ids.into_iter()
            .filter(|(id, _)| filter.may_contain(*id))
            .collect()
    }

    /// Adds ids whose rows are durable.
    pub fn insert_all(&self, ids: impl IntoIterator<Item = EventId>) {
        let mut filter = self.filter.write().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            filter.insert(id);
        }
    }

    /// Returns the number of ids added.
    pub fn num_ids(&self) -> usize {
        self.filter
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .num_ids()
    }

    /// Returns the memory that the filter takes, in bytes.
    pub fn num_bytes(&self) -> usize {
        self.filter
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .num_bytes()
    }
}
