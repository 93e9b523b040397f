//! A file that several threads read, each at places of its own.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

/// A handle that has no place in its file: clones of a [`File`] share one, and
/// would move it under each other.
#[derive(Clone)]
pub(crate) struct SharedFile {
    file: Arc<File>,
    len: u64,
}

impl SharedFile {
    pub(crate) fn new(file: impl Into<Arc<File>>) -> io::Result<Self> {
        let file = file.into();
        Ok(Self { len: file.metadata()?.len(), file })
    }

    pub(crate) fn part(&self, start: u64) -> FilePart {
        FilePart { file: Arc::clone(&self.file), at: start }
    }
}

/// The file from a place on.
pub(crate) struct FilePart {
    file: Arc<File>,
    at: u64,
}

impl Read for FilePart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.file.read_at(buffer, self.at)?;
        self.at += len as u64;
        Ok(len)
    }
}

impl Length for SharedFile {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for SharedFile {
    type T = BufReader<FilePart>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::new(self.part(start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let mut buffer = Vec::with_capacity(length);
        let read = self.part(start).take(length as u64).read_to_end(&mut buffer)?;
        if read != length {
            let error = format!("Expected to read {length} bytes, read only {read}");
            return Err(ParquetError::EOF(error));
        }
        Ok(buffer.into())
    }
}
