//! `tradejoin replay`: trades that were put aside, once more.
//!
//! - `into`: what is recovered among the trades of the first run

mod into;

use std::path::PathBuf;

use clap::{Args, ValueHint};
use tradejoin_connectors::{Encoding, Format, Location};
use tradejoin_model::MissPolicy;

use crate::args::RunArgs;
use crate::bad::OnBadRecord;
use crate::failure::UsageError;
use crate::job::joined_tables;
use crate::{plan, run};

/// How the command is used, for its help.
pub(crate) const EXAMPLES: &str = "Examples:
  tradejoin replay unmatched.jsonl --instruments newer.csv --output recovered.csv \\
      --dead-letters still-unmatched.jsonl
      join trades again that found nothing, with a table that may have their keys by now
  tradejoin replay unmatched.jsonl --instruments newer.csv --into enriched.csv --output all.csv \\
      --dead-letters still-unmatched.jsonl
      the same, and the recovered trades among those of the run

A trade that fails again keeps its number in the new dead letters, and `tries` counts how often it failed.
Flags and exit codes are those of `tradejoin run`.";

#[derive(Debug, Args)]
// Where trades come from is said, and what is not for them.
#[command(
    mut_arg("config", |arg| arg.hide(true)),
    mut_arg("trades", |arg| arg.hide(true)),
    mut_arg("messages", |arg| arg.hide(true)),
    mut_arg("tables", |arg| arg.hide(true)),
    mut_arg("table_ready_after", |arg| arg.hide(true)),
    mut_arg("max_bad", |arg| arg.hide(true)),
    mut_arg("table_changes", |arg| arg.hide(true)),
    mut_arg("changes_by", |arg| arg.hide(true)),
    mut_arg("changes_wait", |arg| arg.hide(true)),
    mut_arg("seed", |arg| arg.hide(true)),
    mut_arg("mix", |arg| arg.hide(true)),
    mut_arg("ids", |arg| arg.hide(true)),
    mut_arg("keys", |arg| arg.hide(true)),
    mut_arg("unknown_share", |arg| arg.hide(true)),
    mut_arg("days", |arg| arg.hide(true)),
    mut_arg("reused", |arg| arg.hide(true))
)]
pub(crate) struct ReplayArgs {
    /// What `tradejoin run --dead-letters` wrote: a file, or - for standard input
    #[arg(value_name = "DEAD_LETTERS", value_hint = ValueHint::FilePath)]
    letters: PathBuf,

    /// The output of the run that put the trades aside: --output becomes a new file with its trades
    /// and the recovered ones, each at the place that its number tells. Not with --checkpoint
    #[arg(long, value_name = "ENRICHED", value_hint = ValueHint::FilePath, requires = "output", help_heading = "Output")]
    into: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Carries out the command, and gives its exit code.
pub(crate) fn replay(mut args: ReplayArgs) -> anyhow::Result<u8> {
    let into = args.into.take();
    let run = as_run(args)?;
    match into {
        Some(enriched) => into::replay(run, &enriched),
        None => run::run(&run),
    }
}

/// The run that joins the trades of the letters.
fn as_run(args: ReplayArgs) -> anyhow::Result<RunArgs> {
    let ReplayArgs { letters, mut run, .. } = args;
    let input = &run.input;
    let others = [
        ("--config", run.config.is_some()),
        ("--trades", input.trades.is_some()),
        ("--messages", input.messages.is_some()),
        ("--on-bad-record skip", input.bad.on_bad_record == OnBadRecord::Skip),
        ("--on-bad-record dead-letter", input.bad.on_bad_record == OnBadRecord::DeadLetter),
    ];
    if let Some((flag, _)) = others.into_iter().find(|(_, is_given)| *is_given) {
        let text = format!("{flag} is not for a replay, whose trades are those of dead letters");
        return Err(UsageError(text).into());
    }
    let format = input.format.as_deref();
    let encoding = plan::input(&letters, format, Some("jsonl"))?.encoding;
    if format.is_none() && Encoding::of_location(&Location::of_argument(&letters)).is_err() {
        run.input.format = Some("jsonl".to_owned());
    }
    if encoding.format != Format::JsonLines {
        let text = "dead letters are JSON Lines: .jsonl or .ndjson, also with .gz or .zst";
        return Err(UsageError(text.to_owned()).into());
    }
    let tables: Vec<_> =
        joined_tables(&run.input)?.into_iter().map(|(table, ..)| table.name().to_owned()).collect();
    if run.letters.dead_letters.is_some() && !run.is_given("unmatched") {
        for table in tables {
            if !run.engine.on_miss.iter().any(|(named, _)| *named == table) {
                run.engine.on_miss.push((table, MissPolicy::DeadLetter));
            }
        }
    } else if run.letters.dead_letters.is_none()
        && !run.is_given("unmatched")
        && run.engine.on_miss.is_empty()
    {
        let text = "trades may fail again: give --dead-letters FILE for them, or say what becomes of them \
                    (--unmatched, --on-miss)";
        return Err(UsageError(text.to_owned()).into());
    }
    (run.input.trades, run.of_letters) = (Some(letters), true);
    Ok(run)
}
