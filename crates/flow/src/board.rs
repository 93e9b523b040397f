//! Which batch of a run is where, and what a thread that is free should do.

use std::collections::VecDeque;
use std::sync::Arc;

use tradejoin_model::{Answer, BatchIndex, Ledger, Position, Routed, ShardIndex};

/// The state of a run between its threads.
///
/// Every block that is read becomes a slot; its slot goes when its trades have
/// been written and every shard has applied its changes. A thread [claims](
/// Board::claim) a task, carries it out without the board, and comes back with
/// the result. What can wait for something outside, reading and writing, is
/// claimed by one thread at a time; decoding, merging and encoding by any
/// number; the look-ups of a shard one after the other, in the order of the
/// batches.
///
/// `M` is a batch that was merged, `P` what a sink writes, `E` the error of a run.
/// The board has no threads, locks or clocks: a test can drive it through any
/// interleaving.
#[derive(Debug)]
pub struct Board<M, P, E> {
    window: usize,
    in_order: bool,
    slots: VecDeque<Slot<M, P, E>>,
    /// The index of the slot in front.
    first: u64,
    /// The index of the batch that passes next, where they have to.
    to_pass: u64,
    /// With input order, the index of the batch that is written next.
    to_write: u64,
    /// How many batches from the first on have been decoded without a gap: they
    /// have positions, and shards may take them.
    numbered: u64,
    position: Position,
    /// Trades of the numbered batches.
    trades: u64,
    /// A batch whose place does not follow from those before it, and that place.
    placed: Option<(u64, Position, u64)>,
    shards: Vec<Shard>,
    threads: Vec<Thread>,
    reading: bool,
    passing: bool,
    writing: bool,
    ended: bool,
    given_up: bool,
    failure: Option<E>,
    spare: Vec<P>,
}

/// What one thread is to do.
#[derive(Debug)]
pub enum Task<M, P> {
    /// Ask the source for the next block and tell [`Board::read`]; then decode and
    /// route it, while others read on; then [`Board::routed`].
    Read,
    /// Step a shard through a batch; then [`Board::answered`].
    LookUp(ShardIndex, Arc<Routed>),
    /// Let a batch pass, one at a time and in order; tell [`Board::passed`]; then
    /// encode it, while others pass; then [`Board::encoded`].
    Pass(BatchIndex, M),
    /// Give a piece to the sink; then [`Board::written`].
    Write(BatchIndex, P, Ledger),
}

/// What [`Board::claim`] has for a thread.
#[derive(Debug)]
pub enum Claim<M, P> {
    /// Something to do.
    Task(Task<M, P>),
    /// Nothing until [`Board::to_wake`] names the thread.
    Wait,
    /// Nothing any more.
    End,
}

/// A batch of which every answer has come: ready to be merged and encoded, then
/// [`Board::encoded`]; or if batches have to pass in order, to be merged, then
/// [`Board::merged`].
#[derive(Debug)]
pub struct Complete {
    /// The batch.
    pub routed: Arc<Routed>,
    /// The place of its first message.
    pub first_position: Position,
    /// How many trades the batches before it have.
    pub trades_before: u64,
    /// An answer from each shard that has one.
    pub answers: Vec<Answer>,
}

#[derive(Debug)]
struct Slot<M, P, E> {
    state: State<M, P, E>,
    routed: Option<Arc<Routed>>,
    first_position: Position,
    trades_before: u64,
    answers: Vec<Answer>,
}

#[derive(Debug)]
enum State<M, P, E> {
    Decoding,
    /// For answers.
    Waiting,
    /// Merging or encoding.
    Encoding,
    Merged(M),
    Ready(P, Ledger),
    Failed(E),
    Writing,
    Written,
}

#[derive(Clone, Debug, Default)]
struct Shard {
    /// The batch that it takes next.
    next: u64,
    busy: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Thread {
    asleep: bool,
    /// Whether it reads or writes, and may be held up.
    engaged: bool,
}

/// A task that is there to be claimed.
enum Choice {
    Write(u64),
    Pass,
    LookUp(usize),
    Read,
}

impl<M, P, E> Board<M, P, E> {
    /// Batches that a shard may be behind before another thread helps out: its
    /// own has the table in its cache.
    const LAG: u64 = 3;

    /// A board for so many shards and as many threads, with at most `window`
    /// batches under way. `in_order` says whether they are written in their
    /// order or as they become ready.
    ///
    /// # Panics
    /// If there are no shards or the window is empty.
    #[must_use]
    pub fn new(shards: usize, window: usize, in_order: bool) -> Self {
        assert!(shards > 0 && window > 0, "at least one shard and one batch");
        Self {
            window,
            in_order,
            slots: VecDeque::new(),
            first: 0,
            to_pass: 0,
            to_write: 0,
            numbered: 0,
            position: Position(0),
            trades: 0,
            placed: None,
            shards: vec![Shard::default(); shards],
            threads: vec![Thread::default(); shards],
            reading: false,
            passing: false,
            writing: false,
            ended: false,
            given_up: false,
            failure: None,
            spare: Vec::new(),
        }
    }

    /// The next task for a thread: what is furthest along comes first, so that
    /// memory is free again soon; and the thread's own shard before others.
    ///
    /// # Panics
    /// If there is no such thread.
    pub fn claim(&mut self, thread: usize) -> Claim<M, P> {
        let Some(choice) = self.find(thread) else {
            self.threads[thread].asleep = !self.is_over();
            return if self.is_over() { Claim::End } else { Claim::Wait };
        };
        Claim::Task(match choice {
            Choice::Write(index) => match std::mem::replace(&mut self.slot(index).state, State::Writing) {
                State::Ready(piece, account) => {
                    self.writing = true;
                    self.threads[thread].engaged = true;
                    Task::Write(BatchIndex(index), piece, account)
                }
                State::Failed(error) => {
                    self.fail(error);
                    return Claim::End;
                }
                _ => unreachable!("found ready or failed"),
            },
            Choice::Pass => {
                let index = self.to_pass;
                match std::mem::replace(&mut self.slot(index).state, State::Encoding) {
                    State::Merged(merged) => {
                        self.passing = true;
                        Task::Pass(BatchIndex(index), merged)
                    }
                    _ => unreachable!("found merged"),
                }
            }
            Choice::LookUp(shard) => {
                let next = self.shards[shard].next;
                self.shards[shard].busy = true;
                let routed = self.slot(next).routed.clone().expect("a numbered batch is routed");
                Task::LookUp(ShardIndex(shard as u32), routed)
            }
            Choice::Read => {
                self.reading = true;
                self.threads[thread].engaged = true;
                Task::Read
            }
        })
    }

    fn find(&self, thread: usize) -> Option<Choice> {
        if self.failure.is_some() || self.given_up {
            return None;
        }
        self.find_write()
            .or_else(|| self.can_pass().then_some(Choice::Pass))
            .or_else(|| self.can_look_up(thread).then_some(Choice::LookUp(thread)))
            .or_else(|| self.can_read().then_some(Choice::Read))
            .or_else(|| (0..self.shards.len()).find(|&shard| self.may_help(shard)).map(Choice::LookUp))
    }

    fn find_write(&self) -> Option<Choice> {
        let is_ready = |slot: &Slot<M, P, E>| matches!(slot.state, State::Ready(..) | State::Failed(_));
        if self.writing {
            return None;
        }
        if self.in_order {
            let at = usize::try_from(self.to_write - self.first).ok()?;
            return self.slots.get(at).filter(|slot| is_ready(slot)).map(|_| Choice::Write(self.to_write));
        }
        self.slots.iter().position(is_ready).map(|at| Choice::Write(self.first + at as u64))
    }

    fn can_pass(&self) -> bool {
        let slot =
            self.to_pass.checked_sub(self.first).and_then(|at| self.slots.get(usize::try_from(at).ok()?));
        !self.passing && slot.is_some_and(|slot| matches!(slot.state, State::Merged(_)))
    }

    fn can_look_up(&self, shard: usize) -> bool {
        let Shard { next, busy } = self.shards[shard];
        !busy && next < self.numbered
    }

    fn can_read(&self) -> bool {
        !self.reading && !self.ended && self.slots.len() < self.window
    }

    /// Whether another thread than its own may step a shard.
    fn may_help(&self, shard: usize) -> bool {
        let is_behind = self.numbered - self.shards[shard].next >= Self::LAG;
        self.can_look_up(shard) && (is_behind || self.threads[shard].engaged)
    }

    fn slot(&mut self, index: u64) -> &mut Slot<M, P, E> {
        // No further from the first than the window is wide.
        &mut self.slots[(index - self.first) as usize]
    }

    /// The threads that sleep and have something to do, or nothing any more.
    /// `caller` is about to claim and needs no waking.
    pub fn to_wake(&mut self, caller: usize) -> Vec<usize> {
        if self.threads.iter().all(|thread| !thread.asleep) {
            return Vec::new();
        }
        // What any thread can do, less what the caller is about to do.
        let shared = usize::from(self.can_read())
            + usize::from(self.can_pass())
            + usize::from(self.find_write().is_some());
        let mut shared = if self.can_look_up(caller) { shared } else { shared.saturating_sub(1) };
        let mut woken = Vec::new();
        for thread in 0..self.threads.len() {
            if !self.threads[thread].asleep {
                continue;
            }
            let wake = match self.find(thread) {
                None => self.is_over(),
                Some(Choice::LookUp(_)) => true,
                Some(_) if shared > 0 => {
                    shared -= 1;
                    true
                }
                Some(_) => false,
            };
            if wake {
                self.threads[thread].asleep = false;
                woken.push(thread);
            }
        }
        woken
    }

    /// Notes that a thread has read a block, and gives its index; or that the
    /// source has ended.
    pub fn read(&mut self, thread: usize, some: bool) -> Option<BatchIndex> {
        self.reading = false;
        self.threads[thread].engaged = false;
        self.ended |= !some;
        some.then(|| self.push(State::Decoding))
    }

    /// Notes that the source failed: what was read before is still written.
    pub fn read_failed(&mut self, thread: usize, error: E) {
        self.reading = false;
        self.threads[thread].engaged = false;
        self.ended = true;
        self.push(State::Failed(error));
    }

    fn push(&mut self, state: State<M, P, E>) -> BatchIndex {
        let index = self.first + self.slots.len() as u64;
        let (routed, answers) = (None, Vec::new());
        let slot = Slot { state, routed, first_position: Position(0), trades_before: 0, answers };
        self.slots.push_back(slot);
        BatchIndex(index)
    }

    /// Takes a batch that has been decoded and routed, or why it could not be.
    pub fn routed(&mut self, index: BatchIndex, routed: Result<Routed, E>) {
        match routed {
            Ok(routed) => {
                let slot = self.slot(index.0);
                slot.answers.reserve_exact(routed.answers_expected());
                slot.routed = Some(Arc::new(routed));
                slot.state = State::Waiting;
            }
            Err(error) => self.failed(index, error),
        }
        while let Some(at) = usize::try_from(self.numbered - self.first).ok()
            && let Some(slot) = self.slots.get_mut(at)
            && let Some(routed) = &slot.routed
        {
            if let Some((_, position, trades)) = self.placed.take_if(|placed| placed.0 == self.numbered) {
                (self.position, self.trades) = (position, trades);
            }
            slot.first_position = self.position;
            slot.trades_before = self.trades;
            self.position.0 += routed.batch.messages.len();
            self.trades += routed.batch.messages.trades.num_rows() as u64;
            self.numbered += 1;
        }
        (0..self.shards.len()).for_each(|shard| self.skip(shard));
        self.trim();
    }

    /// Passes a shard over batches that it has nothing to do with.
    fn skip(&mut self, shard: usize) {
        while self.shards[shard].next < self.numbered {
            let next = self.shards[shard].next;
            let concerns = |routed: &Arc<Routed>| routed.concerns(ShardIndex(shard as u32));
            if self.slot(next).routed.as_ref().is_some_and(concerns) {
                break;
            }
            self.shards[shard].next += 1;
        }
    }

    /// Takes what a shard found for the batch that it has been stepped through.
    /// Gives the batch if that was the last answer.
    ///
    /// # Errors
    /// An answer that is not waited for comes back, for its memory.
    ///
    /// # Panics
    /// If the shard has not been claimed.
    pub fn answered(&mut self, shard: ShardIndex, answer: Answer) -> Result<Option<Complete>, Answer> {
        let index = self.shards[shard.as_usize()].next;
        self.shards[shard.as_usize()].next += 1;
        self.shards[shard.as_usize()].busy = false;
        self.skip(shard.as_usize());
        let slot = self.slot(index);
        let routed = Arc::clone(slot.routed.as_ref().expect("a numbered batch is routed"));
        let result = if !routed.is_answered_by(shard) {
            Err(answer)
        } else {
            slot.answers.push(answer);
            Ok((slot.answers.len() == routed.answers_expected()).then(|| {
                slot.state = State::Encoding;
                let answers = std::mem::take(&mut slot.answers);
                let Slot { first_position, trades_before, .. } = *slot;
                Complete { routed, first_position, trades_before, answers }
            }))
        };
        self.trim();
        result
    }

    /// A piece that was written, for its memory, or a new one.
    pub fn spare(&mut self) -> P
    where
        P: Default,
    {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes a batch that has been merged and is to pass in its order.
    pub fn merged(&mut self, index: BatchIndex, merged: M) {
        self.slot(index.0).state = State::Merged(merged);
    }

    /// Notes that the batch claimed last has passed.
    pub fn passed(&mut self) {
        self.passing = false;
        self.to_pass += 1;
    }

    /// Notes that a batch cannot be written: those before it still are.
    pub fn failed(&mut self, index: BatchIndex, error: E) {
        self.ended = true;
        self.slot(index.0).state = State::Failed(error);
    }

    /// Takes a batch that is ready to be written.
    pub fn encoded(&mut self, index: BatchIndex, piece: P, account: Ledger) {
        self.slot(index.0).state = State::Ready(piece, account);
    }

    /// Takes back a piece that a thread has written.
    pub fn written(&mut self, thread: usize, index: BatchIndex, piece: P) {
        self.writing = false;
        self.threads[thread].engaged = false;
        self.spare.push(piece);
        self.slot(index.0).state = State::Written;
        self.to_write = self.to_write.max(index.0 + 1);
        self.trim();
    }

    /// Lets go of batches that everybody is done with.
    fn trim(&mut self) {
        let behind = self.shards.iter().map(|shard| shard.next).min().unwrap_or(0);
        while self.first < behind && matches!(self.slots[0].state, State::Written) {
            self.slots.pop_front();
            self.first += 1;
        }
    }

    /// Reads no more: what was read is completed.
    pub fn close(&mut self) {
        self.ended = true;
    }

    /// Whether nothing more will be read.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.ended
    }

    /// Ends the run as it stands: what was read and not written is dropped.
    pub fn give_up(&mut self) {
        self.given_up = true;
    }

    /// Whether what was read and not written has been dropped.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// Ends the run for an error, unless one has ended it before.
    pub fn fail(&mut self, error: E) {
        self.failure.get_or_insert(error);
    }

    /// Whether an error has ended the run.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Why the run has failed, if it has.
    pub fn into_failure(self) -> Option<E> {
        self.failure
    }

    /// Whether there is nothing left to do.
    fn is_over(&self) -> bool {
        let is_done = self.ended && !self.reading && self.slots.is_empty();
        is_done || self.failure.is_some() || self.given_up
    }

    /// How many batches are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.slots.len()
    }
}

mod place;
