//! Why a run failed.

use std::fmt;

use thiserror::Error;
use tradejoin_flow::BoxError;
use tradejoin_model::{LedgerError, ShardIndex};

/// A stage of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading, numbering and routing.
    Ingest,
    /// The worker of a shard.
    Worker(ShardIndex),
    /// Merging and writing.
    Merger,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ingest => f.write_str("the reading side"),
            Self::Worker(shard) => write!(f, "the worker of shard {shard}"),
            Self::Merger => f.write_str("the writing side"),
        }
    }
}

/// Why a run failed. All its threads have ended by then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A source failed.
    #[error("cannot read the input")]
    Source(#[source] BoxError),
    /// The source of a table failed.
    #[error("cannot load the table {table}")]
    TableSource {
        /// The table's name.
        table: String,
        /// Why.
        source: BoxError,
    },
    /// The sink failed.
    #[error("cannot write the enriched trades")]
    Sink(#[source] BoxError),
    /// A bug: a stage panicked.
    #[error("{stage} failed unexpectedly: {message}")]
    Panicked {
        /// The stage.
        stage: Stage,
        /// What it said.
        message: String,
    },
    /// A bug: trades are unaccounted for.
    #[error("the ledger does not add up")]
    Ledger(#[from] LedgerError),
    /// A thread could not be started.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}
