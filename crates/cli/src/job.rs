//! What a run reads: everything that is open before the first trade.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use arrow_schema::SchemaRef;
use tradejoin_connectors::{
    AddedColumn, BadRecords, Format, GateTimeout, InputOptions, LastRead, Letters, Limits, LoadedTable,
    MessagesOptions, OpenChanges, Readiness, Replayed, SelectedTable, Selection, TableColumns,
    TableDefinition, TableKind, TableMode, TableOptions, TradesOptions, open_changes, open_letters,
    open_messages, open_table, open_trades, select_outputs,
};
use tradejoin_engine::{EngineError, Stop};
use tradejoin_flow::{Source, SourcePosition, TableSource};
use tradejoin_generator::{GeneratedSource, Mix};
use tradejoin_model::{Distribution, LookUp, TableSpec};

use crate::args::{InputArgs, RunArgs};
use crate::bad;
use crate::changes::{self, Changed, Changes, ChangesJournal};
use crate::correct;
use crate::destination::Destination;
use crate::failure::UsageError;
use crate::gates;
use crate::limits;
use crate::modes::modes;
use crate::plan;
use crate::policy;
use crate::reload::{WatchedFile, WatchedTable, as_in_journal, check_groups, described, read_journal};
use crate::watch::Progress;

/// The inputs of a run, open.
pub(crate) struct Job {
    pub(crate) tables: Vec<TableSpec>,
    pub(crate) loads: Vec<Option<Box<dyn TableSource>>>,
    pub(crate) source: Box<dyn Source>,
    pub(crate) progress: Progress,
    /// The trades' own columns, and what the output adds.
    pub(crate) schema: SchemaRef,
    pub(crate) added: Vec<AddedColumn>,
    /// What the tables hold, and what each output is made of: see [`Selection::held`].
    pub(crate) held: BTreeMap<String, String>,
    pub(crate) bad_records: BadRecords,
    /// The letters that the trades come from, if they do.
    pub(crate) letters: Option<Letters>,
    /// The tables whose files are watched.
    pub(crate) watched: Vec<WatchedTable>,
    /// What a journal says of each table that changes, before it is loaded.
    pub(crate) described: Vec<(LoadedTable, LookUp)>,
    /// The changes beside the trades.
    pub(crate) changes: Option<Changes>,
}

impl Job {
    /// Opens what the arguments name, to go on from where it was read to if `from` says so.
    /// Its tables show up in `readiness`.
    pub(crate) fn open(
        args: &RunArgs,
        destination: &Destination,
        readiness: &Readiness,
        stop: &Stop,
        from: Option<&SourcePosition>,
    ) -> anyhow::Result<Self> {
        check(args)?;
        destination.check_against(&inputs(args), args)?;
        let mut job = match (&args.input.trades, &args.input.messages) {
            (Some(trades), _) => files(args, trades, destination, readiness, stop, from),
            (None, Some(messages)) => interleaved(args, messages, destination, readiness, stop),
            (None, None) => generated(args),
        }?;
        if let Some(from) = from {
            job.source.go_on_from(from).map_err(EngineError::Source)?;
        }
        Ok(job)
    }
}

/// The files that a run reads, as they were named.
pub(crate) fn inputs(args: &RunArgs) -> Vec<&Path> {
    let input = &args.input;
    let paths = [
        &input.trades,
        &input.instruments,
        &input.users,
        &input.messages,
        &args.changes.table_changes,
        &args.reload.replay_journal,
        &args.config,
    ];
    let others = input.table.iter().map(|table| table.file.as_path());
    paths.into_iter().filter_map(Option::as_deref).chain(others).collect()
}

/// Refuses combinations of inputs that make no sense.
fn check(args: &RunArgs) -> anyhow::Result<()> {
    let input = &args.input;
    let usage = |text: &str| Err(UsageError(text.to_owned()).into());
    check_files(input)?;
    limits::check_files(args)?;
    let reloads = [
        ("--watch", args.reload.watch.is_some()),
        ("--replay-journal", args.reload.replay_journal.is_some()),
    ];
    if let Some((flag, _)) = reloads.into_iter().find(|(_, is_given)| *is_given && input.trades.is_none()) {
        return usage(&format!("{flag} is for the tables beside --trades, and there are none"));
    }
    changes::check(args)?;
    if args.reload.journal.is_some() && args.reload.watch.is_none() && args.changes.table_changes.is_none() {
        return usage("--journal is for tables that change: add --watch or --table-changes");
    }
    let guards = ["max_removed", "min_rows", "reload_group", "settle", "keep_generations", "generations"]
        .into_iter()
        .find(|flag| args.is_given(flag));
    if let Some(flag) = guards.filter(|_| args.reload.watch.is_none()) {
        return usage(&format!("--{} is for tables that are watched: add --watch", flag.replace('_', "-")));
    }
    if input.strict && input.trades.is_none() {
        return usage("--strict is for the tables beside --trades, and there are none");
    }
    gates::check(input)?;
    bad::check(args)?;
    let is_read = input.trades.is_some() || input.messages.is_some();
    match args.stream.generator_flag().filter(|_| is_read) {
        Some(flag) => usage(&format!("{flag} is for generated streams, and this one is read")),
        None => Ok(()),
    }
}

/// Refuses trades without tables, tables without trades, and an input that is two.
pub(crate) fn check_files(input: &InputArgs) -> Result<(), UsageError> {
    let has_table = input.instruments.is_some() || input.users.is_some() || !input.table.is_empty();
    let usage = |text: &str| Err(UsageError(text.to_owned()));
    if input.trades.is_none() && has_table {
        return usage("a table without trades: give --trades");
    }
    if input.trades.is_some() && !has_table {
        let text =
            "trades without a table to join them with: give --instruments, --users, --table or more of them";
        return usage(text);
    }
    let files = [&input.trades, &input.instruments, &input.users].into_iter().filter_map(Option::as_deref);
    let files = files.chain(input.table.iter().map(|table| table.file.as_path()));
    if files.filter(|file| *file == Path::new("-")).count() > 1 {
        return usage("standard input can be read once: one of the files may be -");
    }
    Ok(())
}

/// A generated stream, all of whose tables come with it.
fn generated(args: &RunArgs) -> anyhow::Result<Job> {
    let stream = plan::stream(&args.stream, Mix::article())?;
    let tables = plan::generated_tables(&stream.config().mix);
    let kinds = [TableKind::Instruments, TableKind::Users];
    let kinds = &kinds[..tables.len()];
    let offers: Vec<_> =
        kinds.iter().map(|&kind| TableColumns { table: kind.into(), columns: vec![] }).collect();
    let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
    let are_days = stream.config().days.is_some();
    let modes = modes(&args.look_ups, &names)?;
    let is_there = |(kind, mode): (&TableKind, &TableMode)| match mode {
        TableMode::Latest => true,
        TableMode::LatestVersion { .. } => false,
        TableMode::AsOf { .. } => are_days && *kind == TableKind::Instruments,
    };
    if !kinds.iter().zip(&modes).all(is_there) {
        let text = "generated tables have neither times nor versions: their mode is latest, \
                    but with --days that of instruments may be as-of";
        return Err(UsageError(text.to_owned()).into());
    }
    if policy::needs_time(&args.engine.on_miss) && !are_days {
        let text = "generated trades wait by their number, hold=100000rows, or by the clock, hold=30s,clock=processing";
        return Err(UsageError(text.to_owned()).into());
    }
    correct::check_generated(args, are_days)?;
    let schema = tradejoin_model::trade_schema();
    let Selection { mut tables, added, held } = select(&offers, &schema, &args.columns)?;
    set_look_ups(&mut tables, &modes);
    let limit = args.stream.limit.unwrap_or(plan::GENERATED_MESSAGES);
    let workers = plan::workers(args.engine.workers)?;
    let batch_len = plan::batch_len(args.engine.batch_len, workers);
    let source = GeneratedSource::new(stream, 0..limit, batch_len);
    Ok(Job {
        loads: tables.iter().map(|_| None).collect(),
        tables: tables.into_iter().map(|table| table.spec).collect(),
        progress: Progress::Messages(source.progress(), limit),
        source: Box::new(source),
        schema,
        added,
        held,
        bad_records: BadRecords::default(),
        letters: None,
        watched: Vec::new(),
        described: Vec::new(),
        changes: None,
    })
}

/// Trades and tables in files of their own.
fn files(
    args: &RunArgs,
    trades: &Path,
    destination: &Destination,
    readiness: &Readiness,
    stop: &Stop,
    from: Option<&SourcePosition>,
) -> anyhow::Result<Job> {
    let format = args.input.format.as_deref();
    let trades = plan::input(trades, format, None)?;
    let shared = Shared::new(args, readiness, stop, &trades)?;
    // Before anything waits for a line: one writer may have to open all pipes first.
    let opened = args.changes.table_changes.as_deref().map(|path| shared.open_changes(path)).transpose()?;
    let tables = joined_tables(&args.input)?;
    let input_of = |path: &Path| anyhow::Ok(shared.apply(plan::input(path, None, format)?).with_pipe_open()?);
    let inputs = tables.iter().map(|(_, path, _)| input_of(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let trades = trades.with_pipe_open()?;
    let (mut readers, mut files) = (Vec::new(), Vec::new());
    for ((table, path, _), input) in tables.into_iter().zip(inputs) {
        let file = WatchedFile::new(path, format).with_limits(shared.limits);
        let file = file.with_bad_records(shared.on_bad_record);
        if args.reload.watch.is_some() {
            file.check()?;
        }
        files.push(file);
        readers.push(open_table(TableOptions { input, table, strict: args.input.strict })?);
    }
    let key_columns = readers.iter().map(|reader| reader.table().trade_key()).collect();
    let fields = destination.fields(trades.encoding.format);
    let names: Vec<_> = readers.iter().map(|reader| reader.table().name()).collect();
    let modes = modes(&args.look_ups, &names)?;
    let mut changed = Vec::new();
    for (reader, mode) in readers.iter_mut().zip(&modes) {
        if args.changes.table_changes.is_some() {
            changed.push(Changed::new(reader, mode));
        }
        reader.set_mode(mode)?;
    }
    let input = InputOptions { gate_timeout: None, ..shared.apply(trades) };
    let options = TradesOptions { input, limit: args.stream.limit, key_columns, fields };
    let (mut trades, letters) = if args.of_letters {
        let (trades, letters) = open_letters(options)?;
        (trades, Some(letters))
    } else {
        (open_trades(options)?, None)
    };
    if let Some(timeout) = &shared.gate_timeout {
        timeout.restart();
    }
    let by_time = changes::need_times(args);
    if by_time {
        changes::check_times(&trades.schema())?;
    }
    args.correct.check_times(&trades.schema())?;
    let by_time = by_time || policy::needs_time(&args.engine.on_miss) || args.correct.needs_time();
    if by_time || modes.iter().any(TableMode::needs_times) {
        trades.require_times()?;
    }
    let offers: Vec<_> = readers
        .iter()
        .map(|reader| TableColumns { table: reader.table().clone(), columns: reader.columns().to_vec() })
        .collect();
    let schema = trades.schema();
    let Selection { mut tables, added, held } = select(&offers, &schema, &args.columns)?;
    set_look_ups(&mut tables, &modes);
    for ((reader, table), (.., distribution)) in
        readers.iter_mut().zip(&mut tables).zip(joined_tables(&args.input)?)
    {
        reader.load(&table.fields)?;
        table.spec.distribution = distribution;
    }
    let names: Vec<_> = readers.iter().map(|reader| reader.table().name().to_owned()).collect();
    check_groups(&args.reload.reload_group, &names)?;
    let journal = args.reload.replay_journal.as_deref().map(|path| read_journal(path, &names)).transpose()?;
    let of_table = |(table, mode): (_, &TableMode)| (described(table, mode), mode.look_up());
    let described = tables.iter().zip(&modes).map(of_table).collect();
    // What repeats a run writes nothing down, and where checkpoints are kept it is done with them.
    let is_journaled = args.changes.table_changes.is_some()
        && args.reload.journal.is_some()
        && args.kept.checkpoint.is_none()
        && !args.in_turn;
    let mut watched = Vec::new();
    let mut loads: Vec<Option<Box<dyn TableSource>>> = Vec::new();
    for ((index, reader), file) in readers.into_iter().enumerate().zip(files) {
        let load: Box<dyn TableSource> = if let Some(journal) = &journal {
            as_in_journal(reader, &tables[index], &modes[index], journal, index)?
        } else if args.reload.watch.is_some() || is_journaled {
            let (table, load) = WatchedTable::new(index, file, reader, &tables[index], &modes[index]);
            watched.push(table);
            load
        } else {
            Box::new(reader)
        };
        loads.push(Some(load));
    }
    let (schema, is_stream) = (trades.schema(), trades.is_stream());
    let mut source: Box<dyn Source> = match journal {
        Some(journal) => Box::new(Replayed::new(trades, journal).stopped_by(stop.flag())),
        None => Box::new(trades),
    };
    let mut beside = None;
    if let Some(opened) = opened {
        let journal = is_journaled.then(|| ChangesJournal::new(std::mem::take(&mut watched)));
        let changed =
            changed.into_iter().zip(&tables).map(|(changed, table)| changed.with_fields(&table.fields));
        let trades = (source, is_stream);
        let (merged, changes) = changes::beside(args, trades, opened, changed.collect(), journal, from)?;
        (source, beside) = (merged, Some(changes));
    }
    Ok(Job {
        tables: tables.into_iter().map(|table| table.spec).collect(),
        loads,
        letters,
        watched,
        described,
        source,
        progress: Progress::Bytes(shared.progress),
        schema,
        added,
        held,
        bad_records: shared.bad_records,
        changes: beside,
    })
}

/// The tables in files of their own, in the order of the tables of the run: what
/// each is, where, and how it is spread unless something else is asked for.
pub(crate) fn joined_tables(
    input: &InputArgs,
) -> anyhow::Result<Vec<(TableDefinition, &Path, Distribution)>> {
    let presets = [(TableKind::Instruments, &input.instruments), (TableKind::Users, &input.users)];
    let presets = presets
        .into_iter()
        .filter_map(|(kind, path)| Some((TableDefinition::from(kind), path.as_deref()?, Distribution::Auto)));
    let others = input.table.iter().map(|arg| {
        let distribution = arg.distribution.unwrap_or_default();
        (arg.table.clone().into(), arg.file.as_path(), distribution)
    });
    let tables: Vec<(TableDefinition, _, _)> = presets.chain(others).collect();
    for (index, (table, ..)) in tables.iter().enumerate() {
        if tables[..index].iter().any(|(other, ..)| other.name() == table.name()) {
            let text = format!("two tables have the name {}: give one of them another", table.name());
            return Err(UsageError(text).into());
        }
    }
    Ok(tables)
}

/// Trades and table changes in one stream.
fn interleaved(
    args: &RunArgs,
    messages: &Path,
    destination: &Destination,
    readiness: &Readiness,
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
    let shared = Shared::new(args, readiness, stop, &input)?;
    let mut reader = open_messages(MessagesOptions {
        input: shared.apply(input),
        limit: args.stream.limit,
        tables: args.input.table_kinds(),
        fields: destination.fields(Format::JsonLines),
        gates: gates::of_stream(&args.input)?,
    })?;
    let kinds: Vec<_> = reader.tables().collect();
    let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
    let modes = modes(&args.look_ups, &names)?;
    for (table, mode) in modes.iter().enumerate() {
        reader.set_mode(table, mode)?;
    }
    args.correct.check_times(&reader.schema())?;
    if policy::needs_time(&args.engine.on_miss) || args.correct.needs_time() {
        reader.require_times()?;
    }
    let offers: Vec<_> = kinds.into_iter().map(TableColumns::of_messages).collect();
    let schema = reader.schema();
    let Selection { mut tables, added, held } = select(&offers, &schema, &args.columns)?;
    set_look_ups(&mut tables, &modes);
    tables.iter().enumerate().for_each(|(index, table)| reader.load(index, &table.fields));
    Ok(Job {
        loads: tables.iter().map(|_| None).collect(),
        tables: tables.into_iter().map(|table| table.spec).collect(),
        source: Box::new(reader),
        progress: Progress::Bytes(shared.progress),
        schema,
        added,
        held,
        bad_records: shared.bad_records,
        letters: None,
        watched: Vec::new(),
        described: Vec::new(),
        changes: None,
    })
}

/// Tells the engine how the tables are looked up.
pub(crate) fn set_look_ups(tables: &mut [SelectedTable], modes: &[TableMode]) {
    for (table, mode) in tables.iter_mut().zip(modes) {
        table.spec.look_up = mode.look_up();
    }
}

/// Selects what the tables add. A comma separates columns, so names are trimmed.
pub(crate) fn select(
    offers: &[TableColumns],
    schema: &SchemaRef,
    columns: &[String],
) -> anyhow::Result<Selection> {
    let requested: Vec<String> = columns.iter().map(|column| column.trim().to_owned()).collect();
    if requested.iter().any(|column| column.is_empty() || column.ends_with(" as")) {
        let text =
            "--columns has an empty name: write NAME, TABLE.NAME or \"NAME as OTHER\", separated by commas";
        return Err(UsageError(text.to_owned()).into());
    }
    let trade_columns = schema.fields().iter().map(|field| field.name().as_str());
    Ok(select_outputs(offers, trade_columns, &requested)?)
}

/// What all inputs of a job have in common.
struct Shared {
    batch_len: usize,
    on_bad_record: tradejoin_connectors::OnBadRecord,
    bad_records: BadRecords,
    progress: tradejoin_connectors::Progress,
    linger: Duration,
    readiness: Readiness,
    gate_timeout: Option<GateTimeout>,
    last_read: Option<LastRead>,
    stop: Stop,
    limits: Limits,
    is_kept: bool,
}

impl Shared {
    fn new(args: &RunArgs, readiness: &Readiness, stop: &Stop, input: &InputOptions) -> anyhow::Result<Self> {
        let workers = plan::workers(args.engine.workers)?;
        Ok(Self {
            batch_len: plan::batch_len(args.engine.batch_len, workers),
            on_bad_record: bad::policy(args),
            bad_records: input.bad_records.clone(),
            progress: input.progress.clone(),
            linger: args.input.linger,
            readiness: readiness.clone(),
            gate_timeout: args.input.gate_timeout.map(GateTimeout::new),
            last_read: args.last_read.clone(),
            stop: stop.clone(),
            limits: args.input.limits.limits(&args.engine)?,
            is_kept: args.kept.checkpoint.is_some(),
        })
    }

    fn open_changes(&self, path: &Path) -> anyhow::Result<(OpenChanges, InputOptions)> {
        let input = InputOptions { gate_timeout: None, ..self.apply(changes::input(path)?) };
        Ok((open_changes(input.clone())?, input))
    }

    fn apply(&self, input: InputOptions) -> InputOptions {
        InputOptions {
            batch_len: self.batch_len,
            on_bad_record: self.on_bad_record,
            bad_records: self.bad_records.clone(),
            progress: self.progress.clone(),
            linger: self.linger,
            readiness: self.readiness.clone(),
            gate_timeout: self.gate_timeout.clone(),
            last_read: self.last_read.clone(),
            stop: Some(self.stop.flag()),
            limits: self.limits,
            is_kept: self.is_kept,
            ..input
        }
    }
}
