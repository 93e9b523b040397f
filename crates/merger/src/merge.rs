//! One batch and all its answers, made into enriched trades.

use tradejoin_model::{Answer, Column, Enriched, Ledger, Partition, Routed, TableRoute, TableSpec};

use crate::merger::Unmatched;

/// Memory to use again.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// The columns of an enriched batch that is done with.
    pub(crate) columns: Vec<Column>,
    /// Answers that have been merged.
    pub(crate) spent: Vec<Answer>,
}

/// Puts the answers at their rows and accounts for every trade.
///
/// `answers` are those of the shards that answer, in the order of the shards.
pub(crate) fn merge(
    tables: &[TableSpec],
    routed: &Routed,
    mut answers: Vec<Answer>,
    unmatched: Unmatched,
    ledger: &mut Ledger,
    buffers: &mut Buffers,
) -> Enriched {
    let messages = &routed.batch.messages;
    let rows = messages.trades.num_rows();
    let mut old_columns = std::mem::take(&mut buffers.columns).into_iter();
    let mut columns = Vec::with_capacity(old_columns.len());
    let mut matched = Matched { rows, marks: None };
    for (index, table) in tables.iter().enumerate() {
        let misses_before = matched.lookups_missed(index, routed, &answers);
        let account = &mut ledger.tables[index];
        account.matched += rows as u64 - misses_before;
        account.missed += misses_before;
        let (changes, replaced) = (messages.lanes[index].len() as u64, replaced(&answers, index));
        if messages.loading {
            account.rows_loaded += changes;
            account.duplicates += replaced;
        } else {
            account.changes += changes;
        }
        account.rejected += messages.lanes[index].rejected;
        // The columns of the last batch, which had the same tables.
        let mut old: Vec<Column> = old_columns.by_ref().take(table.outputs.len()).collect();
        old.resize_with(table.outputs.len(), || Column::Integers(Vec::new()));
        match &routed.routes[index] {
            TableRoute::Partitioned(partition) => scatter(table, partition, &answers, index, rows, &mut old),
            TableRoute::Whole { .. } => {
                // The shard whose turn it was is the only one with columns; it
                // gets the old ones in exchange.
                let whole = routed.whole_shard();
                if let Some(answer) = answers.iter_mut().find(|answer| answer.shard == whole) {
                    std::mem::swap(&mut old, &mut answer.tables[index].columns);
                }
            }
        }
        columns.append(&mut old);
    }
    buffers.spent.append(&mut answers);
    let missed = matched.missed_rows();
    ledger.rows_read += rows as u64 + messages.rejected;
    ledger.rejected += messages.rejected;
    ledger.enriched += (rows - missed) as u64;
    let (kept, rows_kept) = match unmatched {
        Unmatched::Keep => {
            ledger.unmatched_kept += missed as u64;
            (None, rows)
        }
        Unmatched::Drop => {
            ledger.unmatched_dropped += missed as u64;
            (matched.marks, rows - missed)
        }
    };
    Enriched {
        index: routed.batch.index,
        first_position: routed.batch.first_position,
        messages: std::sync::Arc::clone(messages),
        columns,
        kept,
        rows_kept,
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

/// Upserts that found their key there already.
fn replaced(answers: &[Answer], table: usize) -> u64 {
    answers.iter().map(|answer: &Answer| answer.tables[table].replaced).sum()
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
            column.scatter(&partition.rows[answer.shard.as_usize()], &answer.tables[index].columns[number]);
        }
    }
}
