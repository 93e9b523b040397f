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

#[cfg(test)]
mod tests {
    use std::io::BufWriter;

    use super::*;

    /// Gives these one after the other, and then the end.
    struct Pieces(Vec<io::Result<&'static [u8]>>);

    impl Read for Pieces {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0)?;
            bytes[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    #[test]
    fn what_is_read_is_summed_up_to_its_end() {
        let interrupted = || Err(io::ErrorKind::Interrupted.into());
        let pieces = vec![interrupted(), Ok(&b"some"[..]), interrupted(), Ok(b" bytes"), interrupted()];
        let summed = Summing::new(Pieces(pieces)).sum_up().expect("an interruption is none of the file");
        assert_eq!(summed, Summed { bytes: 10, hash: hash_of(b"some bytes") });
        let pieces = vec![Ok(&b"some"[..]), Err(io::ErrorKind::PermissionDenied.into()), Ok(b" bytes")];
        let error = Summing::new(Pieces(pieces)).sum_up().expect_err("not all was read");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn what_is_written_is_summed_up_and_goes_on() {
        let mut summing = Summing::new(BufWriter::new(Vec::new()));
        summing.write_all(b"some bytes").expect("written");
        assert!(summing.inner.get_ref().is_empty());
        summing.flush().expect("flushed");
        let (inner, summed) = summing.into_parts();
        assert_eq!(inner.get_ref(), b"some bytes");
        assert_eq!(summed, Summed { bytes: 10, hash: hash_of(b"some bytes") });
    }
}
