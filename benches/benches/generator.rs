//! The generator: `generator/messages` row by row, `generator/blocks` as
//! columns, `generator/parallel` as columns on all cores.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tradejoin_benches::Feed;

const BLOCK_LEN: usize = 8_192;
const BLOCKS: u64 = 16;
const MESSAGES: u64 = BLOCKS * BLOCK_LEN as u64;

fn generator(c: &mut Criterion) {
    let feed = Feed::article(MESSAGES, BLOCK_LEN);
    let stream = &feed.stream;
    let trades: usize = stream.blocks(0..BLOCKS, BLOCK_LEN).iter().map(|block| block.trades.num_rows()).sum();
    assert_eq!(trades as u64, feed.expected.enriched + feed.expected.unmatched);

    let mut group = c.benchmark_group("generator");
    group.throughput(Throughput::Elements(MESSAGES));
    group.bench_function("messages", |b| {
        b.iter(|| {
            (0..MESSAGES).for_each(|position| {
                black_box(stream.message(position));
            });
        });
    });
    group.bench_function("blocks", |b| {
        b.iter(|| (0..BLOCKS).map(|index| stream.block(index, BLOCK_LEN).len()).sum::<u64>());
    });
    group.bench_function("parallel", |b| b.iter(|| stream.blocks(0..BLOCKS, BLOCK_LEN).len()));
    group.finish();
}

criterion_group!(benches, generator);
criterion_main!(benches);
