//! Tables whose files change while a run goes on: what is asked for, and what becomes of
//! newer files.
//!
//! - `guards`: what of a newer file is refused
//! - `tables`: a table, its file, and what the file changes
//! - `units`: tables that change together
//! - `generations`: files to go back to
//! - `watch`: who looks at the files
//! - `take_up`: how they take the place of rows in force
//! - `asks`: what is asked of the watch
//! - `journaling`: the journal of what took effect
//! - `command`: `tradejoin reload`

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};

use crate::arg_values::{duration, number, time_text};

mod asks;
mod command;
mod generations;
mod guards;
mod journaling;
mod tables;
mod take_up;
mod units;
mod watch;

pub(crate) use asks::Asks;
pub(crate) use command::{ReloadCommandArgs, reload};
pub(crate) use generations::Store;
pub(crate) use guards::{Guards, Share};
pub(crate) use tables::{WatchedFile, WatchedTable, as_in_journal, described, of_reader, read_journal};
pub(crate) use units::{ReloadGroup, check_groups};
pub(crate) use watch::{Around, Reloads, Watch};

#[derive(Debug, Args)]
#[command(next_help_heading = "Tables that change")]
pub(crate) struct ReloadArgs {
    /// Reload tables beside --trades whose files change; look at them this often, and on SIGHUP;
    /// =asked to look on SIGHUP and for `tradejoin reload` alone [without a value: 1s]
    #[arg(long, value_name = "EVERY", num_args = 0..=1, require_equals = true, default_missing_value = "1s", value_parser = every)]
    pub(crate) watch: Option<Duration>,

    #[command(flatten)]
    pub(crate) guards: Guards,

    /// Tables that take effect together or not at all: if one file is refused, none is taken up; may be
    /// given for each group
    #[arg(long, value_name = "TABLE+TABLE")]
    pub(crate) reload_group: Vec<ReloadGroup>,

    /// How long all files of a group must have stood still before they are taken up
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = duration)]
    pub(crate) settle: Duration,

    /// Write down what each reload, or each line of --table-changes, changed, and behind which trade it
    /// took effect
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) journal: Option<PathBuf>,

    /// Let the changes of a journal take effect behind the same trades again; the tables' files
    /// must be those that its run began with
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "watch")]
    pub(crate) replay_journal: Option<PathBuf>,

    /// How many generations before the one in force are kept with --control, for a rollback: a copy of
    /// each file, text packed
    #[arg(long, value_name = "N", default_value_t = 2, requires = "control", value_parser = |text: &str| number::<u32>(text, 0..=1_000))]
    pub(crate) keep_generations: u32,

    /// A folder for these copies, which are gone with the run [default: where temporary files are]
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath, requires = "control")]
    pub(crate) generations: Option<PathBuf>,
}

/// How often to look when nobody but a request makes it.
const ASKED: Duration = Duration::MAX;

/// How often to look at files.
fn every(text: &str) -> Result<Duration, String> {
    if text == "asked" { Ok(ASKED) } else { duration(text).map_err(|error| format!("{error}, or asked")) }
}

/// The same, as the flag has it.
pub(crate) fn every_text(every: Duration) -> String {
    if every == ASKED { "asked".to_owned() } else { time_text(every) }
}
