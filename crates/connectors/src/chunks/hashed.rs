//! By what the text of a pipe is known again, which nobody can look at a second time.

use std::hash::Hasher as _;

use tradejoin_flow::{Fingerprint, InputPosition};
use twox_hash::XxHash64;

use super::Chunks;
use crate::stored_file::{SAMPLE_BYTES, Unlike};

/// The hashes of a text up to a place.
#[derive(Clone, Debug)]
pub(crate) struct TextHash {
    /// What lies before the place.
    bytes: u64,
    all: XxHash64,
    /// Of no more than a sample: another text is known by it long before the place.
    head: XxHash64,
}

impl TextHash {
    pub(super) fn new() -> Self {
        Self { bytes: 0, all: XxHash64::with_seed(0), head: XxHash64::with_seed(0) }
    }

    /// Goes on behind these bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let of_head = SAMPLE_BYTES.saturating_sub(self.bytes).min(bytes.len() as u64);
        // No more than there are.
        self.head.write(&bytes[..of_head as usize]);
        self.all.write(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// Notes by what the text is known again at this place.
    pub(crate) fn stamp(&self, position: &mut InputPosition) {
        if self.bytes == position.bytes {
            position.head = Some(self.head());
            position.tail = Some(self.all());
        }
    }

    /// Compares it with what was noted of a text, as far as this one has come.
    pub(super) fn compare(&self, position: &InputPosition) -> Result<(), Unlike> {
        // What was a file then has the hashes of that.
        let of_text = |hash: &Option<Fingerprint>| hash.filter(|_| position.file_bytes.is_none());
        for (noted, is) in [(&position.head, self.head()), (&position.tail, self.all())] {
            if let Some(noted) = of_text(noted)
                && noted.bytes == is.bytes
                && noted != is
            {
                return Err(Unlike::Head { bytes: is.bytes });
            }
        }
        Ok(())
    }

    fn head(&self) -> Fingerprint {
        Fingerprint { from: 0, bytes: self.bytes.min(SAMPLE_BYTES), hash: self.head.finish() }
    }

    fn all(&self) -> Fingerprint {
        Fingerprint { from: 0, bytes: self.bytes, hash: self.all.finish() }
    }
}

impl Chunks {
    /// That of the text up to a place of the buffer, if it is in no file.
    pub(super) fn hash_to(&self, end: usize) -> Option<TextHash> {
        let last = self.inflow.dropped.iter().rfind(|(at, ..)| *at <= end);
        let (from, hash) = last.map_or((self.start, &self.inflow.hash), |(at, _, hash)| (*at, hash));
        let mut hash = hash.clone()?;
        hash.add(&self.buffer[from..end]);
        Some(hash)
    }
}
