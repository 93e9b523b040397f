//! Where bytes of an output go: a file that appears when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::write::GzEncoder;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::geteuid;
use tradejoin_disk::{Disk, DiskFile, FileId, Mode, RealDisk, Replaced};
use tradejoin_flow::End;

use crate::descriptor::{LINKS_MAX, is_open_file};
use crate::encoding::{Compression, Location};
use crate::error::WriteError;
use crate::prepared::{self, PreparedFile};
use crate::trail::Trail;

/// What becomes of an output: a handle, whose clones speak of the same one,
/// also after the output itself has been given away.
#[derive(Clone, Debug, Default)]
pub struct OutputHandle(Arc<Fate>);

#[derive(Debug, Default)]
struct Fate {
    bytes: AtomicU64,
    path: Mutex<Option<PathBuf>>,
}

impl OutputHandle {
    /// Where the bytes are at this moment: the partial name until the file is
    /// whole, its own name from then on. `None` for standard output, and for a
    /// file that was given up.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        self.0.path.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_path(&self, path: Option<PathBuf>) {
        *self.0.path.lock().unwrap_or_else(PoisonError::into_inner) = path;
    }

    /// Bytes written so far, as they are stored.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Begins to count at what an earlier run has written.
    pub(crate) fn count_from(&self, bytes: u64) {
        self.0.bytes.store(bytes, Ordering::Relaxed);
    }
}

/// What to do with the file at the end.
pub(crate) struct Target {
    handle: OutputHandle,
    disk: Arc<dyn Disk>,
    place: Place,
    kept: Option<Stage>,
}

/// How far a file is that a later run may go on with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing of it was ever prepared: nobody can know of it.
    New,
    /// A checkpoint may tell of it: it is not to be removed any more.
    Known,
}

#[derive(Clone)]
pub(crate) enum Place {
    /// Standard output.
    Standard,
    /// Something that is there and stays: a device or a pipe.
    Direct(PathBuf),
    /// A file that gets its name when it is whole.
    Partial { partial: PathBuf, path: PathBuf, id: FileId },
    /// Nothing is left to do.
    Settled,
}

impl Target {
    /// Opens a location for writing.
    pub(crate) fn create(location: &Location, handle: OutputHandle) -> io::Result<(Self, Counted)> {
        Self::create_on(Arc::new(RealDisk), location, handle, None)
    }

    /// Opens a location for writing; a file with a name is made on `disk`. With an owner its
    /// partial name has that in it, and what stands there is what another life of the owner
    /// has left: it goes.
    pub(crate) fn create_on(
        disk: Arc<dyn Disk>,
        location: &Location,
        handle: OutputHandle,
        owner: Option<&str>,
    ) -> io::Result<(Self, Counted)> {
        let (file, place) = match location {
            Location::Standard => {
                (Stream::Direct(File::from(io::stdout().as_fd().try_clone_to_owned()?)), Place::Standard)
            }
            Location::Path(path) => create_path(&*disk, path, owner)?,
        };
        let counted = Counted { file, handle: handle.clone(), bytes: 0, trail: Trail::None };
        Ok((Self::new(disk, handle, place, None), counted))
    }

    pub(crate) fn new(disk: Arc<dyn Disk>, handle: OutputHandle, place: Place, kept: Option<Stage>) -> Self {
        handle.set_path(match &place {
            Place::Partial { partial: path, .. } | Place::Direct(path) => Some(path.clone()),
            Place::Standard | Place::Settled => None,
        });
        Self { handle, disk, place, kept }
    }

    /// One with which nothing is left to do.
    pub(crate) fn settled() -> Self {
        Self { handle: OutputHandle::default(), disk: Arc::new(RealDisk), place: Place::Settled, kept: None }
    }

    /// Has the file left where it is if the run fails: a later one goes on with it.
    pub(crate) fn keep(mut self) -> Self {
        self.kept = Some(Stage::New);
        self
    }

    /// Whether it is a regular file with a name.
    pub(crate) fn is_named(&self) -> bool {
        matches!(self.place, Place::Partial { .. })
    }

    /// Prepares what was written up to a mark; `None` if more follows of a file that is not kept.
    pub(crate) fn prepare(&mut self, name: &str, mark: Mark, end: Option<End>) -> Option<PreparedFile> {
        let is_first = self.kept == Some(Stage::New);
        if self.kept.is_some() {
            self.kept = Some(Stage::Known);
        }
        let (disk, handle, kept) = (Arc::clone(&self.disk), self.handle.clone(), self.kept);
        let target = match (end, kept) {
            (Some(_), _) => std::mem::replace(self, Self::settled()),
            (None, Some(_)) => Self { handle, disk, place: self.place.clone(), kept },
            (None, None) => return None,
        };
        Some(PreparedFile { name: name.to_owned(), target, mark, end, is_first })
    }

    /// Whether a later run may go on with the file.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Where the file goes.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Makes the name of a file durable that has just got it, or that it has until it is whole.
    pub(crate) fn sync_folder(&self, of: &Path) -> Result<(), WriteError> {
        let folder = prepared::folder(of);
        self.disk.sync_folder(folder).map_err(|error| prepared::failed(folder, error))
    }

    /// Refuses a partial name that leads to another file than the one that was written, or to none.
    pub(crate) fn check_name(&self) -> Result<(), WriteError> {
        let Place::Partial { partial, id, .. } = &self.place else { return Ok(()) };
        match self.disk.id(partial) {
            Ok(is) if is == Some(*id) => Ok(()),
            Ok(_) => Err(prepared::failed(partial, Replaced)),
            Err(error) => Err(prepared::failed(partial, error)),
        }
    }

    /// Gives the file its name, after its last byte was written; leaves it under
    /// its partial name if it is a part of what it was to be.
    pub(crate) fn settle(&mut self, end: End) -> Result<(), WriteError> {
        let (Place::Partial { partial, path, .. }, End::Complete) = (&self.place, end) else {
            self.place = Place::Settled;
            return Ok(());
        };
        self.disk.rename(partial, path).map_err(|source| prepared::not_named(partial, path, source))?;
        let path = path.clone();
        self.handle.set_path(Some(path.clone()));
        self.place = Place::Settled;
        match self.sync_folder(&path) {
            Err(error) if !self.is_kept() && is_not_for_folders(&error) => Ok(()),
            synced => synced,
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Place::Partial { partial, id, .. } = &self.place
            && self.kept != Some(Stage::Known)
        {
            discard(&*self.disk, partial, *id);
            self.handle.set_path(None);
        }
    }
}

/// Whether a folder could not be synced since it may not be read, or its file system syncs
/// none: files without checkpoints may be made there all the same.
fn is_not_for_folders(error: &WriteError) -> bool {
    const KINDS: [io::ErrorKind; 3] =
        [io::ErrorKind::PermissionDenied, io::ErrorKind::InvalidInput, io::ErrorKind::Unsupported];
    error.source.downcast_ref::<io::Error>().is_some_and(|error| KINDS.contains(&error.kind()))
}

/// Removes what is not whole, unless somebody has put another file there. That it may fail changes
/// nothing for the caller, who is about to report another failure.
fn discard(disk: &dyn Disk, partial: &Path, id: FileId) {
    if disk.id(partial).is_ok_and(|is| is == Some(id)) {
        let _ = disk.remove(partial);
    }
}

/// The path that a path leads to where it is a symbolic link, or one to another, also if there
/// is no file yet: what is written takes the place of that, and the link stays a link.
///
/// # Errors
/// If there are more links than a system follows.
pub fn resolve_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&path) {
            Ok(to) => path = path.parent().unwrap_or(Path::new("")).join(to),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

fn create_path(disk: &dyn Disk, path: &Path, owner: Option<&str>) -> io::Result<(Stream, Place)> {
    let mode = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(metadata) => {
            // A file that may not be written is not to be replaced either.
            let file = OpenOptions::new().write(true).open(path)?;
            if !metadata.is_file() {
                return Ok((Stream::Direct(file), Place::Direct(path.to_owned())));
            }
            if is_open_file(path) {
                let text = "it is open already, and would be replaced: name the file itself";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
            if !may_be_replaced(path, &metadata) {
                let text = "it is another user's, in a folder where each may replace their own files alone";
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
            }
            // Not to be run as its owner: that is another one now, it may be.
            Mode::Exactly(metadata.permissions().mode() & 0o777)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Mode::Shared,
        Err(error) => return Err(error),
    };
    let path = resolve_links(path)?;
    let (file, partial) = match owner {
        Some(owner) => create_owned(disk, &path, owner, mode)?,
        None => create_partial(disk, &path, mode)?,
    };
    if !file.try_lock() {
        return Err(another_writes(&partial));
    }
    let id = file.id()?;
    Ok((Stream::File(file), Place::Partial { partial, path, id }))
}

/// Whether the system lets this process put a file in the place of one, as far as the sticky bit
/// of the folder goes.
fn may_be_replaced(path: &Path, file: &fs::Metadata) -> bool {
    let path = resolve_links(path).unwrap_or_else(|_| path.to_owned());
    let Ok(folder) = fs::metadata(prepared::folder(&path)) else { return true };
    is_given_up(folder.mode(), [file.uid(), folder.uid()], geteuid().as_raw())
}

/// Whether a folder of this mode lets a user replace a file, of which and of the folder
/// these are the owners.
fn is_given_up(mode: u32, owners: [u32; 2], user: u32) -> bool {
    const STICKY: u32 = 0o1000;
    mode & STICKY == 0 || user == 0 || owners.contains(&user)
}

/// A new file `<name>.<owner>.partial` beside `path`, in the place of one that is there.
fn create_owned(
    disk: &dyn Disk,
    path: &Path,
    owner: &str,
    mode: Mode,
) -> io::Result<(Box<dyn DiskFile>, PathBuf)> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{owner}.partial"));
    let partial = PathBuf::from(name);
    // It may be at work, with other checkpoints under the same name as ours.
    if disk.open(&partial).is_ok_and(|file| !file.try_lock()) {
        return Err(another_writes(&partial));
    }
    match disk.remove(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    Ok((disk.create(&partial, mode)?, partial))
}

/// A new file `<name>.partial` beside `path`, or `<name>.2.partial` and so on if
/// there is one already: it may be what another run has left or is writing.
fn create_partial(disk: &dyn Disk, path: &Path, mode: Mode) -> io::Result<(Box<dyn DiskFile>, PathBuf)> {
    const NAMES_MAX: u32 = 1_000;
    let name = |number| {
        let mut name = path.as_os_str().to_owned();
        name.push(if number == 1 { ".partial".to_owned() } else { format!(".{number}.partial") });
        PathBuf::from(name)
    };
    for partial in (1..=NAMES_MAX).map(name) {
        match disk.create(&partial, mode) {
            Ok(file) => return Ok((file, partial)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "too many partial files of earlier runs: remove them"))
}

fn another_writes(partial: &Path) -> io::Error {
    let text = format!("another run writes {}: wait for its end, or name another file", partial.display());
    io::Error::new(io::ErrorKind::ResourceBusy, text)
}

/// What takes bytes.
enum Stream {
    /// Standard output, a device or a pipe.
    Direct(File),
    /// A file with a name.
    File(Box<dyn DiskFile>),
}

/// A file that counts what is written.
pub(crate) struct Counted {
    file: Stream,
    handle: OutputHandle,
    /// Bytes that it has.
    bytes: u64,
    trail: Trail,
}

/// Writes to what may have been opened not to wait: who shares it with this process decides that.
fn write_waiting(file: &mut File, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match file.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => return written,
        }
        match poll(&mut [PollFd::new(file, PollFlags::OUT)], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What a file had at one moment.
pub(crate) struct Mark {
    /// The file, to sync; `None` of what has no name.
    pub(crate) file: Option<Box<dyn DiskFile>>,
    pub(crate) bytes: u64,
    /// The last of them.
    pub(crate) tail: Vec<u8>,
}

impl Counted {
    /// A file that has `bytes`.
    pub(crate) fn of_file(file: Box<dyn DiskFile>, handle: OutputHandle, bytes: u64, trail: Trail) -> Self {
        Self { file: Stream::File(file), handle, bytes, trail }
    }

    /// Remembers what is told of what is written from here on; `bytes` were before.
    pub(crate) fn remember(self, trail: Trail, bytes: u64) -> Self {
        Self { trail, bytes, ..self }
    }

    /// What it has now, if all was given to it.
    pub(crate) fn mark(&self) -> io::Result<Mark> {
        let file = match &self.file {
            Stream::Direct(_) => None,
            Stream::File(file) => Some(file.another()?),
        };
        Ok(Mark { file, bytes: self.bytes, tail: self.trail.tail().to_vec() })
    }

    /// The whole of it, once nothing follows: the file, its bytes and their hash.
    pub(crate) fn whole(self) -> io::Result<(Box<dyn DiskFile>, u64, u64)> {
        match self.file {
            Stream::File(file) => Ok((file, self.bytes, self.trail.hash())),
            Stream::Direct(_) => Err(io::Error::other("it is no file")),
        }
    }

    /// Whether somebody may be waiting for the bytes at the other end: a pipe, a
    /// socket or a terminal.
    pub(crate) fn is_live(&self) -> bool {
        let Stream::Direct(file) = &self.file else { return false };
        let is_stream = |kind: fs::FileType| kind.is_fifo() || kind.is_socket();
        file.is_terminal() || file.metadata().is_ok_and(|file| is_stream(file.file_type()))
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = match &mut self.file {
            Stream::Direct(file) => write_waiting(file, bytes)?,
            Stream::File(file) => file.write(bytes)?,
        };
        self.bytes += len as u64;
        self.handle.0.bytes.fetch_add(len as u64, Ordering::Relaxed);
        self.trail.note(&bytes[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.file {
            Stream::Direct(file) => file.flush(),
            Stream::File(file) => file.flush(),
        }
    }
}

/// A file that is written to in large steps.
pub(crate) fn buffered(file: Counted) -> BufWriter<Counted> {
    BufWriter::with_capacity(128 << 10, file)
}

/// Packs bytes on their way to a file.
pub(crate) enum Packer {
    Plain(BufWriter<Counted>),
    Gzip(GzEncoder<BufWriter<Counted>>),
    Zstd(zstd::Encoder<'static, BufWriter<Counted>>),
}

impl Packer {
    pub(crate) fn new(file: Counted, compression: Compression) -> io::Result<Self> {
        let file = buffered(file);
        Ok(match compression {
            Compression::None => Self::Plain(file),
            Compression::Gzip => Self::Gzip(GzEncoder::new(file, flate2::Compression::default())),
            Compression::Zstd => {
                // Level 3: zstd's own default.
                let mut encoder = zstd::Encoder::new(file, 3)?;
                encoder.include_checksum(true)?;
                Self::Zstd(encoder)
            }
        })
    }

    /// Writes what is still held back, and gives the file back.
    pub(crate) fn finish(self) -> io::Result<Counted> {
        let file = match self {
            Self::Plain(file) => file,
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
        };
        let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.flush()?;
        Ok(file)
    }
}

impl Write for Packer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests;
