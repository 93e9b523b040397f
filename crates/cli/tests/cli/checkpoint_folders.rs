//! Folders of checkpoints and of parts: what can be seen of them, and whose they have to be.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::checkpoints::{JOB, die, folder};
use crate::support::Folder;

#[test]
fn what_is_in_a_folder_can_be_seen() {
    let (folder, _) = folder();
    die(&folder, JOB);
    let listed: serde_json::Value =
        serde_json::from_str(&folder.ok("checkpoint list state --json")).expect("JSON");
    let newest = &listed[0];
    assert_eq!((&newest["is_whole"], &newest["end"]), (&true.into(), &serde_json::Value::Null));
    let shown = folder.ok(&format!("checkpoint show state --epoch {}", newest["checkpoint"]));
    for line in
        ["t.csv: ", "o.csv: ", "instruments: 5 changes", "under way, or killed", "output.file = o.csv"]
    {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
    let manifest: serde_json::Value =
        serde_json::from_str(&folder.ok("checkpoint show state --json")).expect("JSON");
    assert_eq!((&manifest["trades"], &manifest["format"]), (&newest["trades"], &1.into()));
    assert_eq!(folder.run("checkpoint verify state").code, 0);
    assert_eq!(folder.run("checkpoint show state --epoch 99999").code, 2);
    let said = folder.fails(66, "checkpoint list nowhere");
    assert_eq!(said, "error: cannot open nowhere: No such file or directory (os error 2)\n");
    let said = folder.fails(2, "checkpoint verify t.csv");
    assert_eq!(said, "error: t.csv: this is no folder of checkpoints\n");
    fs::create_dir(folder.path("none")).expect("a folder");
    assert_eq!(folder.ok("checkpoint list none"), "there are no checkpoints\n");
    let said = folder.fails(1, "checkpoint verify none");
    assert!(said.starts_with("error: none: there is nothing to verify"), "{said}");
    assert_eq!(folder.fails(2, "checkpoint show none"), "error: none: there are no checkpoints\n");
    folder.ok(JOB);
    assert!(folder.ok("checkpoint list state").contains("complete"));
    let mode = |name: &str| fs::metadata(folder.path(name)).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode("state"), 0o700);
    for entry in fs::read_dir(folder.path("state")).expect("a folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("text");
        assert_eq!(mode(&format!("state/{name}")), 0o600, "{name}");
    }
}

#[test]
fn a_folder_that_others_may_write_in_is_refused() {
    let (folder, _) = folder();
    fs::create_dir(folder.path("state")).expect("a folder");
    fs::set_permissions(folder.path("state"), fs::Permissions::from_mode(0o777)).expect("changed");
    let said = folder.fails(78, JOB);
    assert!(said.contains("others than its owner may write in this folder"), "{said}");
}

#[test]
fn a_folder_of_another_user_is_refused() {
    let (folder, _) = folder();
    // Nobody else may give it away.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    fs::create_dir(folder.path("state")).expect("a folder");
    fs::set_permissions(folder.path("state"), fs::Permissions::from_mode(0o700)).expect("set");
    chown(folder.path("state"), Some(12_345), None).expect("given away");
    let said = folder.fails(78, JOB);
    assert!(said.contains("state: this folder belongs to user 12345, who may write in it: run as"), "{said}");
    assert!(folder.is_empty("state"));
}

/// Each waits for its trades, if it has the folder.
#[test]
fn of_twenty_runs_that_begin_at_once_one_goes_on() {
    let (folder, want) = folder();
    let job = JOB.replace("t.csv", "-") + " --format csv";
    let begin = |_| {
        let mut command = folder.command(&job);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().expect("it starts")
    };
    let mut runs: Vec<Child> = (0..20).map(begin).collect();
    let mut inputs: Vec<_> = runs.iter_mut().map(|run| run.stdin.take().expect("a pipe")).collect();
    let since = Instant::now();
    let at = loop {
        let ended = |run: &mut Child| run.try_wait().expect("it can be waited for").is_some();
        let going: Vec<usize> = (0..runs.len()).filter(|&at| !ended(&mut runs[at])).collect();
        match *going.as_slice() {
            [one] => break one,
            [] => panic!("none of them goes on"),
            _ => assert!(since.elapsed() < Duration::from_secs(60), "{} go on", going.len()),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    inputs[at].write_all(folder.read("t.csv").as_bytes()).expect("it reads");
    drop(inputs);
    for (number, run) in runs.into_iter().enumerate() {
        let output = run.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(if number == at { 0 } else { 75 }), "{said}");
        assert!(number == at || said.contains("another run keeps its checkpoints here"), "{said}");
    }
    assert!(folder.read("o.csv") == want);
}

#[test]
fn two_runs_never_write_their_parts_into_one_folder() {
    let folder = Folder::new();
    let job = "run --trades trades.csv --instruments instruments.csv --unmatched keep --output out/ \
               --output-format parquet --quiet";
    let (first, second) = (format!("{job} --checkpoint a"), format!("{job} --checkpoint b"));
    // Its first checkpoint is never whole, nor is a part.
    let mut command = folder.command(&first);
    command.env("TRADEJOIN_FAULTS", "hang:table-0-1-0.arrow").stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut said = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    assert!(said.any(|line| line.expect("text") == "hangs at create table-0-1-0.arrow"));
    let refused = folder.run(&second);
    // Whatever came of the other, it goes with the test.
    child.kill().expect("killed");
    child.wait().expect("it ends");
    let told = "error: out: another run writes its parts in this folder: name another one\n";
    assert_eq!((refused.code, refused.stderr.as_str()), (73, told));
    folder.ok(&second);
    let said = folder.fails(73, &first);
    assert!(said.contains("out/: the folder has parts of another run"), "{said}");
    let list: serde_json::Value = serde_json::from_str(&folder.read("out/_manifest.json")).expect("JSON");
    assert_eq!((&list["rows"], &list["is_complete"]), (&5.into(), &true.into()));
}
