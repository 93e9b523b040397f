//! The engine beside its peers: other people's programs, on the same messages.
//!
//! `peers memory` measures them from memory; `peers report` writes the table and
//! the plot of what was recorded. Every program has to give the right answer before
//! any is timed, and again each time that it is.

mod data;
mod event;
mod machine;
mod memory;
mod ours;
mod page;
mod plot;
mod programs;
mod record;
mod sum;

#[cfg(feature = "datafusion")]
mod datafusion_peer;
#[cfg(feature = "renoir")]
mod renoir_peer;
#[cfg(feature = "timely")]
mod timely_peer;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::programs::Name;

/// For all programs: batches are freed by another thread than the one that made
/// them, which costs those that allocate each of them dear in the system's allocator.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the engine beside its peers.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run all programs of this build on messages in memory
    Memory(MemoryArgs),
    /// Write the tables and the plot of recorded results
    Report(ReportArgs),
}

#[derive(Debug, Args)]
struct MemoryArgs {
    /// How many messages each program reads
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,
    /// How many instruments there are
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    ids: u32,
    /// Rounds that count; in each, every program runs once
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Run only these programs, beside naive
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    only: Vec<Name>,
    /// Record the results as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ReportArgs {
    /// What `peers memory` recorded
    #[arg(long, value_name = "FILE")]
    memory: Option<PathBuf>,
    /// What `files.py` recorded
    #[arg(long, value_name = "FILE")]
    files: Option<PathBuf>,
    /// The page whose tables are to be written anew
    #[arg(long, value_name = "FILE")]
    page: PathBuf,
    /// The plot
    #[arg(long, value_name = "FILE")]
    plot: PathBuf,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Memory(args) => memory::run(&args),
        Command::Report(args) => {
            let memory = args.memory.as_deref().map(record::read).transpose()?;
            let files = args.files.as_deref().map(record::read).transpose()?;
            page::write(&args.page, memory.as_ref(), files.as_ref())?;
            plot::draw(&args.plot, memory.as_ref(), files.as_ref())
        }
    }
}
