//! Which events were counted already: a filter in memory that answers "certainly new" for almost
//! all, and an exact look-up in the warehouse for the rest (architecture §3.5).

mod filter;
mod lookup;
pub mod metrics;

use std::sync::{PoisonError, RwLock};

use schemas::id::EventId;
use warehouse::{Warehouse, WarehouseError};

use filter::GrowingFilter;
pub use lookup::{BatchRange, KnownEvent, lookup_known_events};

/// Filters over the ids in table `cost_event_ids`, one for each partition that events belong to
/// ([`EventId::partition`]). Kept up to date by whoever counts events or follows the log.
///
/// A partition whose ids were not loaded answers "may be known" for every id.
///
/// Memory: at most 4 bytes per loaded id, see [`KnownEvents::num_bytes`].
#[derive(Debug)]
pub struct KnownEvents {
    /// By partition; none where it was not loaded.
    filters: RwLock<Vec<Option<GrowingFilter>>>,
    num_partitions: u32,
}

impl KnownEvents {
    /// Returns filters for `num_partitions` partitions (at least 1), none of them loaded.
    #[must_use]
    pub fn new(num_partitions: u32) -> Self {
        let num_partitions = num_partitions.max(1);
        Self {
            filters: RwLock::new((0..num_partitions).map(|_| None).collect()),
            num_partitions,
        }
    }

    /// Returns how many partitions events are spread over.
    #[must_use]
    pub const fn num_partitions(&self) -> u32 {
        self.num_partitions
    }

    /// Loads the ids of all partitions from the warehouse.
    ///
    /// # Errors
    /// [`WarehouseError`] where the ids cannot be read; nothing is loaded then.
    pub async fn load_all(&self, warehouse: &Warehouse) -> Result<(), WarehouseError> {
        let mut loaded: Vec<_> = self.places().map(|_| GrowingFilter::default()).collect();
        let mut ids = lookup::all_event_ids(warehouse)?;
        while let Some(id) = lookup::next_event_id(&mut ids).await? {
            if let Some(filter) = loaded.get_mut(self.place(id)) {
                filter.insert(id);
            }
        }
        self.write(|filters| *filters = loaded.into_iter().map(Some).collect());
        Ok(())
    }

    /// Loads the ids that belong to `partition`, unless they are there. Until this returns, all ids
    /// of the partition may be known. The caller must be the only one who counts events of the
    /// partition, or ids that others add meanwhile are missed.
    ///
    /// # Errors
    /// [`WarehouseError`] where the ids cannot be read.
    pub async fn load_partition(&self, warehouse: &Warehouse, partition: u32) -> Result<(), WarehouseError> {
        if self.is_loaded(partition) {
            return Ok(());
        }
        let mut filter = GrowingFilter::default();
        let mut ids = lookup::event_ids_of_partition(warehouse, partition, self.num_partitions)?;
        while let Some(id) = lookup::next_event_id(&mut ids).await? {
            filter.insert(id);
        }
        self.write(|filters| {
            if let Some(place) = filters.get_mut(partition as usize) {
                *place = Some(filter);
            }
        });
        Ok(())
    }

    /// Frees the memory of a partition that others count from now on.
    pub fn release_partition(&self, partition: u32) {
        self.write(|filters| {
            if let Some(place) = filters.get_mut(partition as usize) {
                *place = None;
            }
        });
    }

    /// Returns whether the ids of `partition` are loaded.
    #[must_use]
    pub fn is_loaded(&self, partition: u32) -> bool {
        self.read(|filters| filters.get(partition as usize).is_some_and(Option::is_some))
    }

    /// Returns those of `ids` that may be known; the others certainly are not. Of new ids, about
    /// one in two hundred is returned too.
    pub fn maybe_known<T>(&self, ids: impl IntoIterator<Item = (EventId, T)>) -> Vec<(EventId, T)> {
        self.read(|filters| {
            let may_be_known = |id| match filters.get(self.place(id)) {
                Some(Some(filter)) => filter.may_contain(id),
                Some(None) | None => true,
            };
            ids.into_iter().filter(|(id, _)| may_be_known(*id)).collect()
        })
    }

    /// Adds ids whose rows are durable; passes over those of partitions that are not loaded.
    pub fn insert_all(&self, ids: impl IntoIterator<Item = EventId>) {
        self.write(|filters| {
            for id in ids {
                if let Some(Some(filter)) = filters.get_mut(self.place(id)) {
                    filter.insert(id);
                }
            }
        });
    }

    /// Returns the number of ids that are loaded.
    pub fn num_ids(&self) -> usize {
        self.read(|filters| filters.iter().flatten().map(GrowingFilter::num_ids).sum())
    }

    /// Returns the memory that the filters take, in bytes.
    pub fn num_bytes(&self) -> usize {
        self.read(|filters| filters.iter().flatten().map(GrowingFilter::num_bytes).sum())
    }

    fn places(&self) -> std::ops::Range<u32> {
        0..self.num_partitions
    }

    fn place(&self, id: EventId) -> usize {
        id.partition(self.num_partitions) as usize
    }

    fn read<T>(&self, look: impl FnOnce(&[Option<GrowingFilter>]) -> T) -> T {
        look(&self.filters.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, change: impl FnOnce(&mut Vec<Option<GrowingFilter>>)) {
        change(&mut self.filters.write().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::id::OrgId;
    use uuid::Uuid;

    fn ids() -> Vec<(EventId, ())> {
        (0..100)
            .map(|n: u32| (EventId::derive(OrgId(Uuid::nil()), &n.to_string(), "p"), ()))
            .collect()
    }

    #[test]
    fn every_id_of_a_partition_that_is_not_loaded_may_be_known() {
        let known = KnownEvents::new(4);
        assert_eq!(known.maybe_known(ids()).len(), 100);
        known.write(|filters| filters[2] = Some(GrowingFilter::default()));
        let rest = known.maybe_known(ids());
        assert!(!rest.is_empty() && rest.iter().all(|(id, ())| id.partition(4) != 2));
    }

    #[test]
    fn a_released_partition_takes_no_ids_and_no_memory() {
        let known = KnownEvents::new(2);
        known.write(|filters| filters.fill_with(|| Some(GrowingFilter::default())));
        known.insert_all(ids().into_iter().map(|(id, ())| id));
        assert_eq!(known.num_ids(), 100);
        (0..2).for_each(|partition| known.release_partition(partition));
        known.insert_all(ids().into_iter().map(|(id, ())| id));
        assert_eq!((known.num_ids(), known.num_bytes()), (0, 0));
        assert_eq!(known.maybe_known(ids()).len(), 100);
    }
}
