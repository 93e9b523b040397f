//! Outputs without checkpoints at the end of their run: all get their names, or none does.

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
