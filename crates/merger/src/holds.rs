//! Trades that wait for a key, and those that stand in line behind them.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use arrow_schema::ArrowError;
use tradejoin_model::{
    Appeared, ColumnType, Enriched, HoldLimit, Ledger, Messages, TableSpec, Validity, Verdict,
};

use crate::merger::Merged;
use crate::passed::{ChangeAt, Leaving, Passed, Told, lacks};
use crate::rows::Rows;
use crate::waiting::{Ticket, Trade, Waiting};

mod by_time;
mod config;
mod kept;
mod queues;

pub use config::{HoldConfig, HoldPeak};
pub use kept::HeldError;
use queues::Queues;

/// The trades of a run that wait for a key.
///
/// Batches [pass](Holds::pass) in the order of their sequence, one at a time. What
/// leaves is put among the trades of the batch where it leaves: behind the change
/// that it waited for, or behind the trade that was its limit. So the output does
/// not depend on how the sequence is cut into batches. A batch that nothing is
/// added to passes as it is.
#[derive(Debug)]
pub struct Holds {
    tables: Vec<TableSpec>,
    /// Of the added columns.
    types: Vec<ColumnType>,
    config: HoldConfig,
    waiting: Waiting,
    /// By table.
    by_key: Vec<Queues>,
    /// By the trade that is the limit.
    by_number: BTreeSet<(u64, Ticket, usize)>,
    /// By the last time of a trade that is no limit.
    by_time: BTreeSet<(i64, Ticket, usize)>,
    by_clock: BTreeSet<(Instant, Ticket, usize)>,
    /// Whether trades wait by the time of others; and the latest one that was read.
    needs_time: bool,
    time: i64,
    /// By the end of the last batch that has passed.
    trades_read: u64,
    peak: HoldPeak,
    /// Whether it is told which trades begin to wait, and where they leave.
    tells: bool,
}

/// Why a trade waits no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Found,
    Expired,
    Early,
}

/// What happens in a batch, in the order in which it does at one row: a limit is
/// behind the trade before, a change in front of the next, by its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Limit,
    Change { turn: u32, table: usize, appeared: Appeared },
    Enter { waits_for: u64 },
}

impl Holds {
    /// Tables of a run in which trades wait, at most: a bit is kept for each.
    pub const TABLES_MAX: usize = u64::BITS as usize;

    /// Trades of a batch of those that waited to the end, but for those that stood in
    /// line behind its last one.
    pub const LAST_ROWS: usize = 8_192;

    /// Nothing waits yet. `None` if no table's misses do.
    ///
    /// # Panics
    /// If the misses of one do, and there are more than [`Holds::TABLES_MAX`] tables.
    #[must_use]
    pub fn new(tables: &[TableSpec], config: HoldConfig) -> Option<Self> {
        let any = tables.iter().any(|table| table.on_miss.hold().is_some());
        assert!(!any || tables.len() <= Self::TABLES_MAX, "no more tables than can be waited for");
        let outputs = tables.iter().flat_map(|table| &table.outputs).map(|output| output.column_type);
        any.then(|| Self {
            types: outputs.chain(config.wait_column.then_some(ColumnType::Integer)).collect(),
            config,
            waiting: Waiting::default(),
            by_key: tables.iter().map(|table| Queues::new(table.look_up)).collect(),
            by_number: BTreeSet::new(),
            by_time: BTreeSet::new(),
            by_clock: BTreeSet::new(),
            needs_time: tables.iter().any(|table| table.on_miss.needs_time()),
            time: i64::MIN,
            trades_read: 0,
            peak: HoldPeak::default(),
            tells: false,
            tables: tables.to_vec(),
        })
    }

    /// The same holds of a run that wants to know which trades wait, and where they leave.
    pub(crate) fn telling(self, tells: bool) -> Self {
        Self { tells, ..self }
    }

    /// Bytes that the waiting trades are counted with.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.waiting.bytes()
    }

    /// The most that has waited at a time.
    #[must_use]
    pub fn peak(&self) -> HoldPeak {
        self.peak
    }

    /// Lets the next batch of the sequence pass, at a moment of the clock: keeps
    /// the trades that are to wait, and adds those that leave. Gives the batch and
    /// its account, brought up to date.
    ///
    /// # Errors
    /// If rows cannot be put together: they are more than Arrow can address.
    pub fn pass(&mut self, merged: Merged, now: Instant) -> Result<(Passed, Ledger), ArrowError> {
        let Merged { mut enriched, mut account, trades_before, mut waiting, lacking, appeared, .. } = merged;
        let messages = Arc::clone(&enriched.messages);
        if self.config.in_line {
            self.form_line(&mut enriched, &mut waiting);
        }
        let mut told = self.tells.then(Told::default);
        let rows_taken = waiting.len();
        if !waiting.is_empty() {
            let rows: Vec<u32> = waiting.iter().map(|&(row, _)| row).collect();
            let taken = Rows::take(&messages, &enriched.columns, &self.types, &rows)?;
            told.iter_mut().for_each(|told| told.begun = Some((rows.clone(), taken.clone())));
            self.waiting.push_chunk(taken);
        }
        let mut events: Vec<(u32, Event)> =
            waiting.into_iter().map(|(row, waits_for)| (row, Event::Enter { waits_for })).collect();
        for (table, appeared) in appeared.iter().enumerate() {
            let lane = &messages.lanes[table];
            let event = |&appeared: &Appeared| {
                let change = appeared.change as usize;
                (lane.at_rows[change], Event::Change { turn: lane.turn(change), table, appeared })
            };
            events.extend(appeared.iter().map(event));
        }
        // Runs in order, one for those that enter and one for each table.
        events.sort();

        let mut leaving = Leaving::new(enriched, trades_before, rows_taken).telling(told);
        self.expire_by_clock(now, &mut leaving, &mut account);
        let rows = messages.trades.num_rows() as u64;
        let mut events = events.into_iter().peekable();
        // Rows whose time has been looked at.
        let mut timed = 0;
        loop {
            let limit = self.by_number.first().map(|&(number, ..)| number.saturating_sub(trades_before));
            // No batch has more rows than 32 bits can number.
            let limit = limit.filter(|&row| row <= rows).map(|row| (row as u32, Event::Limit));
            let next = [limit, events.peek().copied()].into_iter().flatten().min();
            let end = next.map_or(rows as u32, |(row, _)| row);
            let late =
                self.find_late(&messages, &mut timed, leaving.row()..end).map(|row| (row, Event::Limit));
            let Some((row, event)) = late.or(next) else { break };
            leaving.move_to(row);
            match event {
                Event::Limit => self.expire(trades_before + u64::from(row), &mut leaving, &mut account),
                Event::Change { table, appeared, .. } => {
                    leaving.move_behind(ChangeAt::new(&messages.lanes[table], table, appeared.change));
                    self.appear(&messages, table, appeared, &mut leaving, &mut account);
                }
                Event::Enter { waits_for } => {
                    let time = messages.time(row as usize);
                    let lacks = lacks(&lacking, row);
                    self.enter((waits_for, lacks), now, time, &mut leaving, &mut account);
                }
            }
            if event != Event::Limit {
                events.next();
            }
        }
        self.trades_read = trades_before + rows;
        Ok((self.passed(leaving)?, account))
    }

    fn passed(&mut self, leaving: Leaving) -> Result<Passed, ArrowError> {
        leaving.pass(&mut self.waiting, &self.types, self.config.wait_column)
    }

    /// What is left when the sequence has ended: all that waits leaves as if it had
    /// come to its limit, in batches of [`Holds::LAST_ROWS`], so that no copy of them
    /// all is made. `None` if nothing waits any more.
    ///
    /// # Errors
    /// As [`Holds::pass`].
    pub fn finish(&mut self) -> Result<Option<(Passed, Ledger)>, ArrowError> {
        let Some(schema) = self.waiting.schema().filter(|_| self.waiting.len() > 0) else { return Ok(None) };
        let none = Rows::none(schema, self.tables.len(), &self.types);
        let mut account = Ledger::new(self.tables.len());
        let told = self.tells.then(Told::default);
        let mut leaving = Leaving::new(none.into_enriched(Vec::new()), self.trades_read, 0).telling(told);
        while leaving.len() < Self::LAST_ROWS
            && let Some((ticket, _)) = self.waiting.first()
        {
            self.leave(ticket, Reason::Expired, &mut leaving, &mut account);
        }
        Ok(Some((self.passed(leaving)?, account)))
    }

    /// Has all trades that would go on behind one that waits stand in line.
    fn form_line(&self, enriched: &mut Enriched, waiting: &mut Vec<(u32, u64)>) {
        let first = if self.waiting.len() > 0 { Some(0) } else { waiting.first().map(|&(row, _)| row) };
        let Some(first) = first else { return };
        let behind: Vec<u32> = enriched.rows().map(|row| row as u32).filter(|&row| row >= first).collect();
        let rows = enriched.messages.trades.num_rows();
        let kept = enriched.kept.get_or_insert_with(|| vec![true; rows]);
        behind.iter().for_each(|&row| kept[row as usize] = false);
        enriched.rows_kept -= behind.len();
        waiting.extend(behind.into_iter().map(|row| (row, 0)));
        // Two runs in order.
        waiting.sort();
    }

    /// The next trade begins to wait for some tables, or to stand in line.
    fn enter(
        &mut self,
        (waits_for, lacks): (u64, u64),
        now: Instant,
        time: Option<i64>,
        leaving: &mut Leaving,
        account: &mut Ledger,
    ) {
        leaving.move_by_one();
        let number = leaving.trades_read();
        let ticket = self.waiting.enter(number, (waits_for, lacks), now, time);
        self.note(ticket);
        // What stands in line behind nobody goes on at once.
        self.drain(leaving);
        let HoldConfig { rows_max, bytes_max, .. } = self.config;
        while (self.waiting.len() > rows_max || self.waiting.bytes() > bytes_max)
            && let Some((first, _)) = self.waiting.first()
        {
            self.leave(first, Reason::Early, leaving, account);
        }
        let HoldPeak { rows, bytes } = &mut self.peak;
        (*rows, *bytes) = (self.waiting.len().max(*rows), self.waiting.bytes().max(*bytes));
    }

    /// Notes what a trade waits for, and to when.
    fn note(&mut self, ticket: Ticket) {
        let Some(&trade) = self.waiting.get(ticket) else { return };
        for table in tables_of(trade.waits_for) {
            if let Some(key) = self.waiting.key(trade.place(), table) {
                let waits = |ticket| waits_for(&self.waiting, ticket, table);
                self.by_key[table].enter(key, ticket, trade.time, waits);
            }
            match self.limit(&trade, table) {
                Some(Limit::Number(number)) => drop(self.by_number.insert((number, ticket, table))),
                Some(Limit::Time(time)) => drop(self.by_time.insert((time, ticket, table))),
                Some(Limit::Clock(moment)) => drop(self.by_clock.insert((moment, ticket, table))),
                None => {}
            }
        }
    }

    /// When a trade stops to wait for a table; `None` if the clock cannot show it.
    fn limit(&self, trade: &Trade, table: usize) -> Option<Limit> {
        match self.tables[table].on_miss.hold()?.limit {
            HoldLimit::Rows(rows) => Some(Limit::Number(trade.number.saturating_add(rows))),
            HoldLimit::EventTime(ns) => Some(Limit::Time(trade.time?.saturating_add_unsigned(ns))),
            HoldLimit::Processing(time) => trade.since.checked_add(time).map(Limit::Clock),
        }
    }

    /// A row has appeared: those that waited for it take its values. In a table that
    /// is looked up by time a row of another time is not what they waited for.
    fn appear(
        &mut self,
        messages: &Messages,
        table: usize,
        Appeared { change, until }: Appeared,
        leaving: &mut Leaving,
        account: &mut Ledger,
    ) {
        let lane = &messages.lanes[table];
        let key = lane.keys.get(change as usize);
        let validity = Validity { to: until, ..lane.validity(change as usize) };
        let first_column = self.tables[..table].iter().map(|table| table.outputs.len()).sum();
        for ticket in self.by_key[table].take(&key, validity) {
            let trade = self.waiting.get(ticket).filter(|trade| trade.waits_for & 1 << table != 0);
            let Some(&trade) = trade else { continue };
            let outputs = &self.tables[table].outputs;
            self.waiting.set_values(ticket, table, |row, columns| {
                for (output, column) in outputs.iter().zip(&mut columns[first_column..]) {
                    output.render(&lane.fields, std::iter::once((row, change as usize)), column);
                }
            });
            self.cancel(ticket, &trade, 1 << table);
            if self.waiting.settle(ticket, 1 << table) == 0 {
                self.leave(ticket, Reason::Found, leaving, account);
            }
        }
    }

    /// Reads the times of `rows` and those before, as far as to one of `rows` that is
    /// the limit of a trade that waits; gives the row behind that.
    fn find_late(&mut self, messages: &Messages, timed: &mut u32, rows: Range<u32>) -> Option<u32> {
        if !self.needs_time {
            return None;
        }
        /// So many rows without a late one are passed over at once.
        const STEP: u32 = 256;
        let end = rows.end.max(rows.start);
        // Nobody leaves in here: looked up once, not for each row.
        let last = self.by_time.first().map_or(i64::MAX, |&(last, ..)| last);
        while *timed < end {
            let next = end.min(*timed + STEP);
            let time = self.time.max(messages.latest(*timed as usize..next as usize));
            if time > last {
                break;
            }
            (self.time, *timed) = (time, next);
        }
        loop {
            if *timed >= rows.start && last < self.time {
                return Some(*timed);
            }
            if *timed >= end {
                return None;
            }
            self.time = messages.time(*timed as usize).map_or(self.time, |time| time.max(self.time));
            *timed += 1;
        }
    }

    /// Those leave whose limit was the trade read last, in the order in which they
    /// came.
    fn expire(&mut self, trades_read: u64, leaving: &mut Leaving, account: &mut Ledger) {
        let by_number = self.by_number.iter().take_while(|&&(number, ..)| number <= trades_read);
        let by_time = self.by_time.iter().take_while(|&&(last, ..)| last < self.time);
        let tickets = by_number.map(|&(_, ticket, _)| ticket).chain(by_time.map(|&(_, ticket, _)| ticket));
        for ticket in tickets.collect::<BTreeSet<_>>() {
            self.leave(ticket, Reason::Expired, leaving, account);
        }
    }

    fn expire_by_clock(&mut self, now: Instant, leaving: &mut Leaving, account: &mut Ledger) {
        while let Some(&(moment, ticket, _)) = self.by_clock.first()
            && moment <= now
        {
            self.leave(ticket, Reason::Expired, leaving, account);
        }
    }

    /// A trade waits no longer.
    fn leave(&mut self, ticket: Ticket, reason: Reason, leaving: &mut Leaving, account: &mut Ledger) {
        let Some(&trade) = self.waiting.get(ticket) else { return };
        self.cancel(ticket, &trade, trade.waits_for);
        self.waiting.settle(ticket, trade.waits_for);
        match reason {
            Reason::Found => account.hold.found += 1,
            Reason::Expired => account.hold.expired += 1,
            Reason::Early => account.hold.early += 1,
        }
        let then = |table: usize| Some((self.tables[table].on_miss.hold()?.then.verdict(), table));
        let verdicts = tables_of(trade.waits_for).filter_map(then);
        match verdicts.reduce(|a: (Verdict, usize), b| if b.0 > a.0 { b } else { a }) {
            Some((Verdict::Drop, _)) => {
                account.unmatched_dropped += 1;
                self.waiting.remove(ticket);
                self.waiting.give_up(trade.place());
                leaving.drop_out(&trade);
            }
            Some((Verdict::DeadLetter, table)) => {
                account.dead_lettered += 1;
                self.waiting.remove(ticket);
                leaving.put_aside(&trade, table);
            }
            Some(_) => {
                account.unmatched_kept += 1;
                self.go_on(ticket, leaving);
            }
            // What it waited for is there; what it did not wait for may be missing.
            None => {
                let is_complete = trade.lacks == 0;
                *(if is_complete { &mut account.enriched } else { &mut account.unmatched_kept }) += 1;
                self.go_on(ticket, leaving);
            }
        }
        self.drain(leaving);
    }

    /// A trade that waits for nothing leaves, unless it stands in line.
    fn go_on(&mut self, ticket: Ticket, leaving: &mut Leaving) {
        if !self.config.in_line
            && let Some(trade) = self.waiting.remove(ticket)
        {
            leaving.push(&trade);
        }
    }

    /// The line moves on, up to the first that waits.
    fn drain(&mut self, leaving: &mut Leaving) {
        while self.config.in_line
            && let Some((ticket, trade)) = self.waiting.first()
            && trade.waits_for == 0
            && let Some(trade) = self.waiting.remove(ticket)
        {
            leaving.push(&trade);
        }
    }

    /// Forgets that a trade waits for these tables.
    fn cancel(&mut self, ticket: Ticket, trade: &Trade, tables: u64) {
        for table in tables_of(tables) {
            match self.limit(trade, table) {
                Some(Limit::Number(number)) => drop(self.by_number.remove(&(number, ticket, table))),
                Some(Limit::Time(time)) => drop(self.by_time.remove(&(time, ticket, table))),
                Some(Limit::Clock(moment)) => drop(self.by_clock.remove(&(moment, ticket, table))),
                None => {}
            }
            let Some(key) = self.waiting.key(trade.place(), table) else { continue };
            let waits = |ticket| waits_for(&self.waiting, ticket, table);
            self.by_key[table].leave(&key, ticket, trade.time, waits);
        }
    }
}

/// Whether a trade waits for a table.
fn waits_for(waiting: &Waiting, ticket: Ticket, table: usize) -> bool {
    waiting.get(ticket).is_some_and(|trade| trade.waits_for & 1 << table != 0)
}

/// When a trade stops to wait.
enum Limit {
    /// Behind the trade of this number.
    Number(u64),
    /// Behind the first trade later than this.
    Time(i64),
    /// At this moment.
    Clock(Instant),
}

/// The tables of a set of bits.
fn tables_of(bits: u64) -> impl Iterator<Item = usize> {
    (0..Holds::TABLES_MAX).filter(move |table| bits & 1 << table != 0)
}

#[cfg(test)]
mod tests;
