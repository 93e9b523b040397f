//! `tradejoin tap`: some enriched trades to look at.
//!
//! - `filter`: which are meant
//! - `decimal`: numbers that are compared there
//! - `pick`: those of a batch
//! - `feed`: those of a run that goes on, on their way to who asks
//! - `dry`: those of a run that writes nothing
//! - `show`: how they are shown

use std::path::Path;
use std::time::Duration;

use clap::Args;

use crate::args::RunArgs;
use crate::control::{Client, Heard, Reply, Request};
use crate::failure::{self, UsageError};
use crate::style::{ERROR, WARNING, plain};
use crate::tell::tell;
use crate::unsaid;

mod decimal;
mod dry;
mod feed;
mod filter;
mod pick;
mod show;

pub(crate) use feed::Taps;

use pick::Every;
use show::Show;

/// Rows of a dry run, unless the user says.
const ROWS: u64 = 20;
/// How long rows are kept back so that columns are aligned.
const PATIENCE: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
#[command(
    mut_args(unsaid::of_writing),
    mut_arg("limit", |arg| arg.value_name("ROWS").help_heading("Rows").help(
        "End after so many rows [default: 20; of a run that goes on, its end or Ctrl-C]")),
    mut_arg("control", |arg| arg.help_heading("Rows").help("The socket of a run that goes on: what its --control says")),
    mut_arg("output_format", |arg| arg.hide(true)),
    mut_arg("json", |arg| arg.help("Print rows as JSON Lines")),
    mut_arg("quiet", |arg| arg.hide(true)),
    after_help = "Examples:
  tradejoin tap --trades trades.csv --instruments instruments.csv --where 'instrument=SPY*' --where side=buy
      what a run would make of some trades; the other flags are those of run
  tradejoin tap --control run.sock --where 'price>=100' --sample 1/1000
      trades of a run that goes on, until it ends or Ctrl-C, which ends the tap alone
  tradejoin tap --control run.sock --where user= --where 'timestamp>2024-11-01T14:00:00Z' --limit 5 --json
      the next five without a user behind a time, as JSON Lines

Rows are a table on a terminal, CSV elsewhere. Exit codes: 0 done, 2 usage, also for a column that is not there,
66 no run listens, 74 the run that was looked at has not begun or has failed, others as for run"
)]
pub(crate) struct TapArgs {
    /// Which rows: COLUMN=VALUE with * for any letters and ? for one, COLUMN!=VALUE, or < <= > >= of numbers
    /// and times; may be given more than once, and all must hold
    #[arg(long = "where", value_name = "CONDITION", help_heading = "Rows")]
    conditions: Vec<String>,

    /// Look at one trade in so many, chosen by its number among the trades
    #[arg(long, value_name = "1/N", default_value_t = Every(1), help_heading = "Rows")]
    sample: Every,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Which rows are wanted.
struct Rows {
    conditions: Vec<String>,
    every: Every,
    /// `None` for all.
    limit: Option<u64>,
}

/// Carries out the command, and gives its exit code.
pub(crate) fn tap(args: TapArgs) -> anyhow::Result<u8> {
    let TapArgs { conditions, sample, mut run } = args;
    let mut rows = Rows { conditions, every: sample, limit: run.stream.limit.take() };
    if let Some(path) = &run.control.control {
        let input = &run.input;
        let is_dry = input.trades.is_some() || input.messages.is_some() || run.config.is_some();
        if is_dry {
            let text = "--control is of a run that goes on, whose trades are not named here";
            return Err(UsageError(text.to_owned()).into());
        }
        return live(path, rows, run.report.json);
    }
    rows.limit = rows.limit.or(Some(ROWS));
    // What is written and what is watched is for runs that write.
    (run.output, run.output_format, run.letters.dead_letters) = (None, None, None);
    (run.reload.watch, run.reload.journal) = (None, None);
    for flag in ["max_removed", "min_rows", "reload_group", "settle", "keep_generations", "generations"] {
        run.given.remove(flag);
    }
    run.reload.reload_group.clear();
    dry::tap(&run, &rows)
}

/// Shows rows of a run that goes on.
fn live(path: &Path, rows: Rows, json: bool) -> anyhow::Result<u8> {
    let Rows { conditions, every, limit } = rows;
    let mut client = Client::ask(path, &Request::Tap { conditions, every: every.0, limit })?;
    let mut show: Option<Show<_>> = None;
    loop {
        // Rows that are kept back are shown when no more come.
        let line = match client.next(Some(PATIENCE))? {
            Heard::Line(line) => line,
            Heard::Nothing => {
                show.iter_mut().try_for_each(Show::flush)?;
                continue;
            }
            Heard::End => {
                show.iter_mut().try_for_each(Show::end)?;
                anyhow::bail!("the run ended without a word");
            }
        };
        match (serde_json::from_slice(&line)?, &mut show) {
            (Reply::Columns(names), _) => show.insert(Show::new(names, json)).begin()?,
            (Reply::Row(values), Some(show)) => show.row(&values)?,
            (Reply::Dropped(count), show) => {
                show.iter_mut().try_for_each(Show::flush)?;
                tell!("{WARNING}warning{WARNING:#}: {count} rows that came too fast are left out here");
            }
            (Reply::End {}, show) => {
                show.iter_mut().try_for_each(Show::end)?;
                return Ok(failure::OK);
            }
            (Reply::Refused { code, why }, _) => {
                tell!("{ERROR}error{ERROR:#}: {}", plain(&why));
                return Ok(code);
            }
            (Reply::Row(_) | Reply::Tables(_) | Reply::InEffect { .. }, _) => {
                anyhow::bail!("the run answers what was not asked");
            }
        }
    }
}
