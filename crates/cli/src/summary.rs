//! The summary of a run: for people, and as JSON for programs.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;
use tradejoin_engine::{EngineConfig, Report, ShardReport, Unmatched};
use tradejoin_model::LookUp;

use crate::memory;
use crate::style::{FAINT, HEADING};

/// What `tradejoin run` prints at its end. The field names are its JSON form.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    rows_read: u64,
    rows_written: u64,
    outcomes: Outcomes,
    unmatched_policy: &'static str,
    interrupted: bool,
    messages: u64,
    tables: Vec<TableSummary>,
    workers: u32,
    /// As many were asked for; no more than there are cores need be taken.
    #[serde(skip)]
    workers_asked: u32,
    shards: Vec<ShardSummary>,
    elapsed_s: f64,
    cpu_s: f64,
    messages_per_s: f64,
    cpu_ns_per_message: f64,
    peak_memory_bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Outcomes {
    enriched: u64,
    unmatched: u64,
    rejected: u64,
}

#[derive(Debug, Serialize)]
struct TableSummary {
    name: String,
    distribution: &'static str,
    mode: &'static str,
    rows_loaded: u64,
    duplicate_keys: u64,
    changes: u64,
    rejected: u64,
    matched: u64,
    missed: u64,
    /// Of the missed, by trades without a time.
    untimed: u64,
    stale: u64,
    conflicts: u64,
    overlaps: u64,
}

#[derive(Debug, Serialize)]
struct ShardSummary {
    shard: u32,
    looked_up: u64,
    /// Of all look-ups.
    share: f64,
    changes: u64,
    cpu_s: f64,
    /// Processor time of the shard's thread in the time of the run.
    load: f64,
    table_bytes: u64,
}

impl Summary {
    pub(crate) fn new(config: &EngineConfig, report: &Report) -> Self {
        let ledger = &report.ledger;
        let changes: u64 = ledger.tables.iter().map(|table| table.changes).sum();
        let messages = ledger.rows_read + changes;
        let (elapsed_s, cpu_s) = (report.elapsed.as_secs_f64(), report.cpu.as_secs_f64());
        Self {
            rows_read: ledger.rows_read,
            rows_written: ledger.rows_written(),
            outcomes: Outcomes {
                enriched: ledger.enriched,
                unmatched: ledger.unmatched(),
                rejected: ledger.rejected,
            },
            unmatched_policy: match config.unmatched {
                Unmatched::Drop => "drop",
                Unmatched::Keep => "keep",
            },
            interrupted: report.interrupted,
            messages,
            tables: (0..config.tables.len()).map(|table| TableSummary::new(table, config, report)).collect(),
            workers: if report.shards.is_empty() { config.shards.get() } else { report.shards.len() as u32 },
            workers_asked: config.shards.get(),
            shards: report.shards.iter().map(|shard| ShardSummary::new(shard, report)).collect(),
            elapsed_s,
            cpu_s,
            messages_per_s: ratio(messages as f64, elapsed_s),
            cpu_ns_per_message: ratio(cpu_s * 1e9, messages as f64),
            peak_memory_bytes: memory::peak_bytes(),
        }
    }

    /// One line of JSON.
    pub(crate) fn json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(self)?)
    }

    /// Paragraphs and tables, with a newline at the end.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{HEADING}{} messages in {:.2} s{HEADING:#}, {} a second; CPU {:.0} ns a message{}",
            HumanCount(self.messages),
            self.elapsed_s,
            HumanCount(self.messages_per_s as u64),
            self.cpu_ns_per_message,
            self.peak_memory_bytes
                .map(|bytes| format!(", memory {} at most", HumanBytes(bytes)))
                .unwrap_or_default(),
        );
        if self.interrupted {
            out.push_str("stopped before the end of the input\n");
        }
        if self.workers < self.workers_asked {
            let _ = writeln!(
                out,
                "workers: {} of {} asked for, one for each core",
                self.workers, self.workers_asked
            );
        }
        let _ = writeln!(out, "\n{}\n\n{}", self.outcome_table(), self.table_table());
        if !self.shards.is_empty() {
            let _ = writeln!(out, "\n{}", self.shard_table());
        }
        let _ = writeln!(
            out,
            "{FAINT}read {} = enriched {} + unmatched {} + rejected {}{FAINT:#}",
            HumanCount(self.rows_read),
            HumanCount(self.outcomes.enriched),
            HumanCount(self.outcomes.unmatched),
            HumanCount(self.outcomes.rejected),
        );
        out
    }

    fn outcome_table(&self) -> Table {
        let mut table = plain_table(&["trades", "count", "share"], 1);
        let unmatched =
            format!("unmatched, {}", if self.unmatched_policy == "drop" { "dropped" } else { "kept" });
        for (name, count) in [
            ("enriched", self.outcomes.enriched),
            (unmatched.as_str(), self.outcomes.unmatched),
            ("rejected", self.outcomes.rejected),
            ("written", self.rows_written),
        ] {
            let share = 100.0 * ratio(count as f64, self.rows_read as f64);
            table.add_row([name.to_owned(), HumanCount(count).to_string(), format!("{share:.2} %")]);
        }
        table
    }

    fn table_table(&self) -> Table {
        let is_used = |mode: LookUp| self.tables.iter().any(|table| table.mode == mode.as_str());
        let as_of = is_used(LookUp::AsOf { tolerance: None });
        let versions = is_used(LookUp::LatestVersion);
        let mut header = vec!["table", "mode", "spread", "loaded", "duplicates", "changes", "rejected"];
        header.extend(["matched", "missed"]);
        header.extend(["no time", "overlaps"].into_iter().filter(|_| as_of));
        header.extend(["stale", "conflicts"].into_iter().filter(|_| versions));
        let mut table = plain_table(&header, 3);
        for row in &self.tables {
            let mut counts =
                vec![row.rows_loaded, row.duplicate_keys, row.changes, row.rejected, row.matched, row.missed];
            counts.extend([row.untimed, row.overlaps].into_iter().filter(|_| as_of));
            counts.extend([row.stale, row.conflicts].into_iter().filter(|_| versions));
            let counts = counts.into_iter().map(|count| HumanCount(count).to_string());
            let names = [row.name.clone(), row.mode.to_owned(), row.distribution.to_owned()];
            table.add_row(names.into_iter().chain(counts));
        }
        table
    }

    fn shard_table(&self) -> Table {
        let mut table = plain_table(&["shard", "look-ups", "share", "changes", "CPU", "load", "table"], 0);
        for row in &self.shards {
            table.add_row([
                row.shard.to_string(),
                HumanCount(row.looked_up).to_string(),
                format!("{:.1} %", 100.0 * row.share),
                HumanCount(row.changes).to_string(),
                format!("{:.2} s", row.cpu_s),
                format!("{:.0} %", 100.0 * row.load),
                HumanBytes(row.table_bytes).to_string(),
            ]);
        }
        table
    }
}

impl TableSummary {
    fn new(table: usize, config: &EngineConfig, report: &Report) -> Self {
        let (spec, ledger) = (&config.tables[table], &report.ledger.tables[table]);
        // Known once the run has ended.
        let distribution = report.distributions.get(table).unwrap_or(&spec.distribution);
        Self {
            name: spec.name.clone(),
            distribution: distribution.as_str(),
            mode: spec.look_up.as_str(),
            rows_loaded: ledger.rows_loaded,
            duplicate_keys: ledger.duplicates,
            changes: ledger.changes,
            rejected: ledger.rejected,
            matched: ledger.matched,
            missed: ledger.missed,
            untimed: ledger.untimed,
            stale: ledger.stale,
            conflicts: ledger.conflicts,
            overlaps: ledger.overlaps,
        }
    }
}

impl ShardSummary {
    fn new(shard: &ShardReport, report: &Report) -> Self {
        let looked_up: u64 = report.shards.iter().map(|shard| shard.looked_up).sum();
        Self {
            shard: shard.shard.0,
            looked_up: shard.looked_up,
            share: ratio(shard.looked_up as f64, looked_up as f64),
            changes: shard.changes,
            cpu_s: shard.cpu.as_secs_f64(),
            load: ratio(shard.cpu.as_secs_f64(), report.elapsed.as_secs_f64()),
            table_bytes: shard.table_bytes,
        }
    }
}

/// A quotient that is 0 where there is nothing to divide by.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// A table without a frame; columns from `numbers_from` on are aligned right.
pub(crate) fn plain_table(header: &[&str], numbers_from: usize) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index >= numbers_from {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
