//! A checksum over enriched trades, the same from rows and from columns.

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, TimestampNanosecondType, UInt8Type, UInt32Type, UInt64Type};
use tradejoin_model::{Column, Enriched, Price, TextColumn, TextView, Trade};

/// Odd constants without a pattern, one for each word of a row: the outputs of
/// SplitMix64 (Steele, Lea and Flood, 2014).
const FACTORS: [u64; 15] = {
    let mut factors = [0; 15];
    let mut n = 0;
    while n < factors.len() {
        let mut z = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        factors[n] = (z ^ (z >> 31)) | 1;
        n += 1;
    }
    factors
};
/// What the sum so far is multiplied by before the next row: the order counts.
const STEP: u64 = 0xbf58_476d_1ce4_e5b9;
/// In the last word of a text: a text on a heap (see `TextView`).
const LONG: u64 = 0xFF;

/// An order-sensitive checksum over all fields of trades and the texts that
/// were added. Sums of products, not cryptography.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub u64);

impl Digest {
    /// Adds the next trade.
    pub fn add(&mut self, trade: &Trade, symbol: &str, user: Option<&str>) {
        let mut row = 0_u64;
        let price = trade.price.units();
        let quantity = Price::from_whole(trade.quantity).units();
        let words = [
            trade.trade_id,
            trade.timestamp_ns as u64,
            u64::from(trade.instrument_id.0),
            u64::from(trade.user_id.0),
            price as u64,
            (price >> 64) as u64,
            quantity as u64,
            (quantity >> 64) as u64,
            trade.side as u64,
        ];
        for (word, factor) in words.into_iter().zip(FACTORS) {
            row = row.wrapping_add(word.wrapping_mul(factor));
        }
        row = row.wrapping_add(weigh(words_of(symbol.as_bytes()), 9));
        if let Some(user) = user {
            row = row.wrapping_add(weigh(words_of(user.as_bytes()), 12));
        }
        self.push(row);
    }

    #[inline]
    fn push(&mut self, row: u64) {
        self.0 = self.0.wrapping_mul(STEP).wrapping_add(row);
    }
}

/// Three words times their factors, the first at `at`.
#[inline]
fn weigh(words: [u64; 3], at: usize) -> u64 {
    words
        .iter()
        .zip(&FACTORS[at..at + 3])
        .fold(0, |sum, (word, factor)| sum.wrapping_add(word.wrapping_mul(*factor)))
}

/// The words of a text: those of its inline view, or a hash of a long one.
fn words_of(text: &[u8]) -> [u64; 3] {
    if text.len() > TextView::INLINE_MAX {
        return hash_of(text);
    }
    let mut bytes = [0; 24];
    bytes[..text.len()].copy_from_slice(text);
    bytes[23] = text.len() as u8;
    std::array::from_fn(|n| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[8 * n..8 * n + 8]);
        u64::from_le_bytes(word)
    })
}

fn hash_of(text: &[u8]) -> [u64; 3] {
    let hash = text.iter().fold(0, |hash: u64, &byte| hash.wrapping_mul(STEP).wrapping_add(u64::from(byte)));
    [hash, text.len() as u64, LONG << 56]
}

/// The words of a value in a column of texts.
#[inline]
fn words_at(texts: &TextColumn, row: usize) -> [u64; 3] {
    let words = texts.views()[row].words();
    if words[2] >> 56 == LONG { hash_of(texts.get(row).unwrap_or_default()) } else { words }
}

/// Adds the enriched trades of a batch, whose trades have the columns of
/// [`trade_schema`](tradejoin_model::trade_schema) and which one or two texts
/// were added to: the symbol, and the user's name.
///
/// # Panics
/// If the trades have other columns, or something else was added.
pub fn digest_enriched(enriched: &Enriched, digest: &mut Digest) {
    let columns = enriched.trades().columns();
    let trade_ids = columns[0].as_primitive::<UInt64Type>().values();
    let timestamps = columns[1].as_primitive::<TimestampNanosecondType>().values();
    let instrument_ids = columns[2].as_primitive::<UInt32Type>().values();
    let user_ids = columns[3].as_primitive::<UInt32Type>().values();
    let prices = columns[4].as_primitive::<Decimal128Type>().values();
    let quantities = columns[5].as_primitive::<Decimal128Type>().values();
    let sides = columns[6].as_dictionary::<UInt8Type>().keys().values();
    let texts = |index: usize| match &enriched.columns[index] {
        Column::Text(texts) => texts,
        other => unreachable!("a text was added, not {other:?}"),
    };
    let (symbols, users) = (texts(0), (enriched.columns.len() > 1).then(|| texts(1)));

    // One length for all, so that the loop below checks none.
    let rows = trade_ids.len();
    let (timestamps, instrument_ids, user_ids) =
        (&timestamps[..rows], &instrument_ids[..rows], &user_ids[..rows]);
    let (prices, quantities, sides) = (&prices[..rows], &quantities[..rows], &sides[..rows]);
    let mut add = |row: usize| {
        let (price, quantity) = (prices[row], quantities[row]);
        let words = [
            trade_ids[row],
            timestamps[row] as u64,
            u64::from(instrument_ids[row]),
            u64::from(user_ids[row]),
            price as u64,
            (price >> 64) as u64,
            quantity as u64,
            (quantity >> 64) as u64,
            u64::from(sides[row]),
        ];
        let mut sum = weigh(words_at(symbols, row), 9);
        for (word, factor) in words.into_iter().zip(FACTORS) {
            sum = sum.wrapping_add(word.wrapping_mul(factor));
        }
        if let Some(users) = users {
            sum = sum.wrapping_add(weigh(words_at(users, row), 12));
        }
        digest.push(sum);
    };
    match &enriched.kept {
        None => (0..rows).for_each(add),
        Some(kept) => (0..rows).filter(|&row| kept[row]).for_each(&mut add),
    }
}
