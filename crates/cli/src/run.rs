//! `tradejoin run`.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use anyhow::Context as _;
use arrow_schema::SchemaRef;
use tradejoin_connectors::{
    AddedColumn, BadRecords, Encoding, Fields, Format, InputOptions, Location, MessagesOptions, Output,
    OutputHandle, OutputOptions, Selection, TableColumns, TableKind, TableOptions, TradesOptions,
    open_messages, open_table, open_trades, select_outputs,
};
use tradejoin_engine::{Engine, Monitor, Report, Stop};
use tradejoin_flow::{Sink, Source, TableSource};
use tradejoin_generator::{GeneratedSource, Mix};
use tradejoin_model::TableSpec;

use crate::args::{OnBadRecord, RunArgs};
use crate::failure::{self, UsageError};
use crate::sample::Sample;
use crate::style::WARNING;
use crate::summary::Summary;
use crate::watch::{Bar, Limited, Nowhere, Progress};
use crate::{plan, signals};

/// A job: everything that is open before the first trade is read.
struct Job {
    tables: Vec<TableSpec>,
    loads: Vec<Option<Box<dyn TableSource>>>,
    source: Box<dyn Source>,
    progress: Progress,
    /// The trades' own columns, and what the output adds.
    schema: SchemaRef,
    added: Vec<AddedColumn>,
    bad_records: BadRecords,
}

/// Carries out the command, and gives its exit code.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<u8> {
    check(args)?;
    let stop = Stop::default();
    let destination = Destination::new(args)?;
    let job = match (&args.input.trades, &args.input.messages) {
        (Some(trades), _) => files(args, trades, &destination, &stop)?,
        (None, Some(messages)) => interleaved(args, messages, &destination, &stop)?,
        (None, None) => generated(args)?,
    };
    let config = plan::engine_config(&args.engine, job.tables)?;
    let sample = Sample::new(job.added.clone());
    let engine = Engine::new(config).stopped_by(stop.clone());
    let output = destination.create(job.schema, job.added)?;
    let handle = output.as_ref().map(Output::handle);
    signals::install(&stop, last_words(engine.monitor(), handle.clone()))?;

    let bar = Bar::new(job.progress, args.report.quiet || args.report.json);
    let sink: Box<dyn Sink> = match output {
        Some(output) => Box::new(KeepPartial { output, stop }),
        None => Box::new(Nowhere),
    };
    let report = engine.run(job.loads, job.source, sample.of(bar.watch(sink)))?;
    bar.clear();
    warn(&engine, &report, &job.bad_records);
    let summary = Summary::new(engine.config(), &report);
    destination.show(args, &summary, &sample)?;
    if report.interrupted {
        eprintln!("{}", partial_note(handle.as_ref()));
        return Ok(failure::INTERRUPTED);
    }
    Ok(failure::OK)
}

/// Refuses combinations of inputs that make no sense.
fn check(args: &RunArgs) -> anyhow::Result<()> {
    let input = &args.input;
    let tables = [&input.instruments, &input.users];
    let usage = |text: &str| Err(UsageError(text.to_owned()).into());
    if input.trades.is_none() && tables.iter().any(|table| table.is_some()) {
        return usage("a table without trades: give --trades");
    }
    if input.trades.is_some() && tables.iter().all(|table| table.is_none()) {
        return usage("trades without a table to join them with: give --instruments, --users or both");
    }
    let files = [&input.trades, &input.instruments, &input.users];
    if files.iter().filter(|file| file.as_deref() == Some(Path::new("-"))).count() > 1 {
        return usage("standard input can be read once: one of the files may be -");
    }
    if input.trades.is_some() || input.messages.is_some() {
        let stream = &args.stream;
        if stream.mix.is_some() {
            return usage("--mix is for generated streams, and this one is read");
        }
    }
    Ok(())
}

/// Where the enriched trades go.
struct Destination {
    /// `None` for nowhere.
    location: Option<Location>,
    encoding: Encoding,
}

impl Destination {
    fn new(args: &RunArgs) -> anyhow::Result<Self> {
        let is_read = args.input.trades.is_some() || args.input.messages.is_some();
        let location = match &args.output {
            Some(path) => Some(Location::of_argument(path)),
            None if is_read => Some(Location::Standard),
            None => None,
        };
        let fallback = Self::fallback(args)?;
        let encoding = match &location {
            Some(location) => plan::output(location, args.output_format.as_deref(), fallback)?,
            None => Encoding::plain(Format::Csv),
        };
        Ok(Self { location, encoding })
    }

    /// The format of an output whose name does not tell: that of `--format`, or
    /// text of the trades' own kind for standard output.
    fn fallback(args: &RunArgs) -> anyhow::Result<Option<Encoding>> {
        if let Some(format) = &args.input.format {
            return Ok(Some(format.parse()?));
        }
        if args.output.as_deref().is_some_and(|path| path != Path::new("-")) {
            return Ok(None);
        }
        let trades = args.input.trades.as_deref().map(Encoding::of_path);
        let is_json =
            args.input.messages.is_some() || matches!(trades, Some(Ok(e)) if e.format == Format::JsonLines);
        Ok(Some(Encoding::plain(if is_json { Format::JsonLines } else { Format::Csv })))
    }

    /// What is to be made of the fields of trades that come as text.
    fn fields(&self) -> Fields {
        if self.encoding.format.is_text() { Fields::AsText } else { Fields::Typed }
    }

    fn create(&self, schema: SchemaRef, added: Vec<AddedColumn>) -> anyhow::Result<Option<Output>> {
        let Some(location) = self.location.clone() else { return Ok(None) };
        Ok(Some(Output::create(OutputOptions { location, encoding: self.encoding, schema, added })?))
    }

    /// Prints the summary: to standard output, or if the trades go there, to
    /// standard error.
    fn show(&self, args: &RunArgs, summary: &Summary, sample: &Sample) -> anyhow::Result<()> {
        let is_taken = self.location == Some(Location::Standard);
        let mut text = String::new();
        if args.report.json {
            text = summary.json()? + "\n";
        } else if !args.report.quiet && (!is_taken || std::io::stderr().is_terminal()) {
            if let Some(table) = sample.table().filter(|_| !is_taken) {
                text = format!("{table}\n\n");
            }
            text += &summary.text();
        }
        let written = if is_taken {
            anstream::stderr().write_all(text.as_bytes())
        } else {
            anstream::stdout().write_all(text.as_bytes())
        };
        written.context("cannot print the summary")
    }
}

/// A generated stream, all of whose tables come with it.
fn generated(args: &RunArgs) -> anyhow::Result<Job> {
    let stream = plan::stream(&args.stream, Mix::article())?;
    let tables = plan::generated_tables(&stream.config().mix);
    let kinds = [TableKind::Instruments, TableKind::Users];
    let offers: Vec<_> =
        kinds[..tables.len()].iter().map(|&kind| TableColumns { kind, columns: vec![] }).collect();
    let schema = tradejoin_model::trade_schema();
    let Selection { tables, added } = select(&offers, &schema, args)?;
    let limit = args.stream.limit.unwrap_or(plan::GENERATED_MESSAGES);
    let workers = plan::workers(args.engine.workers)?;
    let batch_len = plan::batch_len(args.engine.batch_len, workers);
    let source = GeneratedSource::new(stream, 0..limit, batch_len, blocks_ahead());
    Ok(Job {
        loads: tables.iter().map(|_| None).collect(),
        tables: tables.into_iter().map(|table| table.spec).collect(),
        progress: Progress::Messages(source.progress(), limit),
        source: Box::new(source),
        schema,
        added,
        bad_records: BadRecords::default(),
    })
}

/// How many blocks are generated at once: two for each core.
fn blocks_ahead() -> usize {
    2 * std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Trades and tables in files of their own.
fn files(args: &RunArgs, trades: &Path, destination: &Destination, stop: &Stop) -> anyhow::Result<Job> {
    let format = args.input.format.as_deref();
    let trades = plan::input(trades, format, None)?;
    let shared = Shared::new(args, stop, &trades)?;
    let paths = [(TableKind::Instruments, &args.input.instruments), (TableKind::Users, &args.input.users)];
    let paths = paths.into_iter().filter_map(|(kind, path)| Some((kind, path.as_deref()?)));
    let mut readers = Vec::new();
    for (kind, path) in paths {
        let input = shared.apply(plan::input(path, None, format)?);
        readers.push(open_table(TableOptions { input, kind, strict: args.input.strict })?);
    }
    let key_columns = readers.iter().map(|reader| reader.kind().key_column().to_owned()).collect();
    let input = shared.apply(trades);
    let trades = open_trades(TradesOptions { input, key_columns, fields: destination.fields() })?;
    let offers: Vec<_> = readers
        .iter()
        .map(|reader| TableColumns { kind: reader.kind(), columns: reader.columns().to_vec() })
        .collect();
    let schema = trades.schema();
    let Selection { tables, added } = select(&offers, &schema, args)?;
    readers.iter_mut().zip(&tables).for_each(|(reader, table)| reader.load(&table.fields));
    Ok(Job {
        tables: tables.into_iter().map(|table| table.spec).collect(),
        loads: readers.into_iter().map(|reader| Some(Box::new(reader) as Box<dyn TableSource>)).collect(),
        source: Box::new(Limited::new(trades, args.stream.limit)),
        progress: Progress::Bytes(shared.progress),
        schema,
        added,
        bad_records: shared.bad_records,
    })
}

/// Trades and table changes in one stream.
fn interleaved(
    args: &RunArgs,
    messages: &Path,
    destination: &Destination,
    stop: &Stop,
) -> anyhow::Result<Job> {
    let format = args.input.format.as_deref();
    let input = plan::input(messages, format, Some("jsonl"))?;
    if input.encoding.format != Format::JsonLines {
        return Err(UsageError(
            "--messages are JSON Lines: .jsonl or .ndjson, also with .gz or .zst".to_owned(),
        )
        .into());
    }
    let shared = Shared::new(args, stop, &input)?;
    let options = MessagesOptions { input: shared.apply(input), tables: None, fields: destination.fields() };
    let mut reader = open_messages(options)?;
    let offers: Vec<_> = reader.tables().map(TableColumns::of_messages).collect();
    let schema = reader.schema();
    let Selection { tables, added } = select(&offers, &schema, args)?;
    tables.iter().enumerate().for_each(|(index, table)| reader.load(index, &table.fields));
    Ok(Job {
        loads: tables.iter().map(|_| None).collect(),
        tables: tables.into_iter().map(|table| table.spec).collect(),
        source: Box::new(Limited::new(reader, args.stream.limit)),
        progress: Progress::Bytes(shared.progress),
        schema,
        added,
        bad_records: shared.bad_records,
    })
}

/// Selects what the tables add. A comma separates columns, so names are trimmed.
fn select(offers: &[TableColumns], schema: &SchemaRef, args: &RunArgs) -> anyhow::Result<Selection> {
    let requested: Vec<String> = args.columns.iter().map(|column| column.trim().to_owned()).collect();
    let trade_columns = schema.fields().iter().map(|field| field.name().as_str());
    Ok(select_outputs(offers, trade_columns, &requested)?)
}

/// What all inputs of a job have in common.
struct Shared {
    batch_len: usize,
    on_bad_record: tradejoin_connectors::OnBadRecord,
    bad_records: BadRecords,
    progress: tradejoin_connectors::Progress,
    stop: Stop,
}

impl Shared {
    fn new(args: &RunArgs, stop: &Stop, input: &InputOptions) -> anyhow::Result<Self> {
        let workers = plan::workers(args.engine.workers)?;
        Ok(Self {
            batch_len: plan::batch_len(args.engine.batch_len, workers),
            on_bad_record: match args.input.on_bad_record {
                OnBadRecord::Fail => tradejoin_connectors::OnBadRecord::Fail,
                OnBadRecord::Skip => tradejoin_connectors::OnBadRecord::Skip,
            },
            bad_records: input.bad_records.clone(),
            progress: input.progress.clone(),
            stop: stop.clone(),
        })
    }

    fn apply(&self, input: InputOptions) -> InputOptions {
        InputOptions {
            batch_len: self.batch_len,
            on_bad_record: self.on_bad_record,
            bad_records: self.bad_records.clone(),
            progress: self.progress.clone(),
            stop: Some(self.stop.flag()),
            ..input
        }
    }
}

/// An output that keeps the name of a partial one if the run was stopped.
struct KeepPartial {
    output: Output,
    stop: Stop,
}

impl Sink for KeepPartial {
    fn write(&mut self, enriched: &tradejoin_model::Enriched) -> Result<(), tradejoin_flow::BoxError> {
        self.output.write(enriched)
    }

    fn finish(&mut self) -> Result<(), tradejoin_flow::BoxError> {
        if self.stop.is_requested() {
            self.output.handle().keep_partial();
        }
        self.output.finish()
    }
}

/// What to say if the run does not end by itself.
fn last_words(monitor: Monitor, handle: Option<OutputHandle>) -> impl FnOnce() + Send + 'static {
    move || {
        let ledger = monitor.ledger();
        eprintln!(
            "stopped while something was stuck, after {} trades: {} enriched, {} unmatched, {} rejected",
            ledger.rows_read,
            ledger.enriched,
            ledger.unmatched(),
            ledger.rejected,
        );
        eprintln!("{}", partial_note(handle.as_ref()));
    }
}

fn partial_note(handle: Option<&OutputHandle>) -> String {
    match handle.and_then(OutputHandle::written_path) {
        Some(path) => format!("interrupted; what was written is in {}", path.display()),
        None => "interrupted".to_owned(),
    }
}

/// Says what the user should know of a run that went well.
fn warn(engine: &Engine, report: &Report, bad_records: &BadRecords) {
    let warning = |text: String| anstream::eprintln!("{WARNING}warning{WARNING:#}: {text}");
    let count = bad_records.count();
    if count > 0 {
        warning(format!("{count} bad records were skipped; the first:"));
        bad_records.first().iter().for_each(|record| eprintln!("  {record}"));
    }
    for (table, ledger) in engine.config().tables.iter().zip(&report.ledger.tables) {
        if ledger.duplicates > 0 {
            warning(format!(
                "{} rows of {} have a key that an earlier row has; the later row counts",
                ledger.duplicates, table.name
            ));
        }
    }
}
