//! Runs that are killed again and again, and go on with other workers.
//!
//! A few kills here; `TRADEJOIN_KILLS` says how many for each job, `TRADEJOIN_KILL_POINTS` has
//! every durable call of a run be its end once, and `TRADEJOIN_KILL_FOLDER` says where: the
//! second tier asks for 5,000 in memory and 200 on a disk.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;

use crate::kill_jobs::{JOBS, Job, prepare};

/// A run that has not ended by then hangs.
const DEADLINE: Duration = Duration::from_secs(60);
/// How a process is told to die: half of a write, or between two operations.
const MOMENTS: [&str; 3] = ["before", "half", "after"];

/// How the durable calls of a run are counted.
const HOW: &str = "--workers 2 --batch-len 1000 --checkpoint-every 2000rows";

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// A folder for runs, on the disk that was asked for.
fn folder() -> tempfile::TempDir {
    match std::env::var_os("TRADEJOIN_KILL_FOLDER") {
        Some(parent) => tempfile::tempdir_in(parent).expect("a folder"),
        None => tempfile::tempdir().expect("a folder"),
    }
}

/// How a life of a run ended.
struct Ended {
    is_killed: bool,
    summary: Option<Value>,
    /// Where it was killed.
    point: Option<String>,
}

/// What the kills of a job came to.
#[derive(Default)]
struct Tally {
    kills: u64,
    lives: u64,
    runs: u64,
    points: BTreeMap<String, u64>,
    workers: BTreeMap<u32, u64>,
}

/// One job and where it is done.
struct Bench<'j> {
    job: &'j Job,
    at: PathBuf,
    expected: BTreeMap<String, Vec<u8>>,
    ledger: Value,
}

impl<'j> Bench<'j> {
    /// Does the job undisturbed, and without checkpoints where it can be.
    fn new(job: &'j Job, inputs: &Path, at: &Path) -> Self {
        fs::create_dir(at).expect("a folder");
        let mut bench = Self { job, at: at.to_owned(), expected: BTreeMap::new(), ledger: Value::Null };
        for entry in fs::read_dir(inputs).expect("a folder") {
            let entry = entry.expect("an entry");
            std::os::unix::fs::symlink(entry.path(), at.join(entry.file_name())).expect("a link");
        }
        let ended = bench.live("--workers 1 --batch-len 1000", "", None);
        bench.ledger = ledger(&ended.summary.expect("a summary"));
        bench.expected = bench.outputs();
        assert!(
            bench.expected.values().any(|bytes| bytes.len() > 1_000),
            "{}: something is written",
            job.name
        );
        bench.clear();
        bench
    }

    fn clear(&self) {
        for name in ["out", "state"] {
            let _ = fs::remove_dir_all(self.at.join(name));
        }
        fs::create_dir(self.at.join("out")).expect("a folder");
    }

    /// The outputs as they are compared: their bytes, or what they unpack to.
    fn outputs(&self) -> BTreeMap<String, Vec<u8>> {
        (self.job.outputs)(&self.at.join("out"))
    }

    /// Runs the job once; `after` kills it from outside. Gives what it printed.
    fn run(&self, how: &str, faults: &str, after: Option<Duration>) -> (ExitStatus, Vec<u8>, String) {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("tradejoin"));
        command.current_dir(&self.at).args(["run", "--checkpoint", "state", "--json"]);
        command.args(self.job.line.split_whitespace()).args(how.split_whitespace());
        if !faults.is_empty() {
            command.env("TRADEJOIN_FAULTS", faults);
        }
        fs::create_dir_all(self.at.join("out")).expect("a folder");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        if let Some(after) = after {
            thread::sleep(after);
            // It may have ended.
            let _ = child.kill();
        }
        let begin = Instant::now();
        while child.try_wait().expect("it can be waited for").is_none() {
            assert!(begin.elapsed() < DEADLINE, "{}: {how} {faults}: it hangs", self.job.name);
            thread::sleep(Duration::from_millis(1));
        }
        let Output { status, stdout, stderr } = child.wait_with_output().expect("it has ended");
        (status, stdout, String::from_utf8_lossy(&stderr).into_owned())
    }

    /// Runs the job once, which ends well or is killed.
    fn live(&self, how: &str, faults: &str, after: Option<Duration>) -> Ended {
        let (status, stdout, said) = self.run(how, faults, after);
        let is_killed = status.signal() == Some(9);
        assert!(is_killed || status.code() == Some(0), "{}: {how} {faults}: {said}", self.job.name);
        let mut summary: Option<Value> = serde_json::from_slice(&stdout).ok();
        if let Some(summary) = &mut summary {
            // One that was complete has left out none.
            let is_done = summary["already_complete"] == true;
            summary["bad_records"] =
                if is_done { self.ledger["bad_records"].clone() } else { bad_records(&said) };
        }
        let point = said.lines().find_map(|line| line.strip_prefix("killed "));
        let point = point.map(kind_of);
        Ended { is_killed, summary, point }
    }

    /// Runs the job once, which must fail at this call and say so. `None` if there were not as
    /// many: what is under way when another cut is due is a matter of timing.
    fn fails(&self, faults: &str, call: u64) -> Option<String> {
        let file = self.at.join("calls");
        let _ = fs::remove_file(&file);
        let (status, _, said) = self.run(HOW, &format!("{faults},count:{}", file.display()), None);
        let calls: u64 = fs::read_to_string(file).expect("a count").trim().parse().expect("a number");
        if status.success() && calls < call {
            return None;
        }
        // 73 if it could not even be made.
        assert!(
            matches!(status.code(), Some(73 | 74)),
            "{}: {faults} of {calls}: {status}: {said}",
            self.job.name
        );
        Some(said)
    }

    /// Runs the job once more, which must complete it with what it is to write.
    fn ends_well(&self, how: &str, faults: &str) {
        let ended = self.live(how, faults, None);
        assert!(!ended.is_killed);
        let summary = ended.summary.expect("a summary, also if it was complete");
        assert_eq!(ledger(&summary), self.ledger, "{}: {how} {faults}: another ledger", self.job.name);
        self.check();
    }

    /// Holds the outputs to those of a run that was not disturbed.
    fn check(&self) {
        let outputs = self.outputs();
        let names = |outputs: &BTreeMap<String, Vec<u8>>| outputs.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&outputs), names(&self.expected), "{}: other files", self.job.name);
        for (name, bytes) in &outputs {
            assert!(*bytes == self.expected[name], "{}: {name} has other bytes", self.job.name);
        }
    }

    /// Goes on until the run is complete, killed as `kill` says of each life; the first one
    /// runs as `first` says.
    fn complete(
        &self,
        draw: &mut StdRng,
        tally: &mut Tally,
        mut first: Option<&str>,
        mut kill: impl FnMut(&mut StdRng) -> Kill,
    ) {
        self.clear();
        loop {
            let workers = draw.random_range(1..=8);
            let batch_len = 1 << draw.random_range(6..14);
            let every = [1, 500, 2_000, 7_000][draw.random_range(0..4)];
            let how = format!("--workers {workers} --batch-len {batch_len} --checkpoint-every {every}rows");
            let how = first.take().map_or(how, str::to_owned);
            let (faults, after) = match kill(draw) {
                Kill::At(at, moment) => (format!("kill@{at}:{moment}"), None),
                Kill::After(time) => (String::new(), Some(time)),
                Kill::Never => (String::new(), None),
            };
            let ended = self.live(&how, &faults, after);
            tally.lives += 1;
            *tally.workers.entry(workers).or_default() += 1;
            if ended.is_killed {
                tally.kills += 1;
                let point = ended.point.unwrap_or_else(|| "at a moment of the clock".to_owned());
                *tally.points.entry(point).or_default() += 1;
                continue;
            }
            let summary = ended.summary.expect("a summary, also if it was complete");
            assert_eq!(ledger(&summary), self.ledger, "{}: another ledger", self.job.name);
            break;
        }
        tally.runs += 1;
        self.check();
    }
}

enum Kill {
    At(u64, &'static str),
    After(Duration),
    Never,
}

/// A point without what tells it from others of its kind: a file of an output, or one of the
/// checkpoints without its numbers.
fn kind_of(point: &str) -> String {
    let (what, name) = point.rsplit_once(' ').expect("a name");
    let kind = match name {
        name if name.contains("manifest-") => "a checkpoint's manifest",
        name if name.starts_with("table-") => "a table's changes",
        name if name.starts_with("held-") => "trades that wait",
        "state" | "out" | "parts" => "a folder",
        name if name.contains("_manifest") => "the manifest of parts",
        name if name.contains("part-") => "a part",
        name if name.starts_with("d.") => "dead letters",
        name if name.starts_with("o.") => "an output",
        other => other,
    };
    format!("{what} {kind}")
}

/// How many bad records it says that there were; the first are those of the last life.
fn bad_records(said: &str) -> Value {
    let warning = said.lines().find(|line| line.starts_with("warning: ") && line.contains(" bad record"));
    warning.and_then(|line| line.split(';').next()).into()
}

/// What must not depend on how often a run was killed.
fn ledger(summary: &Value) -> Value {
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

/// The durable calls of a run that is not disturbed.
fn calls(bench: &Bench<'_>, how: &str) -> u64 {
    bench.clear();
    let file = bench.at.join("calls");
    bench.live(how, &format!("count:{}", file.display()), None);
    fs::read_to_string(file).expect("a count").trim().parse().expect("a number")
}

fn report(all: &[(&str, Tally)], seed: u64, elapsed: Duration) -> String {
    let sum = |of: fn(&Tally) -> u64| all.iter().map(|(_, tally)| of(tally)).sum::<u64>();
    let (kills, lives, runs) = (sum(|t| t.kills), sum(|t| t.lives), sum(|t| t.runs));
    let mut text = format!("seed {seed}: {kills} kills, {runs} runs that ended, {lives} lives");
    let _ = writeln!(text, ", 0 rows lost, 0 doubled, all bytes equal, in {:.0} s", elapsed.as_secs_f64());
    for (name, tally) in all {
        let _ = writeln!(text, "  {name:<32} {:>6} kills, {:>5} runs", tally.kills, tally.runs);
    }
    let (mut points, mut workers) = (BTreeMap::<_, u64>::new(), BTreeMap::<_, u64>::new());
    for (_, tally) in all {
        tally.points.iter().for_each(|(point, count)| *points.entry(point).or_default() += count);
        tally.workers.iter().for_each(|(count, lives)| *workers.entry(count).or_default() += lives);
    }
    for (point, count) in points {
        let _ = writeln!(text, "  killed {point:<32} {count:>6}");
    }
    let workers: Vec<_> = workers.iter().map(|(count, lives)| format!("{count}: {lives}")).collect();
    let _ = writeln!(text, "  lives by workers: {}", workers.join(", "));
    text
}

/// Every durable call fails, once or from then on: the run ends with an error of its own, and
/// the next one ends as if nothing had happened. Or it is interrupted or does half of what was
/// asked for, and nobody notices.
#[test]
fn every_durable_call_may_fail() {
    let is_whole = number("TRADEJOIN_KILL_POINTS").is_some();
    let (jobs, step) = if is_whole { (JOBS.len(), 1) } else { (2, 13) };
    let home = folder();
    let inputs = home.path().join("inputs");
    prepare(&inputs);
    let (mut failed, mut unnoticed) = (0, 0);
    for (at, job) in JOBS.iter().enumerate().take(jobs) {
        let bench = Bench::new(job, &inputs, &home.path().join(format!("job {at}")));
        let calls = calls(&bench, HOW);
        for call in (1 + at as u64..=calls).step_by(step) {
            for how in ["once", "ever"] {
                for kind in ["eio", "enospc"] {
                    bench.clear();
                    let Some(said) = bench.fails(&format!("{kind}@{call}:{how}"), call) else { continue };
                    let reason = if kind == "eio" { "Input/output error" } else { "No space left on device" };
                    assert!(said.contains(reason), "{}: {kind}@{call}:{how}: {said}", job.name);
                    failed += 1;
                    bench.ends_well("--workers 3 --batch-len 700 --checkpoint-every 3000rows", "");
                }
                for kind in ["eintr", "short"] {
                    bench.clear();
                    bench.ends_well(HOW, &format!("{kind}@{call}:{how}"));
                    unnoticed += 1;
                }
            }
        }
    }
    say(&format!("{failed} calls failed, {unnoticed} were interrupted or cut short, all bytes equal"));
}

/// A run that is killed in the middle goes on with any other number of workers, while trades
/// wait.
#[test]
fn any_number_of_workers_goes_on_from_any_other() {
    let step = if number("TRADEJOIN_KILL_POINTS").is_some() { 1 } else { 9 };
    let home = folder();
    let inputs = home.path().join("inputs");
    prepare(&inputs);
    for at in [1, 2] {
        let bench = Bench::new(&JOBS[at], &inputs, &home.path().join(format!("job {at}")));
        let how = |workers: u64| format!("--workers {workers} --batch-len 300 --checkpoint-every 1000rows");
        let calls = calls(&bench, &how(1));
        for pair in (0..64).step_by(step) {
            let (before, after) = (1 + pair / 8, 1 + pair % 8);
            // How many calls there are is a matter of timing: one of them is met.
            let middle = calls / 3 + pair % (calls / 3);
            let is_killed = (1..=middle).rev().step_by(7).any(|at| {
                bench.clear();
                bench.live(&how(before), &format!("kill@{at}:before"), None).is_killed
            });
            assert!(is_killed, "{before} and {after}: it never died");
            bench.ends_well(&how(after), "");
        }
    }
}

/// For whoever asks with `--nocapture`, or reads the log of the second tier.
#[expect(clippy::print_stdout, reason = "a report of a test")]
fn say(report: &str) {
    println!("{report}");
}

#[test]
fn a_run_that_is_killed_anywhere_ends_as_if_it_had_not_been() {
    let kills = number("TRADEJOIN_KILLS").unwrap_or(50);
    let seed = number("TRADEJOIN_SEED").unwrap_or(1);
    let begin = Instant::now();
    let home = folder();
    let inputs = home.path().join("inputs");
    prepare(&inputs);
    let mut all = Vec::new();
    for (at, job) in JOBS.iter().enumerate() {
        let bench = Bench::new(job, &inputs, &home.path().join(format!("job {at}")));
        let mut draw = StdRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(at as u64));
        let mut tally = Tally::default();
        let calls = calls(&bench, HOW);
        let share = kills.div_ceil(JOBS.len() as u64);
        while tally.kills < share {
            bench.complete(&mut draw, &mut tally, None, |draw| {
                if draw.random_bool(0.7) {
                    Kill::At(draw.random_range(1..=calls), MOMENTS[draw.random_range(0..3)])
                } else {
                    Kill::After(Duration::from_micros(draw.random_range(0..60_000)))
                }
            });
        }
        all.push((job.name, tally));
    }
    let report = report(&all, seed, begin.elapsed());
    say(&report);
}

/// Every durable call is the end of a life once, before, in the middle and behind it.
#[test]
fn every_durable_call_may_be_the_last() {
    let Some(jobs) = number("TRADEJOIN_KILL_POINTS") else { return };
    let begin = Instant::now();
    let home = folder();
    let inputs = home.path().join("inputs");
    prepare(&inputs);
    let mut all = Vec::new();
    for (at, job) in JOBS.iter().enumerate().take(jobs as usize) {
        let bench = Bench::new(job, &inputs, &home.path().join(format!("job {at}")));
        let calls = calls(&bench, HOW);
        let mut tally = Tally::default();
        let mut draw = StdRng::seed_from_u64(at as u64);
        for call in 1..=calls {
            for moment in MOMENTS {
                let mut is_first = true;
                bench.complete(&mut draw, &mut tally, Some(HOW), |_| {
                    if std::mem::take(&mut is_first) { Kill::At(call, moment) } else { Kill::Never }
                });
            }
        }
        all.push((job.name, tally));
    }
    say(&report(&all, 0, begin.elapsed()));
}
