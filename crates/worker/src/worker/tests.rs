//! Batches that are routed by hand, and what one shard makes of them.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use tradejoin_model::{
    Batch, BatchIndex, ChangeKind, ChangeLane, Column, ColumnType, Expired, Hold, HoldLimit, INTEGER_NULL,
    Key, Keys, LookUp, Messages, MissPolicy, Now, OutputColumn, Partition, Repeat, Repeats, Selections,
    ShardCount, Slot, StoredTable, Stretch, Stretches, TextColumn,
};

use super::*;

/// The shard under test, of two.
const SHARD: ShardIndex = ShardIndex(1);

/// A table that adds the integer of a change.
fn spec(look_up: LookUp) -> TableSpec {
    let outputs = vec![OutputColumn::field("value", 0, ColumnType::Integer)];
    TableSpec { outputs, look_up, ..TableSpec::new("table", "id") }
}

/// A change before a row, of a key: a value, or a delete.
type Change = (u32, u32, Option<i64>);

fn lane(changes: &[Change]) -> ChangeLane {
    let kind = |change: &Change| if change.2.is_some() { ChangeKind::Upsert } else { ChangeKind::Delete };
    ChangeLane {
        at_rows: changes.iter().map(|change| change.0).collect(),
        keys: changes.iter().map(|change| Key(change.1)).collect::<Vec<_>>().into(),
        kinds: changes.iter().map(kind).collect(),
        fields: vec![Column::Integers(
            changes.iter().map(|change| change.2.unwrap_or(INTEGER_NULL)).collect(),
        )],
        ..ChangeLane::default()
    }
}

/// The same with keys that are texts.
fn text_lane(changes: &[Change]) -> ChangeLane {
    let keys: Vec<_> = changes.iter().map(|change| Some(change.1)).collect();
    ChangeLane { keys: texts(&keys).into(), ..lane(changes) }
}

fn texts(keys: &[Option<u32>]) -> TextColumn {
    let mut texts = TextColumn::default();
    keys.iter().for_each(|key| texts.push(key.map(|key| format!("key {key}")).as_deref()));
    texts
}

fn ids(keys: &[Option<u32>]) -> Keys {
    UInt32Array::from(keys.to_vec()).into()
}

fn messages(keys: Keys, lane: ChangeLane) -> Messages {
    let numbers = Arc::new(Int64Array::from_iter_values(0..keys.len() as i64)) as ArrayRef;
    let trades = RecordBatch::try_from_iter([("number", numbers)]).expect("one column");
    Messages::new(trades, vec![keys], vec![lane]).expect("they fit together")
}

fn routed(messages: Messages, route: TableRoute, whole_shard: ShardIndex) -> Routed {
    let batch = Batch { index: BatchIndex(0), messages: Arc::new(messages) };
    let shards = ShardCount::new(2).expect("within bounds");
    Routed { batch, routes: vec![route], shards, whole_shard }
}

/// A batch of which the shard owns these rows and changes, rising, and all others none.
fn partitioned(messages: Messages, rows: &[u32], changes: &[u32], partition: Partition) -> Routed {
    let shards = ShardCount::new(2).expect("within bounds");
    let of_shard = |numbers: &[u32]| Selections::of(shards, &vec![SHARD.0 as u16; numbers.len()], numbers);
    let partition = Partition { rows: of_shard(rows), changes: of_shard(changes), ..partition };
    routed(messages, TableRoute::Partitioned(Box::new(partition)), ShardIndex(0))
}

/// A batch for a table that all shards have, which `by` answers.
fn whole(messages: Messages, generation: Option<&Arc<StoredTable>>, by: ShardIndex) -> Routed {
    routed(messages, TableRoute::Whole { generation: generation.cloned() }, by)
}

fn values(answer: &Answer) -> &[i64] {
    let [Column::Integers(values)] = answer.tables[0].columns.as_slice() else { panic!("one column") };
    values
}

fn step(worker: &mut Worker, routed: &Routed) -> Answer {
    worker.step(routed, Answer::default())
}

#[test]
fn a_row_finds_what_the_changes_before_it_say() {
    let changes = [(0, 7, Some(70)), (1, 8, Some(80)), (2, 7, Some(71)), (4, 7, None), (4, 9, Some(90))];
    let keys = [Some(7), Some(8), Some(7), Some(9), Some(7), Some(9)];
    let by_ids = messages(ids(&keys), lane(&changes));
    let by_texts = messages(texts(&keys).into(), text_lane(&changes));
    for messages in [by_ids, by_texts] {
        let mut worker = Worker::new(SHARD, &[spec(LookUp::Latest)]);
        // Key 8 is another shard's.
        let repeats = Repeats::new(vec![Repeat { row: 1, of: 0 }], vec![0, 5]);
        let partition = Partition { repeats, ..Partition::default() };
        let routed = partitioned(messages, &[0, 2, 3, 4, 5], &[0, 2, 3, 4], partition);
        let answer = step(&mut worker, &routed);
        assert_eq!((worker.shard(), answer.shard, answer.tables.len()), (SHARD, SHARD, 1));
        assert_eq!(values(&answer), [70, 71, INTEGER_NULL, INTEGER_NULL, 90]);
        assert_eq!(answer.tables[0].missed, [3, 4]);
        let again = step(&mut worker, &routed);
        assert_eq!(values(&again), [70, 71, 90, INTEGER_NULL, 90], "key 9 is there from before");
        assert_eq!(worker.counts(), WorkerCounts { looked_up: 10, repeated: 10, changes: 8 });
    }
}

#[test]
fn the_memory_of_an_earlier_answer_tells_nothing() {
    let mut worker = Worker::new(SHARD, &[spec(LookUp::Latest)]);
    let first = messages(ids(&[Some(7), Some(8)]), lane(&[(0, 7, Some(70))]));
    let spent = step(&mut worker, &partitioned(first, &[0, 1], &[0], Partition::default()));
    let second = messages(ids(&[Some(7)]), ChangeLane::default());
    let answer = worker.step(&partitioned(second, &[0], &[], Partition::default()), spent);
    assert_eq!((values(&answer), answer.tables[0].missed.len()), (&[70][..], 0));
    assert_eq!(answer.tables[0].applied, Applied::default());
}

#[test]
fn every_shard_applies_the_changes_of_a_whole_table_and_one_answers() {
    let changes = [(0, 7, Some(70)), (1, 7, Some(71))];
    let tables = [TableSpec {
        on_miss: MissPolicy::Hold(Hold { limit: HoldLimit::Rows(1), then: Expired::Drop }),
        ..spec(LookUp::Latest)
    }];
    let mut worker = Worker::new(SHARD, &tables).noting_effects();
    let batch = || messages(ids(&[Some(7), Some(7), None]), lane(&changes));
    let silent = step(&mut worker, &whole(batch(), None, ShardIndex(0)));
    let [table] = silent.tables.as_slice() else { panic!("one table") };
    assert_eq!((values(&silent).len(), table.missed.len(), table.appeared.len()), (0, 0, 0));
    assert_eq!((table.applied, table.effects.all.len()), (Applied::default(), 0));
    assert_eq!(worker.counts(), WorkerCounts { looked_up: 0, repeated: 0, changes: 2 });

    let later = messages(ids(&[Some(7)]), ChangeLane::default());
    let answer = step(&mut worker, &whole(later, None, SHARD));
    assert_eq!(values(&answer), [71], "it has the changes of the batch before");

    let changes = lane(&[(0, 8, Some(80)), (1, 7, Some(72))]);
    let answer = step(&mut worker, &whole(messages(ids(&[Some(8), Some(7), None]), changes), None, SHARD));
    let [table] = answer.tables.as_slice() else { panic!("one table") };
    assert_eq!((values(&answer), table.missed.as_slice()), (&[80, 72, INTEGER_NULL][..], &[2][..]));
    let appeared: Vec<_> = table.appeared.iter().map(|appeared| appeared.change).collect();
    assert_eq!((appeared, table.applied.replaced), (vec![0], 1));
    let effects: Vec<_> = table.effects.all.iter().map(|effect| (effect.change, effect.found)).collect();
    assert!(matches!(effects.as_slice(), [(0, Now::Own(_)), (1, Now::Own(_))]), "{effects:?}");
    assert_eq!(worker.counts(), WorkerCounts { looked_up: 4, repeated: 0, changes: 4 });
}

#[test]
fn effects_are_told_on_request_alone() {
    let batch = || whole(messages(ids(&[None]), lane(&[(0, 7, Some(70))])), None, SHARD);
    let tables = [spec(LookUp::Latest)];
    let told = step(&mut Worker::new(SHARD, &tables).noting_effects(), &batch());
    assert_eq!(told.tables[0].effects.all.len(), 1);
    let untold = step(&mut Worker::new(SHARD, &tables), &batch());
    assert_eq!(untold.tables[0].effects.all.len(), 0);
}

#[test]
fn changes_stay_on_top_of_a_generation_until_there_is_another() {
    let generation = |value| {
        let spec = spec(LookUp::Latest);
        let mut table = StoredTable::new(spec.look_up, &spec.outputs);
        table.apply(&spec.outputs, &lane(&[(0, 7, Some(value)), (0, 8, Some(value))]), 0..2, None, false);
        table.settle(None, &mut Vec::new());
        Arc::new(table)
    };
    let (first, second) = (generation(1), generation(2));
    let mut worker = Worker::new(SHARD, &[spec(LookUp::Latest)]);
    let mut found = |generation: Option<&Arc<StoredTable>>, changes: &[Change]| {
        let batch = messages(ids(&[Some(7), Some(8)]), lane(changes));
        values(&step(&mut worker, &whole(batch, generation, SHARD))).to_vec()
    };
    assert_eq!(found(Some(&first), &[(1, 8, Some(80))]), [1, 80]);
    assert_eq!(found(Some(&first), &[]), [1, 80], "the same one");
    assert_eq!(found(Some(&second), &[]), [2, 2]);
    assert_eq!(found(Some(&second), &[(0, 7, None)]), [INTEGER_NULL, 2]);
    assert_eq!(found(None, &[]), [INTEGER_NULL, INTEGER_NULL], "none at all");
    assert_eq!(found(None, &[(0, 7, Some(70))]), [70, INTEGER_NULL]);
    assert_eq!(found(None, &[]), [70, INTEGER_NULL]);
}

/// Rows of key 7, valid from 10 and from 20 on.
fn timed(lane: ChangeLane) -> ChangeLane {
    ChangeLane { valid_from: vec![10, 20], ..lane }
}

#[test]
fn stretches_are_looked_up_once_for_each_part() {
    let look_up = LookUp::AsOf { tolerance: None };
    let changes = [(0, 7, Some(70)), (0, 7, Some(71))];
    let keys = [Some(8), Some(7), Some(7), Some(7), Some(7)];
    let by_ids = messages(ids(&keys), timed(lane(&changes)));
    let by_texts = messages(texts(&keys).into(), timed(text_lane(&changes)));
    for messages in [by_ids, by_texts] {
        let messages = messages.with_times(Int64Array::from(vec![15, 12, 25, 13, 26])).expect("five");
        let mut worker = Worker::new(SHARD, &[spec(look_up)]);
        let stretch = Stretch { rows: 0..4, least: 12, greatest: 26 };
        let stretches = Stretches::new(vec![stretch], vec![1, 2, 3, 4], vec![0, 1]);
        let partition = Partition { stretches, ..Partition::default() };
        let answer = step(&mut worker, &partitioned(messages, &[0], &[0, 1], partition));
        assert_eq!(values(&answer), [INTEGER_NULL, 70, 71]);
        let [table] = answer.tables.as_slice() else { panic!("one table") };
        assert_eq!((table.missed.as_slice(), table.parts.of_stretch(0)), (&[0][..], 0..2));
        let look_ups = table.parts.look_ups();
        assert!((1..4).contains(&look_ups), "{look_ups} look-ups for 4 rows");
        let expected = WorkerCounts { looked_up: 1 + look_ups, repeated: 4 - look_ups, changes: 2 };
        assert_eq!(worker.counts(), expected);
    }
}

#[test]
fn memory_is_counted_of_all_that_is_kept() {
    const ROWS: usize = 1_024;
    let spec = spec(LookUp::AsOf { tolerance: None });
    let mut worker = Worker::new(SHARD, std::slice::from_ref(&spec));
    let mut alone = StoredTable::new(spec.look_up, &spec.outputs);
    // One row for each key, and a stretch of two behind it.
    let keys: Vec<_> = (0..3 * ROWS as u32).map(|row| Some(row / 3)).collect();
    let changes: Vec<_> = (0..ROWS as u32).map(|key| (0, key, Some(1))).collect();
    let lane = text_lane(&changes);
    alone.apply(&spec.outputs, &lane, 0..ROWS as u32, None, false);
    alone.settle(None, &mut Vec::new());
    let stretch = |number: usize| Stretch { rows: 2 * number..2 * number + 2, least: 0, greatest: 0 };
    let in_stretches = (0..3 * ROWS as u32).filter(|row| row % 3 > 0).collect();
    let stretches = Stretches::new((0..ROWS).map(stretch).collect(), in_stretches, vec![0, ROWS]);
    let rows: Vec<_> = (0..ROWS as u32).map(|number| 3 * number).collect();
    let changes: Vec<_> = (0..ROWS as u32).collect();
    let messages = messages(texts(&keys).into(), lane);
    let messages = messages.with_times(Int64Array::from(vec![0; 3 * ROWS])).expect("one for each");
    step(
        &mut worker,
        &partitioned(messages, &rows, &changes, Partition { stretches, ..Partition::default() }),
    );
    // Slots of rows and of parts, and the numbers that stand for the texts of both.
    let least = alone.memory_bytes() + 2 * ROWS * (size_of::<Slot>() + size_of::<Option<u32>>());
    let counted = worker.memory_bytes();
    assert!((least..least + least / 4).contains(&counted), "{counted} bytes, at least {least}");
}
