//! The join as one thread would make it, row by row: what every run of the
//! engine must equal.
//!
//! For tests alone. It depends on the model and on nothing that it checks: no
//! hashing, no selections, no shared columns; values are plain strings that it
//! renders by itself.
//!
//! ```
//! use tradejoin_model::TableSpec;
//! use tradejoin_oracle::Oracle;
//!
//! let oracle = Oracle::new(&[TableSpec::instruments()], false);
//! assert_eq!(oracle.ledger().check(), Ok(()));
//! ```

use std::cmp::Ordering;
use std::collections::BTreeMap;

use arrow_array::Array as _;
use tradejoin_model::{
    ChangeKind, ChangeLane, Column, ColumnType, INTEGER_NULL, Ledger, LookUp, Messages, OccSymbol,
    OptionPart, OutputSource, TableLedger, TableSpec,
};

/// A trade that goes on: its row among the trades of its block, and the text of
/// each added column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The row of the trade in the block that was pushed.
    pub row: usize,
    /// The added columns, table by table; `None` is null.
    pub columns: Vec<Option<String>>,
}

/// A row of a key, or in a table with versions that there is none.
#[derive(Clone, Debug)]
struct Row {
    from: i64,
    to: i64,
    version: i64,
    values: Option<Vec<Option<String>>>,
}

/// The reference join.
#[derive(Debug)]
pub struct Oracle {
    specs: Vec<TableSpec>,
    tables: Vec<BTreeMap<u32, Vec<Row>>>,
    keep_unmatched: bool,
    ledger: Ledger,
}

impl Oracle {
    /// A join with empty tables; trades that miss are dropped, or kept.
    #[must_use]
    pub fn new(specs: &[TableSpec], keep_unmatched: bool) -> Self {
        Self {
            specs: specs.to_vec(),
            tables: vec![BTreeMap::new(); specs.len()],
            keep_unmatched,
            ledger: Ledger::new(specs.len()),
        }
    }

    /// Reads a block in the order of its sequence and joins its trades.
    pub fn push(&mut self, messages: &Messages) -> Vec<Joined> {
        let mut joined = Vec::new();
        for row in 0..messages.trades.num_rows() {
            self.apply(messages, row as u32..=row as u32);
            joined.extend(self.join(messages, row));
        }
        // Changes behind the last trade.
        self.apply(messages, messages.trades.num_rows() as u32..=u32::MAX);
        self.ledger.rows_read += messages.rejected;
        self.ledger.rejected += messages.rejected;
        for (table, lane) in self.ledger.tables.iter_mut().zip(messages.lanes.iter()) {
            table.rejected += lane.rejected;
        }
        joined
    }

    /// What became of the trades so far.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn apply(&mut self, messages: &Messages, at_rows: std::ops::RangeInclusive<u32>) {
        for (table, lane) in messages.lanes.iter().enumerate() {
            for change in (0..lane.len()).filter(|&change| at_rows.contains(&lane.at_rows[change])) {
                let spec = &self.specs[table];
                let is_upsert = lane.kinds[change] == ChangeKind::Upsert;
                let (validity, version) = (lane.validity(change), lane.version(change));
                let values = is_upsert.then(|| values(spec, lane, change));
                let row = Row { from: validity.from, to: validity.to, version, values };
                let rows = self.tables[table].entry(lane.keys[change].0).or_default();
                let account = &mut self.ledger.tables[table];
                let replaced = match spec.look_up {
                    LookUp::Latest => put_latest(rows, row),
                    LookUp::LatestVersion => put_version(spec, rows, row, account),
                    LookUp::AsOf { .. } => put_as_of(rows, row, account),
                };
                if messages.loading {
                    account.rows_loaded += 1;
                    account.duplicates += u64::from(replaced && is_upsert);
                } else {
                    account.changes += 1;
                }
            }
        }
    }

    fn join(&mut self, messages: &Messages, row: usize) -> Option<Joined> {
        let mut columns = Vec::new();
        let mut missed = false;
        for (table, spec) in self.specs.iter().enumerate() {
            let keys = &messages.keys[table];
            let time =
                messages.times.as_ref().filter(|times| times.is_valid(row)).map(|times| times.value(row));
            let rows = if keys.is_null(row) { None } else { self.tables[table].get(&keys.value(row)) };
            let rows = rows.map(Vec::as_slice).unwrap_or_default();
            let found = match spec.look_up {
                LookUp::Latest | LookUp::LatestVersion => rows.first(),
                LookUp::AsOf { tolerance } => {
                    self.ledger.tables[table].untimed += u64::from(time.is_none());
                    time.and_then(|time| rows.iter().find(|row| is_seen(row, rows, time, tolerance)))
                }
            };
            match found.and_then(|row| row.values.as_ref()) {
                Some(values) => {
                    self.ledger.tables[table].matched += 1;
                    columns.extend(values.iter().cloned());
                }
                None => {
                    self.ledger.tables[table].missed += 1;
                    missed = true;
                    columns.extend(spec.outputs.iter().map(|_| None));
                }
            }
        }
        self.ledger.rows_read += 1;
        match (missed, self.keep_unmatched) {
            (false, _) => self.ledger.enriched += 1,
            (true, true) => self.ledger.unmatched_kept += 1,
            (true, false) => {
                self.ledger.unmatched_dropped += 1;
                return None;
            }
        }
        Some(Joined { row, columns })
    }
}

/// Puts a row in the place of any other of its key; tells whether there was one.
fn put_latest(rows: &mut Vec<Row>, row: Row) -> bool {
    let replaced = !rows.is_empty();
    rows.clear();
    rows.extend(row.values.is_some().then_some(row));
    replaced
}

/// Puts a row in the place of one with a lower version, or with the same one and
/// lesser content; that there is no row is the greatest content.
fn put_version(spec: &TableSpec, rows: &mut Vec<Row>, row: Row, account: &mut TableLedger) -> bool {
    let Some(old) = rows.first() else {
        rows.push(row);
        return false;
    };
    let replaced = old.values.is_some();
    let content = match (&row.values, &old.values) {
        (Some(new), Some(old)) => compare(spec, new, old),
        (new, old) => new.is_none().cmp(&old.is_none()),
    };
    match row.version.cmp(&old.version) {
        Ordering::Less => account.stale += 1,
        Ordering::Equal if content == Ordering::Equal => return false,
        Ordering::Equal => account.conflicts += 1,
        Ordering::Greater => {}
    }
    if row.version.cmp(&old.version).then(content) == Ordering::Greater {
        rows[0] = row;
        return replaced;
    }
    false
}

fn compare(spec: &TableSpec, new: &[Option<String>], old: &[Option<String>]) -> Ordering {
    let number = |text: &Option<String>| text.as_ref().map(|text| text.parse::<i64>().expect("a number"));
    let columns = spec.outputs.iter().zip(new.iter().zip(old));
    let mut orders = columns.map(|(output, (new, old))| match output.column_type {
        ColumnType::Text => new.as_ref().map(String::as_bytes).cmp(&old.as_ref().map(String::as_bytes)),
        _ => number(new).cmp(&number(old)),
    });
    orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// Puts a row among those of other times, or in the place of that with the same
/// beginning, which it tells; a row that overlaps another is refused.
fn put_as_of(rows: &mut Vec<Row>, row: Row, account: &mut TableLedger) -> bool {
    if row.values.is_none() {
        rows.retain(|other| row.from != INTEGER_NULL && other.from != row.from);
        return false;
    }
    let holds =
        |row: &Row, other: &Row| row.to != INTEGER_NULL && row.from < other.from && other.from < row.to;
    if rows.iter().any(|other| holds(other, &row) || holds(&row, other)) {
        account.overlaps += 1;
        return false;
    }
    let len = rows.len();
    rows.retain(|other| other.from != row.from);
    let replaced = rows.len() < len;
    rows.push(row);
    replaced
}

/// Whether of `rows`, all those of a key, `row` is the one that a trade at `time`
/// sees.
fn is_seen(row: &Row, rows: &[Row], time: i64, tolerance: Option<u64>) -> bool {
    let next = rows.iter().map(|other| other.from).filter(|&from| from > row.from).min();
    let end = if row.to == INTEGER_NULL { next } else { Some(row.to) };
    let age = i128::from(time) - i128::from(row.from);
    let is_recent = tolerance.is_none_or(|most| row.from != INTEGER_NULL && age <= i128::from(most));
    row.from <= time && end.is_none_or(|end| time < end) && is_recent
}

fn values(spec: &TableSpec, lane: &ChangeLane, change: usize) -> Vec<Option<String>> {
    let value = |source| match source {
        OutputSource::Field(field) => text(&lane.fields[field], change),
        OutputSource::Option(field, part) => match &lane.fields[field] {
            Column::Options(options) => Some(part_text(&options[change], part)),
            _ => None,
        },
    };
    spec.outputs.iter().map(|output| value(output.source)).collect()
}

fn part_text(option: &OccSymbol, part: OptionPart) -> String {
    let OccSymbol { ticker, expiry, option_type, strike } = option;
    let date = expiry.to_string().replace('-', "");
    let letter = option_type.to_string().to_uppercase().remove(0);
    let tail = format!("{}{letter}{:08}", &date[2..], strike.thousandths());
    match part {
        OptionPart::Compact => format!("{ticker}{tail}"),
        OptionPart::Padded => format!("{:<6}{tail}", ticker.to_string()),
        OptionPart::Ticker => ticker.to_string(),
        OptionPart::Strike => strike.thousandths().to_string(),
        OptionPart::Expiry => expiry.epoch_days().to_string(),
        OptionPart::OptionType => option_type.to_string(),
    }
}

/// The text of a value, to compare an engine's column with [`Joined::columns`]:
/// integers in decimal, whatever they stand for.
///
/// # Panics
/// If `row` is out of bounds, or the column is one of options.
#[must_use]
pub fn text(column: &Column, row: usize) -> Option<String> {
    match column {
        Column::Text(texts) => texts.get(row).map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
        Column::Integers(values) => Some(values[row]).filter(|&v| v != INTEGER_NULL).map(|v| v.to_string()),
        Column::Options(_) => unreachable!("options are never an answer"),
    }
}
