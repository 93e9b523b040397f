//! Trades of a plain text file, at many places of it.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use memchr::{memchr, memchr2};
use parquet::file::reader::Length as _;
use tradejoin_model::Messages;

use crate::chunks::{Chunks, Look};
use crate::csv_rows::{self, CsvText};
use crate::encoding::Format;
use crate::error::ReadError;
use crate::input::{Cut, Origin, Patience, TextInput};
use crate::limits::Limits;
use crate::records::Scanner;
use crate::sample::{SampleSize, SampledFrom, TradeSample, keys_alone};
use crate::shared_file::SharedFile;
use crate::trade_decoder::TradeDecoder;
use crate::trades::TradeReader;

/// Bytes in which the first record of a block is looked for, and by which the length of
/// a record is estimated.
const WINDOW: u64 = 64 << 10;
/// Blocks of a sample, unless they would be too short or too long: with so many, what
/// changes once in a file is off by one part in as many.
const BLOCKS: u64 = 256;
/// Bytes of a block.
const BLOCK_BYTES: std::ops::RangeInclusive<u64> = 2 << 10..=64 << 10;
const MARK: &[u8] = b"\xEF\xBB\xBF";

/// A plain text file, of which any place can be read.
pub(crate) struct TextFile<'r> {
    file: SharedFile,
    decoder: &'r Arc<TradeDecoder>,
    name: &'r Arc<str>,
    limits: Limits,
    /// Where the first record starts.
    start: u64,
    /// Bytes of a record, by the first ones.
    record_bytes: f64,
}

/// Where the blocks of a sample are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    blocks: u64,
    /// Bytes from the start of the part of the file that a block is in to that of the
    /// next.
    stride: u64,
    block_bytes: u64,
}

impl Plan {
    /// Blocks that make up a share of so many bytes; `None` if they would hardly be
    /// apart.
    fn new(bytes: u64, share: f64) -> Option<Self> {
        if share >= 0.5 {
            return None;
        }
        let wanted = (bytes as f64 * share) as u64;
        let block_bytes = (wanted / BLOCKS).clamp(*BLOCK_BYTES.start(), *BLOCK_BYTES.end());
        let blocks = (wanted / block_bytes).max(1);
        let stride = bytes / blocks;
        (stride > 2 * block_bytes).then_some(Self { blocks, stride, block_bytes })
    }

    /// Where a block begins, anywhere in its part of the file: what repeats in the file
    /// must not meet the blocks in step.
    fn place(self, block: u64) -> u64 {
        // The finalizer of SplitMix64.
        let mut mixed = (block + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        block * self.stride + (mixed ^ (mixed >> 31)) % (self.stride - self.block_bytes)
    }
}

impl<'r> TextFile<'r> {
    /// A sample of the trades of a file that `reader` has opened; `None` if all of them
    /// are better read in order.
    pub(crate) fn sample(
        path: &Path,
        reader: &'r TradeReader,
        size: SampleSize,
        limits: Limits,
    ) -> Result<Option<TradeSample>, ReadError> {
        let Some(file) = Self::open(path, reader, limits)? else { return Ok(None) };
        let bytes = file.file.len() - file.start;
        let Some(plan) = Plan::new(bytes, size.share_of((bytes as f64 / file.record_bytes) as u64)) else {
            return Ok(None);
        };
        let (mut kept, mut read) = (Vec::new(), 0);
        for block in 0..plan.blocks {
            let Some(start) = file.next_record(file.start + plan.place(block))? else { continue };
            if let Some((messages, bytes)) = file.block(start, plan.block_bytes, reader)? {
                kept.push(keys_alone(&messages));
                read += bytes;
            }
        }
        let blocks = kept.len() as u64;
        let sample = TradeSample::new(reader, kept, SampledFrom::Blocks(blocks));
        let total = bytes as f64 * sample.rows as f64 / read.max(1) as f64;
        Ok(Some(TradeSample { rows_total: Some(total.round() as u64), is_counted: false, ..sample }))
    }

    /// `None` if the file does not begin with a few records.
    fn open(path: &Path, reader: &'r TradeReader, limits: Limits) -> Result<Option<Self>, ReadError> {
        let Some(decoder) = reader.text_decoder() else { return Ok(None) };
        let name = &reader.refusals().source_name;
        let file = File::open(path).and_then(SharedFile::new);
        let file = file.map_err(|error| ReadError::of_io(name, error))?;
        let mut opened = Self { file, decoder, name, limits, start: 0, record_bytes: 0.0 };
        let head = opened.window(0)?;
        let mark = if head.starts_with(MARK) { MARK.len() } else { 0 };
        let mut scanner = Scanner::new(decoder.format);
        scanner.restart(mark);
        if decoder.format != Format::JsonLines && scanner.next(&head).is_none() {
            return Ok(None);
        }
        let start = scanner.at();
        let (mut records, mut end) = (0, start);
        while scanner.next(&head).is_some() {
            (records, end) = (records + 1, scanner.at());
        }
        opened.start = start as u64;
        opened.record_bytes = (end - start) as f64 / f64::from(records);
        Ok((records > 0).then_some(opened))
    }

    fn window(&self, at: u64) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        let read = self.file.part(at).take(WINDOW).read_to_end(&mut bytes);
        read.map_err(|error| ReadError::of_io(self.name, error))?;
        Ok(bytes)
    }

    /// Where the first record starts that starts at `at` or behind it; `None` if none
    /// does so in a window.
    ///
    /// Whether a place of CSV is within quotes only all the text before it tells. Here
    /// what counts is under which of the two more of the records behind it have as many
    /// fields as the header.
    fn next_record(&self, at: u64) -> Result<Option<u64>, ReadError> {
        if at <= self.start {
            return Ok(Some(self.start));
        }
        let window = self.window(at - 1)?;
        let found = if self.decoder.format == Format::JsonLines {
            memchr(b'\n', &window).map(|end| end + 1)
        } else if memchr(b'"', &window).is_none() {
            memchr2(b'\n', b'\r', &window).map(|end| end + 1)
        } else {
            let outside = self.behind(&window, 0);
            let within = end_of_quotes(&window).and_then(|end| self.behind(&window, end));
            // The last of equals is taken.
            within
                .into_iter()
                .chain(outside)
                .max_by(|a, b| a.good.total_cmp(&b.good))
                .map(|found| found.start)
        };
        Ok(found.map(|start| at - 1 + start as u64))
    }

    /// What stands behind the record that `at` is in, outside of quotes.
    fn behind(&self, window: &[u8], at: usize) -> Option<Behind> {
        const LOOKED_AT: u32 = 32;
        let columns = self.decoder.layout.columns();
        let mut scanner = Scanner::new(self.decoder.format);
        scanner.restart(at);
        scanner.next(window)?;
        let start = scanner.at();
        let (mut records, mut good, mut cells) = (0, 0, Vec::new());
        let text = CsvText::new(window);
        while records < LOOKED_AT
            && let Some(range) = scanner.next(window)
        {
            records += 1;
            if let Ok(record) = text.record(range, columns, self.limits) {
                csv_rows::split(record, &mut cells);
                good += u32::from(csv_rows::check_count(cells.len(), columns).is_ok());
            }
        }
        Some(Behind { start, good: f64::from(good) / f64::from(records.max(1)) })
    }

    /// The trades of a block that starts with a record, and their bytes.
    fn block(
        &self,
        start: u64,
        block_bytes: u64,
        reader: &TradeReader,
    ) -> Result<Option<(Messages, u64)>, ReadError> {
        let name: Arc<str> = format!("{} from byte {start} on", self.name).into();
        let input = TextInput {
            name: Arc::clone(&name),
            bytes: Box::new(self.file.part(start)),
            origin: Origin::Stream,
            is_kept: false,
            cut: Cut::never(),
            patience: Patience::default(),
            linger: std::time::Duration::ZERO,
            last_read: None,
            limits: self.limits,
        };
        let mut taken = 0;
        let look = |record: &[u8]| {
            taken += record.len() as u64;
            if taken < block_bytes { Look::Take } else { Look::TakeLast }
        };
        let chunk = Chunks::new(input, self.decoder.format).next_while(usize::MAX, look)?;
        let Some(chunk) = chunk else { return Ok(None) };
        let messages = self.decoder.decode(&chunk, reader.refusals().named(name))?;
        Ok(Some((messages, chunk.bytes.len() as u64)))
    }
}

/// Records from a place on.
struct Behind {
    start: usize,
    /// The share of them that have as many fields as the header.
    good: f64,
}

/// Behind the quote that ends the quoted part in which a text begins.
fn end_of_quotes(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr(b'"', &text[at..])? + 1;
        match text.get(at) {
            Some(b'"') => at += 1,
            _ => return Some(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fields, InputOptions, Location, TradesOptions, sample_trades};

    #[test]
    fn blocks_of_csv_are_found_whatever_ends_its_lines() {
        let folder = tempfile::tempdir().expect("a folder");
        let rows: String = (0..60_000).map(|row| format!("{row},{row}\n")).collect();
        let sample = |end| {
            let path = folder.path().join("t.csv");
            std::fs::write(&path, format!("instrument_id,note\n{rows}").replace('\n', end)).expect("written");
            let input = InputOptions::new(Location::Path(path)).expect("a known ending");
            let key_columns = vec!["instrument_id".into()];
            let options = TradesOptions { input, limit: None, key_columns, fields: Fields::InRecord };
            let sample = sample_trades(options, SampleSize::Rows(1_000), false).expect("good rows");
            (sample.rows, sample.from)
        };
        // As long, and at the same places.
        assert_eq!(sample("\r"), sample("\n"));
        assert!(sample("\r").0 > 500);
    }

    #[test]
    fn blocks_are_spread_and_do_not_meet() {
        let plan = Plan::new(100 << 20, 0.01).expect("a part of a large file");
        assert_eq!((plan.blocks, plan.block_bytes), (256, 4096));
        let places: Vec<_> = (0..plan.blocks).map(|block| plan.place(block)).collect();
        assert!(places.windows(2).all(|pair| pair[0] + plan.block_bytes <= pair[1]));
        assert!(places.last().is_some_and(|last| last + plan.block_bytes <= 100 << 20));
        assert!(places.iter().enumerate().all(|(block, &place)| place / plan.stride == block as u64));
        assert_eq!(Plan::new(100 << 20, 0.6), None);
        assert_eq!(Plan::new(3_000, 0.4), None);
        assert_eq!(Plan::new(1 << 20, 0.01).map(|plan| plan.blocks), Some(5));
    }
}
