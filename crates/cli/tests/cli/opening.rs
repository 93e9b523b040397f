//! What is said while a run still opens its inputs.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::{Folder, Ran};

/// After so long what is waited for will not come.
const PATIENCE: Duration = Duration::from_secs(100);

/// Runs a command until it says this.
fn until_said(folder: &Folder, line: &str, expected: &str) -> Ran {
    let start = Instant::now();
    loop {
        let ran = folder.run(line);
        if ran.stderr.contains(expected) {
            return ran;
        }
        assert!(start.elapsed() < PATIENCE, "{line}: {}", ran.stderr);
        sleep(Duration::from_millis(20));
    }
}

/// The other end of a pipe, once the run reads it.
fn writer(folder: &Folder, pipe: &str, child: &mut Child) -> File {
    let start = Instant::now();
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    loop {
        match File::options().write(true).custom_flags(flags).open(folder.path(pipe)) {
            Ok(file) => return file,
            Err(error) => {
                assert!(start.elapsed() < PATIENCE, "{error}");
                assert!(child.try_wait().expect("it is known").is_none(), "the run has ended");
            }
        }
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn who_asks_a_run_that_waits_for_its_input_is_told() {
    let folder = Folder::new();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.path("p"), mode).expect("a pipe");
    let job = "run -q --trades p --format csv --instruments instruments.csv --users users.csv --watch \
               --control c.sock --output o.csv";
    let mut child = folder.command(job).stderr(Stdio::null()).spawn().expect("the command starts");
    let waits = "the run has not begun: it waits for bytes of p; ask again then";
    for line in ["reload --control c.sock", "tap --control c.sock"] {
        let ran = until_said(&folder, line, waits);
        assert_eq!((ran.code, ran.stderr), (74, format!("error: {waits}\n")), "{line}");
    }
    let mut pipe = writer(&folder, "p", &mut child);
    std::io::copy(&mut crate::support::TRADES.as_bytes(), &mut pipe).expect("written");
    drop(pipe);
    assert!(child.wait().expect("it ends").success());
    assert_eq!(folder.read("o.csv"), crate::support::ENRICHED);
    assert!(!folder.path("c.sock").exists());
}
