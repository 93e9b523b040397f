//! The worker of one shard.

use tradejoin_model::{Answer, Routed, ShardIndex, TableAnswer, TableRoute, TableSpec};

use crate::shard_table::{ShardTable, Task};

/// What a worker has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerCounts {
    /// Batches that came by.
    pub batches: u64,
    /// Look-ups, in all tables.
    pub looked_up: u64,
    /// Changes applied, in all tables.
    pub changes: u64,
}

/// A shard's tables and the look-ups in them.
#[derive(Debug)]
pub struct Worker {
    shard: ShardIndex,
    tables: Vec<ShardTable>,
    counts: WorkerCounts,
}

impl Worker {
    /// The worker of `shard`, with empty tables.
    #[must_use]
    pub fn new(shard: ShardIndex, tables: &[TableSpec]) -> Self {
        let tables = tables.iter().map(|table| ShardTable::new(table.outputs.clone().into())).collect();
        Self { shard, tables, counts: WorkerCounts::default() }
    }

    /// Applies the shard's changes of a batch and looks up its rows. The answer
    /// matters to the merger only if [`Routed::is_answered_by`] this shard.
    ///
    /// # Panics
    /// If the batch was routed for other tables or fewer shards, or a change's
    /// fields are not those of its table.
    pub fn step(&mut self, routed: &Routed) -> Answer {
        let answers_whole = routed.whole_shard() == self.shard;
        let messages = &routed.batch.messages;
        let tables = self.tables.iter_mut().zip(&routed.routes).enumerate().map(|(index, (table, route))| {
            let task = Task { keys: &messages.keys[index], lane: &messages.lanes[index] };
            step_table(table, route, &task, self.shard, answers_whole, &mut self.counts)
        });
        let answer = Answer { shard: self.shard, tables: tables.collect() };
        self.counts.batches += 1;
        answer
    }

    /// What the worker has done so far.
    #[must_use]
    pub fn counts(&self) -> WorkerCounts {
        self.counts
    }

    /// Bytes of memory in the shard's tables; a generation that all shards
    /// share is not counted.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.tables.iter().map(ShardTable::memory_bytes).sum()
    }
}

fn step_table(
    table: &mut ShardTable,
    route: &TableRoute,
    task: &Task<'_>,
    shard: ShardIndex,
    answers_whole: bool,
    counts: &mut WorkerCounts,
) -> TableAnswer {
    let shard = shard.as_usize();
    let (rows, changes) = match route {
        TableRoute::Partitioned(partition) => (partition.rows[shard].len(), partition.changes[shard].len()),
        TableRoute::Whole { .. } => (if answers_whole { task.keys.len() } else { 0 }, task.lane.len()),
    };
    counts.looked_up += rows as u64;
    counts.changes += changes as u64;
    match route {
        TableRoute::Partitioned(partition) => {
            table.step(task, partition.rows[shard].iter().copied(), partition.changes[shard].iter().copied())
        }
        TableRoute::Whole { generation } => {
            table.pin(generation.as_ref());
            // Row and change numbers are below 2^32: `Messages::new` checks it.
            let answer = table.step(task, 0..rows as u32, 0..changes as u32);
            // Every shard applies every change, and one reports on them.
            if answers_whole { answer } else { TableAnswer { replaced: 0, ..answer } }
        }
    }
}
