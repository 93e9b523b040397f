//! Simple programs that do the same join, to measure the engine against.
//!
//! They are those that the project began from, written anew: one thread with a
//! map; two threads over a channel; two threads over a ring buffer; and a join
//! with two tables fed over two rings. Each reads a message at a time and clones
//! the symbol as a `String` for each trade. [`fused`] is none of them: it joins
//! the engine's own blocks in one plain loop over columns, as one would without
//! an engine. The command's `bench` and the benches call them, and give the
//! engine a [`Digesting`] sink, which reads its output as they read theirs.
//!
//! Guaranteed: all but [`two_tables_ring`] see the messages in their order, so
//! that their [`Outcome`] is that of the engine on the same stream, digest
//! included. Symbols are rendered by the same code as the engine's.
//!
//! Not here: anything to run in earnest.
//!
//! ```
//! use tradejoin_baseline::{Tables, maps, naive, threads_ring};
//! use tradejoin_model::{Instrument, InstrumentId, Message, Price, Side, Trade, UserId};
//!
//! let trade = Trade {
//!     trade_id: 1,
//!     timestamp_ns: 0,
//!     instrument_id: InstrumentId(7),
//!     user_id: UserId(1),
//!     price: Price::from_units(2_000_000_000),
//!     quantity: 1,
//!     side: Side::Buy,
//! };
//! let instrument = Instrument { instrument_id: InstrumentId(7), terms: "SPY241103C00200000".parse()? };
//! let messages = [Message::Trade(trade), Message::Instrument(instrument), Message::Trade(trade)];
//!
//! let outcome = naive::<maps::Std>(messages.into_iter(), Tables::Instruments);
//! assert_eq!((outcome.enriched, outcome.unmatched), (1, 1));
//! assert_eq!(threads_ring(messages.into_iter(), Tables::Instruments), outcome);
//! # Ok::<(), tradejoin_model::ParseFieldError>(())
//! ```

mod digest;
mod fused;
mod naive;
mod row;
mod sink;
mod threads;

pub use digest::{Digest, digest_enriched};
pub use fused::fused;
pub use naive::{Outcome, StringMap, Tables, naive};
pub use row::row_digest;
pub use sink::{Digesting, Digests};
pub use threads::{threads_channel, threads_ring, two_tables_ring};

/// The maps that the naive program is measured with.
pub mod maps {
    /// The map of the standard library, with its own hash.
    #[expect(clippy::disallowed_types, reason = "the yardstick is what it is")]
    pub type Std = std::collections::HashMap<u32, String>;
    /// The same map with a faster hash.
    pub type Hashbrown = hashbrown::HashMap<u32, String>;
    /// A map that threads may share.
    pub type Dash = dashmap::DashMap<u32, String>;
}
