//! Runs with checkpoints: how they go on, and what they refuse.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Folder, Ran};

pub(crate) const JOB: &str =
    "run --trades t.csv --instruments i.csv --unmatched keep --output o.csv --checkpoint state";
/// Often and in small batches, so that there are some.
pub(crate) const SMALL: &str = "--checkpoint-every 1000rows --batch-len 200";
const TRADES: usize = 20_000;

fn trade(number: usize) -> String {
    format!("{number},{},{}.25\n", number % 7, number % 90)
}

/// A folder with some trades, and what becomes of them.
pub(crate) fn folder() -> (Folder, String) {
    let folder = Folder::empty();
    let rows = (1..=TRADES).fold(String::new(), |mut all, number| {
        let _ = write!(all, "{}", trade(number));
        all
    });
    folder.put("t.csv", format!("trade_id,instrument_id,price\n{rows}"));
    folder.put("i.csv", table("SPY"));
    folder.ok("run --trades t.csv --instruments i.csv --unmatched keep --output want.csv --quiet");
    let want = folder.read("want.csv");
    (folder, want)
}

fn table(ticker: &str) -> String {
    (0..5).fold("instrument_id,ticker,strike,expiry,option_type\n".to_owned(), |mut all, id| {
        let _ = writeln!(all, "{id},{ticker},{},2024-11-03,call", 100 + id);
        all
    })
}

/// Runs the job until it dies at a durable call, behind its first checkpoint. How many calls
/// there are is a matter of timing: late ones are tried first.
pub(crate) fn die(folder: &Folder, job: &str) {
    let is_killed = (20..=60).rev().step_by(5).any(|call| {
        for name in folder.names().iter().filter(|name| name.starts_with("o.csv") || *name == "state") {
            let path = folder.path(name);
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("removed");
        }
        let mut command = folder.command(&format!("{job} {SMALL}"));
        let output = command.env("TRADEJOIN_FAULTS", format!("kill@{call}:before")).output();
        let status = output.expect("it runs").status;
        assert!(status.success() || status.signal() == Some(9), "{status}");
        // Nor may it be behind the last one.
        status.signal() == Some(9) && folder.ok("checkpoint list state").contains("a run goes on here")
    });
    assert!(is_killed, "it never dies");
}

/// The numbers of the checkpoints that there are.
pub(crate) fn epochs(folder: &Folder) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(folder.path("state")) else { return Vec::new() };
    let epoch = |name: String| name.strip_prefix("manifest-")?.strip_suffix(".json")?.parse().ok();
    entries
        .filter_map(|entry| epoch(entry.expect("an entry").file_name().into_string().expect("text")))
        .collect()
}

/// The number of the newest one; 0 if there is none.
pub(crate) fn newest(folder: &Folder) -> u64 {
    epochs(folder).into_iter().max().unwrap_or(0)
}

/// Waits for a checkpoint behind the one of that number.
pub(crate) fn wait_for_checkpoint(folder: &Folder, last: u64) {
    let begin = Instant::now();
    while newest(folder) <= last {
        assert!(begin.elapsed() < Duration::from_secs(60), "there is no checkpoint behind {last}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn said(folder: &Folder, line: &str) -> String {
    let Ran { code, stderr, stdout } = folder.run(line);
    assert_eq!(code, 0, "{line}\n{stderr}");
    stderr + &stdout
}

#[test]
fn a_run_that_is_complete_is_not_done_again() {
    let (folder, want) = folder();
    let first: serde_json::Value = serde_json::from_str(&folder.ok(&format!("{JOB} --json"))).expect("JSON");
    assert_eq!(folder.read("o.csv"), want);
    let before = fs::metadata(folder.path("o.csv")).and_then(|file| file.modified()).expect("a time");
    let said = said(&folder, &format!("{JOB} --workers 3"));
    assert!(said.contains("nothing to do: the run of the checkpoints in state is complete"), "{said}");
    // Programs are told what came of it.
    let summary: serde_json::Value =
        serde_json::from_str(&folder.ok(&format!("{JOB} --json"))).expect("JSON");
    assert_eq!((&summary["already_complete"], &summary["rows_read"]), (&true.into(), &TRADES.into()));
    assert_eq!(summary["outcomes"], first["outcomes"]);
    assert_eq!((&first["already_complete"], &summary["elapsed_s"]), (&false.into(), &0.0.into()));
    let after = fs::metadata(folder.path("o.csv")).and_then(|file| file.modified()).expect("a time");
    assert_eq!((folder.read("o.csv"), before), (want, after));
    assert_eq!(folder.names(), ["i.csv", "o.csv", "state", "t.csv", "want.csv"]);
}

#[test]
fn an_output_behind_a_link_that_leads_nowhere_yet_is_gone_on_with() {
    let (folder, want) = folder();
    std::os::unix::fs::symlink("data.csv", folder.path("link.csv")).expect("a link");
    let job = JOB.replace("o.csv", "link.csv");
    die(&folder, &job);
    // What was written is not thrown away for a link that leads elsewhere now.
    let lead_to = |name: &str| {
        fs::remove_file(folder.path("link.csv")).expect("removed");
        std::os::unix::fs::symlink(name, folder.path("link.csv")).expect("a link");
    };
    lead_to("other.csv");
    let refused = folder.fails(78, &job);
    assert!(
        refused.contains("the checkpoint is of another output, ") && refused.contains("data.csv"),
        "{refused}"
    );
    lead_to("data.csv");
    assert!(said(&folder, &job).contains("going on from checkpoint "));
    assert!(folder.read("data.csv") == want);
    assert!(fs::symlink_metadata(folder.path("link.csv")).expect("there").is_symlink());
}

#[test]
fn tables_come_from_the_checkpoint_and_not_from_their_files() {
    let (folder, want) = folder();
    die(&folder, JOB);
    folder.put("i.csv", table("QQQ"));
    let said = said(&folder, JOB);
    assert!(said.contains("going on from checkpoint "), "{said}");
    assert!(said.contains("tables were there after "), "{said}");
    assert!(folder.read("o.csv") == want);
}

#[test]
fn what_belongs_to_another_job_is_refused_with_what_differs() {
    let (folder, want) = folder();
    die(&folder, JOB);
    let said = folder.fails(78, &JOB.replace("--unmatched keep", "--unmatched drop"));
    assert!(
        said.contains("instruments.on_miss") && said.contains("\"keep\"") && said.contains("\"drop\""),
        "{said}"
    );
    folder.put("other.csv", folder.read("t.csv"));
    let said = folder.fails(78, &JOB.replace("t.csv", "other.csv"));
    assert!(said.contains("input.trades") && said.contains("other.csv"), "{said}");
    // The same name, and another file.
    let trades = folder.read("t.csv");
    folder.put("t.csv", trades.replace("1,1,", "1,2,"));
    let said = folder.fails(65, JOB);
    assert!(said.contains("t.csv"), "{said}");
    folder.put("t.csv", &trades[..200]);
    let said = folder.fails(65, JOB);
    assert!(said.contains("t.csv"), "{said}");
    // An output that somebody has written to.
    folder.put("t.csv", &trades);
    let partial = folder.names().into_iter().find(|name| name.ends_with(".partial")).expect("a part of it");
    let content = fs::read(folder.path(&partial)).expect("read");
    folder.put(&partial, &content[..10]);
    let said = folder.fails(78, JOB);
    assert!(said.contains(&partial) && said.contains("shorter"), "{said}");
    folder.put(&partial, &content);
    folder.ok(JOB);
    assert!(folder.read("o.csv") == want);
}

#[test]
fn how_the_work_is_done_may_change_from_one_life_to_the_next() {
    let (folder, want) = folder();
    die(&folder, JOB);
    folder.ok(&format!(
        "{JOB} --workers 3 --batch-len 333 --queue-depth 2 --distribution instruments=partitioned --linger 0 \
         --checkpoint-every 1m --checkpoint-keep 1 --gate-timeout 1m --stall-warning 5s --max-in-flight 1GiB \
         --max-message 1MiB --max-ratio 7 --max-tables 2 --max-unpacked 1GiB --watch"
    ));
    assert!(folder.read("o.csv") == want);
}

#[test]
fn a_file_that_has_grown_is_read_to_its_new_end() {
    let (folder, want) = folder();
    die(&folder, JOB);
    let mut file = fs::OpenOptions::new().append(true).open(folder.path("t.csv")).expect("a file");
    file.write_all(trade(TRADES + 1).as_bytes()).expect("written");
    folder.ok(JOB);
    let output = folder.read("o.csv");
    assert_eq!(output.lines().count(), want.lines().count() + 1);
    assert!(output.starts_with(&want));
}

/// A run whose trades come through a pipe.
fn waiting(folder: &Folder) -> Child {
    let job = JOB.replace("t.csv", "-");
    let mut command = folder.command(&format!("{job} --format csv {SMALL}"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("it starts")
}

#[test]
fn a_folder_is_one_runs_at_a_time() {
    let (folder, _) = folder();
    let mut child = waiting(&folder);
    let begin = Instant::now();
    while !folder.path("state/lock").exists() {
        assert!(begin.elapsed() < Duration::from_secs(60), "it never begins");
        std::thread::yield_now();
    }
    let said = loop {
        // The file is there a moment before it is locked.
        let ran = folder.run(JOB);
        if ran.code == 75 {
            break ran.stderr;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{}", ran.stderr);
        fs::remove_dir_all(folder.path("state")).expect("removed");
        child.kill().expect("killed");
        child.wait().expect("it ends");
        child = waiting(&folder);
        std::thread::sleep(Duration::from_millis(500));
    };
    assert!(said.contains("another run keeps its checkpoints here"), "{said}");
    child.kill().expect("killed");
    child.wait().expect("it ends");
}

#[test]
fn a_run_that_is_interrupted_keeps_what_it_has_done() {
    let (folder, want) = folder();
    let mut child = waiting(&folder);
    let mut stdin = child.stdin.take().expect("a pipe");
    let trades = folder.read("t.csv");
    let first = &trades[..trades.len() / 2];
    stdin.write_all(first.as_bytes()).expect("written");
    wait_for_checkpoint(&folder, 0);
    kill_process(Pid::from_child(&child), Signal::INT).expect("it is there");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("the same command goes on where it was"), "{said}");
    let shown = folder.ok("checkpoint show state");
    assert!(shown.contains("interrupted: the same command goes on"), "{shown}");
    drop(stdin);
    // Its producer sends the same again.
    let mut child = waiting(&folder);
    let mut stdin = child.stdin.take().expect("a pipe");
    let output = std::thread::scope(|threads| {
        let writing = threads.spawn(move || stdin.write_all(trades.as_bytes()));
        let output = child.wait_with_output().expect("it ends");
        writing.join().expect("it ends").expect("written");
        output
    });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(folder.read("o.csv") == want);
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let (folder, _) = folder();
    for (flags, part) in [
        ("--checkpoint-every banana", "20000rows"),
        ("--checkpoint-every 0s", "20000rows"),
        ("--checkpoint-keep 0", "checkpoint-keep"),
    ] {
        let said = folder.fails(2, &format!("{JOB} {flags}"));
        assert!(said.contains(part), "{flags}: {said}");
    }
    let output = folder.command(JOB).env("TRADEJOIN_FAULTS", "banana").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("TRADEJOIN_FAULTS: \"banana\""), "{said}");
    let said = folder.fails(2, &JOB.replace("o.csv", "o.parquet"));
    assert!(said.contains("in parts") && said.contains("folder"), "{said}");
    assert_eq!(folder.names(), ["i.csv", "state", "t.csv", "want.csv"]);
}

/// Standard output cannot be taken back: what was written behind the last checkpoint comes
/// twice.
#[test]
fn standard_output_gets_every_trade_at_least_once() {
    let (folder, want) = folder();
    let job = JOB.replace("o.csv", "-");
    let mut first = None;
    // How many calls there are is a matter of timing, as in `die`.
    for call in (10..=40).rev().step_by(3) {
        let _ = fs::remove_dir_all(folder.path("state"));
        let mut command = folder.command(&format!("{job} {SMALL} --output-format csv"));
        let output =
            command.env("TRADEJOIN_FAULTS", format!("kill@{call}:before")).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("\nrows of standard output come at least once: "), "{said}");
        let is_killed = output.status.signal() == Some(9);
        if is_killed && folder.ok("checkpoint list state").contains("a run goes on here") {
            first = Some(String::from_utf8(output.stdout).expect("text"));
            break;
        }
    }
    let first = first.expect("it dies behind a checkpoint");
    let Ran { code, stdout: second, stderr: said } = folder.run(&job);
    assert_eq!(code, 0, "{said}");
    let last = said.split_once("going on from checkpoint ").and_then(|(_, said)| said.split_once(','));
    let (last, _) = last.expect("it goes on");
    assert!(
        said.contains(&format!("\nrows of standard output behind checkpoint {last} come again\n")),
        "{said}"
    );
    assert!(want.starts_with(&first), "as far as it came");
    let rows = second.strip_prefix(want.lines().next().expect("a header")).expect("a header in each life");
    assert!(want.ends_with(rows.trim_start()), "from a checkpoint on");
    assert!(first.len() + rows.trim_start().len() >= want.len(), "nothing is missing");
}

#[test]
fn outputs_that_get_rows_at_least_once_are_told_and_no_others() {
    let folder = Folder::new();
    let job = "run --trades trades.csv --instruments instruments.csv --on-miss instruments=dead-letter \
               --dead-letters /dev/null --output o.csv --checkpoint";
    let said = said(&folder, &format!("{job} people"));
    assert!(said.contains("rows of /dev/null come at least once: "), "{said}");
    assert!(!said.contains("o.csv come"), "{said}");
    let settings = |job: &str| {
        let Ran { code, stdout, stderr } = folder.run(&format!("{job} --json"));
        assert!(code == 0 && stderr.is_empty(), "{stderr}");
        let summary: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
        summary["settings"]["output"]["at_least_once"].clone()
    };
    assert_eq!(settings(&format!("{job} programs")), serde_json::json!(["/dev/null"]));
    let none = job.replace("/dev/null", "d.jsonl");
    assert_eq!(settings(&format!("{none} files")), serde_json::json!([]));
    assert_eq!(settings(none.trim_end_matches(" --checkpoint")), serde_json::Value::Null);
    assert_eq!(folder.run(&format!("{job} nobody --quiet")).stderr, "");
}

/// As where a quota ends, or the limit of a file's size.
#[test]
fn a_file_that_may_not_grow_ends_the_run_and_the_next_one_goes_on() {
    let (folder, want) = folder();
    let mut command = std::process::Command::new("sh");
    let binary = assert_cmd::cargo::cargo_bin!("tradejoin");
    let script = format!("ulimit -f 200; exec {} {JOB} {SMALL}", binary.display());
    let output = command.current_dir(folder.path("")).args(["-c", &script]).output().expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(said.contains("File too large") && said.contains("the same command goes on"), "{said}");
    folder.ok(JOB);
    assert!(folder.read("o.csv") == want);
}

#[test]
fn a_run_whose_bad_records_are_all_of_an_earlier_one_says_what_goes_on() {
    let (folder, want) = folder();
    folder.put("i.csv", table("SPY") + "x\n");
    let job = format!("{JOB} {SMALL} --on-bad-record skip --max-bad");
    let said = folder.fails(65, &format!("{job} 1%"));
    assert!(
        said.contains("of instruments, more than the 1% that are allowed (--max-bad); the first: i.csv"),
        "{said}"
    );
    let said = folder.fails(65, &format!("{job} 1%"));
    let end = "(--max-bad); all of them before the run went on: with a higher one it goes on again\n";
    assert!(said.ends_with(end), "{said}");
    folder.ok(&format!("{job} 50%"));
    assert!(folder.read("o.csv") == want);
}

#[test]
fn only_a_run_that_has_a_checkpoint_says_that_the_next_one_goes_on_from_it() {
    let (folder, _) = folder();
    let mut seen = [0, 0];
    for call in (2..40).step_by(3) {
        let _ = fs::remove_dir_all(folder.path("state"));
        let mut command = folder.command(&format!("{JOB} {SMALL}"));
        let output = command.env("TRADEJOIN_FAULTS", format!("eio@{call}:ever")).output().expect("it runs");
        let (said, is_kept) = (String::from_utf8_lossy(&output.stderr), !epochs(&folder).is_empty());
        if output.status.code() == Some(74) {
            assert_eq!(said.contains("goes on from the last checkpoint"), is_kept, "{call}: {said}");
            seen[usize::from(is_kept)] += 1;
        }
    }
    assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
}

/// What has changed in a file while no run was there is a reload of the one that goes on.
#[test]
fn a_watched_table_is_compared_with_what_was_kept() {
    let (folder, _) = folder();
    let job = "run --trades - --format csv --instruments i.csv --output - --checkpoint state --watch=5ms \
               --verbose --checkpoint-every 10rows --batch-len 10 --max-removed 100% --control c.sock";
    let start = || {
        let mut command = folder.command(job);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("it starts")
    };
    let first: String = (1..=100).map(trade).collect();
    let first = format!("trade_id,instrument_id,price\n{first}");
    let mut child = start();
    child.stdin.as_mut().expect("a pipe").write_all(first.as_bytes()).expect("written");
    let begin = Instant::now();
    wait_for_checkpoint(&folder, 0);
    child.kill().expect("killed");
    child.wait().expect("it ends");
    // One row changes, one goes.
    let rows = table("SPY").replace("1,SPY,", "1,QQQ,");
    folder.put("i.csv", rows.trim_end().rsplit_once('\n').expect("rows").0);
    let mut child = start();
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(first.as_bytes()).expect("written");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut found = |instrument: usize, from: usize| {
        let mut number = from;
        loop {
            number += 1;
            stdin.write_all(format!("{number},{instrument},1\n{number},0,1\n").as_bytes()).expect("written");
            // The trade of instrument 0, which stays, says that the other was dropped.
            let mut line = stdout.by_ref().map(|line| line.expect("text"));
            let line = line.find(|line| line.starts_with(&format!("{number},"))).expect("a row");
            assert!(begin.elapsed() < Duration::from_secs(100), "nothing is reloaded: {line}");
            if line.contains("QQQ") || instrument == 4 && line.starts_with(&format!("{number},0,")) {
                return number;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let number = found(1, 1_000);
    found(4, number + 1);
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("instruments reloaded"), "{said}");
    assert!(said.contains("no rollback leads to it: its rows are those of a checkpoint"), "{said}");
    let warned = "warning: instruments goes on from a checkpoint, and its file, which has other rows, takes their place";
    assert_eq!(said.matches(warned).count(), 1, "{said}");
}

/// They are those of the first 1,024 lines, of which there may be more by then.
#[test]
fn lines_of_json_that_have_got_another_column_are_refused() {
    let folder = Folder::empty();
    let line = |number: usize, more: &str| format!("{{\"n\":{number},\"instrument_id\":1{more}}}\n");
    let lines: String = (1..=300).map(|number| line(number, "")).collect();
    folder.put("t.jsonl", &lines);
    folder.put("i.csv", table("SPY"));
    let job = |to: &str| {
        format!("run --trades t.jsonl --instruments i.csv --checkpoint state --quiet --output {to}")
    };
    let (text, typed) = (job("o.csv"), job("parts/ --output-format parquet"));
    let begin = |job: &str| {
        folder.put("t.jsonl", &lines);
        let is_killed = (5..40).rev().any(|call| {
            ["state", "parts"].iter().for_each(|name| drop(fs::remove_dir_all(folder.path(name))));
            let mut command = folder.command(&format!("{job} --checkpoint-every 50rows --batch-len 10"));
            let status = command.env("TRADEJOIN_FAULTS", format!("kill@{call}:after")).status();
            let is_killed = status.expect("it runs").signal() == Some(9) && !epochs(&folder).is_empty();
            is_killed && folder.ok("checkpoint list state").contains("a run goes on here")
        });
        assert!(is_killed, "it never dies behind a checkpoint");
    };
    for (job, before, now) in [
        (&text, "instrument_id text\" there", "instrument_id text, note text\" now"),
        (&typed, "instrument_id integer\" there", "instrument_id integer, note text\" now"),
    ] {
        begin(job);
        folder.put("t.jsonl", format!("{lines}{}", line(301, ",\"note\":\"x\"")));
        let said = folder.fails(78, job);
        assert!(
            said.contains("trades: columns is ") && said.contains(before) && said.contains(now),
            "{said}"
        );
    }
    begin(&text);
    folder.put("t.jsonl", format!("{lines}{}", line(301, "")));
    folder.ok(&text);
    assert_eq!(folder.read("o.csv").lines().count(), 302);
}
