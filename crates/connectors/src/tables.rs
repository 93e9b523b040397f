//! The rows of a reference table that are there before the first trade.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::DataType;
use tradejoin_flow::{BoxError, TableSource};
use tradejoin_model::{ChangeKind, ChangeLane, ColumnType, History, Key, VALID_FROM, Validity};

use crate::arrow_blocks::ArrowBlocks;
use crate::bad::Refusals;
use crate::encoding::Format;
use crate::error::{OpenError, ReadError};
use crate::flaw::{Flaw, Overlapping, Place, Reason};
use crate::header::Header;
use crate::input::{Input, InputOptions};
use crate::lane_builder::{CellText, LaneBuilder, TableColumn, TableKind};
use crate::mode::{AS_OF_ROW, Stamp, TableMode};
use crate::render::Cells;
use crate::text_rows::{TextRows, for_each_row};

/// Which table to read, and how.
#[derive(Clone, Debug)]
pub struct TableOptions {
    /// Where from.
    pub input: InputOptions,
    /// What it holds.
    pub kind: TableKind,
    /// Whether the same key twice is an error; in other modes than
    /// [`TableMode::Latest`] the same key with the same version or `valid_from`.
    /// Costs memory for each row. Otherwise the later row wins.
    pub strict: bool,
}

/// Opens a table. Its columns are known at once, so that outputs can be
/// selected among them before it is read.
///
/// # Errors
/// If the input cannot be opened, is no such file, has a column twice, or lacks
/// a required one. A bad row is left to [`TableSource::next`].
pub fn open_table(options: TableOptions) -> Result<TableReader, OpenError> {
    let TableOptions { input, kind, strict } = options;
    let batch_len = input.batch_len.max(1);
    let format = input.encoding.format;
    let bytes = input.location.file_len();
    let input = Input::open(input)?;
    let refusals = input.refusals();
    let name = Arc::clone(&input.name);
    let (rows, late, builder, columns) = if format.is_text() {
        open_text(&name, TextRows::open(input.into_text()?, format)?, kind)?
    } else {
        open_arrow(&name, ArrowBlocks::open(input)?, kind)?
    };
    let lines = strict.then(BTreeMap::new);
    Ok(TableReader { refusals, kind, rows, late, builder, columns, batch_len, lines, histories: None, bytes })
}

/// The rows; the columns that no row has yet; the builder; the columns on offer.
type Opened = (Rows, Vec<String>, LaneBuilder, Vec<TableColumn>);

fn open_text(name: &Arc<str>, mut rows: TextRows, kind: TableKind) -> Result<Opened, OpenError> {
    let mut late = Vec::new();
    if rows.format == Format::JsonLines {
        // A member such as `deleted` may well show up late. Of the required
        // ones, the first lines must have all, unless there are no lines.
        let skip = if rows.columns.is_empty() { 0 } else { kind.required_columns().len() };
        let seen = |name: &str| rows.columns.iter().any(|column| column == name);
        let others = kind.known_columns().iter().skip(skip).map(|column| column.name);
        late.extend(others.filter(|name| !seen(name)).map(str::to_owned));
        // A file without lines has all columns, as far as anyone can tell.
        let is_empty = rows.columns.is_empty();
        rows.columns.extend(late.iter().cloned());
        late.retain(|_| !is_empty);
    }
    let header = Header::new(name, rows.columns.clone(), kind.known_columns())?;
    let builder = LaneBuilder::new(name, kind, header)?;
    let columns = other_columns(&builder, |i| TableColumn::type_of_text(builder.header().kind(i)));
    Ok((Rows::Text(rows), late, builder, columns))
}

fn open_arrow(name: &Arc<str>, blocks: ArrowBlocks, kind: TableKind) -> Result<Opened, OpenError> {
    let fields = blocks.schema.fields().clone();
    let names = fields.iter().map(|field| field.name().clone()).collect();
    let header = Header::new(name, names, kind.known_columns())?;
    let builder = LaneBuilder::new(name, kind, header)?;
    let columns = other_columns(&builder, |i| output_type(fields[i].data_type()));
    Ok((Rows::Arrow { blocks, rows_read: 0 }, Vec::new(), builder, columns))
}

fn other_columns(builder: &LaneBuilder, ty: impl Fn(usize) -> ColumnType) -> Vec<TableColumn> {
    let names = &builder.header().names;
    builder.other_columns().map(|i| TableColumn { name: names[i].clone(), column_type: ty(i) }).collect()
}

fn output_type(ty: &DataType) -> ColumnType {
    match ty {
        ty if ty.is_integer() => ColumnType::Integer,
        DataType::Date32 | DataType::Date64 => ColumnType::Date,
        DataType::Timestamp(..) => ColumnType::Timestamp,
        DataType::Boolean => ColumnType::Boolean,
        DataType::Dictionary(_, values) => output_type(values),
        _ => ColumnType::Text,
    }
}

/// The rows of one table, in its order: a [`TableSource`] whose errors are
/// [`ReadError`]s.
pub struct TableReader {
    refusals: Refusals,
    kind: TableKind,
    rows: Rows,
    builder: LaneBuilder,
    columns: Vec<TableColumn>,
    batch_len: usize,
    /// Columns that may come, but that none of the first rows has.
    late: Vec<String>,
    /// Where each key stands, if it may stand once alone, with what tells its rows
    /// apart.
    lines: Option<BTreeMap<(Key, i64), Place>>,
    /// Where the rows of each key stand, if they may not overlap.
    histories: Option<BTreeMap<Key, History<Place>>>,
    /// Of the file, if it is one.
    bytes: Option<u64>,
}

enum Rows {
    Text(TextRows),
    Arrow { blocks: ArrowBlocks, rows_read: u64 },
}

impl TableReader {
    /// What the table holds.
    #[must_use]
    pub fn kind(&self) -> TableKind {
        self.kind
    }

    /// The columns that may be selected as outputs besides those that the
    /// table always offers.
    #[must_use]
    pub fn columns(&self) -> &[TableColumn] {
        &self.columns
    }

    /// Adds fields 1, 2, … to the changes; to be called before the first is
    /// read. They come from [`select_outputs`](crate::select_outputs).
    pub fn load(&mut self, fields: &[TableColumn]) {
        self.builder.set_extra(fields);
    }

    /// Reads what `mode` needs, which is [`TableMode::Latest`] unless this is called;
    /// to be called before the first row is read. For look-ups by time the reader
    /// keeps the place of each row in memory, to name both of two that overlap.
    ///
    /// # Errors
    /// If a column is missing that the mode needs.
    pub fn set_mode(&mut self, mode: &TableMode) -> Result<(), OpenError> {
        let source_name = &self.refusals.source_name;
        if mode.needs_times() && self.late.iter().any(|column| column == VALID_FROM) {
            let names = self.builder.header().names.iter();
            return Err(OpenError::ModeColumn {
                source_name: Arc::clone(source_name),
                column: VALID_FROM.to_owned(),
                what: AS_OF_ROW,
                found: names.filter(|name| !self.late.contains(name)).cloned().collect(),
            });
        }
        self.builder.set_mode(source_name, mode)?;
        self.histories = mode.needs_times().then(BTreeMap::new);
        Ok(())
    }

    /// The next rows, as [`TableSource::next`] gives them.
    ///
    /// # Errors
    /// If reading fails, a row is bad and such are not skipped, or a key stands
    /// twice and may not.
    pub fn read(&mut self) -> Result<Option<ChangeLane>, ReadError> {
        while self.builder.len() < self.batch_len {
            if !self.read_some()? {
                break;
            }
        }
        let lane = ChangeLane { rejected: self.refusals.take(), ..self.builder.take() };
        Ok(Some(lane).filter(|lane| !lane.is_empty() || lane.rejected > 0))
    }

    /// Reads a block of rows; `false` at the end.
    fn read_some(&mut self) -> Result<bool, ReadError> {
        let Self { rows, builder, refusals, lines, histories, kind, batch_len, .. } = self;
        let mut adder = Adder { builder, refusals, lines, histories, kind: *kind };
        match rows {
            Rows::Text(rows) => {
                let Some(chunk) = rows.chunks.next(*batch_len - adder.builder.len())? else {
                    return Ok(false);
                };
                let dialect = rows.dialect();
                for_each_row(&chunk, rows.format, &rows.columns, |place, cells| match cells {
                    Ok(cells) => adder.add(place, &|i| dialect.text(&cells[i])),
                    Err(flaw) => adder.refusals.refuse(place, flaw),
                })?;
            }
            Rows::Arrow { blocks, rows_read } => {
                let Some(batch) = blocks.next()? else { return Ok(false) };
                adder.add_block(&batch, *rows_read)?;
                *rows_read += batch.num_rows() as u64;
            }
        }
        Ok(true)
    }
}

/// Takes rows into a table's lane, or refuses them.
struct Adder<'t> {
    builder: &'t mut LaneBuilder,
    refusals: &'t mut Refusals,
    lines: &'t mut Option<BTreeMap<(Key, i64), Place>>,
    histories: &'t mut Option<BTreeMap<Key, History<Place>>>,
    kind: TableKind,
}

impl Adder<'_> {
    fn add<'c>(&mut self, place: Place, cell: &dyn Fn(usize) -> CellText<'c>) -> Result<(), ReadError> {
        let Self { builder, refusals, lines, histories, kind } = self;
        let mut twice = None;
        let pushed = builder.push(0, cell, |key, change, stamp| {
            if let (Some(histories), Stamp::Validity(validity)) = (histories.as_mut(), stamp) {
                note(histories, key, change, validity, place, kind.key_column())?;
            }
            let first = lines.as_mut().and_then(|lines| lines.insert((key, stamp.identity()), place));
            twice = first.map(|first| (key, first));
            Ok(())
        });
        match (pushed, twice) {
            (Err(flaw), _) => refusals.refuse(place, flaw),
            (Ok(()), None) => Ok(()),
            (Ok(()), Some((key, first))) => Err(ReadError::DuplicateKey {
                source_name: Arc::clone(&refusals.source_name),
                column: kind.key_column().to_owned(),
                key: key.0,
                first,
                second: place,
            }),
        }
    }

    /// Takes each row by the text of its cells, so that a value means the same
    /// in every format.
    fn add_block(&mut self, batch: &RecordBatch, rows_read: u64) -> Result<(), ReadError> {
        let read = |i: usize| self.builder.is_read(i).then(|| Cells::of_table(batch.column(i))).transpose();
        let cells = (0..batch.num_columns()).map(read).collect::<Result<Vec<_>, _>>();
        let cells = cells.map_err(|error| ReadError::corrupt(&self.refusals.source_name, error))?;
        for row in 0..batch.num_rows() {
            let cell = |i: usize| cells[i].as_ref().and_then(|cells| cells.to_text(row)).map(Cow::Owned);
            self.add(Place::Row(rows_read + row as u64 + 1), &cell)?;
        }
        Ok(())
    }
}

/// Notes where a row stands, as the table itself will have it.
fn note(
    histories: &mut BTreeMap<Key, History<Place>>,
    key: Key,
    change: ChangeKind,
    validity: Validity,
    place: Place,
    key_column: &str,
) -> Result<(), Flaw> {
    let history = histories.entry(key).or_default();
    match change {
        ChangeKind::Upsert => {
            let put = history.put(validity, place).map(|_| ());
            put.map_err(|overlap| {
                let (first, first_validity) = (overlap.value, overlap.validity);
                let reason = Reason::Overlap(Box::new(Overlapping { validity, first, first_validity }));
                Flaw::cell(key_column, &key.to_string(), reason)
            })
        }
        ChangeKind::Delete => {
            drop(history.delete(validity));
            Ok(())
        }
    }
}

impl TableSource for TableReader {
    fn next(&mut self) -> Result<Option<ChangeLane>, BoxError> {
        Ok(self.read()?)
    }

    fn bytes_hint(&self) -> Option<u64> {
        self.bytes
    }
}
