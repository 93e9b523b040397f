//! A disk that goes wrong when it is told to.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::process::{Signal, getpid, kill_process};

use crate::disk::{Disk, DiskFile, FileId, Lock, Mode};
use crate::faults::{Effect, Failure, Faults, Moment};

/// Another disk, some operations of which go wrong.
///
/// Those that leave something behind count, from 1: making a file or a folder, a write, a
/// sync, a rename, a cut, a removal. What fails has not been done.
#[derive(Clone, Debug)]
pub struct FaultyDisk {
    disk: Arc<dyn Disk>,
    plan: Arc<Plan>,
}

#[derive(Debug)]
struct FaultyFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    plan: Arc<Plan>,
}

#[derive(Debug)]
struct Plan {
    faults: Faults,
    operations: AtomicU64,
    /// Whether the last write was interrupted: it is so once.
    interrupted: AtomicU64,
    /// Whether a fault has struck.
    has_struck: AtomicBool,
}

/// An operation, and what it is of.
#[derive(Clone, Copy)]
struct What<'p>(&'static str, &'p Path);

/// What becomes of an operation.
#[derive(Clone, Copy, Default)]
struct Fate {
    failure: Option<Failure>,
    death: Option<Moment>,
}

impl FaultyDisk {
    /// The disk with these faults.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, faults: Faults) -> Self {
        let (operations, interrupted) = (AtomicU64::new(0), AtomicU64::new(0));
        let plan = Plan { faults, operations, interrupted, has_struck: AtomicBool::new(false) };
        Self { disk, plan: Arc::new(plan) }
    }

    /// How many operations there have been.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.plan.operations.load(Ordering::SeqCst)
    }
}

impl Plan {
    /// Counts an operation.
    fn next(&self, What(operation, path): What<'_>, is_write: bool) -> io::Result<Fate> {
        let number = self.operations.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(file) = &self.faults.count {
            fs::write(file, number.to_string())?;
        }
        let mut fate = Fate::default();
        for fault in &self.faults.faults {
            match fault.effect {
                Effect::Dies(moment) if number == fault.at => fate.death = Some(moment),
                Effect::Panics => assert!(number != fault.at, "a fault that was asked for"),
                Effect::Dies(_) => {}
                Effect::Fails { with, for_ever } => {
                    let is_met = number == fault.at || for_ever && number > fault.at;
                    if is_met && (is_write || !with.is_of_writes()) {
                        fate.failure = Some(with);
                    }
                }
            }
        }
        // Whoever tries an interrupted write again gets on, if with one operation more.
        let was_interrupted = self.interrupted.swap(0, Ordering::SeqCst) == 1;
        if fate.failure == Some(Failure::Interrupted) {
            match was_interrupted {
                true => fate.failure = None,
                false => self.interrupted.store(1, Ordering::SeqCst),
            }
        }
        if let (Some(file), Some(_)) = (&self.faults.struck, fate.failure)
            && !self.has_struck.swap(true, Ordering::SeqCst)
        {
            fs::write(file, format!("{operation} {}", path.display()))?;
        }
        Ok(fate)
    }

    /// Does not return if the operation is to hang. That it does is told on standard error, for
    /// whoever waits for it.
    fn hang_at(&self, What(operation, path): What<'_>) {
        let Some(name) = self.faults.hang.as_deref().filter(|name| path.file_name() == Some(name)) else {
            return;
        };
        let _ = io::stderr().write_all(format!("hangs at {operation} {}\n", name.display()).as_bytes());
        forever()
    }

    /// Carries out an operation that is whole or nothing.
    fn run<T>(&self, what: What<'_>, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let Fate { failure, death } = self.next(what, false)?;
        self.hang_at(what);
        if matches!(death, Some(Moment::Before | Moment::Half)) {
            die("before", what);
        }
        if let Some(error) = failure.and_then(Failure::error) {
            return Err(error);
        }
        let done = operation();
        if death.is_some() {
            die("after", what);
        }
        done
    }

    fn write(&self, path: &Path, file: &mut dyn DiskFile, bytes: &[u8]) -> io::Result<usize> {
        let what = What("write", path);
        let half = &bytes[..bytes.len().div_ceil(2)];
        let Fate { failure, death } = self.next(what, true)?;
        self.hang_at(what);
        match death {
            Some(Moment::Before) => die("before", what),
            Some(Moment::Half) => {
                file.write_all(half)?;
                die("in", what);
            }
            Some(Moment::After) | None => {}
        }
        let written = match failure {
            Some(Failure::Short) => file.write(half),
            Some(failure) => failure.error().map_or(Ok(0), Err),
            None => file.write(bytes),
        };
        if death.is_some() {
            die("after", what);
        }
        written
    }
}

/// Ends the process as a crash would: nothing of it runs any more. What it dies of is told
/// on standard error, for whoever has asked for it.
fn die(moment: &str, What(operation, path): What<'_>) -> ! {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let _ = io::stderr().write_all(format!("killed {moment} {operation} {name}\n").as_bytes());
    // It cannot fail: a process may signal itself.
    let _ = kill_process(getpid(), Signal::KILL);
    forever()
}

fn forever() -> ! {
    loop {
        std::thread::park();
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn DiskFile>> {
        let file = self.plan.run(What("create", path), || self.disk.create(path, mode))?;
        Ok(Box::new(FaultyFile { file, path: path.to_owned(), plan: Arc::clone(&self.plan) }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = self.disk.open(path)?;
        Ok(Box::new(FaultyFile { file, path: path.to_owned(), plan: Arc::clone(&self.plan) }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.disk.read(path)
    }

    fn read_part(&self, path: &Path, from: u64, len: usize) -> io::Result<Vec<u8>> {
        self.disk.read_part(path, from, len)
    }

    fn reader(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        self.disk.reader(path)
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        self.disk.size(path)
    }

    fn id(&self, path: &Path) -> io::Result<Option<FileId>> {
        self.disk.id(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.plan.run(What("rename", from), || self.disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.plan.run(What("remove", path), || self.disk.remove(path))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.plan.run(What("sync folder", path), || self.disk.sync_folder(path))
    }

    fn create_folder(&self, path: &Path, mode: Mode) -> io::Result<()> {
        self.plan.run(What("create folder", path), || self.disk.create_folder(path, mode))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.disk.list(path)
    }

    fn is_open_to_others(&self, path: &Path) -> io::Result<bool> {
        self.disk.is_open_to_others(path)
    }

    fn other_owner(&self, path: &Path) -> io::Result<Option<u32>> {
        self.disk.other_owner(path)
    }

    fn lock(&self, path: &Path, mode: Mode) -> io::Result<Option<Lock>> {
        self.disk.lock(path, mode)
    }
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.plan.write(&self.path, self.file.as_mut(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl DiskFile for FaultyFile {
    fn sync(&mut self) -> io::Result<()> {
        self.plan.run(What("sync", &self.path), || self.file.sync())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.plan.run(What("cut", &self.path), || self.file.set_len(len))
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn another(&self) -> io::Result<Box<dyn DiskFile>> {
        let (path, plan) = (self.path.clone(), Arc::clone(&self.plan));
        Ok(Box::new(Self { file: self.file.another()?, path, plan }))
    }

    fn try_lock(&self) -> bool {
        self.file.try_lock()
    }

    fn id(&self) -> io::Result<FileId> {
        self.file.id()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SimulatedDisk;

    fn faulty(faults: &str) -> FaultyDisk {
        FaultyDisk::new(Arc::new(SimulatedDisk::new()), faults.parse().expect("faults"))
    }

    /// A file of five bytes in two writes: four operations, the last one a sync.
    fn write(disk: &FaultyDisk) -> io::Result<Vec<u8>> {
        let path = Path::new("file");
        let mut file = disk.create(path, Mode::Private)?;
        file.write_all(b"ab")?;
        file.write_all(b"cde")?;
        file.sync()?;
        disk.read(path)
    }

    #[test]
    fn each_operation_fails_once_or_from_then_on() {
        for (kind, expected) in [("eio", 5), ("enospc", 28)] {
            for at in 1..=4 {
                let disk = faulty(&format!("{kind}@{at}:once"));
                let error = write(&disk).expect_err("one fails");
                assert_eq!((error.raw_os_error(), disk.operations()), (Some(expected), at));
                assert_eq!(disk.remove(Path::new("file")).is_ok(), at > 1, "it goes on");
                let disk = faulty(&format!("{kind}@{at}:ever"));
                write(&disk).expect_err("one fails");
                disk.sync_folder(Path::new("")).expect_err("so do all behind it");
            }
        }
        let disk = faulty("eio@5:once");
        assert_eq!((write(&disk).expect("written"), disk.operations()), (b"abcde".to_vec(), 4));
    }

    #[test]
    fn interrupted_and_short_writes_are_lived_with() {
        for kind in ["eintr", "short"] {
            for how in ["once", "ever"] {
                for at in 1..=4 {
                    let disk = faulty(&format!("{kind}@{at}:{how}"));
                    assert_eq!(write(&disk).expect("written"), b"abcde", "{kind} at {at} {how}");
                    assert!(disk.operations() > 4 || at == 4 || (at, how) == (1, "once"));
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "a fault that was asked for")]
    fn whoever_carries_out_an_operation_panics() {
        let _ = write(&faulty("panic@3:once"));
    }

    #[test]
    fn operations_are_counted_in_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("count");
        write(&faulty(&format!("count:{}", path.display()))).expect("written");
        assert_eq!(fs::read_to_string(path).expect("a count"), "4");
    }

    #[test]
    fn the_first_operation_that_a_fault_strikes_is_told_in_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("struck");
        for (faults, struck) in [
            ("eio@1:once", Some("create file")),
            ("eio@4:ever", Some("sync file")),
            ("eio@5:ever", None),
            ("eintr@1:once", None),
            ("eintr@1:ever", Some("write file")),
            ("short@3:once", Some("write file")),
            ("short@4:ever", None),
        ] {
            let _ = fs::remove_file(&path);
            let _ = write(&faulty(&format!("{faults},struck:{}", path.display())));
            assert_eq!(fs::read_to_string(&path).ok().as_deref(), struck, "{faults}");
        }
    }
}
