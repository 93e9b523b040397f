//! Trades of a file as messages.

use std::sync::Arc;
use std::time::Instant;

use arrow_schema::SchemaRef;
use tradejoin_flow::{Block, BoxError, InputPosition, Source, SourcePosition};
use tradejoin_model::{Messages, TRADE_COLUMNS};

use crate::arrow_blocks::ArrowBlocks;
use crate::arrow_trades::{ArrowDecoder, ArrowRows};
use crate::bad::Refusals;
use crate::chunks::{Chunk, Chunks};
use crate::error::{OpenError, ReadError};
use crate::header::Header;
use crate::input::{Input, InputOptions, TextInput};
use crate::stored_file::Unlike;
use crate::table_def::TradeKey;
use crate::text_rows::TextRows;
use crate::trade_decoder::TradeDecoder;
use crate::trade_layout::{Fields, KeyColumns, TradeLayout};

/// Which trades to read, and how.
#[derive(Clone, Debug)]
pub struct TradesOptions {
    /// Where from.
    pub input: InputOptions,
    /// Records to read at most, refused ones included; `None` for all.
    pub limit: Option<u64>,
    /// The key column of each table, in the order of the tables. All of them
    /// must be there.
    pub key_columns: Vec<TradeKey>,
    /// What to make of fields that come as text.
    pub fields: Fields,
}

/// Opens trades. The columns are known at once, also of a file without rows.
///
/// # Errors
/// If the input cannot be opened, is no such file, has a column twice, or lacks
/// a key column. A bad record is left to [`Source::next`].
pub fn open_trades(options: TradesOptions) -> Result<TradeReader, OpenError> {
    let input = Input::open(options.input.clone())?;
    let refusals = input.refusals();
    let name = Arc::clone(&input.name);
    if !options.input.encoding.format.is_text() {
        return Ok(TradeReader {
            refusals,
            left: options.limit.unwrap_or(u64::MAX),
            kind: Kind::Arrow(ArrowTrades::open(&name, input, &options.key_columns)?),
        });
    }
    open_text_trades(input.into_text()?, refusals, options)
}

/// Opens trades of a text.
pub(crate) fn open_text_trades(
    text: TextInput,
    refusals: Refusals,
    options: TradesOptions,
) -> Result<TradeReader, OpenError> {
    let TradesOptions { input, limit, key_columns, fields } = options;
    let (format, batch_len) = (input.encoding.format, input.batch_len.max(1));
    let name = Arc::clone(&text.name);
    let rows = TextRows::open(text, format)?;
    let dialect = rows.dialect();
    // No header, no object: the output has the columns that trades have.
    let names = if rows.columns.is_empty() { known_columns() } else { rows.columns };
    let header = Header::new(&name, names, TRADE_COLUMNS)?;
    let keys = KeyColumns::find(&name, &header, &key_columns)?;
    let layout = TradeLayout::new(header, dialect, fields, keys);
    let decoder = Arc::new(TradeDecoder::new(format, layout));
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
            Kind::Text(trades) => Arc::make_mut(&mut trades.decoder).require_times(source_name),
            Kind::Arrow(trades) => trades.require_times(source_name),
        }
    }

    /// The next trades, as [`Source::next`] gives them.
    ///
    /// # Errors
    /// If reading fails, or a record is bad and such are not skipped.
    pub fn read(&mut self) -> Result<Option<Messages>, ReadError> {
        self.next_block()?.map(|decode| decode()).transpose()
    }

    /// What decodes the next trades.
    fn next_block(&mut self) -> Result<Option<Decode>, ReadError> {
        Ok(self.next_counted()?.map(|(_, decode)| decode))
    }

    /// How many records come next, and what decodes them.
    pub(crate) fn next_counted(&mut self) -> Result<Option<(u64, Decode)>, ReadError> {
        Ok(match &mut self.kind {
            Kind::Text(trades) => trades.next(&mut self.left)?.map(|chunk| -> (u64, Decode) {
                let (decoder, refusals) = (Arc::clone(&trades.decoder), self.refusals.of_next_block());
                (chunk.records as u64, Box::new(move || decoder.decode(&chunk, refusals)))
            }),
            Kind::Arrow(trades) => trades.next(&mut self.left)?.map(|rows| -> (u64, Decode) {
                let (decoder, refusals) = (Arc::clone(&trades.decoder), self.refusals.of_next_block());
                (rows.len as u64, Box::new(move || decoder.decode(rows, refusals)))
            }),
        })
    }

    /// How far its input has been read; `None` if that cannot be told.
    #[must_use]
    pub fn position(&self) -> Option<InputPosition> {
        match &self.kind {
            Kind::Text(trades) => trades.chunks.position(),
            Kind::Arrow(trades) => trades.blocks.position(trades.rows_read),
        }
    }

    /// Goes to where another reader of the same input has been; before the first trade is
    /// read. Places, and the limit, count from the beginning of the input.
    ///
    /// # Errors
    /// If reading fails, or the input is another one.
    pub fn go_on_from(&mut self, position: &InputPosition) -> Result<(), ReadError> {
        match &mut self.kind {
            Kind::Text(trades) => trades.chunks.go_on_from(position)?,
            Kind::Arrow(trades) => {
                trades.blocks.go_on_from(position)?;
                trades.rows_read = position.records;
            }
        }
        self.left = self.left.saturating_sub(position.records);
        Ok(())
    }

    /// Whether its input is no file, and what is read of it may be long in coming.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        match &self.kind {
            Kind::Text(trades) => trades.chunks.is_stream(),
            Kind::Arrow(trades) => trades.blocks.is_stream(),
        }
    }

    /// What decodes text, if these are trades in a text.
    pub(crate) fn text_decoder(&self) -> Option<&Arc<TradeDecoder>> {
        match &self.kind {
            Kind::Text(trades) => Some(&trades.decoder),
            Kind::Arrow(_) => None,
        }
    }

    /// The name of the input.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.refusals.source_name
    }

    /// Its dealings with bad records.
    pub(crate) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// The trades' own columns, with the types that an output with types gives them.
    pub(crate) fn typed_schema(&self) -> SchemaRef {
        match &self.kind {
            Kind::Text(trades) => trades.decoder.layout.typed_schema(),
            Kind::Arrow(trades) => Arc::clone(&trades.blocks.schema),
        }
    }
}

pub(crate) type Decode = Box<dyn FnOnce() -> Result<Messages, ReadError> + Send>;

impl Source for TradeReader {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        self.next_until(None)
    }

    /// Formats with types wait on.
    fn next_until(&mut self, until: Option<Instant>) -> Result<Option<Block>, BoxError> {
        if let Kind::Text(trades) = &mut self.kind {
            trades.chunks.wait_until(until);
        }
        let block = self.next_block()?;
        Ok(block.map(|decode| Block::Encoded(Box::new(move || Ok(decode()?)))))
    }

    fn position(&self) -> Option<SourcePosition> {
        Some(self.position()?.into())
    }

    fn go_on_from(&mut self, position: &SourcePosition) -> Result<(), BoxError> {
        Ok(self.go_on_from(only(position, self.name())?)?)
    }
}

/// The place of a source that has one input.
pub(crate) fn only<'p>(
    position: &'p SourcePosition,
    name: &Arc<str>,
) -> Result<&'p InputPosition, ReadError> {
    let [input] = &position.inputs[..] else { return Err(ReadError::other_input(name, Unlike::Kind)) };
    Ok(input)
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
    decoder: Arc<ArrowDecoder>,
    rows_read: u64,
}

impl ArrowTrades {
    fn open(name: &Arc<str>, input: Input, key_columns: &[TradeKey]) -> Result<Self, OpenError> {
        let blocks = ArrowBlocks::open(input)?;
        let decoder = Arc::new(ArrowDecoder::new(name, &blocks.schema, key_columns)?);
        Ok(Self { blocks, decoder, rows_read: 0 })
    }

    fn require_times(&mut self, source_name: &Arc<str>) -> Result<(), OpenError> {
        Arc::make_mut(&mut self.decoder).require_times(source_name, &self.blocks.schema)
    }

    fn next(&mut self, left: &mut u64) -> Result<Option<ArrowRows>, ReadError> {
        if *left == 0 {
            return Ok(None);
        }
        let Some(block) = self.blocks.next()? else { return Ok(None) };
        let len = usize::try_from(*left).map_or(block.rows, |left| left.min(block.rows));
        let rows = ArrowRows { block, len, rows_before: self.rows_read };
        *left -= len as u64;
        self.rows_read += len as u64;
        Ok(Some(rows))
    }
}
