//! Runs the join: owns every thread, and ends every run in a known state.
//!
//! It takes a source, a sink and the tables, starts a router, N workers and a
//! merger on links between them, and reports what became of every trade. The
//! command calls it, and so does whoever embeds the engine.
//!
//! Guaranteed: the output does not depend on the number of workers, the lengths
//! of batches or the depth of links; a table with a source is complete before
//! the first trade is read; a stage that fails or panics stops all others, and
//! the error names it; a ledger that does not add up is an error.
//!
//! Not here: formats and printing. Beyond its tables a run holds what its links
//! hold: about (workers + 2) × depth batches.
//!
//! ```
//! use tradejoin_engine::{Engine, EngineConfig};
//! use tradejoin_flow::{BoxError, End, Sink, Source};
//! use tradejoin_model::{Enriched, Messages, TableSpec};
//!
//! struct Nothing;
//! impl Source for Nothing {
//!     fn next(&mut self) -> Result<Option<Messages>, BoxError> {
//!         Ok(None)
//!     }
//! }
//! impl Sink for Nothing {
//!     fn write(&mut self, _: &Enriched) -> Result<(), BoxError> {
//!         Ok(())
//!     }
//!     fn finish(&mut self, _: End) -> Result<(), BoxError> {
//!         Ok(())
//!     }
//! }
//!
//! let engine = Engine::new(EngineConfig::new(vec![TableSpec::instruments()]));
//! let report = engine.run(vec![None], Nothing, Nothing)?;
//! assert_eq!(report.ledger.rows_read, 0);
//! # Ok::<(), tradejoin_engine::EngineError>(())
//! ```

mod config;
mod engine;
mod error;
mod load;
mod report;
mod stages;

pub use config::{EngineConfig, Stop};
pub use engine::Engine;
pub use error::{EngineError, Stage};
pub use report::{Monitor, Report, ShardReport, process_cpu};
pub use tradejoin_merger::{Order, Unmatched};
