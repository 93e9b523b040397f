//! A table made of what was kept answers as the one made of all changes does.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use tradejoin_checkpoint::{Checkpoint, Store};
use tradejoin_disk::{Disk, SimulatedDisk};
use tradejoin_flow::Keep as _;
use tradejoin_model::LookUp;

use crate::support::{FOLDER, Form, Op, Table, forms, job, keep, lane, ops, reopen, restored};

/// What is between two checkpoints: lanes, and whether the run ends and goes on there.
fn epochs() -> impl Strategy<Value = Vec<(Vec<Vec<Op>>, bool)>> {
    let lanes = prop::collection::vec(prop::collection::vec(ops(), 0..8), 0..4);
    prop::collection::vec((lanes, any::<bool>()), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2_000, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn a_restored_table_is_the_table(form in forms(), epochs in epochs()) {
        let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new());
        let mut table = Table::new(form);
        let (mut keeper, _) = reopen(Arc::clone(&disk), job(form));
        for (number, (lanes, ends)) in epochs.into_iter().enumerate() {
            for ops in lanes {
                let lane = lane(form, &ops);
                keeper.rows(0, &lane).expect("taken");
                table.apply(&lane);
            }
            keep(&mut keeper, number as u64);
            let store = Store::inspect(Arc::clone(&disk), Path::new(FOLDER)).expect("there");
            let checkpoint = store.latest().expect("whole").expect("one");
            let mut again = restored(form, &checkpoint);
            prop_assert_eq!(again.answers(), table.answers());
            // A row whose key is gone, or whose version is old, still decides about others.
            let later: Vec<_> = (0..6).map(|key| Op { key, deletes: false, value: 3, from: 2, time: 2, version: 1 }).collect();
            let mut other = table.clone();
            let lane = lane(form, &later);
            again.apply(&lane);
            other.apply(&lane);
            prop_assert_eq!(again.answers(), other.answers());
            let rows: Vec<_> = checkpoint.manifest().tables[0].segments.iter().map(|s| s.rows).collect();
            prop_assert!(rows.windows(2).all(|pair| pair[1] * 2 < pair[0]), "{:?}", rows);
            if ends {
                drop(keeper);
                keeper = reopen(Arc::clone(&disk), job(form)).0;
            }
        }
    }
}

#[test]
fn a_checkpoint_writes_what_has_changed() {
    for look_up in [LookUp::Latest, LookUp::LatestVersion, LookUp::AsOf { tolerance: None }] {
        let form = Form { look_up, texts: false };
        let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new());
        let (mut keeper, _) = reopen(Arc::clone(&disk), job(form));
        let op =
            |value| Op { key: usize::from(value % 6), deletes: false, value, from: 1, time: 0, version: 1 };
        let many: Vec<_> = (0..100_000_u32).map(|row| op((row % 12) as u8)).collect();
        keeper.rows(0, &lane(form, &many)).expect("taken");
        let first = keep(&mut keeper, 1);
        assert!(first > 4_000_000, "{first} bytes for all");
        for trades in 2..20 {
            keeper.rows(0, &lane(form, &many[..10])).expect("taken");
            let bytes = keep(&mut keeper, trades);
            assert!(bytes < 20_000, "{bytes} bytes for 10 changes and what they are merged with");
        }
        assert!(keep(&mut keeper, 20) < 3_000, "nothing has changed");
    }
}

#[test]
fn many_checkpoints_write_little_in_the_mean_and_a_whole_table_seldom() {
    const CHANGES: i64 = 20;
    const CHECKPOINTS: u64 = 400;
    // All rows of a history stay, so that the table grows by what is added.
    let form = Form { look_up: LookUp::AsOf { tolerance: None }, texts: false };
    let (mut keeper, _) = reopen(Arc::new(SimulatedDisk::new()), job(form));
    let op = |from| Op { key: from as usize % 6, deletes: false, value: 1, from, time: 0, version: 0 };
    let rows = |range: std::ops::Range<i64>| lane(form, &range.map(op).collect::<Vec<_>>());
    keeper.rows(0, &rows(1..8_001)).expect("taken");
    let first = keep(&mut keeper, 1);
    let written = |number: u64| {
        let from = 8_001 + CHANGES * number as i64;
        keeper.rows(0, &rows(from..from + CHANGES)).expect("taken");
        keep(&mut keeper, number + 2)
    };
    let all: Vec<_> = (0..CHECKPOINTS).map(written).collect();
    let mean = all.iter().sum::<u64>() / CHECKPOINTS;
    assert!(mean * 20 < first, "{mean} bytes in the mean, where the table has {first}");
    let large = all.iter().filter(|&&bytes| bytes > first / 2).count();
    assert!(large <= 2, "{large} of {CHECKPOINTS} wrote the table, or half of it: {all:?}");
}

#[test]
fn a_table_that_is_empty_again_takes_no_room() {
    let form = Form { look_up: LookUp::Latest, texts: true };
    let disk = SimulatedDisk::new();
    let (mut keeper, _) = reopen(Arc::new(disk.clone()), job(form));
    let all = |deletes| -> Vec<_> {
        (0..6).map(|key| Op { key, deletes, value: 1, from: 0, time: 0, version: 0 }).collect()
    };
    for deletes in [false, true] {
        keeper.rows(0, &lane(form, &all(deletes))).expect("taken");
    }
    keep(&mut keeper, 1);
    keeper.rows(0, &lane(form, &all(true))).expect("taken");
    keep(&mut keeper, 2);
    keep(&mut keeper, 3);
    assert_eq!(disk.list(Path::new(FOLDER)).expect("listed"), ["kept", "manifest-2.json", "manifest-3.json"]);
}

fn latest(disk: &SimulatedDisk) -> Checkpoint {
    let store = Store::inspect(Arc::new(disk.clone()), Path::new(FOLDER)).expect("there");
    store.latest().expect("whole").expect("one")
}

/// The changes of a table in a checkpoint: what each of them is of, from when on, and whether
/// it is a delete.
fn changes(checkpoint: &Checkpoint) -> Vec<(String, i64, bool)> {
    let mut source = checkpoint.tables().expect("tables").remove(0);
    let mut all = Vec::new();
    while let Some(lane) = source.next().expect("changes") {
        let change = |row: usize| {
            let is_delete = lane.kinds[row] == tradejoin_model::ChangeKind::Delete;
            (lane.keys.get(row).to_string(), lane.validity(row).from, is_delete)
        };
        all.extend((0..lane.len()).map(change));
    }
    all
}

#[test]
fn large_tables_come_back_change_by_change_in_their_order() {
    let form = Form { look_up: LookUp::AsOf { tolerance: None }, texts: false };
    let disk = SimulatedDisk::new();
    let (mut keeper, _) = reopen(Arc::new(disk.clone()), job(form));
    let op = |number: i64| Op {
        key: number as usize % 6,
        deletes: false,
        value: 1,
        from: 1 + number / 6,
        time: 0,
        version: 0,
    };
    let (mut all, mut next) = (Vec::new(), 0);
    // The two are put together, each of a whole block and more.
    for (trades, count) in [(1, 40_000), (2, 35_000)] {
        let ops: Vec<_> = (next..next + count).map(op).collect();
        next += count;
        keeper.changes(0, &[lane(form, &ops)]).expect("taken");
        keep(&mut keeper, trades);
        all.extend(changes_of(&ops));
        assert!(changes(&latest(&disk)) == all, "behind {trades} trades");
    }
    let rows: Vec<_> = latest(&disk).manifest().tables[0].segments.iter().map(|s| s.rows).collect();
    assert_eq!(rows, [75_000]);
    // What is deleted goes, and so do the deletes.
    let deletes: Vec<_> = (0..next).step_by(2).map(|number| Op { deletes: true, ..op(number) }).collect();
    keeper.changes(0, &[lane(form, &deletes)]).expect("taken");
    keep(&mut keeper, 3);
    let left: Vec<_> = all.into_iter().skip(1).step_by(2).collect();
    assert!(changes(&latest(&disk)) == left, "every other one");
}

fn changes_of(ops: &[Op]) -> Vec<(String, i64, bool)> {
    let keys = lane(Form { look_up: LookUp::Latest, texts: false }, ops).keys;
    ops.iter().enumerate().map(|(row, op)| (keys.get(row).to_string(), op.from, op.deletes)).collect()
}

#[test]
fn deletes_behind_many_upserts_are_kept_as_such() {
    let form = Form { look_up: LookUp::Latest, texts: false };
    let disk = SimulatedDisk::new();
    let (mut keeper, _) = reopen(Arc::new(disk.clone()), job(form));
    let op = |number: usize| Op { key: number % 6, deletes: false, value: 1, from: 0, time: 0, version: 0 };
    // More than one block, so that the file has been begun when the deletes come.
    let mut ops: Vec<_> = (0..40_000).map(op).collect();
    ops.extend((0..3).map(|key| Op { deletes: true, ..op(key) }));
    keeper.changes(0, &[lane(form, &ops)]).expect("taken");
    keep(&mut keeper, 1);
    let mut table = Table::new(form);
    table.apply(&lane(form, &ops));
    assert_eq!(restored(form, &latest(&disk)).answers(), table.answers());
}

#[test]
fn changes_with_and_without_an_end_in_one_checkpoint_are_both_kept() {
    let form = Form { look_up: LookUp::AsOf { tolerance: None }, texts: true };
    let disk = SimulatedDisk::new();
    let (mut keeper, _) = reopen(Arc::new(disk.clone()), job(form));
    let mut table = Table::new(form);
    let op = |key, from, time| Op { key, deletes: false, value: 1, from, time, version: 0 };
    for ops in [[op(0, 1, 0), op(1, 2, 0)], [op(2, 1, 3), op(3, 2, 0)], [op(4, 1, 0), op(5, 2, 0)]] {
        let lane = lane(form, &ops);
        keeper.changes(0, std::slice::from_ref(&lane)).expect("taken");
        table.apply(&lane);
    }
    keep(&mut keeper, 1);
    assert_eq!(restored(form, &latest(&disk)).answers(), table.answers());
}

#[test]
fn how_changes_come_makes_no_difference_to_what_is_written() {
    let form = Form { look_up: LookUp::Latest, texts: false };
    let op = |number: usize| Op {
        key: number % 6,
        deletes: number % 3 == 1,
        value: number as u8 % 12,
        from: 0,
        time: 0,
        version: 0,
    };
    let ops: Vec<_> = (0..24).map(op).collect();
    let written = |len: usize| {
        let disk = SimulatedDisk::new();
        let (mut keeper, _) = reopen(Arc::new(disk.clone()), job(form));
        ops.chunks(len).for_each(|ops| keeper.changes(0, &[lane(form, ops)]).expect("taken"));
        let bytes = keep(&mut keeper, 1);
        (bytes, latest(&disk).manifest().tables.clone())
    };
    assert_eq!(written(1), written(24));
}

#[test]
fn of_a_table_in_which_rows_were_deleted_the_others_are_left() {
    let op = |key, deletes| Op { key, deletes, value: 1, from: 1, time: 0, version: 1 };
    for look_up in [LookUp::Latest, LookUp::AsOf { tolerance: None }] {
        let form = Form { look_up, texts: false };
        let left = |lanes: &[Vec<Op>]| {
            let disk = SimulatedDisk::new();
            let (mut keeper, _) = reopen(Arc::new(disk.clone()), job(form));
            for (trades, ops) in (1..).zip(lanes) {
                keeper.changes(0, &[lane(form, ops)]).expect("taken");
                keep(&mut keeper, trades);
            }
            let segments = latest(&disk).manifest().tables[0].segments.clone();
            segments.iter().map(|segment| (segment.rows, segment.bytes, segment.hash)).collect::<Vec<_>>()
        };
        let with_deletes =
            left(&[vec![op(0, false), op(1, false), op(2, false)], vec![op(1, true), op(1, true)]]);
        let without = left(&[vec![op(0, false)], vec![op(2, false)]]);
        assert_eq!(with_deletes, without, "{look_up:?}");
    }
}

#[test]
fn a_table_tells_how_many_bytes_it_is_read_from() {
    let form = Form { look_up: LookUp::Latest, texts: false };
    let disk = SimulatedDisk::new();
    let (mut keeper, _) = reopen(Arc::new(disk.clone()), job(form));
    let op = |key| Op { key, deletes: false, value: 1, from: 0, time: 0, version: 0 };
    // Of the second there are fewer than half as many, so that there are two files.
    for (trades, count) in [(1, 6), (2, 1)] {
        keeper.changes(0, &[lane(form, &(0..count).map(op).collect::<Vec<_>>())]).expect("taken");
        keep(&mut keeper, trades);
    }
    let checkpoint = latest(&disk);
    let [first, second] = checkpoint.manifest().tables[0].segments.as_slice() else { panic!("two files") };
    let source = checkpoint.tables().expect("tables").remove(0);
    assert_eq!(source.bytes_hint(), Some(first.bytes + second.bytes));
}
