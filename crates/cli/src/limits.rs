//! What an input may ask for.

use clap::Args;
use indicatif::HumanBytes;
use tradejoin_connectors::{InputOptions, Limits};

use crate::arg_values::number;
use crate::args::{EngineArgs, RunArgs};
use crate::failure::UsageError;
use crate::plan;
use crate::policy::size;
use crate::settings::Setting;

/// Files that a run needs beside those that it names: the streams that it was given,
/// checkpoints, parts, a socket and who asks by it.
const FILES_BESIDE: u64 = 32;

#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// The longest line or record; a longer one is a bad record
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = line)]
    pub(crate) max_line: u64,

    /// Most fields of a record, and columns of a file
    #[arg(long, value_name = "N", default_value_t = 4_096, allow_negative_numbers = true, value_parser = |text: &str| number::<u64>(text, 1..=1_000_000))]
    pub(crate) max_fields: u64,

    /// How deep objects and lists of a line of JSON may lie in each other
    #[arg(long, value_name = "N", default_value_t = 128, allow_negative_numbers = true, value_parser = |text: &str| number::<u64>(text, 1..=1_000_000))]
    pub(crate) max_depth: u64,

    /// The most that a packed file may unpack to
    #[arg(long, value_name = "SIZE", default_value = "1TiB", value_parser = size)]
    pub(crate) max_unpacked: u64,

    /// How many times its own size a packed file, or a message of Arrow, may unpack to, beyond the first 64 MiB
    #[arg(long, value_name = "N", default_value_t = 10_000, allow_negative_numbers = true, value_parser = |text: &str| number::<u64>(text, 1..=u64::MAX))]
    pub(crate) max_ratio: u64,

    /// The longest message of an Arrow file or stream, and the longest buffer that one unpacks
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = size)]
    pub(crate) max_message: u64,

    /// Most text that is under way: batches end earlier so that all of them together have no more
    /// [default: 16 MiB for each batch that may be under way]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) max_in_flight: Option<u64>,

    /// Most tables of a run
    #[arg(long, value_name = "N", default_value_t = 64, allow_negative_numbers = true, value_parser = |text: &str| number::<u64>(text, 1..=4_096))]
    pub(crate) max_tables: u64,
}

fn line(text: &str) -> Result<u64, String> {
    let bytes = size(text)?;
    let most = Limits::LINE_BYTES_MAX as u64;
    if (1..=most).contains(&bytes) { Ok(bytes) } else { Err("write a size from 1 byte to 1 GiB".to_owned()) }
}

impl LimitArgs {
    /// The limits of each input, for a run with these settings.
    ///
    /// # Errors
    /// If what may be under way is less than the batches of such a run need.
    pub(crate) fn limits(&self, engine: &EngineArgs) -> anyhow::Result<Limits> {
        let batches = u64::from(plan::workers(engine.workers)?.get()) + engine.queue_depth;
        let least = Limits::BLOCK_BYTES_MIN as u64;
        let of_batch = self.max_in_flight.map(|bytes| bytes / batches);
        if of_batch.is_some_and(|bytes| bytes < least) {
            let text = format!(
                "--max-in-flight: {batches} batches may be under way (--workers and --queue-depth), which take at \
                 least {} KiB together",
                (batches * least) >> 10
            );
            return Err(UsageError(text).into());
        }
        Ok(Limits { block_bytes: of_batch.map_or(Limits::default().block_bytes, small), ..self.of_file() })
    }

    /// The limits of a file that no run reads.
    pub(crate) fn of_file(&self) -> Limits {
        Limits {
            line_bytes: small(self.max_line),
            fields: small(self.max_fields),
            depth: small(self.max_depth),
            unpacked_bytes: self.max_unpacked,
            unpacked_ratio: self.max_ratio,
            message_bytes: self.max_message,
            ..Limits::default()
        }
    }

    /// Those that were given, as settings.
    pub(crate) fn settings(&self, args: &RunArgs) -> Vec<Setting> {
        let size = |name, bytes| Setting::new(name, bytes, false).shown(sized(name, bytes));
        let all = [
            size("max_line", self.max_line),
            Setting::new("max_fields", self.max_fields, false),
            Setting::new("max_depth", self.max_depth, false),
            size("max_unpacked", self.max_unpacked),
            Setting::new("max_ratio", self.max_ratio, false),
            size("max_message", self.max_message),
            size("max_in_flight", self.max_in_flight.unwrap_or_default()),
            Setting::new("max_tables", self.max_tables, false),
        ];
        all.into_iter().filter(|setting| args.is_given(setting.name())).collect()
    }

    /// An input that is held to these limits.
    pub(crate) fn apply(&self, input: InputOptions) -> InputOptions {
        InputOptions { limits: self.of_file(), ..input }
    }
}

fn sized(name: &str, bytes: u64) -> String {
    format!("{} {}", name.replace('_', "-"), HumanBytes(bytes))
}

/// Where memory has fewer addresses than the flag allows, none of them is a limit.
fn small(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Refuses a run with too many tables, or that names more files than the system lets
/// it open: it would end in the middle.
pub(crate) fn check_files(args: &RunArgs) -> Result<(), UsageError> {
    let input = &args.input;
    let known = [&input.instruments, &input.users].into_iter().flatten().count();
    let tables = (known + input.table.len()) as u64;
    let most = input.limits.max_tables;
    if tables > most {
        return Err(UsageError(format!(
            "{tables} tables are more than a run may have, {most} (--max-tables)"
        )));
    }
    // The file that is read and, where it is watched, the newer one and its copy.
    let of_table = if args.reload.watch.is_some() { 3 } else { 1 };
    let needed = tables * of_table + FILES_BESIDE;
    match rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        Some(allowed) if allowed < needed => Err(UsageError(format!(
            "the run may need {needed} open files, and the system allows {allowed} (ulimit -n)"
        ))),
        _ => Ok(()),
    }
}
