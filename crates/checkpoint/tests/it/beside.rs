//! A folder that is looked at: what is there in the place of its files, and what goes meanwhile.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use tradejoin_checkpoint::{CheckpointErrorKind, Listed, Store};
use tradejoin_disk::{Disk as _, RealDisk};
use tradejoin_flow::{Keep as _, NothingPrepared};
use tradejoin_model::{Held, LookUp};

use crate::support::{Form, Op, cut, job, lane};

const FORM: Form = Form { look_up: LookUp::Latest, texts: false };

/// Two checkpoints that share no file.
fn kept(folder: &Path) {
    let store = Store::open(Arc::new(RealDisk), folder).expect("made");
    let mut keeper = store.begin(job(FORM), None).expect("begun");
    for trades in 1..=2 {
        let op = |key| Op { key, deletes: false, value: trades as u8, from: 0, time: 0, version: 0 };
        keeper.rows(0, &lane(FORM, &[op(0), op(1)])).expect("taken");
        let held = Some(Held { latest_time: trades as i64, ..Held::default() });
        let mut cut = cut(trades, NothingPrepared);
        cut.held = held;
        keeper.keep(cut).expect("kept");
    }
}

#[test]
fn what_is_no_regular_file_is_not_followed_and_damaged() {
    for name in ["manifest-2.json", "table-0-2-", "held-2.arrow"] {
        for other in ["link", "endless", "folder"] {
            let folder = tempfile::tempdir().expect("a folder");
            let folder = folder.path().join("checkpoints");
            kept(&folder);
            let names = RealDisk.list(&folder).expect("listed");
            let name = names.iter().rfind(|other| other.starts_with(name)).expect("a file");
            let (path, elsewhere) = (folder.join(name), folder.with_file_name("elsewhere"));
            fs::rename(&path, &elsewhere).expect("moved");
            match other {
                "link" => symlink(&elsewhere, &path).expect("a link"),
                "endless" => symlink("/dev/zero", &path).expect("a link"),
                _ => fs::create_dir(&path).expect("a folder"),
            }
            let store = Store::inspect(Arc::new(RealDisk), &folder).expect("there");
            let is_told = |listed: Vec<Listed>| {
                assert!(listed[1].state.is_ok());
                let error = listed[0].state.as_ref().expect_err("damaged");
                assert_eq!(error.kind(), CheckpointErrorKind::Damaged);
                let text = format!("{name}: it is not a regular file: the checkpoint is damaged");
                assert!(error.to_string().contains(&text), "{other}: {error}");
            };
            is_told(store.all().expect("listed"));
            is_told(store.verify().expect("listed"));
            let latest = store.latest().expect("one is whole").expect("one");
            assert_eq!((latest.manifest().epoch, latest.passed_over().len()), (1, 1));
        }
    }
}

#[test]
fn a_manifest_is_not_read_behind_its_longest() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("checkpoints");
    kept(&folder);
    let file = fs::OpenOptions::new().write(true).open(folder.join("manifest-2.json")).expect("there");
    // Nothing is stored of it.
    file.set_len(1 << 40).expect("sparse");
    let store = Store::inspect(Arc::new(RealDisk), &folder).expect("there");
    let listed = store.all().expect("listed");
    let error = listed[0].state.as_ref().expect_err("damaged");
    assert!(error.to_string().contains("it is too long for a manifest"), "{error}");
    assert!(listed[1].state.is_ok());
}
