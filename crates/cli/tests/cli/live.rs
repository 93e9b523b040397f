//! A run that goes on while a test does things to it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::Folder;

pub(crate) const TABLE: &str = "instrument_id,ticker,strike,expiry,option_type\n";

/// After so long what is waited for will not come.
const PATIENCE: Duration = Duration::from_secs(100);

/// A table of one row.
pub(crate) fn table(ticker: &str) -> String {
    format!("{TABLE}1,{ticker},200,2024-11-03,call\n")
}

/// A run that reads trades from a pipe.
pub(crate) struct Live {
    pub(crate) child: Child,
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: BufReader<ChildStdout>,
    pub(crate) stderr: BufReader<ChildStderr>,
    pub(crate) trades: u64,
}

impl Live {
    pub(crate) fn start(folder: &Folder, flags: &str) -> Self {
        let watch = if flags.contains("--watch") { "" } else { "--watch=5ms" };
        let job = format!("run --trades - --format csv --instruments i.csv {watch} --unmatched keep {flags}");
        let mut command = folder.command(&job);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut live = Self { child, stdin, stdout, stderr, trades: 0 };
        live.write("trade_id,instrument_id\n");
        live
    }

    pub(crate) fn write(&mut self, text: &str) {
        self.stdin.write_all(text.as_bytes()).expect("written");
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("text");
        line.trim_end().to_owned()
    }

    /// What the next trade of an instrument finds.
    pub(crate) fn finds(&mut self, instrument: u32) -> String {
        self.trades += 1;
        self.write(&format!("{},{instrument}\n", self.trades));
        if self.trades == 1 {
            let header = self.line();
            assert!(header.starts_with("trade_id,instrument_id,instrument"), "{header:?}: {}", self.said());
        }
        let line = self.line();
        let found = line.strip_prefix(&format!("{},{instrument},", self.trades));
        found.unwrap_or_else(|| panic!("{line}")).to_owned()
    }

    /// Trades, until one of them finds this.
    pub(crate) fn until_found(&mut self, instrument: u32, expected: &str) {
        let start = Instant::now();
        while self.finds(instrument) != expected {
            assert!(start.elapsed() < PATIENCE, "no trade finds {expected}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it says this, on standard error.
    pub(crate) fn until_said(&mut self, expected: &str) {
        let mut line = String::new();
        while !line.contains(expected) {
            line.clear();
            assert_ne!(self.stderr.read_line(&mut line).expect("text"), 0, "it never says {expected}");
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, signal).expect("the process is there");
    }

    /// What it has said, if it has ended.
    pub(crate) fn said(&mut self) -> String {
        let mut said = String::new();
        if self.child.try_wait().expect("a process").is_some() {
            self.stderr.read_to_string(&mut said).expect("text");
        }
        said
    }

    pub(crate) fn end(self) {
        self.rest();
    }

    /// What it says between now and its end.
    pub(crate) fn rest(mut self) -> String {
        drop(self.stdin);
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).expect("text");
        assert!(self.child.wait().expect("it ends").success(), "{said}");
        said
    }
}

/// A trade that is in no checkpoint, and a reload that waits while none follows.
#[test]
fn a_stop_keeps_what_was_read_also_if_a_reload_waits() {
    let folder = Folder::empty();
    folder.put("i.csv", table("SPY"));
    let mut live =
        Live::start(&folder, "--watch=asked --control c.sock --checkpoint state --checkpoint-every 1h");
    live.finds(1);
    let kept = || {
        let list = folder.run("checkpoint list state --json").stdout;
        let list: serde_json::Value = serde_json::from_str(&list).unwrap_or_default();
        let trades = list.as_array().into_iter().flatten().filter_map(|one| one["trades"].as_u64());
        trades.max()
    };
    let start = Instant::now();
    while kept() != Some(1) {
        assert!(start.elapsed() < PATIENCE, "there is no checkpoint");
        std::thread::sleep(Duration::from_millis(5));
    }
    live.finds(1);
    folder.put("i.csv", table("AAPL"));
    folder.ok("reload --control c.sock --wait 0");
    live.signal(Signal::TERM);
    assert_eq!(live.child.wait().expect("it ends").code(), Some(130));
    assert_eq!(kept(), Some(2));
}
