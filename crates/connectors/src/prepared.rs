//! A file of text that a later run can go on with: how far it counts, how it becomes
//! durable, and how it is taken up again.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tradejoin_disk::{Disk, Mode};
use tradejoin_flow::{BoxError, End, OutputPosition, Prepared};

use crate::encoding::Location;
use crate::error::WriteError;
use crate::resume_error::ResumeError;
use crate::target::{Counted, Mark, OutputHandle, Place, Stage, Target, resolve_links};
use crate::trail::{TAIL_BYTES, Trail, fingerprint};

/// That an output is of a run which is kept with checkpoints.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Where its files are.
    pub disk: Arc<dyn Disk>,
    /// What tells the files of this run that are not whole from those of others: at most 16
    /// letters `a` to `z` and digits, the same for the run that goes on.
    pub owner: String,
    /// How far an earlier run has come, which this one goes on with; `None` if it begins.
    pub from: Option<OutputPosition>,
}

/// What was written of a file up to a mark.
pub(crate) struct PreparedFile {
    pub(crate) name: String,
    pub(crate) target: Target,
    pub(crate) mark: Mark,
    pub(crate) end: Option<End>,
    /// Whether its name is not durable yet.
    pub(crate) is_first: bool,
}

impl Prepared for PreparedFile {
    fn make_durable(&mut self) -> Result<Vec<OutputPosition>, BoxError> {
        let is_complete = self.end == Some(End::Complete);
        let Place::Partial { partial, path, .. } = self.target.place() else {
            let name = self.name.clone();
            return Ok(vec![OutputPosition {
                name,
                bytes: self.mark.bytes,
                is_complete,
                ..Default::default()
            }]);
        };
        // A part of a file keeps its partial name: an interrupted run need not wait for the disk.
        if !self.target.is_kept() && !is_complete {
            return Ok(Vec::new());
        }
        // Taken out: what has failed is not tried again.
        let mut file =
            self.mark.file.take().ok_or_else(|| failed(partial, "was to be made durable before"))?;
        file.sync().map_err(|error| failed(partial, error))?;
        // While it is open nothing else is called by what tells it from others.
        self.target.check_name()?;
        if !self.target.is_kept() {
            // No checkpoint tells of it.
            return Ok(Vec::new());
        }
        if self.is_first {
            self.target.sync_folder(partial)?;
        }
        Ok(vec![OutputPosition {
            name: text(path)?,
            partial: text(partial)?,
            bytes: self.mark.bytes,
            tail: fingerprint(&self.mark.tail, self.mark.bytes),
            is_complete,
            ..Default::default()
        }])
    }

    fn publish(&mut self) -> Result<(), BoxError> {
        Ok(self.end.map_or(Ok(()), |end| self.target.settle(end))?)
    }
}

/// Makes a file durable that nothing follows in, and gives it its name.
pub(crate) fn complete(name: &Arc<str>, mut file: impl Prepared) -> Result<(), WriteError> {
    let completed = file.make_durable().and_then(|_| file.publish());
    completed.map_err(|error| match error.downcast::<WriteError>() {
        Ok(error) => *error,
        Err(source) => WriteError { target_name: Arc::clone(name), source },
    })
}

/// An error with the path that it is of.
pub(crate) fn failed(path: &Path, source: impl Into<BoxError>) -> WriteError {
    WriteError { target_name: path.display().to_string().into(), source: source.into() }
}

/// An error of what was to get its name.
pub(crate) fn not_named(partial: &Path, path: &Path, source: io::Error) -> WriteError {
    let target_name = format!("{}, to which {} was to be renamed", path.display(), partial.display());
    WriteError { target_name: target_name.into(), source: source.into() }
}

/// The folder that a name is in, as a path that can be opened.
pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A path as a checkpoint names it.
pub(crate) fn text(path: &Path) -> io::Result<String> {
    let unfit =
        || io::Error::new(io::ErrorKind::InvalidInput, "a name that is no valid Unicode cannot be kept");
    path.to_str().map(str::to_owned).ok_or_else(unfit)
}

/// A file that begins, of a run that is kept.
pub(crate) fn begin(kept: &Kept, location: &Location, handle: OutputHandle) -> io::Result<(Target, Counted)> {
    if let Location::Path(path) = location {
        text(path)?;
    }
    let (target, file) = Target::create_on(Arc::clone(&kept.disk), location, handle, Some(&kept.owner))?;
    Ok((target.keep(), file.remember(Trail::Tail(Vec::new()), 0)))
}

/// The file that an earlier run has left, cut to what counts of it.
pub(crate) fn resume(
    disk: &Arc<dyn Disk>,
    position: &OutputPosition,
    location: &Location,
    handle: OutputHandle,
) -> Result<(Target, Counted), ResumeError> {
    if position.is_complete {
        return Err(ResumeError::Complete { name: position.name.clone() });
    }
    handle.count_from(position.bytes);
    if position.partial.is_empty() {
        return resume_stream(disk, position, location, handle);
    }
    let other = || ResumeError::Other { name: position.name.clone() };
    let Location::Path(path) = location else { return Err(other()) };
    let path = resolve_links(path).map_err(|source| ResumeError::io(path, source))?;
    if path.to_str() != Some(&position.name) || !is_partial_of(&position.partial, &position.name) {
        return Err(other());
    }
    let partial = PathBuf::from(&position.partial);
    let failed = |source| ResumeError::io(&partial, source);
    let half = partial.with_extension("copy");
    // Of a run that died while it copied.
    match disk.remove(&half) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut file = match disk.open(&partial) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            take_back(&**disk, &partial, &half, &path, position)?;
            disk.open(&partial).map_err(failed)?
        }
        opened => opened.map_err(failed)?,
    };
    // Whoever made the copy may have died, or failed, before its name was durable.
    disk.sync_folder(folder(&path)).map_err(failed)?;
    // Before it is locked: some network file systems let nobody read a file then by its name.
    let tail = check(&**disk, &partial, position)?;
    if !file.try_lock() {
        return Err(ResumeError::Locked { path: partial });
    }
    if file.size().map_err(failed)? > position.bytes {
        file.set_len(position.bytes).map_err(failed)?;
    }
    let id = file.id().map_err(failed)?;
    let file = Counted::of_file(file, handle.clone(), position.bytes, Trail::Tail(tail));
    let place = Place::Partial { partial, path, id };
    Ok((Target::new(Arc::clone(disk), handle, place, Some(Stage::Known)), file))
}

/// Makes a partial file again of one that was completed behind the checkpoint which is gone on
/// from: one after it is damaged. The file under its name stays until the new one takes its place.
/// Its name is not durable yet.
fn take_back(
    disk: &dyn Disk,
    partial: &Path,
    half: &Path,
    path: &Path,
    position: &OutputPosition,
) -> Result<(), ResumeError> {
    let failed = |source| ResumeError::io(partial, source);
    if position.bytes == 0 {
        // Nothing counts of it, and what has its name now may be of an earlier run.
        disk.create(partial, mode_of(path)).map_err(failed)?;
    } else {
        match check(disk, path, position) {
            Ok(_) => copy(disk, path, half, partial, position.bytes).map_err(failed)?,
            Err(error @ ResumeError::Io { .. }) => return Err(error),
            Err(_) => return Err(ResumeError::Missing { path: partial.to_owned() }),
        }
    }
    Ok(())
}

/// That of a file whose place another one takes.
fn mode_of(path: &Path) -> Mode {
    let rights = |file: fs::Metadata| Mode::Exactly(file.permissions().mode() & 0o777);
    fs::metadata(path).map_or(Mode::Shared, rights)
}

/// Copies the first bytes of a file to a new one. It is durable, but for its name, once it has
/// that, and until then under the name of a `half`: a copy that is cut short is none.
fn copy(disk: &dyn Disk, from: &Path, half: &Path, to: &Path, bytes: u64) -> io::Result<()> {
    let mut file = disk.create(half, mode_of(from))?;
    let mut write = || {
        let copied = io::copy(&mut disk.reader(from)?.take(bytes), &mut file)?;
        if copied != bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.sync()?;
        disk.rename(half, to)
    };
    write().inspect_err(|_| {
        // It may be what has filled the disk.
        let _ = disk.remove(half);
    })
}

/// A pipe, a device or standard output: what was written is gone, and what is written
/// again comes twice.
fn resume_stream(
    disk: &Arc<dyn Disk>,
    position: &OutputPosition,
    location: &Location,
    handle: OutputHandle,
) -> Result<(Target, Counted), ResumeError> {
    let path = |location: &Location| PathBuf::from(&*location.output_name());
    let opened = Target::create_on(Arc::clone(disk), location, handle, None);
    let (target, file) = opened.map_err(|source| ResumeError::io(&path(location), source))?;
    if target.is_named() {
        return Err(ResumeError::Other { name: position.name.clone() });
    }
    Ok((target.keep(), file.remember(Trail::None, position.bytes)))
}

/// Whether it is a name that a file has which is to be called `name`.
pub(crate) fn is_partial_of(partial: &str, name: &str) -> bool {
    const OWNER_LEN_MAX: usize = 16;
    let owner = partial.strip_prefix(name).and_then(|rest| rest.strip_prefix('.'));
    let owner = owner.and_then(|rest| rest.strip_suffix(".partial"));
    let is_of_owner = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    owner.is_some_and(|owner| (1..=OWNER_LEN_MAX).contains(&owner.len()) && owner.bytes().all(is_of_owner))
}

/// Refuses a file that is not what a checkpoint tells, and gives its last bytes that count.
fn check(disk: &dyn Disk, path: &Path, position: &OutputPosition) -> Result<Vec<u8>, ResumeError> {
    let failed = |source| ResumeError::io(path, source);
    let Some(size) = disk.size(path).map_err(failed)? else {
        return Err(ResumeError::Missing { path: path.to_owned() });
    };
    if size < position.bytes {
        return Err(ResumeError::Shorter {
            path: path.to_owned(),
            bytes: position.bytes,
            short: position.bytes - size,
        });
    }
    let len = position.bytes.min(TAIL_BYTES as u64);
    let tail = disk.read_part(path, position.bytes - len, len as usize).map_err(failed)?;
    if fingerprint(&tail, position.bytes) != position.tail {
        return Err(ResumeError::Edited { path: path.to_owned() });
    }
    Ok(tail)
}

/// Gives a file its name that was complete when its run died; see
/// [`Output::republish`](crate::Output::republish).
pub(crate) fn republish(disk: &dyn Disk, position: &OutputPosition) -> Result<(), ResumeError> {
    if position.partial.is_empty() {
        return Ok(());
    }
    if !is_partial_of(&position.partial, &position.name) {
        return Err(ResumeError::Other { name: position.name.clone() });
    }
    let (partial, path) = (Path::new(&position.partial), Path::new(&position.name));
    let failed = |source| ResumeError::io(partial, source);
    match disk.size(partial).map_err(failed)? {
        Some(size) => {
            check(disk, partial, position)?;
            if size > position.bytes {
                let mut file = disk.open(partial).map_err(failed)?;
                file.set_len(position.bytes).and_then(|()| file.sync()).map_err(failed)?;
            }
            disk.rename(partial, path).map_err(|source| ResumeError::io(path, source))?;
        }
        // It has its name already.
        None => {
            check(disk, path, position)?;
            if disk.size(path).map_err(failed)? != Some(position.bytes) {
                return Err(ResumeError::Edited { path: path.to_owned() });
            }
        }
    }
    disk.sync_folder(folder(path)).map_err(failed)
}
