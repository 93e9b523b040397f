//! The board, router, workers and merger in one thread: which virtual thread
//! moves next, and how far, a seed decides. Every interleaving that threads
//! could make, and it replays.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;
use tradejoin_engine::{EngineError, Order};
use tradejoin_flow::Revise as _;
use tradejoin_flow::{Board, Claim, Complete, Task};
use tradejoin_merger::{Merged, Merger, Passage};
use tradejoin_model::{
    Answer, Batch, BatchIndex, Enriched, Ledger, Messages, Routed, ShardCount, ShardIndex,
};
use tradejoin_router::Router;
use tradejoin_worker::Worker;

use crate::properties::config;
use crate::streams::{Case, Revisions, Rows, TABLES, case, difference, rows_of};

/// What a virtual thread does at its next step: the halves of a task, so that
/// others move between them.
#[derive(Debug, Default)]
enum Thread {
    #[default]
    Free,
    Asleep,
    Reading,
    Decoding(BatchIndex, Box<Messages>),
    LookingUp(ShardIndex, Arc<Routed>),
    LookedUp(ShardIndex, Answer),
    Merging(Complete),
    Merged(BatchIndex, Box<Merged>),
    Passing(BatchIndex, Box<Merged>),
    Passed(BatchIndex, Box<Enriched>, Ledger),
    Encoded(BatchIndex, Rows, Ledger),
    Writing(BatchIndex, Rows, Ledger),
    Ended,
}

struct Run {
    board: Board<Merged, Rows, String>,
    router: Router,
    merger: Merger,
    passage: Option<Passage>,
    revisions: Revisions,
    workers: Vec<Worker>,
    blocks: VecDeque<Messages>,
    threads: Vec<Thread>,
    rows: Rows,
    ledger: Ledger,
    window: usize,
}

impl Run {
    fn new(case: &Case) -> Self {
        let shards = ShardCount::new(case.shards).expect("in range");
        let tables = case.tables();
        let window = shards.as_usize() + case.queue_depth;
        Self {
            board: Board::new(shards.as_usize(), window, case.order != Order::Arrival),
            router: Router::new(shards, tables.clone()),
            merger: Merger::new(&tables).with_wait_column(true).with_corrections(case.corrections.is_some()),
            passage: Passage::new(&tables, case.hold_config(), case.corrections),
            revisions: Revisions::default(),
            workers: shards.shards().map(|shard| Worker::new(shard, &tables).noting_effects()).collect(),
            blocks: case.blocks().into(),
            threads: shards.shards().map(|_| Thread::Free).collect(),
            rows: Rows::new(),
            ledger: Ledger::new(TABLES),
            window,
        }
    }

    /// Moves a thread by a step; `false` if it cannot move.
    fn step(&mut self, number: usize) -> bool {
        let next = match std::mem::take(&mut self.threads[number]) {
            state @ (Thread::Asleep | Thread::Ended) => {
                self.threads[number] = state;
                return false;
            }
            Thread::Free => match self.board.claim(number) {
                Claim::Wait => Thread::Asleep,
                Claim::End => Thread::Ended,
                Claim::Task(Task::Read) => Thread::Reading,
                Claim::Task(Task::LookUp(shard, routed)) => Thread::LookingUp(shard, routed),
                Claim::Task(Task::Pass(index, merged)) => Thread::Passing(index, Box::new(merged)),
                Claim::Task(Task::Write(index, rows, account)) => Thread::Writing(index, rows, account),
            },
            Thread::Reading => {
                let block = self.blocks.pop_front();
                match (self.board.read(number, block.is_some()), block) {
                    (Some(index), Some(block)) => Thread::Decoding(index, Box::new(block)),
                    _ => Thread::Free,
                }
            }
            Thread::Decoding(index, messages) => {
                let batch = Batch { index, messages: Arc::new(*messages) };
                let generations: [_; TABLES] = Default::default();
                let routed = self.router.route(batch, &generations, ShardIndex(number as u32));
                self.board.routed(index, Ok(routed));
                Thread::Free
            }
            Thread::LookingUp(shard, routed) => {
                Thread::LookedUp(shard, self.workers[shard.as_usize()].step(&routed, Answer::default()))
            }
            Thread::LookedUp(shard, answer) => match self.board.answered(shard, answer) {
                Ok(Some(complete)) => Thread::Merging(complete),
                Ok(None) | Err(_) => Thread::Free,
            },
            Thread::Merging(Complete { routed, first_position, trades_before, answers }) => {
                let merged = self.merger.merge(&routed, first_position, trades_before, answers);
                Thread::Merged(routed.batch.index, Box::new(merged.expect("no table fails")))
            }
            Thread::Merged(index, merged) if self.passage.is_some() => {
                self.board.merged(index, *merged);
                Thread::Free
            }
            Thread::Merged(index, merged) => {
                Thread::Encoded(index, self.encode(&merged.enriched), merged.account)
            }
            Thread::Passing(index, merged) => {
                let passage = self.passage.as_mut().expect("batches pass where something does");
                let give = |revised| self.revisions.write(revised).map_err(EngineError::Revise);
                let (passed, account) = passage.pass(*merged, Instant::now(), give).expect("few rows");
                self.board.passed();
                Thread::Passed(index, Box::new(passed.assemble().expect("few rows")), account)
            }
            Thread::Passed(index, enriched, account) => {
                Thread::Encoded(index, self.encode(&enriched), account)
            }
            Thread::Encoded(index, rows, account) => {
                self.board.encoded(index, rows, account);
                Thread::Free
            }
            Thread::Writing(index, mut rows, account) => {
                self.rows.append(&mut rows);
                self.ledger.add(&account);
                self.board.written(number, index, rows);
                Thread::Free
            }
        };
        self.threads[number] = next;
        for woken in self.board.to_wake(number) {
            assert!(matches!(self.threads[woken], Thread::Asleep), "only sleepers are woken");
            self.threads[woken] = Thread::Free;
        }
        assert!(self.board.under_way() <= self.window, "no more than the window under way");
        true
    }

    fn encode(&self, enriched: &Enriched) -> Rows {
        rows_of(enriched)
    }

    /// Moves threads as `seed` decides until none can move.
    fn run(&mut self, mut seed: u64) {
        let threads = self.threads.len();
        loop {
            // Weyl sequence with a multiplicative finaliser: enough to pick.
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let first = (seed.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33) as usize;
            if !(0..threads).map(|n| (first + n) % threads).any(|thread| self.step(thread)) {
                return;
            }
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_interleaving_gives_the_oracle_rows(mut case in case(), seed: u64) {
        // Tables with sources of their own are loaded elsewhere.
        case.gated = true;
        let mut run = Run::new(&case);
        run.run(seed);
        let ended = run.threads.iter().all(|thread| matches!(thread, Thread::Ended));
        // What each has in its hands would fill pages.
        let state = |thread: &Thread| format!("{thread:?}").split('(').next().map(str::to_owned);
        prop_assert!(ended, "no thread sleeps for ever: {:?}", run.threads.iter().map(state).collect::<Vec<_>>());
        let mut passage = run.passage.take();
        let mut give = |revised| run.revisions.write(revised).map_err(EngineError::Revise);
        while let Some(passage) = &mut passage
            && let Some((passed, account)) = passage.finish(&mut give).expect("few rows")
        {
            run.rows.extend(rows_of(&passed.assemble().expect("few rows")));
            run.ledger.add(&account);
        }
        let (mut expected, revisions, ledger) = case.expected_revisions();
        if case.order == Order::Arrival {
            run.rows.sort();
            expected.sort();
        }
        prop_assert_eq!(difference(&run.rows, &expected), None);
        prop_assert_eq!(difference(&run.revisions.rows, &revisions), None);
        prop_assert_eq!(&run.ledger, &ledger);
    }
}
