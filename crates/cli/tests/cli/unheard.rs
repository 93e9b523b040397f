//! Standard error that cannot be written: what is not told changes nothing of what comes out,
//! nor the exit code.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _, pipe};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::live::table;
use crate::support::Folder;

/// A standard error that nobody reads any more.
fn unread() -> Stdio {
    pipe().expect("a pipe").1.into()
}

/// A disk that is full, where the system has one.
fn full() -> Option<Stdio> {
    OpenOptions::new().write(true).open("/dev/full").ok().map(Stdio::from)
}

/// The exit code, or the signal, and what is on standard output.
fn of(command: &mut Command) -> (Option<i32>, Option<i32>, String) {
    let output = command.output().expect("the command runs");
    (output.status.code(), output.status.signal(), String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn commands_end_as_they_do_where_they_are_heard() {
    let folder = Folder::new();
    folder.put("bad.csv", "trade_id,instrument_id\n1,x\n");
    folder.put(
        "twice.csv",
        "instrument_id,ticker,strike,expiry,option_type\n1,A,1,2024-11-03,C\n1,B,1,2024-11-03,C\n",
    );
    folder.put("letters.jsonl", "{\"letter\":\n");
    let flags = "--instruments instruments.csv";
    let lines = [
        // A summary on standard error, a warning, a bad record that is told.
        (0, format!("run --trades trades.csv {flags} --verbose")),
        (0, "run --trades trades.csv --instruments twice.csv".to_owned()),
        (0, format!("run --trades bad.csv {flags} --on-bad-record skip")),
        (0, format!("tap --trades bad.csv {flags} --on-bad-record skip")),
        (0, "--help".to_owned()),
        (2, "run --nonsense".to_owned()),
        (2, "run --trades trades.csv --instruments trades.csv --output trades.csv".to_owned()),
        (65, format!("run --trades bad.csv {flags}")),
        (66, format!("run --trades missing.csv {flags}")),
        (66, "tap --control missing.sock".to_owned()),
        (73, format!("run --trades trades.csv {flags} --output missing/o.csv")),
    ];
    for (code, line) in lines {
        let heard = of(&mut folder.command(&line));
        assert_eq!(heard.0, Some(code), "{line}");
        for stderr in [Some(unread()), full()].into_iter().flatten() {
            assert_eq!(of(folder.command(&line).stderr(stderr)), heard, "{line}");
        }
    }
}

#[test]
fn kept_runs_go_on_unheard() {
    let folder = Folder::new();
    let job = "run --trades trades.csv --instruments instruments.csv --unmatched keep --checkpoint-every 1rows --batch-len 1";
    folder.ok(&format!("{job} --output want.csv --checkpoint other"));
    let job = format!("{job} --output o.csv --checkpoint state");
    let names = || fs::read_dir(folder.path("state")).into_iter().flatten().flatten();
    let manifests = || {
        let paths = names().map(|entry| entry.path());
        let mut paths: Vec<_> = paths.filter(|path| path.to_string_lossy().contains("manifest-")).collect();
        paths.sort();
        paths
    };
    // It warns of faults, and dies behind its second checkpoint.
    let died = (10..=80).any(|call| {
        let _ = fs::remove_dir_all(folder.path("state"));
        let mut command = folder.command(&job);
        let output = command.env("TRADEJOIN_FAULTS", format!("kill@{call}:before")).stderr(unread()).output();
        output.expect("it runs").status.signal() == Some(9) && manifests().len() > 1
    });
    assert!(died, "there are never two checkpoints");
    // One is passed over, from the other it goes on, and then there is nothing to do.
    fs::write(manifests().last().expect("a checkpoint"), "damaged").expect("written");
    for _ in 0..2 {
        let stderr = full().unwrap_or_else(unread);
        assert_eq!(of(folder.command(&job).stderr(stderr)).0, Some(0));
        assert_eq!(folder.read("o.csv"), folder.read("want.csv"));
    }
}

#[test]
fn a_run_whose_tables_are_reloaded_and_that_is_interrupted_ends_unheard() {
    for stderr in [Some(unread()), full()].into_iter().flatten() {
        let folder = Folder::empty();
        folder.put("i.csv", table("SPY"));
        let job = "run --trades - --format csv --instruments i.csv --watch=asked --control c.sock";
        let mut command = folder.command(job);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).spawn().expect("it starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut next = |trade: &str| {
            stdin.write_all(trade.as_bytes()).expect("written");
            let mut line = String::new();
            stdout.read_line(&mut line).expect("text");
            line
        };
        assert!(next("trade_id,instrument_id\n1,1\n").starts_with("trade_id,"));
        folder.put("i.csv", table("AAPL"));
        let reloaded = folder.ok("reload --control c.sock --wait 0");
        assert!(reloaded.contains("changed 1"), "{reloaded}");
        folder.put("i.csv", "ticker\n");
        assert_eq!(folder.run("reload --control c.sock").code, 1);
        assert_eq!(next(""), "1,1,SPY241103C00200000\n");
        assert_eq!(next("2,1\n"), "2,1,AAPL241103C00200000\n");
        kill_process(Pid::from_child(&child), Signal::INT).expect("the process is there");
        assert_eq!(child.wait().expect("it ends").code(), Some(130));
        drop(stdin);
    }
}

#[test]
fn a_summary_that_cannot_be_printed_is_an_error_of_an_output_that_is_complete() {
    let folder = Folder::new();
    let Some(full) = full() else { return };
    let mut command =
        folder.command("run --trades trades.csv --instruments instruments.csv --output o.csv --json");
    let output = command.stdout(full).output().expect("the command runs");
    let said = String::from_utf8(output.stderr).expect("text");
    let expected = "error: o.csv is complete, but the summary cannot be printed: ";
    assert!(output.status.code() == Some(74) && said.starts_with(expected), "{said}");
    assert!(folder.path("o.csv").exists());
}
