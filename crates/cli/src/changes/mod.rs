//! Changes of tables that come beside the trades.
//!
//! - `reading`: the thread that reads them
//! - `arrivals`: by arrival, the one that reads the trades, so that either wakes the run
//! - `journal`: where each took effect, in a file
//! - `report`: what came of them

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};
use tradejoin_config::nearest;
use tradejoin_connectors::{
    ChangeTable, ChangesBy, ChangesOptions, ChangesProgress, Format, InputOptions, Note, OpenChanges,
    TableDefinition, TableMode, TableReader, TradeFeed, WATERMARK, WithChanges, WithChangesOptions,
    of_trades,
};
use tradejoin_engine::EngineError;
use tradejoin_flow::{Source, SourcePosition};

use crate::arg_values::duration;
use crate::args::RunArgs;
use crate::failure::UsageError;
use crate::plan;

use self::reading::Reading;

mod arrivals;
mod journal;
mod reading;
mod report;

pub(crate) use journal::ChangesJournal;
pub(crate) use report::{ChangesReport, awaited};

/// Columns that a line of changes has for itself.
const TYPE: &str = "type";
const TIMESTAMP: &str = "timestamp";

/// Trades that wait for so long are worth a word.
const LONG_WAIT: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
#[command(next_help_heading = "Table changes")]
pub(crate) struct ChangesArgs {
    /// Changes of the tables beside --trades, as JSON Lines: a file, or - for standard input. A line has
    /// a type (instrument, user, or the name of a --table), a timestamp, and the columns of a row; or its
    /// key and "deleted":true
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) table_changes: Option<PathBuf>,

    /// Where a change takes effect among the trades
    #[arg(long, value_name = "BY", default_value = "timestamp")]
    pub(crate) changes_by: ChangesByArg,

    /// Let trades go on when no line of changes has come for so long: 500ms, 30s; what comes too late then
    /// takes effect where it arrives [default: they wait]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) changes_wait: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ChangesByArg {
    /// Before the first trade whose timestamp is at or after its own
    Timestamp,
    /// Where the trades are when it is read
    Arrival,
}

impl From<ChangesByArg> for ChangesBy {
    fn from(by: ChangesByArg) -> Self {
        match by {
            ChangesByArg::Timestamp => Self::Timestamp,
            ChangesByArg::Arrival => Self::Arrival,
        }
    }
}

/// Changes beside the trades of a run.
#[derive(Clone)]
pub(crate) struct Changes {
    pub(crate) by: ChangesBy,
    pub(crate) progress: ChangesProgress,
    /// Whether a journal is written.
    pub(crate) has_journal: bool,
    /// The journal that is written where they are merged.
    pub(crate) journal: Option<ChangesJournal>,
}

/// A table of the run, as changes need to know it.
pub(crate) struct Changed {
    table: ChangeTable,
}

impl Changed {
    /// A table that was opened, before its mode is set.
    pub(crate) fn new(reader: &TableReader, mode: &TableMode) -> Self {
        let table = reader.table().clone();
        let known = match &table {
            // Without a choice of columns each that is wanted is known.
            TableDefinition::Any(any) if any.columns.is_empty() => {
                Some(reader.file_columns().into_iter().map(|(name, _)| name).collect())
            }
            TableDefinition::Any(_) | TableDefinition::Preset(_) => None,
        };
        Self { table: ChangeTable { table, fields: Vec::new(), mode: mode.clone(), known } }
    }

    /// The same with the fields that it was loaded with.
    pub(crate) fn with_fields(mut self, fields: &[tradejoin_connectors::TableColumn]) -> Self {
        self.table.fields = fields.to_vec();
        self
    }
}

/// Refuses what makes no sense of changes.
pub(crate) fn check(args: &RunArgs) -> Result<(), UsageError> {
    let usage = |text: &str| Err(UsageError(text.to_owned()));
    let changes = &args.changes;
    let Some(file) = &changes.table_changes else {
        let flags = [
            ("--changes-by", args.is_given("changes_by")),
            ("--changes-wait", changes.changes_wait.is_some()),
        ];
        return match flags.into_iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) => {
                usage(&format!("{flag} is for changes beside the trades: add --table-changes FILE"))
            }
            None => Ok(()),
        };
    };
    let input = &args.input;
    if input.messages.is_some() {
        return usage(
            "--table-changes is for trades of --trades: a stream of --messages has its changes among them",
        );
    }
    if input.trades.is_none() {
        return usage("--table-changes is for the tables beside --trades, and there are none");
    }
    if args.of_letters {
        return usage(
            "--table-changes is not for a replay, which joins trades with the tables as they are now",
        );
    }
    if args.reload.watch.is_some() {
        return usage(
            "--table-changes and --watch: a newer file would be compared with rows that changes have replaced; \
             give one of them",
        );
    }
    if args.reload.replay_journal.is_some() {
        return usage("the journal of --replay-journal has the changes: leave out --table-changes");
    }
    let inputs = [&input.trades, &input.instruments, &input.users].into_iter().filter_map(Option::as_deref);
    let mut inputs = inputs.chain(input.table.iter().map(|table| table.file.as_path()));
    if file == Path::new("-") && inputs.any(|input| input == file) {
        return usage("standard input can be read once: one of the files may be -");
    }
    if changes.changes_by == ChangesByArg::Arrival && args.in_turn {
        return usage(
            "when changes arrived nobody can ask again: give --replay-journal with the journal of the run \
             in place of --table-changes",
        );
    }
    Ok(())
}

/// How the file of changes is encoded.
pub(crate) fn input(path: &Path) -> anyhow::Result<InputOptions> {
    let input = plan::input(path, None, Some("jsonl"))?;
    if input.encoding.format != Format::JsonLines {
        let text = "--table-changes are JSON Lines: .jsonl or .ndjson, also with .gz or .zst";
        return Err(UsageError(text.to_owned()).into());
    }
    Ok(input)
}

/// Refuses tables whose rows a line could not tell from others.
fn check_tables(tables: &[ChangeTable]) -> Result<(), UsageError> {
    for (index, table) in tables.iter().enumerate() {
        let ty = table.message_type();
        if ty == WATERMARK {
            let text = format!(
                "a line of changes with the type {WATERMARK} is a row of no table: give --table another name"
            );
            return Err(UsageError(text));
        }
        if tables[..index].iter().any(|other| other.message_type() == ty) {
            let text = format!(
                "lines of changes with the type {ty} would be of two tables: give --table another name"
            );
            return Err(UsageError(text));
        }
        let TableDefinition::Any(any) = &table.table else { continue };
        let of_file = |name: &String| {
            let choice = any.columns.iter().find(|choice| choice.name == *name);
            choice.map_or(name, |choice| &choice.column).clone()
        };
        let fields = table.fields.iter().map(|field| of_file(&field.name));
        if fields.chain(any.key.iter().map(|pair| pair.table.clone())).any(|column| column == TYPE) {
            let text = format!(
                "table {} has a column type, which says in a line of changes what the line is: choose other columns \
                 (columns=, --columns)",
                any.name
            );
            return Err(UsageError(text));
        }
    }
    Ok(())
}

/// The trades of `source`, which may be no file, with the changes that the arguments name among
/// them; its tables are `tables`, in order.
pub(crate) fn beside(
    args: &RunArgs,
    (mut source, is_stream): (Box<dyn Source>, bool),
    (opened, input): (OpenChanges, InputOptions),
    tables: Vec<Changed>,
    journal: Option<ChangesJournal>,
    from: Option<&SourcePosition>,
) -> anyhow::Result<(Box<dyn Source>, Changes)> {
    let tables: Vec<_> = tables.into_iter().map(|changed| changed.table).collect();
    check_tables(&tables)?;
    let by = ChangesBy::from(args.changes.changes_by);
    let has_journal = args.reload.journal.is_some();
    let changes = Changes { by, progress: ChangesProgress::default(), has_journal, journal };
    let options = WithChangesOptions {
        by,
        tables: tables.len(),
        changes_max: input.batch_len,
        wait: args.changes.changes_wait,
        stop: input.stop.clone(),
        progress: changes.progress.clone(),
        is_kept: args.kept.checkpoint.is_some(),
    };
    let timed = by == ChangesBy::Timestamp;
    let nearest = |ty: &str, known: &[&str]| nearest(ty, known.iter().copied()).map(str::to_owned);
    let mut reader = opened.reader(ChangesOptions { tables, timed, nearest })?;
    if let Some(from) = from {
        // Before it is read on a thread of its own, which goes there if it is no file: the trades
        // go to their place meanwhile.
        reader.go_on_from(from)?;
    }
    let source: Box<dyn Source> = if args.in_turn {
        Box::new(WithChanges::in_turn(source, reader, options))
    } else {
        let note = changes.journal.as_ref().map(ChangesJournal::note);
        match by {
            ChangesBy::Timestamp => {
                let merged = with_note(WithChanges::new(source, reading::start(reader)?, options), note);
                // A progress line says so itself.
                let is_seen = !args.report.json && std::io::stderr().is_terminal();
                if args.report.quiet || is_seen {
                    Box::new(merged)
                } else {
                    Box::new(merged.with_warning(LONG_WAIT, Box::new(report::warn)))
                }
            }
            ChangesBy::Arrival => {
                let mut from = from.map(of_trades);
                if let Some(from) = from.take_if(|_| !is_stream) {
                    Source::go_on_from(&mut source, &from).map_err(EngineError::Source)?;
                }
                let is_kept = args.kept.checkpoint.is_some();
                let (trades, changes) = arrivals::start(source, reader, is_kept, from)?;
                Box::new(with_note(WithChanges::new(trades, changes, options), note))
            }
        }
    };
    Ok((source, changes))
}

fn with_note<S: TradeFeed>(merged: WithChanges<S, Reading>, note: Option<Note>) -> WithChanges<S, Reading> {
    match note {
        Some(note) => merged.with_note(note),
        None => merged,
    }
}

/// Whether trades must have times for the changes beside them.
pub(crate) fn need_times(args: &RunArgs) -> bool {
    args.changes.table_changes.is_some() && args.changes.changes_by == ChangesByArg::Timestamp
}

/// Refuses trades without times.
pub(crate) fn check_times(trades: &arrow_schema::Schema) -> Result<(), UsageError> {
    if trades.field_with_name(TIMESTAMP).is_ok() {
        return Ok(());
    }
    let text = "the trades have no column timestamp, by which --table-changes find their places among them: \
                add it, or give --changes-by arrival";
    Err(UsageError(text.to_owned()))
}
