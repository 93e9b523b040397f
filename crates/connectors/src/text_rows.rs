//! Rows of a text format, whichever it is.

use csv::StringRecord;

use crate::csv_rows::CsvRows;
use crate::encoding::Format;
use crate::error::{Flaw, Place, ReadError};
use crate::input::TextInput;
use crate::json_rows::{JsonRows, UnknownMembers};
use crate::parse::Dialect;

/// One row: its cells, in the order of the columns, as its dialect writes them.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) cells: StringRecord,
    /// The physical line on which it starts.
    pub(crate) line: u64,
}

impl Row {
    pub(crate) fn place(&self) -> Place {
        Place::Line(self.line)
    }
}

/// What the next record turned out to be.
pub(crate) enum Next {
    /// A row, now in the buffer.
    Row,
    /// A bad record.
    Bad(Place, Flaw),
    /// The end.
    End,
}

/// Rows of a CSV or JSON Lines input.
pub(crate) enum TextRows {
    Csv(CsvRows),
    Json(JsonRows),
}

impl TextRows {
    /// Reads the header, or enough lines to know the columns.
    pub(crate) fn open(input: TextInput, format: Format, unknown: UnknownMembers) -> Result<Self, ReadError> {
        match format {
            Format::JsonLines => JsonRows::open(input, unknown).map(Self::Json),
            _ => CsvRows::open(input).map(Self::Csv),
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Csv(_) => Dialect::Csv,
            Self::Json(_) => Dialect::Json,
        }
    }

    pub(crate) fn columns(&self) -> &[String] {
        match self {
            Self::Csv(rows) => &rows.columns,
            Self::Json(rows) => &rows.columns,
        }
    }

    pub(crate) fn next(&mut self, row: &mut Row) -> Result<Next, ReadError> {
        match self {
            Self::Csv(rows) => rows.next(row),
            Self::Json(rows) => rows.next(row),
        }
    }
}
