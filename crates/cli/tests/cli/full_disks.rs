//! File systems of a few hundred KiB that run full: of the output, of the checkpoints and of
//! temporary files. They are mounted in a namespace of its own, which a system may not allow: these
//! tests are skipped then and say so, but fail if `TRADEJOIN_FULL_DISKS` says that they are to run, as
//! the second tier has it, which tells by itself that it skips them.

use std::fs;
use std::process::{Command, Output, Stdio};

use crate::checkpoints::{JOB, SMALL, folder};
use crate::support::Folder;

/// Mounts a file system of `$SIZE` on `full` and does the job there, once more with more room, and
/// leaves what is there then in `kept`.
const SCRIPT: &str = r#"
mount -t tmpfs -o size="$SIZE" tmpfs full || exit 99
cat "$INPUT" | "$TRADEJOIN" $JOB > 1.out 2> 1.err; echo $? > 1.code
"$TRADEJOIN" checkpoint list "$STATE" > list 2>&1
mount -o remount,size=64m full || exit 99
cat "$INPUT" | "$TRADEJOIN" $JOB > 2.out 2> 2.err; echo $? > 2.code
cp -r full/. kept || exit 99
"#;

/// A job, and the file system that is too small for it.
struct Job<'a> {
    line: &'a str,
    /// What comes through standard input.
    input: &'a str,
    size: &'a str,
    state: &'a str,
}

fn unshared(folder: &Folder, script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.current_dir(folder.path("")).args(["-Urm", "sh", "-c", script]).stdin(Stdio::null());
    command
}

/// Whether the system lets a test mount file systems of its own; says which test is skipped if not.
#[expect(clippy::print_stdout, reason = "seen with --nocapture: no test is skipped in silence")]
fn may_mount(folder: &Folder, test: &str) -> bool {
    fs::create_dir(folder.path("full")).expect("a folder");
    let tried = unshared(folder, "mount -t tmpfs -o size=64k tmpfs full").output();
    let is_allowed = tried.as_ref().is_ok_and(|output| output.status.success());
    let reason = "this system lets nobody mount by `unshare -Urm`";
    assert!(is_allowed || std::env::var_os("TRADEJOIN_FULL_DISKS").is_none(), "{reason}: {tried:?}");
    if !is_allowed {
        println!("full_disks::{test} is skipped: {reason}");
    }
    is_allowed
}

/// Does the job in a file system that runs full, and once more with room; gives what was said
/// each time and of the checkpoints between.
fn runs_full(folder: &Folder, job: &Job<'_>) -> [String; 3] {
    let _ = fs::remove_dir_all(folder.path("kept"));
    fs::create_dir(folder.path("kept")).expect("a folder");
    let mut command = unshared(folder, SCRIPT);
    command.env("TRADEJOIN", assert_cmd::cargo::cargo_bin!("tradejoin")).env("JOB", job.line);
    command.env("SIZE", job.size).env("INPUT", job.input).env("STATE", job.state);
    command.env("TMPDIR", folder.path("full"));
    let Output { status, stderr, .. } = command.output().expect("it runs");
    assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
    let (first, second) = (folder.read("1.err"), folder.read("2.err"));
    assert_eq!(folder.read("1.code").trim(), "74", "{first}");
    assert!(first.contains("No space left on device"), "{first}");
    assert_eq!(folder.read("2.code").trim(), "0", "{second}");
    [first, folder.read("list"), second]
}

/// The same until the first run has had a checkpoint, which is a matter of timing.
fn goes_on(folder: &Folder, job: &Job<'_>, what: &str) {
    let has_gone_on = (0..10).any(|_| {
        for name in folder.names().iter().filter(|name| *name == "state" || name.starts_with("o.csv")) {
            let path = folder.path(name);
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("removed");
        }
        let [first, listed, second] = runs_full(folder, job);
        assert!(first.contains(what), "{first}");
        let is_kept = listed.contains("a run goes on here");
        let said = "the same command goes on from the last checkpoint";
        assert_eq!((first.contains(said), second.contains("going on from checkpoint ")), (is_kept, is_kept));
        is_kept
    });
    assert!(has_gone_on, "there is never a checkpoint");
}

#[test]
fn a_full_disk_of_the_output_ends_the_run_and_the_next_one_goes_on() {
    let (folder, want) = folder();
    if !may_mount(&folder, "a_full_disk_of_the_output_ends_the_run_and_the_next_one_goes_on") {
        return;
    }
    let line = format!("{} {SMALL}", JOB.replace("o.csv", "full/o.csv"));
    let job = Job { line: &line, input: "/dev/null", size: "300k", state: "state" };
    goes_on(&folder, &job, "full/o.csv");
    assert!(folder.read("kept/o.csv") == want);
    assert_eq!(fs::read_dir(folder.path("kept")).expect("a folder").count(), 1, "nothing else is left");
}

#[test]
fn a_full_disk_of_the_checkpoints_ends_the_run_and_the_next_one_goes_on() {
    let (folder, want) = folder();
    if !may_mount(&folder, "a_full_disk_of_the_checkpoints_ends_the_run_and_the_next_one_goes_on") {
        return;
    }
    // Each checkpoint has all trades that may be written again.
    let line = JOB.replace("state", "full/state") + " --correct 20000rows --corrections c.csv " + SMALL;
    let job = Job { line: &line, input: "/dev/null", size: "600k", state: "full/state" };
    goes_on(&folder, &job, "full/state/");
    assert!(folder.read("o.csv") == want);
}

#[test]
fn a_full_disk_of_temporary_files_ends_the_run_and_the_next_one_begins() {
    let folder = Folder::empty();
    if !may_mount(&folder, "a_full_disk_of_temporary_files_ends_the_run_and_the_next_one_begins") {
        return;
    }
    folder.ok("generate --limit 20000 --ids 500 --trades t.arrow --instruments i.csv");
    folder.ok("run --trades t.arrow --instruments i.csv --output want.csv --quiet");
    // An Arrow file that comes through a pipe is copied, since it is read from its end.
    let line = "run --trades - --format arrow --instruments i.csv --output o.csv --checkpoint state";
    let job = Job { line, input: "t.arrow", size: "200k", state: "state" };
    let [first, listed, _] = runs_full(&folder, &job);
    assert!(first.contains("cannot copy ") && first.contains("(TMPDIR)"), "{first}");
    assert!(!listed.contains("goes on here"), "{listed}");
    assert!(folder.read("o.csv") == folder.read("want.csv"));
    assert_eq!(fs::read_dir(folder.path("kept")).expect("a folder").count(), 0, "nothing is left");
}
