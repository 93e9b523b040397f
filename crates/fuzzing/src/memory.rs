//! Bytes as a file that no folder has, for readers that open a path.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, memfd_create};
use tradejoin_connectors::{Encoding, InputOptions, Location, OnBadRecord};

/// A file in memory.
pub(crate) struct Memory(File);

impl Memory {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let file = memfd_create("bytes", MemfdFlags::CLOEXEC).expect("a file in memory");
        let mut file = File::from(file);
        file.write_all(bytes).expect("memory");
        Self(file)
    }

    /// Where it can be opened, as long as this lives.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    /// To be read in blocks of such a length.
    pub(crate) fn input(&self, encoding: Encoding, batch_len: usize) -> InputOptions {
        let options = InputOptions::with_encoding(Location::Path(self.path()), encoding);
        InputOptions { batch_len, ..options }
    }

    /// The same, bad records skipped.
    pub(crate) fn skipping(&self, encoding: Encoding, batch_len: usize) -> InputOptions {
        InputOptions { on_bad_record: OnBadRecord::Skip, ..self.input(encoding, batch_len) }
    }
}
