//! Rows as CSV and as JSON Lines.

use arrow_array::cast::AsArray;
use arrow_array::{BinaryArray, RecordBatch};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use tradejoin_model::Column;

use crate::csv_safe::is_formula;
use crate::parse::{is_json_number, json_text};
use crate::render::{Cells, Form};
use crate::trade_layout::{ENCODING_CSV, ENCODING_JSON, RECORDS_KEY};
use crate::values::AddedValues;

/// A column that tables add, beside what its values are.
pub(crate) type Added<'a> = (&'a Column, &'a AddedValues);

/// How fields of CSV are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CsvStyle {
    /// Whether a text that looks like a formula is made into one that does not.
    pub(crate) is_safe: bool,
}

/// Appends the names of columns as a CSV header.
pub(crate) fn csv_header<'a>(
    names: impl ExactSizeIterator<Item = &'a str>,
    style: CsvStyle,
    out: &mut Vec<u8>,
) {
    let alone = names.len() == 1;
    for (i, name) in names.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        style.push_text(name.as_bytes(), alone, out);
    }
    out.push(b'\n');
}

/// Appends rows as CSV records.
pub(crate) fn csv_rows(
    trades: &RecordBatch,
    added: &[Added<'_>],
    rows: impl Iterator<Item = usize>,
    style: CsvStyle,
    out: &mut Vec<u8>,
) -> Result<(), ArrowError> {
    if let Some(records) = records(trades, ENCODING_CSV)? {
        if style.is_safe {
            let text = "records that pass whole, for an output whose fields are looked at";
            return Err(ArrowError::InvalidArgumentError(text.to_owned()));
        }
        let added = cells(std::iter::empty(), added, Cells::of_added_csv)?;
        rows.for_each(|row| csv_record(records.value(row), &added, row, out));
        return Ok(());
    }
    let fields = trades.schema_ref().fields();
    let own = trades.columns().iter().zip(fields).map(|(array, field)| Cells::of_csv(array, field));
    let cells = cells(own, added, Cells::of_added_csv)?;
    let alone = cells.len() == 1;
    for row in rows {
        for (i, cells) in cells.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            style.push_cell(cells, row, alone, out);
        }
        out.push(b'\n');
    }
    Ok(())
}

/// The records of a block that is made of such.
fn records<'a>(trades: &'a RecordBatch, encoding: &str) -> Result<Option<&'a BinaryArray>, ArrowError> {
    match trades.schema_ref().metadata().get(RECORDS_KEY) {
        None => Ok(None),
        Some(found) if found == encoding => Ok(trades.column(0).as_binary_opt()),
        Some(found) => {
            Err(ArrowError::InvalidArgumentError(format!("records of {found} for an output of {encoding}")))
        }
    }
}

fn csv_record(record: &[u8], added: &[Cells<'_>], row: usize, out: &mut Vec<u8>) {
    if record.is_empty() && added.is_empty() {
        // Otherwise a blank line.
        out.extend_from_slice(b"\"\"");
    }
    out.extend_from_slice(record);
    for cells in added {
        out.push(b',');
        CsvStyle::default().push_cell(cells, row, false, out);
    }
    out.push(b'\n');
}

fn cells<'a>(
    own: impl Iterator<Item = Result<Cells<'a>, ArrowError>>,
    added: &[Added<'a>],
    of_added: impl Fn(&'a Column, &'a AddedValues) -> Result<Cells<'a>, ArrowError>,
) -> Result<Vec<Cells<'a>>, ArrowError> {
    own.chain(added.iter().map(|&(column, values)| of_added(column, values))).collect()
}

impl CsvStyle {
    fn push_cell(self, cells: &Cells<'_>, row: usize, alone: bool, out: &mut Vec<u8>) {
        let null = cells.is_null(row);
        match cells.form {
            _ if null => push_csv_text(b"", alone, out),
            Form::Text | Form::NumberText | Form::OptionalText => self.push_text(cells.text(row), alone, out),
            Form::Token | Form::ValueToken => {
                // A token came out of a line that is UTF-8.
                let token = std::str::from_utf8(cells.text(row)).unwrap_or_default();
                self.push_text(json_text(token).unwrap_or_default().as_bytes(), alone, out);
            }
            Form::PlainText | Form::Bare | Form::Float => {
                let start = out.len();
                cells.write(row, out);
                // An infinity below zero, and years of five digits.
                if self.is_safe && is_formula(&out[start..]) {
                    out.insert(start, b'\'');
                }
            }
        }
    }

    fn push_text(self, text: &[u8], alone: bool, out: &mut Vec<u8>) {
        if self.is_safe && is_formula(text) {
            push_csv_text(&[b"'", text].concat(), alone, out);
        } else {
            push_csv_text(text, alone, out);
        }
    }
}

/// Quotes what needs it. A record of one empty field would be a blank line.
pub(crate) fn push_csv_text(text: &[u8], alone: bool, out: &mut Vec<u8>) {
    // Without an early end: most texts are short, and have none of these.
    let is_special = |byte: u8| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    let special = text.iter().fold(false, |special, &byte| special | is_special(byte));
    let quoted = special || (alone && text.is_empty());
    if !quoted {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for part in text.split_inclusive(|&byte| byte == b'"') {
        out.extend_from_slice(part);
        if part.ends_with(b"\"") {
            out.push(b'"');
        }
    }
    out.push(b'"');
}

/// Writes rows as JSON objects, their members' names prepared.
pub(crate) struct JsonEncoder {
    /// `"name":` of each column, the trades' own before the added.
    names: Vec<Vec<u8>>,
    /// What each line starts with: `{`, or more.
    start: Vec<u8>,
}

impl JsonEncoder {
    /// An encoder of trades with added columns. `start` is what each object
    /// begins with, such as a tag; empty for nothing.
    pub(crate) fn new<'a>(trades: &'a Schema, added: impl Iterator<Item = &'a str>, start: &str) -> Self {
        let own = trades.fields().iter().map(|field| field.name().as_str());
        Self { names: own.chain(added).map(json_name).collect(), start: [b"{", start.as_bytes()].concat() }
    }

    /// Appends rows as objects, one for each line.
    pub(crate) fn rows(
        &self,
        trades: &RecordBatch,
        added: &[Added<'_>],
        rows: impl Iterator<Item = usize>,
        out: &mut Vec<u8>,
    ) -> Result<(), ArrowError> {
        if let Some(records) = records(trades, ENCODING_JSON)? {
            let added = cells(std::iter::empty(), added, Cells::of_added_json)?;
            rows.for_each(|row| self.record(records.value(row), &added, row, out));
            return Ok(());
        }
        let cells = self.cells(trades, added)?;
        rows.for_each(|row| self.row(&cells, row, out));
        Ok(())
    }

    /// The cells that [`JsonEncoder::row`] takes.
    pub(crate) fn cells<'a>(
        &self,
        trades: &RecordBatch,
        added: &[Added<'a>],
    ) -> Result<Vec<Cells<'a>>, ArrowError> {
        let schema: SchemaRef = trades.schema();
        let own =
            trades.columns().iter().zip(schema.fields()).map(|(array, field)| Cells::of_json(array, field));
        cells(own, added, Cells::of_added_json)
    }

    /// Appends an object with members added at its end.
    fn record(&self, object: &[u8], added: &[Cells<'_>], row: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(object.strip_suffix(b"}").unwrap_or(object));
        let mut first = object == b"{}";
        let own = self.names.len() - added.len();
        for (cells, name) in added.iter().zip(&self.names[own..]) {
            if !first {
                out.push(b',');
            }
            first = false;
            Self::member(name, cells, row, out);
        }
        out.extend_from_slice(b"}\n");
    }

    fn member(name: &[u8], cells: &Cells<'_>, row: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(name);
        if cells.is_null(row) { out.extend_from_slice(b"null") } else { push_json_cell(cells, row, out) }
    }

    /// Appends one row.
    pub(crate) fn row(&self, cells: &[Cells<'_>], row: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.start);
        let mut first = self.start.len() == 1;
        for (cells, name) in cells.iter().zip(&self.names) {
            if cells.form == Form::Token && cells.is_null(row) {
                continue;
            }
            if !first {
                out.push(b',');
            }
            first = false;
            Self::member(name, cells, row, out);
        }
        out.extend_from_slice(b"}\n");
    }
}

/// `"name":`.
pub(crate) fn json_name(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 3);
    push_json_text(name.as_bytes(), &mut out);
    out.push(b':');
    out
}

/// Appends an object of members whose names are prepared; those without a token
/// are absent.
pub(crate) fn push_json_members<'a>(members: impl Iterator<Item = (&'a [u8], &'a str)>, out: &mut Vec<u8>) {
    let mut mark = b'{';
    for (name, token) in members.filter(|(_, token)| !token.is_empty()) {
        out.push(mark);
        out.extend_from_slice(name);
        out.extend_from_slice(token.as_bytes());
        mark = b',';
    }
    if mark == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
}

fn push_json_cell(cells: &Cells<'_>, row: usize, out: &mut Vec<u8>) {
    match cells.form {
        Form::Text => push_json_text(cells.text(row), out),
        Form::NumberText | Form::OptionalText if cells.text(row).is_empty() => out.extend_from_slice(b"null"),
        Form::OptionalText => push_json_text(cells.text(row), out),
        Form::NumberText => match cells.text(row) {
            text if is_json_number(text) => out.extend_from_slice(text),
            text => push_json_text(text, out),
        },
        Form::Token | Form::ValueToken => out.extend_from_slice(cells.text(row)),
        Form::Bare => cells.write(row, out),
        Form::PlainText => {
            out.push(b'"');
            cells.write(row, out);
            out.push(b'"');
        }
        Form::Float => {
            let start = out.len();
            cells.write(row, out);
            // JSON has no word for what is no number.
            if !out[start..].iter().all(|byte| byte.is_ascii_digit() || b"-.".contains(byte)) {
                out.insert(start, b'"');
                out.push(b'"');
            }
        }
    }
}

/// A JSON string. Bytes beyond ASCII stand as they are.
pub(crate) fn push_json_text(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let is_special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    if !text.iter().fold(false, |special, &byte| special | is_special(byte)) {
        out.extend_from_slice(text);
    } else {
        for &byte in text {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0..0x20 => {
                    out.extend_from_slice(b"\\u00");
                    out.push(HEX[usize::from(byte >> 4)]);
                    out.push(HEX[usize::from(byte & 15)]);
                }
                _ => out.push(byte),
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_quotes_what_needs_it() {
        let quoted = |text: &str, alone| {
            let mut out = Vec::new();
            push_csv_text(text.as_bytes(), alone, &mut out);
            String::from_utf8(out).expect("text")
        };
        assert_eq!(quoted("a b", false), "a b");
        assert_eq!(quoted("a,b", false), "\"a,b\"");
        assert_eq!(quoted("a\"b\"", false), "\"a\"\"b\"\"\"");
        assert_eq!(quoted("\r", false), "\"\r\"");
        assert_eq!(quoted("", false), "");
        assert_eq!(quoted("", true), "\"\"");
    }

    #[test]
    fn json_text_parses_back() {
        for text in ["", "plain", "é\u{1F600}", "\u{0}\u{1f}\"\\\n\r\t\u{7f}/"] {
            let mut out = Vec::new();
            push_json_text(text.as_bytes(), &mut out);
            assert_eq!(serde_json::from_slice::<String>(&out).expect("a string"), text);
        }
    }
}
