//! Outputs without checkpoints at the end of their run: all get their names, or none does.

use std::fs;
use std::process::Command;

use crate::support::Folder;
use crate::words::stream;

const JOB: &str = "run --messages s.jsonl --tables instruments --columns ticker --output o.jsonl \
    --on-miss instruments=dead-letter --dead-letters d.jsonl --correct 2rows --corrections c.jsonl --quiet";

/// A stream whose trades take less than what is held back of an output, and more than 20 blocks.
fn folder() -> Folder {
    let folder = Folder::empty();
    folder.put("s.jsonl", stream(&format!("i1=A {} t9 t1 i1=B", "t1 ".repeat(1_000))));
    folder
}

#[test]
fn a_run_that_fails_when_its_output_is_closed_replaces_no_other_output() {
    let folder = folder();
    let names = ["c.jsonl", "d.jsonl", "o.jsonl"];
    names.iter().for_each(|name| folder.put(name, "old"));
    let script =
        format!("ulimit -f 20; exec '{}' {JOB}", assert_cmd::cargo::cargo_bin!("tradejoin").display());
    let mut command = Command::new("sh");
    let output = command.current_dir(folder.path("")).args(["-c", &script]).output().expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(said.contains("cannot write o.jsonl") && said.contains("File too large"), "{said}");
    assert_eq!(folder.names(), ["c.jsonl", "d.jsonl", "o.jsonl", "s.jsonl"]);
    assert_eq!(names.map(|name| folder.read(name)), ["old"; 3]);

    folder.ok(JOB);
    assert_eq!(names.map(|name| folder.read(name).lines().count()), [1, 1, 1_001]);
    let bytes = folder.read("o.jsonl").len();
    assert!((20 << 10..128 << 10).contains(&bytes), "it is held back to the end: {bytes} bytes");
}

/// Durable calls of the end: each of the outputs gets its name, and its folder is synced.
const NAMING: u64 = 6;

#[test]
fn every_durable_call_of_a_run_without_checkpoints_may_fail() {
    let folder = folder();
    let names = ["c.jsonl", "d.jsonl", "o.jsonl"];
    let run = |faults: &str| {
        names.iter().for_each(|name| folder.put(name, "old"));
        let output = folder.command(JOB).env("TRADEJOIN_FAULTS", faults).output().expect("it runs");
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    let outputs = || names.map(|name| folder.read(name));
    let (code, said) = run("count:calls");
    assert!(code == Some(0) && said.contains("TRADEJOIN_FAULTS is set"), "{said}");
    let calls: u64 = folder.read("calls").trim().parse().expect("a number");
    fs::remove_file(folder.path("calls")).expect("it was counted");
    let (want, old) = (outputs(), ["old"; 3]);
    // Each is made, written, synced and named.
    assert!(calls >= 9 + NAMING && want.iter().all(|text| *text != "old"), "{calls} calls");
    for (call, kind) in (1..=calls).flat_map(|call| [(call, "eio"), (call, "enospc")]) {
        let (code, said) = run(&format!("{kind}@{call}:once"));
        assert!(matches!(code, Some(73 | 74)), "{kind}@{call}: {code:?}: {said}");
        let reason = if kind == "eio" { "Input/output error" } else { "No space left on device" };
        assert!(said.contains(reason), "{kind}@{call}: {said}");
        let got = outputs();
        if call <= calls - NAMING {
            assert_eq!(got, old, "{kind}@{call}");
        }
        for (at, text) in got.iter().enumerate() {
            assert!(text == "old" || *text == want[at], "{kind}@{call}: {} is not whole", names[at]);
        }
        // That of the trades has its name last: only the sync of the folder is behind it.
        assert!(got[2] == "old" || call == calls, "{kind}@{call}");
        assert_eq!(folder.names(), ["c.jsonl", "d.jsonl", "o.jsonl", "s.jsonl"], "{kind}@{call}");
    }
    assert_eq!(run(&format!("eio@{}:once", calls + 1)).0, Some(0), "there are no more");
    assert_eq!(outputs(), want);
    let (code, said) = run("banana");
    assert!(code == Some(2) && said.contains("TRADEJOIN_FAULTS: \"banana\""), "{said}");
}
