//! The loops that the threads of a run go round.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tradejoin_flow::{Receiver, Sender, Sink, Source, TableSource};
use tradejoin_merger::Merger;
use tradejoin_model::{Answer, Messages, Routed, Sequencer, ShardIndex};
use tradejoin_router::Router;
use tradejoin_worker::Worker;

use crate::config::{EngineConfig, Stop};
use crate::error::EngineError;
use crate::load::{Generations, Loaded, load};
use crate::report::{Publisher, ShardReport, thread_cpu};

/// Where a shard gets its batches from, and where the router puts them.
pub(crate) type Inbox = Receiver<Arc<Routed>>;
pub(crate) type Outbox = Sender<Arc<Routed>>;

/// An answer on its way to the merger, with the batch that it is for.
pub(crate) type Answered = (Arc<Routed>, Answer);

/// What the reading side knows at its end.
#[derive(Debug)]
pub(crate) struct Ingested {
    pub(crate) loaded: Vec<Loaded>,
    /// Whether it ended before its source did.
    pub(crate) interrupted: bool,
}

/// Numbers messages, routes them and hands them to every shard.
struct Ingest<'a> {
    router: Router,
    generations: &'a Generations,
    sequencer: Sequencer,
    shards: Vec<Outbox>,
}

impl Ingest<'_> {
    /// Whether the shards are still there to take more.
    fn push(&mut self, messages: Messages) -> bool {
        let batch = self.sequencer.number(Arc::new(messages));
        let routed = Arc::new(self.router.route(batch, &self.generations.pin()));
        self.shards.iter().all(|shard| shard.send(Arc::clone(&routed)).is_ok())
    }
}

/// The reading side: tables first, then the source to its end.
pub(crate) fn ingest(
    config: &EngineConfig,
    tables: Vec<Option<Box<dyn TableSource + '_>>>,
    mut source: impl Source,
    shards: Vec<Outbox>,
    stop: &Stop,
) -> Result<Ingested, EngineError> {
    let distributions = config.tables.iter().map(|table| table.distribution).collect();
    let generations = Generations::new(config.tables.len());
    let mut ingest = Ingest {
        router: Router::new(config.shards, distributions),
        generations: &generations,
        sequencer: Sequencer::default(),
        shards,
    };
    let loaded = load(&config.tables, tables, &generations, stop, |messages| ingest.push(messages))?;
    while !stop.is_requested() {
        let Some(messages) = source.next().map_err(EngineError::Source)? else {
            // A source that watches the flag ends when it is set.
            return Ok(Ingested { loaded, interrupted: stop.is_requested() });
        };
        if !ingest.push(messages) {
            break;
        }
    }
    Ok(Ingested { loaded, interrupted: true })
}

/// A shard: answers each batch in turn until there are no more.
pub(crate) fn work(
    shard: ShardIndex,
    config: &EngineConfig,
    inbox: Inbox,
    outbox: Sender<Answered>,
    returns: Receiver<Answer>,
) -> ShardReport {
    let mut worker = Worker::new(shard, &config.tables);
    let mut spent = None;
    while let Some(routed) = inbox.recv() {
        let buffers = spent.take().or_else(|| returns.take()).unwrap_or_default();
        let answer = worker.step(&routed, buffers);
        if !routed.is_answered_by(shard) {
            spent = Some(answer);
        } else if outbox.send((routed, answer)).is_err() {
            break;
        }
    }
    let counts = worker.counts();
    ShardReport {
        shard,
        looked_up: counts.looked_up,
        changes: counts.changes,
        cpu: thread_cpu(),
        table_bytes: worker.memory_bytes() as u64,
    }
}

/// How long a run that was asked to stop may go on writing what it has read.
/// What is left then is dropped: deep links must not delay the end.
const DRAIN: Duration = Duration::from_millis(400);

/// The writing side: merges answers and writes what is complete.
pub(crate) fn write(
    merger: &mut Merger,
    answers: Receiver<Answered>,
    returns: &[Sender<Answer>],
    sink: &mut impl Sink,
    publisher: &mut Publisher,
    stop: &Stop,
) -> Result<(), EngineError> {
    let mut stopping: Option<Instant> = None;
    while let Some((routed, answer)) = answers.recv() {
        if stop.is_requested() && stopping.get_or_insert_with(Instant::now).elapsed() > DRAIN {
            // With the link gone, the others end, too.
            break;
        }
        merger.push(routed, answer);
        while let Some(enriched) = merger.pop() {
            if enriched.rows_kept > 0 {
                sink.write(&enriched).map_err(EngineError::Sink)?;
            }
            publisher.offer(merger.ledger());
            merger.recycle(enriched.columns);
            while let Some(spent) = merger.pop_spent() {
                // Dropped if the shard has enough or is gone.
                let _ = returns[spent.shard.as_usize()].offer(spent);
            }
        }
    }
    Ok(())
}
