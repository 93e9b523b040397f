//! What trades that wait cost those that do not.
//!
//! The same stream of trades that find their key is measured while nobody waits,
//! and while many trades wait for keys that the stream does not have. Those come
//! first; they leave when the stream has been measured, the half of them since
//! their keys come, the others at the end of the input. The result is compared with
//! the naive program's, and each trade that waited has to come out once, with the
//! outcome that is its own.
//!
//! ```
//! use tradejoin_benches::hold::{Crowd, Input, Variant, WaitBy, measure};
//! use tradejoin_model::ShardCount;
//!
//! let crowd = Crowd { trades: 10_000, keys: 1_000, by: WaitBy::Number };
//! let input = Input::new(100_000, 4_096, crowd);
//! let one = ShardCount::new(1).expect("in range");
//! let measured = measure(&input, Variant::Crowded, one)?;
//! assert_eq!(measured.peak.rows, 10_000);
//! # Ok::<(), anyhow::Error>(())
//! ```

mod input;
mod sink;

use std::time::Duration;

use anyhow::ensure;
use tradejoin_engine::{Engine, EngineConfig, HoldPeak};
use tradejoin_model::{Expired, Hold, HoldLimit, MissPolicy, ShardCount, TableSpec};

pub use crate::hold::input::{Crowd, Input, WaitBy};
use crate::hold::sink::Watch;

/// A way to run the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Misses are dropped: batches need not pass the holds.
    Dropping,
    /// Misses are held, and there are none.
    Alone,
    /// Misses are held, and all trades of the crowd wait.
    Crowded,
}

impl Variant {
    /// All of them, each to be compared with the one before.
    pub const ALL: [Self; 3] = [Self::Dropping, Self::Alone, Self::Crowded];

    fn policy(self, by: WaitBy) -> MissPolicy {
        // No limit of theirs: they wait until their keys come, or nothing more does.
        let limit = match by {
            WaitBy::Number => HoldLimit::Rows(u64::MAX),
            WaitBy::Time => HoldLimit::EventTime(u64::MAX),
        };
        let hold = Hold { limit, then: Expired::DeadLetter };
        if self == Self::Dropping { MissPolicy::Drop } else { MissPolicy::Hold(hold) }
    }
}

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Of the stream of found trades, behind its beginning: elapsed time for a
    /// message.
    pub ns: f64,
    /// The same in processor time of all threads.
    pub cpu_ns: f64,
    /// From the start until the last trade of the crowd had come and the first of the
    /// stream was written.
    pub entered: Duration,
    /// From the end of the stream until all that waited was written.
    pub left: Duration,
    /// What waited at a time, at most.
    pub peak: HoldPeak,
    /// The largest resident size of the process by the end of the stream, in bytes.
    pub resident: Option<u64>,
    /// The same by the end of the run.
    pub resident_end: Option<u64>,
}

/// Runs the stream once.
///
/// # Errors
/// If the run fails, or gives another result than the naive program and the keys of
/// the crowd say.
pub fn measure(input: &Input, variant: Variant, shards: ShardCount) -> anyhow::Result<Measured> {
    let table = TableSpec { on_miss: variant.policy(input.crowd().by), ..TableSpec::instruments() };
    // As many as were asked for, whatever machine it runs on.
    let config = EngineConfig { shards, cores: shards, ..EngineConfig::new(vec![table]) };
    let crowd = if variant == Variant::Crowded { input.crowd() } else { Crowd::default() };
    let mut watch = Watch::new(input, crowd);
    let report = Engine::new(config).run(vec![None], input.source(variant), &mut watch)?;

    let found = watch.check()?;
    ensure!(found == input.expected(), "the digest is not that of the naive program");
    let (ledger, hold) = (&report.ledger, report.ledger.hold);
    let (come, missed) = (crowd.come(), crowd.trades - crowd.come());
    let outcomes = (hold.entered, hold.found, hold.expired, hold.early, ledger.dead_lettered);
    ensure!(outcomes == (crowd.trades, come, missed, 0, missed), "the ledger has {outcomes:?}");
    ensure!(ledger.rows_read == input.found() + crowd.trades, "{} trades were read", ledger.rows_read);
    ensure!(ledger.enriched == input.found() + come, "{} trades were enriched", ledger.enriched);
    watch.measured(report.hold_peak)
}
