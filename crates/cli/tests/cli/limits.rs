//! What a run may be asked for, and what it says of what is too much.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;

use crate::support::Folder;

const JOB: &str = "run --trades trades.csv --instruments instruments.csv --output o.csv --quiet";

#[test]
fn what_goes_beyond_a_limit_is_told_with_its_option() {
    let folder = Folder::new();
    let deep = format!("{{\"trade_id\":1,\"instrument_id\":1,\"a\":{}{}}}\n", "[".repeat(9), "]".repeat(9));
    folder.put("deep.jsonl", deep);
    folder.put("very-deep.jsonl", format!("{{\"instrument_id\":1,\"a\":{}\n", "[".repeat(1_000_000)));
    folder.ok("generate --limit 500 --trades t.csv.gz --quiet");
    let of = |trades: &str| JOB.replace("trades.csv", trades);
    for (job, said) in [
        (format!("{JOB} --max-line 60"), "trades.csv, line 1: longer than 60 bytes (--max-line)"),
        (format!("{JOB} --max-fields 7"), "trades.csv, line 1: more than 7 fields (--max-fields)"),
        (format!("{} --max-depth 9", of("deep.jsonl")), "line 1: objects and lists lie more than 9 deep"),
        (of("very-deep.jsonl"), "line 1: broken JSON"),
        (
            format!("{} --max-unpacked 2KiB", of("t.csv.gz")),
            "t.csv.gz: it unpacks to more than 2 KiB (--max-unpacked)",
        ),
    ] {
        let stderr = folder.fails(65, &job);
        assert!(stderr.contains(said), "{job}: {stderr}");
    }
    folder.ok(&format!("{} --max-depth 10", of("deep.jsonl")));
    folder.ok(&format!("{} --max-unpacked 1TB --max-ratio 1", of("t.csv.gz")));
    for (flags, said) in [
        ("--max-tables 1 --users users.csv", "2 tables are more than a run may have, 1 (--max-tables)"),
        ("--max-in-flight 512KiB --workers 1", "--max-in-flight: 9 batches may be under way"),
        ("--max-line 2GiB", "write a size from 1 byte to 1 GiB"),
        ("--max-fields 0", "write a whole number from 1 to 1000000"),
    ] {
        let stderr = folder.fails(2, &format!("{JOB} {flags}"));
        assert!(stderr.contains(said), "{flags}: {stderr}");
    }
}

#[test]
fn all_commands_that_read_have_limits() {
    let folder = Folder::new();
    folder.ok(JOB);
    for (command, code) in [
        ("check --trades trades.csv --instruments instruments.csv", 65),
        ("verify --trades trades.csv --instruments instruments.csv o.csv", 65),
        ("explain --trades trades.csv --instruments instruments.csv --row 1", 65),
        ("diff-table instruments.csv instruments.csv", 65),
    ] {
        let stderr = folder.fails(code, &format!("{command} --max-fields 2"));
        assert!(stderr.contains("(--max-fields)"), "{command}: {stderr}");
    }
    // An output has more columns than the trades, and is read again all the same.
    folder.ok("verify --trades trades.csv --instruments instruments.csv o.csv --max-fields 8");
}

#[test]
fn a_row_may_be_any_number_of_times_longer_than_its_trade() {
    let folder = Folder::empty();
    folder.put("t.csv", "trade_id,k\n1,a\n2,a\n");
    let mut job = "--trades t.csv --max-line 100".to_owned();
    for table in 1..=9 {
        folder.put(&format!("k{table}.csv"), format!("k,v{table}\na,{}\n", "x".repeat(90)));
        job += &format!(" --table k{table}=k{table}.csv,key=k");
    }
    for output in ["o.csv", "o.jsonl"] {
        folder.ok(&format!("run {job} --output {output} --quiet"));
        folder.ok(&format!("verify {job} {output}"));
    }
}

#[test]
fn limits_stand_in_a_file_and_among_the_settings() {
    let folder = Folder::new();
    folder.put("c.toml", "[limits]\nmax_line = \"1MiB\"\nmax_fields = 100\nmax_in_flight = \"64MiB\"\n");
    let printed = folder.ok(&JOB.replace("--quiet", "--config c.toml --workers 1"));
    for said in ["max-line 1.00 MiB", "max-fields 100", "max-in-flight 64.00 MiB"] {
        assert!(printed.contains(said), "{said}: {printed}");
    }
    assert!(!printed.contains("max-depth"), "{printed}");
    let json = folder.ok(&JOB.replace("--quiet", "--config c.toml --workers 1 --json --max-line 2KiB"));
    let summary: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(summary["settings"]["engine"]["max_line"], 2_048);
    assert_eq!(summary["settings"]["engine"]["max_in_flight"], 64 << 20);
}

#[test]
fn less_text_under_way_is_the_same_output() {
    let folder = Folder::empty();
    folder.ok("generate --limit 30000 --ids 50 --trades trades.csv --instruments instruments.csv --quiet");
    folder.ok(JOB);
    let whole = folder.read("o.csv");
    folder.ok(&format!("{JOB} --workers 2 --max-in-flight 640KiB"));
    assert_eq!(folder.read("o.csv"), whole);
}

#[test]
fn too_few_open_files_are_told_at_the_start() {
    let folder = Folder::new();
    let command = folder.command(JOB);
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let script =
        format!("ulimit -n 20; exec '{}' {}", command.get_program().to_string_lossy(), words.join(" "));
    let ran = std::process::Command::new("sh").current_dir(folder.path("")).args(["-c", &script]).output();
    let ran = ran.expect("a shell");
    let stderr = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("the system allows 20 (ulimit -n)"), "{stderr}");
}

/// A pipe by a name.
fn fifo(folder: &Folder, name: &str) {
    mknodat(CWD, folder.path(name), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
}

#[test]
fn a_sink_that_stands_still_is_told_and_that_it_goes_on() {
    let folder = Folder::empty();
    folder.ok("generate --limit 30000 --ids 50 --trades trades.csv --instruments instruments.csv --quiet");
    fifo(&folder, "o.csv");
    let job = JOB.replace("--quiet", "--output-format csv --stall-warning 20ms");
    let mut child =
        folder.command(&job).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut reader = File::open(folder.path("o.csv")).expect("a pipe");
    let mut lines =
        BufReader::new(child.stderr.take().expect("piped")).lines().map(|line| line.expect("text"));
    // Nobody reads until it was told.
    let told = lines.find(|line| line.contains("o.csv has made no progress for")).expect("told");
    assert!(told.starts_with("warning: writing to ") && told.contains("o.csv has made"), "{told}");
    let mut output = String::new();
    reader.read_to_string(&mut output).expect("text");
    let rest: Vec<_> = lines.collect();
    assert!(rest.iter().any(|line| line.contains("o.csv goes on after")), "{rest:?}");
    assert!(child.wait().expect("it ends").success());
    assert!(output.lines().count() > 1_000);
}

#[test]
fn a_disk_that_stands_still_is_told() {
    let (folder, _) = crate::checkpoints::folder();
    let mut command = folder.command(&format!("{} --stall-warning 20ms", crate::checkpoints::JOB));
    let said = File::create(folder.path("said")).expect("a file");
    command.env("TRADEJOIN_FAULTS", "hang:manifest.tmp").stderr(said);
    let mut child = command.spawn().expect("it runs");
    let told = "warning: keeping a checkpoint has made no progress for ";
    let begin = Instant::now();
    while !folder.read("said").contains(told) {
        assert!(begin.elapsed() < Duration::from_secs(60), "it is never told: {}", folder.read("said"));
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("it is there");
    child.wait().expect("it ends");
}

#[test]
fn a_pipe_that_keeps_a_run_from_its_beginning_is_told_by_its_name() {
    let folder = Folder::new();
    fifo(&folder, "i.fifo");
    let job = "run --trades trades.csv --instruments i.fifo --format csv --stall-warning 20ms --output o.csv";
    let mut child = folder.command(job).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut pipe = File::create(folder.path("i.fifo")).expect("a pipe");
    let mut lines =
        BufReader::new(child.stderr.take().expect("piped")).lines().map(|line| line.expect("text"));
    let told = lines.find(|line| line.starts_with("waiting for "));
    assert!(told.expect("told").starts_with("waiting for bytes of i.fifo for "));
    pipe.write_all(crate::support::INSTRUMENTS.as_bytes()).expect("written");
    drop(pipe);
    lines.for_each(drop);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn a_stall_is_counted_in_json_and_never_where_nobody_asks() {
    let folder = Folder::empty();
    folder.ok("generate --limit 30000 --ids 50 --trades trades.csv --instruments instruments.csv --quiet");
    fifo(&folder, "o.csv");
    for (flag, is_counted) in [("20ms", true), ("0", false)] {
        let job = JOB.replace("--quiet", &format!("--output-format csv --json --stall-warning {flag}"));
        let child =
            folder.command(&job).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let mut reader = File::open(folder.path("o.csv")).expect("a pipe");
        // Once it writes, more than a pipe holds is to come.
        reader.read_exact(&mut [0]).expect("text");
        if is_counted {
            std::thread::sleep(Duration::from_secs(2));
        }
        reader.read_to_string(&mut String::new()).expect("text");
        let ran = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success() && said.contains("has made no progress") == is_counted, "{said}");
        assert!(said.lines().all(|line| line.starts_with("warning: ")), "{said}");
        let summary: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
        assert_eq!(summary.get("stalls").is_some(), is_counted, "{summary}");
    }
}

/// Commands to a terminal: its title, a cleared screen, a bell, the other direction.
const HOSTILE: &str = "\u{1b}]0;x\u{7}\u{1b}[2J\u{9b}3J\u{202e}";

#[test]
fn data_cannot_drive_a_terminal() {
    let folder = Folder::empty();
    folder.put("trades.csv", format!("trade_id,code,note\n1,a{HOSTILE},n{HOSTILE}\n2,b,n{HOSTILE}\n"));
    folder.put("codes.csv", format!("code,name{HOSTILE}\nb,m{HOSTILE}\n"));
    folder.put("newer.csv", format!("code,name{HOSTILE}\nb,other{HOSTILE}\nc{HOSTILE},m\n"));
    folder.put("header.csv", format!("x{HOSTILE}\n1\n"));
    folder.put("bad.jsonl", format!("{{\"trade_id\":1,\"code\":\"b\"}}\n{{\"{HOSTILE}\":1}}\n"));
    let run = |trades: &str| {
        format!("run --trades {trades} --table codes=codes.csv,key=code --output o.csv --unmatched keep")
    };
    let tables = "--trades trades.csv --table codes=codes.csv,key=code";
    for command in [
        run("trades.csv"),
        run("header.csv"),
        run("bad.jsonl"),
        format!("{} --on-bad-record skip", run("bad.jsonl")),
        format!("{} --columns nothing", run("trades.csv")),
        format!("{} --on-miss codes=fail", run("trades.csv")),
        format!("check {tables}"),
        format!("explain {tables} --row 1"),
        format!("explain {tables} --row 2"),
        format!("verify {tables} --unmatched keep header.csv"),
        "diff-table --key code codes.csv newer.csv".to_owned(),
    ] {
        // As on a terminal: nothing is left out on the way.
        let ran = folder.command(&command).env("CLICOLOR_FORCE", "1").output().expect("it runs");
        for text in [ran.stdout, ran.stderr] {
            let text = String::from_utf8(text).expect("text");
            let obeyed = ["\u{1b}]", "\u{1b}[2J", "\u{7}", "\u{9b}", "\u{202e}"];
            let sent: Vec<_> = obeyed.iter().filter(|part| text.contains(**part)).collect();
            assert!(sent.is_empty(), "{command}: {sent:?} in {text:?}");
        }
    }
}

#[test]
fn names_in_data_are_no_paths() {
    let folder = Folder::empty();
    let name = "../../evil/\u{0}..";
    folder.put(
        "trades.jsonl",
        "{\"trade_id\":1,\"instrument_id\":9,\"../up\":\"../../evil\"}\n{\"instrument_id\":\"/etc/x\"}\n",
    );
    folder.put(
        "instruments.csv",
        format!("instrument_id,ticker,strike,expiry,option_type,../n\n1,SPY,1,2024-11-03,call,{name}\n"),
    );
    std::fs::create_dir(folder.path("in")).expect("a folder");
    let job = "run --trades trades.jsonl --instruments instruments.csv --output in/parts/ --output-format parquet --checkpoint in/state \
        --on-miss instruments=dead-letter --on-bad-record dead-letter --dead-letters in/letters.jsonl --columns ../n --quiet";
    folder.ok(job);
    assert_eq!(folder.names(), ["in", "instruments.csv", "trades.jsonl"]);
    let mut made: Vec<_> = std::fs::read_dir(folder.path("in"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    made.sort();
    assert_eq!(made, ["letters.jsonl", "parts", "state"]);
    for part in std::fs::read_dir(folder.path("in/parts")).expect("a folder") {
        let name = part.expect("an entry").file_name().into_string().expect("text");
        assert!(name.starts_with("part-") || ["_manifest.json", ".lock"].contains(&&*name), "{name}");
    }
}

/// A run takes no secrets: what its environment has of them is in nothing that it says or writes,
/// also where it fails, panics or dies.
#[test]
fn no_secret_of_the_environment_is_told_or_kept() {
    const SECRET: &str = "canary-7d1f0b";
    let folder = Folder::new();
    let job = "run --trades trades.csv --instruments instruments.csv --on-miss instruments=dead-letter \
               --dead-letters d.jsonl --journal j.jsonl --watch --checkpoint state --output o.csv";
    let (mut told, mut codes) = (Vec::new(), Vec::new());
    for (flags, faults) in [
        ("--verbose", ""),
        ("--json", "eio@9:once"),
        ("--verbose", "panic@9:once"),
        ("--json", "kill@9:before"),
    ] {
        let mut command = folder.command(&format!("{job} {flags}"));
        for name in ["AWS_SECRET_ACCESS_KEY", "SASL_PASSWORD", "HTTPS_PROXY", "TRADEJOIN_TOKEN"] {
            command.env(name, SECRET);
        }
        if !faults.is_empty() {
            command.env("TRADEJOIN_FAULTS", faults);
        }
        let output = command.env("RUST_BACKTRACE", "full").output().expect("it runs");
        codes.push(output.status.code());
        told.extend([output.stdout, output.stderr].concat());
        let files = all_files(&folder.path(""));
        assert!(files.len() > 4, "{files:?}");
        files.iter().for_each(|file| told.extend(std::fs::read(file).expect("a file")));
        std::fs::remove_dir_all(folder.path("state")).expect("it was made");
    }
    assert_eq!(codes, [Some(0), Some(74), Some(70), None]);
    assert!(!String::from_utf8_lossy(&told).contains(SECRET));
}

/// All files in a folder and in those in it.
fn all_files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { all_files(&path) } else { vec![path] }).collect()
}

#[test]
fn checkpoints_are_for_their_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    folder.ok(&format!("{JOB} --checkpoint state"));
    let mode = |name: &str| folder.path(name).metadata().expect("there").permissions().mode() & 0o777;
    assert_eq!(mode("state"), 0o700);
    for entry in std::fs::read_dir(folder.path("state")).expect("a folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("text");
        assert_eq!(mode(&format!("state/{name}")) & 0o077, 0, "{name}");
    }
}

#[test]
fn a_window_that_zstandard_does_not_take_is_told_with_its_limit() {
    let folder = Folder::new();
    // A frame that asks for 256 MiB, and an empty block, its last.
    folder.put("t.csv.zst", [0x28, 0xb5, 0x2f, 0xfd, 0, 18 << 3, 1, 0, 0]);
    let said = folder.fails(65, "run --trades t.csv.zst --instruments instruments.csv");
    let why =
        "it takes a Zstandard window of more than 128 MiB: pack it again without --long, or with --long=27";
    assert_eq!(said, format!("error: t.csv.zst: {why}\n"));
}
