//! A Parquet file of several row groups, which threads encode side by side.

mod support;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::UInt32Type;
use arrow_array::{ArrayRef, RecordBatch, StringArray, UInt32Array};
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

fn create(path: &Path) -> Output {
    let (location, encoding) =
        (Location::Path(path.to_owned()), Encoding::of_path(path).expect("a known ending"));
    let options = OutputOptions { location, encoding, schema: rows().schema(), added: Vec::new() };
    Output::create(options).expect("created")
}

#[test]
fn the_bytes_do_not_depend_on_how_rows_are_cut() {
    let (files, rows) = (Files::new(), rows());
    let mut contents = Vec::new();
    for batch_len in [1_000, 8_192, 65_536, 65_537, 300_000] {
        let path = files.path(&format!("{batch_len}.parquet"));
        let mut output = create(&path);
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
    let mut output = create(&files.path("out.parquet"));
    output.write_batch(&rows()).expect("written");
    drop(output);
    assert!(files.names().is_empty(), "{:?}", files.names());
}
