//! What a run says of itself, while it runs and at its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tradejoin_merger::MissingKeys;
use tradejoin_model::{Distribution, Ledger, ShardIndex};

/// The account of a run at its end.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What became of every trade. It adds up.
    pub ledger: Ledger,
    /// What each shard did, in their order.
    pub shards: Vec<ShardReport>,
    /// How each table was spread; empty while a run goes on.
    pub distributions: Vec<Distribution>,
    /// The keys that trades looked for in vain; none while a run goes on.
    pub missing: MissingKeys,
    /// From the first read to the end of the output.
    pub elapsed: Duration,
    /// Processor time of the whole process in that time.
    pub cpu: Duration,
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
#[derive(Clone, Debug, Default)]
pub struct Monitor(Arc<ArcSwap<Report>>);

impl Monitor {
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
    pub(crate) fn offer(&mut self, ledger: &Ledger) {
        if self.last.elapsed() >= Self::EVERY {
            self.publish(ledger);
        }
    }

    pub(crate) fn publish(&mut self, ledger: &Ledger) {
        let report = self.clock.report(ledger.clone(), Vec::new(), false);
        self.monitor.0.store(Arc::new(report));
        self.last = Instant::now();
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
        let (distributions, missing) = Default::default();
        Report { ledger, shards, distributions, missing, elapsed: self.start.elapsed(), cpu, interrupted }
    }
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
    let time = rustix::time::clock_gettime(id);
    // These clocks start at zero and never go back.
    Duration::try_from(time).unwrap_or_default()
}
