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

use std::collections::BTreeMap;

use arrow_array::Array as _;
use tradejoin_model::{
    ChangeKeys, ChangeKind, ChangeLane, Column, INTEGER_NULL, Keys, Ledger, Messages, OccSymbol, OptionPart,
    OutputSource, TableSpec,
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

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum OracleKey {
    Id(u32),
    Text(Vec<u8>),
}

/// The reference join.
#[derive(Debug)]
pub struct Oracle {
    specs: Vec<TableSpec>,
    tables: Vec<BTreeMap<OracleKey, Vec<Option<String>>>>,
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
                let key = change_key(lane, change);
                let old = match lane.kinds[change] {
                    ChangeKind::Upsert => {
                        let values = values(&self.specs[table], lane, change);
                        self.tables[table].insert(key, values)
                    }
                    ChangeKind::Delete => {
                        self.tables[table].remove(&key);
                        None
                    }
                };
                let account = &mut self.ledger.tables[table];
                if messages.loading {
                    account.rows_loaded += 1;
                    account.duplicates += u64::from(old.is_some());
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
            let key = trade_key(&messages.keys[table], row);
            let found = key.and_then(|key| self.tables[table].get(&key));
            match found {
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
