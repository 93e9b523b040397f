//! Whether two names mean one file.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tradejoin_connectors::resolve_links;

/// The argument that means standard input, or standard output.
const STANDARD: &str = "-";

/// Whether two names are one place in one folder, once links are followed: what takes the
/// place of one takes that of the other. Also of files that are not there yet.
pub(crate) fn is_same_place(a: &Path, b: &Path) -> bool {
    a == b || place(a).is_some_and(|path| Some(path) == place(b))
}

/// Whether two names are one file, or would be: the same place, or two names that the system
/// has for one file.
pub(crate) fn is_same_file(a: &Path, b: &Path) -> bool {
    is_same_place(a, b) || is_some_and_same(identity(a), identity(b))
}

/// Whether a path is a folder or leads into it, as it was named or behind links: what is there
/// may come and go. Standard input and output, `-`, are in none.
pub(crate) fn is_at_or_in(path: &Path, folder: &Path) -> bool {
    let is_in = |path: &Path| {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        is_same_place(parent.unwrap_or(Path::new(".")), folder)
    };
    path != Path::new(STANDARD)
        && (is_same_place(path, folder) || is_in(path) || resolve_links(path).is_ok_and(|path| is_in(&path)))
}

/// Whether what is read as `input` is what is written as `output`; of these `-` is standard
/// input and standard output.
pub(crate) fn is_read_and_written(input: &Path, output: &Path) -> bool {
    let is_named = input != Path::new(STANDARD) && output != Path::new(STANDARD);
    is_named && is_same_place(input, output)
        || is_some_and_same(
            identity_or_standard(input, io::stdin()),
            identity_or_standard(output, io::stdout()),
        )
}

/// Whether two outputs are one file; of these `-` is standard output.
pub(crate) fn are_both_written(a: &Path, b: &Path) -> bool {
    is_same_place(a, b)
        || is_some_and_same(identity_or_standard(a, io::stdout()), identity_or_standard(b, io::stdout()))
}

/// A path without links and detours, of a file that is there or could be.
pub(crate) fn place(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().or_else(|| {
        // Also of one behind a link that leads to nothing yet.
        let path = resolve_links(path).ok()?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        Some(folder.unwrap_or(Path::new(".")).canonicalize().ok()?.join(path.file_name()?))
    })
}

/// What the system knows a regular file by. Pipes and devices may well be read and written.
type Identity = (u64, u64);

fn is_some_and_same(a: Option<Identity>, b: Option<Identity>) -> bool {
    a.is_some() && a == b
}

fn of_metadata(metadata: &Metadata) -> Option<Identity> {
    metadata.is_file().then(|| (metadata.dev(), metadata.ino()))
}

fn identity(path: &Path) -> Option<Identity> {
    of_metadata(&fs::metadata(path).ok()?)
}

fn identity_or_standard(path: &Path, standard: impl AsFd) -> Option<Identity> {
    if path != Path::new(STANDARD) {
        return identity(path);
    }
    of_metadata(&File::from(standard.as_fd().try_clone_to_owned().ok()?).metadata().ok()?)
}
