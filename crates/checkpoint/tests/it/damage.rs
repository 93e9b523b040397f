//! Files with other bytes than those that were written: what is found is a checkpoint that
//! was kept, or an error.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tradejoin_checkpoint::{Checkpoint, CheckpointError, CheckpointErrorKind, Listed, Manifest, Store};
use tradejoin_disk::{Disk, Mode, SimulatedDisk};
use tradejoin_flow::{Keep as _, NothingPrepared};
use tradejoin_model::{Held, LookUp};

use crate::support::{FOLDER, Form, Meddled, Op, cut, job, lane, reopen, restored};

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
    // Synced, so that it is still there in a copy of this one.
    file.set_len(0).and_then(|()| file.write_all(bytes)).and_then(|()| file.sync()).expect("written");
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
    forged_all(disk, &[(from, to)])
}

/// The same with several texts.
fn forged_all(disk: &SimulatedDisk, texts: &[(&str, &str)]) -> SimulatedDisk {
    let whole = String::from_utf8(disk.read(&path("manifest-2.json")).expect("readable")).expect("a text");
    let (body, _) = whole.split_once(",\n  \"checksum\"").expect("a checksum");
    let body = texts.iter().fold(body.to_owned(), |body, (from, to)| {
        assert!(body.contains(from), "{from}");
        body.replacen(from, to, 1)
    });
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

/// Copies of the files of the last checkpoint under other names, and its manifest under the
/// name and with the members that `edit` says, its checksum right.
fn rewritten(name: &str, edit: impl FnOnce(&mut Value)) -> SimulatedDisk {
    let disk = copy(&kept());
    let put = |name: &str, bytes: &[u8]| {
        // The manifest may be there.
        drop(disk.remove(&path(name)));
        let mut file = disk.create(&path(name), Mode::Private).expect("made");
        file.write_all(bytes).expect("written");
    };
    let whole = String::from_utf8(disk.read(&path("manifest-2.json")).expect("readable")).expect("a text");
    let (body, _) = whole.split_once(",\n  \"checksum\"").expect("a checksum");
    let mut manifest: Value = serde_json::from_str(&format!("{body}\n}}")).expect("a manifest");
    let table = manifest["tables"][0]["segments"][0]["file"].as_str().expect("a name");
    let table = disk.read(&path(table)).expect("readable");
    ["table-0-3-0.arrow", "table-1-2-0.arrow", "notes.txt"].iter().for_each(|name| put(name, &table));
    put("held-3.arrow", &disk.read(&path("held-2.arrow")).expect("readable"));
    edit(&mut manifest);
    let text = serde_json::to_string_pretty(&manifest).expect("a text");
    let body = text.strip_suffix("\n}").expect("an object");
    let checksum = twox_hash::XxHash64::oneshot(0, body.as_bytes());
    put(name, format!("{body},\n  \"checksum\": \"{checksum:016x}\"\n}}\n").as_bytes());
    disk
}

/// The checkpoint that a manifest makes, of whose files no more than the length is looked at.
fn listed(disk: SimulatedDisk, epoch: u64) -> Result<Checkpoint, CheckpointError> {
    let store = Store::inspect(Arc::new(disk), Path::new(FOLDER)).expect("there");
    let all = store.all().expect("listed");
    all.into_iter().find(|listed| listed.epoch == epoch).expect("it is listed").state
}

#[test]
fn parts_that_cannot_be_together_are_refused_though_each_is_whole() {
    const TOO_MANY: u64 = 1 << 56;
    let number = |manifest: &mut Value, epoch: u64| {
        (manifest["epoch"], manifest["held"]) = (epoch.into(), Value::Null);
    };
    let segment = |manifest: &mut Value, file: &str| {
        manifest["tables"][0]["segments"][0]["file"] = file.into();
    };
    let held = |manifest: &mut Value, file: &str| manifest["held"]["file"] = file.into();
    let counts = |manifest: &mut Value, count: u64| {
        let ledger = &mut manifest["ledger"];
        (ledger["rows_read"], ledger["enriched"]) = (count.into(), count.into());
        ledger["tables"][0]["matched"] = count.into();
    };
    let rows = |manifest: &mut Value, count: u64| {
        manifest["tables"][0]["segments"][0]["rows"] = count.into();
    };
    type Edit<'a> = &'a dyn Fn(&mut Value);
    let edits: [(&str, u64, Edit<'_>); 14] = [
        ("of another number", 2, &|manifest| number(manifest, 3)),
        ("of no number", 0, &|manifest| {
            number(manifest, 0);
            manifest["tables"][0]["segments"] = Value::Array(Vec::new());
        }),
        ("of too high a number", TOO_MANY, &|manifest| number(manifest, TOO_MANY)),
        ("too many trades", 2, &|manifest| manifest["trades"] = TOO_MANY.into()),
        ("too high a position", 2, &|manifest| manifest["position"] = TOO_MANY.into()),
        ("too high a count", 2, &|manifest| counts(manifest, TOO_MANY)),
        ("too high a count of a table", 2, &|manifest| {
            manifest["ledger"]["tables"][0]["changes"] = TOO_MANY.into();
        }),
        ("too many rows", 2, &|manifest| rows(manifest, TOO_MANY)),
        ("no rows", 2, &|manifest| rows(manifest, 0)),
        ("a later file", 2, &|manifest| segment(manifest, "table-0-3-0.arrow")),
        ("a file of another table", 2, &|manifest| segment(manifest, "table-1-2-0.arrow")),
        ("a file of no table", 2, &|manifest| segment(manifest, "notes.txt")),
        ("another file of trades that wait", 2, &|manifest| held(manifest, "held-3.arrow")),
        ("a file twice", 2, &|manifest| {
            let segments = manifest["tables"][0]["segments"].as_array_mut().expect("segments");
            segments.push(segments[0].clone());
        }),
    ];
    for (what, epoch, edit) in edits {
        let error = listed(rewritten(&format!("manifest-{epoch}.json"), edit), epoch).expect_err(what);
        assert_eq!(error.kind(), CheckpointErrorKind::Damaged, "{what}: {error}");
    }
    // Just below, and what is older than its manifest.
    let edits: [(&str, u64, Edit<'_>); 4] = [
        ("nothing", 2, &|_| ()),
        ("a high number", TOO_MANY - 1, &|manifest| number(manifest, TOO_MANY - 1)),
        ("high counts", 2, &|manifest| {
            counts(manifest, TOO_MANY - 1);
            (manifest["trades"], manifest["position"]) = ((TOO_MANY - 1).into(), (TOO_MANY - 1).into());
            rows(manifest, TOO_MANY - 1);
        }),
        ("the next number", 3, &|manifest| number(manifest, 3)),
    ];
    for (what, epoch, edit) in edits {
        listed(rewritten(&format!("manifest-{epoch}.json"), edit), epoch).expect(what);
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

/// What is wrong with each of the checkpoints, and which a run would go on from.
fn states(listed: Vec<Listed>) -> (Vec<Option<CheckpointErrorKind>>, Option<u64>) {
    let latest = listed.iter().find(|listed| listed.is_latest).map(|listed| listed.epoch);
    let kind = |listed: Listed| listed.state.err().map(|error| error.kind());
    (listed.into_iter().map(kind).collect(), latest)
}

#[test]
fn a_list_looks_at_bytes_down_to_the_latest_and_a_verification_at_all() {
    let store =
        |disk: &SimulatedDisk| Store::inspect(Arc::new(disk.clone()), Path::new(FOLDER)).expect("there");
    let listed = |disk: &SimulatedDisk| states(store(disk).all().expect("listed"));
    let verified = |disk: &SimulatedDisk| states(store(disk).verify().expect("listed"));
    let disk = kept();
    let flipped = |disk: &SimulatedDisk, name: &str| {
        let mut bytes = disk.read(&path(name)).expect("readable");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        with(disk, name, &bytes)
    };
    let damaged = Some(CheckpointErrorKind::Damaged);
    let newest = flipped(&disk, "held-2.arrow");
    assert_eq!(listed(&newest), (vec![damaged, None], Some(1)));
    assert_eq!(verified(&newest), (vec![damaged, None], Some(1)));
    let older = flipped(&disk, "held-1.arrow");
    assert_eq!(listed(&older), (vec![None, None], Some(2)));
    assert_eq!(verified(&older), (vec![None, damaged], Some(2)));
    assert_eq!(listed(&flipped(&newest, "held-1.arrow")), (vec![damaged, damaged], None));
    let whole = disk.read(&path("held-1.arrow")).expect("readable");
    for bytes in [[whole.as_slice(), b"\n"].concat(), whole[1..].to_vec()] {
        let other_len = with(&disk, "held-1.arrow", &bytes);
        assert_eq!(listed(&other_len), (vec![None, damaged], Some(2)));
    }
}

#[test]
fn nothing_is_gone_on_from_beside_a_newer_format() {
    let disk = kept();
    let newer = Some(CheckpointErrorKind::NewerFormat);
    for (epoch, kinds) in [(2, [newer, None]), (1, [None, newer])] {
        let disk = of_newer_format(&disk, &format!("manifest-{epoch}.json"));
        let store = Store::inspect(Arc::new(disk), Path::new(FOLDER)).expect("there");
        for listed in [store.all(), store.verify()] {
            assert_eq!(states(listed.expect("listed")), (kinds.to_vec(), None));
        }
    }
}

#[test]
fn a_file_that_is_too_long_for_a_manifest_is_not_read() {
    const BYTES_MAX: u64 = 64 << 20;
    let disk = kept();
    for (len, is_too_long) in [(BYTES_MAX, false), (BYTES_MAX + 1, true)] {
        disk.open(&path("manifest-2.json")).and_then(|mut file| file.set_len(len)).expect("longer");
        let error = listed(disk.clone(), 2).expect_err("no manifest");
        assert_eq!(error.to_string().contains("it is too long for a manifest"), is_too_long, "{error}");
    }
}

/// The same with a manifest that a newer version might have written.
fn of_newer_format(disk: &SimulatedDisk, name: &str) -> SimulatedDisk {
    let manifest = String::from_utf8(disk.read(&path(name)).expect("readable")).expect("a text");
    let (body, _) = manifest.split_once(",\n  \"checksum\"").expect("a checksum");
    let body = body.replacen("\"format\": 1", "\"format\": 2", 1);
    let checksum = twox_hash::XxHash64::oneshot(0, body.as_bytes());
    with(disk, name, format!("{body},\n  \"checksum\": \"{checksum:016x}\"\n}}\n").as_bytes())
}

#[test]
fn a_run_goes_on_beside_an_older_checkpoint_that_is_damaged_but_not_of_a_newer_format() {
    let disk = kept();
    let begin = |disk: &SimulatedDisk| {
        let store = Store::open(Arc::new(disk.clone()), Path::new(FOLDER)).expect("opened");
        let latest = store.latest().expect("whole").expect("one");
        assert_eq!(latest.manifest().epoch, 2);
        store.begin(job(FORM), Some(&latest)).map(drop)
    };
    begin(&with(&disk, "manifest-1.json", b"{}")).expect("it needs none of its files");
    let newer = of_newer_format(&disk, "manifest-1.json");
    let error = begin(&newer).expect_err("what it needs is not known");
    assert_eq!(error.kind(), CheckpointErrorKind::NewerFormat);
}

#[test]
fn a_file_that_ends_too_early_is_damaged_and_no_error_of_the_system() {
    let disk = kept();
    let checkpoint = latest(&disk).expect("whole").expect("one");
    let (segment, held) = (&checkpoint.manifest().tables[0].segments[0], checkpoint.manifest().held.clone());
    let held = held.expect("held");
    for (name, hash) in [(&segment.file, segment.hash), (&held.file, held.hash)] {
        let whole = disk.read(&path(name)).expect("readable");
        for len in (0..whole.len()).step_by(7) {
            let cut = &whole[..len];
            let other = twox_hash::XxHash64::oneshot(0, cut);
            let lens = [whole.len(), len].map(|len| format!("\"bytes\": {len},"));
            let texts = [(&*hash.to_string(), &*other.to_string()), (&*lens[0], &*lens[1])];
            let disk = forged_all(&with(&disk, name, cut), &texts);
            let store = Store::inspect(Arc::new(disk), Path::new(FOLDER)).expect("there");
            let verified = store.verify().expect("listed").remove(0);
            // What ends behind the last change is whole but for the mark of its end.
            let Err(error) = verified.state else { continue };
            assert_eq!(error.kind(), CheckpointErrorKind::Damaged, "{name} at {len}: {error}");
        }
    }
}

#[test]
fn a_disk_that_cannot_be_read_is_not_taken_for_a_damaged_checkpoint() {
    let before = |operation: &str| match operation {
        "read" => Err(std::io::ErrorKind::PermissionDenied.into()),
        _ => Ok(()),
    };
    let disk = Arc::new(Meddled { disk: kept(), before });
    let store = Store::inspect(disk, Path::new(FOLDER)).expect("opened");
    let error = store.latest().expect_err("it cannot be read");
    assert_eq!(error.kind(), CheckpointErrorKind::Io);
}
