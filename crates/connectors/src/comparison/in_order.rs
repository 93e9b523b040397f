//! Two sequences of rows, side by side.

use std::collections::VecDeque;

use tradejoin_flow::BoxError;

use super::found::Found;
use super::rows::Row;
use super::{Compared, Comparison, Differences, hash};

/// The rows that should be there and those that are, as far as they are not compared.
pub(super) struct InOrder {
    expected: VecDeque<Row>,
    found: VecDeque<Row>,
    is_found_at_end: bool,
    /// Rows of the output that were compared.
    rows_done: u64,
    /// Sums over the hashes of all rows: equal if the rows are, in whatever order.
    sums: [u64; 2],
    differences: Differences,
}

impl InOrder {
    pub(super) fn new(key: Option<usize>, shown_max: usize) -> Self {
        Self {
            expected: VecDeque::new(),
            found: VecDeque::new(),
            is_found_at_end: false,
            rows_done: 0,
            sums: [0; 2],
            differences: Differences::new(key, shown_max),
        }
    }

    pub(super) fn push(
        &mut self,
        mut rows: VecDeque<Row>,
        found: &mut Found,
        columns: &[String],
    ) -> Result<(), BoxError> {
        self.differences.compared.rows_expected += rows.len() as u64;
        self.expected.append(&mut rows);
        self.compare(found, columns, false)
    }

    pub(super) fn finish(mut self, found: &mut Found, columns: &[String]) -> Result<Compared, BoxError> {
        self.compare(found, columns, true)?;
        let missing = self.expected.len() as u64;
        while let Some(row) = self.expected.pop_front() {
            self.note_missing(&row, columns);
        }
        loop {
            while let Some(row) = self.found.pop_front() {
                self.note_extra(&row, columns);
            }
            if !found.fill(&mut self.found)? {
                break;
            }
        }
        let compared = &mut self.differences.compared;
        compared.missing_at_end += missing;
        compared.rows_found = found.rows_read;
        let is_different = compared.altered + compared.missing + compared.extra > 0;
        compared.is_reordered =
            is_different && compared.rows_found == compared.rows_expected && self.sums[0] == self.sums[1];
        Ok(self.differences.compared)
    }

    /// Compares as far as it can be told: where rows differ, only with a window of both
    /// sides, unless one has come to its end.
    fn compare(&mut self, found: &mut Found, columns: &[String], is_last: bool) -> Result<(), BoxError> {
        loop {
            while self.found.len() < Comparison::WINDOW && !self.is_found_at_end {
                self.is_found_at_end = !found.fill(&mut self.found)?;
            }
            if self.found.is_empty() && !is_last {
                // The rest is missing; its rows are not kept.
                self.differences.compared.missing_at_end += self.expected.len() as u64;
                while let Some(row) = self.expected.pop_front() {
                    self.note_missing(&row, columns);
                }
                return Ok(());
            }
            let (Some(expected), Some(there)) = (self.expected.front(), self.found.front()) else {
                return Ok(());
            };
            if expected == there {
                let sum = hash(expected);
                self.sums = self.sums.map(|before| before.wrapping_add(sum));
                self.expected.pop_front();
                self.found.pop_front();
                self.rows_done += 1;
                self.differences.compared.ends_broken = false;
                continue;
            }
            if self.expected.len() < Comparison::WINDOW && !is_last {
                return Ok(());
            }
            self.go_over(columns);
        }
    }

    /// Goes over the rows from which on both sides differ, to where they meet again.
    fn go_over(&mut self, columns: &[String]) {
        let (expected, found) = (&self.expected, &self.found);
        let next_meet = expected.get(1).is_some_and(|row| Some(row) == found.get(1));
        let is_altered = self.differences.are_one_trade(&expected[0], &found[0]) || next_meet;
        let ahead =
            |rows: &VecDeque<Row>, of: &Row| rows.iter().take(Comparison::WINDOW).position(|row| row == of);
        let (missing, extra) =
            if is_altered { (None, None) } else { (ahead(expected, &found[0]), ahead(found, &expected[0])) };
        match (missing, extra) {
            (Some(missing), extra) if extra.is_none_or(|extra| missing <= extra) => {
                for row in self.expected.drain(..missing).collect::<Vec<_>>() {
                    self.note_missing(&row, columns);
                }
            }
            (_, Some(extra)) => {
                for row in self.found.drain(..extra).collect::<Vec<_>>() {
                    self.note_extra(&row, columns);
                }
            }
            _ => self.note_altered(columns),
        }
    }

    fn note_altered(&mut self, columns: &[String]) {
        let (Some(expected), Some(found)) = (self.expected.pop_front(), self.found.pop_front()) else {
            return;
        };
        self.add([Some(&expected), Some(&found)]);
        self.rows_done += 1;
        self.differences.note(self.rows_done, Some(&found), Some(&expected), columns);
    }

    fn note_missing(&mut self, row: &Row, columns: &[String]) {
        self.add([Some(row), None]);
        let ends_broken = self.differences.compared.ends_broken;
        self.differences.note(self.rows_done + 1, None, Some(row), columns);
        self.differences.compared.ends_broken = ends_broken;
    }

    fn note_extra(&mut self, row: &Row, columns: &[String]) {
        self.add([None, Some(row)]);
        self.rows_done += 1;
        self.differences.note(self.rows_done, Some(row), None, columns);
    }

    fn add(&mut self, rows: [Option<&Row>; 2]) {
        for (sum, row) in self.sums.iter_mut().zip(rows) {
            *sum = sum.wrapping_add(row.map_or(0, hash));
        }
    }
}
