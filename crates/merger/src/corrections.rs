//! Trades that are written again when a row that they had looked up changes.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::sync::Arc;

use arrow_schema::ArrowError;
use tradejoin_model::{
    Column, ColumnType, CorrectionLedger, Effect, Effects, Enriched, LookUp, Messages, Now, Revised,
    RevisionReason, TableSpec, Written,
};

use crate::holds::HeldError;
use crate::merger::Merged;
use crate::passed::{Arrival, ChangeAt, Told, lacks};
use crate::recent::{Recent, Recents, Ticket};
use crate::revisions::Revisions;
use crate::rows::Rows;

/// How long a trade that was written may be written again: what is reached first
/// counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CorrectionConfig {
    /// Until a trade has been read that took place so many nanoseconds later than
    /// itself, and more. Trades without a time are never written again then.
    pub time: Option<u64>,
    /// Until so many trades have been read behind it.
    pub rows: Option<u64>,
    /// Until all such trades are counted with more bytes: the first go.
    pub bytes: Option<u64>,
    /// How many there may be: over it, the first leave early.
    pub rows_max: u64,
    /// How many bytes they may be counted with, estimated for each from its values
    /// alone: over it, the first leave early.
    pub bytes_max: u64,
}

impl CorrectionConfig {
    /// Trades that there may be where nothing is said of their number.
    pub const ROWS_MAX: u64 = 2_000_000;
    /// Bytes that they may be counted with where nothing is said of these.
    pub const BYTES_MAX: u64 = 512 << 20;

    /// A window that is bounded whatever it is: by what is said, and by the defaults.
    #[must_use]
    pub fn new(time: Option<u64>, rows: Option<u64>, bytes: Option<u64>) -> Self {
        let rows_max = if rows.is_none() { Self::ROWS_MAX } else { u64::MAX };
        let bytes_max = if bytes.is_none() { Self::BYTES_MAX } else { u64::MAX };
        Self { time, rows, bytes, rows_max, bytes_max }
    }
}

/// The most trades that might be written again at a time, and the most bytes that they
/// were counted with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecentPeak {
    /// Trades.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What the serial pass of a batch needs of it beside what goes on.
pub(crate) struct Touched {
    pub(crate) messages: Arc<Messages>,
    pub(crate) trades_before: u64,
    /// Every row that missed, with the table, in this order.
    pub(crate) lacking: Vec<(u32, usize)>,
    /// By table.
    pub(crate) effects: Vec<Effects>,
}

impl Touched {
    pub(crate) fn of(merged: &mut Merged) -> Self {
        Self {
            messages: Arc::clone(&merged.enriched.messages),
            trades_before: merged.trades_before,
            // Those that wait want to know, too.
            lacking: merged.lacking.clone(),
            effects: std::mem::take(&mut merged.effects),
        }
    }

    /// That of trades that leave when the sequence has ended.
    pub(crate) fn at_end(enriched: &Enriched) -> Self {
        let messages = Arc::clone(&enriched.messages);
        Self { messages, trades_before: enriched.trades_before, lacking: Vec::new(), effects: Vec::new() }
    }

    /// All effects in the order of the changes, each with its table.
    fn in_order(&self) -> Vec<(ChangeAt, Effect)> {
        let of_table = |(table, effects): (usize, &Effects)| {
            let lane = &self.messages.lanes[table];
            let at = move |effect: &Effect| ChangeAt::new(lane, table, effect.change);
            effects.all.iter().map(move |effect| (at(effect), *effect)).collect::<Vec<_>>()
        };
        let mut all: Vec<_> = self.effects.iter().enumerate().flat_map(of_table).collect();
        // Runs in order, one for each table.
        all.sort_by_key(|&(at, _)| at);
        all
    }
}

/// The trades of a run that were written and may be written again.
///
/// Batches [pass](crate::Passage::pass) in the order of their sequence, one at a time, and
/// each change finds the trades with its key that were written before it. What is
/// written again, and in which order, does not depend on how the sequence is cut into
/// batches.
#[derive(Debug)]
pub struct Corrections {
    tables: Vec<TableSpec>,
    /// Of the added columns.
    types: Vec<ColumnType>,
    /// By table, the first of its columns among these.
    first_columns: Vec<usize>,
    config: CorrectionConfig,
    recents: Recents,
    /// Trades that wait for a key, each with what it finds by now.
    waiting: Recents,
    /// What is to be written, up to [`Corrections::ROWS_AT_ONCE`].
    revisions: Revisions,
    /// By table, one value for each column: those of a row that is found now, and
    /// nulls.
    found: Vec<Vec<Column>>,
    nothing: Vec<Vec<Column>>,
    /// The latest time of a trade that was read, and how many were.
    latest: i64,
    trades_read: u64,
    account: CorrectionLedger,
    peak: RecentPeak,
}

impl Corrections {
    /// Tables of a run that corrects, at most: a bit is kept for each.
    pub const TABLES_MAX: usize = u64::BITS as usize;

    /// Trades that are written again in one piece, at most.
    pub const ROWS_AT_ONCE: usize = 8_192;

    /// No trade has been written yet. `wait_column` says whether there is a column
    /// behind those of the tables.
    ///
    /// # Panics
    /// If there are more than [`Corrections::TABLES_MAX`] tables.
    #[must_use]
    pub fn new(tables: &[TableSpec], wait_column: bool, config: CorrectionConfig) -> Self {
        assert!(tables.len() <= Self::TABLES_MAX, "no more tables than can be corrected");
        let outputs = tables.iter().flat_map(|table| &table.outputs).map(|output| output.column_type);
        let types: Vec<_> = outputs.chain(wait_column.then_some(ColumnType::Integer)).collect();
        let nulls = |table: &TableSpec| {
            let null = |ty| {
                let mut column = Column::new(ty);
                column.grow(1);
                column
            };
            table.outputs.iter().map(|output| null(output.column_type)).collect::<Vec<_>>()
        };
        let nothing: Vec<_> = tables.iter().map(nulls).collect();
        let first = |table: usize| tables[..table].iter().map(|table| table.outputs.len()).sum();
        Self {
            first_columns: (0..tables.len()).map(first).collect(),
            config,
            recents: Recents::new(tables.iter().map(|table| table.look_up)),
            waiting: Recents::new(tables.iter().map(|table| table.look_up)),
            revisions: Revisions::new(&types),
            types,
            found: nothing.clone(),
            nothing,
            latest: i64::MIN,
            trades_read: 0,
            account: CorrectionLedger::default(),
            peak: RecentPeak::default(),
            tables: tables.to_vec(),
        }
    }

    /// The most that there were at a time.
    #[must_use]
    pub fn peak(&self) -> RecentPeak {
        self.peak
    }

    /// All trades that may be written again, between two batches.
    pub(crate) fn kept(&self) -> Written {
        Written { recent: self.recents.kept(), waiting: self.waiting.kept(), latest_time: self.latest }
    }

    /// Goes on from those that were kept, behind so many trades that were read; to be called
    /// before the first batch passes.
    ///
    /// # Errors
    /// If they are not of these tables.
    pub(crate) fn go_on_from(&mut self, written: Written, trades_read: u64) -> Result<(), HeldError> {
        let Written { recent, waiting, latest_time } = written;
        let look_ups = || self.tables.iter().map(|table| table.look_up);
        let of_kept = |kept| Recents::of_kept(kept, look_ups(), &self.types).ok_or(HeldError);
        (self.recents, self.waiting) = (of_kept(recent)?, of_kept(waiting)?);
        (self.latest, self.trades_read) = (latest_time, trades_read);
        self.peak = RecentPeak { rows: self.recents.len(), bytes: self.recents.bytes() };
        Ok(())
    }

    /// Lets the next batch of the sequence pass: `enriched` goes on, `arrivals` are its
    /// rows that are written, and `told` says what becomes of those that wait. Gives what
    /// is written again to `give`, in pieces, and counts it.
    pub(crate) fn pass<E: From<ArrowError>>(
        &mut self,
        touched: &Touched,
        told: Told,
        enriched: &Enriched,
        arrivals: &[Arrival],
        mut give: impl FnMut(Revised) -> Result<(), E>,
    ) -> Result<CorrectionLedger, E> {
        if !arrivals.is_empty() {
            let rows: Vec<u32> = arrivals.iter().map(|arrival| arrival.row).collect();
            let rows = Rows::take(&enriched.messages, &enriched.columns, &self.types, &rows)?;
            self.recents.push_chunk(rows);
        }
        let begun = told.begun.map(|(begun, rows)| {
            self.waiting.push_chunk(rows);
            begun
        });
        let mut begun = (0..).zip(begun.unwrap_or_default()).peekable();
        let mut arrivals = (0..).zip(arrivals).peekable();
        for (at, effect) in touched.in_order() {
            while let Some((row, arrival)) = arrivals.next_if(|(_, arrival)| arrival.is_before(at)) {
                self.wait(touched, arrival.at_row(), &mut begun);
                self.arrive(touched, row, arrival, &mut give)?;
            }
            self.wait(touched, at.row, &mut begun);
            self.advance(touched, at.row);
            self.touch(touched, at.table, effect, &mut give)?;
        }
        for (row, arrival) in arrivals {
            self.wait(touched, arrival.at_row(), &mut begun);
            self.arrive(touched, row, arrival, &mut give)?;
        }
        // No batch has more rows than 32 bits can number.
        let end = touched.messages.trades.num_rows() as u32;
        self.wait(touched, end, &mut begun);
        self.advance(touched, end);
        for number in told.ended {
            if let Some(ticket) = self.waiting.of_number(number) {
                self.waiting.leave(ticket);
            }
        }
        if let Some(revised) = self.revisions.take()? {
            give(revised)?;
        }
        self.recents.shrink(&self.types)?;
        self.waiting.shrink(&self.types)?;
        Ok(std::mem::take(&mut self.account))
    }

    /// Those of the batch begin to wait that stand before this row.
    fn wait(&mut self, touched: &Touched, row: u32, begun: &mut Peekable<impl Iterator<Item = (u32, u32)>>) {
        while let Some((number, own)) = begun.next_if(|&(_, own)| own < row) {
            let lacks = lacks(&touched.lacking, own);
            let time = touched.messages.time(own as usize);
            let trade = Recent::new(touched.trades_before + u64::from(own) + 1, time, lacks);
            self.waiting.enter(number, trade);
        }
    }

    /// The rows of the batch before this one have been read: those leave whose window
    /// has closed.
    fn advance(&mut self, touched: &Touched, row: u32) {
        let Touched { messages, trades_before, .. } = touched;
        let from = self.trades_read.saturating_sub(*trades_before) as usize;
        if row as usize <= from && self.trades_read >= *trades_before {
            return;
        }
        self.trades_read = trades_before + u64::from(row);
        if self.config.time.is_some() {
            self.latest = self.latest.max(messages.latest(from..row as usize));
            while let Some(ticket) = self.recents.next_late(self.latest) {
                self.recents.leave(ticket);
            }
        }
        while let Some((ticket, trade)) = self.recents.first()
            && trade.until <= self.trades_read
        {
            self.recents.leave(ticket);
        }
    }

    /// A trade has been written, which is this row of the last chunk.
    fn arrive<E: From<ArrowError>>(
        &mut self,
        touched: &Touched,
        row: u32,
        arrival: &Arrival,
        give: &mut impl FnMut(Revised) -> Result<(), E>,
    ) -> Result<(), E> {
        self.advance(touched, arrival.at_row());
        let recent = self.enter(row, arrival);
        if !arrival.has_waited {
            return Ok(());
        }
        let Some(waiting) = self.waiting.of_number(arrival.number) else { return Ok(()) };
        let reason = recent.and_then(|recent| self.catch_up(recent, waiting));
        self.waiting.leave(waiting);
        match (recent, reason) {
            (Some(recent), Some(reason)) => self.write_again(recent, reason, give),
            _ => Ok(()),
        }
    }

    /// A trade becomes recent, if its window is open and there is room.
    fn enter(&mut self, row: u32, arrival: &Arrival) -> Option<Ticket> {
        let CorrectionConfig { time: window, rows, bytes, rows_max, bytes_max } = self.config;
        let mut trade = Recent::new(arrival.number, arrival.time, arrival.lacks);
        let mut is_timed = true;
        if let Some(window) = window {
            is_timed = trade.time.is_some();
            self.account.untimed += u64::from(!is_timed);
            trade.last_time = trade.time.map_or(i64::MIN, |time| time.saturating_add_unsigned(window));
        }
        trade.until = rows.map_or(u64::MAX, |rows| self.trades_read.saturating_add(rows));
        if !is_timed || trade.last_time < self.latest || trade.until <= self.trades_read {
            self.recents.pass_over();
            return None;
        }
        let entered = self.recents.enter(row, trade);
        let bytes_window = bytes.unwrap_or(u64::MAX);
        while let Some((ticket, _)) = self.recents.first() {
            let is_early = self.recents.len() > rows_max || self.recents.bytes() > bytes_max;
            if !is_early && self.recents.bytes() <= bytes_window {
                break;
            }
            self.account.early += u64::from(is_early);
            self.recents.leave(ticket);
        }
        let RecentPeak { rows, bytes } = &mut self.peak;
        (*rows, *bytes) = (self.recents.len().max(*rows), self.recents.bytes().max(*bytes));
        Some(entered)
    }

    /// Gives a trade that has waited the values that it finds by now; tells why it is to
    /// be written again, if it is.
    fn catch_up(&mut self, recent: Ticket, waiting: Ticket) -> Option<RevisionReason> {
        let Self { recents, waiting: all_waiting, first_columns, tables, .. } = self;
        let lacks_now = all_waiting.get(waiting)?.lacks;
        let (_, now_row, now) = all_waiting.place(waiting)?;
        recents.update(recent, |trade, row, rows| {
            let mut why = None;
            for (table, (&first, spec)) in first_columns.iter().zip(tables).enumerate() {
                let columns = first..first + spec.outputs.len();
                let (columns, now) = (&mut rows.columns[columns.clone()], &now.columns[columns]);
                let is_same =
                    |(old, new): (&Column, &Column)| old.compare(row, new, now_row) == Ordering::Equal;
                if columns.iter().zip(now).all(is_same) {
                    continue;
                }
                let bit = 1 << table;
                why.get_or_insert(match (trade.lacks & bit, lacks_now & bit) {
                    (0, 0) => RevisionReason::Changed,
                    (0, _) => RevisionReason::Deleted,
                    _ => RevisionReason::Late,
                });
                for (column, now) in columns.iter_mut().zip(now) {
                    column.set_all(std::iter::once((row, now_row)), now);
                }
            }
            trade.lacks = lacks_now;
            trade.revision += u32::from(why.is_some());
            why
        })?
    }

    /// A change has taken effect: trades with its key look its table up again.
    fn touch<E: From<ArrowError>>(
        &mut self,
        touched: &Touched,
        table: usize,
        effect: Effect,
        give: &mut impl FnMut(Revised) -> Result<(), E>,
    ) -> Result<(), E> {
        let key = touched.messages.lanes[table].keys.get(effect.change as usize);
        let of_key = |trades: &Recents| trades.of_key(table, &key, effect.times);
        let [recent, waiting] = [&self.recents, &self.waiting].map(of_key);
        if recent.is_empty() && waiting.is_empty() {
            return Ok(());
        }
        self.render(touched, table, effect);
        for ticket in waiting {
            self.revise(Kind::Waiting, ticket, table, effect);
        }
        for ticket in recent {
            if let Some(reason) = self.revise(Kind::Recent, ticket, table, effect) {
                self.write_again(ticket, reason, give)?;
            }
        }
        Ok(())
    }

    fn write_again<E: From<ArrowError>>(
        &mut self,
        ticket: Ticket,
        reason: RevisionReason,
        give: &mut impl FnMut(Revised) -> Result<(), E>,
    ) -> Result<(), E> {
        self.account.count(reason);
        self.revisions.push(&self.recents, ticket, reason);
        if self.revisions.len() == Self::ROWS_AT_ONCE
            && let Some(revised) = self.revisions.take()?
        {
            give(revised)?;
        }
        Ok(())
    }

    /// Renders the values of the row that is found now.
    fn render(&mut self, touched: &Touched, table: usize, effect: Effect) {
        let fields = &touched.messages.lanes[table].fields;
        let revealed = &touched.effects[table].revealed;
        let columns = self.tables[table].outputs.iter().zip(&mut self.found[table]).enumerate();
        for (index, (output, column)) in columns {
            match effect.found {
                Now::Own(_) => {
                    output.render(fields, std::iter::once((0, effect.change as usize)), column);
                }
                Now::Revealed(_, number) => {
                    column.set_all(std::iter::once((0, number as usize)), &revealed[index]);
                }
                Now::Nothing => {}
            }
        }
    }

    /// Gives a trade the values that it finds in a table behind a change; tells why it
    /// is to be written again, if it is recent and they are others.
    fn revise(&mut self, kind: Kind, ticket: Ticket, table: usize, effect: Effect) -> Option<RevisionReason> {
        let trades = match kind {
            Kind::Recent => &mut self.recents,
            Kind::Waiting => &mut self.waiting,
        };
        let time = trades.get(ticket)?.time;
        let is_found = finds(self.tables[table].look_up, effect, time)?;
        let values = if is_found { &self.found[table] } else { &self.nothing[table] };
        let columns = self.first_columns[table]..self.first_columns[table] + values.len();
        trades.update(ticket, |trade, row, rows| {
            let bit = 1 << table;
            let reason = match effect.found {
                _ if trade.lacks & bit != 0 => RevisionReason::Late,
                Now::Own(_) if is_found => RevisionReason::Changed,
                _ => RevisionReason::Deleted,
            };
            trade.lacks = if is_found { trade.lacks & !bit } else { trade.lacks | bit };
            let columns = &mut rows.columns[columns];
            let is_same =
                |(column, value): (&Column, &Column)| column.compare(row, value, 0) == Ordering::Equal;
            if columns.iter().zip(values).all(is_same) {
                return None;
            }
            trade.revision += 1;
            for (column, value) in columns.iter_mut().zip(values) {
                column.set_all(std::iter::once((row, 0)), value);
            }
            Some(reason)
        })?
    }
}

/// Which trades look a table up again.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Those that were written.
    Recent,
    /// Those that will be, as they would be then.
    Waiting,
}

/// Whether a trade of that time finds a row behind a change of its key; `None` if the
/// change does not touch it.
fn finds(look_up: LookUp, effect: Effect, time: Option<i64>) -> Option<bool> {
    let LookUp::AsOf { tolerance } = look_up else { return Some(effect.found != Now::Nothing) };
    let time = time.filter(|&time| effect.times.is_found_at(time, None))?;
    Some(match effect.found {
        Now::Own(validity) | Now::Revealed(validity, _) => validity.is_found_at(time, tolerance),
        Now::Nothing => false,
    })
}

#[cfg(test)]
mod tests;
