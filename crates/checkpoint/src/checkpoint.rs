//! A checkpoint that a run can go on from.

use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tradejoin_disk::Disk;
use tradejoin_flow::{Resume, TableSource};
use tradejoin_model::{Column, OutputSource, Position, TableSpec};

use crate::error::CheckpointError;
use crate::hash::{Summed, Summing};
use crate::held;
use crate::keeper::Job;
use crate::lanes::{FieldKind, Shape};
use crate::manifest::{Manifest, Segment};
use crate::names;
use crate::segment::{SegmentReader, SegmentSource};

/// A checkpoint whose manifest and files are whole.
#[derive(Clone)]
pub struct Checkpoint {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) folder: PathBuf,
    pub(crate) manifest: Manifest,
    pub(crate) passed_over: Vec<PassedOver>,
}

/// A later checkpoint that is not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// Its number.
    pub epoch: u64,
    /// What is wrong with it.
    pub reason: String,
}

impl Checkpoint {
    /// What it consists of.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The later ones that are damaged, the newest first.
    #[must_use]
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.passed_over
    }

    /// The manifest's file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join(names::manifest(self.manifest.epoch))
    }

    /// What a run starts from, but for its tables, source and sink.
    ///
    /// # Errors
    /// If the trades that wait cannot be read.
    pub fn resume(&self) -> Result<Resume, CheckpointError> {
        let Manifest { trades, position, ledger, bad, tables, held, .. } = &self.manifest;
        let held =
            held.as_ref().map(|state| held::read(self.disk.as_ref(), &self.folder, state, tables.len()));
        Ok(Resume {
            trades: *trades,
            position: Position(*position),
            ledger: ledger.clone(),
            bad: bad.clone(),
            held: held.transpose()?,
        })
    }

    /// The changes of each table, which it is to be made of: in their order, those that
    /// mean nothing any more partly left out.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn tables(&self) -> Result<Vec<Box<dyn TableSource>>, CheckpointError> {
        let source = |segments: &[Segment]| -> Result<Box<dyn TableSource>, CheckpointError> {
            Ok(Box::new(SegmentSource::open(Arc::clone(&self.disk), &self.folder, segments)?))
        };
        self.manifest.tables.iter().map(|table| source(&table.segments)).collect()
    }

    /// Checks that it is of this job.
    ///
    /// # Errors
    /// If it is not, naming what differs, or a file cannot be read.
    pub fn fits(&self, job: &Job) -> Result<(), CheckpointError> {
        let misfit = |reason: String| CheckpointError::DoesNotFit { file: self.path(), reason };
        if let Some(difference) = difference(&self.manifest, job) {
            return Err(misfit(difference));
        }
        let names = |spec: &TableSpec| spec.name.clone();
        let (own, others): (Vec<_>, Vec<_>) = (
            self.manifest.tables.iter().map(|table| table.name.clone()).collect(),
            job.tables.iter().map(names).collect(),
        );
        if own != others {
            return Err(misfit(format!(
                "it has tables {}, and the job {}",
                own.join(", "),
                others.join(", ")
            )));
        }
        for (table, spec) in self.manifest.tables.iter().zip(&job.tables) {
            for segment in &table.segments {
                let reader = SegmentReader::open(self.disk.as_ref(), &self.folder, segment)?;
                if !makes_outputs(reader.shape(), spec) {
                    let file = self.folder.join(&segment.file);
                    return Err(CheckpointError::damaged(&file, "its fields are not those of its table"));
                }
            }
        }
        Ok(())
    }

    /// Checks that its files are there with their lengths, and with `by_hash` that their
    /// bytes are those that were written.
    pub(crate) fn check_files(&self, by_hash: bool) -> Result<(), CheckpointError> {
        let segments = self.manifest.tables.iter().flat_map(|table| &table.segments);
        let segments = segments.map(|segment| (&segment.file, segment.bytes, segment.hash));
        let held = self.manifest.held.iter().map(|held| (&held.file, held.bytes, held.hash));
        for (file, bytes, hash) in segments.chain(held) {
            let path = self.folder.join(file);
            check_len(self.disk.as_ref(), &path, bytes)?;
            if by_hash {
                check_hash(self.disk.as_ref(), &path, Summed { bytes, hash })?;
            }
        }
        Ok(())
    }

    /// Reads everything as a run would.
    pub(crate) fn check_contents(&self) -> Result<(), CheckpointError> {
        self.resume()?;
        for table in &self.manifest.tables {
            let mut source = SegmentSource::open(Arc::clone(&self.disk), &self.folder, &table.segments)?;
            while source.next_lane()?.is_some() {}
        }
        Ok(())
    }
}

/// What a [query](Job::query) calls the columns of the trades.
pub const TRADE_COLUMNS: &str = "trades: columns";

/// The first thing in which a checkpoint and a job differ.
fn difference(manifest: &Manifest, job: &Job) -> Option<String> {
    let is_of_tables = |name: &String| name.contains(' ');
    let tells_of_tables = manifest.job.keys().any(is_of_tables);
    let names = manifest.job.keys().chain(job.query.keys());
    let differing = names
        .filter(|&name| manifest.job.get(name) != job.query.get(name))
        .filter(|name| tells_of_tables || !is_of_tables(name))
        // Nor did it tell of these at first.
        .filter(|&name| name != TRADE_COLUMNS || manifest.job.contains_key(name))
        // A table is seldom another one without a setting that says why.
        .min_by_key(|&name| (is_of_tables(name), name))?;
    let value = |value: Option<&String>| value.map_or("nothing".to_owned(), |value| format!("{value:?}"));
    let (own, other) = (manifest.job.get(differing), job.query.get(differing));
    Some(format!("{differing} is {} there, and {} now", value(own), value(other)))
}

/// Whether a table's outputs can be made of such changes.
fn makes_outputs(shape: &Shape, spec: &TableSpec) -> bool {
    spec.outputs.iter().all(|output| match output.source {
        OutputSource::Option(field, _) => shape.fields.get(field) == Some(&FieldKind::Options),
        OutputSource::Field(field) => {
            shape.fields.get(field) == Some(&FieldKind::of(&Column::new(output.column_type)))
        }
    })
}

fn check_len(disk: &dyn Disk, path: &Path, bytes: u64) -> Result<(), CheckpointError> {
    match disk.size(path).map_err(CheckpointError::io(path, "look at it"))? {
        None => Err(CheckpointError::damaged(path, "it is missing")),
        Some(len) if len != bytes => {
            Err(CheckpointError::damaged(path, format!("it has {len} bytes instead of {bytes}")))
        }
        Some(_) => Ok(()),
    }
}

fn check_hash(disk: &dyn Disk, path: &Path, told: Summed) -> Result<(), CheckpointError> {
    // One byte more shows that there are more.
    let sum = || -> io::Result<Summed> {
        Summing::new(disk.reader(path)?.take(told.bytes.saturating_add(1))).sum_up()
    };
    if sum().map_err(CheckpointError::io(path, "read it"))? == told {
        return Ok(());
    }
    Err(CheckpointError::damaged(path, "its bytes are not those that were written"))
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint").field("path", &self.path()).finish_non_exhaustive()
    }
}
