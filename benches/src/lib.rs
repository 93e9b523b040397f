//! What the benches have in common: a stream in memory, and sinks that read it.
//!
//! Input is made outside the timed part, and each bench checks its result
//! against the naive program before it is timed.
//!
//! ```
//! use tradejoin_benches::Feed;
//!
//! let feed = Feed::article(10_000, 4_096);
//! assert_eq!(feed.messages.len(), 10_000);
//! assert_eq!(feed.blocks.len(), 3);
//! ```

pub mod hold;
pub mod plots;
pub mod scaling;

use std::sync::Arc;

use tradejoin_baseline::{Digesting, Outcome, Tables, maps, naive};
use tradejoin_engine::{Engine, EngineConfig};
use tradejoin_flow::{Block, BoxError, Source};
use tradejoin_generator::{GeneratedSource, Stream, StreamConfig};
use tradejoin_model::{Distribution, Message, Messages, ShardCount, TableSpec};

/// A stream in memory, row by row and in blocks.
#[derive(Debug)]
pub struct Feed {
    /// Where it comes from.
    pub stream: Arc<Stream>,
    /// Its messages.
    pub messages: Vec<Message>,
    /// The same messages in blocks.
    pub blocks: Vec<Messages>,
    /// What the naive program makes of it.
    pub expected: Outcome,
}

impl Feed {
    /// The first messages of the article's mix, in blocks of `block_len`.
    ///
    /// # Panics
    /// Never: the configuration is the default.
    #[must_use]
    pub fn article(len: u64, block_len: usize) -> Self {
        let stream = Arc::new(Stream::new(StreamConfig::default()).expect("a valid configuration"));
        let messages: Vec<_> = (0..len).map(|position| stream.message(position)).collect();
        let source = GeneratedSource::new(Arc::clone(&stream), 0..len, block_len);
        let blocks = source.made().collect();
        let expected = naive::<maps::Std>(messages.iter().copied(), Tables::Instruments);
        Self { stream, messages, blocks, expected }
    }

    /// Joins the stream with an engine of so many shards.
    ///
    /// # Panics
    /// If the run fails, or gives another result than the naive program.
    pub fn run(&self, shards: ShardCount, distribution: Distribution) {
        let mut config = EngineConfig::new(vec![TableSpec { distribution, ..TableSpec::instruments() }]);
        // As many as the bench says, whatever machine it runs on.
        (config.shards, config.cores) = (shards, shards);
        let mut sink = Digesting::default();
        let source = Shared(self.blocks.iter());
        let report = Engine::new(config).run(vec![None], source, &mut sink).expect("a run without faults");
        let (enriched, unmatched) = (report.ledger.enriched, report.ledger.unmatched());
        assert_eq!(Outcome { enriched, unmatched, digest: sink.0 }, self.expected);
    }
}

/// Blocks in memory, handed out by reference count.
struct Shared<'a>(std::slice::Iter<'a, Messages>);

impl Source for Shared<'_> {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        Ok(self.0.next().cloned().map(Block::from))
    }
}

/// The examples of the docs, compiled and run as tests.
#[cfg(doctest)]
mod docs {
    #[doc = include_str!("../../docs/architecture.md")]
    struct Architecture;
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../../docs/cli.md")]
    struct Cli;
    #[doc = include_str!("../../docs/data-formats.md")]
    struct DataFormats;
}
