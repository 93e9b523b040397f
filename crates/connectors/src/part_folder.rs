//! The folder of an output that is written in parts: their names, the list of those that
//! are whole, and how a later run takes it up.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tradejoin_disk::{Disk, Lock, Mode, Replaced};
use tradejoin_flow::{OutputPosition, StagedPart};

use crate::error::{CreateError, WriteError};
use crate::prepared::{failed, is_partial_of};
use crate::resume_error::ResumeError;
use crate::trail::Trail;

/// The list of the parts. Readers of folders pass over names that begin so.
const LIST: &str = "_manifest.json";
const LIST_PARTIAL: &str = "_manifest.json.partial";
const LIST_FORMAT: u32 = 1;
/// The file that a run locks as long as it may write in the folder. Readers pass over this one,
/// too. It stays: whoever removed it might remove one that another run has just locked.
const LOCK: &str = ".lock";
/// The most bytes of it that are read: more than it has of as many parts as there may be.
const LIST_BYTES_MAX: usize = 256 << 20;
/// The most parts of an output.
const PARTS_MAX: usize = 1_000_000;
/// What parts end in.
const ENDINGS: [&str; 2] = ["parquet", "arrow"];

/// A part that is whole and has its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct List {
    format: u32,
    is_complete: bool,
    rows: u64,
    bytes: u64,
    parts: Vec<Part>,
}

/// A folder that is this run's as long as this is there, and what its parts end in.
#[derive(Debug)]
pub(crate) struct PartFolder {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) path: PathBuf,
    ending: &'static str,
    /// What tells parts of this run that are not whole from those of others.
    owner: String,
    lock: Lock,
}

/// What a name is that is given here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name<'n> {
    /// A part that is whole: its number.
    Part(u64),
    /// One that is not: its owner.
    Partial(&'n str),
}

impl<'n> Name<'n> {
    fn read(name: &'n str) -> Option<Self> {
        let Some(inner) = name.strip_prefix('.') else { return number_of(name).map(Self::Part) };
        let (whole, owner) = inner.strip_suffix(".partial")?.rsplit_once('.')?;
        number_of(whole)?;
        is_partial_of(inner, whole).then_some(Self::Partial(owner))
    }
}

/// The number of a part, by its name.
fn number_of(name: &str) -> Option<u64> {
    let (stem, ending) = name.rsplit_once('.')?;
    let number = stem.strip_prefix("part-")?.parse().ok()?;
    (ENDINGS.contains(&ending) && name == part_name(number, ending)).then_some(number)
}

fn part_name(number: u64, ending: &str) -> String {
    format!("part-{number:06}.{ending}")
}

/// Whether a folder has parts that are whole.
pub(crate) fn has_parts(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    let is_whole = |name: &String| name == LIST || matches!(Name::read(name), Some(Name::Part(_)));
    Ok(disk.list(path)?.iter().any(is_whole))
}

impl From<&StagedPart> for Part {
    fn from(staged: &StagedPart) -> Self {
        Self { name: staged.name.clone(), rows: staged.rows, bytes: staged.bytes }
    }
}

impl PartFolder {
    /// A folder that is there, for this run alone.
    ///
    /// # Errors
    /// If another run writes there, it is missing, or the system refuses.
    pub(crate) fn lock(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        ending: &'static str,
        owner: &str,
    ) -> Result<Self, ResumeError> {
        let at = path.join(LOCK);
        // Several users may write to the folder.
        match disk.lock(&at, Mode::Shared) {
            Ok(Some(lock)) => Ok(Self { disk, path, ending, owner: owner.to_owned(), lock }),
            Ok(None) => Err(ResumeError::InUse { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ResumeError::Missing { path }),
            Err(error) => Err(ResumeError::io(&at, error)),
        }
    }

    /// Refuses parts of another run, and says so if it is at work.
    pub(crate) fn refuse_others(
        disk: &Arc<dyn Disk>,
        path: &Path,
        target_name: &Arc<str>,
    ) -> Result<(), CreateError> {
        let failed = |source| CreateError::Io { target_name: Arc::clone(target_name), source };
        if !has_parts(&**disk, path).map_err(failed)? {
            return Ok(());
        }
        // Nothing is left in a folder of others.
        let is_locked = disk.size(&path.join(LOCK)).is_ok_and(|size| size.is_some());
        match is_locked.then(|| Self::lock(Arc::clone(disk), path.to_owned(), ENDINGS[0], "")) {
            Some(Err(in_use @ ResumeError::InUse { .. })) => Err(in_use.into()),
            _ => Err(CreateError::OtherParts { target_name: Arc::clone(target_name) }),
        }
    }

    /// Refuses a folder that is not the one any more which was locked.
    pub(crate) fn check_lock(&self) -> Result<(), WriteError> {
        let path = self.at(LOCK);
        match self.lock.is_at(&path) {
            Ok(true) => Ok(()),
            Ok(false) => Err(failed(&path, Replaced)),
            Err(error) => Err(failed(&path, error)),
        }
    }

    /// Refuses parts that have lost their names, or bytes.
    pub(crate) fn check_sizes(&self, parts: &[Part]) -> Result<(), ResumeError> {
        parts.iter().try_for_each(|part| self.check_size(&self.at(&part.name), part.bytes))
    }

    /// The name of a part.
    pub(crate) fn name(&self, number: u64) -> String {
        part_name(number, self.ending)
    }

    /// Its name until it is whole.
    pub(crate) fn partial(&self, number: u64) -> String {
        format!(".{}.{}.partial", self.name(number), self.owner)
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Removes parts of this run that are not whole, and those from a number on. What others
    /// have left may be what a checkpoint of theirs tells of.
    pub(crate) fn remove_from(&self, next: u64) -> io::Result<()> {
        for name in self.disk.list(&self.path)? {
            let goes = match Name::read(&name) {
                Some(Name::Part(number)) => number >= next,
                Some(Name::Partial(owner)) => owner == self.owner,
                None => false,
            };
            if goes {
                self.disk.remove(&self.at(&name))?;
            }
        }
        Ok(())
    }

    /// Gives a part its name, which is no other's.
    pub(crate) fn give_name(&self, part: &StagedPart) -> io::Result<()> {
        let (partial, path) = (self.at(&part.partial), self.at(&part.name));
        if self.disk.size(&path)?.is_some() {
            let text = format!("{} is there already: another run has written it", part.name);
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        self.disk.rename(&partial, &path)
    }

    /// Refuses an output of more parts than can be listed. To be asked before a checkpoint tells of
    /// them: the one before can be gone on from then.
    pub(crate) fn check_count(parts: usize) -> io::Result<()> {
        if parts <= PARTS_MAX {
            return Ok(());
        }
        let text = format!(
            "the output would have {parts} parts of at most {PARTS_MAX}: go on in another folder, with checkpoints \
             less often, since each ends a part"
        );
        Err(io::Error::new(io::ErrorKind::FileTooLarge, text))
    }

    /// Writes the list of the parts in place of the one that is there.
    pub(crate) fn write_list(&self, parts: &[Part], is_complete: bool) -> io::Result<()> {
        let (rows, bytes) =
            (parts.iter().map(|part| part.rows).sum(), parts.iter().map(|part| part.bytes).sum());
        let list = List { format: LIST_FORMAT, is_complete, rows, bytes, parts: parts.to_vec() };
        let temporary = self.at(LIST_PARTIAL);
        if !matches!(self.disk.size(&temporary), Ok(None)) {
            // What a run has left that died while it wrote the list.
            self.disk.remove(&temporary)?;
        }
        let mut file = self.disk.create(&temporary, Mode::Shared)?;
        file.write_all(&serde_json::to_vec_pretty(&list)?)?;
        file.write_all(b"\n")?;
        file.sync()?;
        self.disk.rename(&temporary, &self.at(LIST))?;
        self.disk.sync_folder(&self.path)
    }

    /// The parts that a checkpoint tells of, all of which have their names when this is
    /// done; nothing is changed if it is refused.
    pub(crate) fn take_up(&self, position: &OutputPosition) -> Result<Vec<Part>, ResumeError> {
        let mut parts = self.listed(position.parts)?;
        for part in &parts {
            self.check_size(&self.at(&part.name), part.bytes)?;
        }
        let mut to_name = Vec::new();
        for (number, staged) in (position.parts..).zip(&position.staged) {
            // Earlier versions had no owner in the name.
            let is_partial = |inner: &str| {
                is_partial_of(inner, &staged.name) || inner.strip_suffix(".partial") == Some(&staged.name)
            };
            let is_partial = staged.partial.strip_prefix('.').is_some_and(is_partial);
            if staged.name != self.name(number) || !is_partial {
                return Err(ResumeError::Other { name: position.name.clone() });
            }
            let (partial, path) = (self.at(&staged.partial), self.at(&staged.name));
            if self.size(&partial)?.is_some() {
                self.check(&partial, staged)?;
                if self.size(&path)?.is_some() {
                    return Err(ResumeError::OtherPart { path });
                }
                to_name.push(staged);
            } else {
                // It has its name already.
                self.check(&path, staged)?;
            }
            parts.push(staged.into());
        }
        for staged in to_name {
            self.give_name(staged).map_err(|source| ResumeError::io(&self.at(&staged.partial), source))?;
        }
        let failed = |source| ResumeError::io(&self.path, source);
        self.disk.sync_folder(&self.path).map_err(failed)?;
        self.remove_from(parts.len() as u64).map_err(failed)?;
        self.write_list(&parts, position.is_complete).map_err(failed)?;
        Ok(parts)
    }

    /// The first `count` parts of the list.
    fn listed(&self, count: u64) -> Result<Vec<Part>, ResumeError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let path = self.at(LIST);
        if self.size(&path)?.is_none() {
            return Err(ResumeError::Missing { path });
        }
        let edited = || ResumeError::Edited { path: path.clone() };
        let text = self.disk.read_part(&path, 0, LIST_BYTES_MAX + 1);
        let text = text.map_err(|source| ResumeError::io(&path, source))?;
        if text.len() > LIST_BYTES_MAX {
            return Err(edited());
        }
        let mut list: List = serde_json::from_slice(&text).map_err(|_| edited())?;
        let count = usize::try_from(count).map_err(|_| edited())?;
        list.parts.truncate(count);
        let names = list.parts.iter().enumerate();
        let is_ours = names.fold(true, |ours, (at, part)| ours && part.name == self.name(at as u64));
        if list.parts.len() < count || !is_ours { Err(edited()) } else { Ok(list.parts) }
    }

    fn size(&self, path: &Path) -> Result<Option<u64>, ResumeError> {
        self.disk.size(path).map_err(|source| ResumeError::io(path, source))
    }

    fn check_size(&self, path: &Path, bytes: u64) -> Result<(), ResumeError> {
        let path = path.to_owned();
        match self.size(&path)? {
            None => Err(ResumeError::Missing { path }),
            Some(size) if size < bytes => Err(ResumeError::Shorter { path, bytes, short: bytes - size }),
            Some(size) if size > bytes => Err(ResumeError::Edited { path }),
            Some(_) => Ok(()),
        }
    }

    fn check(&self, path: &Path, staged: &StagedPart) -> Result<(), ResumeError> {
        self.check_size(path, staged.bytes)?;
        let hash = self.hash(path).map_err(|source| ResumeError::io(path, source))?;
        if hash == staged.hash { Ok(()) } else { Err(ResumeError::Edited { path: path.to_owned() }) }
    }

    fn hash(&self, path: &Path) -> io::Result<u64> {
        let (mut reader, mut trail, mut buffer) =
            (self.disk.reader(path)?, Trail::whole(), vec![0; 128 << 10]);
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(trail.hash()),
                Ok(len) => trail.note(&buffer[..len]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Gives the parts of a folder their names that were whole when their run died.
pub(crate) fn republish(disk: &Arc<dyn Disk>, position: &OutputPosition) -> Result<(), ResumeError> {
    let path = PathBuf::from(&position.name);
    let staged = position.staged.first();
    let of_staged = staged.and_then(|part| part.name.rsplit_once('.'));
    let of_staged = of_staged.and_then(|(_, ending)| ENDINGS.into_iter().find(|known| *known == ending));
    // Without a part that tells it, the first of the list does.
    let ending = of_staged.unwrap_or_else(|| {
        let is_first =
            |ending: &&'static str| matches!(disk.size(&path.join(part_name(0, ending))), Ok(Some(_)));
        ENDINGS.into_iter().find(is_first).unwrap_or(ENDINGS[0])
    });
    let owner = match staged.and_then(|part| Name::read(&part.partial)) {
        Some(Name::Partial(owner)) => owner,
        // Nothing is left that is not whole.
        _ => "",
    };
    PartFolder::lock(Arc::clone(disk), path, ending, owner)?.take_up(position).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_checkpoint_has_more_parts_than_a_list_that_is_read() {
        PartFolder::check_count(PARTS_MAX).expect("as many as may be");
        let error = PartFolder::check_count(PARTS_MAX + 1).expect_err("too many");
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert!(error.to_string().starts_with("the output would have 1000001 parts of at most"), "{error}");
        // Each as long as it can be.
        let part = Part { name: "part-1000000.parquet".to_owned(), rows: u64::MAX, bytes: u64::MAX };
        let list =
            List { format: LIST_FORMAT, is_complete: true, rows: 0, bytes: 0, parts: vec![part; 1_000] };
        let text = serde_json::to_vec_pretty(&list).expect("JSON");
        assert!(text.len() * (PARTS_MAX / 1_000) < LIST_BYTES_MAX, "{}", text.len());
    }

    #[test]
    fn only_names_that_are_given_here_are_ours() {
        assert_eq!(Name::read("part-000012.parquet"), Some(Name::Part(12)));
        assert_eq!(Name::read(".part-1234567.arrow.a1.partial"), Some(Name::Partial("a1")));
        for other in [
            "part-12.parquet",
            "part-0000012.parquet",
            "part-000012.csv",
            "part-+00012.arrow",
            ".part-000012.arrow",
            ".part-000012.arrow.partial",
            ".part-000012.arrow..partial",
            ".part-000012.arrow.A1.partial",
            ".part-12.arrow.a1.partial",
            "part-000012.arrow.a1.partial",
            "part-.arrow",
            "_manifest.json",
            ".lock",
            "part-000012.parquet.x",
        ] {
            assert_eq!(Name::read(other), None, "{other}");
        }
    }
}
