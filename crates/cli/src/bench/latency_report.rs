//! The report of latencies: for people, and as JSON for programs.

use std::fmt::Write as _;

use indicatif::HumanCount;
use serde::Serialize;
use tradejoin_engine::Report;

use crate::bench::latency::Timing;
use crate::style::{FAINT, HEADING};
use crate::summary::plain_table;

/// What `tradejoin bench --rate` prints. The field names are its JSON form.
#[derive(Debug, Serialize)]
pub(crate) struct LatencyReport {
    pub(crate) mix: String,
    pub(crate) linger_us: u64,
    pub(crate) rows: Vec<LatencyRow>,
}

/// One run at one rate.
#[derive(Debug, Serialize)]
pub(crate) struct LatencyRow {
    /// Trades a second that were due.
    rate: u64,
    workers: u32,
    /// How the engine spread the instruments.
    distribution: &'static str,
    trades: u64,
    /// Trades that were written; those that find nothing are not.
    written: u64,
    /// Trades in a batch, on average.
    trades_per_batch: f64,
    /// Trades a second up to the last that was written.
    achieved_rate: f64,
    latency_us: Latency,
    /// Processor time of all threads by elapsed time: 1 is one core.
    cpu_share: f64,
}

/// Microseconds that so many in a hundred trades took at most.
#[derive(Clone, Copy, Debug, Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p999: f64,
    max: f64,
}

impl LatencyRow {
    pub(crate) fn new(rate: u64, workers: u32, (report, batches): (&Report, usize), timing: &Timing) -> Self {
        let us = |ns: u64| ns as f64 / 1e3;
        let quantile = |quantile: f64| us(timing.latencies.value_at_quantile(quantile));
        let trades = report.ledger.rows_read;
        let (last, end_ns) = timing.end;
        Self {
            rate,
            workers,
            distribution: report.distributions.first().map_or("auto", |how| how.as_str()),
            trades,
            written: timing.latencies.len(),
            trades_per_batch: trades as f64 / batches.max(1) as f64,
            achieved_rate: last as f64 * 1e9 / end_ns.max(1) as f64,
            latency_us: Latency {
                p50: quantile(0.5),
                p90: quantile(0.9),
                p99: quantile(0.99),
                p999: quantile(0.999),
                max: us(timing.latencies.max()),
            },
            cpu_share: report.cpu.as_secs_f64() / report.elapsed.as_secs_f64().max(f64::MIN_POSITIVE),
        }
    }
}

impl LatencyReport {
    /// A heading, a table and what its columns mean.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{HEADING}latency in µs, mix {}, linger {} µs{HEADING:#}\n",
            self.mix, self.linger_us
        );
        let header =
            ["trades/s", "workers", "achieved", "a batch", "p50", "p90", "p99", "p99.9", "max", "CPU"];
        let mut table = plain_table(&header, 0);
        for row in &self.rows {
            let Latency { p50, p90, p99, p999, max } = row.latency_us;
            let latencies = [p50, p90, p99, p999, max].map(|us| format!("{us:.1}"));
            let about = [
                HumanCount(row.rate).to_string(),
                row.workers.to_string(),
                HumanCount(row.achieved_rate.round() as u64).to_string(),
                format!("{:.1}", row.trades_per_batch),
            ];
            let cpu = format!("{:.0} %", 100.0 * row.cpu_share);
            table.add_row(about.into_iter().chain(latencies).chain([cpu]));
        }
        let _ = writeln!(out, "{table}\n");
        let _ = writeln!(
            out,
            "{FAINT}From the time at which a trade was due, whether or not it could be read then, to the write of its \
             batch;\nof trades that are written: those that find nothing are dropped.\na batch: trades on average. CPU: the processor time of all threads, 100 % is one core; the source \
             spins\nfor the last 100 µs of each wait.{FAINT:#}"
        );
        out
    }
}
