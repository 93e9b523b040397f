//! Trades that were written and may be written again, each with what it had last.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use ahash::AHashMap;
use arrow_schema::ArrowError;
use tradejoin_model::{ColumnType, LookUp, OwnedKey, Validity};

use crate::chunks::{CHUNK_ROWS, is_time_to_join, to_join};
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
/// Of a row that is no trade's.
const NONE: Ticket = Ticket::MAX;
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

/// The rows that became recent with one batch, or with several.
#[derive(Debug)]
struct Chunk {
    rows: Rows,
    /// Of each row, or [`NONE`].
    tickets: Vec<Ticket>,
    /// Those that are not let go of yet.
    left: usize,
    /// Whether it is not put together with others: it cannot be, or would take more memory.
    stays: bool,
}

impl Chunk {
    /// Of so many rows, of which so many are to enter or to be passed over.
    fn new(rows: Rows, left: usize) -> Self {
        let tickets = vec![NONE; rows.trades.num_rows()];
        let stays = rows.have_dictionaries();
        Self { rows, tickets, left, stays }
    }
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
    /// Since it was looked at what may be put together.
    chunks_new: usize,
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
            chunks_new: 0,
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
        let left = rows.trades.num_rows();
        self.add(Chunk::new(rows, left));
    }

    fn add(&mut self, chunk: Chunk) {
        self.chunks_made += 1;
        self.chunks_new += 1;
        self.rows += chunk.tickets.len();
        self.chunks.insert(self.chunks_made, chunk);
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
        let chunk = self.chunks.get_mut(&trade.chunk).expect("the chunk of a row that enters");
        chunk.tickets[trade.row as usize] = ticket;
        for (by_key, keys) in self.by_key.iter_mut().zip(&chunk.rows.keys) {
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
            self.rows -= entry.tickets.len();
            self.chunks.remove(&chunk);
        }
    }

    /// Lets go of the memory of trades that have left, once they are as many as those
    /// that are here: these take no more than twice the memory of their rows, and one
    /// that leaves has at most one other copied. To be called between two batches.
    pub(crate) fn shrink(&mut self, types: &[ColumnType]) -> Result<(), ArrowError> {
        let gone = self.rows - self.len as usize;
        if gone < GONE_MIN.max(self.len as usize) {
            if self.by_time.len() > 2 * self.trades.len() + GONE_MIN {
                let mut by_time = std::mem::take(&mut self.by_time);
                by_time.retain(|&Reverse((_, ticket))| self.get(ticket).is_some());
                self.by_time = by_time;
            }
            self.join_small(types);
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
            others.push_chunk(Rows::gather(&sources, types, &rows)?.on_own_memory()?);
            let chunk = others.chunks_made;
            for (row, trade) in (0..).zip(part) {
                others.link(Recent { chunk, row, ..*trade });
            }
        }
        *self = others;
        Ok(())
    }

    /// Puts chunks of few rows together.
    fn join_small(&mut self, types: &[ColumnType]) {
        if !is_time_to_join(self.chunks_new) {
            return;
        }
        self.chunks_new = 0;
        let may_go = self.chunks.iter().filter(|(_, entry)| !entry.stays);
        for chunks in to_join(may_go.map(|(&chunk, entry)| (chunk, entry.left, &entry.rows))) {
            if self.join(&chunks, types).is_err() {
                // As with those that wait: they only take more memory as they are.
                for chunk in &chunks {
                    self.chunks.entry(*chunk).and_modify(|entry| entry.stays = true);
                }
            }
        }
    }

    /// Puts the rows of these chunks that are not let go of together in the first one.
    fn join(&mut self, chunks: &[u64], types: &[ColumnType]) -> Result<(), ArrowError> {
        let sources: Vec<_> = chunks.iter().map(|chunk| &self.chunks[chunk]).collect();
        // Those in front of the first were let go of.
        let is_left = |ticket: Ticket| ticket != NONE && ticket >= self.first;
        let left = |(source, entry): (usize, &&Chunk)| {
            let rows = entry.tickets.iter().enumerate().filter(|&(_, &ticket)| is_left(ticket));
            rows.map(|(row, &ticket)| ((source, row), ticket)).collect::<Vec<_>>()
        };
        let (places, tickets): (Vec<_>, Vec<_>) = sources.iter().enumerate().flat_map(left).unzip();
        let rows: Vec<_> = sources.iter().map(|entry| &entry.rows).collect();
        let rows = Rows::gather(&rows, types, &places)?.on_own_memory()?;
        for chunk in chunks.iter().filter_map(|chunk| self.chunks.remove(chunk)) {
            self.rows -= chunk.tickets.len();
        }
        let left = tickets.len();
        self.rows += left;
        for (row, &ticket) in (0..).zip(&tickets) {
            let trade = &mut self.trades[(ticket - self.first) as usize];
            (trade.chunk, trade.row) = (chunks[0], row);
        }
        self.chunks.insert(chunks[0], Chunk { rows, tickets, left, stays: false });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
