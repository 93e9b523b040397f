//! What is wrong with a record, and where the record stands.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use tradejoin_model::{ParseFieldError, Validity};

use crate::limits::Size;
use crate::mode::Span;
use crate::ready::{RowCount, Unready};

/// Where in a file a record stands, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The physical line of a text file on which the record starts.
    Line(u64),
    /// The row of a file without lines.
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Row(row) => write!(f, "row {row}"),
        }
    }
}

/// What is wrong with a record.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The value is not one of its column.
    #[error(transparent)]
    Field(#[from] ParseFieldError),
    /// No value where there must be one.
    #[error("no value, but the column needs one")]
    Empty,
    /// An integer outside the 64 bits of its column.
    #[error("an integer that does not fit 64 bits")]
    IntegerTooLarge,
    /// Not an integer.
    #[error("not an integer")]
    NotAnInteger,
    /// Bytes that are not UTF-8.
    #[error("not valid UTF-8")]
    NotUtf8,
    /// A CSV record with too few or too many fields.
    #[error("{found} {}, but the header has {expected}", if *found == 1 { "field" } else { "fields" })]
    FieldCount {
        /// Fields of the record.
        found: usize,
        /// Fields of the header.
        expected: usize,
    },
    /// A line that is not JSON, with what the parser says.
    #[error("broken JSON: {0}")]
    NotJson(String),
    /// JSON, but not an object.
    #[error("not a JSON object")]
    NotAnObject,
    /// A member that no earlier line has, when the columns are settled.
    #[error("no object at the start of the file has this member, so the output has no column for it")]
    UnknownMember,
    /// A member that stands twice in its object.
    #[error("the member stands twice in its object")]
    DuplicateMember,
    /// A CSV record beyond the limit.
    #[error("longer than {} (--max-line); a quote may not be closed", Size(*.bytes_max as u64))]
    OpenQuote {
        /// The limit.
        bytes_max: usize,
    },
    /// A CSV record within whose quotes the input ends.
    #[error(
        "a quote is never closed, so that all to the end of the input is one record: close it, or quote \
         the field and double the quotes that are part of its text"
    )]
    EndsInQuotes,
    /// A line beyond the limit.
    #[error("longer than {} (--max-line)", Size(*.bytes_max as u64))]
    TooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// A record with more fields than any may have.
    #[error("more than {max} fields (--max-fields)")]
    TooManyFields {
        /// The limit.
        max: usize,
    },
    /// Objects and lists that lie too deep in each other.
    #[error("objects and lists lie more than {max} deep in each other (--max-depth)")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// A row of a table that the run has not.
    #[error("a row of a table that the run does not join: name its tables (--tables)")]
    NoTable,
    /// A trade that comes before a table is ready, which does not become so by time.
    /// Boxed: it is seldom.
    #[error("a trade before the table {} is ready, which waits for {}; {} of it came so far", .0.table, .0.waits_for, RowCount(.0.rows))]
    EarlyTrade(Box<Unready>),
    /// A marker that is not of a table.
    #[error("a marker names one of the tables {0}")]
    MarkerTable(String),
    /// A marker whose number of rows is wrong.
    #[error("the marker is wrong: {} of {table} came before it", RowCount(*.rows))]
    MarkerRows {
        /// The table.
        table: &'static str,
        /// Its rows before the marker.
        rows: u64,
    },
    /// A marker of a table that does not wait for one.
    #[error(
        "no marker of this table is waited for: it has one, among the first lines or where it is told \
         to wait (--table-ready-after)"
    )]
    MarkerUnexpected,
    /// A row that ends before it begins.
    #[error("at or before its valid_from, {}", crate::mode::Time(*.from))]
    NeverValid {
        /// The beginning.
        from: i64,
    },
    /// A row at a time that another row of its key has. Boxed: it is seldom.
    #[error("{0}")]
    Overlap(Box<Overlapping>),
    /// A value that is none of its column's type: which, and what is wrong with it.
    #[error("not a value of the type {0}")]
    NotOfType(String),
    /// A time that its column has no unit for.
    #[error("a time finer than the column's unit; values are never rounded")]
    TooFine,
    /// A member that the table has no column for.
    #[error("the table has no column of this name")]
    NoColumn,
    /// A line of table changes whose `type` is that of no table of the run: which there
    /// are, and what may have been meant.
    #[error("no table of the run has rows of this type: it is one of {0}")]
    ChangeType(String),
    /// A tagged line whose `type` is missing or not known.
    #[error("the type of a message must be one of {0}")]
    MessageType(String),
}

/// A row that overlaps an earlier one of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlapping {
    /// When the row is valid.
    pub validity: Validity,
    /// Where the earlier row stands.
    pub first: Place,
    /// When that is valid.
    pub first_validity: Validity,
}

impl fmt::Display for Overlapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { validity, first, first_validity } = *self;
        write!(f, "valid {}, which overlaps {first}, valid {}", Span(validity), Span(first_validity))
    }
}

/// A record that was refused: where, what, and why.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub struct BadRecord {
    /// The file, or `standard input`.
    pub source_name: Arc<str>,
    /// The line or row.
    pub place: Place,
    /// The column, if it is about one.
    pub column: Option<String>,
    /// The value, cut if it is long.
    pub value: Option<String>,
    /// What is wrong. Part of what the record displays, and so not its source.
    pub reason: Reason,
}

/// Characters of a value that an error shows.
const VALUE_CHARS_MAX: usize = 80;

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.source_name, self.place)?;
        if let Some(column) = &self.column {
            write!(f, ", column {}", column.escape_debug())?;
        }
        match &self.value {
            Some(value) if value.chars().count() > VALUE_CHARS_MAX => {
                let cut: String = value.chars().take(VALUE_CHARS_MAX).collect();
                write!(f, ": {cut:?}…")?;
            }
            Some(value) => write!(f, ": {value:?}")?,
            None => {}
        }
        write!(f, ": {}", self.reason)
    }
}

/// A record that is bad, before the file's name is known.
#[derive(Debug)]
pub(crate) struct Flaw {
    pub(crate) column: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) reason: Reason,
}

impl Flaw {
    /// The flaw as one of a record at its place.
    pub(crate) fn at(self, source_name: &Arc<str>, place: Place) -> BadRecord {
        let Self { column, value, reason } = self;
        BadRecord { source_name: Arc::clone(source_name), place, column, value, reason }
    }

    /// A flaw of the whole record.
    pub(crate) fn record(reason: Reason) -> Self {
        Self { column: None, value: None, reason }
    }

    /// A flaw of one value. Keeps no more of it than is shown.
    pub(crate) fn cell(column: &str, value: &str, reason: impl Into<Reason>) -> Self {
        let value = value.chars().take(VALUE_CHARS_MAX + 1).collect();
        Self { column: Some(column.to_owned()), value: Some(value), reason: reason.into() }
    }

    /// An empty cell where there must be a value.
    pub(crate) fn empty(column: &str) -> Self {
        Self { column: Some(column.to_owned()), value: None, reason: Reason::Empty }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_record_says_where_what_and_why() {
        let flaw = Flaw::cell("instrument_id", "abc", ParseFieldError::NotAnId);
        let mut bad = BadRecord {
            source_name: "trades.csv".into(),
            place: Place::Line(4),
            column: flaw.column,
            value: flaw.value,
            reason: flaw.reason,
        };
        assert_eq!(
            bad.to_string(),
            "trades.csv, line 4, column instrument_id: \"abc\": not an unsigned integer"
        );
        bad.value = Some("\u{1b}é".repeat(100));
        assert!(bad.to_string().contains("\\u{1b}é") && bad.to_string().contains("\"…: not"), "{bad}");
    }
}
