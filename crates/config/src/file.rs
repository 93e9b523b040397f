//! What a file may say.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ConfigError;

/// What `tradejoin run --config FILE` reads: what its flags say, in TOML. A flag
/// on the command line goes before what stands here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "tradejoin run")]
pub struct Config {
    /// What is read.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) input: InputConfig,
    /// Tables beside the instruments and the users: `--table`.
    #[serde(default, rename = "table", skip_serializing_if = "is_default")]
    pub(crate) tables: Vec<TableConfig>,
    /// What is written.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) output: OutputConfig,
    /// What becomes of tables whose files change.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) reload: ReloadConfig,
    /// How the run is kept, so that a later one goes on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) checkpoint: CheckpointConfig,
    /// What inputs may ask for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) limits: LimitsConfig,
    /// How the work is done.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) engine: EngineConfig,
}

/// What is read. Paths are as the command line has them: those of the folder that
/// the command runs in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InputConfig {
    /// Trades: a file, or - for standard input.
    pub(crate) trades: Option<PathBuf>,
    /// The instruments table.
    pub(crate) instruments: Option<PathBuf>,
    /// The users table.
    pub(crate) users: Option<PathBuf>,
    /// Trades and table changes in one stream of JSON Lines.
    pub(crate) messages: Option<PathBuf>,
    /// The tables in the stream of `messages`.
    pub(crate) tables: Option<Vec<String>>,
    /// When tables of the stream are ready for the first trade: marker, 10000rows or 5s, of all
    /// tables, or by their names.
    pub(crate) table_ready_after: Option<ReadyAfterConfig>,
    /// Give up if tables are not ready after so long, such as 30s.
    pub(crate) gate_timeout: Option<String>,
    /// Changes of the tables beside the trades, as JSON Lines: a file, or - for standard input.
    pub(crate) table_changes: Option<PathBuf>,
    /// Where they take effect among the trades: timestamp or arrival.
    pub(crate) changes_by: Option<String>,
    /// Let trades go on when no line of changes has come for so long, such as 30s.
    pub(crate) changes_wait: Option<String>,
    /// The format of the trades, and of files whose ending says nothing.
    pub(crate) format: Option<String>,
    /// What to do with a record that cannot be read: fail, skip or dead-letter.
    pub(crate) on_bad_record: Option<String>,
    /// How many bad records may be left out: a number such as 100, or a share such as 0.1%.
    pub(crate) max_bad: Option<String>,
    /// How long a record of a pipe may wait for more to come, such as 1ms.
    pub(crate) linger: Option<String>,
    /// Refuse a table in which a key stands twice.
    pub(crate) strict: Option<bool>,
    /// Stop after so many messages.
    #[schemars(range(min = 1))]
    pub(crate) limit: Option<u64>,
}

/// What tables of a stream wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a condition such as \"marker\", or one for each table by its name")]
pub(crate) enum ReadyAfterConfig {
    /// All of them.
    All(String),
    /// By their names.
    ByTable(BTreeMap<String, String>),
}

/// A table by any key of integers or texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TableConfig {
    /// Its name.
    pub(crate) name: String,
    /// Where it is: a file, or - for standard input.
    pub(crate) file: PathBuf,
    /// Its key: COLUMN, `TRADES_COLUMN@TABLE_COLUMN`, or several with + between.
    pub(crate) key: String,
    /// What it adds, each NAME or "NAME as OTHER", NAME? for one that may be missing; all but the key if
    /// nothing is said.
    pub(crate) columns: Option<Vec<String>>,
    /// How it is spread: partitioned, broadcast or auto.
    pub(crate) distribution: Option<String>,
    /// How it is looked up: latest or as-of.
    pub(crate) mode: Option<String>,
    /// How long before the trade a row may have begun in the mode as-of, such as 30d.
    pub(crate) tolerance: Option<String>,
    /// The column with the version of a row.
    pub(crate) version: Option<String>,
    /// What becomes of a trade that finds nothing in it: drop, keep, fail, dead-letter or
    /// hold=100000rows,then=keep.
    pub(crate) on_miss: Option<String>,
}

/// What is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OutputConfig {
    /// Where the enriched trades go: a file, or - for standard output.
    pub(crate) file: Option<PathBuf>,
    /// Its format, whatever the ending of its name says.
    pub(crate) format: Option<String>,
    /// Put a ' in front of texts in CSV that a spreadsheet would take for formulas.
    pub(crate) csv_safe: Option<bool>,
    /// The columns that the tables add: NAME, TABLE.NAME or "NAME as OTHER".
    pub(crate) columns: Option<Vec<String>>,
    /// Where trades and records go that are put aside, as JSON Lines.
    pub(crate) dead_letters: Option<PathBuf>,
    /// The most that they may take, such as 1GiB.
    pub(crate) dead_letters_max: Option<String>,
    /// How much of them a file takes before they go on in the next, such as 256MiB.
    pub(crate) dead_letters_rotate: Option<String>,
    /// How many of these files stay.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) dead_letters_keep: Option<u32>,
    /// Say in each when it was written.
    pub(crate) dead_letter_time: Option<bool>,
    /// The name of a last column: how many trades were read while a trade waited.
    pub(crate) wait_column: Option<String>,
    /// How long trades are written again when their rows change: 5m, 100000rows, 256MiB, or
    /// several with commas.
    pub(crate) correct: Option<String>,
    /// Where they go.
    pub(crate) corrections: Option<PathBuf>,
}

/// What becomes of tables whose files change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReloadConfig {
    /// Reload tables whose files change; how often to look, such as 1s.
    pub(crate) watch: Option<String>,
    /// Refuse a file in which more of a table's rows are missing: 20%, or a number.
    pub(crate) max_removed: Option<String>,
    /// Refuse a file with fewer rows.
    pub(crate) min_rows: Option<u64>,
    /// Where to write down what each reload changed, and behind which trade.
    pub(crate) journal: Option<PathBuf>,
    /// A journal whose changes take effect behind the same trades again.
    pub(crate) replay_journal: Option<PathBuf>,
    /// Tables that take effect together or not at all, each group a list of names.
    pub(crate) groups: Option<Vec<Vec<String>>>,
    /// How long all files of a group must have stood still, such as 3s.
    pub(crate) settle: Option<String>,
    /// The socket by which the run is spoken to.
    pub(crate) control: Option<PathBuf>,
    /// How many generations before the one in force are kept, for a rollback.
    #[schemars(range(max = 1_000))]
    pub(crate) keep_generations: Option<u32>,
    /// A folder for the copies of their files.
    pub(crate) generations: Option<PathBuf>,
}

/// How the run is kept, so that a later one goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckpointConfig {
    /// The folder of the checkpoints.
    pub(crate) folder: Option<PathBuf>,
    /// How often: 10s, 20000rows.
    pub(crate) every: Option<String>,
    /// How many of the last ones to keep.
    #[schemars(range(min = 1, max = 1_000))]
    pub(crate) keep: Option<u32>,
}

/// What inputs may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsConfig {
    /// The longest line or record, such as 16MiB.
    pub(crate) max_line: Option<String>,
    /// Most fields of a record, and columns of a file.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) max_fields: Option<u64>,
    /// How deep objects and lists of a line of JSON may lie in each other.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) max_depth: Option<u64>,
    /// The most that a packed file may unpack to, such as 1TiB.
    pub(crate) max_unpacked: Option<String>,
    /// How many times its own size a packed file may unpack to.
    #[schemars(range(min = 1))]
    pub(crate) max_ratio: Option<u64>,
    /// The longest message of an Arrow file, such as 4GiB.
    pub(crate) max_message: Option<String>,
    /// Most text that is under way, such as 64MiB.
    pub(crate) max_in_flight: Option<String>,
    /// Most tables.
    #[schemars(range(min = 1, max = 4_096))]
    pub(crate) max_tables: Option<u64>,
}

/// How the work is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EngineConfig {
    /// How many workers share the work.
    #[schemars(range(min = 1, max = 1_024))]
    pub(crate) workers: Option<u32>,
    /// Most trades in a batch.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub(crate) batch_len: Option<u64>,
    /// Most batches under way, beside one for each worker.
    #[schemars(range(min = 1, max = 65_536))]
    pub(crate) queue_depth: Option<u64>,
    /// The order of the enriched trades: input, strict or arrival.
    pub(crate) order: Option<String>,
    /// What becomes of a trade that finds nothing in a table: drop or keep.
    pub(crate) unmatched: Option<String>,
    /// What becomes of a trade that finds nothing in a table, by its name: drop, keep, fail,
    /// dead-letter or hold=100000rows,then=keep.
    pub(crate) on_miss: Option<BTreeMap<String, String>>,
    /// Most trades that wait.
    pub(crate) hold_rows: Option<u64>,
    /// Most bytes that waiting trades are counted with, such as 64MiB.
    pub(crate) hold_bytes: Option<String>,
    /// Say which stage has made no progress for so long, such as 10s; 0 for never.
    pub(crate) stall_warning: Option<String>,
    /// How tables are spread, by name: partitioned, broadcast or auto.
    pub(crate) distribution: Option<BTreeMap<String, String>>,
    /// How tables are looked up, by name: latest or as-of.
    pub(crate) mode: Option<BTreeMap<String, String>>,
    /// How long before the trade a row of an as-of table may have begun, by its name, such as 30d.
    pub(crate) tolerance: Option<BTreeMap<String, String>>,
    /// The column with the version of a row, by the name of its table.
    pub(crate) version_column: Option<BTreeMap<String, String>>,
}

/// What says nothing is not written.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Config {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// If it is not TOML, or has a key that means nothing, or a value of another type.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError::new(text, &error))
    }

    /// The JSON schema of a file, with a newline at the end.
    ///
    /// # Errors
    /// None that is known: it is made of the types of this crate.
    pub fn schema() -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(&schemars::schema_for!(Self))? + "\n")
    }
}
