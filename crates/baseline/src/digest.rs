//! A checksum over enriched trades, the same from rows and from columns.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, TimestampNanosecondType, UInt8Type, UInt32Type, UInt64Type};
use tradejoin_model::{Column, Enriched, TextColumn, TextView, Trade};

/// Words of a row: eight of the trade's fields, three of the symbol, three of the
/// user's name.
const WORDS: usize = 14;
const SYMBOL: usize = 8;
const USER: usize = 11;
/// In the last word of a text: a text on a heap (see [`TextView`]).
const LONG: u64 = 0xFF;
/// What a long text is multiplied by for each byte.
const STEP: u64 = 0xbf58_476d_1ce4_e5b9;

/// An order-sensitive checksum over all fields of trades and the texts that
/// were added. Of each word of a row it has the sum over all rows, and the sum
/// of these sums, modulo 2⁶⁴ (Fletcher, "An Arithmetic Checksum for Serial
/// Transmissions", 1982, with words of 64 bits): what stands in a row, and where.
/// It finds any one wrong or misplaced value, and is no cryptography.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    rows: u64,
    words: [Sums; WORDS],
}

/// The sums of one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    sum: u64,
    /// Of what `sum` was after each row.
    of_sums: u64,
}

impl Sums {
    #[inline]
    fn push(&mut self, word: u64) {
        self.sum = self.sum.wrapping_add(word);
        self.of_sums = self.of_sums.wrapping_add(self.sum);
    }

    /// Adds those of the next `rows` rows.
    fn append(&mut self, next: Self, rows: u64) {
        let before = self.sum.wrapping_mul(rows);
        self.of_sums = self.of_sums.wrapping_add(before).wrapping_add(next.of_sums);
        self.sum = self.sum.wrapping_add(next.sum);
    }
}

impl Digest {
    /// Adds the next trade.
    #[inline]
    pub fn add(&mut self, trade: &Trade, symbol: &str, user: Option<&str>) {
        let [s0, s1, s2] = words_of(symbol.as_bytes());
        let [price, price_high] = halves(trade.price.units());
        let [id, time] = [trade.trade_id, trade.timestamp_ns as u64];
        let [instrument, by] = [trade.instrument_id.0, trade.user_id.0].map(u64::from);
        let [quantity, side] = [u64::from(trade.quantity), trade.side as u64];
        self.push([id, time, instrument, by, price, price_high, quantity, side, s0, s1, s2]);
        if let Some(user) = user {
            self.push_user(words_of(user.as_bytes()));
        }
    }

    #[inline]
    fn push(&mut self, row: [u64; USER]) {
        self.rows += 1;
        self.words.iter_mut().zip(row).for_each(|(sums, word)| sums.push(word));
    }

    /// Adds the name of the user of the row before.
    #[inline]
    fn push_user(&mut self, user: [u64; 3]) {
        self.words[USER..].iter_mut().zip(user).for_each(|(sums, word)| sums.push(word));
    }

    /// Adds the trades of another, which come next.
    pub fn append(&mut self, next: &Self) {
        self.words.iter_mut().zip(next.words).for_each(|(sums, word)| sums.append(word, next.rows));
        self.rows += next.rows;
    }
}

/// A price as two words.
#[inline]
fn halves(price: i128) -> [u64; 2] {
    [price as u64, (price >> 64) as u64]
}

/// The words of a text: those of its inline view, or a hash of a long one.
#[inline]
pub(crate) fn words_of(text: &[u8]) -> [u64; 3] {
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

/// The digest of the enriched trades of a batch, whose trades have the columns
/// of [`trade_schema`](tradejoin_model::trade_schema) and which one or two texts
/// were added to: the symbol, and the user's name.
///
/// # Panics
/// If the trades have other columns, or something else was added.
#[must_use]
pub fn digest_enriched(enriched: &Enriched) -> Digest {
    let columns = Columns::of(enriched);
    let rows = enriched.trades().num_rows();
    let Some(kept) = enriched.kept.as_deref() else { return columns.digest(0..rows) };
    let mut digest = Digest::default();
    let mut start = 0;
    for run in kept.chunk_by(|one, next| one == next) {
        if run[0] {
            digest.append(&columns.digest(start..start + run.len()));
        }
        start += run.len();
    }
    digest
}

/// The columns of an enriched batch.
struct Columns<'a> {
    trade_ids: &'a [u64],
    timestamps: &'a [i64],
    instrument_ids: &'a [u32],
    user_ids: &'a [u32],
    prices: &'a [i128],
    quantities: &'a [u32],
    sides: &'a [u8],
    symbols: &'a TextColumn,
    users: Option<&'a TextColumn>,
}

impl<'a> Columns<'a> {
    /// Rows below which the loops of the columns are not worth their start.
    const FEW: usize = 16;

    fn of(enriched: &'a Enriched) -> Self {
        let columns = enriched.trades().columns();
        let texts = |index: usize| match &enriched.columns[index] {
            Column::Text(texts) => texts,
            other => unreachable!("a text was added, not {other:?}"),
        };
        Self {
            trade_ids: columns[0].as_primitive::<UInt64Type>().values(),
            timestamps: columns[1].as_primitive::<TimestampNanosecondType>().values(),
            instrument_ids: columns[2].as_primitive::<UInt32Type>().values(),
            user_ids: columns[3].as_primitive::<UInt32Type>().values(),
            prices: columns[4].as_primitive::<Decimal128Type>().values(),
            quantities: columns[5].as_primitive::<UInt32Type>().values(),
            sides: columns[6].as_dictionary::<UInt8Type>().keys().values(),
            symbols: texts(0),
            users: (enriched.columns.len() > 1).then(|| texts(1)),
        }
    }

    fn texts(&self) -> impl Iterator<Item = &TextColumn> {
        std::iter::once(self.symbols).chain(self.users)
    }

    /// Some rows, a column at a time if that pays and all texts are inline.
    fn digest(&self, rows: Range<usize>) -> Digest {
        if rows.len() < Self::FEW || !self.texts().all(TextColumn::is_inline) {
            return self.digest_rows(rows);
        }
        let mut digest = Digest { rows: rows.len() as u64, ..Digest::default() };
        let words = &mut digest.words;
        words[0..1].copy_from_slice(&sums::<8, 1, _>(&self.trade_ids[rows.clone()], |&id| [id]));
        words[1..2].copy_from_slice(&sums::<8, 1, _>(&self.timestamps[rows.clone()], |&time| [time as u64]));
        words[2..3]
            .copy_from_slice(&sums::<8, 1, _>(&self.instrument_ids[rows.clone()], |&id| [u64::from(id)]));
        words[3..4].copy_from_slice(&sums::<8, 1, _>(&self.user_ids[rows.clone()], |&id| [u64::from(id)]));
        words[4..6].copy_from_slice(&sums::<4, 2, _>(&self.prices[rows.clone()], |&price| halves(price)));
        words[6..7]
            .copy_from_slice(&sums::<8, 1, _>(&self.quantities[rows.clone()], |&size| [u64::from(size)]));
        words[7..8].copy_from_slice(&sums::<8, 1, _>(&self.sides[rows.clone()], |&side| [u64::from(side)]));
        words[SYMBOL..USER]
            .copy_from_slice(&sums::<2, 3, _>(&self.symbols.views()[rows.clone()], TextView::words));
        if let Some(users) = self.users {
            words[USER..].copy_from_slice(&sums::<2, 3, _>(&users.views()[rows], TextView::words));
        }
        digest
    }

    /// Some rows, one at a time.
    fn digest_rows(&self, rows: Range<usize>) -> Digest {
        let mut digest = Digest::default();
        for row in rows {
            digest.push(self.row(row));
            if let Some(users) = self.users {
                digest.push_user(words_in(users, row));
            }
        }
        digest
    }

    /// The words of a row but for the user's name.
    fn row(&self, row: usize) -> [u64; USER] {
        let [s0, s1, s2] = words_in(self.symbols, row);
        let [price, price_high] = halves(self.prices[row]);
        let [id, time] = [self.trade_ids[row], self.timestamps[row] as u64];
        let [instrument, by] = [self.instrument_ids[row], self.user_ids[row]].map(u64::from);
        let [quantity, side] = [u64::from(self.quantities[row]), u64::from(self.sides[row])];
        [id, time, instrument, by, price, price_high, quantity, side, s0, s1, s2]
    }
}

/// The words of a text of a column.
fn words_in(texts: &TextColumn, row: usize) -> [u64; 3] {
    let words = texts.views()[row].words();
    if words[2] >> 56 == LONG { hash_of(texts.get(row).unwrap_or_default()) } else { words }
}

/// The sums of the `N` words of each row. `LANES` rows at a time have sums of
/// their own, for a compiler to make vectors of.
#[inline]
fn sums<const LANES: usize, const N: usize, T>(rows: &[T], words: impl Fn(&T) -> [u64; N]) -> [Sums; N] {
    let (blocks, rest) = rows.as_chunks::<LANES>();
    let (mut lane_sums, mut lane_of_sums) = ([[0_u64; N]; LANES], [[0_u64; N]; LANES]);
    for block in blocks {
        for lane in 0..LANES {
            let words = words(&block[lane]);
            for n in 0..N {
                lane_sums[lane][n] = lane_sums[lane][n].wrapping_add(words[n]);
                lane_of_sums[lane][n] = lane_of_sums[lane][n].wrapping_add(lane_sums[lane][n]);
            }
        }
    }
    // A word counts once for each row from its own on. In a block it counted once
    // for each block, that is for LANES rows, less the lanes before its own.
    let mut sums = [Sums::default(); N];
    for lane in 0..LANES {
        for (n, sums) in sums.iter_mut().enumerate() {
            let (sum, of_sums) = (lane_sums[lane][n], lane_of_sums[lane][n]);
            let of_rows = of_sums.wrapping_mul(LANES as u64).wrapping_sub(sum.wrapping_mul(lane as u64));
            sums.sum = sums.sum.wrapping_add(sum);
            sums.of_sums = sums.of_sums.wrapping_add(of_rows);
        }
    }
    for row in rest {
        sums.iter_mut().zip(words(row)).for_each(|(sums, word)| sums.push(word));
    }
    sums
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

    #[test]
    fn lanes_have_the_sums_of_single_rows() {
        for len in 0..40_u64 {
            let words: Vec<_> = (1..=len).map(|n| n.wrapping_mul(STEP)).collect();
            let mut expected = Sums::default();
            words.iter().for_each(|&word| expected.push(word));
            assert_eq!(sums::<8, 1, _>(&words, |&word| [word]), [expected], "{len}");
        }
    }
}
