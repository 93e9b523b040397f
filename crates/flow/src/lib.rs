//! What batches move through: bounded links between threads, and the two ends
//! that a run reads from and writes to.
//!
//! The lowest floor beside `model`. The engine makes links and owns the threads
//! on both sides; generators and connectors implement [`Source`] and [`Sink`].
//!
//! Guaranteed: a link holds at most its depth, and a full one makes its sender
//! wait: nothing is dropped. A link whose other side is gone says so, and a
//! refused item comes back to its caller.
//!
//! Not here: what travels, and threads. This is the one crate that names the
//! channel library.
//!
//! ```
//! use tradejoin_flow::{Depth, link};
//!
//! let (sender, receiver) = link(Depth::new(2).expect("within bounds"));
//! sender.send("batch").expect("the receiver stands");
//! drop(sender);
//! assert_eq!(receiver.recv(), Some("batch"));
//! assert_eq!(receiver.recv(), None);
//! ```

mod ends;
mod link;

pub use ends::{BoxError, End, Sink, Source, TableSource};
pub use link::{Depth, Disconnected, Receiver, Sender, link};
