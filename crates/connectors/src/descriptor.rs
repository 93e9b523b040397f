//! Names of what is open already: `/dev/stdout`, `/dev/fd/3`, `/proc/self/fd/3`. A file that one
//! leads to belongs to who opened it, and may get the bytes of others, too: it is not to be replaced.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

/// As many links as the system follows.
pub(crate) const LINKS_MAX: usize = 40;
const STDOUT: u32 = 1;

/// A descriptor of a process.
#[derive(Debug, PartialEq, Eq)]
struct Descriptor {
    is_own: bool,
    number: u32,
}

impl Descriptor {
    /// The one that a path is a name of, also behind links.
    fn of(path: &Path) -> Option<Self> {
        let mut path = path.to_owned();
        for _ in 0..LINKS_MAX {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let folder = parent.unwrap_or(Path::new(".")).canonicalize().ok()?;
            if let Ok(number) = path.file_name()?.to_str()?.parse()
                && folder.ends_with("fd")
                && (folder.starts_with("/proc") || folder.starts_with("/dev"))
            {
                let own = PathBuf::from(format!("/proc/{}", process::id()));
                return Some(Self { is_own: folder.starts_with("/dev") || folder.starts_with(own), number });
            }
            path = folder.join(fs::read_link(&path).ok()?);
        }
        None
    }
}

/// Whether a path is a name of standard output.
pub(crate) fn is_standard_output(path: &Path) -> bool {
    Descriptor::of(path) == Some(Descriptor { is_own: true, number: STDOUT })
}

/// Whether a path is a name of a descriptor, also of another process, that leads to a regular file.
#[must_use]
pub fn is_open_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file()) && Descriptor::of(path).is_some()
}

#[cfg(test)]
mod tests {
    use std::io::pipe;
    use std::os::fd::{AsFd, AsRawFd as _};
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn names_of_descriptors_are_told_from_those_of_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        symlink("/dev/stdout", at("link")).expect("a link");
        symlink("2", at("2.link")).expect("a link");
        let file = fs::File::create(at("2")).expect("a file");
        for name in [Path::new("/dev/stdout"), Path::new("/dev/fd/1"), &at("link")] {
            assert!(is_standard_output(name), "{}", name.display());
        }
        let names = [Path::new("/dev/stderr"), &at("2"), &at("2.link"), &at("none"), Path::new("-")];
        assert!(names.iter().all(|name| !is_standard_output(name)));
        assert!(names[1..].iter().all(|name| !is_open_file(name)));
        let name = |of: &dyn AsFd| PathBuf::from(format!("/dev/fd/{}", of.as_fd().as_raw_fd()));
        let (_reader, writer) = pipe().expect("a pipe");
        assert!(is_open_file(&name(&file)) && !is_open_file(&name(&writer)));
    }
}
