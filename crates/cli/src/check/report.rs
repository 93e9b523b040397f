//! What a check predicts: for people, and as JSON for programs.

use std::fmt::Write as _;
use std::path::Path;

use arrow_schema::SchemaRef;
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;
use tradejoin_connectors::{BadRecord, BadRecords, SampledFrom, key_for_people};
use tradejoin_engine::{EngineConfig, Report};
use tradejoin_model::{Distribution, LookUp, MissPolicy};

use super::tables::Notes;
use super::{CheckArgs, shown};
use crate::bad::OnBadRecord;
use crate::style::{FAINT, HEADING, WARNING};
use crate::summary::plain_table;

/// Keys that were missed most, for programs and for people.
const MISSING_KEYS: usize = 20;
const MISSING_KEYS_SHOWN: usize = 5;

/// The size of a sample, of all, whether that is counted, where from, and the columns.
pub(super) type SampleShown = (u64, Option<u64>, bool, SampledFrom, SchemaRef);

/// What a report is made of.
pub(super) struct Predicted<'a> {
    pub(super) trades: &'a Path,
    pub(super) sample: SampleShown,
    /// Of the trades.
    pub(super) bad_records: BadRecords,
    pub(super) notes: Vec<Notes>,
    /// The settings of the run that is predicted.
    pub(super) chosen: EngineConfig,
    /// Of the run over the sample.
    pub(super) report: Report,
}

/// What `tradejoin check` prints. The field names are its JSON form.
#[derive(Debug, Serialize)]
pub(super) struct CheckReport {
    trades: Trades,
    tables: Vec<Table>,
    /// The share of good trades that find a row in every table.
    enriched_share: Option<f64>,
    workers: u32,
    /// Of all tables.
    memory_bytes: u64,
    /// Bad records of trades and tables, the first of each.
    bad_records: Vec<String>,
    problems: Vec<String>,
    ok: bool,
}

#[derive(Debug, Serialize)]
struct Trades {
    file: String,
    /// How the sample was taken: `whole`, `blocks` or `start`.
    sampled: &'static str,
    blocks: Option<u64>,
    rows: u64,
    rejected: u64,
    /// In all; `None` if nobody knows.
    rows_total: Option<u64>,
    is_rows_total_estimated: bool,
    columns: Vec<Column>,
}

#[derive(Debug, Serialize)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    column_type: Option<String>,
}

#[derive(Debug, Serialize)]
struct Table {
    name: String,
    key: String,
    mode: &'static str,
    rows: u64,
    matched: u64,
    missed: u64,
    /// Of the good trades of the sample; `None` if there are none.
    match_share: Option<f64>,
    missing_keys: Vec<MissingKey>,
    missed_of_other_keys: u64,
    duplicates: u64,
    duplicate_keys: Vec<String>,
    overlaps: u64,
    bad_rows: u64,
    memory_bytes: u64,
    distribution: &'static str,
    columns: Vec<Column>,
}

#[derive(Debug, Serialize)]
struct MissingKey {
    /// `None` for trades without a key.
    key: Option<String>,
    count: u64,
}

impl CheckReport {
    pub(super) fn new(args: &CheckArgs, predicted: Predicted<'_>) -> Self {
        let tables: Vec<_> = (0..predicted.notes.len()).map(|table| Table::new(table, &predicted)).collect();
        let Predicted { trades, sample, bad_records, notes, chosen, report } = predicted;
        let ledger = &report.ledger;
        let bad = first_of_each(&bad_records, &notes);
        let mut problems = Vec::new();
        if args.input.bad.on_bad_record == OnBadRecord::Fail {
            problems.extend(bad.iter().map(|bad| format!("the run would end here: {bad}")));
        }
        for (table, spec) in tables.iter().zip(&chosen.tables) {
            problems.extend(table.problems(args, spec.on_miss));
        }
        Self {
            trades: Trades::new(trades, sample, ledger.rejected),
            enriched_share: share(ledger.enriched, ledger.rows_read - ledger.rejected),
            workers: chosen.shards.get(),
            memory_bytes: tables.iter().map(|table| table.memory_bytes).sum(),
            bad_records: bad.iter().map(ToString::to_string).collect(),
            ok: problems.is_empty(),
            problems,
            tables,
        }
    }

    pub(super) fn is_ok(&self) -> bool {
        self.ok
    }
}

/// The first bad record of the trades, and of each table.
fn first_of_each(trades: &BadRecords, tables: &[Notes]) -> Vec<BadRecord> {
    let of_tables = tables.iter().filter_map(|notes| notes.first_bad().into_iter().next());
    trades.first().into_iter().take(1).chain(of_tables).collect()
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl Trades {
    fn new(trades: &Path, sample: SampleShown, rejected: u64) -> Self {
        let (rows, rows_total, is_counted, from, schema) = sample;
        let (sampled, blocks) = match from {
            SampledFrom::Whole => ("whole", None),
            SampledFrom::Blocks(blocks) => ("blocks", Some(blocks)),
            SampledFrom::Start => ("start", None),
        };
        let columns = schema.fields().iter().map(|field| Column {
            name: field.name().clone(),
            column_type: Some(field.data_type().to_string()),
        });
        Self {
            file: shown(trades),
            sampled,
            blocks,
            rows,
            rejected,
            rows_total,
            is_rows_total_estimated: !is_counted,
            columns: columns.collect(),
        }
    }
}

impl Table {
    fn new(index: usize, predicted: &Predicted<'_>) -> Self {
        let Predicted { notes, chosen, report, .. } = predicted;
        let (notes, spec, ledger) = (&notes[index], &chosen.tables[index], &report.ledger.tables[index]);
        let (missing, missed_of_other_keys) = report.missing.most_missed(index, MISSING_KEYS);
        let missing_keys = missing.into_iter().map(|missing| MissingKey {
            key: missing.key.map(|key| key_for_people(&key, spec)),
            count: missing.count,
        });
        let (duplicates, duplicate_keys) = notes.repeated();
        let columns = notes.columns.iter().cloned();
        Self {
            name: spec.name.clone(),
            key: spec.key_column.clone(),
            mode: spec.look_up.as_str(),
            rows: ledger.rows_loaded,
            matched: ledger.matched,
            missed: ledger.missed,
            match_share: share(ledger.matched, ledger.matched + ledger.missed),
            missing_keys: missing_keys.collect(),
            missed_of_other_keys,
            duplicates,
            duplicate_keys: duplicate_keys.iter().map(|key| key_for_people(key, spec)).collect(),
            overlaps: notes.overlaps() + ledger.overlaps,
            bad_rows: notes.bad_rows(),
            memory_bytes: report.shared_bytes.get(index).copied().unwrap_or_default(),
            distribution: match spec.distribution {
                Distribution::Broadcast => "broadcast",
                Distribution::Partitioned | Distribution::Auto => "partitioned",
            },
            columns: columns.map(|(name, column_type)| Column { name, column_type }).collect(),
        }
    }

    /// What is not as it was asked to be, or would end the run.
    fn problems(&self, args: &CheckArgs, on_miss: MissPolicy) -> Vec<String> {
        let Self { name, .. } = self;
        let mut problems = Vec::new();
        let of_table = args.min_match.iter().find(|(table, _)| table.as_deref() == Some(name));
        let asked = of_table.or_else(|| args.min_match.iter().find(|(table, _)| table.is_none()));
        if let (Some((_, percent)), Some(found)) = (asked, self.match_share)
            && found * 100.0 < *percent
        {
            let found = percent_of(found);
            problems.push(format!(
                "{found} of the trades find a row in {name}, and --min-match asks for {percent}%"
            ));
        }
        if args.input.strict && self.duplicates > 0 {
            let first = self.duplicate_keys.first().map_or("", String::as_str);
            problems.push(format!("the run would end, since it is --strict: {name} has {first} twice"));
        }
        if on_miss == MissPolicy::Fail && self.missed > 0 {
            problems.push(format!("the run would end at the first trade that finds nothing in {name}"));
        }
        problems
    }
}

/// A share as people write it: never rounded up to all.
fn percent_of(share: f64) -> String {
    let percent = (share * 10_000.0).floor() / 100.0;
    format!("{percent:.2} %")
}

impl CheckReport {
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        self.trades.write(out)?;
        writeln!(out, "\n{}", self.match_table())?;
        for table in &self.tables {
            table.write(out)?;
        }
        writeln!(out, "\n{}", self.memory_table())?;
        let workers =
            if self.workers == 1 { "1 worker".to_owned() } else { format!("{} workers", self.workers) };
        writeln!(out, "\na run takes {workers}, and {} for its tables", HumanBytes(self.memory_bytes))?;
        for bad in &self.bad_records {
            writeln!(out, "{WARNING}bad record{WARNING:#}: {bad}")?;
        }
        for problem in &self.problems {
            writeln!(out, "{WARNING}not as it should be{WARNING:#}: {problem}")?;
        }
        Ok(())
    }

    fn match_table(&self) -> comfy_table::Table {
        let header = ["table", "rows", "matched", "missed", "duplicates", "overlaps", "bad rows"];
        let mut table = plain_table(&header, 1);
        for row in &self.tables {
            let counts = [row.missed, row.duplicates, row.overlaps, row.bad_rows];
            let [missed, duplicates, overlaps, bad] = counts.map(|count| HumanCount(count).to_string());
            let matched = row.match_share.map_or("unknown".to_owned(), percent_of);
            table.add_row([
                row.name.clone(),
                HumanCount(row.rows).to_string(),
                matched,
                missed,
                duplicates,
                overlaps,
                bad,
            ]);
        }
        table
    }

    fn memory_table(&self) -> comfy_table::Table {
        let mut table = plain_table(&["table", "memory", "distribution", "key", "mode"], usize::MAX);
        for row in &self.tables {
            let memory = HumanBytes(row.memory_bytes).to_string();
            table.add_row([&row.name, &memory, row.distribution, &row.key, row.mode]);
        }
        table
    }
}

impl Trades {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        let rows = HumanCount(self.rows);
        let about = if self.is_rows_total_estimated { "about " } else { "" };
        write!(out, "{HEADING}{}{HEADING:#}: ", self.file)?;
        match (self.rows_total, self.blocks) {
            (_, None) if self.sampled == "start" => {
                write!(out, "the first {rows} trades of a pipe, which may be unlike the others")?;
            }
            (Some(total), Some(blocks)) => {
                let share = percent_of(self.rows as f64 / total.max(1) as f64);
                let total = HumanCount(total);
                write!(out, "{rows} of {about}{total} trades ({share}), ")?;
                match blocks {
                    1 => write!(out, "one block of it")?,
                    _ => write!(out, "{} blocks of all over it", HumanCount(blocks))?,
                }
            }
            _ => write!(out, "all of {rows} trades")?,
        }
        if self.rejected > 0 {
            write!(out, ", {} of them bad", HumanCount(self.rejected))?;
        }
        writeln!(out, "\n  {}", columns(&self.columns))
    }
}

impl Table {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\n{HEADING}{}{HEADING:#}: {}", self.name, columns(&self.columns))?;
        if !self.missing_keys.is_empty() {
            let key = |missing: &MissingKey| {
                let key = missing.key.as_deref().unwrap_or("none");
                format!("{key} {FAINT}×{FAINT:#}{}", HumanCount(missing.count))
            };
            let shown: Vec<_> = self.missing_keys.iter().take(MISSING_KEYS_SHOWN).map(key).collect();
            let others: u64 =
                self.missing_keys.iter().skip(MISSING_KEYS_SHOWN).map(|missing| missing.count).sum();
            let others = match others + self.missed_of_other_keys {
                0 => String::new(),
                others => format!(", others {FAINT}×{FAINT:#}{}", HumanCount(others)),
            };
            writeln!(out, "  missing: {}{others}", shown.join(", "))?;
        }
        if !self.duplicate_keys.is_empty() {
            let what = match self.mode {
                mode if mode == LookUp::Latest.as_str() => "the later row counts",
                mode if mode == LookUp::LatestVersion.as_str() => "with one version",
                _ => "with one valid_from",
            };
            writeln!(out, "  more than once: {} ({what})", self.duplicate_keys.join(", "))?;
        }
        Ok(())
    }
}

fn columns(columns: &[Column]) -> String {
    let column = |column: &Column| match &column.column_type {
        Some(column_type) => format!("{} {FAINT}{column_type}{FAINT:#}", column.name),
        None => column.name.clone(),
    };
    columns.iter().map(column).collect::<Vec<_>>().join(" · ")
}
