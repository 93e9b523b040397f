//! The names and types of the columns that the engine knows.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::decimal::{PRICE_PRECISION, PRICE_SCALE};

/// The time zone of every timestamp.
pub const UTC: &str = "UTC";

/// A column that the engine knows by name, in trades or in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownColumn {
    /// Its name.
    pub name: &'static str,
    /// Other names that it is read under.
    pub aliases: &'static [&'static str],
    /// How its values are written.
    pub kind: KnownKind,
}

/// What the values of a [`KnownColumn`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownKind {
    /// The number of a trade: an unsigned integer of 64 bits.
    TradeNumber,
    /// A key: an unsigned integer of 32 bits.
    Id,
    /// An exact decimal.
    Decimal,
    /// A strike.
    Strike,
    /// A day.
    Date,
    /// Call or put.
    OptionType,
    /// An option's root.
    Ticker,
    /// A point in time.
    Timestamp,
    /// True or false.
    Boolean,
    /// Any text.
    Text,
}

const fn column(name: &'static str, aliases: &'static [&'static str], kind: KnownKind) -> KnownColumn {
    KnownColumn { name, aliases, kind }
}

/// The columns of trades: `instrument_id` is required, others pass through.
pub const TRADE_COLUMNS: &[KnownColumn] = &[
    column("trade_id", &[], KnownKind::TradeNumber),
    column(TIMESTAMP, &[], KnownKind::Timestamp),
    column(INSTRUMENT_ID, &[], KnownKind::Id),
    column(USER_ID, &[], KnownKind::Id),
    column("price", &["trade_px", "px"], KnownKind::Decimal),
    column("quantity", &[], KnownKind::Decimal),
    column("side", &[], KnownKind::Text),
];

/// The columns of the instruments table; the first five are required.
pub const INSTRUMENT_COLUMNS: &[KnownColumn] = &[
    column(INSTRUMENT_ID, &[], KnownKind::Id),
    column("ticker", &[], KnownKind::Ticker),
    column("strike", &[], KnownKind::Strike),
    column("expiry", &[], KnownKind::Date),
    column("option_type", &["type", "right"], KnownKind::OptionType),
    column(VALID_FROM, &[], KnownKind::Timestamp),
    column(VALID_TO, &[], KnownKind::Timestamp),
    column("deleted", &[], KnownKind::Boolean),
];

/// The columns of the users table; both are required.
pub const USER_COLUMNS: &[KnownColumn] =
    &[column(USER_ID, &[], KnownKind::Id), column("username", &[], KnownKind::Text)];

/// The column that joins trades to instruments.
pub const INSTRUMENT_ID: &str = "instrument_id";
/// The column that joins trades to users.
pub const USER_ID: &str = "user_id";
/// The column with the time of a trade.
pub const TIMESTAMP: &str = "timestamp";
/// The column of a table with the first time at which a row is valid.
pub const VALID_FROM: &str = "valid_from";
/// The column of a table with the first time at which a row is not valid any more.
pub const VALID_TO: &str = "valid_to";

impl KnownColumn {
    /// Whether `name` is the column's name or one of its aliases.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }
}

impl KnownKind {
    /// The Arrow type of such a column where types are kept.
    #[must_use]
    pub fn arrow(self) -> DataType {
        match self {
            Self::TradeNumber => DataType::UInt64,
            Self::Id => DataType::UInt32,
            Self::Decimal => DataType::Decimal128(PRICE_PRECISION, PRICE_SCALE as i8),
            Self::Strike => crate::column::ColumnType::Strike.arrow(),
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into())),
            Self::Boolean => DataType::Boolean,
            Self::Ticker | Self::OptionType | Self::Text => DataType::Utf8,
        }
    }
}

/// The Arrow schema of trades whose columns are all of [`TRADE_COLUMNS`], in
/// that order: what the generator makes. `quantity` is a whole number, and `side`
/// a dictionary of its two values.
#[must_use]
pub fn trade_schema() -> SchemaRef {
    let field = |column: &KnownColumn| {
        let ty = match column.name {
            "side" => DataType::Dictionary(Box::new(DataType::UInt8), Box::new(DataType::Utf8)),
            "quantity" => DataType::UInt32,
            _ => column.kind.arrow(),
        };
        Field::new(column.name, ty, true)
    };
    Arc::new(Schema::new(TRADE_COLUMNS.iter().map(field).collect::<Vec<_>>()))
}
