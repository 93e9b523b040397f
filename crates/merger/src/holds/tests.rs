//! Many trades that wait, by batches made by hand: whole runs have few.

use std::time::Duration;

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use tradejoin_model::{
    BatchIndex, ChangeKind, ChangeLane, Column, Expired, Held, Hold, INTEGER_NULL, Key, MissPolicy,
    OutputColumn, Position, Refused,
};

use super::*;
use crate::{CorrectionConfig, Passage};

mod small_batches;

/// A table that adds an integer, for whose keys trades wait for so many others.
fn spec(rows: u64) -> TableSpec {
    let hold = Hold { limit: HoldLimit::Rows(rows), then: Expired::Keep };
    TableSpec {
        outputs: vec![OutputColumn::field("value", 0, ColumnType::Integer)],
        on_miss: MissPolicy::Hold(hold),
        ..TableSpec::new("table", "id")
    }
}

/// The same for a time of the clock.
fn spec_by_clock(time: Duration) -> TableSpec {
    let hold = Hold { limit: HoldLimit::Processing(time), then: Expired::Drop };
    TableSpec { on_miss: MissPolicy::Hold(hold), ..spec(0) }
}

/// A batch behind so many trades, of trades with these ids, all of which miss; before its
/// first one these keys appear.
fn batch(trades_before: u64, ids: &[u32], appear: &[u32]) -> Merged {
    let lane = ChangeLane {
        at_rows: vec![0; appear.len()],
        keys: appear.iter().map(|&key| Key(key)).collect::<Vec<_>>().into(),
        kinds: vec![ChangeKind::Upsert; appear.len()],
        fields: vec![Column::Integers(appear.iter().map(|&key| i64::from(key)).collect())],
        ..ChangeLane::default()
    };
    let ids = UInt32Array::from(ids.to_vec());
    let len = ids.len();
    let trades = RecordBatch::try_from_iter([("id", Arc::new(ids.clone()) as ArrayRef)]);
    let messages = Messages::new(trades.expect("one column"), vec![ids.into()], vec![lane]);
    let enriched = Enriched {
        index: BatchIndex::default(),
        first_position: Position::default(),
        trades_before,
        numbers: None,
        messages: Arc::new(messages.expect("they fit together")),
        columns: vec![Column::Integers(vec![INTEGER_NULL; len])],
        kept: Some(vec![false; len]),
        rows_kept: 0,
        dead_letters: Vec::new(),
    };
    let appeared = |change| Appeared { change, until: INTEGER_NULL };
    Merged {
        enriched,
        account: Ledger::new(1),
        missed: Vec::new(),
        trades_before,
        waiting: (0..len as u32).map(|row| (row, 1)).collect(),
        lacking: Vec::new(),
        appeared: vec![(0..appear.len() as u32).map(appeared).collect()],
        effects: Vec::new(),
    }
}

/// The same where it is the second of two tables that they miss in.
fn in_second(merged: Merged) -> Merged {
    let Enriched { messages, columns, .. } = &merged.enriched;
    let (keys, lane) = (messages.keys[0].clone(), messages.lanes[0].clone());
    let lanes = vec![ChangeLane::default(), lane];
    let messages = Messages::new(messages.trades.clone(), vec![keys; 2], lanes).expect("they fit together");
    let (messages, columns) = (Arc::new(messages), vec![columns[0].clone(); 2]);
    Merged {
        enriched: Enriched { messages, columns, ..merged.enriched },
        account: Ledger::new(2),
        waiting: merged.waiting.into_iter().map(|(row, _)| (row, 0b10)).collect(),
        appeared: [vec![Vec::new()], merged.appeared].concat(),
        ..merged
    }
}

fn holds(rows: u64, config: HoldConfig) -> Holds {
    Holds::new(&[spec(rows)], config).expect("its misses wait")
}

/// What goes on with a batch: the id and the added value of each trade.
fn pass(holds: &mut Holds, merged: Merged) -> (Vec<(u32, i64)>, Ledger) {
    let (passed, account) = holds.pass(merged, Instant::now()).expect("few rows");
    (written(passed), account)
}

fn written(passed: Passed) -> Vec<(u32, i64)> {
    let enriched = passed.assemble().expect("few rows");
    let Some(Column::Integers(values)) = enriched.columns.last() else { panic!("integers") };
    let ids = enriched.messages.keys[0].ids();
    enriched.rows().map(|row| (ids.value(row), values[row])).collect()
}

#[test]
fn all_of_many_that_wait_for_one_key_leave_with_it() {
    let ids: Vec<_> = (0..3_000).map(|number| if number % 10 == 0 { 8 } else { 7 }).collect();
    for (tables, in_table) in [(1, (|merged| merged) as fn(Merged) -> Merged), (2, in_second)] {
        let tables = vec![spec(u64::MAX); tables];
        let mut holds = Holds::new(&tables, HoldConfig::default()).expect("their misses wait");
        assert_eq!(pass(&mut holds, in_table(batch(0, &ids, &[]))).0, []);
        let (found, account) = pass(&mut holds, in_table(batch(3_000, &[], &[7])));
        assert_eq!(found, [(7, 7); 2_700]);
        assert_eq!((account.hold.found, account.enriched), (2_700, 2_700));
        let (found, account) = pass(&mut holds, in_table(batch(3_000, &[], &[8, 7])));
        assert_eq!((found.len(), account.hold.found), (300, 300));
        assert_eq!(holds.bytes(), 0);
    }
}

#[test]
fn what_waits_at_the_end_leaves_in_batches_that_are_bounded() {
    let mut holds = holds(u64::MAX, HoldConfig::default());
    let len = Holds::LAST_ROWS + 5;
    let ids: Vec<_> = (0..len as u32).collect();
    assert_eq!(pass(&mut holds, batch(0, &ids, &[])).0, []);
    let mut all = Vec::new();
    for expected in [Holds::LAST_ROWS, 5] {
        let (passed, account) = holds.finish().expect("few rows").expect("more wait");
        let last = written(passed);
        assert_eq!((last.len(), account.hold.expired as usize), (expected, expected));
        assert_eq!(account.unmatched_kept as usize, expected);
        all.extend(last);
    }
    assert!(holds.finish().expect("few rows").is_none());
    assert!(all.into_iter().eq(ids.into_iter().map(|id| (id, INTEGER_NULL))));
}

#[test]
fn over_a_limit_of_rows_or_bytes_the_first_leave_early() {
    let bytes = 192 + 24 + 4;
    let by_rows = HoldConfig { rows_max: 3, ..HoldConfig::default() };
    let of_bytes = |bytes_max| HoldConfig { bytes_max, ..HoldConfig::default() };
    for config in [by_rows, of_bytes(3 * bytes), of_bytes(4 * bytes - 1)] {
        let mut holds = holds(u64::MAX, config);
        let (early, account) = pass(&mut holds, batch(0, &[1, 2, 3], &[]));
        assert_eq!((early, account.hold.early, holds.bytes()), (vec![], 0, 3 * bytes));
        let (early, account) = pass(&mut holds, batch(3, &[4, 5], &[]));
        assert_eq!((early, account.hold.early), (vec![(1, INTEGER_NULL), (2, INTEGER_NULL)], 2));
        assert_eq!(holds.bytes(), 3 * bytes);
        assert_eq!(holds.peak(), HoldPeak { rows: 3, bytes: 3 * bytes });
    }
}

#[test]
fn a_trade_leaves_behind_the_one_that_is_its_limit() {
    let mut holds = holds(2, HoldConfig::default());
    let nothing = |ids: &[u32]| ids.iter().map(|&id| (id, INTEGER_NULL)).collect::<Vec<_>>();
    assert_eq!(pass(&mut holds, batch(0, &[1, 2], &[])).0, []);
    let (expired, account) = pass(&mut holds, batch(2, &[3, 4, 5], &[]));
    assert_eq!((expired, account.hold.expired), (nothing(&[1, 2, 3]), 3));
    // The key of the last one comes in time.
    let (found, account) = pass(&mut holds, batch(5, &[], &[5]));
    assert_eq!((found, account.hold.found), (vec![(5, 5)], 1));
    assert_eq!(pass(&mut holds, batch(5, &[6], &[])).0, nothing(&[4]));
    // Of those that have left nothing is kept.
    assert_eq!((holds.by_key[0].lens().len(), holds.by_number.len()), (1, 1));
}

#[test]
fn a_trade_leaves_with_the_first_batch_at_the_moment_that_is_its_limit() {
    let time = Duration::from_secs(10);
    let tables = [spec_by_clock(time)];
    let mut holds = Holds::new(&tables, HoldConfig::default()).expect("its misses wait");
    let begin = Instant::now();
    let later = |after: Duration| begin.checked_add(after).expect("the clock goes on");
    let mut pass_at = |merged: Merged, after: Duration| {
        let (passed, account) = holds.pass(merged, later(after)).expect("few rows");
        (written(passed), account.hold.expired, account.unmatched_dropped)
    };
    let second = Duration::from_secs(1);
    assert_eq!(pass_at(batch(0, &[1, 2], &[]), Duration::ZERO), (vec![], 0, 0));
    assert_eq!(pass_at(batch(2, &[3], &[]), second), (vec![], 0, 0));
    assert_eq!(pass_at(batch(3, &[], &[1]), time - second), (vec![(1, 1)], 0, 0));
    assert_eq!(pass_at(batch(3, &[], &[2]), time), (vec![], 1, 1), "its key comes too late");
    assert_eq!(pass_at(batch(3, &[], &[3]), time), (vec![(3, 3)], 0, 0));
}

#[test]
fn trades_that_were_kept_wait_again_if_they_are_of_these_tables() {
    let now = Instant::now();
    let mut before = holds(u64::MAX, HoldConfig::default());
    assert_eq!(pass(&mut before, batch(0, &[1, 2], &[])).0, []);
    let kept = before.held(now);
    assert_eq!(kept.latest_time, i64::MIN, "no trade has had a time");
    type Edit<'a> = &'a dyn Fn(&mut Held);
    let edits: [Edit<'_>; 8] = [
        &|held| held.chunks[0].keys.clear(),
        &|held| held.chunks[0].keys = vec![UInt32Array::from(vec![1]).into()],
        &|held| held.chunks[0].columns.clear(),
        &|held| held.chunks[0].columns = vec![Column::new(ColumnType::Text)],
        &|held| held.chunks[0].columns = vec![Column::Integers(vec![0])],
        &|held| held.trades[1].waits_for = 2,
        &|held| held.trades[1].row = 2,
        &|held| held.trades[1] = held.trades[0],
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let mut held = kept.clone();
        edit(&mut held);
        let gone_on = holds(u64::MAX, HoldConfig::default()).go_on_from(held, 2, now);
        assert_eq!(gone_on, Err(HeldError), "edit {number}");
    }
    // Nothing waits in a run that only corrects.
    let corrects = CorrectionConfig::new(None, None, None);
    let table = TableSpec { on_miss: MissPolicy::Keep, ..spec(0) };
    let mut passage = Passage::new(&[table], HoldConfig::default(), Some(corrects)).expect("it corrects");
    let held = Held { written: passage.held(now).written, ..kept.clone() };
    assert_eq!(passage.go_on_from(held, 2, now), Err(HeldError));
    let mut after = holds(u64::MAX, HoldConfig::default());
    after.go_on_from(kept, 2, now).expect("they are");
    assert_eq!((after.bytes(), after.peak()), (before.bytes(), before.peak()));
    assert_eq!(after.held(now).latest_time, i64::MIN);
    let (found, account) = pass(&mut after, batch(2, &[], &[2]));
    assert_eq!((found, account.hold.found), (vec![(2, 2)], 1));
}

#[test]
fn a_trade_is_copied_where_it_begins_to_wait_or_goes_on_among_others_that_have() {
    let mut holds = holds(u64::MAX, HoldConfig::default());
    let mut copied = |merged: Merged| {
        let (passed, _) = holds.pass(merged, Instant::now()).expect("few rows");
        passed.trades_copied()
    };
    // Only the first of them waits.
    let others_go_on = |mut merged: Merged| {
        merged.waiting.truncate(1);
        (merged.enriched.kept, merged.enriched.rows_kept) = (Some(vec![false, true, true]), 2);
        merged
    };
    assert_eq!(copied(batch(0, &[1, 2], &[])), 2);
    assert_eq!(copied(others_go_on(batch(2, &[3, 4, 5], &[]))), 1);
    assert_eq!(copied(others_go_on(batch(5, &[6, 7, 8], &[1]))), 3);
    assert_eq!(copied(batch(8, &[], &[2])), 0, "it was when it began to wait");
}

#[test]
fn a_record_that_was_refused_stays_behind_the_trade_that_it_followed() {
    let mut holds = holds(2, HoldConfig::default());
    assert_eq!(pass(&mut holds, batch(0, &[1], &[])).0, []);
    // Two that go on, in front of, between and behind which records were refused. The one that
    // waits leaves behind the second.
    let mut merged = batch(1, &[2, 3], &[]);
    merged.waiting.clear();
    (merged.enriched.kept, merged.enriched.rows_kept) = (None, 2);
    let refused = |at_row| Refused { at_row, source: "trades".into(), place: 1, letter: Box::default() };
    let messages =
        Messages { refused: vec![refused(0), refused(1), refused(2)], ..(*merged.enriched.messages).clone() };
    merged.enriched.messages = Arc::new(messages);
    let (passed, _) = holds.pass(merged, Instant::now()).expect("few rows");
    let enriched = passed.assemble().expect("few rows");
    let ids = enriched.messages.keys[0].ids().values().to_vec();
    let rows: Vec<_> = enriched.messages.refused.iter().map(|refused| refused.at_row).collect();
    assert_eq!((ids, rows), (vec![2, 3, 1], vec![0, 1, 3]));
    assert_eq!(enriched.numbers, Some(vec![2, 3, 1]), "the numbers of trades go with them");
}

#[test]
fn a_trade_is_counted_with_the_columns_of_all_tables() {
    let tables = vec![spec(u64::MAX); 2];
    let mut holds = Holds::new(&tables, HoldConfig::default()).expect("its misses wait");
    assert_eq!(pass(&mut holds, in_second(batch(0, &[1], &[]))).0, []);
    assert_eq!(holds.bytes(), 192 + 2 * 24 + 4);
}

#[test]
fn behind_nobody_no_trade_stands_in_line() {
    let config = HoldConfig { in_line: true, ..HoldConfig::default() };
    let mut holds = holds(u64::MAX, config);
    let found = |mut merged: Merged| {
        let rows = merged.waiting.drain(..).len();
        (merged.enriched.kept, merged.enriched.rows_kept) = (None, rows);
        merged
    };
    let mut copied = |merged: Merged| {
        let (passed, _) = holds.pass(merged, Instant::now()).expect("few rows");
        (passed.trades_copied(), written(passed).len())
    };
    assert_eq!(copied(found(batch(0, &[1, 2], &[]))), (0, 2));
    assert_eq!(copied(batch(2, &[3], &[])), (1, 0));
    assert_eq!(copied(found(batch(3, &[4, 5], &[]))), (2, 0), "one waits");
}

#[test]
fn of_those_that_have_left_behind_others_that_wait_little_is_kept() {
    // The first ones wait for their key alone, the others until two more have been read, too.
    let tables = [spec(u64::MAX), spec(2)];
    let mut holds = Holds::new(&tables, HoldConfig::default()).expect("its misses wait");
    let in_both = |merged: Merged, waits_for: u64| {
        let mut merged = in_second(merged);
        merged.waiting.iter_mut().for_each(|waiting| waiting.1 = waits_for);
        merged
    };
    pass(&mut holds, in_both(batch(0, &[7; 1_500], &[]), 0b01));
    for number in 1_500..6_000 {
        pass(&mut holds, in_both(batch(number, &[7], &[]), 0b11));
    }
    let queues = holds.by_key[0].lens();
    assert!(queues.len() == 1 && queues[0] <= 2_048, "{queues:?}");
}

#[test]
fn it_is_told_which_trades_do_not_go_on() {
    let limit = HoldLimit::Rows(1);
    for then in [Expired::Keep, Expired::Drop, Expired::DeadLetter] {
        let table = TableSpec { on_miss: MissPolicy::Hold(Hold { limit, then }), ..spec(1) };
        let mut holds = Holds::new(&[table], HoldConfig::default()).expect("its misses wait").telling(true);
        let mut told = |merged: Merged| {
            let (mut passed, _) = holds.pass(merged, Instant::now()).expect("few rows");
            passed.take_told()
        };
        let begun = told(batch(0, &[1], &[])).begun.map(|(rows, _)| rows);
        assert_eq!(begun, Some(vec![0]));
        let ended = told(batch(1, &[2], &[])).ended;
        assert_eq!(ended, if then == Expired::Keep { vec![] } else { vec![1] }, "{then:?}");
    }
}
