//! What a crash of the simulated disk may leave.

use super::*;

fn at(path: &str) -> &Path {
    Path::new(path)
}

fn write(disk: &SimulatedDisk, path: &str, bytes: &[u8]) -> Box<dyn DiskFile> {
    let mut file = disk.create(at(path), Mode::Private).expect("a file");
    file.write_all(bytes).expect("written");
    file
}

/// All that is left of a file in many crashes.
fn left(disk: &SimulatedDisk, path: &str) -> BTreeSet<Option<Vec<u8>>> {
    (0..500).map(|seed| disk.crash(seed).read(at(path)).ok()).collect()
}

#[test]
fn what_is_durable_stays() {
    let disk = SimulatedDisk::new();
    disk.create_folder(at("f"), Mode::Private).expect("a folder");
    write(&disk, "f/a", b"kept").sync().expect("synced");
    disk.sync_folder(at("f")).expect("synced");
    disk.sync_folder(at("")).expect("synced");
    assert_eq!(left(&disk, "f/a"), [Some(b"kept".to_vec())].into());
}

#[test]
fn unsynced_bytes_are_lost_torn_or_zeros() {
    let disk = SimulatedDisk::new();
    let mut file = write(&disk, "a", b"ab");
    file.sync().expect("synced");
    disk.sync_folder(at("")).expect("synced");
    file.write_all(b"cd").expect("written");
    let left: BTreeSet<_> = left(&disk, "a").into_iter().flatten().collect();
    assert!(left.iter().all(|bytes| bytes.starts_with(b"ab") && bytes.len() <= 4), "{left:?}");
    for expected in [&b"ab"[..], b"abc", b"abcd", b"ab\0", b"ab\0\0"] {
        assert!(left.contains(expected), "{expected:?} is not in {left:?}");
    }
}

#[test]
fn an_unsynced_cut_may_not_have_been() {
    let disk = SimulatedDisk::new();
    let mut file = write(&disk, "a", b"abcd");
    file.sync().expect("synced");
    disk.sync_folder(at("")).expect("synced");
    file.set_len(1).expect("cut");
    let left: BTreeSet<_> = left(&disk, "a").into_iter().flatten().collect();
    assert!(left.contains(&b"a"[..]) && left.contains(&b"abcd"[..]), "{left:?}");
    file.sync().expect("synced");
    assert_eq!(disk.crash(1).read(at("a")).expect("there"), b"a");
}

#[test]
fn a_name_without_its_folder_synced_may_be_gone() {
    let disk = SimulatedDisk::new();
    write(&disk, "a", b"x").sync().expect("synced");
    assert_eq!(left(&disk, "a"), [None, Some(b"x".to_vec())].into());
    disk.create_folder(at("f"), Mode::Private).expect("a folder");
    write(&disk, "f/a", b"x").sync().expect("synced");
    disk.sync_folder(at("f")).expect("synced");
    assert_eq!(left(&disk, "f/a"), [None, Some(b"x".to_vec())].into(), "its folder may be gone");
}

#[test]
fn a_rename_is_whole_or_undone() {
    let disk = SimulatedDisk::new();
    write(&disk, "old", b"old").sync().expect("synced");
    write(&disk, "new", b"new").sync().expect("synced");
    disk.sync_folder(at("")).expect("synced");
    disk.rename(at("new"), at("old")).expect("renamed");
    assert_eq!(left(&disk, "old"), [Some(b"old".to_vec()), Some(b"new".to_vec())].into());
    for seed in 0..100 {
        let crashed = disk.crash(seed);
        let is_new = crashed.read(at("old")).expect("there") == b"new";
        assert_eq!(crashed.read(at("new")).is_err(), is_new);
    }
}

#[test]
fn a_removal_may_come_back() {
    let disk = SimulatedDisk::new();
    write(&disk, "a", b"x").sync().expect("synced");
    disk.sync_folder(at("")).expect("synced");
    disk.remove(at("a")).expect("removed");
    assert_eq!(left(&disk, "a"), [None, Some(b"x".to_vec())].into());
    disk.sync_folder(at("")).expect("synced");
    assert_eq!(left(&disk, "a"), [None].into());
}

#[test]
fn a_full_disk_takes_what_it_has_room_for() {
    let disk = SimulatedDisk::new();
    disk.set_capacity(Some(3));
    let mut file = disk.create(at("a"), Mode::Private).expect("a file");
    assert_eq!(file.write(b"abcd").expect("a part"), 3);
    assert_eq!(file.write(b"d").expect_err("full").kind(), io::ErrorKind::StorageFull);
    assert!(file.set_len(4).is_err());
    disk.remove(at("a")).expect("removed");
    assert_eq!(disk.bytes(), 0);
    assert!(disk.create(at("a"), Mode::Private).and_then(|mut file| file.write_all(b"abc")).is_ok());
}

#[test]
fn names_are_as_those_of_a_file_system() {
    let disk = SimulatedDisk::new();
    disk.create_folder(at("f"), Mode::Private).expect("a folder");
    disk.create_folder(at("f"), Mode::Private).expect("it is there");
    write(&disk, "f/b", b"");
    write(&disk, "f/a", b"");
    assert_eq!(disk.list(at("f")).expect("listed"), ["a", "b"]);
    assert_eq!(disk.list(at("")).expect("listed"), ["f"]);
    let kind = |result: io::Result<()>| result.expect_err("refused").kind();
    assert_eq!(kind(disk.create(at("f/a"), Mode::Private).map(drop)), io::ErrorKind::AlreadyExists);
    assert_eq!(kind(disk.create(at("g/a"), Mode::Private).map(drop)), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.rename(at("f/c"), at("f/d"))), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.remove(at("f/c"))), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.list(at("g")).map(drop)), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.create_folder(at("f/a"), Mode::Private)), io::ErrorKind::AlreadyExists);
    assert_eq!(disk.size(at("f/c")).expect("looked"), None);
    let mut other = write(&disk, "c", b"ab").another().expect("another");
    other.write_all(b"c").expect("written");
    assert_eq!((other.size().expect("a length"), disk.read(at("c")).expect("read")), (3, b"abc".to_vec()));
}
