//! The worker of one shard.

use tradejoin_model::{Answer, Applied, Routed, ShardIndex, TableAnswer, TableRoute, TableSpec};

use crate::shard_table::{Rows, ShardTable};

/// What a worker has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerCounts {
    /// Look-ups, in all tables.
    pub looked_up: u64,
    /// Rows that needed none, since another one of their key was looked up.
    pub repeated: u64,
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
        let tables = tables.iter().map(ShardTable::new).collect();
        Self { shard, tables, counts: WorkerCounts::default() }
    }

    /// The same worker, which tells what changes do to trades before them. To be
    /// called before the first batch.
    #[must_use]
    pub fn noting_effects(mut self) -> Self {
        self.tables.iter_mut().for_each(ShardTable::note_effects);
        self
    }

    /// Applies the shard's changes of a batch and looks up its rows. The answer
    /// matters to the merger only if [`Routed::is_answered_by`] this shard; its
    /// buffers are those of `spent`, an earlier answer of the same run or an
    /// empty one.
    ///
    /// # Panics
    /// If the batch was routed for other tables or fewer shards, or a change's
    /// fields are not those of its table.
    pub fn step(&mut self, routed: &Routed, spent: Answer) -> Answer {
        let mut answer = Answer { shard: self.shard, ..spent };
        answer.tables.resize_with(self.tables.len(), TableAnswer::default);
        for (index, answer) in answer.tables.iter_mut().enumerate() {
            self.step_table(index, routed, answer);
        }
        answer
    }

    fn step_table(&mut self, index: usize, routed: &Routed, answer: &mut TableAnswer) {
        let (shard, table) = (self.shard, &mut self.tables[index]);
        let messages = &routed.batch.messages;
        let (keys, times) = (&messages.keys[index], messages.times.as_ref());
        let lane = &messages.lanes[index];
        match &routed.routes[index] {
            TableRoute::Partitioned(partition) => {
                let stretches = partition.stretches.of_shard(shard);
                let rows = Rows::Selected(partition.rows.get(shard), stretches, &partition.stretches);
                let changes = partition.changes.get(shard);
                table.step(keys, times, rows, lane, changes.iter().copied(), answer);
                let in_stretches: usize = stretches.iter().map(|stretch| stretch.rows.len()).sum();
                let look_ups = answer.parts.look_ups();
                self.counts.looked_up += rows.len() as u64 + look_ups;
                self.counts.repeated += u64::from(partition.repeats.count(shard));
                self.counts.repeated += in_stretches as u64 - look_ups;
                self.counts.changes += changes.len() as u64;
            }
            TableRoute::Whole { generation } => {
                let answers = routed.whole_shard == self.shard;
                let rows = Rows::First(if answers { keys.len() } else { 0 });
                table.pin(generation.as_ref());
                table.step(keys, times, rows, lane, 0..lane.len() as u32, answer);
                self.counts.looked_up += rows.len() as u64;
                self.counts.changes += lane.len() as u64;
                if !answers {
                    // Every shard applies every change, and one reports on them.
                    answer.applied = Applied::default();
                    answer.appeared.clear();
                    answer.effects.clear();
                }
            }
        }
    }

    /// The shard that the worker is of.
    #[must_use]
    pub fn shard(&self) -> ShardIndex {
        self.shard
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

#[cfg(test)]
mod tests;
