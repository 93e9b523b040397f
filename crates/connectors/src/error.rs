//! What can go wrong at the two ends of a run, one type per operation.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::encoding::KNOWN_ENDINGS;
use crate::flaw::{BadRecord, Place};
use crate::letter_files::LetterFilesError;
use crate::limits::TooMuch;
use crate::ready::{RowCount, Unready};
use crate::resume_error::ResumeError;
use crate::stored_file::Unlike;

type BoxError = Box<dyn Error + Send + Sync>;

/// Which kind of failure an error is: what a command chooses its exit code by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// What was asked for makes no sense (2).
    Usage,
    /// The data is bad (65).
    Data,
    /// An input is missing or unreadable (66).
    MissingInput,
    /// The output cannot be made (73).
    CannotCreate,
    /// Reading or writing failed (74).
    Io,
    /// A checkpoint does not fit (78).
    Checkpoint,
}

/// Why no encoding follows from a name.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EncodingError {
    /// The ending is not known.
    #[error("{}: unknown ending; known are {KNOWN_ENDINGS}", path.display())]
    UnknownEnding {
        /// The path.
        path: PathBuf,
    },
    /// The name of a format is not known.
    #[error("unknown format {text:?}; known are csv, jsonl (each also with .gz or .zst), parquet, arrow")]
    UnknownFormat {
        /// What was given.
        text: String,
    },
    /// Standard input and output have no ending.
    #[error("standard input and output have no ending that tells the format: name the format")]
    NoEnding,
}

impl EncodingError {
    /// The kind of failure.
    #[must_use]
    pub fn category(&self) -> Category {
        Category::Usage
    }
}

/// Why reading stopped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The system could not read.
    #[error("{source_name}: cannot read")]
    Io {
        /// The file.
        source_name: Arc<str>,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not what it should be, or is cut off.
    #[error("{source_name}: corrupt or cut off")]
    Corrupt {
        /// The file.
        source_name: Arc<str>,
        /// What the decoder says.
        source: BoxError,
    },
    /// A timestamp that cannot be read as it is.
    #[error(
        "{source_name}: column {} has a timestamp (INT96) before 1677-09-21 or behind 2262-04-11, which nanoseconds \
         cannot hold: write it with a unit of microseconds, or leave the column or such times out of the file",
        column.escape_debug()
    )]
    FarTime {
        /// The file.
        source_name: Arc<str>,
        /// The column.
        column: String,
    },
    /// The input goes beyond its limits.
    #[error("{source_name}: {too_much}")]
    TooMuch {
        /// The file.
        source_name: Arc<str>,
        /// In what.
        too_much: TooMuch,
    },
    /// A bad record, where such are not skipped.
    #[error(transparent)]
    Bad(#[from] BadRecord),
    /// The same key twice in a table, where that is refused.
    #[error("{source_name}: {column} {key} stands twice, in {first} and in {second}")]
    DuplicateKey {
        /// The file.
        source_name: Arc<str>,
        /// The key column.
        column: String,
        /// The key.
        key: String,
        /// Where it stands first.
        first: Place,
        /// Where it stands again.
        second: Place,
    },
    /// An input that is not the one that a checkpoint was made of.
    #[error(
        "{source_name}: it is not the input that the checkpoint was made of: {unlike}; give what was read then, or \
         begin anew without the checkpoint"
    )]
    OtherInput {
        /// The input.
        source_name: Arc<str>,
        /// In what it differs.
        unlike: Unlike,
    },
    /// A table that was not ready when its time was over, or when the input ended.
    #[error("{}", not_ready(source_name, table, *timeout))]
    NotReady {
        /// The file.
        source_name: Arc<str>,
        /// The table. Boxed: it is seldom.
        table: Box<Unready>,
        /// How long was waited; `None` if the input ended.
        timeout: Option<Duration>,
    },
}

fn not_ready(source_name: &str, table: &Unready, timeout: Option<Duration>) -> String {
    let Unready { table, waits_for, rows } = table;
    let came = format!("it waited for {waits_for}, and {} of it came", RowCount(*rows));
    match timeout {
        Some(timeout) => {
            format!(
                "{source_name}: the table {table} was not ready after {timeout:?} (--gate-timeout): {came}"
            )
        }
        None => format!(
            "{source_name}: the messages ended before the table {table} was ready: {came}; write the marker \
             behind its rows, or say when it is ready (--table-ready-after)"
        ),
    }
}

impl ReadError {
    /// The kind of failure.
    #[must_use]
    pub fn category(&self) -> Category {
        match self {
            Self::Io { .. } | Self::NotReady { timeout: Some(_), .. } => Category::Io,
            Self::Corrupt { .. }
            | Self::FarTime { .. }
            | Self::TooMuch { .. }
            | Self::Bad(_)
            | Self::DuplicateKey { .. }
            | Self::OtherInput { .. }
            | Self::NotReady { timeout: None, .. } => Category::Data,
        }
    }

    /// An error of a reader: the system's own errors have a code, those of
    /// decoders have none.
    pub(crate) fn of_io(source_name: &Arc<str>, source: io::Error) -> Self {
        if let Some(too_much) = source.get_ref().and_then(|inner| inner.downcast_ref::<TooMuch>()) {
            return Self::too_much(source_name, *too_much);
        }
        let source_name = Arc::clone(source_name);
        if source.raw_os_error().is_some() {
            Self::Io { source_name, source }
        } else {
            Self::Corrupt { source_name, source: source.into() }
        }
    }

    pub(crate) fn too_much(source_name: &Arc<str>, too_much: TooMuch) -> Self {
        Self::TooMuch { source_name: Arc::clone(source_name), too_much }
    }

    pub(crate) fn other_input(source_name: &Arc<str>, unlike: Unlike) -> Self {
        Self::OtherInput { source_name: Arc::clone(source_name), unlike }
    }

    pub(crate) fn corrupt(source_name: &Arc<str>, source: impl Into<BoxError>) -> Self {
        Self::Corrupt { source_name: Arc::clone(source_name), source: source.into() }
    }
}

/// Why an input could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file is missing or may not be read.
    #[error("cannot open {source_name}")]
    Missing {
        /// The file.
        source_name: Arc<str>,
        /// What the system says.
        source: io::Error,
    },
    /// A directory where a file is needed.
    #[error("cannot open {source_name}: it is a directory")]
    IsDirectory {
        /// The directory.
        source_name: Arc<str>,
    },
    /// Standard input could not be copied to a temporary file, which formats
    /// with their index at the end need.
    #[error("cannot copy {source_name} to a temporary file in {} (TMPDIR)", std::env::temp_dir().display())]
    Spool {
        /// The input.
        source_name: Arc<str>,
        /// What the system says.
        source: io::Error,
    },
    /// A column that must be there is not.
    #[error("{source_name}: no column {column}{}; the columns are: {}", alias_note(aliases), list(found))]
    MissingColumn {
        /// The file.
        source_name: Arc<str>,
        /// The column that is missing.
        column: String,
        /// Other names that it would be read under.
        aliases: Vec<String>,
        /// The columns that are there.
        found: Vec<String>,
    },
    /// Two columns of the same name, or of two names for the same thing.
    #[error("{source_name}: columns {first} and {second} are the same column twice")]
    DuplicateColumn {
        /// The file.
        source_name: Arc<str>,
        /// The name of the first.
        first: String,
        /// The name of the second.
        second: String,
    },
    /// A key column whose type is neither an integer nor text.
    #[error("{source_name}: column {column} has the type {found}, but ids are integers")]
    KeyType {
        /// The file.
        source_name: Arc<str>,
        /// The column.
        column: String,
        /// Its type.
        found: String,
    },
    /// A column that the mode of a table needs is not there.
    #[error(
        "{source_name}: no column {column}, {what}, which the mode of the table needs: add it, or choose \
         another mode (--mode, --version-column); the columns are: {}",
        list(found)
    )]
    ModeColumn {
        /// The file.
        source_name: Arc<str>,
        /// The column.
        column: String,
        /// What it holds.
        what: &'static str,
        /// The columns that are there.
        found: Vec<String>,
    },
    /// A column of a table of which a line of changes can have no values.
    #[error(
        "{source_name}: lines of changes have no values for the column {column} of the table {table}: choose \
         other columns (columns=, --columns)"
    )]
    ChangeColumn {
        /// The file of the changes.
        source_name: Arc<str>,
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Why not.
        source: arrow_schema::ArrowError,
    },
    /// A column of times whose type has none.
    #[error(
        "{source_name}: column {column} has the type {found}, but times are timestamps, integers of \
         nanoseconds or text"
    )]
    TimeType {
        /// The file.
        source_name: Arc<str>,
        /// The column.
        column: String,
        /// Its type.
        found: String,
    },
    /// A column that is to be a key, or a part of one, whose values have no text to
    /// compare.
    #[error("{source_name}: column {column} has the type {found}, but a key is of integers or texts")]
    KeyPartType {
        /// The file.
        source_name: Arc<str>,
        /// The column.
        column: String,
        /// Its type.
        found: String,
    },
    /// A column whose values would come in without a part of theirs.
    #[error(
        "{source_name}: column {column} has the type {found}, which cannot be read without loss: leave it out of \
         the file, or cast it to a text or a number"
    )]
    LossyType {
        /// The file.
        source_name: Arc<str>,
        /// The column.
        column: String,
        /// Its type.
        found: &'static str,
    },
    /// Reading failed right at the start.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl OpenError {
    /// The kind of failure.
    #[must_use]
    pub fn category(&self) -> Category {
        match self {
            Self::Missing { .. } | Self::IsDirectory { .. } => Category::MissingInput,
            Self::ChangeColumn { .. } => Category::Usage,
            Self::Spool { .. } => Category::Io,
            Self::MissingColumn { .. }
            | Self::DuplicateColumn { .. }
            | Self::KeyType { .. }
            | Self::ModeColumn { .. }
            | Self::TimeType { .. }
            | Self::LossyType { .. }
            | Self::KeyPartType { .. } => Category::Data,
            Self::Read(error) => error.category(),
        }
    }
}

fn alias_note(aliases: &[String]) -> String {
    if aliases.is_empty() { String::new() } else { format!(" (also read as {})", aliases.join(", ")) }
}

/// Names in a row.
pub(crate) fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Why an output could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The system does not let it be made.
    #[error("cannot create {target_name}")]
    Io {
        /// The file.
        target_name: Arc<str>,
        /// What the system says.
        source: io::Error,
    },
    /// A column that the format cannot hold.
    #[error("cannot write these columns to {target_name}")]
    Schema {
        /// The file.
        target_name: Arc<str>,
        /// What the encoder says.
        source: BoxError,
    },
    /// A file of a format whose files are whole or nothing, in a run that is kept.
    #[error(
        "{target_name}: with --checkpoint parquet and arrow are written in parts: name a folder, such as trades/"
    )]
    NoFolder {
        /// The file.
        target_name: Arc<str>,
    },
    /// A folder that has parts of another run.
    #[error("{target_name}: the folder has parts of another run: name another one, or move them away")]
    OtherParts {
        /// The folder.
        target_name: Arc<str>,
    },
    /// Dead letters cannot go on in several files.
    #[error(transparent)]
    LetterFiles(#[from] LetterFilesError),
    /// What an earlier run has left is not what its checkpoint tells.
    #[error(transparent)]
    Resume(#[from] ResumeError),
}

impl CreateError {
    /// The kind of failure.
    #[must_use]
    pub fn category(&self) -> Category {
        match self {
            Self::Io { .. } | Self::OtherParts { .. } => Category::CannotCreate,
            Self::Schema { .. } => Category::Data,
            Self::NoFolder { .. } => Category::Usage,
            Self::LetterFiles(error) => error.category(),
            Self::Resume(error) => error.category(),
        }
    }

    /// Whether the reader of the output has gone away.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        is_broken_pipe(self)
    }
}

/// Why writing failed.
#[derive(Debug, Error)]
#[error("cannot write {target_name}")]
pub struct WriteError {
    /// The file, or `standard output`.
    pub target_name: Arc<str>,
    /// What the system or the encoder says.
    pub source: BoxError,
}

impl WriteError {
    /// The kind of failure.
    #[must_use]
    pub fn category(&self) -> Category {
        Category::Io
    }

    /// Whether the reader of the output has gone away: the quiet end of a
    /// command in a pipe.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        is_broken_pipe(self)
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            // What is wrapped in an `io::Error` is not among its sources.
            let inner = io.get_ref().map(|inner| inner as &(dyn Error + 'static));
            return io.kind() == io::ErrorKind::BrokenPipe || inner.is_some_and(is_broken_pipe);
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_pipe_is_seen_through_wrappers() {
        let pipe = || io::Error::from(io::ErrorKind::BrokenPipe);
        let parquet = parquet::errors::ParquetError::from(pipe());
        let arrow = arrow_schema::ArrowError::from(pipe());
        for source in [BoxError::from(pipe()), parquet.into(), arrow.into(), io::Error::other(pipe()).into()]
        {
            assert!(WriteError { target_name: "x".into(), source }.is_broken_pipe());
        }
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(!WriteError { target_name: "x".into(), source: full.into() }.is_broken_pipe());
    }
}
