//! `tradejoin reload`: what a running run is asked to do with its tables.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, ValueHint};
use indicatif::HumanCount;

use crate::arg_values::duration;
use crate::control::{Client, Done, Heard, Outcome, Reply, Request};
use crate::failure;
use crate::print::{json_shown, print};
use crate::style::{ERROR, plain};
use crate::tell::tell;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tradejoin run --trades - --format csv --instruments i.csv --users u.csv --watch=asked --control run.sock
      a run whose tables are reloaded when it is asked
  tradejoin reload --control run.sock
      read the files of all tables, and say what came of it
  tradejoin reload --control run.sock instruments
      of one table, and of those of its group
  tradejoin reload --control run.sock --rollback instruments
      go back to the rows that were in force before

Exit codes: 0 done, or there is nothing to change, 1 a file or a rollback was refused, 2 usage,
66 no run listens there, 74 the run has not begun, or the call broke off")]
pub(crate) struct ReloadCommandArgs {
    /// The socket of the run: what its --control says
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    control: PathBuf,

    /// Go back to the generation before, as long as one is kept
    #[arg(long)]
    rollback: bool,

    /// How long to wait until trades come, and it is known behind which trade it takes effect
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    wait: Duration,

    /// Print what the run answers, lines of JSON
    #[arg(long)]
    json: bool,

    /// The tables, those of their groups with them [default: all that are watched]
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
}

/// Carries out the command, and gives its exit code.
pub(crate) fn reload(args: &ReloadCommandArgs) -> anyhow::Result<u8> {
    let tables = args.tables.clone();
    let request = if args.rollback { Request::Rollback { tables } } else { Request::Reload { tables } };
    let mut client = Client::ask(&args.control, &request)?;
    let mut code = failure::OK;
    // Nothing is waited for before something has changed.
    let mut deadline: Option<Instant> = None;
    let mut is_answered = false;
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let line = match client.next(left)? {
            Heard::Line(line) => line,
            Heard::Nothing => {
                say(args, "in effect before the next trade")?;
                return Ok(code);
            }
            Heard::End if deadline.is_some() => {
                anyhow::bail!("the run ended before it took effect");
            }
            Heard::End if !is_answered => {
                anyhow::bail!("the run ended, or gave up the call, before it answered: nothing has changed");
            }
            Heard::End => return Ok(code),
        };
        if args.json {
            print(&(json_shown(String::from_utf8_lossy(&line).into_owned()) + "\n"))?;
        }
        match serde_json::from_slice(&line).context("the run answers what this version does not know")? {
            Reply::Tables(outcomes) => {
                is_answered = true;
                for outcome in outcomes {
                    say(args, &text(&outcome))?;
                    match outcome.done {
                        Done::Refused => code = failure::NO,
                        Done::Reloaded | Done::RolledBack => deadline = Some(Instant::now() + args.wait),
                        Done::Unchanged => {}
                    }
                }
            }
            Reply::Columns(_) | Reply::Row(_) | Reply::Dropped(_) | Reply::End {} => {
                anyhow::bail!("the run answers what was not asked");
            }
            Reply::InEffect { trades_before } => {
                say(args, &format!("in effect behind {} trades", HumanCount(trades_before)))?;
                return Ok(code);
            }
            Reply::Refused { code, why } => {
                tell!("{ERROR}error{ERROR:#}: {}", plain(&why));
                return Ok(code);
            }
        }
    }
}

/// What has become of a table.
fn text(outcome: &Outcome) -> String {
    let Outcome { table, done, added, changed, removed, why } = outcome;
    let counts = || {
        let [added, changed, removed] = [*added, *changed, *removed].map(HumanCount);
        format!("rows added {added}, changed {changed}, removed {removed}")
    };
    let why = why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
    match done {
        Done::Reloaded => format!("{table} reloaded: {}", counts()),
        Done::RolledBack => format!("{table} rolled back: {}", counts()),
        Done::Unchanged => format!("{table} unchanged{why}"),
        Done::Refused => format!("{table} refused, the rows in force stay{why}"),
    }
}

fn say(args: &ReloadCommandArgs, text: &str) -> anyhow::Result<()> {
    if args.json { Ok(()) } else { print(&format!("{}\n", plain(text))) }
}
