//! The process ends where it is told to, and nothing of it comes behind that.

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::{env, fs};

use tradejoin_disk::{Disk as _, FaultyDisk, Mode, RealDisk};

const FAULTS: &str = "TRADEJOIN_TEST_FAULTS";
const FOLDER: &str = "TRADEJOIN_TEST_FOLDER";

/// Makes a file, writes to it, renames it: what the process does that is to end.
#[test]
fn writes_a_file_if_it_is_asked_to() {
    let (Ok(faults), Ok(folder)) = (env::var(FAULTS), env::var(FOLDER)) else { return };
    let disk = FaultyDisk::new(Arc::new(RealDisk), faults.parse().expect("faults"));
    let (temporary, path) = (Path::new(&folder).join("a.tmp"), Path::new(&folder).join("a"));
    let mut file = disk.create(&temporary, Mode::Private).expect("a file");
    file.write_all(b"abcdef").expect("written");
    disk.rename(&temporary, &path).expect("renamed");
}

/// What is left of a process with these faults: the names and their bytes.
fn left(faults: &str) -> (Option<i32>, Vec<(String, String)>) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.args(["--exact", "writes_a_file_if_it_is_asked_to"]);
    let output = command.env(FAULTS, faults).env(FOLDER, folder.path()).output().expect("run");
    let names = RealDisk.list(folder.path()).expect("listed").into_iter();
    let bytes = |name: &String| fs::read_to_string(folder.path().join(name)).expect("a text");
    (output.status.signal(), names.map(|name| (name.clone(), bytes(&name))).collect())
}

#[test]
fn it_dies_before_within_or_after_an_operation() {
    const KILL: Option<i32> = Some(9);
    let file = |name: &str, bytes: &str| vec![(name.to_owned(), bytes.to_owned())];
    assert_eq!(left("kill@1:before"), (KILL, vec![]));
    assert_eq!(left("kill@1:half"), (KILL, vec![]), "there is no half of a name");
    assert_eq!(left("kill@1:after"), (KILL, file("a.tmp", "")));
    assert_eq!(left("kill@2:before"), (KILL, file("a.tmp", "")));
    assert_eq!(left("kill@2:half"), (KILL, file("a.tmp", "abc")));
    assert_eq!(left("kill@2:after"), (KILL, file("a.tmp", "abcdef")));
    assert_eq!(left("kill@3:before"), (KILL, file("a.tmp", "abcdef")));
    assert_eq!(left("kill@3:after"), (KILL, file("a", "abcdef")));
    assert_eq!(left("kill@4:before"), (None, file("a", "abcdef")));
}
