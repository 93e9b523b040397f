//! The answer of a program: a checksum that the order of its rows does not change.

use serde::{Deserialize, Serialize};
use tradejoin_baseline::row_digest;
#[cfg(any(feature = "timely", feature = "renoir"))]
use tradejoin_model::TextView;
use tradejoin_model::{InstrumentId, Price, Side, Trade, UserId};

/// How many trades were enriched, and the wrapping sum of the checksums of each of
/// them: every field of the trade, and every byte of its symbol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sum {
    pub(crate) rows: u64,
    pub(crate) digest: u64,
}

impl Sum {
    /// Adds a row.
    #[inline]
    pub(crate) fn add(&mut self, trade: &Trade, symbol: &[u8]) {
        self.rows += 1;
        self.digest = self.digest.wrapping_add(row_digest(trade, symbol, None));
    }

    /// Adds the rows of another part.
    pub(crate) fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.digest = self.digest.wrapping_add(other.digest);
    }
}

/// A trade and the symbol that was found for it: what a dataflow hands on.
#[cfg(any(feature = "timely", feature = "renoir"))]
pub(crate) type Row = (Trade, TextView);

/// The columns of trades, of whichever version of Arrow.
#[derive(Clone, Copy)]
pub(crate) struct TradeColumns<'a> {
    pub(crate) ids: &'a [u64],
    pub(crate) times: &'a [i64],
    pub(crate) instruments: &'a [u32],
    pub(crate) users: &'a [u32],
    pub(crate) prices: &'a [i128],
    pub(crate) quantities: &'a [u32],
    pub(crate) sides: &'a [u8],
}

impl TradeColumns<'_> {
    /// The trade of a row.
    #[inline]
    pub(crate) fn trade(&self, row: usize) -> Trade {
        Trade {
            trade_id: self.ids[row],
            timestamp_ns: self.times[row],
            instrument_id: InstrumentId(self.instruments[row]),
            user_id: UserId(self.users[row]),
            price: Price::from_units(self.prices[row]),
            quantity: self.quantities[row],
            side: if self.sides[row] == Side::Buy as u8 { Side::Buy } else { Side::Sell },
        }
    }
}
