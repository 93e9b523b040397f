//! The rows of a reference table that are there before the first trade.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::DataType;
use tradejoin_flow::{BoxError, TableSource};
use tradejoin_model::{ChangeLane, ColumnType, Key};

use crate::any_lane::AnyLane;
use crate::arrow_blocks::ArrowBlocks;
use crate::arrow_keys::check_key_part_type;
use crate::bad::Refusals;
use crate::encoding::Format;
use crate::error::{OpenError, ReadError};
use crate::flaw::{Flaw, Place};
use crate::header::Header;
use crate::input::{Input, InputOptions};
use crate::json_rows::UnknownMembers;
use crate::lane_builder::{CellText, LaneBuilder, TableColumn, TableKind};
use crate::render::Cells;
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
    /// Whether the same key twice is an error. Costs memory for each key.
    /// Otherwise the later row wins.
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
    let batch_len = input.batch_len.max(1);
    let format = input.encoding.format;
    let bytes = input.location.file_len();
    let input = Input::open(input)?;
    let refusals = input.refusals();
    let name = Arc::clone(&input.name);
    let (rows, lane, columns) = if format.is_text() {
        let rows = TextRows::open(input.into_text()?, format)?;
        match &table {
            TableDefinition::Preset(kind) => open_text(&name, rows, *kind, strict)?,
            TableDefinition::Any(any) => open_any_text(&name, rows, any, strict)?,
        }
    } else {
        let blocks = ArrowBlocks::open(input)?;
        match &table {
            TableDefinition::Preset(kind) => open_arrow(&name, blocks, *kind, strict)?,
            TableDefinition::Any(any) => open_any_arrow(&name, blocks, any, strict)?,
        }
    };
    Ok(TableReader { refusals, table, rows, lane, columns, batch_len, bytes })
}

type Opened = (Rows, Lane, Vec<TableColumn>);

fn open_any_text(
    name: &Arc<str>,
    rows: TextRows,
    table: &AnyTable,
    strict: bool,
) -> Result<Opened, OpenError> {
    let mut names = rows.columns.clone();
    if rows.format == Format::JsonLines && names.is_empty() {
        // No line, no column: nothing is missing from it.
        names.extend(table.key_columns().into_iter().map(str::to_owned));
        let chosen = table.columns.iter().map(|choice| choice.column.clone());
        names.extend(chosen.filter(|column| !table.key_columns().contains(&column.as_str())));
    }
    let encoding = match rows.format {
        Format::JsonLines => ValueEncoding::JsonToken,
        _ => ValueEncoding::Plain,
    };
    let lane = AnyLane::new(name, table, names, |_| (ColumnType::Text, encoding.clone()))?;
    let columns = lane.columns();
    // Without a choice every column is one that is wanted.
    let unknown = if table.columns.is_empty() { UnknownMembers::Refuse } else { UnknownMembers::Ignore };
    Ok((Rows::Text(rows, unknown), Lane::any(lane, strict), columns))
}

fn open_any_arrow(
    name: &Arc<str>,
    blocks: ArrowBlocks,
    table: &AnyTable,
    strict: bool,
) -> Result<Opened, OpenError> {
    let fields = blocks.schema.fields().clone();
    let names = fields.iter().map(|field| field.name().clone()).collect();
    let lane = AnyLane::new(name, table, names, |i| held_as(fields[i].data_type()))?;
    for (column, place) in lane.key_columns() {
        check_key_part_type(name, column, fields[place].data_type())?;
    }
    let columns = lane.columns();
    Ok((Rows::Arrow { blocks, rows_read: 0 }, Lane::any(lane, strict), columns))
}

fn open_text(
    name: &Arc<str>,
    mut rows: TextRows,
    kind: TableKind,
    strict: bool,
) -> Result<Opened, OpenError> {
    if rows.format == Format::JsonLines {
        // A member such as `deleted` may well show up late. Of the required
        // ones, the first lines must have all, unless there are no lines.
        let skip = if rows.columns.is_empty() { 0 } else { kind.required_columns().len() };
        let seen = |name: &str| rows.columns.iter().any(|column| column == name);
        let late = kind.known_columns().iter().skip(skip).map(|column| column.name);
        let late: Vec<_> = late.filter(|name| !seen(name)).map(str::to_owned).collect();
        rows.columns.extend(late);
    }
    let header = Header::new(name, rows.columns.clone(), kind.known_columns())?;
    let builder = LaneBuilder::new(name, kind, header)?;
    let columns = other_columns(&builder, |i| TableColumn::type_of_text(builder.header().kind(i)));
    Ok((Rows::Text(rows, UnknownMembers::Ignore), Lane::preset(builder, kind, strict), columns))
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
    Ok((Rows::Arrow { blocks, rows_read: 0 }, Lane::preset(builder, kind, strict), columns))
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
    /// Of the file, if it is one.
    bytes: Option<u64>,
}

enum Rows {
    Text(TextRows, UnknownMembers),
    Arrow { blocks: ArrowBlocks, rows_read: u64 },
}

/// What rows are taken into, and where each key stands, if it may stand once alone.
enum Lane {
    Preset { builder: LaneBuilder, kind: TableKind, lines: Option<BTreeMap<Key, Place>> },
    Any { lane: AnyLane, lines: Option<BTreeMap<Box<[u8]>, Place>> },
}

impl Lane {
    fn preset(builder: LaneBuilder, kind: TableKind, strict: bool) -> Self {
        Self::Preset { builder, kind, lines: strict.then(BTreeMap::new) }
    }

    fn any(lane: AnyLane, strict: bool) -> Self {
        Self::Any { lane, lines: strict.then(BTreeMap::new) }
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

    /// The columns that may be selected as outputs besides those that the
    /// table always offers.
    #[must_use]
    pub fn columns(&self) -> &[TableColumn] {
        &self.columns
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

    /// The next rows, as [`TableSource::next`] gives them.
    ///
    /// # Errors
    /// If reading fails, a row is bad and such are not skipped, or a key stands
    /// twice and may not.
    pub fn read(&mut self) -> Result<Option<ChangeLane>, ReadError> {
        while self.lane.len() < self.batch_len {
            if !self.read_some()? {
                break;
            }
        }
        let lane = ChangeLane { rejected: self.refusals.take(), ..self.lane.take() };
        Ok(Some(lane).filter(|lane| !lane.is_empty() || lane.rejected > 0))
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
                for_each_row(&chunk, rows.format, &rows.columns, *unknown, |place, cells| {
                    match (cells, &mut *lane) {
                        (Err(flaw), _) => refusals.refuse(place, flaw),
                        (Ok(cells), Lane::Preset { builder, kind, lines }) => {
                            let mut adder = Adder { builder, refusals, lines, kind: *kind };
                            adder.add(place, &|i| dialect.text(&cells[i]))
                        }
                        (Ok(cells), Lane::Any { lane, lines }) => {
                            let mut adder = AnyAdder { lane, refusals, lines };
                            adder.add(place, |lane| lane.push(cells, dialect))
                        }
                    }
                })?;
            }
            Rows::Arrow { blocks, rows_read } => {
                let Some(block) = blocks.next()? else { return Ok(false) };
                let batch = block.decode()?;
                match lane {
                    Lane::Preset { builder, kind, lines } => {
                        Adder { builder, refusals, lines, kind: *kind }.add_block(&batch, *rows_read)?;
                    }
                    Lane::Any { lane, lines } => {
                        AnyAdder { lane, refusals, lines }.add_block(&batch, *rows_read)?;
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
    lines: &'t mut Option<BTreeMap<Box<[u8]>, Place>>,
}

impl AnyAdder<'_> {
    fn add(
        &mut self,
        place: Place,
        push: impl FnOnce(&mut AnyLane) -> Result<(), Flaw>,
    ) -> Result<(), ReadError> {
        if let Err(flaw) = push(self.lane) {
            return self.refusals.refuse(place, flaw);
        }
        match self.lines.as_mut().and_then(|lines| lines.insert(self.lane.last_key().into(), place)) {
            None => Ok(()),
            Some(first) => Err(ReadError::DuplicateKey {
                source_name: Arc::clone(&self.refusals.source_name),
                column: self.lane.key_columns().map(|(name, _)| name).collect::<Vec<_>>().join("+"),
                key: self.lane.last_key_shown(),
                first,
                second: place,
            }),
        }
    }

    fn add_block(&mut self, batch: &RecordBatch, rows_read: u64) -> Result<(), ReadError> {
        let block = self.lane.block(batch);
        let block = block.map_err(|error| ReadError::corrupt(&self.refusals.source_name, error))?;
        for row in 0..batch.num_rows() {
            self.add(Place::Row(rows_read + row as u64 + 1), |lane| lane.push_row(&block, row))?;
        }
        Ok(())
    }
}

/// Takes rows into a table's lane, or refuses them.
struct Adder<'t> {
    builder: &'t mut LaneBuilder,
    refusals: &'t mut Refusals,
    lines: &'t mut Option<BTreeMap<Key, Place>>,
    kind: TableKind,
}

impl Adder<'_> {
    fn add<'c>(&mut self, place: Place, cell: &dyn Fn(usize) -> CellText<'c>) -> Result<(), ReadError> {
        let key = match self.builder.push(0, cell) {
            Ok(key) => key,
            Err(flaw) => return self.refusals.refuse(place, flaw),
        };
        match self.lines.as_mut().and_then(|lines| lines.insert(key, place)) {
            None => Ok(()),
            Some(first) => Err(ReadError::DuplicateKey {
                source_name: Arc::clone(&self.refusals.source_name),
                column: self.kind.key_column().to_owned(),
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
            self.add(Place::Row(rows_read + row as u64 + 1), &cell)?;
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
