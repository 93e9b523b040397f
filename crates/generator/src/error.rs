//! What cannot be generated.

use thiserror::Error;

/// Why a stream cannot be made.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum GeneratorError {
    /// A mix that is neither known by name nor spelled out.
    #[error(
        "no mix is called {0:?}; there are article, article-users, slow, trades, and custom:KEY=VALUE,..."
    )]
    UnknownMix(String),
    /// A custom mix with a part that cannot be read.
    #[error(
        "{part:?} in a custom mix; write instruments=SHARE, users=SHARE, first-instruments=COUNT or first-users=COUNT, \
         a count also as every"
    )]
    MixPart {
        /// The part.
        part: String,
    },
    /// A part of a custom mix that stands there twice.
    #[error("{0} stands twice in a custom mix")]
    MixKeyTwice(String),
    /// A share outside 0 to 1, or shares that exceed 1 together.
    #[error("the share of {what} is {share}, but shares are 0 to 1, together, too")]
    Share {
        /// What it is the share of.
        what: &'static str,
        /// The share.
        share: f64,
    },
    /// A distribution of keys that cannot be read.
    #[error("{0:?} is no distribution of keys; write uniform or zipf:EXPONENT with an exponent above 0")]
    Keys(String),
    /// A day that ends with its first rows.
    #[error(
        "a day of {len} messages has no room for a trade behind the {first_rows} rows that it begins with; ask for more \
         messages, or fewer days"
    )]
    ShortDay {
        /// Messages of a day.
        len: u64,
        /// Rows at its start.
        first_rows: u64,
    },
    /// No instruments, users or days, or too many.
    #[error("there are {count} {what}, but there must be 1 to {max}")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many were asked for.
        count: u32,
        /// The most that there can be.
        max: u32,
    },
    /// A place to go on from that is behind the last message.
    #[error(
        "{records} messages were generated before, but now there are {messages}: ask for as many as then"
    )]
    Behind {
        /// Messages before the place.
        records: u64,
        /// All that there are.
        messages: u64,
    },
}
