//! What a run knows of a reference table before it has a row of it.

use crate::column::{Column, ColumnType, INTEGER_NULL};
use crate::occ::OccSymbol;
use crate::option::OptionType;
use crate::policy::MissPolicy;
use crate::schema::{INSTRUMENT_ID, USER_ID};
use crate::text::{TextColumn, TextView};

/// How a table is spread over the shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Distribution {
    /// As the engine finds best, which it says at the end of a run.
    #[default]
    Auto,
    /// Each shard owns the rows whose keys hash to it, and no other. For a
    /// table of any size.
    Partitioned,
    /// Each shard sees the whole table. For a small one.
    Broadcast,
}

impl Distribution {
    /// The name of the distribution on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Partitioned => "partitioned",
            Self::Broadcast => "broadcast",
        }
    }
}

/// Which row of its key a trade finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LookUp {
    /// The row as it stands at the trade's position: that of the last change.
    #[default]
    Latest,
    /// As [`LookUp::Latest`], but of the changes before the trade that with the
    /// highest [version](crate::ChangeLane::versions) counts, in whatever order they
    /// came.
    LatestVersion,
    /// The row that is [valid](crate::Validity) at the trade's
    /// [time](crate::Messages::times), among those that the changes before the trade
    /// have made.
    AsOf {
        /// How long ago the row may have begun, in nanoseconds; `None` for as long as
        /// it is valid.
        tolerance: Option<u64>,
    },
}

impl LookUp {
    /// The name that the summary gives it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latest => "latest",
            Self::LatestVersion => "latest-version",
            Self::AsOf { .. } => "as-of",
        }
    }
}

/// A part of an [`OccSymbol`], or the symbol in one of its forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionPart {
    /// `SPY241103C00200000`.
    Compact,
    /// `SPY   241103C00200000`.
    Padded,
    /// The root.
    Ticker,
    /// The strike.
    Strike,
    /// The day of expiry.
    Expiry,
    /// `call` or `put`.
    OptionType,
}

/// Where an output column takes its values from: a field of the changes, by
/// its index in [`ChangeLane::fields`](crate::ChangeLane::fields).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputSource {
    /// The field as it is.
    Field(usize),
    /// A part of a field of options.
    Option(usize, OptionPart),
}

/// A column that a table adds to each trade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputColumn {
    /// The column's name in the output.
    pub name: String,
    /// Where its values come from.
    pub source: OutputSource,
    /// Its type.
    pub column_type: ColumnType,
}

/// A keyed reference table: what joins it to a trade, and what it adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSpec {
    /// The table's name: `instruments`, `users` or another.
    pub name: String,
    /// The column that holds the key, in the table and mostly in the trades; of
    /// more than one, the names with `+` between.
    pub key_column: String,
    /// What the table adds to a trade, in order.
    pub outputs: Vec<OutputColumn>,
    /// How it is spread over the shards.
    pub distribution: Distribution,
    /// Which row of its key a trade finds.
    pub look_up: LookUp,
    /// What becomes of a trade that finds nothing in it.
    pub on_miss: MissPolicy,
}

impl TableSpec {
    /// A table without outputs, spread as the engine finds best.
    #[must_use]
    pub fn new(name: &str, key_column: &str) -> Self {
        Self {
            name: name.to_owned(),
            key_column: key_column.to_owned(),
            outputs: Vec::new(),
            distribution: Distribution::Auto,
            look_up: LookUp::Latest,
            on_miss: MissPolicy::default(),
        }
    }

    /// The instruments table with its compact symbol as `instrument`. Field 0 of its changes is [`Column::Options`].
    #[must_use]
    pub fn instruments() -> Self {
        Self {
            name: "instruments".to_owned(),
            key_column: INSTRUMENT_ID.to_owned(),
            outputs: vec![OutputColumn::option("instrument", OptionPart::Compact)],
            distribution: Distribution::Auto,
            look_up: LookUp::Latest,
            on_miss: MissPolicy::default(),
        }
    }

    /// The users table with `username` as `user`. Field 0 of its changes is the username, a [`Column::Text`].
    #[must_use]
    pub fn users() -> Self {
        Self {
            name: "users".to_owned(),
            key_column: USER_ID.to_owned(),
            outputs: vec![OutputColumn::field("user", 0, ColumnType::Text)],
            distribution: Distribution::Auto,
            look_up: LookUp::Latest,
            on_miss: MissPolicy::default(),
        }
    }
}

impl OutputColumn {
    /// A column with a part of the options in field 0.
    #[must_use]
    pub fn option(name: &str, part: OptionPart) -> Self {
        Self { name: name.to_owned(), source: OutputSource::Option(0, part), column_type: part.column_type() }
    }

    /// A column with the values of a field.
    #[must_use]
    pub fn field(name: &str, field: usize, column_type: ColumnType) -> Self {
        Self { name: name.to_owned(), source: OutputSource::Field(field), column_type }
    }

    /// Renders, for each of `places`, the value at the second for the changes of
    /// a lane with the columns `fields`, to the place in `column` that is the
    /// first. Straight to where it stays: there is no other memory to be written,
    /// and read again by whoever looks after the table.
    ///
    /// # Panics
    /// If `fields` are not those that the column was made for, a bug of the
    /// source; or if a place is out of bounds.
    pub fn render(
        &self,
        fields: &[Column],
        places: impl Iterator<Item = (usize, usize)>,
        column: &mut Column,
    ) {
        match (self.source, column) {
            (OutputSource::Field(field), column) => column.set_all(places, &fields[field]),
            (OutputSource::Option(field, part), column) => match (&fields[field], column) {
                (Column::Options(symbols), Column::Text(texts)) => part.render_text(symbols, places, texts),
                (Column::Options(symbols), Column::Integers(values)) => {
                    places.for_each(|(to, from)| values[to] = part.integer(&symbols[from]));
                }
                _ => unreachable!("a field of options"),
            },
        }
    }
}

impl OptionPart {
    /// The type of a column of such parts.
    #[must_use]
    pub const fn column_type(self) -> ColumnType {
        match self {
            Self::Compact | Self::Padded | Self::Ticker | Self::OptionType => ColumnType::Text,
            Self::Strike => ColumnType::Strike,
            Self::Expiry => ColumnType::Date,
        }
    }

    fn render_text(
        self,
        symbols: &[OccSymbol],
        places: impl Iterator<Item = (usize, usize)>,
        texts: &mut TextColumn,
    ) {
        match self {
            // A loop of its own for what nearly every run asks for.
            Self::Compact => texts.set_views(places.map(|(to, from)| (to, symbols[from].compact()))),
            _ => texts.set_views(places.map(|(to, from)| (to, self.text(&symbols[from])))),
        }
    }

    #[inline]
    fn text(self, symbol: &OccSymbol) -> TextView {
        match self {
            Self::Compact => symbol.compact(),
            Self::Padded => symbol.padded(),
            Self::Ticker => TextView::inline_ascii(symbol.ticker.padded(), symbol.ticker.as_bytes().len()),
            Self::OptionType => match symbol.option_type {
                OptionType::Call => TextView::inline_ascii(b"call", 4),
                OptionType::Put => TextView::inline_ascii(b"put", 3),
            },
            Self::Strike | Self::Expiry => TextView::NULL,
        }
    }

    fn integer(self, symbol: &OccSymbol) -> i64 {
        match self {
            Self::Strike => i64::from(symbol.strike.thousandths()),
            Self::Expiry => i64::from(symbol.expiry.epoch_days()),
            _ => INTEGER_NULL,
        }
    }
}
