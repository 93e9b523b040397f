//! What rate no schedule of the stages can exceed.

use serde::{Deserialize, Serialize};

use crate::scaling::{Costs, Exchange};

/// What a run is bound by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// All that is to be done, by the workers there are.
    Work,
    /// The shard that has most to do: one batch at a time.
    Shard,
    /// Reading: one thread at a time.
    Reading,
    /// Writing: one thread at a time.
    Writing,
    /// The board: one thread at a time.
    Board,
    /// What memory gives all cores together.
    Memory,
}

/// Nanoseconds of a message that each part of a run needs at least.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Bounds {
    /// See [`Part::Work`].
    pub work: f64,
    /// See [`Part::Shard`].
    pub shard: f64,
    /// See [`Part::Reading`].
    pub reading: f64,
    /// See [`Part::Writing`].
    pub writing: f64,
    /// See [`Part::Board`].
    pub board: f64,
    /// See [`Part::Memory`].
    pub memory: f64,
    /// If there were one router: not a part of this engine.
    pub one_router: f64,
    /// If there were one merger that also encoded: not a part of this engine.
    pub one_merger: f64,
}

impl Bounds {
    /// The bounds of a run on as many cores as workers.
    ///
    /// Work is spread over the workers, whatever the order of their tasks; what
    /// is one at a time is not. The time from a batch's read to its write bounds
    /// nothing: it is at most the work of one batch, and more batches may be under
    /// way than there are workers.
    ///
    /// With more than one worker, each byte that changes cores costs what
    /// [`Exchange`] says, and so does the board, one line for each time that it is
    /// locked. Of memory it is supposed that caches hold nothing: `message_bytes`
    /// are read, and each symbol is written and read as an answer and as a column.
    #[must_use]
    pub fn of(costs: &Costs, exchange: &Exchange, run: &Shape) -> Self {
        /// Passes of a symbol's 24 bytes through memory.
        const SYMBOL_BYTES: f64 = 4.0 * 24.0;
        let Shape { workers, batch_len, message_bytes, memory_gbs } = *run;
        let (line, byte) = if workers > 1.0 { (exchange.line, exchange.byte) } else { (0.0, 0.0) };
        let lines = costs.board_locks * line / batch_len;
        let work = costs.sum() + lines + costs.handed_over_bytes * byte;
        Self {
            work: work / workers,
            shard: costs.busiest_shard,
            reading: costs.read,
            writing: costs.write,
            board: costs.board + lines,
            memory: (message_bytes + SYMBOL_BYTES) / memory_gbs,
            one_router: costs.read + costs.route,
            one_merger: costs.merge + costs.encode + costs.write,
        }
    }

    /// The part that needs most, and how much: the least time of a message.
    #[must_use]
    pub fn binding(&self) -> (Part, f64) {
        let parts = [
            (Part::Shard, self.shard),
            (Part::Reading, self.reading),
            (Part::Writing, self.writing),
            (Part::Board, self.board),
            (Part::Memory, self.memory),
        ];
        parts
            .into_iter()
            .fold((Part::Work, self.work), |most, part| if part.1 > most.1 { part } else { most })
    }
}

/// What a formula has to know of a run beside its costs.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Workers, each on a core of its own.
    pub workers: f64,
    /// Messages in a batch.
    pub batch_len: f64,
    /// Bytes of a message in memory.
    pub message_bytes: f64,
    /// Gigabytes a second that memory gives all cores together.
    pub memory_gbs: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: Costs = Costs {
        read: 0.1,
        route: 1.0,
        look_up: 4.0,
        busiest_shard: 1.5,
        merge: 1.0,
        encode: 3.0,
        write: 0.2,
        board: 0.7,
        board_locks: 10.0,
        handed_over_bytes: 20.0,
    };

    fn bounds(workers: f64) -> (Part, f64) {
        let exchange = Exchange { line: 100.0, byte: 0.05, ..Exchange::default() };
        let shape = Shape { workers, batch_len: 1_000.0, message_bytes: 54.0, memory_gbs: 100.0 };
        Bounds::of(&COSTS, &exchange, &shape).binding()
    }

    #[test]
    fn one_worker_does_all_the_work_and_exchanges_nothing() {
        let (part, ns) = bounds(1.0);
        assert_eq!(part, Part::Work);
        assert!((ns - 10.0).abs() < 1e-9, "{ns}");
    }

    #[test]
    fn workers_share_the_work_until_something_serial_binds() {
        // 10 of stages, 1 of the board's lines, 1 of bytes.
        let (part, ns) = bounds(4.0);
        assert_eq!(part, Part::Work);
        assert!((ns - 3.0).abs() < 1e-9, "{ns}");
        let (part, ns) = bounds(16.0);
        assert_eq!(part, Part::Board);
        assert!((ns - 1.7).abs() < 1e-9, "{ns}");
    }
}
