//! A checksum of one enriched trade, for programs that keep no order.

use tradejoin_model::Trade;

use crate::digest::words_of;

/// Constants without a pattern, one for each word of a row: the outputs of
/// SplitMix64 (Steele, Lea and Flood, 2014).
const KEYS: [u64; 14] = {
    let mut keys = [0; 14];
    let mut n = 0;
    while n < keys.len() {
        let mut z = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        keys[n] = z ^ (z >> 31);
        n += 1;
    }
    keys
};

/// The checksum of one row alone, its texts as bytes: a sum of products of two
/// words, each plus a constant (NH of Black, Halevi, Krawczyk, Krovetz and
/// Rogaway, "UMAC", 1999, modulo 2⁶⁴), whose bits are mixed. The wrapping sum of those of many rows is a
/// checksum that their order does not change, and that a text at a wrong trade
/// does. Not cryptography.
#[inline]
#[must_use]
pub fn row_digest(trade: &Trade, symbol: &[u8], user: Option<&[u8]>) -> u64 {
    let price = trade.price.units();
    let row = product(trade.trade_id, trade.timestamp_ns as u64, 0)
        .wrapping_add(product(two(trade.instrument_id.0, trade.user_id.0), price as u64, 2))
        .wrapping_add(product((price >> 64) as u64, two(trade.quantity, trade.side as u32), 4))
        .wrapping_add(text_product(words_of(symbol), 6));
    mixed(match user {
        Some(user) => row.wrapping_add(text_product(words_of(user), 10)),
        None => row,
    })
}

/// Ties the parts of a row together: a sum over rows of plain sums would be the
/// same if two rows swapped their texts.
#[inline]
fn mixed(row: u64) -> u64 {
    let row = (row ^ (row >> 32)).wrapping_mul(0x94d0_49bb_1331_11eb);
    row ^ (row >> 29)
}

/// Two halves as one word.
#[inline]
fn two(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// The product of two words, each plus its constant: those at `at` and behind it.
#[inline]
fn product(first: u64, second: u64, at: usize) -> u64 {
    first.wrapping_add(KEYS[at]).wrapping_mul(second.wrapping_add(KEYS[at + 1]))
}

/// The products of the words of a text, the last with its constant alone.
#[inline]
fn text_product([first, second, third]: [u64; 3], at: usize) -> u64 {
    product(first, second, at).wrapping_add(product(third, 0, at + 2))
}
