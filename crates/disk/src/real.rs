//! The system's own files.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::{Uid, geteuid};

use crate::disk::{Disk, DiskFile, FileId, Lock, Mode, NotRegular};

/// The file system of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

#[derive(Debug)]
struct RealFile(File);

impl Mode {
    const fn of_file(self) -> u32 {
        match self {
            Self::Shared => 0o666,
            Self::Private | Self::Exactly(_) => 0o600,
        }
    }

    const fn of_folder(self) -> u32 {
        match self {
            Self::Shared => 0o777,
            Self::Private | Self::Exactly(_) => 0o700,
        }
    }
}

/// The folder as a path that can be opened: a bare name has none in front.
fn folder(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// Opens a regular file, which no link is followed to.
fn open_regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // A pipe of that name must not be waited for.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    match options.custom_flags(flags.bits().cast_signed()).open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        Err(error) if !fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) => Err(error),
        _ => Err(NotRegular.into()),
    }
}

fn open_to_read(path: &Path) -> io::Result<File> {
    open_regular(OpenOptions::new().read(true), path)
}

impl Disk for RealDisk {
    fn create(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().write(true).create_new(true).mode(mode.of_file()).open(path)?;
        if let Mode::Exactly(bits) = mode {
            // By what is open: at the path somebody may have put another.
            let set = file.set_permissions(fs::Permissions::from_mode(bits));
            set.inspect_err(|_| drop(fs::remove_file(path)))?;
        }
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut file = open_regular(OpenOptions::new().write(true), path)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Box::new(RealFile(file)))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        open_to_read(path)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn read_part(&self, path: &Path, from: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut file = open_to_read(path)?;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(len as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn reader(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(open_to_read(path)?))
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(_) => Err(NotRegular.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn id(&self, path: &Path) -> io::Result<Option<FileId>> {
        FileId::at(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(folder(path))?.sync_all()
    }

    fn create_folder(&self, path: &Path, mode: Mode) -> io::Result<()> {
        match DirBuilder::new().mode(mode.of_folder()).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            made => made,
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder(path))? {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names)
    }

    fn is_open_to_others(&self, path: &Path) -> io::Result<bool> {
        Ok(fs::metadata(folder(path))?.permissions().mode() & 0o022 != 0)
    }

    fn other_owner(&self, path: &Path) -> io::Result<Option<u32>> {
        let owner = fs::metadata(folder(path))?.uid();
        let is_trusted = [Uid::ROOT, geteuid()].map(Uid::as_raw).contains(&owner);
        Ok((!is_trusted).then_some(owner))
    }

    fn lock(&self, path: &Path, mode: Mode) -> io::Result<Option<Lock>> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(mode.of_file());
        options.custom_flags(flags.bits().cast_signed());
        let file = match options.open(path) {
            // One of another user can be locked all the same, if it may be read.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?
            }
            opened => opened?,
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(Some(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Write for RealFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl DiskFile for RealFile {
    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)?;
        self.0.seek(SeekFrom::End(0)).map(drop)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn another(&self) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Self(self.0.try_clone()?)))
    }

    fn try_lock(&self) -> bool {
        !matches!(self.0.try_lock(), Err(TryLockError::WouldBlock))
    }

    fn id(&self) -> io::Result<FileId> {
        Ok(FileId::of(&self.0.metadata()?))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use rustix::fs::{CWD, mkfifoat};

    use super::*;

    #[test]
    fn nothing_that_is_there_is_overwritten_or_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        symlink(at("elsewhere"), at("link")).expect("a link");
        let refused = RealDisk.create(&at("link"), Mode::Shared).expect_err("a link is there");
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(RealDisk.size(&at("elsewhere")).expect("readable"), None);
        fs::write(at("elsewhere"), "kept").expect("a file");
        assert!(RealDisk.open(&at("link")).is_err());
        assert!(RealDisk.open(folder.path()).is_err());
    }

    #[test]
    fn what_is_no_regular_file_is_neither_read_nor_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "kept").expect("a file");
        symlink(at("file"), at("link")).expect("a link");
        symlink("/dev/zero", at("endless")).expect("a link");
        fs::create_dir(at("folder")).expect("a folder");
        mkfifoat(CWD, at("pipe"), rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("a pipe");
        for name in ["link", "endless", "folder", "pipe"] {
            let path = at(name);
            let errors = [
                RealDisk.size(&path).map(drop),
                RealDisk.read(&path).map(drop),
                RealDisk.read_part(&path, 0, 1).map(drop),
                RealDisk.reader(&path).map(drop),
                RealDisk.open(&path).map(drop),
            ];
            for (number, error) in errors.into_iter().enumerate() {
                assert!(NotRegular::is(&error.expect_err("refused")), "{name}: {number}");
            }
        }
        assert_eq!(RealDisk.read(&at("missing")).expect_err("missing").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_private_file_is_its_owners_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("private");
        RealDisk.create_folder(&path, Mode::Private).expect("a folder");
        RealDisk.create_folder(&path, Mode::Private).expect("it is there");
        let file = path.join("file");
        RealDisk.create(&file, Mode::Private).expect("a file");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&file)), (0o700, 0o600));
        assert!(RealDisk.create_folder(&file, Mode::Private).is_err());
    }

    #[test]
    fn a_file_has_the_rights_that_are_asked_for_and_none_before() {
        let folder = tempfile::tempdir().expect("a folder");
        for bits in [0o600, 0o666, 0o640, 0o400, 0o777] {
            let (mode, path) = (Mode::Exactly(bits), folder.path().join(format!("{bits:o}")));
            let mut file = RealDisk.create(&path, mode).expect("a file");
            file.write_all(b"a").expect("written");
            assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, bits);
            assert_eq!(mode.of_file() & !0o600, 0, "nobody else opens it meanwhile");
        }
    }

    #[test]
    fn a_lock_is_held_by_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        let first = RealDisk.lock(&path, Mode::Private).expect("lockable");
        assert!(first.is_some() && RealDisk.lock(&path, Mode::Private).expect("lockable").is_none());
        drop(first);
        assert!(RealDisk.lock(&path, Mode::Private).expect("lockable").is_some());
        symlink(folder.path().join("elsewhere"), folder.path().join("link")).expect("a link");
        assert!(RealDisk.lock(&folder.path().join("link"), Mode::Private).is_err());
    }

    #[test]
    fn a_file_is_locked_by_one_and_knows_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let [path, elsewhere] = ["file", "elsewhere"].map(|name| folder.path().join(name));
        let file = RealDisk.create(&path, Mode::Shared).expect("a file");
        let other = RealDisk.open(&path).expect("a file");
        assert!(file.try_lock() && file.try_lock() && !other.try_lock());
        let another = file.another().expect("another");
        drop(file);
        assert!(!other.try_lock(), "it is the same one");
        let [id, at] = [&path, &elsewhere].map(|path| RealDisk.id(path).expect("told"));
        assert_eq!((id, at), (Some(another.id().expect("told")), None));
        RealDisk.rename(&path, &elsewhere).expect("renamed");
        let [at, is] = [&path, &elsewhere].map(|path| RealDisk.id(path).expect("told"));
        assert_eq!((at, is), (None, id));
        let new = RealDisk.create(&path, Mode::Shared).expect("a file");
        let at = RealDisk.id(&path).expect("told");
        assert!(at != id && at == Some(new.id().expect("told")));
        let lock = RealDisk.lock(&path, Mode::Shared).expect("lockable").expect("free");
        assert!(lock.is_at(&path).expect("told") && !lock.is_at(&elsewhere).expect("told"));
        drop(another);
        assert!(other.try_lock());
    }

    #[test]
    fn a_folder_says_who_may_write_in_it() {
        let folder = tempfile::tempdir().expect("a folder");
        for (mode, is_open) in [(0o700, false), (0o755, false), (0o775, true), (0o702, true)] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).expect("set");
            assert_eq!(RealDisk.is_open_to_others(folder.path()).expect("there"), is_open, "{mode:o}");
        }
    }

    #[test]
    fn a_folder_says_if_it_is_another_users() {
        let folder = tempfile::tempdir().expect("a folder");
        let other = || RealDisk.other_owner(folder.path()).expect("there");
        assert_eq!(other(), None);
        assert_eq!(RealDisk.other_owner(Path::new("/")).expect("there"), None, "it is root's");
        // Nobody else may give it away.
        if geteuid().is_root() {
            chown(folder.path(), Some(12_345), None).expect("given away");
            assert_eq!(other(), Some(12_345));
        }
    }

    #[test]
    fn what_was_cut_is_written_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        RealDisk.create(&path, Mode::Shared).and_then(|mut file| file.write_all(b"abcdef")).expect("a file");
        let mut file = RealDisk.open(&path).expect("a file");
        file.set_len(2).and_then(|()| file.write_all(b"x")).expect("cut and written");
        let mut other = file.another().expect("another");
        other.sync().expect("synced");
        assert_eq!(
            (RealDisk.read(&path).expect("read"), file.size().expect("a length")),
            (b"abx".to_vec(), 3)
        );
        let part = |from, len| RealDisk.read_part(&path, from, len).expect("read");
        assert_eq!((part(1, 1), part(2, 9), part(9, 1)), (b"b".to_vec(), b"x".to_vec(), Vec::new()));
        assert_eq!(RealDisk.list(folder.path()).expect("listed"), ["file"]);
    }
}
