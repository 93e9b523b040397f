//! `tradejoin bench`: the engine beside simpler programs, on the same stream.

mod args;
mod cuts;
mod feed;
mod latency;
mod latency_report;
mod pace;
mod report;
mod rows;
mod stats;

pub(crate) use args::BenchArgs;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use tradejoin_baseline::Outcome;
use tradejoin_engine::process_cpu;
use tradejoin_generator::Mix;

use crate::bench::feed::Feed;
use crate::bench::report::{BenchReport, RowReport};
use crate::bench::rows::Row;
use crate::failure::{self, UsageError, WrongResult};
use crate::print::{json_line, print};

/// The programs that are measured. Their names are those of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RowName {
    /// One thread, the standard library's map
    NaiveStd,
    /// One thread, hashbrown's map
    NaiveHashbrown,
    /// One thread, a map that threads could share
    NaiveDashmap,
    /// One thread feeds another over a channel
    ThreadsChannel,
    /// One thread feeds another over a ring buffer
    ThreadsRing,
    /// Three threads, two rings, two shared maps; always the mix article-users
    TwoTablesRing,
    /// One thread, one plain loop over the engine's own blocks
    Fused,
    /// The engine
    Sharded,
}

impl RowName {
    /// The name on the command line and in the report.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NaiveStd => "naive-std",
            Self::NaiveHashbrown => "naive-hashbrown",
            Self::NaiveDashmap => "naive-dashmap",
            Self::ThreadsChannel => "threads-channel",
            Self::ThreadsRing => "threads-ring",
            Self::TwoTablesRing => "two-tables-ring",
            Self::Fused => "fused",
            Self::Sharded => "sharded",
        }
    }
}

/// One run of one program.
#[derive(Clone, Copy, Debug)]
struct Timing {
    elapsed: Duration,
    cpu: Duration,
}

/// Carries out the command, and gives its exit code.
pub(crate) fn bench(args: &BenchArgs) -> anyhow::Result<u8> {
    if !args.rate.is_empty() {
        return latency::bench(args);
    }
    let messages = args.messages();
    let mut rows = rows::of(args)?;
    if !rows.iter().any(|row| row.name == RowName::NaiveStd) {
        let text = "the ratios are to naive-std: --only must name it, too";
        return Err(UsageError(text.to_owned()).into());
    }
    let bar = progress(args, rows.len());
    bar.set_message("preparing");
    let feed = Feed::new(args, &args.mix)?;
    // The two-table program has no sense without users.
    let is_needed = rows.iter().any(|row| row.name == RowName::TwoTablesRing) && !args.mix.has_users();
    let two_tables = is_needed.then(|| Feed::new(args, &Mix::article_users())).transpose()?;
    let feed_of = |name| match (&two_tables, name) {
        (Some(feed), RowName::TwoTablesRing) => feed,
        _ => &feed,
    };

    // The round that does not count warms caches, and checks before anything is
    // timed that all programs do the same work.
    let outcomes = rows.iter_mut().map(|row| one(row, feed_of(row.name), &bar).map(|(outcome, _)| outcome));
    let outcomes = outcomes.collect::<Result<Vec<_>, _>>()?;
    check(&rows, &outcomes)?;
    let mut timings = vec![Vec::new(); rows.len()];
    for _ in 0..args.rounds {
        for (row, timings) in rows.iter_mut().zip(&mut timings) {
            timings.push(one(row, feed_of(row.name), &bar)?.1);
        }
    }
    bar.finish_and_clear();

    let naive = rows.iter().zip(&timings).find(|(row, _)| row.name == RowName::NaiveStd);
    let naive = naive.map(|(_, timings)| timings.clone()).context("no naive row")?;
    let row = |(row, timings): (&Row, &Vec<Timing>)| {
        RowReport::new(row, timings, &naive, messages, &feed_of(row.name).mix().to_string())
    };
    let report = BenchReport {
        messages,
        mix: args.mix.to_string(),
        rounds: args.rounds,
        generate_inside: args.generate_inside,
        rows: rows.iter().zip(&timings).map(row).collect(),
    };
    print(&if args.json { json_line(&report)? } else { report.text() })?;
    Ok(failure::OK)
}

/// Runs a program once.
fn one(row: &mut Row, feed: &Feed, bar: &ProgressBar) -> anyhow::Result<(Outcome, Timing)> {
    bar.set_message(format!("{}, {} workers", row.name.as_str(), row.workers));
    let (start, cpu) = (Instant::now(), process_cpu());
    let outcome = row.run(feed)?;
    let timing = Timing { elapsed: start.elapsed(), cpu: process_cpu().saturating_sub(cpu) };
    bar.inc(1);
    Ok((outcome, timing))
}

/// All programs whose order is that of the sequence must agree; of the others
/// the counts must add up.
fn check(rows: &[Row], outcomes: &[Outcome]) -> anyhow::Result<()> {
    let naive = rows.iter().position(|row| row.name == RowName::NaiveStd).map(|at| outcomes[at]);
    let naive = naive.context("no naive row")?;
    for (row, outcome) in rows.iter().zip(outcomes) {
        if row.name != RowName::TwoTablesRing && *outcome != naive {
            let text = format!("{} gives {outcome:?}, but naive-std {naive:?}", row.name.as_str());
            return Err(WrongResult(text).into());
        }
    }
    Ok(())
}

fn progress(args: &BenchArgs, rows: usize) -> ProgressBar {
    if args.quiet || args.json {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new((u64::from(args.rounds) + 1) * rows as u64);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} runs, {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
