//! Puts the answers of all shards back at their rows, batch by batch.
//!
//! The engine gives it each answer as it comes and takes out enriched batches
//! for the sink; it calls nothing but the model.
//!
//! Guaranteed: with input order, batches come out in the order of their
//! positions; every trade has one outcome in the ledger, counted here and
//! nowhere else.
//!
//! Not here: look-ups and files. It holds the batches that wait for an answer:
//! no more than the links to the shards can hold. A text costs 24 bytes to put
//! in its place; a table that is not partitioned costs nothing, its answer is
//! the column.
//!
//! ```
//! use tradejoin_merger::{Merger, Order, Unmatched};
//! use tradejoin_model::TableSpec;
//!
//! let mut merger = Merger::new(&[TableSpec::instruments()], Order::Input, Unmatched::Drop);
//! assert!(merger.pop().is_none());
//! assert_eq!(merger.ledger().check(), Ok(()));
//! ```

mod merge;
mod merger;

pub use merger::{Merger, Order, Unmatched};
