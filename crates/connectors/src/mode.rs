//! Which row of its key a trade finds, and the columns of a table that say so.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat};
use tradejoin_model::{ChangeKind, INTEGER_NULL, LookUp, ParseFieldError, VALID_FROM, VALID_TO, Validity};

use crate::error::OpenError;
use crate::flaw::{Flaw, Reason};
use crate::header::Header;
use crate::lane_builder::CellText;
use crate::parse;

/// How a table is looked up, and by which of its columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TableMode {
    /// By the order of rows: the last one counts.
    #[default]
    Latest,
    /// As [`TableMode::Latest`], but the row with the highest version counts, an
    /// integer in the column of this name.
    LatestVersion {
        /// The column.
        column: String,
    },
    /// By the time of the trade, in its column `timestamp`, among the rows from
    /// `valid_from` to before `valid_to`. The latter column may be missing.
    AsOf {
        /// How long ago the row may have begun, in nanoseconds.
        tolerance: Option<u64>,
    },
}

impl TableMode {
    /// What the engine is to do.
    #[must_use]
    pub fn look_up(&self) -> LookUp {
        match self {
            Self::Latest => LookUp::Latest,
            Self::LatestVersion { .. } => LookUp::LatestVersion,
            Self::AsOf { tolerance } => LookUp::AsOf { tolerance: *tolerance },
        }
    }

    /// Whether the time of each trade is needed.
    #[must_use]
    pub fn needs_times(&self) -> bool {
        matches!(self, Self::AsOf { .. })
    }

    /// The columns that the mode reads.
    pub(crate) fn columns(&self) -> Vec<&str> {
        match self {
            Self::Latest => vec![],
            Self::LatestVersion { column } => vec![column],
            Self::AsOf { .. } => vec![VALID_FROM, VALID_TO],
        }
    }
}

/// Where the columns of a mode stand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum StampColumns {
    #[default]
    None,
    Version(usize),
    Validity {
        from: usize,
        to: Option<usize>,
    },
}

/// What a row says in the columns of its table's mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stamp {
    None,
    Version(i64),
    Validity(Validity),
}

/// The stamps of rows, by what they say.
#[derive(Debug, Default)]
pub(crate) struct Stamps {
    pub(crate) valid_from: Vec<i64>,
    pub(crate) valid_to: Vec<i64>,
    pub(crate) versions: Vec<i64>,
}

impl Stamps {
    pub(crate) fn push(&mut self, stamp: Stamp) {
        match stamp {
            Stamp::None => {}
            Stamp::Version(version) => self.versions.push(version),
            Stamp::Validity(Validity { from, to }) => {
                self.valid_from.push(from);
                self.valid_to.push(to);
            }
        }
    }
}

impl Stamp {
    /// What, with the key, may stand in a table once.
    pub(crate) fn identity(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Version(version) => version,
            Self::Validity(validity) => validity.from,
        }
    }
}

impl StampColumns {
    /// # Errors
    /// If a column is missing without which the mode means nothing.
    pub(crate) fn find(source_name: &Arc<str>, header: &Header, mode: &TableMode) -> Result<Self, OpenError> {
        let missing = |column: &str, what| OpenError::ModeColumn {
            source_name: Arc::clone(source_name),
            column: column.to_owned(),
            what,
            found: header.names.clone(),
        };
        Ok(match mode {
            TableMode::Latest => Self::None,
            TableMode::LatestVersion { column } => {
                Self::Version(header.find(column).ok_or_else(|| missing(column, "the version of a row"))?)
            }
            TableMode::AsOf { .. } => Self::Validity {
                from: header.find(VALID_FROM).ok_or_else(|| missing(VALID_FROM, AS_OF_ROW))?,
                to: header.find(VALID_TO),
            },
        })
    }

    pub(crate) fn is_read(self, column: usize) -> bool {
        match self {
            Self::None => false,
            Self::Version(place) => place == column,
            Self::Validity { from, to } => from == column || to == Some(column),
        }
    }

    /// What a row says.
    pub(crate) fn read<'a, 'n>(
        self,
        kind: ChangeKind,
        value: &impl Fn(usize) -> CellText<'a>,
        name: &impl Fn(usize) -> &'n str,
    ) -> Result<Stamp, Flaw> {
        let time = |column: usize, open: Option<ParseFieldError>| match value(column) {
            None => Ok(INTEGER_NULL),
            Some(text) => match parse::timestamp(&text) {
                Err(Reason::Field(error)) if Some(error) == open => Ok(INTEGER_NULL),
                time => time.map_err(|reason| Flaw::cell(name(column), &text, reason)),
            },
        };
        match self {
            Self::None => Ok(Stamp::None),
            Self::Version(column) => {
                let text = value(column).ok_or_else(|| Flaw::empty(name(column)))?;
                let version = parse::integer(&text);
                version.map(Stamp::Version).map_err(|reason| Flaw::cell(name(column), &text, reason))
            }
            Self::Validity { from, to } => {
                // No trade is as early or as late as the times that do not fit. A removal
                // without a beginning would take all rows of its key.
                let since_ever = (kind == ChangeKind::Upsert).then_some(ParseFieldError::TimeTooEarly);
                let from = time(from, since_ever)?;
                let for_ever = Some(ParseFieldError::TimeTooLate);
                let validity =
                    Validity { from, to: to.map_or(Ok(INTEGER_NULL), |column| time(column, for_ever))? };
                match to {
                    // Of a row that goes, the beginning is enough.
                    Some(to) if kind == ChangeKind::Upsert && !validity.is_some() => {
                        let text = value(to).unwrap_or_default();
                        Err(Flaw::cell(name(to), &text, Reason::NeverValid { from }))
                    }
                    _ => Ok(Stamp::Validity(validity)),
                }
            }
        }
    }
}

/// What the column `valid_from` is.
pub(crate) const AS_OF_ROW: &str = "the time from which a row is valid";
/// What the column `timestamp` is.
pub(crate) const AS_OF_TRADE: &str = "the time of a trade";

/// When a row is valid, for people.
pub(crate) struct Span(pub(crate) Validity);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Validity { from, to } = self.0;
        match from {
            INTEGER_NULL => f.write_str("since ever")?,
            from => write!(f, "from {}", Time(from))?,
        }
        match to {
            INTEGER_NULL => f.write_str(" on"),
            to => write!(f, " to {}", Time(to)),
        }
    }
}

/// When a row is valid, for people: `from 2024-11-01T00:00:00Z on`.
#[must_use]
pub fn validity_for_people(validity: Validity) -> String {
    Span(validity).to_string()
}

/// A time in nanoseconds, for people: `2024-11-01T13:30:00.5Z`.
#[must_use]
pub fn time_for_people(nanoseconds: i64) -> String {
    Time(nanoseconds).to_string()
}

/// A time, for people.
pub(crate) struct Time(pub(crate) i64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&DateTime::from_timestamp_nanos(self.0).to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}
