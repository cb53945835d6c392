//! Which events were counted already: a filter in memory that answers "certainly new" for almost
//! all, and an exact look-up in the warehouse for the rest (architecture §3.5).

mod filter;
mod lookup;
pub mod metrics;

use std::sync::{PoisonError, RwLock};

use schemas::id::EventId;
use tokio::sync::Semaphore;
use warehouse::{Warehouse, WarehouseError};

use filter::GrowingFilter;
pub use lookup::{BatchRange, KnownEvent, lookup_known_events};

/// Partitions whose ids are read at once.
const MAX_LOADS: usize = 2;

/// Filters over the ids in table `cost_event_ids`, one for each partition that events belong to
/// ([`EventId::partition`]). Kept up to date by whoever counts events or follows the log.
///
/// A partition whose ids were not loaded answers "may be known" for every id.
///
/// Memory: at most 4 bytes per loaded id, see [`KnownEvents::num_bytes`].
#[derive(Debug)]
pub struct KnownEvents {
    /// By partition.
    places: RwLock<Vec<Place>>,
    num_partitions: u32,
    /// Bounds how many partitions are read at once after a takeover.
    loads: Semaphore,
}

/// The ids of one partition.
#[derive(Debug, Default)]
struct Place {
    /// None where they are not loaded.
    filter: Option<GrowingFilter>,
    /// Rises with each load and release, so that a load that was overtaken is dropped.
    generation: u64,
    /// Whether others keep it up to date for as long as the process lives.
    is_shared: bool,
}

impl KnownEvents {
    /// Returns filters for `num_partitions` partitions (at least 1), none of them loaded.
    #[must_use]
    pub fn new(num_partitions: u32) -> Self {
        let num_partitions = num_partitions.max(1);
        Self {
            places: RwLock::new((0..num_partitions).map(|_| Place::default()).collect()),
            num_partitions,
            loads: Semaphore::new(MAX_LOADS),
        }
    }

    /// Returns how many partitions events are spread over.
    #[must_use]
    pub const fn num_partitions(&self) -> u32 {
        self.num_partitions
    }

    /// Loads the ids of all partitions from the warehouse, for as long as the process lives.
    ///
    /// # Errors
    /// [`WarehouseError`] where the ids cannot be read; nothing is loaded then.
    pub async fn load_all(&self, warehouse: &Warehouse) -> Result<(), WarehouseError> {
        let mut loaded: Vec<_> = (0..self.num_partitions)
            .map(|_| GrowingFilter::default())
            .collect();
        let mut ids = lookup::all_event_ids(warehouse)?;
        while let Some(id) = lookup::next_event_id(&mut ids).await? {
            if let Some(filter) = loaded.get_mut(self.place(id)) {
                filter.insert(id);
            }
        }
        self.write(|places| {
            for (place, filter) in places.iter_mut().zip(loaded) {
                place.filter = Some(filter);
                place.is_shared = true;
            }
        });
        Ok(())
    }

    /// Loads the ids that belong to `partition`, unless [`KnownEvents::load_all`] has. Until this returns,
    /// all ids of the partition may be known. The caller must be the only one who counts events of the
    /// partition, or ids that others add meanwhile are missed. A release or a later load drops this one.
    ///
    /// # Errors
    /// [`WarehouseError`] where the ids cannot be read.
    pub async fn load_partition(&self, warehouse: &Warehouse, partition: u32) -> Result<(), WarehouseError> {
        let Some(generation) = self.begin_load(partition) else {
            return Ok(());
        };
        // It is never closed; if it were, loading without a bound would do no harm.
        let _permit = self.loads.acquire().await.ok();
        let mut filter = GrowingFilter::default();
        let mut ids = lookup::event_ids_of_partition(warehouse, partition, self.num_partitions)?;
        while let Some(id) = lookup::next_event_id(&mut ids).await? {
            filter.insert(id);
        }
        self.install(partition, generation, filter);
        Ok(())
    }

    /// Returns the generation of a load that begins; none where the ids are kept up to date anyway.
    fn begin_load(&self, partition: u32) -> Option<u64> {
        self.write(|places| {
            let place = places
                .get_mut(partition as usize)
                .filter(|place| !place.is_shared)?;
            place.filter = None;
            place.generation += 1;
            Some(place.generation)
        })
    }

    fn install(&self, partition: u32, generation: u64, filter: GrowingFilter) {
        self.write(|places| {
            if let Some(place) = places.get_mut(partition as usize)
                && place.generation == generation
            {
                place.filter = Some(filter);
            }
        });
    }

    /// Frees the memory of a partition that others count from now on.
    pub fn release_partition(&self, partition: u32) {
        self.write(|places| {
            if let Some(place) = places.get_mut(partition as usize) {
                place.filter = None;
                place.generation += 1;
                place.is_shared = false;
            }
        });
    }

    /// Returns those of `ids` that may be known; the others certainly are not. Of new ids, about
    /// one in two hundred is returned too.
    pub fn maybe_known<T>(&self, ids: impl IntoIterator<Item = (EventId, T)>) -> Vec<(EventId, T)> {
        self.read(|places| {
            let may_be_known = |id| {
                let filter = places.get(self.place(id)).and_then(|place| place.filter.as_ref());
                filter.is_none_or(|filter| filter.may_contain(id))
            };
            ids.into_iter().filter(|(id, _)| may_be_known(*id)).collect()
        })
    }

    /// Adds ids whose rows are durable; passes over those of partitions that are not loaded.
    pub fn insert_all(&self, ids: impl IntoIterator<Item = EventId>) {
        self.write(|places| {
            for id in ids {
                let place = places.get_mut(self.place(id));
                if let Some(filter) = place.and_then(|place| place.filter.as_mut()) {
                    filter.insert(id);
                }
            }
        });
    }

    /// Returns the number of ids that are loaded.
    pub fn num_ids(&self) -> usize {
        self.read(|places| filters(places).map(GrowingFilter::num_ids).sum())
    }

    /// Returns the memory that the filters take, in bytes.
    pub fn num_bytes(&self) -> usize {
        self.read(|places| filters(places).map(GrowingFilter::num_bytes).sum())
    }

    fn place(&self, id: EventId) -> usize {
        id.partition(self.num_partitions) as usize
    }

    fn read<T>(&self, look: impl FnOnce(&[Place]) -> T) -> T {
        look(&self.places.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Vec<Place>) -> T) -> T {
        change(&mut self.places.write().unwrap_or_else(PoisonError::into_inner))
    }
}

fn filters(places: &[Place]) -> impl Iterator<Item = &GrowingFilter> {
    places.iter().filter_map(|place| place.filter.as_ref())
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
        known.write(|places| places[2].filter = Some(GrowingFilter::default()));
        let rest = known.maybe_known(ids());
        assert!(!rest.is_empty() && rest.iter().all(|(id, ())| id.partition(4) != 2));
    }

    #[test]
    fn a_released_partition_takes_no_ids_and_no_memory() {
        let known = KnownEvents::new(2);
        known.write(|places| {
            for place in places.iter_mut() {
                place.filter = Some(GrowingFilter::default());
            }
        });
        known.insert_all(ids().into_iter().map(|(id, ())| id));
        assert_eq!(known.num_ids(), 100);
        (0..2).for_each(|partition| known.release_partition(partition));
        known.insert_all(ids().into_iter().map(|(id, ())| id));
        assert_eq!((known.num_ids(), known.num_bytes()), (0, 0));
        assert_eq!(known.maybe_known(ids()).len(), 100);
    }

    /// A partition that is lost while its ids are read leaves nothing behind, and one that came back
    /// meanwhile keeps what was read last.
    #[test]
    fn a_load_that_was_overtaken_is_dropped() {
        let known = KnownEvents::new(1);
        let is_loaded = |known: &KnownEvents| known.maybe_known(ids()).is_empty();
        let lost = known.begin_load(0).unwrap();
        known.release_partition(0);
        known.install(0, lost, GrowingFilter::default());
        assert!(!is_loaded(&known));
        let old = known.begin_load(0).unwrap();
        let new = known.begin_load(0).unwrap();
        let mut fresh = GrowingFilter::default();
        fresh.insert(ids()[0].0);
        known.install(0, new, fresh);
        known.install(0, old, GrowingFilter::default());
        assert_eq!(known.num_ids(), 1);
    }
}
