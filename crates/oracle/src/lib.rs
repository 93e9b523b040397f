//! The join as one thread would make it, row by row: what every run of the
//! engine must equal.
//!
//! For tests, and for `tradejoin verify`. It depends on the model and on nothing that it
//! checks: no hashing, no selections, no shared columns; values are plain bytes that it
//! renders by itself.
//!
//! ```
//! use tradejoin_model::TableSpec;
//! use tradejoin_oracle::Oracle;
//!
//! let oracle = Oracle::new(&[TableSpec::instruments()], 1_000, false);
//! assert_eq!(oracle.ledger().check(), Ok(()));
//! ```

mod corrections;
mod rows;
mod sizes;
mod values;

use std::collections::BTreeMap;

use arrow_array::Array as _;
use tradejoin_model::{
    ChangeKeys, ChangeKind, ChangeLane, Expired, HoldLimit, Keys, Ledger, LookUp, Messages, MissPolicy,
    TableSpec,
};

use crate::corrections::{Recent, all_columns};
use crate::rows::{Put, Row, is_seen, put_as_of, put_latest, put_version};
use crate::sizes::{own_bytes, trade_bytes};
use crate::values::values;

pub use crate::corrections::{Correcting, Revision};
pub use crate::values::{bytes, text};

/// A trade that has reached its outcome, other than being dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Its number among the trades that were read, the first being 1.
    pub number: u64,
    /// The added columns, table by table; `None` is null.
    pub columns: Values,
    /// How many trades were read while it waited.
    pub waited: u64,
    /// The table whose miss puts it aside; `None` if it goes on.
    pub aside: Option<usize>,
}

/// What a table adds to a trade, or all of them; `None` is null.
pub type Values = Vec<Option<Vec<u8>>>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum OracleKey {
    Id(u32),
    Text(Vec<u8>),
}

/// The reference join.
#[derive(Debug)]
pub struct Oracle {
    specs: Vec<TableSpec>,
    tables: Vec<BTreeMap<OracleKey, Vec<Row>>>,
    /// How many trades may wait.
    rows_max: u64,
    /// How many bytes they may be counted with, and how many columns tables add to each.
    bytes_max: u64,
    added_len: usize,
    /// Whether trades stand in line behind one that waits.
    in_line: bool,
    /// Trades that wait, and with `in_line` those behind them, in order.
    waiting: Vec<Waiting>,
    /// Those that they are counted with.
    waiting_bytes: u64,
    trades_read: u64,
    /// The latest time of a trade.
    latest: i64,
    ledger: Ledger,
    joined: Vec<Joined>,
    /// How long trades that were written are looked up again; these, and what was written
    /// again.
    correcting: Option<Correcting>,
    recent: Vec<Recent>,
    revisions: Vec<Revision>,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    time: Option<i64>,
    keys: Vec<Option<OracleKey>>,
    /// By table; `None` where nothing was found.
    found: Vec<Option<Values>>,
    waits_for: Vec<usize>,
    bytes: u64,
    /// Those of its own values, if they count.
    own_bytes: u64,
}

/// What a miss comes to: the later in this list decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Keep,
    Hold,
    Drop,
    Aside,
}

impl Oracle {
    /// A join with empty tables, of which at most `rows_max` trades wait; with
    /// `in_line`, those behind one that waits wait with it, and count.
    #[must_use]
    pub fn new(specs: &[TableSpec], rows_max: u64, in_line: bool) -> Self {
        Self {
            specs: specs.to_vec(),
            tables: vec![BTreeMap::new(); specs.len()],
            rows_max,
            bytes_max: u64::MAX,
            added_len: 0,
            in_line,
            waiting: Vec::new(),
            waiting_bytes: 0,
            trades_read: 0,
            latest: i64::MIN,
            ledger: Ledger::new(specs.len()),
            joined: Vec::new(),
            correcting: None,
            recent: Vec::new(),
            revisions: Vec::new(),
        }
    }

    /// The same join where trades that wait may be counted with at most so many bytes, in
    /// a run whose tables add so many columns.
    #[must_use]
    pub fn with_bytes_max(self, bytes_max: u64, added_len: usize) -> Self {
        Self { bytes_max, added_len, ..self }
    }

    /// Reads a block in the order of its sequence. Gives the trades that reach
    /// their outcome, in order.
    pub fn push(&mut self, messages: &Messages) -> Vec<Joined> {
        for row in 0..messages.trades.num_rows() {
            self.apply(messages, row as u32..=row as u32);
            self.join(messages, row);
            self.expire();
        }
        // Changes behind the last trade.
        self.apply(messages, messages.trades.num_rows() as u32..=u32::MAX);
        self.ledger.rows_read += messages.rejected;
        self.ledger.rejected += messages.rejected;
        for (table, lane) in self.ledger.tables.iter_mut().zip(messages.lanes.iter()) {
            table.rejected += lane.rejected;
        }
        std::mem::take(&mut self.joined)
    }

    /// Ends the sequence: nothing waits any longer.
    pub fn finish(&mut self) -> Vec<Joined> {
        while let Some(at) = self.waiting.iter().position(|trade| !trade.waits_for.is_empty()) {
            self.ledger.hold.expired += 1;
            self.leave(at);
        }
        std::mem::take(&mut self.joined)
    }

    /// What became of the trades so far.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Applies the changes before these rows, in the order of the sequence.
    fn apply(&mut self, messages: &Messages, at_rows: std::ops::RangeInclusive<u32>) {
        let mut changes = Vec::new();
        for (table, lane) in messages.lanes.iter().enumerate() {
            // They stand in their order.
            let first = lane.at_rows.partition_point(|at_row| at_row < at_rows.start());
            let end = lane.at_rows.partition_point(|at_row| at_row <= at_rows.end());
            changes
                .extend((first..end).map(|change| (lane.at_rows[change], lane.turn(change), table, change)));
        }
        changes.sort_unstable();
        for (.., table, change) in changes {
            self.change(table, &messages.lanes[table], change, messages.loading);
        }
    }

    fn change(&mut self, table: usize, lane: &ChangeLane, change: usize, loading: bool) {
        let spec = self.specs[table].clone();
        let is_upsert = lane.kinds[change] == ChangeKind::Upsert;
        let (validity, version) = (lane.validity(change), lane.version(change));
        let values = is_upsert.then(|| values(&spec, lane, change));
        let row = Row { from: validity.from, to: validity.to, version, values };
        let key = change_key(lane, change);
        let rows = self.tables[table].entry(key.clone()).or_default();
        let account = &mut self.ledger.tables[table];
        let put = match spec.look_up {
            LookUp::Latest => put_latest(rows, row.clone()),
            LookUp::LatestVersion => put_version(&spec, rows, row.clone(), account),
            LookUp::AsOf { .. } => put_as_of(rows, row.clone(), account),
        };
        if loading {
            account.rows_loaded += 1;
            account.duplicates += u64::from(put == Put::Replaced);
        } else {
            account.changes += 1;
        }
        let by_time = matches!(spec.look_up, LookUp::AsOf { .. });
        self.correct(table, &key, &row, put);
        if put == Put::Added || by_time && put == Put::Replaced {
            self.appear(table, &key, &row);
        }
    }

    /// A key has come to a table that did not have it, or in a table that is looked
    /// up by time, a row: every trade that waits and sees it waits no longer.
    fn appear(&mut self, table: usize, key: &OracleKey, row: &Row) {
        let (look_up, rows) = (self.specs[table].look_up, self.tables[table][key].clone());
        let sees = |trade: &Waiting| match look_up {
            LookUp::Latest | LookUp::LatestVersion => true,
            LookUp::AsOf { tolerance } => trade.time.is_some_and(|time| is_seen(row, &rows, time, tolerance)),
        };
        let waits = |trade: &Waiting| {
            trade.waits_for.contains(&table) && trade.keys[table].as_ref() == Some(key) && sees(trade)
        };
        while let Some(at) = self.waiting.iter().position(waits) {
            let trade = &mut self.waiting[at];
            trade.found[table].clone_from(&row.values);
            trade.waits_for.retain(|&other| other != table);
            if trade.waits_for.is_empty() {
                self.ledger.hold.found += 1;
                if trade.found.iter().all(Option::is_some) {
                    self.ledger.enriched += 1;
                } else {
                    self.ledger.unmatched_kept += 1;
                }
                self.go_on(at);
            }
        }
    }

    /// What a trade with this key and this time finds in a table.
    fn find(&mut self, table: usize, key: Option<&OracleKey>, time: Option<i64>) -> Option<Values> {
        let look_up = self.specs[table].look_up;
        if matches!(look_up, LookUp::AsOf { .. }) && time.is_none() {
            self.ledger.tables[table].untimed += 1;
        }
        self.look_up(table, key, time)
    }

    fn look_up(&self, table: usize, key: Option<&OracleKey>, time: Option<i64>) -> Option<Values> {
        let look_up = self.specs[table].look_up;
        let rows = self.tables[table].get(key?)?;
        let row = match look_up {
            LookUp::Latest | LookUp::LatestVersion => rows.first()?,
            LookUp::AsOf { tolerance } => {
                let time = time?;
                rows.iter().find(|row| is_seen(row, rows, time, tolerance))?
            }
        };
        row.values.clone()
    }

    fn join(&mut self, messages: &Messages, row: usize) {
        self.trades_read += 1;
        self.ledger.rows_read += 1;
        let keys: Vec<_> = messages.keys.iter().map(|keys| trade_key(keys, row)).collect();
        let times = messages.times.as_ref().filter(|times| times.is_valid(row));
        let time = times.map(|times| times.value(row));
        self.latest = self.latest.max(time.unwrap_or(i64::MIN));
        self.close_windows();
        let found: Vec<_> =
            (0..self.specs.len()).map(|table| self.find(table, keys[table].as_ref(), time)).collect();
        let mut worst: Option<(Verdict, usize)> = None;
        let mut waits_for = Vec::new();
        for (table, spec) in self.specs.iter().enumerate() {
            if found[table].is_some() {
                self.ledger.tables[table].matched += 1;
                continue;
            }
            self.ledger.tables[table].missed += 1;
            // A trade waits for nothing where nothing could ever be its own.
            let by_time = matches!(spec.look_up, LookUp::AsOf { .. });
            let needs_time = by_time || spec.on_miss.needs_time();
            let can_wait = keys[table].is_some() && (time.is_some() || !needs_time);
            let verdict = match spec.on_miss {
                MissPolicy::Keep => Verdict::Keep,
                MissPolicy::Drop => Verdict::Drop,
                MissPolicy::DeadLetter => Verdict::Aside,
                MissPolicy::Hold(_) if can_wait => {
                    waits_for.push(table);
                    Verdict::Hold
                }
                MissPolicy::Hold(hold) => of_expired(hold.then),
                MissPolicy::Fail => unreachable!("a run that fails has no oracle"),
            };
            if worst.is_none_or(|worst| verdict > worst.0) {
                worst = Some((verdict, table));
            }
        }
        let number = self.trades_read;
        let bytes = match self.bytes_max {
            u64::MAX => 0,
            _ => trade_bytes(&messages.trades, row, self.added_len),
        };
        let own_bytes = self.correcting.map_or(0, |_| own_bytes(&messages.trades, row));
        let waiting = Waiting { number, time, keys, found, waits_for, bytes, own_bytes };
        match worst {
            Some((Verdict::Hold, _)) => {
                self.ledger.hold.entered += 1;
                self.wait(waiting);
            }
            Some((Verdict::Drop, _)) => self.ledger.unmatched_dropped += 1,
            Some((Verdict::Aside, table)) => {
                self.ledger.dead_lettered += 1;
                self.emit(waiting, Some(table));
            }
            Some((Verdict::Keep, _)) | None => {
                *if worst.is_some() { &mut self.ledger.unmatched_kept } else { &mut self.ledger.enriched } +=
                    1;
                if self.in_line && !self.waiting.is_empty() {
                    self.wait(Waiting { waits_for: Vec::new(), ..waiting });
                } else {
                    self.emit(waiting, None);
                }
            }
        }
        while self.waiting.len() as u64 > self.rows_max || self.waiting_bytes > self.bytes_max {
            self.ledger.hold.early += 1;
            self.leave(0);
        }
    }

    fn wait(&mut self, trade: Waiting) {
        self.waiting_bytes += trade.bytes;
        self.waiting.push(trade);
    }

    fn remove(&mut self, at: usize) -> Waiting {
        let trade = self.waiting.remove(at);
        self.waiting_bytes -= trade.bytes;
        trade
    }

    /// The first of the trades that wait, by its number.
    #[must_use]
    pub fn first_waiting(&self) -> Option<u64> {
        self.waiting.first().map(|trade| trade.number)
    }

    /// Trades whose limit was the one just read.
    fn expire(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let (specs, trades_read, latest) = (self.specs.clone(), self.trades_read, self.latest);
        let is_over = |trade: &Waiting| {
            trade.waits_for.iter().any(|&table| match specs[table].on_miss {
                MissPolicy::Hold(hold) => match hold.limit {
                    HoldLimit::Rows(rows) => trade.number.saturating_add(rows) <= trades_read,
                    HoldLimit::EventTime(ns) => {
                        trade.time.is_some_and(|time| i128::from(time) + i128::from(ns) < i128::from(latest))
                    }
                    HoldLimit::Processing(_) => unreachable!("what a clock decides has no oracle"),
                },
                _ => false,
            })
        };
        while let Some(at) = self.waiting.iter().position(is_over) {
            self.ledger.hold.expired += 1;
            self.leave(at);
        }
    }

    /// A trade that has not found everything waits no longer.
    fn leave(&mut self, at: usize) {
        let trade = &mut self.waiting[at];
        let mut worst: Option<(Verdict, usize)> = None;
        for table in std::mem::take(&mut trade.waits_for) {
            let MissPolicy::Hold(hold) = self.specs[table].on_miss else { continue };
            let verdict = of_expired(hold.then);
            if worst.is_none_or(|worst| verdict > worst.0) {
                worst = Some((verdict, table));
            }
        }
        match worst {
            Some((Verdict::Drop, _)) => {
                self.ledger.unmatched_dropped += 1;
                self.remove(at);
                self.drain();
            }
            Some((Verdict::Aside, table)) => {
                self.ledger.dead_lettered += 1;
                let trade = self.remove(at);
                self.emit(trade, Some(table));
                self.drain();
            }
            _ => {
                self.ledger.unmatched_kept += 1;
                self.go_on(at);
            }
        }
    }

    /// A trade that waits for nothing goes on, as soon as it is its turn.
    fn go_on(&mut self, at: usize) {
        if self.in_line {
            self.drain();
        } else {
            let trade = self.remove(at);
            self.emit(trade, None);
        }
    }

    fn drain(&mut self) {
        while self.in_line && self.waiting.first().is_some_and(|trade| trade.waits_for.is_empty()) {
            let trade = self.remove(0);
            self.emit(trade, None);
        }
    }

    fn emit(&mut self, trade: Waiting, aside: Option<usize>) {
        let columns = all_columns(&self.specs, &trade.found);
        let (number, waited) = (trade.number, self.trades_read - trade.number);
        self.joined.push(Joined { number, columns, waited, aside });
        if aside.is_none() {
            self.is_written(trade, waited);
        }
    }
}

/// What a table adds where nothing is found.
fn nothing(spec: &TableSpec) -> Values {
    vec![None; spec.outputs.len()]
}

fn of_expired(then: Expired) -> Verdict {
    match then {
        Expired::Keep => Verdict::Keep,
        Expired::Drop => Verdict::Drop,
        Expired::DeadLetter => Verdict::Aside,
    }
}

fn trade_key(keys: &Keys, row: usize) -> Option<OracleKey> {
    match keys {
        Keys::Ids(ids) => ids.is_valid(row).then(|| OracleKey::Id(ids.value(row))),
        Keys::Texts(texts) => Some(OracleKey::Text(texts.get(row)?.to_vec())),
    }
}

fn change_key(lane: &ChangeLane, change: usize) -> OracleKey {
    match &lane.keys {
        ChangeKeys::Ids(ids) => OracleKey::Id(ids[change].0),
        ChangeKeys::Texts(texts) => OracleKey::Text(texts.get(change).unwrap_or_default().to_vec()),
    }
}
