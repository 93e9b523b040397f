//! Reference tables from every format.

mod support;

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, StringViewArray,
    TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use support::{Files, convert, input, rows_of, skipping, table, text, trades};
use tradejoin_connectors::{
    Category, Encoding, Fields, InputOptions, Location, Output, OutputOptions, TableKind, TableOptions,
    TableReader, TableWriter, open_table,
};
use tradejoin_flow::End;
use tradejoin_model::{ChangeKind, Column, ColumnType, INTEGER_NULL};

const INSTRUMENTS: &str = "instrument_id,ticker,strike,expiry,right,desk,valid_from,deleted\n\
    1,SPY,200,2024-11-03,call,\"a, b\",2014-06-06T13:30:00Z,\n\
    2,AAPL7,0.125,20150117,P,,,false\n\
    3,,,,,,,true\n";

fn symbols(reader: &mut TableReader) -> Vec<(u32, String, ChangeKind)> {
    let lanes = rows_of(reader).expect("good rows");
    let rows = lanes.iter().flat_map(|lane| match &lane.fields[0] {
        Column::Options(symbols) => {
            assert!(lane.at_rows.iter().all(|&row| row == 0));
            let keys = lane.keys.ids().iter().map(|key| key.0);
            keys.zip(symbols).zip(&lane.kinds).map(|((key, symbol), kind)| (key, symbol.to_string(), *kind))
        }
        other => panic!("not options: {other:?}"),
    });
    rows.collect()
}

#[test]
fn instruments_are_the_same_from_every_format() {
    let files = Files::new();
    let csv = files.put("i.csv", INSTRUMENTS);
    for ending in ["csv", "jsonl", "parquet", "arrow", "csv.zst"] {
        let path = files.path(&format!("copy.{ending}"));
        convert(&csv, &path);
        let options = InputOptions { batch_len: 2, ..input(&path) };
        let mut reader = table(options, TableKind::Instruments).expect("opens");
        let names: Vec<_> = reader.columns().iter().map(|column| column.name.clone()).collect();
        assert_eq!(names[..3], ["instrument_id", "desk", "valid_from"], "{ending}");
        let rows = symbols(&mut reader);
        assert_eq!(rows[0], (1, "SPY241103C00200000".to_owned(), ChangeKind::Upsert), "{ending}");
        assert_eq!(rows[1], (2, "AAPL7150117P00000125".to_owned(), ChangeKind::Upsert), "{ending}");
        assert_eq!((rows.len(), rows[2].0, rows[2].2), (3, 3, ChangeKind::Delete), "{ending}");
    }
}

#[test]
fn typed_cells_mean_what_their_text_means() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("instrument_id", DataType::Int64, true),
        Field::new("ticker", DataType::Utf8View, true),
        Field::new("strike", DataType::Float64, true),
        Field::new("expiry", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("option_type", DataType::Utf8, true),
        Field::new("lots", DataType::Int32, true),
        Field::new("listed", DataType::Date32, true),
        Field::new("tick", DataType::Float64, true),
    ]));
    let day_us = 86_400_000_000;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2, 3])),
        Arc::new(StringViewArray::from(vec!["SPY", "SPY", "SPY"])),
        Arc::new(Float64Array::from(vec![200.125, 0.1 + 0.2, 1.0])),
        Arc::new(TimestampMicrosecondArray::from(vec![
            20_030 * day_us,
            20_030 * day_us,
            20_030 * day_us + 1,
        ])),
        Arc::new(StringArray::from(vec!["c", "c", "c"])),
        Arc::new(Int32Array::from(vec![Some(-5), None, None])),
        Arc::new(Date32Array::from(vec![Some(-1), None, None])),
        Arc::new(Float64Array::from(vec![Some(0.05), None, None])),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).expect("fits");
    let files = Files::new();
    for ending in ["parquet", "arrow"] {
        let path = files.path(&format!("i.{ending}"));
        let encoding = Encoding::of_path(&path).expect("known");
        let location = Location::Path(path.clone());
        let options = OutputOptions::new(location, encoding, Arc::clone(&schema));
        let mut output = Output::create(options).expect("made");
        output.write_batch(&batch).expect("written");
        output.close(End::Complete).expect("complete");
        let (options, bad) = skipping(&path);
        let mut reader = table(options, TableKind::Instruments).expect("opens");
        let columns: Vec<_> = reader.columns()[1..].to_vec();
        reader.load(&columns).expect("held");
        let lane = reader.read().expect("skips").expect("rows");
        assert_eq!(lane.len(), 1);
        assert!(matches!(&lane.fields[0], Column::Options(s) if s[0].to_string() == "SPY241103C00200125"));
        assert!(matches!(&lane.fields[1], Column::Integers(lots) if lots[..] == [-5]));
        assert!(matches!(&lane.fields[2], Column::Integers(days) if days[..] == [-1]));
        assert_eq!(text(&lane.fields[3], 0).as_deref(), Some("0.05"));
        let reasons: Vec<_> = bad.first().iter().map(ToString::to_string).collect();
        assert!(
            reasons[0].contains("row 2, column strike: \"0.30000000000000004\": more than 3"),
            "{reasons:?}"
        );
        assert!(reasons[1].contains("row 3, column expiry: \"2024-11-03T00:00:00.000001Z\""), "{reasons:?}");
    }
}

#[test]
fn other_columns_come_behind_field_0() {
    let files = Files::new();
    let mut reader = table(input(&files.put("i.csv", INSTRUMENTS)), TableKind::Instruments).expect("opens");
    let fields: Vec<_> = reader.columns().to_vec();
    let types: Vec<_> = fields.iter().map(|column| column.column_type).collect();
    assert_eq!(types, [ColumnType::Integer, ColumnType::Text, ColumnType::Timestamp, ColumnType::Boolean]);
    reader.load(&fields).expect("held");
    let lane = reader.read().expect("good").expect("rows");
    assert!(matches!(&lane.fields[1], Column::Integers(ids) if ids[..] == [1, 2, 3]));
    assert_eq!(
        (text(&lane.fields[2], 0), text(&lane.fields[2], 1)),
        (Some("a, b".into()), Some(String::new()))
    );
    let from = [1_402_061_400_000_000_000, INTEGER_NULL, INTEGER_NULL];
    assert!(matches!(&lane.fields[3], Column::Integers(times) if times[..] == from));
    assert!(matches!(&lane.fields[4], Column::Integers(flags) if flags[..] == [INTEGER_NULL, 0, 1]));
}

#[test]
fn a_bad_row_is_named_or_skipped() {
    let files = Files::new();
    let header = "instrument_id,ticker,strike,expiry,option_type,deleted\n";
    for (row, expected) in [
        ("x,SPY,1,2024-11-03,c,", "column instrument_id: \"x\": not an unsigned integer"),
        (
            "1,TOOLONG,1,2024-11-03,c,",
            "column ticker: \"TOOLONG\": a ticker must have 1 to 6 letters or digits",
        ),
        ("1,SPY,-1,2024-11-03,c,", "column strike: \"-1\": a strike cannot be negative"),
        (
            "1,SPY,1.0005,2024-11-03,c,",
            "column strike: \"1.0005\": more than 3 digits after the point; values are never rounded",
        ),
        ("1,SPY,,2024-11-03,c,", "column strike: no value, but the column needs one"),
        ("1,SPY,1,2024-02-30,c,", "column expiry: \"2024-02-30\": no such day in the calendar"),
        (
            "1,SPY,1,2024-11-03,x,",
            "column option_type: \"x\": not an option type; write call or put (or c or p)",
        ),
        ("1,SPY,1,2024-11-03,c,yes", "column deleted: \"yes\": not a boolean; write true or false"),
        ("1,SPY,1", "3 fields, but the header has 6"),
    ] {
        let path = files.put("i.csv", format!("{header}7,SPY,1,241103,C,\n{row}\n8,SPY,1,241103,put,\n"));
        let error = rows_of(&mut table(input(&path), TableKind::Instruments).expect("opens")).expect_err(row);
        let text = error.to_string();
        assert!(text.contains(", line 3") && text.ends_with(expected), "{text}");
        assert_eq!(error.category(), Category::Data);
        let (options, bad) = skipping(&path);
        let rows = symbols(&mut table(options, TableKind::Instruments).expect("opens"));
        assert_eq!((rows.len(), bad.count()), (2, 1), "{row}");
    }
}

#[test]
fn a_key_may_stand_once_alone_if_that_is_asked_for() {
    let files = Files::new();
    let text = "user_id,username\n1,a\n2,b\n1,c\n";
    let open = |end, strict| {
        let path = files.put("u.csv", text.replace('\n', end));
        let mut reader =
            open_table(TableOptions { input: input(&path), table: TableKind::Users.into(), strict })
                .expect("opens");
        rows_of(&mut reader)
    };
    for end in ["\n", "\r\n", "\r"] {
        assert_eq!(open(end, false).expect("the later wins")[0].len(), 3);
        let error = open(end, true).expect_err("twice").to_string();
        assert!(error.ends_with("user_id 1 stands twice, in line 2 and in line 4"), "{error}");
    }
}

#[test]
fn a_late_removal_in_json_is_seen() {
    let files = Files::new();
    let lines: String =
        (0..1_100).map(|id| format!("{{\"user_id\":{id},\"username\":\"u{id}\"}}\n")).collect();
    let path = files.put("u.jsonl", lines + "{\"user_id\":5,\"deleted\":true,\"colour\":1}\n");
    let lanes = rows_of(&mut table(input(&path), TableKind::Users).expect("opens")).expect("good");
    // Users know no such column: it is an ordinary row without a name.
    assert_eq!(lanes[0].len(), 1_101);
    let lines: String = (0..1_100)
        .map(|id| format!("{{\"instrument_id\":{id},\"ticker\":\"A\",\"strike\":1,\"expiry\":\"20241103\",\"type\":\"c\"}}\n"))
        .collect();
    let path = files.put("i.jsonl", lines + "{\"instrument_id\":5,\"deleted\":true}\n");
    let rows = symbols(&mut table(input(&path), TableKind::Instruments).expect("opens"));
    assert_eq!(rows.last().map(|row| (row.0, row.2)), Some((5, ChangeKind::Delete)));
}

#[test]
fn a_table_that_is_written_reads_back() {
    let files = Files::new();
    let mut source = table(input(&files.put("i.csv", INSTRUMENTS)), TableKind::Instruments).expect("opens");
    let lane = source.read().expect("good").expect("rows");
    for ending in ["csv", "jsonl.gz", "parquet", "arrow"] {
        let path = files.path(&format!("out.{ending}"));
        let encoding = Encoding::of_path(&path).expect("known");
        let mut writer = TableWriter::create(Location::Path(path.clone()), encoding, TableKind::Instruments)
            .expect("made");
        writer.write(&lane).expect("written");
        writer.close(End::Complete).expect("complete");
        let rows = symbols(&mut table(input(&path), TableKind::Instruments).expect("opens"));
        let expected = ["SPY241103C00200000", "AAPL7150117P00000125"];
        assert_eq!(rows.iter().map(|row| row.1.as_str()).collect::<Vec<_>>(), expected, "{ending}");
    }
    // The columns of a table are not those of trades, but pass as well.
    assert!(trades(input(&files.path("out.csv")), Fields::AsText).is_ok());
}
