//! Text packed piece by piece: each is a gzip member or a Zstandard frame, and
//! what they make one after the other is a valid file.

use std::io::{self, Write};

use flate2::write::GzEncoder;

use crate::encoding::Compression;

/// Bytes of text below which a piece is too small to be worth a frame of its own:
/// such are gathered.
const FRAME_TEXT_MIN: usize = 64 << 10;
/// zstd's own default.
const ZSTD_LEVEL: i32 = 3;

/// Appends `text` as one frame; as it is without compression.
pub(crate) fn pack(text: &[u8], compression: Compression, out: &mut Vec<u8>) -> io::Result<()> {
    match compression {
        Compression::None => out.extend_from_slice(text),
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(out, flate2::Compression::default());
            encoder.write_all(text)?;
            encoder.finish()?;
        }
        Compression::Zstd => {
            let mut encoder = zstd::Encoder::new(out, ZSTD_LEVEL)?;
            encoder.include_checksum(true)?;
            encoder.set_pledged_src_size(Some(text.len() as u64))?;
            encoder.write_all(text)?;
            encoder.finish()?;
        }
    }
    Ok(())
}

/// Packs the text of a piece in place, if it is large enough; `spare` is for its
/// memory. Tells whether it did.
pub(crate) fn pack_piece(
    text: &mut Vec<u8>,
    spare: &mut Vec<u8>,
    compression: Compression,
) -> io::Result<bool> {
    if compression == Compression::None || text.len() < FRAME_TEXT_MIN {
        return Ok(false);
    }
    spare.clear();
    pack(text, compression, spare)?;
    std::mem::swap(text, spare);
    Ok(true)
}

/// Writes pieces, packed or to be packed, in their order.
pub(crate) struct FrameWriter<W> {
    file: W,
    compression: Compression,
    /// Text that is not written yet.
    text: Vec<u8>,
    frame: Vec<u8>,
    is_empty: bool,
    is_live: bool,
}

impl<W: Write> FrameWriter<W> {
    /// A writer of a file that starts with `header`, which is not written before
    /// what follows it: a run that fails before that leaves the file empty.
    pub(crate) fn new(file: W, compression: Compression, header: Vec<u8>) -> Self {
        Self { file, compression, text: header, frame: Vec::new(), is_empty: true, is_live: false }
    }

    /// A writer whose text goes on at once, if `is_live` says so and it is not to
    /// be packed: somebody waits for it.
    pub(crate) fn live(self, is_live: bool) -> Self {
        Self { is_live, ..self }
    }

    /// A writer that goes on with a file that has begun, if `has_begun` says so.
    pub(crate) fn begun(mut self, has_begun: bool) -> Self {
        if has_begun {
            self.text.clear();
            self.is_empty = false;
        }
        self
    }

    /// Writes text.
    pub(crate) fn write_text(&mut self, text: &[u8]) -> io::Result<()> {
        if self.compression == Compression::None {
            self.write_pending()?;
            self.file.write_all(text)?;
            return if self.is_live { self.file.flush() } else { Ok(()) };
        }
        self.text.extend_from_slice(text);
        if self.text.len() >= FRAME_TEXT_MIN { self.write_pending() } else { Ok(()) }
    }

    /// Writes what is packed already.
    pub(crate) fn write_frame(&mut self, frame: &[u8]) -> io::Result<()> {
        self.write_pending()?;
        self.is_empty = false;
        self.file.write_all(frame)
    }

    fn write_pending(&mut self) -> io::Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        self.is_empty = false;
        self.frame.clear();
        pack(&self.text, self.compression, &mut self.frame)?;
        self.text.clear();
        self.file.write_all(&self.frame)
    }

    /// Writes what is held back, so that the file can be cut off here: what follows has
    /// frames of its own.
    pub(crate) fn pause(&mut self) -> io::Result<()> {
        self.write_pending()?;
        self.file.flush()
    }

    /// Writes the rest. A packed file without text has a frame all the same:
    /// other programs take no file of no bytes for a packed one.
    pub(crate) fn complete(&mut self) -> io::Result<()> {
        self.write_pending()?;
        if self.is_empty {
            self.is_empty = false;
            pack(&[], self.compression, &mut self.frame)?;
            self.file.write_all(&self.frame)?;
        }
        self.file.flush()
    }

    /// Where it writes to.
    pub(crate) fn file(&self) -> &W {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn unpacked(bytes: &[u8], compression: Compression) -> Vec<u8> {
        let mut text = Vec::new();
        match compression {
            Compression::None => text.extend_from_slice(bytes),
            Compression::Gzip => {
                flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut text).map(drop).expect("members");
            }
            Compression::Zstd => {
                zstd::Decoder::new(bytes).expect("frames").read_to_end(&mut text).map(drop).expect("frames");
            }
        }
        text
    }

    #[test]
    fn pieces_of_any_size_come_out_in_their_order() {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let mut writer = FrameWriter::new(Vec::new(), compression, b"header\n".to_vec());
            let mut expected = b"header\n".to_vec();
            let mut spare = Vec::new();
            for (i, len) in
                [3, FRAME_TEXT_MIN, 1, FRAME_TEXT_MIN - 1, 2, 2 * FRAME_TEXT_MIN].into_iter().enumerate()
            {
                let mut piece = vec![b'a' + i as u8; len];
                expected.extend_from_slice(&piece);
                if pack_piece(&mut piece, &mut spare, compression).expect("in memory") {
                    writer.write_frame(&piece).expect("in memory");
                } else {
                    writer.write_text(&piece).expect("in memory");
                }
            }
            writer.complete().expect("in memory");
            assert_eq!(unpacked(writer.file(), compression), expected);
        }
    }

    #[test]
    fn no_text_is_one_empty_frame() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let mut writer = FrameWriter::new(Vec::new(), compression, Vec::new());
            writer.complete().expect("in memory");
            assert!(!writer.file().is_empty() && unpacked(writer.file(), compression).is_empty());
        }
    }
}
