//! How a file without checkpoints gets its name, and whose it is until then.

use std::os::unix::fs::MetadataExt as _;

use tempfile::TempDir;
use tradejoin_disk::FaultyDisk;

use super::*;

/// Writes a file and completes it, on a disk with these faults.
fn write(folder: &TempDir, faults: &str) -> Result<(), WriteError> {
    let path = folder.path().join("o.csv");
    let disk = FaultyDisk::new(Arc::new(RealDisk), faults.parse().expect("faults"));
    let failed = |error: io::Error| prepared::failed(&path, error);
    let location = Location::Path(path.clone());
    let created = Target::create_on(Arc::new(disk), &location, OutputHandle::default(), None);
    let (mut target, mut file) = created.map_err(failed)?;
    file.write_all(b"new\n").map_err(failed)?;
    let mark = file.mark().map_err(failed)?;
    let whole = target.prepare("o.csv", mark, Some(End::Complete)).expect("nothing follows");
    prepared::complete(&"o.csv".into(), whole)
}

fn content(folder: &TempDir) -> String {
    fs::read_to_string(folder.path().join("o.csv")).expect("a file")
}

#[test]
fn a_file_without_checkpoints_gets_its_name_once_it_is_durable() {
    // To make it, write, sync and rename it, and to sync its folder.
    for (at, expected) in [(1, "old\n"), (2, "old\n"), (3, "old\n"), (4, "old\n"), (5, "new\n")] {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("o.csv"), "old\n").expect("written");
        let error = write(&folder, &format!("eio@{at}:once")).expect_err("a fault");
        assert!(error.to_string().starts_with("cannot write "), "{error}");
        assert_eq!(content(&folder), expected, "call {at}");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left of call {at}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder, "eio@6:once").expect("there is no sixth call");
    assert_eq!(content(&folder), "new\n");
}

#[test]
fn a_file_is_made_with_the_rights_of_the_one_that_it_replaces() {
    for bits in [0o600, 0o640, 0o666] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("o.csv");
        fs::write(&path, "old\n").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(bits)).expect("set");
        let created = Target::create(&Location::Path(path.clone()), OutputHandle::default());
        let (target, _file) = created.expect("created");
        let Place::Partial { partial, .. } = target.place() else { panic!("a file with a name") };
        let rights = |path: &Path| fs::metadata(path).expect("a file").mode() & 0o777;
        assert_eq!((rights(partial), rights(&path)), (bits, bits));
    }
}

#[test]
fn a_pipe_that_does_not_wait_is_waited_for() {
    let (mut reader, mut writer) = io::pipe().expect("a pipe");
    rustix::io::ioctl_fionbio(&writer, true).expect("changed");
    let step = [0; 4096];
    while writer.write(&step).is_ok() {}
    let mut file = File::from(std::os::fd::OwnedFd::from(writer));
    let written = std::thread::scope(|threads| {
        let writing = threads.spawn(move || write_waiting(&mut file, &step));
        // It is full until here, and over when the other thread is.
        io::copy(&mut reader, &mut io::sink()).expect("read");
        writing.join().expect("no panic")
    });
    assert_eq!(written.expect("written"), 4096);
}

#[test]
fn a_sticky_folder_keeps_files_for_their_owners() {
    let may = |mode, owners| is_given_up(mode, owners, 7);
    assert!(may(0o40777, [8, 0]) && may(0o41777, [7, 0]) && may(0o41777, [8, 7]));
    assert!(!may(0o41777, [8, 0]) && is_given_up(0o41777, [8, 9], 0));
}
