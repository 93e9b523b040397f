//! A simulation: lives of a run one after the other, and what must hold in and after them.

use std::any::Any;
use std::error::Error;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tradejoin_checkpoint::{Checkpoint, EndState, Manifest, Store};
use tradejoin_connectors::Compression;
use tradejoin_disk::{Disk, Mode, SimulatedDisk};
use tradejoin_flow::OutputPosition;

use crate::canaries::Canary;
use crate::case::Case;
use crate::chance::Chance;
use crate::disk::{CHECKPOINTS, Fault, LifeDisk, OFF, ROOT};
use crate::expected::Expected;
use crate::hooks::{Hooks, INJECTED};
use crate::life::{Ended, Life, Living};
use crate::read;
use crate::tell;

/// Lives in which something may go wrong, at most.
const LIVES_MAX: usize = 5;

/// What simulations have come to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) cases: u64,
    pub(crate) lives: u64,
    pub(crate) power_losses: u64,
    pub(crate) other_faults: u64,
    pub(crate) stops: u64,
    pub(crate) resumed: u64,
    pub(crate) damaged: u64,
    pub(crate) operations: u64,
}

/// One simulation.
struct Simulation {
    case: Case,
    expected: Expected,
    canary: Option<Canary>,
    is_traced: bool,
    by_the_clock: bool,
    disk: SimulatedDisk,
    /// The last checkpoint that was told to be kept.
    kept: Arc<AtomicU64>,
    /// The one that was damaged last.
    damaged: Option<u64>,
}

/// Simulates what a seed says; what is wrong, if something is.
pub(crate) fn simulate(
    seed: u64,
    canary: Option<Canary>,
    is_traced: bool,
    tally: &mut Tally,
) -> Result<(), String> {
    let simulated =
        catch_unwind(AssertUnwindSafe(|| Simulation::new(seed, canary, is_traced).run(seed, tally)));
    tally.cases += 1;
    simulated.unwrap_or_else(|panic| Err(format!("panicked: {}", words(&*panic))))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

impl Simulation {
    fn new(seed: u64, canary: Option<Canary>, is_traced: bool) -> Self {
        let case = Case::draw(&mut Chance::new(seed));
        if is_traced {
            tell(format_args!("{case:#?}"));
        }
        let disk = SimulatedDisk::new();
        disk.create_folder(Path::new(ROOT), Mode::Shared).expect("a folder");
        disk.sync_folder(Path::new("/")).expect("durable");
        let expected = Expected::of(&case);
        // Those that failed once went by trades.
        let by_the_clock = seed % 3 == 2;
        Self { case, expected, canary, is_traced, by_the_clock, disk, kept: Arc::default(), damaged: None }
    }

    fn run(&mut self, seed: u64, tally: &mut Tally) -> Result<(), String> {
        // Other numbers than those of the case.
        let mut chance = Chance::new(!seed);
        let mut damages = Chance::new(seed.rotate_left(32));
        for _ in 0..chance.below(LIVES_MAX + 1) {
            let life = Life::draw(&mut chance);
            if damages.once_in(6) {
                self.damage(&mut damages, tally);
            }
            self.live(life, tally)?;
        }
        self.complete(&mut chance, tally)?;
        // What is complete stays so, whatever happens to the machine.
        self.disk = self.disk.crash(chance.word());
        self.live(Life::without_faults(&mut chance), tally)?;
        self.check_end(&self.disk)?;
        // Unless the checkpoint that says so is damaged: then it becomes so once more.
        if damages.once_in(3) && self.damage(&mut damages, tally) {
            for _ in 0..damages.below(3) {
                self.live(Life::draw(&mut damages), tally)?;
            }
            self.complete(&mut damages, tally)?;
        }
        Ok(())
    }

    fn complete(&mut self, chance: &mut Chance, tally: &mut Tally) -> Result<(), String> {
        let ended = self.live(Life::without_faults(chance), tally)?;
        if ended != Some(Ended::Complete) {
            return Err(format!("without faults it ended {ended:?}"));
        }
        self.check_end(&self.disk)
    }

    /// Changes a byte of the newest checkpoint, if there is one before it to go on from.
    fn damage(&mut self, chance: &mut Chance, tally: &mut Tally) -> bool {
        let folder = Path::new(CHECKPOINTS);
        let store = Store::inspect(Arc::new(self.disk.clone()), folder);
        let listed = store.and_then(|store| store.verify()).unwrap_or_default();
        // Of one that had been removed when the power failed the manifest alone may be there again.
        let [newest, before, ..] = listed.as_slice() else { return false };
        let (newest, before) = (newest.epoch, before.epoch);
        if listed[1].state.is_err() {
            return false;
        }
        let names = self.disk.list(folder).expect("a folder");
        let of_newest = [format!("manifest-{newest}.json"), format!("held-{newest}.arrow")];
        let of_newest: Vec<_> = of_newest.iter().filter(|name| names.contains(name)).collect();
        let path = folder.join(of_newest[chance.below(of_newest.len())]);
        let mut bytes = self.disk.read(&path).expect("a file");
        let at = chance.below(bytes.len());
        bytes[at] ^= 1 << chance.below(7);
        self.disk.remove(&path).expect("removed");
        let mut file = self.disk.create(&path, Mode::Private).expect("a file");
        file.write_all(&bytes).and_then(|()| file.sync()).expect("room for what was there");
        self.disk.sync_folder(folder).expect("durable");
        if self.is_traced {
            tell(format_args!("damaged {}", path.display()));
        }
        self.kept.store(before, Ordering::Relaxed);
        self.damaged = Some(newest);
        tally.damaged += 1;
        true
    }

    /// Lives once; gives how it ended, if nothing went wrong.
    fn live(&mut self, life: Life, tally: &mut Tally) -> Result<Option<Ended>, String> {
        let life = if self.by_the_clock { life.by_the_clock() } else { life };
        if self.is_traced {
            tell(format_args!("{life:?}"));
        }
        let disk = LifeDisk::new(self.disk.clone(), life.fault, life.when, self.canary, self.is_traced);
        let hooks = Hooks::new(life.fails);
        let fault = life.fault;
        let living = Living {
            case: &self.case,
            life,
            disk: disk.clone(),
            hooks: hooks.clone(),
            canary: self.canary,
            kept: Arc::clone(&self.kept),
        };
        let (mut wrong, mut has_resumed) = (None, false);
        let lived = living.live(&mut |from| {
            has_resumed = from.is_some();
            self.check_found(from).inspect_err(|text| wrong = Some(text.clone()))
        });
        self.disk = disk.left();
        tally.lives += 1;
        tally.operations += disk.operations();
        tally.resumed += u64::from(has_resumed);
        tally.stops += u64::from(matches!(lived, Ok(Ended::Interrupted)));
        match fault {
            Fault::PowerLoss(..) if disk.has_fired() => tally.power_losses += 1,
            _ if disk.has_fired() || hooks.has_failed() => tally.other_faults += 1,
            _ => {}
        }
        if self.is_traced {
            tell(format_args!("  ended {lived:?}, kept {}", self.kept.load(Ordering::Relaxed)));
        }
        if let Some(wrong) = wrong.or_else(|| disk.violation()) {
            return Err(wrong);
        }
        match lived {
            Ok(ended) if fails(fault) && disk.has_fired() || hooks.has_failed() => {
                Err(format!("{fault:?} was not told: it ended {ended:?}"))
            }
            Ok(ended) => Ok(Some(ended)),
            Err(error) => {
                let told = chain(&*error);
                let is_known = disk.has_fired() && is_told(fault, &told)
                    || hooks.has_failed() && told.contains(INJECTED);
                if is_known { Ok(None) } else { Err(format!("in a life with {fault:?}: {told}")) }
            }
        }
    }

    /// Holds the checkpoint that a life goes on from to what was told, and to what the output is to be.
    fn check_found(&self, from: Option<&Checkpoint>) -> Result<(), String> {
        let kept = self.kept.load(Ordering::Relaxed);
        let found = from.map_or(0, |from| from.manifest().epoch);
        if !(kept..=kept + 1).contains(&found) {
            return Err(format!("checkpoint {found} where {kept} was told to be kept"));
        }
        // It counts, whoever was told.
        self.kept.store(found, Ordering::Relaxed);
        let Some(from) = from else { return Ok(()) };
        if let Some(over) = from.passed_over().iter().find(|over| Some(over.epoch) != self.damaged) {
            return Err(format!("checkpoint {} is damaged: {}", over.epoch, over.reason));
        }
        from.manifest().ledger.check().map_err(|error| error.to_string())?;
        self.check_outputs(from.manifest())
    }

    /// What counts of an output is how the whole begins, and all trades are somewhere.
    fn check_outputs(&self, manifest: &Manifest) -> Result<(), String> {
        let (mut rows, mut aside) = (None, 0);
        for output in &manifest.outputs {
            let is_letters = output.name.contains("/letters.");
            if is_letters && self.case.rotation().is_some() && !self.is_written(output, manifest) {
                // It is among those before the one that is.
                continue;
            }
            let is_again = output.name.contains("/corrections.");
            let (expected, compression) = if is_letters {
                (&self.expected.letters, self.case.letters)
            } else if is_again {
                (&self.expected.corrections, self.case.corrected().compression)
            } else {
                (&self.expected.output, self.case.encoding.compression)
            };
            let Some(mut text) = self.counted(output, compression)? else { continue };
            if is_letters && output.bytes_before > 0 {
                text.insert_str(0, &self.letters_before(output)?);
            }
            if !expected.starts_with(&text) {
                return Err(format!(
                    "{} has\n{text}\nat checkpoint {}, of\n{expected}",
                    output.name, manifest.epoch
                ));
            }
            let is_of_trade = |line: &&str| !line.starts_with("{\"reason\":\"bad\"");
            let lines = text.lines().filter(is_of_trade).count() as u64;
            match (is_letters, is_again) {
                (true, _) => aside = lines,
                (_, true) => {}
                _ => rows = Some(lines),
            }
        }
        let Some(lines) = rows else { return Ok(()) };
        let has_header = self.case.encoding.format == tradejoin_connectors::Format::Csv;
        let rows = lines.saturating_sub(u64::from(has_header));
        let (ledger, waiting) = (&manifest.ledger, manifest.held.as_ref().map_or(0, |held| held.trades));
        let all = rows + aside + waiting + ledger.unmatched_dropped + ledger.rejected;
        if ledger.rows_read != all {
            return Err(format!("{} trades were read and {all} are somewhere", ledger.rows_read));
        }
        Ok(())
    }

    /// Whether an output is the file of dead letters that is written, and not one before it.
    fn is_written(&self, output: &OutputPosition, manifest: &Manifest) -> bool {
        let of_letters = manifest.outputs.iter().filter(|output| output.name.contains("/letters."));
        of_letters.max_by_key(|output| output.bytes_before).is_some_and(|last| last == output)
    }

    /// What is in the files of dead letters before one.
    fn letters_before(&self, output: &OutputPosition) -> Result<String, String> {
        let mut letters = String::new();
        for path in (0..).map(read::letters_after).take_while(|path| Path::new(&output.name) != path) {
            let partial = PathBuf::from(format!("{}.simulated.partial", path.display()));
            let bytes = self.disk.read(&path).or_else(|_| self.disk.read(&partial));
            let bytes = bytes.map_err(|error| format!("{}: {error}", path.display()))?;
            letters += &read::unpacked(&bytes, Compression::None)?;
        }
        let before = letters.len() as u64;
        if before == output.bytes_before {
            Ok(letters)
        } else {
            Err(format!("{before} bytes are before {}", output.name))
        }
    }

    /// What counts of a file of text.
    fn counted(&self, output: &OutputPosition, compression: Compression) -> Result<Option<String>, String> {
        if output.partial == output.name {
            return Ok(None);
        }
        let size = |name: &str| self.disk.size(Path::new(name)).ok().flatten();
        let name = if size(&output.partial).is_some() { &output.partial } else { &output.name };
        let bytes = self.disk.read_part(Path::new(name), 0, output.bytes as usize);
        let bytes = bytes.map_err(|error| format!("{name}: {error}"))?;
        read::unpacked(&bytes, compression).map(Some)
    }

    /// Holds what is there at the end to what the oracle has.
    fn check_end(&self, disk: &SimulatedDisk) -> Result<(), String> {
        let names = disk.list(Path::new(ROOT)).map_err(|error| error.to_string())?;
        if let Some(name) = names.iter().find(|name| name.ends_with(".partial") || name.ends_with(".copy")) {
            return Err(format!("{name} is left"));
        }
        let encoding = self.case.encoding;
        let file = |path: &Path, compression| {
            let bytes = disk.read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            read::unpacked(&bytes, compression)
        };
        let output = if encoding.format.is_text() {
            file(&read::output(encoding), encoding.compression)?
        } else {
            read::parts(disk, encoding.format)?
        };
        same("the output", &output, &self.expected.output)?;
        if self.case.has_letters() {
            let letters = match self.case.rotation() {
                None => file(&read::letters(self.case.letters), self.case.letters)?,
                Some(rotation) => letters_in_files(disk, rotation.file_bytes_max)?,
            };
            same("the dead letters", &letters, &self.expected.letters)?;
        }
        if self.case.corrections.is_some() {
            let corrected = self.case.corrected();
            let corrections = file(&read::corrections(corrected), corrected.compression)?;
            same("the corrections", &corrections, &self.expected.corrections)?;
        }
        let store =
            Store::inspect(Arc::new(disk.clone()), Path::new(CHECKPOINTS)).map_err(|error| chain(&error))?;
        let latest = store.latest().map_err(|error| chain(&error))?.ok_or("no checkpoint is left")?;
        if latest.manifest().end != Some(EndState::Complete) {
            return Err("the last checkpoint is not that of the end".to_owned());
        }
        let bad: u64 = latest.manifest().bad.values().sum();
        if bad != self.expected.bad {
            return Err(format!("{bad} records were refused and not {}", self.expected.bad));
        }
        let ledger = &latest.manifest().ledger;
        if *ledger != self.expected.ledger {
            return Err(format!("the ledger is {ledger:?} and not {:?}", self.expected.ledger));
        }
        Ok(())
    }
}

/// All dead letters of several files, of which each is as long as it may be.
fn letters_in_files(disk: &SimulatedDisk, file_bytes_max: u64) -> Result<String, String> {
    let (mut all, mut longest) = (String::new(), u64::MAX);
    for path in (0..).map(read::letters_after) {
        let Ok(bytes) = disk.read(&path) else { break };
        let text = read::unpacked(&bytes, Compression::None)?;
        let first = text.split_inclusive('\n').next().map_or(0, str::len) as u64;
        if longest.saturating_add(first) <= file_bytes_max && first > 0 {
            return Err(format!("{} begins too early", path.display()));
        }
        longest = text.len() as u64;
        if longest > file_bytes_max && longest > first {
            return Err(format!("{} has {longest} bytes", path.display()));
        }
        all += &text;
    }
    Ok(all)
}

fn same(what: &str, found: &str, expected: &str) -> Result<(), String> {
    let (mut lines, mut others) = (found.lines(), expected.lines());
    for number in 1.. {
        match (lines.next(), others.next()) {
            (None, None) => break,
            (line, other) if line == other => {}
            (line, other) => return Err(format!("line {number} of {what} is {line:?} and not {other:?}")),
        }
    }
    if found == expected { Ok(()) } else { Err(format!("{what} has other ends of lines")) }
}

/// Whether nobody gets on with a fault.
fn fails(fault: Fault) -> bool {
    matches!(fault, Fault::PowerLoss(..) | Fault::Kill(_) | Fault::Device { .. })
}

/// Whether an error is that of a fault.
fn is_told(fault: Fault, told: &str) -> bool {
    match fault {
        Fault::PowerLoss(..) | Fault::Kill(_) => told.contains(OFF),
        Fault::Full(_) => told.contains("no storage space"),
        Fault::Device { .. } => told.contains("os error 5"),
        Fault::Nothing | Fault::Interrupted { .. } | Fault::Short { .. } => false,
    }
}

/// An error and what is behind it.
fn chain(error: &dyn Error) -> String {
    let (mut told, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        told += &format!(": {error}");
        cause = error.source();
    }
    told
}
