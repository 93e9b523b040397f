//! Tables whose files change while a run goes on: who looks, what is refused, and what
//! is handed to the engine.

use std::fmt;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use indicatif::HumanCount;
use serde::Serialize;
use tradejoin_connectors::{
    Difference, Fingerprints, SelectedTable, TableColumn, TableDefinition, TableMode, TableOptions,
    TableReader, open_table,
};
use tradejoin_engine::{Update, Updates};
use tradejoin_flow::{BoxError, TableSource};
use tradejoin_model::{ChangeLane, LookUp};

use crate::arg_values::{duration, number};
use crate::failure::UsageError;
use crate::plan;
use crate::style::WARNING;

#[derive(Debug, Args)]
#[command(next_help_heading = "Tables that change")]
pub(crate) struct ReloadArgs {
    /// Reload tables beside --trades whose files change; look at them this often, and on SIGHUP
    /// [without a value: 1s]
    #[arg(long, value_name = "EVERY", num_args = 0..=1, require_equals = true, default_missing_value = "1s", value_parser = duration)]
    pub(crate) watch: Option<Duration>,

    #[command(flatten)]
    pub(crate) guards: Guards,
}

/// What a newer file of a table must not do.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Guards {
    /// Refuse a file in which more of the table's rows are missing: 20%, or a number of rows
    #[arg(long, value_name = "SHARE", default_value = "20%")]
    pub(crate) max_removed: Share,

    /// Refuse a file with fewer rows
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = |text: &str| number::<u64>(text, 0..=u64::MAX))]
    pub(crate) min_rows: u64,
}

/// A share of rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Share {
    Percent(f64),
    Rows(u64),
}

impl std::str::FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent = |text: &str| text.parse().ok().filter(|share| (0.0..=100.0).contains(share));
        let share = match text.strip_suffix('%') {
            Some(text) => percent(text).map(Self::Percent),
            None => text.parse().ok().map(Self::Rows),
        };
        share.ok_or_else(|| "write a share such as 20%, or a number of rows".to_owned())
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Rows(rows) => write!(f, "{rows}"),
        }
    }
}

impl Share {
    /// Whether `part` of `whole` is more.
    fn is_exceeded(self, part: u64, whole: u64) -> bool {
        match self {
            Self::Percent(percent) => part as f64 * 100.0 > whole as f64 * percent,
            Self::Rows(rows) => part > rows,
        }
    }
}

impl Guards {
    /// Why a newer file is refused; `None` if it is not.
    pub(crate) fn refusal(&self, look_up: LookUp, difference: &Difference) -> Option<String> {
        let Difference { rows, rows_before, removed, duplicates, .. } = *difference;
        let counts = [rows, rows_before, removed, duplicates].map(|count| HumanCount(count).to_string());
        let [rows_shown, before_shown, removed_shown, duplicates_shown] = counts;
        if rows < self.min_rows {
            let least = HumanCount(self.min_rows);
            return Some(format!("it has {rows_shown} rows, and --min-rows asks for {least}"));
        }
        if self.max_removed.is_exceeded(removed, rows_before) {
            let most = self.max_removed;
            return Some(format!(
                "{removed_shown} of {before_shown} rows are missing from it, and --max-removed allows {most}"
            ));
        }
        if duplicates > 0 && look_up != LookUp::LatestVersion {
            return Some(format!("{duplicates_shown} of its rows have a key that an earlier one has"));
        }
        difference.cannot_remove.then(|| {
            "a row without valid_from is missing from it while its key has others: give it a valid_to instead"
                .to_owned()
        })
    }
}

/// A file and how it is read.
#[derive(Clone, Debug)]
pub(crate) struct WatchedFile {
    path: PathBuf,
    format: Option<String>,
    /// As it was before it was opened first.
    stamp: Option<Stamp>,
}

impl WatchedFile {
    pub(crate) fn new(path: &Path, format: Option<&str>) -> Self {
        Self { path: path.to_owned(), format: format.map(str::to_owned), stamp: Stamp::of(path) }
    }

    /// Refuses what cannot be read twice.
    pub(crate) fn check(&self) -> Result<(), UsageError> {
        if fs::metadata(&self.path).is_ok_and(|metadata| metadata.is_file()) {
            return Ok(());
        }
        let path = self.path.display();
        Err(UsageError(format!("--watch: {path} is no file that can be read again when it changes")))
    }
}

/// What tells whether a file may have other content. The time of the last change of its
/// inode is the system's, and no program sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let of = |metadata: Metadata| Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        // A symbolic link is followed: to swap it is to change the file.
        fs::metadata(path).ok().map(of)
    }
}

/// A table whose file is watched.
pub(crate) struct WatchedTable {
    index: usize,
    file: WatchedFile,
    table: TableDefinition,
    fields: Vec<TableColumn>,
    mode: TableMode,
    look_up: LookUp,
    in_force: Arc<InForce>,
}

/// The rows in force.
struct InForce {
    fingerprints: Mutex<Fingerprints>,
    /// Whether the first file has been read.
    is_complete: AtomicBool,
}

impl WatchedTable {
    /// A table with the rows that `reader` has yet to read, and what they are then loaded
    /// from.
    pub(crate) fn new(
        index: usize,
        file: WatchedFile,
        reader: TableReader,
        selected: &SelectedTable,
        mode: &TableMode,
    ) -> (Self, Box<dyn TableSource>) {
        let look_up = mode.look_up();
        let in_force = Arc::new(InForce {
            fingerprints: Mutex::new(Fingerprints::new(look_up)),
            is_complete: AtomicBool::new(false),
        });
        let table = reader.table().clone();
        let fields = selected.fields.clone();
        let (mode, noted) = (mode.clone(), Arc::clone(&in_force));
        (Self { index, file, table, fields, mode, look_up, in_force }, Box::new(Noted { reader, noted }))
    }

    fn name(&self) -> &str {
        self.table.name()
    }

    /// What the file changes now.
    fn difference(&self) -> anyhow::Result<Difference> {
        let input = plan::input(&self.file.path, None, self.file.format.as_deref())?;
        let mut reader = open_table(TableOptions { input, table: self.table.clone(), strict: false })?;
        reader.set_mode(&self.mode)?;
        let columns = reader.columns().to_vec();
        for field in &self.fields {
            let now = columns.iter().find(|column| column.name == field.name);
            if now.is_some_and(|column| column != field) {
                anyhow::bail!("column {} has another type than before", field.name);
            }
            anyhow::ensure!(
                now.is_some() || columns.is_empty(),
                "column {} is not there any more",
                field.name
            );
        }
        reader.load(&self.fields)?;
        let difference = self.in_force.lock().difference(&mut reader);
        difference.map_err(|error| anyhow::anyhow!(error))
    }
}

impl InForce {
    fn lock(&self) -> MutexGuard<'_, Fingerprints> {
        self.fingerprints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A table's first rows, which are noted on their way.
struct Noted {
    reader: TableReader,
    noted: Arc<InForce>,
}

impl TableSource for Noted {
    fn next(&mut self) -> Result<Option<ChangeLane>, BoxError> {
        let lane = TableSource::next(&mut self.reader)?;
        match &lane {
            Some(lane) => self.noted.lock().take(lane),
            None => self.noted.is_complete.store(true, Ordering::Release),
        }
        Ok(lane)
    }

    fn bytes_hint(&self) -> Option<u64> {
        self.reader.bytes_hint()
    }
}

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
}

impl Watch {
    /// Begins to look at `tables`, if there are any: what changes goes to `updates`, all
    /// that is found at one time to one place in the sequence.
    pub(crate) fn begin(
        tables: Vec<WatchedTable>,
        args: &ReloadArgs,
        updates: Updates,
        hang_up: Arc<AtomicBool>,
        say: impl Fn(&str) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let reloads =
            tables.iter().map(|table| Reloads { table: table.name().to_owned(), ..Reloads::default() });
        let watch = Self { done: Arc::default(), reloads: Arc::new(Mutex::new(reloads.collect())) };
        if let Some(every) = args.watch.filter(|_| !tables.is_empty()) {
            let tables = tables.into_iter().map(|table| (table.file.stamp, table)).collect();
            let watcher = Watcher {
                tables,
                guards: args.guards,
                updates,
                done: Arc::clone(&watch.done),
                reloads: Arc::clone(&watch.reloads),
                say: Box::new(say),
            };
            let look = move || watcher.look(every, &hang_up);
            // Not a stage of the run: it hands the engine changes, and reads beside it.
            thread::Builder::new().name("watch".to_owned()).spawn(look).context("cannot watch files")?;
        }
        Ok(watch)
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
    say: Box<dyn Fn(&str) + Send>,
}

impl Watcher {
    /// How soon it is noticed that the run has ended, or a signal has come.
    const NAP: Duration = Duration::from_millis(20);

    fn look(mut self, every: Duration, hang_up: &AtomicBool) {
        let mut last = self.stamps();
        let mut looked = Instant::now();
        while !self.done.load(Ordering::Relaxed) {
            thread::sleep(Self::NAP.min(every.max(Duration::from_millis(1))));
            let is_asked = hang_up.swap(false, Ordering::Relaxed);
            let is_complete =
                self.tables.iter().all(|(_, table)| table.in_force.is_complete.load(Ordering::Acquire));
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
        let mut update = Update::new();
        for &index in due {
            let (read, table) = &mut self.tables[index];
            let before = Stamp::of(&table.file.path);
            let found = table.difference();
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
                    (self.say)(&format!(
                        "{name} reloaded: {added} rows added, {changed} changed, {removed} removed"
                    ));
                    reloads.reloaded += 1;
                    reloads.added += difference.added;
                    reloads.changed += difference.changed;
                    reloads.removed += difference.removed;
                    table.in_force.lock().take(&difference.changes);
                    update.push((table.index, difference.changes));
                }
                (_, Some(refusal)) => {
                    (self.say)(&format!(
                        "{WARNING}warning{WARNING:#}: {name} is not reloaded, the rows in force stay: {refusal}"
                    ));
                    reloads.refused += 1;
                    reloads.last_refusal = Some(refusal);
                }
                _ => {}
            }
        }
        if !update.is_empty() {
            self.updates.offer(update);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_say_what_they_refuse() {
        let guards = Guards { max_removed: Share::Percent(20.0), min_rows: 5 };
        let difference = |rows, removed, duplicates| Difference {
            rows,
            rows_before: 10,
            removed,
            duplicates,
            ..Difference::default()
        };
        let refusal =
            |difference: &Difference| guards.refusal(LookUp::Latest, difference).unwrap_or_default();
        assert_eq!(refusal(&difference(8, 2, 0)), "");
        assert_eq!(refusal(&difference(4, 2, 0)), "it has 4 rows, and --min-rows asks for 5");
        let missing = "3 of 10 rows are missing from it, and --max-removed allows 20%";
        assert_eq!(refusal(&difference(8, 3, 0)), missing);
        assert_eq!(refusal(&difference(8, 0, 1)), "1 of its rows have a key that an earlier one has");
        assert_eq!(guards.refusal(LookUp::LatestVersion, &difference(8, 0, 1)), None);
    }

    #[test]
    fn shares_are_read_as_they_are_shown() {
        for text in ["20%", "0%", "0.5%", "1000"] {
            assert_eq!(text.parse::<Share>().map(|share| share.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "%", "101%", "-1", "x", "1.5"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }
}
