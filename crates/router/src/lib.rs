//! Finds, for each batch, which shard looks up which rows and applies which
//! changes.
//!
//! The engine calls it between the numbering of a batch and the shards; it
//! calls nothing but the model. Rows are not moved: a shard gets the whole
//! batch and a list of row numbers for each partitioned table.
//!
//! Guaranteed: routing is a pure function of a batch, so any thread may route
//! any batch; every keyed row and every change of a partitioned table goes to
//! exactly one shard, the one that owns its key, or shares an answer that this one
//! gives.
//!
//! Not here: tables, and a promise that a key has the same shard in another
//! build. It costs one hash and one store for each row, and for each change, of a
//! partitioned table, and where rows are not spread evenly one probe for each row.
//!
//! ```
//! use tradejoin_model::{Key, ShardCount, TableSpec};
//! use tradejoin_router::Router;
//!
//! let shards = ShardCount::new(4).expect("within bounds");
//! let router = Router::new(shards, vec![TableSpec::instruments()]);
//! assert!(router.shard_of(Key(1234)).0 < 4);
//! ```

mod hot;
mod router;
mod stretches;

pub use router::Router;
