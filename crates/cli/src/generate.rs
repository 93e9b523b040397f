//! `tradejoin generate`.

use std::path::Path;
use std::sync::Arc;

use tradejoin_connectors::{
    Encoding, Format, Location, MessageWriter, Output, OutputHandle, OutputOptions, Readiness, TableKind,
    TableWriter, WriteError, WrittenTable,
};
use tradejoin_flow::{BoxError, End, TableSource};
use tradejoin_generator::{GeneratedSource, Mix, ReferenceRows, Stream};
use tradejoin_model::{Messages, trade_schema};

use crate::args::GenerateArgs;
use crate::failure::{self, UsageError};
use crate::plan;
use crate::same_file;
use crate::signals::{self, HangUp, Signals};
use crate::tell::tell;
use crate::watch::{Bar, Progress};

/// Messages in a block.
const BLOCK_LEN: usize = 8_192;

/// Carries out the command, and gives its exit code.
pub(crate) fn generate(args: &GenerateArgs) -> anyhow::Result<u8> {
    let signals = Signals::install(HangUp::Ends)?;
    check(args)?;
    let stopped = match &args.output {
        Some(output) => interleaved(args, output, &signals)?,
        None => apart(args, &signals)?,
    };
    let Some(handle) = stopped else { return Ok(failure::OK) };
    tell!("{}", signals::partial_note(Some(&handle)));
    Ok(failure::INTERRUPTED)
}

/// Refuses combinations of outputs that make no sense.
fn check(args: &GenerateArgs) -> anyhow::Result<()> {
    let paths = [&args.trades, &args.instruments, &args.users];
    let paths: Vec<&Path> = paths.into_iter().filter_map(Option::as_deref).collect();
    for (index, path) in paths.iter().enumerate() {
        if paths[..index].iter().any(|other| same_file::is_same_file(other, path)) {
            let text = format!("two outputs go to {}: give each a name of its own", path.display());
            return Err(UsageError(text).into());
        }
    }
    if args.stream.mix.is_some() && args.output.is_none() {
        let text =
            "--mix says how trades and changes mix, and files of their own hold no changes: use --output";
        return Err(UsageError(text.to_owned()).into());
    }
    Ok(())
}

/// The handle of an output that was stopped before its end.
type Stopped = Option<OutputHandle>;

/// One stream of trades and changes.
fn interleaved(args: &GenerateArgs, output: &Path, signals: &Signals) -> anyhow::Result<Stopped> {
    let stream = plan::stream(&args.stream, Mix::article())?;
    let (location, encoding) = destination(output, args, Format::JsonLines)?;
    if encoding.format != Format::JsonLines {
        let text = "one stream of trades and changes is JSON Lines: name it .jsonl, or write --trades, --instruments and --users apart";
        return Err(UsageError(text.to_owned()).into());
    }
    let mut tables = vec![instruments(&stream)];
    tables.extend(stream.config().mix.has_users().then(|| WrittenTable::from(TableKind::Users)));
    let mut writer = MessageWriter::create(&location, encoding, &trade_schema(), &tables)?;
    let note = Note::new(signals, writer.handle());
    let (mut messages, bar) = source(args, stream);
    let write = |messages| {
        bar.tick();
        writer.write(&messages)
    };
    let end = copy(signals, || Ok(messages.next()), write)?;
    writer.close(end)?;
    Ok(note.at(end))
}

/// Trades and tables in files of their own.
fn apart(args: &GenerateArgs, signals: &Signals) -> anyhow::Result<Stopped> {
    let stream = plan::stream(&args.stream, Mix::bare(args.users.is_some()))?;
    let tables = [
        (instruments(&stream), &args.instruments, ReferenceRows::instruments(Arc::clone(&stream))),
        (TableKind::Users.into(), &args.users, ReferenceRows::users(Arc::clone(&stream))),
    ];
    for (table, path, mut rows) in tables {
        let Some(path) = path else { continue };
        let (location, encoding) = destination(path, args, Format::Csv)?;
        let mut writer = TableWriter::create(location, encoding, table)?;
        let note = Note::new(signals, writer.handle());
        let end = copy(signals, || rows.next(), |lane| writer.write(&lane))?;
        writer.close(end)?;
        if let Some(handle) = note.at(end) {
            return Ok(Some(handle));
        }
    }
    let Some(path) = &args.trades else { return Ok(None) };
    let (location, encoding) = destination(path, args, Format::Csv)?;
    let options = OutputOptions::new(location, encoding, trade_schema());
    let mut output = Output::create(options)?;
    let note = Note::new(signals, output.handle());
    let (mut messages, bar) = source(args, stream);
    let write = |messages: Messages| {
        bar.tick();
        output.write_batch(&messages.trades)
    };
    let end = copy(signals, || Ok(messages.next()), write)?;
    output.close(end)?;
    Ok(note.at(end))
}

/// Instruments, which in a stream of days say when they are valid.
fn instruments(stream: &Stream) -> WrittenTable {
    WrittenTable { kind: TableKind::Instruments, has_validity: stream.config().days.is_some() }
}

/// Writes what there is, until its end or a signal.
fn copy<T>(
    signals: &Signals,
    mut next: impl FnMut() -> Result<Option<T>, BoxError>,
    mut write: impl FnMut(T) -> Result<(), WriteError>,
) -> anyhow::Result<End> {
    while !signals.stop().is_requested() {
        let Some(some) = next().map_err(anyhow::Error::from_boxed)? else { return Ok(End::Complete) };
        write(some)?;
    }
    Ok(End::Interrupted)
}

/// Names the output that is being written if the command is interrupted.
struct Note(OutputHandle);

impl Note {
    fn new(signals: &Signals, handle: OutputHandle) -> Self {
        let stuck = handle.clone();
        signals.before_the_end(move || tell!("{}", signals::partial_note(Some(&stuck))));
        Self(handle)
    }

    fn at(self, end: End) -> Stopped {
        (end == End::Interrupted).then_some(self.0)
    }
}

fn source(args: &GenerateArgs, stream: Arc<Stream>) -> (impl Iterator<Item = Messages>, Bar) {
    let limit = args.stream.limit.unwrap_or(plan::GENERATED_MESSAGES);
    let source = GeneratedSource::new(stream, 0..limit, BLOCK_LEN);
    let mut bar = Bar::new(Readiness::default(), args.quiet);
    bar.begin(Progress::Messages(source.progress(), limit), None);
    (source.made(), bar)
}

fn destination(path: &Path, args: &GenerateArgs, fallback: Format) -> anyhow::Result<(Location, Encoding)> {
    let location = Location::of_output(path);
    let is_named = Encoding::of_location(&location).is_ok();
    let forced = args.format.as_deref().filter(|_| !is_named);
    let encoding = plan::output(&location, forced, Encoding::plain(fallback))?;
    Ok((location, encoding))
}
