//! Makes realistic streams of trades and table changes.
//!
//! The command and the benches call it where there is no file to read; it calls
//! the model, and implements the sources of `flow`.
//!
//! Guaranteed: every message is a pure function of the seed and its position, so
//! that any cut into blocks, made by any number of threads, is the same stream.
//! All terms of options are valid. Memory does not grow with the number of
//! instruments.
//!
//! Not here: files. A message costs a few nanoseconds; names and tickers are
//! drawn from pools made at the start.
//!
//! ```
//! use tradejoin_generator::{Stream, StreamConfig};
//! use tradejoin_model::Message;
//!
//! let stream = Stream::new(StreamConfig::default())?;
//! assert!(matches!(stream.message(0), Message::Instrument(_)));
//! let block = stream.block(0, 8192);
//! assert_eq!(block.lanes[0].len() + block.trades.num_rows(), 8192);
//! # Ok::<(), tradejoin_generator::GeneratorError>(())
//! ```

mod error;

mod draws;
mod keys;
mod mix;

mod universe;

mod days;
mod stream;

mod block;
mod piece;
mod source;

pub use days::Days;
pub use error::GeneratorError;
pub use keys::Keys;
pub use mix::{Mix, Preamble};
pub use source::{GeneratedSource, Progress, ReferenceRows};
pub use stream::{Stream, StreamConfig};
pub use universe::Universe;
