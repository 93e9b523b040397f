//! How the keys of trades and changes are drawn.

use std::fmt;
use std::str::FromStr;

use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Zipf};
use rand_xoshiro::SplitMix64;

use crate::draws::cut;
use crate::error::GeneratorError;

/// The distribution of the instruments of trades and changes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Keys {
    /// All are as likely.
    #[default]
    Uniform,
    /// The n-th busiest is drawn in proportion to n to the power of minus this
    /// exponent. Which instruments are busy is spread over all ids.
    Zipf(f64),
}

impl FromStr for Keys {
    type Err = GeneratorError;

    /// Reads `uniform` and `zipf:EXPONENT`.
    ///
    /// # Errors
    /// If it is neither, or the exponent is no number above 0.
    fn from_str(text: &str) -> Result<Self, GeneratorError> {
        let exponent = |text: &str| text.parse::<f64>().ok().filter(|e| e.is_finite() && *e > 0.0);
        match text.split_once(':') {
            None if text == "uniform" => Ok(Self::Uniform),
            Some(("zipf", text)) if exponent(text).is_some() => Ok(Self::Zipf(exponent(text).unwrap_or(1.0))),
            _ => Err(GeneratorError::Keys(text.to_owned())),
        }
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf(exponent) => write!(f, "zipf:{exponent}"),
        }
    }
}

/// Draws ids below a count.
#[derive(Clone, Debug)]
pub(crate) struct KeyDraw {
    count: u32,
    zipf: Option<Zipf<f64>>,
    /// Coprime to `count`: rank × stride modulo count visits every id once.
    stride: u64,
}

impl KeyDraw {
    /// Draws from `0..count`, which is not empty.
    pub(crate) fn new(keys: Keys, count: u32) -> Result<Self, GeneratorError> {
        let zipf = match keys {
            Keys::Uniform => None,
            Keys::Zipf(exponent) => {
                let zipf = Zipf::new(f64::from(count), exponent);
                Some(zipf.map_err(|_| GeneratorError::Keys(keys.to_string()))?)
            }
        };
        // The golden ratio of the count spreads neighbouring ranks widely.
        let golden = (f64::from(count) * 0.618_033_988_75) as u64;
        let stride = (golden.max(1)..).find(|&n| gcd(n, u64::from(count)) == 1).unwrap_or(1);
        Ok(Self { count, zipf, stride })
    }

    /// An id, and what is left of the word.
    #[inline]
    pub(crate) fn draw(&self, word: u64) -> (u32, u64) {
        match &self.zipf {
            None => cut(word, self.count),
            Some(zipf) => self.skewed(zipf, word),
        }
    }

    /// Zipf's distribution rejects some draws, so that a word is the seed of as many
    /// as it takes.
    fn skewed(&self, zipf: &Zipf<f64>, word: u64) -> (u32, u64) {
        let mut words = SplitMix64::seed_from_u64(word);
        // Ranks are 1 to the count, as floats that are whole.
        let rank = (zipf.sample(&mut words) as u64).saturating_sub(1);
        ((rank * self.stride % u64::from(self.count)) as u32, words.next_u64())
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rank_has_an_id_of_its_own() {
        for count in [1, 2, 7, 10_000] {
            let draw = KeyDraw::new(Keys::Uniform, count).expect("a distribution");
            let mut ids: Vec<u64> =
                (0..u64::from(count)).map(|rank| rank * draw.stride % u64::from(count)).collect();
            ids.sort_unstable();
            assert!(ids.into_iter().eq(0..u64::from(count)));
        }
    }

    #[test]
    fn zipf_has_busy_keys_and_uniform_has_none() {
        let busiest = |keys| {
            let draw = KeyDraw::new(keys, 1_000).expect("a distribution");
            let mut words = SplitMix64::seed_from_u64(7);
            let mut counts = vec![0_u32; 1_000];
            (0..100_000).for_each(|_| counts[draw.draw(words.next_u64()).0 as usize] += 1);
            counts.into_iter().max().unwrap_or_default()
        };
        // Of 1,000 keys with exponent 1 the first has a share of 1 / H(1000),
        // about 13 %; uniform keys have 100 draws each, give or take 10.
        assert!((12_000..15_000).contains(&busiest(Keys::Zipf(1.0))));
        assert!(busiest(Keys::Uniform) < 160);
    }

    #[test]
    fn every_rank_has_its_share() {
        for exponent in [0.5, 1.0, 1.3] {
            let count = 1_000;
            let draw = KeyDraw::new(Keys::Zipf(exponent), count).expect("a distribution");
            let draws = 1_000_000;
            let mut counts = vec![0_u32; count as usize];
            let mut words = SplitMix64::seed_from_u64(7);
            (0..draws).for_each(|_| counts[draw.draw(words.next_u64()).0 as usize] += 1);
            let weight = |rank: u64| (rank as f64 + 1.0).powf(-exponent);
            let weights: f64 = (0..u64::from(count)).map(weight).sum();
            let chi_square: f64 = (0..u64::from(count))
                .map(|rank| {
                    let expected = f64::from(draws) * weight(rank) / weights;
                    let counted = counts[(rank * draw.stride % u64::from(count)) as usize];
                    (f64::from(counted) - expected).powi(2) / expected
                })
                .sum();
            // The mean of a chi-square is its degrees of freedom, its variance twice that.
            let freedom = f64::from(count) - 1.0;
            assert!((chi_square - freedom).abs() < 6.0 * (2.0 * freedom).sqrt(), "{exponent}: {chi_square}");
        }
    }

    #[test]
    fn names_are_read_as_they_are_shown() {
        for text in ["uniform", "zipf:1.1"] {
            assert_eq!(text.parse::<Keys>().map(|keys| keys.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "zipf", "zipf:0", "zipf:-1", "zipf:x", "zipf:inf", "normal:1"] {
            assert!(text.parse::<Keys>().is_err(), "{text}");
        }
    }
}
