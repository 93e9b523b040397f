//! What the user typed: the flags and their help.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{Styles, styling::AnsiColor};
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use tradejoin_connectors::{LastRead, ReadyAfter, TableKind};
use tradejoin_engine::EngineConfig;
use tradejoin_flow::Depth;
use tradejoin_generator::{Days, Keys, Mix};
use tradejoin_model::{Distribution, MissPolicy, ShardCount};

use crate::arg_values::{
    distribution_of_table, duration, mode_of_table, number, ready_after, tolerance, version_column,
};
use crate::bad::{BadArgs, LetterArgs};
use crate::bench::BenchArgs;
use crate::changes::ChangesArgs;
use crate::check::CheckArgs;
use crate::checkpoint::{CheckpointArgs, CheckpointCommand};
use crate::control::ControlArgs;
use crate::correct::CorrectArgs;
use crate::diff::DiffArgs;
use crate::explain::ExplainArgs;
use crate::limits::LimitArgs;
use crate::policy;
use crate::reload::{ReloadArgs, ReloadCommandArgs};
use crate::replay::{self, ReplayArgs};
pub(crate) use crate::report_args::ReportArgs;
use crate::stall::StallArgs;
use crate::table_arg::TableArg as JoinedTable;
use crate::tap::TapArgs;
use crate::verify::VerifyArgs;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold());

/// Most rows that a batch may have.
pub(crate) const BATCH_LEN_MAX: u64 = 1 << 20;

#[derive(Debug, Parser)]
#[command(
    name = "tradejoin",
    version = env!("TRADEJOIN_VERSION"),
    styles = STYLES,
    about = "Joins a stream of trades with reference tables, on many cores",
    after_help = "Examples:
  tradejoin run
      enrich ten million generated trades and show what happened
  tradejoin run --trades trades.csv --instruments instruments.csv --output enriched.csv
      enrich a file
  tradejoin tap --trades trades.csv --instruments instruments.csv --where 'instrument=SPY*'
      look at a few trades
  tradejoin bench
      measure it against programs with one and two threads

Exit codes: 0 done, 1 what was asked about or compared is not so (check, diff-table, verify, explain,
reload, checkpoint verify), 2 usage, 65 bad data, 66 an input is missing or unreadable,
70 a bug of tradejoin, 73 the output cannot be made, 74 reading or writing failed,
75 another run has the checkpoints, 78 a checkpoint or output that does not fit, 130 interrupted"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Enrich trades from files, standard input or a generator
    Run(Box<RunArgs>),
    /// Join again, slowly and independently, and compare an output row by row
    Verify(Box<VerifyArgs>),
    /// Say why a trade found what it found, or nothing
    Explain(Box<ExplainArgs>),
    /// Write a generated stream, or generated trades and tables, to files
    Generate(Box<GenerateArgs>),
    /// Measure the engine against simpler programs on the same stream
    Bench(Box<BenchArgs>),
    /// Read a sample of trades, and the tables, and predict what a run would come to
    Check(Box<CheckArgs>),
    /// Join trades again that were put aside, with newer tables
    #[command(after_help = replay::EXAMPLES)]
    Replay(Box<ReplayArgs>),
    /// Say what a reload would do with a newer file of a table, and whether it would be refused
    DiffTable(Box<DiffArgs>),
    /// Ask a run that goes on to read the files of its tables again, or to go back to older rows
    Reload(ReloadCommandArgs),
    /// Show some enriched trades: of a run that goes on, or of one that writes nothing
    Tap(Box<TapArgs>),
    /// Look at the checkpoints of a run
    #[command(subcommand)]
    Checkpoint(CheckpointCommand),
    /// Print the JSON schema of the file of `run --config`
    ConfigSchema,
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  tradejoin completions bash > ~/.local/share/bash-completion/completions/tradejoin"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tradejoin run --limit 1000000 --workers 4
      enrich a million generated messages on four workers
  tradejoin run --trades trades.csv --instruments instruments.csv
      enriched trades to standard output
  zcat trades.csv.gz | tradejoin run --trades - --format csv --instruments instruments.parquet \\
      --users users.csv --output enriched.parquet
      formats may differ; the ending of a name decides
  tradejoin run --trades t.csv --instruments i.csv --columns 'instrument,strike,expiry as matures'
      choose what the tables add
  tradejoin run --trades t.csv --instruments i.csv --mode instruments=as-of --tolerance instruments=30d
      ids that change their meaning: each trade finds the row valid at its timestamp
  tradejoin run --trades t.csv --instruments i.csv --table venues=v.csv,key=venue@mic,columns=city \
      --table desks=d.parquet,key=book+region
      any number of tables, each by its own key, in one pass
  tradejoin run --trades t.csv --instruments i.csv --users u.csv --watch --reload-group instruments+users \
      --control run.sock
      two tables whose newer files take effect together, and a socket for `tradejoin reload` and `tradejoin tap`
  tradejoin run --trades t.csv.gz --instruments i.csv --output o.csv --checkpoint state/
      killed at any moment, the same command goes on where it was; in a file nothing is lost, nothing comes twice
  tradejoin run --config tradejoin.toml --workers 4
      what to do stands in a file, but for the number of workers
  tradejoin run --messages stream.jsonl --unmatched keep
      trades and table changes in one stream; keep trades that find nothing
  producer | tradejoin run --trades trades.csv --instruments i.csv --table-changes - --output enriched.csv
      changes of the instruments beside the trades, each before the first trade that is not older
  tradejoin run --messages stream.jsonl --table-ready-after instruments=marker --gate-timeout 30s
      no trade is joined before the instruments are complete
  tradejoin run --messages stream.jsonl --on-miss instruments=hold=100000rows,then=dead-letter \\
      --dead-letters unmatched.jsonl
      let a trade wait for its instrument, and put aside what never finds one
  tradejoin run --messages stream.jsonl --unmatched keep --output o.jsonl --correct 5m --corrections c.jsonl
      write a trade again when its instrument comes late, changes or is deleted within five minutes")]
pub(crate) struct RunArgs {
    /// A file that says what these flags say, in TOML; flags that are given go before it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) input: InputArgs,
    #[command(flatten)]
    pub(crate) stream: StreamArgs,
    #[command(flatten)]
    pub(crate) look_ups: LookUpArgs,
    #[command(flatten)]
    pub(crate) changes: ChangesArgs,
    #[command(flatten)]
    pub(crate) reload: ReloadArgs,
    #[command(flatten)]
    pub(crate) control: ControlArgs,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,

    /// Where the enriched trades go: a file, or - for standard output
    /// [default: standard output for trades that are read, nowhere for generated ones]
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,

    /// The output's format, whatever the ending of its name says
    #[arg(long, value_name = "FORMAT", help_heading = "Output")]
    pub(crate) output_format: Option<String>,

    /// Put a ' in front of texts in CSV that a spreadsheet would take for formulas: those that begin
    /// with =, +, -, @, a tab or the end of a line. Numbers such as -1.25 are left alone
    #[arg(long, help_heading = "Output")]
    pub(crate) csv_safe: bool,

    /// The columns that the tables add: NAME, TABLE.NAME or "NAME as OTHER", separated by commas
    /// [default: instrument, user with a users table, and what each --table adds]
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', help_heading = "Output")]
    pub(crate) columns: Vec<String>,

    #[command(flatten)]
    pub(crate) letters: LetterArgs,

    /// Add a last column of this name: how many trades were read while a trade waited for its key
    #[arg(long, value_name = "NAME", help_heading = "Output")]
    pub(crate) wait_column: Option<String>,

    #[command(flatten)]
    pub(crate) correct: CorrectArgs,
    #[command(flatten)]
    pub(crate) kept: CheckpointArgs,
    #[command(flatten)]
    pub(crate) report: ReportArgs,
    #[command(flatten)]
    pub(crate) stall: StallArgs,

    /// The flags that were given, here or in the file, by their names with _ for -
    #[arg(skip)]
    pub(crate) given: BTreeSet<String>,

    /// Where the place of what was read last shows up, if anybody asks
    #[arg(skip)]
    pub(crate) last_read: Option<LastRead>,
    /// Whether the trades are those of dead letters
    #[arg(skip)]
    pub(crate) of_letters: bool,
    /// Whether one thread reads all inputs in turn, as what repeats a run does
    #[arg(skip)]
    pub(crate) in_turn: bool,
}

impl RunArgs {
    /// Whether a flag was given, rather than left at its default.
    pub(crate) fn is_given(&self, flag: &str) -> bool {
        self.given.contains(flag)
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
pub(crate) struct InputArgs {
    /// Trades: a file, or - for standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "messages")]
    pub(crate) trades: Option<PathBuf>,

    /// The instruments table
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "messages")]
    pub(crate) instruments: Option<PathBuf>,

    /// The users table
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "messages")]
    pub(crate) users: Option<PathBuf>,

    /// Another table, by any key of integers or texts; may be given for each.
    /// KEY is a column, TRADES_COLUMN@TABLE_COLUMN where the names differ, or several with + between;
    /// COLUMNS are what it adds, with : between, each NAME or "NAME as OTHER" [default: all but the key], NAME?
    /// for one that a file may be without;
    /// OPTION is distribution, mode, tolerance, version or on-miss, as the flags that name a table say it
    #[arg(long, value_name = "NAME=FILE,key=KEY[,columns=COLUMNS][,OPTION=VALUE]...", value_hint = ValueHint::Other, conflicts_with = "messages")]
    pub(crate) table: Vec<JoinedTable>,

    /// Trades and table changes in one stream of JSON Lines
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) messages: Option<PathBuf>,

    /// The tables in the stream of --messages: instruments, users or both
    /// [default: instruments, and users if a row of theirs is among the first 1,024 trades]
    #[arg(long, value_name = "TABLE,...", value_delimiter = ',', requires = "messages")]
    pub(crate) tables: Vec<TableArg>,

    /// When a table in the stream of --messages is ready for the first trade: at its marker, a line
    /// {"type":"snapshot_end","table":"users","rows":2}, after so many rows or so much time: TABLE=marker,
    /// TABLE=10000rows, TABLE=5s, both with a comma between; without TABLE=, for all that are not named
    /// [default: at its marker if that is among the first lines, otherwise from the start]
    #[arg(long, value_name = "[TABLE=]CONDITION", value_parser = ready_after)]
    pub(crate) table_ready_after: Vec<(Option<String>, ReadyAfter)>,

    /// Give up if tables are not ready for the first trade after so long: 30s, 5m [default: never]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) gate_timeout: Option<Duration>,

    /// The format of the trades, whatever the ending says, and of files whose ending says nothing:
    /// csv, jsonl, parquet, arrow; csv and jsonl also with .gz or .zst
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,

    #[command(flatten)]
    pub(crate) bad: BadArgs,

    /// How long a record that has come through a pipe may wait for more to come: 0, 500us, 1ms, 2s.
    /// For text; longer makes larger batches, shorter makes trades go on sooner
    #[arg(long, value_name = "DURATION", default_value = "1ms", allow_hyphen_values = true, value_parser = duration)]
    pub(crate) linger: Duration,

    /// Refuse a table in which a key stands twice (otherwise the later row wins)
    #[arg(long)]
    pub(crate) strict: bool,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}

impl InputArgs {
    /// The tables that a stream is said to have, in the order of the tables of
    /// a run; `None` if nothing is said.
    pub(crate) fn table_kinds(&self) -> Option<Vec<TableKind>> {
        let kinds = [(TableArg::Instruments, TableKind::Instruments), (TableArg::Users, TableKind::Users)];
        let kinds = kinds.into_iter().filter(|(arg, _)| self.tables.contains(arg));
        Some(kinds.map(|(_, kind)| kind).collect()).filter(|kinds: &Vec<_>| !kinds.is_empty())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableArg {
    Instruments,
    Users,
}

/// What is generated when nothing is read.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Generated stream")]
pub(crate) struct StreamArgs {
    /// Stop after so many messages [default: 10000000 if generated, otherwise all]
    #[arg(long, short = 'n', value_name = "N", allow_negative_numbers = true, value_parser = |text: &str| number::<u64>(text, 1..=u64::MAX))]
    pub(crate) limit: Option<u64>,

    /// The seed: one seed, one stream [default: 1]
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,

    /// The mix of trades and changes: article, article-users, slow, trades, or custom:KEY=VALUE,...
    /// [default: article]
    #[arg(long, value_name = "MIX")]
    pub(crate) mix: Option<Mix>,

    /// How many instruments there are [default: 10000]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = |text: &str| number::<u32>(text, 1..=1 << 30))]
    pub(crate) ids: Option<u32>,

    /// How keys are drawn: uniform, or zipf:EXPONENT for a few busy instruments [default: uniform]
    #[arg(long, value_name = "KEYS")]
    pub(crate) keys: Option<Keys>,

    /// The share of trades whose instrument no table has, 0 to 1 [default: 0]
    #[arg(long, value_name = "SHARE")]
    pub(crate) unknown_share: Option<f64>,

    /// Spread the stream over so many trading days, on which ids mean different contracts: rows of
    /// instruments have valid_from and valid_to [default: 1, without these]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = |text: &str| number::<u32>(text, 1..=u64::from(Days::MAX)))]
    pub(crate) days: Option<u32>,

    /// The share of ids that are given to another contract on each day behind the first, 0 to 1
    /// [default: 0.2]
    #[arg(long, value_name = "SHARE", requires = "days")]
    pub(crate) reused: Option<f64>,
}

impl StreamArgs {
    /// The seed unless the user says.
    pub(crate) const SEED: u64 = 1;
    /// How many instruments there are unless the user says.
    pub(crate) const IDS: u32 = 10_000;
    /// The share of ids that are given to another contract on a day unless the user says.
    pub(crate) const REUSED: f64 = 0.2;

    /// A flag that was given and means nothing without a generator.
    pub(crate) fn generator_flag(&self) -> Option<&'static str> {
        let given = [
            ("--seed", self.seed.is_some()),
            ("--mix", self.mix.is_some()),
            ("--ids", self.ids.is_some()),
            ("--keys", self.keys.is_some()),
            ("--unknown-share", self.unknown_share.is_some()),
            ("--days", self.days.is_some()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(flag, _)| flag)
    }
}

/// Which row of its key a trade finds.
#[derive(Debug, Args)]
#[command(next_help_heading = "Look-ups")]
pub(crate) struct LookUpArgs {
    /// How a table is looked up: TABLE=latest, by the order of rows, or TABLE=as-of, by the time of the
    /// trade (timestamp) among rows valid from valid_from to before valid_to; may be given for each table,
    /// those of --table too
    /// [default: latest]
    #[arg(long, value_name = "TABLE=MODE", value_parser = mode_of_table, value_delimiter = ',')]
    pub(crate) mode: Vec<(String, ModeArg)>,

    /// How long before the trade a row of an as-of table may have begun: TABLE=1d, TABLE=500ms
    /// [default: as long as it is valid]
    #[arg(long, value_name = "TABLE=DURATION", value_parser = tolerance, value_delimiter = ',')]
    pub(crate) tolerance: Vec<(String, Duration)>,

    /// The column with the version of a row, an integer: of a latest table's rows the one with the highest
    /// version counts, in whatever order they come
    #[arg(long, value_name = "TABLE=COLUMN", value_parser = version_column)]
    pub(crate) version_column: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ModeArg {
    Latest,
    AsOf,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Engine")]
pub(crate) struct EngineArgs {
    /// How many workers share the work; the result does not depend on it. No more than the cores run,
    /// unless a table is partitioned by name [default: the cores]
    #[arg(long, short, value_name = "N", allow_negative_numbers = true, value_parser = |text: &str| number::<u32>(text, 1..=u64::from(ShardCount::MAX)))]
    pub(crate) workers: Option<u32>,

    /// Most trades in a batch [default: 4096 for each worker that has a core, at least 8192, at most 65536]
    #[arg(long, value_name = "ROWS", allow_negative_numbers = true, value_parser = |text: &str| number::<u64>(text, 1..=BATCH_LEN_MAX))]
    pub(crate) batch_len: Option<u64>,

    /// Most batches under way, beside one for each worker
    #[arg(long, value_name = "BATCHES", default_value_t = EngineConfig::QUEUE_DEPTH.get() as u64, allow_negative_numbers = true, value_parser = |text: &str| number::<u64>(text, 1..=Depth::MAX as u64))]
    pub(crate) queue_depth: u64,

    /// The order of the enriched trades
    #[arg(long, default_value = "input")]
    pub(crate) order: OrderArg,

    /// What becomes of a trade that finds nothing in a table for which --on-miss says nothing
    #[arg(long, default_value = "drop")]
    pub(crate) unmatched: UnmatchedArg,

    /// What becomes of a trade that finds nothing in a table: TABLE=drop, keep, fail, dead-letter, or
    /// hold=100000rows[,then=dead-letter|keep|drop] to wait until so many trades have been read behind it;
    /// hold=30s until one is read that is so much later by its timestamp (with clock=processing, for so
    /// long on the clock); may be given for each table
    #[arg(long, value_name = "TABLE=POLICY", value_parser = policy::of_table)]
    pub(crate) on_miss: Vec<(String, MissPolicy)>,

    /// Most trades that wait: over it, those that came first leave early
    #[arg(long, value_name = "N", default_value_t = policy::HOLD_ROWS, allow_negative_numbers = true, value_parser = |text: &str| number::<u64>(text, 0..=u64::MAX))]
    pub(crate) hold_rows: u64,

    /// Most bytes that waiting trades are counted with: 64MiB, 1GB
    #[arg(long, value_name = "SIZE", default_value = policy::HOLD_BYTES, value_parser = policy::size)]
    pub(crate) hold_bytes: u64,

    /// How a table is spread: TABLE=partitioned, TABLE=broadcast or TABLE=auto; may be given for each
    /// table [default: auto, by the size of the table and the number of workers]
    #[arg(long, value_name = "TABLE=HOW", value_parser = distribution_of_table, value_delimiter = ',')]
    pub(crate) distribution: Vec<(String, Distribution)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OrderArg {
    /// As they were read; a trade that waits for its key does not hold up others
    Input,
    /// As they were read, also those that wait: others behind them wait with them
    Strict,
    /// A batch as soon as it is complete
    Arrival,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum UnmatchedArg {
    /// It is dropped and counted
    Drop,
    /// It is passed on with empty columns and counted
    Keep,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("outputs").args(["output", "trades", "instruments", "users"]).required(true).multiple(true)))]
#[command(after_help = "Examples:
  tradejoin generate --limit 1000000 --output stream.jsonl.zst
      one stream of trades and table changes, for `tradejoin run --messages`
  tradejoin generate --trades trades.parquet --instruments instruments.csv --users users.csv
      trades and tables apart
  tradejoin generate --days 5 --trades trades.csv --instruments instruments.csv
      ids that mean other contracts on other days, for `tradejoin run --mode instruments=as-of`")]
pub(crate) struct GenerateArgs {
    /// Write one interleaved stream of JSON Lines: a file, or - for standard output
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["trades", "instruments", "users"])]
    pub(crate) output: Option<PathBuf>,

    /// Write the trades to a file of their own
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) trades: Option<PathBuf>,

    /// Write every instrument, once or with --days for each contract that its id means, to a file of its own
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) instruments: Option<PathBuf>,

    /// Write every user, once, to a file of its own
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) users: Option<PathBuf>,

    /// The format of a file whose ending says nothing, or of standard output
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,

    #[command(flatten)]
    pub(crate) stream: StreamArgs,

    /// No progress
    #[arg(long, short)]
    pub(crate) quiet: bool,
}
