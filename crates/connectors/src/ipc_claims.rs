//! What the compressed buffers of an Arrow file say of their lengths. The library takes
//! memory for what they say before it looks further: a few bytes could fill it, and a
//! process that asks for more than there can be ends.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use arrow_ipc::{CompressionType, RecordBatch, root_as_footer, root_as_message};
use arrow_schema::ArrowError;

/// Bytes in front of a compressed buffer: its length, unpacked.
const PREFIX_LEN: i64 = 8;
/// Bytes that may stand for next to nothing.
const BLOCK_LEN: i64 = 128 << 10;
/// In front of the length of a message.
const CONTINUATION: [u8; 4] = [0xFF; 4];
/// What stands around the messages of the file format.
pub(crate) const MAGIC: &[u8] = b"ARROW1";

/// Sees to it that no buffer of a file says that it is longer than its bytes can be. What
/// makes no sense otherwise is left to the reader.
///
/// # Errors
/// If one does.
pub(crate) fn check(file: &File) -> Result<(), ArrowError> {
    let Ok(len) = file.metadata().map(|metadata| metadata.len()) else { return Ok(()) };
    match bytes_at(file, 0, MAGIC.len()) {
        Some(start) if start == MAGIC => {
            let blocks = blocks(file, len).unwrap_or_default();
            blocks.into_iter().try_for_each(|at| check_message(file, at, len).map(|_| ()))
        }
        _ => {
            let mut at = 0;
            while let Some(next) = check_message(file, at, len)?.filter(|&next| next > at) {
                at = next;
            }
            Ok(())
        }
    }
}

fn bytes_at(file: &File, at: u64, len: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, at).ok().map(|()| bytes)
}

fn number_at(file: &File, at: u64) -> Option<[u8; 4]> {
    bytes_at(file, at, 4)?.try_into().ok()
}

/// Where the messages of the file format stand.
fn blocks(file: &File, len: u64) -> Option<Vec<u64>> {
    let end = len.checked_sub(MAGIC.len() as u64 + 4)?;
    let footer_len = u32::from_le_bytes(number_at(file, end)?);
    let footer = bytes_at(file, end.checked_sub(footer_len.into())?, footer_len as usize)?;
    let footer = root_as_footer(&footer).ok()?;
    let all = footer.recordBatches().into_iter().chain(footer.dictionaries()).flatten();
    Some(all.filter_map(|block| u64::try_from(block.offset()).ok()).collect())
}

/// Looks at the message at a place of a file of this length, and tells where the next one
/// stands; `None` if there is none.
fn check_message(file: &File, at: u64, len: u64) -> Result<Option<u64>, ArrowError> {
    let Some((message, body)) = message_at(file, at, len) else { return Ok(None) };
    let Ok(message) = root_as_message(&message) else { return Ok(None) };
    let dictionary = message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
    if let Some(batch) = message.header_as_record_batch().or(dictionary) {
        check_batch(file, body, &batch)?;
    }
    Ok(u64::try_from(message.bodyLength()).ok().and_then(|len| body.checked_add(len)))
}

/// The bytes of a message, and where its body begins.
fn message_at(file: &File, at: u64, len: u64) -> Option<(Vec<u8>, u64)> {
    let first = number_at(file, at)?;
    // Older files have no mark in front.
    let (prefix, bytes) =
        if first == CONTINUATION { (8, number_at(file, at.checked_add(4)?)?) } else { (4, first) };
    let (start, bytes) = (at.checked_add(prefix)?, u32::from_le_bytes(bytes));
    let end = start.checked_add(bytes.into()).filter(|&end| end <= len && bytes > 0)?;
    Some((bytes_at(file, start, bytes as usize)?, end))
}

fn check_batch(file: &File, body: u64, batch: &RecordBatch<'_>) -> Result<(), ArrowError> {
    let (Some(compression), Some(buffers)) = (batch.compression(), batch.buffers()) else { return Ok(()) };
    // A byte of LZ4 stands for 255 at most, and four of Zstandard for a block of 128 KiB.
    let most = if compression.codec() == CompressionType::LZ4_FRAME { 256 } else { 1 << 16 };
    for buffer in buffers.iter().filter(|buffer| buffer.length() > PREFIX_LEN) {
        let at = u64::try_from(buffer.offset()).ok().and_then(|offset| body.checked_add(offset));
        let claim = at.and_then(|at| bytes_at(file, at, 8)?.try_into().ok()).map_or(0, i64::from_le_bytes);
        let packed = buffer.length() - PREFIX_LEN;
        // A negative one says that the buffer is not compressed, or is refused.
        if claim > packed.saturating_mul(most).saturating_add(BLOCK_LEN) {
            let text = format!("{packed} compressed bytes cannot be {claim} bytes");
            return Err(ArrowError::IpcError(text));
        }
    }
    Ok(())
}
