//! Dead letters in several files: one that is long enough is completed, and the next begins.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::num::NonZeroU32;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memchr::memchr_iter;
use thiserror::Error;
use tradejoin_disk::Disk;
use tradejoin_flow::{BoxError, End, OutputPosition, Prepared};

use crate::encoding::Location;
use crate::error::{Category, CreateError};
use crate::output::{Output, OutputOptions, OutputPiece};
use crate::prepared::{self, Kept};
use crate::resume_error::ResumeError;
use crate::target::resolve_links;

/// Files that are complete and wait for a checkpoint; more of them are synced at once, so that
/// not too many are open.
const CLOSED_MAX: usize = 16;

/// When dead letters go on in another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetterRotation {
    /// Bytes of lines, before they are packed, at which a file is long enough: it has more only
    /// if a single letter has.
    pub file_bytes_max: u64,
    /// How many files stay, the one that is written counted: older ones are removed and
    /// [counted](DroppedLetters). `None` for all. Not for a run that is kept: a checkpoint may
    /// go on in a file that is gone.
    pub files_max: Option<NonZeroU32>,
}

/// Why dead letters cannot go on in several files.
#[derive(Debug, Error)]
pub enum LetterFilesError {
    /// They are to be written to something else.
    #[error("{target_name}: dead letters go on in other files only where they are in files")]
    NoFile {
        /// What it is.
        target_name: Arc<str>,
    },
    /// Files of another run would be mixed with those of this one.
    #[error(
        "{target_name}: there are numbered files of another run beside it: name another file, or move them away"
    )]
    Others {
        /// The first file.
        target_name: Arc<str>,
    },
}

impl LetterFilesError {
    /// The kind of failure.
    #[must_use]
    pub fn category(&self) -> Category {
        match self {
            Self::NoFile { .. } => Category::Usage,
            Self::Others { .. } => Category::CannotCreate,
        }
    }
}

/// Letters that were written and removed again, with their files. Clones speak of the same ones.
#[derive(Clone, Debug, Default)]
pub struct DroppedLetters(Arc<Dropped>);

#[derive(Debug, Default)]
struct Dropped {
    files: AtomicU64,
    letters: AtomicU64,
}

impl DroppedLetters {
    /// How many files were removed.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.0.files.load(Ordering::Relaxed)
    }

    /// How many letters were in them.
    #[must_use]
    pub fn letters(&self) -> u64 {
        self.0.letters.load(Ordering::Relaxed)
    }

    fn add(&self, letters: u64) {
        self.0.files.fetch_add(1, Ordering::Relaxed);
        self.0.letters.fetch_add(letters, Ordering::Relaxed);
    }
}

/// What stands before and behind the number in the name of a file.
fn around_number(base: &Path) -> (&[u8], &[u8]) {
    let name = base.file_name().map(OsStr::as_bytes).unwrap_or_default();
    let packed = [".gz", ".zst"].into_iter().find(|ending| name.ends_with(ending.as_bytes()));
    let plain = &name[..name.len() - packed.map_or(0, str::len)];
    // A name may begin with a point.
    let at = plain.iter().rposition(|&byte| byte == b'.').filter(|at| *at > 0).unwrap_or(plain.len());
    name.split_at(at)
}

/// The path of a file: the first has the name that was given, others have their number before
/// the ending, in digits that bring names to the order of numbers.
fn numbered(base: &Path, number: u64) -> PathBuf {
    if number == 0 {
        return base.to_owned();
    }
    let (before, behind) = around_number(base);
    let name = [before, format!(".{number:06}").as_bytes(), behind].concat();
    base.with_file_name(OsString::from_vec(name))
}

/// Whether `path` has a name that dead letters in several files may get, the first of which
/// is `base`, beside that of the first.
#[must_use]
pub fn is_letter_file(base: &Path, path: &Path) -> bool {
    number_of(base, path).is_some_and(|number| number > 0)
}

/// The number of a file, if it is one of those of `base`.
fn number_of(base: &Path, path: &Path) -> Option<u64> {
    if path == base {
        return Some(0);
    }
    let (before, behind) = around_number(base);
    let name = path.file_name()?.as_bytes().strip_prefix(before)?.strip_suffix(behind)?;
    let number = std::str::from_utf8(name.strip_prefix(b".")?).ok()?.parse().ok()?;
    (number > 0 && numbered(base, number) == path).then_some(number)
}

/// The files of dead letters, one of which is written.
pub(crate) struct LetterFiles {
    base: PathBuf,
    rotation: LetterRotation,
    /// For the file after this one.
    options: OutputOptions,
    /// The one that is written, its number, and the bytes and letters of it.
    output: Output,
    /// The file that had its name when it was begun.
    there: Option<(u64, u64)>,
    number: u64,
    bytes: u64,
    letters: u64,
    /// Bytes of lines in those before.
    bytes_before: u64,
    /// Those that are complete and wait for a checkpoint.
    closed: Vec<Closed>,
    /// Those that are complete and stay, with their letters.
    complete: VecDeque<(PathBuf, u64)>,
    dropped: DroppedLetters,
    part: OutputPiece,
}

impl LetterFiles {
    /// Begins the first file, or goes on with the one that a checkpoint tells of.
    pub(crate) fn create(options: OutputOptions, rotation: LetterRotation) -> Result<Self, CreateError> {
        let target_name = options.location.output_name();
        let Location::Path(base) = options.location.clone() else {
            return Err(LetterFilesError::NoFile { target_name }.into());
        };
        let io = |source| CreateError::Io { target_name: Arc::clone(&target_name), source };
        let base = resolve_links(&base).map_err(io)?;
        let disk = Arc::clone(options.kept.as_ref().map_or(&options.disk, |kept| &kept.disk));
        let from = options.kept.as_ref().and_then(|kept| kept.from.as_ref());
        let (number, bytes, bytes_before) = match from {
            Some(from) => {
                let number = number_of(&base, Path::new(&from.name));
                let number = number.ok_or_else(|| ResumeError::Other { name: from.name.clone() })?;
                (number, from.bytes, from.bytes_before)
            }
            None => {
                if std::fs::metadata(&base).is_ok_and(|there| !there.is_file()) {
                    return Err(LetterFilesError::NoFile { target_name }.into());
                }
                if has_others(&*disk, &base).map_err(io)? {
                    return Err(LetterFilesError::Others { target_name }.into());
                }
                (0, 0, 0)
            }
        };
        let path = numbered(&base, number);
        let there = file_of(&path);
        let output = Output::create(OutputOptions { location: Location::Path(path), ..options.clone() })?;
        let kept = options.kept.map(|kept| Kept { from: None, ..kept });
        Ok(Self {
            base,
            rotation,
            options: OutputOptions { kept, ..options },
            output,
            there,
            number,
            bytes,
            letters: 0,
            bytes_before,
            closed: Vec::new(),
            complete: VecDeque::new(),
            dropped: DroppedLetters::default(),
            part: OutputPiece::default(),
        })
    }

    pub(crate) fn output(&self) -> &Output {
        &self.output
    }

    pub(crate) fn dropped(&self) -> DroppedLetters {
        self.dropped.clone()
    }

    /// Writes lines, each to the file that it belongs to whatever else comes with it.
    pub(crate) fn write(&mut self, lines: &[u8]) -> Result<(), BoxError> {
        let mut rest = lines;
        while !rest.is_empty() {
            let (len, letters) = self.fitting(rest);
            if len == 0 {
                self.rotate()?;
                continue;
            }
            let (lines, behind) = rest.split_at(len);
            let text = self.part.text();
            text.clear();
            text.extend_from_slice(lines);
            self.output.write_piece(&mut self.part)?;
            self.bytes += len as u64;
            self.letters += letters;
            rest = behind;
        }
        Ok(())
    }

    /// How much of these lines the file has room for, and how many those are.
    fn fitting(&self, lines: &[u8]) -> (usize, u64) {
        let room = self.rotation.file_bytes_max.saturating_sub(self.bytes);
        let mut fitting = (0, 0);
        for end in memchr_iter(b'\n', lines) {
            let len = end + 1;
            // A file has one letter at least.
            let is_first = self.bytes == 0 && fitting.1 == 0;
            if len as u64 > room && !is_first {
                break;
            }
            fitting = (len, fitting.1 + 1);
        }
        fitting
    }

    /// Completes the file, and begins the next.
    fn rotate(&mut self) -> Result<(), BoxError> {
        let path = numbered(&self.base, self.number);
        if self.options.kept.is_some() {
            let prepared = self.output.prepare(Some(End::Complete))?;
            self.closed.push(Closed { prepared, positions: None });
            if let Some(at) = self.closed.len().checked_sub(CLOSED_MAX) {
                self.closed[at].sync()?;
            }
        } else {
            self.check_alone()?;
            self.output.close(End::Complete)?;
            self.complete.push_back((path, self.letters));
            self.drop_oldest()?;
        }
        self.number += 1;
        let path = numbered(&self.base, self.number);
        self.there = file_of(&path);
        let location = Location::Path(path);
        self.output = Output::create(OutputOptions { location, ..self.options.clone() })?;
        self.bytes_before += std::mem::take(&mut self.bytes);
        self.letters = 0;
        self.check_alone()
    }

    /// Refuses a name that another run has given a file since this one began: at the beginning
    /// there was no numbered one.
    fn check_alone(&self) -> Result<(), BoxError> {
        let there = file_of(&numbered(&self.base, self.number));
        if self.options.kept.is_some() || (there == self.there && (self.number == 0 || there.is_none())) {
            return Ok(());
        }
        let target_name = self.options.location.output_name();
        Err(CreateError::from(LetterFilesError::Others { target_name }).into())
    }

    /// Removes files that are too many once the next one is there.
    fn drop_oldest(&mut self) -> Result<(), BoxError> {
        let Some(files_max) = self.rotation.files_max else { return Ok(()) };
        while self.complete.len() >= files_max.get() as usize {
            let Some((path, letters)) = self.complete.pop_front() else { break };
            match self.options.disk.remove(&path) {
                Ok(()) => self.dropped.add(letters),
                // Somebody has taken it away.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(prepared::failed(&path, error).into()),
            }
        }
        Ok(())
    }

    pub(crate) fn prepare(&mut self, end: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        if end == Some(End::Complete) {
            self.check_alone()?;
        }
        let current = self.output.prepare(end)?;
        let closed = std::mem::take(&mut self.closed);
        Ok(Box::new(PreparedLetters { closed, current, bytes_before: self.bytes_before }))
    }
}

/// What tells a file from another one that has its name.
fn file_of(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Whether there are files after the first, of another run.
fn has_others(disk: &dyn Disk, base: &Path) -> io::Result<bool> {
    let names = disk.list(prepared::folder(base))?;
    Ok(names.iter().any(|name| number_of(base, &base.with_file_name(name)).is_some_and(|number| number > 0)))
}

/// A file that is complete.
struct Closed {
    prepared: Box<dyn Prepared>,
    /// What it is, if it is durable.
    positions: Option<Vec<OutputPosition>>,
}

impl Closed {
    fn sync(&mut self) -> Result<(), BoxError> {
        if self.positions.is_none() {
            self.positions = Some(self.prepared.make_durable()?);
        }
        Ok(())
    }
}

/// The files that a checkpoint tells of: those that were completed since the one before, and
/// the one that is written.
struct PreparedLetters {
    closed: Vec<Closed>,
    current: Box<dyn Prepared>,
    bytes_before: u64,
}

impl Prepared for PreparedLetters {
    fn make_durable(&mut self) -> Result<Vec<OutputPosition>, BoxError> {
        let mut positions = Vec::new();
        for closed in &mut self.closed {
            closed.sync()?;
            positions.extend(closed.positions.take().into_iter().flatten());
        }
        let current = self.current.make_durable()?.into_iter();
        positions
            .extend(current.map(|current| OutputPosition { bytes_before: self.bytes_before, ..current }));
        Ok(positions)
    }

    fn publish(&mut self) -> Result<(), BoxError> {
        self.closed.iter_mut().try_for_each(|closed| closed.prepared.publish())?;
        self.current.publish()
    }
}

/// The files of dead letters among the outputs of a checkpoint, so that a run goes on with
/// them: those that were complete have their names when this is done, and the one that was
/// written is given. `None` if there is none.
///
/// # Errors
/// If what is there is not what the checkpoint tells, or the system refuses.
pub fn resume_letter_files(
    disk: &Arc<dyn Disk>,
    base: &Path,
    outputs: &[OutputPosition],
) -> Result<Option<OutputPosition>, ResumeError> {
    let base = resolve_links(base).map_err(|source| ResumeError::io(base, source))?;
    let is_ours = |output: &&OutputPosition| number_of(&base, Path::new(&output.name)).is_some();
    let mut current = None;
    for output in outputs.iter().filter(is_ours) {
        if output.is_complete {
            Output::republish(disk, output)?;
        } else {
            current = Some(output.clone());
        }
    }
    Ok(current)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_takes_no_numbered_file_of_another_that_began_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("d.jsonl");
        let begin = || {
            let schema = Arc::new(arrow_schema::Schema::empty());
            let location = Location::Path(path.clone());
            let options = OutputOptions::new(location, "jsonl".parse().expect("known"), schema);
            let rotation = LetterRotation { file_bytes_max: 10, files_max: None };
            LetterFiles::create(options, rotation).expect("there are no others")
        };
        let (mut first, mut second) = (begin(), begin());
        first.write(b"{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n").expect("written");
        let error = second.write(b"{\"b\":1}\n{\"b\":2}\n{\"b\":3}\n").expect_err("there is a second file");
        assert!(error.to_string().contains("numbered files of another run"), "{error}");
        for (name, letter) in [("d.jsonl", "{\"a\":1}\n"), ("d.000001.jsonl", "{\"a\":2}\n")] {
            assert_eq!(std::fs::read_to_string(folder.path().join(name)).expect("a file"), letter);
        }
    }

    #[test]
    fn files_are_numbered_before_their_ending() {
        for (base, number, name) in [
            ("f/put-aside.jsonl", 0, "f/put-aside.jsonl"),
            ("f/put-aside.jsonl", 1, "f/put-aside.000001.jsonl"),
            ("a.b.jsonl.gz", 12, "a.b.000012.jsonl.gz"),
            ("a.zst", 1_234_567, "a.1234567.zst"),
            ("letters", 2, "letters.000002"),
            (".hidden", 2, ".hidden.000002"),
        ] {
            let (base, path) = (Path::new(base), Path::new(name));
            assert_eq!(numbered(base, number), path);
            assert_eq!(number_of(base, path), Some(number));
        }
        for other in [
            "a.jsonl.gz",
            "a.1.jsonl",
            "a.000000.jsonl",
            "a.+00001.jsonl",
            "a.000001.jsonl.x",
            "f/a.000001.jsonl",
        ] {
            assert_eq!(number_of(Path::new("a.jsonl"), Path::new(other)), None, "{other}");
        }
    }
}
