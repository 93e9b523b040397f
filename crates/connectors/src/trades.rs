//! Trades of a file as messages.

use std::sync::Arc;

use arrow_array::{BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::filter::{filter, filter_record_batch};
use tradejoin_flow::{BoxError, Source};
use tradejoin_model::{ChangeLane, Messages, TRADE_COLUMNS};

use crate::arrow_blocks::ArrowBlocks;
use crate::arrow_keys;
use crate::arrow_times;
use crate::bad::Refusals;
use crate::chunks::{Chunk, Chunks};
use crate::error::{OpenError, ReadError};
use crate::flaw::{Flaw, Place};
use crate::header::Header;
use crate::input::{Input, InputOptions};
use crate::text_rows::TextRows;
use crate::trade_builder::Block;
use crate::trade_decoder::TradeDecoder;
use crate::trade_layout::{Fields, KeyColumn, TradeLayout, time_column};

/// Which trades to read, and how.
#[derive(Clone, Debug)]
pub struct TradesOptions {
    /// Where from.
    pub input: InputOptions,
    /// Records to read at most, refused ones included; `None` for all.
    pub limit: Option<u64>,
    /// The key column of each table, in the order of the tables. All of them
    /// must be there.
    pub key_columns: Vec<String>,
    /// What to make of fields that come as text.
    pub fields: Fields,
}

/// Opens trades. The columns are known at once, also of a file without rows.
///
/// # Errors
/// If the input cannot be opened, is no such file, has a column twice, or lacks
/// a key column. A bad record is left to [`Source::next`].
pub fn open_trades(options: TradesOptions) -> Result<TradeReader, OpenError> {
    let TradesOptions { input, limit, key_columns, fields } = options;
    let (format, batch_len) = (input.encoding.format, input.batch_len.max(1));
    let input = Input::open(input)?;
    let refusals = input.refusals();
    let name = Arc::clone(&input.name);
    if !format.is_text() {
        return Ok(TradeReader {
            refusals,
            left: limit.unwrap_or(u64::MAX),
            kind: Kind::Arrow(ArrowTrades::open(&name, input, &key_columns)?),
        });
    }
    let rows = TextRows::open(input.into_text()?, format)?;
    let dialect = rows.dialect();
    // No header, no object: the output has the columns that trades have.
    let names = if rows.columns.is_empty() { known_columns() } else { rows.columns };
    let header = Header::new(&name, names, TRADE_COLUMNS)?;
    let keys = KeyColumn::find(&name, &header, &key_columns)?;
    let layout = TradeLayout::new(header, dialect, fields, keys);
    let decoder = Arc::new(TradeDecoder { format, layout });
    let kind = Kind::Text(TextTrades { chunks: rows.chunks, decoder, batch_len });
    Ok(TradeReader { refusals, left: limit.unwrap_or(u64::MAX), kind })
}

/// The names of all columns that trades are known to have.
pub(crate) fn known_columns() -> Vec<String> {
    TRADE_COLUMNS.iter().map(|column| column.name.to_owned()).collect()
}

/// Trades of one input, in its order: a [`Source`] whose errors are
/// [`ReadError`]s.
pub struct TradeReader {
    refusals: Refusals,
    /// Records that may still be read.
    left: u64,
    kind: Kind,
}

enum Kind {
    Text(TextTrades),
    Arrow(ArrowTrades),
}

impl TradeReader {
    /// The trades' own columns, in the order of the file, under its names.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        match &self.kind {
            Kind::Text(trades) => Arc::clone(&trades.decoder.layout.schema),
            Kind::Arrow(trades) => Arc::clone(&trades.blocks.schema),
        }
    }

    /// Reads the time of each trade, which a table that is looked up by time needs; to
    /// be called before the first trade is read.
    ///
    /// # Errors
    /// If there is no column `timestamp`, or its type holds no times.
    pub fn require_times(&mut self) -> Result<(), OpenError> {
        let source_name = &self.refusals.source_name;
        match &mut self.kind {
            Kind::Text(trades) => Arc::make_mut(&mut trades.decoder).layout.require_times(source_name),
            Kind::Arrow(trades) => trades.require_times(source_name),
        }
    }

    /// The next trades, as [`Source::next`] gives them.
    ///
    /// # Errors
    /// If reading fails, or a record is bad and such are not skipped.
    pub fn read(&mut self) -> Result<Option<Messages>, ReadError> {
        let trades = match &mut self.kind {
            Kind::Text(trades) => {
                let Some(chunk) = trades.next(&mut self.left)? else { return Ok(None) };
                return trades.decoder.decode(&chunk, self.refusals.of_next_block()).map(Some);
            }
            Kind::Arrow(trades) => trades,
        };
        let next = trades.next(&mut self.refusals, &mut self.left)?;
        let rejected = self.refusals.take();
        let Block { trades, keys, times } = match next {
            Some(block) => block,
            // The last records were all bad: they still have to be told.
            None if rejected > 0 => trades.empty_block(),
            None => return Ok(None),
        };
        let lanes = keys.iter().map(|_| ChangeLane::default()).collect();
        Ok(Some(Messages { trades, keys, lanes, times, rejected, loading: false }))
    }
}

impl Source for TradeReader {
    fn next(&mut self) -> Result<Option<tradejoin_flow::Block>, BoxError> {
        let Kind::Text(trades) = &mut self.kind else {
            return Ok(self.read()?.map(tradejoin_flow::Block::from));
        };
        let Some(chunk) = trades.next(&mut self.left)? else { return Ok(None) };
        let (decoder, refusals) = (Arc::clone(&trades.decoder), self.refusals.of_next_block());
        Ok(Some(tradejoin_flow::Block::Encoded(Box::new(move || Ok(decoder.decode(&chunk, refusals)?)))))
    }
}

struct TextTrades {
    chunks: Chunks,
    decoder: Arc<TradeDecoder>,
    batch_len: usize,
}

impl TextTrades {
    fn next(&mut self, left: &mut u64) -> Result<Option<Chunk>, ReadError> {
        let records_max = usize::try_from(*left).map_or(self.batch_len, |left| left.min(self.batch_len));
        let chunk = self.chunks.next(records_max)?;
        *left -= chunk.as_ref().map_or(0, |chunk| chunk.records as u64);
        Ok(chunk)
    }
}

struct ArrowTrades {
    blocks: ArrowBlocks,
    keys: Vec<KeyColumn>,
    /// The column with the time of each trade, if that is needed.
    time: Option<usize>,
    rows_read: u64,
}

impl ArrowTrades {
    fn open(name: &Arc<str>, input: Input, key_columns: &[String]) -> Result<Self, OpenError> {
        let blocks = ArrowBlocks::open(input)?;
        let fields = blocks.schema.fields();
        let names = fields.iter().map(|field| field.name().clone()).collect();
        let header = Header::new(name, names, TRADE_COLUMNS)?;
        let keys = KeyColumn::find(name, &header, key_columns)?;
        for key in &keys {
            let field = &fields[key.column];
            arrow_keys::check_key_type(name, field.name(), field.data_type())?;
        }
        Ok(Self { blocks, keys, time: None, rows_read: 0 })
    }

    fn require_times(&mut self, source_name: &Arc<str>) -> Result<(), OpenError> {
        let fields = self.blocks.schema.fields();
        let names = fields.iter().map(|field| field.name().clone()).collect();
        let column = time_column(source_name, &Header::new(source_name, names, TRADE_COLUMNS)?)?;
        arrow_times::check_time_type(source_name, fields[column].name(), fields[column].data_type())?;
        self.time = Some(column);
        Ok(())
    }

    fn next(&mut self, refusals: &mut Refusals, left: &mut u64) -> Result<Option<Block>, ReadError> {
        while *left > 0
            && let Some(batch) = self.blocks.next()?
        {
            let rows = usize::try_from(*left).map_or(batch.num_rows(), |left| left.min(batch.num_rows()));
            let batch = batch.slice(0, rows);
            *left -= rows as u64;
            let corrupt = |error: ArrowError| ReadError::corrupt(&refusals.source_name, error);
            let keyed = self.keys.iter().map(|&key| arrow_keys::keys(&batch, key));
            let keyed = keyed.collect::<Result<Vec<_>, _>>().map_err(corrupt)?;
            let (keys, mut flaws): (Vec<_>, Vec<_>) = keyed.into_iter().unzip();
            let timed = self.time.map(|column| arrow_times::times(&batch, column)).transpose();
            let times = timed.map_err(corrupt)?.map(|(times, of_times)| {
                flaws.push(of_times);
                times
            });
            let good = self.refuse(flaws.into_iter().flatten().collect(), batch.num_rows(), refusals)?;
            self.rows_read += batch.num_rows() as u64;
            let corrupt = |error: ArrowError| ReadError::corrupt(&refusals.source_name, error);
            let block = Block { trades: batch, keys, times };
            let block = match good {
                None => block,
                Some(good) => keep_good(&block, &good).map_err(corrupt)?,
            };
            if block.trades.num_rows() > 0 {
                return Ok(Some(block));
            }
        }
        Ok(None)
    }

    fn empty_block(&self) -> Block {
        let keys = self.keys.iter().map(|_| UInt32Array::from(Vec::<u32>::new()));
        let trades = RecordBatch::new_empty(Arc::clone(&self.blocks.schema));
        Block { trades, keys: keys.collect(), times: None }
    }

    /// Refuses bad rows, each once. Tells which rows are good, if not all are.
    fn refuse(
        &self,
        mut flaws: Vec<(usize, Flaw)>,
        rows: usize,
        refusals: &mut Refusals,
    ) -> Result<Option<BooleanArray>, ReadError> {
        if flaws.is_empty() {
            return Ok(None);
        }
        flaws.sort_by_key(|(row, _)| *row);
        flaws.dedup_by_key(|(row, _)| *row);
        let mut good = vec![true; rows];
        for (row, flaw) in flaws {
            good[row] = false;
            refusals.refuse(Place::Row(self.rows_read + row as u64 + 1), flaw)?;
        }
        Ok(Some(good.into()))
    }
}

fn keep_good(block: &Block, good: &BooleanArray) -> Result<Block, ArrowError> {
    let trades = filter_record_batch(&block.trades, good)?;
    let keys = block.keys.iter().map(|keys| Ok(UInt32Array::from(filter(keys, good)?.to_data())));
    let times: Option<Result<_, ArrowError>> =
        block.times.as_ref().map(|times| Ok(Int64Array::from(filter(times, good)?.to_data())));
    Ok(Block { trades, keys: keys.collect::<Result<_, ArrowError>>()?, times: times.transpose()? })
}
