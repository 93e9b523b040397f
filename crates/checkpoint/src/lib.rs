//! Keeps what a run needs to go on where it was, in a folder.
//!
//! On the first floor. The engine's [`Keep`](tradejoin_flow::Keep) is a [`Keeper`] here:
//! it takes every change of a table and every cut, and makes a checkpoint of each cut. A
//! later run opens the [`Store`], takes the [`latest`](Store::latest) [`Checkpoint`], and
//! goes on from it.

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

pub use checkpoint::{Checkpoint, PassedOver};
pub use error::{CheckpointError, CheckpointErrorKind};
pub use keeper::{Job, Keeper};
pub use manifest::{EndState, FORMAT, HeldState, Manifest, Segment, TableState};
pub use store::{Listed, Store};
