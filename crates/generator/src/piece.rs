//! A few hundred messages at once: first which of them are trades, then
//! column by column.

use rand::Rng;

use crate::block::{Changes, Trades};
use crate::days::{Pace, Span};
use crate::stream::{FirstWord, Stream, price, trade_id};

/// Messages of a piece: what is drawn for them stays in the nearest cache.
pub(crate) const PIECE_LEN: usize = 512;

/// What is drawn for messages that follow one another behind the preamble.
///
/// A loop that draws one kind of number for all of them has no branch that a
/// draw decides, and overlaps the multiplications of several.
pub(crate) struct Piece {
    /// The position of the first message.
    first: u64,
    trades: [Noted; PIECE_LEN],
    trades_len: usize,
    /// Offsets from the first position.
    changes: [u32; PIECE_LEN],
    changes_len: usize,
    /// Key and jitter, user and cents of each trade.
    seconds: [(u32, u32); PIECE_LEN],
    thirds: [(u32, u32); PIECE_LEN],
}

/// A trade: the low half of its first word, and its offset from the first
/// position.
#[derive(Clone, Copy)]
struct Noted {
    first_word: u32,
    offset: u32,
}

impl Piece {
    pub(crate) fn new() -> Self {
        Self {
            first: 0,
            trades: [Noted { first_word: 0, offset: 0 }; PIECE_LEN],
            trades_len: 0,
            changes: [0; PIECE_LEN],
            changes_len: 0,
            seconds: [(0, 0); PIECE_LEN],
            thirds: [(0, 0); PIECE_LEN],
        }
    }

    /// Tells trades from changes at the positions from `first` on: as many as a
    /// piece has, or up to `end`.
    pub(crate) fn sort(&mut self, stream: &Stream, first: u64, end: u64) {
        let len = (end - first).min(PIECE_LEN as u64) as u32;
        let (mut trades_len, mut changes_len) = (0, 0);
        for offset in 0..len {
            let word = stream.words(first + u64::from(offset)).next_u64();
            // Each is written to both, and stays where it belongs.
            self.trades[trades_len % PIECE_LEN] = Noted { first_word: word as u32, offset };
            self.changes[changes_len % PIECE_LEN] = offset;
            let is_change = usize::from(stream.is_change(FirstWord(word)));
            changes_len += is_change;
            trades_len += 1 - is_change;
        }
        (self.first, self.trades_len, self.changes_len) = (first, trades_len, changes_len);
    }

    /// The changes, the first trade of the piece being row `row` of its block.
    pub(crate) fn draw_changes(&self, stream: &Stream, span: &Span, row: usize, changes: &mut Changes) {
        for (before, &offset) in self.changes[..self.changes_len].iter().enumerate() {
            let mut words = stream.words(self.first + u64::from(offset));
            let first = FirstWord(words.next_u64());
            let change = stream.change(span, first, &mut words);
            changes.push(row + offset as usize - before, change);
        }
    }

    /// The trades.
    pub(crate) fn draw_trades(&mut self, stream: &Stream, span: &Span, columns: &mut Trades) {
        match stream.config().days {
            // A loop of its own: products with constants are 6 % less of all work.
            None => self.draw(stream, Pace::ONE_DAY, columns),
            Some(_) => self.draw(stream, span.pace, columns),
        }
    }

    #[inline(always)]
    fn draw(&mut self, stream: &Stream, pace: Pace, columns: &mut Trades) {
        let first = self.first;
        let trades = &self.trades[..self.trades_len];
        let seconds = &mut self.seconds[..self.trades_len];
        let thirds = &mut self.thirds[..self.trades_len];
        let position = |trade: &Noted| first + u64::from(trade.offset);
        for ((trade, second), third) in trades.iter().zip(&mut *seconds).zip(&mut *thirds) {
            let mut words = stream.words(position(trade));
            words.next_u64();
            *second = stream.key_and_jitter(words.next_u64(), pace);
            *third = stream.user_and_cents(words.next_u64());
        }
        let quantity_and_side = |trade: &Noted| FirstWord(u64::from(trade.first_word)).quantity_and_side();
        columns.trade_ids.extend(trades.iter().map(|trade| trade_id(position(trade))));
        columns.timestamps.extend(
            trades.iter().zip(&*seconds).map(|(trade, second)| pace.time_ns(position(trade), second.1)),
        );
        columns.instrument_ids.extend(seconds.iter().map(|second| second.0));
        columns.user_ids.extend(thirds.iter().map(|third| third.0));
        columns.prices.extend(thirds.iter().map(|third| i128::from(price(third.1))));
        columns.quantities.extend(trades.iter().map(|trade| quantity_and_side(trade).0));
        columns.sides.extend(trades.iter().map(|trade| quantity_and_side(trade).1));
        if stream.has_unknown() {
            let start = columns.instrument_ids.len() - trades.len();
            for (id, trade) in columns.instrument_ids[start..].iter_mut().zip(trades) {
                let mut words = stream.words(position(trade));
                (0..3).for_each(|_| _ = words.next_u64());
                *id = stream.unknown_or(*id, &mut words);
            }
        }
    }
}
