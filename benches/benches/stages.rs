//! One stage at a time, in one thread, by shard count: `router`, `worker` (one
//! shard of so many) and `merger`.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tradejoin_benches::Feed;
use tradejoin_merger::{Merged, Merger};
use tradejoin_model::{
    Answer, Batch, BatchIndex, Messages, Position, Routed, ShardCount, ShardIndex, TableSpec,
};
use tradejoin_router::Router;
use tradejoin_worker::Worker;

const BLOCK_LEN: usize = 8_192;
const BLOCKS: u64 = 24;
const MESSAGES: u64 = BLOCKS * BLOCK_LEN as u64;
const SHARDS: [u32; 4] = [1, 2, 4, 8];

/// Batches, and the same batches routed.
struct Input {
    tables: Vec<TableSpec>,
    shards: ShardCount,
    router: Router,
    batches: Vec<Batch>,
    routed: Vec<Arc<Routed>>,
}

impl Input {
    fn new(feed: &Feed, shards: ShardCount) -> Self {
        let tables = vec![TableSpec::instruments()];
        let router = Router::new(shards, tables.clone());
        let number = |(index, block): (u64, &Messages)| Batch {
            index: BatchIndex(index),
            messages: Arc::new(block.clone()),
        };
        let batches: Vec<Batch> = (0..).zip(&feed.blocks).map(number).collect();
        let route = |batch: &Batch| Arc::new(router.route(batch.clone(), &[None], ShardIndex(0)));
        let routed = batches.iter().map(route).collect();
        Self { tables, shards, router, batches, routed }
    }

    fn workers(&self) -> Vec<Worker> {
        self.shards.shards().map(|shard| Worker::new(shard, &self.tables)).collect()
    }

    /// The answers of all shards to each batch.
    fn answers(&self) -> Vec<Vec<Answer>> {
        let mut workers = self.workers();
        let answers = |routed: &Arc<Routed>| {
            let step = |worker: &mut Worker| worker.step(routed, Answer::default());
            workers.iter_mut().map(step).filter(|answer| routed.is_answered_by(answer.shard)).collect()
        };
        self.routed.iter().map(answers).collect()
    }

    /// Merges all answers, and gives how many trades were enriched.
    fn merge(&self, answers: Vec<Vec<Answer>>) -> u64 {
        let mut merger = Merger::new(&self.tables);
        let mut enriched = 0;
        for (routed, answers) in self.routed.iter().zip(answers) {
            let merged = merger.merge(routed, Position(0), 0, answers);
            let Merged { enriched: batch, account, .. } = merged.expect("no miss fails");
            merger.recycle(black_box(batch).columns);
            while merger.take_spent().is_some() {}
            enriched += account.enriched;
        }
        enriched
    }
}

fn stages(c: &mut Criterion) {
    let feed = Feed::article(MESSAGES, BLOCK_LEN);
    let inputs: Vec<_> =
        SHARDS.into_iter().filter_map(ShardCount::new).map(|n| Input::new(&feed, n)).collect();
    for input in &inputs {
        assert_eq!(input.merge(input.answers()), feed.expected.enriched, "the stages give the right result");
    }

    let mut group = c.benchmark_group("router");
    group.throughput(Throughput::Elements(MESSAGES));
    for input in &inputs {
        group.bench_with_input(BenchmarkId::from_parameter(input.shards.get()), input, |b, input| {
            b.iter(|| {
                for batch in &input.batches {
                    black_box(input.router.route(batch.clone(), &[None], ShardIndex(0)));
                }
            });
        });
    }
    group.finish();

    // One shard's work: its throughput is that of the whole stream.
    let mut group = c.benchmark_group("worker");
    group.throughput(Throughput::Elements(MESSAGES));
    for input in &inputs {
        group.bench_with_input(BenchmarkId::from_parameter(input.shards.get()), input, |b, input| {
            b.iter_batched_ref(
                || (input.workers().swap_remove(0), Answer::default()),
                |(worker, answer)| {
                    for routed in &input.routed {
                        *answer = worker.step(routed, std::mem::take(answer));
                    }
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();

    let mut group = c.benchmark_group("merger");
    group.throughput(Throughput::Elements(MESSAGES));
    for input in &inputs {
        group.bench_with_input(BenchmarkId::from_parameter(input.shards.get()), input, |b, input| {
            b.iter_batched(|| input.answers(), |answers| input.merge(answers), BatchSize::LargeInput);
        });
    }
    group.finish();
}

criterion_group!(benches, stages);
criterion_main!(benches);
