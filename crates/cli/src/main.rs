//! The command: turns what the user typed into runs of the engine, and prints
//! what came of them. The only place for printing and exit codes.

#![expect(clippy::print_stderr, reason = "the command prints")]

mod args;

mod failure;
mod memory;
mod signals;
mod style;

mod destination;
mod job;
mod modes;
mod plan;
mod sample;
mod summary;
mod watch;

mod bench;
mod generate;
mod run;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::args::{Cli, Command};

fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    let done = match command {
        Command::Run(args) => run::run(&args),
        Command::Generate(args) => generate::generate(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::Completions { shell } => completions(shell),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => failure::report(&error),
    }
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tradejoin", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(failure::OK)
}
