//! Why a run failed.

use std::any::Any;
use std::fmt;

use arrow_schema::ArrowError;
use thiserror::Error;
use tradejoin_flow::BoxError;
use tradejoin_merger::{HeldError, Miss};
use tradejoin_model::{BatchIndex, LedgerError, Position, ShardIndex};

use crate::budget::TooManyBad;

/// A stage of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Asking the source for a block.
    Read,
    /// Decoding a block and routing it.
    Decode,
    /// The look-ups of a shard.
    LookUp(ShardIndex),
    /// Merging answers.
    Merge,
    /// Keeping trades that wait, and those that may be corrected.
    Hold,
    /// Encoding what was merged.
    Encode,
    /// Writing what was encoded.
    Write,
    /// Keeping a checkpoint.
    Keep,
    /// Finding out what to do next.
    Schedule,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read => f.write_str("reading"),
            Self::Decode => f.write_str("decoding"),
            Self::LookUp(shard) => write!(f, "shard {shard}"),
            Self::Merge => f.write_str("merging"),
            Self::Hold => f.write_str("holding"),
            Self::Encode => f.write_str("encoding"),
            Self::Write => f.write_str("writing"),
            Self::Keep => f.write_str("keeping a checkpoint"),
            Self::Schedule => f.write_str("scheduling"),
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
    /// A trade misses in a table whose misses end the run.
    #[error("a trade without a match, and the run was told to fail on one")]
    Miss(#[source] Miss),
    /// Sources have left out more bad records than they may.
    #[error(transparent)]
    TooManyBad(#[from] TooManyBad),
    /// Trades that waited, or are written again, cannot be put together.
    #[error("cannot put held or revised trades together")]
    Hold(#[from] ArrowError),
    /// Where revised trades go failed.
    #[error("cannot write the corrections")]
    Revise(#[source] BoxError),
    /// What a later run would go on from cannot be kept. What was kept before stands.
    #[error("cannot keep a checkpoint")]
    Keep(#[source] BoxError),
    /// The trades that waited in the run before are none of this one.
    #[error("cannot go on with the trades that waited")]
    Held(#[from] HeldError),
    /// A bug: a stage panicked.
    #[error("{stage} failed unexpectedly{}: {message}", batch.map(|batch| batch.to_string()).unwrap_or_default())]
    Panicked {
        /// The stage, and which shard if it is one.
        stage: Stage,
        /// The batch that it was at, if it was at one.
        batch: Option<BatchPlace>,
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

/// A batch, and where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPlace {
    /// Its number, from 0.
    pub index: BatchIndex,
    /// The place of its first message in the sequence, from 0, and how many trades stand
    /// before it; `None` if not all batches before it were decoded.
    pub begins_at: Option<(Position, u64)>,
}

impl fmt::Display for BatchPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " at batch {}", self.index.0)?;
        match self.begins_at {
            Some((position, 1)) => write!(f, ", which begins at position {}, behind 1 trade", position.0),
            Some((position, trades)) => {
                write!(f, ", which begins at position {}, behind {trades} trades", position.0)
            }
            None => Ok(()),
        }
    }
}

/// The error that a panic is.
pub(crate) fn panicked(panic: Box<dyn Any + Send>, stage: Stage) -> EngineError {
    panicked_at(panic, stage, None)
}

/// The error that a panic at a batch is.
pub(crate) fn panicked_at(
    panic: Box<dyn Any + Send>,
    stage: Stage,
    batch: Option<BatchPlace>,
) -> EngineError {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let message = text.or_else(|| panic.downcast_ref::<String>().cloned());
    EngineError::Panicked { stage, batch, message: message.unwrap_or_else(|| "no message".to_owned()) }
}
