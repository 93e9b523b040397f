//! What messages of Arrow IPC say of their lengths, before a decoder takes memory for it.

use std::collections::VecDeque;
use std::io::{self, Read};

use arrow_ipc::reader::read_footer_length;
use arrow_ipc::{Block, CompressionType, Message, root_as_footer, root_as_message};
use parquet::file::reader::Length as _;

use crate::limits::{Limits, TooMuch};
use crate::shared_file::SharedFile;

/// Bytes in front of a packed buffer, which say what it unpacks to.
const PREFIX: usize = 8;
const CONTINUATION: [u8; 4] = [0xFF; 4];
const MAGIC_AND_LENGTH: u64 = 10;
/// How many times its length LZ4 can grow: a byte more of a length adds 255 to it.
const LZ4_GROWTH: u64 = 255;
/// How many times its length Zstandard can grow: a block of one byte, repeated, takes 4 bytes
/// and is at most 128 KiB long (RFC 8878, 3.1.1.2).
const ZSTD_GROWTH: u64 = (128 << 10) / 4;

fn too_much(max: u64) -> io::Error {
    io::Error::other(TooMuch::Message(max))
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// A stream of messages, of which none is longer, or unpacks to a longer buffer, than it may.
/// What is no message goes through as it is, for the decoder to refuse.
pub(crate) struct Messages<R> {
    inner: R,
    limits: Limits,
    /// What stands before the body, of which so much was given.
    head: Vec<u8>,
    given: usize,
    body: Body,
}

/// The body of a message that is on its way.
#[derive(Default)]
struct Body {
    left: u64,
    /// What has come.
    at: u64,
    /// Those whose beginning has not come.
    packed: VecDeque<PackedBuffer>,
    prefix: Vec<u8>,
    claims: Claims,
}

/// A buffer that is packed: where it begins in the body, and how long it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct PackedBuffer {
    start: u64,
    len: u64,
}

/// What the packed buffers of a message say that they unpack to, all of which is in memory at a
/// time.
#[derive(Default)]
struct Claims {
    limits: Limits,
    /// How many times its length a buffer can grow.
    growth: u64,
    body: u64,
    unpacked: u64,
}

impl<R: Read> Messages<R> {
    pub(crate) fn new(inner: R, limits: Limits) -> Self {
        Self { inner, limits, head: Vec::new(), given: 0, body: Body::default() }
    }

    /// Reads up to the next body.
    fn next_head(&mut self) -> io::Result<()> {
        self.given = 0;
        self.head.clear();
        self.more(4)?;
        if self.head == CONTINUATION {
            self.more(4)?;
        }
        // The decoder takes what is short of a length for the end of the stream.
        if !matches!(self.head.len(), 0 | 4 | 8) || self.head == CONTINUATION {
            return Err(invalid("it is cut off within the length of a message"));
        }
        let Some(len) = self.head.last_chunk().map(|len| i32::from_le_bytes(*len)) else { return Ok(()) };
        let Some(len) = u64::try_from(len).ok().filter(|len| *len > 0) else { return Ok(()) };
        let max = self.limits.message_bytes;
        if len > max {
            return Err(too_much(max));
        }
        let start = self.head.len();
        self.more(len)?;
        if let Ok(message) = root_as_message(&self.head[start..]) {
            let left = u64::try_from(message.bodyLength()).unwrap_or(0);
            if left > max {
                return Err(too_much(max));
            }
            let (packed, claims) = packed_buffers(&message, left, self.limits);
            self.body = Body { left, packed: packed.into(), claims, ..Body::default() };
        }
        Ok(())
    }

    fn more(&mut self, len: u64) -> io::Result<()> {
        self.inner.by_ref().take(len).read_to_end(&mut self.head).map(drop)
    }
}

impl<R: Read> Read for Messages<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.head.len() && self.body.left == 0 {
            self.next_head()?;
        }
        let head = &self.head[self.given..];
        if !head.is_empty() {
            let len = head.len().min(buffer.len());
            buffer[..len].copy_from_slice(&head[..len]);
            self.given += len;
            return Ok(len);
        }
        let room = usize::try_from(self.body.left).unwrap_or(usize::MAX).min(buffer.len());
        let len = self.inner.read(&mut buffer[..room])?;
        self.body.see(&buffer[..len])?;
        Ok(len)
    }
}

impl Body {
    /// Takes the next bytes.
    fn see(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.at + bytes.len() as u64;
        while let Some(&PackedBuffer { start, .. }) = self.packed.front() {
            let from = start + self.prefix.len() as u64;
            if from >= end {
                break;
            }
            let Some(from) = from.checked_sub(self.at).and_then(|from| usize::try_from(from).ok()) else {
                return Err(invalid("buffers lie in each other"));
            };
            let wanted = PREFIX - self.prefix.len();
            self.prefix.extend(bytes[from..].iter().take(wanted));
            if self.prefix.len() < PREFIX {
                break;
            }
            while let Some(buffer) = self.packed.pop_front_if(|buffer| buffer.start == start) {
                self.claims.add(&self.prefix, buffer.len)?;
            }
            self.prefix.clear();
        }
        (self.at, self.left) = (end, self.left - bytes.len() as u64);
        Ok(())
    }
}

/// The packed buffers of a message in the order of their beginnings, and what is to be made of
/// what they say. A decoder unpacks one that is named twice twice.
fn packed_buffers(message: &Message<'_>, body: u64, limits: Limits) -> (Vec<PackedBuffer>, Claims) {
    let dictionary = message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
    let batch = message.header_as_record_batch().or(dictionary);
    let packing = batch.and_then(|batch| batch.compression());
    let growth = match packing.map(|packing| packing.codec()) {
        Some(CompressionType::ZSTD) => ZSTD_GROWTH,
        // Another one is none that the decoder has.
        _ => LZ4_GROWTH,
    };
    let buffers = batch.filter(|_| packing.is_some()).and_then(|batch| batch.buffers());
    let place = |offset: i64, len: i64| {
        let (start, len) = (u64::try_from(offset).ok()?, u64::try_from(len).ok()?);
        (len >= PREFIX as u64).then_some(PackedBuffer { start, len: len.min(body) })
    };
    let places = buffers.iter().flatten().filter_map(|buffer| place(buffer.offset(), buffer.length()));
    let mut places: Vec<_> = places.collect();
    places.sort_unstable();
    (places, Claims { limits, growth, body, unpacked: 0 })
}

impl Claims {
    /// Hears what a buffer of this length says.
    fn add(&mut self, prefix: &[u8], len: u64) -> io::Result<()> {
        let says = prefix.try_into().map(i64::from_le_bytes).unwrap_or(0);
        // Below zero it is not packed, or the decoder refuses it.
        let Ok(says) = u64::try_from(says) else { return Ok(()) };
        let Limits { message_bytes: max, unpacked_ratio: ratio, .. } = self.limits;
        if says > max {
            return Err(too_much(max));
        }
        let packed = len.saturating_sub(PREFIX as u64);
        if says > packed.saturating_mul(self.growth) {
            return Err(invalid(format!("a buffer says that it unpacks from {packed} bytes to {says}")));
        }
        self.unpacked = self.unpacked.saturating_add(says);
        let allowed = Limits::RATIO_FROM.max(self.body.saturating_mul(ratio));
        if self.unpacked > allowed { Err(io::Error::other(TooMuch::Ratio(ratio))) } else { Ok(()) }
    }
}

/// Looks at all messages that the footer of a file names. What is no footer is left to the
/// decoder.
///
/// # Errors
/// If one is longer than the file or than it may be, or has such a buffer, or a head that is
/// none by itself.
pub(crate) fn check_file(file: &SharedFile, limits: Limits) -> io::Result<()> {
    let Some(at) = file.len().checked_sub(MAGIC_AND_LENGTH) else {
        return Err(invalid("it is too short for its footer"));
    };
    let mut end = [0; MAGIC_AND_LENGTH as usize];
    file.part(at).read_exact(&mut end)?;
    let Ok(len) = read_footer_length(end) else { return Ok(()) };
    let len = len as u64;
    let Some(at) = at.checked_sub(len) else {
        return Err(invalid("the footer is longer than the file"));
    };
    if len > limits.message_bytes {
        return Err(too_much(limits.message_bytes));
    }
    let mut footer = Vec::new();
    file.part(at).take(len).read_to_end(&mut footer)?;
    let Ok(footer) = root_as_footer(&footer) else { return Ok(()) };
    let blocks = footer.dictionaries().into_iter().chain(footer.recordBatches());
    blocks.flat_map(|blocks| blocks.iter()).try_for_each(|block| check_block(file, block, limits))
}

fn check_block(file: &SharedFile, block: &Block, limits: Limits) -> io::Result<()> {
    let number = |number: i64| u64::try_from(number).ok();
    let beyond = || invalid("a message lies beyond the end of the file");
    let (start, head) = (number(block.offset()), number(block.metaDataLength().into()));
    let (Some(start), Some(head), Some(body)) = (start, head, number(block.bodyLength())) else {
        return Err(beyond());
    };
    let end = start.checked_add(head).and_then(|body_at| Some((body_at, body_at.checked_add(body)?)));
    let (body_at, _) = end.filter(|(_, end)| *end <= file.len()).ok_or_else(beyond)?;
    if head.max(body) > limits.message_bytes {
        return Err(too_much(limits.message_bytes));
    }
    let mut bytes = Vec::new();
    file.part(start).take(head).read_to_end(&mut bytes)?;
    let skipped = if bytes.starts_with(&CONTINUATION) { 8 } else { 4 };
    // The decoder sees what follows, too: for it a head may be whole that goes on in the body.
    let Some(Ok(message)) = bytes.get(skipped..).map(root_as_message) else {
        return Err(invalid("the head of a message is damaged"));
    };
    let (packed, mut claims) = packed_buffers(&message, body, limits);
    for PackedBuffer { start, len } in packed {
        let mut prefix = [0; PREFIX];
        let at = body_at.checked_add(start).ok_or_else(beyond)?;
        file.part(at).read_exact(&mut prefix).map_err(|_| beyond())?;
        claims.add(&prefix, len)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of buffers that have so many bytes beside the prefix, and say what they
    /// unpack to.
    fn said(growth: u64, body: u64, buffers: &[(u64, i64)]) -> Result<u64, String> {
        let mut claims = Claims { limits: Limits::default(), growth, body, unpacked: 0 };
        let mut all = buffers.iter();
        let heard = all.try_for_each(|(len, says)| claims.add(&says.to_le_bytes(), len + PREFIX as u64));
        heard.map(|()| claims.unpacked).map_err(|error| error.to_string())
    }

    #[test]
    fn a_buffer_says_no_more_than_its_codec_can_unpack() {
        assert_eq!(said(LZ4_GROWTH, 1_000, &[(10, 2_550), (0, 0), (0, -1)]), Ok(2_550));
        let beyond = |bytes, says| Err(format!("a buffer says that it unpacks from {bytes} bytes to {says}"));
        assert_eq!(said(LZ4_GROWTH, 1_000, &[(10, 2_551)]), beyond(10, 2_551));
        assert_eq!(said(LZ4_GROWTH, 2_266, &[(68, 1 << 30)]), beyond(68, 1 << 30));
        assert_eq!(said(ZSTD_GROWTH, 1_000, &[(4, 128 << 10)]), Ok(128 << 10));
        assert_eq!(said(ZSTD_GROWTH, 1_000, &[(4, (128 << 10) + 1)]), beyond(4, (128 << 10) + 1));
    }

    #[test]
    fn the_buffers_of_a_message_say_no_more_together_than_their_ratio_allows() {
        let ratio = Err("it unpacks to more than 10000 times its size (--max-ratio)".to_owned());
        let half = (1_024, 32 << 20);
        assert_eq!(said(ZSTD_GROWTH, 2_064, &[half, half]), Ok(64 << 20));
        assert_eq!(said(ZSTD_GROWTH, 2_064, &[half, half, (4, 1)]), ratio);
        assert_eq!(said(ZSTD_GROWTH, 10_000, &[half, half, (4, 100_000)]), Ok((64 << 20) + 100_000));
        assert_eq!(said(ZSTD_GROWTH, 10_000, &[half, half, half, (4, 1)]), ratio);
    }
}
