//! A table whose file may change.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tradejoin_connectors::{
    Difference, Fingerprints, Journal, JournalError, LoadedTable, SelectedTable, TableColumn,
    TableDefinition, TableMode, TableOptions, TableReader, open_table,
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
    /// As it was before it was opened first.
    pub(super) stamp: Option<Stamp>,
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
    pub(super) look_up: LookUp,
    pub(super) in_force: Arc<InForce>,
}

/// The rows in force.
pub(super) struct InForce {
    fingerprints: Mutex<Fingerprints>,
    /// Whether the first file has been read.
    pub(super) is_complete: AtomicBool,
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
        let load = Noted { reader, noted, expected: None };
        (Self { index, file, table, fields, mode, look_up, in_force }, Box::new(load))
    }

    pub(super) fn name(&self) -> &str {
        self.table.name()
    }

    /// How many rows are in force.
    pub(crate) fn rows_in_force(&self) -> u64 {
        self.in_force.lock().len()
    }

    /// What the file changes now.
    pub(super) fn difference(&self) -> anyhow::Result<Difference> {
        self.difference_of(self.open()?)
    }

    /// Opens the file as it is now.
    pub(crate) fn open(&self) -> anyhow::Result<TableReader> {
        let input = plan::input(&self.file.path, None, self.file.format.as_deref())?;
        Ok(open_table(TableOptions { input, table: self.table.clone(), strict: false })?)
    }

    /// What the file changes that is open here.
    pub(crate) fn difference_of(&self, mut reader: TableReader) -> anyhow::Result<Difference> {
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
    pub(super) fn lock(&self) -> MutexGuard<'_, Fingerprints> {
        self.fingerprints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A table's first rows, which are noted on their way.
struct Noted {
    reader: TableReader,
    noted: Arc<InForce>,
    /// What they must be.
    expected: Option<LoadedTable>,
}

/// A table that must be what a journal began with.
pub(crate) fn as_in_journal(
    reader: TableReader,
    mode: &TableMode,
    expected: LoadedTable,
) -> Box<dyn TableSource> {
    let noted = Arc::new(InForce {
        fingerprints: Mutex::new(Fingerprints::new(mode.look_up())),
        is_complete: AtomicBool::new(false),
    });
    Box::new(Noted { reader, noted, expected: Some(expected) })
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
        let lane = TableSource::next(&mut self.reader)?;
        match &lane {
            Some(lane) => self.noted.lock().take(lane),
            None => {
                if let Some(expected) = self.expected.take() {
                    let found = loaded(&expected.name, &self.noted.lock());
                    if found != expected {
                        let table = expected.name.clone();
                        return Err(JournalError::OtherTable { table, expected, found }.into());
                    }
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

pub(super) fn loaded(name: &str, fingerprints: &Fingerprints) -> LoadedTable {
    LoadedTable { name: name.to_owned(), rows: fingerprints.len(), digest: fingerprints.digest() }
}
