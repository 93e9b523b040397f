//! Trades that may be written again, by rows made by hand.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int8Type;
use arrow_array::{ArrayAccessor as _, ArrayRef, DictionaryArray, RecordBatch, StringArray, UInt32Array};

use tradejoin_model::Column;

use super::*;

/// Trades of these keys, each the last up to its time.
fn recents(trades: &[(u32, i64)]) -> Recents {
    let mut recents = Recents::new([LookUp::Latest]);
    let ids = UInt32Array::from_iter_values(trades.iter().map(|trade| trade.0));
    let batch = RecordBatch::try_from_iter([("id", Arc::new(ids.clone()) as ArrayRef)]);
    let rows = Rows { trades: batch.expect("one column"), keys: vec![ids.into()], columns: vec![] };
    recents.push_chunk(rows);
    for (row, &(_, last_time)) in (0..).zip(trades) {
        recents.enter(row, Recent { last_time, ..Recent::new(u64::from(row) + 1, None, 0) });
    }
    recents
}

fn numbers(recents: &Recents, key: u32) -> Vec<u64> {
    let tickets = recents.of_key(0, &OwnedKey::Id(key), Validity::EVER).into_iter();
    tickets.filter_map(|ticket| recents.get(ticket)).map(|trade| trade.number).collect()
}

#[test]
fn trades_of_a_key_are_found_in_their_order_whoever_leaves() {
    let mut recents = recents(&[(7, 50), (8, 50), (7, 10), (7, 50), (8, 10)]);
    assert_eq!(numbers(&recents, 7), [1, 3, 4]);
    assert_eq!(recents.next_late(10), None, "up to their time they stay");
    while let Some(ticket) = recents.next_late(11) {
        recents.leave(ticket);
    }
    assert_eq!((numbers(&recents, 7), numbers(&recents, 8)), (vec![1, 4], vec![2]));
    recents.leave(0);
    assert_eq!(numbers(&recents, 7), [4]);
    while let Some((ticket, _)) = recents.first() {
        recents.leave(ticket);
    }
    assert_eq!(
        (recents.len(), recents.bytes(), recents.chunks.len(), recents.by_key[0].keys_len()),
        (0, 0, 0, 0)
    );
}

#[test]
fn one_that_stays_for_ever_does_not_keep_the_others() {
    let trades = [(7, 99)].into_iter().chain((0..20_000).map(|n| (n % 5, 1))).collect::<Vec<_>>();
    let mut recents = recents(&trades);
    for _ in 0..19_990 {
        let ticket = recents.next_late(2).expect("one of many");
        recents.leave(ticket);
    }
    assert_eq!(recents.trades.len(), 20_001);
    recents.shrink(&[]).expect("few rows");
    assert_eq!((recents.trades.len(), recents.by_time.len(), recents.by_key[0].keys_len()), (11, 11, 6));
    assert_eq!(numbers(&recents, 7), [1]);
    assert_eq!((0..5).map(|key| numbers(&recents, key).len()).sum::<usize>(), 10);
}

#[test]
fn those_of_several_batches_that_are_left_are_put_together() {
    let mut recents = recents(&[(7, 2), (8, 1)]);
    let ids = UInt32Array::from_iter_values((0..3_000).map(|row| 100 + row));
    let batch = RecordBatch::try_from_iter([("id", Arc::new(ids.clone()) as ArrayRef)]);
    recents.push_chunk(Rows { trades: batch.expect("one column"), keys: vec![ids.into()], columns: vec![] });
    for row in 0..3_000 {
        let last_time = if row >= 2_998 { 2 } else { 1 };
        recents.enter(row, Recent { last_time, ..Recent::new(3 + u64::from(row), None, 0) });
    }
    while let Some(ticket) = recents.next_late(2) {
        recents.leave(ticket);
    }
    recents.shrink(&[]).expect("few rows");
    assert_eq!((recents.len(), recents.rows, recents.chunks.len()), (3, 3, 1));
    for (key, number) in [(7, 1), (3_098, 3_001), (3_099, 3_002)] {
        let [ticket] = recents.of_key(0, &OwnedKey::Id(key), Validity::EVER)[..] else {
            panic!("one of key {key}")
        };
        let (_, row, rows) = recents.place(ticket).expect("it is recent");
        assert_eq!(rows.keys[0].get(row), Some(OwnedKey::Id(key)));
        assert_eq!(recents.get(ticket).map(|trade| trade.number), Some(number));
    }
}

#[test]
fn those_that_have_left_take_room_until_they_are_as_many_as_the_others() {
    let trades: Vec<_> = (0..2_048).map(|row| (row, if row % 2 == 0 { 1 } else { 2 })).collect();
    let mut recents = recents(&trades);
    for _ in 0..1_023 {
        let ticket = recents.next_late(2).expect("one of many");
        recents.leave(ticket);
    }
    recents.shrink(&[]).expect("few rows");
    assert_eq!(recents.rows, 2_048);
    let last = recents.next_late(2).expect("the last one");
    recents.leave(last);
    recents.shrink(&[]).expect("few rows");
    assert_eq!(recents.rows, 1_024);
}

#[test]
fn those_of_many_small_batches_are_put_together_with_what_they_have_by_then() {
    let mut recents = Recents::new([LookUp::Latest]);
    let now = |number: u32| Column::Integers(vec![i64::from(number)]);
    for number in 0..10_000_u32 {
        let ids = UInt32Array::from(vec![number % 100]);
        let batch = RecordBatch::try_from_iter([("id", Arc::new(ids.clone()) as ArrayRef)]);
        let columns = vec![now(number)];
        recents.push_chunk(Rows { trades: batch.expect("one column"), keys: vec![ids.into()], columns });
        // Some are passed over, and some leave before the others.
        if number % 7 == 0 {
            recents.pass_over();
        } else {
            let last_time = if number % 11 == 0 { 1 } else { 2 };
            recents.enter(0, Recent { last_time, ..Recent::new(number.into(), None, 0) });
        }
        if let Some(ticket) = number.checked_sub(500).and_then(|number| recents.of_number(number.into())) {
            recents.update(ticket, |_, row, rows| {
                rows.columns[0].set_all(std::iter::once((row, 0)), &Column::Integers(vec![-1]));
            });
        }
        if number == 5_000 {
            while let Some(ticket) = recents.next_late(2) {
                recents.leave(ticket);
            }
            // The oldest ones are let go of.
            while let Some((ticket, _)) = recents.first().filter(|(_, trade)| trade.number < 1_000) {
                recents.leave(ticket);
            }
        }
        recents.shrink(&[ColumnType::Integer]).expect("few rows");
    }
    assert!(recents.chunks.len() < 100, "{} chunks", recents.chunks.len());
    assert_eq!(
        recents.rows,
        recents.chunks.values().map(|entry| entry.rows.trades.num_rows()).sum::<usize>()
    );
    let bytes = recents.chunks.values().map(|entry| entry.rows.memory_bytes()).sum::<usize>();
    assert!(bytes < 40 * 10_000, "{bytes}");
    let stays = |number: &u32| {
        !number.is_multiple_of(7) && (*number > 5_000 || !number.is_multiple_of(11) && *number >= 1_000)
    };
    let all = (0..10_000).filter(stays);
    assert_eq!(recents.len(), all.clone().count() as u64);
    for key in 0..100 {
        let of_key: Vec<_> = all.clone().filter(|number| number % 100 == key).map(u64::from).collect();
        assert_eq!(numbers(&recents, key), of_key);
    }
    let kept = recents.kept();
    let others = Recents::of_kept(kept, [LookUp::Latest], &[ColumnType::Integer]).expect("of this table");
    for recents in [&recents, &others] {
        for number in all.clone() {
            let ticket = recents.of_number(number.into()).expect("it stays");
            let (_, row, rows) = recents.place(ticket).expect("it is recent");
            assert_eq!(rows.keys[0].get(row), Some(OwnedKey::Id(number % 100)));
            let value = if number < 9_500 { Column::Integers(vec![-1]) } else { now(number) };
            assert_eq!(rows.columns[0].compare(row, &value, 0), std::cmp::Ordering::Equal, "{number}");
        }
    }
    // All of them leave, and nothing is left.
    while let Some((ticket, _)) = recents.first() {
        recents.leave(ticket);
    }
    assert_eq!((recents.chunks.len(), recents.rows, recents.by_key[0].keys_len()), (0, 0, 0));
}

/// All of them may share one of many values, of which each that is made anew would have all.
#[test]
fn chunks_of_dictionaries_stay_as_they_are() {
    let mut recents = Recents::new([LookUp::Latest]);
    let text = |number: u32| format!("note {number}");
    for number in 0..1_000 {
        let notes: DictionaryArray<Int8Type> = [text(number).as_str()].into_iter().collect();
        let trades = RecordBatch::try_from_iter([("note", Arc::new(notes) as ArrayRef)]);
        let keys = vec![UInt32Array::from(vec![number]).into()];
        recents.push_chunk(Rows { trades: trades.expect("one column"), keys, columns: vec![] });
        recents.enter(0, Recent::new(number.into(), None, 0));
        recents.shrink(&[]).expect("nothing is to be done");
    }
    assert_eq!(recents.chunks.len(), 1_000);
    for number in 0..1_000 {
        let (_, row, rows) = recents.place(number.into()).expect("it is recent");
        let notes = rows.trades.column(0).as_dictionary::<Int8Type>().downcast_dict::<StringArray>();
        assert_eq!(notes.expect("texts").value(row), text(number));
        assert_eq!(rows.keys[0].get(row), Some(OwnedKey::Id(number)));
    }
}
