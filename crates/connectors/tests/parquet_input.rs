//! Parquet inputs, whose blocks threads decode side by side.

mod support;

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, ListArray, RecordBatch, StringArray, StructArray, UInt64Array};
use arrow_select::concat::concat_batches;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use support::{Files, input, keys, read_all, skipping, trades};
use tradejoin_connectors::{Category, Fields, InputOptions, ReadError, TradeKey, TradesOptions, open_trades};
use tradejoin_flow::{Block, BoxError, Source as _};
use tradejoin_model::Messages;

const ROWS: usize = 6_000;

fn rows(bad_row: Option<usize>) -> RecordBatch {
    let ids = (0..ROWS).map(|row| if Some(row) == bad_row { u64::MAX } else { row as u64 });
    let ids: ArrayRef = Arc::new(UInt64Array::from_iter_values(ids));
    let notes = (0..ROWS).map(|row| (row % 7 != 0).then(|| format!("note {}", row % 1_000)));
    let notes: ArrayRef = Arc::new(StringArray::from_iter(notes));
    let tags = (0..ROWS as i32).map(|row| (row % 5 != 0).then(|| (0..row % 3).map(Some)));
    let tags: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(tags));
    let pair = RecordBatch::try_from_iter_with_nullable([("a", Arc::clone(&ids), false), ("b", notes, true)]);
    let pair: ArrayRef = Arc::new(StructArray::from(pair.expect("two columns")));
    let columns = [("instrument_id", ids, false), ("pair", pair, false), ("tags", tags, true)];
    RecordBatch::try_from_iter_with_nullable(columns).expect("three columns")
}

/// Writes rows in groups of `group_len`, with pages of 100.
fn put(path: &Path, rows: &RecordBatch, group_len: usize) {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_data_page_row_count_limit(100)
        .set_write_batch_size(100)
        .set_max_row_group_row_count(Some(group_len))
        .build();
    let file = File::create(path).expect("created");
    let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties)).expect("a writer");
    writer.write(rows).expect("written");
    writer.close().expect("complete");
}

fn blocks(input: InputOptions) -> Vec<Block> {
    let mut reader = trades(input, Fields::Typed).expect("opens");
    std::iter::from_fn(|| reader.next().expect("no block fails to be read")).collect()
}

/// Has blocks decoded by so many threads, which take the last that is left, or
/// the first.
fn decode(blocks: Vec<Block>, threads: usize, last_first: bool) -> Vec<Result<Messages, BoxError>> {
    let decoded = Mutex::new(blocks.iter().map(|_| None).collect::<Vec<_>>());
    let mut left: Vec<_> = blocks.into_iter().enumerate().collect();
    if !last_first {
        left.reverse();
    }
    let left = Mutex::new(left);
    let take = || left.lock().expect("no thread panics").pop();
    let work = || {
        while let Some((index, block)) = take() {
            let messages = block.decode();
            decoded.lock().expect("no thread panics")[index] = Some(messages);
        }
    };
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    decoded.into_inner().expect("no thread panics").into_iter().flatten().collect()
}

#[test]
fn blocks_do_not_depend_on_row_groups_or_on_who_decodes_them() {
    let (files, rows) = (Files::new(), rows(None));
    for (group_len, len) in [(1, 300), (99, ROWS), (2_500, ROWS), (ROWS, ROWS)] {
        let (path, rows) = (files.path(&format!("{group_len}.parquet")), rows.slice(0, len));
        put(&path, &rows, group_len);
        for (batch_len, threads, last_first) in
            [(7, 1, true), (64, 4, false), (1_000, 3, true), (1_000, 3, false), (8_192, 2, false)]
        {
            let blocks = blocks(InputOptions { batch_len, ..input(&path) });
            let messages = decode(blocks, threads, last_first);
            let messages: Vec<_> = messages.into_iter().collect::<Result<_, _>>().expect("good rows");
            let block_len = |index| batch_len.min(len - index * batch_len);
            assert!(messages.iter().enumerate().all(|(index, m)| m.trades.num_rows() == block_len(index)));
            let read =
                concat_batches(&rows.schema(), messages.iter().map(|m| &m.trades)).expect("one schema");
            assert_eq!(read.columns(), rows.columns(), "{group_len} {batch_len} {threads} {last_first}");
            assert!(keys(&messages).into_iter().eq((0..len as u32).map(Some)));
        }
    }
}

#[test]
fn a_file_without_rows_has_columns_and_no_block() {
    let (files, rows) = (Files::new(), rows(None));
    let path = files.path("empty.parquet");
    put(&path, &rows.slice(0, 0), ROWS);
    let mut reader = trades(input(&path), Fields::Typed).expect("opens");
    assert_eq!(reader.schema().fields(), rows.schema().fields());
    assert!(reader.read().expect("no row is bad").is_none());
}

#[test]
fn a_block_that_nobody_decodes_is_passed_over() {
    let (files, rows) = (Files::new(), rows(None));
    let path = files.path("in.parquet");
    put(&path, &rows, 2_500);
    let mut blocks = blocks(InputOptions { batch_len: 1_000, ..input(&path) });
    let last = blocks.pop().expect("six blocks");
    drop(blocks);
    let messages = last.decode().expect("good rows");
    assert_eq!(messages.trades.columns(), rows.slice(5_000, 1_000).columns());
}

#[test]
fn rows_before_a_corrupt_group_come_first_and_the_file_is_named() {
    let (files, rows) = (Files::new(), rows(None));
    let path = files.path("in.parquet");
    put(&path, &rows, 2_500);
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).expect("there"));
    let builder = builder.expect("a Parquet file");
    for column in 0..4 {
        let chunk = builder.metadata().row_group(1).column(column).byte_range();
        let mut bytes = std::fs::read(&path).expect("there");
        bytes[chunk.0 as usize..][..chunk.1 as usize].fill(0xFF);
        let wrong = files.put("wrong.parquet", bytes);
        for (threads, last_first) in [(1, false), (1, true), (3, false), (3, true)] {
            let blocks = blocks(InputOptions { batch_len: 1_000, ..input(&wrong) });
            let messages = decode(blocks, threads, last_first);
            let whole: Vec<_> = messages.iter().map(Result::is_ok).collect();
            assert_eq!(whole, [true, true, false, false, false, false], "column {column}");
            for error in messages.into_iter().filter_map(Result::err) {
                let error = error.downcast::<ReadError>().expect("an error of reading");
                assert_eq!(error.category(), Category::Data);
                assert!(error.to_string().contains("wrong.parquet"), "{error}");
            }
        }
    }
}

#[test]
fn a_bad_key_has_the_number_of_its_row_whatever_the_group() {
    let (files, rows) = (Files::new(), rows(Some(2_600)));
    let path = files.path("in.parquet");
    put(&path, &rows, 2_500);
    for batch_len in [1, 64, 1_000, 8_192] {
        let options = |input| InputOptions { batch_len, ..input };
        let error = read_all(&mut trades(options(input(&path)), Fields::Typed).expect("opens"));
        let error = error.expect_err("too large").to_string();
        assert!(error.contains("in.parquet, row 2601, column instrument_id: "), "{error}");
        let (skipping, bad) = skipping(&path);
        let messages = read_all(&mut trades(options(skipping), Fields::Typed).expect("opens"));
        let messages = messages.expect("skips");
        let expected = (0..ROWS as u32).filter(|&row| row != 2_600).map(Some);
        assert!(keys(&messages).into_iter().eq(expected));
        assert_eq!((messages.iter().map(|m| m.rejected).sum::<u64>(), bad.count()), (1, 1));
    }
}

#[test]
fn a_limit_ends_within_a_block_and_what_is_behind_it_is_not_looked_at() {
    let (files, rows) = (Files::new(), rows(Some(2_600)));
    let path = files.path("in.parquet");
    put(&path, &rows, 2_500);
    for (limit, batch_len) in [(0, 64), (1, 8_192), (2_500, 1_000), (2_600, 1_000), (2_600, 1)] {
        let options = TradesOptions {
            input: InputOptions { batch_len, ..input(&path) },
            limit: Some(limit),
            key_columns: vec![TradeKey::Id("instrument_id".to_owned())],
            fields: Fields::Typed,
        };
        let messages = read_all(&mut open_trades(options).expect("opens")).expect("good rows");
        assert!(keys(&messages).into_iter().eq((0..limit as u32).map(Some)), "{limit} {batch_len}");
    }
}
