//! One job that is killed, and what its lives come to.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::num::NonZero;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand::rngs::StdRng;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::kill_jobs::{Job, STREAM};
use crate::kill_report::{Tally, kind_of};

/// A run that has not ended by then hangs.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long a run stands still that is stopped.
const STANDSTILL: Duration = Duration::from_millis(20);
/// How often a run may be kept: also by the clock, down to the shortest time there is.
const EVERY: [&str; 7] = ["1rows", "500rows", "2000rows", "7000rows", "1ns", "2ms", "20ms"];
/// How a table is spread, if that is said. Where one is partitioned there are as many shards as
/// were asked for, and else no more than cores.
const SPREADS: [Option<&str>; 4] = [Some("partitioned"), Some("partitioned"), Some("broadcast"), None];

/// How a life does its work.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) workers: u32,
    pub(crate) batch_len: u32,
    pub(crate) every: &'static str,
    /// For each table of the job.
    pub(crate) spreads: Vec<Option<&'static str>>,
}

impl Way {
    /// With every table partitioned.
    pub(crate) fn partitioned(job: &Job, workers: u32, batch_len: u32, every: &'static str) -> Self {
        Self { workers, batch_len, every, spreads: vec![Some("partitioned"); job.tables.len()] }
    }

    pub(crate) fn drawn(job: &Job, draw: &mut StdRng) -> Self {
        Self {
            workers: draw.random_range(1..=8),
            batch_len: 1 << draw.random_range(6..14),
            every: EVERY[draw.random_range(0..EVERY.len())],
            spreads: job.tables.iter().map(|_| SPREADS[draw.random_range(0..SPREADS.len())]).collect(),
        }
    }

    /// As many shards as there must be.
    pub(crate) fn shards(&self) -> u32 {
        let cores = thread::available_parallelism().map_or(1, NonZero::get) as u32;
        if self.spreads.contains(&Some("partitioned")) { self.workers } else { self.workers.min(cores) }
    }

    fn line(&self, job: &Job) -> String {
        let Self { workers, batch_len, every, spreads } = self;
        let mut line = format!("--workers {workers} --batch-len {batch_len} --checkpoint-every {every}");
        for (table, spread) in job.tables.iter().zip(spreads) {
            line.extend(spread.map(|spread| format!(" --distribution {table}={spread}")));
        }
        line
    }

    /// Holds what a life says of itself to how it was to work.
    fn check(&self, job: &Job, summary: &Value) {
        let shards = summary["shards"].as_array().expect("shards").len();
        assert_eq!(shards, self.shards() as usize, "{}: {self:?}", job.name);
        let tables = summary["tables"].as_array().expect("tables");
        assert_eq!(tables.len(), job.tables.len(), "{}", job.name);
        for ((table, &name), spread) in tables.iter().zip(job.tables).zip(&self.spreads) {
            assert_eq!(table["name"], name, "{}", job.name);
            if let Some(spread) = *spread {
                assert_eq!(table["distribution"], spread, "{}: {self:?}", job.name);
            }
        }
    }
}

/// What is done to a life. Moments of the clock are shares of the time that an undisturbed one
/// takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// It dies at this durable call: before, in the middle or behind it.
    DiesAt(u64, &'static str),
    /// SIGKILL.
    Killed(f64),
    /// SIGTERM.
    Asked(f64),
    /// SIGSTOP, and SIGCONT a moment later.
    Stopped(f64),
    Undisturbed,
}

/// A checkpoint that is gone on from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) shards: u32,
    /// How many were read.
    pub(crate) trades: u64,
    /// How many of them wait.
    pub(crate) waiting: u64,
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Complete,
    /// It was asked to end.
    Interrupted,
    Killed,
}

/// A life that has ended.
pub(crate) struct Ended {
    pub(crate) end: End,
    pub(crate) summary: Option<Value>,
    /// Where it was killed.
    pub(crate) point: Option<String>,
}

/// One job and where it is done.
pub(crate) struct Bench<'j> {
    pub(crate) job: &'j Job,
    /// Whether the stream comes through standard input, which can be fed slowly.
    is_piped: bool,
    pub(crate) at: PathBuf,
    expected: BTreeMap<String, Vec<u8>>,
    ledger: Value,
    /// How long an undisturbed life takes.
    usual: Duration,
}

impl<'j> Bench<'j> {
    /// Does the job undisturbed, by one worker and without checkpoints before its end.
    pub(crate) fn new(job: &'j Job, inputs: &Path, at: &Path) -> Self {
        Self::over(job, false, inputs, at)
    }

    /// The same with the stream on standard input.
    pub(crate) fn piped(job: &'j Job, inputs: &Path, at: &Path) -> Self {
        Self::over(job, true, inputs, at)
    }

    fn over(job: &'j Job, is_piped: bool, inputs: &Path, at: &Path) -> Self {
        fs::create_dir(at).expect("a folder");
        let (expected, ledger, usual) = (BTreeMap::new(), Value::Null, Duration::ZERO);
        let mut bench = Self { job, is_piped, at: at.to_owned(), expected, ledger, usual };
        for entry in fs::read_dir(inputs).expect("a folder") {
            let entry = entry.expect("an entry");
            std::os::unix::fs::symlink(entry.path(), at.join(entry.file_name())).expect("a link");
        }
        let spreads = vec![None; job.tables.len()];
        let way = Way { workers: 1, batch_len: 1_000, every: "1h", spreads };
        let begin = Instant::now();
        let ended = bench.live(&way, Fate::Undisturbed);
        bench.usual = begin.elapsed();
        bench.ledger = ledger_of(&ended.summary.expect("a summary"));
        bench.expected = bench.outputs();
        assert!(
            bench.expected.values().any(|bytes| bytes.len() > 1_000),
            "{}: something is written",
            job.name
        );
        bench.clear();
        bench
    }

    pub(crate) fn clear(&self) {
        for name in ["out", "state"] {
            let _ = fs::remove_dir_all(self.at.join(name));
        }
        fs::create_dir(self.at.join("out")).expect("a folder");
    }

    /// The outputs as they are compared: their bytes, or what they unpack to.
    fn outputs(&self) -> BTreeMap<String, Vec<u8>> {
        (self.job.outputs)(&self.at.join("out"))
    }

    /// The number of the newest checkpoint.
    pub(crate) fn newest(&self) -> Option<u64> {
        let entries = fs::read_dir(self.at.join("state")).ok()?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let epoch = |name: String| name.strip_prefix("manifest-")?.strip_suffix(".json")?.parse().ok();
        names.filter_map(epoch).max()
    }

    /// What the newest checkpoint tells, if there is one; `shards` is how many its run had.
    pub(crate) fn kept(&self, shards: u32) -> Option<Kept> {
        let bytes = loop {
            match fs::read(self.at.join(format!("state/manifest-{}.json", self.newest()?))) {
                // A run that goes on has removed it meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                read => break read.expect("a manifest"),
            }
        };
        let manifest: Value = serde_json::from_slice(&bytes).expect("JSON");
        let trades = manifest["trades"].as_u64().expect("a number");
        Some(Kept { shards, trades, waiting: manifest["held"]["trades"].as_u64().unwrap_or(0) })
    }

    /// The durable calls of a run that is not disturbed.
    pub(crate) fn calls(&self, way: &Way) -> u64 {
        self.clear();
        self.calls_from_here(way)
    }

    /// The same of one that goes on from what is there.
    pub(crate) fn calls_from_here(&self, way: &Way) -> u64 {
        let file = self.at.join("calls");
        let (status, _, said) = self.run(way, &format!("count:{}", file.display()), Fate::Undisturbed);
        assert!(status.success(), "{}: {way:?}: {said}", self.job.name);
        fs::read_to_string(file).expect("a count").trim().parse().expect("a number")
    }

    fn command(&self, way: &Way) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("tradejoin"));
        command.current_dir(&self.at).args(["run", "--checkpoint", "state", "--json"]);
        let line = match self.is_piped {
            true => self.job.line.replace(STREAM, "- --format jsonl"),
            false => self.job.line.to_owned(),
        };
        command.args(line.split_whitespace()).args(way.line(self.job).split_whitespace());
        command
    }

    /// Runs the job, with so many lines of its stream and then some more, until trades wait in a
    /// checkpoint, and kills it.
    pub(crate) fn dies_while_trades_wait(&self, way: &Way, lines: usize) {
        self.clear();
        let mut command = self.command(way);
        let stream = fs::read_to_string(self.at.join(STREAM)).expect("a stream");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let (begin, mut lines_ahead) = (Instant::now(), lines);
        let mut rest = stream.split_inclusive('\n');
        loop {
            let newest = self.newest();
            for line in rest.by_ref().take(lines_ahead) {
                stdin.write_all(line.as_bytes()).expect("it reads");
            }
            lines_ahead = 50;
            // A slow disk has a checkpoint of them late: before all of the stream is read.
            while self.newest() == newest {
                assert!(begin.elapsed() < DEADLINE, "{}: {way:?}: no trade waits", self.job.name);
                thread::sleep(Duration::from_millis(1));
            }
            if self.kept(way.shards()).is_some_and(|kept| kept.waiting > 0) {
                break;
            }
        }
        child.kill().expect("it is there");
        child.wait().expect("it ends");
        // Another one may have been made meanwhile.
        let kept = self.kept(way.shards());
        assert!(kept.is_some_and(|kept| kept.waiting > 0), "{}: {way:?}: {kept:?}", self.job.name);
    }

    /// Runs the job once. Gives what it printed.
    fn run(&self, way: &Way, faults: &str, fate: Fate) -> (ExitStatus, Vec<u8>, String) {
        let mut command = self.command(way);
        let faults = match fate {
            Fate::DiesAt(at, moment) => format!("kill@{at}:{moment}"),
            _ => faults.to_owned(),
        };
        if !faults.is_empty() {
            command.env("TRADEJOIN_FAULTS", &faults);
        }
        fs::create_dir_all(self.at.join("out")).expect("a folder");
        let stdin = match self.is_piped {
            true => File::open(self.at.join(STREAM)).expect("a stream").into(),
            false => Stdio::null(),
        };
        let mut child =
            command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let after = |share| thread::sleep(self.usual.mul_f64(share));
        match fate {
            Fate::Killed(share) => {
                after(share);
                send(&child, Signal::KILL);
            }
            Fate::Asked(share) => {
                after(share);
                send(&child, Signal::TERM);
            }
            Fate::Stopped(share) => {
                after(share);
                send(&child, Signal::STOP);
                thread::sleep(STANDSTILL);
                send(&child, Signal::CONT);
            }
            Fate::DiesAt(..) | Fate::Undisturbed => {}
        }
        let begin = Instant::now();
        while child.try_wait().expect("it can be waited for").is_none() {
            assert!(begin.elapsed() < DEADLINE, "{}: {way:?} {faults}: it hangs", self.job.name);
            thread::sleep(Duration::from_millis(1));
        }
        let Output { status, stdout, stderr } = child.wait_with_output().expect("it has ended");
        (status, stdout, String::from_utf8_lossy(&stderr).into_owned())
    }

    /// Runs the job once, which ends well, is killed, or ends because it was asked to.
    pub(crate) fn live(&self, way: &Way, fate: Fate) -> Ended {
        let (status, stdout, said) = self.run(way, "", fate);
        let is_asked = matches!(fate, Fate::Asked(_));
        let end = match (status.code(), status.signal()) {
            (Some(0), _) => End::Complete,
            (Some(130), _) if is_asked => End::Interrupted,
            (_, Some(9)) if matches!(fate, Fate::DiesAt(..) | Fate::Killed(_)) => End::Killed,
            // It does not listen from its first moment on.
            (_, Some(15)) if is_asked => End::Killed,
            _ => panic!("{}: {way:?} {fate:?}: {status}: {said}", self.job.name),
        };
        let mut summary: Option<Value> = serde_json::from_slice(&stdout).ok();
        if let Some(summary) = &mut summary {
            // One that was complete has left out none, and had nothing to do.
            let is_done = summary["already_complete"] == true;
            summary["bad_records"] =
                if is_done { self.ledger["bad_records"].clone() } else { bad_records(&said) };
            if !is_done {
                way.check(self.job, summary);
            }
            assert_eq!(summary["interrupted"], end == End::Interrupted, "{}: {said}", self.job.name);
        }
        if end == End::Interrupted {
            assert!(said.contains("the same command goes on where it was"), "{}: {said}", self.job.name);
        }
        let point = said.lines().find_map(|line| line.strip_prefix("killed "));
        let point = point.map(kind_of);
        Ended { end, summary, point }
    }

    /// Runs the job once with a fault of calls, and gives what it ended with, the call that was
    /// struck first and what was said. `None` if none was, since what is under way when another cut
    /// is due is a matter of timing: the run has ended well then.
    pub(crate) fn struck(&self, way: &Way, fault: &str) -> Option<(ExitStatus, String, String)> {
        let file = self.at.join("struck");
        let _ = fs::remove_file(&file);
        let faults = format!("{fault},struck:{}", file.display());
        let (status, _, said) = self.run(way, &faults, Fate::Undisturbed);
        let Ok(struck) = fs::read_to_string(file) else {
            assert!(status.success(), "{}: {fault}: {status}: {said}", self.job.name);
            return None;
        };
        Some((status, struck, said))
    }

    /// Runs the job once more, which must complete it with what it is to write.
    pub(crate) fn ends_well(&self, way: &Way) {
        let ended = self.live(way, Fate::Undisturbed);
        self.is_complete(&ended, &format!("{way:?}"));
    }

    /// Holds what a run has come to to what one was that was not disturbed.
    fn is_complete(&self, ended: &Ended, how: &str) {
        assert_eq!(ended.end, End::Complete, "{}: {how}", self.job.name);
        let summary = ended.summary.as_ref().expect("a summary, also if it was complete");
        assert_eq!(ledger_of(summary), self.ledger, "{}: {how}: another ledger", self.job.name);
        self.check(how);
    }

    /// Holds the outputs to those of a run that was not disturbed.
    pub(crate) fn check(&self, how: &str) {
        let outputs = self.outputs();
        let names = |outputs: &BTreeMap<String, Vec<u8>>| outputs.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&outputs), names(&self.expected), "{}: {how}: other files", self.job.name);
        for (name, bytes) in &outputs {
            assert!(*bytes == self.expected[name], "{}: {how}: {name} has other bytes", self.job.name);
        }
    }

    /// Goes on until the run is complete, with what `fate` says of each life; the first one
    /// works as `first` says.
    pub(crate) fn complete(
        &self,
        draw: &mut StdRng,
        tally: &mut Tally,
        mut first: Option<&Way>,
        mut fate: impl FnMut(&mut StdRng) -> Fate,
    ) {
        self.clear();
        let (mut newest, mut kept) = (None, None);
        let mut told = Vec::new();
        loop {
            let way = first.take().cloned().unwrap_or_else(|| Way::drawn(self.job, draw));
            let fate = fate(draw);
            let ended = self.live(&way, fate);
            tally.add(&way, fate, &ended, kept);
            told.push(format!("{} {fate:?} {:?}", way.line(self.job), ended.end));
            if ended.end == End::Complete {
                self.is_complete(&ended, &told.join("\n"));
                break;
            }
            // Whose checkpoint the next life goes on from.
            if self.newest() != newest {
                (newest, kept) = (self.newest(), self.kept(way.shards()));
            }
        }
        tally.runs += 1;
    }

    /// Whether the newest checkpoint is that of a run that is complete.
    pub(crate) fn is_kept_complete(&self) -> bool {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("tradejoin"));
        let shown = command.current_dir(&self.at).args(["checkpoint", "show", "state"]).output();
        String::from_utf8_lossy(&shown.expect("it runs").stdout).contains("the run is complete")
    }

    /// Changes a byte of the manifest of the newest checkpoint.
    pub(crate) fn damage_newest(&self) {
        let epoch = self.newest().expect("a checkpoint");
        let path = self.at.join(format!("state/manifest-{epoch}.json"));
        let mut bytes = fs::read(&path).expect("a manifest");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).expect("written");
    }

    /// Sets what a run has left aside.
    pub(crate) fn set_aside(&self) {
        self.copy(["out", "state"], ["out then", "state then"]);
    }

    /// Has it again as it was set aside.
    pub(crate) fn restore(&self) {
        self.copy(["out then", "state then"], ["out", "state"]);
    }

    /// Copies folders, with the rights of all files.
    fn copy(&self, from: [&str; 2], to: [&str; 2]) {
        for (from, to) in from.into_iter().zip(to) {
            let _ = fs::remove_dir_all(self.at.join(to));
            let status = Command::new("cp").current_dir(&self.at).args(["-a", from, to]).status();
            assert!(status.expect("it runs").success(), "{from} to {to}");
        }
    }
}

fn send(child: &Child, signal: Signal) {
    // It may have ended.
    let _ = kill_process(Pid::from_child(child), signal);
}

/// How many bad records it says that there were; the first are those of the last life.
fn bad_records(said: &str) -> Value {
    let warning = said.lines().find(|line| line.starts_with("warning: ") && line.contains(" bad record"));
    warning.and_then(|line| line.split(';').next()).into()
}

/// What must not depend on how often a run was killed.
fn ledger_of(summary: &Value) -> Value {
    let mut tables = summary["tables"].clone();
    for table in tables.as_array_mut().expect("tables") {
        let table = table.as_object_mut().expect("a table");
        // How it is spread is chosen anew, and what was missed is told of the last life.
        for name in ["distribution", "ready_after", "missing_keys", "missed_of_other_keys"] {
            table.remove(name);
        }
    }
    let mut corrections = summary["corrections"].clone();
    for peak in ["rows_peak", "bytes_peak"] {
        corrections.as_object_mut().and_then(|counts| counts.remove(peak));
    }
    let hold = ["entered", "found", "expired", "early", "waiting"].map(|name| summary["hold"][name].clone());
    serde_json::json!({
        "rows_read": summary["rows_read"],
        "rows_written": summary["rows_written"],
        "outcomes": summary["outcomes"],
        "unmatched": summary["unmatched"],
        "messages": summary["messages"],
        "table_changes": summary["table_changes"],
        "bad_records": summary["bad_records"],
        "corrections": corrections,
        "hold": hold,
        "tables": tables,
    })
}
