//! What look-ups by time and by version read.

mod support;

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray, TimestampMillisecondArray, UInt32Array, UInt64Array};
use support::{Files, input, rows_of, skipping, table, trades};
use tradejoin_connectors::{
    Fields, GateOptions, MessagesOptions, OpenError, TableKind, TableMode, TableOptions, open_messages,
    open_table,
};
use tradejoin_model::{INTEGER_NULL, Validity};

const AS_OF: TableMode = TableMode::AsOf { tolerance: None };

fn times_of(path: &std::path::Path, fields: Fields) -> Vec<Option<i64>> {
    let mut reader = trades(input(path), fields).expect("opens");
    reader.require_times().expect("has times");
    let blocks = support::read_all(&mut reader).expect("good");
    blocks.iter().flat_map(|block| block.times.as_ref().expect("times").iter()).collect()
}

#[test]
fn times_of_trades_are_read_from_every_kind_of_field() {
    let files = Files::new();
    let csv = "timestamp,note,instrument_id\n1970-01-01T00:00:01Z,x,1\n,\"a, b\",2\n-5,,3\n";
    let csv = files.put("t.csv", csv);
    let json = "{\"instrument_id\":1,\"timestamp\":\"1970-01-01T00:00:01Z\"}\n\
        {\"instrument_id\":2}\n{\"timestamp\":-5,\"instrument_id\":3}\n";
    let json = files.put("t.jsonl", json);
    for fields in [Fields::AsText, Fields::InRecord, Fields::Typed] {
        for path in [&csv, &json] {
            assert_eq!(times_of(path, fields), [Some(1_000_000_000), None, Some(-5)], "{fields:?}");
        }
    }
}

fn write_arrow(files: &Files, times: ArrayRef) -> std::path::PathBuf {
    let ids = Arc::new(UInt32Array::from_iter_values(0..times.len() as u32)) as ArrayRef;
    put_arrow(files, vec![("instrument_id", ids), ("timestamp", times)])
}

fn put_arrow(files: &Files, columns: Vec<(&str, ArrayRef)>) -> std::path::PathBuf {
    let batch = RecordBatch::try_from_iter(columns).expect("columns");
    let mut bytes = Vec::new();
    let mut writer = arrow_ipc::writer::FileWriter::try_new(&mut bytes, &batch.schema()).expect("a writer");
    writer.write(&batch).expect("written");
    writer.finish().expect("finished");
    files.put("t.arrow", bytes)
}

#[test]
fn typed_times_have_their_unit_and_range() {
    let files = Files::new();
    let path = write_arrow(&files, Arc::new(TimestampMillisecondArray::from(vec![Some(2), None, Some(-1)])));
    assert_eq!(times_of(&path, Fields::AsText), [Some(2_000_000), None, Some(-1_000_000)]);
    let beyond = vec![i64::MAX, 1];
    let path = write_arrow(&files, Arc::new(TimestampMillisecondArray::from(beyond)));
    let (options, bad) = skipping(&path);
    let mut reader = trades(options, Fields::AsText).expect("opens");
    reader.require_times().expect("has times");
    let block = reader.read().expect("good").expect("a block");
    assert_eq!((block.times, block.trades.num_rows()), (Some(vec![1_000_000].into()), 1));
    let said = "row 1, column timestamp: \"9223372036854775807\": a time cannot be after 2262-04-11";
    assert!(bad.first()[0].to_string().contains(said));
    let path = write_arrow(&files, Arc::new(UInt64Array::from(vec![7])));
    assert_eq!(times_of(&path, Fields::AsText), [Some(7)]);
    let path = write_arrow(&files, Arc::new(arrow_array::BooleanArray::from(vec![true])));
    let error = trades(input(&path), Fields::AsText).expect("opens").require_times();
    assert!(matches!(error, Err(OpenError::TimeType { .. })), "{error:?}");
}

#[test]
fn rows_of_a_table_say_when_they_are_valid() {
    let files = Files::new();
    let rows =
        "user_id,username,valid_to,valid_from,deleted\n1,a,9,5,\n1,b,,9,\n2,c,,,\n1,,,5,true\n1,d,9,7,\n";
    let path = files.put("u.csv", rows);
    let mut reader = table(input(&path), TableKind::Users).expect("opens");
    reader.set_mode(&AS_OF).expect("has the columns");
    let lane = &rows_of(&mut reader).expect("the row that was in the way has gone")[0];
    let validities: Vec<_> = (0..lane.len()).map(|change| lane.validity(change)).collect();
    let of = |from, to| Validity { from, to };
    let expected = [of(5, 9), of(9, INTEGER_NULL), Validity::EVER, of(5, INTEGER_NULL), of(7, 9)];
    assert_eq!(validities, expected);
}

#[test]
fn times_that_do_not_fit_leave_a_row_open() {
    let files = Files::new();
    let rows = "user_id,username,valid_from,valid_to,deleted\n\
        1,a,0001-01-01T00:00:00Z,5,\n1,b,5,9999-12-31T00:00:00Z,\n1,c,9,99999999999999999999,\n\
        2,d,9999-12-31T00:00:00Z,,\n2,e,,0001-01-01T00:00:00Z,\n1,,0001-01-01T00:00:00Z,,true\n";
    let (options, bad) = skipping(&files.put("u.csv", rows));
    let mut reader = table(options, TableKind::Users).expect("opens");
    reader.set_mode(&AS_OF).expect("has the columns");
    let lane = &rows_of(&mut reader).expect("rows")[0];
    let validities: Vec<_> = (0..lane.len()).map(|change| lane.validity(change)).collect();
    let of = |from, to| Validity { from, to };
    assert_eq!(validities, [of(INTEGER_NULL, 5), of(5, INTEGER_NULL), of(9, INTEGER_NULL)]);
    let ids = Arc::new(UInt32Array::from(vec![1])) as ArrayRef;
    let names = Arc::new(StringArray::from(vec!["a"])) as ArrayRef;
    let [year_1, year_9999] = [-62_135_596_800_000, 253_402_214_400_000]
        .map(|time| Arc::new(TimestampMillisecondArray::from(vec![time])) as ArrayRef);
    let columns =
        vec![("user_id", ids), ("username", names), ("valid_from", year_1), ("valid_to", year_9999)];
    let mut reader = table(input(&put_arrow(&files, columns)), TableKind::Users).expect("opens");
    reader.set_mode(&AS_OF).expect("has the columns");
    assert_eq!(rows_of(&mut reader).expect("rows")[0].validity(0), Validity::EVER);
    // A row that never begins, one that ends before all, and a removal that would take all rows.
    let first = bad.first().iter().map(ToString::to_string).collect::<Vec<_>>();
    let late = "valid_from: \"9999-12-31T00:00:00Z\": a time cannot be after 2262-04-11T23:47:16.854775807Z";
    let early = "\"0001-01-01T00:00:00Z\": a time cannot be before 1677-09-21T00:12:43.145224193Z";
    assert!(first[0].contains(late), "{first:?}");
    assert!(first[1].contains(&format!("column valid_to: {early}")), "{first:?}");
    assert!(first[2].contains(&format!("column valid_from: {early}")), "{first:?}");
    assert_eq!(bad.count(), 3);
}

#[test]
fn strict_refuses_the_same_beginning_or_version_alone() {
    let files = Files::new();
    let path = files.put("u.csv", "user_id,username,valid_from,v\n1,a,1,1\n1,b,2,1\n1,c,2,2\n");
    let read = |mode: &TableMode| {
        let options = TableOptions { input: input(&path), table: TableKind::Users.into(), strict: true };
        let mut reader = open_table(options).expect("opens");
        reader.set_mode(mode).expect("has the columns");
        rows_of(&mut reader).expect_err("twice").to_string()
    };
    let version = TableMode::LatestVersion { column: "v".to_owned() };
    for (mode, expected) in [(&AS_OF, "line 3 and in line 4"), (&version, "line 2 and in line 3")] {
        let error = read(mode);
        assert!(error.ends_with(expected), "{error}");
    }
}

#[test]
fn the_first_lines_must_have_what_a_mode_needs() {
    let files = Files::new();
    let row = "{\"instrument_id\":1,\"ticker\":\"A\",\"strike\":1,\"expiry\":\"20241103\",\"type\":\"c\"}\n";
    let path = files.put("i.jsonl", row);
    let mut reader = table(input(&path), TableKind::Instruments).expect("opens");
    let error = reader.set_mode(&AS_OF).expect_err("no valid_from").to_string();
    assert!(error.contains("i.jsonl: no column valid_from"), "{error}");
    assert!(error.ends_with("the columns are: instrument_id, ticker, strike, expiry, type"), "{error}");
    let path = files.put("empty.jsonl", "");
    assert!(table(input(&path), TableKind::Instruments).expect("opens").set_mode(&AS_OF).is_ok());
}

#[test]
fn messages_have_columns_that_their_table_does_not_know() {
    let files = Files::new();
    let path = files.put(
        "s.jsonl",
        "{\"type\":\"user\",\"user_id\":1,\"username\":\"a\",\"valid_from\":3,\"seq\":8}\n\
        {\"type\":\"trade\",\"instrument_id\":1,\"user_id\":1,\"timestamp\":4}\n",
    );
    let options = MessagesOptions {
        input: input(&path),
        limit: None,
        tables: Some(vec![TableKind::Instruments, TableKind::Users]),
        fields: Fields::AsText,
        gates: GateOptions::default(),
    };
    let read = |mode: &TableMode| {
        let mut reader = open_messages(options.clone()).expect("opens");
        reader.set_mode(1, mode).expect("trades have times");
        reader.read().expect("good").expect("a block")
    };
    let messages = read(&AS_OF);
    assert_eq!(messages.lanes[1].validity(0), Validity { from: 3, to: INTEGER_NULL });
    assert_eq!(messages.times, Some(vec![4].into()));
    let messages = read(&TableMode::LatestVersion { column: "seq".to_owned() });
    assert_eq!((messages.lanes[1].version(0), &messages.times), (8, &None));
}
