//! Puts the answers of all shards back at their rows, and accounts for every
//! trade.
//!
//! The engine gives it a batch with all its answers and takes an enriched batch
//! for the sink; it calls nothing but the model.
//!
//! Guaranteed: every trade has one outcome in the ledger, counted here and
//! nowhere else.
//!
//! Not here: look-ups, files, and the order of batches. A text costs 24 bytes to
//! put in its place; a table that is not partitioned costs nothing, its answer
//! is the column.
//!
//! ```
//! use tradejoin_merger::Merger;
//! use tradejoin_model::TableSpec;
//!
//! let mut merger = Merger::new(&[TableSpec::instruments()]);
//! assert!(merger.take_spent().is_none(), "nothing was merged, so no memory is free");
//! ```

mod chunks;
mod misses;
mod missing;
mod rows;
mod stretched;

mod merger;
mod waiting;

mod passed;

mod holds;

mod recent;
mod revisions;

mod corrections;

mod passage;

pub use corrections::{CorrectionConfig, Corrections, RecentPeak};
pub use holds::{HeldError, HoldConfig, HoldPeak, Holds};
pub use merger::{Merged, Merger};
pub use misses::Miss;
pub use missing::{MissedKeys, MissingKey, MissingKeys};
pub use passage::Passage;
pub use passed::Passed;
