//! What the fuzz targets of `fuzz/` do with bytes, as plain functions: so that a toolchain
//! without a fuzzer replays what one has found.
//!
//! A target panics if the product does, or if a property does not hold: whatever the
//! lengths of blocks the rows are the same, they are those that another reader finds, what
//! is written reads back, nothing that is said is passed over, and nothing damaged is taken for
//! whole.
//!
//! ```
//! let run = tradejoin_fuzzing::target("symbols").expect("a target of this name");
//! run(b"SPY241103C00200000");
//! ```

mod drawn;
mod json;
mod memory;
mod rows;

mod checkpoints;
mod config;
mod journals;
mod kept_outputs;
mod pipeline;
mod stored;
mod streams;
mod tables;
mod text_outputs;
mod trades;
mod values;

pub use checkpoints::checkpoint_seeds;

/// What a target does.
pub type Target = fn(&[u8]);

/// All targets, by their names.
pub const TARGETS: [(&str, Target); 21] = [
    ("arrow", stored::arrow),
    ("checkpoint_contents", checkpoints::checkpoint_contents),
    ("checkpoint_files", checkpoints::checkpoint_files),
    ("config", config::config),
    ("csv_tables", tables::csv_tables),
    ("csv_trades", trades::csv_trades),
    ("dates", values::dates),
    ("dead_letters", trades::dead_letters),
    ("decimals", values::decimals),
    ("journals", journals::journals),
    ("jsonl_tables", tables::jsonl_tables),
    ("jsonl_trades", trades::jsonl_trades),
    ("kept_outputs", kept_outputs::kept_outputs),
    ("manifests", checkpoints::manifests),
    ("messages", streams::messages),
    ("packed_trades", trades::packed_trades),
    ("parquet", stored::parquet),
    ("pipeline", pipeline::pipeline),
    ("symbols", values::symbols),
    ("table_changes", streams::table_changes),
    ("text_outputs", text_outputs::text_outputs),
];

/// The target of a name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(other, _)| *other == name).map(|(_, target)| *target)
}
