//! The command: turns what the user typed into runs of the engine, and prints
//! what came of them. The only place for printing and exit codes.

mod arg_values;
mod args;
mod report_args;
mod table_arg;

mod control;
mod failure;
mod memory;
mod policy;
mod reload;
mod signals;
mod stall;
mod style;
mod sync;
mod tell;
mod temporary;

mod destination;
mod gates;
mod job;
mod journals;
mod limits;
mod modes;
mod plan;
mod print;
mod same_file;
mod sample;
mod settings;
mod summary;
mod watch;

mod config;

mod bad;
mod bench;
mod changes;
mod check;
mod checkpoint;
mod correct;
mod diff;
mod explain;
mod generate;
mod replay;
mod run;
mod tap;
mod unsaid;
mod verify;

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{self, ExitCode};

use anyhow::Context as _;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};
use tradejoin_config::Config;

use crate::args::{Cli, Command, RunArgs};
use crate::check::CheckArgs;
use crate::print::print;
use crate::tell::tell;

fn main() -> ExitCode {
    // What it was has been said where it happened.
    std::panic::catch_unwind(carry_out).unwrap_or_else(|_| failure::of_bug())
}

fn carry_out() -> ExitCode {
    let command = match command() {
        Ok(command) => command,
        Err(error) => return failure::report(&error),
    };
    let done = match command {
        Command::Run(mut args) => spread(&mut args).and_then(|()| run::run(&args)),
        Command::Replay(mut args) => spread(&mut args.run).and_then(|()| replay::replay(*args)),
        Command::Check(mut args) => {
            let CheckArgs { input, look_ups, engine, .. } = &mut *args;
            let spread = table_arg::spread(input, look_ups, engine);
            spread.map_err(anyhow::Error::from).and_then(|()| check::check(&args))
        }
        Command::Verify(mut args) => spread(&mut args.run).and_then(|()| verify::verify(*args)),
        Command::Explain(mut args) => spread(&mut args.run).and_then(|()| explain::explain(*args)),
        Command::Generate(args) => generate::generate(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::DiffTable(args) => diff::diff(&args),
        Command::Tap(mut args) => spread(&mut args.run).and_then(|()| tap::tap(*args)),
        Command::Reload(args) => reload::reload(&args),
        Command::Checkpoint(command) => checkpoint::checkpoint(&command),
        Command::ConfigSchema => config_schema(),
        Command::Completions { shell } => completions(shell),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => failure::report(&error),
    }
}

/// Puts what `--table` says to the flags that say it.
fn spread(args: &mut RunArgs) -> anyhow::Result<()> {
    Ok(table_arg::spread(&args.input, &mut args.look_ups, &mut args.engine)?)
}

/// What the user typed, with what a configuration file adds to it.
fn command() -> anyhow::Result<Command> {
    let mut words: Vec<OsString> = std::env::args_os().collect();
    // What is wrong with the words shows when all of them are there.
    let typed = Cli::command().ignore_errors(true).try_get_matches_from(&words).ok();
    let run = typed.as_ref().and_then(run_flags);
    let file = run.and_then(|run| Some((run, run.get_one::<PathBuf>("config")?)));
    let Some((run, file)) = file else { return parse(&words).map_err(|error| end(&error)) };
    let mut arguments = config::read(file)?.arguments(|flag, table| match table {
        Some(table) => is_given_of(run, flag, table),
        None => is_given(run, flag),
    });
    if typed.as_ref().and_then(ArgMatches::subcommand_name) == Some("tap") {
        // That of the runs of this file: a dry run has none, and one that goes on is named.
        arguments.retain(|argument| !argument.as_encoded_bytes().starts_with(b"--control="));
    }
    words.extend(arguments);
    parse(&words).map_err(|error| {
        if error.use_stderr() {
            tell!("with what {} adds to the command line:", file.display());
        }
        end(&error)
    })
}

/// Ends the command with what its words come to: help, or what is wrong with them. Comes back
/// if the help, which is what was asked for, cannot be printed.
fn end(error: &clap::Error) -> anyhow::Error {
    match error.print() {
        Err(cause) if !error.use_stderr() => anyhow::Error::new(cause).context("cannot print the help"),
        _ => process::exit(error.exit_code()),
    }
}

/// The command that words are, and for a run which of its flags are among them.
fn parse(words: &[OsString]) -> Result<Command, clap::Error> {
    let mut matches = Cli::command().try_get_matches_from(words)?;
    let given = run_flags(&matches).map(|run| {
        let flags = run.ids().map(clap::Id::as_str).filter(|flag| is_given(run, flag));
        flags.map(str::to_owned).collect()
    });
    let read = Cli::from_arg_matches_mut(&mut matches);
    let mut command = read.map_err(|error| error.format(&mut Cli::command()))?.command;
    match (&mut command, given) {
        (Command::Run(args), Some(given)) => args.given = given,
        (Command::Replay(args), Some(given)) => args.run.given = given,
        (Command::Verify(args), Some(given)) => args.run.given = given,
        (Command::Explain(args), Some(given)) => args.run.given = given,
        (Command::Tap(args), Some(given)) => args.run.given = given,
        _ => {}
    }
    Ok(command)
}

/// Whether a flag that says something of a table was typed for this one, or for all that are not
/// named.
fn is_given_of(run: &ArgMatches, flag: &str, table: &str) -> bool {
    let of_table = |value: &OsStr| {
        let text = value.to_string_lossy();
        let named = text.split_once('=').map_or("", |(named, _)| named.trim());
        named == table || named.is_empty()
    };
    is_given(run, flag) && run.get_raw(flag).is_some_and(|mut values| values.any(of_table))
}

/// Whether the flag of this name was typed.
fn is_given(run: &ArgMatches, flag: &str) -> bool {
    run.value_source(flag) == Some(ValueSource::CommandLine)
}

/// The words of a command that has the flags of a run.
fn run_flags(words: &ArgMatches) -> Option<&ArgMatches> {
    words
        .subcommand()
        .filter(|(name, _)| ["run", "replay", "verify", "explain", "tap"].contains(name))
        .map(|(_, flags)| flags)
}

fn config_schema() -> anyhow::Result<u8> {
    print(&Config::schema()?)?;
    Ok(failure::OK)
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tradejoin", &mut script);
    std::io::stdout().write_all(&script).context("cannot write standard output")?;
    Ok(failure::OK)
}
