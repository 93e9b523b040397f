//! Two runs with what one has left, or taken from another: whatever somebody does to the folders
//! of a run that goes on, nothing has an output's name that is not whole.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::symlink;
use std::process::{Child, ChildStdin, Output, Stdio};
use std::time::{Duration, Instant};

use crate::checkpoints::folder;
use crate::support::{Folder, Ran};

const KEPT: &str = "run --trades - --format csv --instruments i.csv --unmatched keep --checkpoint-every 1000rows \
                    --batch-len 200 --quiet";

/// Trades that a run has read when it stands still: too few for so many checkpoints that one of
/// them goes.
const READ: usize = 1_500;

/// A run that stands still behind a checkpoint, since its trades do not come.
struct Live {
    child: Child,
    stdin: ChildStdin,
    rest: Vec<u8>,
}

impl Live {
    fn begin(folder: &Folder, job: &str) -> Self {
        let mut command = folder.command(job);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let trades = folder.read("t.csv");
        let first: String = trades.split_inclusive('\n').take(READ + 1).collect();
        stdin.write_all(first.as_bytes()).expect("written");
        Self { child, stdin, rest: trades.into_bytes()[first.len()..].to_vec() }
    }

    /// The same, waited for.
    fn kept(folder: &Folder, job: &str) -> Self {
        let live = Self::begin(folder, job);
        until("a checkpoint", || folder.path("state/kept").exists());
        live
    }

    /// Gives it the other half.
    fn end(mut self) -> (Option<i32>, String) {
        // It may have ended before.
        let _ = self.stdin.write_all(&self.rest);
        drop(self.stdin);
        let Output { status, stderr, .. } = self.child.wait_with_output().expect("it ends");
        (status.code(), String::from_utf8(stderr).expect("text"))
    }
}

fn until(what: &str, is_there: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_there() {
        assert!(begin.elapsed() < Duration::from_secs(60), "there is not {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The same command with all trades.
fn again(folder: &Folder, job: &str) -> Ran {
    folder.run(&job.replace("--trades -", "--trades t.csv"))
}

fn copy(folder: &Folder, from: &str, to: &str) {
    fs::create_dir(folder.path(to)).expect("a folder");
    fs::set_permissions(folder.path(to), fs::metadata(folder.path(from)).expect("there").permissions())
        .expect("set");
    for entry in fs::read_dir(folder.path(from)).expect("a folder") {
        let name = entry.expect("an entry").file_name();
        // What a checkpoint has just replaced is gone.
        let _ = fs::copy(folder.path(from).join(&name), folder.path(to).join(&name));
    }
}

#[test]
fn checkpoints_that_are_removed_from_a_run_end_it_and_spoil_no_other() {
    let (folder, want) = folder();
    let job = format!("{KEPT} --output o.csv --checkpoint state");
    // One that stands still within its first checkpoint.
    let mut command = folder.command(&job.replace("--trades -", "--trades t.csv"));
    command.env("TRADEJOIN_FAULTS", "hang:manifest.tmp").stderr(Stdio::piped());
    let mut still = command.spawn().expect("it starts");
    let mut said = BufReader::new(still.stderr.take().expect("a pipe")).lines();
    assert!(said.any(|line| line.expect("text") == "hangs at create manifest.tmp"));
    fs::remove_dir_all(folder.path("state")).expect("removed");
    let refused = again(&folder, &job);
    still.kill().expect("killed");
    still.wait().expect("it ends");
    assert_eq!(refused.code, 73, "{}", refused.stderr);
    assert!(refused.stderr.contains("another run writes o.csv."), "{}", refused.stderr);
    let live = Live::kept(&folder, &job);
    // At once: it may just write there.
    fs::rename(folder.path("state"), folder.path("gone")).expect("moved");
    // Whoever removes the output, too, can begin anew.
    folder.names().iter().filter(|name| name.ends_with(".partial")).for_each(|partial| {
        fs::remove_file(folder.path(partial)).expect("removed");
    });
    let begun = again(&folder, &job);
    assert_eq!(begun.code, 0, "{}", begun.stderr);
    assert!(folder.read("o.csv") == want);
    let listed = folder.ok("checkpoint list state");
    let (code, said) = live.end();
    assert_eq!(code, Some(74), "{said}");
    assert!(folder.read("o.csv") == want);
    assert_eq!(folder.ok("checkpoint list state"), listed);
}

#[test]
fn an_output_that_is_taken_from_a_run_ends_it() {
    let (folder, _) = folder();
    let kept = format!("{KEPT} --output o.csv --checkpoint state");
    let alone = KEPT.replace("--checkpoint-every 1000rows", "--output o.csv");
    for (job, is_kept) in [(kept, true), (alone, false)] {
        let live = if is_kept { Live::kept(&folder, &job) } else { Live::begin(&folder, &job) };
        let partial = || folder.names().into_iter().find(|name| name.ends_with(".partial"));
        until("an output", || partial().is_some());
        let partial = partial().expect("it was there");
        fs::remove_file(folder.path(&partial)).expect("removed");
        folder.put(&partial, "of somebody else\n");
        let (code, said) = live.end();
        assert_eq!(code, Some(74), "{said}");
        assert!(said.contains(&format!("{partial}: somebody has removed or replaced it")), "{said}");
        assert!(!said.contains("the same command goes on"), "{said}");
        assert!(!folder.path("o.csv").exists());
        assert_eq!(folder.read(&partial), "of somebody else\n");
        fs::remove_file(folder.path(&partial)).expect("removed");
    }
}

#[test]
fn a_copy_of_the_checkpoints_of_a_run_is_not_gone_on_from_beside_it() {
    let (folder, want) = folder();
    let job = format!("{KEPT} --output o.csv --checkpoint state");
    let live = Live::kept(&folder, &job);
    copy(&folder, "state", "copy");
    let trades = fs::File::open(folder.path("t.csv")).expect("a file");
    let mut command = folder.command(&job.replace("--checkpoint state", "--checkpoint copy"));
    let refused = command.stdin(trades).output().expect("it runs");
    let (code, said) = live.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(folder.read("o.csv") == want);
    let said = String::from_utf8(refused.stderr).expect("text");
    assert_eq!(refused.status.code(), Some(73), "{said}");
    assert!(said.contains("another run writes this output: wait for its end"), "{said}");
}

#[test]
fn parts_are_refused_beside_their_run_and_missed_by_it() {
    let (folder, _) = folder();
    let job = format!("{KEPT} --output out --output-format parquet --checkpoint state");
    let job = job.replace("--output out ", "--output out/ ");
    let live = Live::kept(&folder, &job);
    until("a part", || folder.path("out/part-000000.parquet").exists());
    let refused = again(&folder, &job.replace("--checkpoint state", "--checkpoint other"));
    assert_eq!(refused.code, 73, "{}", refused.stderr);
    assert!(refused.stderr.contains("another run writes its parts in this folder"), "{}", refused.stderr);
    fs::remove_file(folder.path("out/part-000000.parquet")).expect("removed");
    let (code, said) = live.end();
    assert_eq!(code, Some(78), "{said}");
    assert!(
        said.contains("out/part-000000.parquet: the output that the checkpoint tells of is missing"),
        "{said}"
    );
    assert!(!folder.read("out/_manifest.json").contains("\"is_complete\": true"));
}

#[test]
fn a_run_is_not_complete_where_its_output_leads_elsewhere_by_now() {
    let (folder, want) = folder();
    for day in ["mon", "tue"] {
        fs::create_dir(folder.path(day)).expect("a folder");
    }
    symlink("mon/o.csv", folder.path("today.csv")).expect("a link");
    let job = "run --trades t.csv --instruments i.csv --unmatched keep --output today.csv --checkpoint state --quiet";
    folder.ok(job);
    folder.ok(job);
    assert!(folder.read("mon/o.csv") == want);
    fs::remove_file(folder.path("today.csv")).expect("removed");
    symlink("tue/o.csv", folder.path("today.csv")).expect("a link");
    let said = folder.fails(78, job);
    assert!(said.contains("the checkpoint is of another output") && said.contains("mon/o.csv"), "{said}");
}

#[test]
fn a_run_may_go_on_with_another_limit_of_lines_where_it_ended_at_one() {
    let (folder, _) = folder();
    let long = format!("0,1,{}.5\n", "1".repeat(5_000));
    folder.put("t.csv", folder.read("t.csv") + &long + "1,1,2.5\n");
    let job = "run --trades t.csv --instruments i.csv --unmatched keep --output o.csv --checkpoint-every 1000rows \
               --batch-len 200 --quiet --checkpoint state";
    let said = folder.fails(65, &format!("{job} --max-line 4KiB"));
    assert!(said.contains("(--max-line)"), "{said}");
    folder.ok(&format!("{job} --max-line 1MiB"));
    assert_eq!(folder.read("o.csv").lines().count(), folder.read("t.csv").lines().count());
    // Where bad records are left out it says which.
    let long = format!("{{\"trade_id\":1,\"instrument_id\":1,\"note\":\"{}\"}}\n", "1".repeat(5_000));
    folder.put("t.jsonl", long + "{\"trade_id\":2,\"instrument_id\":1,\"note\":\"\"}\n");
    let job = job.replace("state", "other").replace("t.csv", "t.jsonl") + " --on-bad-record skip";
    folder.ok(&format!("{job} --max-line 4KiB"));
    let said = folder.fails(78, &format!("{job} --max-line 1MiB"));
    assert!(said.contains("max_line"), "{said}");
    // What is said aloud is what is not said.
    let job = job.replace("other", "third");
    folder.ok(&job);
    folder.ok(&format!("{job} --max-line 16MiB --max-fields 4096 --max-depth 128"));
}

#[test]
fn keys_that_stand_twice_are_refused_where_a_run_goes_on_with_strict() {
    let (folder, _) = folder();
    let last = folder.read("i.csv").lines().last().expect("a row").to_owned();
    folder.put("i.csv", folder.read("i.csv") + &last + "\n");
    let job =
        "run --trades t.csv --instruments i.csv --unmatched keep --output o.csv --checkpoint state --quiet";
    folder.ok(job);
    let said = folder.fails(78, &format!("{job} --strict"));
    assert!(said.contains("1 rows of table instruments have keys that stand twice"), "{said}");
    folder.ok(job);
    // By version the later one counts, as it may.
    folder.put("f.csv", "id,fee,seq\n1,5,1\n1,6,2\n");
    let job = "run --trades t.csv --table f=f.csv,key=instrument_id@id --version-column f=seq --unmatched keep \
               --output v.csv --checkpoint versions --strict --quiet";
    folder.ok(job);
    folder.ok(job);
}

#[test]
fn a_complete_run_says_what_was_written_behind_what_it_read() {
    let (folder, want) = folder();
    let job =
        "run --trades t.csv --instruments i.csv --unmatched keep --output o.csv --checkpoint state --quiet";
    folder.ok(job);
    assert_eq!(folder.run(job).stderr, "");
    let more = "20001,1,1.25\n";
    folder.put("t.csv", folder.read("t.csv") + more);
    let told = format!(
        "warning: t.csv has {} bytes more than were read: to have them, begin anew in another folder\n",
        more.len()
    );
    let ran = folder.run(job);
    assert_eq!((ran.code, ran.stderr), (0, told));
    assert!(folder.read("o.csv") == want);
}
