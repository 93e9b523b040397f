//! Rows of a text format, whichever it is, one after the other.

use std::borrow::Cow;

use crate::bad_letter::{Raw, Record};
use crate::chunks::{Chunk, Chunks, Records};
use crate::csv_rows::{self, CsvText};
use crate::encoding::Format;
use crate::error::ReadError;
use crate::flaw::Flaw;
use crate::input::TextInput;
use crate::json_rows::{self, Members, UnknownMembers};
use crate::parse::Dialect;

/// A CSV or JSON Lines input whose columns are known, before its rows.
pub(crate) struct TextRows {
    pub(crate) chunks: Chunks,
    pub(crate) format: Format,
    pub(crate) columns: Vec<String>,
    /// Whether no line, of those that were looked at, says what columns there are.
    pub(crate) is_unsaid: bool,
}

impl TextRows {
    /// Reads the header, or enough lines to know the columns.
    pub(crate) fn open(input: TextInput, format: Format) -> Result<Self, ReadError> {
        let name = input.name.clone();
        let mut chunks = Chunks::new(input, format);
        let columns = match format {
            Format::JsonLines => json_rows::columns(&mut chunks)?,
            _ => match chunks.next(1)? {
                None => Vec::new(),
                Some(chunk) => {
                    let mut records = Records::new(&chunk, format);
                    let record = records.next().unwrap_or_default();
                    let header = csv_rows::header(&chunk.bytes[record.clone()], chunk.limits);
                    chunks.forget_records();
                    header.map_err(|flaw| flaw.at(&name, records.place(&record)))?
                }
            },
        };
        let is_unsaid = columns.is_empty();
        Ok(Self { chunks, format, columns, is_unsaid })
    }

    pub(crate) fn dialect(&self) -> Dialect {
        if self.format == Format::JsonLines { Dialect::Json } else { Dialect::Csv }
    }
}

/// Shows each record of a chunk to `take`: its place and bytes, and its cells, in the order of the
/// columns, as its dialect writes them; or what is wrong with it. Members that
/// no column stands for are refused or not shown, as `unknown` says.
pub(crate) fn for_each_row<E>(
    chunk: &Chunk,
    format: Format,
    columns: &[String],
    unknown: UnknownMembers,
    mut take: impl FnMut(Record<'_>, Result<&[Cow<'_, str>], Flaw>) -> Result<(), E>,
) -> Result<(), E> {
    let mut records = Records::new(chunk, format);
    if format == Format::JsonLines {
        let mut members = Members::within(chunk.limits);
        while let Some(record) = records.next() {
            let mut cells = Vec::with_capacity(columns.len());
            let line = members.scan(&chunk.bytes[record.clone()]).map_err(Flaw::record);
            let placed = line.and_then(|line| members.place(line, columns, None, unknown, &mut cells));
            let cells: Vec<_> = cells.iter().map(|&cell| Cow::Borrowed(cell)).collect();
            let raw = Raw::line(&chunk.bytes[record.clone()]);
            take((records.place(&record), raw), placed.map(|()| cells.as_slice()))?;
        }
        return Ok(());
    }
    let text = CsvText::new(&chunk.bytes);
    let mut cells = Vec::with_capacity(columns.len());
    while let Some(record) = records.next() {
        let split = text.record(record.clone(), columns, chunk.limits).and_then(|record| {
            csv_rows::split_within(record, &mut cells, chunk.limits)?;
            csv_rows::check_count(cells.len(), columns)
        });
        let raw = Raw::Text(&chunk.bytes[record.clone()]);
        take((records.place(&record), raw), split.map(|()| cells.as_slice()))?;
    }
    Ok(())
}
