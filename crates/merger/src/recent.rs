//! Trades that were written and may be written again, each with what it had last.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use ahash::AHashMap;
use arrow_schema::ArrowError;
use tradejoin_model::{ColumnType, LookUp, OwnedKey, Validity};

use crate::rows::{Rows, row_bytes};

mod by_key;
mod kept;

use by_key::ByKey;

/// The number of a trade among those that became recent.
pub(crate) type Ticket = u64;

/// Bytes that a trade is counted with beside its values, and more for each table: its
/// entry here, and those by time and by key.
const ENTRY_BYTES: u64 = 96;
const TABLE_BYTES: u64 = 64;
/// Bytes of an added value.
const VALUE_BYTES: u64 = 24;
/// Rows of trades that have left and still take room, before anything is done about it.
const GONE_MIN: usize = 1_024;

/// A trade that may be written again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recent {
    /// Among the trades that were read, the first being 1.
    pub(crate) number: u64,
    /// When it took place, if it says.
    pub(crate) time: Option<i64>,
    /// The last time of a trade up to which this one stays.
    pub(crate) last_time: i64,
    /// How many trades have been read when it does not stay any longer.
    pub(crate) until: u64,
    /// The tables in which it finds nothing: a bit for each.
    pub(crate) lacks: u64,
    /// How often it has been written again.
    pub(crate) revision: u32,
    chunk: u64,
    row: u32,
    bytes: u32,
    is_gone: bool,
}

impl Recent {
    pub(crate) fn new(number: u64, time: Option<i64>, lacks: u64) -> Self {
        Self {
            number,
            time,
            last_time: i64::MAX,
            until: u64::MAX,
            lacks,
            revision: 0,
            chunk: 0,
            row: 0,
            bytes: 0,
            is_gone: false,
        }
    }
}

/// The rows that became recent with one batch.
#[derive(Debug)]
struct Chunk {
    rows: Rows,
    /// Those that are not let go of yet.
    left: usize,
}

/// All trades that may be written again.
///
/// One that leaves before an older one is marked, and let go of when it is the oldest, or
/// when half of all rows are of such that have left.
#[derive(Debug)]
pub(crate) struct Recents {
    trades: VecDeque<Recent>,
    /// The ticket of the front.
    first: Ticket,
    /// By table.
    by_key: Vec<ByKey>,
    /// By the last time up to which they stay; some have left.
    by_time: BinaryHeap<Reverse<(i64, Ticket)>>,
    chunks: AHashMap<u64, Chunk>,
    chunks_made: u64,
    /// Of all chunks.
    rows: usize,
    len: u64,
    bytes: u64,
}

impl Recents {
    /// None yet, of tables that are looked up like this.
    pub(crate) fn new(look_ups: impl IntoIterator<Item = LookUp>) -> Self {
        Self::of(look_ups.into_iter().map(ByKey::new).collect())
    }

    fn of(by_key: Vec<ByKey>) -> Self {
        Self {
            trades: VecDeque::new(),
            first: 0,
            by_key,
            by_time: BinaryHeap::new(),
            chunks: AHashMap::new(),
            chunks_made: 0,
            rows: 0,
            len: 0,
            bytes: 0,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes rows that are about to [enter](Self::enter) or are
    /// [passed over](Self::pass_over).
    pub(crate) fn push_chunk(&mut self, rows: Rows) {
        self.chunks_made += 1;
        let left = rows.trades.num_rows();
        self.rows += left;
        self.chunks.insert(self.chunks_made, Chunk { rows, left });
    }

    /// A row of the last chunk does not enter.
    pub(crate) fn pass_over(&mut self) {
        self.let_go(self.chunks_made);
    }

    /// A row of the last chunk enters.
    pub(crate) fn enter(&mut self, row: u32, trade: Recent) -> Ticket {
        self.enter_at(self.chunks_made, row, trade)
    }

    /// A row of a chunk enters.
    fn enter_at(&mut self, chunk: u64, row: u32, trade: Recent) -> Ticket {
        let rows = &self.chunks[&chunk].rows;
        let (tables, values) = (self.by_key.len() as u64, rows.columns.len() as u64);
        let mut bytes = ENTRY_BYTES + TABLE_BYTES * tables + VALUE_BYTES * values;
        bytes += row_bytes(&rows.trades, row as usize);
        // Larger values than 4 GiB count as that.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.len += 1;
        self.bytes += u64::from(bytes);
        self.link(Recent { chunk, row, bytes, ..trade })
    }

    fn link(&mut self, trade: Recent) -> Ticket {
        let ticket = self.first + self.trades.len() as u64;
        let keys = &self.chunks[&trade.chunk].rows.keys;
        for (by_key, keys) in self.by_key.iter_mut().zip(keys) {
            by_key.push(keys.get(trade.row as usize), trade.time, ticket);
        }
        if trade.last_time < i64::MAX {
            self.by_time.push(Reverse((trade.last_time, ticket)));
        }
        self.trades.push_back(trade);
        ticket
    }

    /// The trade of a number, where those that enter have rising ones.
    pub(crate) fn of_number(&self, number: u64) -> Option<Ticket> {
        let at = self.trades.binary_search_by_key(&number, |trade| trade.number).ok()?;
        Some(self.first + at as u64).filter(|&ticket| self.get(ticket).is_some())
    }

    /// The trade that entered first of those that are here.
    pub(crate) fn first(&self) -> Option<(Ticket, &Recent)> {
        // The front is none of those that have left.
        self.trades.front().map(|trade| (self.first, trade))
    }

    pub(crate) fn get(&self, ticket: Ticket) -> Option<&Recent> {
        let at = usize::try_from(ticket.checked_sub(self.first)?).ok()?;
        self.trades.get(at).filter(|trade| !trade.is_gone)
    }

    /// The trades with this key, the first that entered before the others: of a table that is
    /// looked up by time, those of these times.
    pub(crate) fn of_key(&self, table: usize, key: &OwnedKey, times: Validity) -> Vec<Ticket> {
        let mut tickets = self.by_key[table].touched(key, times, self.first);
        tickets.retain(|&ticket| self.get(ticket).is_some());
        tickets
    }

    /// Has `change` look at a trade, at a row of these rows, and change it.
    pub(crate) fn update<T>(
        &mut self,
        ticket: Ticket,
        change: impl FnOnce(&mut Recent, usize, &mut Rows) -> T,
    ) -> Option<T> {
        let at = usize::try_from(ticket.checked_sub(self.first)?).ok()?;
        let trade = self.trades.get_mut(at).filter(|trade| !trade.is_gone)?;
        let rows = &mut self.chunks.get_mut(&trade.chunk)?.rows;
        let row = trade.row as usize;
        Some(change(trade, row, rows))
    }

    /// Where the row of a trade is: the same until the end of the batch.
    pub(crate) fn place(&self, ticket: Ticket) -> Option<(u64, usize, &Rows)> {
        let trade = self.get(ticket)?;
        Some((trade.chunk, trade.row as usize, &self.chunks.get(&trade.chunk)?.rows))
    }

    /// A trade whose time does not stay up to `latest`.
    pub(crate) fn next_late(&mut self, latest: i64) -> Option<Ticket> {
        while let Some(&Reverse((last, ticket))) = self.by_time.peek()
            && last < latest
        {
            self.by_time.pop();
            if self.get(ticket).is_some() {
                return Some(ticket);
            }
        }
        None
    }

    /// A trade is not recent any more.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        let at = ticket.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let trade = at.and_then(|at| self.trades.get_mut(at)).filter(|trade| !trade.is_gone);
        let Some(trade) = trade else { return };
        trade.is_gone = true;
        self.len -= 1;
        self.bytes -= u64::from(trade.bytes);
        while let Some(trade) = self.trades.pop_front_if(|trade| trade.is_gone) {
            let keys = &self.chunks[&trade.chunk].rows.keys;
            for (by_key, keys) in self.by_key.iter_mut().zip(keys) {
                by_key.pop(keys.get(trade.row as usize).as_ref(), trade.time, self.first);
            }
            self.first += 1;
            self.let_go(trade.chunk);
        }
    }

    fn let_go(&mut self, chunk: u64) {
        let Some(entry) = self.chunks.get_mut(&chunk) else { return };
        entry.left -= 1;
        if entry.left == 0 {
            self.rows -= entry.rows.trades.num_rows();
            self.chunks.remove(&chunk);
        }
    }

    /// Lets go of the memory of trades that have left, once they are as many as those
    /// that are here: these take no more than twice the memory of their rows, and one
    /// that leaves has at most one other copied. To be called between two batches.
    pub(crate) fn shrink(&mut self, types: &[ColumnType]) -> Result<(), ArrowError> {
        /// Rows of a chunk of those that are copied.
        const CHUNK_ROWS: usize = 8_192;
        let gone = self.rows - self.len as usize;
        if gone < GONE_MIN.max(self.len as usize) {
            if self.by_time.len() > 2 * self.trades.len() + GONE_MIN {
                let mut by_time = std::mem::take(&mut self.by_time);
                by_time.retain(|&Reverse((_, ticket))| self.get(ticket).is_some());
                self.by_time = by_time;
            }
            return Ok(());
        }
        let mut others = Self::of(self.by_key.iter().map(ByKey::emptied).collect());
        (others.len, others.bytes) = (self.len, self.bytes);
        let trades: Vec<Recent> = self.trades.iter().filter(|trade| !trade.is_gone).copied().collect();
        for part in trades.chunks(CHUNK_ROWS) {
            let mut numbers = AHashMap::new();
            let mut sources = Vec::new();
            let source = |trade: &Recent| {
                let number = *numbers.entry(trade.chunk).or_insert_with(|| {
                    sources.push(&self.chunks[&trade.chunk].rows);
                    sources.len() - 1
                });
                (number, trade.row as usize)
            };
            let rows: Vec<_> = part.iter().map(source).collect();
            others.push_chunk(Rows::gather(&sources, types, &rows)?);
            let chunk = others.chunks_made;
            for (row, trade) in (0..).zip(part) {
                others.link(Recent { chunk, row, ..*trade });
            }
        }
        *self = others;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, RecordBatch, UInt32Array};

    use super::*;

    /// Trades of these keys, each the last up to its time.
    fn recents(trades: &[(u32, i64)]) -> Recents {
        let mut recents = Recents::new([LookUp::Latest]);
        let ids = UInt32Array::from_iter_values(trades.iter().map(|trade| trade.0));
        let batch = RecordBatch::try_from_iter([("id", Arc::new(ids.clone()) as ArrayRef)]);
        let rows = Rows { trades: batch.expect("one column"), keys: vec![ids.into()], columns: vec![] };
        recents.push_chunk(rows);
        for (row, &(_, last_time)) in (0..).zip(trades) {
            recents.enter(row, Recent { last_time, ..Recent::new(u64::from(row) + 1, None, 0) });
        }
        recents
    }

    fn numbers(recents: &Recents, key: u32) -> Vec<u64> {
        let tickets = recents.of_key(0, &OwnedKey::Id(key), Validity::EVER).into_iter();
        tickets.filter_map(|ticket| recents.get(ticket)).map(|trade| trade.number).collect()
    }

    #[test]
    fn trades_of_a_key_are_found_in_their_order_whoever_leaves() {
        let mut recents = recents(&[(7, 50), (8, 50), (7, 10), (7, 50), (8, 10)]);
        assert_eq!(numbers(&recents, 7), [1, 3, 4]);
        assert_eq!(recents.next_late(10), None, "up to their time they stay");
        while let Some(ticket) = recents.next_late(11) {
            recents.leave(ticket);
        }
        assert_eq!((numbers(&recents, 7), numbers(&recents, 8)), (vec![1, 4], vec![2]));
        recents.leave(0);
        assert_eq!(numbers(&recents, 7), [4]);
        while let Some((ticket, _)) = recents.first() {
            recents.leave(ticket);
        }
        assert_eq!(
            (recents.len(), recents.bytes(), recents.chunks.len(), recents.by_key[0].keys_len()),
            (0, 0, 0, 0)
        );
    }

    #[test]
    fn one_that_stays_for_ever_does_not_keep_the_others() {
        let trades = [(7, 99)].into_iter().chain((0..20_000).map(|n| (n % 5, 1))).collect::<Vec<_>>();
        let mut recents = recents(&trades);
        for _ in 0..19_990 {
            let ticket = recents.next_late(2).expect("one of many");
            recents.leave(ticket);
        }
        assert_eq!(recents.trades.len(), 20_001);
        recents.shrink(&[]).expect("few rows");
        assert_eq!((recents.trades.len(), recents.by_time.len(), recents.by_key[0].keys_len()), (11, 11, 6));
        assert_eq!(numbers(&recents, 7), [1]);
        assert_eq!((0..5).map(|key| numbers(&recents, key).len()).sum::<usize>(), 10);
    }

    #[test]
    fn those_of_several_batches_that_are_left_are_put_together() {
        let mut recents = recents(&[(7, 2), (8, 1)]);
        let ids = UInt32Array::from_iter_values((0..3_000).map(|row| 100 + row));
        let batch = RecordBatch::try_from_iter([("id", Arc::new(ids.clone()) as ArrayRef)]);
        recents.push_chunk(Rows {
            trades: batch.expect("one column"),
            keys: vec![ids.into()],
            columns: vec![],
        });
        for row in 0..3_000 {
            let last_time = if row >= 2_998 { 2 } else { 1 };
            recents.enter(row, Recent { last_time, ..Recent::new(3 + u64::from(row), None, 0) });
        }
        while let Some(ticket) = recents.next_late(2) {
            recents.leave(ticket);
        }
        recents.shrink(&[]).expect("few rows");
        assert_eq!((recents.len(), recents.rows, recents.chunks.len()), (3, 3, 1));
        for (key, number) in [(7, 1), (3_098, 3_001), (3_099, 3_002)] {
            let [ticket] = recents.of_key(0, &OwnedKey::Id(key), Validity::EVER)[..] else {
                panic!("one of key {key}")
            };
            let (_, row, rows) = recents.place(ticket).expect("it is recent");
            assert_eq!(rows.keys[0].get(row), Some(OwnedKey::Id(key)));
            assert_eq!(recents.get(ticket).map(|trade| trade.number), Some(number));
        }
    }

    #[test]
    fn those_that_have_left_take_room_until_they_are_as_many_as_the_others() {
        let trades: Vec<_> = (0..2_048).map(|row| (row, if row % 2 == 0 { 1 } else { 2 })).collect();
        let mut recents = recents(&trades);
        for _ in 0..1_023 {
            let ticket = recents.next_late(2).expect("one of many");
            recents.leave(ticket);
        }
        recents.shrink(&[]).expect("few rows");
        assert_eq!(recents.rows, 2_048);
        let last = recents.next_late(2).expect("the last one");
        recents.leave(last);
        recents.shrink(&[]).expect("few rows");
        assert_eq!(recents.rows, 1_024);
    }
}
