//! A block of trades out of rows of text.

use std::sync::Arc;

use arrow_array::builder::{Int64Builder, UInt32Builder};
use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow_buffer::{Buffer, OffsetBuffer};
use arrow_schema::ArrowError;
use tradejoin_model::{Keys, TextColumn};

use crate::column_builder::{ColumnBuilder, Value};
use crate::flaw::Flaw;
use crate::key_text::KeyText;
use crate::parse::Dialect;
use crate::text_encoder::{push_csv_text, push_json_members};
use crate::trade_layout::{Fields, TradeLayout};

/// Trades with their keys by table, and their times where those are needed.
pub(crate) struct Block {
    pub(crate) trades: RecordBatch,
    pub(crate) keys: Vec<Keys>,
    pub(crate) times: Option<Int64Array>,
}

/// Collects the trades of a block, row by row.
pub(crate) struct TradeBuilder<'l> {
    layout: &'l TradeLayout,
    ids: Vec<UInt32Builder>,
    /// Keys that are texts.
    texts: Vec<TextColumn>,
    key_text: KeyText,
    /// Where times are needed.
    times: Option<Int64Builder>,
    body: Body,
    /// Of the row that is being checked: nothing is appended before all of it is
    /// good.
    row_keys: Vec<Option<u32>>,
    row_time: Option<i64>,
    rows: usize,
}

enum Body {
    Columns { columns: Vec<ColumnBuilder>, row: Vec<Value> },
    Records(Records),
}

/// Whole records in one column.
struct Records {
    bytes: Vec<u8>,
    /// Where each ends, behind a zero. A block of text is far smaller than such
    /// an offset can tell.
    offsets: Vec<i32>,
    member_names: Vec<Vec<u8>>,
}

impl<'l> TradeBuilder<'l> {
    /// A builder with room for so many rows of so many bytes in all.
    pub(crate) fn new(layout: &'l TradeLayout, rows: usize, bytes: usize) -> Self {
        let column = |column| ColumnBuilder::new(layout.header.kind(column), layout.dialect, layout.fields);
        let body = if layout.fields == Fields::InRecord {
            let mut offsets = Vec::with_capacity(rows + 1);
            offsets.push(0);
            let bytes = Vec::with_capacity(bytes);
            Body::Records(Records { bytes, offsets, member_names: layout.member_names() })
        } else {
            let columns = (0..layout.columns().len()).map(column).collect();
            Body::Columns { columns, row: Vec::new() }
        };
        let ids = layout.keys.ids.iter().map(|_| UInt32Builder::with_capacity(rows)).collect();
        let texts = vec![TextColumn::default(); layout.keys.texts.len()];
        let times = layout.time.map(|_| Int64Builder::with_capacity(rows));
        let (key_text, row_keys) = (KeyText::default(), Vec::new());
        Self { layout, ids, texts, key_text, times, body, row_keys, row_time: None, rows: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// Appends a row but for keys that are texts, which follow with
    /// [`Self::push_texts`]; or nothing if it is bad.
    pub(crate) fn push<'a>(&mut self, cell: impl Fn(usize) -> &'a str) -> Result<(), Flaw> {
        let Self { layout, row_keys, row_time, body, .. } = self;
        layout.parse_keys(&cell, row_keys)?;
        *row_time = layout.parse_time(&cell)?;
        match body {
            Body::Columns { columns, .. } if layout.fields == Fields::AsText => {
                // Text as it is may be anything.
                for (i, column) in columns.iter_mut().enumerate() {
                    column.append(layout.dialect, cell(i), &Value::Text);
                }
            }
            Body::Columns { columns, row } => {
                row.clear();
                for (i, column) in columns.iter().enumerate() {
                    let value = column.check(layout.dialect, cell(i));
                    let flaw = |(text, reason): (String, _)| Flaw::cell(&layout.columns()[i], &text, reason);
                    row.push(value.map_err(flaw)?);
                }
                for (i, (column, value)) in columns.iter_mut().zip(row).enumerate() {
                    column.append(layout.dialect, cell(i), value);
                }
            }
            Body::Records(records) => records.push(layout.dialect, cell),
        }
        self.append_keys();
        Ok(())
    }

    /// Appends a record that an output would have as it stands; of its cells,
    /// only those of keys and of the time are asked for.
    pub(crate) fn push_record<'a>(
        &mut self,
        record: &str,
        cell: impl Fn(usize) -> &'a str,
    ) -> Result<(), Flaw> {
        match &mut self.body {
            Body::Records(records) => {
                self.layout.parse_keys(&cell, &mut self.row_keys)?;
                self.row_time = self.layout.parse_time(&cell)?;
                records.bytes.extend_from_slice(record.as_bytes());
                records.end();
                self.append_keys();
                Ok(())
            }
            Body::Columns { .. } => self.push(cell),
        }
    }

    /// Whether `line` is the object of these cells as an output would have it.
    pub(crate) fn is_canonical(&self, line: &str, cells: &[&str]) -> bool {
        match &self.body {
            Body::Records(records) => is_canonical(line.as_bytes(), cells, &records.member_names),
            Body::Columns { .. } => false,
        }
    }

    fn append_keys(&mut self) {
        for (builder, &key) in self.ids.iter_mut().zip(&self.row_keys) {
            builder.append_option(key);
        }
        if let Some(times) = &mut self.times {
            times.append_option(self.row_time);
        }
        self.rows += 1;
    }

    /// Appends the keys of the row that was pushed last that are texts. A step of
    /// its own, with a closure of its own: the loop over records with ids alone
    /// stays small enough to be compiled as one.
    #[inline]
    pub(crate) fn push_texts<'a>(&mut self, cell: impl Fn(usize) -> &'a str) {
        if !self.texts.is_empty() {
            self.append_texts(&cell);
        }
    }

    #[inline(never)]
    fn append_texts<'a>(&mut self, cell: &dyn Fn(usize) -> &'a str) {
        let Self { layout, texts, key_text, .. } = self;
        for (texts, columns) in texts.iter_mut().zip(&layout.keys.texts) {
            let part = |place: usize| layout.dialect.text(cell(columns[place]));
            // A part without a value: such a trade finds nothing.
            texts.push_bytes(key_text.of(columns.len(), part).ok());
        }
    }

    /// The rows, and their keys by table.
    pub(crate) fn finish(self) -> Result<Block, ArrowError> {
        let columns = match self.body {
            Body::Columns { mut columns, .. } => columns.iter_mut().map(ColumnBuilder::finish).collect(),
            Body::Records(records) => vec![records.finish()],
        };
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let schema = Arc::clone(&self.layout.block_schema);
        let trades = RecordBatch::try_new_with_options(schema, columns, &options)?;
        let ids = self.ids.into_iter().map(|mut ids| ids.finish());
        let keys = self.layout.keys.by_table(ids, self.texts);
        Ok(Block { trades, keys, times: self.times.map(|mut times| times.finish()) })
    }
}

impl Records {
    /// Appends the record that these cells make.
    fn push<'a>(&mut self, dialect: Dialect, cell: impl Fn(usize) -> &'a str) {
        let columns = 0..self.member_names.len();
        match dialect {
            Dialect::Csv => {
                for i in columns {
                    if i > 0 {
                        self.bytes.push(b',');
                    }
                    push_csv_text(cell(i).as_bytes(), false, &mut self.bytes);
                }
            }
            Dialect::Json => {
                let members = self.member_names.iter().zip(columns.map(cell));
                push_json_members(members.map(|(name, token)| (name.as_slice(), token)), &mut self.bytes);
            }
        }
        self.end();
    }

    fn end(&mut self) {
        self.offsets.push(i32::try_from(self.bytes.len()).expect("a block is small"));
    }

    fn finish(self) -> ArrayRef {
        let offsets = OffsetBuffer::new(self.offsets.into());
        Arc::new(BinaryArray::new(offsets, Buffer::from_vec(self.bytes), None))
    }
}

/// Whether between the tokens in `line` stands what an output puts there.
fn is_canonical(line: &[u8], cells: &[&str], member_names: &[Vec<u8>]) -> bool {
    let Some(mut rest) = line.strip_prefix(b"{") else { return false };
    let mut first = true;
    for (token, name) in cells.iter().zip(member_names).filter(|(token, _)| !token.is_empty()) {
        let mark: &[u8] = if first { b"" } else { b"," };
        let stripped = rest.strip_prefix(mark).and_then(|rest| rest.strip_prefix(name.as_slice()));
        let Some(behind) = stripped.and_then(|rest| rest.strip_prefix(token.as_bytes())) else {
            return false;
        };
        (rest, first) = (behind, false);
    }
    rest == b"}"
}
