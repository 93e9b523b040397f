//! A table whose rows have versions: the highest counts, whenever it comes.

use std::cmp::Ordering;

use ahash::AHashMap;

use crate::batch::{ChangeKind, ChangeLane};
use crate::column::Column;
use crate::effects::{Effect, Noted};
use crate::ids::Key;
use crate::keyed::{IN_GENERATION, KeyedTable, MISS, Slot, is_special};
use crate::routed::Appeared;
use crate::stored::Applied;
use crate::table::OutputColumn;

/// The version of a key that is in force.
#[derive(Clone, Copy, Debug)]
struct Stamp {
    version: i64,
    /// Whether it is a tombstone: the row was removed, and the version stays so
    /// that no older one brings it back.
    gone: bool,
}

/// A [`KeyedTable`] that is told only of the changes that count.
///
/// A change with a lower version than that in force does nothing. Of two with the
/// same version a delete wins, else the row with the greater values: the first
/// output that differs decides, texts by their bytes, numbers by value, null first.
/// So the rows do not depend on the order of arrival. Every key that ever was
/// there, also one that has gone, costs a version in memory.
#[derive(Clone, Debug)]
pub(crate) struct VersionedTable {
    rows: KeyedTable,
    stamps: AHashMap<u32, Stamp>,
    /// The change that is in force, for the keys that the batch under way has
    /// changed.
    in_batch: AHashMap<u32, u32>,
    /// The changes of the batch that count.
    kept: Vec<u32>,
    /// One value for each output: those of two rows that are compared.
    new_values: Vec<Column>,
    old_values: Vec<Column>,
}

impl VersionedTable {
    pub(crate) fn new(outputs: &[OutputColumn]) -> Self {
        let value = |output: &OutputColumn| {
            let mut column = Column::new(output.column_type);
            column.grow(1);
            column
        };
        let values: Vec<_> = outputs.iter().map(value).collect();
        Self {
            // A tombstone stands for its key as long as there is a run.
            rows: KeyedTable::new(outputs).keeping_numbers(),
            stamps: AHashMap::new(),
            in_batch: AHashMap::new(),
            kept: Vec::new(),
            new_values: values.clone(),
            old_values: values,
        }
    }

    pub(crate) fn rows(&self) -> &KeyedTable {
        &self.rows
    }

    /// Applies those of the changes that count, as [`KeyedTable::apply`] does. Never
    /// inlined: the loops of latest tables stay as small as if there were no others.
    #[inline(never)]
    pub(crate) fn apply(
        &mut self,
        outputs: &[OutputColumn],
        lane: &ChangeLane,
        changes: impl Iterator<Item = u32> + Clone,
        below: Option<&Self>,
        appeared: Option<&mut Vec<Appeared>>,
        noted: Option<&mut Noted>,
    ) -> Applied {
        let mut applied = Applied::default();
        let below_rows = below.map(|below| &below.rows);
        let numbered =
            lane.keys.texts().map(|keys| self.rows.number_changes(keys, lane, changes.clone(), below_rows));
        let keys = numbered.as_deref().unwrap_or_else(|| lane.keys.ids());
        for change in changes {
            let key = keys[change as usize];
            if self.counts(outputs, lane, change, key, below, &mut applied) {
                let gone = lane.kinds[change as usize] == ChangeKind::Delete;
                self.stamps.insert(key.0, Stamp { version: lane.version(change as usize), gone });
                self.in_batch.insert(key.0, change);
                self.kept.push(change);
            }
        }
        let kept = self.kept.iter().copied();
        applied.replaced = self.rows.apply(outputs, lane, kept, below_rows, appeared);
        if let Some(noted) = noted {
            let is_upsert = |change: u32| lane.kinds[change as usize] == ChangeKind::Upsert;
            self.kept.iter().for_each(|&change| noted.push(Effect::of_any_time(change, is_upsert(change))));
        }
        self.kept.clear();
        self.in_batch.clear();
        applied
    }

    /// Whether a change takes effect.
    fn counts(
        &mut self,
        outputs: &[OutputColumn],
        lane: &ChangeLane,
        change: u32,
        key: Key,
        below: Option<&Self>,
        applied: &mut Applied,
    ) -> bool {
        let number = change as usize;
        let stamp = self.stamps.get(&key.0).or_else(|| below?.stamps.get(&key.0)).copied();
        let Some(stamp) = stamp else { return true };
        match lane.version(number).cmp(&stamp.version) {
            Ordering::Greater => return true,
            Ordering::Less => {
                applied.stale += 1;
                return false;
            }
            Ordering::Equal => {}
        }
        let order = match (lane.kinds[number], stamp.gone) {
            (ChangeKind::Delete, gone) => true.cmp(&gone),
            (ChangeKind::Upsert, true) => Ordering::Less,
            (ChangeKind::Upsert, false) => self.compare(outputs, lane, number, key, below),
        };
        applied.conflicts += u64::from(order != Ordering::Equal);
        order == Ordering::Greater
    }

    /// Compares the values of a change with those of its key that are in force.
    fn compare(
        &mut self,
        outputs: &[OutputColumn],
        lane: &ChangeLane,
        number: usize,
        Key(key): Key,
        below: Option<&Self>,
    ) -> Ordering {
        let Self { new_values, old_values, .. } = self;
        render(outputs, lane, number, new_values);
        let (old, at) = match self.in_batch.get(&key) {
            Some(&old) => {
                render(outputs, lane, old as usize, old_values);
                (old_values.as_slice(), 0)
            }
            None => match (self.rows.settled(key), below) {
                (MISS, Some(below)) => (below.rows.columns(), below.rows.settled(key)),
                (slot, _) => (self.rows.columns(), slot),
            },
        };
        debug_assert!(!is_special(at) && at & IN_GENERATION == 0, "a row with a version has a slot");
        let pairs = new_values.iter().zip(old);
        let orders = pairs.map(|(new, old)| new.compare(0, old, at as usize));
        orders.fold(Ordering::Equal, Ordering::then)
    }

    pub(crate) fn settle(&mut self) {
        self.rows.settle();
    }

    /// Bytes of memory in use, tombstones among them; those of maps are estimated
    /// from their capacity.
    pub(crate) fn memory_bytes(&self) -> usize {
        let entry = size_of::<(u32, Stamp)>() + 1;
        self.rows.memory_bytes()
            + self.stamps.capacity() * entry * 8 / 7
            + self.in_batch.capacity() * (size_of::<(u32, Slot)>() + 1) * 8 / 7
    }
}

/// Renders the values of one change.
fn render(outputs: &[OutputColumn], lane: &ChangeLane, number: usize, values: &mut [Column]) {
    for (output, value) in outputs.iter().zip(values) {
        output.render(&lane.fields, std::iter::once((0, number)), value);
    }
}
