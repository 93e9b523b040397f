//! Runs that are kept: checkpoints in a folder, and the run that goes on from the last one.

mod command;
mod every;
mod query;
mod report;
mod streams;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueHint};
use indicatif::HumanCount;
use tradejoin_checkpoint::{Checkpoint, CheckpointError, EndState, Job as KeptJob, Store};
use tradejoin_connectors::{
    Compression, Encoding, Kept, KeptJournal, LoadedTable, Location, Output, ResumeError, resume_letter_files,
};
use tradejoin_disk::{Disk, FaultyDisk, ParseFaultsError, RealDisk};
use tradejoin_engine::Keeping;
use tradejoin_flow::{Keep, OutputPosition, SourcePosition, TableSource};
use tradejoin_model::{Ledger, LookUp, TableLedger, TableSpec};

use crate::arg_values::number;
use crate::args::RunArgs;
use crate::failure::UsageError;
use crate::job;
use crate::reload::WatchedTable;
use crate::same_file;
use crate::settings::Settings;
use crate::style::WARNING;
use crate::tell::tell;

pub(crate) use command::{CheckpointCommand, checkpoint};
pub(crate) use every::Every;
pub(crate) use query::told_columns;
pub(crate) use report::KeptSummary;
pub(crate) use streams::streams;

/// The faults that the file system is to have, for tests of what a run does then.
const FAULTS: &str = "TRADEJOIN_FAULTS";

#[derive(Debug, Args)]
#[command(next_help_heading = "Checkpoints")]
pub(crate) struct CheckpointArgs {
    /// Keep checkpoints in this folder, and go on from the last one there: killed at any moment, the
    /// same command goes on where the run was, with any number of workers, and ends with the output of
    /// one that was never killed. Once it is complete, it does nothing. Standard output, pipes and
    /// devices cannot be taken back: they get rows at least once, those behind the last checkpoint again
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(crate) checkpoint: Option<PathBuf>,

    /// How often: after so much time, 10s, or so many trades, 20000rows
    #[arg(long, value_name = "EVERY", default_value = "10s", requires = "checkpoint")]
    pub(crate) checkpoint_every: Every,

    /// How many of the last ones to keep
    #[arg(long, value_name = "N", default_value_t = 3, requires = "checkpoint", allow_negative_numbers = true, value_parser = |text: &str| number::<u32>(text, 1..=1_000))]
    pub(crate) checkpoint_keep: u32,
}

/// The folder of a run that is kept, and what it goes on from.
pub(crate) struct KeptRun {
    disk: Arc<dyn Disk>,
    store: Store,
    from: Option<Checkpoint>,
    every: Every,
    keep: usize,
}

impl KeptRun {
    /// Opens the folder of a run, if it is to be kept, and says what is damaged there.
    pub(crate) fn open(args: &RunArgs, disk: &Arc<dyn Disk>) -> anyhow::Result<Option<Self>> {
        let CheckpointArgs { checkpoint, checkpoint_every, checkpoint_keep } = &args.kept;
        let Some(folder) = checkpoint else { return Ok(None) };
        check(args)?;
        check_apart(args, folder)?;
        let disk = Arc::clone(disk);
        let store = Store::open(Arc::clone(&disk), folder)?;
        let from = store.latest()?;
        for over in from.iter().flat_map(Checkpoint::passed_over) {
            let reason = &over.reason;
            tell!("{WARNING}warning{WARNING:#}: checkpoint {} is passed over: {reason}", over.epoch);
        }
        Ok(Some(Self { disk, store, from, every: *checkpoint_every, keep: *checkpoint_keep as usize }))
    }

    /// Where it goes on, for people, or that it does not though that may be a surprise; and
    /// which of its outputs are `streams`.
    pub(crate) fn begins_at(&self, streams: &[String]) -> Vec<String> {
        let again = (!streams.is_empty()).then(|| {
            let names = streams.join(", ");
            match &self.from {
                Some(from) => {
                    format!("rows of {names} behind checkpoint {} come again", from.manifest().epoch)
                }
                None => format!(
                    "rows of {names} come at least once: those behind the last checkpoint come again when \
                     the run goes on"
                ),
            }
        });
        self.place().into_iter().chain(again).collect()
    }

    fn place(&self) -> Option<String> {
        let Some(from) = &self.from else {
            let folder = self.store.folder().display();
            return self.store.has_files_alone().is_ok_and(|has| has).then(|| {
                format!(
                    "{folder} has files that were written for a checkpoint, and none: the run begins anew"
                )
            });
        };
        let manifest = from.manifest();
        let trades = HumanCount(manifest.trades);
        Some(format!("going on from checkpoint {}, behind {trades} trades", manifest.epoch))
    }

    /// How many bad records were left out before.
    pub(crate) fn bad_before(&self) -> u64 {
        let by_input = self.from.iter().flat_map(|from| from.manifest().bad.values());
        by_input.fold(0, |sum, &bad| sum.saturating_add(bad))
    }

    /// How an output of the run is kept.
    ///
    /// # Errors
    /// If it is a file of which the checkpoint does not tell: what an earlier life has written
    /// of it would be lost.
    pub(crate) fn output(&self, location: &Location) -> Result<Kept, ResumeError> {
        let outputs = self.from.as_ref().map(|from| from.manifest().outputs.as_slice()).unwrap_or_default();
        let from = match location {
            Location::Path(path) => {
                let is_at =
                    |output: &&OutputPosition| same_file::is_same_place(Path::new(&output.name), path);
                let from = outputs.iter().find(is_at).cloned();
                if from.is_none() && self.from.is_some() && !streams::is_stream(location) {
                    let names: Vec<_> = outputs.iter().map(|output| output.name.as_str()).collect();
                    return Err(ResumeError::Other { name: names.join(", ") });
                }
                from
            }
            // Nothing of it can be gone on with.
            Location::Standard => None,
        };
        Ok(Kept { disk: Arc::clone(&self.disk), owner: self.store.owner(), from })
    }

    /// How the dead letters of the run are kept, which may be in several files.
    pub(crate) fn letters(&self, location: &Location, is_rotated: bool) -> anyhow::Result<Kept> {
        let (Location::Path(path), true) = (location, is_rotated) else { return Ok(self.output(location)?) };
        let outputs = self.from.as_ref().map(|from| from.manifest().outputs.as_slice()).unwrap_or_default();
        let from = resume_letter_files(&self.disk, path, outputs)?;
        Ok(Kept { disk: Arc::clone(&self.disk), owner: self.store.owner(), from })
    }

    /// What was written to inputs behind what was read of them, for people.
    pub(crate) fn unread(&self) -> Vec<String> {
        let inputs = self.from.iter().flat_map(|from| &from.manifest().source.inputs);
        let unread = inputs.filter_map(|input| {
            let file = fs::metadata(&input.name).ok().filter(fs::Metadata::is_file)?;
            let more = file.len().checked_sub(input.file_bytes?).filter(|&more| more > 0)?;
            let (name, more) = (&input.name, HumanCount(more));
            Some(format!(
                "{name} has {more} bytes more than were read: to have them, begin anew in another folder"
            ))
        });
        unread.collect()
    }

    /// How far the inputs were read.
    pub(crate) fn source_position(&self) -> Option<&SourcePosition> {
        self.from.as_ref().map(|from| &from.manifest().source)
    }

    /// What the tables are loaded from in the place of `loads`; those whose files are watched
    /// are told.
    pub(crate) fn tables(
        &self,
        loads: &mut Vec<Option<Box<dyn TableSource>>>,
        watched: &mut [WatchedTable],
    ) -> anyhow::Result<()> {
        let Some(from) = &self.from else { return Ok(()) };
        *loads = from.tables()?.into_iter().map(Some).collect();
        for table in watched {
            let load = &mut loads[table.index()];
            *load = load.take().map(|rows| table.go_on_from(rows));
        }
        Ok(())
    }

    /// What became of all, if there is nothing left to do; brings to its end what a run that is
    /// complete has left behind.
    ///
    /// # Errors
    /// If the checkpoint is of another job, or of other outputs, or one cannot be brought to its
    /// end.
    pub(crate) fn complete(
        &self,
        args: &RunArgs,
        settings: &Settings,
        held: &BTreeMap<String, String>,
        tables: &[TableSpec],
    ) -> anyhow::Result<Option<&Ledger>> {
        let Some(from) = &self.from else { return Ok(None) };
        from.fits(&self.job(settings, held, tables))?;
        if args.input.strict {
            self.check_keys(from, tables)?;
        }
        if from.manifest().end != Some(EndState::Complete) {
            return Ok(None);
        }
        // They may have been links to other files.
        let letters = Some(&args.letters).filter(|letters| letters.rotation().is_none());
        let letters = letters.and_then(|letters| letters.dead_letters.as_deref());
        let journal = args.reload.journal.as_deref();
        let paths = [args.output.as_deref(), letters, args.correct.path(), journal];
        for path in paths.into_iter().flatten() {
            self.output(&Location::of_output(path))?;
        }
        let outputs = &from.manifest().outputs;
        outputs.iter().try_for_each(|output| Output::republish(&self.disk, output))?;
        Ok(Some(&from.manifest().ledger))
    }

    /// Refuses rows of which `--strict` says that there may be none: they are not read again.
    fn check_keys(&self, from: &Checkpoint, tables: &[TableSpec]) -> Result<(), CheckpointError> {
        let ledgers = from.manifest().ledger.tables.iter().zip(tables);
        // By version, rows of one key are none of them too many.
        let is_twice = |(ledger, table): &(&TableLedger, &TableSpec)| {
            ledger.duplicates > 0 && table.look_up != LookUp::LatestVersion
        };
        let Some((ledger, table)) = ledgers.into_iter().find(is_twice) else {
            return Ok(());
        };
        let reason = format!(
            "{} rows of table {} have keys that stand twice, which --strict does not allow",
            ledger.duplicates, table.name
        );
        Err(CheckpointError::DoesNotFit { file: self.store.folder().to_owned(), reason })
    }

    fn job(&self, settings: &Settings, held: &BTreeMap<String, String>, tables: &[TableSpec]) -> KeptJob {
        let before = self.from.as_ref().map(|from| &from.manifest().job);
        KeptJob { query: query::of(settings, held, before), tables: tables.to_vec(), keep: self.keep }
    }

    /// What the engine is told. `held` is what the tables hold, and `described` what a journal
    /// says of each.
    pub(crate) fn begin(
        self,
        args: &RunArgs,
        settings: &Settings,
        held: &BTreeMap<String, String>,
        tables: &[TableSpec],
        described: Vec<(LoadedTable, LookUp)>,
    ) -> anyhow::Result<Keeping<'static>> {
        let journal = args.reload.journal.clone().map(Location::Path);
        let journal = journal.map(|location| Ok::<_, ResumeError>((self.output(&location)?, location)));
        let journal = journal.transpose()?;
        let job = self.job(settings, held, tables);
        let resume = self.from.as_ref().map(Checkpoint::resume).transpose()?;
        let keep = self.store.begin(job, self.from.as_ref())?;
        let keep: Box<dyn Keep> = match journal {
            Some((kept, location)) => Box::new(KeptJournal::new(keep, location, kept, described)?),
            None => Box::new(keep),
        };
        Ok(Keeping { keep, every: self.every.into(), resume })
    }
}

/// Refuses what a run that is kept cannot do.
fn check(args: &RunArgs) -> Result<(), UsageError> {
    if args.letters.dead_letters_keep.is_some() {
        let text = "--checkpoint does not go with --dead-letters-keep: a checkpoint may go on in a file that is gone";
        return Err(UsageError(text.to_owned()));
    }
    let is_packed =
        |path: &PathBuf| Encoding::of_path(path).is_ok_and(|to| to.compression != Compression::None);
    let letters = &args.letters;
    let is_packed = letters.dead_letters.as_ref().is_some_and(is_packed);
    let sizes = [
        ("--dead-letters-max", letters.dead_letters_max),
        ("--dead-letters-rotate", letters.dead_letters_rotate),
    ];
    if let Some((flag, _)) = sizes.into_iter().find(|(_, size)| size.is_some() && is_packed) {
        let text = format!(
            "--checkpoint does not go with {flag} for a packed file: how much was packed is not kept"
        );
        return Err(UsageError(text));
    }
    Ok(())
}

/// Refuses files of a run in the folder of its checkpoints, which removes what has a name that
/// it gives, and locks one.
fn check_apart(args: &RunArgs, folder: &Path) -> Result<(), UsageError> {
    let inputs = job::inputs(args).into_iter().map(|path| ("an input", path));
    let outputs = [
        ("the output", args.output.as_deref()),
        ("--dead-letters", args.letters.dead_letters.as_deref()),
        ("--journal", args.reload.journal.as_deref()),
        ("--corrections", args.correct.path()),
        ("--control", args.control.control.as_deref()),
    ];
    let outputs = outputs.into_iter().filter_map(|(what, path)| Some((what, path?)));
    match inputs.chain(outputs).find(|(_, path)| same_file::is_at_or_in(path, folder)) {
        Some((what, path)) => {
            let (path, folder) = (path.display(), folder.display());
            let text = format!(
                "{what}, {path}, is in the folder of the checkpoints, {folder}, where files come and go: \
                 give it another place"
            );
            Err(UsageError(text))
        }
        None => Ok(()),
    }
}

/// The file system of a run, with faults if a test asks for them.
pub(crate) fn disk() -> anyhow::Result<Arc<dyn Disk>> {
    let Some(spec) = std::env::var_os(FAULTS) else { return Ok(Arc::new(RealDisk)) };
    let misread = |error: ParseFaultsError| UsageError(format!("{FAULTS}: {error}"));
    let faults = spec.to_string_lossy().parse().map_err(misread)?;
    tell!("{WARNING}warning{WARNING:#}: {FAULTS} is set: the file system will have faults");
    Ok(Arc::new(FaultyDisk::new(Arc::new(RealDisk), faults)))
}

/// Whether there is a checkpoint that a run goes on from.
pub(crate) fn are_there(args: &RunArgs) -> bool {
    let all = |folder: &Path| Store::inspect(Arc::new(RealDisk), folder)?.all();
    let all = folder(args).and_then(|folder| all(folder).ok());
    all.is_some_and(|all| all.iter().any(|listed| listed.is_latest))
}

/// Whether there is something where the checkpoints of a run are to be.
pub(crate) fn is_there(args: &RunArgs) -> bool {
    folder(args).is_some_and(|folder| folder.symlink_metadata().is_ok())
}

/// Where the checkpoints of a run are, to be held against its files.
pub(crate) fn folder(args: &RunArgs) -> Option<&Path> {
    args.kept.checkpoint.as_deref()
}
