//! A Bloom filter that grows.

use fastbloom::BloomFilter;
use schemas::id::EventId;

/// Ids that the first generation takes.
const FIRST_CAPACITY: usize = 1 << 18;
/// Share of new ids that a full generation mistakes for known ones.
const FALSE_POSITIVES: f64 = 0.001;

/// Generations of Bloom filters; each takes as many ids as all before it together, so an id costs
/// 2 to 4 bytes and a question at most a handful of probes.
#[derive(Debug, Default)]
pub(crate) struct GrowingFilter {
    generations: Vec<Generation>,
}

#[derive(Debug)]
struct Generation {
    filter: BloomFilter,
    capacity: usize,
    num_ids: usize,
}

impl Generation {
    fn with_capacity(capacity: usize) -> Self {
        let filter = BloomFilter::with_false_pos(FALSE_POSITIVES).expected_items(capacity);
        Self {
            filter,
            capacity,
            num_ids: 0,
        }
    }
}

/// An event id is the output of a cryptographic hash, so a part of it serves as the filter's hash.
fn hash(id: EventId) -> u64 {
    let (high, low) = id.0.as_u64_pair();
    high ^ low.rotate_left(32)
}

impl GrowingFilter {
    pub(crate) fn may_contain(&self, id: EventId) -> bool {
        let hash = hash(id);
        self.generations
            .iter()
            .rev()
            .any(|generation| generation.filter.contains_hash(hash))
    }

    pub(crate) fn insert(&mut self, id: EventId) {
        if self
            .generations
            .last()
            .is_none_or(|last| last.num_ids >= last.capacity)
        {
            self.generations
                .push(Generation::with_capacity(self.num_ids().max(FIRST_CAPACITY)));
        }
        if let Some(last) = self.generations.last_mut() {
            last.filter.insert_hash(hash(id));
            last.num_ids += 1;
        }
    }

    pub(crate) fn num_ids(&self) -> usize {
        self.generations.iter().map(|generation| generation.num_ids).sum()
    }

    pub(crate) fn num_bytes(&self) -> usize {
        self.generations
            .iter()
            .map(|generation| generation.filter.num_bits() / 8)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::id::OrgId;
    use uuid::Uuid;

    fn id(n: u32) -> EventId {
        EventId::derive(OrgId(Uuid::nil()), &n.to_string(), "p")
    }

    #[test]
    fn never_forgets_and_seldom_errs() {
        let mut filter = GrowingFilter::default();
        let added = 600_000;
        (0..added).for_each(|n| filter.insert(id(n)));
        assert!((0..added).all(|n| filter.may_contain(id(n))));
        let wrong = (added..added + 100_000)
            .filter(|n| filter.may_contain(id(*n)))
            .count();
        assert!(
            wrong < 600,
            "{wrong} of 100,000 new ids were taken for known ones"
        );
        assert_eq!(filter.num_ids(), added as usize);
        assert!(
            filter.num_bytes() < 4 * added as usize,
            "{} bytes",
            filter.num_bytes()
        );
    }
}
