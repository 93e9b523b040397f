//! An output in parts: files in a folder, each of which is whole at a checkpoint.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use tradejoin_disk::Mode;
use tradejoin_flow::{BoxError, End, OutputPosition, Prepared, StagedPart};

use crate::column_writer::ColumnWriter;
use crate::encoding::{Format, Location};
use crate::error::CreateError;
use crate::part_folder::{Part, PartFolder, has_parts};
use crate::prepared::{Kept, failed, folder, text};
use crate::resume_error::ResumeError;
use crate::target::{Counted, OutputHandle};
use crate::trail::Trail;

/// What writes parts.
pub(crate) struct Parts {
    folder: Arc<PartFolder>,
    format: Format,
    schema: SchemaRef,
    handle: OutputHandle,
    /// The number of the next part: numbers are dense.
    next: u64,
    open: Option<OpenPart>,
    known: Arc<Known>,
    /// Whether the folder itself may not be durable yet.
    is_new: bool,
}

/// A part that is written.
struct OpenPart {
    number: u64,
    rows: u64,
    writer: ColumnWriter,
}

/// The parts that are whole.
#[derive(Default)]
struct Known(Mutex<Whole>);

#[derive(Default)]
struct Whole {
    /// Those that have their names.
    named: Vec<Part>,
    /// Those that do not yet.
    staged: Vec<StagedPart>,
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, Whole> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parts {
    /// Begins in a folder, or goes on there.
    pub(crate) fn open(
        kept: &Kept,
        location: &Location,
        format: Format,
        schema: &SchemaRef,
        handle: OutputHandle,
    ) -> Result<Self, CreateError> {
        let target_name = location.output_name();
        let no_folder = || CreateError::NoFolder { target_name: Arc::clone(&target_name) };
        let Location::Path(given) = location else { return Err(no_folder()) };
        let is_asked_for = given.as_os_str().as_encoded_bytes().ends_with(b"/");
        if !is_asked_for && kept.disk.list(given).is_err() {
            return Err(no_folder());
        }
        let failed = |source| CreateError::Io { target_name: Arc::clone(&target_name), source };
        // Without the separators at its end.
        let path: PathBuf = given.components().collect();
        let name = text(&path).map_err(failed)?;
        let ending = if format == Format::Parquet { "parquet" } else { "arrow" };
        let lock = |path| PartFolder::lock(Arc::clone(&kept.disk), path, ending, &kept.owner);
        let (folder, named) = match &kept.from {
            Some(from) => {
                check(&name, from)?;
                let folder = lock(path)?;
                let named = folder.take_up(from)?;
                (folder, named)
            }
            None => {
                kept.disk.create_folder(&path, Mode::Shared).map_err(failed)?;
                PartFolder::refuse_others(&kept.disk, &path, &target_name)?;
                let folder = lock(path).map_err(|error| match error {
                    ResumeError::Io { source, .. } => failed(source),
                    error => error.into(),
                })?;
                // One may have ended just now.
                if has_parts(&*kept.disk, &folder.path).map_err(failed)? {
                    return Err(CreateError::OtherParts { target_name: Arc::clone(&target_name) });
                }
                // Of a run that died before its first checkpoint.
                folder.remove_from(0).map_err(failed)?;
                (folder, Vec::new())
            }
        };
        handle.count_from(named.iter().map(|part| part.bytes).sum());
        handle.set_path(Some(folder.path.clone()));
        let next = named.len() as u64;
        let known = Arc::new(Known(Mutex::new(Whole { named, staged: Vec::new() })));
        let (folder, schema, is_new) = (Arc::new(folder), Arc::clone(schema), kept.from.is_none());
        Ok(Self { folder, format, schema, handle, next, open: None, known, is_new })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), BoxError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        open.writer.write(batch)?;
        open.rows += batch.num_rows() as u64;
        self.open = Some(open);
        Ok(())
    }

    fn begin(&mut self) -> Result<OpenPart, BoxError> {
        self.folder.check_lock()?;
        let path = self.folder.at(&self.folder.partial(self.next));
        let file = self.folder.disk.create(&path, Mode::Shared).map_err(|error| failed(&path, error))?;
        let file = Counted::of_file(file, self.handle.clone(), 0, Trail::whole());
        let writer = ColumnWriter::new(self.format, &self.schema, file, true)?;
        self.next += 1;
        Ok(OpenPart { number: self.next - 1, rows: 0, writer })
    }

    /// Ends the part that is written, if one is. The last rows of it are encoded when it
    /// is made durable.
    pub(crate) fn prepare(&mut self, end: Option<End>) -> Result<PreparedParts, BoxError> {
        if end == Some(End::Complete) && self.next == 0 {
            // An output without rows has its columns all the same.
            self.open = Some(self.begin()?);
        }
        Ok(PreparedParts {
            folder: Arc::clone(&self.folder),
            known: Arc::clone(&self.known),
            closing: self.open.take(),
            staged: Vec::new(),
            is_first: std::mem::take(&mut self.is_new),
            is_complete: end == Some(End::Complete),
        })
    }
}

/// Refuses a checkpoint that is not of an output in a folder of this name, to go on with.
fn check(name: &str, from: &OutputPosition) -> Result<(), ResumeError> {
    if from.is_complete {
        return Err(ResumeError::Complete { name: from.name.clone() });
    }
    if from.name != name || from.partial != name {
        return Err(ResumeError::Other { name: from.name.clone() });
    }
    Ok(())
}

/// The part that a checkpoint ends.
pub(crate) struct PreparedParts {
    folder: Arc<PartFolder>,
    known: Arc<Known>,
    closing: Option<OpenPart>,
    /// What the checkpoint tells of.
    staged: Vec<StagedPart>,
    is_first: bool,
    is_complete: bool,
}

impl PreparedParts {
    /// Writes the end of a part and syncs it.
    fn close(&self, part: OpenPart) -> Result<StagedPart, BoxError> {
        let (partial, name) = (self.folder.partial(part.number), self.folder.name(part.number));
        let path = self.folder.at(&partial);
        let (mut file, bytes, hash) =
            part.writer.finish().and_then(|file| Ok(file.whole()?)).map_err(|error| failed(&path, error))?;
        file.sync().map_err(|error| failed(&path, error))?;
        Ok(StagedPart { partial, name, bytes, rows: part.rows, hash })
    }
}

impl Prepared for PreparedParts {
    fn make_durable(&mut self) -> Result<Vec<OutputPosition>, BoxError> {
        let path = &self.folder.path;
        if let Some(part) = self.closing.take() {
            let staged = self.close(part)?;
            self.known.lock().staged.push(staged);
            self.folder.disk.sync_folder(path).map_err(|error| failed(path, error))?;
        }
        if self.is_first {
            self.folder.disk.sync_folder(folder(path)).map_err(|error| failed(folder(path), error))?;
        }
        self.folder.check_lock()?;
        let known = self.known.lock();
        if self.is_complete {
            self.folder.check_sizes(&known.named)?;
        }
        PartFolder::check_count(known.named.len() + known.staged.len())
            .map_err(|error| failed(path, error))?;
        self.staged.clone_from(&known.staged);
        let named: u64 = known.named.iter().map(|part| part.bytes).sum();
        Ok(vec![OutputPosition {
            name: text(path)?,
            partial: text(path)?,
            bytes: named + self.staged.iter().map(|part| part.bytes).sum::<u64>(),
            bytes_before: 0,
            tail: None,
            parts: known.named.len() as u64,
            staged: self.staged.clone(),
            is_complete: self.is_complete,
        }])
    }

    fn publish(&mut self) -> Result<(), BoxError> {
        // The first list tells other runs that a checkpoint has parts here, if none so far.
        if self.staged.is_empty() && !self.is_complete && !self.is_first {
            return Ok(());
        }
        let mut known = self.known.lock();
        for part in std::mem::take(&mut self.staged) {
            let Some(at) = known.staged.iter().position(|staged| *staged == part) else { continue };
            let named = self.folder.give_name(&part);
            named.map_err(|error| failed(&self.folder.at(&part.partial), error))?;
            known.staged.remove(at);
            known.named.push((&part).into());
        }
        let path = &self.folder.path;
        self.folder.disk.sync_folder(path).map_err(|error| failed(path, error))?;
        self.folder.write_list(&known.named, self.is_complete).map_err(|error| failed(path, error))?;
        Ok(())
    }
}
