//! Runs that are killed again and again, and go on with other workers.
//!
//! A few kills here; `TRADEJOIN_KILLS` says how many in all, `TRADEJOIN_KILL_POINTS` has every
//! durable call of a run be its end once, and fail, and all pairs of shards be tried, and
//! `TRADEJOIN_KILL_FOLDER` says where: the second tier asks for 5,000 in memory and 200 on a
//! disk.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::kill_bench::{Bench, End, Fate, Way};
use crate::kill_jobs::{JOBS, Job, prepare};
use crate::kill_report::{Tally, report};

/// How a process is told to die: half of a write, or between two operations.
const MOMENTS: [&str; 3] = ["before", "half", "after"];

/// How often a moment near the end of a run is looked for.
const ROUNDS_MAX: u32 = 8;

/// How the durable calls of a run are counted.
fn usual(job: &Job) -> Way {
    Way::partitioned(job, 3, 1_000, "2000rows")
}

/// How a run goes on whose call has failed.
fn other(job: &Job) -> Way {
    Way::partitioned(job, 5, 700, "3000rows")
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// A folder for runs, on the disk that was asked for, with the inputs of all jobs.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = match std::env::var_os("TRADEJOIN_KILL_FOLDER") {
        Some(parent) => tempfile::tempdir_in(parent).expect("a folder"),
        None => tempfile::tempdir().expect("a folder"),
    };
    let inputs = folder.path().join("inputs");
    prepare(&inputs);
    (folder, inputs)
}

/// What a run must end with at whose durable call there was an error: that an output cannot be
/// made, which is the first thing that is done with it, has a code of its own. Parts are made
/// in the middle of a run, in a folder that is there; what is gone on with has been made.
fn code_of(struck: &str, said: &str) -> i32 {
    let (call, path) = struck.rsplit_once(' ').expect("a call and a path");
    let is_made = matches!(call, "create" | "create folder" | "remove");
    let is_of_parts = Path::new(path).starts_with("out/parts/") && call != "create folder";
    let is_gone_on_with = said.contains("cannot go on with ");
    if is_made && path.starts_with("out/") && !is_of_parts && !is_gone_on_with { 73 } else { 74 }
}

/// Holds how a run ended to what its fault must come to. One that is for ever strikes more than
/// one call, of which another may be the first that ends it.
fn check_failure(job: &Job, fault: &str, (status, struck, said): &(ExitStatus, String, String)) {
    let about = format!("{}: {fault} at {struck}: {status}: {said}", job.name);
    let cannot_be_made = said.contains("cannot create out/");
    assert_eq!(status.code(), Some(if cannot_be_made { 73 } else { 74 }), "{about}");
    if fault.ends_with(":once") {
        assert_eq!(status.code(), Some(code_of(struck, said)), "{about}");
    }
    let is_full = fault.starts_with("enospc");
    let reason = if is_full { "No space left on device" } else { "Input/output error" };
    assert!(said.contains(reason), "{about}");
}

/// Every durable call fails, once or from then on: the run ends with an error of its own, and
/// the next one ends as if nothing had happened. Or a write is interrupted or does half of what
/// was asked for, and nobody notices.
#[test]
fn every_durable_call_may_fail() {
    let is_whole = number("TRADEJOIN_KILL_POINTS").is_some();
    let jobs = if is_whole { JOBS.len() } else { 2 };
    let (home, inputs) = folder();
    let (mut failed, mut unnoticed) = (0, 0);
    for (at, job) in JOBS.iter().enumerate().take(jobs) {
        let bench = Bench::new(job, &inputs, &home.path().join(format!("job {at}")));
        let way = usual(job);
        let calls = bench.calls(&way);
        let (failed_before, unnoticed_before) = (failed, unnoticed);
        let (first, step) = if is_whole { (1, 1) } else { (1 + at as u64, 17) };
        for call in (first..=calls).step_by(step) {
            for how in ["once", "ever"] {
                for kind in ["eio", "enospc"] {
                    bench.clear();
                    let fault = format!("{kind}@{call}:{how}");
                    let Some(ended) = bench.struck(&way, &fault) else { continue };
                    check_failure(job, &fault, &ended);
                    failed += 1;
                    bench.ends_well(&other(job));
                }
                for kind in ["eintr", "short"] {
                    bench.clear();
                    let fault = format!("{kind}@{call}:{how}");
                    // Nothing is struck where the call was no write.
                    let Some((status, struck, said)) = bench.struck(&way, &fault) else { continue };
                    assert!(status.success(), "{}: {fault} at {struck}: {said}", job.name);
                    assert!(struck.starts_with("write "), "{}: {fault} at {struck}", job.name);
                    unnoticed += 1;
                    // There is nothing left to do.
                    bench.ends_well(&way);
                }
            }
        }
        assert!(failed > failed_before && unnoticed > unnoticed_before, "{}: none was struck", job.name);
    }
    say(&format!("{failed} calls failed, {unnoticed} were interrupted or cut short, all bytes equal"));
}

/// What a life has left that another goes on from.
#[derive(Clone, Copy, Debug)]
enum Left {
    /// A checkpoint in the middle, with more written behind it that is cut off.
    More,
    /// All of it, but for the names of the outputs.
    NoNames,
    /// All of it, with its last checkpoint damaged: the outputs are gone on with as copies.
    Damaged,
}

/// Has a life leave that, which works as `way` says.
fn leave(bench: &Bench<'_>, left: Left, way: &Way) {
    let dies = |way: &Way, at| {
        bench.clear();
        bench.live(way, Fate::DiesAt(at, "before")).end == End::Killed
    };
    // How many calls there are is a matter of timing, less so with no checkpoint but at the ends.
    let is_left = match left {
        Left::More => (1..=bench.calls(way) * 2 / 3)
            .rev()
            .step_by(3)
            .any(|at| dies(way, at) && bench.newest().is_some()),
        Left::NoNames => {
            let way = Way { every: "1h", ..way.clone() };
            (0..ROUNDS_MAX).any(|_| {
                let calls = bench.calls(&way);
                (calls.saturating_sub(20)..=calls).any(|at| dies(&way, at) && bench.is_kept_complete())
            })
        }
        Left::Damaged => {
            bench.clear();
            bench.ends_well(way);
            bench.damage_newest();
            true
        }
    };
    assert!(is_left, "{}: {left:?}", bench.job.name);
    bench.set_aside();
}

/// So does every durable call of a run that goes on: those that cut outputs back, copy them or
/// give them their names.
#[test]
fn every_durable_call_of_a_run_that_goes_on_may_fail_or_be_the_last() {
    let is_whole = number("TRADEJOIN_KILL_POINTS").is_some();
    let jobs: Vec<_> = if is_whole { (0..JOBS.len()).collect() } else { vec![1, 3] };
    let (home, inputs) = folder();
    let (mut failed, mut killed) = (0, 0);
    for at in jobs {
        let job = &JOBS[at];
        let bench = Bench::new(job, &inputs, &home.path().join(format!("job {at}")));
        for left in [Left::More, Left::NoNames, Left::Damaged] {
            leave(&bench, left, &Way::partitioned(job, 1, 1_000, "4000rows"));
            let way = usual(job);
            bench.restore();
            let calls = bench.calls_from_here(&way);
            bench.check(&format!("{left:?}"));
            let (first, step) = if is_whole { (1, 1) } else { (1 + at as u64 % 3, 23) };
            for call in (first..=calls).step_by(step) {
                for (at, fault) in ["eio:once", "enospc:ever", "eio:ever", "enospc:once"].iter().enumerate() {
                    let fault = fault.replace(':', &format!("@{call}:"));
                    if at > 1 && !is_whole {
                        break;
                    }
                    bench.restore();
                    let Some(ended) = bench.struck(&way, &fault) else { continue };
                    check_failure(job, &fault, &ended);
                    failed += 1;
                    bench.ends_well(&other(job));
                }
                for moment in MOMENTS {
                    bench.restore();
                    if bench.live(&way, Fate::DiesAt(call, moment)).end == End::Killed {
                        killed += 1;
                        bench.ends_well(&other(job));
                    }
                }
            }
        }
    }
    say(&format!("{failed} calls of runs that went on failed, {killed} were the last, all bytes equal"));
}

/// A run that is killed in the middle goes on with any other number of workers, while trades
/// wait.
#[test]
fn any_number_of_workers_goes_on_from_any_other() {
    // Eleven leads up and down.
    let step = if number("TRADEJOIN_KILL_POINTS").is_some() { 1 } else { 11 };
    let (home, inputs) = folder();
    let mut pairs = 0;
    for at in [1, 2] {
        let job = &JOBS[at];
        let bench = Bench::piped(job, &inputs, &home.path().join(format!("job {at}")));
        let way = |workers: u64| Way::partitioned(job, workers as u32, 300, "1rows");
        for pair in (0..64).step_by(step) {
            let (before, after) = (way(1 + pair / 8), way(1 + pair % 8));
            bench.dies_while_trades_wait(&before, 2_500 + 50 * pair as usize);
            // It is held to as many shards as workers were asked for.
            assert_eq!((after.shards(), before.shards()), (after.workers, before.workers));
            bench.ends_well(&after);
            pairs += 1;
        }
    }
    say(&format!("{pairs} pairs of 1 to 8 shards before and after, while trades waited, all bytes equal"));
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
    let (home, inputs) = folder();
    let mut all = Vec::new();
    for (at, job) in JOBS.iter().enumerate() {
        let bench = Bench::new(job, &inputs, &home.path().join(format!("job {at}")));
        let mut draw = StdRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(at as u64));
        let mut tally = Tally::default();
        let calls = bench.calls(&usual(job));
        let share = kills.div_ceil(JOBS.len() as u64);
        while tally.kills < share {
            bench.complete(&mut draw, &mut tally, None, |draw| match draw.random_range(0..20) {
                0..12 => Fate::DiesAt(draw.random_range(1..=calls), MOMENTS[draw.random_range(0..3)]),
                12..16 => Fate::Killed(draw.random_range(0.0..1.0)),
                16..19 => Fate::Asked(draw.random_range(0.0..1.0)),
                _ => Fate::Stopped(draw.random_range(0.0..1.0)),
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
    let whole = number("TRADEJOIN_KILL_POINTS");
    let begin = Instant::now();
    let (home, inputs) = folder();
    let mut all = Vec::new();
    for (at, job) in JOBS.iter().enumerate().take(whole.map_or(2, |jobs| jobs as usize)) {
        let bench = Bench::new(job, &inputs, &home.path().join(format!("job {at}")));
        let way = usual(job);
        let calls = bench.calls(&way);
        let (first, step) = if whole.is_some() { (1, 1) } else { (1 + at as u64, 29) };
        let mut tally = Tally::default();
        let mut draw = StdRng::seed_from_u64(at as u64);
        for call in (first..=calls).step_by(step) {
            for moment in MOMENTS {
                let mut is_first = true;
                bench.complete(&mut draw, &mut tally, Some(&way), |_| {
                    if std::mem::take(&mut is_first) { Fate::DiesAt(call, moment) } else { Fate::Undisturbed }
                });
            }
        }
        assert!(tally.kills > 0, "{}: it never died", job.name);
        all.push((job.name, tally));
    }
    say(&report(&all, 0, begin.elapsed()));
}
