//! A folder that is looked at: what is there in the place of its files, and what goes meanwhile.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tradejoin_checkpoint::{CheckpointErrorKind, Job, Keeper, Listed, Store};
use tradejoin_disk::{Disk as _, FaultyDisk, RealDisk, SimulatedDisk};
use tradejoin_flow::{BoxError, Keep as _, NothingPrepared};
use tradejoin_model::{Held, LookUp};

use crate::support::{FOLDER, Form, Meddled, Op, cut, job, lane};

const FORM: Form = Form { look_up: LookUp::Latest, texts: false };

/// Takes changes, and makes a checkpoint that shares no file with others.
fn take(keeper: &mut Keeper, trades: u64) -> Result<(), BoxError> {
    let op = |key| Op { key, deletes: false, value: trades as u8, from: 0, time: 0, version: 0 };
    keeper.rows(0, &lane(FORM, &[op(0), op(1)]))?;
    let mut cut = cut(trades, NothingPrepared);
    cut.held = Some(Held { latest_time: trades as i64, ..Held::default() });
    keeper.keep(cut).map(drop)
}

/// Two checkpoints.
fn two(store: Store) {
    let mut keeper = store.begin(job(FORM), None).expect("begun");
    (1..=2).try_for_each(|trades| take(&mut keeper, trades)).expect("kept");
}

fn kept(folder: &Path) {
    two(Store::open(Arc::new(RealDisk), folder).expect("made"));
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

/// Goes on with a run, of which one checkpoint stays, and makes the next one. Fails at an
/// operation unless it has been done before.
fn go_on(disk: &SimulatedDisk, fails_at: usize) -> Result<(), BoxError> {
    let faults = format!("eio@{fails_at}:ever").parse()?;
    let disk = FaultyDisk::new(Arc::new(disk.clone()), faults);
    let store = Store::open(Arc::new(disk), Path::new(FOLDER))?;
    let latest = store.latest()?;
    let mut keeper = store.begin(Job { keep: 1, ..job(FORM) }, latest.as_ref())?;
    take(&mut keeper, 3)
}

#[test]
fn what_a_run_removes_meanwhile_is_not_damaged() {
    for look in [Store::all, Store::verify] {
        for fails_at in 1.. {
            let mut is_done = false;
            for meddles_at in 1.. {
                let disk = SimulatedDisk::new();
                two(Store::open(Arc::new(disk.clone()), Path::new(FOLDER)).expect("opened"));
                let (operations, done) = (AtomicUsize::new(0), Arc::<AtomicBool>::default());
                let (other, meddled) = (disk.clone(), Arc::clone(&done));
                let before = move |_: &str| {
                    if operations.fetch_add(1, Ordering::Relaxed) == meddles_at {
                        meddled.store(true, Ordering::Relaxed);
                        let _ = go_on(&other, fails_at);
                    }
                    Ok(())
                };
                let store =
                    Store::inspect(Arc::new(Meddled { disk: disk.clone(), before }), Path::new(FOLDER));
                let listed = look(&store.expect("there")).expect("listed");
                assert!(!listed.is_empty());
                for Listed { epoch, state, .. } in listed {
                    state.unwrap_or_else(|error| panic!("{epoch}, {meddles_at}, {fails_at}: {error}"));
                }
                if !done.load(Ordering::Relaxed) {
                    break;
                }
                is_done = disk.size(&Path::new(FOLDER).join("manifest-3.json")).expect("looked").is_some()
                    && disk.list(Path::new(FOLDER)).expect("listed").len() == 4;
            }
            if is_done {
                break;
            }
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
