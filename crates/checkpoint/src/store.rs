//! The folder with the checkpoints of a run.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tradejoin_disk::{Disk, Lock, Mode, Replaced};

use crate::checkpoint::{Checkpoint, PassedOver};
use crate::error::{CheckpointError, CheckpointErrorKind};
use crate::hash::hash_of;
use crate::keeper::{Job, Keeper};
use crate::manifest::{BYTES_MAX, Manifest};
use crate::names::{self, Name};

/// How often a folder is looked at all checkpoints of which are removed meanwhile.
const LOOKS_MAX: usize = 16;

/// The folder with the checkpoints of a run.
#[derive(Debug)]
pub struct Store {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    lock: Option<Lock>,
}

/// One of the checkpoints in a folder.
#[derive(Debug)]
pub struct Listed {
    /// Its number.
    pub epoch: u64,
    /// The manifest's file.
    pub path: PathBuf,
    /// The checkpoint, or what is wrong with it.
    pub state: Result<Checkpoint, CheckpointError>,
    /// Whether it is the one that [`Store::latest`] finds. None is if a run would be refused.
    pub is_latest: bool,
}

/// How much is read of checkpoints that are listed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Of those that a run would come to what it would read, of the others the lengths of files.
    ToTheLatest,
    /// All of them.
    All,
}

impl Store {
    /// Opens a folder, which is made unless it is there, for this run alone.
    ///
    /// # Errors
    /// If another run has it, it is another user's, others than its owner may write in it, or
    /// the system refuses.
    pub fn open(disk: Arc<dyn Disk>, folder: &Path) -> Result<Self, CheckpointError> {
        disk.create_folder(folder, Mode::Private).map_err(CheckpointError::io(folder, "make the folder"))?;
        if disk.is_open_to_others(folder).map_err(CheckpointError::io(folder, "look at it"))? {
            return Err(CheckpointError::Unsafe { folder: folder.to_owned() });
        }
        let owner = disk.other_owner(folder).map_err(CheckpointError::io(folder, "look at it"))?;
        if let Some(owner) = owner {
            return Err(CheckpointError::Foreign { folder: folder.to_owned(), owner });
        }
        let path = folder.join(names::LOCK);
        let lock = disk.lock(&path, Mode::Private).map_err(CheckpointError::io(&path, "lock it"))?;
        let Some(lock) = lock else { return Err(CheckpointError::Locked { folder: folder.to_owned() }) };
        Ok(Self { disk, folder: folder.to_owned(), lock: Some(lock) })
    }

    /// Opens a folder to look at it, while a run may have it.
    ///
    /// # Errors
    /// If it is missing.
    pub fn inspect(disk: Arc<dyn Disk>, folder: &Path) -> Result<Self, CheckpointError> {
        disk.list(folder).map_err(CheckpointError::io(folder, "list it"))?;
        Ok(Self { disk, folder: folder.to_owned(), lock: None })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What tells the files of the run that has this folder from those of others: 16 digits,
    /// made of the folder's name.
    #[must_use]
    pub fn owner(&self) -> String {
        // One that cannot be found out is told by how it was named.
        let folder = self.folder.canonicalize().unwrap_or_else(|_| self.folder.clone());
        format!("{:016x}", hash_of(folder.as_os_str().as_encoded_bytes()))
    }

    /// The newest checkpoint that is whole: its manifest is what was written, and so are
    /// its files. `None` if there is no checkpoint. In a folder that is
    /// [open](Self::open) it is durable from here on: whatever a run does with it, the
    /// power may fail and the next one finds it, too.
    ///
    /// # Errors
    /// If there are some and none is whole, or there must have been some; if a newer version
    /// has written the newest one; if the system refuses.
    pub fn latest(&self) -> Result<Option<Checkpoint>, CheckpointError> {
        let mut passed_over = Vec::new();
        let mut newest = None;
        for epoch in self.epochs()? {
            let checkpoint = self.read(epoch).and_then(|checkpoint| {
                checkpoint.check_files(true)?;
                Ok(checkpoint)
            });
            match checkpoint {
                Ok(checkpoint) => {
                    if self.lock.is_some() {
                        // Its run may have died before its name was.
                        self.sync()?;
                    }
                    return Ok(Some(Checkpoint { passed_over, ..checkpoint }));
                }
                Err(error) if error.kind() == CheckpointErrorKind::Damaged => {
                    passed_over.push(PassedOver { epoch, reason: error.to_string() });
                    newest.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        let folder = || self.folder.clone();
        match newest {
            Some(newest) => {
                let (count, newest) = (passed_over.len(), Box::new(newest));
                Err(CheckpointError::NoneIsWhole { folder: folder(), count, newest })
            }
            None if self.has_lost_manifests()? => Err(CheckpointError::ManifestsLost { folder: folder() }),
            None => Ok(None),
        }
    }

    /// Whether there is no checkpoint, but files that were written for one: by a run that died
    /// before it counted, or its manifest is gone.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    pub fn has_files_alone(&self) -> Result<bool, CheckpointError> {
        Ok(self.epochs()?.is_empty() && self.epoch_of_files()?.is_some())
    }

    /// All checkpoints, the newest first, but for those that a run removes meanwhile. They are
    /// held to their hashes as far as [`latest`](Self::latest) would look, down to the newest one
    /// that is whole; of the files of older ones only the lengths are looked at.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    pub fn all(&self) -> Result<Vec<Listed>, CheckpointError> {
        self.listed(Reading::ToTheLatest)
    }

    /// All checkpoints, the newest first, but for those that a run removes meanwhile, each
    /// read as a run would.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    pub fn verify(&self) -> Result<Vec<Listed>, CheckpointError> {
        self.listed(Reading::All)
    }

    /// Begins to keep a run: from one of the checkpoints, the tables of which it then
    /// need not be told, or from nothing. Later checkpoints than that are removed, and so
    /// is what none of the others needs.
    ///
    /// # Errors
    /// If the checkpoint is of another job, there are checkpoints and none is to be gone
    /// on from, the folder is not locked, or the system refuses.
    pub fn begin(self, job: Job, from: Option<&Checkpoint>) -> Result<Keeper, CheckpointError> {
        let Self { disk, folder, lock: Some(lock) } = self else {
            return Err(CheckpointError::Locked { folder: self.folder });
        };
        let store = Self { disk, folder, lock: Some(lock) };
        match from {
            Some(from) => {
                from.fits(&job)?;
                store.remove_later_than(from.manifest.epoch)?;
            }
            None if store.epochs()?.is_empty() => store.make_folder_durable()?,
            None => return Err(CheckpointError::Taken { folder: store.folder }),
        }
        Keeper::new(store, job, from)
    }

    /// Refuses a folder that is not the one any more which was locked.
    pub(crate) fn check_lock(&self) -> Result<(), CheckpointError> {
        let path = self.folder.join(names::LOCK);
        let is_ours = self.lock.as_ref().map_or(Ok(true), |lock| lock.is_at(&path));
        match is_ours.map_err(CheckpointError::io(&path, "look at it"))? {
            true => Ok(()),
            false => Err(CheckpointError::Gone { lock: path, source: Replaced }),
        }
    }

    /// Removes all checkpoints. If it is cut short, it is to be called again.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn clear(&self) -> Result<(), CheckpointError> {
        self.remove_later_than(0)?;
        self.remove_unless(|_| false)
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// The numbers of the checkpoints, the newest first.
    pub(crate) fn epochs(&self) -> Result<Vec<u64>, CheckpointError> {
        let names = self.names()?;
        let epoch = |name: &String| match Name::read(name) {
            Some(Name::Manifest { epoch }) => Some(epoch),
            _ => None,
        };
        let mut epochs: Vec<_> = names.iter().filter_map(epoch).collect();
        epochs.sort_unstable_by(|a, b| b.cmp(a));
        Ok(epochs)
    }

    /// Whether there must have been checkpoints in a folder that has none: it says so; and the
    /// files of the second, and of later ones, are not begun before the first is durable.
    fn has_lost_manifests(&self) -> Result<bool, CheckpointError> {
        let says_so = self.names()?.iter().any(|name| name == names::KEPT);
        Ok(says_so || self.epoch_of_files()?.is_some_and(|epoch| epoch > 1))
    }

    /// Says for good that there has been a checkpoint. To be called when one is durable: if this
    /// came to be and the checkpoint did not, its folder would be taken for one that has lost it.
    pub(crate) fn say_kept(&self) -> Result<(), CheckpointError> {
        let path = self.folder.join(names::KEPT);
        if self.disk.size(&path).map_err(CheckpointError::io(&path, "look at it"))?.is_some() {
            return Ok(());
        }
        self.disk.create(&path, Mode::Private).map_err(CheckpointError::io(&path, "make it"))?;
        self.sync()
    }

    /// The latest checkpoint that a file was written for, be it one that never came to be.
    fn epoch_of_files(&self) -> Result<Option<u64>, CheckpointError> {
        let epoch = |name: &String| match Name::read(name) {
            Some(Name::Held { epoch } | Name::Segment { epoch, .. }) => Some(epoch),
            _ => None,
        };
        Ok(self.names()?.iter().filter_map(epoch).max())
    }

    /// Reads a manifest.
    pub(crate) fn read(&self, epoch: u64) -> Result<Checkpoint, CheckpointError> {
        let path = self.folder.join(names::manifest(epoch));
        let bytes = match self.disk.read_part(&path, 0, BYTES_MAX + 1) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(CheckpointError::damaged(&path, "it is missing"));
            }
            bytes => bytes.map_err(CheckpointError::io(&path, "read it"))?,
        };
        if bytes.len() > BYTES_MAX {
            return Err(CheckpointError::damaged(&path, "it is too long for a manifest"));
        }
        let manifest = Manifest::read(&path, epoch, &bytes)?;
        Ok(Checkpoint {
            disk: Arc::clone(&self.disk),
            folder: self.folder.clone(),
            manifest,
            passed_over: Vec::new(),
        })
    }

    /// Removes the files of ours that are not to stay, manifests first: whoever looks at the
    /// folder meanwhile finds none that lacks a file.
    pub(crate) fn remove_unless(&self, stays: impl Fn(&str) -> bool) -> Result<(), CheckpointError> {
        let name = |name: String| Name::read(&name).filter(|_| !stays(&name)).map(|kind| (kind, name));
        let (manifests, others): (Vec<_>, Vec<_>) = (self.names()?.into_iter().filter_map(name))
            .partition(|(kind, _)| matches!(kind, Name::Manifest { .. }));
        manifests.into_iter().chain(others).try_for_each(|(_, name)| self.remove(&name))
    }

    pub(crate) fn sync(&self) -> Result<(), CheckpointError> {
        self.disk.sync_folder(&self.folder).map_err(CheckpointError::io(&self.folder, "sync the folder"))
    }

    /// Removes the manifests of later checkpoints for good, so that none comes back when
    /// another of its number has begun.
    fn remove_later_than(&self, epoch: u64) -> Result<(), CheckpointError> {
        let later: Vec<_> = self.epochs()?.into_iter().filter(|&other| other > epoch).collect();
        if later.is_empty() {
            return Ok(());
        }
        later.into_iter().try_for_each(|epoch| self.remove(&names::manifest(epoch)))?;
        self.sync()
    }

    fn make_folder_durable(&self) -> Result<(), CheckpointError> {
        let Some(parent) = self.folder.parent() else { return Ok(()) };
        // That of a name alone is where the run is.
        let shown = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        self.disk.sync_folder(parent).map_err(CheckpointError::io(shown, "sync the folder"))
    }

    fn remove(&self, name: &str) -> Result<(), CheckpointError> {
        let path = self.folder.join(name);
        self.disk.remove(&path).map_err(CheckpointError::io(&path, "remove it"))
    }

    fn names(&self) -> Result<Vec<String>, CheckpointError> {
        match self.disk.list(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.lock.is_none() => Ok(Vec::new()),
            names => names.map_err(CheckpointError::io(&self.folder, "list it")),
        }
    }

    fn listed(&self, reading: Reading) -> Result<Vec<Listed>, CheckpointError> {
        let mut all = Vec::new();
        for _ in 0..LOOKS_MAX {
            all = self.look(reading)?;
            let looked = all.len();
            if all.iter().any(|listed| listed.state.is_err()) {
                // Of one that a run has removed meanwhile the manifest is gone.
                let left = self.epochs()?;
                all.retain(|listed| listed.state.is_ok() || left.contains(&listed.epoch));
            }
            if all.len() == looked || all.iter().any(|listed| listed.is_latest) {
                break;
            }
        }
        Ok(all)
    }

    fn look(&self, reading: Reading) -> Result<Vec<Listed>, CheckpointError> {
        // Whether a run would come to the next one.
        let mut is_sought = true;
        let mut all = Vec::new();
        for epoch in self.epochs()? {
            let by_hash = is_sought || reading == Reading::All;
            let whole = self.read(epoch).and_then(|checkpoint| {
                checkpoint.check_files(by_hash)?;
                Ok(checkpoint)
            });
            let is_latest = is_sought && whole.is_ok();
            is_sought &= whole.as_ref().is_err_and(|error| error.kind() == CheckpointErrorKind::Damaged);
            let state = whole.and_then(|checkpoint| {
                if reading == Reading::All {
                    checkpoint.check_contents()?;
                }
                Ok(checkpoint)
            });
            all.push(Listed { epoch, path: self.folder.join(names::manifest(epoch)), state, is_latest });
        }
        // What one of a newer format needs is not known: no run goes on beside it.
        let is_newer = |error: &CheckpointError| error.kind() == CheckpointErrorKind::NewerFormat;
        if all.iter().any(|listed| listed.state.as_ref().is_err_and(is_newer)) {
            all.iter_mut().for_each(|listed| listed.is_latest = false);
        }
        Ok(all)
    }
}
