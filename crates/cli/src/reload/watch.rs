//! The watch over the files of tables.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;
use tradejoin_connectors::JournalError;
use tradejoin_engine::{InEffect, Stop, Updates};

use super::asks::{Ask, Asks};
use super::generations::Store;
use super::journaling::Journaling;
use super::tables::{Copying, Stamp, WatchedTable};
use super::take_up::{Reason, Taken};
use super::units::{Look, Unit, units};
use super::{Guards, ReloadArgs};
use crate::control::{Done, Reply};
use crate::failure::Panicked;
use crate::watch::Said;

/// Why nothing is taken up while no trade comes.
const FULL: &str = "as much as may wait for a trade waits already: ask again when one has come";

/// What has become of a table's newer files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Reloads {
    pub(crate) table: String,
    pub(crate) reloaded: u64,
    pub(crate) rolled_back: u64,
    pub(crate) refused: u64,
    pub(crate) added: u64,
    pub(crate) changed: u64,
    pub(crate) removed: u64,
    /// Why the last one that was refused was.
    pub(crate) last_refusal: Option<String>,
}

/// The watch over the files of tables; it ends with its value.
pub(crate) struct Watch {
    done: Arc<AtomicBool>,
    reloads: Arc<Mutex<Vec<Reloads>>>,
    asks: Option<Asks>,
    watching: Option<JoinHandle<Result<Option<Journaling>, JournalError>>>,
    /// Whether somebody waits for the end of the thread, which may be reading a file.
    is_waited_for: bool,
    has_panicked: Arc<AtomicBool>,
}

/// What the watch has to do with.
pub(crate) struct Around {
    /// Where changes go.
    pub(crate) updates: Updates,
    /// A signal to look at once.
    pub(crate) hang_up: Arc<AtomicBool>,
    /// Ends the run if the watch panics.
    pub(crate) stop: Stop,
    /// Whether it may be spoken to.
    pub(crate) is_asked: bool,
    /// Where generations are kept, if they are.
    pub(crate) store: Option<Store>,
    /// Where a journal goes, if the watch writes one.
    pub(crate) journal: Option<PathBuf>,
}

impl Watch {
    /// Begins to look at `tables`, if there are any: what changes goes to the updates, all
    /// that is found at one time to one place in the sequence.
    pub(crate) fn begin(
        tables: Vec<WatchedTable>,
        args: &ReloadArgs,
        around: Around,
        say: impl Fn(Said<'_>) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let names: Vec<_> = tables.iter().map(|table| table.name().to_owned()).collect();
        let reloads = names.iter().map(|name| Reloads { table: name.clone(), ..Reloads::default() });
        let reloads = Arc::new(Mutex::new(reloads.collect()));
        let mut watch = Self {
            done: Arc::default(),
            reloads,
            asks: None,
            watching: None,
            is_waited_for: false,
            has_panicked: Arc::default(),
        };
        if let Some(every) = args.watch.filter(|_| !tables.is_empty()) {
            let Around { updates, hang_up, stop, is_asked, store, journal } = around;
            watch.asks = is_asked.then(|| Asks::new(names.clone()));
            let journaling = journal.as_deref().map(Journaling::create).transpose()?;
            watch.is_waited_for = journaling.is_some() || is_asked;
            // Dropped with the thread, also if there is none or it panics.
            let copying = store.is_some().then(|| Copying::begin(&tables));
            let files = tables.into_iter().map(Watched::new).collect();
            let watcher = Watcher {
                settle: args.settle,
                journaling,
                store,
                asks: watch.asks.clone(),
                done: Arc::clone(&watch.done),
                reloads: Arc::clone(&watch.reloads),
                say: Box::new(say),
                ..Watcher::new(files, units(&args.reload_group, &names), args.guards, updates)
            };
            let (asks, has_panicked) = (watch.asks.clone(), Arc::clone(&watch.has_panicked));
            let panicking = Panicking { stop, asks, has_panicked };
            let look = move || {
                let _panicking = panicking;
                watcher.look(every, &hang_up, copying)
            };
            // Not a stage of the run: it hands the engine changes, and reads beside it.
            let thread = thread::Builder::new().name("watch".to_owned()).spawn(look);
            watch.watching = Some(thread.context("cannot watch files")?);
        }
        Ok(watch)
    }

    /// By what the watch is spoken to.
    pub(crate) fn asks(&self) -> Option<Asks> {
        self.asks.clone()
    }

    /// Ends, and gives the journal of what has taken effect, if there is one.
    ///
    /// # Errors
    ///
    /// The journal cannot be written, or the watch has panicked, which has ended the run.
    pub(crate) fn finish(&mut self) -> anyhow::Result<Option<Journaling>> {
        self.done.store(true, Ordering::Relaxed);
        let is_waited_for = self.is_waited_for || self.has_panicked.load(Ordering::Acquire);
        let Some(thread) = self.watching.take().filter(|_| is_waited_for) else { return Ok(None) };
        Ok(thread.join().map_err(|_| Panicked("the watch over files"))??)
    }

    /// What has become of each table's newer files.
    pub(crate) fn reloads(&self) -> Vec<Reloads> {
        self.reloads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        // What it keeps goes with it, also if the run has failed.
        let thread = self.watching.take().filter(|_| self.is_waited_for);
        thread.into_iter().for_each(|thread| drop(thread.join()));
    }
}

/// Ends the run, behind a last checkpoint if it is kept, if the thread that has it panics: its
/// tables would stay as they are without a word.
struct Panicking {
    stop: Stop,
    asks: Option<Asks>,
    has_panicked: Arc<AtomicBool>,
}

impl Drop for Panicking {
    fn drop(&mut self) {
        if thread::panicking() {
            self.has_panicked.store(true, Ordering::Release);
            self.stop.request();
            self.asks.iter().for_each(Asks::close);
        }
    }
}

/// A table, and how far its file has been taken up.
pub(super) struct Watched {
    pub(super) table: WatchedTable,
    /// The file as it was when it was read last.
    pub(super) tried: Option<Stamp>,
    /// Whether its rows are not in force, whatever has become of it.
    pub(super) is_held: bool,
}

impl Watched {
    pub(super) fn new(table: WatchedTable) -> Self {
        Self { tried: table.file.stamp, table, is_held: false }
    }

    /// What its file is now.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        Stamp::of(&self.table.file.path)
    }
}

/// What looks at the files.
pub(super) struct Watcher {
    pub(super) files: Vec<Watched>,
    /// What the files were at the last look.
    pub(super) seen: Vec<Option<Stamp>>,
    pub(super) units: Vec<Unit>,
    settle: Duration,
    pub(super) guards: Guards,
    pub(super) updates: Updates,
    pub(super) store: Option<Store>,
    asks: Option<Asks>,
    /// Updates whose place is not known yet, with how many rows they change.
    pub(super) waiting: BTreeMap<u64, usize>,
    /// Places that are not in the journal.
    placed: Vec<InEffect>,
    /// Who waits for the place of an update.
    awaiting: Vec<(u64, SyncSender<Reply>)>,
    pub(super) done: Arc<AtomicBool>,
    pub(super) reloads: Arc<Mutex<Vec<Reloads>>>,
    pub(super) journaling: Option<Journaling>,
    pub(super) say: Box<dyn Fn(Said<'_>) + Send>,
}

impl Watcher {
    /// How soon it is noticed that the run has ended, or that something is asked.
    const NAP: Duration = Duration::from_millis(20);

    /// Updates that may wait for their place, and rows that they may change together: as
    /// soon as there are more, no file is taken up. They take memory while no trade comes.
    const WAITING_MAX: usize = 16;
    const ROWS_WAITING_MAX: usize = 1 << 16;

    /// Looks at files for itself alone, and says nothing.
    pub(super) fn new(files: Vec<Watched>, units: Vec<Unit>, guards: Guards, updates: Updates) -> Self {
        let name = |file: &Watched| Reloads { table: file.table.name().to_owned(), ..Reloads::default() };
        let reloads = Arc::new(Mutex::new(files.iter().map(name).collect()));
        let seen = files.iter().map(Watched::stamp).collect();
        Self {
            files,
            seen,
            units,
            settle: Duration::ZERO,
            guards,
            updates,
            store: None,
            asks: None,
            waiting: BTreeMap::new(),
            placed: Vec::new(),
            awaiting: Vec::new(),
            done: Arc::default(),
            reloads,
            journaling: None,
            say: Box::new(|_| {}),
        }
    }

    /// Looks until the run is over, and gives back the journal.
    pub(super) fn look(
        mut self,
        every: Duration,
        hang_up: &AtomicBool,
        copying: Option<Copying>,
    ) -> Result<Option<Journaling>, JournalError> {
        let mut failure = None;
        self.seen = self.stamps();
        let mut looked = Instant::now();
        let mut has_begun = false;
        self.keep_first();
        drop(copying);
        loop {
            let is_done = self.done.load(Ordering::Relaxed);
            let is_complete =
                self.files.iter().all(|file| file.table.in_force.is_complete.load(Ordering::Acquire));
            self.hear();
            if let Some(journaling) = self.journaling.as_mut().filter(|_| is_complete) {
                let loaded = self.files.iter().map(|file| file.table.loaded());
                if let Err(error) = journaling.write(loaded, &std::mem::take(&mut self.placed)) {
                    // Tables go on to change, and the run ends with this error.
                    (self.say)(Said::Warning(&format!("there is no journal from here on: {error}")));
                    (self.journaling, failure) = (None, Some(error));
                }
            }
            if is_done {
                self.asks.iter().for_each(Asks::close);
                return failure.map_or(Ok(self.journaling), Err);
            }
            if is_complete && !std::mem::replace(&mut has_begun, true) {
                self.check_first();
            }
            thread::sleep(Self::NAP.min(every.max(Duration::from_millis(1))));
            if !is_complete {
                continue;
            }
            while let Some(ask) = self.asks.as_ref().and_then(Asks::take) {
                self.answer(ask);
            }
            if self.is_full() {
                // Files and a signal are looked at when a trade has come.
                continue;
            }
            // What is asked before the tables are complete is done after it.
            let is_asked = hang_up.swap(false, Ordering::Relaxed);
            if looked.elapsed() < every && !is_asked {
                continue;
            }
            looked = Instant::now();
            let now = self.stamps();
            let due = self.due(&now, is_asked);
            self.seen = now;
            self.take_up(&due, if is_asked { Reason::HangUp } else { Reason::Changed });
        }
    }

    fn stamps(&self) -> Vec<Option<Stamp>> {
        self.files.iter().map(Watched::stamp).collect()
    }

    /// The units to be taken up. A file that was just written to may not be whole yet.
    fn due(&mut self, now: &[Option<Stamp>], is_asked: bool) -> Vec<usize> {
        let tried = self.files.iter().map(|file| file.tried).collect();
        let look = Look { tried, last: &self.seen, now };
        let settle = self.settle;
        let units = self.units.iter_mut().enumerate();
        let due = units.filter_map(|(at, unit)| (unit.is_due(&look, settle) || is_asked).then_some(at));
        due.collect()
    }

    /// Does what somebody asks for, and says what came of it; where it takes effect is
    /// said when that is known.
    fn answer(&mut self, ask: Ask) {
        let Ask { tables, is_rollback, replies } = ask;
        // Who asks may have seen a trade since.
        self.hear();
        let is_named = !tables.is_empty();
        let is_meant = |unit: &Unit| !is_named || unit.tables.iter().any(|table| tables.contains(table));
        let meant = (0..self.units.len()).filter(|&at| is_meant(&self.units[at])).collect::<Vec<_>>();
        let taken = if self.is_full() {
            let refused = meant.iter().flat_map(|&unit| self.outcomes(unit, Done::Refused, FULL));
            Taken { outcomes: refused.collect(), update: None }
        } else if is_rollback {
            self.roll_back(&meant, is_named)
        } else {
            self.take_up(&meant, Reason::Asked { is_named })
        };
        // Who does not listen any more misses it.
        let _ = replies.try_send(Reply::Tables(taken.outcomes));
        self.awaiting.extend(taken.update.map(|number| (number, replies)));
    }

    /// Warns where a file takes the place of rows that a checkpoint has kept: the run before may
    /// have rolled back from it, of which nothing is kept.
    pub(super) fn warn_of_kept_rows(&self, at: usize) {
        let file = &self.files[at];
        if file.tried.is_some() || self.store.is_none() {
            return;
        }
        let text = format!(
            "{} goes on from a checkpoint, and its file, which has other rows, takes their place, also if it \
             was rolled back from before",
            file.table.name()
        );
        (self.say)(Said::Warning(&text));
    }

    /// Whether what waits for its place is enough.
    fn is_full(&self) -> bool {
        let rows: usize = self.waiting.values().sum();
        self.waiting.len() >= Self::WAITING_MAX || rows > Self::ROWS_WAITING_MAX
    }

    /// Hears where updates are in force, and says so.
    fn hear(&mut self) {
        let in_effect = self.updates.in_effect();
        for &InEffect { update, trades_before } in &in_effect {
            self.waiting.remove(&update);
            if let Some(at) = self.awaiting.iter().position(|&(of, _)| of == update) {
                let _ = self.awaiting.swap_remove(at).1.try_send(Reply::InEffect { trades_before });
            }
        }
        if self.journaling.is_some() {
            self.placed.extend(in_effect);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{BUG, exit_code};

    /// A watch whose thread does that, and how its run ends.
    fn ended(look: fn()) -> (bool, Option<anyhow::Error>) {
        let stop = Stop::default();
        let has_panicked = Arc::<AtomicBool>::default();
        let panicking = Panicking { stop: stop.clone(), asks: None, has_panicked: Arc::clone(&has_panicked) };
        let thread = thread::Builder::new().spawn(move || {
            let _panicking = panicking;
            look();
            Ok(None)
        });
        let thread = thread.expect("it starts");
        while !thread.is_finished() {
            thread::yield_now();
        }
        let (done, reloads) = (Arc::default(), Arc::default());
        let watching = Some(thread);
        let mut watch = Watch { done, reloads, asks: None, watching, is_waited_for: false, has_panicked };
        (stop.is_requested(), watch.finish().err())
    }

    #[test]
    fn a_watch_that_panics_ends_its_run_and_one_that_ends_does_not() {
        let (is_stopped, error) = ended(|| panic!("a bug"));
        let error = error.expect("it has panicked");
        assert!(is_stopped && exit_code(&error) == BUG, "{error:#}");
        assert_eq!(error.to_string(), "the watch over files failed unexpectedly");
        let (is_stopped, error) = ended(|| ());
        assert!(!is_stopped && error.is_none());
    }
}
