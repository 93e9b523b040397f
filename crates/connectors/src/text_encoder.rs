//! Rows as CSV and as JSON Lines.

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Schema, SchemaRef};
use tradejoin_model::{Column, ColumnType};

use crate::parse::{is_json_number, json_text};
use crate::render::{Cells, Form};

/// A column that tables add, beside its type.
pub(crate) type Added<'a> = (&'a Column, ColumnType);

/// Appends the names of columns as a CSV header.
pub(crate) fn csv_header<'a>(names: impl ExactSizeIterator<Item = &'a str>, out: &mut Vec<u8>) {
    let alone = names.len() == 1;
    for (i, name) in names.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push_csv_text(name.as_bytes(), alone, out);
    }
    out.push(b'\n');
}

/// Appends rows as CSV records.
pub(crate) fn csv_rows(
    trades: &RecordBatch,
    added: &[Added<'_>],
    rows: impl Iterator<Item = usize>,
    out: &mut Vec<u8>,
) -> Result<(), ArrowError> {
    let fields = trades.schema_ref().fields();
    let own = trades.columns().iter().zip(fields).map(|(array, field)| Cells::of_csv(array, field));
    let cells = cells(own, added)?;
    let alone = cells.len() == 1;
    for row in rows {
        for (i, cells) in cells.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            push_csv_cell(cells, row, alone, out);
        }
        out.push(b'\n');
    }
    Ok(())
}

fn cells<'a>(
    own: impl Iterator<Item = Result<Cells<'a>, ArrowError>>,
    added: &[Added<'a>],
) -> Result<Vec<Cells<'a>>, ArrowError> {
    own.chain(added.iter().map(|&(column, ty)| Ok(Cells::of_added(column, ty)))).collect()
}

fn push_csv_cell(cells: &Cells<'_>, row: usize, alone: bool, out: &mut Vec<u8>) {
    let null = cells.is_null(row);
    match cells.form {
        _ if null => push_csv_text(b"", alone, out),
        Form::Text | Form::NumberText | Form::OptionalText => push_csv_text(cells.text(row), alone, out),
        Form::Token => {
            // A token came out of a line that is UTF-8.
            let token = std::str::from_utf8(cells.text(row)).unwrap_or_default();
            push_csv_text(json_text(token).unwrap_or_default().as_bytes(), alone, out);
        }
        Form::PlainText | Form::Bare | Form::Float => cells.write(row, out),
    }
}

/// Quotes what needs it. A record of one empty field would be a blank line.
fn push_csv_text(text: &[u8], alone: bool, out: &mut Vec<u8>) {
    let special = text.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'));
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
        let name = |name: &str| {
            let mut out = Vec::with_capacity(name.len() + 3);
            push_json_text(name.as_bytes(), &mut out);
            out.push(b':');
            out
        };
        Self { names: own.chain(added).map(name).collect(), start: [b"{", start.as_bytes()].concat() }
    }

    /// Appends rows as objects, one for each line.
    pub(crate) fn rows(
        &self,
        trades: &RecordBatch,
        added: &[Added<'_>],
        rows: impl Iterator<Item = usize>,
        out: &mut Vec<u8>,
    ) -> Result<(), ArrowError> {
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
        cells(own, added)
    }

    /// Appends one row.
    pub(crate) fn row(&self, cells: &[Cells<'_>], row: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.start);
        let mut first = self.start.len() == 1;
        for (cells, name) in cells.iter().zip(&self.names) {
            let null = cells.is_null(row);
            if null && cells.form == Form::Token {
                continue;
            }
            if !first {
                out.push(b',');
            }
            first = false;
            out.extend_from_slice(name);
            if null { out.extend_from_slice(b"null") } else { push_json_cell(cells, row, out) }
        }
        out.extend_from_slice(b"}\n");
    }
}

fn push_json_cell(cells: &Cells<'_>, row: usize, out: &mut Vec<u8>) {
    match cells.form {
        Form::Text => push_json_text(cells.text(row), out),
        Form::NumberText | Form::OptionalText if cells.text(row).is_empty() => out.extend_from_slice(b"null"),
        Form::OptionalText => push_json_text(cells.text(row), out),
        Form::NumberText => match cells.text(row) {
            text if std::str::from_utf8(text).is_ok_and(is_json_number) => out.extend_from_slice(text),
            text => push_json_text(text, out),
        },
        Form::Token => out.extend_from_slice(cells.text(row)),
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
    if text.iter().all(|&byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
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
