//! The summary of a run: for people, and as JSON for programs.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;
use tradejoin_connectors::{Readiness, ReadyBy, TableReadiness, key_for_people};
use tradejoin_engine::{EngineConfig, MissingKey, Report, ShardReport};
use tradejoin_model::{LookUp, MissPolicy, TableSpec};

use crate::bad::Dropped;
use crate::changes::ChangesReport;
use crate::checkpoint::KeptSummary;
use crate::correct::Corrected;
use crate::memory;
use crate::reload::Reloads;
use crate::settings::Settings;
use crate::stall::Stalls;
use crate::style::{FAINT, HEADING};

/// Keys that were missed most, for programs.
const MISSING_KEYS: usize = 20;
/// And for people.
const MISSING_KEYS_SHOWN: usize = 3;

/// What `tradejoin run` prints at its end. The field names are its JSON form.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    rows_read: u64,
    rows_written: u64,
    /// Trades whose own columns were copied on the way.
    trades_copied: u64,
    outcomes: Outcomes,
    unmatched: Unmatched,
    #[serde(skip_serializing_if = "Option::is_none")]
    hold: Option<Hold>,
    #[serde(skip_serializing_if = "Option::is_none")]
    corrections: Option<Corrected>,
    unmatched_policy: &'static str,
    pub(crate) interrupted: bool,
    /// Whether an earlier run had done it all, and this one nothing.
    pub(crate) already_complete: bool,
    messages: u64,
    tables: Vec<TableSummary>,
    /// Of tables whose files are watched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reloads: Vec<Reloads>,
    /// What came of changes beside the trades.
    #[serde(skip_serializing_if = "Option::is_none")]
    table_changes: Option<ChangesReport>,
    /// What keeping the run has come to.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoints: Option<KeptSummary>,
    /// Dead letters that were removed again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dead_letters_dropped: Option<Dropped>,
    /// Stages that stood still for long.
    #[serde(skip_serializing_if = "Stalls::are_none")]
    pub(crate) stalls: Stalls,
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
    settings: Settings,
}

#[derive(Debug, Serialize)]
struct Outcomes {
    enriched: u64,
    unmatched: u64,
    rejected: u64,
}

/// What became of trades that found nothing to the end.
#[derive(Debug, Serialize)]
struct Unmatched {
    kept: u64,
    dropped: u64,
    dead_lettered: u64,
}

/// What became of trades that waited; where they ended is among the outcomes.
#[derive(Debug, Serialize)]
struct Hold {
    entered: u64,
    found: u64,
    expired: u64,
    early: u64,
    waiting: u64,
    rows_max: u64,
    bytes_max: u64,
    /// The most that waited at a time.
    rows_peak: u64,
    bytes_peak: u64,
}

#[derive(Debug, Serialize)]
struct TableSummary {
    name: String,
    distribution: &'static str,
    mode: &'static str,
    on_miss: &'static str,
    /// What has made it ready for the first trade; `None` if nothing has.
    ready_after: Option<&'static str>,
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
    /// Those that were missed most.
    missing_keys: Vec<MissingKeySummary>,
    /// Misses of all other keys.
    missed_of_other_keys: u64,
}

#[derive(Debug, Serialize)]
struct MissingKeySummary {
    /// `None` for trades without a key.
    key: Option<String>,
    count: u64,
    first_trade: u64,
    last_trade: u64,
}

#[derive(Debug, Serialize)]
struct ShardSummary {
    shard: u32,
    looked_up: u64,
    /// Rows of hot keys that another row's look-up answered.
    repeated: u64,
    /// Of all look-ups.
    share: f64,
    changes: u64,
    cpu_s: f64,
    /// Processor time of the shard's thread in the time of the run.
    load: f64,
    table_bytes: u64,
}

impl Summary {
    pub(crate) fn new(
        config: &EngineConfig,
        report: &Report,
        settings: Settings,
        readiness: &Readiness,
    ) -> Self {
        let ledger = &report.ledger;
        let readiness = readiness.tables();
        let changes: u64 = ledger.tables.iter().map(|table| table.changes).sum();
        let messages = ledger.rows_read + changes;
        // Those of the runs before took their own time.
        let own = messages - report.kept.map_or(0, |kept| kept.messages_before).min(messages);
        let (elapsed_s, cpu_s) = (report.elapsed.as_secs_f64(), report.cpu.as_secs_f64());
        Self {
            rows_read: ledger.rows_read,
            rows_written: ledger.rows_written(),
            trades_copied: report.trades_copied,
            outcomes: Outcomes {
                enriched: ledger.enriched,
                unmatched: ledger.unmatched(),
                rejected: ledger.rejected,
            },
            unmatched: Unmatched {
                kept: ledger.unmatched_kept,
                dropped: ledger.unmatched_dropped,
                dead_lettered: ledger.dead_lettered,
            },
            hold: Hold::new(config, report),
            corrections: Corrected::new(config, report),
            unmatched_policy: policy(config),
            interrupted: report.interrupted,
            already_complete: false,
            messages,
            tables: (0..config.tables.len())
                .map(|table| TableSummary::new(table, config, report, readiness.get(table)))
                .collect(),
            reloads: Vec::new(),
            table_changes: None,
            dead_letters_dropped: None,
            stalls: Stalls::default(),
            checkpoints: KeptSummary::new(report),
            workers: if report.shards.is_empty() { config.shards.get() } else { report.shards.len() as u32 },
            workers_asked: config.shards.get(),
            shards: report.shards.iter().map(|shard| ShardSummary::new(shard, report)).collect(),
            elapsed_s,
            cpu_s,
            messages_per_s: ratio(own as f64, elapsed_s),
            cpu_ns_per_message: ratio(cpu_s * 1e9, own as f64),
            peak_memory_bytes: memory::peak_bytes(),
            settings,
        }
    }

    /// The same with what became of newer files of tables.
    pub(crate) fn with_reloads(self, reloads: Vec<Reloads>) -> Self {
        Self { reloads, ..self }
    }

    /// The same with what came of changes beside the trades.
    pub(crate) fn with_changes(self, table_changes: Option<ChangesReport>) -> Self {
        Self { table_changes, ..self }
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
        let tables = match self.tables.len() {
            1 => "1 table".to_owned(),
            count => format!("{count} tables"),
        };
        let copied = match self.trades_copied {
            0 => "no trade copied".to_owned(),
            1 => "1 trade copied, which was held".to_owned(),
            count => format!("{} trades copied, held or beside one that was", HumanCount(count)),
        };
        let _ = writeln!(out, "{tables} in one pass, {copied}");
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
        if !self.reloads.is_empty() {
            let _ = writeln!(out, "\n{}", self.reload_table());
        }
        if let Some(changes) = &self.table_changes {
            let _ = writeln!(out, "\n{}", changes.text());
        }
        if let Some(missing) = self.missing_table() {
            let _ = writeln!(out, "\n{missing}");
        }
        if let Some(hold) = &self.hold {
            let [entered, found, expired, early] = [hold.entered, hold.found, hold.expired, hold.early]
                .map(|count| HumanCount(count).to_string());
            let _ = writeln!(
                out,
                "\nheld {entered}: {found} found their key, {expired} came to their limit, {early} left early; \
                 at most {} and {} at a time",
                HumanCount(hold.rows_max),
                HumanBytes(hold.bytes_max),
            );
        }
        let (kept, corrected) = (self.checkpoints.iter(), self.corrections.iter());
        let others = kept.map(ToString::to_string).chain(corrected.map(ToString::to_string));
        for other in others.chain(self.dead_letters_dropped.iter().map(ToString::to_string)) {
            let _ = writeln!(out, "\n{other}");
        }
        if !self.shards.is_empty() {
            let _ = writeln!(out, "\n{}", self.shard_table());
        }
        let _ = writeln!(
            out,
            "{FAINT}read {} = enriched {} + unmatched {} + rejected {}{}{FAINT:#}",
            HumanCount(self.rows_read),
            HumanCount(self.outcomes.enriched),
            HumanCount(self.outcomes.unmatched),
            HumanCount(self.outcomes.rejected),
            self.hold
                .as_ref()
                .filter(|hold| hold.waiting > 0)
                .map(|hold| format!(" + waiting {}", HumanCount(hold.waiting)))
                .unwrap_or_default(),
        );
        out
    }

    fn outcome_table(&self) -> Table {
        let mut table = plain_table(&["trades", "count", "share"], 1);
        let Unmatched { kept, dropped, dead_lettered } = self.unmatched;
        let mut rows = vec![("enriched", self.outcomes.enriched)];
        let unmatched = [
            ("unmatched, kept", kept),
            ("unmatched, dropped", dropped),
            ("unmatched, put aside", dead_lettered),
        ];
        rows.extend(unmatched.into_iter().filter(|(_, count)| *count > 0));
        if rows.len() == 1 {
            rows.push(("unmatched", 0));
        }
        rows.extend(self.hold.iter().map(|hold| ("waiting", hold.waiting)).filter(|(_, count)| *count > 0));
        rows.extend([("rejected", self.outcomes.rejected), ("written", self.rows_written)]);
        for (name, count) in rows {
            let share = 100.0 * ratio(count as f64, self.rows_read as f64);
            table.add_row([name.to_owned(), HumanCount(count).to_string(), format!("{share:.2} %")]);
        }
        table
    }

    fn table_table(&self) -> Table {
        let is_used = |mode: LookUp| self.tables.iter().any(|table| table.mode == mode.as_str());
        let as_of = is_used(LookUp::AsOf { tolerance: None });
        let versions = is_used(LookUp::LatestVersion);
        let mut header = vec!["table", "mode", "spread", "ready after", "loaded", "duplicates", "changes"];
        header.extend(["rejected", "matched", "missed"]);
        header.extend(["no time", "overlaps"].into_iter().filter(|_| as_of));
        header.extend(["stale", "conflicts"].into_iter().filter(|_| versions));
        let mut table = plain_table(&header, 4);
        for row in &self.tables {
            let mut counts =
                vec![row.rows_loaded, row.duplicate_keys, row.changes, row.rejected, row.matched, row.missed];
            counts.extend([row.untimed, row.overlaps].into_iter().filter(|_| as_of));
            counts.extend([row.stale, row.conflicts].into_iter().filter(|_| versions));
            let counts = counts.into_iter().map(|count| HumanCount(count).to_string());
            let ready_after = row.ready_after.unwrap_or("nothing yet");
            let names = [row.name.as_str(), row.mode, row.distribution, ready_after].map(str::to_owned);
            table.add_row(names.into_iter().chain(counts));
        }
        table
    }

    fn reload_table(&self) -> Table {
        let header =
            ["watched", "last refusal", "reloaded", "rolled back", "refused", "added", "changed", "removed"];
        let mut table = plain_table(&header, 2);
        for row in &self.reloads {
            let counts = [row.reloaded, row.rolled_back, row.refused, row.added, row.changed, row.removed];
            let counts = counts.map(|count| HumanCount(count).to_string());
            let names = [row.table.clone(), row.last_refusal.clone().unwrap_or_else(|| "none".to_owned())];
            table.add_row(names.into_iter().chain(counts));
        }
        table
    }

    /// The keys that were missed most; `None` if none was.
    fn missing_table(&self) -> Option<Table> {
        let mut table = plain_table(&["missing in", "key", "trades", "first", "last"], 2);
        for row in &self.tables {
            for missing in row.missing_keys.iter().take(MISSING_KEYS_SHOWN) {
                let counts = [missing.count, missing.first_trade, missing.last_trade];
                let counts = counts.map(|count| HumanCount(count).to_string());
                let key = missing.key.clone().unwrap_or_else(|| "none".to_owned());
                table.add_row([row.name.clone(), key].into_iter().chain(counts));
            }
        }
        (!table.is_empty()).then_some(table)
    }

    fn shard_table(&self) -> Table {
        let has_hot = self.shards.iter().any(|row| row.repeated > 0);
        let hot = |cell: String| Some(cell).filter(|_| has_hot);
        let mut header = vec!["shard", "look-ups", "share"];
        header.extend(["hot, repeated"].into_iter().filter(|_| has_hot));
        header.extend(["changes", "CPU", "load", "table"]);
        let mut table = plain_table(&header, 0);
        for row in &self.shards {
            let mut cells = vec![
                row.shard.to_string(),
                HumanCount(row.looked_up).to_string(),
                format!("{:.1} %", 100.0 * row.share),
            ];
            cells.extend(hot(HumanCount(row.repeated).to_string()));
            cells.extend([
                HumanCount(row.changes).to_string(),
                format!("{:.2} s", row.cpu_s),
                format!("{:.0} %", 100.0 * row.load),
                HumanBytes(row.table_bytes).to_string(),
            ]);
            table.add_row(cells);
        }
        table
    }
}

impl Hold {
    /// `None` if nothing is ever held.
    fn new(config: &EngineConfig, report: &Report) -> Option<Self> {
        config.tables.iter().find_map(|table| table.on_miss.hold())?;
        let (hold, peak) = (&report.ledger.hold, &report.hold_peak);
        Some(Self {
            entered: hold.entered,
            found: hold.found,
            expired: hold.expired,
            early: hold.early,
            waiting: hold.waiting(),
            rows_max: config.hold_rows_max,
            bytes_max: config.hold_bytes_max,
            rows_peak: peak.rows,
            bytes_peak: peak.bytes,
        })
    }
}

/// The policy of all tables, or that it depends on the table.
fn policy(config: &EngineConfig) -> &'static str {
    let mut policies = config.tables.iter().map(|table| table.on_miss);
    let first = policies.next().unwrap_or_default();
    if policies.all(|policy| policy == first) { MissPolicy::as_str(first) } else { "by table" }
}

impl TableSummary {
    /// A table of which nothing was said is there from the start.
    fn new(table: usize, config: &EngineConfig, report: &Report, readiness: Option<&TableReadiness>) -> Self {
        let ready_by = readiness.map_or(Some(ReadyBy::Start), |table| table.state.ok());
        let (spec, ledger) = (&config.tables[table], &report.ledger.tables[table]);
        // Known once the run has ended.
        let distribution = report.distributions.get(table).unwrap_or(&spec.distribution);
        let (missing, missed_of_other_keys) = report.missing.most_missed(table, MISSING_KEYS);
        Self {
            name: spec.name.clone(),
            distribution: distribution.as_str(),
            mode: spec.look_up.as_str(),
            on_miss: spec.on_miss.as_str(),
            ready_after: ready_by.map(ReadyBy::as_str),
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
            missing_keys: missing.into_iter().map(|missing| MissingKeySummary::new(missing, spec)).collect(),
            missed_of_other_keys,
        }
    }
}

impl MissingKeySummary {
    fn new(missing: MissingKey, table: &TableSpec) -> Self {
        Self {
            key: missing.key.map(|key| key_for_people(&key, table)),
            count: missing.count,
            first_trade: missing.first,
            last_trade: missing.last,
        }
    }
}

impl ShardSummary {
    fn new(shard: &ShardReport, report: &Report) -> Self {
        let looked_up: u64 = report.shards.iter().map(|shard| shard.looked_up).sum();
        Self {
            shard: shard.shard.0,
            looked_up: shard.looked_up,
            repeated: shard.repeated,
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
