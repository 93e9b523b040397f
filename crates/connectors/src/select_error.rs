//! Why columns cannot be added.

use thiserror::Error;

use crate::error::{Category, list};

/// Why the columns that were asked for cannot be added.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SelectError {
    /// No table has such a column.
    #[error("no column {name:?} to add; there are: {}", list(known))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What can be asked for, as TABLE.NAME.
        known: Vec<String>,
    },
    /// More than one table has such a column.
    #[error("more than one table has a column {name:?}: write one of {}", list(choices))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// The columns of that name, as TABLE.NAME.
        choices: Vec<String>,
    },
    /// The output has such a column already.
    #[error(
        "the output has a column {name:?} already: give the added one another name, as in \"{request} as NAME\""
    )]
    Collision {
        /// The name.
        name: String,
        /// The column that was asked for.
        request: String,
    },
}

impl SelectError {
    /// The kind of failure.
    #[must_use]
    pub fn category(&self) -> Category {
        Category::Usage
    }
}
