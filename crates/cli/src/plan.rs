//! What was typed, turned into what it means.

use std::io::IsTerminal as _;
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;

use anyhow::Context as _;
use tradejoin_connectors::{Encoding, Format, InputOptions, Location};
use tradejoin_engine::{EngineConfig, Order, Unmatched};
use tradejoin_flow::Depth;
use tradejoin_generator::{Mix, Stream, StreamConfig};
use tradejoin_model::{Distribution, ShardCount, TableSpec};

use crate::args::{EngineArgs, OrderArg, StreamArgs, UnmatchedArg};
use crate::failure::UsageError;

/// How many messages a generated stream has, unless the user says.
pub(crate) const GENERATED_MESSAGES: u64 = 10_000_000;

/// The batch length for so many workers: an eighth of a second of a slow
/// stream's memory does not matter, and longer batches make a hand-off cheap.
pub(crate) fn batch_len(asked: Option<u64>, workers: ShardCount) -> usize {
    const PER_WORKER: usize = 4_096;
    const RANGE: std::ops::RangeInclusive<usize> = 8_192..=65_536;
    match asked {
        // The flag's range fits any platform's.
        Some(len) => len as usize,
        None => (PER_WORKER * workers.as_usize()).clamp(*RANGE.start(), *RANGE.end()),
    }
}

/// The number of workers asked for, or one for each core.
pub(crate) fn workers(asked: Option<u32>) -> anyhow::Result<ShardCount> {
    let cores = available_parallelism().map_or(1, NonZero::get);
    let count = asked.unwrap_or_else(|| u32::try_from(cores).unwrap_or(ShardCount::MAX).min(ShardCount::MAX));
    ShardCount::new(count).context("the number of workers is out of range")
}

/// The engine's settings for `tables`.
pub(crate) fn engine_config(args: &EngineArgs, mut tables: Vec<TableSpec>) -> anyhow::Result<EngineConfig> {
    distribute(&mut tables, &args.distribution)?;
    let mut config = EngineConfig::new(tables);
    config.shards = workers(args.workers)?;
    // The flag's range fits any platform's.
    config.queue_depth = Depth::new(args.queue_depth as usize).context("the queue depth is out of range")?;
    config.order = match args.order {
        OrderArg::Input => Order::Input,
        OrderArg::Arrival => Order::Arrival,
    };
    config.unmatched = match args.unmatched {
        UnmatchedArg::Drop => Unmatched::Drop,
        UnmatchedArg::Keep => Unmatched::Keep,
    };
    Ok(config)
}

/// Spreads tables as the user says.
pub(crate) fn distribute(tables: &mut [TableSpec], asked: &[(String, Distribution)]) -> anyhow::Result<()> {
    for (name, distribution) in asked {
        let table = tables.iter_mut().find(|table| table.name == *name);
        let table = table.ok_or_else(|| {
            UsageError(format!("--distribution names {name}, a table that the run has not"))
        })?;
        table.distribution = *distribution;
    }
    Ok(())
}

/// The tables of a generated stream.
pub(crate) fn generated_tables(mix: &Mix) -> Vec<TableSpec> {
    let mut tables = vec![TableSpec::instruments()];
    tables.extend(mix.has_users().then(TableSpec::users));
    tables
}

/// The generated stream that was asked for, or one of `default_mix`.
pub(crate) fn stream(args: &StreamArgs, default_mix: Mix) -> anyhow::Result<Arc<Stream>> {
    let config = StreamConfig {
        seed: args.seed,
        mix: args.mix.clone().unwrap_or(default_mix),
        ids: args.ids,
        keys: args.keys,
        unknown_share: args.unknown_share,
        ..StreamConfig::default()
    };
    Ok(Arc::new(Stream::new(config)?))
}

/// How an input is encoded: as `forced` says, else as its ending says, else as
/// `fallback` says.
pub(crate) fn input(
    path: &Path,
    forced: Option<&str>,
    fallback: Option<&str>,
) -> anyhow::Result<InputOptions> {
    let location = Location::of_argument(path);
    let encoding = match (forced, Encoding::of_location(&location), fallback) {
        (Some(forced), _, _) => forced.parse()?,
        (None, Ok(encoding), _) => encoding,
        (None, Err(_), Some(fallback)) => fallback.parse()?,
        (None, Err(error), None) => return Err(error).context("--format is needed"),
    };
    Ok(InputOptions::with_encoding(location, encoding))
}

/// How an output is encoded: as `forced` says, else as its ending says, else as
/// `fallback` says. Nobody wants binary data on a terminal.
pub(crate) fn output(
    location: &Location,
    forced: Option<&str>,
    fallback: Option<Encoding>,
) -> anyhow::Result<Encoding> {
    let encoding = match (forced, Encoding::of_location(location), fallback) {
        (Some(forced), _, _) => forced.parse()?,
        (None, Ok(encoding), _) => encoding,
        (None, Err(_), Some(fallback)) => fallback,
        (None, Err(error), None) => return Err(error).context("the output needs a format"),
    };
    let is_plain_text =
        encoding == Encoding::plain(Format::Csv) || encoding == Encoding::plain(Format::JsonLines);
    if *location == Location::Standard && !is_plain_text && std::io::stdout().is_terminal() {
        let message = format!(
            "standard output is a terminal, and {encoding} is not for reading; name a file or a pipe"
        );
        return Err(UsageError(message).into());
    }
    Ok(encoding)
}
