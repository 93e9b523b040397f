//! A table made of what was kept answers as the one made of all changes does.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use tradejoin_checkpoint::Store;
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
    assert_eq!(disk.list(Path::new(FOLDER)).expect("listed"), ["manifest-2.json", "manifest-3.json"]);
}
