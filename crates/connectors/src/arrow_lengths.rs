//! What messages of Arrow IPC say of their lengths, before a decoder takes memory for it.

use std::collections::VecDeque;
use std::io::{self, Read};

use arrow_ipc::reader::read_footer_length;
use arrow_ipc::{Block, Message, root_as_footer, root_as_message};
use parquet::file::reader::Length as _;

use crate::limits::TooMuch;
use crate::shared_file::SharedFile;

/// Bytes in front of a packed buffer, which say what it unpacks to.
const PREFIX: usize = 8;
const CONTINUATION: [u8; 4] = [0xFF; 4];
const MAGIC_AND_LENGTH: u64 = 10;

fn too_much(max: u64) -> io::Error {
    io::Error::other(TooMuch::Message(max))
}

/// A stream of messages, of which none is longer, or unpacks to a longer buffer, than it may.
/// What is no message goes through as it is, for the decoder to refuse.
pub(crate) struct Messages<R> {
    inner: R,
    max: u64,
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
    /// Where packed buffers begin.
    packed: VecDeque<u64>,
    prefix: Vec<u8>,
}

impl<R: Read> Messages<R> {
    pub(crate) fn new(inner: R, max: u64) -> Self {
        Self { inner, max, head: Vec::new(), given: 0, body: Body::default() }
    }

    /// Reads up to the next body.
    fn next_head(&mut self) -> io::Result<()> {
        self.given = 0;
        self.head.clear();
        self.more(4)?;
        if self.head == CONTINUATION {
            self.more(4)?;
        }
        let Some(len) = self.head.last_chunk().map(|len| i32::from_le_bytes(*len)) else { return Ok(()) };
        let Some(len) = u64::try_from(len).ok().filter(|len| *len > 0) else { return Ok(()) };
        if len > self.max {
            return Err(too_much(self.max));
        }
        let start = self.head.len();
        self.more(len)?;
        if let Ok(message) = root_as_message(&self.head[start..]) {
            let left = u64::try_from(message.bodyLength()).unwrap_or(0);
            if left > self.max {
                return Err(too_much(self.max));
            }
            self.body = Body { left, packed: packed_buffers(&message).into(), ..Body::default() };
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
        self.body.see(&buffer[..len], self.max)?;
        Ok(len)
    }
}

impl Body {
    /// Takes the next bytes.
    fn see(&mut self, bytes: &[u8], max: u64) -> io::Result<()> {
        let end = self.at + bytes.len() as u64;
        while let Some(&start) = self.packed.front() {
            let from = start + self.prefix.len() as u64;
            if from >= end {
                break;
            }
            let Some(from) = from.checked_sub(self.at).and_then(|from| usize::try_from(from).ok()) else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "buffers lie in each other"));
            };
            let wanted = PREFIX - self.prefix.len();
            self.prefix.extend(bytes[from..].iter().take(wanted));
            if self.prefix.len() < PREFIX {
                break;
            }
            check_prefix(&self.prefix, max)?;
            self.prefix.clear();
            self.packed.pop_front();
        }
        (self.at, self.left) = (end, self.left - bytes.len() as u64);
        Ok(())
    }
}

/// Where the packed buffers of a message begin in its body.
fn packed_buffers(message: &Message<'_>) -> Vec<u64> {
    let dictionary = message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
    let batch = message.header_as_record_batch().or(dictionary);
    let buffers = batch.filter(|batch| batch.compression().is_some()).and_then(|batch| batch.buffers());
    let long = buffers.iter().flatten().filter(|buffer| buffer.length() >= PREFIX as i64);
    let mut starts: Vec<u64> = long.filter_map(|buffer| u64::try_from(buffer.offset()).ok()).collect();
    starts.sort_unstable();
    starts.dedup();
    starts
}

fn check_prefix(prefix: &[u8], max: u64) -> io::Result<()> {
    let len = prefix.try_into().map(i64::from_le_bytes).unwrap_or(0);
    // Below zero it is not packed, or the decoder refuses it.
    if u64::try_from(len).is_ok_and(|len| len > max) { Err(too_much(max)) } else { Ok(()) }
}

/// Looks at all messages that the footer of a file names. What is no footer is left to the
/// decoder.
///
/// # Errors
/// If one is longer than the file or than it may be, or has such a buffer.
pub(crate) fn check_file(file: &SharedFile, max: u64) -> io::Result<()> {
    let Some(at) = file.len().checked_sub(MAGIC_AND_LENGTH) else { return Ok(()) };
    let mut end = [0; MAGIC_AND_LENGTH as usize];
    file.part(at).read_exact(&mut end)?;
    let Ok(len) = read_footer_length(end) else { return Ok(()) };
    let len = len as u64;
    let Some(at) = at.checked_sub(len) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the footer is longer than the file"));
    };
    if len > max {
        return Err(too_much(max));
    }
    let mut footer = Vec::new();
    file.part(at).take(len).read_to_end(&mut footer)?;
    let Ok(footer) = root_as_footer(&footer) else { return Ok(()) };
    let blocks = footer.dictionaries().into_iter().chain(footer.recordBatches());
    blocks.flat_map(|blocks| blocks.iter()).try_for_each(|block| check_block(file, block, max))
}

fn check_block(file: &SharedFile, block: &Block, max: u64) -> io::Result<()> {
    let number = |number: i64| u64::try_from(number).ok();
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "a message lies beyond the end of the file");
    let (start, head) = (number(block.offset()), number(block.metaDataLength().into()));
    let (Some(start), Some(head), Some(body)) = (start, head, number(block.bodyLength())) else {
        return Err(invalid());
    };
    let end = start.checked_add(head).and_then(|body_at| Some((body_at, body_at.checked_add(body)?)));
    let (body_at, _) = end.filter(|(_, end)| *end <= file.len()).ok_or_else(invalid)?;
    if head > max || body > max {
        return Err(too_much(max));
    }
    let mut bytes = Vec::new();
    file.part(start).take(head).read_to_end(&mut bytes)?;
    let skipped = if bytes.starts_with(&CONTINUATION) { 8 } else { 4 };
    let Some(Ok(message)) = bytes.get(skipped..).map(root_as_message) else { return Ok(()) };
    for offset in packed_buffers(&message) {
        let mut prefix = [0; PREFIX];
        let at = body_at.checked_add(offset).ok_or_else(invalid)?;
        file.part(at).read_exact(&mut prefix).map_err(|_| invalid())?;
        check_prefix(&prefix, max)?;
    }
    Ok(())
}
