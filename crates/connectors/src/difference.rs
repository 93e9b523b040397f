//! What a newer file of a table changes in the one that is in force.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, BuildHasherDefault};

use ahash::{AHashMap, AHashSet};
use tradejoin_flow::{BoxError, TableSource};
use tradejoin_model::{
    ChangeKeys, ChangeKind, ChangeLane, Column, INTEGER_NULL, Key, LookUp, MISS, Slot, SlotIndex, TextColumn,
};
use twox_hash::XxHash64;

use crate::lane_builder::no_terms;

/// Hashes that are the same on every machine: journals keep them.
type Hasher = BuildHasherDefault<XxHash64>;

/// A hash of each row of a table's file, by its key: enough to tell what a newer file
/// changes, without a second table.
///
/// It takes 12 bytes for each row where ids are mostly in sequence, more where they
/// are not, for keys of text, and for look-ups by time; and twice that or more once a
/// row of a table with times has removed all rows of a key. Two contents of one key
/// are taken for the same once in 2⁶⁴ changes.
#[derive(Clone, Debug)]
pub struct Fingerprints {
    look_up: LookUp,
    /// Whether the keys are texts.
    of_texts: bool,
    /// What kinds of fields there are, without a value.
    fields: Vec<Column>,
    places: Places,
    /// When the rows of each key begin, once all rows of some key were removed: a walk
    /// through all rows for each such key would take too long.
    beginnings: Option<AHashMap<Box<[u8]>, BTreeSet<i64>>>,
    contents: Vec<u64>,
    /// The version of each row, where rows have one.
    versions: Vec<i64>,
    /// Places that no row has any more.
    free: Vec<Slot>,
    hasher: Hasher,
}

/// Where in the contents a row is.
#[derive(Clone, Debug)]
enum Places {
    /// By id.
    Ids(SlotIndex),
    /// By the key, and behind it when the row begins, as bytes.
    Others(AHashMap<Box<[u8]>, Slot>),
}

/// What tells a row from all others of its table.
enum Identity {
    Id(u32),
    Other(Box<[u8]>),
}

/// What a newer file changes.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// The changes: first what is removed, then what is changed, then what is added, so
    /// that no two rows with times overlap on the way.
    pub changes: ChangeLane,
    /// Rows of the newer file.
    pub rows: u64,
    /// Rows of the file in force.
    pub rows_before: u64,
    /// Rows whose key, or key and `valid_from`, is new.
    pub added: u64,
    /// Rows that say something else.
    pub changed: u64,
    /// Rows that are there no more. Of tables by version none: a row that is not there
    /// has no version.
    pub removed: u64,
    /// Rows whose key, or key and `valid_from`, an earlier one has.
    pub duplicates: u64,
    /// Rows that could not be read and were skipped.
    pub rejected: u64,
    /// Whether a row that is valid since ever is removed while its key has others that
    /// stay: no change says that.
    pub cannot_remove: bool,
    /// The first of the changes that is of a row that was not there before: those
    /// behind it are, too, and those before it remove and change rows.
    pub added_from: usize,
    /// Those of the changes that make up the duplicates, in rising order.
    pub twice: Vec<u32>,
    /// Whether a row of a table with times removes all rows of its key, whenever they
    /// begin: what stands before and behind it in the file is not told apart here.
    pub removes_keys: bool,
}

impl Difference {
    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl Fingerprints {
    /// Of a table without rows that is looked up so.
    #[must_use]
    pub fn new(look_up: LookUp) -> Self {
        Self {
            look_up,
            of_texts: false,
            fields: Vec::new(),
            places: Places::Ids(SlotIndex::default()),
            beginnings: None,
            contents: Vec::new(),
            versions: Vec::new(),
            free: Vec::new(),
            hasher: Hasher::default(),
        }
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        (self.contents.len() - self.free.len()) as u64
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A digest of the rows, whatever their order.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let row =
            |identity: &[u8], place: Slot| self.hasher.hash_one((identity, self.contents[place as usize]));
        match &self.places {
            Places::Ids(ids) => {
                ids.keys().fold(0, |all: u64, id| all.wrapping_add(row(&id.to_be_bytes(), ids.get(id))))
            }
            Places::Others(others) => {
                others.iter().fold(0, |all: u64, (bytes, &place)| all.wrapping_add(row(bytes, place)))
            }
        }
    }

    /// Takes changes that are in force: rows of the first file, or the
    /// [difference](Difference::changes) of another.
    pub fn take(&mut self, lane: &ChangeLane) {
        self.of_texts |= matches!(lane.keys, ChangeKeys::Texts(_));
        if self.fields.is_empty() {
            self.fields = lane.fields.iter().map(Column::none_of_kind).collect();
        }
        for change in 0..lane.len() {
            let identity = self.identity(lane, change);
            match lane.kinds[change] {
                ChangeKind::Upsert => {
                    let content = self.content(lane, change);
                    match self.place(&identity) {
                        Some(place) if self.is_older(lane, change, place) => {}
                        Some(place) => self.put(place, content, lane.version(change)),
                        None => self.add(identity, content, lane.version(change)),
                    }
                }
                ChangeKind::Delete => match &identity {
                    Identity::Other(bytes) if self.removes_key(lane, change) => {
                        self.remove_key(key_and_time(bytes).0);
                    }
                    _ => self.remove(&identity),
                },
            }
        }
    }

    /// Reads a newer file and tells what it changes; nothing changes here.
    ///
    /// # Errors
    /// If the file cannot be read.
    ///
    /// # Panics
    /// If it is of another table: with other fields, or keys of another kind.
    pub fn difference(&self, newer: &mut dyn TableSource) -> Result<Difference, BoxError> {
        let mut difference = Difference { rows_before: self.len(), ..Difference::default() };
        let mut seen = vec![false; self.contents.len()];
        // What was removed and comes again is a change, whatever it says.
        let mut is_touched = vec![false; self.contents.len()];
        let mut fresh: AHashSet<Box<[u8]>> = AHashSet::new();
        let (mut changed, mut added) = (ChangeLane::default(), ChangeLane::default());
        let (mut changed_twice, mut added_twice) = (Vec::new(), Vec::new());
        while let Some(lane) = newer.next()? {
            let (mut changed_here, mut added_here) = (Vec::new(), Vec::new());
            for change in 0..lane.len() {
                let identity = self.identity(&lane, change);
                let place = self.place(&identity).map(|place| place as usize);
                // A lane has no more changes than 32 bits can count.
                let number = change as u32;
                match (lane.kinds[change], place) {
                    (ChangeKind::Upsert, Some(place)) => {
                        difference.rows += 1;
                        let is_twice = std::mem::replace(&mut seen[place], true);
                        difference.duplicates += u64::from(is_twice);
                        let says_else = self.contents[place] != self.content(&lane, change)
                            && !self.is_older(&lane, change, place as Slot);
                        // Of versions the order does not matter.
                        let follows = (is_twice || is_touched[place]) && !self.has_versions();
                        if says_else || follows {
                            changed_twice.extend(is_twice.then_some(changed.len() + changed_here.len()));
                            changed_here.push(number);
                            difference.changed += u64::from(!is_twice);
                        }
                    }
                    (ChangeKind::Upsert, None) => {
                        difference.rows += 1;
                        let is_new = fresh.insert(identity.into_bytes());
                        difference.added += u64::from(is_new);
                        difference.duplicates += u64::from(!is_new);
                        added_twice.extend((!is_new).then_some(added.len() + added_here.len()));
                        added_here.push(number);
                    }
                    (ChangeKind::Delete, _) if self.removes_key(&lane, change) => {
                        difference.removes_keys = true;
                    }
                    (ChangeKind::Delete, Some(place)) => {
                        // Whatever stood before it in the file.
                        (seen[place], is_touched[place]) = (false, true);
                        changed_here.push(number);
                    }
                    (ChangeKind::Delete, None) => {
                        difference.added -= u64::from(fresh.remove(&identity.into_bytes()));
                        added_here.push(number);
                    }
                }
            }
            difference.rejected += lane.rejected;
            changed.append_rows(&lane, &changed_here);
            added.append_rows(&lane, &added_here);
        }
        let removed = match self.look_up {
            LookUp::LatestVersion => Vec::new(),
            LookUp::Latest | LookUp::AsOf { .. } => self.unseen(&seen),
        };
        difference.removed = removed.len() as u64;
        difference.cannot_remove = self.is_as_of() && self.leaves_others(&removed, &seen);
        difference.changes = self.deletes(&removed);
        difference.added_from = removed.len() + changed.len();
        let changed_twice = changed_twice.into_iter().map(|at| removed.len() + at);
        let twice = changed_twice.chain(added_twice.into_iter().map(|at| difference.added_from + at));
        // No table has 2³⁰ rows.
        difference.twice = twice.map(|at| at as u32).collect();
        for lane in [changed, added] {
            difference.changes.append_rows(&lane, &(0..lane.len() as u32).collect::<Vec<_>>());
        }
        Ok(difference)
    }

    /// Whether one of these rows is valid since ever and others of its key stay.
    fn leaves_others(&self, removed: &[Identity], seen: &[bool]) -> bool {
        let Places::Others(others) = &self.places else { return false };
        let staying = others.iter().filter(|&(_, &place)| seen[place as usize]).map(|(bytes, _)| bytes);
        let staying: AHashSet<&[u8]> = staying.map(|bytes| key_and_time(bytes).0).collect();
        removed.iter().any(|row| match row {
            Identity::Id(_) => false,
            Identity::Other(bytes) => {
                let (key, from) = key_and_time(bytes);
                from == INTEGER_NULL && staying.contains(key)
            }
        })
    }

    fn has_versions(&self) -> bool {
        self.look_up == LookUp::LatestVersion
    }

    /// Whether a change has a lower version than the row in force.
    fn is_older(&self, lane: &ChangeLane, change: usize, place: Slot) -> bool {
        self.has_versions() && lane.version(change) < self.versions[place as usize]
    }

    /// Whether a deletion is of all rows of its key, whenever they begin.
    fn removes_key(&self, lane: &ChangeLane, change: usize) -> bool {
        self.is_as_of() && lane.validity(change).from == INTEGER_NULL
    }

    fn is_as_of(&self) -> bool {
        matches!(self.look_up, LookUp::AsOf { .. })
    }

    fn identity(&self, lane: &ChangeLane, change: usize) -> Identity {
        let from = self.is_as_of().then(|| lane.validity(change).from.to_be_bytes());
        let with_time = |key: &[u8]| key.iter().copied().chain(from.into_iter().flatten()).collect();
        match &lane.keys {
            ChangeKeys::Ids(ids) if from.is_none() => Identity::Id(ids[change].0),
            ChangeKeys::Ids(ids) => Identity::Other(with_time(&ids[change].0.to_be_bytes())),
            ChangeKeys::Texts(texts) => Identity::Other(with_time(texts.get(change).unwrap_or_default())),
        }
    }

    fn content(&self, lane: &ChangeLane, change: usize) -> u64 {
        let field = |column: &Column| match column {
            Column::Text(texts) => self.hasher.hash_one(texts.get(change)),
            Column::Integers(values) => self.hasher.hash_one(values[change]),
            Column::Options(symbols) => self.hasher.hash_one(symbols[change].padded().as_bytes()),
        };
        let stamp = (lane.validity(change).to, lane.version(change));
        lane.fields
            .iter()
            .map(field)
            .fold(self.hasher.hash_one(stamp), |all, field| self.hasher.hash_one((all, field)))
    }

    fn place(&self, identity: &Identity) -> Option<Slot> {
        match (&self.places, identity) {
            (Places::Ids(ids), &Identity::Id(id)) => Some(ids.get(id)).filter(|&place| place != MISS),
            (Places::Others(others), Identity::Other(bytes)) => others.get(bytes).copied(),
            _ => None,
        }
    }

    fn put(&mut self, place: Slot, content: u64, version: i64) {
        self.contents[place as usize] = content;
        if self.has_versions() {
            self.versions.resize(self.contents.len(), INTEGER_NULL);
            self.versions[place as usize] = version;
        }
    }

    fn add(&mut self, identity: Identity, content: u64, version: i64) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.contents.push(0);
            // No table has 2³⁰ rows.
            self.contents.len() as Slot - 1
        });
        self.put(place, content, version);
        if let (Some(beginnings), Identity::Other(bytes)) = (&mut self.beginnings, &identity) {
            let (key, from) = key_and_time(bytes);
            beginnings.entry(key.into()).or_default().insert(from);
        }
        match (&mut self.places, identity) {
            (Places::Ids(ids), Identity::Id(id)) => {
                ids.set(id, place);
            }
            (Places::Others(others), Identity::Other(bytes)) => {
                others.insert(bytes, place);
            }
            // The first row tells which keys there are.
            (places, Identity::Other(bytes)) => {
                *places = Places::Others(AHashMap::from_iter([(bytes, place)]));
            }
            (Places::Others(_), Identity::Id(_)) => unreachable!("the keys of one table have one kind"),
        }
    }

    fn remove(&mut self, identity: &Identity) {
        let place = match (&mut self.places, identity) {
            (Places::Ids(ids), &Identity::Id(id)) => Some(ids.set(id, MISS)).filter(|&place| place != MISS),
            (Places::Others(others), Identity::Other(bytes)) => others.remove(bytes),
            _ => None,
        };
        self.free.extend(place);
        if let (Some(beginnings), Identity::Other(bytes)) = (&mut self.beginnings, identity) {
            let (key, from) = key_and_time(bytes);
            if let Some(of_key) = beginnings.get_mut(key) {
                of_key.remove(&from);
                if of_key.is_empty() {
                    beginnings.remove(key);
                }
            }
        }
    }

    /// Removes all rows of a key of a table with times.
    fn remove_key(&mut self, key: &[u8]) {
        let Places::Others(others) = &mut self.places else { return };
        let beginnings = self.beginnings.get_or_insert_with(|| {
            let mut all: AHashMap<_, BTreeSet<_>> = AHashMap::new();
            for (key, from) in others.keys().map(|bytes| key_and_time(bytes)) {
                all.entry(key.into()).or_default().insert(from);
            }
            all
        });
        let gone = beginnings.remove(key).into_iter().flatten();
        let identities = gone.map(|from| [key, &from.to_be_bytes()].concat());
        self.free.extend(identities.filter_map(|bytes| others.remove(bytes.as_slice())));
    }

    /// The rows that were not seen, in the order of their keys.
    fn unseen(&self, seen: &[bool]) -> Vec<Identity> {
        match &self.places {
            Places::Ids(ids) => {
                let mut unseen: Vec<_> = ids.keys().filter(|&id| !seen[ids.get(id) as usize]).collect();
                unseen.sort_unstable();
                unseen.into_iter().map(Identity::Id).collect()
            }
            Places::Others(others) => {
                let unseen = others.iter().filter(|&(_, &place)| !seen[place as usize]);
                let mut unseen: Vec<_> = unseen.map(|(bytes, _)| bytes.clone()).collect();
                unseen.sort_unstable();
                unseen.into_iter().map(Identity::Other).collect()
            }
        }
    }

    /// Deletions of these rows, with fields that say nothing.
    fn deletes(&self, rows: &[Identity]) -> ChangeLane {
        let len = rows.len();
        let mut lane = ChangeLane {
            at_rows: vec![0; len],
            kinds: vec![ChangeKind::Delete; len],
            fields: self.fields.iter().map(|column| nothing(column, len)).collect(),
            ..ChangeLane::default()
        };
        let (mut ids, mut texts) = (Vec::new(), TextColumn::default());
        for row in rows {
            let key = match row {
                Identity::Id(id) => &id.to_be_bytes(),
                Identity::Other(bytes) if self.is_as_of() => {
                    let (key, from) = key_and_time(bytes);
                    lane.valid_from.push(from);
                    lane.valid_to.push(INTEGER_NULL);
                    key
                }
                Identity::Other(bytes) => bytes,
            };
            match key.try_into() {
                Ok(id) if !self.of_texts => ids.push(Key(u32::from_be_bytes(id))),
                _ => texts.push_bytes(Some(key)),
            }
        }
        lane.keys = if self.of_texts { texts.into() } else { ids.into() };
        lane
    }
}

/// Of an identity with a time, the key and when the row begins.
fn key_and_time(bytes: &[u8]) -> (&[u8], i64) {
    let (key, time) = bytes.split_last_chunk().expect("a time stands behind the key");
    (key, i64::from_be_bytes(*time))
}

impl Identity {
    fn into_bytes(self) -> Box<[u8]> {
        match self {
            Self::Id(id) => id.to_be_bytes().into(),
            Self::Other(bytes) => bytes,
        }
    }
}

fn nothing(like: &Column, len: usize) -> Column {
    match like {
        Column::Text(_) => {
            let mut texts = TextColumn::default();
            texts.resize(len);
            Column::Text(texts)
        }
        Column::Integers(_) => Column::Integers(vec![INTEGER_NULL; len]),
        Column::Options(_) => Column::Options(vec![no_terms(); len]),
    }
}

#[cfg(test)]
mod tests;
