//! Blocks of the stream as columns.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::types::UInt8Type;
use arrow_array::{
    ArrayRef, Decimal128Array, DictionaryArray, Int64Array, RecordBatch, StringArray,
    TimestampNanosecondArray, UInt8Array, UInt32Array, UInt64Array,
};
use rayon::prelude::*;
use tradejoin_model::{
    ChangeKind, ChangeLane, Column, Instrument, InstrumentId, Key, Keys, Message, Messages, OccSymbol,
    PRICE_PRECISION, PRICE_SCALE, Side, TextColumn, TextView, Turns, UTC, User, Validity, trade_schema,
};

use crate::piece::{PIECE_LEN, Piece};
use crate::stream::Stream;

impl Stream {
    /// The block at `index`, if the stream is cut into blocks of `block_len`
    /// messages: its trades with the columns of
    /// [`trade_schema`], and its changes. The first table is the instruments,
    /// the second, if the mix has users, the users.
    #[must_use]
    pub fn block(&self, index: u64, block_len: usize) -> Messages {
        let first = index * block_len as u64;
        self.messages(first..first + block_len as u64)
    }

    /// Blocks made by all threads of rayon's pool at once.
    #[must_use]
    pub fn blocks(&self, indices: Range<u64>, block_len: usize) -> Vec<Messages> {
        indices.into_par_iter().map(|index| self.block(index, block_len)).collect()
    }

    /// The messages at `positions` as one block.
    ///
    /// # Panics
    /// If there are more than 2³² of them.
    #[must_use]
    pub fn messages(&self, positions: Range<u64>) -> Messages {
        let len = usize::try_from(positions.end.saturating_sub(positions.start)).unwrap_or(usize::MAX);
        let mut trades = Trades::with_capacity(len);
        let mut changes = Changes { instruments: Lane::new(), users: Lane::new(), turns: Turns::default() };
        let mut piece = Piece::new();
        let mut start = positions.start;
        while start < positions.end {
            let span = self.span(start);
            let end = span.end.min(positions.end);
            let mixed = start.max(span.first + self.preamble_len()).min(end);
            for position in start..mixed {
                changes.push(trades.len(), self.message(position));
            }
            for first in (mixed..end).step_by(PIECE_LEN) {
                piece.sort(self, first, end);
                piece.draw_changes(self, &span, trades.len(), &mut changes);
                piece.draw_trades(self, &span, &mut trades);
            }
            if self.config().days.is_some() {
                changes.instruments.say_validity(|key| self.validity(InstrumentId(key.0), span.day));
            }
            start = end;
        }
        // Without days, ids mean what they mean whatever the time.
        let times = self.config().days.map(|_| Int64Array::from(trades.timestamps.clone()));
        let (trades, instrument_keys, user_keys) = trades.finish();
        let mut keys = vec![instrument_keys];
        let mut lanes = vec![changes.instruments.finish(options)];
        if self.config().mix.has_users() {
            keys.push(user_keys);
            lanes.push(changes.users.finish(names));
        }
        let messages = Messages::new(trades, keys, lanes).expect("a key and a place for each message");
        match times {
            Some(times) => messages.with_times(times).expect("a time for each trade"),
            None => messages,
        }
    }
}

/// A lane of options.
pub(crate) fn options(values: Vec<OccSymbol>) -> Column {
    Column::Options(values)
}

/// A lane of names.
pub(crate) fn names(values: Vec<TextView>) -> Column {
    let mut names = TextColumn::default();
    values.into_iter().for_each(|name| names.push_view(name));
    Column::Text(names)
}

/// Changes of one table, row by row.
pub(crate) struct Lane<T> {
    at_rows: Vec<u32>,
    keys: Vec<Key>,
    values: Vec<T>,
    /// As [`ChangeLane::turns`].
    turns: Vec<u32>,
    /// When each row is valid, where that is said.
    valid_from: Vec<i64>,
    valid_to: Vec<i64>,
}

impl<T> Lane<T> {
    pub(crate) fn new() -> Self {
        let (valid_from, valid_to) = (Vec::new(), Vec::new());
        Self {
            at_rows: Vec::new(),
            keys: Vec::new(),
            values: Vec::new(),
            turns: Vec::new(),
            valid_from,
            valid_to,
        }
    }

    pub(crate) fn push(&mut self, at_row: usize, key: Key, value: T) {
        // A block of more rows is refused at its end.
        self.at_rows.push(at_row as u32);
        self.keys.push(key);
        self.values.push(value);
    }

    /// Notes the turn of the change that was pushed last, which is of this table.
    #[inline]
    fn note_turn(&mut self, turns: &mut Turns, table: usize) {
        let last = self.at_rows.len() - 1;
        turns.note(self.at_rows[last], table, last, &mut self.turns);
    }

    pub(crate) fn push_validity(&mut self, validity: Validity) {
        self.valid_from.push(validity.from);
        self.valid_to.push(validity.to);
    }

    /// Says when the rows are valid of which it has not been said.
    fn say_validity(&mut self, of_key: impl Fn(Key) -> Option<Validity>) {
        for row in self.valid_from.len()..self.keys.len() {
            of_key(self.keys[row]).into_iter().for_each(|validity| self.push_validity(validity));
        }
    }

    pub(crate) fn finish(self, column: fn(Vec<T>) -> Column) -> ChangeLane {
        let kinds = vec![ChangeKind::Upsert; self.keys.len()];
        ChangeLane {
            at_rows: self.at_rows,
            keys: self.keys.into(),
            kinds,
            fields: vec![column(self.values)],
            valid_from: self.valid_from,
            valid_to: self.valid_to,
            turns: self.turns,
            ..ChangeLane::default()
        }
    }
}

/// Changes of both tables.
pub(crate) struct Changes {
    pub(crate) instruments: Lane<OccSymbol>,
    pub(crate) users: Lane<TextView>,
    turns: Turns,
}

impl Changes {
    #[inline]
    pub(crate) fn push(&mut self, at_row: usize, message: Message) {
        match message {
            Message::Instrument(Instrument { instrument_id, terms }) => {
                self.instruments.push(at_row, instrument_id.into(), terms);
                self.instruments.note_turn(&mut self.turns, 0);
            }
            Message::User(User { user_id, username }) => {
                self.users.push(at_row, user_id.into(), username);
                self.users.note_turn(&mut self.turns, 1);
            }
            Message::Trade(_) => unreachable!("a trade is no change"),
        }
    }
}

/// Columns of trades, of the same length.
pub(crate) struct Trades {
    pub(crate) trade_ids: Vec<u64>,
    pub(crate) timestamps: Vec<i64>,
    pub(crate) instrument_ids: Vec<u32>,
    pub(crate) user_ids: Vec<u32>,
    pub(crate) prices: Vec<i128>,
    pub(crate) quantities: Vec<u32>,
    pub(crate) sides: Vec<u8>,
}

impl Trades {
    fn with_capacity(len: usize) -> Self {
        Self {
            trade_ids: Vec::with_capacity(len),
            timestamps: Vec::with_capacity(len),
            instrument_ids: Vec::with_capacity(len),
            user_ids: Vec::with_capacity(len),
            prices: Vec::with_capacity(len),
            quantities: Vec::with_capacity(len),
            sides: Vec::with_capacity(len),
        }
    }

    fn len(&self) -> usize {
        self.trade_ids.len()
    }

    /// The columns, and those that are keys.
    fn finish(self) -> (RecordBatch, Keys, Keys) {
        let prices = Decimal128Array::from(self.prices)
            .with_precision_and_scale(PRICE_PRECISION, PRICE_SCALE as i8)
            .expect("the type of a price");
        let instrument_ids = UInt32Array::from(self.instrument_ids);
        let user_ids = UInt32Array::from(self.user_ids);
        let sides = StringArray::from_iter_values(Side::ALL.map(Side::as_str));
        let sides = DictionaryArray::<UInt8Type>::new(UInt8Array::from(self.sides), Arc::new(sides));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(self.trade_ids)),
            Arc::new(TimestampNanosecondArray::from(self.timestamps).with_timezone(UTC)),
            Arc::new(instrument_ids.clone()),
            Arc::new(user_ids.clone()),
            Arc::new(prices),
            Arc::new(UInt32Array::from(self.quantities)),
            Arc::new(sides),
        ];
        let trades = RecordBatch::try_new(trade_schema(), columns).expect("the columns of the schema");
        (trades, instrument_ids.into(), user_ids.into())
    }
}
