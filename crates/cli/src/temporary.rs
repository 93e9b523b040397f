//! Temporary folders, which have copies of data whoever may read those, and are for nobody else.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::{fs, io};

use tempfile::TempDir;

/// The mode of a folder that is its owner's alone, whatever the umask leaves to others.
const PRIVATE_FOLDER: u32 = 0o700;
/// That of a file in it.
pub(crate) const PRIVATE_FILE: u32 = 0o600;

/// A folder in `parent`, or where the system has its temporary files. It goes with the value.
///
/// # Errors
/// If the system refuses.
pub(crate) fn private_folder(parent: Option<&Path>) -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("tradejoin-").permissions(Permissions::from_mode(PRIVATE_FOLDER));
    match parent {
        Some(parent) => builder.tempdir_in(parent),
        None => builder.tempdir(),
    }
}

/// What removes a folder where no value is dropped any more.
pub(crate) fn remover(folder: &TempDir) -> Box<dyn Fn() + Send> {
    let folder = folder.path().to_owned();
    // A file may just be made in it. One that cannot be removed lies among temporary files.
    Box::new(move || {
        let _ = (0..3).any(|_| fs::remove_dir_all(&folder).is_ok());
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_its_owners_alone() {
        let folder = private_folder(None).expect("a folder");
        let mode = folder.path().metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o7777, PRIVATE_FOLDER);
    }
}
