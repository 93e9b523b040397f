//! `tradejoin run`.

use std::path::Path;

use tradejoin_connectors::{
    BadRecords, Beside, DeadLetters, DroppedLetters, Letters, Location, Output, OutputHandle, Readiness,
};
use tradejoin_engine::{Engine, EngineConfig, Monitor, Report};
use tradejoin_flow::Sink;
use tradejoin_model::LookUp;

use crate::args::RunArgs;
use crate::bad;
use crate::changes::ChangesReport;
use crate::checkpoint::{self, KeptRun};
use crate::control::{self, Server, Services};
use crate::destination::Destination;
use crate::failure;
use crate::job::Job;
use crate::journals::Journals;
use crate::plan;
use crate::reload::{Around, Store, Watch};
use crate::sample::Sample;
use crate::settings::Settings;
use crate::signals::{self, HangUp, Signals};
use crate::stall::{Names, Opening, Watchdog};
use crate::style::{WARNING, plain};
use crate::summary::Summary;
use crate::tap::Taps;
use crate::tell::tell;
use crate::watch::{Bar, Nowhere, Said};

/// What to do about a run with checkpoints that was interrupted.
const GOES_ON: &str = "the same command goes on where it was";

/// Carries out the command, and gives its exit code.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<u8> {
    let hang_up = if args.reload.watch.is_some() { HangUp::Reloads } else { HangUp::Ends };
    run_under(args, &Signals::install(hang_up)?)
}

/// The same under a watch over signals that stands.
pub(crate) fn run_under(args: &RunArgs, signals: &Signals) -> anyhow::Result<u8> {
    // Taken over before anything is opened that may wait: it must not end the run.
    let hang_up = if args.reload.watch.is_some() { Signals::hang_up()? } else { Default::default() };
    let destination = Destination::new(args)?;
    let disk = checkpoint::disk()?;
    // Whoever has the folder of checkpoints may have the socket, too, and the folder is what
    // tells. One that is not there nobody has: it is not to be left by a run without its socket.
    let locked = if checkpoint::is_there(args) { KeptRun::open(args, &disk)? } else { None };
    let socket = control::socket(args)?;
    socket.iter().for_each(|socket| signals.remove_before_the_end(socket.remover()));
    let kept = locked.map_or_else(|| KeptRun::open(args, &disk), |kept| Ok(Some(kept)))?;
    let store = Store::of(args)?;
    store.iter().for_each(|store| signals.remove_before_the_end(store.remover()));
    let readiness = Readiness::default();
    let is_asked = socket.is_some();
    let server = socket.map(|socket| Server::begin(socket, readiness.clone()));
    let mut server = server.transpose()?;
    let mut bar = Bar::new(readiness.clone(), args.report.quiet || args.report.json);
    let say = bar.say(args.report.quiet || args.report.json);
    let opening = Opening::begin(readiness.clone(), args.stall.stall_warning, say)?;
    let job = Job::open(
        args,
        &destination,
        &readiness,
        signals.stop(),
        kept.as_ref().and_then(KeptRun::source_position),
    );
    drop(opening);
    // What a stop has cut short may be no header, half a footer, or too few lines to tell the columns.
    let is_read = args.input.trades.is_some() || args.input.messages.is_some();
    if is_read && signals.stop().is_requested() {
        return Ok(interrupted_before(kept.is_some()));
    }
    let mut job = job?;
    job.held.extend([checkpoint::told_columns(&job.schema)]);
    let mut config = plan::engine_config(&args.engine, job.tables)?;
    if let Some(name) = &args.wait_column {
        plan::add_wait_column(name, &mut config, &job.schema, &mut job.added)?;
    }
    config.corrections = args.correct.config();
    config.max_bad = args.input.bad.max_bad;
    let settings = Settings::new(args, &destination, &config, &job.added)?;
    if let Some(kept) = &kept {
        if let Some(ledger) = kept.complete(args, &settings, &job.held, &config.tables)? {
            let report = Report { ledger: ledger.clone(), ..Report::default() };
            let summary = Summary::new(&config, &report, settings, &readiness);
            let changes = job.changes.as_ref().map(ChangesReport::new);
            kept.unread().into_iter().for_each(warning);
            return done_before(args, &destination, summary.with_changes(changes));
        }
        kept.tables(&mut job.loads, &mut job.watched)?;
    }
    let letters = destination.create_letters(
        args,
        &config.tables,
        &job.schema,
        job.letters.clone(),
        kept.as_ref(),
        &disk,
    )?;
    let dropped = letters.as_ref().map(DeadLetters::dropped).unwrap_or_default();
    let mut corrections =
        args.correct.create(&destination, &config, &job.schema, &job.added, kept.as_ref(), &disk)?;
    let sample = Sample::new(job.schema.clone(), job.added.clone());
    let taps = is_asked.then(|| Taps::new(job.schema.clone(), job.added.clone()));
    let engine = Engine::new(config).stopped_by(signals.stop().clone());
    let output = destination.create(job.schema, job.added, kept.as_ref(), &disk)?;
    let handle = output.as_ref().map(Output::handle);

    let is_kept = kept.is_some();
    if is_kept {
        signals.wait_for_a_checkpoint();
    }
    let bad_before = kept.as_ref().map_or(0, KeptRun::bad_before);
    let streams = checkpoint::streams(args, &destination);
    let begins_at = kept.as_ref().map(|kept| kept.begins_at(&streams)).unwrap_or_default();
    let tables = &engine.config().tables;
    let keeping = kept.map(|kept| kept.begin(args, &settings, &job.held, tables, job.described));
    let keeping = keeping.transpose()?;
    destination.announce(args.report, &settings)?;
    if !args.report.quiet && !args.report.json {
        begins_at.iter().for_each(|text| tell!("{}", plain(text)));
    }
    bar.begin(job.progress, job.changes.clone());
    let last = LastWords {
        monitor: engine.monitor(),
        config: engine.config().clone(),
        settings: settings.clone(),
        handle: handle.clone(),
        destination: Destination::new(args)?,
        readiness: readiness.clone(),
        dropped: dropped.clone(),
        report: args.report,
    };
    signals.before_the_end(move || last.say());
    // Where checkpoints are kept, it is written with them.
    let journal = args.reload.journal.clone().filter(|_| !is_kept);
    let around =
        Around { updates: engine.updates(), hang_up, stop: signals.stop().clone(), is_asked, store, journal };
    let say = bar.say(args.report.quiet || args.report.json);
    let mut watch = Watch::begin(job.watched, &args.reload, around, say)?;
    if let Some((server, taps)) = server.as_ref().zip(taps.clone()) {
        server.serve(Services { asks: watch.asks(), taps });
    }
    let journals = Journals::begin(args, job.changes.as_ref(), &mut watch, engine.monitor())?;
    let (loads, source) = (job.loads, job.source);
    let output_name = destination.location().map_or("nowhere".into(), Location::output_name);
    let awaits = job.changes.as_ref().map(|changes| changes.progress.clone());
    let names = Names::new(args, &readiness, awaits, output_name);
    // That a pipe is silent is news for those who ask for much.
    let (say, is_quiet) = (bar.say(args.report.json || !args.report.verbose), args.report.quiet);
    let say = move |said: Said<'_>| {
        if !is_quiet {
            say(said)
        }
    };
    let watchdog = Watchdog::begin(engine.pulse(), names, args.stall.stall_warning, say)?;
    let report = match output {
        Some(output) => {
            let sink = beside(letters, Taps::of(taps, sample.of(bar.watch(output))));
            engine.run_kept(loads, source, journals.beside(sink), &mut corrections, keeping)
        }
        None => {
            let sink = beside(letters, Taps::of(taps, sample.of(bar.watch(Nowhere))));
            engine.run_kept(loads, source, journals.beside(sink), &mut corrections, keeping)
        }
    };
    let dropped = bad::Dropped::new(&dropped);
    let report = report.map_err(|error| bad::of_run(error, &job.bad_records)).inspect_err(|error| {
        bar.clear();
        // There is no summary that says it.
        dropped.iter().for_each(|dropped| warning(dropped.to_string()));
        let is_of_system = failure::exit_code(error) == failure::IO && !failure::is_for_nobody(error);
        if is_of_system && !failure::is_of_another(error) && checkpoint::are_there(args) {
            tell!("what was kept stands: the same command goes on from the last checkpoint");
        }
    })?;
    let stalls = watchdog.stalls();
    drop(watchdog);
    bar.clear();
    let finished = watch.finish();
    server.iter_mut().for_each(|server| server.finish(report.interrupted));
    warn(&engine, &report);
    warn_of_bad(args, &job.bad_records, bad_before, job.letters.as_ref());
    let summary = Summary::new(engine.config(), &report, settings, &readiness).with_reloads(watch.reloads());
    let mut summary = summary.with_changes(job.changes.as_ref().map(ChangesReport::new));
    (summary.stalls, summary.dead_letters_dropped) = (stalls, dropped);
    destination.show(args.report, &summary, Some(&sample))?;
    if report.interrupted {
        tell!("{}", signals::partial_note(handle.as_ref()));
        if is_kept {
            tell!("{GOES_ON}");
        }
    }
    finished?;
    Ok(if report.interrupted { failure::INTERRUPTED } else { failure::OK })
}

/// Says that a run has ended before anything of it was read.
fn interrupted_before(is_kept: bool) -> u8 {
    tell!("{}", signals::partial_note(None));
    if is_kept {
        tell!("{GOES_ON}");
    }
    failure::INTERRUPTED
}

/// Says that a run is complete, to programs with what came of it, and does nothing.
fn done_before(args: &RunArgs, destination: &Destination, mut summary: Summary) -> anyhow::Result<u8> {
    if !args.report.quiet {
        let folder = checkpoint::folder(args).unwrap_or(Path::new("")).display();
        tell!("nothing to do: the run of the checkpoints in {folder} is complete");
    }
    if args.report.json {
        summary.already_complete = true;
        destination.show(args.report, &summary, None)?;
    }
    Ok(failure::OK)
}

/// A sink with a file beside it for what is put aside, if there is one.
fn beside<S: Sink>(letters: Option<DeadLetters>, sink: S) -> Beside<S> {
    match letters {
        Some(letters) => letters.beside(sink),
        None => Beside::nothing(sink),
    }
}

/// What to say of a run that was stopped and does not end by itself.
struct LastWords {
    monitor: Monitor,
    config: EngineConfig,
    settings: Settings,
    handle: Option<OutputHandle>,
    destination: Destination,
    readiness: Readiness,
    dropped: DroppedLetters,
    report: crate::args::ReportArgs,
}

impl LastWords {
    fn say(self) {
        let so_far = Report { interrupted: true, ..(*self.monitor.report()).clone() };
        let mut summary = Summary::new(&self.config, &so_far, self.settings, &self.readiness);
        summary.dead_letters_dropped = bad::Dropped::new(&self.dropped);
        // What cannot be printed now cannot be told either.
        let _ = self.destination.show(self.report, &summary, None);
        tell!("a reader or writer was stuck; the file may end in the middle of a row");
        tell!("{}", signals::partial_note(self.handle.as_ref()));
    }
}

fn warning(text: String) {
    tell!("{WARNING}warning{WARNING:#}: {}", plain(&text));
}

/// Says which records were left out, behind those of earlier runs, and which letters were none
/// of a trade.
fn warn_of_bad(args: &RunArgs, bad_records: &BadRecords, before: u64, letters: Option<&Letters>) {
    bad::warning(args, bad_records, before).into_iter().for_each(warning);
    bad_records.first().iter().for_each(|record| tell!("  {}", plain(&record.to_string())));
    match letters.map_or(0, Letters::bad_records) {
        0 => {}
        1 => warning(
            "1 dead letter is of a bad record, and is left where it is: mend its line first".to_owned(),
        ),
        count => warning(format!(
            "{count} dead letters are of bad records, and are left where they are: mend their lines first"
        )),
    }
}

/// Says what the user should know of a run that went well.
fn warn(engine: &Engine, report: &Report) {
    for (table, ledger) in engine.config().tables.iter().zip(&report.ledger.tables) {
        let rows = |count: u64, one: &str, many: &str| match count {
            1 => format!("1 row of {} {one}", table.name),
            count => format!("{count} rows of {} {many}", table.name),
        };
        let what = match table.look_up {
            LookUp::Latest => "a key",
            LookUp::AsOf { .. } => "a key and valid_from",
            // Its rows are versions of each other.
            LookUp::LatestVersion => "",
        };
        if ledger.duplicates > 0 && !what.is_empty() {
            let (one, many) = (format!("has {what}"), format!("have {what}"));
            let rows = rows(ledger.duplicates, &one, &many);
            warning(format!("{rows} that an earlier row has; the later row counts"));
        }
        if ledger.overlaps > 0 {
            let rows = rows(ledger.overlaps, "was", "were");
            warning(format!("{rows} refused: their times overlap that of an earlier row of their key"));
        }
    }
}
