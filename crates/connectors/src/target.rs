//! Where bytes of an output go: a file that appears when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::write::GzEncoder;
use tradejoin_flow::End;

use crate::encoding::{Compression, Location};

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

    fn set_path(&self, path: Option<PathBuf>) {
        *self.0.path.lock().unwrap_or_else(PoisonError::into_inner) = path;
    }

    /// Bytes written so far, as they are stored.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }
}

/// What to do with the file at the end.
pub(crate) struct Target {
    handle: OutputHandle,
    place: Place,
}

enum Place {
    /// Standard output.
    Standard,
    /// Something that is there and stays: a device or a pipe.
    Direct(PathBuf),
    /// A file that gets its name when it is whole.
    Partial { partial: PathBuf, path: PathBuf },
    /// Nothing is left to do.
    Settled,
}

impl Target {
    /// Opens a location for writing, and tells whether it is a regular file
    /// with a name.
    pub(crate) fn create(location: &Location, handle: OutputHandle) -> io::Result<(Self, Counted, bool)> {
        let (file, place) = match location {
            Location::Standard => (File::from(io::stdout().as_fd().try_clone_to_owned()?), Place::Standard),
            Location::Path(path) => create_path(path)?,
        };
        let named = matches!(place, Place::Partial { .. });
        handle.set_path(match &place {
            Place::Partial { partial: path, .. } | Place::Direct(path) => Some(path.clone()),
            Place::Standard | Place::Settled => None,
        });
        let counted = Counted { file, handle: handle.clone() };
        Ok((Self { handle, place }, counted, named))
    }

    /// Gives the file its name, after its last byte was written; leaves it under
    /// its partial name if it is a part of what it was to be.
    pub(crate) fn settle(&mut self, end: End) -> io::Result<()> {
        if let (Place::Partial { partial, path }, End::Complete) = (&self.place, end) {
            fs::rename(partial, path)?;
            self.handle.set_path(Some(path.clone()));
        }
        self.place = Place::Settled;
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Place::Partial { partial, .. } = &self.place {
            discard(partial);
            self.handle.set_path(None);
        }
    }
}

/// Removes what is not whole. That it may fail changes nothing for the caller,
/// who is about to report another failure.
fn discard(partial: &Path) {
    let _ = fs::remove_file(partial);
}

/// The file that a path means, so that a link stays a link.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    // As many links as the system follows.
    const LINKS_MAX: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&path) {
            Ok(to) => path = path.parent().unwrap_or(Path::new("")).join(to),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

fn create_path(path: &Path) -> io::Result<(File, Place)> {
    let permissions = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(metadata) => {
            // A file that may not be written is not to be replaced either.
            let file = OpenOptions::new().write(true).open(path)?;
            if !metadata.is_file() {
                return Ok((file, Place::Direct(path.to_owned())));
            }
            Some(metadata.permissions())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let path = resolve(path)?;
    let (file, partial) = create_partial(&path)?;
    if let Some(permissions) = permissions {
        file.set_permissions(permissions).inspect_err(|_| discard(&partial))?;
    }
    Ok((file, Place::Partial { partial, path }))
}

/// A new file `<name>.partial` beside `path`, or `<name>.2.partial` and so on if
/// there is one already: it may be what another run has left or is writing.
fn create_partial(path: &Path) -> io::Result<(File, PathBuf)> {
    const NAMES_MAX: u32 = 1_000;
    let name = |number| {
        let mut name = path.as_os_str().to_owned();
        name.push(if number == 1 { ".partial".to_owned() } else { format!(".{number}.partial") });
        PathBuf::from(name)
    };
    for partial in (1..=NAMES_MAX).map(name) {
        match OpenOptions::new().write(true).create_new(true).open(&partial) {
            Ok(file) => return Ok((file, partial)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "too many partial files of earlier runs: remove them"))
}

/// A file that counts what is written.
pub(crate) struct Counted {
    file: File,
    handle: OutputHandle,
}

impl Counted {
    /// Whether somebody may be waiting for the bytes at the other end: a pipe, a
    /// socket or a terminal.
    pub(crate) fn is_live(&self) -> bool {
        let is_stream = |kind: fs::FileType| kind.is_fifo() || kind.is_socket();
        self.file.is_terminal() || self.file.metadata().is_ok_and(|file| is_stream(file.file_type()))
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.file.write(bytes)?;
        self.handle.0.bytes.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
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

    /// Writes what is still held back.
    pub(crate) fn finish(self) -> io::Result<()> {
        let mut file = match self {
            Self::Plain(file) => file,
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
        };
        file.flush()
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
