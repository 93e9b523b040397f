//! Parquet files whose columns repeat, do not, or do so only at first: what is
//! read back, and how it was encoded.

mod support;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int8Array, Int64Array,
    RecordBatch, StringArray, StructArray, TimestampNanosecondArray, UInt32Array, UInt64Array,
    new_null_array,
};
use arrow_schema::DataType;
use arrow_select::concat::concat_batches;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Encoding;
use support::Files;
use tradejoin_connectors::{Encoding as Written, Location, Output, OutputOptions};
use tradejoin_flow::End;

/// More than a row group.
const ROWS: usize = 70_000;

/// A column of each type, the value of a row made by `number`; every eleventh is
/// null where `nulls` says so.
fn columns(nulls: bool, number: impl Fn(usize) -> i64) -> Vec<(&'static str, ArrayRef)> {
    let numbers = || (0..ROWS).map(|row| (!nulls || row % 11 != 0).then(|| number(row)));
    let text = |n: i64| format!("symbol {n}");
    let decimal = |precision, factor: i128| -> ArrayRef {
        let values = Decimal128Array::from_iter(numbers().map(|n| n.map(|n| i128::from(n) * factor)));
        Arc::new(values.with_precision_and_scale(precision, 3).expect("a valid scale"))
    };
    let flat: Vec<(&str, ArrayRef)> = vec![
        ("u64", Arc::new(UInt64Array::from_iter(numbers().map(|n| n.map(|n| u64::MAX - n as u64))))),
        ("u32", Arc::new(UInt32Array::from_iter(numbers().map(|n| n.map(|n| u32::MAX - n as u32))))),
        ("i64", Arc::new(Int64Array::from_iter(numbers().map(|n| n.map(|n| -n))))),
        ("i8", Arc::new(Int8Array::from_iter(numbers().map(|n| n.map(|n| n as i8))))),
        ("time", Arc::new(TimestampNanosecondArray::from_iter(numbers()).with_timezone("UTC"))),
        ("day", Arc::new(Date32Array::from_iter(numbers().map(|n| n.map(|n| n as i32))))),
        ("real", Arc::new(Float64Array::from_iter(numbers().map(|n| n.map(|n| n as f64 / 8.0))))),
        ("flag", Arc::new(BooleanArray::from_iter(numbers().map(|n| n.map(|n| n % 2 == 0))))),
        ("strike", decimal(8, 1)),
        ("price", decimal(38, 10_i128.pow(18))),
        ("text", Arc::new(StringArray::from_iter(numbers().map(|n| n.map(text))))),
        ("bytes", Arc::new(BinaryArray::from_iter(numbers().map(|n| n.map(|n| n.to_be_bytes()))))),
    ];
    let pair = RecordBatch::try_from_iter_with_nullable(
        [&flat[0], &flat[10]].map(|(name, array)| (*name, Arc::clone(array), true)),
    );
    let pair: ArrayRef = Arc::new(StructArray::from(pair.expect("two columns")));
    flat.into_iter().chain([("pair", pair), ("nothing", new_null_array(&DataType::Utf8, ROWS))]).collect()
}

fn write(path: &Path, rows: &RecordBatch, batch_len: usize) {
    let encoding = Written::of_path(path).expect("a known ending");
    let location = Location::Path(path.to_owned());
    let options = OutputOptions::new(location, encoding, rows.schema());
    let mut output = Output::create(options).expect("created");
    for start in (0..rows.num_rows()).step_by(batch_len) {
        let len = batch_len.min(rows.num_rows() - start);
        output.write_batch(&rows.slice(start, len)).expect("written");
    }
    output.close(End::Complete).expect("complete");
}

/// Writes the columns in batches of several lengths, compares the files, reads
/// one back, and says of each flat column whether it has a dictionary and what
/// else its last group is encoded with.
fn check(columns: Vec<(&'static str, ArrayRef)>) -> Vec<(String, bool, Vec<Encoding>)> {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    let rows = RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length");
    let files = Files::new();
    let path = files.path("out.parquet");
    write(&path, &rows, 4_999);
    for batch_len in [1_013, 65_536, ROWS] {
        let other = files.path(&format!("{batch_len}.parquet"));
        write(&other, &rows, batch_len);
        assert!(std::fs::read(&other).expect("there") == std::fs::read(&path).expect("there"));
    }

    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).expect("there"));
    let reader = reader.expect("a Parquet file");
    let group = reader.metadata().row_groups().last().expect("groups").clone();
    assert_eq!(reader.schema().fields(), rows.schema().fields());
    let batches: Vec<_> = reader.build().expect("a reader").collect::<Result<_, _>>().expect("rows");
    assert_eq!(concat_batches(&rows.schema(), &batches).expect("one schema"), rows);

    let flat = group.columns().iter().filter(|chunk| chunk.column_path().parts().len() == 1);
    flat.map(|chunk| {
        let has_dictionary = chunk.dictionary_page_offset().is_some();
        (chunk.column_path().string(), has_dictionary, chunk.encodings().collect())
    })
    .collect()
}

/// The columns that have a choice, and what they have without a dictionary.
const CHOICES: [(&str, Encoding); 10] = [
    ("u64", Encoding::DELTA_BINARY_PACKED),
    ("u32", Encoding::DELTA_BINARY_PACKED),
    ("i64", Encoding::DELTA_BINARY_PACKED),
    ("time", Encoding::DELTA_BINARY_PACKED),
    ("day", Encoding::DELTA_BINARY_PACKED),
    ("real", Encoding::PLAIN),
    ("strike", Encoding::PLAIN),
    ("price", Encoding::PLAIN),
    ("text", Encoding::DELTA_LENGTH_BYTE_ARRAY),
    ("bytes", Encoding::DELTA_LENGTH_BYTE_ARRAY),
];

fn assert_choices(found: &[(String, bool, Vec<Encoding>)], dictionaries: bool) {
    for (name, direct) in CHOICES {
        let (_, has_dictionary, encodings) =
            found.iter().find(|column| column.0 == name).expect("a flat column");
        assert_eq!(*has_dictionary, dictionaries, "{name}");
        assert!(dictionaries || encodings.contains(&direct), "{name}: {encodings:?}");
    }
}

#[test]
fn values_that_hardly_repeat_have_no_dictionary() {
    for nulls in [false, true] {
        assert_choices(&check(columns(nulls, |row| row as i64 * 7_919 % 99_991)), false);
    }
}

#[test]
fn values_that_repeat_have_a_dictionary() {
    for nulls in [false, true] {
        assert_choices(&check(columns(nulls, |row| row as i64 % 1_000)), true);
    }
}

#[test]
fn the_first_group_decides() {
    // The second group of a file begins at row 65,536.
    assert_choices(&check(columns(true, |row| (row as i64 - 65_536).max(0))), true);
    assert_choices(&check(columns(true, |row| (row as i64).min(65_536))), false);
}

#[test]
fn columns_of_nulls_come_back() {
    let nulls = columns(true, |_| 0)
        .into_iter()
        .map(|(name, array)| (name, new_null_array(array.data_type(), array.len())));
    check(nulls.collect());
}
