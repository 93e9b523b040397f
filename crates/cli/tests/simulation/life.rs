//! One life of a run: from what it finds on the disk to its end, whatever that is.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tradejoin_checkpoint::{Checkpoint, EndState, Job, Store};
use tradejoin_connectors::{
    Beside, CorrectionFile, DeadLetterOptions, DeadLetters, Encoding, Format, Kept, LetterTime, Location,
    Output, OutputOptions, resume_letter_files,
};
use tradejoin_disk::Disk;
use tradejoin_engine::{Clock, Engine, EngineConfig, KeepEvery, Keeping};
use tradejoin_flow::{Depth, TableSource};
use tradejoin_model::{Distribution, ShardCount, TableSpec};

use crate::around::{Around, Hooked, Watched};
use crate::canaries::Canary;
use crate::case::Case;
use crate::chance::Chance;
use crate::disk::{CHECKPOINTS, Fault, LifeDisk, Moment, When};
use crate::hooks::Hooks;
use crate::read;
use crate::stream::{Loaded, Steps, schema};

/// What tells the files of the run from those of others.
const OWNER: &str = "simulated";
/// Steps after which a run has been caught in a circle.
const STEPS_MAX: usize = 100_000;

/// What is drawn anew for each life.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    shards: u32,
    queue_depth: usize,
    lengths: Vec<usize>,
    distributions: Vec<Distribution>,
    every: u64,
    /// What puts a clock forward, if checkpoints are made by it and not by trades.
    time: Option<Chance>,
    schedule: Chance,
    habit: Habit,
    pub(crate) fault: Fault,
    pub(crate) when: When,
    /// Where a stage fails, and whether it panics.
    pub(crate) fails: Option<(u64, bool)>,
    /// The step before which it is asked to stop.
    stops: Option<usize>,
}

/// What the tables of a run are made of.
type Loads = Vec<Option<Box<dyn TableSource>>>;

/// Whom a schedule prefers.
#[derive(Clone, Copy, Debug)]
enum Habit {
    Nobody,
    First,
    /// What keeps, if it has anything to do.
    Last,
    /// All others before that.
    NotLast,
}

/// How a life has ended that nothing went wrong in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Complete,
    Interrupted,
}

impl Life {
    /// One in which something may go wrong.
    pub(crate) fn draw(chance: &mut Chance) -> Self {
        let mut life = Self::without_faults(chance);
        let moment = chance.of(&[Moment::Before, Moment::Half, Moment::After]);
        let for_ever = chance.once_in(2);
        let of_names = chance.once_in(4);
        let end = if of_names { 12 } else { chance.of(&[8, 30, 90]) };
        let at = chance.within(1, end) as u64;
        life.when = When { at, of_names };
        let seed = chance.word();
        match chance.below(16) {
            0..=5 => life.fault = Fault::PowerLoss(moment, seed),
            6 | 7 => life.fault = Fault::Kill(moment),
            8 => life.fault = Fault::Full(seed % 200),
            9 | 10 => life.fault = Fault::Device { for_ever },
            11 => life.fault = Fault::Interrupted { for_ever },
            12 => life.fault = Fault::Short { for_ever },
            13 => life.fails = Some((at, for_ever)),
            _ => life.stops = Some(at as usize),
        }
        life
    }

    pub(crate) fn without_faults(chance: &mut Chance) -> Self {
        use Distribution::{Auto, Broadcast, Partitioned};
        let longest = chance.of(&[2, 8, 60]);
        let count = chance.within(1, 4);
        Self {
            shards: chance.of(&[1, 1, 2, 3, 5]),
            queue_depth: chance.within(1, 5),
            lengths: (0..count).map(|_| chance.within(1, longest)).collect(),
            distributions: (0..4).map(|_| chance.of(&[Auto, Broadcast, Partitioned])).collect(),
            every: chance.of(&[0, 1, 5, 20, 60]),
            time: None,
            schedule: chance.split(),
            habit: chance.of(&[Habit::Nobody, Habit::First, Habit::Last, Habit::NotLast]),
            fault: Fault::Nothing,
            when: When { at: 0, of_names: false },
            fails: None,
            stops: None,
        }
    }

    /// The same with checkpoints by a clock.
    pub(crate) fn by_the_clock(self) -> Self {
        // Nothing else is drawn in another way.
        Self { time: Some(self.schedule.clone().split()), ..self }
    }

    /// How often there are checkpoints: of a clock that a step puts forward by ten microseconds or
    /// so, about as often as of trades.
    fn keeps(&self) -> KeepEvery {
        match self.time {
            Some(_) => KeepEvery::Time(Duration::from_micros(10 * self.every)),
            None => KeepEvery::Trades(self.every),
        }
    }

    fn pick(&mut self, of: usize) -> usize {
        let any = self.schedule.below(of);
        if of == Engine::DRAIN_PICKS || self.schedule.once_in(6) {
            return any;
        }
        match self.habit {
            Habit::Nobody => any,
            Habit::First => 0,
            Habit::Last => of - 1,
            Habit::NotLast => any.min(of.saturating_sub(2)),
        }
    }

    fn config(&self, case: &Case) -> EngineConfig {
        let mut config = EngineConfig::new(case.tables(&self.distributions));
        config.shards = ShardCount::new(self.shards).expect("in range");
        // As many workers as drawn, whatever machine the test runs on.
        config.cores = config.shards;
        config.queue_depth = Depth::new(self.queue_depth).expect("in range");
        config.order = case.order;
        config.hold_rows_max = case.hold_rows_max;
        config.hold_bytes_max = u64::MAX;
        config.wait_column = case.wait_column;
        config.corrections = case.corrections;
        config
    }
}

/// A life on its disk.
pub(crate) struct Living<'a> {
    pub(crate) case: &'a Case,
    pub(crate) life: Life,
    pub(crate) disk: LifeDisk,
    pub(crate) hooks: Hooks,
    pub(crate) canary: Option<Canary>,
    /// The last checkpoint that was told to be kept.
    pub(crate) kept: Arc<AtomicU64>,
}

impl Living<'_> {
    /// Lives it; `found` looks at the checkpoint that it goes on from.
    pub(crate) fn live(
        mut self,
        found: &mut dyn FnMut(Option<&Checkpoint>) -> Result<(), String>,
    ) -> Result<Ended, Box<dyn Error>> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let store = Store::open(Arc::clone(&disk), Path::new(CHECKPOINTS))?;
        let from = store.latest()?;
        found(from.as_ref())?;
        let from = from.filter(|_| self.canary != Some(Canary::BeginsAnew));
        let config = self.life.config(self.case);
        let job = Job { query: BTreeMap::new(), tables: config.tables.clone(), keep: self.case.keep };
        if let Some(from) = &from {
            from.fits(&job)?;
            if from.manifest().end == Some(EndState::Complete) {
                from.manifest().outputs.iter().try_for_each(|output| Output::republish(&disk, output))?;
                return Ok(Ended::Complete);
            }
        }
        let loads = self.loads(from.as_ref(), config.tables.len())?;
        let sink =
            Around::new(self.sink(&disk, from.as_ref(), &config.tables)?, self.hooks.clone(), self.canary);
        let mut revise = self.revise(&disk, from.as_ref(), &config)?;
        let resume = from.as_ref().map(Checkpoint::resume).transpose()?;
        let at = from.as_ref().map_or(0, |from| from.manifest().source.inputs[0].records);
        if self.canary == Some(Canary::BeginsAnew) {
            store.clear()?;
        }
        let keeper = store.begin(job, from.as_ref())?;
        let keep = Watched {
            keeper,
            hooks: self.hooks.clone(),
            canary: self.canary,
            kept: Arc::clone(&self.kept),
            before: (None, None),
            late: None,
        };
        let keeping = Keeping { keep: Box::new(keep), every: self.life.keeps(), resume };
        let source = Steps::new(self.case, at, self.life.lengths.clone(), self.hooks.clone(), 0);
        let clock = Clock::simulated();
        let engine = Engine::new(config).timed_by(clock.clone());
        let (stop, mut steps) = (engine.stop(), 0);
        let mut pick = |of| {
            steps += 1;
            assert!(steps < STEPS_MAX, "it goes round in a circle");
            if self.life.stops.is_some_and(|at| steps >= at) {
                stop.request();
            }
            if let Some(time) = &mut self.life.time {
                clock.advance(Duration::from_micros(time.below(20) as u64));
            }
            self.life.pick(of)
        };
        let report = engine.run_in_steps(loads, source, sink, &mut revise, Some(keeping), &mut pick)?;
        report.ledger.check()?;
        Ok(if report.interrupted { Ended::Interrupted } else { Ended::Complete })
    }

    fn loads(&self, from: Option<&Checkpoint>, tables: usize) -> Result<Loads, Box<dyn Error>> {
        Ok(match from {
            Some(_) if self.canary == Some(Canary::TablesAreEmpty) => (0..tables).map(|_| None).collect(),
            Some(from) => from.tables()?.into_iter().map(Some).collect(),
            None if self.case.gated => (0..tables).map(|_| None).collect(),
            None => {
                let load = |table| Box::new(Loaded::new(self.case, table, &schema())) as Box<dyn TableSource>;
                (0..tables).map(load).map(Some).collect()
            }
        })
    }

    /// Where trades go that are written again, if any are.
    fn revise(
        &self,
        disk: &Arc<dyn Disk>,
        from: Option<&Checkpoint>,
        config: &EngineConfig,
    ) -> Result<Option<Hooked<CorrectionFile>>, Box<dyn Error>> {
        if config.corrections.is_none() {
            return Ok(None);
        }
        let encoding = self.case.corrected();
        let path = read::corrections(encoding);
        let (kept, added) = (kept_file(disk, from, &path), self.case.added());
        let columns = added.len();
        let options = OutputOptions::new(Location::Path(path), encoding, schema());
        let file = CorrectionFile::create(OutputOptions { added, kept, ..options }, columns)?;
        Ok(Some(Hooked(file, self.hooks.clone())))
    }

    fn sink(
        &self,
        disk: &Arc<dyn Disk>,
        from: Option<&Checkpoint>,
        tables: &[TableSpec],
    ) -> Result<Beside<Output>, Box<dyn Error>> {
        let kept = |path: &Path| kept_file(disk, from, path);
        let letters = read::letters(self.case.letters);
        let kept_letters = match self.case.rotation() {
            Some(_) => {
                let outputs = from.map(|from| from.manifest().outputs.as_slice()).unwrap_or_default();
                let from = resume_letter_files(disk, &letters, outputs)?;
                Some(Kept { disk: Arc::clone(disk), owner: OWNER.to_owned(), from })
            }
            None => kept(&letters),
        };
        let letters = self.case.has_letters().then(|| {
            DeadLetters::create(DeadLetterOptions {
                kept: kept_letters,
                disk: Arc::clone(disk),
                location: Location::Path(letters),
                encoding: Encoding { format: Format::JsonLines, compression: self.case.letters },
                schema: schema(),
                tables: tables.to_vec(),
                letters: None,
                time: LetterTime::None,
                bytes_max: None,
                rotation: self.case.rotation(),
            })
        });
        let letters = letters.transpose()?;
        let path = read::output(self.case.encoding);
        let kept = kept(&path);
        let options = OutputOptions::new(Location::Path(path), self.case.encoding, schema());
        let output = Output::create(OutputOptions { added: self.case.added(), kept, ..options })?;
        Ok(match letters {
            Some(letters) => letters.beside(output),
            None => Beside::nothing(output),
        })
    }
}

/// How a file of the run is kept.
fn kept_file(disk: &Arc<dyn Disk>, from: Option<&Checkpoint>, path: &Path) -> Option<Kept> {
    let outputs = from.map(|from| from.manifest().outputs.as_slice()).unwrap_or_default();
    let name: std::path::PathBuf = path.components().collect();
    let from = outputs.iter().find(|output| Path::new(&output.name) == name).cloned();
    Some(Kept { disk: Arc::clone(disk), owner: OWNER.to_owned(), from })
}
