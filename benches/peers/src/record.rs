//! What is recorded: by this program of memory, by `files.py` of files.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::machine::Origin;

/// The median and the ends of a figure over the rounds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// The spread of at least one figure.
    pub(crate) fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let count = figures.len();
        let median = (figures[(count - 1) / 2] + figures[count / 2]) / 2.0;
        Self { median, min: figures[0], max: figures[count - 1] }
    }
}

/// The results of `peers memory`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MemoryRecord {
    pub(crate) origin: Origin,
    pub(crate) messages: u64,
    pub(crate) ids: u32,
    pub(crate) rounds: u32,
    pub(crate) skipped: Vec<String>,
    pub(crate) sets: Vec<SetRecord>,
}

/// The results on one data set.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SetRecord {
    pub(crate) name: String,
    pub(crate) mix: String,
    pub(crate) enriched: u64,
    pub(crate) unmatched: u64,
    pub(crate) checksum: String,
    pub(crate) programs: Vec<ProgramRecord>,
}

/// The results of one program, by message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ProgramRecord {
    pub(crate) name: String,
    pub(crate) workers: u32,
    pub(crate) setting: String,
    pub(crate) elapsed_ns: Spread,
    pub(crate) cpu_ns: Spread,
    /// How many times faster than naive in the same round.
    pub(crate) ratio_to_naive: Spread,
}

impl ProgramRecord {
    /// The program with what it was told.
    pub(crate) fn title(&self) -> String {
        match self.setting.as_str() {
            "" => self.name.clone(),
            setting => format!("{}, {setting}", self.name),
        }
    }
}

impl fmt::Display for ProgramRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:24} {} workers {:8.1} ns ({:.1} to {:.1}), CPU {:8.1} ns, x naive {:.2}",
            self.title(),
            self.workers,
            self.elapsed_ns.median,
            self.elapsed_ns.min,
            self.elapsed_ns.max,
            self.cpu_ns.median,
            self.ratio_to_naive.median,
        )
    }
}

/// The results of `files.py`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FilesRecord {
    pub(crate) origin: Origin,
    pub(crate) trades: u64,
    pub(crate) ids: u32,
    pub(crate) rounds: u32,
    pub(crate) skipped: Vec<String>,
    pub(crate) cases: Vec<CaseRecord>,
}

/// The results of one pair of formats.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CaseRecord {
    pub(crate) name: String,
    pub(crate) rows: u64,
    pub(crate) checksum: String,
    pub(crate) programs: Vec<FileProgramRecord>,
}

/// The results of one program on files.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FileProgramRecord {
    pub(crate) name: String,
    /// Whether the trades stand in the order of the input.
    pub(crate) keeps_order: bool,
    pub(crate) elapsed_s: Spread,
    pub(crate) cpu_s: Spread,
    pub(crate) peak_mb: Spread,
    /// How many times the time of tradejoin in the same round.
    pub(crate) time_to_tradejoin: Spread,
}

/// Reads a record.
///
/// # Errors
/// If the file cannot be read, or is no such record.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no such record", path.display()))
}

/// Writes a record.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn write<T: Serialize>(path: &Path, record: &T) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(record)? + "\n";
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_of_a_few_figures() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.5, 4.0));
    }
}
