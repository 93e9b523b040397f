//! `tradejoin verify`: an output beside what one thread makes of the same inputs.
//!
//! Nothing of the engine takes part but the words of its settings: no router, no worker,
//! no merger, no board. Inputs are read as a run reads them, joined by the oracle row by
//! row, and encoded as the output is.
//!
//! - `rejoin`: the join, one block after the other
//! - `report`: what came of it, for people and as JSON

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueHint};
use tradejoin_connectors::{Comparison, ComparisonOptions, InputOptions, Location, OutputOptions, Readiness};
use tradejoin_engine::{Order, Stop};
use tradejoin_flow::BoxError;

use crate::args::RunArgs;
use crate::destination::Destination;
use crate::failure::UsageError;
use crate::job::Job;
use crate::plan;
use crate::unsaid;

mod rejoin;
mod report;

pub(crate) use rejoin::{columns_of, loading};

use rejoin::Rejoin;
use report::Report;

#[derive(Debug, Args)]
#[command(
    mut_args(unsaid::of_writing),
    mut_arg("workers", |arg| arg.hide(true)),
    mut_arg("queue_depth", |arg| arg.hide(true)),
    mut_arg("distribution", |arg| arg.hide(true)),
    mut_arg("control", |arg| arg.hide(true)),
    mut_arg("json", |arg| arg.help("Print the result as one line of JSON")),
    mut_arg("quiet", |arg| arg.help("Print nothing: the exit code tells")),
    after_help = "The flags are those of the run that wrote the output; put verify in the place of run.
Exit codes: 0 every row is what it should be, 1 some are not, others as for run.

Examples:
  tradejoin verify enriched.csv --trades trades.csv --instruments instruments.csv
      join again, slowly, and compare row by row
  tradejoin verify --trades t.parquet --instruments i.csv --users u.csv --output enriched.parquet
      the words of the run, with verify in the place of run
  tradejoin verify out.csv --trades t.csv --instruments i.csv --order arrival --show 100
      in any order; show a hundred differences
  tradejoin verify out.csv --trades t.csv --instruments i.csv --replay-journal journal.jsonl
      the output of a run whose tables were reloaded"
)]
pub(crate) struct VerifyArgs {
    /// The output to compare, in any format that run writes [default: the file of --output]
    #[arg(value_name = "OUTPUT", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,

    /// How many differences are shown
    #[arg(long, value_name = "N", default_value_t = 10)]
    show: usize,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Carries out the command, and gives its exit code.
pub(crate) fn verify(mut args: VerifyArgs) -> anyhow::Result<u8> {
    let begun = Instant::now();
    if let Some(file) = args.file.take() {
        args.run.output = Some(file);
    }
    args.run.in_turn = true;
    let (run, shown_max) = (args.run, args.show);
    check(&run)?;
    let destination = Destination::new(&run)?;
    let job = Job::open(&run, &destination, &Readiness::default(), &Stop::default(), None)?;
    let Job { tables, loads, source, schema, mut added, .. } = job;
    let mut config = plan::engine_config(&run.engine, tables)?;
    if let Some(name) = &run.wait_column {
        plan::add_wait_column(name, &mut config, &schema, &mut added)?;
    }
    let location = destination.location().cloned().unwrap_or(Location::Standard);
    let encoding = destination.encoding();
    let mut comparison = Comparison::open(ComparisonOptions {
        output: OutputOptions {
            added,
            csv_safe: destination.is_csv_safe(),
            ..OutputOptions::new(location.clone(), encoding, schema)
        },
        input: InputOptions {
            limits: run.input.limits.of_file().of_output(),
            ..InputOptions::with_encoding(location, encoding)
        },
        any_order: config.order == Order::Arrival,
        shown_max,
    })?;
    let mut report = Report::new(&run);
    if let Some(columns) = comparison.other_columns() {
        report.columns = Some(columns.clone());
        return report.print(run.report, begun.elapsed());
    }
    let mut rejoin = Rejoin::new(&config)?;
    let joined = || {
        rejoin.load(loads)?;
        rejoin.join(source, |trades, rows, added| comparison.push(trades, rows, added))
    };
    joined().map_err(Stopped)?;
    report.trades_read = rejoin.trades_read();
    report.compared = comparison.finish().map_err(Stopped)?;
    report.print(run.report, begun.elapsed())
}

/// The trades could not be joined again, or the output not be read to its end.
#[derive(Debug, thiserror::Error)]
#[error("cannot compare to the end")]
struct Stopped(#[source] BoxError);

/// Refuses what cannot be repeated.
fn check(run: &RunArgs) -> anyhow::Result<()> {
    let usage = |text: &str| Err(UsageError(text.to_owned()).into());
    let Some(output) = &run.output else {
        return usage("there is nothing to compare: name the output, tradejoin verify OUTPUT");
    };
    if output.is_dir() {
        return usage(&plan::folder_is_not_read(output));
    }
    if run.reload.watch.is_some() {
        return usage(
            "when a run with --watch reloaded its tables its journal knows: give --replay-journal FILE \
             in place of --watch, and the tables as they were at its start",
        );
    }
    let input = &run.input;
    let inputs =
        [&input.trades, &input.messages, &input.instruments, &input.users, &run.changes.table_changes];
    let inputs = inputs.into_iter().filter_map(Option::as_deref);
    let mut inputs = inputs.chain(input.table.iter().map(|table| table.file.as_path()));
    if output == Path::new("-") && inputs.any(|input| input == output) {
        return usage("standard input can be read once: the output or one of the inputs may be -");
    }
    Ok(())
}
