//! Keeps what a run needs to go on where it was, in a folder.
//!
//! On the first floor. The engine's [`Keep`](tradejoin_flow::Keep) is a [`Keeper`] here:
//! it takes every change of a table, in the order of the sequence, and makes a checkpoint
//! of each cut. A later run opens the [`Store`], takes the [`latest`](Store::latest)
//! [`Checkpoint`], makes its tables of the changes that it holds, and goes on from it, with
//! any number of workers: state is kept by key.
//!
//! # The folder
//!
//! - `manifest-E.json`: checkpoint E, from 1. A [`Manifest`] as JSON, with the hash of all
//!   bytes before it as its last member. It names all other files, with length and hash.
//! - `table-T-E-N.arrow`: changes of table T, an Arrow stream: `key` (`UInt32` or
//!   `LargeBinary`); `deleted`, if some are; `valid_from`, `valid_to` and `version`
//!   (`Int64`, the smallest one being none), if there are; and the fields by number, texts
//!   as `LargeBinary`, integers as `Int64` (the smallest one is null), options as 15 bytes:
//!   root, days since 1970 (4 bytes), `C` or `P`, thousandths of the strike (4 bytes),
//!   lowest byte first. Each checkpoint adds one with what has changed since the one
//!   before. While the last has at least half as many changes as the one before it, they
//!   are put together, and if that takes in the first one, what means nothing any more is
//!   left out: so there are few, and a change is written a few times.
//! - `held-E.arrow`: the trades that wait, in Arrow streams one after the other: the
//!   trades, then for each chunk of rows the trades' own columns, and their keys with what
//!   tables add. In a run that writes trades again, those that may be in the same form, and
//!   those that wait once more, with what they find by now.
//! - `kept`, an empty file that says that there has been a checkpoint.
//! - `lock`, which a run holds, and `manifest.tmp`, a manifest that is not whole.
//!
//! Every hash is XXH64 with seed 0. No file is written to once it is whole, and no name is
//! used that has not just this form.
//!
//! # The order of a commit
//!
//! The output is made durable; then the changes and the trades that wait are written and
//! synced; then the manifest, under its temporary name; then the folder, so that the names
//! of all of them are there; then the manifest gets its name, and the folder is synced
//! again. **From here on the checkpoint counts.** Behind the first one `kept` is made, and the
//! folder is synced once more; a run that goes on makes it where it is missing. Then the output
//! is published, and older checkpoints go, with the files that no other one needs.
//!
//! Guaranteed: whatever ends a run, and wherever, the latest checkpoint is the last one
//! that was told to be kept, or the one behind it. One that is damaged is passed over, and
//! told; if none is whole, or all manifests are gone, there is an error, never an empty
//! beginning: but for manifests that go when a run has died between its first one and `kept`,
//! and before the next one, which nobody misses. Nothing is tried again that has failed, and
//! after an error nothing is cleaned up.
//!
//! Not here: when a checkpoint is due, and whether inputs and outputs still are what it
//! says. Compaction takes memory for the keys of its table, once in a while.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::path::Path;
//! use std::sync::Arc;
//!
//! use tradejoin_checkpoint::{Job, Store};
//! use tradejoin_disk::SimulatedDisk;
//! use tradejoin_flow::{Cut, End, Keep as _, NothingPrepared, SourcePosition};
//! use tradejoin_model::{Ledger, Position};
//!
//! let disk = SimulatedDisk::new();
//! let job = Job { query: BTreeMap::new(), tables: Vec::new(), keep: 2 };
//! let store = Store::open(Arc::new(disk.clone()), Path::new("checkpoints"))?;
//! assert!(store.latest()?.is_none());
//! let mut keeper = store.begin(job, None)?;
//! let cut = Cut {
//!     source: SourcePosition::default(),
//!     trades: 0,
//!     position: Position(0),
//!     ledger: Ledger::new(0),
//!     bad: BTreeMap::new(),
//!     held: None,
//!     output: Box::new(NothingPrepared),
//!     end: Some(End::Complete),
//! };
//! keeper.keep(cut).expect("it is kept");
//!
//! let crashed = disk.crash(7);
//! let store = Store::open(Arc::new(crashed), Path::new("checkpoints"))?;
//! let latest = store.latest()?.expect("what was kept is there");
//! assert_eq!((latest.manifest().epoch, latest.resume()?.trades), (1, 0));
//! # Ok::<(), tradejoin_checkpoint::CheckpointError>(())
//! ```

mod error;
mod hash;
mod names;

mod manifest;

mod lanes;
mod segment;

mod compact;
mod held;
mod log;

mod checkpoint;
mod keeper;
mod store;

pub use checkpoint::{Checkpoint, PassedOver, TRADE_COLUMNS};
pub use error::{CheckpointError, CheckpointErrorKind};
pub use keeper::{Job, Keeper};
pub use manifest::{EndState, FORMAT, HeldState, Manifest, Segment, TableState};
pub use store::{Listed, Store};
