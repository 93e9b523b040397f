//! Whole runs fed from memory, by shard count: `pipeline/{1,2,4,8}` with
//! partitioned instruments, `broadcast/…` with broadcast ones, and the naive
//! program beside them.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tradejoin_baseline::{Tables, maps, naive};
use tradejoin_benches::Feed;
use tradejoin_model::{Distribution, ShardCount};

const MESSAGES: u64 = 1_000_000;
const BLOCK_LEN: usize = 8_192;

fn pipeline(c: &mut Criterion) {
    let feed = Feed::article(MESSAGES, BLOCK_LEN);
    for (name, distribution) in
        [("pipeline", Distribution::Partitioned), ("broadcast", Distribution::Broadcast)]
    {
        let mut group = c.benchmark_group(name);
        group
            .throughput(Throughput::Elements(MESSAGES))
            .sample_size(20)
            .measurement_time(Duration::from_secs(4));
        group.bench_function("naive", |b| {
            b.iter(|| naive::<maps::Std>(feed.messages.iter().copied(), Tables::Instruments));
        });
        for shards in [1, 2, 4, 8].into_iter().filter_map(ShardCount::new) {
            // Each run checks its result: a run that is timed is a right one.
            group.bench_with_input(BenchmarkId::from_parameter(shards.get()), &shards, |b, &shards| {
                b.iter(|| feed.run(shards, distribution));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
