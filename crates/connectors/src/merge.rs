//! Trades that were put aside, and are enriched by now, among those of their run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ahash::{AHashMap, AHashSet};
use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::concat::concat_batches;
use arrow_select::interleave::interleave_record_batch;
use thiserror::Error;
use tradejoin_flow::End;
use tradejoin_model::{Keys, Messages};

use crate::encoding::{Encoding, Format, Location};
use crate::error::{Category, CreateError, OpenError, ReadError, WriteError};
use crate::input::InputOptions;
use crate::letters::{Letters, open_letters};
use crate::output::{Output, OutputOptions};
use crate::recovered::as_in;
use crate::table_def::TradeKey;
use crate::trade_layout::Fields;
use crate::trades::{TradeReader, TradesOptions, open_trades};

/// The column that tells trades apart.
const TRADE_ID: &str = "trade_id";

/// The ids of the trades of dead letters, each with the number of its trade.
#[derive(Clone, Debug)]
pub struct LetterIds {
    name: Arc<str>,
    ids: AHashMap<Box<[u8]>, LetterId>,
    /// The columns that the trades have.
    columns: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
struct LetterId {
    /// Where the letter stands, from 1.
    row: u64,
    trade: u64,
}

/// What is merged, and where to.
#[derive(Clone, Debug)]
pub struct MergeOptions {
    /// The enriched trades of the run that put others aside.
    pub enriched: InputOptions,
    /// Those of the others that are enriched by now, in the format of the former if that
    /// is text, otherwise in JSON Lines.
    pub recovered: InputOptions,
    /// Where to.
    pub location: Location,
    /// How that is encoded.
    pub encoding: Encoding,
    /// Whether texts of CSV that look like formulas are made into others.
    pub csv_safe: bool,
    /// Ends the merging before its end, once it is set.
    pub stop: Arc<AtomicBool>,
}

/// How many trades were merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merged {
    /// Of the run.
    pub enriched: u64,
    /// Of those that were put aside.
    pub recovered: u64,
}

/// Why trades could not be merged.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MergeError {
    /// A trade that is there twice.
    #[error("trade {id} stands twice, in {first} and in {second}")]
    Twice {
        /// Its id.
        id: String,
        /// The file and the row, from 1.
        first: String,
        /// Where it stands again.
        second: String,
    },
    /// A trade without an id.
    #[error("{place} has no {TRADE_ID}, by which trades are merged")]
    NoId {
        /// The file and the row, from 1.
        place: String,
    },
    /// Files with different columns.
    #[error(
        "{enriched} has the columns {expected}, and the recovered trades have {found}: choose equal ones (--columns)"
    )]
    Columns {
        /// The file.
        enriched: Arc<str>,
        /// Its columns.
        expected: String,
        /// Those of the other.
        found: String,
    },
    /// A recovered value that the column of the other file cannot hold.
    #[error(
        "a recovered trade has a value that the column {} of {enriched} cannot hold, so that nothing is merged: \
         replay without --into",
        column.escape_debug()
    )]
    Value {
        /// The file.
        enriched: Arc<str>,
        /// The column.
        column: String,
        /// What is wrong with the value.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An input cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Reading failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The output cannot be made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// Writing failed.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl MergeError {
    /// The kind of failure.
    #[must_use]
    pub fn category(&self) -> Category {
        match self {
            Self::Twice { .. } | Self::NoId { .. } | Self::Columns { .. } | Self::Value { .. } => {
                Category::Data
            }
            Self::Open(error) => error.category(),
            Self::Read(error) => error.category(),
            Self::Create(error) => error.category(),
            Self::Write(error) => error.category(),
        }
    }
}

fn options(input: &InputOptions, fields: Fields) -> TradesOptions {
    let key_columns = vec![TradeKey::Texts(vec![TRADE_ID.to_owned()])];
    TradesOptions { input: input.clone(), limit: None, key_columns, fields }
}

/// Fields that cost least where the ids alone are asked for.
fn ids_alone(format: Format) -> Fields {
    if format.is_text() { Fields::InRecord } else { Fields::AsText }
}

/// Shows each id of a file to `take`, with its row, from 1.
fn for_each_id(
    reader: &mut TradeReader,
    mut take: impl FnMut(u64, &[u8]) -> Result<(), MergeError>,
) -> Result<(), MergeError> {
    let mut row = 0;
    while let Some(messages) = reader.read()? {
        for at in 0..messages.trades.num_rows() {
            row += 1;
            let id = id(&messages, at);
            take(row, id.ok_or_else(|| MergeError::NoId { place: place(reader.name(), row) })?)?;
        }
    }
    Ok(())
}

fn id(messages: &Messages, row: usize) -> Option<&[u8]> {
    match &messages.keys[0] {
        Keys::Texts(texts) => texts.get(row),
        Keys::Ids(_) => None,
    }
}

fn place(name: &str, row: u64) -> String {
    format!("{name}, row {row}")
}

fn twice(id: &[u8], first: String, second: String) -> MergeError {
    MergeError::Twice { id: String::from_utf8_lossy(id).into_owned(), first, second }
}

impl LetterIds {
    /// Reads the ids of dead letters.
    ///
    /// # Errors
    /// If an id is missing or stands twice, or the letters cannot be read.
    pub fn read(input: &InputOptions) -> Result<Self, MergeError> {
        let (mut reader, letters): (_, Letters) = open_letters(options(input, Fields::InRecord))?;
        let name = Arc::clone(reader.name());
        let columns = names(&reader.schema()).into_iter().map(str::to_owned).collect();
        let mut ids: AHashMap<Box<[u8]>, LetterId> = AHashMap::new();
        for_each_id(&mut reader, |row, id| {
            // Each trade that was read has a letter.
            let trade = letters.get(row).map_or(row, |letter| letter.trade);
            match ids.insert(id.into(), LetterId { row, trade }) {
                None => Ok(()),
                Some(first) => Err(twice(id, place(&name, first.row), place(&name, row))),
            }
        })?;
        Ok(Self { name, ids, columns })
    }

    /// Checks that a file has each trade once, and none of the letters.
    ///
    /// # Errors
    /// If it has, or cannot be read.
    pub fn check_apart(&self, enriched: &InputOptions) -> Result<(), MergeError> {
        let mut reader = open_trades(options(enriched, ids_alone(enriched.encoding.format)))?;
        let name = Arc::clone(reader.name());
        let mut seen = Seen::default();
        for_each_id(&mut reader, |row, id| {
            if let Some(letter) = self.ids.get(id) {
                return Err(twice(id, place(&name, row), place(&self.name, letter.row)));
            }
            if seen.insert(id) {
                Ok(())
            } else {
                Err(twice(id, first_place(enriched, id)?, place(&name, row)))
            }
        })
    }

    /// Checks that the columns of recovered trades are those of the run. Of the trades' own some may
    /// be missing, which no letter has: they were null, or had no member in JSON.
    fn check_columns(
        &self,
        enriched: &Arc<str>,
        is_json: bool,
        expected: &SchemaRef,
        found: &SchemaRef,
    ) -> Result<(), MergeError> {
        let (expected, found) = (names(expected), names(found));
        let added: Vec<_> =
            found.iter().filter(|name| !self.columns.iter().any(|own| own == *name)).collect();
        // Behind the trades' own, in any order, unless members of JSON come as they come.
        let last = &expected[expected.len().saturating_sub(added.len())..];
        let are_last = added.iter().all(|name| last.contains(name));
        if found.iter().all(|name| expected.contains(name)) && (is_json || are_last) {
            return Ok(());
        }
        let (expected, found) = (expected.join(", "), found.join(", "));
        Err(MergeError::Columns { enriched: Arc::clone(enriched), expected, found })
    }
}

/// Where an id stands first.
fn first_place(input: &InputOptions, wanted: &[u8]) -> Result<String, MergeError> {
    let mut reader = open_trades(options(input, ids_alone(input.encoding.format)))?;
    let name = Arc::clone(reader.name());
    let mut first = None;
    for_each_id(&mut reader, |row, id| {
        first = first.or((id == wanted).then_some(row));
        Ok(())
    })?;
    Ok(place(&name, first.unwrap_or_default()))
}

/// Ids that have been seen. Most are integers, which take less room than texts.
#[derive(Default)]
struct Seen {
    integers: AHashSet<u64>,
    texts: AHashSet<Box<[u8]>>,
}

impl Seen {
    /// Whether an id is new.
    fn insert(&mut self, id: &[u8]) -> bool {
        let integer = std::str::from_utf8(id).ok().and_then(|text| text.parse::<u64>().ok());
        match integer.filter(|integer| integer.to_string().as_bytes() == id) {
            Some(integer) => self.integers.insert(integer),
            None => self.texts.insert(id.into()),
        }
    }
}

/// Writes the enriched trades of a run, and among them those of its dead letters that
/// are enriched by now, each at the place that its number tells: so many trades of the
/// run stand before it as were neither refused nor dropped. `None` if it was
/// stopped, which leaves nothing behind.
///
/// # Errors
/// If the files have other columns, cannot be read, or the output cannot be written.
pub fn merge(letters: &LetterIds, merge: MergeOptions) -> Result<Option<Merged>, MergeError> {
    let MergeOptions { enriched, recovered, location, encoding, csv_safe, stop } = merge;
    let open = |fields: Fields| -> Result<_, MergeError> {
        // Tokens become values of the types of the other file.
        let of_recovered = if enriched.encoding.format.is_text() { fields } else { Fields::AsText };
        Ok((open_trades(options(&enriched, fields))?, open_trades(options(&recovered, of_recovered))?))
    };
    let fields = if encoding.format.is_text() { Fields::AsText } else { Fields::Typed };
    let (mut of_run, mut others) = open(fields)?;
    let (schema, found) = (of_run.schema(), others.schema());
    let (has_enriched, has_recovered) = (has_trades(&enriched)?, has_trades(&recovered)?);
    // Without a trade a file in JSON Lines does not say its columns.
    let is_same_order = names(&schema) == names(&found) || !has_enriched || !has_recovered;
    let passes = encoding.format == enriched.encoding.format && !csv_safe;
    if encoding.format.is_text() && is_same_order && passes {
        // Records pass as they are.
        (of_run, others) = open(Fields::InRecord)?;
    }
    let name = Arc::clone(of_run.name());
    let is_json = enriched.encoding.format == Format::JsonLines;
    let schema = if is_json && !has_enriched {
        others.schema()
    } else {
        if has_recovered {
            letters.check_columns(&name, is_json, &schema, &found)?;
        }
        of_run.schema()
    };
    let mut places = if has_recovered {
        // The same rows once more: what is known of trades is read as everywhere.
        let typed =
            (!enriched.encoding.format.is_text()).then(|| open_trades(options(&recovered, Fields::Typed)));
        Places::read(letters, (&mut others, typed.transpose()?), &name, &schema)?
    } else {
        Places::of(letters, Vec::new(), None)
    };
    let mut output =
        Output::create(OutputOptions { csv_safe, ..OutputOptions::new(location, encoding, schema) })?;
    let mut merged = Merged { enriched: 0, recovered: places.recovered.len() as u64 };
    while let Some(messages) = of_run.read()? {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        merged.enriched += messages.trades.num_rows() as u64;
        output.write_batch(&places.merge(messages.trades).map_err(corrupt(&name))?)?;
    }
    if let Some(rest) = places.rest().map_err(corrupt(&name))? {
        output.write_batch(&rest)?;
    }
    output.close(End::Complete)?;
    Ok(Some(merged))
}

fn corrupt(name: &Arc<str>) -> impl Fn(ArrowError) -> MergeError {
    |error| ReadError::corrupt(name, error).into()
}

fn names(schema: &SchemaRef) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name().as_str()).collect()
}

/// Whether a file has a trade.
fn has_trades(input: &InputOptions) -> Result<bool, MergeError> {
    let mut reader = open_trades(options(input, ids_alone(input.encoding.format)))?;
    while let Some(messages) = reader.read()? {
        if messages.trades.num_rows() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where recovered trades go.
struct Places {
    /// The numbers of all letters, the lowest last.
    letters: Vec<u64>,
    /// The numbers of the recovered trades, each with its row, the lowest last.
    recovered: Vec<(u64, usize)>,
    /// All of them; `None` if there are none.
    rows: Option<RecordBatch>,
    /// The number of the next trade.
    next: u64,
}

impl Places {
    fn read(
        letters: &LetterIds,
        (reader, mut typed): (&mut TradeReader, Option<TradeReader>),
        enriched: &Arc<str>,
        schema: &SchemaRef,
    ) -> Result<Self, MergeError> {
        let (mut batches, mut recovered) = (Vec::new(), Vec::new());
        while let Some(messages) = reader.read()? {
            for row in 0..messages.trades.num_rows() {
                let letter = id(&messages, row).and_then(|id| letters.ids.get(id));
                // What was recovered has a letter.
                recovered.push((letter.map_or(u64::MAX, |letter| letter.trade), recovered.len()));
            }
            let typed = typed.as_mut().map(TradeReader::read).transpose()?.flatten();
            batches.push(as_in(
                &messages.trades,
                typed.as_ref().map(|typed| &typed.trades),
                schema,
                enriched,
            )?);
        }
        let rows = match batches.first() {
            Some(first) => Some(concat_batches(&first.schema(), &batches).map_err(corrupt(enriched))?),
            None => None,
        };
        Ok(Self::of(letters, recovered, rows))
    }

    fn of(letters: &LetterIds, mut recovered: Vec<(u64, usize)>, rows: Option<RecordBatch>) -> Self {
        let mut letters: Vec<_> = letters.ids.values().map(|letter| letter.trade).collect();
        letters.sort_unstable_by(|a, b| b.cmp(a));
        recovered.sort_unstable_by(|a, b| b.cmp(a));
        Self { letters, recovered, rows, next: 1 }
    }

    /// The next trades of the run, and before and among them those that were recovered.
    fn merge(&mut self, trades: RecordBatch) -> Result<RecordBatch, ArrowError> {
        let mut places = Vec::with_capacity(trades.num_rows());
        for row in 0..trades.num_rows() {
            while self.letters.pop_if(|letter| *letter <= self.next).is_some() {
                self.next += 1;
            }
            while let Some((_, recovered)) = self.recovered.pop_if(|(number, _)| *number < self.next) {
                places.push((1, recovered));
            }
            places.push((0, row));
            self.next += 1;
        }
        match &self.rows {
            Some(rows) if places.len() > trades.num_rows() => {
                interleave_record_batch(&[&trades, &rows.clone().with_schema(trades.schema())?], &places)
            }
            _ => Ok(trades),
        }
    }

    /// The recovered trades that stand behind all others.
    fn rest(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        let places: Vec<_> = self.recovered.iter().rev().map(|&(_, row)| (0, row)).collect();
        let rows = self.rows.as_ref().filter(|_| !places.is_empty());
        rows.map(|rows| interleave_record_batch(&[rows], &places)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int64Array, cast::AsArray as _, types::Int64Type};
    use arrow_schema::{DataType, Field, Schema};

    use super::*;

    fn batch(values: &[i64]) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(values.to_vec()))]).expect("a column")
    }

    #[test]
    fn each_trade_goes_to_its_number_and_those_that_fail_again_leave_their_place() {
        // Of trades 1 to 9, 1, 2, 5, 8 and 9 were put aside, and 2, 5 and 9 are back.
        let mut places = Places {
            letters: vec![9, 8, 5, 2, 1],
            recovered: vec![(9, 0), (5, 2), (2, 1)],
            rows: Some(batch(&[9, 2, 5])),
            next: 1,
        };
        let mut all: Vec<i64> = Vec::new();
        for trades in [batch(&[3]), batch(&[4, 6]), batch(&[7])] {
            let merged = places.merge(trades).expect("merged");
            all.extend(merged.column(0).as_primitive::<Int64Type>().values());
        }
        let rest = places.rest().expect("merged").expect("one is left");
        all.extend(rest.column(0).as_primitive::<Int64Type>().values());
        assert_eq!(all, [2, 3, 4, 5, 6, 7, 9]);
    }
}
