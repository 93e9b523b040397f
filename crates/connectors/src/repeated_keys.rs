//! Keys that stand in a table more than once.

use ahash::AHashSet;
use tradejoin_model::{ChangeKind, ChangeLane, LookUp, OwnedKey};

/// The keys of a table as it is read, to tell which stand there again. It takes a hash
/// for each row.
#[derive(Clone, Debug)]
pub struct RepeatedKeys {
    look_up: LookUp,
    seen: AHashSet<u64>,
    first: Vec<OwnedKey>,
    count: u64,
}

impl RepeatedKeys {
    /// Of a table that is looked up so: by time a key may stand there once for each
    /// `valid_from`, by version once for each version.
    #[must_use]
    pub fn new(look_up: LookUp) -> Self {
        Self { look_up, seen: AHashSet::new(), first: Vec::new(), count: 0 }
    }

    /// Takes rows. Of keys that stand there again, the first `keep` are kept.
    pub fn take(&mut self, lane: &ChangeLane, keep: usize) {
        for change in (0..lane.len()).filter(|&change| lane.kinds[change] == ChangeKind::Upsert) {
            let key = lane.keys.get(change);
            let stamp = match self.look_up {
                LookUp::Latest => 0,
                LookUp::LatestVersion => lane.version(change),
                LookUp::AsOf { .. } => lane.validity(change).from,
            };
            let hash = self.seen.hasher().hash_one((&key, stamp));
            if !self.seen.insert(hash) {
                self.count += 1;
                if self.first.len() < keep && !self.first.contains(&key) {
                    self.first.push(key);
                }
            }
        }
    }

    /// How many rows have a key that an earlier one has.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first of their keys, in the order of the table.
    #[must_use]
    pub fn first(&self) -> &[OwnedKey] {
        &self.first
    }
}
