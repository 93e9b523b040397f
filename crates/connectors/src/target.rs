//! Where bytes of an output go: a file that appears when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::write::GzEncoder;

use crate::encoding::{Compression, Location};

/// What becomes of an output: a handle, whose clones speak of the same one,
/// also after the output itself has been given away.
#[derive(Clone, Debug, Default)]
pub struct OutputHandle(Arc<Fate>);

#[derive(Debug, Default)]
struct Fate {
    keep_partial: AtomicBool,
    bytes: AtomicU64,
    written: Mutex<Option<PathBuf>>,
}

impl OutputHandle {
    /// Marks the run as interrupted: [`Sink::finish`](tradejoin_flow::Sink)
    /// then completes the file, but leaves it under its partial name.
    pub fn keep_partial(&self) {
        self.0.keep_partial.store(true, Ordering::Relaxed);
    }

    /// The file that was completed, under the name that it has; `None` before
    /// that, and for standard output.
    #[must_use]
    pub fn written_path(&self) -> Option<PathBuf> {
        self.0.written.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bytes written so far, as they are stored.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }
}

/// The name that `path` has until it is whole: `<name>.partial` beside it.
#[must_use]
pub fn partial_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
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
        let counted = Counted { file, handle: handle.clone() };
        Ok((Self { handle, place }, counted, named))
    }

    /// Gives the file its name, after its last byte was written.
    pub(crate) fn commit(&mut self) -> io::Result<()> {
        let written = match std::mem::replace(&mut self.place, Place::Settled) {
            Place::Partial { partial, .. } if self.handle.0.keep_partial.load(Ordering::Relaxed) => {
                Some(partial)
            }
            Place::Partial { partial, path } => {
                fs::rename(&partial, &path).inspect_err(|_| discard(&partial))?;
                Some(path)
            }
            Place::Direct(path) => Some(path),
            Place::Standard | Place::Settled => None,
        };
        *self.handle.0.written.lock().unwrap_or_else(PoisonError::into_inner) = written;
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Place::Partial { partial, .. } = &self.place {
            discard(partial);
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
    let partial = partial_path(&path);
    let file = File::create(&partial)?;
    if let Some(permissions) = permissions {
        file.set_permissions(permissions).inspect_err(|_| discard(&partial))?;
    }
    Ok((file, Place::Partial { partial, path }))
}

/// A file that counts what is written.
pub(crate) struct Counted {
    file: File,
    handle: OutputHandle,
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

/// Packs bytes on their way to a file.
pub(crate) enum Packer {
    Plain(BufWriter<Counted>),
    Gzip(GzEncoder<BufWriter<Counted>>),
    Zstd(zstd::Encoder<'static, BufWriter<Counted>>),
}

impl Packer {
    pub(crate) fn new(file: Counted, compression: Compression) -> io::Result<Self> {
        let file = BufWriter::with_capacity(128 << 10, file);
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
