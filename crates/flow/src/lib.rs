//! How batches move: the two ends that a run reads from and writes to, and the
//! board that says what is to be done next.
//!
//! The lowest floor beside `model`. Generators and connectors implement
//! [`Source`] and [`Sink`]; the engine's threads share a [`Board`].
//!
//! Guaranteed: no more batches are under way than the board's window; every
//! shard meets all batches in their order; a batch is written once, and with
//! input order in its turn; no thread waits while there is a task that it may
//! take.
//!
//! Not here: threads, locks, and what a task does.
//!
//! ```
//! use tradejoin_flow::{Board, Claim, Task};
//!
//! let mut board: Board<(), Vec<u8>, String> = Board::new(1, 4, true);
//! assert!(matches!(board.claim(0), Claim::Task(Task::Read)));
//! assert!(board.read(0, false).is_none(), "an empty source");
//! assert!(matches!(board.claim(0), Claim::End));
//! ```

mod board;
mod cut;
mod depth;
mod ends;

pub use board::{Board, Claim, Complete, Task};
pub use cut::{
    Cut, Fingerprint, InputPosition, Keep, NothingPrepared, OutputPosition, Prepared, Resume, SourcePosition,
    StagedPart,
};
pub use depth::Depth;
pub use ends::{Block, BoxError, Copied, Encode, End, ForEach, Revise, Sink, Source, TableSource};
