//! A checksum over enriched trades, the same from rows and from columns.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, TimestampNanosecondType, UInt8Type, UInt32Type, UInt64Type};
use tradejoin_model::{Column, Enriched, TextColumn, TextView, Trade};

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
/// What the sum so far is multiplied by before the next row: the order counts.
const STEP: u64 = 0xbf58_476d_1ce4_e5b9;
/// In the last word of a text: a text on a heap (see `TextView`).
const LONG: u64 = 0xFF;

/// An order-sensitive checksum over all fields of trades and the texts that
/// were added: for each row a sum of products of two words, each plus a constant
/// (NH of Black, Halevi, Krawczyk, Krovetz and Rogaway, "UMAC", 1999, modulo
/// 2⁶⁴). Not cryptography.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub u64);

impl Digest {
    /// Adds the next trade.
    pub fn add(&mut self, trade: &Trade, symbol: &str, user: Option<&str>) {
        let row = row_digest(trade, symbol.as_bytes(), user.map(str::as_bytes));
        self.0 = self.0.wrapping_mul(STEP).wrapping_add(row);
    }
}

/// The checksum of one row alone, its texts as bytes. The wrapping sum of those of
/// many rows is a checksum that their order does not change.
#[inline]
#[must_use]
pub fn row_digest(trade: &Trade, symbol: &[u8], user: Option<&[u8]>) -> u64 {
    let price = trade.price.units();
    let row = product(trade.trade_id, trade.timestamp_ns as u64, 0)
        .wrapping_add(product(two(trade.instrument_id.0, trade.user_id.0), price as u64, 2))
        .wrapping_add(product((price >> 64) as u64, two(trade.quantity, trade.side as u32), 4))
        .wrapping_add(text_product(words_of(symbol), 6));
    match user {
        Some(user) => row.wrapping_add(text_product(words_of(user), 10)),
        None => row,
    }
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

/// The words of a text: those of its inline view, or a hash of a long one.
fn words_of(text: &[u8]) -> [u64; 3] {
    if text.len() > TextView::INLINE_MAX {
        return hash_of(text);
    }
    let mut words = [0; 3];
    let (chunks, rest) = text.as_chunks();
    for (word, chunk) in words.iter_mut().zip(chunks) {
        *word = u64::from_le_bytes(*chunk);
    }
    words[chunks.len()] = match text.last_chunk() {
        // The last eight bytes, less those that the chunks have: a load and a
        // shift, where a copy of unknown length is a call.
        Some(last) => u64::from_le_bytes(*last).checked_shr(64 - 8 * rest.len() as u32).unwrap_or(0),
        None => rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    };
    words[2] |= (text.len() as u64) << 56;
    words
}

fn hash_of(text: &[u8]) -> [u64; 3] {
    let hash = text.iter().fold(0, |hash: u64, &byte| hash.wrapping_mul(STEP).wrapping_add(u64::from(byte)));
    [hash, text.len() as u64, LONG << 56]
}

/// The digest of some trades in a row, on its own, and how many they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Section {
    digest: Digest,
    rows: u64,
}

impl Digest {
    /// Adds the trades of a section, which come next.
    pub fn append(&mut self, section: &Section) {
        let mut step = 1_u64;
        let (mut power, mut rows) = (STEP, section.rows);
        while rows > 0 {
            if rows % 2 == 1 {
                step = step.wrapping_mul(power);
            }
            power = power.wrapping_mul(power);
            rows /= 2;
        }
        self.0 = self.0.wrapping_mul(step).wrapping_add(section.digest.0);
    }
}

/// The digest of the enriched trades of a batch, whose trades have the columns
/// of [`trade_schema`](tradejoin_model::trade_schema) and which one or two texts
/// were added to: the symbol, and the user's name.
///
/// # Panics
/// If the trades have other columns, or something else was added.
#[must_use]
pub fn digest_enriched(enriched: &Enriched) -> Section {
    let columns = enriched.trades().columns();
    let trade_ids = columns[0].as_primitive::<UInt64Type>().values();
    let timestamps = columns[1].as_primitive::<TimestampNanosecondType>().values();
    let instrument_ids = columns[2].as_primitive::<UInt32Type>().values();
    let user_ids = columns[3].as_primitive::<UInt32Type>().values();
    let prices = columns[4].as_primitive::<Decimal128Type>().values();
    let quantities = columns[5].as_primitive::<UInt32Type>().values();
    let sides = columns[6].as_dictionary::<UInt8Type>().keys().values();
    let texts = |index: usize| match &enriched.columns[index] {
        Column::Text(texts) => texts,
        other => unreachable!("a text was added, not {other:?}"),
    };
    let (symbols, users) = (texts(0), (enriched.columns.len() > 1).then(|| texts(1)));

    let mut section = Section::default();
    for start in (0..trade_ids.len()).step_by(CHUNK_LEN) {
        let rows = start..trade_ids.len().min(start + CHUNK_LEN);
        let mut sums = [0; CHUNK_LEN];
        let sums = &mut sums[..rows.len()];
        // A few columns in each pass: one loop over all has more pointers than there
        // are registers, and takes twice the time.
        let prices = &prices[rows.clone()];
        let times = trade_ids[rows.clone()].iter().zip(&timestamps[rows.clone()]);
        let ids = instrument_ids[rows.clone()].iter().zip(&user_ids[rows.clone()]).zip(prices);
        for ((sum, (&id, &time)), ((&instrument, &user), &price)) in sums.iter_mut().zip(times).zip(ids) {
            let ids = product(two(instrument, user), price as u64, 2);
            *sum = product(id, time as u64, 0).wrapping_add(ids);
        }
        let sizes = quantities[rows.clone()].iter().zip(&sides[rows.clone()]).zip(prices);
        add_texts(
            sums,
            symbols,
            rows.clone(),
            6,
            |((&quantity, &side), &price)| product((price >> 64) as u64, two(quantity, u32::from(side)), 4),
            sizes,
        );
        if let Some(users) = users {
            add_texts(sums, users, rows.clone(), 10, |()| 0, std::iter::repeat(()));
        }
        section.extend(match enriched.kept.as_deref() {
            None => sums,
            Some(kept) => keep(sums, &kept[rows]),
        });
    }
    section
}

/// Rows of one pass: their sums stay in the nearest cache.
const CHUNK_LEN: usize = 1024;

/// Adds the products of texts, and with each `more` of a value.
#[inline]
fn add_texts<T>(
    sums: &mut [u64],
    texts: &TextColumn,
    rows: Range<usize>,
    at: usize,
    more: impl Fn(T) -> u64,
    values: impl Iterator<Item = T>,
) {
    let views = &texts.views()[rows.clone()];
    for (((sum, row), view), value) in sums.iter_mut().zip(rows).zip(views).zip(values) {
        let mut words = view.words();
        if words[2] >> 56 == LONG {
            words = hash_of(texts.get(row).unwrap_or_default());
        }
        *sum = sum.wrapping_add(text_product(words, at)).wrapping_add(more(value));
    }
}

/// The sums of the rows that go on, moved to the front.
fn keep<'a>(sums: &'a mut [u64], kept: &[bool]) -> &'a [u64] {
    let mut count = 0;
    for row in 0..sums.len() {
        sums[count] = sums[row];
        count += usize::from(kept[row]);
    }
    &sums[..count]
}

impl Section {
    /// Adds rows by their sums.
    fn extend(&mut self, rows: &[u64]) {
        const STEPS: [u64; 4] = [
            STEP.wrapping_mul(STEP).wrapping_mul(STEP),
            STEP.wrapping_mul(STEP),
            STEP,
            STEP.wrapping_mul(STEP).wrapping_mul(STEP).wrapping_mul(STEP),
        ];
        let (fours, rest) = rows.as_chunks();
        let mut digest = self.digest.0;
        // Four rows for each turn through the chain of multiplications.
        for &[a, b, c, d] in fours {
            let four = a
                .wrapping_mul(STEPS[0])
                .wrapping_add(b.wrapping_mul(STEPS[1]))
                .wrapping_add(c.wrapping_mul(STEPS[2]).wrapping_add(d));
            digest = digest.wrapping_mul(STEPS[3]).wrapping_add(four);
        }
        digest = rest.iter().fold(digest, |digest, &row| digest.wrapping_mul(STEP).wrapping_add(row));
        self.digest = Digest(digest);
        self.rows += rows.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_has_the_words_of_its_inline_view() {
        let text = "ABCDEFGHIJKLMNOPQRSTUVW";
        for len in 0..=TextView::INLINE_MAX {
            let view = TextView::inline(&text[..len]).expect("short enough");
            assert_eq!(words_of(&text.as_bytes()[..len]), view.words(), "{len} bytes");
        }
    }
}
