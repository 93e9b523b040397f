//! CSV records as cells.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr;

use crate::flaw::{Flaw, Reason};
use crate::limits::Limits;

/// The cells of one record.
pub(crate) type CsvCells<'c> = Vec<Cow<'c, str>>;

/// Records of a chunk as text. What is UTF-8 as a whole is so in all its parts,
/// and need not be looked at again.
pub(crate) struct CsvText<'c> {
    bytes: &'c [u8],
    whole: Option<&'c str>,
}

impl<'c> CsvText<'c> {
    pub(crate) fn new(bytes: &'c [u8]) -> Self {
        Self { bytes, whole: std::str::from_utf8(bytes).ok() }
    }

    /// A record, or what is wrong with one that is not UTF-8.
    pub(crate) fn record(
        &self,
        record: Range<usize>,
        columns: &[String],
        limits: Limits,
    ) -> Result<&'c str, Flaw> {
        match self.whole {
            Some(text) => Ok(&text[record]),
            None => {
                let bytes = &self.bytes[record];
                std::str::from_utf8(bytes)
                    .map_err(|error| not_utf8(bytes, error.valid_up_to(), columns, limits))
            }
        }
    }
}

/// What is wrong with a record that is text up to `valid`: it may have another
/// number of fields besides.
fn not_utf8(record: &[u8], valid: usize, columns: &[String], limits: Limits) -> Flaw {
    let mut cells = Vec::new();
    let before = std::str::from_utf8(&record[..valid]).unwrap_or_default();
    split(before, &mut cells);
    let field = cells.len() - 1;
    let text = String::from_utf8_lossy(record).into_owned();
    let mut cells = Vec::new();
    let counted = split_within(&text, &mut cells, limits).and_then(|()| check_count(cells.len(), columns));
    match counted {
        Err(flaw) => flaw,
        Ok(()) => Flaw::cell(&columns[field], &cells[field], Reason::NotUtf8),
    }
}

/// The header's names.
pub(crate) fn header(record: &[u8], limits: Limits) -> Result<Vec<String>, Flaw> {
    let mut cells = Vec::new();
    let text = String::from_utf8_lossy(record);
    split_within(&text, &mut cells, limits)?;
    match std::str::from_utf8(record) {
        Ok(_) => Ok(cells.into_iter().map(Cow::into_owned).collect()),
        Err(_) => {
            let value = cells.iter().find(|cell| cell.contains('\u{FFFD}')).map(|cell| cell.to_string());
            Err(Flaw { column: None, value, reason: Reason::NotUtf8 })
        }
    }
}

/// # Errors
/// If a record has more fields than any may have, or not as many as the header.
pub(crate) fn check_count_within(found: usize, columns: &[String], limits: Limits) -> Result<(), Flaw> {
    if found > limits.fields {
        return Err(Flaw::record(Reason::TooManyFields { max: limits.fields }));
    }
    check_count(found, columns)
}

/// # Errors
/// If a record has not as many fields as the header.
pub(crate) fn check_count(found: usize, columns: &[String]) -> Result<(), Flaw> {
    let expected = columns.len();
    if found == expected { Ok(()) } else { Err(Flaw::record(Reason::FieldCount { found, expected })) }
}

/// The contents of a record's fields; at least one. What is wrong with the record is for
/// [`split_within`] to say.
pub(crate) fn split<'c>(record: &'c str, cells: &mut CsvCells<'c>) {
    let _ = split_within(record, cells, Limits::NONE);
}

/// As [`split`].
///
/// # Errors
/// If there are more fields than any record may have, or the record ends within quotes, as
/// the last one of an input may.
pub(crate) fn split_within<'c>(
    record: &'c str,
    cells: &mut CsvCells<'c>,
    limits: Limits,
) -> Result<(), Flaw> {
    cells.clear();
    let mut at = 0;
    loop {
        let (cell, end) = if record.as_bytes().get(at) == Some(&b'"') {
            quoted(record, at + 1)
        } else {
            let end = field_end(record, at);
            (Cow::Borrowed(&record[at..end]), Some(end))
        };
        if cells.len() == limits.fields {
            return Err(Flaw::record(Reason::TooManyFields { max: limits.fields }));
        }
        cells.push(cell);
        let Some(end) = end else { return Err(Flaw::record(Reason::EndsInQuotes)) };
        if end == record.len() {
            return Ok(());
        }
        at = end + 1;
    }
}

fn field_end(record: &str, from: usize) -> usize {
    // Most fields are too short for a search to pay.
    let rest = &record.as_bytes()[from..];
    rest.iter().position(|&byte| byte == b',').map_or(record.len(), |end| from + end)
}

/// The content of a field behind its opening quote, and where the field ends; `None` if the
/// quote is not closed. What follows the closing quote belongs to it, as it stands.
fn quoted(record: &str, from: usize) -> (Cow<'_, str>, Option<usize>) {
    let bytes = record.as_bytes();
    let mut cell = Cow::Borrowed("");
    let mut at = from;
    loop {
        let Some(quote) = memchr(b'"', &bytes[at..]).map(|quote| at + quote) else {
            append(&mut cell, &record[at..]);
            return (cell, None);
        };
        if bytes.get(quote + 1) == Some(&b'"') {
            append(&mut cell, &record[at..=quote]);
            at = quote + 2;
            continue;
        }
        append(&mut cell, &record[at..quote]);
        let end = field_end(record, quote + 1);
        append(&mut cell, &record[quote + 1..end]);
        return (cell, Some(end));
    }
}

fn append<'c>(cell: &mut Cow<'c, str>, text: &'c str) {
    if cell.is_empty() {
        *cell = Cow::Borrowed(text);
    } else if !text.is_empty() {
        cell.to_mut().push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chunks::{Chunk, Records};
    use crate::encoding::Format;

    /// Every record's cells; `None` of one that ends within quotes.
    fn ours(text: &str) -> Vec<Option<Vec<String>>> {
        let chunk = Chunk { bytes: text.as_bytes().to_vec(), line: 1, ..Chunk::default() };
        let mut records = Records::new(&chunk, Format::Csv);
        let mut rows = Vec::new();
        while let Some(record) = records.next() {
            let mut cells = Vec::new();
            let whole = split_within(&text[record], &mut cells, Limits::NONE).is_ok();
            rows.push(whole.then(|| cells.into_iter().map(Cow::into_owned).collect()));
        }
        rows
    }

    /// The same by the `csv` crate, which takes a record that ends within quotes: one that
    /// takes in a line that is put behind it.
    fn theirs(text: &str) -> Vec<Option<Vec<String>>> {
        let mut rows: Vec<_> = records(text).into_iter().map(Some).collect();
        if records(&format!("{text}\nx")).len() == rows.len() {
            rows.last_mut().map(Option::take);
        }
        rows
    }

    fn records(text: &str) -> Vec<Vec<String>> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(text.trim_start_matches('\u{FEFF}').as_bytes());
        reader.records().map(|row| row.expect("text").iter().map(str::to_owned).collect()).collect()
    }

    #[test]
    fn quotes_count_at_the_start_of_a_field_alone() {
        let text = "a\"b\",\"c\"d\"e,\"f\"\"g\"\"\"\n\"\"x,\"\n\r,\",\"\"\r\r\n\n\"open,\n";
        let expected: [&[&str]; 2] = [&["a\"b\"", "cd\"e", "f\"g\""], &["x", "\n\r,", ""]];
        let expected = expected.map(|row| Some(row.iter().map(|&cell| cell.to_owned()).collect()));
        let expected = [&expected[..], &[None]].concat();
        assert_eq!(ours(text), expected);
        assert_eq!(theirs(text), expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig { max_shrink_iters: 1_000, ..ProptestConfig::with_cases(2_000) })]

        #[test]
        fn records_are_those_of_the_csv_crate(text in "[a\",\n\ré]{0,40}") {
            prop_assert_eq!(ours(&text), theirs(&text));
        }
    }

    #[test]
    fn what_is_not_utf8_is_named_with_its_column() {
        let columns = ["a".to_owned(), "b".to_owned()];
        let text = CsvText::new(b"\xEF\xBF\xBD,x\xFFy");
        let flaw = text.record(0..7, &columns, Limits::default()).expect_err("not UTF-8");
        assert_eq!((flaw.column.as_deref(), flaw.value.as_deref()), (Some("b"), Some("x\u{FFFD}y")));
        let flaw = CsvText::new(b"\xFF").record(0..1, &columns, Limits::default()).expect_err("not UTF-8");
        assert_eq!(flaw.reason, Reason::FieldCount { found: 1, expected: 2 });
        let flaw = CsvText::new(b"x,\"\xFF").record(0..4, &columns, Limits::default()).expect_err("no text");
        assert_eq!(flaw.reason, Reason::EndsInQuotes);
    }
}
