//! A disk in memory, of which a crash takes what was not made durable.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile, Mode};

/// Bytes that reach the medium whole or not at all.
const SECTOR: usize = 512;

/// A disk in memory. What a [crash](Self::crash) leaves is no more than a file system
/// promises: bytes that were synced, names whose folder was synced, and of everything
/// else what chance will have. A clone is the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Debug, Default)]
struct State {
    files: Vec<Contents>,
    names: Names,
    /// The names as they are on the medium.
    durable: Names,
    /// Changes of names that may not be there yet, in their order.
    pending: Vec<Change>,
    capacity: Option<u64>,
}

/// The bytes of a file.
#[derive(Clone, Debug, Default)]
struct Contents {
    now: Vec<u8>,
    /// As they were synced last.
    synced: Vec<u8>,
}

/// What is in the folders. The one that everything begins in is always there.
#[derive(Clone, Debug, Default)]
struct Names {
    files: BTreeMap<PathBuf, usize>,
    folders: BTreeSet<PathBuf>,
}

/// One change of names: it is there as a whole or not at all.
#[derive(Clone, Debug)]
enum Change {
    Create { path: PathBuf, file: usize },
    Rename { from: PathBuf, to: PathBuf, file: usize },
    Remove { path: PathBuf },
    Folder { path: PathBuf },
}

#[derive(Debug)]
struct SimulatedFile {
    state: Arc<Mutex<State>>,
    file: usize,
}

impl SimulatedDisk {
    /// An empty disk, as large as memory is.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets it hold so many bytes from now on, or without a number any.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// How many bytes its files have.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.state().bytes()
    }

    /// What is left when the power fails now, one of the many things that may be.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let mut chance = Chance(seed);
        let mut state = self.state().clone();
        let mut names = std::mem::take(&mut state.durable);
        // A file system may reorder what it does to different names.
        for change in state.pending.drain(..) {
            if chance.below(2) == 0 {
                names.apply(&change);
            }
        }
        names.forget_orphans();
        for contents in &mut state.files {
            contents.now = contents.after_crash(&mut chance);
            contents.synced = contents.now.clone();
        }
        state.durable = names.clone();
        state.names = names;
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The folder that a path is in.
fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn error(kind: io::ErrorKind) -> io::Error {
    kind.into()
}

impl Change {
    /// Whether it is durable once this folder is.
    fn is_in(&self, folder: &Path) -> bool {
        match self {
            Self::Create { path, .. } | Self::Remove { path } | Self::Folder { path } => {
                folder_of(path) == folder
            }
            Self::Rename { to, .. } => folder_of(to) == folder,
        }
    }
}

impl Names {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Create { path, file } => drop(self.files.insert(path.clone(), *file)),
            Change::Rename { from, to, file } => {
                // The old name may not have become durable, or be another file's by now.
                if self.files.get(from) == Some(file) {
                    self.files.remove(from);
                }
                self.files.insert(to.clone(), *file);
            }
            Change::Remove { path } => drop(self.files.remove(path)),
            Change::Folder { path } => drop(self.folders.insert(path.clone())),
        }
    }

    fn has_folder(&self, path: &Path) -> bool {
        path.as_os_str().is_empty() || path == Path::new("/") || self.folders.contains(path)
    }

    /// Without its folder nothing is there.
    fn forget_orphans(&mut self) {
        let folders = std::mem::take(&mut self.folders);
        // A folder sorts before those in it.
        for folder in folders {
            if self.has_folder(folder_of(&folder)) {
                self.folders.insert(folder);
            }
        }
        let mut files = std::mem::take(&mut self.files);
        files.retain(|path, _| self.has_folder(folder_of(path)));
        self.files = files;
    }
}

impl Contents {
    /// What was synced and has not changed since stays; elsewhere each sector is what it
    /// is now, what it was, or zeros, and the length is anything between.
    fn after_crash(&self, chance: &mut Chance) -> Vec<u8> {
        let (least, most) = (self.now.len().min(self.synced.len()), self.now.len().max(self.synced.len()));
        let len = match chance.below(4) {
            0 => self.synced.len(),
            1 => self.now.len(),
            _ => least + chance.below(most - least + 1),
        };
        let mut left = vec![0; len];
        for (number, sector) in left.chunks_mut(SECTOR).enumerate() {
            let start = number * SECTOR;
            let part = |bytes: &[u8]| -> Vec<u8> {
                let end = bytes.len().min(start + sector.len());
                let mut part = bytes.get(start..end).unwrap_or_default().to_vec();
                part.resize(sector.len(), 0);
                part
            };
            let (now, synced) = (part(&self.now), part(&self.synced));
            match chance.below(3) {
                0 => sector.copy_from_slice(&now),
                1 => sector.copy_from_slice(&synced),
                _ => {
                    // What was durable does not turn to zeros.
                    let kept = now.iter().zip(&synced).take_while(|(now, synced)| now == synced).count();
                    let kept = kept.min(self.synced.len().saturating_sub(start));
                    sector[..kept].copy_from_slice(&now[..kept]);
                }
            }
        }
        left
    }
}

impl State {
    fn bytes(&self) -> u64 {
        let linked: BTreeSet<usize> = self.names.files.values().copied().collect();
        linked.into_iter().map(|file| self.files[file].now.len() as u64).sum()
    }

    fn room(&self) -> usize {
        let room = self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.bytes()));
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    fn change(&mut self, change: Change) {
        self.names.apply(&change);
        self.pending.push(change);
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        self.names.files.get(path).copied().ok_or_else(|| error(io::ErrorKind::NotFound))
    }
}

impl Disk for SimulatedDisk {
    fn create(&self, path: &Path, _: Mode) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        if state.names.files.contains_key(path) || state.names.has_folder(path) {
            return Err(error(io::ErrorKind::AlreadyExists));
        }
        if !state.names.has_folder(folder_of(path)) {
            return Err(error(io::ErrorKind::NotFound));
        }
        let file = state.files.len();
        state.files.push(Contents::default());
        state.change(Change::Create { path: path.to_owned(), file });
        Ok(Box::new(SimulatedFile { state: Arc::clone(&self.state), file }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = self.state().file(path)?;
        Ok(Box::new(SimulatedFile { state: Arc::clone(&self.state), file }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.state();
        Ok(state.files[state.file(path)?].now.clone())
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        let state = self.state();
        Ok(state.names.files.get(path).map(|&file| state.files[file].now.len() as u64))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let file = state.file(from)?;
        if !state.names.has_folder(folder_of(to)) {
            return Err(error(io::ErrorKind::NotFound));
        }
        state.change(Change::Rename { from: from.to_owned(), to: to.to_owned(), file });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.file(path)?;
        state.change(Change::Remove { path: path.to_owned() });
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if !state.names.has_folder(path) {
            return Err(error(io::ErrorKind::NotFound));
        }
        let (done, pending) =
            std::mem::take(&mut state.pending).into_iter().partition(|change| change.is_in(path));
        state.pending = pending;
        let done: Vec<Change> = done;
        done.iter().for_each(|change| state.durable.apply(change));
        Ok(())
    }

    fn create_folder(&self, path: &Path, _: Mode) -> io::Result<()> {
        let mut state = self.state();
        if state.names.has_folder(path) {
            return Ok(());
        }
        if state.names.files.contains_key(path) {
            return Err(error(io::ErrorKind::AlreadyExists));
        }
        if !state.names.has_folder(folder_of(path)) {
            return Err(error(io::ErrorKind::NotFound));
        }
        state.change(Change::Folder { path: path.to_owned() });
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        if !state.names.has_folder(path) {
            return Err(error(io::ErrorKind::NotFound));
        }
        let inside = state.names.files.keys().chain(&state.names.folders);
        let inside = inside.filter(|other| !other.as_os_str().is_empty() && folder_of(other) == path);
        let mut names: Vec<_> =
            inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect();
        names.sort();
        Ok(names)
    }
}

impl SimulatedFile {
    fn with<T>(&self, act: impl FnOnce(&mut State, usize) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner), self.file)
    }
}

impl Write for SimulatedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|state, file| {
            let written = bytes.len().min(state.room());
            if written == 0 && !bytes.is_empty() {
                return Err(error(io::ErrorKind::StorageFull));
            }
            state.files[file].now.extend_from_slice(&bytes[..written]);
            Ok(written)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for SimulatedFile {
    fn sync(&mut self) -> io::Result<()> {
        self.with(|state, file| {
            let contents = &mut state.files[file];
            contents.synced.clone_from(&contents.now);
        });
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| error(io::ErrorKind::FileTooLarge))?;
        self.with(|state, file| {
            if len.saturating_sub(state.files[file].now.len()) > state.room() {
                return Err(error(io::ErrorKind::StorageFull));
            }
            state.files[file].now.resize(len, 0);
            Ok(())
        })
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.with(|state, file| state.files[file].now.len() as u64))
    }

    fn another(&self) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Self { state: Arc::clone(&self.state), file: self.file }))
    }
}

/// Chance that a seed decides: SplitMix64.
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^= word >> 31;
        // Less than `end`, which is a length in memory.
        (word % end.max(1) as u64) as usize
    }
}

#[cfg(test)]
#[path = "simulated/tests.rs"]
mod tests;
