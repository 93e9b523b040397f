//! How much of an input is too much.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

/// What an input may ask for, so that a small file, or one that is not what its name
/// says, cannot take the memory or the time of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a line or record. One beyond it is a bad record.
    pub line_bytes: usize,
    /// Fields of a record and columns of an input. A record beyond it is bad, an
    /// input refused.
    pub fields: usize,
    /// How deep objects and lists lie in each other, the line's own object counted. A
    /// record beyond it is bad.
    pub depth: usize,
    /// Bytes that a packed input unpacks to. One beyond it ends with an error.
    pub unpacked_bytes: u64,
    /// How many times its own size a packed input, or a message of Arrow IPC, unpacks to, once
    /// that is more than [`Limits::RATIO_FROM`]. One beyond it ends with an error.
    pub unpacked_ratio: u64,
    /// Bytes of one message of Arrow IPC, and of one buffer that it unpacks. An input with a
    /// longer one ends with an error.
    pub message_bytes: u64,
    /// Bytes of text at which a block is full, whatever its records.
    pub block_bytes: usize,
}

impl Limits {
    /// What is unpacked before a ratio says anything.
    pub const RATIO_FROM: u64 = 64 << 20;
    /// The most that a line may be allowed to have.
    pub const LINE_BYTES_MAX: usize = 1 << 30;
    /// The least that a block is full at.
    pub const BLOCK_BYTES_MIN: usize = 64 << 10;

    /// For text that was within its limits when it was read, and is looked at again.
    pub(crate) const NONE: Self = Self {
        line_bytes: usize::MAX,
        fields: usize::MAX,
        depth: usize::MAX,
        unpacked_bytes: u64::MAX,
        unpacked_ratio: u64::MAX,
        message_bytes: u64::MAX,
        block_bytes: 16 << 20,
    };

    /// For an output of a run with these limits: it has columns of tables, too, any number of them.
    #[must_use]
    pub fn of_output(self) -> Self {
        Self { line_bytes: Self::LINE_BYTES_MAX, fields: usize::MAX, depth: usize::MAX, ..self }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_bytes: 16 << 20,
            fields: 4_096,
            depth: 128,
            unpacked_bytes: 1 << 40,
            unpacked_ratio: 10_000,
            message_bytes: 4 << 30,
            block_bytes: 16 << 20,
        }
    }
}

/// In what an input goes beyond its [`Limits`], and the option that says otherwise.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TooMuch {
    /// It has too many columns.
    #[error("it has more than {0} columns (--max-fields)")]
    Columns(usize),
    /// A message of it is too long.
    #[error("a message of it, or a buffer that one unpacks, is longer than {} (--max-message)", Size(*.0))]
    Message(u64),
    /// It unpacks to too much.
    #[error("it unpacks to more than {} (--max-unpacked)", Size(*.0))]
    Unpacked(u64),
    /// It unpacks to too much for its size.
    #[error("it unpacks to more than {0} times its size (--max-ratio)")]
    Ratio(u64),
    /// What unpacks it would have to remember too much.
    #[error(
        "it takes a Zstandard window of more than 128 MiB: pack it again without --long, or with --long=27"
    )]
    Window,
}

/// A number of bytes for people, exact.
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        let unit = units.into_iter().find(|(bits, _)| self.0 > 0 && self.0.is_multiple_of(1 << bits));
        match unit {
            Some((bits, unit)) => write!(f, "{} {unit}", self.0 >> bits),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

/// Counts what is read of a packed input.
pub(crate) struct Packed<R> {
    inner: R,
    bytes: Arc<AtomicU64>,
}

/// What is unpacked of an input, as long as it is within its limits.
pub(crate) struct Unpacked<R> {
    inner: R,
    bytes: u64,
    packed: Arc<AtomicU64>,
    limits: Limits,
}

/// What counts the bytes of an input, and what unpacks it.
pub(crate) fn within<R: Read, U: Read, E>(
    raw: R,
    limits: Limits,
    unpack: impl FnOnce(Packed<R>) -> Result<U, E>,
) -> Result<Unpacked<U>, E> {
    let packed = Arc::<AtomicU64>::default();
    let inner = unpack(Packed { inner: raw, bytes: Arc::clone(&packed) })?;
    Ok(Unpacked { inner, bytes: 0, packed, limits })
}

impl<R: Read> Read for Packed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buffer)?;
        self.bytes.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buffer).map_err(of_window)?;
        self.bytes += len as u64;
        let Limits { unpacked_bytes, unpacked_ratio, .. } = self.limits;
        if self.bytes > unpacked_bytes {
            return Err(io::Error::other(TooMuch::Unpacked(unpacked_bytes)));
        }
        let allowed = self.packed.load(Ordering::Relaxed).saturating_mul(unpacked_ratio);
        if self.bytes > Limits::RATIO_FROM.max(allowed) {
            return Err(io::Error::other(TooMuch::Ratio(unpacked_ratio)));
        }
        Ok(len)
    }
}

/// What is said where Zstandard is asked for too large a window, of which the library has words alone.
fn of_window(error: io::Error) -> io::Error {
    let is_of_window = error.to_string().contains("requires too much memory");
    if is_of_window { io::Error::other(TooMuch::Window) } else { error }
}

/// How deep objects and lists lie in each other in a token of JSON that is whole, and has
/// nothing in front.
pub(crate) fn depth(token: &str) -> usize {
    // Nearly all values: their bytes need not be looked at once more.
    if !token.starts_with(['{', '[']) {
        return 0;
    }
    let (mut depth, mut deepest, mut is_text, mut is_escaped) = (0_usize, 0, false, false);
    for &byte in token.as_bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            _ if is_text => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader of this many bytes comes to, of which a few are packed.
    fn read(bytes: u64, packed: u64, limits: Limits) -> Result<u64, String> {
        let mut source = io::repeat(b'x').take(packed);
        let unpacked = within(&mut source, limits, |mut raw| {
            io::copy(&mut raw, &mut io::sink())?;
            Ok::<_, io::Error>(io::repeat(b'y').take(bytes))
        });
        let mut unpacked = unpacked.expect("from memory");
        io::copy(&mut unpacked, &mut io::sink()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_unpacked_is_counted() {
        let limits = Limits { unpacked_bytes: 1_000, ..Limits::default() };
        assert_eq!(read(1_000, 1, limits), Ok(1_000));
        assert_eq!(read(1_001, 1, limits), Err("it unpacks to more than 1000 bytes (--max-unpacked)".into()));
        let limits = Limits { unpacked_ratio: 7, ..Limits::default() };
        assert_eq!(read(Limits::RATIO_FROM, 1, limits), Ok(Limits::RATIO_FROM));
        let error = Err("it unpacks to more than 7 times its size (--max-ratio)".to_owned());
        assert_eq!(read(Limits::RATIO_FROM + 1, 1, limits), error);
        assert_eq!(read(70 << 20, 10 << 20, limits), Ok(70 << 20));
        assert_eq!(read((70 << 20) + 1, 10 << 20, limits), error);
    }

    #[test]
    fn a_depth_is_that_of_brackets_outside_of_texts() {
        for (token, deep) in
            [("1", 0), ("{}", 1), ("[[],{}]", 2), (r#"["[[{\"[",[]]"#, 2), (r#""[\\"#, 0), ("[[[1]],[2]]", 3)]
        {
            assert_eq!(depth(token), deep, "{token}");
        }
    }

    #[test]
    fn a_size_is_told_as_it_is() {
        let sizes = [(0, "0 bytes"), (1 << 40, "1 TiB"), (3 << 19, "1536 KiB"), (1_000, "1000 bytes")];
        for (bytes, text) in sizes {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }
}
