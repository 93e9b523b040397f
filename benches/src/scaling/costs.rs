//! What each stage costs on one thread.

use std::convert::Infallible;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tradejoin_baseline::{Digest, Digesting, Digests, Outcome};
use tradejoin_flow::{Board, Claim, Encode as _, Sink as _, Source as _, Task};
use tradejoin_merger::{Merged, Merger};
use tradejoin_model::{Answer, Batch, BatchIndex, Ledger, Position, Routed, ShardIndex};
use tradejoin_router::Router;
use tradejoin_worker::Worker;

use crate::scaling::{Input, Meter};

/// Nanoseconds of one thread for a message, by stage.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Costs {
    /// Taking a block from the source.
    pub read: f64,
    /// Selecting rows and changes for all shards, and freeing what that made.
    pub route: f64,
    /// Applying changes and looking up, in all shards.
    pub look_up: f64,
    /// The same in the shard that has most to do.
    pub busiest_shard: f64,
    /// Putting answers back at their rows.
    pub merge: f64,
    /// Encoding: the digest of every field.
    pub encode: f64,
    /// Writing pieces in their order.
    pub write: f64,
    /// Keeping the board: claims and results.
    pub board: f64,
    /// How often the board is locked for a batch.
    pub board_locks: f64,
    /// Bytes that one thread has written and another reads, if each steps the
    /// shard of its number and batches are routed and merged in turn.
    pub handed_over_bytes: f64,
}

impl Costs {
    /// All stages together.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.read + self.route + self.look_up + self.merge + self.encode + self.write + self.board
    }
}

/// Takes an input through the stages of the engine, on this thread.
///
/// # Panics
/// If a stage fails, or gives another result than `expected`.
#[must_use]
pub fn stage_costs(input: Input<'_>, expected: &Outcome, meter: Meter) -> Costs {
    let tables = input.tables();
    let router = Router::new(input.shards, tables.clone());
    let mut workers: Vec<_> = input.shards.shards().map(|shard| Worker::new(shard, &tables)).collect();
    let mut merger = Merger::new(&tables);
    let (mut source, mut sink, mut encoder) = (input.source(), Digesting::default(), Digests);
    let (mut costs, mut total) = (Costs::default(), Ledger::new(tables.len()));
    let mut by_shard = vec![0.0; workers.len()];
    for index in 0.. {
        let (block, ns) = meter.time(|| source.next().expect("blocks in memory"));
        costs.read += ns;
        let Some(block) = block else { break };
        let thread = ShardIndex(index as u32 % input.shards.get());
        let (routed, ns) = meter.time(|| {
            let messages = Arc::new(block.decode().expect("decoded already"));
            Arc::new(router.route(Batch { index: BatchIndex(index), messages }, &[None], thread))
        });
        costs.route += ns;

        let mut answers = Vec::with_capacity(routed.answers_expected());
        for (worker, spent) in workers.iter_mut().zip(&mut by_shard) {
            let shard = worker.shard();
            if !routed.concerns(shard) {
                continue;
            }
            let memory = merger.take_spent().unwrap_or_default();
            let (answer, ns) = meter.time(|| worker.step(&routed, memory));
            *spent += ns;
            costs.handed_over_bytes += if shard == thread { 0.0 } else { bytes_for(&routed, shard) };
            if routed.is_answered_by(shard) {
                costs.handed_over_bytes += if shard == thread { 0.0 } else { bytes_of(&answer) };
                answers.push(answer);
            } else {
                merger.recycle_answer(answer);
            }
        }
        let (merged, ns) = meter.time(|| merger.merge(&routed, Position(0), 0, answers));
        let Merged { enriched, account, .. } = merged.expect("no miss fails");
        costs.merge += ns;
        let mut section = Digest::default();
        let (encoded, ns) = meter.time(|| encoder.encode(&enriched, &mut section));
        encoded.expect("a digest");
        costs.encode += ns;
        merger.recycle(enriched.columns);
        let (written, ns) = meter.time(|| {
            total.add(&account);
            sink.write(&mut section)
        });
        written.expect("a sum");
        costs.write += ns;
        costs.route += meter.time(|| drop((routed, enriched.messages))).1;
    }
    let (enriched, unmatched) = (total.enriched, total.unmatched());
    assert_eq!(&Outcome { enriched, unmatched, digest: sink.0 }, expected);
    costs.look_up = by_shard.iter().sum();
    costs.busiest_shard = by_shard.into_iter().fold(0.0, f64::max);
    let (board, board_locks) = board_cost(input, meter);
    Costs { board, board_locks, ..costs.per(input.messages()) }
}

impl Costs {
    fn per(self, messages: f64) -> Self {
        Self {
            read: self.read / messages,
            route: self.route / messages,
            look_up: self.look_up / messages,
            busiest_shard: self.busiest_shard / messages,
            merge: self.merge / messages,
            encode: self.encode / messages,
            write: self.write / messages,
            handed_over_bytes: self.handed_over_bytes / messages,
            ..self
        }
    }
}

/// Bytes of a text in a column.
const TEXT: usize = 24;
/// Bytes of a row number.
const NUMBER: usize = 4;

/// Bytes that whoever routed a batch wrote for a shard: its selections, and the
/// changes that it applies.
pub(crate) fn bytes_for(routed: &Routed, shard: ShardIndex) -> f64 {
    use tradejoin_model::TableRoute::{Partitioned, Whole};
    let bytes = |table: usize| match &routed.routes[table] {
        Partitioned(partition) => {
            let changes = partition.changes.get(shard).len();
            (partition.rows.get(shard).len() + changes) * NUMBER + changes * TEXT
        }
        Whole { .. } => routed.batch.messages.lanes[table].len() * TEXT,
    };
    (0..routed.routes.len()).map(bytes).sum::<usize>() as f64
}

/// Bytes that a shard wrote into its answer.
pub(crate) fn bytes_of(answer: &Answer) -> f64 {
    let columns = answer.tables.iter().flat_map(|table| &table.columns);
    let missed = answer.tables.iter().map(|table| table.missed.len() * NUMBER);
    (columns.map(|column| column.len() * TEXT).sum::<usize>() + missed.sum::<usize>()) as f64
}

/// What keeping the board costs: nanoseconds for a message, and how often it is
/// locked for a batch. Its threads take turns and their tasks no time.
fn board_cost(input: Input<'_>, meter: Meter) -> (f64, f64) {
    let router = Router::new(input.shards, input.tables());
    let shards = input.shards.as_usize();
    let mut source = input.source();
    let mut board: Board<Infallible, Digest, ()> = Board::new(shards, input.window(), true);
    let (mut spent, mut locks, mut ended) = (0.0, 0_u64, 0);
    for thread in (0..shards).cycle() {
        // Waiting is for a later turn here, and so is waking.
        let (claim, ns) = meter.time(|| board.claim(thread));
        (spent, locks) = (spent + ns, locks + 1);
        let mut on_board = |change: &mut dyn FnMut(&mut Board<Infallible, Digest, ()>)| {
            let ((), ns) = meter.time(|| {
                change(&mut board);
                board.to_wake(thread);
            });
            (spent, locks) = (spent + ns, locks + 1);
        };
        match claim {
            Claim::Wait => locks -= 1,
            Claim::End => {
                ended += 1;
                if ended == shards {
                    break;
                }
            }
            Claim::Task(Task::Read) => {
                let block = source.next().expect("blocks in memory");
                let mut index = None;
                on_board(&mut |board| index = board.read(thread, block.is_some()));
                if let (Some(index), Some(block)) = (index, block) {
                    let messages = Arc::new(block.decode().expect("decoded already"));
                    let batch = Batch { index, messages };
                    let mut routed = Some(router.route(batch, &[None], ShardIndex(thread as u32)));
                    on_board(&mut |board| {
                        routed.take().into_iter().for_each(|routed| board.routed(index, Ok(routed)));
                    });
                }
            }
            Claim::Task(Task::LookUp(shard, routed)) => {
                drop(routed);
                let mut complete = None;
                let answer = Answer { shard, ..Answer::default() };
                let mut answer = Some(answer);
                on_board(&mut |board| {
                    let answer = answer.take().unwrap_or_default();
                    complete = board.answered(shard, answer).ok().flatten();
                });
                if let Some(complete) = complete {
                    let index = complete.routed.batch.index;
                    on_board(&mut |board| board.encoded(index, Digest::default(), Ledger::default()));
                }
            }
            Claim::Task(Task::Pass(_, none)) => match none {},
            Claim::Task(Task::Write(index, section, _)) => {
                on_board(&mut |board| board.written(thread, index, section));
            }
        }
    }
    (spent / input.messages(), locks as f64 / input.batches as f64)
}
