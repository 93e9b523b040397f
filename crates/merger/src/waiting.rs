//! What waits: trades with what they have found so far.

use std::time::Instant;

use ahash::AHashMap;
use arrow_schema::{ArrowError, SchemaRef};
use tradejoin_model::{Column, ColumnType, Held, HeldRows, HeldTrade, OwnedKey};

use crate::chunks::{is_time_to_join, to_join};
use crate::rows::{Rows, row_bytes};

mod line;

use line::Line;

/// The number of a trade among those that have waited.
pub(crate) type Ticket = u64;

/// Bytes that a waiting trade is counted with beside its values: its entry here,
/// and those by key and by limit.
const ENTRY_BYTES: u64 = 192;
/// Bytes of an added value.
const VALUE_BYTES: u64 = 24;

/// A trade that waits, or stands in line behind one that does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trade {
    /// Among the trades that were read, the first being 1.
    pub(crate) number: u64,
    /// The tables that it waits for: a bit for each.
    pub(crate) waits_for: u64,
    /// The tables in which it has found nothing so far.
    pub(crate) lacks: u64,
    /// Since when.
    pub(crate) since: Instant,
    /// When it took place, if it says.
    pub(crate) time: Option<i64>,
    place: Place,
    bytes: u32,
}

impl Trade {
    pub(crate) fn place(&self) -> Place {
        self.place
    }
}

/// Where the row of a trade is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    chunk: u64,
    row: u32,
}

/// The rows that waited from one batch on, or from several.
#[derive(Debug)]
struct Chunk {
    rows: Rows,
    /// Of each row, until it is gone.
    tickets: Vec<Option<Ticket>>,
    left: usize,
    /// Whether it is not put together with others: it cannot be, or would take more memory.
    stays: bool,
}

impl Chunk {
    /// Of so many rows, of which so many are to wait.
    fn new(rows: Rows, left: usize) -> Self {
        let tickets = vec![None; rows.trades.num_rows()];
        let stays = rows.have_dictionaries();
        Self { rows, tickets, left, stays }
    }
}

/// Bytes that a waiting trade is counted with.
fn entry_bytes(rows: &Rows, row: usize) -> u32 {
    let values = VALUE_BYTES * rows.columns.len() as u64;
    // Larger values than 4 GiB count as that.
    u32::try_from(ENTRY_BYTES + values + row_bytes(&rows.trades, row)).unwrap_or(u32::MAX)
}

/// All trades that wait.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    trades: Line,
    chunks: AHashMap<u64, Chunk>,
    chunks_made: u64,
    /// Since it was looked at what may be put together.
    chunks_new: usize,
    /// Chunks of which rows were let go of since the last batch, some more than once.
    thinned: Vec<u64>,
    /// Of the chunk that was made last, the row that enters next.
    next_row: u32,
    bytes: u64,
}

impl Waiting {
    pub(crate) fn len(&self) -> u64 {
        self.trades.len() as u64
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All that waits, as it is kept, at a moment of the clock.
    pub(crate) fn held(&self, now: Instant) -> Held {
        let mut chunks: Vec<u64> = self.chunks.keys().copied().collect();
        chunks.sort_unstable();
        let numbers: AHashMap<u64, u32> = chunks.iter().copied().zip(0..).collect();
        let trade = |trade: &Trade| HeldTrade {
            chunk: numbers[&trade.place.chunk],
            row: trade.place.row,
            number: trade.number,
            waits_for: trade.waits_for,
            lacks: trade.lacks,
            waited: now.saturating_duration_since(trade.since),
            time: trade.time,
        };
        Held {
            trades: self.trades.iter().map(trade).collect(),
            chunks: chunks.iter().map(|chunk| self.chunks[chunk].rows.to_held()).collect(),
            ..Held::default()
        }
    }

    /// The rows that were kept; their trades are to be [entered](Self::enter_held).
    pub(crate) fn of_held(chunks: Vec<HeldRows>) -> Self {
        let mut waiting = Self::default();
        for rows in chunks {
            let rows = Rows::of_held(rows);
            let len = rows.trades.num_rows();
            waiting.add(Chunk::new(rows, 0));
            // No row enters behind those that did.
            waiting.next_row = u32::try_from(len).unwrap_or(u32::MAX);
        }
        waiting
    }

    /// The next trade of those that were kept waits again; `None` if its row is not
    /// there, or another's.
    pub(crate) fn enter_held(&mut self, held: &HeldTrade, since: Instant) -> Option<Ticket> {
        let chunk = u64::from(held.chunk) + 1;
        let ticket = self.trades.next_ticket();
        let entry = self.chunks.get_mut(&chunk)?;
        let place = entry.tickets.get_mut(held.row as usize).filter(|place| place.is_none())?;
        *place = Some(ticket);
        entry.left += 1;
        let HeldTrade { row, number, waits_for, lacks, time, .. } = *held;
        let bytes = entry_bytes(&entry.rows, row as usize);
        let place = Place { chunk, row };
        self.trades.push(Trade { number, waits_for, lacks, since, time, place, bytes });
        self.bytes += u64::from(bytes);
        Some(ticket)
    }

    /// Lets go of chunks of which no trade waits.
    pub(crate) fn drop_empty(&mut self) {
        self.chunks.retain(|_, chunk| chunk.left > 0);
    }

    /// The columns of the trades; `None` if none waits.
    pub(crate) fn schema(&self) -> Option<SchemaRef> {
        self.chunks.values().next().map(|chunk| chunk.rows.trades.schema())
    }

    /// Takes rows that are about to [enter](Self::enter), one after the other.
    pub(crate) fn push_chunk(&mut self, rows: Rows) {
        self.next_row = 0;
        let len = rows.trades.num_rows();
        self.add(Chunk::new(rows, len));
    }

    fn add(&mut self, chunk: Chunk) {
        self.chunks_made += 1;
        self.chunks_new += 1;
        self.chunks.insert(self.chunks_made, chunk);
    }

    /// The next row of the last chunk enters.
    pub(crate) fn enter(
        &mut self,
        number: u64,
        (waits_for, lacks): (u64, u64),
        since: Instant,
        time: Option<i64>,
    ) -> Ticket {
        let ticket = self.trades.next_ticket();
        let (chunk, row) = (self.chunks_made, self.next_row);
        self.next_row += 1;
        let entry = self.chunk_mut(chunk);
        entry.tickets[row as usize] = Some(ticket);
        let bytes = entry_bytes(&entry.rows, row as usize);
        let place = Place { chunk, row };
        self.trades.push(Trade { number, waits_for, lacks, since, time, place, bytes });
        self.bytes += u64::from(bytes);
        ticket
    }

    fn chunk_mut(&mut self, chunk: u64) -> &mut Chunk {
        self.chunks.get_mut(&chunk).expect("a chunk is there while one of its trades is")
    }

    /// The trade that entered first of those that are here.
    pub(crate) fn first(&self) -> Option<(Ticket, &Trade)> {
        self.trades.first()
    }

    pub(crate) fn get(&self, ticket: Ticket) -> Option<&Trade> {
        self.trades.get(ticket)
    }

    /// The key of a row in a table.
    pub(crate) fn key(&self, place: Place, table: usize) -> Option<OwnedKey> {
        self.chunks.get(&place.chunk)?.rows.keys[table].get(place.row as usize)
    }

    /// Has `write` set the values that a trade finds in a table, at a row of these
    /// columns.
    pub(crate) fn set_values(
        &mut self,
        ticket: Ticket,
        table: usize,
        write: impl FnOnce(usize, &mut [Column]),
    ) {
        if let Some(Trade { place, lacks, .. }) = self.trades.get_mut(ticket) {
            *lacks &= !(1 << table);
            let place = *place;
            write(place.row as usize, &mut self.chunk_mut(place.chunk).rows.columns);
        }
    }

    /// A trade does not wait for these tables any more; gives what it still waits
    /// for.
    pub(crate) fn settle(&mut self, ticket: Ticket, tables: u64) -> u64 {
        self.trades.get_mut(ticket).map_or(0, |trade| {
            trade.waits_for &= !tables;
            trade.waits_for
        })
    }

    /// Takes a trade out. Its row stays until it is [given up](Self::give_up), or
    /// [taken](Self::take) in the same batch.
    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<Trade> {
        let trade = self.trades.remove(ticket)?;
        self.bytes -= u64::from(trade.bytes);
        self.chunk_mut(trade.place.chunk).tickets[trade.place.row as usize] = None;
        Some(trade)
    }

    /// Lets go of a row whose trade was removed.
    pub(crate) fn give_up(&mut self, place: Place) {
        let chunk = self.chunk_mut(place.chunk);
        chunk.left -= 1;
        if chunk.left == 0 {
            self.chunks.remove(&place.chunk);
        } else if self.thinned.last() != Some(&place.chunk) {
            self.thinned.push(place.chunk);
        }
    }

    /// Puts rows whose trades were removed together, in this order, and lets go of
    /// them.
    pub(crate) fn take(&mut self, places: &[Place], types: &[ColumnType]) -> Result<Rows, ArrowError> {
        let (mut numbers, mut sources) = (AHashMap::new(), Vec::new());
        let number = |place: &Place| {
            let number = *numbers.entry(place.chunk).or_insert_with(|| {
                sources.push(&self.chunks[&place.chunk].rows);
                sources.len() - 1
            });
            (number, place.row as usize)
        };
        let rows: Vec<_> = places.iter().map(number).collect();
        let taken = Rows::gather(&sources, types, &rows)?;
        places.iter().for_each(|&place| self.give_up(place));
        Ok(taken)
    }

    /// Lets go of memory that is not needed: that of rows that are gone, and that of chunks of
    /// few rows. To be called at the end of a batch.
    pub(crate) fn tidy(&mut self, types: &[ColumnType]) -> Result<(), ArrowError> {
        let mut thinned = std::mem::take(&mut self.thinned);
        thinned.sort_unstable();
        thinned.dedup();
        thinned.into_iter().try_for_each(|chunk| self.shrink(chunk, types))?;
        if is_time_to_join(self.chunks_new) {
            self.chunks_new = 0;
            let may_go = self.chunks.iter().filter(|&(&chunk, entry)| !entry.stays && !self.may_enter(chunk));
            for chunks in to_join(may_go.map(|(&chunk, entry)| (chunk, entry.left, &entry.rows))) {
                if self.join(&chunks, types).is_err() {
                    // They only take more memory as they are.
                    chunks.iter().for_each(|&chunk| self.chunk_mut(chunk).stays = true);
                }
            }
        }
        Ok(())
    }

    /// Whether rows of a chunk are still to enter.
    fn may_enter(&self, chunk: u64) -> bool {
        let is_in = |entry: &Chunk| self.next_row as usize >= entry.tickets.len();
        chunk == self.chunks_made && !self.chunks.get(&chunk).is_none_or(is_in)
    }

    /// Lets go of the memory of rows that are gone, once they are half of a chunk in
    /// which no row is still to enter: what waits takes no more than twice the memory
    /// of its rows, and one that leaves has at most one other copied.
    fn shrink(&mut self, chunk: u64, types: &[ColumnType]) -> Result<(), ArrowError> {
        let Some(entry) = self.chunks.get(&chunk) else { return Ok(()) };
        if self.may_enter(chunk) || entry.left > entry.tickets.len() / 2 {
            return Ok(());
        }
        self.join(&[chunk], types)
    }

    /// Puts the rows of these chunks that are left together in the first one.
    fn join(&mut self, chunks: &[u64], types: &[ColumnType]) -> Result<(), ArrowError> {
        let sources: Vec<_> = chunks.iter().map(|chunk| &self.chunks[chunk]).collect();
        let left = |(source, entry): (usize, &&Chunk)| {
            let rows = entry.tickets.iter().enumerate();
            rows.filter_map(|(row, ticket)| Some(((source, row), (*ticket)?))).collect::<Vec<_>>()
        };
        let (places, tickets): (Vec<_>, Vec<_>) = sources.iter().enumerate().flat_map(left).unzip();
        let rows: Vec<_> = sources.iter().map(|entry| &entry.rows).collect();
        let rows = Rows::gather(&rows, types, &places)?.on_own_memory()?;
        let chunk = chunks[0];
        let stays = self.chunks[&chunk].stays;
        chunks.iter().for_each(|chunk| drop(self.chunks.remove(chunk)));
        for (row, &ticket) in (0..).zip(&tickets) {
            if let Some(trade) = self.trades.get_mut(ticket) {
                trade.place = Place { chunk, row };
            }
        }
        let left = tickets.len();
        let tickets = tickets.into_iter().map(Some).collect();
        self.chunks.insert(chunk, Chunk { rows, tickets, left, stays });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
