//! The stream: what stands at each position.

use rand::Rng;
use rand_xoshiro::SplitMix64;
use tradejoin_model::{Instrument, InstrumentId, Message, Price, Side, Trade, User, UserId};

use crate::days::{Days, Pace, Span};
use crate::draws::{Draws, cut};
use crate::error::GeneratorError;
use crate::keys::{KeyDraw, Keys};
use crate::mix::{Mix, Preamble};
use crate::universe::Universe;

/// The highest price, in cents.
const CENTS_MAX: u32 = 50_000;
/// Units of a price, 10⁻⁹, in a cent.
const CENT: u64 = 10_000_000;
/// The most contracts of a trade.
const QUANTITY_MAX: u32 = 100;

/// What a stream is like.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamConfig {
    /// One seed, one stream.
    pub seed: u64,
    /// The shares of trades and changes.
    pub mix: Mix,
    /// How many instruments there are: ids below this, 1 to 2³⁰.
    pub ids: u32,
    /// How many users there are: ids below this, 1 to 2³⁰.
    pub users: u32,
    /// How the instruments of trades and changes are drawn.
    pub keys: Keys,
    /// The share of trades whose instrument no change ever names, 0 to 1.
    pub unknown_share: f64,
    /// Trading days on which ids mean different contracts; `None` for one day.
    pub days: Option<Days>,
}

impl StreamConfig {
    /// The most instruments or users.
    pub const IDS_MAX: u32 = 1 << 30;
}

impl Default for StreamConfig {
    /// The article's mix with 10,000 ids, drawn uniformly.
    fn default() -> Self {
        Self {
            seed: 1,
            mix: Mix::article(),
            ids: 10_000,
            users: 10_000,
            keys: Keys::Uniform,
            unknown_share: 0.0,
            days: None,
        }
    }
}

/// A stream of messages without an end: a pure function of its configuration
/// and a position.
#[derive(Clone, Debug)]
pub struct Stream {
    config: StreamConfig,
    universe: Universe,
    keys: KeyDraw,
    messages: Draws,
    instrument_rows: Draws,
    user_rows: Draws,
    /// Positions of a day below this are users, those from here to below
    /// `instruments_end` are instruments.
    users_end: u64,
    instruments_end: u64,
    /// Behind the preamble, a draw of 32 bits below this is a user; from here
    /// to below `instrument_threshold`, an instrument.
    user_threshold: u64,
    instrument_threshold: u64,
    unknown_threshold: u64,
    /// An id with a draw below this is given to another contract.
    reused_threshold: u64,
}

impl Stream {
    /// The stream of a configuration.
    ///
    /// # Errors
    /// If a count or share is out of its range.
    pub fn new(config: StreamConfig) -> Result<Self, GeneratorError> {
        for (what, count) in [("instruments", config.ids), ("users", config.users)] {
            if !(1..=StreamConfig::IDS_MAX).contains(&count) {
                return Err(GeneratorError::Count { what, count, max: StreamConfig::IDS_MAX });
            }
        }
        if !(0.0..=1.0).contains(&config.unknown_share) {
            return Err(GeneratorError::Share { what: "unknown instruments", share: config.unknown_share });
        }
        let len = |preamble, every| match preamble {
            Preamble::Drawn(count) => count,
            Preamble::Every => u64::from(every),
        };
        let users_end = len(config.mix.first_users(), config.users);
        let instruments_end = users_end + len(config.mix.first_instruments(), config.ids);
        config.days.map_or(Ok(()), |days| days.check(instruments_end))?;
        let user_threshold = threshold(config.mix.user_share());
        let [messages, instrument_rows, user_rows] = Draws::of_seed(config.seed);
        Ok(Self {
            messages,
            instrument_rows,
            user_rows,
            universe: Universe::new(config.seed),
            keys: KeyDraw::new(config.keys, config.ids)?,
            users_end,
            instruments_end,
            user_threshold,
            instrument_threshold: user_threshold + threshold(config.mix.instrument_share()),
            unknown_threshold: threshold(config.unknown_share),
            reused_threshold: config.days.map_or(0, |days| threshold(days.reused_share)),
            config,
        })
    }

    /// What the stream is like.
    #[must_use]
    pub fn config(&self) -> &StreamConfig {
        &self.config
    }

    /// The message at a position.
    #[must_use]
    #[inline]
    pub fn message(&self, position: u64) -> Message {
        let span = self.span(position);
        if position - span.first < self.instruments_end {
            return self.preamble(&span, position);
        }
        let mut words = self.words(position);
        let first = FirstWord(words.next_u64());
        if self.is_change(first) {
            self.change(&span, first, &mut words)
        } else {
            Message::Trade(self.trade(span.pace, position, first, &mut words))
        }
    }

    /// The day at a position.
    #[inline]
    pub(crate) fn span(&self, position: u64) -> Span {
        Span::at(self.config.days, position)
    }

    /// So many messages at the start of each day are changes, and drawn one by one.
    pub(crate) fn preamble_len(&self) -> u64 {
        self.instruments_end
    }

    /// The words of a position.
    #[inline]
    pub(crate) fn words(&self, position: u64) -> SplitMix64 {
        self.messages.at(position)
    }

    /// Whether a message behind the preamble is a change.
    #[inline]
    pub(crate) fn is_change(&self, first: FirstWord) -> bool {
        first.kind() < self.instrument_threshold
    }

    /// The words of the row that an instrument gets on a day.
    pub(crate) fn row_words(&self, id: InstrumentId, day: u32) -> SplitMix64 {
        // Ids are below 2³⁰.
        self.instrument_rows.at(u64::from(day) << 32 | u64::from(id.0))
    }

    pub(crate) fn reused_threshold(&self) -> u64 {
        self.reused_threshold
    }

    /// Whether trades of instruments that no change names are in the stream.
    pub(crate) fn has_unknown(&self) -> bool {
        self.unknown_threshold > 0
    }

    /// The row that a user has in a table of its own.
    #[must_use]
    pub fn user_row(&self, id: UserId) -> User {
        self.user(id, &mut self.user_rows.at(u64::from(id.0)))
    }

    fn preamble(&self, span: &Span, position: u64) -> Message {
        let mut words = self.words(position);
        let offset = position - span.first;
        // A preamble of every id is as long as there are ids: both fit 32 bits.
        if offset < self.users_end {
            match self.config.mix.first_users() {
                Preamble::Every => Message::User(self.user(UserId(offset as u32), &mut words)),
                Preamble::Drawn(_) => Message::User(self.drawn_user(&mut words)),
            }
        } else {
            let id = InstrumentId((offset - self.users_end) as u32);
            match self.config.mix.first_instruments() {
                Preamble::Every => Message::Instrument(self.changed(span, id, &mut words)),
                Preamble::Drawn(_) => Message::Instrument(self.drawn_instrument(span, &mut words)),
            }
        }
    }

    /// The change of a position whose first word says that it is one.
    #[inline]
    pub(crate) fn change(&self, span: &Span, first: FirstWord, words: &mut SplitMix64) -> Message {
        if first.kind() < self.user_threshold {
            Message::User(self.drawn_user(words))
        } else {
            Message::Instrument(self.drawn_instrument(span, words))
        }
    }

    #[inline]
    fn drawn_user(&self, words: &mut SplitMix64) -> User {
        let (id, _) = cut(words.next_u64(), self.config.users);
        self.user(UserId(id), words)
    }

    #[inline]
    fn drawn_instrument(&self, span: &Span, words: &mut SplitMix64) -> Instrument {
        let (id, _) = self.keys.draw(words.next_u64());
        self.changed(span, InstrumentId(id), words)
    }

    /// What a change says of an instrument: in a stream of days what its id means on
    /// that day, otherwise anything.
    #[inline]
    fn changed(&self, span: &Span, id: InstrumentId, words: &mut SplitMix64) -> Instrument {
        if self.config.days.is_some() { self.instrument_on(id, span.day) } else { self.instrument(id, words) }
    }

    #[inline]
    fn user(&self, user_id: UserId, words: &mut SplitMix64) -> User {
        User { user_id, username: self.universe.username(words) }
    }

    #[inline]
    pub(crate) fn instrument(&self, instrument_id: InstrumentId, words: &mut SplitMix64) -> Instrument {
        Instrument { instrument_id, terms: self.universe.terms(words) }
    }

    #[inline]
    fn trade(&self, pace: Pace, position: u64, first: FirstWord, words: &mut SplitMix64) -> Trade {
        let (known, jitter) = self.key_and_jitter(words.next_u64(), pace);
        let (user_id, cents) = self.user_and_cents(words.next_u64());
        let (quantity, side) = first.quantity_and_side();
        Trade {
            trade_id: trade_id(position),
            timestamp_ns: pace.time_ns(position, jitter),
            instrument_id: InstrumentId(self.unknown_or(known, words)),
            user_id: UserId(user_id),
            price: Price::from_units(i128::from(price(cents))),
            quantity,
            side: Side::ALL[usize::from(side)],
        }
    }

    /// What the second word of a trade says: its instrument, if it is known, and how
    /// long after its position it took place.
    #[inline]
    pub(crate) fn key_and_jitter(&self, word: u64, pace: Pace) -> (u32, u32) {
        let (key, rest) = self.keys.draw(word);
        (key, cut(rest, pace.jitter_ns).0)
    }

    /// What the third word of a trade says.
    #[inline]
    pub(crate) fn user_and_cents(&self, word: u64) -> (u32, u32) {
        let (user, rest) = cut(word, self.config.users);
        (user, 1 + cut(rest, CENTS_MAX).0)
    }

    /// An instrument that no change names in place of a known one, if the fourth word
    /// says so.
    #[inline]
    pub(crate) fn unknown_or(&self, known: u32, words: &mut SplitMix64) -> u32 {
        let is_unknown = self.has_unknown() && words.next_u64() >> 32 < self.unknown_threshold;
        if is_unknown { known + self.config.ids } else { known }
    }
}

/// The first word of a position: what its message is, and if it is a trade, how
/// many contracts and which side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FirstWord(pub(crate) u64);

impl FirstWord {
    /// 32 bits for the thresholds of a stream.
    #[inline]
    pub(crate) fn kind(self) -> u64 {
        self.0 >> 32
    }

    /// From the other 32 bits: none of 200 outcomes is favoured by more than 2⁻²⁴.
    #[inline]
    pub(crate) fn quantity_and_side(self) -> (u32, u8) {
        let number = ((self.0 & u64::from(u32::MAX)) * u64::from(2 * QUANTITY_MAX)) >> 32;
        (1 + (number >> 1) as u32, (number & 1) as u8)
    }
}

#[inline]
pub(crate) fn trade_id(position: u64) -> u64 {
    position + 1
}

/// Units of a price.
#[inline]
pub(crate) fn price(cents: u32) -> u64 {
    u64::from(cents) * CENT
}

/// The number below which a draw of 32 bits falls with this probability.
fn threshold(share: f64) -> u64 {
    (share * f64::from(u32::MAX) + share).round() as u64
}
