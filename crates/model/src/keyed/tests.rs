//! Versions, slots and generations, key by key.

use super::*;
use crate::column::ColumnType;

fn lane(rows: &[(u32, ChangeKind, &str)]) -> ChangeLane {
    let mut names = TextColumn::default();
    rows.iter().for_each(|(_, _, name)| names.push(Some(name)));
    ChangeLane {
        at_rows: vec![0; rows.len()],
        keys: rows.iter().map(|row| Key(row.0)).collect::<Vec<_>>().into(),
        kinds: rows.iter().map(|row| row.1).collect(),
        fields: vec![Column::Text(names)],
        ..ChangeLane::default()
    }
}

fn outputs() -> [OutputColumn; 1] {
    [OutputColumn::field("user", 0, ColumnType::Text)]
}

fn table() -> KeyedTable {
    KeyedTable::new(&outputs())
}

fn value(table: &KeyedTable, slot: Slot) -> Option<String> {
    let Column::Text(texts) = &table.columns()[0] else { unreachable!("a text column") };
    texts.get(slot as usize).map(|text| String::from_utf8_lossy(text).into_owned())
}

fn apply(table: &mut KeyedTable, lane: &ChangeLane, below: Option<&KeyedTable>) -> u64 {
    table.apply(&outputs(), lane, 0..lane.len() as u32, below, None)
}

/// What each row of a batch sees of a key.
fn seen(table: &KeyedTable, key: u32, rows: u32, below: Option<&KeyedTable>) -> Vec<Option<String>> {
    let (mut found, mut missed) = (Found::default(), Vec::new());
    let keys = vec![Some(key); rows as usize];
    table.find(keys.into_iter(), |number| number as u32, below, &mut found, &mut missed);
    let values: Vec<_> = (0..)
        .zip(&found.slots)
        .map(|(row, &slot)| match (slot, below) {
            (MISS, _) => {
                assert!(missed.contains(&row));
                None
            }
            (slot, Some(below)) if slot & IN_GENERATION != 0 => value(below, slot ^ IN_GENERATION),
            (slot, _) => value(table, slot),
        })
        .collect();
    assert_eq!(missed.len(), values.iter().filter(|value| value.is_none()).count());
    values
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|&text| Some(text.to_owned()).filter(|text| !text.is_empty())).collect()
}

#[test]
fn each_row_sees_the_version_of_its_place() {
    use ChangeKind::{Delete, Upsert};
    let mut first = lane(&[(7, Upsert, "old")]);
    first.at_rows = vec![1];
    let mut table = table();
    assert_eq!(apply(&mut table, &first, None), 0);
    assert_eq!(seen(&table, 7, 2, None), some(&["", "old"]));
    table.settle();

    let mut lane = lane(&[(7, Upsert, "new"), (7, Delete, ""), (7, Delete, ""), (7, Upsert, "last")]);
    lane.at_rows = vec![1, 2, 2, 4];
    assert_eq!(apply(&mut table, &lane, None), 1);
    assert_eq!(seen(&table, 7, 5, None), some(&["old", "new", "", "", "last"]));
    assert_eq!(seen(&table, 8, 1, None), some(&[""]));
    table.settle();
    assert_eq!(seen(&table, 7, 1, None), some(&["last"]));
    assert_eq!(table.len(), 1);
}

#[test]
fn rows_of_keys_that_change_often_see_the_version_of_their_place() {
    let outputs = [OutputColumn::field("number", 0, ColumnType::Integer)];
    let (keys, rows, changes) = (3, 500, 3_000_u32);
    // Key 2 has no more than two versions. Every seventh change removes.
    let key = |change: u32| if change % 1_500 == 9 { 2 } else { change % 2 };
    let kind = |change| if change % 7 == 0 { ChangeKind::Delete } else { ChangeKind::Upsert };
    let lane = ChangeLane {
        at_rows: (0..changes).map(|change| change * rows / changes).collect(),
        keys: (0..changes).map(|change| Key(key(change))).collect::<Vec<_>>().into(),
        kinds: (0..changes).map(kind).collect(),
        fields: vec![Column::Integers((0..changes).map(i64::from).collect())],
        ..ChangeLane::default()
    };
    let mut below = KeyedTable::new(&outputs);
    let first = ChangeLane { at_rows: vec![0; 2], keys: vec![Key(2); 2].into(), ..lane.clone() };
    below.apply(&outputs, &first, 1..2, None, None);
    below.settle();

    let mut found = Found::default();
    for below in [None, Some(&below)] {
        let mut table = KeyedTable::new(&outputs);
        table.apply(&outputs, &lane, 0..changes, below, None);
        for _ in 0..2 {
            let looked_up = (0..rows).flat_map(|_| (0..keys).map(Some)).collect::<Vec<_>>();
            let row = |number| number as u32 / keys;
            table.find(looked_up.into_iter(), row, below, &mut found, &mut Vec::new());
            for (number, &slot) in (0..).zip(&found.slots) {
                // The last one of the key that stands before the row.
                let is_before = |change| lane.at_rows[change as usize] <= row(number as usize);
                let last = (0..changes).rfind(|&change| key(change) == number % keys && is_before(change));
                let expected = match last {
                    Some(change) => Some(i64::from(change)).filter(|_| kind(change) == ChangeKind::Upsert),
                    None => below.filter(|_| number % keys == 2).map(|_| 1),
                };
                let columns = |slot: Slot| match below {
                    Some(below) if slot & IN_GENERATION != 0 => (below.columns(), slot ^ IN_GENERATION),
                    _ => (table.columns(), slot),
                };
                let value = (slot != MISS).then(|| columns(slot)).map(|(columns, slot)| match &columns[0] {
                    Column::Integers(values) => values[slot as usize],
                    _ => unreachable!("a column of integers"),
                });
                assert_eq!(value, expected, "number {number}");
            }
            assert_eq!(found.chains.keys(), 2, "no other key was walked through, and each once");
        }
    }
}

#[test]
fn changes_go_on_top_of_a_generation() {
    use ChangeKind::{Delete, Upsert};
    let mut below = table();
    apply(&mut below, &lane(&[(7, Upsert, "seven"), (8, Upsert, "eight")]), None);
    below.settle();
    let mut table = table();
    assert_eq!(seen(&table, 7, 1, Some(&below)), some(&["seven"]));
    let mut lane = lane(&[(7, Delete, ""), (7, Upsert, "new"), (8, Upsert, "more"), (9, Delete, "")]);
    lane.at_rows = vec![1, 2, 2, 2];
    assert_eq!(apply(&mut table, &lane, Some(&below)), 1, "7 was gone, 8 was there");
    assert_eq!(seen(&table, 7, 3, Some(&below)), some(&["seven", "", "new"]));
    assert_eq!(seen(&table, 8, 3, Some(&below)), some(&["eight", "eight", "more"]));
    table.settle();
    assert_eq!(seen(&table, 9, 1, Some(&below)), some(&[""]));
    assert_eq!(seen(&table, 8, 1, Some(&below)), some(&["more"]));
}

#[test]
fn deleting_what_is_not_there_leaves_no_trace() {
    let mut table = table();
    apply(&mut table, &lane(&[(7, ChangeKind::Upsert, "seven")]), None);
    table.settle();
    let memory = table.slots.memory_bytes();
    apply(&mut table, &lane(&[(u32::MAX, ChangeKind::Delete, "")]), None);
    assert_eq!(seen(&table, u32::MAX, 1, None), some(&[""]));
    table.settle();
    assert_eq!((table.len(), table.slots.memory_bytes()), (1, memory), "the index is as it was");
}

#[test]
fn replacing_rows_for_ever_takes_no_more_slots() {
    let lane = lane(&[(1, ChangeKind::Upsert, "a"), (2, ChangeKind::Upsert, "b")]);
    let mut table = table();
    for _ in 0..1_000 {
        apply(&mut table, &lane, None);
        table.settle();
    }
    assert_eq!(table.columns()[0].len(), 4);
}

/// A lane whose keys are the texts of those of `rows`.
fn text_lane(rows: &[(u32, ChangeKind, &str)]) -> ChangeLane {
    let mut keys = TextColumn::default();
    rows.iter().for_each(|(key, ..)| keys.push(Some(&format!("key {key}"))));
    ChangeLane { keys: keys.into(), ..lane(rows) }
}

fn seen_by_text(table: &KeyedTable, key: u32, rows: u32, below: Option<&KeyedTable>) -> Vec<Option<String>> {
    let mut keys = TextColumn::default();
    keys.push(Some(&format!("key {key}")));
    let mut numbers = Vec::new();
    table.number_keys(&keys, std::iter::once(0), below, &mut numbers);
    match numbers[0] {
        Some(number) => seen(table, number, rows, below),
        None => vec![None; rows as usize],
    }
}

#[test]
fn keys_of_text_come_go_and_come_back() {
    use ChangeKind::{Delete, Upsert};
    let mut below = table();
    apply(&mut below, &text_lane(&[(7, Upsert, "seven"), (8, Upsert, "eight")]), None);
    below.settle();
    let mut table = table();
    let rows = [(9, Delete, ""), (9, Upsert, "nine"), (7, Delete, ""), (9, Delete, ""), (9, Upsert, "new")];
    let mut lane = text_lane(&rows);
    lane.at_rows = vec![0, 1, 1, 2, 3];
    assert_eq!(apply(&mut table, &lane, Some(&below)), 0);
    assert_eq!(seen_by_text(&table, 9, 4, Some(&below)), some(&["", "nine", "", "new"]));
    assert_eq!(seen_by_text(&table, 7, 2, Some(&below)), some(&["seven", ""]));
    table.settle();
    assert_eq!(seen_by_text(&table, 9, 1, Some(&below)), some(&["new"]));
    assert_eq!(seen_by_text(&table, 8, 1, Some(&below)), some(&["eight"]));
    assert_eq!(seen_by_text(&table, 1, 1, Some(&below)), some(&[""]));
    apply(&mut table, &text_lane(&[(9, Delete, "")]), Some(&below));
    table.settle();
    assert_eq!(seen_by_text(&table, 9, 1, Some(&below)), some(&[""]));
    assert_eq!(table.numbers.get(b"key 9", None), None, "what is gone has no number");
}
