//! Checkpoints that are damaged or gone, and what a run makes of them.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Child, ChildStdin, Stdio};

use rustix::fs::{CWD, mkfifoat};
use rustix::process::{Pid, Signal, kill_process};

use crate::checkpoints::{JOB, SMALL, die, epochs, folder, newest, said, wait_for_checkpoint};
use crate::support::Folder;

/// The files of a folder of checkpoints whose names begin so, sorted.
fn files(folder: &Folder, start: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder.path("state")) else { return Vec::new() };
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
    let mut names: Vec<_> = names.filter(|name| name.starts_with(start)).collect();
    names.sort();
    names
}

/// Changes a byte in the middle of a file of a checkpoint.
fn flip(folder: &Folder, name: &str) {
    let path = folder.path("state").join(name);
    let mut bytes = fs::read(&path).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).expect("written");
}

/// Changes a byte of the manifest of the newest checkpoint, and gives its number.
fn damage(folder: &Folder) -> u64 {
    let epoch = epochs(folder).into_iter().max().expect("a checkpoint");
    flip(folder, &format!("manifest-{epoch}.json"));
    epoch
}

/// Starts the job with half of its trades in its pipe, and waits for a checkpoint of them.
fn begin(folder: &Folder, job: &str) -> (Child, ChildStdin) {
    let mut command = folder.command(&format!("{job} {SMALL}"));
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let trades = folder.read("t.csv");
    stdin.write_all(&trades.as_bytes()[..trades.len() / 2]).expect("written");
    wait_for_checkpoint(folder, 0);
    (child, stdin)
}

/// Goes on with the job, all trades from their begin in its pipe, and gives what it says.
fn go_on(folder: &Folder, job: &str) -> String {
    let stdin = fs::File::open(folder.path("t.csv")).expect("trades");
    let output = folder.command(job).stdin(stdin).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn a_checkpoint_that_is_damaged_is_passed_over_and_told() {
    let (folder, want) = folder();
    let job = JOB.replace("t.csv", "-") + " --format csv";
    // A second one is sure only where more trades come behind the first.
    let (mut child, mut stdin) = begin(&folder, &job);
    let first = newest(&folder);
    let trades = folder.read("t.csv");
    stdin.write_all(&trades.as_bytes()[trades.len() / 2..]).expect("written");
    wait_for_checkpoint(&folder, first);
    child.kill().expect("it is there");
    child.wait().expect("it ends");
    let epoch = damage(&folder);
    let listed = folder.ok("checkpoint list state");
    assert!(listed.contains("whole; a run goes on here") && listed.contains("damaged"), "{listed}");
    assert_eq!(folder.run("checkpoint verify state").code, 1);
    let said = go_on(&folder, &job);
    assert!(said.contains(&format!("warning: checkpoint {epoch} is passed over: ")), "{said}");
    assert!(folder.read("o.csv") == want);
}

/// The outputs have their names then, and are gone on with from the checkpoint before.
#[test]
fn a_checkpoint_of_a_complete_run_that_is_damaged_is_passed_over_and_told() {
    let folder = Folder::empty();
    folder.ok("generate --limit 5000 --ids 500 --unknown-share 0.05 --trades t.csv --instruments i.csv");
    let trades = folder.read("t.csv");
    let times = trades.lines().skip(1).step_by(50).filter_map(|line| line.split(',').nth(1));
    let changes = times.enumerate().fold(String::new(), |mut all, (number, time)| {
        let _ = writeln!(
            all,
            "{{\"type\":\"instrument\",\"timestamp\":\"{time}\",\"instrument_id\":{},\"ticker\":\"NEW\",\
             \"strike\":1,\"expiry\":\"2024-11-03\",\"option_type\":\"call\"}}",
            number + 1
        );
        all
    });
    folder.put("changes.jsonl", changes);
    let job = "run --trades t.csv --instruments i.csv --table-changes changes.jsonl --journal j.jsonl \
               --on-miss instruments=dead-letter --dead-letters d.jsonl --correct 3000rows \
               --corrections c.csv --output o.csv --checkpoint state --checkpoint-every 1000rows --batch-len 200";
    folder.ok(job);
    let outputs = || ["o.csv", "d.jsonl", "c.csv", "j.jsonl"].map(|name| folder.read(name));
    let (want, names) = (outputs(), folder.names());
    let epoch = damage(&folder);
    let said = said(&folder, job);
    let told = [format!("checkpoint {epoch} is passed over: "), "going on from checkpoint ".to_owned()];
    assert!(told.iter().all(|told| said.contains(told)), "{said}");
    assert!(outputs() == want);
    assert_eq!(folder.names(), names);
    // What has the name of an output may be of somebody else by now.
    damage(&folder);
    folder.put("o.csv", "of somebody else\n");
    let said = folder.fails(78, job);
    assert!(
        said.contains("o.csv.") && said.contains("the output that the checkpoint tells of is missing"),
        "{said}"
    );
    assert_eq!(folder.read("o.csv"), "of somebody else\n");
    assert!(outputs()[1..] == want[1..], "a run that is refused changes none of the others");
}

#[test]
fn outputs_that_are_gone_on_with_again_keep_who_may_read_them() {
    let (folder, want) = folder();
    let job = format!("{JOB} {SMALL} --dead-letters d.jsonl --on-bad-record dead-letter");
    folder.ok(&job);
    let outputs = ["o.csv", "d.jsonl"].map(|name| folder.path(name));
    for path in &outputs {
        fs::set_permissions(path, Permissions::from_mode(0o600)).expect("its owner's");
    }
    damage(&folder);
    let said = said(&folder, &job);
    assert!(said.contains("is passed over"), "{said}");
    assert!(folder.read("o.csv") == want && folder.read("d.jsonl").is_empty());
    for path in outputs {
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600, "{path:?}");
    }
}

/// Its outputs are copied then, for which there may be no room.
#[test]
fn a_run_that_passes_a_checkpoint_over_may_fail_or_die_anywhere() {
    let (folder, want) = folder();
    for fault in ["enospc", "kill"] {
        let mut has_ended = false;
        for call in 1.. {
            for name in folder.names().iter().filter(|name| name.starts_with("o.csv") || *name == "state") {
                let path = folder.path(name);
                if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
                    .expect("removed");
            }
            folder.ok(&format!("{JOB} {SMALL}"));
            damage(&folder);
            let how = if fault == "kill" { "half" } else { "once" };
            let mut command = folder.command(JOB);
            let output = command.env("TRADEJOIN_FAULTS", format!("{fault}@{call}:{how}")).output();
            has_ended = output.expect("it runs").status.success();
            let said = said(&folder, JOB);
            assert!(folder.read("o.csv") == want, "{fault}@{call}: {said}");
            let left: Vec<_> = folder.names().into_iter().filter(|name| name.starts_with("o.csv.")).collect();
            assert!(left.is_empty(), "{fault}@{call}: {left:?}");
            if has_ended {
                assert!(call > 10, "{fault}@{call}");
                break;
            }
        }
        assert!(has_ended);
    }
}

#[test]
fn a_list_marks_what_a_run_goes_on_from() {
    let (folder, _) = folder();
    // Trades that may be written again are in a file of each checkpoint.
    let job = JOB.replace("t.csv", "-") + " --format csv --correct 3000rows --corrections c.csv";
    let (child, _stdin) = begin(&folder, &job);
    // The last one is made then.
    kill_process(Pid::from_child(&child), Signal::INT).expect("it is there");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    let mut all = epochs(&folder);
    all.sort_by(|a, b| b.cmp(a));
    let &[newest, before, ..] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!(marks(&folder)[..2], [(true, true), (true, false)]);
    flip(&folder, &format!("held-{newest}.arrow"));
    let listed = folder.ok("checkpoint list state");
    let line = |epoch: u64| {
        let mut lines = listed.lines();
        lines.find(|line| line.starts_with(&format!("{epoch} "))).unwrap_or_else(|| panic!("{listed}"))
    };
    assert!(line(newest).contains("its bytes are not those that were written"), "{listed}");
    assert!(line(before).contains("whole; a run goes on here"), "{listed}");
    assert_eq!(listed.matches("goes on here").count(), 1, "{listed}");
    assert_eq!(marks(&folder)[..2], [(false, false), (true, true)]);
    assert!(folder.ok("checkpoint show state").starts_with(&format!("checkpoint {before} of ")));
    let said = go_on(&folder, &job);
    assert!(said.contains(&format!("going on from checkpoint {before},")), "{said}");
    assert_eq!(marks(&folder)[0], (true, false), "a run that is complete is not gone on with");
}

/// Which checkpoints are whole, and which are gone on from, the newest first.
fn marks(folder: &Folder) -> Vec<(bool, bool)> {
    let listed: serde_json::Value =
        serde_json::from_str(&folder.ok("checkpoint list state --json")).expect("JSON");
    let is = |listed: &serde_json::Value, what: &str| listed[what].as_bool().expect("yes or no");
    let listed = listed.as_array().expect("a list").iter();
    listed.map(|listed| (is(listed, "is_whole"), is(listed, "goes_on_here"))).collect()
}

#[test]
fn a_checkpoint_of_a_newer_format_is_refused_and_no_other_gone_on_from() {
    let (folder, want) = folder();
    die(&folder, JOB);
    // With the checksum of what stands before it.
    let newer = "{\n  \"format\": 4294967295,\n  \"checksum\": \"b0014749fb752de2\"\n}\n";
    folder.put("state/manifest-99.json", newer);
    let all = files(&folder, "");
    let told =
        "state/manifest-99.json: the checkpoint has format 4294967295, and this version knows formats up to ";
    let listed = folder.ok("checkpoint list state");
    assert!(listed.contains(told) && !listed.contains("goes on here"), "{listed}");
    assert!(marks(&folder).iter().all(|&(_, goes_on_here)| !goes_on_here));
    assert_eq!(folder.run("checkpoint verify state").code, 1);
    for line in [JOB, "checkpoint show state"] {
        let refused = folder.fails(78, line);
        assert!(refused.contains(told) && refused.contains("use the version that wrote it"), "{refused}");
    }
    assert_eq!(files(&folder, ""), all, "nothing is removed");
    fs::remove_file(folder.path("state/manifest-99.json")).expect("removed");
    folder.ok(JOB);
    assert!(folder.read("o.csv") == want);
}

#[test]
fn what_stands_in_the_place_of_a_file_is_neither_followed_nor_waited_for() {
    let (folder, want) = folder();
    die(&folder, JOB);
    let pipe = folder.path("state/manifest-98.json");
    mkfifoat(CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("a pipe");
    symlink("/dev/zero", folder.path("state/manifest-99.json")).expect("a link");
    let listed = folder.ok("checkpoint list state");
    let told = ["98.json: it is not a regular file", "99.json: it is not a regular file"];
    assert!(told.iter().all(|told| listed.contains(told)), "{listed}");
    assert_eq!(folder.run("checkpoint verify state").code, 1);
    let said = folder.fails(78, "checkpoint show state --epoch 99");
    assert!(said.contains(told[1]), "{said}");
    let partial = folder.names().into_iter().find(|name| name.ends_with(".partial")).expect("an output");
    fs::rename(folder.path(&partial), folder.path("elsewhere")).expect("renamed");
    symlink("elsewhere", folder.path(&partial)).expect("a link");
    let said = folder.fails(78, JOB);
    assert!(said.contains(&format!("{partial}: it is not a regular file")), "{said}");
    fs::rename(folder.path("elsewhere"), folder.path(&partial)).expect("renamed");
    folder.ok(JOB);
    assert!(folder.read("o.csv") == want);
}

#[test]
fn nothing_is_begun_anew_where_no_checkpoint_is_whole() {
    let (folder, _) = folder();
    die(&folder, JOB);
    for entry in fs::read_dir(folder.path("state")).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|ending| ending == "json") {
            fs::write(path, "{}").expect("written");
        }
    }
    let said = folder.fails(78, JOB);
    assert!(said.contains("none of ") && said.contains("restore the folder from a copy"), "{said}");
    assert_eq!(folder.fails(78, "checkpoint show state"), said);
    for epoch in epochs(&folder) {
        fs::remove_file(folder.path(&format!("state/manifest-{epoch}.json"))).expect("removed");
    }
    // The table never changes: only the first checkpoint has written a file of it.
    let left = files(&folder, "table-");
    assert_eq!(left, ["table-0-1-0.arrow"]);
    let names = folder.names();
    let said = folder.fails(78, JOB);
    assert!(said.contains("all manifest-N.json are gone: restore the folder from a copy"), "{said}");
    assert_eq!((folder.names(), files(&folder, "table-")), (names, left), "nothing is removed");
    assert_eq!(folder.fails(1, "checkpoint verify state"), said);
    for line in ["checkpoint list state", "checkpoint show state"] {
        assert_eq!(folder.fails(78, line), said, "{line}");
    }
}

#[test]
fn a_run_that_dies_before_its_first_checkpoint_is_begun_anew_and_that_is_said() {
    let (folder, want) = folder();
    let dies_there = (1..100).any(|call| {
        let _ = fs::remove_dir_all(folder.path("state"));
        let mut command = folder.command(JOB);
        command.env("TRADEJOIN_FAULTS", format!("kill@{call}:before")).output().expect("it runs");
        epochs(&folder).is_empty() && !files(&folder, "table-").is_empty()
    });
    assert!(dies_there);
    let anew = said(&folder, JOB);
    assert!(
        anew.contains("state has files that were written for a checkpoint, and none: the run begins anew")
    );
    assert!(folder.read("o.csv") == want);
}
