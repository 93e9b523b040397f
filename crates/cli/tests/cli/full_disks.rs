//! File systems of a few hundred KiB that run full: of the output, of the checkpoints and of
//! temporary files. They are mounted in a namespace of its own, which a system may not allow: these
//! tests are skipped then and say so, but fail if `TRADEJOIN_FULL_DISKS` says that they are to run, as
//! the second tier has it, which tells by itself that it skips them.

use std::fs;
use std::process::{Command, Output, Stdio};

use crate::checkpoints::{JOB, SMALL, folder};
use crate::support::Folder;

/// Mounts a file system of `$SIZE` on `full` and does the job there, once more with more room, and
/// leaves what is there then in `kept`. Trades that come `$SLOWLY` are few until there is a
/// checkpoint of them, and no end of them comes before that of the run.
const SCRIPT: &str = r#"
rm -f 1.code
feed() {
    if [ -z "$SLOWLY" ]; then exec cat "$INPUT"; fi
    head -n 200 "$INPUT"
    until ls "$STATE"/manifest-* > /dev/null 2>&1 || [ -e 1.code ]; do sleep 0.01; done
    tail -n +201 "$INPUT" 2> /dev/null
    naps=0
    until [ -e 1.code ] || [ $naps -ge 6000 ]; do sleep 0.01; naps=$((naps + 1)); done
}
mount -t tmpfs -o size="$SIZE" tmpfs full || exit 99
feed | ("$TRADEJOIN" $JOB > 1.out 2> 1.err; echo $? > 1.code)
"$TRADEJOIN" checkpoint list "$STATE" > list 2>&1
mount -o remount,size=64m full || exit 99
cat "$INPUT" | "$TRADEJOIN" $JOB > 2.out 2> 2.err; echo $? > 2.code
cp -r full/. kept || exit 99
"#;

/// A job, and the file system that is too small for it.
struct Job<'a> {
    line: &'a str,
    /// What comes through standard input, and whether slowly.
    input: &'a str,
    is_slow: bool,
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
    command.env("TMPDIR", folder.path("full")).env("SLOWLY", if job.is_slow { "yes" } else { "" });
    let Output { status, stderr, .. } = command.output().expect("it runs");
    assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
    let (first, second) = (folder.read("1.err"), folder.read("2.err"));
    assert_eq!(folder.read("1.code").trim(), "74", "{first}");
    assert!(first.contains("No space left on device"), "{first}");
    assert_eq!(folder.read("2.code").trim(), "0", "{second}");
    [first, folder.read("list"), second]
}

/// The same of a first run that has had a checkpoint.
fn goes_on(folder: &Folder, line: &str, size: &str, state: &str, what: &str) {
    let line = line.replace("t.csv", "- --format csv");
    let job = Job { line: &line, input: "t.csv", is_slow: true, size, state };
    let [first, listed, second] = runs_full(folder, &job);
    assert!(first.contains(what), "{first}");
    assert!(listed.contains("a run goes on here"), "{listed}");
    assert!(first.contains("the same command goes on from the last checkpoint"), "{first}");
    assert!(second.contains("going on from checkpoint "), "{second}");
}

#[test]
fn a_full_disk_of_the_output_ends_the_run_and_the_next_one_goes_on() {
    let (folder, want) = folder();
    if !may_mount(&folder, "a_full_disk_of_the_output_ends_the_run_and_the_next_one_goes_on") {
        return;
    }
    let line = format!("{} {SMALL}", JOB.replace("o.csv", "full/o.csv"));
    goes_on(&folder, &line, "300k", "state", "full/o.csv");
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
    goes_on(&folder, &line, "600k", "full/state", "full/state/");
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
    let job = Job { line, input: "t.arrow", is_slow: false, size: "200k", state: "state" };
    let [first, listed, _] = runs_full(&folder, &job);
    assert!(first.contains("cannot copy ") && first.contains("(TMPDIR)"), "{first}");
    assert!(!listed.contains("goes on here"), "{listed}");
    assert!(folder.read("o.csv") == folder.read("want.csv"));
    assert_eq!(fs::read_dir(folder.path("kept")).expect("a folder").count(), 0, "nothing is left");
}
