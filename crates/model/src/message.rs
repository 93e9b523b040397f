//! One message of the stream as a row: what a generator draws and a
//! row-at-a-time program reads.

use crate::decimal::Price;
use crate::ids::{InstrumentId, UserId};
use crate::occ::OccSymbol;
use crate::text::TextView;

/// Which side of the book a trade took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A buy.
    Buy,
    /// A sell.
    Sell,
}

impl Side {
    /// Both sides, in the order of their codes.
    pub const ALL: [Self; 2] = [Self::Buy, Self::Sell];

    /// `buy` or `sell`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Buy => "buy",
            Self::Sell => "sell",
        }
    }
}

/// A trade that carries only ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trade {
    /// The trade's own number.
    pub trade_id: u64,
    /// When it took place: nanoseconds since 1970-01-01 UTC.
    pub timestamp_ns: i64,
    /// What was traded.
    pub instrument_id: InstrumentId,
    /// By whom.
    pub user_id: UserId,
    /// At what price.
    pub price: Price,
    /// How many contracts.
    pub quantity: u32,
    /// Bought or sold.
    pub side: Side,
}

/// An instrument, or a new version of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instrument {
    /// Its id.
    pub instrument_id: InstrumentId,
    /// Its terms.
    pub terms: OccSymbol,
}

/// A user, or a new version of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's id.
    pub user_id: UserId,
    /// The user's name: at most 23 bytes, inline.
    pub username: TextView,
}

/// One message of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A trade.
    Trade(Trade),
    /// An upsert of the instruments table.
    Instrument(Instrument),
    /// An upsert of the users table.
    User(User),
}
