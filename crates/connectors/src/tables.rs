//! The rows of a reference table that are there before the first trade.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::DataType;
use tradejoin_flow::{BoxError, TableSource};
use tradejoin_model::{ChangeKind, ChangeLane, ColumnType, Key, VALID_FROM};

use crate::any_lane::AnyLane;
use crate::arrow_blocks::ArrowBlocks;
use crate::arrow_keys::check_key_part_type;
use crate::bad::Refusals;
use crate::bad_letter::{Raw, Record};
use crate::encoding::Format;
use crate::error::{OpenError, ReadError};
use crate::flaw::{Flaw, Place};
use crate::header::Header;
use crate::input::{Input, InputOptions};
use crate::json_rows::UnknownMembers;
use crate::key_text::KeyText;
use crate::lane_builder::{CellText, LaneBuilder, TableColumn, TableKind};
use crate::mode::{AS_OF_ROW, Stamp, TableMode};
use crate::ready::Loading;
use crate::render::Cells;
use crate::seen::Seen;
use crate::table_def::{AnyTable, TableDefinition};
use crate::text_rows::{TextRows, for_each_row};
use crate::values::{ValueEncoding, held_as};

/// Which table to read, and how.
#[derive(Clone, Debug)]
pub struct TableOptions {
    /// Where from.
    pub input: InputOptions,
    /// Which table it is.
    pub table: TableDefinition,
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
    let TableOptions { input, table, strict } = options;
    let (batch_len, bytes) = (input.batch_len.max(1), input.location.file_len());
    let loading = Loading::new(table.name(), &input);
    let opened = open_rows(input, &table, strict).map_err(|error| loading.explain(error, 0))?;
    let (refusals, (rows, late, lane, columns)) = opened;
    Ok(TableReader { refusals, table, rows, late, lane, columns, batch_len, bytes, loading })
}

fn open_rows(
    input: InputOptions,
    table: &TableDefinition,
    strict: bool,
) -> Result<(Refusals, Opened), OpenError> {
    let format = input.encoding.format;
    let input = Input::open(input)?;
    let refusals = input.refusals();
    let name = Arc::clone(&input.name);
    let opened = if format.is_text() {
        let rows = TextRows::open(input.into_text()?, format)?;
        match table {
            TableDefinition::Preset(kind) => open_text(&name, rows, *kind, strict)?,
            TableDefinition::Any(any) => open_any_text(&name, rows, any, strict)?,
        }
    } else {
        let blocks = ArrowBlocks::open(input)?;
        match table {
            TableDefinition::Preset(kind) => open_arrow(&name, blocks, *kind, strict)?,
            TableDefinition::Any(any) => open_any_arrow(&name, blocks, any, strict)?,
        }
    };
    Ok((refusals, opened))
}

/// The rows; the columns that no row has yet; what they are taken into; the columns
/// on offer.
type Opened = (Rows, Vec<String>, Lane, Vec<TableColumn>);

fn open_any_text(
    name: &Arc<str>,
    mut rows: TextRows,
    table: &AnyTable,
    strict: bool,
) -> Result<Opened, OpenError> {
    let late = match rows.format {
        Format::JsonLines => table.late_members(&mut rows.columns),
        _ => Vec::new(),
    };
    let names = rows.columns.clone();
    let encoding = match rows.format {
        Format::JsonLines => ValueEncoding::JsonToken,
        _ => ValueEncoding::Plain,
    };
    let lane = AnyLane::new(name, table, names, |_| (ColumnType::Text, encoding.clone()), &encoding)?;
    let columns = lane.columns();
    // Without a choice every column is one that is wanted.
    let unknown = if table.columns.is_empty() { UnknownMembers::Refuse } else { UnknownMembers::Ignore };
    Ok((Rows::Text(rows, unknown), late, Lane::any(lane, strict), columns))
}

fn open_any_arrow(
    name: &Arc<str>,
    blocks: ArrowBlocks,
    table: &AnyTable,
    strict: bool,
) -> Result<Opened, OpenError> {
    let fields = blocks.schema.fields().clone();
    let names = fields.iter().map(|field| field.name().clone()).collect();
    let lane = AnyLane::new(name, table, names, |i| held_as(fields[i].data_type()), &ValueEncoding::Plain)?;
    for (column, place) in lane.key_columns() {
        check_key_part_type(name, column, fields[place].data_type())?;
    }
    let columns = lane.columns();
    Ok((Rows::Arrow { blocks, rows_read: 0 }, Vec::new(), Lane::any(lane, strict), columns))
}

fn open_text(
    name: &Arc<str>,
    mut rows: TextRows,
    kind: TableKind,
    strict: bool,
) -> Result<Opened, OpenError> {
    let mut late = Vec::new();
    if rows.format == Format::JsonLines {
        // A member such as `deleted` may well show up late. Of the required
        // ones, the first lines must have all, unless there are no lines.
        let skip = if rows.is_unsaid { 0 } else { kind.required_columns().len() };
        let seen = |name: &str| rows.columns.iter().any(|column| column == name);
        let others = kind.known_columns().iter().skip(skip).map(|column| column.name);
        late.extend(others.filter(|name| !seen(name)).map(str::to_owned));
        // A file without lines has all columns, as far as anyone can tell.
        rows.columns.extend(late.iter().cloned());
        late.retain(|_| !rows.is_unsaid);
    }
    let header = Header::new(name, rows.columns.clone(), kind.known_columns())?;
    let builder = LaneBuilder::new(name, kind, header)?;
    let columns = other_columns(&builder, |i| TableColumn::type_of_text(builder.header().kind(i)));
    Ok((Rows::Text(rows, UnknownMembers::Ignore), late, Lane::preset(builder, kind, strict), columns))
}

fn open_arrow(
    name: &Arc<str>,
    blocks: ArrowBlocks,
    kind: TableKind,
    strict: bool,
) -> Result<Opened, OpenError> {
    let fields = blocks.schema.fields().clone();
    let names = fields.iter().map(|field| field.name().clone()).collect();
    let header = Header::new(name, names, kind.known_columns())?;
    let builder = LaneBuilder::new(name, kind, header)?;
    let columns = other_columns(&builder, |i| output_type(fields[i].data_type()));
    Ok((Rows::Arrow { blocks, rows_read: 0 }, Vec::new(), Lane::preset(builder, kind, strict), columns))
}

fn other_columns(builder: &LaneBuilder, ty: impl Fn(usize) -> ColumnType) -> Vec<TableColumn> {
    let names = &builder.header().names;
    builder.other_columns().map(|i| TableColumn::plain(&names[i], ty(i))).collect()
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
    table: TableDefinition,
    rows: Rows,
    lane: Lane,
    columns: Vec<TableColumn>,
    batch_len: usize,
    /// Columns that may come, but that none of the first rows has.
    late: Vec<String>,
    /// Of the file, if it is one.
    bytes: Option<u64>,
    loading: Loading,
}

enum Rows {
    Text(TextRows, UnknownMembers),
    Arrow { blocks: ArrowBlocks, rows_read: u64 },
}

/// What rows are taken into, and what of them is kept in mind.
enum Lane {
    Preset { builder: LaneBuilder, kind: TableKind, seen: Seen<Key> },
    Any { lane: AnyLane, seen: Seen<Box<[u8]>> },
}

impl Lane {
    fn preset(builder: LaneBuilder, kind: TableKind, strict: bool) -> Self {
        Self::Preset { builder, kind, seen: Seen::new(strict) }
    }

    fn any(lane: AnyLane, strict: bool) -> Self {
        Self::Any { lane, seen: Seen::new(strict) }
    }

    fn len(&self) -> usize {
        match self {
            Self::Preset { builder, .. } => builder.len(),
            Self::Any { lane, .. } => lane.len(),
        }
    }

    fn take(&mut self) -> ChangeLane {
        match self {
            Self::Preset { builder, .. } => builder.take(),
            Self::Any { lane, .. } => lane.take(),
        }
    }
}

impl TableReader {
    /// Which table it is.
    #[must_use]
    pub fn table(&self) -> &TableDefinition {
        &self.table
    }

    /// A lane without changes that has keys and fields of the kinds that all others of
    /// the table have; to be called before the first row is read.
    #[must_use]
    pub fn empty_lane(&mut self) -> ChangeLane {
        self.lane.take()
    }

    /// The columns that may be selected as outputs besides those that the
    /// table always offers.
    #[must_use]
    pub fn columns(&self) -> &[TableColumn] {
        &self.columns
    }

    /// All columns of the file, with their types where a format has types; to be called
    /// before [`TableReader::set_mode`].
    #[must_use]
    pub fn file_columns(&self) -> Vec<(String, Option<String>)> {
        let fields = match &self.rows {
            Rows::Text(rows, _) => {
                let names = rows.columns.iter().filter(|name| !self.late.contains(name));
                return names.map(|name| (name.clone(), None)).collect();
            }
            Rows::Arrow { blocks, .. } => blocks.schema.fields(),
        };
        fields.iter().map(|field| (field.name().clone(), Some(field.data_type().to_string()))).collect()
    }

    /// Adds fields to the changes, behind field 0 of a preset; to be called before
    /// the first is read. They come from [`select_outputs`](crate::select_outputs).
    ///
    /// # Errors
    /// If the values of a column cannot be held, whatever they are.
    pub fn load(&mut self, fields: &[TableColumn]) -> Result<(), ReadError> {
        match &mut self.lane {
            Lane::Preset { builder, .. } => builder.set_extra(fields),
            Lane::Any { lane, .. } => {
                let name = &self.refusals.source_name;
                lane.set_fields(fields).map_err(|error| ReadError::corrupt(name, error))?;
            }
        }
        Ok(())
    }

    /// Reads what `mode` needs, which is [`TableMode::Latest`] unless this is called;
    /// to be called before the first row is read. For look-ups by time the reader
    /// keeps the place of each row in memory, to name both of two that overlap.
    ///
    /// # Errors
    /// If a column is missing that the mode needs.
    pub fn set_mode(&mut self, mode: &TableMode) -> Result<(), OpenError> {
        let Self { refusals, rows, late, lane, .. } = self;
        let source_name = &refusals.source_name;
        match lane {
            Lane::Preset { builder, seen, .. } => {
                if mode.needs_times() && late.iter().any(|column| column == VALID_FROM) {
                    let names = builder.header().names.iter();
                    return Err(OpenError::ModeColumn {
                        source_name: Arc::clone(source_name),
                        column: VALID_FROM.to_owned(),
                        what: AS_OF_ROW,
                        found: names.filter(|name| !late.contains(name)).cloned().collect(),
                    });
                }
                builder.set_mode(source_name, mode)?;
                seen.histories = mode.needs_times().then(BTreeMap::new);
            }
            Lane::Any { lane, seen } => {
                if let Rows::Text(rows, _) = rows
                    && rows.format == Format::JsonLines
                {
                    // A member may show up late; what must be there the first lines
                    // have, unless there are no lines.
                    let must_be = usize::from(!rows.is_unsaid);
                    for column in mode.columns().into_iter().skip(must_be) {
                        if lane.add_column(column) {
                            rows.columns.push(column.to_owned());
                        }
                    }
                }
                lane.set_mode(source_name, mode)?;
                seen.histories = mode.needs_times().then(BTreeMap::new);
            }
        }
        Ok(())
    }

    /// The next rows, as [`TableSource::next`] gives them.
    ///
    /// # Errors
    /// If reading fails, a row is bad and such are not skipped, or a key stands
    /// twice and may not.
    pub fn read(&mut self) -> Result<Option<ChangeLane>, ReadError> {
        while self.lane.len() + self.refusals.len() < self.batch_len {
            let more =
                self.read_some().map_err(|error| self.loading.explain(error, self.lane.len() as u64))?;
            if !more {
                break;
            }
            self.loading.show(self.lane.len() as u64);
        }
        let refused = self.refusals.take();
        let lane = ChangeLane { rejected: refused.len() as u64, refused, ..self.lane.take() };
        let lane = Some(lane).filter(|lane| !lane.is_empty() || lane.rejected > 0);
        self.loading.add(lane.as_ref().map(|lane| lane.len() as u64 + lane.rejected))?;
        Ok(lane)
    }

    /// Reads a block of rows; `false` at the end.
    fn read_some(&mut self) -> Result<bool, ReadError> {
        let Self { rows, lane, refusals, batch_len, .. } = self;
        match rows {
            Rows::Text(rows, unknown) => {
                let Some(chunk) = rows.chunks.next(*batch_len - lane.len())? else {
                    return Ok(false);
                };
                let dialect = rows.dialect();
                for_each_row(&chunk, rows.format, &rows.columns, *unknown, |at, cells| {
                    match (cells, &mut *lane) {
                        (Err(flaw), _) => refusals.refuse(at.0, flaw, 0, at.1),
                        (Ok(cells), Lane::Preset { builder, kind, seen }) => {
                            let mut adder = Adder { builder, refusals, seen, kind: *kind };
                            adder.add(at, &|i| dialect.text(&cells[i]))
                        }
                        (Ok(cells), Lane::Any { lane, seen }) => {
                            let mut adder = AnyAdder { lane, refusals, seen };
                            adder.add(at, |lane, check| lane.push(cells, dialect, check))
                        }
                    }
                })?;
            }
            Rows::Arrow { blocks, rows_read } => {
                let Some(block) = blocks.next()? else { return Ok(false) };
                let batch = block.decode()?;
                match lane {
                    Lane::Preset { builder, kind, seen } => {
                        Adder { builder, refusals, seen, kind: *kind }.add_block(&batch, *rows_read)?;
                    }
                    Lane::Any { lane, seen } => {
                        AnyAdder { lane, refusals, seen }.add_block(&batch, *rows_read)?;
                    }
                }
                *rows_read += batch.num_rows() as u64;
            }
        }
        Ok(true)
    }
}

/// Takes rows into the lane of any table, or refuses them.
struct AnyAdder<'t> {
    lane: &'t mut AnyLane,
    refusals: &'t mut Refusals,
    seen: &'t mut Seen<Box<[u8]>>,
}

/// Shown a row's key and what it says of its mode, before it is taken.
type Check<'c> = &'c mut dyn FnMut(&KeyText, Stamp) -> Result<(), Flaw>;

impl AnyAdder<'_> {
    fn add(
        &mut self,
        (place, raw): Record<'_>,
        push: impl FnOnce(&mut AnyLane, Check<'_>) -> Result<(), Flaw>,
    ) -> Result<(), ReadError> {
        let Self { lane, refusals, seen } = self;
        let mut first = None;
        let pushed = if seen.is_needed() {
            let column = lane.key_name();
            let parts = lane.key_columns().count();
            let mut check = |key: &KeyText, stamp: Stamp| {
                let shown = || key.shown(parts);
                first = seen.note(&key.bytes().into(), ChangeKind::Upsert, stamp, place, &column, shown)?;
                Ok(())
            };
            push(lane, &mut check)
        } else {
            push(lane, &mut |_, _| Ok(()))
        };
        match (pushed, first) {
            (Err(flaw), _) => refusals.refuse(place, flaw, 0, raw),
            (Ok(()), None) => Ok(()),
            (Ok(()), Some(first)) => Err(ReadError::DuplicateKey {
                source_name: Arc::clone(&refusals.source_name),
                column: lane.key_name(),
                key: lane.last_key_shown(),
                first,
                second: place,
            }),
        }
    }

    fn add_block(&mut self, batch: &RecordBatch, rows_read: u64) -> Result<(), ReadError> {
        let block = self.lane.block(batch);
        let block = block.map_err(|error| ReadError::corrupt(&self.refusals.source_name, error))?;
        for row in 0..batch.num_rows() {
            let at = (Place::Row(rows_read + row as u64 + 1), Raw::Row(batch, row));
            self.add(at, |lane, check| lane.push_row(&block, row, check))?;
        }
        Ok(())
    }
}

/// Takes rows into a table's lane, or refuses them.
struct Adder<'t> {
    builder: &'t mut LaneBuilder,
    refusals: &'t mut Refusals,
    seen: &'t mut Seen<Key>,
    kind: TableKind,
}

impl Adder<'_> {
    fn add<'c>(&mut self, at: Record<'_>, cell: &dyn Fn(usize) -> CellText<'c>) -> Result<(), ReadError> {
        let (place, raw) = at;
        let Self { builder, refusals, kind, seen } = self;
        let (mut first, mut last) = (None, None);
        let pushed = builder.push(0, cell, |key, change, stamp| {
            let shown = || key.to_string();
            first = seen.note(&key, change, stamp, place, kind.key_column(), shown)?;
            last = Some(key);
            Ok(())
        });
        match (pushed, first.zip(last)) {
            (Err(flaw), _) => refusals.refuse(place, flaw, 0, raw),
            (Ok(()), None) => Ok(()),
            (Ok(()), Some((first, key))) => Err(ReadError::DuplicateKey {
                source_name: Arc::clone(&refusals.source_name),
                column: kind.key_column().to_owned(),
                key: key.to_string(),
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
            self.add((Place::Row(rows_read + row as u64 + 1), Raw::Row(batch, row)), &cell)?;
        }
        Ok(())
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
