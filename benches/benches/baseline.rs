//! The programs that the engine is measured against, fed from memory.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tradejoin_baseline::{Tables, fused, maps, naive, threads_channel, threads_ring};
use tradejoin_benches::Feed;

const MESSAGES: u64 = 200_000;

fn baseline(c: &mut Criterion) {
    let feed = Feed::article(MESSAGES, 8_192);
    let messages = || feed.messages.iter().copied();
    let tables = Tables::Instruments;
    assert_eq!(naive::<maps::Hashbrown>(messages(), tables), feed.expected);
    assert_eq!(naive::<maps::Dash>(messages(), tables), feed.expected);
    assert_eq!(threads_channel(messages(), tables), feed.expected);
    assert_eq!(threads_ring(messages(), tables), feed.expected);
    let blocks = || feed.blocks.iter().cloned();
    assert_eq!(fused(blocks()), feed.expected);

    let mut group = c.benchmark_group("baseline");
    group.throughput(Throughput::Elements(MESSAGES)).sample_size(20);
    group.bench_function("naive-std", |b| b.iter(|| naive::<maps::Std>(messages(), tables)));
    group.bench_function("naive-hashbrown", |b| b.iter(|| naive::<maps::Hashbrown>(messages(), tables)));
    group.bench_function("naive-dashmap", |b| b.iter(|| naive::<maps::Dash>(messages(), tables)));
    group.bench_function("threads-channel", |b| b.iter(|| threads_channel(messages(), tables)));
    group.bench_function("threads-ring", |b| b.iter(|| threads_ring(messages(), tables)));
    group.bench_function("fused", |b| b.iter(|| fused(blocks())));
    group.finish();
}

criterion_group!(benches, baseline);
criterion_main!(benches);
