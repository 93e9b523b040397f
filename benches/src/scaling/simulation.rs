//! The engine's stages and board, run by workers in simulated time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::convert::Infallible;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tradejoin_baseline::{Digest, Digesting, Digests, Outcome};
use tradejoin_flow::{Block, Board, Claim, Complete, Encode as _, Sink as _, Source as _, Task};
use tradejoin_merger::{Merged, Merger};
use tradejoin_model::{Answer, Batch, BatchIndex, Ledger, Routed, ShardIndex};
use tradejoin_router::Router;
use tradejoin_worker::Worker;

use crate::scaling::costs::{bytes_for, bytes_of};
use crate::scaling::input::Cycled;
use crate::scaling::{Exchange, Input, Meter};

/// What a simulated run has come to, without its beginning and end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Simulated {
    /// Simulated nanoseconds of a message.
    pub ns: f64,
    /// The share of the time in which a worker has a task, or the board.
    pub busy: f64,
    /// The share in which a worker waits for the board.
    pub queueing: f64,
    /// The share of the time in which the board is taken.
    pub board: f64,
    /// The share in which somebody reads.
    pub reading: f64,
    /// The share in which somebody writes.
    pub writing: f64,
    /// The share in which the busiest shard looks up.
    pub shard: f64,
}

/// Runs an input on as many simulated workers as it has shards.
///
/// Each task is carried out for real, on this thread, when a simulated worker
/// begins it; the worker is done with it after as much simulated time as that
/// took. The tasks come from the engine's board, which is taken for as long as
/// it was really used, in the order in which workers come to it. What an
/// exchange between cores costs is added where one takes place.
///
/// # Panics
/// If a stage fails, or gives another result than `expected`.
#[must_use]
pub fn simulate(input: Input<'_>, expected: &Outcome, exchange: Exchange, meter: Meter) -> Simulated {
    let mut run = Run::new(input, exchange, meter);
    (0..run.threads.len()).for_each(|thread| run.at(0.0, thread, Step::Claim));
    while let Some(Reverse(event)) = run.events.pop() {
        run.now = event.time as f64;
        let step = run.threads[event.thread].next.take().expect("one event for each step");
        run.step(event.thread, step);
    }
    let (enriched, unmatched) = (run.total.enriched, run.total.unmatched());
    assert_eq!(&Outcome { enriched, unmatched, digest: run.sink.0 }, expected);
    run.simulated()
}

/// What a worker comes to the board with.
enum Step {
    Claim,
    Read(Option<Block>),
    Routed(BatchIndex, Routed),
    Answered(ShardIndex, Answer),
    Encoded(BatchIndex, Digest, Ledger),
    Written(BatchIndex, Digest),
}

/// A worker comes to the board: the earlier first, then who has set out first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    time: u64,
    number: u64,
    thread: usize,
}

struct Thread {
    merger: Merger,
    next: Option<Step>,
}

/// Simulated nanoseconds spent so far, by what.
#[derive(Clone, Debug, Default)]
struct Spent {
    time: f64,
    busy: f64,
    queueing: f64,
    board: f64,
    reading: f64,
    writing: f64,
    shards: Vec<f64>,
}

struct Run<'a> {
    input: Input<'a>,
    exchange: Exchange,
    meter: Meter,
    source: Cycled<'a>,
    router: Router,
    board: Board<Infallible, Digest, ()>,
    /// When the board is free, and who had it last.
    free: f64,
    last: usize,
    workers: Vec<Worker>,
    threads: Vec<Thread>,
    sink: Digesting,
    total: Ledger,
    events: BinaryHeap<Reverse<Event>>,
    set_out: u64,
    now: f64,
    /// Who routed each batch, and who brought each answer that is not merged.
    routed_by: Vec<usize>,
    answered_by: BTreeMap<(u64, ShardIndex), usize>,
    spent: Spent,
    /// When the first batches had been written, and when only the last had not.
    marks: [Option<Spent>; 2],
}

impl<'a> Run<'a> {
    fn new(input: Input<'a>, exchange: Exchange, meter: Meter) -> Self {
        let tables = input.tables();
        let thread = |_| Thread { merger: Merger::new(&tables), next: None };
        // One worker exchanges nothing.
        let exchange = if input.shards.get() > 1 { exchange } else { Exchange::default() };
        Self {
            input,
            exchange,
            meter,
            source: input.source(),
            router: Router::new(input.shards, tables.clone()),
            board: Board::new(input.shards.as_usize(), input.window(), true),
            free: 0.0,
            last: 0,
            workers: input.shards.shards().map(|shard| Worker::new(shard, &tables)).collect(),
            threads: input.shards.shards().map(thread).collect(),
            sink: Digesting::default(),
            total: Ledger::new(tables.len()),
            events: BinaryHeap::new(),
            set_out: 0,
            now: 0.0,
            routed_by: vec![0; input.batches],
            answered_by: BTreeMap::new(),
            spent: Spent { shards: vec![0.0; input.shards.as_usize()], ..Spent::default() },
            marks: [None, None],
        }
    }

    /// Lets a worker come to the board at a time.
    fn at(&mut self, time: f64, thread: usize, step: Step) {
        self.set_out += 1;
        self.threads[thread].next = Some(step);
        self.events.push(Reverse(Event { time: time.round() as u64, number: self.set_out, thread }));
    }

    /// Lets a worker work from `start` on, and come to the board then.
    fn work(&mut self, start: f64, ns: f64, thread: usize, step: Step) {
        self.spent.busy += ns;
        self.at(start + ns, thread, step);
    }

    /// Uses the board as soon as it is free, then wakes those who sleep; gives when
    /// all of it is done.
    fn on_board<T>(
        &mut self,
        thread: usize,
        change: impl FnOnce(&mut Board<Infallible, Digest, ()>) -> (T, Vec<usize>),
    ) -> (T, f64) {
        let ((result, woken), mut ns) = self.meter.time(|| change(&mut self.board));
        if self.last != thread {
            ns += self.exchange.line;
        }
        let start = self.free.max(self.now);
        (self.free, self.last) = (start + ns, thread);
        self.spent.queueing += start - self.now;
        self.spent.board += ns;
        let mut done = self.free;
        for woken in woken {
            done += self.exchange.unpark;
            // The latency is from the beginning of the call.
            self.at(done - self.exchange.unpark + self.exchange.wake, woken, Step::Claim);
        }
        self.spent.busy += done - start;
        (result, done)
    }

    fn step(&mut self, thread: usize, step: Step) {
        match step {
            Step::Claim => self.claim(thread),
            Step::Read(block) => {
                let (index, free) = self.on_board(thread, |board| {
                    let index = board.read(thread, block.is_some());
                    (index, board.to_wake(thread))
                });
                match (index, block) {
                    (Some(index), Some(block)) => self.route(thread, free, index, block),
                    _ => self.at(free, thread, Step::Claim),
                }
            }
            Step::Routed(index, routed) => {
                let ((), free) = self.on_board(thread, |board| {
                    board.routed(index, Ok(routed));
                    ((), board.to_wake(thread))
                });
                self.at(free, thread, Step::Claim);
            }
            Step::Answered(shard, answer) => {
                let (answered, free) = self.on_board(thread, |board| {
                    let answered = board.answered(shard, answer);
                    (answered, board.to_wake(thread))
                });
                match answered {
                    Ok(Some(complete)) => self.complete(thread, free, complete),
                    Ok(None) => self.at(free, thread, Step::Claim),
                    Err(answer) => {
                        self.threads[thread].merger.recycle_answer(answer);
                        self.at(free, thread, Step::Claim);
                    }
                }
            }
            Step::Encoded(index, section, account) => {
                let ((), free) = self.on_board(thread, |board| {
                    board.encoded(index, section, account);
                    ((), board.to_wake(thread))
                });
                self.at(free, thread, Step::Claim);
            }
            Step::Written(index, section) => {
                let ((), free) = self.on_board(thread, |board| {
                    board.written(thread, index, section);
                    ((), board.to_wake(thread))
                });
                self.mark(index, free);
                self.at(free, thread, Step::Claim);
            }
        }
    }

    fn claim(&mut self, thread: usize) {
        let (claim, free) = self.on_board(thread, |board| {
            let claim = board.claim(thread);
            let woken = if matches!(claim, Claim::End) { board.to_wake(thread) } else { Vec::new() };
            (claim, woken)
        });
        match claim {
            Claim::Wait | Claim::End => {}
            Claim::Task(Task::Read) => {
                let (block, ns) = self.meter.time(|| self.source.next().expect("blocks in memory"));
                self.spent.reading += ns;
                self.work(free, ns, thread, Step::Read(block));
            }
            Claim::Task(Task::LookUp(shard, routed)) => self.look_up(thread, free, shard, routed),
            Claim::Task(Task::Pass(_, none)) => match none {},
            Claim::Task(Task::Write(index, mut section, account)) => {
                let (written, ns) = self.meter.time(|| {
                    self.total.add(&account);
                    self.sink.write(&mut section)
                });
                written.expect("a sum");
                self.spent.writing += ns;
                self.work(free, ns, thread, Step::Written(index, section));
            }
        }
    }

    fn route(&mut self, thread: usize, start: f64, index: BatchIndex, block: Block) {
        let (routed, ns) = self.meter.time(|| {
            let messages = Arc::new(block.decode().expect("decoded already"));
            self.router.route(Batch { index, messages }, &[None], ShardIndex(thread as u32))
        });
        self.routed_by[index.0 as usize] = thread;
        self.work(start, ns, thread, Step::Routed(index, routed));
    }

    fn look_up(&mut self, thread: usize, start: f64, shard: ShardIndex, routed: Arc<Routed>) {
        let index = routed.batch.index;
        let spent = self.threads[thread].merger.take_spent().unwrap_or_default();
        let worker = &mut self.workers[shard.as_usize()];
        let (answer, mut ns) = self.meter.time(|| worker.step(&routed, spent));
        if self.routed_by[index.0 as usize] != thread {
            ns += bytes_for(&routed, shard) * self.exchange.byte;
        }
        if routed.is_answered_by(shard) {
            self.answered_by.insert((index.0, shard), thread);
        }
        self.spent.shards[shard.as_usize()] += ns;
        self.work(start, ns, thread, Step::Answered(shard, answer));
    }

    fn complete(&mut self, thread: usize, start: f64, complete: Complete) {
        let Complete { routed, first_position, trades_before, answers } = complete;
        let index = routed.batch.index;
        let mut bytes = 0.0;
        for answer in &answers {
            if self.answered_by.remove(&(index.0, answer.shard)) != Some(thread) {
                bytes += bytes_of(answer);
            }
        }
        let merger = &mut self.threads[thread].merger;
        let ((section, account), ns) = self.meter.time(|| {
            let merged = merger.merge(&routed, first_position, trades_before, answers);
            let Merged { enriched, account, .. } = merged.expect("no miss fails");
            let mut section = Digest::default();
            Digests.encode(&enriched, &mut section).expect("a digest");
            merger.recycle(enriched.columns);
            (section, account)
        });
        self.work(start, ns + bytes * self.exchange.byte, thread, Step::Encoded(index, section, account));
    }

    /// Notes what was spent until a full window had been written for the first
    /// time, and until one was left.
    fn mark(&mut self, index: BatchIndex, time: f64) {
        let window = self.input.window();
        let marks = [window, self.input.batches - window];
        if let Some(mark) = marks.iter().position(|&mark| mark as u64 == index.0) {
            self.marks[mark] = Some(Spent { time, ..self.spent.clone() });
        }
    }

    fn simulated(self) -> Simulated {
        let [Some(first), Some(last)] = self.marks else { panic!("too few batches for the window") };
        let time = last.time - first.time;
        let all = time * self.threads.len() as f64;
        let shards = last.shards.iter().zip(&first.shards).map(|(last, first)| last - first);
        let batches = self.input.batches - 2 * self.input.window();
        Simulated {
            ns: time / (batches * self.input.batch_len()) as f64,
            busy: (last.busy - first.busy) / all,
            queueing: (last.queueing - first.queueing) / all,
            board: (last.board - first.board) / time,
            reading: (last.reading - first.reading) / time,
            writing: (last.writing - first.writing) / time,
            shard: shards.fold(0.0, f64::max) / time,
        }
    }
}

#[cfg(test)]
mod tests {
    use tradejoin_generator::{Stream, StreamConfig};
    use tradejoin_model::{Distribution, ShardCount};

    use super::*;
    use crate::scaling::Blocks;

    #[test]
    fn any_number_of_simulated_workers_gives_the_result_of_the_naive_program() {
        let stream = Arc::new(Stream::new(StreamConfig::default()).expect("a valid configuration"));
        let blocks = Blocks::new(stream, 16 * 64, 64);
        let exchange =
            Exchange { wake: 20_000.0, unpark: 5_000.0, line: 50.0, byte: 0.1, ..Exchange::default() };
        for distribution in [Distribution::Partitioned, Distribution::Broadcast] {
            for shards in [1, 2, 7].into_iter().filter_map(ShardCount::new) {
                let input = Input { blocks: &blocks, batches: 50, shards, distribution };
                // Each run compares its result.
                let simulated = simulate(input, &blocks.expected(50), exchange, Meter::new());
                assert!(simulated.ns > 0.0 && simulated.busy > 0.0, "{simulated:?}");
            }
        }
    }
}
