//! Many batches of which one trade each begins to wait, as a slow live stream has them.

use tradejoin_model::HeldTrade;

use super::*;

const BATCHES: u32 = 10_000;
/// Chunks of all of them: above those of the tiers and of the last batches, a few full ones.
const CHUNKS_MAX: usize = 100;

/// Trades of these ids, each in a batch of its own.
fn one_by_one(ids: impl IntoIterator<Item = u32>) -> Holds {
    let mut holds = holds(u64::MAX, HoldConfig::default());
    for (trades_before, id) in (0..).zip(ids) {
        assert_eq!(pass(&mut holds, batch(trades_before, &[id], &[])).0, []);
    }
    holds
}

fn memory_bytes(held: &Held) -> usize {
    held.chunks.iter().map(|rows| rows.trades.get_array_memory_size() + rows.columns[0].memory_bytes()).sum()
}

#[test]
fn what_waits_of_many_small_batches_takes_the_room_of_one_large_batch() {
    let ids = || (0..BATCHES).map(|number| number % 3);
    let mut small = one_by_one(ids());
    let held = small.held(Instant::now());
    assert!(held.chunks.len() <= CHUNKS_MAX, "{} chunks", held.chunks.len());
    let mut large = holds(u64::MAX, HoldConfig::default());
    assert_eq!(pass(&mut large, batch(0, &ids().collect::<Vec<_>>(), &[])).0, []);
    let bytes = [&held, &large.held(Instant::now())].map(memory_bytes);
    assert!(bytes[0] < 2 * bytes[1], "{bytes:?}");
    assert_eq!(small.bytes(), large.bytes());
    let mut gone_on = holds(u64::MAX, HoldConfig::default());
    gone_on.go_on_from(held, BATCHES.into(), Instant::now()).expect("of this table");
    for holds in [&mut small, &mut gone_on] {
        for key in [1, 0, 2] {
            let expected = ids().filter(|&id| id == key).count();
            let (found, account) = pass(holds, batch(BATCHES.into(), &[], &[key]));
            assert_eq!(found, vec![(key, i64::from(key)); expected]);
            assert_eq!(account.hold.found, expected as u64);
        }
        assert_eq!((holds.bytes(), holds.held(Instant::now()).chunks.len()), (0, 0));
    }
}

#[test]
fn of_many_small_batches_each_trade_keeps_its_place_whoever_leaves_among_them() {
    // Every other trade leaves 100 batches behind its own, the others at the end.
    let mut holds = holds(u64::MAX, HoldConfig::default());
    for number in 0..BATCHES {
        let appear: Vec<_> = number.checked_sub(100).filter(|number| number % 2 == 1).into_iter().collect();
        let found: Vec<_> = appear.iter().map(|&id| (id, i64::from(id))).collect();
        assert_eq!(pass(&mut holds, batch(number.into(), &[number], &appear)).0, found);
    }
    assert!(holds.held(Instant::now()).chunks.len() <= CHUNKS_MAX);
    let mut left = Vec::new();
    while let Some((passed, _)) = holds.finish().expect("few rows") {
        left.extend(written(passed));
    }
    let expected = (0..BATCHES).filter(|number| number % 2 == 0 || *number >= BATCHES - 100);
    assert!(left.into_iter().eq(expected.map(|id| (id, INTEGER_NULL))));
}

#[test]
fn chunks_that_were_kept_by_small_batches_are_put_together_with_the_next_one() {
    let now = Instant::now();
    let one = one_by_one([7]).held(now);
    let chunks = vec![one.chunks[0].clone(); BATCHES as usize];
    let trade = |chunk: u32| HeldTrade { chunk, number: u64::from(chunk) + 1, ..one.trades[0] };
    let held = Held { chunks, trades: (0..BATCHES).map(trade).collect(), ..Held::default() };
    let mut holds = holds(u64::MAX, HoldConfig::default());
    holds.go_on_from(held, BATCHES.into(), now).expect("of this table");
    assert_eq!(pass(&mut holds, batch(BATCHES.into(), &[8], &[])).0, []);
    assert!(holds.held(now).chunks.len() <= CHUNKS_MAX);
    let (found, _) = pass(&mut holds, batch(u64::from(BATCHES) + 1, &[], &[7]));
    assert_eq!(found, [(7, 7); BATCHES as usize]);
}

#[test]
fn rows_that_are_dropped_at_their_limit_take_no_more_room_than_those_that_wait() {
    // By batches of a thousand, the first of each waits for ever, the others for ten more.
    let hold = Hold { limit: HoldLimit::Rows(10), then: Expired::Drop };
    let tables = [spec(u64::MAX), TableSpec { on_miss: MissPolicy::Hold(hold), ..spec(0) }];
    let mut holds = Holds::new(&tables, HoldConfig::default()).expect("their misses wait");
    for number in 0..20 {
        let mut merged = in_second(batch(1_000 * number, &[7; 1_000], &[]));
        merged.waiting[0].1 = 0b01;
        pass(&mut holds, merged);
    }
    let held = holds.held(Instant::now());
    let rows: usize = held.chunks.iter().map(|rows| rows.trades.num_rows()).sum();
    assert_eq!(held.trades.len(), 20 + 10);
    assert!(rows <= 1_000 + 2 * 30, "{rows} rows");
}
