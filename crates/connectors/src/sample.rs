//! A sample of trades that is spread over all of them.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use tradejoin_flow::{Block, BoxError, Source};
use tradejoin_model::{Keys, Messages};

use crate::encoding::{Compression, Format, Location};
use crate::error::{OpenError, ReadError};
use crate::input::InputOptions;
use crate::sample_parquet;
use crate::sample_text::TextFile;
use crate::trade_layout::Fields;
use crate::trades::{TradeReader, TradesOptions, open_trades};

/// Trades of a block that is taken or left as a whole: few, so that a sample has many
/// blocks. What changes once in a file is off by one part in as many.
pub(crate) const BLOCK_ROWS: usize = 16;
/// Trades of a block when it is handed out.
const SAMPLE_BLOCK_ROWS: u64 = 8_192;

/// How many trades a sample has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SampleSize {
    /// This share of all, from 0 to 1.
    Share(f64),
    /// About so many.
    Rows(u64),
    /// About so many, or this share of all, whichever is more.
    AtLeast {
        /// How many.
        rows: u64,
        /// The share.
        share: f64,
    },
}

/// Where in its input a sample comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampledFrom {
    /// It is all of it.
    Whole,
    /// So many blocks, spread over all of it.
    Blocks(u64),
    /// The first trades of a pipe, which may be unlike the others.
    Start,
}

/// A sample of trades: a [`Source`] of their keys and times, without their columns.
#[derive(Debug)]
pub struct TradeSample {
    pub(crate) blocks: VecDeque<Messages>,
    /// Trades of the sample, those included that were refused.
    pub rows: u64,
    /// How many there are in all; `None` if that is not known.
    pub rows_total: Option<u64>,
    /// Whether that is counted, and not estimated.
    pub is_counted: bool,
    /// Where they come from.
    pub from: SampledFrom,
    /// The trades' own columns, with the types that an output with types gives them.
    pub schema: SchemaRef,
}

/// Reads a sample of trades, and the time of each if `with_times`. Of a file it is
/// spread over the whole: blocks at many places of a plain text, rows of all pages of
/// Parquet, every n-th block of what must be unpacked or read in order. Of a pipe it is
/// the start.
///
/// # Errors
/// As [`open_trades`] and [`TradeReader::read`].
pub fn sample_trades(
    options: TradesOptions,
    size: SampleSize,
    with_times: bool,
) -> Result<TradeSample, OpenError> {
    let input = InputOptions { batch_len: BLOCK_ROWS, ..options.input.clone() };
    let (encoding, is_file) = (input.encoding, input.location.file_len().is_some());
    let fields = if encoding.format.is_text() { Fields::InRecord } else { options.fields };
    let mut reader = open_trades(TradesOptions { input: input.clone(), fields, ..options.clone() })?;
    if with_times {
        reader.require_times()?;
    }
    if let (Location::Path(path), true) = (&input.location, is_file) {
        if encoding.format == Format::Parquet {
            return sample_parquet::sample(path, &reader, &options.key_columns, with_times, size);
        }
        if encoding.format.is_text()
            && encoding.compression == Compression::None
            && let Some(sample) = TextFile::sample(path, &reader, size, input.limits)?
        {
            return Ok(sample);
        }
        return Ok(in_order(reader, size)?);
    }
    Ok(start(reader, size)?)
}

impl SampleSize {
    /// The share of `total` trades.
    pub(crate) fn share_of(self, total: u64) -> f64 {
        let of_rows = |rows: u64| rows as f64 / total.max(1) as f64;
        match self {
            Self::Share(share) => share,
            Self::Rows(rows) => of_rows(rows),
            Self::AtLeast { rows, share } => of_rows(rows).max(share),
        }
    }

    /// How many trades are enough while their number is not known, and the share that
    /// is never gone below.
    fn at_least(self) -> (u64, f64) {
        match self {
            Self::Share(share) => (0, share),
            Self::Rows(rows) => (rows, 0.0),
            Self::AtLeast { rows, share } => (rows, share),
        }
    }
}

/// Whether the block of this number is among those that make up a share of all, evenly.
pub(crate) fn is_taken(block: u64, share: f64) -> bool {
    // Numbers of blocks are exact as floats. The first block is taken, whatever the share.
    let before = |block: u64| (block as f64 * share).ceil();
    before(block + 1) > before(block)
}

impl TradeSample {
    pub(crate) fn new(
        reader: &TradeReader,
        blocks: impl IntoIterator<Item = Messages>,
        from: SampledFrom,
    ) -> Self {
        let blocks = joined(blocks);
        let rows = blocks.iter().map(Messages::len).sum();
        let rows_total = (from == SampledFrom::Whole).then_some(rows);
        Self { blocks, rows, rows_total, is_counted: true, from, schema: reader.typed_schema() }
    }
}

impl Source for TradeSample {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        Ok(self.blocks.pop_front().map(Block::from))
    }
}

/// Every n-th block of a file that is read in order. How many trades there are shows at
/// the end alone: until then every second block goes whenever there are too many.
fn in_order(mut reader: TradeReader, size: SampleSize) -> Result<TradeSample, ReadError> {
    let (enough, least) = size.at_least();
    let mut share = if let SampleSize::Share(share) = size { share } else { 1.0 };
    let (mut kept, mut kept_rows, mut blocks, mut total) = (Vec::new(), 0, 0_u64, 0);
    while let Some((rows, decode)) = reader.next_counted()? {
        total += rows;
        if is_taken(blocks, share) {
            kept.push((blocks, keys_alone(&decode()?)));
            kept_rows += rows;
        }
        blocks += 1;
        while kept_rows >= enough.saturating_mul(2) && share / 2.0 >= least && kept.len() > 1 && enough > 0 {
            share /= 2.0;
            kept.retain(|(block, _)| is_taken(*block, share));
            kept_rows = kept.iter().map(|(_, messages)| messages.len()).sum();
        }
    }
    let from =
        if kept.len() as u64 == blocks { SampledFrom::Whole } else { SampledFrom::Blocks(kept.len() as u64) };
    let sample = TradeSample::new(&reader, kept.into_iter().map(|(_, messages)| messages), from);
    Ok(TradeSample { rows_total: Some(total), ..sample })
}

/// The first trades.
fn start(mut reader: TradeReader, size: SampleSize) -> Result<TradeSample, ReadError> {
    // Of a share that is asked for nobody can tell how many trades it is.
    const ROWS: u64 = 100_000;
    let enough = Some(size.at_least().0).filter(|&rows| rows > 0).unwrap_or(ROWS);
    let (mut kept, mut rows, mut from) = (Vec::new(), 0, SampledFrom::Whole);
    while let Some(messages) = reader.read()? {
        rows += messages.len();
        kept.push(keys_alone(&messages));
        if rows >= enough {
            from = SampledFrom::Start;
            break;
        }
    }
    Ok(TradeSample::new(&reader, kept, from))
}

/// The messages without the trades' columns, sharing no memory with what they were
/// read from.
pub(crate) fn keys_alone(messages: &Messages) -> Messages {
    join(std::slice::from_ref(messages))
}

/// Blocks in longer ones.
fn joined(blocks: impl IntoIterator<Item = Messages>) -> VecDeque<Messages> {
    let (mut joined, mut few, mut rows) = (VecDeque::new(), Vec::new(), 0);
    for block in blocks {
        rows += block.len();
        few.push(block);
        if rows >= SAMPLE_BLOCK_ROWS {
            joined.push_back(join(&few));
            (few, rows) = (Vec::new(), 0);
        }
    }
    joined.extend((!few.is_empty()).then(|| join(&few)));
    joined
}

/// Some blocks as one, without the trades' columns.
///
/// # Panics
/// If there is none.
fn join(blocks: &[Messages]) -> Messages {
    let rows_of =
        |(block, messages): (usize, &Messages)| (0..messages.trades.num_rows()).map(move |row| (block, row));
    let rows: Vec<_> = blocks.iter().enumerate().flat_map(rows_of).collect();
    let keys = |table: usize| {
        let keys: Vec<&Keys> = blocks.iter().map(|messages| &messages.keys[table]).collect();
        Keys::gather(&keys, &rows)
    };
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let has_times = blocks[0].times.is_some();
    let times =
        || blocks.iter().filter_map(|messages| messages.times.as_ref()).flatten().collect::<Int64Array>();
    Messages {
        trades: RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)
            .expect("rows without columns"),
        keys: (0..blocks[0].keys.len()).map(keys).collect(),
        times: has_times.then(times),
        lanes: Arc::clone(&blocks[0].lanes),
        rejected: blocks.iter().map(|messages| messages.rejected).sum(),
        refused: Vec::new(),
        loading: false,
    }
}
