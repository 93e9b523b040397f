//! A table whose rows are looked up by key and time.

use crate::batch::{ChangeKind, ChangeLane};
use crate::column::Column;
use crate::effects::Noted;
use crate::history::{History, Validity};
use crate::index::SlotIndex;
use crate::key_numbers::{KeyNumbers, NO_KEY};
use crate::keyed::{Found, IN_GENERATION, MISS, Slot};
use crate::routed::Appeared;
use crate::stored::Applied;
use crate::stretches::ByTime;
use crate::table::OutputColumn;
use crate::text::TextColumn;

/// A change that no row has seen yet.
#[derive(Clone, Copy, Debug)]
struct Pending {
    key: u32,
    /// The change of the lane that it is.
    change: u32,
    /// The first row that sees it.
    at_row: u32,
    kind: ChangeKind,
    validity: Validity,
    /// Where the values of an upsert are; [`MISS`] for a delete.
    slot: Slot,
}

/// A table in which a key has a row for each time at which it began to mean
/// something else.
///
/// A batch is taken in three steps: [`apply`](AsOfTable::apply) renders the values
/// of all changes, [`find`](AsOfTable::find) goes from row to row and lets each
/// change take effect before the first row that sees it,
/// [`settle`](AsOfTable::settle) does so with those that are left. A slot keeps its
/// values until then. A look-up is a probe and a binary search.
///
/// On top of a generation a key that changes has all its rows here, those of the
/// generation with the mark [`IN_GENERATION`].
#[derive(Clone, Debug)]
pub(crate) struct AsOfTable {
    /// How far back a row may have begun, in nanoseconds.
    tolerance: Option<u64>,
    /// The number of each key's history.
    keys: SlotIndex,
    /// What stands for keys that are texts.
    numbers: KeyNumbers,
    histories: Vec<History<Slot>>,
    /// Histories of no key.
    unused: Vec<Slot>,
    columns: Vec<Column>,
    slot_count: Slot,
    /// Slots that hold nothing that anyone may still read.
    free: Vec<Slot>,
    /// Slots whose rows have gone in the batch under way.
    retired: Vec<Slot>,
    /// The changes of the batch under way, and how many have taken effect.
    pending: Vec<Pending>,
    placed: usize,
    applied: Applied,
    /// Upserts that have taken effect, if that is asked for.
    appeared: Vec<Appeared>,
    is_waited_for: bool,
    /// What changes do to trades before them, if that is asked for.
    noted: Option<Noted>,
    /// Keys that have had no row at some place of the batch under way.
    gone: Vec<u32>,
}

impl AsOfTable {
    pub(crate) fn new(outputs: &[OutputColumn], tolerance: Option<u64>) -> Self {
        Self {
            tolerance,
            keys: SlotIndex::default(),
            numbers: KeyNumbers::default(),
            histories: Vec::new(),
            unused: Vec::new(),
            columns: outputs.iter().map(|output| Column::new(output.column_type)).collect(),
            slot_count: 0,
            free: Vec::new(),
            retired: Vec::new(),
            pending: Vec::new(),
            placed: 0,
            applied: Applied::default(),
            appeared: Vec::new(),
            is_waited_for: false,
            noted: None,
            gone: Vec::new(),
        }
    }

    /// Notes from now on what changes do to trades before them.
    pub(crate) fn note_effects(&mut self) {
        self.noted = Some(Noted::default());
    }

    pub(crate) fn noted(&mut self) -> Option<(&mut Noted, &[Column])> {
        Some((self.noted.as_mut()?, &self.columns))
    }

    pub(crate) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// What [`Self::find`] takes for keys that are texts.
    pub(crate) fn number_keys(
        &self,
        keys: &TextColumn,
        rows: impl Iterator<Item = u32>,
        below: Option<&Self>,
        numbers: &mut Vec<Option<u32>>,
    ) {
        self.numbers.of_rows(keys, rows, below.map(|below| &below.numbers), numbers);
    }

    /// Takes the changes of `lane` at `changes`, rising. With `is_waited_for` those
    /// that take effect are noted. Never inlined, as all that is not for latest tables.
    #[inline(never)]
    pub(crate) fn apply(
        &mut self,
        outputs: &[OutputColumn],
        lane: &ChangeLane,
        changes: impl Iterator<Item = u32> + Clone,
        below: Option<&Self>,
        is_waited_for: bool,
    ) {
        assert!(self.pending.is_empty(), "a batch is settled before the next");
        self.is_waited_for = is_waited_for;
        let mut places = Vec::new();
        let below = below.map(|below| &below.numbers);
        let numbers = &mut self.numbers;
        let numbered =
            lane.keys.texts().map(|keys| numbers.of_changes(keys, lane, changes.clone(), below, false));
        let keys = numbered.as_deref().unwrap_or_else(|| lane.keys.ids());
        for number in changes.map(|change| change as usize) {
            let kind = lane.kinds[number];
            let slot = match kind {
                ChangeKind::Upsert => self.vacant_slot(),
                ChangeKind::Delete => MISS,
            };
            if slot != MISS {
                places.push((slot as usize, number));
            }
            if numbered.is_some() && keys[number] == NO_KEY {
                // Nothing is there to go.
                continue;
            }
            self.pending.push(Pending {
                key: keys[number].0,
                // Fewer than 2^32: `Messages::new` checks it.
                change: number as u32,
                at_row: lane.at_rows[number],
                kind,
                validity: lane.validity(number),
                slot,
            });
        }
        if places.is_empty() {
            return;
        }
        for (column, output) in self.columns.iter_mut().zip(outputs) {
            column.grow(self.slot_count as usize);
            output.render(&lane.fields, places.iter().copied(), column);
        }
    }

    fn vacant_slot(&mut self) -> Slot {
        self.free.pop().unwrap_or_else(|| {
            assert!(self.slot_count < IN_GENERATION - 1, "a table has fewer than 2^30 rows");
            self.slot_count += 1;
            self.slot_count - 1
        })
    }

    /// Finds the slots of `keys` at the times of their rows, as
    /// [`KeyedTable::find`](crate::KeyedTable::find) does, and the parts of stretches,
    /// none of whose rows is among these. A row without a time finds nothing.
    #[inline(never)]
    pub(crate) fn find(
        &mut self,
        keys: impl Iterator<Item = Option<u32>>,
        row: impl Fn(usize) -> u32,
        by_time: ByTime<'_>,
        below: Option<&Self>,
        found: &mut Found,
        missed: &mut Vec<u32>,
    ) {
        missed.clear();
        found.slots.clear();
        found.parts.clear();
        let first_row = |stretch: usize| by_time.first_row(stretch).unwrap_or(u32::MAX);
        let (mut stretch, mut next) = (0, first_row(0));
        for (number, key) in keys.enumerate() {
            let row = row(number);
            while next < row {
                self.find_parts(stretch, by_time, below, found);
                stretch += 1;
                next = first_row(stretch);
            }
            self.place_before(row, below);
            let slot = key.zip(by_time.time(row)).map_or(MISS, |(key, time)| self.slot_at(key, time, below));
            if slot == MISS {
                missed.push(row);
            }
            found.slots.push(slot);
        }
        (stretch..by_time.stretches.len())
            .for_each(|stretch| self.find_parts(stretch, by_time, below, found));
        found.slots.append(&mut found.part_slots);
    }

    /// Finds the parts of a stretch, whose rows all see what its first one does.
    fn find_parts(&mut self, number: usize, by_time: ByTime<'_>, below: Option<&Self>, found: &mut Found) {
        let stretch = &by_time.stretches[number];
        let rows = &by_time.rows[stretch.rows.clone()];
        self.place_before(rows[0], below);
        let key = by_time.keys[number].filter(|_| stretch.least <= stretch.greatest);
        let Some((history, mark)) = key.and_then(|key| self.history_in_force(key, below)) else {
            // No row of it finds anything.
            return found.parts.end(1);
        };
        let Found { parts, part_slots, begun, .. } = found;
        let mut add = |(validity, slot): (Validity, Slot)| {
            parts.push(validity);
            part_slots.push(slot | mark);
        };
        // The row that has begun last at the least time, and those that begin until the
        // greatest, of which there are mostly none.
        let until_greatest =
            history.since(stretch.least).take_while(|(validity, _)| validity.from <= stretch.greatest);
        let count = until_greatest.clone().take(rows.len() + 1).count();
        let look_ups = if count <= rows.len() {
            until_greatest.for_each(|&row| add(row));
            count.max(1)
        } else {
            // More than there are trades: those that one of these has found begun.
            begun.clear();
            begun.extend(rows.iter().filter_map(|&row| history.begun_last(by_time.time(row)?)));
            begun.sort_unstable_by_key(|(validity, _)| validity.from);
            begun.dedup_by_key(|(validity, _)| validity.from);
            begun.iter().for_each(|&row| add(row));
            rows.len()
        };
        parts.end(look_ups);
    }

    fn slot_at(&self, key: u32, time: i64, below: Option<&Self>) -> Slot {
        let found = self.history_in_force(key, below);
        found.and_then(|(history, mark)| Some(history.at(time, self.tolerance)? | mark)).unwrap_or(MISS)
    }

    /// The history of a key, in this table or else in the generation, and the mark
    /// that its slots then have.
    #[inline]
    fn history_in_force<'a>(
        &'a self,
        key: u32,
        below: Option<&'a Self>,
    ) -> Option<(&'a History<Slot>, Slot)> {
        let own = self.history(key).map(|history| (history, 0));
        own.or_else(|| Some((below?.history(key)?, IN_GENERATION)))
    }

    fn history(&self, key: u32) -> Option<&History<Slot>> {
        match self.keys.get(key) {
            MISS => None,
            number => Some(&self.histories[number as usize]),
        }
    }

    /// Lets the changes that `row` sees take effect.
    #[inline]
    fn place_before(&mut self, row: u32, below: Option<&Self>) {
        while self.pending.get(self.placed).is_some_and(|change| change.at_row <= row) {
            self.place(below);
        }
    }

    /// Lets the next change take effect.
    fn place(&mut self, below: Option<&Self>) {
        let Pending { key, change, kind, validity, slot, .. } = self.pending[self.placed];
        self.placed += 1;
        let below = below.and_then(|below| below.history(key));
        let number = match self.keys.get(key) {
            // Nothing is there to go, and the key needs no place.
            MISS if kind == ChangeKind::Delete && below.is_none() => return,
            MISS => self.add_key(key, below),
            number => number,
        };
        let Self { histories, retired, applied, appeared, noted, .. } = self;
        let history = &mut histories[number as usize];
        match kind {
            ChangeKind::Upsert => match history.put(validity, slot) {
                Ok(replaced) => {
                    applied.replaced += u64::from(replaced.is_some());
                    retired.extend(replaced);
                    if self.is_waited_for {
                        appeared.push(Appeared { change, until: history.until(validity.from) });
                    }
                    if let Some(noted) = noted {
                        noted.put(change, validity, history.next(validity.from));
                    }
                }
                Err(_) => {
                    applied.overlaps += 1;
                    retired.push(slot);
                }
            },
            ChangeKind::Delete => {
                let retired_before = retired.len();
                retired.extend(history.delete(validity));
                if let Some(noted) = noted
                    && retired.len() > retired_before
                {
                    let from = validity.from;
                    noted.delete(change, from, history.next(from), history.before(from));
                }
            }
        }
        if history.is_empty() && below.is_none() {
            self.keys.set(key, MISS);
            self.unused.push(number);
            if !self.numbers.is_empty() {
                self.gone.push(key);
            }
        }
    }

    /// Gives a key a history: that of the generation, or an empty one.
    fn add_key(&mut self, key: u32, below: Option<&History<Slot>>) -> Slot {
        let history = below.map(|below| below.map(|slot| slot | IN_GENERATION)).unwrap_or_default();
        let number = match self.unused.pop() {
            Some(number) => {
                self.histories[number as usize] = history;
                number
            }
            None => {
                self.histories.push(history);
                // Each has a slot, of which there are fewer.
                self.histories.len() as Slot - 1
            }
        };
        self.keys.set(key, number);
        number
    }

    /// Lets what is left of the batch take effect, and tells what became of its
    /// changes: what was found before must not be read any more. `appeared` becomes
    /// those that took effect, if that was asked for.
    #[inline(never)]
    pub(crate) fn settle(&mut self, below: Option<&Self>, appeared: &mut Vec<Appeared>) -> Applied {
        while self.placed < self.pending.len() {
            self.place(below);
        }
        self.pending.clear();
        self.placed = 0;
        self.free.extend(self.retired.drain(..).filter(|slot| slot & IN_GENERATION == 0));
        for key in self.gone.drain(..) {
            // It may have come back behind that.
            if self.keys.get(key) == MISS {
                self.numbers.forget(key);
            }
        }
        appeared.clear();
        appeared.append(&mut self.appeared);
        std::mem::take(&mut self.applied)
    }

    /// Bytes of memory in use.
    pub(crate) fn memory_bytes(&self) -> usize {
        let slots = self.free.capacity() + self.retired.capacity() + self.unused.capacity();
        let histories = self.histories.capacity() * size_of::<History<Slot>>()
            + self.histories.iter().map(History::memory_bytes).sum::<usize>();
        self.keys.memory_bytes()
            + self.numbers.memory_bytes()
            + histories
            + slots * size_of::<Slot>()
            + self.pending.capacity() * size_of::<Pending>()
            + self.columns.iter().map(Column::memory_bytes).sum::<usize>()
    }
}
