//! One batch and all its answers, made into enriched trades.

use std::sync::Arc;

use tradejoin_model::{
    Answer, Applied, Column, Enriched, Ledger, LookUp, Partition, Position, Routed, TableRoute, TableSpec,
};

/// What becomes of a trade that misses in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmatched {
    /// It is dropped, and counted.
    #[default]
    Drop,
    /// It is passed on with that table's columns empty, and counted.
    Keep,
}

/// Makes enriched batches of answers: one for each thread, for the memory that
/// it uses again.
#[derive(Debug)]
pub struct Merger {
    tables: Vec<TableSpec>,
    unmatched: Unmatched,
    /// The columns of an enriched batch that is done with.
    columns: Vec<Column>,
    /// Answers that have been merged.
    spent: Vec<Answer>,
}

impl Merger {
    /// A merger for tables in the order in which batches have them.
    #[must_use]
    pub fn new(tables: &[TableSpec], unmatched: Unmatched) -> Self {
        Self { tables: tables.to_vec(), unmatched, columns: Vec::new(), spent: Vec::new() }
    }

    /// Puts the answers at their rows, and tells what became of every trade.
    ///
    /// `answers` are those of all shards that answer, in any order;
    /// `first_position` is the place of the batch's first message.
    pub fn merge(
        &mut self,
        routed: &Routed,
        first_position: Position,
        mut answers: Vec<Answer>,
    ) -> (Enriched, Ledger) {
        let messages = &routed.batch.messages;
        let rows = messages.trades.num_rows();
        let mut ledger = Ledger::new(self.tables.len());
        let mut old_columns = std::mem::take(&mut self.columns).into_iter();
        let mut columns = Vec::with_capacity(old_columns.len());
        let mut matched = Matched { rows, marks: None };
        for (index, table) in self.tables.iter().enumerate() {
            let account = &mut ledger.tables[index];
            account.missed = matched.lookups_missed(index, routed, &answers);
            account.matched = rows as u64 - account.missed;
            account.rejected = messages.lanes[index].rejected;
            if matches!(table.look_up, LookUp::AsOf { .. }) {
                account.untimed = messages.untimed();
            }
            let (changes, applied) = (messages.lanes[index].len() as u64, applied(&answers, index));
            if messages.loading {
                (account.rows_loaded, account.duplicates) = (changes, applied.replaced);
            } else {
                account.changes = changes;
            }
            account.stale = applied.stale;
            account.conflicts = applied.conflicts;
            account.overlaps = applied.overlaps;
            // The columns of the last batch, which had the same tables.
            let mut old: Vec<Column> = old_columns.by_ref().take(table.outputs.len()).collect();
            old.resize_with(table.outputs.len(), || Column::Integers(Vec::new()));
            match &routed.routes[index] {
                TableRoute::Partitioned(partition) => {
                    scatter(table, partition, &answers, index, rows, &mut old);
                }
                TableRoute::Whole { .. } => {
                    // The shard whose turn it was is the only one with columns;
                    // it gets the old ones in exchange.
                    if let Some(answer) = answers.iter_mut().find(|answer| answer.shard == routed.whole_shard)
                    {
                        std::mem::swap(&mut old, &mut answer.tables[index].columns);
                    }
                }
            }
            columns.append(&mut old);
        }
        self.spent.append(&mut answers);
        // Other threads merge, too: what they are short of is too much here.
        self.spent.truncate(routed.shards.as_usize() + 1);
        let missed = matched.missed_rows();
        ledger.rows_read = rows as u64 + messages.rejected;
        ledger.rejected = messages.rejected;
        ledger.enriched = (rows - missed) as u64;
        let (kept, rows_kept) = match self.unmatched {
            Unmatched::Keep => {
                ledger.unmatched_kept = missed as u64;
                (None, rows)
            }
            Unmatched::Drop => {
                ledger.unmatched_dropped = missed as u64;
                (matched.marks, rows - missed)
            }
        };
        let enriched = Enriched {
            index: routed.batch.index,
            first_position,
            messages: Arc::clone(messages),
            columns,
            kept,
            rows_kept,
        };
        (enriched, ledger)
    }

    /// Takes back the columns of a batch that is done with, to use their memory
    /// again.
    pub fn recycle(&mut self, columns: Vec<Column>) {
        self.columns = columns;
    }

    /// Takes back the memory of an answer.
    pub fn recycle_answer(&mut self, answer: Answer) {
        self.spent.push(answer);
    }

    /// The memory of an answer that has been merged, for another.
    pub fn take_spent(&mut self) -> Option<Answer> {
        self.spent.pop()
    }
}

/// Which rows have found a match in every table so far.
struct Matched {
    rows: usize,
    /// A mark for each row; `None` while all have.
    marks: Option<Vec<bool>>,
}

impl Matched {
    /// Marks the rows that missed in a table, and counts them.
    fn lookups_missed(&mut self, table: usize, routed: &Routed, answers: &[Answer]) -> u64 {
        let mut missed = 0;
        let unkeyed = match &routed.routes[table] {
            TableRoute::Partitioned(partition) => partition.unkeyed.as_slice(),
            TableRoute::Whole { .. } => &[],
        };
        for rows in answers.iter().map(|answer| answer.tables[table].missed.as_slice()).chain([unkeyed]) {
            missed += rows.len() as u64;
            if !rows.is_empty() {
                let marks = self.marks.get_or_insert_with(|| vec![true; self.rows]);
                rows.iter().for_each(|&row| marks[row as usize] = false);
            }
        }
        missed
    }

    fn missed_rows(&self) -> usize {
        self.marks.as_ref().map_or(0, |marks| marks.iter().filter(|&&matched| !matched).count())
    }
}

/// What became of the changes, in all shards.
fn applied(answers: &[Answer], table: usize) -> Applied {
    answers.iter().fold(Applied::default(), |mut sum, answer| {
        sum += answer.tables[table].applied;
        sum
    })
}

/// Fills the columns of a partitioned table: the shards' dense values at their
/// rows.
fn scatter(
    table: &TableSpec,
    partition: &Partition,
    answers: &[Answer],
    index: usize,
    rows: usize,
    columns: &mut [Column],
) {
    for (number, (output, column)) in table.outputs.iter().zip(columns).enumerate() {
        column.reset(output.column_type, rows);
        for answer in answers {
            column.scatter(partition.rows.get(answer.shard), &answer.tables[index].columns[number]);
        }
    }
}
