//! The command: turns what the user typed into runs of the engine, and prints
//! what came of them. The only place for printing and exit codes.

#![expect(clippy::print_stderr, reason = "the command prints")]

mod arg_values;
mod args;
mod table_arg;

mod failure;
mod memory;
mod policy;
mod signals;
mod style;

mod destination;
mod gates;
mod job;
mod modes;
mod plan;
mod sample;
mod summary;
mod watch;

mod config;

mod bench;
mod generate;
mod run;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::args::{Cli, Command};
use crate::config::Config;

fn main() -> ExitCode {
    let command = match command() {
        Ok(command) => command,
        Err(error) => return failure::report(&error),
    };
    let done = match command {
        Command::Run(args) => run::run(&args),
        Command::Generate(args) => generate::generate(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::ConfigSchema => config_schema(),
        Command::Completions { shell } => completions(shell),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => failure::report(&error),
    }
}

/// What the user typed, with what a configuration file adds to it.
fn command() -> anyhow::Result<Command> {
    let mut words: Vec<OsString> = std::env::args_os().collect();
    // What is wrong with the words shows when all of them are there.
    let typed = Cli::command().ignore_errors(true).try_get_matches_from(&words).ok();
    let run = typed.as_ref().and_then(|typed| typed.subcommand_matches("run"));
    let file = run.and_then(|run| Some((run, run.get_one::<PathBuf>("config")?)));
    let Some((run, file)) = file else { return Ok(Cli::parse().command) };
    words.extend(Config::read(file)?.arguments(run));
    let read = Cli::try_parse_from(&words);
    Ok(read
        .unwrap_or_else(|error| {
            if error.use_stderr() {
                eprintln!("with what {} adds to the command line:", file.display());
            }
            error.exit()
        })
        .command)
}

fn config_schema() -> anyhow::Result<u8> {
    std::io::stdout().write_all(Config::schema()?.as_bytes())?;
    Ok(failure::OK)
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tradejoin", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(failure::OK)
}
