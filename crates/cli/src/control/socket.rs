//! The file of a socket.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::Mode;
use rustix::process::umask;
use thiserror::Error;

/// How long a run waits for others that make sockets in the same folder.
const PATIENCE: Duration = Duration::from_secs(2);

/// A socket that listens. Its file goes with it.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
    /// Device and inode, so that no other run's socket is removed.
    file: (u64, u64),
    pub(super) listener: UnixListener,
}

/// Why a run has no socket.
#[derive(Debug, Error)]
pub(crate) enum SocketError {
    #[error("--control {path}: a run that goes on listens there; give another path")]
    Taken { path: String },
    #[error("--control {path}: there is a file that is no socket")]
    NoSocket { path: String },
    #[error("--control {path}: another process holds a lock on its folder; give a path in another one")]
    Locked { path: String },
    #[error("--control {path}: no socket can be made there")]
    Io { path: String, source: io::Error },
}

impl Socket {
    /// Makes the socket, in place of one that nobody listens to any more.
    ///
    /// # Errors
    /// If a run listens there, or something else is in the way.
    pub(crate) fn open(path: &Path) -> Result<Self, SocketError> {
        let shown = || path.display().to_string();
        let failed = |source| SocketError::Io { path: shown(), source };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        // Two runs that start at once must not remove each other's.
        let turn = File::open(folder.unwrap_or(Path::new("."))).map_err(failed)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match turn.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) if Instant::now() > deadline => {
                    return Err(SocketError::Locked { path: shown() });
                }
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(5)),
            }
        }
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(metadata) if !metadata.file_type().is_socket() => {
                return Err(SocketError::NoSocket { path: shown() });
            }
            Ok(_) => match UnixStream::connect(path) {
                Ok(_) => return Err(SocketError::Taken { path: shown() }),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    fs::remove_file(path).map_err(failed)?;
                }
                Err(error) => return Err(failed(error)),
            },
        }
        // From the first moment on: nothing else makes files meanwhile.
        let before = umask(Mode::RWXG | Mode::RWXO | Mode::XUSR);
        let bound = UnixListener::bind(path);
        umask(before);
        let listener = bound.map_err(failed)?;
        let metadata = fs::symlink_metadata(path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file: (metadata.dev(), metadata.ino()), listener })
    }

    /// What removes the file, where no value is dropped any more.
    pub(crate) fn remover(&self) -> Box<dyn Fn() + Send> {
        let (path, file) = (self.path.clone(), self.file);
        Box::new(move || {
            let is_own =
                fs::symlink_metadata(&path).is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == file);
            if is_own {
                // One that cannot be removed is found dead by the next run.
                let _ = fs::remove_file(&path);
            }
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.remover()();
    }
}
