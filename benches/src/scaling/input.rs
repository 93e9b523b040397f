//! Blocks in memory, as often as a run wants them.

use std::sync::Arc;

use tradejoin_baseline::{Outcome, Tables, maps, naive};
use tradejoin_engine::{Engine, EngineConfig};
use tradejoin_flow::{Block, BoxError, Source};
use tradejoin_generator::{GeneratedSource, Stream};
use tradejoin_model::{Distribution, Messages, ShardCount, TableSpec};

use crate::Digesting;
use crate::scaling::Measured;
use crate::scaling::clock::ns;

/// Messages in a batch with so many workers, as the command has them.
#[must_use]
pub fn batch_len(shards: ShardCount) -> usize {
    (4_096 * shards.as_usize()).clamp(8_192, 65_536)
}

/// A piece of a stream in blocks of one length, given again and again: more than
/// a cache holds, less than a long run needs.
#[derive(Debug)]
pub struct Blocks {
    stream: Arc<Stream>,
    /// Messages before they come again.
    cycle: u64,
    blocks: Vec<Messages>,
    block_len: usize,
}

impl Blocks {
    /// The first `cycle` messages of a stream.
    ///
    /// # Panics
    /// If the blocks do not fill the cycle.
    #[must_use]
    pub fn new(stream: Arc<Stream>, cycle: u64, block_len: usize) -> Self {
        assert_eq!(cycle % block_len as u64, 0, "whole blocks");
        let blocks = GeneratedSource::new(Arc::clone(&stream), 0..cycle, block_len).made().collect();
        Self { stream, cycle, blocks, block_len }
    }

    /// Messages in a block.
    #[must_use]
    pub fn block_len(&self) -> usize {
        self.block_len
    }

    /// What the naive program makes of so many batches.
    #[must_use]
    pub fn expected(&self, batches: usize) -> Outcome {
        let messages = (batches * self.block_len) as u64;
        let stream = (0..messages).map(|position| self.stream.message(position % self.cycle));
        naive::<maps::Std>(stream, Tables::Instruments)
    }

    /// Bytes of a message in memory, on average.
    #[must_use]
    pub fn message_bytes(&self) -> f64 {
        // A row, a key and a kind, and the terms in the size of their text.
        const CHANGE: usize = 4 + 4 + 1 + 24;
        let bytes = |block: &Messages| {
            let changes: usize = block.lanes.iter().map(|lane| lane.len() * CHANGE).sum();
            block.trades.get_array_memory_size() + changes
        };
        self.blocks.iter().map(bytes).sum::<usize>() as f64 / self.cycle as f64
    }
}

/// What a run is given.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Its messages.
    pub blocks: &'a Blocks,
    /// Batches from the first to the last.
    pub batches: usize,
    /// Workers, and shards.
    pub shards: ShardCount,
    /// How the table is spread.
    pub distribution: Distribution,
}

impl<'a> Input<'a> {
    /// The tables.
    #[must_use]
    pub fn tables(&self) -> Vec<TableSpec> {
        vec![TableSpec { distribution: self.distribution, ..TableSpec::instruments() }]
    }

    /// Messages from the first to the last.
    #[must_use]
    pub fn messages(&self) -> f64 {
        (self.batches * self.blocks.block_len) as f64
    }

    /// Messages in a batch.
    #[must_use]
    pub fn batch_len(&self) -> usize {
        self.blocks.block_len
    }

    /// Batches that may be under way, as the engine has it.
    pub(crate) fn window(&self) -> usize {
        self.shards.as_usize() + EngineConfig::QUEUE_DEPTH.get()
    }

    pub(crate) fn source(&self) -> Cycled<'a> {
        Cycled { blocks: &self.blocks.blocks, next: 0, end: self.batches }
    }
}

/// Blocks in memory, handed out by reference count.
pub(crate) struct Cycled<'a> {
    blocks: &'a [Messages],
    next: usize,
    end: usize,
}

impl Source for Cycled<'_> {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        if self.next == self.end {
            return Ok(None);
        }
        let block = self.blocks[self.next % self.blocks.len()].clone();
        self.next += 1;
        Ok(Some(block.into()))
    }
}

/// Runs the engine, and gives what a message took.
///
/// # Panics
/// If the run fails, or gives another result than `expected`.
#[must_use]
pub fn measure(input: Input<'_>, expected: &Outcome) -> Measured {
    let config = EngineConfig { shards: input.shards, ..EngineConfig::new(input.tables()) };
    let mut sink = Digesting::default();
    let report =
        Engine::new(config).run(vec![None], input.source(), &mut sink).expect("a run without faults");
    let (enriched, unmatched) = (report.ledger.enriched, report.ledger.unmatched());
    assert_eq!(&Outcome { enriched, unmatched, digest: sink.0 }, expected);
    Measured { ns: ns(report.elapsed) / input.messages(), cpu_ns: ns(report.cpu) / input.messages() }
}
