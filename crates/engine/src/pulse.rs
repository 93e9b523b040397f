//! What the threads of a run are at, for others to look at.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use tradejoin_flow::Task;
use tradejoin_model::{BatchIndex, ShardIndex};

use crate::error::Stage;

/// What each thread of a run is at: a handle, whose clones show the same. Looking never
/// touches a thread of the run, and being looked at costs a thread one store per task.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Of each thread: a count, a shard and a stage.
    threads: Vec<CachePadded<AtomicU64>>,
    /// Parts of a task that may be long.
    parts: AtomicU64,
}

/// What a thread is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doing {
    /// The stage; `None` if the thread has nothing to do.
    pub stage: Option<Stage>,
    /// Another number whenever it has come further.
    pub tick: u64,
}

const STAGE_BITS: u32 = 8;
const SHARD_BITS: u32 = 16;

impl Pulse {
    /// Of so many threads of shards, and one that keeps the run and ends it.
    pub(crate) fn new(shards: usize) -> Self {
        let threads = (0..=shards).map(|_| CachePadded::default()).collect();
        Self(Arc::new(Shared { threads, parts: AtomicU64::new(0) }))
    }

    /// What each thread is at: those of the shards, and that which keeps the run and ends it.
    #[must_use]
    pub fn threads(&self) -> Vec<Doing> {
        let parts = self.0.parts.load(Ordering::Relaxed);
        let doing = |word: &CachePadded<AtomicU64>| {
            let word = word.load(Ordering::Relaxed);
            let shard = ShardIndex((word >> STAGE_BITS) as u32 & ((1 << SHARD_BITS) - 1));
            let stage = stage_of((word & ((1 << STAGE_BITS) - 1)) as u8, shard);
            let parts = if stage == Some(Stage::Read) { parts } else { 0 };
            Doing { stage, tick: (word >> (STAGE_BITS + SHARD_BITS)).wrapping_add(parts) }
        };
        self.0.threads.iter().map(doing).collect()
    }

    /// Notes what a thread is at from now on. Nobody else notes it for this thread.
    pub(crate) fn enter(&self, thread: usize, stage: Option<Stage>) {
        let Some(word) = self.0.threads.get(thread) else { return };
        let shard = if let Some(Stage::LookUp(shard)) = stage { u64::from(shard.0) } else { 0 };
        let count = (word.load(Ordering::Relaxed) >> (STAGE_BITS + SHARD_BITS)).wrapping_add(1);
        let code = u64::from(stage.map_or(0, code_of));
        word.store((count << SHARD_BITS | shard) << STAGE_BITS | code, Ordering::Relaxed);
    }

    /// As [`Pulse::enter`], for what is done beside the shards.
    pub(crate) fn enter_beside(&self, stage: Option<Stage>) {
        self.enter(self.0.threads.len() - 1, stage);
    }

    /// Notes that reading has come further within its task.
    pub(crate) fn part(&self) {
        self.0.parts.fetch_add(1, Ordering::Relaxed);
    }
}

fn code_of(stage: Stage) -> u8 {
    match stage {
        Stage::Read => 1,
        Stage::Decode => 2,
        Stage::LookUp(_) => 3,
        Stage::Merge => 4,
        Stage::Hold => 5,
        Stage::Encode => 6,
        Stage::Write => 7,
        Stage::Keep => 8,
        Stage::Schedule => 9,
    }
}

fn stage_of(code: u8, shard: ShardIndex) -> Option<Stage> {
    Some(match code {
        1 => Stage::Read,
        2 => Stage::Decode,
        3 => Stage::LookUp(shard),
        4 => Stage::Merge,
        5 => Stage::Hold,
        6 => Stage::Encode,
        7 => Stage::Write,
        8 => Stage::Keep,
        9 => Stage::Schedule,
        _ => return None,
    })
}

/// Where a thread is: what a panic is told with.
pub(crate) struct At<'p> {
    pulse: &'p Pulse,
    thread: usize,
    pub(crate) stage: Stage,
    pub(crate) batch: Option<BatchIndex>,
}

impl<'p> At<'p> {
    /// At the beginning of a task.
    pub(crate) fn new<M, P>(pulse: &'p Pulse, thread: usize, task: &Task<M, P>) -> Self {
        let (stage, batch) = match task {
            Task::Read => (Stage::Read, None),
            Task::LookUp(shard, routed) => (Stage::LookUp(*shard), Some(routed.batch.index)),
            Task::Pass(index, _) => (Stage::Hold, Some(*index)),
            Task::Write(index, ..) => (Stage::Write, Some(*index)),
        };
        pulse.enter(thread, Some(stage));
        Self { pulse, thread, stage, batch }
    }

    pub(crate) fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.pulse.enter(self.thread, Some(stage));
    }
}

impl Drop for At<'_> {
    fn drop(&mut self) {
        self.pulse.enter(self.thread, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_is_at_is_seen_and_whether_it_has_come_further() {
        let pulse = Pulse::new(2);
        let stages = [
            Stage::Read,
            Stage::Decode,
            Stage::LookUp(ShardIndex(999)),
            Stage::Merge,
            Stage::Hold,
            Stage::Encode,
            Stage::Write,
            Stage::Keep,
            Stage::Schedule,
        ];
        for (done, stage) in stages.into_iter().enumerate() {
            pulse.enter(1, Some(stage));
            let tick = done as u64 + 1;
            assert_eq!(pulse.threads()[1], Doing { stage: Some(stage), tick });
        }
        let mut at = At::new(&pulse, 0, &Task::<(), ()>::Read);
        pulse.part();
        assert_eq!(pulse.threads()[0], Doing { stage: Some(Stage::Read), tick: 2 });
        at.enter(Stage::Decode);
        assert_eq!(pulse.threads()[0], Doing { stage: Some(Stage::Decode), tick: 2 });
        drop(at);
        assert_eq!(pulse.threads()[0].stage, None);
        pulse.enter_beside(Some(Stage::Keep));
        assert_eq!(pulse.threads()[2].stage, Some(Stage::Keep));
    }
}
