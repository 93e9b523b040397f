//! A table whose file may change.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tradejoin_connectors::{
    Difference, Encoding, Fingerprints, InputOptions, Journal, JournalError, Limits, LoadedTable,
    OnBadRecord, ReadError, SelectedTable, TableColumn, TableDefinition, TableMode, TableOptions,
    TableReader, open_table,
};
use tradejoin_flow::{BoxError, TableSource};
use tradejoin_model::{ChangeLane, LookUp};

use crate::failure::UsageError;
use crate::plan;

/// A file and how it is read.
#[derive(Clone, Debug)]
pub(crate) struct WatchedFile {
    pub(super) path: PathBuf,
    format: Option<String>,
    /// What becomes of bad rows of the file that the run begins with.
    pub(super) on_bad_record: OnBadRecord,
    pub(super) limits: Limits,
    /// As it was before it was opened first.
    pub(super) stamp: Option<Stamp>,
}

impl WatchedFile {
    pub(crate) fn new(path: &Path, format: Option<&str>) -> Self {
        let format = format.map(str::to_owned);
        let (on_bad_record, limits) = (OnBadRecord::Fail, Limits::default());
        Self { path: path.to_owned(), format, on_bad_record, limits, stamp: Stamp::of(path) }
    }

    /// The same with what becomes of bad rows of the first file.
    pub(crate) fn with_bad_records(self, on_bad_record: OnBadRecord) -> Self {
        Self { on_bad_record, ..self }
    }

    /// The same with what its files may ask for.
    pub(crate) fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    fn input(&self) -> anyhow::Result<InputOptions> {
        let input = plan::input(&self.path, None, self.format.as_deref())?;
        Ok(InputOptions { limits: self.limits, ..input })
    }

    /// How it is encoded.
    pub(super) fn encoding(&self) -> anyhow::Result<Encoding> {
        Ok(self.input()?.encoding)
    }

    /// Refuses what is neither a file nor missing.
    fn check_again(&self) -> anyhow::Result<()> {
        let is_other =
            fs::metadata(&self.path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
        anyhow::ensure!(!is_other, "{} is no file any more", self.path.display());
        Ok(())
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
pub(super) struct Stamp {
    file: (u64, u64),
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(path: &Path) -> Option<Self> {
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
    pub(super) index: usize,
    pub(super) file: WatchedFile,
    table: TableDefinition,
    fields: Vec<TableColumn>,
    mode: TableMode,
    described: LoadedTable,
    pub(super) look_up: LookUp,
    pub(super) in_force: Arc<InForce>,
}

/// The rows in force.
pub(super) struct InForce {
    fingerprints: Mutex<Fingerprints>,
    /// Whether the first file has been read.
    pub(super) is_complete: AtomicBool,
    /// Whether the first file is being copied, which is waited for before it is complete: see
    /// [`Copying`].
    pub(super) is_being_copied: AtomicBool,
    /// The file as it was when it had been read.
    loaded: Mutex<Option<Stamp>>,
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
        let in_force = Arc::new(InForce::new(look_up));
        let table = reader.table().clone();
        let fields = selected.fields.clone();
        let path = Some(file.path.clone());
        let load = Noted { reader: Box::new(reader), noted: Arc::clone(&in_force), path, expected: None };
        let described = described(selected, mode);
        let mode = mode.clone();
        (Self { index, file, table, fields, mode, described, look_up, in_force }, Box::new(load))
    }

    /// Has the rows of a run before in the place of those of the file, which is then looked
    /// at as if it had changed.
    pub(crate) fn go_on_from(&mut self, rows: Box<dyn TableSource>) -> Box<dyn TableSource> {
        self.file.stamp = None;
        Box::new(Noted { reader: rows, noted: Arc::clone(&self.in_force), path: None, expected: None })
    }

    /// Its place among the tables of the run.
    pub(crate) const fn index(&self) -> usize {
        self.index
    }

    pub(super) fn name(&self) -> &str {
        self.table.name()
    }

    /// How many rows are in force.
    pub(crate) fn rows_in_force(&self) -> u64 {
        self.in_force.lock().len()
    }

    /// The table as it was loaded, for a journal.
    pub(crate) fn loaded(&self) -> LoadedTable {
        counted(self.described.clone(), &self.in_force.lock())
    }

    /// What the file changes now, unless the run is `done`.
    pub(super) fn difference(&self, done: &AtomicBool) -> anyhow::Result<Difference> {
        // It may be something else by now, that would be waited for.
        self.file.check_again()?;
        self.difference_of(self.open()?, done)
    }

    /// Opens the file as it is now.
    pub(crate) fn open(&self) -> anyhow::Result<TableReader> {
        self.open_as(self.file.input()?)
    }

    /// Opens another file of the table.
    pub(super) fn open_as(&self, input: InputOptions) -> anyhow::Result<TableReader> {
        Ok(open_table(TableOptions { input, table: self.table.clone(), strict: false })?)
    }

    /// What the file changes that is open here, unless the run is `done`.
    pub(crate) fn difference_of(
        &self,
        mut reader: TableReader,
        done: &AtomicBool,
    ) -> anyhow::Result<Difference> {
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
        let difference = self.in_force.lock().difference(&mut Until { reader, done });
        difference.map_err(of_reader)
    }
}

/// An error that a table was read with. It keeps its type, which tells the exit code.
pub(crate) fn of_reader(error: BoxError) -> anyhow::Error {
    match error.downcast::<ReadError>() {
        Ok(error) => (*error).into(),
        Err(error) => anyhow::anyhow!(error),
    }
}

/// A newer file, as long as anyone wants to know.
struct Until<'d> {
    reader: TableReader,
    done: &'d AtomicBool,
}

impl TableSource for Until<'_> {
    fn next(&mut self) -> Result<Option<ChangeLane>, BoxError> {
        if self.done.load(Ordering::Relaxed) {
            return Err("the run is over".into());
        }
        TableSource::next(&mut self.reader)
    }
}

impl InForce {
    fn new(look_up: LookUp) -> Self {
        Self {
            fingerprints: Mutex::new(Fingerprints::new(look_up)),
            is_complete: AtomicBool::new(false),
            is_being_copied: AtomicBool::new(false),
            loaded: Mutex::new(None),
        }
    }

    /// The file as it was when it had been read, for the first time.
    pub(super) fn loaded(&self) -> Option<Stamp> {
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Fingerprints> {
        self.fingerprints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has the first rows wait until their files are copied: for as long as it lives, so that they
/// do not wait for ever for what has failed.
pub(super) struct Copying(Vec<Arc<InForce>>);

impl Copying {
    pub(super) fn begin<'t>(tables: impl IntoIterator<Item = &'t WatchedTable>) -> Self {
        let copying: Vec<_> = tables.into_iter().map(|table| Arc::clone(&table.in_force)).collect();
        copying.iter().for_each(|in_force| in_force.is_being_copied.store(true, Ordering::Relaxed));
        Self(copying)
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        self.0.iter().for_each(|in_force| in_force.is_being_copied.store(false, Ordering::Relaxed));
    }
}

/// A table's first rows, which are noted on their way.
struct Noted {
    reader: Box<dyn TableSource>,
    noted: Arc<InForce>,
    /// Where they are, if it may change.
    path: Option<PathBuf>,
    /// What they must be.
    expected: Option<LoadedTable>,
}

/// A table that must be what a journal began with, and can take the journal's changes.
///
/// # Errors
/// If it is looked up or loaded in another way than the journal says.
pub(crate) fn as_in_journal(
    mut reader: TableReader,
    selected: &SelectedTable,
    mode: &TableMode,
    journal: &Journal,
    index: usize,
) -> Result<Box<dyn TableSource>, JournalError> {
    let expected = journal.tables[index].clone();
    let found = LoadedTable { rows: expected.rows, digest: expected.digest, ..described(selected, mode) };
    if (&found.mode, &found.columns) != (&expected.mode, &expected.columns) {
        return Err(JournalError::OtherColumns { expected: expected.into(), found: found.into() });
    }
    journal.check_table(index, &reader.empty_lane())?;
    let noted = Arc::new(InForce::new(mode.look_up()));
    Ok(Box::new(Noted { reader: Box::new(reader), noted, path: None, expected: Some(expected) }))
}

/// What a journal says of a table before it is loaded.
pub(crate) fn described(selected: &SelectedTable, mode: &TableMode) -> LoadedTable {
    let mode_shown = match mode {
        TableMode::LatestVersion { column } => format!("{} by {column}", mode.look_up().as_str()),
        _ => mode.look_up().as_str().to_owned(),
    };
    let columns = selected.fields.iter().map(|field| field.name.clone()).collect();
    LoadedTable { name: selected.spec.name.clone(), rows: 0, digest: 0, mode: mode_shown, columns }
}

/// Reads a journal, which must be of these tables.
pub(crate) fn read_journal(path: &Path, names: &[String]) -> Result<Journal, JournalError> {
    let journal = Journal::read(path)?;
    let expected: Vec<_> = journal.tables.iter().map(|table| table.name.clone()).collect();
    if expected != names {
        return Err(JournalError::OtherTables { expected: expected.join(", "), found: names.join(", ") });
    }
    Ok(journal)
}

impl TableSource for Noted {
    fn next(&mut self) -> Result<Option<ChangeLane>, BoxError> {
        let lane = self.reader.next()?;
        match &lane {
            Some(lane) => self.noted.lock().take(lane),
            None => {
                if let Some(expected) = self.expected.take() {
                    let found = counted(expected.clone(), &self.noted.lock());
                    if found != expected {
                        let (expected, found) = (expected.into(), found.into());
                        return Err(JournalError::OtherTable { expected, found }.into());
                    }
                }
                if let Some(path) = &self.path {
                    *self.noted.loaded.lock().unwrap_or_else(PoisonError::into_inner) = Stamp::of(path);
                }
                while self.noted.is_being_copied.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(1));
                }
                self.noted.is_complete.store(true, Ordering::Release);
            }
        }
        Ok(lane)
    }

    fn bytes_hint(&self) -> Option<u64> {
        self.reader.bytes_hint()
    }
}

/// The same with the rows that were loaded.
fn counted(table: LoadedTable, rows: &Fingerprints) -> LoadedTable {
    LoadedTable { rows: rows.len(), digest: rows.digest(), ..table }
}
