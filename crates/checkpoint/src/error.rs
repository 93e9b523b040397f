//! What can be wrong with checkpoints.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use tradejoin_disk::{NotRegular, Replaced};

/// Why a checkpoint cannot be kept or used.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// Another run has the folder.
    #[error(
        "{}: another run keeps its checkpoints here: wait for its end, or choose another folder",
        folder.display()
    )]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder is not the one any more that the run has.
    #[error("{}", lock.display())]
    Gone {
        /// The file in it that was locked.
        lock: PathBuf,
        /// What has become of it.
        source: Replaced,
    },
    /// Others could put in the folder what they like.
    #[error(
        "{}: others than its owner may write in this folder: run `chmod go-w` on it, or choose another",
        folder.display()
    )]
    Unsafe {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder is another user's, who could put in it what they like.
    #[error(
        "{}: this folder belongs to user {owner}, who may write in it: run as that user, take it over with \
         `chown`, or choose another",
        folder.display()
    )]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// The number of the user.
        owner: u32,
    },
    /// A file is not what was written.
    #[error("{}: {reason}: the checkpoint is damaged and cannot be used", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There are checkpoints, and none is whole.
    #[error(
        "{}: none of {count} checkpoints is whole, the newest not because {newest}: restore the folder from \
         a copy, or begin anew in an empty one",
        folder.display()
    )]
    NoneIsWhole {
        /// The folder.
        folder: PathBuf,
        /// How many there are.
        count: usize,
        /// What is wrong with the newest.
        newest: Box<CheckpointError>,
    },
    /// There have been checkpoints, and there is none.
    #[error(
        "{}: there have been checkpoints here, and all manifest-N.json are gone: restore the folder from a \
         copy, or begin anew in an empty one",
        folder.display()
    )]
    ManifestsLost {
        /// The folder.
        folder: PathBuf,
    },
    /// It is of another job.
    #[error("{}: the checkpoint is of another job: {reason}", file.display())]
    DoesNotFit {
        /// The manifest.
        file: PathBuf,
        /// Where they differ.
        reason: String,
    },
    /// The folder of a run that is to begin has checkpoints.
    #[error(
        "{}: there are checkpoints of an earlier run here: go on from them, or choose another folder",
        folder.display()
    )]
    Taken {
        /// The folder.
        folder: PathBuf,
    },
    /// It was written by a later version.
    #[error(
        "{}: the checkpoint has format {format}, and this version knows formats up to {known}: use the \
         version that wrote it, or a later one",
        file.display()
    )]
    NewerFormat {
        /// The manifest.
        file: PathBuf,
        /// Its format.
        format: u32,
        /// The newest known one.
        known: u32,
    },
    /// The system refused.
    #[error("{}: cannot {doing}", file.display())]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// What was to be done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// What kind of error it is, for those who answer each in another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointErrorKind {
    /// Another run has the folder, now.
    Locked,
    /// What is there is not what was written.
    Damaged,
    /// What is there, or the folder, does not fit what is asked for.
    DoesNotFit,
    /// It was written by a later version.
    NewerFormat,
    /// The system refused.
    Io,
}

impl CheckpointError {
    /// What kind of error it is.
    #[must_use]
    pub const fn kind(&self) -> CheckpointErrorKind {
        match self {
            Self::Locked { .. } => CheckpointErrorKind::Locked,
            Self::Damaged { .. } | Self::NoneIsWhole { .. } | Self::ManifestsLost { .. } => {
                CheckpointErrorKind::Damaged
            }
            Self::DoesNotFit { .. } | Self::Taken { .. } | Self::Unsafe { .. } | Self::Foreign { .. } => {
                CheckpointErrorKind::DoesNotFit
            }
            Self::NewerFormat { .. } => CheckpointErrorKind::NewerFormat,
            Self::Gone { .. } | Self::Io { .. } => CheckpointErrorKind::Io,
        }
    }

    pub(crate) fn damaged(file: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), reason: reason.into() }
    }

    /// Names what was to be done with which file. What has the name of a file of ours and is
    /// none is not what was written.
    pub(crate) fn io(file: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_owned();
        move |source| match NotRegular::is(&source) {
            true => Self::Damaged { file, reason: source.to_string() },
            false => Self::Io { file, doing, source },
        }
    }
}
