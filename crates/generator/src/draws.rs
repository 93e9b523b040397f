//! Where numbers come from: one sequence of words, entered at any position.

use rand::{Rng, SeedableRng};
use rand_xoshiro::SplitMix64;

/// What the state of SplitMix64 grows by from a word to the next.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
/// Words that a position has to itself: the most that a message draws.
const WORDS: u64 = 4;
/// Spreads seeds: a multiplier of Steele and Vigna (2021), none of the constants
/// of SplitMix64.
const SEED_FACTOR: u64 = 0xd134_2543_de82_ef95;

/// One sequence of SplitMix64, in which each position has four words of its own.
///
/// Sequences of different seeds begin at places that are far apart and
/// unrelated, also if the seeds are neighbours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draws {
    start: u64,
}

impl Draws {
    /// The sequences of a seed: of messages, of rows of instruments, of rows of
    /// users.
    pub(crate) fn of_seed(seed: u64) -> [Self; 3] {
        let mut starts = SplitMix64::seed_from_u64(seed.wrapping_mul(SEED_FACTOR));
        std::array::from_fn(|_| Self { start: starts.next_u64() })
    }

    /// The words of a position, of which the first four are its own.
    #[inline]
    pub(crate) fn at(self, position: u64) -> SplitMix64 {
        SplitMix64::seed_from_u64(self.start.wrapping_add(position.wrapping_mul(WORDS.wrapping_mul(GAMMA))))
    }
}

/// A number below `bound` as the high half of a product, and what is left of the
/// word, which is as good as a word of its own.
///
/// A word cut into numbers below bounds of the product `n` favours none of them
/// by more than `n` in 2⁶⁴.
#[inline]
pub(crate) fn cut(word: u64, bound: u32) -> (u32, u64) {
    // One instruction gives both halves.
    let product = u128::from(word) * u128::from(bound);
    ((product >> 64) as u32, product as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_share_no_word() {
        let [messages, ..] = Draws::of_seed(1);
        let mut whole = messages.at(0);
        for position in 0..100 {
            let mut own = messages.at(position);
            (0..WORDS).for_each(|_| assert_eq!(own.next_u64(), whole.next_u64()));
        }
    }

    #[test]
    fn a_word_is_cut_into_every_number_below_a_bound() {
        assert_eq!(cut(0, 7), (0, 0));
        assert_eq!(cut(u64::MAX, 7).0, 6);
        assert_eq!(cut(1 << 63, 7), (3, 1 << 63), "the middle of 7 is half of the fourth");
    }
}
