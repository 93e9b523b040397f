//! One batch and all its answers, made into enriched trades.

use std::sync::Arc;

use tradejoin_model::{
    Answer, Appeared, Applied, Column, Effects, Enriched, Ledger, LookUp, Partition, Position, Routed,
    TableRoute, TableSpec,
};

use crate::misses::{Miss, Misses, judge};
use crate::missing::MissedKeys;
use crate::stretched::Stretched;

/// Makes enriched batches of answers: one for each thread, for the memory that
/// it uses again.
#[derive(Debug)]
pub struct Merger {
    tables: Vec<TableSpec>,
    /// Whether there is a last column for how long a trade has waited.
    wait_column: bool,
    /// Whether trades are written again when their rows change.
    corrects: bool,
    /// The columns of an enriched batch that is done with.
    columns: Vec<Column>,
    /// Answers that have been merged.
    spent: Vec<Answer>,
}

impl Merger {
    /// A merger for tables in the order in which batches have them.
    #[must_use]
    pub fn new(tables: &[TableSpec]) -> Self {
        Self {
            tables: tables.to_vec(),
            wait_column: false,
            corrects: false,
            columns: Vec::new(),
            spent: Vec::new(),
        }
    }

    /// The same with a column behind all others for how many trades were read while
    /// a trade waited, which [`Holds`](crate::Holds) fill in.
    #[must_use]
    pub fn with_wait_column(self, wait_column: bool) -> Self {
        Self { wait_column, ..self }
    }

    /// The same of a run that [corrects](crate::Corrections).
    #[must_use]
    pub fn with_corrections(self, corrects: bool) -> Self {
        Self { corrects, ..self }
    }

    /// Puts the answers at their rows, and tells what became of every trade.
    ///
    /// `answers` are those of all shards that answer, in any order;
    /// `first_position` is the place of the batch's first message, and
    /// `trades_before` the number of trades before it that were not refused.
    ///
    /// # Errors
    /// If a trade misses in a table whose misses end the run.
    pub fn merge(
        &mut self,
        routed: &Routed,
        first_position: Position,
        trades_before: u64,
        mut answers: Vec<Answer>,
    ) -> Result<Merged, Miss> {
        let messages = &routed.batch.messages;
        let mut account = Ledger::new(self.tables.len());
        let of_table = |(index, table)| Stretched::new(table, index, routed, &answers);
        let stretched: Vec<_> = self.tables.iter().enumerate().map(of_table).collect();
        let mut misses = judge(&self.tables, routed, &answers, &stretched, trades_before, &mut account)?;
        for (index, account) in account.tables.iter_mut().enumerate() {
            account.rejected = messages.lanes[index].rejected;
            if matches!(self.tables[index].look_up, LookUp::AsOf { .. }) {
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
        }
        let columns = self.columns(routed, &mut answers, &stretched);
        let effects = if self.corrects && !messages.loading {
            (0..self.tables.len()).map(|table| effects(&mut answers, table)).collect()
        } else {
            Vec::new()
        };
        let appeared = (0..self.tables.len()).map(|table| appeared(&mut answers, table)).collect();
        self.spent.append(&mut answers);
        // Other threads merge, too: what they are short of is too much here.
        self.spent.truncate(routed.shards.as_usize() + 1);
        let enriched = Enriched {
            index: routed.batch.index,
            first_position,
            trades_before,
            numbers: None,
            messages: Arc::clone(messages),
            columns,
            rows_kept: account.rows_written() as usize,
            kept: misses.kept.take(),
            dead_letters: std::mem::take(&mut misses.dead_letters),
        };
        let Misses { waiting, missed, rows, .. } = misses;
        let lacking = if self.corrects || !waiting.is_empty() { rows } else { Vec::new() };
        Ok(Merged { enriched, account, missed, trades_before, waiting, lacking, appeared, effects })
    }

    /// The columns that the tables add, in memory of the batch before.
    fn columns(&mut self, routed: &Routed, answers: &mut [Answer], stretched: &[Stretched]) -> Vec<Column> {
        let rows = routed.batch.messages.trades.num_rows();
        let mut old_columns = std::mem::take(&mut self.columns).into_iter();
        let mut columns = Vec::with_capacity(old_columns.len());
        for (index, table) in self.tables.iter().enumerate() {
            // The columns of the last batch, which had the same tables.
            let mut old: Vec<Column> = old_columns.by_ref().take(table.outputs.len()).collect();
            old.resize_with(table.outputs.len(), || Column::Integers(Vec::new()));
            match &routed.routes[index] {
                TableRoute::Partitioned(partition) => {
                    for (column, output) in old.iter_mut().zip(&table.outputs) {
                        column.reset(output.column_type, rows);
                    }
                    scatter(partition, answers, index, &stretched[index], &mut old);
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
        columns.extend(self.wait_column.then(|| Column::Integers(vec![0; rows])));
        columns
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

/// A batch with its answers at their rows.
#[derive(Debug)]
pub struct Merged {
    /// What goes to the sink, but for trades that wait.
    pub enriched: Enriched,
    /// What became of its trades.
    pub account: Ledger,
    /// The keys that they looked for in vain, by table; empty if there are none.
    pub missed: Vec<MissedKeys>,
    /// How many trades were read before it.
    pub(crate) trades_before: u64,
    /// Rows that wait, rising, and the tables that they wait for: a bit for each.
    pub(crate) waiting: Vec<(u32, u64)>,
    /// Every row that missed, with the table, in this order; none if none waits and nothing is
    /// written again.
    pub(crate) lacking: Vec<(u32, usize)>,
    /// Of each table, the changes that a trade may have waited for, rising.
    pub(crate) appeared: Vec<Vec<Appeared>>,
    /// Of each table, what its changes do to trades before them, if that counts.
    pub(crate) effects: Vec<Effects>,
}

/// The changes of a table's lane that a trade may have waited for, rising; no
/// allocation if there are none.
fn appeared(answers: &mut [Answer], table: usize) -> Vec<Appeared> {
    let mut all = Vec::new();
    for answer in answers {
        all.append(&mut answer.tables[table].appeared);
    }
    all.sort();
    all
}

/// What the changes of a table's lane do to trades before them.
fn effects(answers: &mut [Answer], table: usize) -> Effects {
    let mut all = Effects::default();
    answers.iter_mut().for_each(|answer| all.append(&mut answer.tables[table].effects));
    all.sort();
    all
}

/// What became of the changes, in all shards.
fn applied(answers: &[Answer], table: usize) -> Applied {
    answers.iter().fold(Applied::default(), |mut sum, answer| {
        sum += answer.tables[table].applied;
        sum
    })
}

/// Fills the columns of a partitioned table, which are null: the shards' dense values
/// at their rows.
fn scatter(
    partition: &Partition,
    answers: &[Answer],
    index: usize,
    stretched: &Stretched,
    columns: &mut [Column],
) {
    for (number, column) in columns.iter_mut().enumerate() {
        for (at, answer) in answers.iter().enumerate() {
            let values = &answer.tables[index].columns[number];
            column.scatter(partition.rows.get(answer.shard), values);
            stretched.scatter(at, values, column);
        }
        column.repeat(partition.repeats.all());
        stretched.repeat(column);
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::RecordBatch;
    use tradejoin_model::{Batch, BatchIndex, Messages, ShardCount, ShardIndex};

    use super::*;

    #[test]
    fn the_memory_of_as_many_answers_as_a_batch_has_is_kept() {
        let shards = ShardCount::new(3).expect("within bounds");
        let messages =
            Messages::new(RecordBatch::new_empty(Arc::new(arrow_schema::Schema::empty())), vec![], vec![]);
        let batch = Batch { index: BatchIndex(0), messages: Arc::new(messages.expect("no trades")) };
        let routed = Routed { batch, routes: vec![], shards, whole_shard: ShardIndex(0) };
        let mut merger = Merger::new(&[]);
        let answer = |shard| Answer { shard, tables: vec![] };
        for _ in 0..3 {
            let answers = shards.shards().map(answer).collect();
            merger.merge(&routed, Position(0), 0, answers).expect("nothing is missed");
        }
        assert_eq!(std::iter::from_fn(|| merger.take_spent()).count(), 4, "and of one more");
        merger.recycle_answer(answer(ShardIndex(2)));
        assert_eq!(merger.take_spent().map(|answer| answer.shard), Some(ShardIndex(2)));
    }
}
