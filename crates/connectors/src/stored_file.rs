//! A regular file that is being read: by what it is known again, and whether it is whole.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use thiserror::Error;
use tradejoin_flow::{Fingerprint, InputPosition};
use twox_hash::XxHash64;

use crate::input::Progress;
use crate::ready::RowCount;

/// Bytes of a file, at its head and before a place, by which it is known again; of a pipe, at its head.
pub(crate) const SAMPLE_BYTES: u64 = 4 << 10;

/// The open file, whatever its name stands for by now.
#[derive(Debug)]
pub(crate) struct StoredFile {
    file: Arc<File>,
    /// Its bytes when it was opened.
    bytes: u64,
    progress: Progress,
}

/// How a file may differ from what it was at a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Growth {
    /// More may have been appended.
    Appended,
    /// Not at all: what it is stands at its end.
    None,
}

/// What a file has that was cut off while it was read.
#[derive(Debug, Error)]
#[error("it has become shorter while it was read: {before} bytes were there, {left} are left")]
struct Shortened {
    before: u64,
    left: u64,
}

/// In what an input is not the one that a checkpoint was made of.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unlike {
    /// It ends before the place.
    #[error("it has {bytes} bytes, fewer than the {before} that were there")]
    Shorter {
        /// What it has to have.
        before: u64,
        /// What it has.
        bytes: u64,
    },
    /// A packed text or a pipe ends before the place.
    #[error("it ends before what was read of it")]
    Ends,
    /// A file that may not grow has another length.
    #[error("it has {bytes} bytes, and had {before}")]
    Length {
        /// What it had.
        before: u64,
        /// What it has.
        bytes: u64,
    },
    /// Other bytes at its start.
    #[error("its first {bytes} bytes differ")]
    Head {
        /// How many were compared.
        bytes: u64,
    },
    /// Other bytes before the place, or at its end.
    #[error("the {bytes} bytes from byte {from} on differ")]
    Tail {
        /// Where they begin.
        from: u64,
        /// How many were compared.
        bytes: u64,
    },
    /// The place is behind a line that had no end and has been written on since.
    #[error("its last line then, line {line}, had no end, and has been written on since")]
    LastLine {
        /// The line.
        line: u64,
    },
    /// It has fewer rows than were read.
    #[error("it has {}, fewer than the {before} that were read", RowCount(*rows))]
    Rows {
        /// What was read.
        before: u64,
        /// What it has.
        rows: u64,
    },
    /// What was kept is of another number of inputs, or of another kind.
    #[error("what was kept of it is that of another kind of input")]
    Kind,
}

impl StoredFile {
    pub(crate) fn new(file: Arc<File>, bytes: u64, progress: Progress) -> Self {
        Self { file, bytes, progress }
    }

    /// How long it is now.
    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Where the next bytes are read from.
    pub(crate) fn offset(&self) -> io::Result<u64> {
        (&*self.file).stream_position()
    }

    /// Goes to another offset; what lies between counts as read.
    pub(crate) fn seek(&self, offset: u64) -> io::Result<()> {
        let before = self.offset()?;
        (&*self.file).seek(SeekFrom::Start(offset))?;
        self.progress.move_from(before, offset);
        Ok(())
    }

    /// Sees to it, at its end, that nothing was cut off meanwhile.
    ///
    /// # Errors
    /// If it was.
    pub(crate) fn check_whole(&self) -> io::Result<()> {
        let (read, left) = (self.offset()?, self.len()?);
        let before = self.bytes.max(read);
        // Files of the kernel have no length, and bytes all the same.
        if self.bytes == 0 || left >= before {
            return Ok(());
        }
        Err(io::Error::other(Shortened { before, left }))
    }

    /// Notes by what the file is known again: `place` is the offset of the place in a text
    /// that is not packed.
    pub(crate) fn stamp(&self, position: &mut InputPosition, place: Option<u64>) -> io::Result<()> {
        let bytes = self.len()?;
        let end = place.unwrap_or(bytes);
        let from = end.saturating_sub(SAMPLE_BYTES);
        position.file_bytes = Some(bytes);
        position.head = Some(self.fingerprint(0, bytes.min(SAMPLE_BYTES))?);
        position.tail = Some(self.fingerprint(from, end - from)?);
        Ok(())
    }

    /// Compares it with what was noted of it; what was not a file then is not compared.
    pub(crate) fn compare(&self, position: &InputPosition, growth: Growth) -> io::Result<Result<(), Unlike>> {
        let bytes = self.len()?;
        let Some(before) = position.file_bytes else { return Ok(Ok(())) };
        if growth == Growth::None && bytes != before {
            return Ok(Err(Unlike::Length { before, bytes }));
        }
        let samples = [position.head, position.tail];
        let needed = samples.into_iter().flatten().map(|sample| sample.from.saturating_add(sample.bytes));
        if let Some(before) = needed.max().filter(|&needed| needed > bytes) {
            return Ok(Err(Unlike::Shorter { before, bytes }));
        }
        for (sample, is_head) in [(position.head, true), (position.tail, false)] {
            let Some(Fingerprint { from, bytes, .. }) = sample else { continue };
            if bytes > SAMPLE_BYTES {
                return Ok(Err(Unlike::Kind));
            }
            if sample != Some(self.fingerprint(from, bytes)?) {
                return Ok(Err(if is_head { Unlike::Head { bytes } } else { Unlike::Tail { from, bytes } }));
            }
        }
        Ok(Ok(()))
    }

    fn fingerprint(&self, from: u64, bytes: u64) -> io::Result<Fingerprint> {
        // No more than a sample.
        let mut sample = vec![0; bytes as usize];
        self.file.read_exact_at(&mut sample, from)?;
        Ok(Fingerprint { from, bytes, hash: XxHash64::oneshot(0, &sample) })
    }
}
