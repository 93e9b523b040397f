//! `tradejoin explain`: why a trade found what it found, or nothing.
//!
//! Inputs are read twice, a record at a time, so that the place of each is known: once for
//! the trades that are asked for, and once for all that was ever said of their keys. What
//! became of them the oracle says.
//!
//! - `find`: the trades
//! - `trace`: the rows of their keys, and what the oracle makes of it
//! - `why`: why a trade found nothing
//! - `near`: the keys next to one that is not there
//! - `report`: all of it, for people and as JSON

use std::path::Path;

use clap::{ArgGroup, Args};
use tradejoin_connectors::{Format, LastRead};
use tradejoin_flow::BoxError;

use crate::args::RunArgs;
use crate::destination::Destination;
use crate::failure::UsageError;
use crate::plan;
use crate::unsaid;

mod find;
mod near;
mod report;
mod trace;
mod why;

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("which").required(true).args(["trade_id", "row"]),
    mut_args(unsaid::of_writing),
    mut_arg("workers", |arg| arg.hide(true)),
    mut_arg("batch_len", |arg| arg.hide(true)),
    mut_arg("queue_depth", |arg| arg.hide(true)),
    mut_arg("distribution", |arg| arg.hide(true)),
    mut_arg("control", |arg| arg.hide(true)),
    mut_arg("json", |arg| arg.help("Print the explanation as one line of JSON")),
    mut_arg("quiet", |arg| arg.hide(true)),
    after_help = "The flags are those of the run; its inputs must be files, which are read twice.
Exit codes: 0 the trade is explained, 1 there is no such trade, others as for run.

Examples:
  tradejoin explain --trade-id 4711 --trades trades.csv --instruments instruments.csv
      which row the trade found, from which line, or why none
  tradejoin explain --row 5 --messages stream.jsonl --on-miss instruments=hold=1000rows,then=keep
      the fifth trade of a stream, which may have waited
  tradejoin explain --trade-id 4711 --trades t.csv --instruments i.csv --replay-journal journal.jsonl
      what was true then, in a run whose tables were reloaded"
)]
pub(crate) struct ExplainArgs {
    /// The trade with this trade_id; each, if there are more
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    trade_id: Option<String>,

    /// The trade with this number among those that are read, from 1, refused ones not counted, as
    /// dead letters have it
    #[arg(long, value_name = "N")]
    row: Option<u64>,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Which trades are meant.
#[derive(Clone, Debug)]
enum Wanted {
    TradeId(String),
    Number(u64),
}

/// Carries out the command, and gives its exit code.
pub(crate) fn explain(args: ExplainArgs) -> anyhow::Result<u8> {
    let ExplainArgs { trade_id, row, mut run } = args;
    check(&run)?;
    let own_output = (run.output.clone(), run.output_format.clone());
    read_fields(&mut run)?;
    // Blocks of one record: the place of the last one is that of each.
    run.engine.batch_len = Some(1);
    run.last_read = Some(LastRead::default());
    run.in_turn = true;
    let wanted = match (trade_id, row) {
        (Some(id), _) => Wanted::TradeId(id),
        (None, row) => Wanted::Number(row.unwrap_or_default()),
    };
    let found = find::find(&run, &wanted)?;
    // What trades that wait are counted with depends on what the output makes of them.
    (run.output, run.output_format) = own_output;
    let traced = trace::trace(&run, &found.trades)?;
    report::print(&run, &wanted, &found, &traced)
}

/// The inputs could not be read to their end, as the run could not.
#[derive(Debug, thiserror::Error)]
#[error("cannot read all that could explain it")]
struct Stopped(#[source] BoxError);

/// Refuses inputs that cannot be read twice.
fn check(run: &RunArgs) -> anyhow::Result<()> {
    let usage = |text: &str| Err(UsageError(text.to_owned()).into());
    let input = &run.input;
    let inputs =
        [&input.trades, &input.messages, &input.instruments, &input.users, &run.changes.table_changes];
    let inputs = inputs.into_iter().filter_map(Option::as_deref);
    let mut inputs = inputs.chain(input.table.iter().map(|table| table.file.as_path()));
    if input.trades.is_none() && input.messages.is_none() {
        return usage("there is no trade to explain: give the inputs of the run, --trades or --messages");
    }
    if inputs.any(|input| input == Path::new("-")) {
        return usage("inputs are read twice here, and standard input can be read once: give files");
    }
    if run.reload.watch.is_some() {
        return usage("what --watch found when its journal knows: give --replay-journal FILE in its place");
    }
    Ok(())
}

/// Lets trades have their fields, each by itself: refused are those that the run refuses,
/// which depends on whether its output has types.
fn read_fields(run: &mut RunArgs) -> anyhow::Result<()> {
    let is_typed = run.output.is_some() && !Destination::new(run)?.encoding().format.is_text();
    if is_typed {
        return Ok(());
    }
    let format = run.input.format.as_deref();
    let from = match (&run.input.trades, &run.input.messages) {
        (Some(trades), _) => plan::input(trades, format, None)?.encoding.format,
        _ => Format::JsonLines,
    };
    // A name that is never used, for another text format than that of the trades.
    let name = if from == Format::JsonLines { "explained.csv" } else { "explained.jsonl" };
    (run.output, run.output_format) = (Some(name.into()), None);
    Ok(())
}
