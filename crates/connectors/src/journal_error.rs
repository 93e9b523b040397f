//! What can be wrong with a journal.

use std::io;
use std::sync::Arc;

use thiserror::Error;

use crate::error::Category;
use crate::journal::LoadedTable;

/// A journal could not be written or read.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The file cannot be created.
    #[error("cannot create {path}")]
    Create {
        /// The file.
        path: Arc<str>,
        /// What the system says.
        source: io::Error,
    },
    /// Writing failed.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: Arc<str>,
        /// What the system says.
        source: io::Error,
    },
    /// Reading failed.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: Arc<str>,
        /// What the system says.
        source: io::Error,
    },
    /// A line is not one of a journal.
    #[error("{path}, line {line}: {what}")]
    Line {
        /// The file.
        path: Arc<str>,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// There is no last line.
    #[error(
        "{path} has no line for the end: the run that wrote it was cut short; add {{\"end\":{{\"trades\":N}}}} with \
         the number of trades to repeat what is there"
    )]
    NoEnd {
        /// The file.
        path: Arc<str>,
    },
    /// A table is another one than the journal began with.
    #[error(
        "{} is not the table that the journal began with: {} rows then, {} now, or others; give the file as it was",
        .expected.name, .expected.rows, .found.rows
    )]
    OtherTable {
        /// What the journal says.
        expected: Box<LoadedTable>,
        /// What was loaded.
        found: Box<LoadedTable>,
    },
    /// A table was loaded in another way than the journal began with.
    #[error(
        "the journal is of {} in the mode {} with the columns {}, and this run has it in the mode {} with {}: give \
         the same --mode, --version-column and --columns",
        .expected.name, .expected.mode, .expected.columns.join(", "), .found.mode, .found.columns.join(", ")
    )]
    OtherColumns {
        /// What the journal says.
        expected: Box<LoadedTable>,
        /// What was loaded.
        found: Box<LoadedTable>,
    },
    /// The tables of the run are others.
    #[error("the journal is of the tables {expected}, and this run has {found}")]
    OtherTables {
        /// Those of the journal.
        expected: String,
        /// Those of the run.
        found: String,
    },
    /// Changes that a table cannot take.
    #[error(
        "the journal's update of {table} behind {trades} trades has keys or fields of another kind than the table"
    )]
    OtherKinds {
        /// The table's name.
        table: String,
        /// The trades before it.
        trades: u64,
    },
    /// A run has gone further in another journal.
    #[error(
        "{entries} updates of the journal stand before the {trades} trades that were read at the checkpoint, but \
         not in this journal: give the same"
    )]
    OtherPlace {
        /// Updates before the place.
        entries: u64,
        /// Trades before it.
        trades: u64,
    },
    /// The trades are others.
    #[error("the journal is of {expected} trades, and these are {found}: give the same trades and limits")]
    OtherTrades {
        /// What the journal says.
        expected: u64,
        /// What was read.
        found: u64,
    },
}

impl JournalError {
    /// What kind of problem it is.
    #[must_use]
    pub fn category(&self) -> Category {
        match self {
            Self::Create { .. } => Category::CannotCreate,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Category::MissingInput,
            Self::Write { .. } | Self::Io { .. } => Category::Io,
            Self::OtherTables { .. } | Self::OtherColumns { .. } => Category::Usage,
            _ => Category::Data,
        }
    }
}
