//! The configuration file of `run`: the same words as its flags, which win.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;
use schemars::JsonSchema;
use serde::Deserialize;
use tradejoin_connectors::OpenError;

use crate::failure::UsageError;
use crate::table_arg::nearest;

/// What `tradejoin run --config FILE` reads: what its flags say, in TOML. A flag
/// on the command line goes before what stands here.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "tradejoin run")]
pub(crate) struct Config {
    /// What is read.
    #[serde(default)]
    input: InputConfig,
    /// Tables beside the instruments and the users: `--table`.
    #[serde(default, rename = "table")]
    tables: Vec<TableConfig>,
    /// What is written.
    #[serde(default)]
    output: OutputConfig,
    /// What becomes of tables whose files change.
    #[serde(default)]
    reload: ReloadConfig,
    /// How the run is kept, so that a later one goes on.
    #[serde(default)]
    checkpoint: CheckpointConfig,
    /// What inputs may ask for.
    #[serde(default)]
    limits: LimitsConfig,
    /// How the work is done.
    #[serde(default)]
    engine: EngineConfig,
}

/// What is read. Paths are as the command line has them: those of the folder that
/// the command runs in.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct InputConfig {
    /// Trades: a file, or - for standard input.
    trades: Option<PathBuf>,
    /// The instruments table.
    instruments: Option<PathBuf>,
    /// The users table.
    users: Option<PathBuf>,
    /// Trades and table changes in one stream of JSON Lines.
    messages: Option<PathBuf>,
    /// The tables in the stream of `messages`.
    tables: Option<Vec<String>>,
    /// When tables of the stream are ready for the first trade: marker, 10000rows or 5s, of all
    /// tables, or by their names.
    table_ready_after: Option<ReadyAfterConfig>,
    /// Give up if tables are not ready after so long, such as 30s.
    gate_timeout: Option<String>,
    /// Changes of the tables beside the trades, as JSON Lines: a file, or - for standard input.
    table_changes: Option<PathBuf>,
    /// Where they take effect among the trades: timestamp or arrival.
    changes_by: Option<String>,
    /// Let trades go on when no line of changes has come for so long, such as 30s.
    changes_wait: Option<String>,
    /// The format of the trades, and of files whose ending says nothing.
    format: Option<String>,
    /// What to do with a record that cannot be read: fail, skip or dead-letter.
    on_bad_record: Option<String>,
    /// How many bad records may be left out: a number such as 100, or a share such as 0.1%.
    max_bad: Option<String>,
    /// How long a record of a pipe may wait for more to come, such as 1ms.
    linger: Option<String>,
    /// Refuse a table in which a key stands twice.
    strict: Option<bool>,
    /// Stop after so many messages.
    limit: Option<u64>,
}

/// What tables of a stream wait for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a condition such as \"marker\", or one for each table by its name")]
enum ReadyAfterConfig {
    /// All of them.
    All(String),
    /// By their names.
    ByTable(BTreeMap<String, String>),
}

/// A table by any key of integers or texts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TableConfig {
    /// Its name.
    name: String,
    /// Where it is: a file, or - for standard input.
    file: PathBuf,
    /// Its key: COLUMN, `TRADES_COLUMN@TABLE_COLUMN`, or several with + between.
    key: String,
    /// What it adds, each NAME or "NAME as OTHER", NAME? for one that may be missing; all but the key if
    /// nothing is said.
    columns: Option<Vec<String>>,
    /// How it is spread: partitioned, broadcast or auto.
    distribution: Option<String>,
    /// How it is looked up: latest or as-of.
    mode: Option<String>,
    /// How long before the trade a row may have begun in the mode as-of, such as 30d.
    tolerance: Option<String>,
    /// The column with the version of a row.
    version: Option<String>,
    /// What becomes of a trade that finds nothing in it: drop, keep, fail, dead-letter or
    /// hold=100000rows,then=keep.
    on_miss: Option<String>,
}

/// What is written.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OutputConfig {
    /// Where the enriched trades go: a file, or - for standard output.
    file: Option<PathBuf>,
    /// Its format, whatever the ending of its name says.
    format: Option<String>,
    /// Put a ' in front of texts in CSV that a spreadsheet would take for formulas.
    csv_safe: Option<bool>,
    /// The columns that the tables add: NAME, TABLE.NAME or "NAME as OTHER".
    columns: Option<Vec<String>>,
    /// Where trades and records go that are put aside, as JSON Lines.
    dead_letters: Option<PathBuf>,
    /// The most that they may take, such as 1GiB.
    dead_letters_max: Option<String>,
    /// Say in each when it was written.
    dead_letter_time: Option<bool>,
    /// The name of a last column: how many trades were read while a trade waited.
    wait_column: Option<String>,
    /// How long trades are written again when their rows change: 5m, 100000rows, 256MiB, or
    /// several with commas.
    correct: Option<String>,
    /// Where they go.
    corrections: Option<PathBuf>,
}

/// What becomes of tables whose files change.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReloadConfig {
    /// Reload tables whose files change; how often to look, such as 1s.
    watch: Option<String>,
    /// Refuse a file in which more of a table's rows are missing: 20%, or a number.
    max_removed: Option<String>,
    /// Refuse a file with fewer rows.
    min_rows: Option<u64>,
    /// Where to write down what each reload changed, and behind which trade.
    journal: Option<PathBuf>,
    /// A journal whose changes take effect behind the same trades again.
    replay_journal: Option<PathBuf>,
    /// Tables that take effect together or not at all, each group a list of names.
    groups: Option<Vec<Vec<String>>>,
    /// How long all files of a group must have stood still, such as 3s.
    settle: Option<String>,
    /// The socket by which the run is spoken to.
    control: Option<PathBuf>,
    /// How many generations before the one in force are kept, for a rollback.
    keep_generations: Option<u32>,
    /// A folder for the copies of their files.
    generations: Option<PathBuf>,
}

/// How the run is kept, so that a later one goes on.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CheckpointConfig {
    /// The folder of the checkpoints.
    folder: Option<PathBuf>,
    /// How often: 10s, 20000rows.
    every: Option<String>,
    /// How many of the last ones to keep.
    keep: Option<u32>,
}

/// What inputs may ask for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LimitsConfig {
    /// The longest line or record, such as 16MiB.
    max_line: Option<String>,
    /// Most fields of a record, and columns of a file.
    max_fields: Option<u64>,
    /// How deep objects and lists of a line of JSON may lie in each other.
    max_depth: Option<u64>,
    /// The most that a packed file may unpack to, such as 1TiB.
    max_unpacked: Option<String>,
    /// How many times its own size a packed file may unpack to.
    max_ratio: Option<u64>,
    /// The longest message of an Arrow file, such as 4GiB.
    max_message: Option<String>,
    /// Most text that is under way, such as 64MiB.
    max_in_flight: Option<String>,
    /// Most tables.
    max_tables: Option<u64>,
}

/// How the work is done.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EngineConfig {
    /// How many workers share the work.
    workers: Option<u32>,
    /// Most trades in a batch.
    batch_len: Option<u64>,
    /// Most batches under way, beside one for each worker.
    queue_depth: Option<u64>,
    /// The order of the enriched trades: input, strict or arrival.
    order: Option<String>,
    /// What becomes of a trade that finds nothing in a table: drop or keep.
    unmatched: Option<String>,
    /// What becomes of a trade that finds nothing in a table, by its name: drop, keep, fail,
    /// dead-letter or hold=100000rows,then=keep.
    on_miss: Option<BTreeMap<String, String>>,
    /// Most trades that wait.
    hold_rows: Option<u64>,
    /// Most bytes that waiting trades are counted with, such as 64MiB.
    hold_bytes: Option<String>,
    /// Say which stage has made no progress for so long, such as 10s; 0 for never.
    stall_warning: Option<String>,
    /// How tables are spread, by name: partitioned, broadcast or auto.
    distribution: Option<BTreeMap<String, String>>,
    /// How tables are looked up, by name: latest or as-of.
    mode: Option<BTreeMap<String, String>>,
    /// How long before the trade a row of an as-of table may have begun, by its name, such as 30d.
    tolerance: Option<BTreeMap<String, String>>,
    /// The column with the version of a row, by the name of its table.
    version_column: Option<BTreeMap<String, String>>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, is not TOML, or has a key that means nothing.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let missing = |source| OpenError::Missing { source_name: path.display().to_string().into(), source };
        let text = std::fs::read_to_string(path).map_err(missing)?;
        toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            let what = explained(error.message());
            UsageError(format!("{}, line {line}: {what}", path.display())).into()
        })
    }

    /// Its JSON schema, with a newline at the end.
    pub(crate) fn schema() -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(&schemars::schema_for!(Self))? + "\n")
    }

    /// The arguments that say what it says, but for flags among `given`.
    pub(crate) fn arguments(&self, given: &ArgMatches) -> Vec<OsString> {
        let Self { input, tables, output, reload, checkpoint, limits, engine } = self;
        let mut arguments = Arguments { given, all: Vec::new() };
        arguments.path("trades", &input.trades);
        arguments.path("instruments", &input.instruments);
        arguments.path("users", &input.users);
        arguments.path("messages", &input.messages);
        arguments.text("tables", input.tables.as_ref().map(|tables| tables.join(",")));
        match &input.table_ready_after {
            Some(ReadyAfterConfig::All(condition)) => arguments.text("table_ready_after", Some(condition)),
            Some(ReadyAfterConfig::ByTable(by_table)) => {
                arguments.by_table("table_ready_after", Some(by_table));
            }
            None => {}
        }
        arguments.text("gate_timeout", input.gate_timeout.as_ref());
        arguments.path("table_changes", &input.table_changes);
        arguments.text("changes_by", input.changes_by.as_ref());
        arguments.text("changes_wait", input.changes_wait.as_ref());
        arguments.text("format", input.format.as_ref());
        arguments.text("on_bad_record", input.on_bad_record.as_ref());
        arguments.text("max_bad", input.max_bad.as_ref());
        arguments.text("linger", input.linger.as_ref());
        arguments.flag("strict", input.strict);
        arguments.text("limit", input.limit);
        if !arguments.is_given("table") {
            tables.iter().for_each(|table| arguments.push("table", &table.argument()));
        }
        arguments.path("output", &output.file);
        arguments.text("output_format", output.format.as_ref());
        if output.csv_safe == Some(true) && !arguments.is_given("csv_safe") {
            arguments.all.push("--csv-safe".into());
        }
        arguments.path("dead_letters", &output.dead_letters);
        arguments.text("dead_letters_max", output.dead_letters_max.as_ref());
        arguments.flag("dead_letter_time", output.dead_letter_time);
        arguments.text("wait_column", output.wait_column.as_ref());
        arguments.text("correct", output.correct.as_ref());
        arguments.path("corrections", &output.corrections);
        arguments.text("columns", output.columns.as_ref().map(|columns| columns.join(",")));
        arguments.text("watch", reload.watch.as_ref());
        arguments.text("max_removed", reload.max_removed.as_ref());
        arguments.text("min_rows", reload.min_rows);
        arguments.path("journal", &reload.journal);
        arguments.path("replay_journal", &reload.replay_journal);
        if !arguments.is_given("reload_group") {
            let groups = reload.groups.iter().flatten();
            groups.for_each(|group| arguments.push("reload_group", group.join("+").as_ref()));
        }
        arguments.text("settle", reload.settle.as_ref());
        arguments.path("control", &reload.control);
        arguments.text("keep_generations", reload.keep_generations);
        arguments.path("generations", &reload.generations);
        arguments.path("checkpoint", &checkpoint.folder);
        arguments.text("checkpoint_every", checkpoint.every.as_ref());
        arguments.text("checkpoint_keep", checkpoint.keep);
        arguments.text("max_line", limits.max_line.as_ref());
        arguments.text("max_fields", limits.max_fields);
        arguments.text("max_depth", limits.max_depth);
        arguments.text("max_unpacked", limits.max_unpacked.as_ref());
        arguments.text("max_ratio", limits.max_ratio);
        arguments.text("max_message", limits.max_message.as_ref());
        arguments.text("max_in_flight", limits.max_in_flight.as_ref());
        arguments.text("max_tables", limits.max_tables);
        arguments.text("workers", engine.workers);
        arguments.text("batch_len", engine.batch_len);
        arguments.text("queue_depth", engine.queue_depth);
        arguments.text("order", engine.order.as_ref());
        arguments.text("unmatched", engine.unmatched.as_ref());
        arguments.by_table("on_miss", engine.on_miss.as_ref());
        arguments.text("hold_rows", engine.hold_rows);
        arguments.text("hold_bytes", engine.hold_bytes.as_ref());
        arguments.text("stall_warning", engine.stall_warning.as_ref());
        arguments.by_table("distribution", engine.distribution.as_ref());
        arguments.by_table("mode", engine.mode.as_ref());
        arguments.by_table("tolerance", engine.tolerance.as_ref());
        arguments.by_table("version_column", engine.version_column.as_ref());
        arguments.all
    }
}

impl TableConfig {
    /// As `--table` has it.
    fn argument(&self) -> OsString {
        let Self { name, file, key, columns, distribution, mode, tolerance, version, on_miss } = self;
        let mut argument = OsString::from(format!("{name}="));
        argument.push(file);
        argument.push(format!(",key={key}"));
        if let Some(columns) = columns {
            argument.push(format!(",columns={}", columns.join(":")));
        }
        let options = [
            ("distribution", distribution),
            ("mode", mode),
            ("tolerance", tolerance),
            ("version", version),
            ("on-miss", on_miss),
        ];
        for (option, value) in options {
            value.iter().for_each(|value| argument.push(format!(",{option}={value}")));
        }
        argument
    }
}

/// Arguments in the making.
struct Arguments<'m> {
    given: &'m ArgMatches,
    all: Vec<OsString>,
}

impl Arguments<'_> {
    /// Whether the flag of this name is on the command line.
    fn is_given(&self, name: &str) -> bool {
        self.given.value_source(name) == Some(ValueSource::CommandLine)
    }

    fn path(&mut self, name: &str, path: &Option<PathBuf>) {
        if let Some(path) = path.as_ref().filter(|_| !self.is_given(name)) {
            self.push(name, path.as_os_str());
        }
    }

    fn flag(&mut self, name: &str, value: Option<bool>) {
        if value == Some(true) && !self.is_given(name) {
            self.all.push(format!("--{}", name.replace('_', "-")).into());
        }
    }

    fn text(&mut self, name: &str, value: Option<impl ToString>) {
        if let Some(value) = value.filter(|_| !self.is_given(name)) {
            self.push(name, value.to_string().as_ref());
        }
    }

    /// A flag that is given once for each table.
    fn by_table(&mut self, name: &str, said: Option<&BTreeMap<String, String>>) {
        if !self.is_given(name) {
            for (table, what) in said.into_iter().flatten() {
                self.push(name, format!("{table}={what}").as_ref());
            }
        }
    }

    fn push(&mut self, name: &str, value: &std::ffi::OsStr) {
        let mut argument = OsString::from(format!("--{}=", name.replace('_', "-")));
        argument.push(value);
        self.all.push(argument);
    }
}

/// What the parser says, and of a key that it does not know what may have been
/// meant: it names that and those that it knows in backquotes.
fn explained(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let near = match (message.starts_with("unknown field"), quoted.next()) {
        (true, Some(unknown)) => nearest(unknown, quoted),
        _ => None,
    };
    near.map_or_else(|| message.to_owned(), |near| format!("{message}: did you mean {near}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_told_with_what_may_be_meant() {
        let said = explained("unknown field `worker`, expected one of `workers`, `batch_len`");
        assert!(said.ends_with(": did you mean workers?"), "{said}");
        assert_eq!(explained("unknown field `zzz`, expected `a`"), "unknown field `zzz`, expected `a`");
        assert_eq!(explained("expected `workers`"), "expected `workers`");
    }
}
