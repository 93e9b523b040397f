//! Files with other bytes than those that were written: what is found is a checkpoint that
//! was kept, or an error.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tradejoin_checkpoint::{Checkpoint, CheckpointError, CheckpointErrorKind, Manifest, Store};
use tradejoin_disk::{Disk, Mode, SimulatedDisk};
use tradejoin_flow::{Keep as _, NothingPrepared};
use tradejoin_model::{Held, LookUp};

use crate::support::{FOLDER, Form, Op, cut, job, lane, reopen, restored};

const FORM: Form = Form { look_up: LookUp::Latest, texts: false };

fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// Two checkpoints of a small table, behind 1 and 2 trades, that share no file.
fn kept() -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    let (mut keeper, _) = reopen(Arc::new(disk.clone()), job(FORM));
    for trades in 1..=2 {
        let op = |key| Op { key, deletes: false, value: trades as u8, from: 0, time: 0, version: 0 };
        keeper.rows(0, &lane(FORM, &[op(0), op(1)])).expect("taken");
        let held = Some(Held { latest_time: trades as i64, ..Held::default() });
        let mut cut = cut(trades, NothingPrepared);
        cut.held = held;
        keeper.keep(cut).expect("kept");
    }
    disk
}

/// The same disk with other bytes in a file.
fn with(disk: &SimulatedDisk, name: &str, bytes: &[u8]) -> SimulatedDisk {
    let disk = copy(disk);
    let mut file = disk.open(&path(name)).expect("there");
    file.set_len(0).and_then(|()| file.write_all(bytes)).expect("written");
    disk
}

fn copy(disk: &SimulatedDisk) -> SimulatedDisk {
    // What is whole is synced.
    disk.sync_folder(Path::new(FOLDER)).expect("synced");
    disk.crash(0)
}

fn latest(disk: &SimulatedDisk) -> Result<Option<Checkpoint>, CheckpointError> {
    Store::inspect(Arc::new(disk.clone()), Path::new(FOLDER))?.latest()
}

/// The trades of the checkpoint that is found, which tells what was written.
fn found(disk: &SimulatedDisk, whole: &[Manifest]) -> Option<u64> {
    let checkpoint = latest(disk).ok()??;
    let trades = checkpoint.manifest().trades;
    assert_eq!(checkpoint.manifest(), &whole[trades as usize - 1]);
    Some(trades)
}

/// What it holds.
fn check_contents(disk: &SimulatedDisk, answers: &[Vec<String>]) {
    let checkpoint = latest(disk).expect("one is whole").expect("one");
    let trades = checkpoint.manifest().trades;
    assert_eq!(restored(FORM, &checkpoint).answers(), answers[trades as usize - 1]);
    let held = checkpoint.resume().expect("resumed").held.expect("held");
    assert_eq!(held.latest_time, trades as i64);
}

/// The checkpoints.
fn manifests(disk: &SimulatedDisk) -> Vec<Manifest> {
    let store = Store::inspect(Arc::new(disk.clone()), Path::new(FOLDER)).expect("there");
    let all = store.all().expect("listed").into_iter().rev();
    all.map(|listed| listed.state.expect("whole").manifest().clone()).collect()
}

/// What the table answers behind each of the checkpoints.
fn answers(disk: &SimulatedDisk) -> Vec<Vec<String>> {
    let store = Store::inspect(Arc::new(disk.clone()), Path::new(FOLDER)).expect("there");
    let mut all = store.all().expect("listed");
    all.reverse();
    all.iter().map(|listed| restored(FORM, listed.state.as_ref().expect("whole")).answers()).collect()
}

#[test]
fn every_flipped_byte_and_every_cut_is_noticed() {
    let disk = kept();
    let (whole_ones, answers) = (manifests(&disk), answers(&disk));
    assert_eq!(found(&disk, &whole_ones), Some(2));
    let names = disk.list(Path::new(FOLDER)).expect("listed");
    let of_last = |name: &str| name.starts_with("table-0-2") || name.contains("-2.");
    assert_eq!(names.iter().filter(|name| of_last(name)).count(), 3, "{names:?}");
    let mut cases = 0;
    for name in &names {
        let whole = disk.read(&path(name)).expect("readable");
        // Damage of the older one is not looked for.
        let expected = if of_last(name) { Some(1) } else { Some(2) };
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            for bytes in [&flipped, &whole[..at]] {
                let disk = with(&disk, name, bytes);
                assert_eq!(found(&disk, &whole_ones), expected, "{name} at {at}");
                if cases % 50 == 0 {
                    check_contents(&disk, &answers);
                }
                cases += 1;
            }
        }
        let longer = [whole.as_slice(), b"\n"].concat();
        assert_eq!(found(&with(&disk, name, &longer), &whole_ones), expected, "{name} is longer");
    }
    assert!(cases > 5_000, "{cases} cases");
}

#[test]
fn a_missing_file_is_passed_over_and_told() {
    let disk = kept();
    disk.remove(&path("held-2.arrow")).expect("removed");
    let found = latest(&disk).expect("one is whole").expect("one");
    let [passed] = found.passed_over() else { panic!("{:?}", found.passed_over()) };
    assert_eq!((found.manifest().epoch, passed.epoch), (1, 2));
    assert!(passed.reason.contains("held-2.arrow: it is missing"), "{}", passed.reason);
    // Going on makes it the last one for good.
    let (keeper, _) = reopen(Arc::new(disk.clone()), job(FORM));
    drop(keeper);
    let names = disk.crash(7).list(Path::new(FOLDER)).expect("listed");
    assert!(!names.contains(&"manifest-2.json".to_owned()), "{names:?}");
}

#[test]
fn checkpoints_none_of_which_is_whole_are_no_beginning() {
    let disk = kept();
    for name in ["manifest-1.json", "manifest-2.json"] {
        let mut file = disk.open(&path(name)).expect("there");
        file.set_len(3).expect("cut");
    }
    let error = latest(&disk).expect_err("none is whole");
    assert_eq!(error.kind(), CheckpointErrorKind::Damaged);
    assert!(error.to_string().contains("none of 2 checkpoints is whole"), "{error}");
    let store = Store::open(Arc::new(disk), Path::new(FOLDER)).expect("opened");
    let error = store.begin(job(FORM), None).expect_err("they are there");
    assert_eq!(error.kind(), CheckpointErrorKind::DoesNotFit);
}

/// The manifest with other text, under a checksum that is right.
fn forged(disk: &SimulatedDisk, from: &str, to: &str) -> SimulatedDisk {
    let whole = String::from_utf8(disk.read(&path("manifest-2.json")).expect("readable")).expect("a text");
    let (body, _) = whole.split_once(",\n  \"checksum\"").expect("a checksum");
    assert!(body.contains(from), "{from}");
    let body = body.replacen(from, to, 1);
    let checksum = twox_hash::XxHash64::oneshot(0, body.as_bytes());
    let forged = format!("{body},\n  \"checksum\": \"{checksum:016x}\"\n}}\n");
    with(disk, "manifest-2.json", forged.as_bytes())
}

#[test]
fn nonsense_under_a_right_checksum_is_refused() {
    let disk = kept();
    let whole = manifests(&disk);
    assert_eq!(found(&forged(&disk, "\"trades\"", "\"trades\""), &whole), Some(2), "nothing has changed");
    for (from, to) in [
        ("\"epoch\": 2", "\"epoch\": 3"),
        ("\"format\": 1", "\"format\": 0"),
        ("\"format\": 1", "\"format\": -1"),
        ("\"format\": 1,", "\"format\": 1, \"other\": 1,"),
        ("\"format\": 1,", ""),
        ("table-0-2-", "../table-0-2-"),
        ("table-0-2-", "table-1-2-"),
        ("table-0-2-", "table-0-3-"),
        ("held-2.arrow", "held-1.arrow"),
        ("held-2.arrow", "/etc/passwd"),
        ("\"rows\": 2", "\"rows\": 3"),
        ("\"rows\": 2", "\"rows\": 0"),
        ("\"rows\": 2", "\"rows\": 18446744073709551615"),
        ("\"rows_read\": 2", "\"rows_read\": 18446744073709551615"),
        ("\"rows_read\": 2", "\"rows_read\": 3"),
        ("\"position\": 2", "\"position\": 18446744073709551615"),
        ("\"tables\": [", "\"tables\": [ null, "),
        ("\"end\": null", "\"end\": \"otherwise\""),
        ("{", "["),
        ("{", ""),
    ] {
        let forged = forged(&disk, from, to);
        // What only reading tells, verifying does.
        let store = Store::inspect(Arc::new(forged.clone()), Path::new(FOLDER)).expect("there");
        let verified = store.verify().expect("listed");
        let error = verified[0].state.as_ref().expect_err(to);
        assert_eq!(error.kind(), CheckpointErrorKind::Damaged, "{to}: {error}");
    }
}

#[test]
fn a_newer_format_is_told_and_not_passed_over() {
    let disk = forged(&kept(), "\"format\": 1", "\"format\": 2, \"what\": \"is new\"");
    let error = latest(&disk).expect_err("a newer format");
    assert_eq!(error.kind(), CheckpointErrorKind::NewerFormat);
    assert!(error.to_string().contains("has format 2, and this version knows formats up to 1"), "{error}");
}

#[test]
fn damaged_changes_under_a_right_hash_are_an_error() {
    let disk = kept();
    let names = disk.list(Path::new(FOLDER)).expect("listed");
    let checkpoint = latest(&disk).expect("whole").expect("one");
    let manifest = checkpoint.manifest();
    let files = [
        (manifest.tables[0].segments[0].file.clone(), manifest.tables[0].segments[0].hash),
        (manifest.held.clone().expect("held").file, manifest.held.as_ref().expect("held").hash),
    ];
    for (name, hash) in files {
        assert!(names.contains(&name));
        let whole = disk.read(&path(&name)).expect("readable");
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            let other = twox_hash::XxHash64::oneshot(0, &flipped);
            let disk = forged(&with(&disk, &name, &flipped), &hash.to_string(), &other.to_string());
            let store = Store::inspect(Arc::new(disk), Path::new(FOLDER)).expect("there");
            // Other changes or an error: no panic, and no hang.
            drop(store.verify().expect("listed"));
        }
    }
}

#[test]
fn a_disk_that_cannot_be_read_is_not_taken_for_a_damaged_checkpoint() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk: Arc<dyn Disk> = Arc::new(tradejoin_disk::RealDisk);
    let store = Store::open(Arc::clone(&disk), folder.path()).expect("opened");
    // It is there, and no file.
    disk.create_folder(&folder.path().join("manifest-1.json"), Mode::Private).expect("a folder");
    let error = store.latest().expect_err("it cannot be read");
    assert_eq!(error.kind(), CheckpointErrorKind::Io);
}
