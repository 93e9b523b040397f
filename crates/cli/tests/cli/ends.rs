//! Outputs without checkpoints at the end of their run: all get their names, or none does.

use std::fs;
use std::process::Command;

use crate::changes::{TABLE, at};
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
    for call in 1..=calls {
        // What is left then cannot be removed, either.
        for kind in ["eio", "enospc"] {
            let (code, said) = run(&format!("{kind}@{call}:ever"));
            assert!(matches!(code, Some(73 | 74)), "{kind}@{call} on: {code:?}: {said}");
            for (at, text) in outputs().iter().enumerate() {
                assert!(text == "old" || *text == want[at], "{kind}@{call} on: {} is not whole", names[at]);
            }
            for name in folder.names().iter().filter(|name| name.ends_with(".partial")) {
                fs::remove_file(folder.path(name)).expect("removed");
            }
        }
        for fault in ["eintr", "short"].into_iter().flat_map(|kind| [(kind, "once"), (kind, "ever")]) {
            let (kind, how) = fault;
            let (code, said) = run(&format!("{kind}@{call}:{how}"));
            assert_eq!(code, Some(0), "{kind}@{call}:{how}: {said}");
            assert_eq!(outputs(), want, "{kind}@{call}:{how}");
        }
    }
    assert_eq!(run(&format!("eio@{}:once", calls + 1)).0, Some(0), "there are no more");
    assert_eq!(outputs(), want);
    let (code, said) = run("banana");
    assert!(code == Some(2) && said.contains("TRADEJOIN_FAULTS: \"banana\""), "{said}");
}

/// Changes beside a trade, with a journal that takes so many letters more than the shortest.
fn journaled(more: usize) -> Folder {
    let folder = Folder::empty();
    folder.put("t.jsonl", "{\"trade_id\":1,\"timestamp\":1,\"instrument_id\":1,\"user_id\":7}\n");
    folder.put("i.csv", TABLE);
    folder.put("u.csv", "user_id,username\n");
    let user = stream(&format!("u7={}", "x".repeat(1 + more)));
    folder.put("c.jsonl", at(stream("i1=A").trim_end().to_owned(), 1) + &at(user.trim_end().to_owned(), 1));
    ["j.jsonl", "o.jsonl"].iter().for_each(|name| folder.put(name, "old"));
    folder
}

const JOURNALED: &str = "run --trades t.jsonl --instruments i.csv --columns ticker --users u.csv \
    --table-changes c.jsonl --journal j.jsonl --output o.jsonl --quiet";

#[test]
fn a_journal_whose_last_line_cannot_be_written_leaves_the_output_of_an_earlier_run() {
    // What a shell limits files to.
    const UNIT: usize = 512;
    let folder = journaled(0);
    folder.ok(JOURNALED);
    let shortest = folder.read("j.jsonl").len();
    // A limit that is reached within the last line.
    let units = (shortest + 200) / UNIT + 1;
    let folder = journaled(units * UNIT + 5 - shortest);
    let script = format!(
        "ulimit -f {units}; exec '{}' {JOURNALED}",
        assert_cmd::cargo::cargo_bin!("tradejoin").display()
    );
    let mut command = Command::new("sh");
    let output = command.current_dir(folder.path("")).args(["-c", &script]).output().expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(said.contains("error: cannot write the journal: cannot write j.jsonl: File too large"), "{said}");
    assert_eq!(folder.names(), ["c.jsonl", "i.csv", "j.jsonl", "o.jsonl", "t.jsonl", "u.csv"]);
    assert_eq!(["j.jsonl", "o.jsonl"].map(|name| folder.read(name)), ["old"; 2]);
    folder.ok(JOURNALED);
    assert_eq!(folder.read("j.jsonl").len(), units * UNIT + 5);
}

#[test]
fn a_run_that_fails_leaves_the_journal_of_an_earlier_one() {
    let folder = journaled(0);
    folder.put("i.csv", format!("{TABLE}x\n"));
    let watching = JOURNALED.replace("--table-changes c.jsonl", "--watch");
    for job in [JOURNALED, &watching] {
        folder.fails(65, job);
        assert_eq!(folder.names(), ["c.jsonl", "i.csv", "j.jsonl", "o.jsonl", "t.jsonl", "u.csv"]);
        assert_eq!(["j.jsonl", "o.jsonl"].map(|name| folder.read(name)), ["old"; 2]);
    }
    folder.put("i.csv", TABLE);
    let said = folder.fails(74, &watching.replace("j.jsonl", "/dev/full"));
    assert!(said.contains("error: cannot write the journal: cannot write /dev/full: "), "{said}");
    assert_eq!(folder.read("o.jsonl"), "old");
    folder.ok(&watching);
    assert!(folder.read("j.jsonl").ends_with("{\"end\":{\"trades\":1}}\n"));
}
