//! A shard: its part of every table, and the look-ups in it.
//!
//! The engine gives a worker each routed batch in turn and passes its answer
//! to the merger; a worker calls nothing but the model. It is a plain value
//! with a step method: threads are added from outside.
//!
//! Guaranteed: a look-up sees exactly the changes that stand before its trade
//! in the sequence; nothing is allocated, rendered or locked for a trade.
//!
//! Not here: which keys a shard owns (the router says), order between shards
//! (the merger's), and files. A look-up costs one probe of the map, and 24
//! bytes for each text that it adds.
//!
//! ```
//! use tradejoin_model::{ShardIndex, TableSpec};
//! use tradejoin_worker::Worker;
//!
//! let worker = Worker::new(ShardIndex(0), &[TableSpec::instruments()]);
//! assert_eq!(worker.memory_bytes(), 0);
//! ```

mod shard_table;
mod worker;

pub use worker::{Worker, WorkerCounts};
