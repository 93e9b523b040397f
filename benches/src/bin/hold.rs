//! Measures what trades that wait cost those that do not, and what memory they take.
//! See `docs/benchmarks.md`.

use std::io::{Write as _, stdout};

use anyhow::Context as _;
use clap::Parser;
use tradejoin_benches::hold::{Crowd, Input, Measured, Variant, WaitBy, measure};
use tradejoin_benches::scaling::batch_len;
use tradejoin_model::ShardCount;

/// What trades that wait for their keys cost those that find theirs.
#[derive(Debug, Parser)]
struct Args {
    /// Trades that wait while the stream is measured
    #[arg(long, default_value_t = 1_000_000)]
    waiting: u64,

    /// Keys that they wait for
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1 << 29))]
    keys: u32,

    /// Let them have their limit by the times of trades, not by their number
    #[arg(long)]
    by_time: bool,

    /// Messages of the stream, 9 of 10 trades that find their key
    #[arg(long, default_value_t = 16_000_000)]
    messages: u64,

    /// Numbers of workers
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    workers: Vec<u32>,

    /// Rounds: in each the stream is run in every way, in turn; one that does not
    /// count comes first
    #[arg(long, default_value_t = 10)]
    rounds: usize,
}

/// A run of each variant, in their order.
type Round = [Measured; Variant::ALL.len()];

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let by = if args.by_time { WaitBy::Time } else { WaitBy::Number };
    let crowd = Crowd { trades: args.waiting, keys: args.keys, by };
    let mut out = stdout().lock();
    writeln!(
        out,
        "{} messages; {} trades wait for {} keys; {} rounds",
        args.messages, args.waiting, args.keys, args.rounds
    )?;
    writeln!(out, "\nworkers  ns a message, CPU ns: dropping      holding         while they wait")?;
    let (mut ratios, mut memory) = (Vec::new(), None);
    for workers in args.workers {
        let shards = ShardCount::new(workers).context("not a number of workers")?;
        let input = Input::new(args.messages, batch_len(shards), crowd);
        let run = |variant| measure(&input, variant, shards);
        // Of a process that has run the same before, so that the holds are the difference.
        let round = || -> anyhow::Result<Round> {
            Ok([run(Variant::Dropping)?, run(Variant::Alone)?, run(Variant::Crowded)?])
        };
        let [_, before, after] = round()?;
        memory.get_or_insert((before, after));
        let rounds = (0..args.rounds.max(1)).map(|_| round()).collect::<anyhow::Result<Vec<_>>>()?;
        write!(out, "{workers:7}                      ")?;
        for variant in 0..Variant::ALL.len() {
            let of =
                |get: fn(&Measured) -> f64| median(rounds.iter().map(|round| get(&round[variant])).collect());
            write!(out, "  {:6.2} {:6.2}  ", of(|run| run.ns), of(|run| run.cpu_ns))?;
        }
        writeln!(out)?;
        ratios.push((workers, rounds));
    }

    writeln!(
        out,
        "\nrates by each other: medians over the rounds of the two runs of one, their range, and the fastest runs of all"
    )?;
    for (workers, rounds) in &ratios {
        writeln!(out, "{}", rates(*workers, rounds, args.waiting))?;
    }
    if let Some((before, after)) = memory {
        writeln!(out, "\n{}", told_memory(&before, &after)?)?;
    }
    Ok(())
}

/// How the runs of one number of workers compare, in lines.
fn rates(workers: u32, rounds: &[Round], waiting: u64) -> String {
    let mut lines = Vec::new();
    for (name, from, to) in [("holding by dropping", 0, 1), ("while they wait by holding", 1, 2)] {
        let spread = |get: fn(&Measured) -> f64| {
            let fastest = |variant: usize| least(rounds.iter().map(|round| get(&round[variant])));
            let ratios: Vec<_> = rounds.iter().map(|round| get(&round[from]) / get(&round[to])).collect();
            let min = least(ratios.iter().copied());
            let max = -least(ratios.iter().map(|ratio| -ratio));
            let middle = median(ratios);
            format!("{middle:.3} ({min:.3} to {max:.3}; fastest {:.3})", fastest(from) / fastest(to))
        };
        let (elapsed, cpu) = (spread(|run| run.ns), spread(|run| run.cpu_ns));
        lines.push(format!("{workers} workers, {name}: {elapsed}, by processor time {cpu}"));
    }
    let per_trade = |get: fn(&Measured) -> f64| {
        median(rounds.iter().map(|round| get(&round[2])).collect()) * 1e9 / waiting.max(1) as f64
    };
    lines.push(format!(
        "{workers} workers: {:.0} ns for a trade to begin to wait, {:.0} ns to leave",
        per_trade(|run| run.entered.as_secs_f64()),
        per_trade(|run| run.left.as_secs_f64())
    ));
    lines.join("\n")
}

/// What the trades that waited took in memory, and were counted with.
fn told_memory(before: &Measured, after: &Measured) -> anyhow::Result<String> {
    const MIB: f64 = (1 << 20) as f64;
    let base = before.resident_end.context("the system does not tell the memory of a process")?;
    let more = |resident: Option<u64>| resident.map_or(0, |peak| peak.saturating_sub(base)) as f64 / MIB;
    Ok(format!(
        "{} trades at a time, counted with {:.1} MiB; resident memory rose by {:.1} MiB while they waited, by {:.1} MiB to the end",
        after.peak.rows,
        after.peak.bytes as f64 / MIB,
        more(after.resident),
        more(after.resident_end)
    ))
}

/// The least of at least one figure.
fn least(figures: impl Iterator<Item = f64>) -> f64 {
    figures.fold(f64::INFINITY, f64::min)
}

/// The middle of at least one figure.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    (figures[(figures.len() - 1) / 2] + figures[figures.len() / 2]) / 2.0
}
