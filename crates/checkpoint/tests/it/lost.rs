//! Folders without a manifest: those that have lost theirs, and those that never had one.

use std::path::Path;
use std::sync::Arc;

use tradejoin_checkpoint::{Checkpoint, CheckpointError, CheckpointErrorKind, Store};
use tradejoin_disk::{Disk, FaultyDisk, SimulatedDisk};
use tradejoin_flow::{BoxError, Keep as _, NothingPrepared};

use crate::folder::{FORM, names, op};
use crate::support::{FOLDER, cut, job, keep, lane, reopen};

fn latest(disk: &SimulatedDisk) -> Result<Option<Checkpoint>, CheckpointError> {
    Store::open(Arc::new(disk.clone()), Path::new(FOLDER)).and_then(|store| store.latest())
}

fn remove_manifests(disk: &SimulatedDisk) {
    for name in names(disk).iter().filter(|name| name.starts_with("manifest-")) {
        disk.remove(&Path::new(FOLDER).join(name)).expect("removed");
    }
}

#[test]
fn a_folder_that_has_lost_its_manifests_is_not_begun_anew() {
    // Checkpoints behind the first have no files of their own where no table changes.
    for (rows, count) in [(1, 1), (1, 3), (3, 3), (0, 2)] {
        let disk = SimulatedDisk::new();
        let (mut keeper, _) = reopen(Arc::new(disk.clone()), job(FORM));
        for trades in 1..=count {
            if trades <= rows {
                keeper.rows(0, &lane(FORM, &[op(trades as u8)])).expect("taken");
            }
            keep(&mut keeper, trades);
        }
        drop(keeper);
        remove_manifests(&disk);
        for disk in [disk.clone(), disk.crash(7)] {
            // They may be back behind a crash.
            remove_manifests(&disk);
            let error = latest(&disk).expect_err("they are lost");
            assert_eq!(error.kind(), CheckpointErrorKind::Damaged);
            assert!(
                error.to_string().contains("all manifest-N.json are gone: restore the folder"),
                "{error}"
            );
        }
        let store = Store::open(Arc::new(disk.clone()), Path::new(FOLDER)).expect("opened");
        store.clear().expect("cleared");
        assert!(latest(&disk).expect("an empty one").is_none());
    }
}

#[test]
fn a_run_that_dies_before_its_first_checkpoint_counts_is_begun_anew() {
    for at in 1.. {
        let disk = SimulatedDisk::new();
        let faults = format!("eio@{at}:ever").parse().expect("faults");
        let faulty: Arc<dyn Disk> = Arc::new(FaultyDisk::new(Arc::new(disk.clone()), faults));
        let begun = Store::open(faulty, Path::new(FOLDER)).and_then(|store| store.begin(job(FORM), None));
        let ended = begun.map_err(BoxError::from).and_then(|mut keeper| {
            keeper.rows(0, &lane(FORM, &[op(1)]))?;
            keeper.keep(cut(1, NothingPrepared))
        });
        let left = disk.list(Path::new(FOLDER)).unwrap_or_default();
        let there = |name: &str| left.iter().any(|left| left == name);
        let found = latest(&disk).expect("nothing is lost");
        assert_eq!(found.is_some(), there("manifest-1.json"), "{left:?}");
        let inspected = Store::inspect(Arc::new(disk.clone()), Path::new(FOLDER)).expect("there");
        let has_files_alone = inspected.has_files_alone().expect("listed");
        assert_eq!(has_files_alone, found.is_none() && there("table-0-1-0.arrow"), "{left:?}");
        for seed in 0..20 {
            latest(&disk.crash(seed)).expect("nothing is lost, wherever the power fails");
        }
        if ended.is_ok() {
            assert!(at > 8 && there("kept"), "{left:?}");
            break;
        }
        let Some(found) = found else { continue };
        // It died just before the folder said so: the next run does.
        let store = Store::open(Arc::new(disk.clone()), Path::new(FOLDER)).expect("opened");
        drop(store.begin(job(FORM), Some(&found)).expect("begun"));
        remove_manifests(&disk);
        latest(&disk).expect_err("it is lost");
    }
}

#[test]
fn an_error_of_the_folder_that_a_name_alone_is_in_says_which_it_is() {
    let begun = |at| {
        let faults = format!("eio@{at}:once").parse().expect("faults");
        let faulty: Arc<dyn Disk> = Arc::new(FaultyDisk::new(Arc::new(SimulatedDisk::new()), faults));
        Store::open(faulty, Path::new("state")).and_then(|store| store.begin(job(FORM), None))
    };
    let errors: Vec<_> = (1..).map_while(|at| begun(at).err()).map(|error| error.to_string()).collect();
    assert_eq!(errors, ["state: cannot make the folder", ".: cannot sync the folder"]);
}
