//! The instruments and users that there are.

use std::collections::BTreeSet;

use fake::Fake;
use fake::faker::internet::en::Username;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};
use tradejoin_model::{Expiry, OccSymbol, OptionType, Strike, TextView, Ticker};

use crate::draws::cut;

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
    strikes: Vec<Strike>,
    names: Vec<TextView>,
}

impl Universe {
    /// The universe of a seed.
    ///
    /// # Panics
    /// Never: all Fridays and strikes are within those of an option symbol.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let friday = |week| Expiry::from_epoch_days(FIRST_FRIDAY + 7 * week).expect("a day in 2024 to 2026");
        let strike = |step| Strike::from_thousandths(STRIKE_STEP * step).expect("at most 1,000");
        Self {
            tickers: tickers(&mut rng),
            expiries: (0..FRIDAYS).map(friday).collect(),
            strikes: (1..=STRIKES).map(strike).collect(),
            names: names(&mut rng),
        }
    }

    /// The terms of an option, valid whatever `rng` gives: one word of it.
    #[must_use]
    #[inline]
    pub fn terms(&self, rng: &mut impl Rng) -> OccSymbol {
        // 2²⁵ terms: none is favoured by more than 2⁻³⁸.
        let (ticker, rest) = cut(rng.next_u64(), self.tickers.len() as u32);
        let (expiry, rest) = cut(rest, self.expiries.len() as u32);
        let (strike, rest) = cut(rest, self.strikes.len() as u32);
        OccSymbol {
            ticker: self.tickers[ticker as usize],
            expiry: self.expiries[expiry as usize],
            option_type: if cut(rest, 2).0 == 0 { OptionType::Call } else { OptionType::Put },
            strike: self.strikes[strike as usize],
        }
    }

    /// The name of a user: at most 23 bytes, by one word of `rng`.
    #[must_use]
    #[inline]
    pub fn username(&self, rng: &mut impl Rng) -> TextView {
        self.names[cut(rng.next_u64(), self.names.len() as u32).0 as usize]
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
