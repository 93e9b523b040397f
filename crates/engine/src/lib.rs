//! Runs the join: owns every thread, and ends every run in a known state.
//!
//! It takes a source, a sink and the tables, starts a thread for each shard, and
//! reports what became of every trade. The threads share a board of what is to
//! be done: whoever is free reads, routes, looks up, merges, encodes or writes.
//! The command calls it, and so does whoever embeds the engine.
//!
//! Guaranteed: the output does not depend on the number of workers, the lengths
//! of batches or how many of them are under way; a table with a source is complete before
//! the first trade is read; a stage that fails or panics stops all others, and
//! the error names it; a ledger that does not add up is an error; a run that goes on from
//! a cut of another one ends as that would have ended.
//!
//! Not here: formats and printing. Beyond its tables a run holds the batches that
//! are under way: the workers plus the queue depth.
//!
//! ```
//! use tradejoin_engine::{Engine, EngineConfig};
//! use tradejoin_flow::{Block, BoxError, ForEach, Source};
//! use tradejoin_model::TableSpec;
//!
//! struct Nothing;
//! impl Source for Nothing {
//!     fn next(&mut self) -> Result<Option<Block>, BoxError> {
//!         Ok(None)
//!     }
//! }
//!
//! let engine = Engine::new(EngineConfig::new(vec![TableSpec::instruments()]));
//! let report = engine.run(vec![None], Nothing, ForEach(|_: &_| Ok(())))?;
//! assert_eq!(report.ledger.rows_read, 0);
//! # Ok::<(), tradejoin_engine::EngineError>(())
//! ```

mod budget;
mod clock;
mod config;
mod drive;
mod engine;
mod error;
mod kept;
mod load;
mod pulse;
mod report;
mod run;
mod sync;
mod updates;

pub use budget::{MaxBad, Share, TooManyBad};
pub use clock::Clock;
pub use config::{EngineConfig, Order, Stop};
pub use engine::Engine;
pub use error::{BatchPlace, EngineError, Stage};
pub use kept::{KeepEvery, Keeping, KeptReport};
pub use pulse::{Doing, Pulse};
pub use report::{Monitor, Report, ShardReport, process_cpu, thread_cpu};
pub use tradejoin_merger::{
    CorrectionConfig, Corrections, HoldPeak, Holds, Miss, MissingKey, MissingKeys, RecentPeak,
};
pub use updates::{InEffect, Update, Updates};
