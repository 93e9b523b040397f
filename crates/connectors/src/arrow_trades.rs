//! Rows of typed columns as trades, on any thread.

use std::sync::Arc;

use arrow_array::{Array as _, BooleanArray, Int64Array, RecordBatch};
use arrow_schema::{ArrowError, Schema};
use arrow_select::filter::{filter, filter_record_batch};
use tradejoin_model::{ChangeLane, Keys, Messages, TRADE_COLUMNS};

use crate::arrow_blocks::ArrowBlock;
use crate::arrow_keys;
use crate::arrow_times;
use crate::bad::Refusals;
use crate::bad_letter::Raw;
use crate::error::{OpenError, ReadError};
use crate::flaw::{Flaw, Place};
use crate::header::Header;
use crate::key_text;
use crate::table_def::TradeKey;
use crate::trade_builder::Block;
use crate::trade_layout::{KeyColumns, time_column};

/// The first rows of a block.
pub(crate) struct ArrowRows {
    pub(crate) block: ArrowBlock,
    pub(crate) len: usize,
    /// How many rows of the input stand before them.
    pub(crate) rows_before: u64,
}

/// What it takes to make trades of rows.
#[derive(Clone)]
pub(crate) struct ArrowDecoder {
    keys: KeyColumns,
    /// The column with the time of each trade, if that is needed.
    time: Option<usize>,
}

impl ArrowDecoder {
    pub(crate) fn new(name: &Arc<str>, schema: &Schema, key_columns: &[TradeKey]) -> Result<Self, OpenError> {
        let fields = schema.fields();
        let names = fields.iter().map(|field| field.name().clone()).collect();
        let header = Header::new(name, names, TRADE_COLUMNS)?;
        let keys = KeyColumns::find(name, &header, key_columns)?;
        for key in &keys.ids {
            let field = &fields[key.column];
            arrow_keys::check_key_type(name, field.name(), field.data_type())?;
        }
        for &column in keys.texts.iter().flatten() {
            let field = &fields[column];
            arrow_keys::check_key_part_type(name, field.name(), field.data_type())?;
        }
        Ok(Self { keys, time: None })
    }

    /// The columns that are looked into, in rising order.
    pub(crate) fn read_columns(&self) -> Vec<usize> {
        let mut columns: Vec<_> = self.keys.columns().chain(self.time).collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// Reads the time of each trade.
    ///
    /// # Errors
    /// If trades have none.
    pub(crate) fn require_times(&mut self, source_name: &Arc<str>, schema: &Schema) -> Result<(), OpenError> {
        let fields = schema.fields();
        let names = fields.iter().map(|field| field.name().clone()).collect();
        let column = time_column(source_name, &Header::new(source_name, names, TRADE_COLUMNS)?)?;
        arrow_times::check_time_type(source_name, fields[column].name(), fields[column].data_type())?;
        self.time = Some(column);
        Ok(())
    }

    /// The trades of some rows. What is bad is told to `refusals`, those of these
    /// rows alone.
    pub(crate) fn decode(&self, rows: ArrowRows, mut refusals: Refusals) -> Result<Messages, ReadError> {
        let batch = rows.block.decode()?.slice(0, rows.len);
        let corrupt = |error: ArrowError| ReadError::corrupt(&refusals.source_name, error);
        let keyed = self.keys.ids.iter().map(|&key| arrow_keys::keys(&batch, key));
        let keyed = keyed.collect::<Result<Vec<_>, _>>().map_err(corrupt)?;
        let (ids, mut flaws): (Vec<_>, Vec<_>) = keyed.into_iter().unzip();
        let texts = self.keys.texts.iter().map(|columns| key_text::keys(&batch, columns));
        let texts = texts.collect::<Result<Vec<_>, _>>().map_err(corrupt)?;
        let keys = self.keys.by_table(ids, texts);
        let timed = self.time.map(|column| arrow_times::times(&batch, column)).transpose();
        let times = timed.map_err(corrupt)?.map(|(times, of_times)| {
            flaws.push(of_times);
            times
        });
        let block = Block { trades: batch, keys, times };
        let flaws = flaws.into_iter().flatten().collect();
        let Block { trades, keys, times } =
            match refuse(flaws, &block.trades, rows.rows_before, &mut refusals)? {
                None => block,
                Some(good) => keep_good(&block, &good)
                    .map_err(|error| ReadError::corrupt(&refusals.source_name, error))?,
            };
        let lanes = keys.iter().map(|_| ChangeLane::default()).collect();
        let refused = refusals.take();
        Ok(Messages { trades, keys, lanes, times, rejected: refused.len() as u64, refused, loading: false })
    }
}

/// Refuses bad rows, each once. Tells which rows are good, if not all are.
fn refuse(
    mut flaws: Vec<(usize, Flaw)>,
    rows: &RecordBatch,
    rows_before: u64,
    refusals: &mut Refusals,
) -> Result<Option<BooleanArray>, ReadError> {
    if flaws.is_empty() {
        return Ok(None);
    }
    flaws.sort_by_key(|(row, _)| *row);
    flaws.dedup_by_key(|(row, _)| *row);
    let mut good = vec![true; rows.num_rows()];
    for (bad_before, (row, flaw)) in flaws.into_iter().enumerate() {
        good[row] = false;
        let place = Place::Row(rows_before + row as u64 + 1);
        refusals.refuse(place, flaw, row - bad_before, Raw::Row(rows, row))?;
    }
    Ok(Some(good.into()))
}

fn keep_good(block: &Block, good: &BooleanArray) -> Result<Block, ArrowError> {
    let Block { trades, keys, times } = block;
    let rows: Vec<_> = (0..trades.num_rows()).filter(|&row| good.value(row)).map(|row| (0, row)).collect();
    let times: Option<Result<_, ArrowError>> =
        times.as_ref().map(|times| Ok(Int64Array::from(filter(times, good)?.to_data())));
    Ok(Block {
        trades: filter_record_batch(trades, good)?,
        keys: keys.iter().map(|keys| Keys::gather(&[keys], &rows)).collect(),
        times: times.transpose()?,
    })
}
