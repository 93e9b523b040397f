//! Files that are written under one name and read, or written, under another.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::symlink;
use std::process::Stdio;

use crate::support::{ENRICHED, Folder, TRADES};

const JOB: &str = "run --trades trades.csv --instruments instruments.csv --users users.csv";
const CHANGING: &str = "run --trades trades.csv --instruments instruments.csv --watch --output o.csv";

/// Runs a job that must be refused, and gives what it said.
fn refused(folder: &Folder, line: &str, stdin: Stdio, stdout: Stdio) -> String {
    let output = folder.command(line).stdin(stdin).stdout(stdout).stderr(Stdio::piped()).output();
    let output = output.expect("it runs");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{line}: {said}");
    said
}

#[test]
fn nothing_is_written_over_an_input_whatever_its_name() {
    let folder = Folder::new();
    let open = |name: &str| Stdio::from(File::open(folder.path(name)).expect("a file"));
    let append = |name: &str| {
        Stdio::from(OpenOptions::new().append(true).create(true).open(folder.path(name)).expect("a file"))
    };
    for (name, link) in [("trades.csv", "t.link"), ("instruments.csv", "i.link")] {
        fs::hard_link(folder.path(name), folder.path(link)).expect("a link");
    }
    symlink("trades.csv", folder.path("s.link")).expect("a link");
    folder.put("job.toml", "");
    let input =
        |what: &str, input: &str| format!("error: {what} would take the place of an input, {input}\n");
    for (line, said) in [
        (format!("{CHANGING} --journal t.link"), input("--journal", "trades.csv")),
        (format!("{CHANGING} --journal i.link"), input("--journal", "instruments.csv")),
        (format!("{CHANGING} --journal s.link"), input("--journal", "trades.csv")),
        (format!("{CHANGING} --journal job.toml --config job.toml"), input("--journal", "job.toml")),
        (
            format!("{JOB} --output job.toml --output-format csv --config job.toml"),
            input("the output", "job.toml"),
        ),
    ] {
        assert_eq!(folder.fails(2, &line), said, "{line}");
    }
    let from_stdin = "run --trades - --format csv --instruments instruments.csv";
    for (line, output) in [
        (format!("{from_stdin} --watch --output o.csv --journal trades.csv"), "--journal"),
        (format!("{from_stdin} --output trades.csv"), "the output"),
    ] {
        let said = refused(&folder, &line, open("trades.csv"), Stdio::null());
        assert_eq!(said, input(output, "-"), "{line}");
    }
    let said = refused(&folder, JOB, Stdio::null(), append("trades.csv"));
    assert_eq!(said, input("the output", "trades.csv"));
    let said = refused(&folder, from_stdin, open("trades.csv"), append("trades.csv"));
    assert_eq!(said, input("the output", "-"));
    let line = CHANGING.replace("--output o.csv", "--journal out.csv");
    let said = refused(&folder, &line, Stdio::null(), append("out.csv"));
    assert_eq!(said, "error: --journal would take the place of the output\n");
    assert_eq!(folder.read("trades.csv"), TRADES);
    // What is no regular file may be both.
    let ran =
        folder.command(&format!("{JOB} --output - --dead-letters /dev/null --on-miss users=dead-letter"));
    let output = { ran }.stdin(Stdio::null()).output().expect("it runs");
    assert!(output.status.success() && output.stdout == ENRICHED.as_bytes());
}

#[test]
fn no_file_of_a_run_is_in_the_folder_of_its_checkpoints() {
    let folder = Folder::new();
    let told = |what: &str, path: &str| {
        format!(
            "error: {what}, {path}, is in the folder of the checkpoints, s, where files come and go: give it \
             another place\n"
        )
    };
    let job = format!("{JOB} --checkpoint s");
    let changing = format!("{CHANGING} --checkpoint s");
    let aside = "--output o.csv --on-miss users=dead-letter";
    let is_there = || folder.path("s").exists();
    // Also before there is such a folder.
    let said = folder.fails(2, &format!("{job} --output s/manifest-9.json --output-format jsonl"));
    assert_eq!((said, is_there()), (told("the output", "s/manifest-9.json"), false));
    folder.ok(&format!("{job} --output o.csv"));
    fs::create_dir(folder.path("t")).expect("a folder");
    symlink("../s/held-7.arrow", folder.path("t/leads-there.csv")).expect("a link");
    symlink("s", folder.path("also-s")).expect("a link");
    fs::rename(folder.path("users.csv"), folder.path("s/table-0-1-9.arrow")).expect("renamed");
    symlink("../trades.csv", folder.path("s/manifest-9.json")).expect("a link");
    for (line, what, path) in [
        (format!("{job} --output s/ --output-format parquet"), "the output", "s/"),
        (format!("{job} --output t/leads-there.csv"), "the output", "t/leads-there.csv"),
        (format!("{job} --output also-s/o.csv"), "the output", "also-s/o.csv"),
        (format!("{job} {aside} --dead-letters t/../s/d.jsonl"), "--dead-letters", "t/../s/d.jsonl"),
        (format!("{changing} --journal s/lock"), "--journal", "s/lock"),
        (format!("{changing} --control s/socket"), "--control", "s/socket"),
        (job.replace("users.csv", "s/table-0-1-9.arrow"), "an input", "s/table-0-1-9.arrow"),
        (job.replace("trades.csv", "s/manifest-9.json --format csv"), "an input", "s/manifest-9.json"),
    ] {
        assert_eq!(folder.fails(2, &line), told(what, path), "{line}");
    }
    assert!(folder.path("s/table-0-1-9.arrow").exists() && folder.path("s/manifest-9.json").is_symlink());
    assert!(!folder.path("s/socket").exists());
}

#[test]
fn two_outputs_are_never_one_file() {
    let folder = Folder::new();
    symlink("d.jsonl", folder.path("o.jsonl")).expect("a link to nothing");
    let aside = "--on-miss instruments=dead-letter --dead-letters d.jsonl";
    let said = folder.fails(2, &format!("{JOB} --output o.jsonl {aside}"));
    assert_eq!(said, "error: --dead-letters and --output are one file\n");
    let rotated = format!("{aside} --dead-letters-rotate 100KiB");
    for (name, what) in [
        ("--output d.000001.jsonl", "the output"),
        ("--output o.csv --watch --journal d.000012.jsonl", "--journal"),
    ] {
        let said = folder.fails(2, &format!("{JOB} {name} {rotated}"));
        assert_eq!(said, format!("error: {what} has a name that a file of --dead-letters will have\n"));
        folder.ok(&format!("{JOB} {name} {aside} --quiet"));
    }
    let said = folder.fails(2, &CHANGING.replace("--watch", "--watch --journal -"));
    assert_eq!(said, "error: --journal is a file of its own, beside the output\n");
}

#[test]
fn what_is_open_already_is_written_on_in_and_never_replaced() {
    let folder = Folder::new();
    let open = |name: &str| {
        folder.put(name, "keep\n");
        Stdio::from(OpenOptions::new().append(true).open(folder.path(name)).expect("a file"))
    };
    for name in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        let mut command = folder.command(&format!("{JOB} --output {name} --output-format csv"));
        assert!(command.stdout(open("f")).status().expect("it runs").success(), "{name}");
        assert_eq!(folder.read("f"), format!("keep\n{ENRICHED}"), "{name}");
    }
    let aside = "--on-miss instruments=dead-letter --dead-letters /dev/stderr";
    let correct = "--watch --correct 5m --corrections /dev/stderr";
    for (line, what) in [
        (format!("{JOB} --output /dev/stderr --output-format csv"), "the output"),
        (format!("{JOB} --output o.csv {aside}"), "--dead-letters"),
        (format!("{JOB} --output o.csv {correct}"), "--corrections"),
        (format!("{CHANGING} --journal /dev/stderr"), "--journal"),
    ] {
        let status = folder.command(&line).stderr(open("f")).status().expect("it runs");
        let said = format!(
            "keep\nerror: {what}, /dev/stderr, is a file that is open already, and would be replaced: name \
             the file itself\n"
        );
        assert_eq!((status.code(), folder.read("f")), (Some(2), said), "{line}");
    }
    // What cannot be replaced is written to, as any pipe.
    let letters = folder.run(&format!("{JOB} --output o.csv --quiet {aside}"));
    assert!(
        letters.code == 0 && letters.stderr.starts_with("{\"reason\":\"no-match\""),
        "{}",
        letters.stderr
    );
    // Whatever is written, not by runs alone.
    let line = "generate --trades /dev/fd/2 --format csv --limit 10";
    let status = folder.command(line).stderr(open("f")).status().expect("it runs");
    assert_eq!((status.code(), folder.read("f").starts_with("keep\n")), (Some(73), true));
}
