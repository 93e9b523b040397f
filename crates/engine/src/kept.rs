//! Runs that are kept: cuts through all that there is, at places between two batches, from
//! which a later run goes on.
//!
//! A cut travels with the batch behind which it lies. The thread that reads the batch notes
//! how far the source is; whoever lets it pass takes down the trades that wait; and whoever
//! writes it has the output prepared. What changes tables goes the same way, batch by batch.
//! All of it is handed to a thread of its own, which makes it durable while the run goes on.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use tradejoin_flow::{BoxError, Cut, End, Keep, Prepared, Resume, SourcePosition};
use tradejoin_model::{BatchIndex, Held, Ledger, Position, TableLedger};

use crate::budget::Budget;
use crate::clock::Clock;
use crate::error::{EngineError, Stage};
use crate::load::{Loaded, add_loaded};
use crate::pulse::Pulse;
use crate::run::lock;
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};

mod events;
#[cfg(test)]
mod tests;

use events::Events;
pub(crate) use events::{Changes, Event};

/// How a run is kept.
pub struct Keeping<'a> {
    /// By whom.
    pub keep: Box<dyn Keep + 'a>,
    /// How often.
    pub every: KeepEvery,
    /// What it starts from, if not from the beginning. Its tables are then loaded from
    /// what was kept.
    pub resume: Option<Resume>,
}

/// How often a run is kept. There is no cut before the tables are complete and while the one
/// before is being made durable, and each lies between two batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepEvery {
    /// After so much time, if something was read in it; also while a source waits that can
    /// [tell](tradejoin_flow::Source::next_until).
    Time(Duration),
    /// After so many trades were written; also while such a source waits.
    Trades(u64),
}

/// What keeping a run has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptReport {
    /// Cuts that are durable.
    pub cuts: u64,
    /// Bytes that were written for them, those of the output not counted.
    pub bytes: u64,
    /// The longest that writing, or the trades that wait, stood still at a time: for a cut, or
    /// for what keeps, as long as that was behind. Look-ups never do by themselves.
    pub pause_max: Duration,
    /// How long in all a run waited because what keeps was behind: with more changes of tables
    /// than may wait for it, as behind a slow disk.
    pub waited: Duration,
    /// The longest that it took to make a cut durable.
    pub durable_max: Duration,
    /// How long it took until the tables were there that a run goes on with.
    pub restored_in: Option<Duration>,
    /// Trades and changes of the runs that it goes on from, those refused among them.
    pub messages_before: u64,
}

/// How often a source that waits is woken for one cut.
const WAKE_AGAIN: Duration = Duration::from_secs(1);
/// And how seldom at the least where trades count: somebody may take long to write them.
const PATIENCE_MAX: Duration = Duration::from_secs(30);
/// No batch has this index.
const NONE: u64 = u64::MAX;

/// What the threads of a kept run share.
pub(crate) struct Keeper {
    events: Events,
    every: KeepEvery,
    clock: Clock,
    /// The batch behind which the next cut lies.
    at: AtomicU64,
    state: Mutex<State>,
    /// Whether a cut is on its way.
    is_busy: AtomicBool,
    /// Whether the run goes on where another one was, and the first batch of its own.
    resumes: bool,
    /// Whether threads come further while one waits for a source.
    has_threads: bool,
    begins_at: AtomicU64,
    /// The place where the run begins, and the messages that its ledger has then.
    from: (Position, u64),
    start: Instant,
    report: Mutex<KeptReport>,
}

/// The cut that comes next.
struct State {
    last: Option<Instant>,
    /// Whether something was read behind it.
    has_more: bool,
    /// When a source was last woken for one.
    woken: Option<Instant>,
    /// How long it may be until it is woken again where trades count.
    patience: Duration,
    last_trades: u64,
    /// Trades that were written.
    trades: u64,
    source: SourcePosition,
    loaded: Vec<Loaded>,
    held: Option<Held>,
    /// What was written again before it.
    revised: Option<Box<dyn Prepared>>,
    pause: Duration,
}

impl Keeper {
    /// One with a thread of its own, which [works](Self::work) meanwhile.
    pub(crate) fn new(every: (KeepEvery, &Clock), resume: Option<&Resume>) -> Self {
        Self { has_threads: true, ..Self::with(Events::new(), every, resume) }
    }

    /// One whose events [wait](Self::next_event) for the only thread of a run.
    pub(crate) fn in_steps(every: (KeepEvery, &Clock), resume: Option<&Resume>) -> Self {
        Self::with(Events::unbounded(), every, resume)
    }

    fn with(events: Events, (every, clock): (KeepEvery, &Clock), resume: Option<&Resume>) -> Self {
        let trades = resume.map_or(0, |resume| resume.trades);
        let state = State {
            // The first one lies where the tables are complete, so that they need not be
            // read again.
            last: resume.map(|_| clock.now()),
            has_more: false,
            woken: None,
            patience: WAKE_AGAIN,
            last_trades: trades,
            trades,
            source: SourcePosition::default(),
            loaded: Vec::new(),
            held: None,
            revised: None,
            pause: Duration::ZERO,
        };
        Self {
            events,
            every,
            clock: clock.clone(),
            at: AtomicU64::new(NONE),
            state: Mutex::new(state),
            is_busy: AtomicBool::new(false),
            resumes: resume.is_some(),
            has_threads: false,
            begins_at: AtomicU64::new(if resume.is_some() { NONE } else { 0 }),
            from: resume.map_or_else(Default::default, |resume| (resume.position, messages(&resume.ledger))),
            start: Instant::now(),
            report: Mutex::new(KeptReport {
                messages_before: resume.map_or(0, |Resume { ledger, .. }| {
                    ledger.rows_read + ledger.tables.iter().map(|table| table.changes).sum::<u64>()
                }),
                ..KeptReport::default()
            }),
        }
    }

    /// Whether the run goes on where another one was: its tables are kept already.
    pub(crate) fn resumes(&self) -> bool {
        self.resumes
    }

    /// Whether it is time for a cut. Asked where the feed is locked.
    pub(crate) fn is_due(&self) -> bool {
        // The board's lock, and that of the feed, order what is read and written here.
        if self.is_busy.load(Ordering::Relaxed) {
            return false;
        }
        let state = lock(&self.state);
        match (state.last, self.every) {
            (None, _) => true,
            (Some(last), KeepEvery::Time(every)) => self.clock.now().duration_since(last) >= every,
            (Some(_), KeepEvery::Trades(every)) => state.trades - state.last_trades >= every,
        }
    }

    /// Until when a source may wait: a cut behind what it has given is due then. Asked where the
    /// feed is locked.
    pub(crate) fn wait_until(&self) -> Option<Instant> {
        let state = lock(&self.state);
        let last = state.last.filter(|_| state.has_more)?;
        let KeepEvery::Time(every) = self.every else { return self.wait_for_trades(&state) };
        let due = last.checked_add(every)?;
        // There may be no cut yet, such as while the one before is being made durable.
        let again = state.woken.and_then(|woken| woken.checked_add(every.min(WAKE_AGAIN)));
        Some(again.map_or(due, |again| due.max(again)))
    }

    /// The same where trades count, of which some may be under way, or so many that the cut only
    /// waits for the one before.
    fn wait_for_trades(&self, state: &State) -> Option<Instant> {
        self.has_threads.then(|| self.clock.now())?.checked_add(state.patience)
    }

    /// Notes that a source gave something, having waited until then at most, and whether a cut
    /// lies behind it. To be called before the feed is unlocked.
    pub(crate) fn note_read(&self, until: Option<Instant>, is_cut: bool) {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        state.has_more = !is_cut;
        state.woken = if until.is_some_and(|until| until <= now) && !is_cut { Some(now) } else { None };
        state.patience = match state.woken {
            Some(_) => (state.patience * 2).min(PATIENCE_MAX),
            None => WAKE_AGAIN,
        };
    }

    /// Begins a cut that is due. To be called before the feed is unlocked: whoever reads the
    /// next block, maybe before this one has its place, must not begin another, since of two
    /// cuts one would get the place of the source of the other.
    pub(crate) fn begin_cut(&self) {
        self.is_busy.store(true, Ordering::Relaxed);
    }

    /// Has the cut that was [begun](Self::begin_cut) behind a batch that was just read, when the
    /// source was there.
    pub(crate) fn cut_behind(&self, batch: BatchIndex, source: SourcePosition, loaded: Vec<Loaded>) {
        let mut state = lock(&self.state);
        (state.source, state.loaded) = (source, loaded);
        (state.last, state.last_trades) = (Some(self.clock.now()), state.trades);
        drop(state);
        self.at.store(batch.0, Ordering::Relaxed);
    }

    /// Whether the cut is to lie behind this batch.
    pub(crate) fn is_behind(&self, batch: BatchIndex) -> bool {
        self.at.load(Ordering::Relaxed) == batch.0
    }

    /// Notes what waits at the cut, and what was written again before it, which was prepared
    /// since `begin`.
    pub(crate) fn hold(&self, held: Held, revised: Box<dyn Prepared>, begin: Instant) {
        let mut state = lock(&self.state);
        (state.held, state.revised, state.pause) = (Some(held), Some(revised), begin.elapsed());
    }

    /// Notes that so many trades were written, the last of them of a batch that is the
    /// last one before a cut if `output` is there, prepared since `begin`. Waits while
    /// too much is waiting to be kept.
    pub(crate) fn written(
        &self,
        (ledger, budget): (&Ledger, &Budget),
        changes: Option<Changes>,
        output: Option<(Box<dyn Prepared>, Instant)>,
    ) {
        let trades = ledger.rows_read - ledger.rejected;
        let trades_before = std::mem::replace(&mut lock(&self.state).trades, trades);
        let waited = changes.map_or(Duration::ZERO, |changes| {
            self.send(Event::Changes(Changes { trades_before, ..changes }))
        });
        let Some((output, begin)) = output else { return self.note_pause(waited) };
        let mut state = lock(&self.state);
        self.at.store(NONE, Ordering::Relaxed);
        let pause = std::mem::take(&mut state.pause).max(begin.elapsed());
        let (source, loaded) = (std::mem::take(&mut state.source), std::mem::take(&mut state.loaded));
        let output = match state.revised.take() {
            Some(revised) => Box::new((output, revised)),
            None => output,
        };
        let cut = self.cut(source, (ledger, budget), &loaded, state.held.take(), output, None);
        drop(state);
        self.note_pause(pause);
        self.send(Event::Cut(Box::new(cut)));
    }

    fn note_pause(&self, pause: Duration) {
        if pause > Duration::ZERO {
            let mut report = lock(&self.report);
            report.pause_max = report.pause_max.max(pause);
        }
    }

    /// Hands something to the thread that keeps, and gives how long it waited for room. If that
    /// thread has failed, the run ends for it.
    pub(crate) fn send(&self, event: Event) -> Duration {
        let waited = self.events.send(event);
        if waited > Duration::ZERO {
            lock(&self.report).waited += waited;
        }
        waited
    }

    /// Whether events wait in a run of one thread.
    pub(crate) fn has_event(&self) -> bool {
        !self.events.is_empty()
    }

    /// The first of them.
    pub(crate) fn next_event(&self) -> Option<Event> {
        self.events.try_next()
    }

    /// Notes the first batch that is not one of the tables of a run before.
    pub(crate) fn begin_at(&self, batch: BatchIndex) {
        if self.begins_at.load(Ordering::Relaxed) == NONE {
            self.begins_at.store(batch.0, Ordering::Relaxed);
            self.note_restored();
        }
    }

    /// Whether a batch has rows of a table as it was kept: of what was counted before.
    pub(crate) fn is_restored(&self, batch: BatchIndex) -> bool {
        batch.0 < self.begins_at.load(Ordering::Relaxed)
    }

    /// Notes that tables are there, as far as is known.
    pub(crate) fn note_restored(&self) {
        if self.resumes {
            lock(&self.report).restored_in = Some(self.start.elapsed());
        }
    }

    /// What it has come to.
    pub(crate) fn report(&self) -> KeptReport {
        *lock(&self.report)
    }

    /// Keeps what comes until nothing more does.
    pub(crate) fn work(&self, keep: &mut dyn Keep, pulse: &Pulse) -> Result<(), EngineError> {
        loop {
            let event = self.events.next();
            pulse.enter_beside(Some(Stage::Keep));
            let taken = self.take(event, keep)?;
            pulse.enter_beside(None);
            if taken.is_break() {
                return Ok(());
            }
        }
    }

    /// Keeps nothing any more: whoever waits to hand something over is let go.
    pub(crate) fn close(&self) {
        self.events.close();
    }

    /// Keeps one event; breaks off if none follows.
    pub(crate) fn take(&self, event: Event, keep: &mut dyn Keep) -> Result<ControlFlow<()>, EngineError> {
        match event {
            Event::Changes(Changes { lanes, are_rows: true, .. }) => {
                for (table, lane) in lanes.iter().enumerate().filter(|(_, lane)| !lane.is_empty()) {
                    keep.rows(table, lane).map_err(EngineError::Keep)?;
                }
            }
            Event::Changes(Changes { lanes, trades_before, .. }) => {
                keep.changes(trades_before, &lanes).map_err(EngineError::Keep)?;
            }
            Event::Rows(table, lane) => keep.rows(table, &lane).map_err(EngineError::Keep)?,
            Event::Cut(cut) => {
                self.keep(keep, *cut).map_err(EngineError::Keep)?;
                self.is_busy.store(false, Ordering::Relaxed);
            }
            Event::End => return Ok(ControlFlow::Break(())),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// A cut behind all of `ledger`, which lacks what was `loaded` past the shards.
    pub(crate) fn cut(
        &self,
        source: SourcePosition,
        (ledger, budget): (&Ledger, &Budget),
        loaded: &[Loaded],
        held: Option<Held>,
        output: Box<dyn Prepared>,
        end: Option<End>,
    ) -> Cut {
        let trades = ledger.rows_read - ledger.rejected;
        let (from, before) = self.from;
        let position = Position(from.0 + messages(ledger).saturating_sub(before));
        let mut ledger = ledger.clone();
        add_loaded(&mut ledger, loaded);
        Cut { source, trades, position, ledger, held, bad: budget.by_input(), output, end }
    }

    /// Makes a cut durable.
    pub(crate) fn keep(&self, keep: &mut dyn Keep, cut: Cut) -> Result<(), BoxError> {
        let begin = Instant::now();
        let bytes = keep.keep(cut)?;
        let mut report = lock(&self.report);
        report.cuts += 1;
        report.bytes += bytes;
        report.durable_max = report.durable_max.max(begin.elapsed());
        Ok(())
    }
}

/// The messages that a ledger accounts for.
fn messages(ledger: &Ledger) -> u64 {
    let of_table = |table: &TableLedger| table.rows_loaded + table.changes + table.rejected;
    ledger.rows_read + ledger.tables.iter().map(of_table).sum::<u64>()
}
