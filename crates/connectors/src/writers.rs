//! What a generator writes: tables, and one stream of tagged messages.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, Date32Array, Decimal128Array, RecordBatch, UInt32Array};
use arrow_schema::{ArrowError, Field, Schema, SchemaRef};
use tradejoin_flow::End;
use tradejoin_model::{
    ChangeKind, ChangeLane, Column, ColumnType, INTEGER_NULL, KnownColumn, Messages, OccSymbol, VALID_FROM,
    VALID_TO,
};

use crate::encoding::{Encoding, Location};
use crate::error::{CreateError, WriteError};
use crate::lane_builder::TableKind;
use crate::messages::{TRADE, TYPE};
use crate::output::{Output, OutputOptions};
use crate::prepared;
use crate::render::{Cells, push_digits};
use crate::target::{OutputHandle, Packer, Target};
use crate::text_encoder::{JsonEncoder, push_json_text};

/// A table as it is written: which, and whether its rows say when they are valid, in
/// `valid_from` and `valid_to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenTable {
    /// Which table.
    pub kind: TableKind,
    /// Whether it has the two columns.
    pub has_validity: bool,
}

impl From<TableKind> for WrittenTable {
    /// The table without times.
    fn from(kind: TableKind) -> Self {
        Self { kind, has_validity: false }
    }
}

/// The columns of a table, in their types.
fn table_schema(table: WrittenTable) -> SchemaRef {
    let field = |column: &KnownColumn| Field::new(column.name, column.kind.arrow(), true);
    let mut fields: Vec<_> = table.kind.required_columns().iter().map(field).collect();
    let time = |name: &&str| Field::new(*name, ColumnType::Timestamp.arrow(), true);
    fields.extend([VALID_FROM, VALID_TO].iter().filter(|_| table.has_validity).map(time));
    Arc::new(Schema::new(fields))
}

/// The changes of a lane as rows of [`table_schema`].
fn table_rows(table: WrittenTable, schema: &SchemaRef, lane: &ChangeLane) -> Result<RecordBatch, ArrowError> {
    let keys: ArrayRef = Arc::new(lane.keys.ids().iter().map(|key| key.0).collect::<UInt32Array>());
    let mut columns = match (table.kind, lane.fields.first()) {
        (TableKind::Instruments, Some(Column::Options(symbols))) => option_columns(keys, symbols)?,
        (TableKind::Users, Some(names @ Column::Text(_))) => {
            vec![keys, names.to_arrow(ColumnType::Text)]
        }
        // A lane without changes may come without fields.
        _ => return Ok(RecordBatch::new_empty(Arc::clone(schema))),
    };
    if table.has_validity {
        let validities = || (0..lane.len()).map(|change| lane.validity(change));
        let ends: [Vec<i64>; 2] =
            [validities().map(|v| v.from).collect(), validities().map(|v| v.to).collect()];
        columns.extend(ends.map(|times| Column::Integers(times).to_arrow(ColumnType::Timestamp)));
    }
    RecordBatch::try_new(Arc::clone(schema), columns)
}

fn option_columns(keys: ArrayRef, symbols: &[OccSymbol]) -> Result<Vec<ArrayRef>, ArrowError> {
    let mut tickers = StringBuilder::with_capacity(symbols.len(), symbols.len() * 6);
    let mut types = StringBuilder::with_capacity(symbols.len(), symbols.len() * 4);
    for symbol in symbols {
        // A ticker is ASCII.
        tickers.append_value(std::str::from_utf8(symbol.ticker.as_bytes()).unwrap_or_default());
        types.append_value(symbol.option_type.as_str());
    }
    let strikes = symbols.iter().map(|symbol| i128::from(symbol.strike.thousandths()));
    let strikes =
        Decimal128Array::from_iter_values(strikes).with_data_type(tradejoin_model::KnownKind::Strike.arrow());
    let expiries = Date32Array::from_iter_values(symbols.iter().map(|symbol| symbol.expiry.epoch_days()));
    Ok(vec![
        keys,
        Arc::new(tickers.finish()),
        Arc::new(strikes),
        Arc::new(expiries),
        Arc::new(types.finish()),
    ])
}

/// Writes the rows of a table, in any encoding: its key and what field 0 of its
/// changes is made of.
pub struct TableWriter {
    table: WrittenTable,
    schema: SchemaRef,
    output: Output,
}

impl TableWriter {
    /// Makes the output.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(
        location: Location,
        encoding: Encoding,
        table: impl Into<WrittenTable>,
    ) -> Result<Self, CreateError> {
        let table = table.into();
        let schema = table_schema(table);
        let options = OutputOptions::new(location, encoding, Arc::clone(&schema));
        Ok(Self { table, schema, output: Output::create(options)? })
    }

    /// The handle of the output.
    #[must_use]
    pub fn handle(&self) -> OutputHandle {
        self.output.handle()
    }

    /// Writes the rows of a lane. Removals have no row in a table and are left
    /// out.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write(&mut self, lane: &ChangeLane) -> Result<(), WriteError> {
        let rows = table_rows(self.table, &self.schema, lane).and_then(|rows| {
            let upserts = lane.kinds.iter().map(|kind| Some(*kind == ChangeKind::Upsert));
            let upserts: arrow_array::BooleanArray = upserts.collect();
            if rows.num_rows() == upserts.len() {
                arrow_select::filter::filter_record_batch(&rows, &upserts)
            } else {
                Ok(rows)
            }
        });
        let failed = |error: ArrowError| WriteError { target_name: self.output.name(), source: error.into() };
        let rows = rows.map_err(failed)?;
        self.output.write_batch(&rows)
    }

    /// Completes the file, and gives it its name unless it is a part of what it
    /// was to be.
    ///
    /// # Errors
    /// If writing the rest or naming the file fails.
    pub fn close(&mut self, end: End) -> Result<(), WriteError> {
        self.output.close(end)
    }
}

/// Writes blocks of messages as tagged JSON Lines, in the order of the
/// sequence: what [`open_messages`](crate::open_messages) reads.
pub struct MessageWriter {
    name: Arc<str>,
    trades: JsonEncoder,
    tables: Vec<TableLines>,
    packer: Option<Packer>,
    target: Target,
    handle: OutputHandle,
    buffer: Vec<u8>,
}

/// How rows of one table become lines.
struct TableLines {
    table: WrittenTable,
    schema: SchemaRef,
    encoder: JsonEncoder,
}

impl MessageWriter {
    /// Makes the output. The format is JSON Lines; of `encoding`, the
    /// compression counts. `tables` are those of the lanes, in their order.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(
        location: &Location,
        encoding: Encoding,
        schema: &SchemaRef,
        tables: &[WrittenTable],
    ) -> Result<Self, CreateError> {
        let name = location.output_name();
        let failed = |source| CreateError::Io { target_name: Arc::clone(&name), source };
        let handle = OutputHandle::default();
        let (target, file) = Target::create(location, handle.clone()).map_err(failed)?;
        let packer = Packer::new(file, encoding.compression).map_err(failed)?;
        let table = |&table: &WrittenTable| {
            let schema = table_schema(table);
            let encoder = JsonEncoder::new(&schema, std::iter::empty(), &tag(table.kind.message_type()));
            TableLines { table, schema, encoder }
        };
        Ok(Self {
            trades: JsonEncoder::new(schema, std::iter::empty(), &tag(TRADE)),
            tables: tables.iter().map(table).collect(),
            name,
            packer: Some(packer),
            target,
            handle,
            buffer: Vec::new(),
        })
    }

    /// The handle of the output.
    #[must_use]
    pub fn handle(&self) -> OutputHandle {
        self.handle.clone()
    }

    /// Writes a block.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write(&mut self, messages: &Messages) -> Result<(), WriteError> {
        self.buffer.clear();
        self.encode(messages).map_err(|source| self.failed(source))?;
        match &mut self.packer {
            Some(packer) => packer.write_all(&self.buffer).map_err(|source| self.failed(source)),
            None => Err(self.failed("the output is finished")),
        }
    }

    fn failed(&self, source: impl Into<Box<dyn Error + Send + Sync>>) -> WriteError {
        WriteError { target_name: Arc::clone(&self.name), source: source.into() }
    }

    fn encode(&mut self, messages: &Messages) -> Result<(), ArrowError> {
        let trades = self.trades.cells(&messages.trades, &[])?;
        let mut lanes = Vec::with_capacity(self.tables.len());
        for (table, lane) in self.tables.iter().zip(messages.lanes.iter()) {
            let rows = table_rows(table.table, &table.schema, lane)?;
            lanes.push(LaneCursor { lane, cells: table.encoder.cells(&rows, &[])?, table, next: 0 });
        }
        for row in 0..messages.trades.num_rows() {
            write_up_to(&mut lanes, row, &mut self.buffer);
            self.trades.row(&trades, row, &mut self.buffer);
        }
        // What comes behind the last trade.
        write_up_to(&mut lanes, usize::MAX, &mut self.buffer);
        Ok(())
    }

    /// Completes the file, and gives it its name unless it is a part of what it
    /// was to be.
    ///
    /// # Errors
    /// If writing the rest or naming the file fails.
    pub fn close(&mut self, end: End) -> Result<(), WriteError> {
        let Some(packer) = self.packer.take() else { return Ok(()) };
        let mark = packer.finish().and_then(|file| file.mark()).map_err(|source| self.failed(source))?;
        let prepared = self.target.prepare(&self.name, mark, Some(end));
        prepared.map_or(Ok(()), |prepared| prepared::complete(&self.name, prepared))
    }
}

/// The rows of one lane that are still to be written.
struct LaneCursor<'a> {
    lane: &'a ChangeLane,
    table: &'a TableLines,
    cells: Vec<Cells<'a>>,
    next: usize,
}

/// Writes the changes that stand before trade `row`, in the order of the sequence.
fn write_up_to(lanes: &mut [LaneCursor<'_>], row: usize, out: &mut Vec<u8>) {
    let place = |lane: &LaneCursor<'_>| lane.place().filter(|&(at_row, _)| at_row as usize <= row);
    let next = |lanes: &[LaneCursor<'_>]| {
        // Of one turn, the first table's.
        let places = lanes.iter().enumerate().filter_map(|(table, lane)| Some((place(lane)?, table)));
        places.min().map(|(_, table)| table)
    };
    while let Some(table) = next(lanes) {
        lanes[table].write(out);
    }
}

impl LaneCursor<'_> {
    /// The row and the turn of the next change.
    fn place(&self) -> Option<(u32, u32)> {
        Some((*self.lane.at_rows.get(self.next)?, self.lane.turn(self.next)))
    }

    fn write(&mut self, out: &mut Vec<u8>) {
        match self.lane.kinds[self.next] {
            ChangeKind::Upsert => self.table.encoder.row(&self.cells, self.next, out),
            ChangeKind::Delete => self.write_removal(out),
        }
        self.next += 1;
    }

    fn write_removal(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        let WrittenTable { kind, has_validity } = self.table.table;
        out.extend_from_slice(tag(kind.message_type()).as_bytes());
        out.push(b',');
        push_json_text(kind.key_column().as_bytes(), out);
        out.push(b':');
        push_digits(out, u64::from(self.lane.keys.ids()[self.next].0));
        let from = self.lane.validity(self.next).from;
        if has_validity && from != INTEGER_NULL {
            out.extend_from_slice(format!(",\"{VALID_FROM}\":{from}").as_bytes());
        }
        out.extend_from_slice(b",\"deleted\":true}\n");
    }
}

fn tag(message_type: &str) -> String {
    format!("\"{TYPE}\":\"{message_type}\"")
}
