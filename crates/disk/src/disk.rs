//! What is asked of a file system.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Cursor, Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use thiserror::Error;

/// Who may read and write a new file or folder. The process's mask takes rights away
/// from the first two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Whoever may read and write new files of this process.
    Shared,
    /// Its owner alone.
    Private,
    /// Whoever these bits name, as of `chmod`; until a file has them, its owner alone. A folder
    /// does not get them.
    Exactly(u32),
}

/// Why something is neither read nor written to: it is a link, a folder, a pipe or a device.
#[derive(Clone, Copy, Debug, Error)]
#[error("it is not a regular file")]
pub struct NotRegular;

impl NotRegular {
    /// Whether it is why something failed.
    #[must_use]
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|cause| cause.is::<Self>())
    }
}

/// Why nothing more is done with a file: its name leads to another one by now, or to none.
#[derive(Clone, Copy, Debug, Error)]
#[error("somebody has removed or replaced it while this run wrote it")]
pub struct Replaced;

impl From<NotRegular> for io::Error {
    fn from(cause: NotRegular) -> Self {
        Self::new(io::ErrorKind::InvalidInput, cause)
    }
}

/// A file system. Paths are those of the process.
///
/// Files are regular ones: where something else has their name, a link be it to such a file,
/// it is neither read nor written to, but [`NotRegular`].
///
/// What an error leaves behind is not known: nobody tries the same again.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Makes a file that is not there.
    ///
    /// # Errors
    /// If something of that name is there, be it a link that leads nowhere, or the
    /// system refuses.
    fn create(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file that is there, to write at its end.
    ///
    /// # Errors
    /// If it is missing or [`NotRegular`], or the system refuses.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// All bytes of a file, however many it has.
    ///
    /// # Errors
    /// If it is [`NotRegular`] or cannot be read.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Bytes of a file from a place on, at most `len`; fewer if it ends before.
    ///
    /// # Errors
    /// If it is [`NotRegular`] or cannot be read.
    fn read_part(&self, path: &Path, from: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = self.read(path)?;
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
        bytes.drain(..from);
        bytes.truncate(len);
        Ok(bytes)
    }

    /// The bytes of a file, one after the other.
    ///
    /// # Errors
    /// If it is [`NotRegular`] or cannot be read.
    fn reader(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(Cursor::new(self.read(path)?)))
    }

    /// How many bytes a file has; `None` if it is missing.
    ///
    /// # Errors
    /// If it is [`NotRegular`], or the system refuses.
    fn size(&self, path: &Path) -> io::Result<Option<u64>>;

    /// What tells the file of a name from others; `None` if there is none.
    ///
    /// # Errors
    /// If the system does not tell.
    fn id(&self, path: &Path) -> io::Result<Option<FileId>> {
        let _ = path;
        Ok(Some(FileId::default()))
    }

    /// Gives a file another name; one that has it goes.
    ///
    /// # Errors
    /// If the system refuses.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// If it is missing or the system refuses.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// If the system refuses.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// Makes a folder, unless it is there.
    ///
    /// # Errors
    /// If the system refuses, or something else is there.
    fn create_folder(&self, path: &Path, mode: Mode) -> io::Result<()>;

    /// The names of the files in a folder, sorted. What is no valid Unicode is left out:
    /// no name of ours.
    ///
    /// # Errors
    /// If it is missing or the system refuses.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Whether others than its owner may write in a folder.
    ///
    /// # Errors
    /// If it is missing or the system refuses.
    fn is_open_to_others(&self, path: &Path) -> io::Result<bool> {
        let _ = path;
        Ok(false)
    }

    /// The user whom a folder belongs to, unless that is the one of this process, or root, who
    /// may do everything anyway.
    ///
    /// # Errors
    /// If it is missing or the system refuses.
    fn other_owner(&self, path: &Path) -> io::Result<Option<u32>> {
        let _ = path;
        Ok(None)
    }

    /// Locks a file, which is made with a mode unless it is there, against everybody else; `None` if
    /// somebody has it. A disk that no other process sees grants it always.
    ///
    /// # Errors
    /// If the system refuses.
    fn lock(&self, path: &Path, mode: Mode) -> io::Result<Option<Lock>> {
        let _ = (path, mode);
        Ok(Some(Lock(None)))
    }
}

/// A file that is locked until this is dropped, or the process ends, however it does.
#[derive(Debug)]
#[must_use]
pub struct Lock(pub(crate) Option<File>);

impl Lock {
    /// Whether a path still leads to the file: nobody has removed it, or put another in its place.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn is_at(&self, path: &Path) -> io::Result<bool> {
        let Some(file) = &self.0 else { return Ok(true) };
        let locked = FileId::of(&file.metadata()?);
        Ok(FileId::at(path)? == Some(locked))
    }
}

/// What tells a file from all others that are there, whatever name it has. On a disk that no
/// other process sees all are the same: nobody puts another in the place of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(crate) fn of(file: &fs::Metadata) -> Self {
        Self { device: file.dev(), inode: file.ino() }
    }

    /// That of what has a name, if there is something.
    pub(crate) fn at(path: &Path) -> io::Result<Option<Self>> {
        match fs::symlink_metadata(path) {
            Ok(file) => Ok(Some(Self::of(&file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A file that is written to at its end.
pub trait DiskFile: Write + fmt::Debug + Send {
    /// Makes what was written so far durable, and the length. To be called once, whatever
    /// comes of it: after an error the system may take what is lost for written.
    ///
    /// # Errors
    /// If the system refuses.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file to a length, or fills it with zeros to it; what is written next
    /// comes behind.
    ///
    /// # Errors
    /// If the system refuses.
    fn set_len(&mut self, len: u64) -> io::Result<()>;

    /// How many bytes it has.
    ///
    /// # Errors
    /// If the system refuses.
    fn size(&self) -> io::Result<u64>;

    /// The same file for another thread, to [sync](Self::sync) while this one writes.
    ///
    /// # Errors
    /// If the system refuses.
    fn another(&self) -> io::Result<Box<dyn DiskFile>>;

    /// Locks it against everybody who asks for that, until all who have it opened so or got it
    /// as [another](Self::another) are gone; `false` if somebody else has it locked. Where
    /// the file system has no locks nobody has, and a disk that no other process sees grants it
    /// always.
    fn try_lock(&self) -> bool {
        true
    }

    /// What tells it from others.
    ///
    /// # Errors
    /// If the system does not tell.
    fn id(&self) -> io::Result<FileId> {
        Ok(FileId::default())
    }
}
