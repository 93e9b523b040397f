//! Files with a hash of their bytes.

use std::hash::Hasher as _;
use std::io::{self, Read, Write};

use twox_hash::XxHash64;

/// xxHash (XXH64, seed 0): what every hash here is.
pub(crate) fn hash_of(bytes: &[u8]) -> u64 {
    XxHash64::oneshot(0, bytes)
}

/// How many bytes there were, and their hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summed {
    pub bytes: u64,
    pub hash: u64,
}

/// Sums up what is written or read through it.
#[derive(Debug)]
pub(crate) struct Summing<T> {
    inner: T,
    hash: XxHash64,
    bytes: u64,
}

impl<T> Summing<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, hash: XxHash64::with_seed(0), bytes: 0 }
    }

    pub(crate) fn into_parts(self) -> (T, Summed) {
        let summed = self.summed();
        (self.inner, summed)
    }

    pub(crate) fn summed(&self) -> Summed {
        Summed { bytes: self.bytes, hash: self.hash.finish() }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.hash.write(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<W: Write> Write for Summing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.add(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Summing<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.add(&bytes[..read]);
        Ok(read)
    }
}

impl<R: Read> Summing<R> {
    /// Reads what is left, and sums up all.
    pub(crate) fn sum_up(&mut self) -> io::Result<Summed> {
        let mut buffer = vec![0; 256 << 10];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return Ok(self.summed()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
