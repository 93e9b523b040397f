//! What the threads of a run share, and what each of them does.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;
use tradejoin_flow::{Block, Board, Claim, Complete, Encode, Resume, Revise, Sink, Source, Task};
use tradejoin_merger::{HeldError, Merged, Merger, MissedKeys, MissingKeys, Passage};
use tradejoin_model::{Batch, BatchIndex, Enriched, Ledger, Messages, Position, ShardIndex};
use tradejoin_router::Router;
use tradejoin_worker::Worker;

use crate::budget::{BadPlace, Budget, MaxBad, places};
use crate::clock::Clock;
use crate::config::{EngineConfig, Order, Stop};
use crate::drive::{Stepped, Wakers};
use crate::error::{BatchPlace, EngineError, Stage, panicked, panicked_at};
use crate::kept::{Changes, Keeper};
use crate::load::{Feed, Generations, Next};
use crate::pulse::{At, Pulse};
use crate::report::{Publisher, trades_copied};
use crate::sync::{Mutex, MutexGuard, PoisonError};
use crate::updates::Updates;

mod ended;

pub(crate) use ended::Ended;

/// How long a run that was asked to stop may go on writing what it has read.
/// What is left then is dropped: it must not delay the end.
const DRAIN: Duration = Duration::from_millis(400);

/// The board of a run with pieces of this type.
type RunBoard<P> = Board<Merged, Encoded<P>, EngineError>;

/// What the threads of a run share.
pub(crate) struct Run<'a, S, K: Sink> {
    config: &'a EngineConfig,
    stop: &'a Stop,
    clock: &'a Clock,
    updates: &'a Updates,
    generations: &'a Generations,
    router: Router,
    board: CachePadded<Mutex<RunBoard<K::Piece>>>,
    feed: Mutex<Feed<'a, S>>,
    shards: Vec<CachePadded<Mutex<Worker>>>,
    /// `None` if nothing is ever held or written again.
    passage: Option<Mutex<InOrder<'a>>>,
    output: Mutex<Output<K>>,
    keeper: Option<&'a Keeper>,
    pulse: &'a Pulse,
    /// Where the first batch behind restored tables is, until it has been read.
    place: Mutex<Option<(Position, u64)>>,
    pub(crate) wakers: Wakers,
    /// When the stop was noticed.
    stopping: Mutex<Option<Instant>>,
}

/// Where what is written goes, and what is written again.
pub(crate) struct Ends<'a, K> {
    pub(crate) sink: K,
    pub(crate) revise: &'a mut dyn Revise,
    /// What keeps the run, if it is kept.
    pub(crate) keeper: Option<&'a Keeper>,
    /// What it goes on from, if not from the beginning.
    pub(crate) resume: Option<Resume>,
    pub(crate) pulse: &'a Pulse,
}

/// What batches pass one after the other.
struct InOrder<'a> {
    passage: Passage,
    revise: &'a mut dyn Revise,
}

/// What is written of a batch.
#[derive(Default)]
pub(crate) struct Encoded<P> {
    piece: P,
    /// Whether there is nothing in it.
    is_empty: bool,
    /// What its trades looked for in vain, by table.
    missed: Vec<MissedKeys>,
    /// Trades whose own columns were copied on the way.
    trades_copied: u64,
    /// Where records were refused.
    bad: Vec<BadPlace>,
    /// What the batch changes, if that is kept.
    changes: Option<Changes>,
}

/// What is known of a batch beside its rows.
struct Beside {
    account: Ledger,
    missed: Vec<MissedKeys>,
    trades_copied: u64,
    changes: Option<Changes>,
}

/// The writing end.
struct Output<K> {
    sink: K,
    ledger: Ledger,
    missing: MissingKeys,
    trades_copied: u64,
    budget: Budget,
    publisher: Publisher,
}

/// What one thread has for itself.
pub(crate) struct Own<E> {
    thread: usize,
    encoder: E,
    merger: Merger,
}

impl<'a, S: Source, K: Sink> Run<'a, S, K> {
    pub(crate) fn new(
        config: &'a EngineConfig,
        (stop, clock): (&'a Stop, &'a Clock),
        generations: &'a Generations,
        feed: Feed<'a, S>,
        ends: Ends<'a, K>,
        publisher: Publisher,
        wakers: Wakers,
    ) -> Result<Self, EngineError> {
        let Ends { sink, revise, keeper, resume, pulse } = ends;
        let shards = config.shards.as_usize();
        // A cut lies between what is written and what is not, and a share is that of what was read
        // before a record.
        let is_share = matches!(config.max_bad, Some(MaxBad::Share(_)));
        let in_order = config.order != Order::Arrival || keeper.is_some() || is_share;
        let board = Board::new(shards, shards + config.queue_depth.get(), in_order);
        let corrects = config.corrections.is_some();
        let worker = |shard| {
            let worker = Worker::new(shard, &config.tables);
            CachePadded::new(Mutex::new(if corrects { worker.noting_effects() } else { worker }))
        };
        let mut passage = Passage::new(&config.tables, config.hold_config(), config.corrections);
        let (mut ledger, mut place) = (Ledger::new(config.tables.len()), None);
        let mut budget = Budget::new(config.max_bad);
        if let Some(resume) = resume {
            (ledger, place) = (resume.ledger, Some((resume.position, resume.trades)));
            budget.go_on_from(&resume.bad);
            match (&mut passage, resume.held) {
                (Some(passage), Some(held)) => passage.go_on_from(held, resume.trades, clock.now())?,
                (None, None) => {}
                _ => return Err(HeldError.into()),
            }
        }
        Ok(Self {
            config,
            stop,
            clock,
            updates: feed.updates,
            generations,
            router: Router::new(config.shards, config.tables.clone()),
            board: CachePadded::new(Mutex::new(board)),
            feed: Mutex::new(feed),
            shards: config.shards.shards().map(worker).collect(),
            passage: passage.map(|passage| Mutex::new(InOrder { passage, revise })),
            output: Mutex::new(Output {
                sink,
                ledger,
                missing: MissingKeys::default(),
                trades_copied: 0,
                budget,
                publisher,
            }),
            keeper,
            pulse,
            place: Mutex::new(place),
            wakers,
            stopping: Mutex::new(None),
        })
    }

    /// What one thread has.
    pub(crate) fn own(&self, thread: usize) -> Own<K::Encoder> {
        let merger = Merger::new(&self.config.tables)
            .with_wait_column(self.config.wait_column)
            .with_corrections(self.config.corrections.is_some());
        Own { thread, encoder: lock(&self.output).sink.encoder(), merger }
    }

    /// Claims a task for a thread and carries it out. What goes wrong ends the run.
    pub(crate) fn step(&self, own: &mut Own<K::Encoder>) -> Stepped {
        let thread = own.thread;
        // What panics beside a task, too, must leave nobody waiting for this thread.
        catch_unwind(AssertUnwindSafe(|| self.try_step(own))).unwrap_or_else(|panic| {
            self.fail(thread, panicked(panic, Stage::Schedule));
            Stepped::Ended
        })
    }

    fn try_step(&self, own: &mut Own<K::Encoder>) -> Stepped {
        let task = match self.claim(own.thread) {
            Claim::Wait => return Stepped::Waits,
            Claim::End => return Stepped::Ended,
            Claim::Task(task) => task,
        };
        let mut at = At::new(self.pulse, own.thread, &task);
        let carried_out = catch_unwind(AssertUnwindSafe(|| self.carry_out(task, own, &mut at)));
        match carried_out {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.fail(own.thread, error),
            Err(panic) => self.fail(own.thread, self.panicked(panic, &at)),
        }
        Stepped::Worked
    }

    /// Where it shows what each thread is at.
    pub(crate) fn pulse(&self) -> &Pulse {
        self.pulse
    }

    /// How many threads it is for.
    pub(crate) fn threads(&self) -> usize {
        self.shards.len()
    }

    /// Whether the run is to end before its source does.
    pub(crate) fn is_stopping(&self) -> bool {
        lock(&self.stopping).is_some()
    }

    /// Drops what was read and is not written.
    pub(crate) fn give_up(&self) {
        lock(&self.board).give_up();
    }

    fn claim(&self, thread: usize) -> Claim<Merged, Encoded<K::Piece>> {
        let is_stopping = self.stop.is_requested();
        let mut board = lock(&self.board);
        if is_stopping {
            let mut stopping = lock(&self.stopping);
            if !board.is_closed() {
                board.close();
                stopping.get_or_insert_with(Instant::now);
            }
            if stopping.is_some_and(|since| self.wakers.go_by_the_clock() && since.elapsed() > DRAIN) {
                board.give_up();
            }
        }
        let claim = board.claim(thread);
        let woken = if matches!(claim, Claim::End) { board.to_wake(thread) } else { Vec::new() };
        let has_failed = board.has_failed();
        drop(board);
        if has_failed {
            // At a batch whose turn to be written has come: see `fail`.
            self.stop.request();
        }
        self.wake(woken);
        claim
    }

    /// Changes the board and wakes those who have something to do now.
    fn update<T>(&self, thread: usize, change: impl FnOnce(&mut RunBoard<K::Piece>) -> T) -> T {
        let mut board = lock(&self.board);
        let result = change(&mut board);
        let woken = board.to_wake(thread);
        drop(board);
        self.wake(woken);
        result
    }

    /// Wakes threads. A call of the system for each: others have the board by then.
    fn wake(&self, threads: Vec<usize>) {
        threads.into_iter().for_each(|thread| self.wakers.wake(thread));
    }

    /// The error that a panic is, with the place of the batch.
    fn panicked(&self, panic: Box<dyn Any + Send>, at: &At<'_>) -> EngineError {
        let begins_at = |index| lock(&self.board).place_of(index);
        let batch = at.batch.map(|index| BatchPlace { index, begins_at: begins_at(index) });
        panicked_at(panic, at.stage, batch)
    }

    /// Ends the run for an error that is none of its threads'.
    pub(crate) fn fail_beside(&self, error: EngineError) {
        self.fail(0, error);
    }

    fn fail(&self, thread: usize, error: EngineError) {
        self.update(thread, |board| board.fail(error));
        // A source that waits for input would not notice otherwise.
        self.stop.request();
    }

    /// Carries out a task; `at` is kept at what is being done.
    fn carry_out(
        &self,
        task: Task<Merged, Encoded<K::Piece>>,
        own: &mut Own<K::Encoder>,
        at: &mut At<'_>,
    ) -> Result<(), EngineError> {
        match task {
            Task::Read => self.read(own, at),
            Task::LookUp(shard, routed) => {
                let spent = own.merger.take_spent().unwrap_or_default();
                let answer = lock(&self.shards[shard.as_usize()]).step(&routed, spent);
                drop(routed);
                match self.update(own.thread, |board| board.answered(shard, answer)) {
                    Ok(Some(complete)) => self.complete(complete, own, at),
                    Ok(None) => Ok(()),
                    Err(answer) => {
                        own.merger.recycle_answer(answer);
                        Ok(())
                    }
                }
            }
            Task::Pass(index, mut merged) => {
                let missed = std::mem::take(&mut merged.missed);
                let changes = self.changes_to_keep(index, &merged.enriched.messages);
                let mut in_order = lock(self.passage.as_ref().expect("batches pass where something does"));
                let InOrder { passage, revise } = &mut *in_order;
                let give = |revised| revise.write(revised).map_err(EngineError::Revise);
                let (passed, account) = if self.keeper.is_some_and(|keeper| keeper.is_restored(index)) {
                    Passage::pass_by(merged)
                } else {
                    passage.pass(merged, self.clock.now(), give)?
                };
                if let Some(keeper) = self.keeper.filter(|keeper| keeper.is_behind(index)) {
                    let begin = Instant::now();
                    let revised = revise.prepare(None).map_err(EngineError::Revise)?;
                    keeper.hold(passage.held(self.clock.now()), revised, begin);
                }
                drop(in_order);
                self.update(own.thread, Board::passed);
                at.enter(Stage::Encode);
                let aside = Beside { account, missed, trades_copied: passed.trades_copied(), changes };
                self.encode(index, passed.assemble()?, aside, own)
            }
            Task::Write(index, mut encoded, account) => {
                let mut output = lock(&self.output);
                output.budget.spend(&encoded.bad)?;
                if !encoded.is_empty {
                    output.sink.write(&mut encoded.piece).map_err(EngineError::Sink)?;
                }
                let Output { ledger, missing, trades_copied, budget, publisher, sink } = &mut *output;
                if self.keeper.is_some_and(|keeper| keeper.is_restored(index)) {
                    // All of it was counted before.
                    self.keeper.iter().for_each(|keeper| keeper.note_restored());
                } else {
                    ledger.add(&account);
                }
                *trades_copied += encoded.trades_copied;
                if !encoded.missed.is_empty() {
                    missing.add(std::mem::take(&mut encoded.missed));
                }
                publisher.offer(ledger, *trades_copied)?;
                if let Some(keeper) = self.keeper {
                    let begin = Instant::now();
                    let prepared = keeper.is_behind(index).then(|| sink.prepare(None)).transpose();
                    let prepared = prepared.map_err(EngineError::Sink)?.map(|output| (output, begin));
                    keeper.written((ledger, budget), encoded.changes.take(), prepared);
                }
                drop(output);
                self.update(own.thread, |board| board.written(own.thread, index, encoded));
                Ok(())
            }
        }
    }

    fn read(&self, own: &Own<K::Encoder>, at: &mut At<'_>) -> Result<(), EngineError> {
        let mut feed = lock(&self.feed);
        let until = self.keeper.and_then(Keeper::wait_until);
        let next = feed.next(until);
        let may_cut = matches!(next, Ok(Some(Next::Block(_) | Next::Update(..))));
        let keeper = self.keeper.filter(|keeper| may_cut && keeper.is_due());
        let position = keeper.and_then(|keeper| feed.position().inspect(|_| keeper.begin_cut()));
        if let Some(keeper) = self.keeper.filter(|_| may_cut) {
            keeper.note_read(until, position.is_some());
        }
        let loaded = position.as_ref().map(|_| feed.loaded.clone()).unwrap_or_default();
        drop(feed);
        let thread = own.thread;
        match next {
            Ok(next) => {
                if next.is_none() && self.stop.is_requested() {
                    // A source that watches the flag ends when it is set.
                    lock(&self.stopping).get_or_insert_with(Instant::now);
                }
                let index = self.read_as(thread, next.as_ref());
                at.batch = index;
                if let (Some(index), Some(next)) = (index, next) {
                    if let (Some(keeper), Some(position)) = (self.keeper, position) {
                        keeper.cut_behind(index, position, loaded);
                    }
                    let block = match next {
                        Next::Rows(rows) => rows.into(),
                        Next::Block(block) => block,
                        Next::Update(number, messages) => {
                            self.updates.is_under_way(number, index);
                            messages.into()
                        }
                    };
                    at.enter(Stage::Decode);
                    self.decode(thread, index, block);
                }
            }
            Err(error) => self.update(thread, |board| board.read_failed(thread, error)),
        }
        Ok(())
    }

    /// Tells the board what was read.
    fn read_as(&self, thread: usize, next: Option<&Next>) -> Option<BatchIndex> {
        let is_own = !matches!(next, Some(Next::Rows(_)));
        let place = if is_own && self.keeper.is_some() { lock(&self.place).take() } else { None };
        self.update(thread, |board| {
            let index = board.read(thread, next.is_some());
            if let (Some(index), Some((position, trades))) = (index, place) {
                board.place_at(index, position, trades);
            }
            if let (Some(index), Some(keeper)) = (index, self.keeper.filter(|_| is_own)) {
                keeper.begin_at(index);
            }
            index
        })
    }

    /// What of a batch is to be kept beside its trades.
    fn changes_to_keep(&self, index: BatchIndex, messages: &Messages) -> Option<Changes> {
        let keeper = self.keeper?;
        let any = messages.lanes.iter().any(|lane| !lane.is_empty());
        (any && !keeper.is_restored(index)).then(|| Changes {
            lanes: Arc::clone(&messages.lanes),
            are_rows: messages.loading,
            trades_before: 0,
        })
    }

    fn decode(&self, thread: usize, index: BatchIndex, block: Block) {
        let routed = block.decode().map_err(EngineError::Source).map(|messages| {
            let batch = Batch { index, messages: Arc::new(messages) };
            self.router.route(batch, &self.generations.pin(), ShardIndex(thread as u32))
        });
        self.update(thread, |board| board.routed(index, routed));
    }

    fn complete(
        &self,
        complete: Complete,
        own: &mut Own<K::Encoder>,
        at: &mut At<'_>,
    ) -> Result<(), EngineError> {
        let Complete { routed, first_position, trades_before, answers } = complete;
        let index = routed.batch.index;
        at.enter(Stage::Merge);
        self.updates.has_place(index, trades_before);
        match own.merger.merge(&routed, first_position, trades_before, answers) {
            Err(miss) => self.update(own.thread, |board| board.failed(index, EngineError::Miss(miss))),
            Ok(merged) if self.passage.is_some() => {
                self.update(own.thread, |board| board.merged(index, merged));
            }
            Ok(Merged { enriched, account, missed, .. }) => {
                at.enter(Stage::Encode);
                let trades_copied = trades_copied(&routed.batch.messages, &enriched);
                let changes = self.changes_to_keep(index, &routed.batch.messages);
                return self.encode(index, enriched, Beside { account, missed, trades_copied, changes }, own);
            }
        }
        Ok(())
    }

    fn encode(
        &self,
        index: BatchIndex,
        enriched: Enriched,
        beside: Beside,
        own: &mut Own<K::Encoder>,
    ) -> Result<(), EngineError> {
        let Beside { account, missed, trades_copied, changes } = beside;
        let mut encoded = lock(&self.board).spare();
        (encoded.is_empty, encoded.missed, encoded.changes) = (enriched.is_empty(), missed, changes);
        encoded.trades_copied = trades_copied;
        encoded.bad.clear();
        encoded.bad.extend(places(&enriched.messages.refused));
        if !encoded.is_empty {
            own.encoder.encode(&enriched, &mut encoded.piece).map_err(EngineError::Sink)?;
        }
        own.merger.recycle(enriched.columns);
        self.update(own.thread, |board| board.encoded(index, encoded, account));
        Ok(())
    }
}

/// What a panic has left behind is looked at by nobody but those who end.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}
