//! What the programs read: a stream in memory, or a generator.

use std::sync::Arc;

use tradejoin_flow::{Block, BoxError, Source};
use tradejoin_generator::{GeneratedSource, Mix, Stream, StreamConfig};
use tradejoin_model::{Message, Messages, ShardCount};

use crate::bench::BenchArgs;
use crate::plan;

/// The first messages of a stream, for every program in the form that it reads.
pub(crate) struct Feed {
    stream: Arc<Stream>,
    len: u64,
    batch_len: Option<u64>,
    /// Empty if the generator is in the timed part.
    messages: Vec<Message>,
    /// Blocks of the engine's batch length, one set for each length in use.
    blocks: Vec<(usize, Vec<Messages>)>,
}

impl Feed {
    /// Draws the stream of a mix, unless that is part of what is timed.
    pub(crate) fn new(args: &BenchArgs, mix: &Mix) -> anyhow::Result<Self> {
        let config = StreamConfig {
            seed: args.seed,
            mix: mix.clone(),
            ids: args.ids,
            keys: args.keys,
            ..StreamConfig::default()
        };
        let stream = Arc::new(Stream::new(config)?);
        let (len, batch_len) = (args.messages(), args.batch_len);
        let mut feed = Self { stream, len, batch_len, messages: Vec::new(), blocks: Vec::new() };
        if !args.generate_inside {
            feed.messages = (0..len).map(|position| feed.stream.message(position)).collect();
            for &workers in &args.workers {
                let batch_len = feed.batch_len(plan::workers(Some(workers))?);
                if feed.blocks.iter().all(|(of_len, _)| *of_len != batch_len) {
                    feed.blocks.push((batch_len, feed.generated(batch_len).made().collect()));
                }
            }
        }
        Ok(feed)
    }

    /// The mix of the stream.
    pub(crate) fn mix(&self) -> &Mix {
        &self.stream.config().mix
    }

    /// The messages in memory; empty if the generator is in the timed part.
    pub(crate) fn in_memory(&self) -> &[Message] {
        &self.messages
    }

    /// The messages, drawn as they are asked for.
    pub(crate) fn drawn(&self) -> impl Iterator<Item = Message> + Send + '_ {
        (0..self.len).map(|position| self.stream.message(position))
    }

    /// The messages in blocks for so many workers.
    pub(crate) fn blocks(&self, workers: ShardCount) -> Box<dyn Source + '_> {
        let batch_len = self.batch_len(workers);
        match self.blocks.iter().find(|(of_len, _)| *of_len == batch_len) {
            Some((_, blocks)) => Box::new(Shared(blocks.iter())),
            None => Box::new(self.generated(batch_len)),
        }
    }

    fn generated(&self, batch_len: usize) -> GeneratedSource {
        GeneratedSource::new(Arc::clone(&self.stream), 0..self.len, batch_len)
    }

    fn batch_len(&self, workers: ShardCount) -> usize {
        plan::batch_len(self.batch_len, workers)
    }
}

/// Blocks in memory, handed out by reference count.
struct Shared<'a>(std::slice::Iter<'a, Messages>);

impl Source for Shared<'_> {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        Ok(self.0.next().cloned().map(Block::from))
    }
}
