//! Runs that lose power at any operation, go on from what is left, and lose it again. The
//! state that is found is that of the last checkpoint that was told to be kept, or the one
//! behind it. And the other way round: a disk that leaves out a step is found out.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use tradejoin_checkpoint::{Checkpoint, Job, Store};
use tradejoin_disk::{Disk, DiskFile, FaultyDisk, Mode, SimulatedDisk};
use tradejoin_flow::{BoxError, Keep as _, NothingPrepared, OutputPosition, Prepared};
use tradejoin_model::{Held, LookUp};

use crate::support::{FOLDER, Form, Op, Table, cut, job, lane, restored};

const OUTPUT: &str = "out/output";
const FORM: Form = Form { look_up: LookUp::LatestVersion, texts: true };

/// Chance that a seed decides: SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (word ^ (word >> 31)) % end
    }
}

/// The changes before a trade: always the same, as a source that is read again gives them.
fn changes(seed: u64, trade: u64) -> Vec<Op> {
    let mut chance = Chance(seed ^ (trade << 32));
    let op = |chance: &mut Chance| Op {
        key: chance.below(6) as usize,
        deletes: chance.below(4) == 0,
        value: chance.below(12) as u8,
        from: 0,
        time: 0,
        version: chance.below(5) as i64,
    };
    (0..chance.below(5)).map(|_| op(&mut chance)).collect()
}

/// The table before a trade.
fn table(seed: u64, trade: u64) -> Table {
    let mut table = Table::new(FORM);
    (0..trade).for_each(|trade| table.apply(&lane(FORM, &changes(seed, trade))));
    table
}

/// An output of a byte for each trade, which is durable before the checkpoint is.
struct Output {
    file: Box<dyn DiskFile>,
    disk: Arc<dyn Disk>,
    bytes: u64,
}

impl Prepared for Output {
    fn make_durable(&mut self) -> Result<Vec<OutputPosition>, BoxError> {
        self.file.sync()?;
        self.disk.sync_folder(Path::new("out"))?;
        let (name, bytes) = (OUTPUT.to_owned(), self.bytes);
        Ok(vec![OutputPosition { name, bytes, ..OutputPosition::default() }])
    }

    fn publish(&mut self) -> Result<(), BoxError> {
        Ok(())
    }
}

/// How far a run has come: the trades before the last checkpoint that was kept, and
/// before the one that was begun.
#[derive(Clone, Copy, Default)]
struct Progress {
    kept: u64,
    begun: u64,
}

/// Reads trades and keeps the run until something fails.
fn run(
    disk: &Arc<dyn Disk>,
    seed: u64,
    chance: &mut Chance,
    progress: &mut Progress,
) -> Result<(), BoxError> {
    let job = Job { keep: 1 + (seed % 3) as usize, ..job(FORM) };
    let store = Store::open(Arc::clone(disk), Path::new(FOLDER))?;
    let latest = store.latest()?;
    let mut trade = latest.as_ref().map_or(0, |latest| latest.manifest().trades);
    let path = Path::new(OUTPUT);
    let mut file = match disk.size(path)? {
        Some(_) => disk.open(path)?,
        None => disk.create(path, Mode::Private)?,
    };
    file.set_len(trade)?;
    let mut keeper = store.begin(job, latest.as_ref())?;
    loop {
        for _ in 0..chance.below(4) {
            keeper.rows(0, &lane(FORM, &changes(seed, trade)))?;
            file.write_all(&[trade as u8])?;
            trade += 1;
        }
        progress.begun = trade;
        let output = Output { file: file.another()?, disk: Arc::clone(disk), bytes: trade };
        let mut cut = cut(trade, output);
        cut.held = (trade % 2 == 0).then(|| Held { latest_time: trade as i64, ..Held::default() });
        keeper.keep(cut)?;
        progress.kept = trade;
        if chance.below(12) == 0 {
            return Ok(());
        }
    }
}

/// What is wrong with what was found, if anything is.
fn judge(
    found: Option<&Checkpoint>,
    disk: &SimulatedDisk,
    seed: u64,
    progress: Progress,
) -> Result<u64, String> {
    let trades = found.map_or(0, |found| found.manifest().trades);
    if trades != progress.kept && trades != progress.begun {
        return Err(format!("{trades} trades instead of {} or {}", progress.kept, progress.begun));
    }
    let Some(found) = found else { return Ok(0) };
    if !found.passed_over().is_empty() {
        return Err(format!("passed over {:?}", found.passed_over()));
    }
    let held = found.resume().map_err(|error| error.to_string())?.held;
    if held.map(|held| held.latest_time) != trades.is_multiple_of(2).then_some(trades as i64) {
        return Err("other trades wait".to_owned());
    }
    if restored(FORM, found).answers() != table(seed, trades).answers() {
        return Err("another table".to_owned());
    }
    let output = disk.read(Path::new(OUTPUT)).map_err(|error| error.to_string())?;
    let expected: Vec<_> = (0..trades).map(|trade| trade as u8).collect();
    if output.starts_with(&expected) { Ok(trades) } else { Err("another output".to_owned()) }
}

/// Runs and crashes a few times over, and tells how often it went on, or what was wrong.
fn case(seed: u64, bug: Option<Bug>) -> Result<(), String> {
    let mut chance = Chance(seed);
    let (mut disk, mut progress) = (SimulatedDisk::new(), Progress::default());
    let is_made = disk.create_folder(Path::new("out"), Mode::Private);
    is_made.and_then(|()| disk.sync_folder(Path::new(""))).map_err(|error| error.to_string())?;
    for _ in 0..6 {
        let at = 1 + chance.below(120);
        let faults = ["eio", "enospc"][chance.below(2) as usize];
        let faulty = FaultyDisk::new(
            Arc::new(disk.clone()),
            format!("{faults}@{at}:ever,eintr@{}:ever", 1 + chance.below(50)).parse().expect("faults"),
        );
        let used: Arc<dyn Disk> = match bug {
            Some(bug) => Arc::new(Buggy { disk: Arc::new(faulty), bug }),
            None => Arc::new(faulty),
        };
        // It ends by an error or by itself; the power fails either way.
        let ended = run(&used, seed, &mut chance, &mut progress);
        disk = disk.crash(chance.below(u64::MAX));
        let store =
            Store::open(Arc::new(disk.clone()), Path::new(FOLDER)).map_err(|error| error.to_string())?;
        let latest = store.latest().map_err(|error| error.to_string())?;
        let trades =
            judge(latest.as_ref(), &disk, seed, progress).map_err(|wrong| format!("{wrong} ({ended:?})"))?;
        progress = Progress { kept: trades, begun: trades };
    }
    Ok(())
}

#[test]
fn what_was_kept_is_found_after_a_crash_anywhere() {
    let cases = std::env::var("TRADEJOIN_CRASH_CASES").map_or(60, |cases| cases.parse().expect("a number"));
    for seed in 0..cases {
        if let Err(wrong) = case(seed, None) {
            panic!("seed {seed}: {wrong}");
        }
    }
}

#[test]
fn what_a_run_goes_on_from_stays_there() {
    // Ends behind the operation of this number, the last of its first checkpoint if there is none.
    let run_to = |disk: &SimulatedDisk, fails_at: u64| {
        let faults = format!("eio@{fails_at}:ever").parse().expect("faults");
        let faulty = Arc::new(FaultyDisk::new(Arc::new(disk.clone()), faults));
        let store = Store::open(Arc::<FaultyDisk>::clone(&faulty), Path::new(FOLDER)).expect("opened");
        let mut keeper = store.begin(job(FORM), None).expect("begun");
        (keeper.keep(cut(1, NothingPrepared)).is_ok(), faulty.operations())
    };
    let (is_kept, operations) = run_to(&SimulatedDisk::new(), u64::MAX);
    assert!(is_kept);
    for seed in 0..50 {
        let disk = SimulatedDisk::new();
        let (is_kept, _) = run_to(&disk, operations);
        assert!(!is_kept, "its name is not durable");
        let store = Store::open(Arc::new(disk.clone()), Path::new(FOLDER)).expect("opened");
        assert!(store.latest().expect("whole").is_some(), "it is there all the same");
        let store = Store::open(Arc::new(disk.crash(seed)), Path::new(FOLDER)).expect("opened");
        assert!(store.latest().expect("whole").is_some(), "seed {seed}: a run has gone on from it");
    }
}

#[test]
fn a_step_that_is_left_out_is_found_out() {
    for bug in Bug::ALL {
        let found = (0..200).find(|&seed| case(seed, Some(bug)).is_err());
        assert!(found.is_some(), "{bug:?} is not found out");
    }
}

/// What a disk does not do as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    /// A file of this name is not synced.
    NoSync(&'static str),
    /// Folders are not synced.
    NoFolderSync,
    /// The folder is not synced before the manifest has its name.
    NoSyncBeforeRename,
    /// It is not synced after that.
    NoSyncAfterRename,
    /// The folder with the folder is not synced.
    NoParentSync,
    /// The manifest has its name before it is whole.
    EarlyRename,
    /// What is renamed is written anew.
    RenameByCopy,
    /// Older manifests go before the new one counts.
    EarlyRemoval,
    /// The last byte of a write is lost.
    ShortWrite,
}

impl Bug {
    const ALL: [Self; 12] = [
        Self::NoSync("table-"),
        Self::NoSync("held-"),
        Self::NoSync("manifest"),
        Self::NoSync("output"),
        Self::NoFolderSync,
        Self::NoSyncBeforeRename,
        Self::NoSyncAfterRename,
        Self::NoParentSync,
        Self::EarlyRename,
        Self::RenameByCopy,
        Self::EarlyRemoval,
        Self::ShortWrite,
    ];
}

#[derive(Debug)]
struct Buggy {
    disk: Arc<dyn Disk>,
    bug: Bug,
}

#[derive(Debug)]
struct BuggyFile {
    file: Box<dyn DiskFile>,
    is_synced: bool,
    is_short: bool,
}

const TEMPORARY: &str = "manifest.tmp";

impl Buggy {
    fn file(&self, path: &Path, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_synced = !matches!(self.bug, Bug::NoSync(start) if name.starts_with(start));
        let is_short = self.bug == Bug::ShortWrite && name.starts_with("table-");
        Box::new(BuggyFile { file, is_synced, is_short })
    }

    fn is_being_made(&self) -> io::Result<bool> {
        Ok(self.disk.size(&Path::new(FOLDER).join(TEMPORARY))?.is_some())
    }
}

impl Disk for Buggy {
    fn create(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn DiskFile>> {
        if path.ends_with(TEMPORARY) && self.bug == Bug::EarlyRemoval {
            for name in self.list(Path::new(FOLDER))?.iter().filter(|name| name.ends_with(".json")) {
                self.disk.remove(&Path::new(FOLDER).join(name))?;
            }
            self.disk.sync_folder(Path::new(FOLDER))?;
        }
        let file = self.disk.create(path, mode)?;
        if path.ends_with(TEMPORARY) && self.bug == Bug::EarlyRename {
            let epochs = self.list(Path::new(FOLDER))?;
            let epoch =
                |name: &String| name.strip_prefix("manifest-")?.strip_suffix(".json")?.parse::<u64>().ok();
            let next = epochs.iter().filter_map(epoch).max().unwrap_or(0) + 1;
            self.disk.rename(path, &Path::new(FOLDER).join(format!("manifest-{next}.json")))?;
        }
        Ok(self.file(path, file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(path, self.disk.open(path)?))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.disk.read(path)
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        self.disk.size(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        match self.bug {
            Bug::EarlyRename => Ok(()),
            Bug::RenameByCopy => {
                let bytes = self.disk.read(from)?;
                self.disk.create(to, Mode::Private)?.write_all(&bytes)?;
                self.disk.remove(from)
            }
            _ => self.disk.rename(from, to),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        // Where it has gone too early it is not there any more.
        let removed = self.disk.remove(path);
        if self.bug == Bug::EarlyRemoval { Ok(()) } else { removed }
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let (is_own, is_parent) = (path == Path::new(FOLDER), path == Path::new(""));
        let is_left_out = match self.bug {
            Bug::NoFolderSync => is_own,
            Bug::NoSyncBeforeRename => is_own && self.is_being_made()?,
            Bug::NoSyncAfterRename => is_own && !self.is_being_made()?,
            Bug::NoParentSync => is_parent,
            _ => false,
        };
        if is_left_out { Ok(()) } else { self.disk.sync_folder(path) }
    }

    fn create_folder(&self, path: &Path, mode: Mode) -> io::Result<()> {
        self.disk.create_folder(path, mode)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.disk.list(path)
    }
}

impl Write for BuggyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_short && bytes.len() > 1 {
            self.file.write_all(&bytes[..bytes.len() - 1])?;
            return Ok(bytes.len());
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl DiskFile for BuggyFile {
    fn sync(&mut self) -> io::Result<()> {
        if self.is_synced { self.file.sync() } else { Ok(()) }
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn another(&self) -> io::Result<Box<dyn DiskFile>> {
        let Self { file, is_synced, is_short } = self;
        Ok(Box::new(Self { file: file.another()?, is_synced: *is_synced, is_short: *is_short }))
    }
}
