//! Router, workers and merger in one thread, stepped in an order that a seed
//! decides: every interleaving that threads could make, and it replays.

use std::collections::VecDeque;
use std::sync::Arc;

use proptest::prelude::*;
use tradejoin_engine::Order;
use tradejoin_merger::Merger;
use tradejoin_model::{Answer, Messages, Routed, Sequencer, ShardCount};
use tradejoin_router::Router;
use tradejoin_worker::Worker;

use crate::equals_oracle::config;
use crate::streams::{Case, Rows, TABLES, case, rows_of};

/// The stages of a run and the links between them.
struct Stages {
    router: Router,
    sequencer: Sequencer,
    blocks: VecDeque<Messages>,
    /// A routed batch that not every shard has taken yet, and who is next.
    sending: Option<(Arc<Routed>, usize)>,
    workers: Vec<Worker>,
    inboxes: Vec<VecDeque<Arc<Routed>>>,
    /// An answer that the link to the merger had no room for.
    stuck: Vec<Option<(Arc<Routed>, Answer)>>,
    answers: VecDeque<(Arc<Routed>, Answer)>,
    merger: Merger,
    rows: Rows,
    depth: usize,
    most_waiting: usize,
}

impl Stages {
    fn new(case: &Case) -> Self {
        let shards = ShardCount::new(case.shards).expect("in range");
        let tables = case.tables();
        Self {
            router: Router::new(shards, case.distributions.to_vec()),
            sequencer: Sequencer::default(),
            blocks: case.blocks().into(),
            sending: None,
            workers: shards.shards().map(|shard| Worker::new(shard, &tables)).collect(),
            inboxes: vec![VecDeque::new(); shards.as_usize()],
            stuck: vec![None; shards.as_usize()],
            answers: VecDeque::new(),
            merger: Merger::new(&tables, case.order, case.unmatched),
            rows: Rows::new(),
            depth: case.queue_depth,
            most_waiting: 0,
        }
    }

    /// The router routes a batch, or hands one to one more shard.
    fn step_router(&mut self) -> bool {
        let Some((routed, shard)) = self.sending.take() else {
            let Some(messages) = self.blocks.pop_front() else { return false };
            let batch = self.sequencer.number(Arc::new(messages));
            let generations: [_; TABLES] = Default::default();
            self.sending = Some((Arc::new(self.router.route(batch, &generations)), 0));
            return true;
        };
        let has_room = self.inboxes[shard].len() < self.depth;
        if has_room {
            self.inboxes[shard].push_back(Arc::clone(&routed));
        }
        let next = shard + usize::from(has_room);
        self.sending = (next < self.inboxes.len()).then_some((routed, next));
        has_room
    }

    fn step_worker(&mut self, shard: usize) -> bool {
        if let Some(answered) = self.stuck[shard].take() {
            if self.answers.len() == self.depth {
                self.stuck[shard] = Some(answered);
                return false;
            }
            self.answers.push_back(answered);
            return true;
        }
        let Some(routed) = self.inboxes[shard].pop_front() else { return false };
        let answer = self.workers[shard].step(&routed, Answer::default());
        if routed.is_answered_by(answer.shard) {
            self.stuck[shard] = Some((routed, answer));
        }
        true
    }

    fn step_merger(&mut self) -> bool {
        let Some((routed, answer)) = self.answers.pop_front() else { return false };
        self.merger.push(routed, answer);
        while let Some(enriched) = self.merger.pop() {
            self.rows.extend(rows_of(&enriched));
        }
        self.most_waiting = self.most_waiting.max(self.merger.waiting());
        true
    }

    /// Steps stages as `seed` decides until none can move.
    fn run(&mut self, mut seed: u64) {
        let stages = self.workers.len() + 2;
        loop {
            // Weyl sequence with a multiplicative finaliser: enough to pick.
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let first = (seed.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33) as usize;
            let mut order = (0..stages).map(|n| (first + n) % stages);
            let moved = order.any(|stage| match stage {
                0 => self.step_router(),
                1 => self.step_merger(),
                worker => self.step_worker(worker - 2),
            });
            if !moved {
                return;
            }
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_interleaving_gives_the_oracle_rows(mut case in case(), seed: u64) {
        case.loaded.clear();
        let mut stages = Stages::new(&case);
        stages.run(seed);
        prop_assert!(stages.blocks.is_empty() && stages.sending.is_none(), "deadlock at seed {}", seed);
        let (expected, ledger) = case.expected();
        if case.order == Order::Arrival {
            stages.rows.sort();
        }
        prop_assert_eq!(stages.rows, expected);
        prop_assert_eq!(stages.merger.ledger(), &ledger);
        // One shard can be ahead of another by what a link holds, what each is
        // at work on, and what waits for the merger.
        let bound = 2 * case.queue_depth + 3;
        prop_assert!(stages.most_waiting <= bound, "{} batches wait", stages.most_waiting);
    }
}
