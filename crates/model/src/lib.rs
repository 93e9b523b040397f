//! The words of the domain: ids, units, option symbols, reference columns,
//! batches and the ledger.
//!
//! The lowest floor: it calls nothing of this workspace, and every other crate
//! speaks in its types.
//!
//! Guaranteed: a value that exists is valid (an [`Expiry`] lies in 2000 to 2099,
//! a [`Strike`] fits its symbol); no price passes through a float; nothing is
//! rounded. An answer's text is 24 bytes that are moved, never allocated.
//!
//! Not here: files, threads, hashing, and any knowledge of how keys are spread
//! over shards.
//!
//! ```
//! use tradejoin_model::{Expiry, OccSymbol, OptionType, Strike, Ticker};
//!
//! let symbol = OccSymbol {
//!     ticker: "SPY".parse::<Ticker>()?,
//!     expiry: "2024-11-03".parse::<Expiry>()?,
//!     option_type: OptionType::Call,
//!     strike: "200".parse::<Strike>()?,
//! };
//! assert_eq!(symbol.to_string(), "SPY241103C00200000");
//! # Ok::<(), tradejoin_model::ParseFieldError>(())
//! ```

mod error;
mod ids;
mod index;

mod decimal;
mod option;
mod policy;
mod text;

mod occ;

mod column;
mod schema;
mod table;

mod history;

mod effects;

mod batch;
mod chains;
mod held;
mod key_numbers;
mod keyed;
mod keys;
mod ledger;
mod message;
mod refused;
mod revised;
mod routed;
mod stretches;
mod turns;

mod as_of;
mod versioned;

mod stored;

pub use batch::{Batch, ChangeKind, ChangeLane, DeadLetter, Enriched, Messages};
pub use column::{Column, ColumnType, INTEGER_NULL};
pub use decimal::{PRICE_PRECISION, PRICE_SCALE, Price, Strike};
pub use effects::{Effect, Effects, Now};
pub use error::{BatchError, LedgerError, ParseFieldError};
pub use held::{Held, HeldRows, HeldTrade, RecentTrade, RecentTrades, Written};
pub use history::{History, Overlap, Validity};
pub use ids::{BatchIndex, InstrumentId, Key, Position, ShardCount, ShardIndex, TableIndex, UserId};
pub use index::SlotIndex;
pub use keyed::{Found, IN_GENERATION, KeyedTable, MISS, Slot};
pub use keys::{ChangeKeys, Keys, OwnedKey};
pub use ledger::{HoldLedger, Ledger, TableLedger};
pub use message::{Instrument, Message, Side, Trade, User};
pub use occ::OccSymbol;
pub use option::{Expiry, OptionType, Ticker};
pub use policy::{Expired, Hold, HoldLimit, MissPolicy, Verdict};
pub use refused::Refused;
pub use revised::{CorrectionLedger, Revised, RevisionReason};
pub use routed::{Answer, Appeared, Partition, Repeat, Repeats, Routed, Selections, TableAnswer, TableRoute};
pub use schema::{
    INSTRUMENT_COLUMNS, INSTRUMENT_ID, KnownColumn, KnownKind, TIMESTAMP, TRADE_COLUMNS, USER_COLUMNS,
    USER_ID, UTC, VALID_FROM, VALID_TO, trade_schema,
};
pub use stored::{Applied, StoredTable};
pub use stretches::{ByTime, Parts, Stretch, Stretches};
pub use table::{Distribution, LookUp, OptionPart, OutputColumn, OutputSource, TableSpec};
pub use text::{TextColumn, TextView};
pub use turns::Turns;
