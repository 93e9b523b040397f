//! Trades that were written and are looked up again after each change.

use tradejoin_model::{INTEGER_NULL, LookUp, RevisionReason, TableSpec};

use crate::rows::{Put, Row};
use crate::{Oracle, OracleKey, Values, Waiting, nothing};

/// How long a trade that was written is looked up again: what is reached first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Correcting {
    /// Until a trade is read that took place more nanoseconds later than itself.
    pub time: Option<u64>,
    /// Until so many trades have been read behind it.
    pub rows: Option<u64>,
    /// Until all of them are counted with more bytes.
    pub bytes: Option<u64>,
    /// As many there may be: over it, the first leave early.
    pub rows_max: u64,
    /// As many bytes they may be counted with: over it, the first leave early.
    pub bytes_max: u64,
}

/// A trade that is written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Its number among the trades that were read, the first being 1.
    pub number: u64,
    /// The added columns, as they are now.
    pub columns: Values,
    /// How many trades were read while it waited, before it was written.
    pub waited: u64,
    /// How often it has been written again.
    pub revision: u64,
    /// Why.
    pub reason: RevisionReason,
}

/// A trade that was written.
#[derive(Debug)]
pub(crate) struct Recent {
    trade: Waiting,
    waited: u64,
    /// Trades that had been read when it was written.
    since: u64,
    revision: u64,
    bytes: u64,
}

impl Oracle {
    /// The same join, which looks trades up again that were written.
    #[must_use]
    pub fn correcting(self, correcting: Option<Correcting>) -> Self {
        Self { correcting, ..self }
    }

    /// The trades that were written again since this was called last, in order.
    pub fn take_revisions(&mut self) -> Vec<Revision> {
        std::mem::take(&mut self.revisions)
    }

    /// Whether the window of a trade is open.
    fn is_open(&self, recent: &Recent) -> bool {
        let Some(Correcting { time, rows, .. }) = self.correcting else { return false };
        let age = |time| i128::from(self.latest) - i128::from(time);
        time.is_none_or(|most| recent.trade.time.is_some_and(|time| age(time) <= i128::from(most)))
            && rows.is_none_or(|most| self.trades_read - recent.since < most)
    }

    /// A trade has been read.
    pub(crate) fn close_windows(&mut self) {
        let all = std::mem::take(&mut self.recent);
        self.recent = all.into_iter().filter(|recent| self.is_open(recent)).collect();
    }

    /// A trade has been written.
    pub(crate) fn is_written(&mut self, trade: Waiting, waited: u64) {
        let Some(Correcting { time, bytes, rows_max, bytes_max, .. }) = self.correcting else { return };
        if time.is_some() && trade.time.is_none() {
            self.ledger.corrections.untimed += 1;
        }
        // 96 for what is kept about it, 64 more for each table, 24 for each added value.
        let added = 64 * self.specs.len() as u64 + 24 * self.added_len as u64;
        let own = (96 + added + trade.own_bytes).min(u64::from(u32::MAX));
        let recent = Recent { trade, waited, since: self.trades_read, revision: 0, bytes: own };
        if !self.is_open(&recent) {
            return;
        }
        self.recent.push(recent);
        let sum = |all: &[Recent]| all.iter().map(|recent| recent.bytes).sum::<u64>();
        while self.recent.len() as u64 > rows_max || sum(&self.recent) > bytes_max {
            self.recent.remove(0);
            self.ledger.corrections.early += 1;
        }
        while bytes.is_some_and(|most| sum(&self.recent) > most) {
            self.recent.remove(0);
        }
        if !self.recent.is_empty() {
            self.catch_up();
        }
    }

    /// The trade that was written last is written again if it finds something else by now
    /// than at its own place.
    fn catch_up(&mut self) {
        let at = self.recent.len() - 1;
        let trade = &self.recent[at].trade;
        let now: Vec<_> = (0..self.specs.len())
            .map(|table| self.look_up(table, trade.keys[table].as_ref(), trade.time))
            .collect();
        let tables = self.specs.iter().zip(trade.found.iter().zip(&now));
        let mut reasons = tables.filter_map(|(spec, (then, now))| {
            let columns = |found: &Option<Values>| found.clone().unwrap_or_else(|| nothing(spec));
            (columns(then) != columns(now)).then_some(match (then, now) {
                (None, _) => RevisionReason::Late,
                (Some(_), Some(_)) => RevisionReason::Changed,
                (Some(_), None) => RevisionReason::Deleted,
            })
        });
        let reason = reasons.next();
        self.recent[at].trade.found = now;
        if let Some(reason) = reason {
            self.write_again(at, reason);
        }
    }

    /// A change has come: every trade with its key is looked up again, as of a time
    /// those for which the row could be the one.
    pub(crate) fn correct(&mut self, table: usize, key: &OracleKey, row: &Row, put: Put) {
        if put == Put::Not {
            return;
        }
        let by_time = matches!(self.specs[table].look_up, LookUp::AsOf { .. });
        for at in 0..self.recent.len() {
            let trade = &self.recent[at].trade;
            let touches = |time: i64| {
                let later = |other: &Row| other.from > row.from && other.from <= time;
                let all_go = row.values.is_none() && row.from == INTEGER_NULL;
                all_go || row.from <= time && !self.tables[table][key].iter().any(later)
            };
            if trade.keys[table].as_ref() != Some(key) || by_time && !trade.time.is_some_and(touches) {
                continue;
            }
            let now = self.look_up(table, Some(key), trade.time);
            self.revise(at, table, now, row.values.is_none());
        }
    }

    fn revise(&mut self, at: usize, table: usize, now: Option<Values>, is_removal: bool) {
        let Self { recent, specs, .. } = self;
        let trade = &mut recent[at].trade;
        let reason = match (&trade.found[table], &now) {
            (None, _) => RevisionReason::Late,
            (Some(_), Some(_)) if !is_removal => RevisionReason::Changed,
            _ => RevisionReason::Deleted,
        };
        let before = all_columns(specs, &trade.found);
        trade.found[table] = now;
        if all_columns(specs, &trade.found) == before {
            return;
        }
        self.write_again(at, reason);
    }

    fn write_again(&mut self, at: usize, reason: RevisionReason) {
        let Self { recent, specs, ledger, .. } = self;
        let Recent { trade, waited, revision, .. } = &mut recent[at];
        *revision += 1;
        *match reason {
            RevisionReason::Late => &mut ledger.corrections.late,
            RevisionReason::Changed => &mut ledger.corrections.changed,
            RevisionReason::Deleted => &mut ledger.corrections.deleted,
        } += 1;
        let columns = all_columns(specs, &trade.found);
        let (number, waited, revision) = (trade.number, *waited, *revision);
        self.revisions.push(Revision { number, columns, waited, revision, reason });
    }
}

/// What all tables add, table by table.
pub(crate) fn all_columns(specs: &[TableSpec], found: &[Option<Values>]) -> Values {
    let columns = found.iter().zip(specs);
    columns.flat_map(|(found, spec)| found.clone().unwrap_or_else(|| nothing(spec))).collect()
}
