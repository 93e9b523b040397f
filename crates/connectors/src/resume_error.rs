//! What can be wrong with an output that an earlier run has left.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use tradejoin_disk::NotRegular;

use crate::error::Category;

/// Why an output cannot be gone on with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// The file is not there.
    #[error("{}: the output that the checkpoint tells of is missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file is shorter than what was durable.
    #[error("{}: the output is {short} bytes shorter than the {bytes} that the checkpoint tells of", path.display())]
    Shorter {
        /// The file.
        path: PathBuf,
        /// Bytes that it had.
        bytes: u64,
        /// How many of them are missing.
        short: u64,
    },
    /// The file has other bytes.
    #[error("{}: the output was changed since the checkpoint", path.display())]
    Edited {
        /// The file.
        path: PathBuf,
    },
    /// The checkpoint is of another output.
    #[error("the checkpoint is of another output, {name}")]
    Other {
        /// The output that it is of.
        name: String,
    },
    /// A part of another run has the name that one of this run is to get.
    #[error("{}: this part is of another run: give each its folder", path.display())]
    OtherPart {
        /// The part.
        path: PathBuf,
    },
    /// Another run writes its parts in the folder.
    #[error("{}: another run writes its parts in this folder: name another one", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// Another run writes the file.
    #[error("{}: another run writes this output: wait for its end, or name another file", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The checkpoint is that of an output to which nothing can be added.
    #[error("{name}: the output is complete already")]
    Complete {
        /// The output.
        name: String,
    },
    /// The system refuses.
    #[error("cannot go on with {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl ResumeError {
    /// The kind of failure.
    #[must_use]
    pub fn category(&self) -> Category {
        match self {
            Self::Io { source, .. } if !NotRegular::is(source) => Category::Io,
            Self::InUse { .. } | Self::Locked { .. } => Category::CannotCreate,
            _ => Category::Checkpoint,
        }
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}
