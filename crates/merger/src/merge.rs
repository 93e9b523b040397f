//! One batch and all its answers, made into enriched trades.

use tradejoin_model::{
    Answer, Column, Enriched, Ledger, Partition, Routed, TableAnswer, TableRoute, TableSpec,
};

use crate::merger::Unmatched;

/// Puts the answers at their rows and accounts for every trade.
///
/// `answers` are those of the shards that answer, in the order of the shards.
pub(crate) fn merge(
    tables: &[TableSpec],
    routed: &Routed,
    mut answers: Vec<Answer>,
    unmatched: Unmatched,
    ledger: &mut Ledger,
) -> Enriched {
    let messages = &routed.batch.messages;
    let rows = messages.trades.num_rows();
    let mut columns = Vec::new();
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
        match &routed.routes[index] {
            TableRoute::Partitioned(partition) => {
                columns.extend(scatter(table, partition, &answers, index, rows));
            }
            TableRoute::Whole { .. } => {
                // The shard whose turn it was is the only one with columns.
                let whole = routed.whole_shard();
                let answer = answers.iter_mut().find(|answer| answer.shard == whole);
                let answer = answer.map(|answer| std::mem::take(&mut answer.tables[index]));
                columns.extend(answer.unwrap_or_default().columns);
            }
        }
    }
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

/// The columns of a partitioned table: the shards' dense values at their rows.
fn scatter(
    table: &TableSpec,
    partition: &Partition,
    answers: &[Answer],
    index: usize,
    rows: usize,
) -> Vec<Column> {
    let scatter_column = |(column, output): (usize, &tradejoin_model::OutputColumn)| {
        let mut out = Column::new(output.column_type);
        out.resize(rows);
        for answer in answers {
            let TableAnswer { columns, .. } = &answer.tables[index];
            out.scatter(&partition.rows[answer.shard.as_usize()], &columns[column]);
        }
        out
    };
    table.outputs.iter().enumerate().map(scatter_column).collect()
}
