//! A table that takes the difference of a newer file is the table of the newer file.

use std::collections::BTreeMap;

use arrow_array::Int64Array;
use proptest::prelude::*;
use tradejoin_connectors::{Difference, Fingerprints};
use tradejoin_flow::{BoxError, TableSource};
use tradejoin_model::{
    ByTime, ChangeKeys, ChangeKind, ChangeLane, Column, Found, INTEGER_NULL, Key, LookUp, OutputColumn,
    OutputSource, StoredTable, TableSpec, TextColumn,
};

/// Keys and times are below this.
const KEYS: u32 = 8;
const TIMES: i64 = 40;

/// Key, beginning, end and value.
type Row = (u32, i64, i64, u8);
/// Rows: key and beginning to end and value. For tables without times the beginning is 0.
type Rows = BTreeMap<(u32, i64), (i64, u8)>;

struct Lanes(Vec<ChangeLane>);

impl TableSource for Lanes {
    fn next(&mut self) -> Result<Option<ChangeLane>, BoxError> {
        Ok((!self.0.is_empty()).then(|| self.0.remove(0)))
    }
}

fn keys(ids: impl Iterator<Item = u32>, of_texts: bool) -> ChangeKeys {
    if !of_texts {
        return ids.map(Key).collect::<Vec<_>>().into();
    }
    let mut texts = TextColumn::default();
    ids.for_each(|id| texts.push(Some(&format!("key {id}"))));
    texts.into()
}

/// The rows in lanes of at most three.
fn lanes(rows: &Rows, as_of: bool, of_texts: bool) -> Vec<ChangeLane> {
    let rows: Vec<Row> = rows.iter().map(|(&(key, from), &(to, value))| (key, from, to, value)).collect();
    let lane = |rows: &[Row]| {
        let mut values = TextColumn::default();
        rows.iter().for_each(|(.., value)| values.push(Some(&format!("a value of some length, {value}"))));
        let times = |time: fn(&Row) -> i64| match as_of {
            true => rows.iter().map(time).collect(),
            false => Vec::new(),
        };
        ChangeLane {
            at_rows: vec![0; rows.len()],
            keys: keys(rows.iter().map(|row| row.0), of_texts),
            kinds: vec![ChangeKind::Upsert; rows.len()],
            fields: vec![Column::Text(values)],
            valid_from: times(|row| row.1),
            valid_to: times(|row| row.2),
            ..ChangeLane::default()
        }
    };
    rows.chunks(3).map(lane).collect()
}

fn outputs() -> Vec<OutputColumn> {
    let outputs = TableSpec::users().outputs;
    assert!(matches!(outputs[0].source, OutputSource::Field(0)));
    outputs
}

fn stored(look_up: LookUp, lanes: &[ChangeLane]) -> StoredTable {
    let mut table = StoredTable::new(look_up, &outputs());
    lanes.iter().for_each(|lane| take(&mut table, lane));
    table
}

fn take(table: &mut StoredTable, lane: &ChangeLane) {
    table.apply(&outputs(), lane, 0..lane.len() as u32, None, false);
    let applied = table.settle(None, &mut Vec::new());
    assert_eq!(applied.overlaps, 0, "no two rows overlap on the way");
}

/// What every key finds at every time.
fn all_found(table: &mut StoredTable, of_texts: bool) -> Vec<Option<Vec<u8>>> {
    let asked: Vec<_> = (0..KEYS).flat_map(|key| (-1..=TIMES).map(move |time| (key, time))).collect();
    let times: Int64Array = asked.iter().map(|&(_, time)| Some(time)).collect();
    let mut numbers: Vec<Option<u32>> = asked.iter().map(|&(key, _)| Some(key)).collect();
    if let ChangeKeys::Texts(texts) = keys(asked.iter().map(|&(key, _)| key), of_texts) {
        table.number_keys(&texts, 0..asked.len() as u32, None, &mut numbers);
    }
    let (mut found, mut missed) = (Found::default(), Vec::new());
    table.apply(&outputs(), &ChangeLane::default(), 0..0, None, false);
    let by_time = ByTime { times: Some(&times), ..ByTime::default() };
    table.find(numbers.into_iter(), |row| row as u32, by_time, None, &mut found, &mut missed);
    let Column::Text(texts) = &table.columns()[0] else { panic!("a column of texts") };
    let value = |(row, &slot): (u32, _)| {
        let is_there = !missed.contains(&row);
        is_there.then(|| texts.get(slot as usize).expect("a value").to_vec())
    };
    let values = (0..).zip(&found.slots).map(value).collect();
    table.settle(None, &mut Vec::new());
    values
}

fn difference(fingerprints: &Fingerprints, lanes: Vec<ChangeLane>) -> Difference {
    fingerprints.difference(&mut Lanes(lanes)).expect("lanes are read")
}

/// Rows of each key one after the other, so that none overlap.
fn rows(as_of: bool) -> impl Strategy<Value = Rows> {
    let spans = prop::collection::vec((0..4_i64, 1..5_i64, prop::bool::weighted(0.2), 0..3_u8), 0..5);
    prop::collection::vec((0..KEYS, spans, prop::bool::weighted(0.2)), 0..6).prop_map(move |keys| {
        let mut rows = Rows::new();
        for (key, spans, is_first_open) in keys {
            rows.retain(|row, _| row.0 != key);
            if !as_of {
                rows.extend(spans.first().map(|span| ((key, 0), (INTEGER_NULL, span.3))));
                continue;
            }
            let mut time = 0;
            for (index, (gap, length, is_open, value)) in spans.into_iter().enumerate() {
                let from = if index == 0 && is_first_open { INTEGER_NULL } else { time + gap };
                let to = time + gap + length;
                rows.insert((key, from), (if is_open { INTEGER_NULL } else { to }, value));
                time = to;
            }
        }
        rows
    })
}

fn case() -> impl Strategy<Value = (LookUp, bool, Vec<Rows>)> {
    let look_ups = prop_oneof![Just(LookUp::Latest), Just(LookUp::AsOf { tolerance: None })];
    (look_ups, any::<bool>()).prop_flat_map(|(look_up, of_texts)| {
        let as_of = look_up != LookUp::Latest;
        (Just(look_up), Just(of_texts), prop::collection::vec(rows(as_of), 2..5))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, max_shrink_iters: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn a_table_with_the_difference_is_the_newer_table((look_up, of_texts, files) in case()) {
        let as_of = look_up != LookUp::Latest;
        let first = lanes(&files[0], as_of, of_texts);
        let mut table = stored(look_up, &first);
        let mut fingerprints = Fingerprints::new(look_up);
        first.iter().for_each(|lane| fingerprints.take(lane));
        let mut old = &files[0];
        for new in &files[1..] {
            let newer = lanes(new, as_of, of_texts);
            let difference = difference(&fingerprints, newer.clone());
            if difference.cannot_remove {
                let since_ever = |row: &&(u32, i64)| row.1 == INTEGER_NULL && !new.contains_key(row);
                let gone: Vec<_> = old.keys().filter(since_ever).collect();
                prop_assert!(gone.iter().any(|gone| new.keys().any(|row| row.0 == gone.0)));
                continue;
            }
            let removed = old.keys().filter(|row| !new.contains_key(row)).count();
            let added = new.keys().filter(|row| !old.contains_key(row)).count();
            let is_changed = |(row, says): &(&(u32, i64), &(i64, u8))| old.get(row).is_some_and(|old| old != *says);
            let changed = new.iter().filter(is_changed).count();
            let counts = [difference.removed, difference.added, difference.changed, difference.rows];
            prop_assert_eq!(counts, [removed, added, changed, new.len()].map(|count| count as u64));
            prop_assert_eq!((difference.duplicates, difference.rows_before), (0, old.len() as u64));
            prop_assert_eq!(difference.changes.len(), removed + added + changed);
            take(&mut table, &difference.changes);
            fingerprints.take(&difference.changes);
            prop_assert_eq!(fingerprints.len(), new.len() as u64);
            let expected = all_found(&mut stored(look_up, &newer), of_texts);
            prop_assert_eq!(all_found(&mut table, of_texts), expected);
            old = new;
        }
    }
}

#[test]
fn keys_that_stand_twice_are_counted_and_the_later_row_counts() {
    let first = Rows::from([((1, 0), (INTEGER_NULL, 1)), ((2, 0), (INTEGER_NULL, 1))]);
    let mut fingerprints = Fingerprints::new(LookUp::Latest);
    let mut lanes_of = lanes(&first, false, false);
    let mut table = stored(LookUp::Latest, &lanes_of);
    lanes_of.iter().for_each(|lane| fingerprints.take(lane));
    // Key 1 says something else and then the same again; key 3 is new twice.
    let mut newer =
        lanes(&Rows::from([((1, 0), (INTEGER_NULL, 7)), ((3, 0), (INTEGER_NULL, 2))]), false, false);
    newer.append(&mut lanes_of);
    newer.append(&mut lanes(&Rows::from([((3, 0), (INTEGER_NULL, 4))]), false, false));
    let difference = difference(&fingerprints, newer);
    assert_eq!(
        (difference.duplicates, difference.added, difference.changed, difference.removed),
        (2, 1, 1, 0)
    );
    take(&mut table, &difference.changes);
    let found = all_found(&mut table, false);
    let value = |key: usize| {
        let bytes = found[key * (TIMES as usize + 2)].clone();
        bytes.map(|bytes| String::from_utf8(bytes).expect("text"))
    };
    let says = |value: u8| Some(format!("a value of some length, {value}"));
    assert_eq!([value(1), value(2), value(3)], [says(1), says(1), says(4)]);
}

#[test]
fn a_deleted_row_of_a_newer_file_is_not_there() {
    let rows = Rows::from([((1, 0), (INTEGER_NULL, 1)), ((2, 0), (INTEGER_NULL, 1))]);
    let mut fingerprints = Fingerprints::new(LookUp::Latest);
    let mut newer = lanes(&rows, false, false);
    newer.iter().for_each(|lane| fingerprints.take(lane));
    newer[0].kinds[1] = ChangeKind::Delete;
    let difference = difference(&fingerprints, newer);
    assert_eq!((difference.rows, difference.removed), (1, 1));
    fingerprints.take(&difference.changes);
    assert_eq!(fingerprints.len(), 1);
}

#[test]
fn a_row_that_is_removed_and_comes_again_is_a_change() {
    let rows = Rows::from([((1, 0), (INTEGER_NULL, 1))]);
    let mut fingerprints = Fingerprints::new(LookUp::Latest);
    let first = lanes(&rows, false, false);
    first.iter().for_each(|lane| fingerprints.take(lane));
    let mut removed = first.clone();
    removed[0].kinds[0] = ChangeKind::Delete;
    let newer = [removed, first.clone()].concat();
    let mut table = stored(LookUp::Latest, &first);
    let difference = difference(&fingerprints, newer.clone());
    take(&mut table, &difference.changes);
    assert_eq!(all_found(&mut table, false), all_found(&mut stored(LookUp::Latest, &newer), false));
}

#[test]
fn of_versions_the_highest_is_in_force_and_a_file_that_was_touched_changes_nothing() {
    let mut fingerprints = Fingerprints::new(LookUp::LatestVersion);
    let lane = |version: i64, value: u8| {
        let rows = Rows::from([((1, 0), (INTEGER_NULL, value))]);
        ChangeLane { versions: vec![version], ..lanes(&rows, false, false).remove(0) }
    };
    let file = vec![lane(5, 1), lane(3, 2)];
    file.iter().for_each(|lane| fingerprints.take(lane));
    assert!(difference(&fingerprints, file.clone()).is_empty());
    assert!(difference(&fingerprints, vec![lane(4, 9)]).is_empty(), "an older row");
    let newer = difference(&fingerprints, vec![lane(3, 2), lane(6, 2)]);
    assert_eq!((newer.changes.len(), newer.removed), (1, 0));
}

#[test]
fn a_row_that_removes_all_rows_of_its_key_is_told() {
    let as_of = LookUp::AsOf { tolerance: None };
    let mut fingerprints = Fingerprints::new(as_of);
    let rows = lanes(&Rows::from([((1, 5), (9, 1)), ((2, 5), (9, 1))]), true, false);
    rows.iter().for_each(|lane| fingerprints.take(lane));
    let mut all = lanes(&Rows::from([((1, INTEGER_NULL), (INTEGER_NULL, 1))]), true, false);
    all[0].kinds[0] = ChangeKind::Delete;
    assert!(difference(&fingerprints, all.clone()).removes_keys);
    fingerprints.take(&all[0]);
    assert_eq!(fingerprints.len(), 1, "the first file may have such a row");
}
