//! One table as one shard sees it.

use std::sync::Arc;

use arrow_array::{Array as _, Int64Array, UInt32Array};
use tradejoin_model::{
    ByTime, ChangeLane, Column, Found, Keys, LookUp, OutputColumn, Slot, StoredTable, Stretch, Stretches,
    TableAnswer, TableSpec, TextColumn,
};

/// The rows that a shard owns of a table, on top of a generation that all
/// shards share.
#[derive(Debug)]
pub(crate) struct ShardTable {
    look_up: LookUp,
    outputs: Arc<[OutputColumn]>,
    /// Every row of a partitioned table; of a broadcast one, the rows that
    /// changed since its generation.
    own: StoredTable,
    generation: Option<Arc<StoredTable>>,
    found: Found,
    /// Memory for what stands for keys that are texts.
    numbers: Vec<Option<u32>>,
    /// Memory for the keys of stretches.
    stretch_keys: Vec<Option<u32>>,
    /// Whether trades wait for its keys.
    is_waited_for: bool,
    /// Whether it is noted what changes do to trades before them.
    notes_effects: bool,
}

/// The rows of a batch that a shard looks up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rows<'a> {
    /// The first so many: all of them, or none.
    First(usize),
    /// These, rising, and some stretches of all.
    Selected(&'a [u32], &'a [Stretch], &'a Stretches),
}

impl Rows<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::First(len) => *len,
            Self::Selected(rows, ..) => rows.len(),
        }
    }

    /// The stretches, and what their rows refer to.
    fn stretches(&self) -> (&[Stretch], &[u32]) {
        match self {
            Self::First(_) => (&[], &[]),
            Self::Selected(_, stretches, all) => (stretches, all.rows()),
        }
    }
}

impl ShardTable {
    pub(crate) fn new(spec: &TableSpec) -> Self {
        let outputs: Arc<[OutputColumn]> = spec.outputs.clone().into();
        let own = StoredTable::new(spec.look_up, &outputs);
        let is_waited_for = spec.on_miss.hold().is_some();
        Self {
            look_up: spec.look_up,
            outputs,
            own,
            generation: None,
            found: Found::default(),
            numbers: Vec::new(),
            stretch_keys: Vec::new(),
            is_waited_for,
            notes_effects: false,
        }
    }

    /// Notes from now on what changes do to trades before them.
    pub(crate) fn note_effects(&mut self) {
        self.notes_effects = true;
        self.own = self.new_own();
    }

    fn new_own(&self) -> StoredTable {
        let own = StoredTable::new(self.look_up, &self.outputs);
        if self.notes_effects { own.noting_effects() } else { own }
    }

    /// Starts from `generation`; changes on top of another one are forgotten.
    pub(crate) fn pin(&mut self, generation: Option<&Arc<StoredTable>>) {
        let same = match (&self.generation, generation) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            _ => false,
        };
        if !same {
            self.generation = generation.cloned();
            self.own = self.new_own();
        }
    }

    /// Looks up the keys of `rows` and applies the changes `changes` of `lane`,
    /// both rising, as if they were interleaved as the sequence has them.
    pub(crate) fn step(
        &mut self,
        keys: &Keys,
        times: Option<&Int64Array>,
        rows: Rows<'_>,
        lane: &ChangeLane,
        changes: impl Iterator<Item = u32> + Clone,
        answer: &mut TableAnswer,
    ) {
        let below = self.generation.as_deref();
        self.own.apply(&self.outputs, lane, changes, below, self.is_waited_for);
        match keys {
            Keys::Ids(ids) => self.find_ids(ids, times, rows, &mut answer.missed),
            Keys::Texts(texts) => self.find_texts(texts, times, rows, &mut answer.missed),
        }
        std::mem::swap(&mut self.found.parts, &mut answer.parts);
        self.gather(&mut answer.columns);
        answer.applied = self.own.settle(self.generation.as_deref(), &mut answer.appeared);
        if self.notes_effects {
            self.own.take_effects(&self.outputs, self.generation.as_deref(), &mut answer.effects);
        }
    }

    fn find_ids(
        &mut self,
        ids: &UInt32Array,
        times: Option<&Int64Array>,
        rows: Rows<'_>,
        missed: &mut Vec<u32>,
    ) {
        let Self { own, generation, found, stretch_keys, .. } = self;
        let (below, values) = (generation.as_deref(), ids.values());
        let (stretches, of_all) = rows.stretches();
        stretch_keys.clear();
        stretch_keys
            .extend(stretches.iter().map(|stretch| Some(values[of_all[stretch.rows.start] as usize])));
        let by_time = ByTime { times, stretches, rows: of_all, keys: stretch_keys };
        // Batches have fewer than 2^32 rows: `Messages::new` checks it.
        match (rows, ids.nulls()) {
            (Rows::First(len), None) => {
                let keys = values[..len].iter().map(|&key| Some(key));
                own.find(keys, |number| number as u32, by_time, below, found, missed);
            }
            (Rows::First(len), Some(nulls)) => {
                let keys = (0..len).map(|row| nulls.is_valid(row).then(|| values[row]));
                own.find(keys, |number| number as u32, by_time, below, found, missed);
            }
            // The router selects no row without a key.
            (Rows::Selected(rows, ..), _) => {
                let keys = rows.iter().map(|&row| Some(values[row as usize]));
                own.find(keys, |number| rows[number], by_time, below, found, missed);
            }
        }
    }

    fn find_texts(
        &mut self,
        texts: &TextColumn,
        times: Option<&Int64Array>,
        rows: Rows<'_>,
        missed: &mut Vec<u32>,
    ) {
        let Self { own, generation, found, numbers, stretch_keys, .. } = self;
        let below = generation.as_deref();
        let (stretches, of_all) = rows.stretches();
        let first_rows = stretches.iter().map(|stretch| of_all[stretch.rows.start]);
        own.number_keys(texts, first_rows, below, stretch_keys);
        let by_time = ByTime { times, stretches, rows: of_all, keys: stretch_keys };
        match rows {
            Rows::First(len) => {
                own.number_keys(texts, 0..len as u32, below, numbers);
                own.find(numbers.iter().copied(), |number| number as u32, by_time, below, found, missed);
            }
            Rows::Selected(rows, ..) => {
                own.number_keys(texts, rows.iter().copied(), below, numbers);
                own.find(numbers.iter().copied(), |number| rows[number], by_time, below, found, missed);
            }
        }
    }

    /// The values of all slots found, column by column.
    fn gather(&self, columns: &mut Vec<Column>) {
        let generation = self.generation.as_ref().map(|generation| generation.columns());
        columns.resize_with(self.outputs.len(), || Column::Integers(Vec::new()));
        for (index, (output, own)) in self.outputs.iter().zip(self.own.columns()).enumerate() {
            columns[index].reset(output.column_type, 0);
            columns[index].gather(own, generation.map(|columns| &columns[index]), &self.found.slots);
        }
    }

    /// Bytes of memory in use; the shared generation is not counted.
    pub(crate) fn memory_bytes(&self) -> usize {
        let numbers = (self.numbers.capacity() + self.stretch_keys.capacity()) * size_of::<Option<u32>>();
        self.own.memory_bytes() + self.found.slots.capacity() * size_of::<Slot>() + numbers
    }
}
