//! Rows in any order, by their hashes.

use std::collections::{BTreeMap, VecDeque};

use tradejoin_flow::BoxError;

use super::found::Found;
use super::rows::Row;
use super::{Compared, Differences, hash};

/// Rows that have no partner yet.
pub(super) struct AnyOrder {
    /// By their hash: how many more should be there than are, and the last one.
    lone: BTreeMap<u64, (i64, Lone)>,
    /// Rows that are kept whole.
    kept: usize,
    rows_read: u64,
    differences: Differences,
}

/// A row without a partner: its number in the output, and if there are not too many, all
/// of it.
struct Lone {
    number: u64,
    row: Option<Row>,
    /// Whether it has been shown beside another.
    is_taken: bool,
}

impl Lone {
    fn take_row(&mut self) -> Option<Row> {
        self.is_taken = true;
        self.row.take()
    }
}

/// Most rows that are kept whole, to be shown: of others the hash is enough.
const KEPT_MAX: usize = 100_000;

impl AnyOrder {
    pub(super) fn new(key: Option<usize>, shown_max: usize) -> Self {
        let differences = Differences::new(key, shown_max);
        Self { lone: BTreeMap::new(), kept: 0, rows_read: 0, differences }
    }

    pub(super) fn push(&mut self, rows: VecDeque<Row>, found: &mut Found) -> Result<(), BoxError> {
        self.differences.compared.rows_expected += rows.len() as u64;
        rows.into_iter().for_each(|row| self.take(1, 0, row));
        while self.rows_read < self.differences.compared.rows_expected && self.read(found)? {}
        Ok(())
    }

    fn read(&mut self, found: &mut Found) -> Result<bool, BoxError> {
        let mut rows = VecDeque::new();
        let more = found.fill(&mut rows)?;
        for row in rows {
            self.rows_read += 1;
            self.take(-1, self.rows_read, row);
        }
        Ok(more)
    }

    /// Takes a row that should be there, or with -1 one that is.
    fn take(&mut self, step: i64, number: u64, row: Row) {
        let hash = hash(&row);
        let (count, lone) = self.lone.entry(hash).or_insert((0, Lone { number, row: None, is_taken: false }));
        *count += step;
        if *count == 0 {
            self.kept -= usize::from(lone.row.is_some());
            self.lone.remove(&hash);
        } else if lone.row.is_none() && self.kept < KEPT_MAX {
            *lone = Lone { number, row: Some(row), is_taken: false };
            self.kept += 1;
        }
    }

    pub(super) fn finish(mut self, found: &mut Found, columns: &[String]) -> Result<Compared, BoxError> {
        while self.read(found)? {}
        let (mut missing, mut extra) = (Vec::new(), Vec::new());
        let compared = &mut self.differences.compared;
        for (count, lone) in std::mem::take(&mut self.lone).into_values() {
            let lost = count.unsigned_abs() - 1;
            *if count > 0 { &mut compared.missing } else { &mut compared.extra } += lost;
            if count > 0 { missing.push(lone) } else { extra.push(lone) }
        }
        extra.sort_by_key(|lone| lone.number);
        // A row of the same trade is what another should be.
        let trade_id = |lone: &Lone| lone.row.as_ref().and_then(|row| self.differences.trade_id(row));
        let of_trades = missing.iter().enumerate();
        let mut of_trades: BTreeMap<_, _> =
            of_trades.filter_map(|(at, lone)| Some((trade_id(lone)?, at))).collect();
        let extra: Vec<_> = extra
            .into_iter()
            .map(|lone| (trade_id(&lone).and_then(|id| of_trades.remove(&id)), lone))
            .collect();
        for (partner, found) in extra {
            let partner = partner.and_then(|at| missing[at].take_row());
            match &found.row {
                Some(row) => self.differences.note(found.number, Some(row), partner.as_ref(), columns),
                None => self.differences.compared.extra += 1,
            }
        }
        for lone in missing {
            match (&lone.row, lone.is_taken) {
                (_, true) => {}
                (Some(row), _) => self.differences.note(self.rows_read + 1, None, Some(row), columns),
                (None, _) => self.differences.compared.missing += 1,
            }
        }
        self.differences.compared.rows_found = self.rows_read;
        Ok(self.differences.compared)
    }
}
