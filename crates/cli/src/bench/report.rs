//! The report of a bench: for people, and as JSON for programs.

use std::fmt::Write as _;

use indicatif::HumanCount;
use serde::Serialize;

use crate::bench::Timing;
use crate::bench::rows::Row;
use crate::bench::stats::Spread;
use crate::style::{FAINT, HEADING};
use crate::summary::plain_table;

/// What `tradejoin bench` prints. The field names are its JSON form.
#[derive(Debug, Serialize)]
pub(crate) struct BenchReport {
    pub(crate) messages: u64,
    pub(crate) mix: String,
    pub(crate) rounds: u32,
    pub(crate) generate_inside: bool,
    pub(crate) rows: Vec<RowReport>,
}

/// One row of the report.
#[derive(Debug, Serialize)]
pub(crate) struct RowReport {
    name: &'static str,
    workers: u32,
    /// How many of them the engine took: no more than there are cores, unless the
    /// table is partitioned by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    workers_run: Option<u32>,
    /// How the engine spreads the instruments.
    #[serde(skip_serializing_if = "Option::is_none")]
    distribution: Option<&'static str>,
    mix: String,
    elapsed_s: Spread,
    ns_per_message: f64,
    cpu_ns_per_message: f64,
    /// How many times faster than `naive-std`: the median over the rounds of
    /// the elapsed time of `naive-std` by that of this row in the same round.
    ratio_to_naive: f64,
}

impl RowReport {
    pub(crate) fn new(row: &Row, timings: &[Timing], naive: &[Timing], messages: u64, mix: &str) -> Self {
        let elapsed: Vec<_> = timings.iter().map(|timing| timing.elapsed).collect();
        let elapsed_s = Spread::of_seconds(&elapsed);
        let ns = |seconds: f64| seconds * 1e9 / messages as f64;
        let cpu = Spread::of(timings.iter().map(|timing| timing.cpu.as_secs_f64()).collect());
        let ratios = naive.iter().zip(timings).map(|(naive, timing)| {
            naive.elapsed.as_secs_f64() / timing.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
        });
        Self {
            name: row.name.as_str(),
            workers: row.workers,
            workers_run: row.workers_run,
            distribution: row.distribution.map(tradejoin_model::Distribution::as_str),
            mix: mix.to_owned(),
            elapsed_s,
            ns_per_message: ns(elapsed_s.median),
            cpu_ns_per_message: ns(cpu.median),
            ratio_to_naive: Spread::of(ratios.collect()).median,
        }
    }
}

impl BenchReport {
    /// A heading, a table and what its columns mean.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let fed = if self.generate_inside { "with the generator timed" } else { "fed from memory" };
        let _ = writeln!(
            out,
            "{HEADING}{} messages, mix {}, {fed}, {} rounds{HEADING:#}\n",
            HumanCount(self.messages),
            self.mix,
            self.rounds,
        );
        let header =
            ["program", "workers", "mean ± σ", "min … max", "ns/message", "CPU ns/message", "× naive-std"];
        let mut table = plain_table(&header, 1);
        for row in &self.rows {
            let Spread { mean, sd, min, max, .. } = row.elapsed_s;
            let mut name = row.name.to_owned();
            if let Some(distribution) = row.distribution {
                let _ = write!(name, ", {distribution}");
            }
            if row.mix != self.mix {
                let _ = write!(name, " ({})", row.mix);
            }
            table.add_row([
                name,
                match row.workers_run.filter(|&run| run < row.workers) {
                    Some(run) => format!("{run} of {}", row.workers),
                    None => row.workers.to_string(),
                },
                format!("{mean:.3} s ± {sd:.3}"),
                format!("{min:.3} … {max:.3}"),
                format!("{:.1}", row.ns_per_message),
                format!("{:.1}", row.cpu_ns_per_message),
                format!("{:.2}", row.ratio_to_naive),
            ]);
        }
        let _ = writeln!(out, "{table}\n");
        let _ = writeln!(
            out,
            "{FAINT}Every program read the same messages and gave the same checksum over every field, but for \
             two-tables-ring, whose result depends on timing.\nns and CPU ns are medians; CPU is the processor time \
             of all threads; × is the median ratio to naive-std in the same round, above 1 is faster.{FAINT:#}"
        );
        out
    }
}
