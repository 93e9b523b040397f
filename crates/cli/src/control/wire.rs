//! What is asked of a run, and what it answers: a line of JSON each.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    /// To read the files of tables again; of all, if none is named.
    Reload { tables: Vec<String> },
    /// To go back to the generation before.
    Rollback { tables: Vec<String> },
    /// To be shown enriched trades: those for which all conditions hold, of one in so many.
    Tap {
        #[serde(default, rename = "where")]
        conditions: Vec<String>,
        #[serde(default = "all")]
        every: u64,
        limit: Option<u64>,
    },
}

fn all() -> u64 {
    1
}

/// A line of the answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// What has become of tables.
    Tables(Vec<Outcome>),
    /// What was changed is in force behind so many trades, in all tables alike.
    InEffect { trades_before: u64 },
    /// The names of the columns of the rows that follow.
    Columns(Vec<String>),
    /// A trade: a value for each column, as JSON has it.
    Row(Vec<Box<RawValue>>),
    /// So many rows are left out here, since the client was too slow for them.
    Dropped(u64),
    /// No more rows will come.
    End {},
    /// It cannot be done, and this is the exit code of who asked.
    Refused { code: u8, why: String },
}

/// What has become of a table that was to be reloaded or rolled back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) table: String,
    pub(crate) done: Done,
    /// Rows.
    pub(crate) added: u64,
    pub(crate) changed: u64,
    pub(crate) removed: u64,
    /// Why nothing is changed.
    pub(crate) why: Option<String>,
}

/// What was done with a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Done {
    Reloaded,
    RolledBack,
    Unchanged,
    Refused,
}

impl Outcome {
    /// Of a table that stays as it is.
    pub(crate) fn nothing(table: &str, done: Done, why: Option<String>) -> Self {
        Self { table: table.to_owned(), done, added: 0, changed: 0, removed: 0, why }
    }
}
