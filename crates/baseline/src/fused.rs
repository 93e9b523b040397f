//! One thread over columns: no engine, nothing but the loop.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{Array as _, UInt32Array};
use hashbrown::HashMap;
use tradejoin_model::{
    BatchIndex, ChangeKind, ChangeLane, Column, Enriched, Messages, Position, TextColumn, TextView,
};

use crate::digest::digest_enriched;
use crate::naive::Outcome;

/// Joins blocks on one thread: instruments alone, or instruments and users, as
/// the blocks have them.
///
/// It is a plain loop over the input that the engine gets: texts of 24 bytes in an
/// array by id, changes applied between the rows that they stand between, and a
/// digest a column at a time. It is no lower bound: the engine looks up whole
/// batches at once, and is faster.
///
/// # Panics
/// If a change carries neither an option nor a text of at most
/// [`TextView::INLINE_MAX`] bytes, or the trades have not the columns of
/// [`trade_schema`](tradejoin_model::trade_schema).
pub fn fused(blocks: impl Iterator<Item = Messages>) -> Outcome {
    let mut tables = Vec::new();
    let mut outcome = Outcome::default();
    for block in blocks {
        tables.resize_with(block.keys.len(), Texts::default);
        let mut misses = 0;
        let joins = tables.iter_mut().zip(&block.keys).zip(block.lanes.iter());
        let columns = joins.map(|((table, keys), lane)| table.join(keys.ids(), lane, &mut misses));
        let columns = columns.collect();
        outcome.add(&enriched(block, columns, misses > 0));
    }
    outcome
}

/// The trades of a block with what was found for them.
fn enriched(block: Messages, columns: Vec<TextColumn>, has_misses: bool) -> Enriched {
    let rows = block.trades.num_rows();
    let is_found = |row: usize| columns.iter().all(|column| !column.views()[row].is_null());
    let kept = has_misses.then(|| (0..rows).map(is_found).collect::<Vec<_>>());
    let rows_kept = kept.as_ref().map_or(rows, |kept| kept.iter().filter(|&&kept| kept).count());
    Enriched {
        index: BatchIndex(0),
        first_position: Position(0),
        trades_before: 0,
        numbers: None,
        messages: Arc::new(block),
        columns: columns.into_iter().map(Column::Text).collect(),
        kept,
        rows_kept,
        dead_letters: Vec::new(),
    }
}

impl Outcome {
    fn add(&mut self, enriched: &Enriched) {
        self.digest.append(&digest_enriched(enriched));
        self.enriched += enriched.rows_kept as u64;
        self.unmatched += (enriched.trades().num_rows() - enriched.rows_kept) as u64;
    }
}

/// The texts of a table by key; null where a key has none.
enum Texts {
    /// The text of each key below the length.
    Dense(Vec<TextView>),
    /// Keys of any value.
    Sparse(HashMap<u32, TextView>),
}

impl Default for Texts {
    fn default() -> Self {
        Self::Dense(Vec::new())
    }
}

impl Texts {
    /// Keys below this have a place in the array, at 24 bytes each; a larger one
    /// makes it a map.
    const DENSE_KEYS: usize = 1 << 20;

    /// The text of each key with the changes before its row applied; adds to
    /// `misses` how many have none.
    fn join(&mut self, keys: &UInt32Array, lane: &ChangeLane, misses: &mut usize) -> TextColumn {
        let mut found = Vec::with_capacity(keys.len());
        let mut row = 0;
        for (change, id) in lane.keys.ids().iter().enumerate() {
            let at_row = lane.at_rows[change] as usize;
            *misses += self.find(keys, row..at_row, &mut found);
            self.set(id.0, text_of(lane, change));
            row = at_row;
        }
        *misses += self.find(keys, row..keys.len(), &mut found);
        // In the memory that they are in.
        found.into_iter().collect()
    }

    #[inline]
    fn find(&self, keys: &UInt32Array, rows: Range<usize>, found: &mut Vec<TextView>) -> usize {
        match (self, keys.nulls()) {
            (Self::Dense(texts), None) => {
                let keys = keys.values()[rows].iter();
                extend(found, keys.map(|&key| texts.get(key as usize)))
            }
            (Self::Sparse(texts), None) => {
                let keys = keys.values()[rows].iter();
                extend(found, keys.map(|key| texts.get(key)))
            }
            (_, Some(nulls)) => extend(
                found,
                rows.map(|row| nulls.is_valid(row).then(|| self.get(keys.value(row))).flatten()),
            ),
        }
    }

    fn get(&self, key: u32) -> Option<&TextView> {
        match self {
            Self::Dense(texts) => texts.get(key as usize),
            Self::Sparse(texts) => texts.get(&key),
        }
    }

    #[inline]
    fn set(&mut self, key: u32, text: TextView) {
        if let Self::Dense(texts) = self
            && key as usize >= texts.len()
        {
            if (key as usize) < Self::DENSE_KEYS {
                texts.resize((key as usize + 1).next_power_of_two(), TextView::NULL);
            } else {
                let known = (0..).zip(texts.drain(..)).filter(|(_, text)| !text.is_null());
                *self = Self::Sparse(known.collect());
            }
        }
        match self {
            Self::Dense(texts) => texts[key as usize] = text,
            Self::Sparse(texts) => {
                texts.insert(key, text);
            }
        }
    }
}

/// Appends texts, null for none, and gives how many are null.
#[inline]
fn extend<'a>(found: &mut Vec<TextView>, texts: impl Iterator<Item = Option<&'a TextView>>) -> usize {
    let mut misses = 0;
    // The length is known: there is no push for each row, with a length in memory.
    found.extend(texts.map(|text| {
        let text = text.copied().unwrap_or(TextView::NULL);
        misses += usize::from(text.is_null());
        text
    }));
    misses
}

/// The text that a change gives its key.
#[inline]
fn text_of(lane: &ChangeLane, change: usize) -> TextView {
    match (lane.kinds[change], lane.fields.first()) {
        (ChangeKind::Delete, _) => TextView::NULL,
        (ChangeKind::Upsert, Some(Column::Options(options))) => options[change].compact(),
        (ChangeKind::Upsert, Some(Column::Text(texts))) => {
            let long = texts.get(change).is_some_and(|text| text.len() > TextView::INLINE_MAX);
            assert!(!long, "a text that is not inline");
            texts.views()[change]
        }
        (ChangeKind::Upsert, other) => unreachable!("an option or a text changes, not {other:?}"),
    }
}
