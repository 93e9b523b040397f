//! What carries a run to its end: a thread for each shard, or one that does all there is
//! to do in an order of somebody's choice.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tradejoin_flow::{Keep, Resume, Sink, Source};
use tradejoin_model::ShardCount;

use crate::clock::Clock;
use crate::engine::Engine;
use crate::error::{EngineError, Stage, panicked};
use crate::kept::{Event, KeepEvery, Keeper};
use crate::report::thread_cpu;
use crate::run::{Own, Run};
use crate::sync::{AtomicBool, Ordering, Parker, ScopedJoinHandle, Unparker, scope, spawn};

/// Which of them it is.
pub(crate) enum Driver<'p> {
    Threads,
    /// Picks one of so many.
    Steps(&'p mut dyn FnMut(usize) -> usize),
}

/// One that is about to drive.
pub(crate) enum Begun<'p> {
    Threads(Vec<Parker>),
    Steps(&'p mut dyn FnMut(usize) -> usize),
}

/// How threads are told that there is something to do.
pub(crate) enum Wakers {
    Threads(Vec<Unparker>),
    /// Whether each has been told.
    Steps(Vec<AtomicBool>),
}

/// What has come of the step of a thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stepped {
    /// A task was carried out.
    Worked,
    /// There is nothing to do until the thread is woken.
    Waits,
    /// Nor will there be.
    Ended,
}

/// What keeps a run, and what it shares with those who run it.
pub(crate) struct KeptBy<'k> {
    keeper: Keeper,
    keep: Box<dyn Keep + 'k>,
}

impl Wakers {
    pub(crate) fn wake(&self, thread: usize) {
        match self {
            Self::Threads(unparkers) => unparkers[thread].unpark(),
            Self::Steps(are_told) => are_told[thread].store(true, Ordering::Relaxed),
        }
    }

    /// Whether it was told since it was asked last.
    fn is_told(&self, thread: usize) -> bool {
        matches!(self, Self::Steps(are_told) if are_told[thread].swap(false, Ordering::Relaxed))
    }

    /// Whether the time that passes means anything.
    pub(crate) fn go_by_the_clock(&self) -> bool {
        matches!(self, Self::Threads(_))
    }
}

impl<'k> KeptBy<'k> {
    pub(crate) fn new(
        driver: &Driver<'_>,
        keep: Box<dyn Keep + 'k>,
        every: (KeepEvery, &Clock),
        resume: Option<&Resume>,
    ) -> Self {
        let keeper = match driver {
            Driver::Threads => Keeper::new(every, resume),
            Driver::Steps(_) => Keeper::in_steps(every, resume),
        };
        Self { keeper, keep }
    }

    pub(crate) fn split(&mut self) -> (&Keeper, &mut dyn Keep) {
        (&self.keeper, &mut *self.keep)
    }
}

impl<'p> Driver<'p> {
    /// A driver of so many threads, and what wakes them.
    pub(crate) fn begin(self, threads: ShardCount) -> (Wakers, Begun<'p>) {
        match self {
            Self::Threads => {
                let parkers: Vec<_> = threads.shards().map(|_| Parker::new()).collect();
                let unparkers = parkers.iter().map(|parker| parker.unparker().clone()).collect();
                (Wakers::Threads(unparkers), Begun::Threads(parkers))
            }
            Self::Steps(pick) => {
                let are_told = threads.shards().map(|_| AtomicBool::new(false)).collect();
                (Wakers::Steps(are_told), Begun::Steps(pick))
            }
        }
    }
}

impl Begun<'_> {
    /// Carries a run to its end, whichever that is; gives the processor time of each thread.
    pub(crate) fn drive<S: Source, K: Sink>(
        self,
        run: &Run<'_, S, K>,
        keeping: Option<(&Keeper, &mut dyn Keep)>,
    ) -> Result<Vec<Duration>, EngineError> {
        match self {
            Self::Threads(parkers) => by_threads(run, parkers, keeping),
            Self::Steps(pick) => in_steps(run, keeping, pick),
        }
    }
}

fn by_threads<S: Source, K: Sink>(
    run: &Run<'_, S, K>,
    parkers: Vec<Parker>,
    keeping: Option<(&Keeper, &mut dyn Keep)>,
) -> Result<Vec<Duration>, EngineError> {
    // A panic in here is to come before anybody waits for the others.
    let owns: Vec<_> = (0..parkers.len()).map(|thread| run.own(thread)).collect();
    let cpus = scope(|scope| {
        let keeper = keeping.as_ref().map(|(keeper, _)| *keeper);
        let keeping = match keeping {
            Some((keeper, keep)) => {
                let work = move || keep_all(run, keeper, keep);
                Some(spawn(scope, "checkpoints".to_owned(), work)?)
            }
            None => None,
        };
        let begin = |(thread, (parker, mut own)): (usize, (Parker, Own<_>))| {
            let work = move || loop {
                match run.step(&mut own) {
                    Stepped::Worked => {}
                    Stepped::Waits => parker.park(),
                    Stepped::Ended => return thread_cpu(),
                }
            };
            // What was read may wait for a shard that nobody is: the others are told, and end.
            spawn(scope, format!("shard-{thread}"), work)
                .map_err(|error| run.fail_beside(EngineError::Thread(error)))
                .ok()
        };
        let begun: Vec<_> = parkers.into_iter().zip(owns).enumerate().filter_map(begin).collect();
        let joined: Vec<_> = begun.into_iter().map(ScopedJoinHandle::join).collect();
        if let Some(keeper) = keeper {
            keeper.send(Event::End);
        }
        // A panic in there has been told.
        let _ = keeping.map(ScopedJoinHandle::join);
        Ok(joined)
    });
    let cpus = cpus.map_err(EngineError::Thread)?.into_iter();
    cpus.collect::<Result<Vec<_>, _>>().map_err(|panic| panicked(panic, Stage::Schedule))
}

/// What the thread does that keeps. Whoever waits to hand something over is let go when
/// it ends.
fn keep_all<S: Source, K: Sink>(run: &Run<'_, S, K>, keeper: &Keeper, keep: &mut dyn Keep) {
    let told = |panic| Err(panicked(panic, Stage::Keep));
    let mut work = || catch_unwind(AssertUnwindSafe(|| keeper.work(keep, run.pulse()))).unwrap_or_else(told);
    // What was thrown may throw again when it is let go: nobody is to wait for this thread then.
    if let Err(error) = catch_unwind(AssertUnwindSafe(&mut work)).unwrap_or_else(told) {
        run.fail_beside(error);
    }
    keeper.close();
}

/// One thread of a run in steps.
struct InTurn<E> {
    own: Own<E>,
    state: Stepped,
}

fn in_steps<S: Source, K: Sink>(
    run: &Run<'_, S, K>,
    mut keeping: Option<(&Keeper, &mut dyn Keep)>,
    pick: &mut dyn FnMut(usize) -> usize,
) -> Result<Vec<Duration>, EngineError> {
    let mut threads: Vec<_> =
        (0..run.threads()).map(|thread| InTurn { own: run.own(thread), state: Stepped::Worked }).collect();
    loop {
        for (number, thread) in threads.iter_mut().enumerate() {
            if thread.state == Stepped::Waits && run.wakers.is_told(number) {
                thread.state = Stepped::Worked;
            }
        }
        if run.is_stopping() && pick(Engine::DRAIN_PICKS) == 0 {
            run.give_up();
        }
        let mut able: Vec<_> =
            threads.iter_mut().filter(|thread| thread.state == Stepped::Worked).map(Some).collect();
        if keeping.as_ref().is_some_and(|(keeper, _)| keeper.has_event()) {
            able.push(None);
        }
        if able.is_empty() {
            break;
        }
        match able.swap_remove(pick(able.len())) {
            Some(thread) => thread.state = run.step(&mut thread.own),
            None => keep_next(run, &mut keeping),
        }
    }
    if threads.iter().any(|thread| thread.state != Stepped::Ended) {
        return Err(panicked(Box::new("every thread waits for another"), Stage::Schedule));
    }
    Ok(vec![Duration::ZERO; threads.len()])
}

/// Keeps one event. What keeps is not there any more once it has failed.
fn keep_next<S: Source, K: Sink>(run: &Run<'_, S, K>, keeping: &mut Option<(&Keeper, &mut dyn Keep)>) {
    let Some((keeper, keep)) = keeping else { return };
    let Some(event) = keeper.next_event() else { return };
    let kept = catch_unwind(AssertUnwindSafe(|| keeper.take(event, *keep)));
    if let Err(error) = kept.unwrap_or_else(|panic| Err(panicked(panic, Stage::Keep))) {
        run.fail_beside(error);
        *keeping = None;
    }
}
