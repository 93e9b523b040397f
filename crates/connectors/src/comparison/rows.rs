//! Rows as bytes.
//!
//! A row is its cells with [`BETWEEN`] between them: a byte that no text has. Of CSV a
//! cell is the content of a field, of JSON a token, of a file with types the text of a
//! value; so two rows are equal when their bytes are, however they were quoted.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::NullBuffer;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_row::{RowConverter, SortField};
use arrow_schema::{ArrowError, DataType, Field};

use crate::chunks::{Chunk, Records};
use crate::csv_rows::{check_count, split_within};
use crate::encoding::Format;
use crate::json_rows::{Members, UnknownMembers};
use crate::limits::Limits;
use crate::output::OutputPiece;
use crate::parse::json_text;
use crate::render::Cells;
use crate::text_encoder::push_json_text;

/// A row in the form of this module.
pub(super) type Row = Box<[u8]>;

/// Between two cells.
const BETWEEN: u8 = 0xFF;
/// A cell without a value, where an empty text is one.
const NULL: u8 = 0xFE;
/// In front of a record that cannot be read.
const UNREADABLE: u8 = 0xFD;

/// The cells of a row; `None` where there is no value.
pub(super) fn cells(row: &Row) -> Vec<Option<String>> {
    let text = |cell: &[u8]| String::from_utf8_lossy(cell).into_owned();
    row.split(|&byte| byte == BETWEEN).map(|cell| Some(text(cell)).filter(|_| cell != [NULL])).collect()
}

/// The record that a row is of, if it cannot be read.
pub(super) fn unreadable(row: &Row) -> Option<String> {
    let record = row.strip_prefix(&[UNREADABLE])?;
    Some(String::from_utf8_lossy(record).trim_end().to_owned())
}

/// Appends the rows of a piece that is not packed.
pub(super) fn push_rows(
    piece: &OutputPiece,
    format: Format,
    columns: &[String],
    rows: &mut VecDeque<Row>,
) -> Result<(), ArrowError> {
    match piece.rows() {
        (_, batches) if !batches.is_empty() => batches.iter().try_for_each(|batch| push_batch(batch, rows)),
        (text, _) => {
            let chunk = Chunk { bytes: text.to_vec(), line: 1, ..Chunk::default() };
            push_text(&chunk, format, columns, rows);
            Ok(())
        }
    }
}

/// Appends the rows of a chunk of text.
pub(super) fn push_text(chunk: &Chunk, format: Format, columns: &[String], rows: &mut VecDeque<Row>) {
    let mut records = Records::new(chunk, format);
    let mut members = Members::within(Limits::NONE);
    while let Some(range) = records.next() {
        let record = &chunk.bytes[range];
        let row = match format {
            Format::JsonLines => json_row(record, columns, &mut members),
            _ => csv_row(record, columns),
        };
        rows.push_back(row.unwrap_or_else(|| [&[UNREADABLE], record].concat().into()));
    }
}

fn csv_row(record: &[u8], columns: &[String]) -> Option<Row> {
    let text = std::str::from_utf8(record).ok()?;
    if memchr::memchr(b'"', record).is_none() {
        check_count(memchr::memchr_iter(b',', record).count() + 1, columns).ok()?;
        return Some(record.iter().map(|&byte| if byte == b',' { BETWEEN } else { byte }).collect());
    }
    let mut cells = Vec::with_capacity(columns.len());
    split_within(text, &mut cells, Limits::NONE).ok()?;
    check_count(cells.len(), columns).ok()?;
    Some(joined(cells.iter().map(|cell| Cow::Borrowed(cell.as_bytes()))))
}

fn json_row(record: &[u8], columns: &[String], members: &mut Members) -> Option<Row> {
    let text = members.scan(record).ok()?;
    let mut cells = Vec::with_capacity(columns.len());
    members.place(text, columns, None, UnknownMembers::Refuse, &mut cells).ok()?;
    Some(joined(cells.into_iter().map(json_cell)))
}

/// A token, of a text always the same one.
fn json_cell(token: &str) -> Cow<'_, [u8]> {
    match token {
        // The object has no such member.
        "" => Cow::Borrowed(&[NULL]),
        token if token.starts_with('"') && token.contains('\\') => {
            let mut plain = Vec::with_capacity(token.len());
            push_json_text(json_text(token).unwrap_or_default().as_bytes(), &mut plain);
            Cow::Owned(plain)
        }
        token => Cow::Borrowed(token.as_bytes()),
    }
}

fn joined<'a>(cells: impl Iterator<Item = Cow<'a, [u8]>>) -> Row {
    let mut row = Vec::new();
    for (column, cell) in cells.enumerate() {
        if column > 0 {
            row.push(BETWEEN);
        }
        row.extend_from_slice(&cell);
    }
    row.into()
}

/// Appends the rows of columns with types.
pub(super) fn push_batch(batch: &RecordBatch, rows: &mut VecDeque<Row>) -> Result<(), ArrowError> {
    // Within lists and structs.
    let options = FormatOptions::new().with_null("null");
    let columns = batch.columns().iter().zip(batch.schema_ref().fields());
    let columns = columns.map(|(column, field)| Values::new(column, field, &options));
    let columns: Vec<_> = columns.collect::<Result<_, ArrowError>>()?;
    for row in 0..batch.num_rows() {
        rows.push_back(joined(columns.iter().map(|column| Cow::Owned(column.cell(row)))));
    }
    Ok(())
}

/// The values of a column with a type.
struct Values<'a> {
    nulls: Option<NullBuffer>,
    texts: Texts<'a>,
}

enum Texts<'a> {
    /// As CSV has them: times.
    Cells(Cells<'a>),
    Formatted(ArrayFormatter<'a>),
    /// What has no text: the bytes by which Arrow tells rows apart.
    Bytes(arrow_row::Rows),
}

impl<'a> Values<'a> {
    fn new(column: &'a ArrayRef, field: &Field, options: &'a FormatOptions<'_>) -> Result<Self, ArrowError> {
        let texts = match column.data_type() {
            DataType::Timestamp(..) => Texts::Cells(Cells::of_csv(column, field)?),
            ty => match ArrayFormatter::try_new(column, options) {
                Ok(texts) => Texts::Formatted(texts),
                Err(_) => {
                    let converter = RowConverter::new(vec![SortField::new(ty.clone())])?;
                    Texts::Bytes(converter.convert_columns(&[Arc::clone(column)])?)
                }
            },
        };
        Ok(Self { nulls: column.logical_nulls(), texts })
    }

    fn cell(&self, row: usize) -> Vec<u8> {
        match &self.texts {
            _ if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) => vec![NULL],
            Texts::Cells(cells) => {
                let mut text = Vec::new();
                cells.write(row, &mut text);
                text
            }
            Texts::Formatted(texts) => texts.value(row).to_string().into_bytes(),
            Texts::Bytes(rows) => {
                rows.row(row).data().iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
            }
        }
    }
}
