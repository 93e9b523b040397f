//! Trades of a Parquet file, spread over all of it: of the columns of keys alone, and
//! without the pages that none of them is in.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    RowSelection, RowSelector,
};
use parquet::errors::ParquetError;

use crate::arrow_blocks::{ArrowBlock, guarded};
use crate::arrow_trades::{ArrowDecoder, ArrowRows};
use crate::error::{OpenError, ReadError};
use crate::foreign::{unmarked, with_schema};
use crate::sample::{BLOCK_ROWS, SampleSize, SampledFrom, TradeSample, is_taken, keys_alone};
use crate::shared_file::SharedFile;
use crate::table_def::TradeKey;
use crate::trades::TradeReader;

pub(crate) fn sample(
    path: &Path,
    trades: &TradeReader,
    key_columns: &[TradeKey],
    with_times: bool,
    size: SampleSize,
) -> Result<TradeSample, OpenError> {
    let refusals = trades.refusals();
    let name = &refusals.source_name;
    let decoder = |schema: &Schema| {
        let mut decoder = ArrowDecoder::new(name, schema, key_columns)?;
        if with_times {
            decoder.require_times(name, schema)?;
        }
        Ok::<_, OpenError>(decoder)
    };
    let columns = decoder(&trades.schema())?.read_columns();
    let file = File::open(path).map_err(|error| ReadError::of_io(name, error))?;
    let (reader, taken) =
        guarded(name, || open(file, &columns, size).map_err(|e| ReadError::corrupt(name, e)))?;
    let decoder = decoder(&reader.schema)?;
    let (mut rows, mut kept) = (reader.rows, Vec::new());
    for &block in &taken {
        let next = guarded(name, || rows.next().transpose().map_err(|e| ReadError::corrupt(name, e)))?;
        let Some(batch): Option<RecordBatch> = next else { break };
        let (len, rows_before) = (batch.num_rows(), block * BLOCK_ROWS as u64);
        let batch = with_schema(&batch, &reader.schema).map_err(|error| ReadError::corrupt(name, error))?;
        let rows = ArrowRows { block: ArrowBlock::of(batch), len, rows_before };
        kept.push(keys_alone(&decoder.decode(rows, refusals.of_next_block())?));
    }
    let blocks = kept.len() as u64;
    let is_whole = blocks == reader.total.div_ceil(BLOCK_ROWS as u64);
    let from = if is_whole { SampledFrom::Whole } else { SampledFrom::Blocks(blocks) };
    Ok(TradeSample { rows_total: Some(reader.total), ..TradeSample::new(trades, kept, from) })
}

/// A file of which only some columns and rows are read.
struct Opened {
    rows: ParquetRecordBatchReader,
    schema: SchemaRef,
    total: u64,
}

/// Opens these columns of the blocks that are taken, and tells which these are.
fn open(file: File, columns: &[usize], size: SampleSize) -> Result<(Opened, Vec<u64>), ParquetError> {
    let file = SharedFile::new(file)?;
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::default())?;
    let groups = metadata.metadata().row_groups().iter();
    let total: u64 = groups.map(|group| u64::try_from(group.num_rows()).unwrap_or(0)).sum();
    let schema = Arc::new(unmarked(metadata.schema()).project(columns)?);
    let share = size.share_of(total);
    let len = BLOCK_ROWS as u64;
    let blocks = 0..total.div_ceil(len);
    let taken: Vec<u64> = blocks.clone().filter(|&block| share >= 1.0 || is_taken(block, share)).collect();
    let mut selectors = Vec::new();
    let mut at = 0;
    for &block in &taken {
        let rows = len.min(total - block * len);
        // The file's own numbers of rows fit, or it could not be read at all.
        selectors.push(RowSelector::skip((block * len - at) as usize));
        selectors.push(RowSelector::select(rows as usize));
        at = block * len + rows;
    }
    let mask = ProjectionMask::roots(metadata.parquet_schema(), columns.iter().copied());
    let rows = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
        .with_projection(mask)
        .with_row_selection(RowSelection::from(selectors))
        .with_batch_size(BLOCK_ROWS)
        .build()?;
    Ok((Opened { rows, schema, total }, taken))
}
