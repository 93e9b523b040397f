//! The stream: what stands at each position.

use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::SplitMix64;
use tradejoin_model::{Instrument, InstrumentId, Message, Price, Side, Trade, User, UserId};

use crate::error::GeneratorError;
use crate::keys::{KeyDraw, Keys};
use crate::mix::{Mix, Preamble};
use crate::universe::Universe;

/// The time of position 0: 2024-11-01T13:30:00Z, in nanoseconds since
/// 1970-01-01.
const START_NS: i64 = 1_730_467_800_000_000_000;
/// Nanoseconds from a position to the next, on average.
const STEP_NS: i64 = 10_000;
/// Price ticks are cents: units of 10⁻⁹ in one.
const CENT: i128 = 10_000_000;

/// Spreads seeds: a multiplier of Steele and Vigna (2021), none of the constants
/// that seeding itself uses.
const SEED_FACTOR: u64 = 0xd134_2543_de82_ef95;
/// Keeps the draws of rows and of messages apart.
const ROWS_SALT: u64 = 0x5851_f42d_4c95_7f2d;

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
    /// Positions below this are users, those from here to below
    /// `instruments_end` are instruments.
    users_end: u64,
    instruments_end: u64,
    /// Behind the preamble, a draw of 32 bits below this is a user; from here
    /// to below `instrument_threshold`, an instrument.
    user_threshold: u64,
    instrument_threshold: u64,
    unknown_threshold: u64,
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
        let user_threshold = threshold(config.mix.user_share());
        Ok(Self {
            universe: Universe::new(config.seed),
            keys: KeyDraw::new(config.keys, config.ids)?,
            users_end,
            instruments_end: users_end + len(config.mix.first_instruments(), config.ids),
            user_threshold,
            instrument_threshold: user_threshold + threshold(config.mix.instrument_share()),
            unknown_threshold: threshold(config.unknown_share),
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
    pub fn message(&self, position: u64) -> Message {
        let mut rng = self.rng(position);
        if position < self.instruments_end {
            return self.preamble(position, &mut rng);
        }
        let draw = u64::from(rng.next_u32());
        if draw < self.user_threshold {
            let user_id = UserId(rng.random_range(0..self.config.users));
            self.user(user_id, &mut rng)
        } else if draw < self.instrument_threshold {
            let instrument_id = InstrumentId(self.keys.draw(&mut rng));
            self.instrument(instrument_id, &mut rng)
        } else {
            Message::Trade(self.trade(position, &mut rng))
        }
    }

    /// The row that an instrument has in a table of its own.
    #[must_use]
    pub fn instrument_row(&self, id: InstrumentId) -> Instrument {
        let mut rng = self.rng(ROWS_SALT ^ u64::from(id.0));
        Instrument { instrument_id: id, terms: self.universe.terms(&mut rng) }
    }

    /// The row that a user has in a table of its own.
    #[must_use]
    pub fn user_row(&self, id: UserId) -> User {
        let mut rng = self.rng(!ROWS_SALT ^ u64::from(id.0));
        User { user_id: id, username: self.universe.username(&mut rng) }
    }

    /// The generator of a position: independent of all others. A message draws some
    /// eight numbers: a generator whose state is its seed has drawn them before
    /// another one is seeded.
    fn rng(&self, position: u64) -> SplitMix64 {
        // Each draw mixes the state well, but seeds one apart must not make one stream
        // the other's neighbour.
        SplitMix64::seed_from_u64(self.config.seed.wrapping_mul(SEED_FACTOR) ^ position)
    }

    fn preamble(&self, position: u64, rng: &mut SplitMix64) -> Message {
        // A preamble of every id is as long as there are ids: both fit 32 bits.
        if position < self.users_end {
            let id = match self.config.mix.first_users() {
                Preamble::Every => position as u32,
                Preamble::Drawn(_) => rng.random_range(0..self.config.users),
            };
            self.user(UserId(id), rng)
        } else {
            let id = match self.config.mix.first_instruments() {
                Preamble::Every => (position - self.users_end) as u32,
                Preamble::Drawn(_) => self.keys.draw(rng),
            };
            self.instrument(InstrumentId(id), rng)
        }
    }

    fn user(&self, user_id: UserId, rng: &mut SplitMix64) -> Message {
        Message::User(User { user_id, username: self.universe.username(rng) })
    }

    fn instrument(&self, instrument_id: InstrumentId, rng: &mut SplitMix64) -> Message {
        Message::Instrument(Instrument { instrument_id, terms: self.universe.terms(rng) })
    }

    fn trade(&self, position: u64, rng: &mut SplitMix64) -> Trade {
        let known = self.keys.draw(rng);
        let is_unknown = u64::from(rng.next_u32()) < self.unknown_threshold;
        Trade {
            trade_id: position + 1,
            timestamp_ns: START_NS.wrapping_add((position as i64).wrapping_mul(STEP_NS))
                + rng.random_range(0..STEP_NS),
            instrument_id: InstrumentId(if is_unknown { known + self.config.ids } else { known }),
            user_id: UserId(rng.random_range(0..self.config.users)),
            price: Price::from_units(i128::from(rng.random_range(1..=50_000_u32)) * CENT),
            quantity: rng.random_range(1..=100),
            side: Side::ALL[usize::from(rng.random::<bool>())],
        }
    }
}

/// The number below which a draw of 32 bits falls with this probability.
fn threshold(share: f64) -> u64 {
    (share * f64::from(u32::MAX) + share).round() as u64
}
