//! What the user typed of `tradejoin bench`: the flags and their help.

use std::time::Duration;

use clap::Args;
use tradejoin_generator::{Keys, Mix};
use tradejoin_model::{Distribution, ShardCount};

use crate::arg_values::{distribution_of_table, duration, number, rate};
use crate::args::{BATCH_LEN_MAX, StreamArgs};
use crate::plan;

use super::RowName;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tradejoin bench
      the article's table, and ours
  tradejoin bench --messages 1000000 --workers 1,2,4 --rounds 5 --distribution instruments=broadcast
  tradejoin bench --generate-inside
      with the generator in the timed part, as the article has it
  tradejoin bench --rate 100000,1000000/s --linger 0 --workers 1,2
      how long a trade takes from when it is due to when it is written, at these rates

Rows whose order is fixed by one sequence must give the same result as the naive program, or the
command fails.")]
pub(crate) struct BenchArgs {
    /// How many messages each program reads [default: 10000000; with --rate as many as --seconds need]
    #[arg(long, short = 'n', value_name = "N", allow_negative_numbers = true, value_parser = |text: &str| number::<u64>(text, 1..=u64::MAX))]
    pub(crate) messages: Option<u64>,

    /// Measure latency instead: run the engine alone, once for each rate, on so many trades a second
    #[arg(long, value_name = "N[/s],...", value_delimiter = ',', allow_negative_numbers = true, value_parser = rate, conflicts_with_all = ["rounds", "generate_inside", "only"])]
    pub(crate) rate: Vec<u64>,

    /// How long a run at a rate is, unless --messages says [default: 5]
    #[arg(long, value_name = "N", requires = "rate", conflicts_with = "messages", allow_negative_numbers = true, value_parser = |text: &str| number::<u64>(text, 1..=3_600))]
    pub(crate) seconds: Option<u64>,

    /// How long the oldest trade of a batch waits for more at a rate: 0, 500us, 1ms, 2s
    #[arg(long, value_name = "DURATION", default_value = "1ms", requires = "rate", allow_hyphen_values = true, value_parser = duration)]
    pub(crate) linger: Duration,

    /// Worker counts of the engine
    #[arg(long, short, value_name = "N,...", value_delimiter = ',', default_value = "1,2", allow_negative_numbers = true, value_parser = |text: &str| number::<u32>(text, 1..=u64::from(ShardCount::MAX)))]
    pub(crate) workers: Vec<u32>,

    /// Rounds that count; in each, every program runs once
    #[arg(long, value_name = "N", default_value_t = 5, allow_negative_numbers = true, value_parser = |text: &str| number::<u32>(text, 1..=1_000))]
    pub(crate) rounds: u32,

    /// The mix of trades and changes
    #[arg(long, value_name = "MIX", default_value = "article")]
    pub(crate) mix: Mix,

    /// The seed
    #[arg(long, value_name = "SEED", default_value_t = StreamArgs::SEED)]
    pub(crate) seed: u64,

    /// How many instruments there are
    #[arg(long, value_name = "N", default_value_t = StreamArgs::IDS, allow_negative_numbers = true, value_parser = |text: &str| number::<u32>(text, 1..=1 << 30))]
    pub(crate) ids: u32,

    /// How keys are drawn: uniform, or zipf:EXPONENT for a few busy instruments
    #[arg(long, value_name = "KEYS", default_value = "uniform")]
    pub(crate) keys: Keys,

    /// How a table is spread: TABLE=auto, TABLE=partitioned or TABLE=broadcast
    #[arg(long, value_name = "TABLE=HOW", value_parser = distribution_of_table, value_delimiter = ',')]
    pub(crate) distribution: Vec<(String, Distribution)>,

    /// Most messages in a batch of the engine
    #[arg(long, value_name = "ROWS", allow_negative_numbers = true, value_parser = |text: &str| number::<u64>(text, 1..=BATCH_LEN_MAX))]
    pub(crate) batch_len: Option<u64>,

    /// Time the generator with each program, instead of reading from memory
    #[arg(long)]
    pub(crate) generate_inside: bool,

    /// Run only these rows
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub(crate) only: Vec<RowName>,

    /// Print the result as one line of JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// No progress
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

impl BenchArgs {
    /// How many messages each program reads.
    pub(crate) fn messages(&self) -> u64 {
        self.messages.unwrap_or(plan::GENERATED_MESSAGES)
    }
}
