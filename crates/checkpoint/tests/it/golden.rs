//! Checkpoints that earlier versions wrote: each format is read for ever.

use std::path::Path;
use std::sync::Arc;

use tradejoin_checkpoint::Store;
use tradejoin_disk::RealDisk;
use tradejoin_model::LookUp;

use crate::support::{Form, Op, Table, job, lane, restored};

const FORM: Form = Form { look_up: LookUp::AsOf { tolerance: None }, texts: true };

/// What was kept: a first table, and what changed of it.
fn lanes() -> [Vec<Op>; 2] {
    let op = |key, value: u8, deletes| Op {
        key,
        deletes,
        value,
        from: 1 + i64::from(value % 5),
        time: 0,
        version: 0,
    };
    let first = (0..18).map(|number| op(usize::from(number) % 6, number % 12, false)).collect();
    [first, vec![op(1, 1, true), Op { time: 2, ..op(2, 9, false) }]]
}

#[test]
fn the_first_format_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format-1");
    let store = Store::inspect(Arc::new(RealDisk), &folder).expect("it is there");
    let [newest, older] = &store.verify().expect("listed")[..] else { panic!("two checkpoints") };
    let mut table = Table::new(FORM);
    for (listed, ops) in [older, newest].into_iter().zip(lanes()) {
        let checkpoint = listed.state.as_ref().expect("whole");
        table.apply(&lane(FORM, &ops));
        assert_eq!(restored(FORM, checkpoint).answers(), table.answers());
        checkpoint.fits(&job(FORM)).expect("the same job");
        let held = checkpoint.resume().expect("resumed").held.expect("held");
        assert_eq!(
            (held.latest_time, held.trades.len(), checkpoint.manifest().trades),
            (-5, 0, listed.epoch)
        );
    }
}
