//! `tradejoin bench --rate`: how long a trade takes at a given rate.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use tradejoin_baseline::{Digest, Outcome, digest_enriched, fused};
use tradejoin_engine::{Engine, EngineConfig};
use tradejoin_flow::{BoxError, Encode, End, NothingPrepared, Prepared, Sink};
use tradejoin_generator::{Stream, StreamConfig};
use tradejoin_model::{Enriched, TableSpec};

use crate::bench::BenchArgs;
use crate::bench::cuts::{Cuts, Extent, Stored};
use crate::bench::latency_report::{LatencyReport, LatencyRow};
use crate::bench::pace::{Firsts, Pace, Paced};
use crate::failure::{self, UsageError, WrongResult};
use crate::plan;
use crate::print::{json_line, print};

/// How long a run is unless the user says.
const SECONDS: u64 = 5;
/// Trades that are held in memory at most.
const TRADES_MAX: u64 = 1 << 30;
/// From the call of the engine to the first trade: its threads are up by then.
const LEAD: Duration = Duration::from_millis(20);
/// The longest latency that is told from a longer one, in nanoseconds.
const LATENCY_MAX: u64 = 3_600_000_000_000;
/// Digits of a latency that are kept.
const DIGITS: u8 = 3;

/// Carries out the command, and gives its exit code.
pub(crate) fn bench(args: &BenchArgs) -> anyhow::Result<u8> {
    let mut tables = plan::generated_tables(&args.mix);
    plan::distribute(&mut tables, &args.distribution)?;
    let config = StreamConfig {
        seed: args.seed,
        mix: args.mix.clone(),
        ids: args.ids,
        keys: args.keys,
        ..StreamConfig::default()
    };
    let stream = Stream::new(config)?;
    let stored = Stored::draw(&stream, extent(args)?);
    if stored.trades() == 0 {
        return Err(UsageError("no trade is among the messages: give more".to_owned()).into());
    }
    let mut rows = Vec::new();
    for &rate in &args.rate {
        let trades = args.messages.map_or_else(|| trades_of(args, rate), |_| stored.trades());
        let mut cuts = stored.cuts(trades);
        let expected = fused(std::iter::from_fn(|| cuts.changes().or_else(|| cuts.cut(usize::MAX))));
        for &workers in &args.workers {
            let (row, outcome) = run(args, &tables, stored.cuts(trades), (rate, workers))?;
            if outcome != expected {
                let text = format!("{workers} workers give {outcome:?}, but fused {expected:?}");
                return Err(WrongResult(text).into());
            }
            rows.push(row);
        }
    }
    let report = LatencyReport { mix: args.mix.to_string(), linger_us: args.linger.as_micros() as u64, rows };
    print(&if args.json { json_line(&report)? } else { report.text() })?;
    Ok(failure::OK)
}

/// How much of the stream the longest run needs.
fn extent(args: &BenchArgs) -> anyhow::Result<Extent> {
    let longest = args.rate.iter().map(|&rate| trades_of(args, rate)).max().unwrap_or(0);
    let (extent, count) = match args.messages {
        Some(messages) => (Extent::Messages(messages), messages),
        None => (Extent::Trades(longest), longest),
    };
    if count > TRADES_MAX {
        let text = format!("{count} are more than are held in memory ({TRADES_MAX}): give a shorter run");
        return Err(UsageError(text).into());
    }
    if args.messages.is_none() && args.mix.user_share() + args.mix.instrument_share() >= 1.0 {
        return Err(UsageError("--rate is of trades, and --mix has none".to_owned()).into());
    }
    Ok(extent)
}

/// The trades of a run that is as long as was asked for.
fn trades_of(args: &BenchArgs, rate: u64) -> u64 {
    rate.saturating_mul(args.seconds.unwrap_or(SECONDS))
}

/// Runs the engine once at a rate with so many workers.
fn run(
    args: &BenchArgs,
    tables: &[TableSpec],
    cuts: Cuts<'_>,
    (rate, workers): (u64, u32),
) -> anyhow::Result<(LatencyRow, Outcome)> {
    let mut config = EngineConfig::new(tables.to_vec());
    config.shards = plan::workers(Some(workers))?;
    let batch_len = plan::batch_len(args.batch_len, config.shards);
    let loads = tables.iter().map(|_| None).collect();
    let pace = Pace { start: Instant::now() + LEAD, rate };
    let firsts = Firsts::default();
    let source = Paced { cuts, pace, batch_len, linger: args.linger, next: 0, firsts: firsts.clone() };
    let mut sink = Timing::new(pace, firsts.clone())?;
    let report = Engine::new(config).run(loads, source, &mut sink)?;
    let row = LatencyRow::new(rate, workers, (&report, firsts.len()), &sink);
    let (enriched, unmatched) = (report.ledger.enriched, report.ledger.unmatched());
    Ok((row, Outcome { enriched, unmatched, digest: sink.digest }))
}

/// A sink that notes how long ago each trade was due.
pub(crate) struct Timing {
    pace: Pace,
    firsts: Firsts,
    digest: Digest,
    /// Trades from the first to the last that was written, and when that was, in
    /// nanoseconds from the start.
    pub(crate) end: (u64, u64),
    /// Nanoseconds that each trade took that was written.
    pub(crate) latencies: Histogram<u64>,
}

impl Timing {
    fn new(pace: Pace, firsts: Firsts) -> anyhow::Result<Self> {
        let latencies = Histogram::new_with_max(LATENCY_MAX, DIGITS).context("no histogram")?;
        Ok(Self { pace, firsts, digest: Digest::default(), end: (0, 0), latencies })
    }
}

/// What is noted of a batch.
#[derive(Default)]
pub(crate) struct Noted {
    digest: Digest,
    /// The number of its first trade.
    first: u64,
    /// The rows that go on.
    rows: Vec<u32>,
}

impl Sink for Timing {
    type Piece = Noted;
    type Encoder = Noting;

    fn encoder(&self) -> Noting {
        Noting(self.firsts.clone())
    }

    fn write(&mut self, noted: &mut Noted) -> Result<(), BoxError> {
        let now = self.pace.ns_at(Instant::now());
        for &row in &noted.rows {
            let due = self.pace.due_ns(noted.first + u64::from(row));
            self.latencies.saturating_record(now.saturating_sub(due));
        }
        if let Some(&last) = noted.rows.last() {
            self.end = (noted.first + u64::from(last) + 1, now);
        }
        self.digest.append(&noted.digest);
        Ok(())
    }

    fn prepare(&mut self, _: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        Ok(Box::new(NothingPrepared))
    }
}

/// Reads every field of a batch where it is joined, and notes which trades it has.
pub(crate) struct Noting(Firsts);

impl Encode for Noting {
    type Piece = Noted;

    fn encode(&mut self, enriched: &Enriched, noted: &mut Noted) -> Result<(), BoxError> {
        noted.digest = digest_enriched(enriched);
        noted.first = self.0.of(enriched.index).ok_or("a batch that was never given")?;
        noted.rows.clear();
        // A batch has fewer than 2³² rows.
        noted.rows.extend(enriched.rows().map(|row| row as u32));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tradejoin_model::{Message, ShardCount};

    use super::*;

    #[test]
    fn a_trade_keeps_its_number_behind_batches_that_are_dropped() {
        const MESSAGES: u64 = 3_000;
        let stream = Stream::new(StreamConfig::default()).expect("a valid configuration");
        let (mut known, mut trades, mut written, mut last) = (BTreeSet::new(), 0, 0, 0);
        for position in 0..MESSAGES {
            match stream.message(position) {
                Message::Instrument(instrument) => {
                    known.insert(instrument.instrument_id.0);
                }
                Message::Trade(trade) => {
                    trades += 1;
                    if known.contains(&trade.instrument_id.0) {
                        (written, last) = (written + 1, trades);
                    }
                }
                Message::User(_) => {}
            }
        }
        assert!(written > 0 && written < trades);

        let stored = Stored::draw(&stream, Extent::Messages(MESSAGES));
        let pace = Pace { start: Instant::now(), rate: 1_000_000_000 };
        let firsts = Firsts::default();
        let source = Paced {
            cuts: stored.cuts(u64::MAX),
            pace,
            batch_len: 1,
            linger: Duration::ZERO,
            next: 0,
            firsts: firsts.clone(),
        };
        let mut sink = Timing::new(pace, firsts.clone()).expect("a histogram");
        let mut config = EngineConfig::new(vec![TableSpec::instruments()]);
        config.shards = ShardCount::new(2).expect("within bounds");
        Engine::new(config).run(vec![None], source, &mut sink).expect("a run without faults");
        assert_eq!((firsts.len() as u64, sink.latencies.len(), sink.end.0), (trades, written, last));
    }
}
