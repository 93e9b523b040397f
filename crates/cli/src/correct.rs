//! Trades that are written again when their rows change: what is asked for, and where
//! they go.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::SchemaRef;
use clap::{Args, ValueHint};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;
use tradejoin_connectors::{AddedColumn, CorrectionFile, Encoding, Location, OutputOptions};
use tradejoin_disk::Disk;
use tradejoin_engine::{CorrectionConfig, Corrections, EngineConfig, Report};
use tradejoin_model::{Revised, TIMESTAMP};

use crate::arg_values::{count, time_text};
use crate::args::RunArgs;
use crate::checkpoint::KeptRun;
use crate::destination::Destination;
use crate::failure::UsageError;
use crate::plan;
use crate::policy::size;

#[derive(Debug, Args)]
#[command(next_help_heading = "Corrections")]
pub(crate) struct CorrectArgs {
    /// Write trades again, to --corrections, when a row that they looked up comes late, changes or is
    /// deleted: for 5m, until a trade is read that is more than that later by its timestamp; for
    /// 100000rows, until so many have been read behind it; for 256MiB, as long as all such trades are
    /// counted with no more; or several with commas, whichever is reached first
    #[arg(long, value_name = "WINDOW", requires = "corrections")]
    pub(crate) correct: Option<Window>,

    /// Where they go: the columns of the output, and trade_number, revision and reason
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "correct")]
    pub(crate) corrections: Option<PathBuf>,
}

/// How long a trade may be written again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    time: Option<Duration>,
    rows: Option<u64>,
    bytes: Option<u64>,
}

impl std::str::FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut window = Self::default();
        for part in text.split(',') {
            let is_twice = if let Some(rows) = part.strip_suffix("rows") {
                let rows = count(rows)
                    .ok_or_else(|| format!("{part}: write a number of trades, such as 100000rows"))?;
                if rows == 0 {
                    return Err("0rows: no trade is recent then".to_owned());
                }
                window.rows.replace(rows).is_some()
            } else if part.ends_with(['B', 'b']) {
                window.bytes.replace(size(part)?).is_some()
            } else {
                let time = humantime::parse_duration(part);
                let time = time.map_err(|_| {
                    format!("{part:?}: write a time, 5m, a number of trades, 100000rows, or a size, 256MiB")
                })?;
                window.time.replace(time).is_some()
            };
            if is_twice {
                return Err(format!("{part}: a second limit of its kind"));
            }
        }
        Ok(window)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.time.map(time_text);
        let rows = self.rows.map(|rows| format!("{rows}rows"));
        let bytes = self.bytes.map(|bytes| format!("{bytes}B"));
        f.write_str(&[time, rows, bytes].into_iter().flatten().collect::<Vec<_>>().join(","))
    }
}

impl CorrectArgs {
    /// Whether trades need a time, to be recent by it.
    pub(crate) fn needs_time(&self) -> bool {
        self.correct.is_some_and(|window| window.time.is_some())
    }

    /// Refuses trades that have no time, if they are recent by it.
    pub(crate) fn check_times(&self, schema: &SchemaRef) -> Result<(), UsageError> {
        if self.needs_time() && schema.field_with_name(TIMESTAMP).is_err() {
            let text = "--correct for a time goes by the timestamp of the trades, and they have none: \
                        say a number of trades, --correct 100000rows";
            return Err(UsageError(text.to_owned()));
        }
        Ok(())
    }

    /// What the engine is told.
    pub(crate) fn config(&self) -> Option<CorrectionConfig> {
        let Window { time, rows, bytes } = self.correct?;
        // Longer than any two times of trades are apart.
        let time = time.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        Some(CorrectionConfig::new(time, rows, bytes))
    }

    /// The file, which is of its own, and how it is encoded: text as the output is, if
    /// that is text, since the fields of trades pass as they came in.
    fn place(&self, destination: &Destination) -> anyhow::Result<Option<(Location, Encoding)>> {
        let usage = |text: String| Err(UsageError(text).into());
        let Some(path) = &self.corrections else { return Ok(None) };
        let (location, output) = (Location::of_argument(path), destination.encoding());
        if location == Location::Standard {
            return usage("--corrections is a file of its own, beside the output".to_owned());
        }
        let fallback = if output.format.is_text() { Encoding::plain(output.format) } else { output };
        let encoding = plan::output(&location, None, fallback)?;
        if destination.location().is_some() && output.format.is_text() && encoding.format != output.format {
            let format = Encoding::plain(output.format);
            return usage(format!(
                "--corrections has the format of the output, which is {format}: .{format}, also with .gz or .zst"
            ));
        }
        Ok(Some((location, encoding)))
    }

    /// Makes the file, if there is one, for an output with these columns.
    pub(crate) fn create(
        &self,
        destination: &Destination,
        config: &EngineConfig,
        schema: &SchemaRef,
        added: &[AddedColumn],
        kept: Option<&KeptRun>,
        disk: &Arc<dyn Disk>,
    ) -> anyhow::Result<Option<CorrectionFile>> {
        let Some((location, encoding)) = self.place(destination)? else { return Ok(None) };
        let is_taken = |name: &str| {
            schema.field_with_name(name).is_ok() || added.iter().any(|column| column.name == name)
        };
        if let Some((name, _)) = Revised::COLUMNS.iter().find(|(name, _)| is_taken(name)) {
            let text = format!("--corrections has a column {name} of its own, and the output has one, too");
            return Err(UsageError(text).into());
        }
        if config.tables.len() > Corrections::TABLES_MAX {
            let most = Corrections::TABLES_MAX;
            return Err(UsageError(format!("--correct is for runs of at most {most} tables")).into());
        }
        let columns = config.tables.iter().map(|table| table.outputs.len()).sum::<usize>();
        let columns = columns + usize::from(config.wait_column);
        let options = OutputOptions {
            added: added.to_vec(),
            csv_safe: destination.is_csv_safe(),
            kept: kept.map(|kept| kept.output(&location)).transpose()?,
            disk: Arc::clone(disk),
            ..OutputOptions::new(location, encoding, schema.clone())
        };
        Ok(Some(CorrectionFile::create(options, columns)?))
    }

    /// The file, to be held against others.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.corrections.as_deref()
    }
}

/// Refuses what generated trades cannot do.
pub(crate) fn check_generated(args: &RunArgs, are_days: bool) -> Result<(), UsageError> {
    if args.correct.needs_time() && !are_days {
        let text = "generated trades have a time to go by with --days; without, they are recent by their \
                    number, --correct 100000rows";
        return Err(UsageError(text.to_owned()));
    }
    Ok(())
}

/// What a summary says of it. The field names are its JSON form.
#[derive(Debug, Serialize)]
pub(crate) struct Corrected {
    late: u64,
    changed: u64,
    deleted: u64,
    /// Trades that were not recent as long as was asked for.
    early: u64,
    untimed: u64,
    /// The most trades that were recent at a time.
    rows_peak: u64,
    bytes_peak: u64,
}

impl Corrected {
    /// `None` if nothing is ever written again.
    pub(crate) fn new(config: &EngineConfig, report: &Report) -> Option<Self> {
        config.corrections?;
        let (counts, peak) = (report.ledger.corrections, report.recent_peak);
        Some(Self {
            late: counts.late,
            changed: counts.changed,
            deleted: counts.deleted,
            early: counts.early,
            untimed: counts.untimed,
            rows_peak: peak.rows,
            bytes_peak: peak.bytes,
        })
    }
}

impl fmt::Display for Corrected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.late + self.changed + self.deleted;
        let [all, late, changed, deleted, early, rows] =
            [all, self.late, self.changed, self.deleted, self.early, self.rows_peak].map(HumanCount);
        write!(f, "written again {all}: {late} late, {changed} changed, {deleted} deleted; ")?;
        write!(f, "at most {rows} trades and {} were recent at a time", HumanBytes(self.bytes_peak))?;
        if self.early > 0 {
            write!(f, ", {early} left early")?;
        }
        if self.untimed > 0 {
            write!(f, ", {} had no time", HumanCount(self.untimed))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_and_told() {
        for (text, told) in [
            ("5m", "5m"),
            ("100_000rows", "100000rows"),
            ("256MiB", "268435456B"),
            ("1kB,90s,7rows", "1m30s,7rows,1000B"),
            ("0s", "0s"),
        ] {
            assert_eq!(
                text.parse::<Window>().map(|window| window.to_string()),
                Ok(told.to_owned()),
                "{text}"
            );
        }
        for (text, part) in [
            ("", "write a time"),
            ("5", "write a time"),
            ("5m,", "write a time"),
            ("rows", "a number of trades"),
            ("-1rows", "a number of trades"),
            ("0rows", "no trade is recent"),
            ("1XB", "no unit of bytes"),
            ("5m,6m", "a second limit"),
            ("5rows,6rows", "a second limit"),
        ] {
            let error = text.parse::<Window>().expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn whatever_is_said_something_bounds_it() {
        let config = |window: &str| {
            let args = CorrectArgs { correct: window.parse().ok(), corrections: None };
            args.config().expect("a window")
        };
        let CorrectionConfig { rows_max, bytes_max, .. } = config("5m");
        assert_eq!((rows_max, bytes_max), (CorrectionConfig::ROWS_MAX, CorrectionConfig::BYTES_MAX));
        assert_eq!(config("9000000rows").bytes_max, CorrectionConfig::BYTES_MAX);
        assert_eq!(config("9000000rows").rows_max, u64::MAX);
        assert_eq!(config("9GB").rows_max, CorrectionConfig::ROWS_MAX);
    }
}
