//! What can be wrong with a value of the domain.

use thiserror::Error;

/// Why a text is not a valid value of its field.
///
/// The text itself is left to the caller, who also knows the file, the line
/// and the column.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseFieldError {
    /// Not an unsigned integer.
    #[error("not an unsigned integer")]
    NotAnId,
    /// An id of 4,294,967,296 or more.
    #[error("an id has at most 32 bits: 0 to 4294967295")]
    IdTooLarge,
    /// Not a decimal number.
    #[error("not a decimal number")]
    NotADecimal,
    /// A decimal of 10²⁹ or more.
    #[error("a decimal has at most 29 digits before the point")]
    DecimalTooLarge,
    /// A decimal with more digits after the point than its unit has.
    #[error("more than {scale} digits after the point; values are never rounded")]
    TooManyDecimals {
        /// The digits that there is room for.
        scale: u32,
    },
    /// A strike below zero.
    #[error("a strike cannot be negative")]
    NegativeStrike,
    /// A strike that does not fit an OCC symbol.
    #[error("a strike must be below 100000")]
    StrikeTooLarge,
    /// Not a date in one of the forms that are read.
    #[error("not a date; write 2024-11-03, 20241103 or 241103")]
    NotADate,
    /// A date that no calendar has, such as 30 February.
    #[error("no such day in the calendar")]
    NoSuchDay,
    /// An expiry outside the years that an OCC symbol can carry.
    #[error("an expiry must lie in 2000 to 2099")]
    ExpiryOutOfRange,
    /// Neither a call nor a put.
    #[error("not an option type; write call or put (or c or p)")]
    NotAnOptionType,
    /// A ticker that does not fit an OCC symbol.
    #[error("a ticker must have 1 to 6 letters or digits")]
    NotATicker,
    /// Not an OCC symbol.
    #[error("not an OCC symbol: root, YYMMDD, C or P, strike in eight digits")]
    NotAnOccSymbol,
    /// Not a point in time in one of the forms that are read.
    #[error("not a time; write RFC 3339 or integer nanoseconds since 1970-01-01 UTC")]
    NotATime,
    /// A point in time before those that are held.
    #[error(
        "a time cannot be before 1677-09-21T00:12:43.145224193Z, the first that fits 64 bits of nanoseconds"
    )]
    TimeTooEarly,
    /// A point in time behind those that are held.
    #[error(
        "a time cannot be after 2262-04-11T23:47:16.854775807Z, the last that fits 64 bits of nanoseconds"
    )]
    TimeTooLate,
    /// Neither true nor false.
    #[error("not a boolean; write true or false")]
    NotABoolean,
}

/// The code of each variant, and the list of all: one that is forgotten does not compile.
macro_rules! codes {
    ($($variant:pat => $code:literal,)*) => {
        impl ParseFieldError {
            /// All codes.
            pub const CODES: &[&str] = &[$($code),*];

            /// A short name for programs, which stays the same.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self {
                    $($variant => $code,)*
                }
            }
        }
    };
}

codes! {
    Self::NotAnId => "not-an-id",
    Self::IdTooLarge => "id-too-large",
    Self::NotADecimal => "not-a-decimal",
    Self::DecimalTooLarge => "decimal-too-large",
    Self::TooManyDecimals { .. } => "too-many-decimals",
    Self::NegativeStrike => "negative-strike",
    Self::StrikeTooLarge => "strike-too-large",
    Self::NotADate => "not-a-date",
    Self::NoSuchDay => "no-such-day",
    Self::ExpiryOutOfRange => "expiry-out-of-range",
    Self::NotAnOptionType => "not-an-option-type",
    Self::NotATicker => "not-a-ticker",
    Self::NotAnOccSymbol => "not-an-occ-symbol",
    Self::NotATime | Self::TimeTooEarly | Self::TimeTooLate => "not-a-time",
    Self::NotABoolean => "not-a-boolean",
}

/// Why the parts of a batch do not fit together: a bug of its source.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchError {
    /// Columns of different lengths, or more rows than 32 bits can number.
    #[error("columns of a batch differ in length")]
    UnequalLengths,
    /// A lane whose changes are not in order, or behind the last row.
    #[error("changes of a batch are not in order of their rows, or lie beyond row {rows}")]
    ChangeOutOfPlace {
        /// How many trades the batch has.
        rows: usize,
    },
    /// A change whose turn is below that of the change before it at the same row.
    #[error("changes of a batch before one row are not in the order of their turns")]
    TurnFalls,
    /// An upsert whose row is valid at no time.
    #[error("a row of a batch ends at or before its beginning")]
    NeverValid,
}

/// Why a ledger does not add up: a bug of the engine.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LedgerError {
    /// The total.
    #[error("{rows_read} trades were read, but {outcomes} have an outcome")]
    Total {
        /// Trades read.
        rows_read: u64,
        /// The sum of all outcomes.
        outcomes: u64,
    },
    /// One table.
    #[error("{joined} trades were joined, but table {table} was asked for {looked_up}")]
    Table {
        /// The table's index.
        table: usize,
        /// Trades that were not refused.
        joined: u64,
        /// Look-ups that matched or missed.
        looked_up: u64,
    },
}
