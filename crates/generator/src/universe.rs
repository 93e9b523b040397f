//! The instruments and users that there are.

use std::collections::BTreeSet;

use fake::Fake;
use fake::faker::internet::en::Username;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};
use tradejoin_model::{Expiry, OccSymbol, OptionType, Strike, TextView, Ticker};

/// How many tickers instruments are drawn from.
const TICKERS: usize = 512;
/// How many names users are drawn from.
const NAMES: usize = 4_096;
/// The first Friday on which an option expires: 2024-11-08, in days since
/// 1970-01-01.
const FIRST_FRIDAY: i32 = 20_035;
/// How many Fridays there are to expire on: two years.
const FRIDAYS: i32 = 104;
/// The distance of two strikes, in thousandths.
const STRIKE_STEP: u32 = 2_500;
/// How many strikes there are: up to 1,000.
const STRIKES: u32 = 400;

/// Pools of tickers and names, made once from a seed, and the options and users
/// that are drawn from them.
#[derive(Clone, Debug)]
pub struct Universe {
    tickers: Vec<Ticker>,
    expiries: Vec<Expiry>,
    names: Vec<TextView>,
}

impl Universe {
    /// The universe of a seed.
    ///
    /// # Panics
    /// Never: all Fridays are within the range of an expiry.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let friday = |week| Expiry::from_epoch_days(FIRST_FRIDAY + 7 * week).expect("a day in 2024 to 2026");
        Self {
            tickers: tickers(&mut rng),
            expiries: (0..FRIDAYS).map(friday).collect(),
            names: names(&mut rng),
        }
    }

    /// The terms of an option, valid whatever `rng` gives.
    ///
    /// # Panics
    /// Never: the strikes are within those of an option symbol.
    #[must_use]
    pub fn terms(&self, rng: &mut impl Rng) -> OccSymbol {
        let expiry = self.expiries[rng.random_range(0..self.expiries.len())];
        let strike = STRIKE_STEP * rng.random_range(1..=STRIKES);
        OccSymbol {
            ticker: self.tickers[rng.random_range(0..self.tickers.len())],
            expiry,
            option_type: if rng.random() { OptionType::Call } else { OptionType::Put },
            strike: Strike::from_thousandths(strike).expect("at most 1,000"),
        }
    }

    /// The name of a user: at most 23 bytes.
    #[must_use]
    pub fn username(&self, rng: &mut impl Rng) -> TextView {
        self.names[rng.random_range(0..self.names.len())]
    }
}

/// Distinct tickers of 1 to 5 capital letters.
fn tickers(rng: &mut Xoshiro256PlusPlus) -> Vec<Ticker> {
    let mut seen = BTreeSet::new();
    let mut tickers = Vec::with_capacity(TICKERS);
    while tickers.len() < TICKERS {
        let len: usize = (1..=5).fake_with_rng(rng);
        let letters: String =
            (0..len).map(|_| char::from((b'A'..=b'Z').fake_with_rng::<u8, _>(rng))).collect();
        if let Ok(ticker) = letters.parse::<Ticker>()
            && seen.insert(ticker)
        {
            tickers.push(ticker);
        }
    }
    tickers
}

/// Names of users that fit a text view inline.
fn names(rng: &mut Xoshiro256PlusPlus) -> Vec<TextView> {
    let mut names = Vec::with_capacity(NAMES);
    while names.len() < NAMES {
        let name: String = Username().fake_with_rng(rng);
        names.extend(TextView::inline(&name));
    }
    names
}
