//! A disk on which one thing goes wrong, and on which something may be left out.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tradejoin_disk::{Disk, DiskFile, Mode, SimulatedDisk};

use crate::canaries::Canary;

/// Everything that a run may make is in here.
pub(crate) const ROOT: &str = "/simulated";
pub(crate) const CHECKPOINTS: &str = "/simulated/kept";
/// What every error says of a machine without power.
pub(crate) const OFF: &str = "the machine is off";

/// What goes wrong, at the operation of a number; only those count that leave something
/// behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Nothing,
    /// What was not synced is left to chance.
    PowerLoss(Moment, u64),
    /// The process is killed.
    Kill(Moment),
    /// There is room for so many bytes more, from then on.
    Full(u64),
    /// An error of the device, once or from then on.
    Device {
        for_ever: bool,
    },
    /// A write that is interrupted before it has written anything; from then on each is so once.
    Interrupted {
        for_ever: bool,
    },
    /// A write that writes half.
    Short {
        for_ever: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Before,
    /// Of a write; of anything else before it.
    Half,
    After,
}

/// A simulated disk in one life.
#[derive(Clone, Debug)]
pub(crate) struct LifeDisk {
    disk: SimulatedDisk,
    plan: Arc<Mutex<Plan>>,
}

/// Where a fault happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct When {
    /// At the operation of this number, from 1,
    pub(crate) at: u64,
    /// among those that rename or sync a folder alone: there are few of them, and much
    /// hangs on their order.
    pub(crate) of_names: bool,
}

#[derive(Debug)]
struct Plan {
    fault: Fault,
    when: When,
    /// Those that count for it.
    counted: u64,
    operations: u64,
    has_fired: bool,
    was_interrupted: bool,
    /// What is left after it, if nothing runs any more.
    left: Option<SimulatedDisk>,
    canary: Option<Canary>,
    /// What a canary syncs later than it should.
    late: Vec<Box<dyn DiskFile>>,
    /// What no run may do.
    violation: Option<String>,
    is_traced: bool,
}

#[derive(Debug)]
struct LifeFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    on: LifeDisk,
}

/// What a canary makes of an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Instead {
    AsItIs,
    Nothing,
    Later,
}

fn off() -> io::Error {
    io::Error::other(OFF)
}

impl LifeDisk {
    pub(crate) fn new(
        disk: SimulatedDisk,
        fault: Fault,
        when: When,
        canary: Option<Canary>,
        is_traced: bool,
    ) -> Self {
        let plan = Plan {
            fault,
            when,
            counted: 0,
            operations: 0,
            has_fired: false,
            was_interrupted: false,
            left: None,
            canary,
            late: Vec::new(),
            violation: None,
            is_traced,
        };
        Self { disk, plan: Arc::new(Mutex::new(plan)) }
    }

    /// The disk as the next life finds it.
    pub(crate) fn left(&self) -> SimulatedDisk {
        let left = self.plan().left.take().unwrap_or_else(|| self.disk.clone());
        left.set_capacity(None);
        left
    }

    pub(crate) fn has_fired(&self) -> bool {
        self.plan().has_fired
    }

    pub(crate) fn operations(&self) -> u64 {
        self.plan().operations
    }

    pub(crate) fn violation(&self) -> Option<String> {
        self.plan().violation.clone()
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_off(&self) -> io::Result<()> {
        if self.plan().left.is_some() { Err(off()) } else { Ok(()) }
    }

    fn file(&self, path: &Path, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(LifeFile { file, path: path.to_owned(), on: self.clone() })
    }

    fn run<T>(&self, what: &str, path: &Path, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let mut plan = self.plan();
        plan.check(path);
        plan.run(&self.disk, what, path, operation)
    }
}

impl Plan {
    /// Notes a name that is none of those a run may give.
    fn check(&mut self, path: &Path) {
        if !is_ours(path) {
            self.violation.get_or_insert_with(|| format!("{} is touched", path.display()));
        }
    }

    /// Counts an operation; gives whether the fault is now.
    fn next(&mut self, what: &str, path: &Path) -> io::Result<bool> {
        if self.left.is_some() {
            return Err(off());
        }
        self.operations += 1;
        let (number, counts) = (self.operations, !self.when.of_names || is_of_names(what));
        self.counted += u64::from(counts);
        let is_now = counts && self.counted == self.when.at && self.fault != Fault::Nothing;
        if self.is_traced {
            let fault = if is_now { format!(": {:?}", self.fault) } else { String::new() };
            crate::tell(format_args!("  {number} {what} {}{fault}", path.display()));
        }
        self.has_fired |= is_now;
        Ok(is_now)
    }

    /// Whether a fault that may last is there.
    fn lasts(&self, for_ever: bool, is_now: bool) -> bool {
        is_now || for_ever && self.has_fired
    }

    fn end(&mut self, disk: &SimulatedDisk) -> io::Error {
        self.left = Some(match self.fault {
            Fault::PowerLoss(_, seed) => disk.crash(seed),
            _ => disk.clone(),
        });
        off()
    }

    /// Carries out an operation that is whole or nothing.
    fn run<T>(
        &mut self,
        disk: &SimulatedDisk,
        what: &str,
        path: &Path,
        operation: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let is_now = self.next(what, path)?;
        match self.fault {
            Fault::PowerLoss(moment, _) | Fault::Kill(moment) if is_now => {
                if moment == Moment::After {
                    // Nobody hears of it.
                    let _ = operation();
                }
                Err(self.end(disk))
            }
            Fault::Device { for_ever } if self.lasts(for_ever, is_now) => {
                Err(io::Error::from_raw_os_error(5))
            }
            Fault::Full(room) if is_now => {
                disk.set_capacity(Some(disk.bytes() + room));
                operation()
            }
            _ => operation(),
        }
    }

    fn write(
        &mut self,
        disk: &SimulatedDisk,
        file: &mut dyn DiskFile,
        path: &Path,
        bytes: &[u8],
    ) -> io::Result<usize> {
        let is_now = self.next("write", path)?;
        let half = &bytes[..bytes.len().div_ceil(2)];
        let was_interrupted = std::mem::take(&mut self.was_interrupted);
        match self.fault {
            Fault::PowerLoss(moment, _) | Fault::Kill(moment) if is_now => {
                match moment {
                    Moment::Before => {}
                    Moment::Half => file.write_all(half)?,
                    Moment::After => file.write_all(bytes)?,
                }
                Err(self.end(disk))
            }
            Fault::Device { for_ever } if self.lasts(for_ever, is_now) => {
                Err(io::Error::from_raw_os_error(5))
            }
            Fault::Interrupted { for_ever } if self.lasts(for_ever, is_now) && !was_interrupted => {
                self.was_interrupted = true;
                Err(io::ErrorKind::Interrupted.into())
            }
            Fault::Short { for_ever } if self.lasts(for_ever, is_now) => file.write(half),
            Fault::Full(room) if is_now => {
                disk.set_capacity(Some(disk.bytes() + room));
                file.write(bytes)
            }
            _ => file.write(bytes),
        }
    }

    fn instead(&self, of: impl Fn(Canary) -> Instead) -> Instead {
        self.canary.map_or(Instead::AsItIs, of)
    }

    /// Syncs what a canary has put off.
    fn catch_up(&mut self) -> io::Result<()> {
        self.late.drain(..).try_for_each(|mut file| file.sync())
    }
}

fn is_of_names(what: &str) -> bool {
    matches!(what, "rename" | "sync names")
}

/// Whether a run may make or change something there.
fn is_ours(path: &Path) -> bool {
    let Some(path) = path.to_str() else { return false };
    let in_folder = |folder: &str| path.strip_prefix(folder)?.strip_prefix('/');
    if let Some(name) = in_folder(CHECKPOINTS) {
        return ["manifest-", "manifest.tmp", "table-", "held-", "kept"]
            .iter()
            .any(|start| name.starts_with(start));
    }
    if let Some(name) = in_folder("/simulated/out") {
        return ["part-", ".part-", "_manifest.json"].iter().any(|start| name.starts_with(start));
    }
    let names = ["out", "out.", "letters.", "corrections.", "kept"];
    path == ROOT
        || path == "/"
        || in_folder(ROOT).is_some_and(|name| names.iter().any(|start| name.starts_with(start)))
}

/// What a file is, by its name.
fn is_output(path: &Path) -> bool {
    path.starts_with("/simulated/out") || name(path).starts_with("out.")
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn instead_of_sync(canary: Canary, path: &Path) -> Instead {
    let name = name(path);
    let is_left_out = match canary {
        Canary::OutputIsNotSynced => is_output(path) && !name.starts_with("_manifest"),
        Canary::CopyIsNotSynced => name.ends_with(".copy"),
        Canary::ListIsNotSynced => name.starts_with("_manifest"),
        Canary::LettersAreNotSynced => name.starts_with("letters."),
        Canary::SegmentsAreNotSynced => name.starts_with("table-"),
        Canary::HeldIsNotSynced => name.starts_with("held-"),
        Canary::ManifestIsNotSynced => name.starts_with("manifest"),
        Canary::ManifestIsSyncedBehindItsName if name.starts_with("manifest") => return Instead::Later,
        Canary::OutputIsSyncedBehindTheManifest if is_output(path) => return Instead::Later,
        _ => false,
    };
    if is_left_out { Instead::Nothing } else { Instead::AsItIs }
}

impl Disk for LifeDisk {
    fn create(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(path, self.run("create", path, || self.disk.create(path, mode))?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.is_off()?;
        Ok(self.file(path, self.disk.open(path)?))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.is_off()?;
        self.disk.read(path)
    }

    fn reader(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        self.is_off()?;
        self.disk.reader(path)
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        self.is_off()?;
        self.disk.size(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run("rename", to, || self.disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.run("remove", path, || self.disk.remove(path))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let is_kept = path == Path::new(CHECKPOINTS);
        // The folder is synced once with the manifest's temporary name, and again with its own.
        let is_first = is_kept && self.disk.size(&path.join("manifest.tmp")).ok().flatten().is_some();
        let is_left_out = self.plan().canary.is_some_and(|canary| match canary {
            Canary::NamesAreNotSyncedBeforeTheManifest => is_first,
            Canary::ManifestsNameIsNotSynced => is_kept && !is_first,
            Canary::OutputsFolderIsNotSynced => !is_kept,
            _ => false,
        });
        self.run("sync names", path, || if is_left_out { Ok(()) } else { self.disk.sync_folder(path) })?;
        if is_kept && !is_first { self.plan().catch_up() } else { Ok(()) }
    }

    fn create_folder(&self, path: &Path, mode: Mode) -> io::Result<()> {
        self.run("make", path, || self.disk.create_folder(path, mode))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.is_off()?;
        self.disk.list(path)
    }
}

impl Write for LifeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut plan = self.on.plan();
        plan.write(&self.on.disk, self.file.as_mut(), &self.path, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl DiskFile for LifeFile {
    fn sync(&mut self) -> io::Result<()> {
        let mut plan = self.on.plan();
        let instead = plan.instead(|canary| instead_of_sync(canary, &self.path));
        if instead == Instead::Later {
            plan.late.push(self.file.another()?);
        }
        plan.run(&self.on.disk, "sync", &self.path, || match instead {
            Instead::AsItIs => self.file.sync(),
            Instead::Nothing | Instead::Later => Ok(()),
        })
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let mut plan = self.on.plan();
        let canary = plan.canary;
        plan.run(&self.on.disk, "cut", &self.path, || match canary {
            Some(Canary::OutputIsNotCut) => Ok(()),
            Some(Canary::OutputIsCutShort) => self.file.set_len(len.saturating_sub(1)),
            _ => self.file.set_len(len),
        })
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn another(&self) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Self { file: self.file.another()?, path: self.path.clone(), on: self.on.clone() }))
    }
}
