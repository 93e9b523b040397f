//! The watch over the files of tables.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::HumanCount;
use serde::Serialize;
use tradejoin_connectors::{JournalEntry, JournalError, JournalWriter};
use tradejoin_engine::{InEffect, Update, Updates};

use super::tables::{Stamp, WatchedTable};
use super::{Guards, ReloadArgs};
use crate::watch::Said;

/// What has become of a table's newer files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Reloads {
    pub(crate) table: String,
    pub(crate) reloaded: u64,
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
    /// The thread that writes a journal.
    journaling: Option<JoinHandle<Result<Option<Journaling>, JournalError>>>,
}

impl Watch {
    /// Begins to look at `tables`, if there are any: what changes goes to `updates`, all
    /// that is found at one time to one place in the sequence.
    pub(crate) fn begin(
        tables: Vec<WatchedTable>,
        args: &ReloadArgs,
        updates: Updates,
        hang_up: Arc<AtomicBool>,
        say: impl Fn(Said<'_>) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let reloads =
            tables.iter().map(|table| Reloads { table: table.name().to_owned(), ..Reloads::default() });
        let reloads = Arc::new(Mutex::new(reloads.collect()));
        let mut watch = Self { done: Arc::default(), reloads, journaling: None };
        if let Some(every) = args.watch.filter(|_| !tables.is_empty()) {
            let tables = tables.into_iter().map(|table| (table.file.stamp, table)).collect();
            let journaling = args.journal.as_deref().map(Journaling::create).transpose()?;
            let has_journal = journaling.is_some();
            let watcher = Watcher {
                tables,
                journaling,
                guards: args.guards,
                updates,
                done: Arc::clone(&watch.done),
                reloads: Arc::clone(&watch.reloads),
                say: Box::new(say),
            };
            let look = move || watcher.look(every, &hang_up);
            // Not a stage of the run: it hands the engine changes, and reads beside it.
            let thread = thread::Builder::new().name("watch".to_owned()).spawn(look);
            let thread = thread.context("cannot watch files")?;
            watch.journaling = has_journal.then_some(thread);
        }
        Ok(watch)
    }

    /// Completes the journal of a run of so many trades.
    pub(crate) fn finish(&mut self, trades: u64) -> anyhow::Result<()> {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.journaling.take() {
            let journaling =
                thread.join().map_err(|_| anyhow::anyhow!("the watch over files panicked"))??;
            journaling.map_or(Ok(()), |journaling| journaling.end(trades))?;
        }
        Ok(())
    }

    /// What has become of each table's newer files.
    pub(crate) fn reloads(&self) -> Vec<Reloads> {
        self.reloads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

/// What looks at the files.
struct Watcher {
    /// Each table, and its file as it was when it was read.
    tables: Vec<(Option<Stamp>, WatchedTable)>,
    guards: Guards,
    updates: Updates,
    done: Arc<AtomicBool>,
    reloads: Arc<Mutex<Vec<Reloads>>>,
    journaling: Option<Journaling>,
    say: Box<dyn Fn(Said<'_>) + Send>,
}

impl Watcher {
    /// How soon it is noticed that the run has ended, or a signal has come.
    const NAP: Duration = Duration::from_millis(20);

    /// Looks until the run is over, and gives back the journal.
    fn look(mut self, every: Duration, hang_up: &AtomicBool) -> Result<Option<Journaling>, JournalError> {
        let mut failure = None;
        let mut last = self.stamps();
        let mut looked = Instant::now();
        loop {
            let is_done = self.done.load(Ordering::Relaxed);
            let is_complete =
                self.tables.iter().all(|(_, table)| table.in_force.is_complete.load(Ordering::Acquire));
            let in_effect = self.updates.in_effect();
            if let Some(journaling) = self.journaling.as_mut().filter(|_| is_complete)
                && let Err(error) = journaling.write(&self.tables, in_effect)
            {
                // Tables go on to change, and the run ends with this error.
                (self.say)(Said::Warning(&format!("there is no journal from here on: {error}")));
                (self.journaling, failure) = (None, Some(error));
            }
            if is_done {
                return failure.map_or(Ok(self.journaling), Err);
            }
            thread::sleep(Self::NAP.min(every.max(Duration::from_millis(1))));
            // What is asked before that is done after it.
            let is_asked = is_complete && hang_up.swap(false, Ordering::Relaxed);
            if !is_complete || (looked.elapsed() < every && !is_asked) {
                continue;
            }
            looked = Instant::now();
            let now = self.stamps();
            // A file that was just written to may not be whole yet.
            let is_due =
                |index: usize| is_asked || (now[index] == last[index] && now[index] != self.tables[index].0);
            let due: Vec<_> = (0..self.tables.len()).filter(|&index| is_due(index)).collect();
            self.reload(&due);
            last = now;
        }
    }

    fn stamps(&self) -> Vec<Option<Stamp>> {
        self.tables.iter().map(|(_, table)| Stamp::of(&table.file.path)).collect()
    }

    /// Reads these tables' files, and offers all that they change as one update.
    fn reload(&mut self, due: &[usize]) {
        let (mut update, mut news) = (Update::new(), Vec::new());
        for &index in due {
            let (read, table) = &mut self.tables[index];
            let before = Stamp::of(&table.file.path);
            let found = table.difference(&self.done);
            if self.done.load(Ordering::Relaxed) {
                return;
            }
            if Stamp::of(&table.file.path) != before {
                // It was written to meanwhile: looked at again next time.
                continue;
            }
            *read = before;
            let refusal = match &found {
                Ok(difference) => {
                    let refusal = self.guards.refusal(table.look_up, difference);
                    refusal.map(|why| format!("{}: {why}", table.file.path.display()))
                }
                Err(error) => Some(format!("{error:#}")),
            };
            let mut all = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
            let reloads = &mut all[index];
            let name = table.name();
            match (found, refusal) {
                (Ok(difference), None) if !difference.is_empty() => {
                    let counts = [difference.added, difference.changed, difference.removed];
                    let [added, changed, removed] = counts.map(HumanCount);
                    news.push(format!(
                        "{name} reloaded: rows added {added}, changed {changed}, removed {removed}"
                    ));
                    reloads.reloaded += 1;
                    reloads.added += difference.added;
                    reloads.changed += difference.changed;
                    reloads.removed += difference.removed;
                    table.in_force.lock().take(&difference.changes);
                    update.push((table.index, difference.changes));
                }
                (_, Some(refusal)) => {
                    (self.say)(Said::Warning(&format!(
                        "{name} is not reloaded, the rows in force stay: {refusal}"
                    )));
                    reloads.refused += 1;
                    reloads.last_refusal = Some(refusal);
                }
                _ => {}
            }
        }
        if !update.is_empty() {
            let noted = self.journaling.as_ref().map(|_| update.clone());
            let number = self.updates.offer(update);
            if let Some(journaling) = &mut self.journaling {
                journaling.offered.extend(noted.map(|update| (number, update)));
            }
        }
        // A trade that is read from here on finds what is said.
        news.iter().for_each(|news| (self.say)(Said::News(news)));
    }
}

/// A journal in the making.
struct Journaling {
    writer: JournalWriter,
    has_begun: bool,
    /// Updates that are not in the journal, and where those stand of which it is known.
    offered: BTreeMap<u64, Update>,
    places: BTreeMap<u64, u64>,
    /// The place of the last one that is in the journal.
    last: u64,
}

impl Journaling {
    fn create(path: &Path) -> Result<Self, JournalError> {
        let writer = JournalWriter::create(path)?;
        Ok(Self { writer, has_begun: false, offered: BTreeMap::new(), places: BTreeMap::new(), last: 0 })
    }

    /// Ends the journal of a run of so many trades. One that was stopped before its
    /// tables were loaded, or that was given up with batches on their way, has no end.
    fn end(self, trades: u64) -> Result<(), JournalError> {
        if self.has_begun && self.last <= trades { self.writer.end(trades) } else { Ok(()) }
    }

    /// Writes what has taken effect, in the order of the sequence.
    fn write(
        &mut self,
        tables: &[(Option<Stamp>, WatchedTable)],
        in_effect: Vec<InEffect>,
    ) -> Result<(), JournalError> {
        if !self.has_begun {
            // All tables are loaded, and nothing has changed yet: that happens here.
            let tables = tables.iter().map(|(_, table)| table.loaded());
            self.writer.begin(tables.collect())?;
            self.has_begun = true;
        }
        self.places.extend(in_effect.iter().map(|update| (update.update, update.trades_before)));
        while let Some(offered) = self.offered.first_entry()
            && let Some(trades_before) = self.places.remove(offered.key())
        {
            self.last = trades_before;
            for (table, changes) in offered.remove() {
                self.writer.update(&JournalEntry { trades_before, table, changes })?;
            }
        }
        Ok(())
    }
}
