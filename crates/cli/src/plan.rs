//! What was typed, turned into what it means.

use std::io::{ErrorKind, IsTerminal as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use arrow_schema::SchemaRef;
use tradejoin_connectors::{
    AddedColumn, CreateError, Encoding, Format, InputOptions, Location, ValueEncoding, check_readable,
};
use tradejoin_engine::EngineConfig;
use tradejoin_flow::Depth;
use tradejoin_generator::{Days, Mix, Stream, StreamConfig};
use tradejoin_model::{ColumnType, Distribution, ShardCount, TableSpec};

use crate::args::{EngineArgs, StreamArgs};
use crate::failure::UsageError;
use crate::policy;

/// How many messages a generated stream has, unless the user says.
pub(crate) const GENERATED_MESSAGES: u64 = 10_000_000;

/// The batch length that was asked for, or the default for so many workers on
/// this machine's cores: a partitioned batch is split among them, and a part of
/// fewer rows costs more to hand over than to look up.
pub(crate) fn batch_len(asked: Option<u64>, workers: ShardCount) -> usize {
    const PER_WORKER: usize = 4_096;
    const RANGE: std::ops::RangeInclusive<usize> = 8_192..=65_536;
    match asked {
        // The flag's range fits any platform's.
        Some(len) => len as usize,
        // Those beyond the cores take turns, and get smaller parts.
        None => {
            (PER_WORKER * workers.min(ShardCount::of_cores()).as_usize()).clamp(*RANGE.start(), *RANGE.end())
        }
    }
}

/// The number of workers asked for, or one for each core.
pub(crate) fn workers(asked: Option<u32>) -> anyhow::Result<ShardCount> {
    match asked {
        Some(count) => ShardCount::new(count).context("the number of workers is out of range"),
        None => Ok(ShardCount::of_cores()),
    }
}

/// The engine's settings for `tables`.
pub(crate) fn engine_config(args: &EngineArgs, mut tables: Vec<TableSpec>) -> anyhow::Result<EngineConfig> {
    distribute(&mut tables, &args.distribution)?;
    policy::apply(&mut tables, args.unmatched.into(), &args.on_miss)?;
    let mut config = EngineConfig::new(tables);
    config.shards = workers(args.workers)?;
    // The flag's range fits any platform's.
    config.queue_depth = Depth::new(args.queue_depth as usize).context("the queue depth is out of range")?;
    config.order = args.order.into();
    (config.hold_rows_max, config.hold_bytes_max) = (args.hold_rows, args.hold_bytes);
    Ok(config)
}

/// Adds a column that says how long a trade has waited, behind all others.
pub(crate) fn add_wait_column(
    name: &str,
    config: &mut EngineConfig,
    schema: &SchemaRef,
    added: &mut Vec<AddedColumn>,
) -> Result<(), UsageError> {
    let is_taken = schema.field_with_name(name).is_ok() || added.iter().any(|column| column.name == name);
    if is_taken || name.is_empty() {
        let what = if is_taken { "the output has a column of that name" } else { "a column needs a name" };
        return Err(UsageError(format!("--wait-column {name}: {what}")));
    }
    config.wait_column = true;
    let encoding = ValueEncoding::default();
    let index = config.tables.iter().map(|table| table.outputs.len()).sum();
    added.push(AddedColumn { name: name.to_owned(), column_type: ColumnType::Integer, encoding, index });
    Ok(())
}

/// Spreads tables as the user says.
pub(crate) fn distribute(tables: &mut [TableSpec], asked: &[(String, Distribution)]) -> anyhow::Result<()> {
    for (index, (name, distribution)) in asked.iter().enumerate() {
        if asked[..index].iter().any(|(other, _)| other == name) {
            return Err(UsageError(format!("--distribution names {name} twice")).into());
        }
        let Some(table) = tables.iter_mut().find(|table| table.name == *name) else {
            let names: Vec<_> = tables.iter().map(|table| table.name.as_str()).collect();
            let text = format!(
                "--distribution names {name}, a table that the run has not; it has {}",
                names.join(", ")
            );
            return Err(UsageError(text).into());
        };
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
        seed: args.seed.unwrap_or(StreamArgs::SEED),
        mix: args.mix.clone().unwrap_or(default_mix),
        ids: args.ids.unwrap_or(StreamArgs::IDS),
        keys: args.keys.unwrap_or_default(),
        unknown_share: args.unknown_share.unwrap_or(0.0),
        days: days(args)?,
        ..StreamConfig::default()
    };
    Ok(Arc::new(Stream::new(config)?))
}

/// The trading days of a stream, which are as long; `None` for one.
fn days(args: &StreamArgs) -> Result<Option<Days>, UsageError> {
    match (args.days.unwrap_or(1), args.reused) {
        (1, Some(_)) => {
            let text = "--reused is what changes from one day to the next: give --days 2 or more";
            Err(UsageError(text.to_owned()))
        }
        (1, None) => Ok(None),
        (count, reused) => {
            let len = args.limit.unwrap_or(GENERATED_MESSAGES) / u64::from(count);
            Ok(Some(Days { count, len, reused_share: reused.unwrap_or(StreamArgs::REUSED) }))
        }
    }
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
        (None, Err(error), None) => {
            // A name that means nothing is a lesser evil than no file of that name.
            check_readable(&location)?;
            return Err(error).context("--format is needed");
        }
    };
    Ok(InputOptions::with_encoding(location, encoding))
}

/// What to say of an output in parts where one file is read.
pub(crate) fn folder_is_not_read(output: &Path) -> String {
    format!(
        "{} is a folder, and an output is read from one file: make one of its parts, in their order",
        output.display()
    )
}

/// How an output is encoded: as `forced` says, else as its ending says, else,
/// for standard output, pipes and devices, as `fallback` says. Nobody wants
/// binary data on a terminal.
pub(crate) fn output(
    location: &Location,
    forced: Option<&str>,
    fallback: Encoding,
) -> anyhow::Result<Encoding> {
    let encoding = match (forced, Encoding::of_location(location), location) {
        (Some(forced), _, _) => forced.parse()?,
        (None, Ok(encoding), _) => encoding,
        (None, Err(_), Location::Standard) => fallback,
        (None, Err(error), Location::Path(path)) => match path.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                let target_name = path.display().to_string().into();
                return Err(CreateError::Io { target_name, source: ErrorKind::IsADirectory.into() }.into());
            }
            Ok(metadata) if !metadata.is_file() => fallback,
            _ => return Err(error).context("the output needs a format"),
        },
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
