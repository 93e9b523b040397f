//! `tradejoin diff-table`: what a reload would do with a newer file of a table, found out
//! by the reload itself.
//!
//! - `rows`: the first keys of each kind of change
//! - `report`: how it is told

mod report;
mod rows;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use clap::{Args, ValueHint};
use tradejoin_connectors::{
    AnyTable, Category, ChangeTexts, KeyPair, OpenError, SelectedTable, TableColumns, TableDefinition,
    TableKind, TableMode, TableOptions, TableReader, open_table, select_outputs,
};
use tradejoin_flow::TableSource as _;

use self::report::DiffReport;
use self::rows::{KeyForm, first_rows};
use crate::arg_values::{mode, number};
use crate::args::{ModeArg, TableArg};
use crate::failure::{self, UsageError, category_of};
use crate::limits::LimitArgs;
use crate::plan;
use crate::print::{json_line, print};
use crate::reload::{Guards, WatchedFile, WatchedTable, of_reader};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tradejoin diff-table instruments.csv instruments-new.csv
      what `tradejoin run --watch` would do with the newer file
  tradejoin diff-table --key mic --columns city,country venues.parquet venues-new.parquet
      a table of --table, of which a run adds two columns
  tradejoin diff-table --max-removed 1% --json old.csv new.csv && mv new.csv old.csv
      put a file in place only if a run would take it

Exit codes: 0 it would be reloaded, 1 it would be refused, and those of all commands for errors:
2 usage, 65 OLD is bad, 66 a file is missing, 74 reading failed")]
pub(crate) struct DiffArgs {
    /// The file in force
    #[arg(value_name = "OLD", value_hint = ValueHint::FilePath)]
    old: PathBuf,

    /// The newer file
    #[arg(value_name = "NEW", value_hint = ValueHint::FilePath)]
    new: PathBuf,

    /// Which table it is, of those that are known by name [default: by the columns of OLD]
    #[arg(long, value_name = "TABLE", conflicts_with = "key")]
    kind: Option<TableArg>,

    /// The key of any other table: a column, or several with + between
    #[arg(long, value_name = "COLUMN[+COLUMN]...")]
    key: Option<String>,

    /// The columns that a run adds, which are compared [default: as `run`: instrument, or user, or with
    /// --key all but the key]
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    columns: Vec<String>,

    /// How the table is looked up: latest, or as-of
    #[arg(long, value_name = "MODE", default_value = "latest", value_parser = mode)]
    mode: ModeArg,

    /// The column with the version of a row
    #[arg(long, value_name = "COLUMN")]
    version_column: Option<String>,

    #[command(flatten)]
    guards: Guards,

    /// How many rows of each kind are shown
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = |text: &str| number::<u64>(text, 0..=1_000_000))]
    show: u64,

    /// The format of a file whose ending says nothing
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    #[command(flatten)]
    limits: LimitArgs,

    /// Print one line of JSON
    #[arg(long, help_heading = "Report")]
    json: bool,
}

/// Carries out the command, and gives its exit code.
pub(crate) fn diff(args: &DiffArgs) -> anyhow::Result<u8> {
    let report = Comparison::begin(args)?.report(args)?;
    print(&if args.json { json_line(&report)? } else { report.text() })?;
    Ok(if report.is_refused() { failure::NO } else { failure::OK })
}

/// The table as it is in force.
struct Comparison {
    table: TableDefinition,
    selected: SelectedTable,
    mode: TableMode,
    columns: Vec<(String, Option<String>)>,
    keys: KeyForm,
    watched: WatchedTable,
}

impl Comparison {
    /// Reads the file in force as a run does, which then watches the newer one.
    fn begin(args: &DiffArgs) -> anyhow::Result<Self> {
        // Its rows are read again, to be shown.
        let is_other = args.old.metadata().is_ok_and(|metadata| !(metadata.is_file() || metadata.is_dir()));
        if is_other || args.old.as_os_str() == "-" {
            let text = format!("{} is no file that can be read twice", args.old.display());
            return Err(UsageError(text).into());
        }
        let (table, mode) = (definition(args)?, table_mode(args)?);
        let mut reader = open_old(args, &table)?;
        let columns = reader.file_columns();
        reader.set_mode(&mode)?;
        let selected = select(args, &reader)?;
        reader.load(&selected.fields)?;
        let file = WatchedFile::new(&args.new, args.format.as_deref()).with_limits(args.limits.of_file());
        let (watched, mut load) = WatchedTable::new(0, file, reader, &selected, &mode);
        let mut keys = KeyForm::default();
        while let Some(lane) = load.next().map_err(of_reader)? {
            keys.take(&lane, 0..lane.len());
        }
        Ok(Self { table, selected, mode, columns, keys, watched })
    }

    fn report(&self, args: &DiffArgs) -> anyhow::Result<DiffReport> {
        let texts = ChangeTexts::new(&self.table, &self.selected.fields, &self.mode)?;
        let mut report = DiffReport {
            old: args.old.display().to_string(),
            new: args.new.display().to_string(),
            table: self.table.name().to_owned(),
            key: self.selected.spec.key_column.clone(),
            mode: self.mode.look_up().as_str(),
            columns: texts.names().to_vec(),
            rows_before: self.watched.rows_in_force(),
            ..DiffReport::default()
        };
        let found = self.watched.open().map(|reader| {
            let columns = reader.file_columns();
            (columns, self.watched.difference_of(reader, &AtomicBool::new(false)))
        });
        let found = match found {
            Ok((columns, found)) => {
                report.compare_columns(&self.columns, &columns);
                found
            }
            Err(error) => Err(error),
        };
        let difference = match found {
            Ok(difference) => difference,
            Err(error) => {
                report.judge(Some(refusal(error)?));
                return Ok(report);
            }
        };
        let mut added_keys = KeyForm::default();
        added_keys.take(&difference.changes, difference.added_from..difference.changes.len());
        report.key_type_changed = self.keys.changed_to(&added_keys);
        let old = || self.old_rows(args);
        report.first = first_rows(&difference, &texts, args.show as usize, old)?;
        report.take_difference(&difference);
        report.judge(args.guards.refusal(self.mode.look_up(), &difference));
        Ok(report)
    }

    /// The rows of the file in force, once more.
    fn old_rows(&self, args: &DiffArgs) -> anyhow::Result<TableReader> {
        let mut reader = open_old(args, &self.table)?;
        reader.set_mode(&self.mode)?;
        reader.load(&self.selected.fields)?;
        Ok(reader)
    }
}

/// Why a newer file that cannot be read is refused.
///
/// # Errors
/// If there is no such file, or the system cannot read it: no word on its rows.
fn refusal(error: anyhow::Error) -> anyhow::Result<String> {
    match error.chain().find_map(category_of) {
        Some(Category::Data) | None => Ok(format!("{error:#}")),
        Some(_) => Err(error),
    }
}

fn open_old(args: &DiffArgs, table: &TableDefinition) -> anyhow::Result<TableReader> {
    let input = args.limits.apply(plan::input(&args.old, None, args.format.as_deref())?);
    Ok(open_table(TableOptions { input, table: table.clone(), strict: false })?)
}

/// Which table it is.
fn definition(args: &DiffArgs) -> anyhow::Result<TableDefinition> {
    if let Some(key) = &args.key {
        let pair = |column: &str| KeyPair { trades: column.to_owned(), table: column.to_owned() };
        let key: Vec<_> = key.split('+').map(str::trim).map(pair).collect();
        if key.iter().any(|pair| pair.table.is_empty()) {
            return Err(UsageError("--key has an empty column".to_owned()).into());
        }
        return Ok(AnyTable { name: "table".to_owned(), key, columns: Vec::new() }.into());
    }
    match args.kind {
        Some(TableArg::Instruments) => return Ok(TableKind::Instruments.into()),
        Some(TableArg::Users) => return Ok(TableKind::Users.into()),
        None => {}
    }
    for kind in TableKind::ALL {
        match open_old(args, &kind.into()) {
            Ok(_) => return Ok(kind.into()),
            Err(error) if error.downcast_ref::<OpenError>().is_some_and(is_of_columns) => {}
            Err(error) => return Err(error),
        }
    }
    let text = format!(
        "{} has neither the columns of instruments nor those of users: give --kind, or --key COLUMN",
        args.old.display()
    );
    Err(UsageError(text).into())
}

fn is_of_columns(error: &OpenError) -> bool {
    matches!(error, OpenError::MissingColumn { .. } | OpenError::DuplicateColumn { .. })
}

fn table_mode(args: &DiffArgs) -> Result<TableMode, UsageError> {
    match (args.mode, &args.version_column) {
        (ModeArg::Latest, None) => Ok(TableMode::Latest),
        (ModeArg::Latest, Some(column)) => Ok(TableMode::LatestVersion { column: column.clone() }),
        (ModeArg::AsOf, None) => Ok(TableMode::AsOf { tolerance: None }),
        (ModeArg::AsOf, Some(_)) => {
            Err(UsageError("--version-column is for tables in the mode latest".to_owned()))
        }
    }
}

/// Selects what a run would add.
fn select(args: &DiffArgs, reader: &TableReader) -> anyhow::Result<SelectedTable> {
    let offers = [TableColumns { table: reader.table().clone(), columns: reader.columns().to_vec() }];
    let requested: Vec<String> = args.columns.iter().map(|column| column.trim().to_owned()).collect();
    let mut selection = select_outputs(&offers, [], &requested)?;
    selection.tables.pop().context("no table")
}
