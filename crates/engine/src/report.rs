//! What a run says of itself, while it runs and at its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tradejoin_merger::{HoldPeak, MissingKeys, RecentPeak};
use tradejoin_model::{Distribution, Enriched, Ledger, LedgerError, Messages, ShardIndex};
use tradejoin_worker::Worker;

use crate::kept::KeptReport;

/// The account of a run at its end.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What became of every trade. It adds up.
    pub ledger: Ledger,
    /// What each shard did, in their order.
    pub shards: Vec<ShardReport>,
    /// How each table was spread; empty while a run goes on.
    pub distributions: Vec<Distribution>,
    /// Bytes of each table that all shards share; 0 for others, and empty while a run
    /// goes on.
    pub shared_bytes: Vec<u64>,
    /// The keys that trades looked for in vain; none while a run goes on.
    pub missing: MissingKeys,
    /// Trades whose own columns the engine copied, each once: those that waited, and
    /// those among which one that had waited went on. All others reach the sink in
    /// the columns that the source gave, whatever the number of tables. What a sink
    /// makes of them, its format, is no copy in this sense, nor what is kept beside to
    /// be written again.
    pub trades_copied: u64,
    /// The most that has waited at a time; nothing while a run goes on.
    pub hold_peak: HoldPeak,
    /// The most trades that might be written again at a time; nothing while a run goes
    /// on.
    pub recent_peak: RecentPeak,
    /// From the first read to the end of the output.
    pub elapsed: Duration,
    /// Processor time of the whole process in that time.
    pub cpu: Duration,
    /// What keeping the run has come to, if it is kept; nothing while it goes on.
    pub kept: Option<KeptReport>,
    /// Whether the run was asked to stop before the end of its source.
    pub interrupted: bool,
}

/// What one shard did.
#[derive(Clone, Copy, Debug)]
pub struct ShardReport {
    /// The shard.
    pub shard: ShardIndex,
    /// Look-ups, in all tables.
    pub looked_up: u64,
    /// Trades of hot keys that the shard owns and that needed no look-up of their
    /// own, in all tables.
    pub repeated: u64,
    /// Changes applied, in all tables.
    pub changes: u64,
    /// Processor time of its thread.
    pub cpu: Duration,
    /// Bytes of its tables at the end, those shared by all shards not counted.
    pub table_bytes: u64,
}

/// How far a run has come, for anyone to look at while it goes on: looking
/// never touches a thread of the run.
#[derive(Clone, Debug)]
pub struct Monitor(Arc<ArcSwap<Report>>);

impl Monitor {
    /// Of a run with so many tables that has not begun.
    pub(crate) fn new(tables: usize) -> Self {
        let report = Report { ledger: Ledger::new(tables), ..Report::default() };
        Self(Arc::new(ArcSwap::from_pointee(report)))
    }

    /// The report as it stood a moment ago, at most about 50 ms while trades
    /// flow; without the shards, which report at their end.
    #[must_use]
    pub fn report(&self) -> Arc<Report> {
        self.0.load_full()
    }
}

/// The writing end of a [`Monitor`].
#[derive(Debug)]
pub(crate) struct Publisher {
    monitor: Monitor,
    clock: RunClock,
    last: Instant,
}

impl Publisher {
    const EVERY: Duration = Duration::from_millis(50);

    pub(crate) fn new(monitor: Monitor, clock: RunClock) -> Self {
        Self { monitor, clock, last: Instant::now() }
    }

    /// Publishes the ledger, unless one was published a moment ago.
    ///
    /// # Errors
    /// If it does not add up. What is shown always does.
    pub(crate) fn offer(&mut self, ledger: &Ledger, trades_copied: u64) -> Result<(), LedgerError> {
        if self.last.elapsed() >= Self::EVERY {
            return self.publish(ledger, trades_copied);
        }
        ledger.check()
    }

    /// Publishes the ledger.
    ///
    /// # Errors
    /// As [`Publisher::offer`].
    pub(crate) fn publish(&mut self, ledger: &Ledger, trades_copied: u64) -> Result<(), LedgerError> {
        ledger.check()?;
        let report = self.clock.report(ledger.clone(), Vec::new(), false);
        self.monitor.0.store(Arc::new(Report { trades_copied, ..report }));
        self.last = Instant::now();
        Ok(())
    }
}

/// When a run started, on the clock and in processor time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunClock {
    start: Instant,
    cpu: Duration,
}

impl RunClock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), cpu: process_cpu() }
    }

    /// A report of what has happened since the start.
    pub(crate) fn report(&self, ledger: Ledger, shards: Vec<ShardReport>, interrupted: bool) -> Report {
        let cpu = process_cpu().saturating_sub(self.cpu);
        Report { ledger, shards, elapsed: self.start.elapsed(), cpu, interrupted, ..Report::default() }
    }
}

/// What a shard has done, and the processor time of the thread of its number.
pub(crate) fn shard_report(worker: &Worker, cpu: Duration) -> ShardReport {
    let counts = worker.counts();
    ShardReport {
        shard: worker.shard(),
        looked_up: counts.looked_up,
        repeated: counts.repeated,
        changes: counts.changes,
        cpu,
        table_bytes: worker.memory_bytes() as u64,
    }
}

/// Trades of a batch that do not go on in the columns that they were read in.
pub(crate) fn trades_copied(read: &Arc<Messages>, enriched: &Enriched) -> u64 {
    if Arc::ptr_eq(read, &enriched.messages) { 0 } else { enriched.trades().num_rows() as u64 }
}

/// Processor time of the whole process so far, its threads together.
#[must_use]
pub fn process_cpu() -> Duration {
    clock(rustix::time::ClockId::ProcessCPUTime)
}

/// Processor time of the calling thread so far.
#[must_use]
pub fn thread_cpu() -> Duration {
    clock(rustix::time::ClockId::ThreadCPUTime)
}

fn clock(id: rustix::time::ClockId) -> Duration {
    // Miri has no clock that counts it.
    if cfg!(miri) {
        return Duration::ZERO;
    }
    let time = rustix::time::clock_gettime(id);
    // These clocks start at zero and never go back.
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EngineError;

    #[test]
    fn what_is_seen_before_the_first_trade_has_all_tables() {
        let report = Monitor::new(2).report();
        assert_eq!(report.ledger, Ledger::new(2));
        assert_eq!(report.ledger.tables.len(), 2);
    }

    #[test]
    fn a_ledger_that_does_not_add_up_is_never_shown_and_its_sides_are_told() {
        let monitor = Monitor::new(0);
        let mut publisher = Publisher::new(monitor.clone(), RunClock::start());
        let mut ledger = Ledger::new(0);
        (ledger.rows_read, ledger.enriched) = (10, 10);
        assert_eq!(publisher.publish(&ledger, 3), Ok(()));
        ledger.rows_read = 12;
        let errors = [publisher.publish(&ledger, 3), publisher.offer(&ledger, 3)];
        for error in errors.map(|result| EngineError::from(result.expect_err("two are missing"))) {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            assert_eq!(error.to_string(), "the ledger does not add up");
            assert_eq!(source.as_deref(), Some("12 trades were read, but 10 have an outcome"));
        }
        assert_eq!((monitor.report().ledger.rows_read, monitor.report().trades_copied), (10, 3));
    }
}
