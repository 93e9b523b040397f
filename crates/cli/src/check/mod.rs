//! `tradejoin check`: what a run would come to, found out by the engine itself on a
//! sample of its trades.
//!
//! - `tables`: the tables of the check, and what is noted of them on their way
//! - `report`: what is predicted, and how it is told

mod report;
mod tables;

use std::path::{Path, PathBuf};

use clap::Args;
use tradejoin_connectors::{
    BadRecords, Fields, InputOptions, OnBadRecord, SampleSize, TableMode, TradeSample, TradesOptions,
    sample_trades,
};
use tradejoin_engine::{Engine, EngineConfig, Report};
use tradejoin_flow::TableSource;
use tradejoin_model::{Distribution, MissPolicy, TableSpec};

use self::report::{CheckReport, Predicted};
use self::tables::CheckedTable;
use crate::args::{EngineArgs, InputArgs, LookUpArgs};
use crate::failure::{self, UsageError};
use crate::job::{check_files, joined_tables, select, set_look_ups};
use crate::modes::{check_names, modes};
use crate::print::{json_line, print};
use crate::reload::Share;
use crate::watch::Nowhere;
use crate::{plan, policy};

/// Trades of a sample unless something else is asked for, or this share if that is more.
const SAMPLE_ROWS: u64 = 100_000;
const SAMPLE_SHARE: f64 = 0.01;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tradejoin check --trades trades.csv --instruments instruments.csv
      how many trades would find their instrument, which keys are missing, how much memory it takes
  tradejoin check --trades trades.parquet --instruments i.csv --table venues=v.csv,key=venue@mic \\
      --sample 1% --min-match 99% --min-match venues=95% && tradejoin run ...
      begin a long run only if enough trades find their rows
  zcat trades.csv.gz | tradejoin check --trades - --format csv --instruments i.csv --sample 20000
      of a pipe the first trades are read, which may be unlike the others

Exit codes: 0 nothing is wrong, 1 too few trades find their rows (--min-match) or the run would fail at
what it was found to have, and those of all commands for errors: 2 usage, 65 an input cannot be read,
66 an input is missing, 74 reading failed")]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) input: InputArgs,

    #[command(flatten)]
    pub(crate) look_ups: LookUpArgs,

    #[command(flatten)]
    pub(crate) engine: EngineArgs,

    /// How many trades to read: a share of all, 1%, or a number
    /// [default: 100000, or 1% if that is more]
    #[arg(long, value_name = "SHARE", help_heading = "Check")]
    sample: Option<Share>,

    /// The share of trades that must find their row, in the table that is named, or in each:
    /// 95%, venues=95%
    #[arg(long, value_name = "[TABLE=]SHARE", value_parser = min_match, help_heading = "Check")]
    min_match: Vec<(Option<String>, f64)>,

    /// The columns that the tables would add: they are what the tables take memory for
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', help_heading = "Check")]
    columns: Vec<String>,

    /// Print one line of JSON
    #[arg(long, help_heading = "Check")]
    json: bool,
}

/// `TABLE=95%`, or the share of all tables that are not named.
fn min_match(text: &str) -> Result<(Option<String>, f64), String> {
    let (table, share) = text.split_once('=').map_or((None, text), |(table, share)| (Some(table), share));
    match share.parse() {
        Ok(Share::Percent(percent)) => Ok((table.map(str::to_owned), percent)),
        _ => Err("write a share such as 95%, or TABLE=95%".to_owned()),
    }
}

/// Carries out the command, and gives its exit code.
pub(crate) fn check(args: &CheckArgs) -> anyhow::Result<u8> {
    let Some(trades) = &args.input.trades else {
        let text = "a check reads trades and tables from files: give --trades and tables beside it";
        return Err(UsageError(text.to_owned()).into());
    };
    check_files(&args.input)?;
    let report = predict(args, trades)?;
    print(&if args.json { json_line(&report)? } else { report.text() })?;
    Ok(if report.is_ok() { failure::OK } else { failure::NO })
}

fn predict(args: &CheckArgs, trades: &PathBuf) -> anyhow::Result<CheckReport> {
    let format = args.input.format.as_deref();
    let limits = args.input.limits.limits(&args.engine)?;
    let within = |input| InputOptions { limits, ..input };
    let input = within(plan::input(trades, format, None)?);
    let mut tables = Vec::new();
    for (table, path, distribution) in joined_tables(&args.input)? {
        tables.push(CheckedTable::open(within(plan::input(path, None, format)?), table, distribution)?);
    }
    let names: Vec<_> = tables.iter().map(CheckedTable::name).collect();
    check_min_match(&args.min_match, &names)?;
    let modes = modes(&args.look_ups, &names)?;
    let bad_records = BadRecords::default();
    let sample = sample(args, input, &bad_records, &tables, &modes)?;
    let specs = load_columns(args, &mut tables, &modes, &sample)?;
    let asked = plan::engine_config(&args.engine, specs)?;
    let notes: Vec<_> = tables.iter().map(CheckedTable::notes).collect();
    let loads: Vec<Option<Box<dyn TableSource>>> =
        tables.into_iter().map(|table| Some(table.load())).collect();
    let chosen = asked.chosen(&loads);
    let shown = (sample.rows, sample.rows_total, sample.is_counted, sample.from, sample.schema.clone());
    let report = run(&chosen, loads, sample)?;
    let predicted = Predicted { trades, sample: shown, bad_records, notes, chosen, report };
    Ok(CheckReport::new(args, predicted))
}

fn sample(
    args: &CheckArgs,
    input: InputOptions,
    bad_records: &BadRecords,
    tables: &[CheckedTable],
    modes: &[TableMode],
) -> anyhow::Result<TradeSample> {
    let size = match args.sample {
        Some(Share::Percent(percent)) => SampleSize::Share(percent / 100.0),
        Some(Share::Rows(rows)) => SampleSize::Rows(rows),
        None => SampleSize::AtLeast { rows: SAMPLE_ROWS, share: SAMPLE_SHARE },
    };
    let input = InputOptions { on_bad_record: OnBadRecord::Skip, bad_records: bad_records.clone(), ..input };
    let key_columns = tables.iter().map(CheckedTable::trade_key).collect();
    let options = TradesOptions { input, limit: None, key_columns, fields: Fields::AsText };
    let with_times = modes.iter().any(TableMode::needs_times) || policy::needs_time(&args.engine.on_miss);
    Ok(sample_trades(options, size, with_times)?)
}

/// Lets the tables read what a run would have of them.
fn load_columns(
    args: &CheckArgs,
    tables: &mut [CheckedTable],
    modes: &[TableMode],
    sample: &TradeSample,
) -> anyhow::Result<Vec<TableSpec>> {
    for (table, mode) in tables.iter_mut().zip(modes) {
        table.set_mode(mode)?;
    }
    let offers: Vec<_> = tables.iter().map(CheckedTable::offer).collect();
    let mut selected = select(&offers, &sample.schema, &args.columns)?.tables;
    set_look_ups(&mut selected, modes);
    for (table, selected) in tables.iter_mut().zip(&mut selected) {
        table.load_fields(&selected.fields)?;
        selected.spec.distribution = table.distribution;
    }
    Ok(selected.into_iter().map(|table| table.spec).collect())
}

/// Joins the sample. No trade is lost, and each table is in one piece, whose memory can
/// be told.
fn run(
    chosen: &EngineConfig,
    loads: Vec<Option<Box<dyn TableSource>>>,
    sample: TradeSample,
) -> anyhow::Result<Report> {
    let mut config = chosen.clone();
    for table in &mut config.tables {
        (table.on_miss, table.distribution) = (MissPolicy::Keep, Distribution::Broadcast);
    }
    let engine = Engine::new(config);
    Ok(engine.run(loads, sample, Nowhere)?)
}

/// Checks that shares are asked of tables of the check, and of each once.
fn check_min_match(asked: &[(Option<String>, f64)], tables: &[&str]) -> Result<(), UsageError> {
    let of_tables: Vec<_> =
        asked.iter().filter_map(|(table, share)| Some((table.clone()?, *share))).collect();
    if asked.len() > of_tables.len() + 1 {
        return Err(UsageError("--min-match says twice what holds for all tables".to_owned()));
    }
    check_names("--min-match", &of_tables, tables)
}

/// The file of a path, for reports.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
