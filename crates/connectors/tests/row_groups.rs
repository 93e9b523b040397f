//! A Parquet file of several row groups, which threads encode side by side.

mod support;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, UInt32Type};
use arrow_array::{ArrayRef, ListArray, RecordBatch, StringArray, StructArray, UInt32Array};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use support::Files;
use tradejoin_connectors::{Encoding, Location, Output, OutputOptions};
use tradejoin_flow::End;

const ROWS: u32 = 300_000;

fn rows() -> RecordBatch {
    let ids: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..ROWS));
    let notes = (0..ROWS).map(|row| (row % 7 != 0).then(|| format!("note {}", row % 1_000)));
    let notes: ArrayRef = Arc::new(StringArray::from_iter(notes));
    RecordBatch::try_from_iter_with_nullable([("instrument_id", ids, false), ("note", notes, true)])
        .expect("two columns")
}

fn create(path: &Path, rows: &RecordBatch) -> Output {
    let (location, encoding) =
        (Location::Path(path.to_owned()), Encoding::of_path(path).expect("a known ending"));
    let options = OutputOptions::new(location, encoding, rows.schema());
    Output::create(options).expect("created")
}

#[test]
fn the_bytes_do_not_depend_on_how_rows_are_cut() {
    let (files, rows) = (Files::new(), rows());
    let mut contents = Vec::new();
    for batch_len in [1_000, 8_192, 65_536, 65_537, 300_000] {
        let path = files.path(&format!("{batch_len}.parquet"));
        let mut output = create(&path, &rows);
        for start in (0..rows.num_rows()).step_by(batch_len) {
            let len = batch_len.min(rows.num_rows() - start);
            output.write_batch(&rows.slice(start, len)).expect("written");
        }
        output.close(End::Complete).expect("complete");
        contents.push(std::fs::read(&path).expect("there"));
    }
    assert!(contents.iter().all(|content| *content == contents[0]));

    let file = File::open(files.path("8192.parquet")).expect("there");
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
    let groups = builder.metadata().row_groups().iter().map(|group| group.num_rows());
    assert_eq!(groups.collect::<Vec<_>>(), [65_536, 65_536, 65_536, 65_536, 37_856]);
    let mut next = 0;
    for batch in builder.build().expect("a reader") {
        let batch = batch.expect("rows");
        let ids = batch.column(0).as_primitive::<UInt32Type>().values();
        assert!(ids.iter().copied().eq(next..next + batch.num_rows() as u32));
        assert_eq!(batch.column(1), &rows.column(1).slice(next as usize, batch.num_rows()));
        next += batch.num_rows() as u32;
    }
    assert_eq!(next, ROWS);
}

#[test]
fn an_output_that_is_dropped_between_groups_leaves_nothing() {
    let files = Files::new();
    let mut output = create(&files.path("out.parquet"), &rows());
    output.write_batch(&rows()).expect("written");
    drop(output);
    assert!(files.names().is_empty(), "{:?}", files.names());
}

#[test]
fn a_nested_column_has_a_chunk_for_each_of_its_leaves() {
    let (files, flat) = (Files::new(), rows());
    let path = files.path("nested.parquet");
    let tags = (0..ROWS as i32).map(|row| (row % 5 != 0).then(|| (0..row % 3).map(Some)));
    let tags: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(tags));
    let pair: ArrayRef = Arc::new(StructArray::from(flat.clone()));
    let columns = [("pair", pair), ("tags", tags), ("note", Arc::clone(flat.column(1)))];
    let nested = RecordBatch::try_from_iter(columns).expect("three columns");
    let mut output = create(&path, &nested);
    for start in (0..nested.num_rows()).step_by(50_000) {
        output.write_batch(&nested.slice(start, 50_000)).expect("written");
    }
    output.close(End::Complete).expect("complete");

    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).expect("there"));
    let builder = builder.expect("a Parquet file").with_batch_size(nested.num_rows());
    assert!(builder.metadata().row_groups().iter().all(|group| group.num_columns() == 4));
    let batches: Vec<_> = builder.build().expect("a reader").collect::<Result<_, _>>().expect("rows");
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), nested.num_rows());
    let mut start = 0;
    for batch in batches {
        for (read, written) in batch.columns().iter().zip(nested.columns()) {
            assert_eq!(read, &written.slice(start, batch.num_rows()));
        }
        start += batch.num_rows();
    }
}
