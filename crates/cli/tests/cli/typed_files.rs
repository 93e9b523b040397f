//! What Parquet and Arrow files of other programs may hold.

use std::fs::File;
use std::sync::Arc;

use arrow_array::builder::{
    Int32Builder, ListBuilder, MapBuilder, StringBuilder, TimestampSecondBuilder, UnionBuilder,
};
use arrow_array::types::{Int32Type as Int32, IntervalDayTimeType, IntervalMonthDayNanoType};
use arrow_array::{
    Array as _, ArrayRef, BinaryArray, Date64Array, DurationSecondArray, FixedSizeListArray,
    IntervalDayTimeArray, IntervalMonthDayNanoArray, RecordBatch, StringArray, StructArray,
    Time32SecondArray, TimestampMicrosecondArray, TimestampSecondArray, UInt32Array,
};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::data_type::{FixedLenByteArray, FixedLenByteArrayType, Int32Type, Int96, Int96Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::support::Folder;

const RUN: &str = "run --instruments i.csv -q --trades";

/// A folder with contract 1.
fn folder() -> Folder {
    let folder = Folder::empty();
    folder.put("i.csv", "instrument_id,ticker,strike,expiry,option_type\n1,SPY,200,2024-11-03,call\n");
    folder
}

fn put(folder: &Folder, name: &str, batch: &RecordBatch) {
    let file = File::create(folder.path(name)).expect("a file");
    if name.ends_with(".arrow") {
        let mut writer = FileWriter::try_new(file, &batch.schema()).expect("a header");
        writer.write(batch).and_then(|()| writer.finish()).expect("written");
    } else {
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a header");
        writer.write(batch).expect("written");
        writer.close().expect("complete");
    }
}

/// Trades of contract 1 with one column more.
fn trades(folder: &Folder, name: &str, field: Field, values: ArrayRef) {
    let ids: ArrayRef = Arc::new(UInt32Array::from(vec![1; values.len()]));
    let schema = Schema::new(vec![Field::new("instrument_id", DataType::UInt32, false), field]);
    put(folder, name, &RecordBatch::try_new(Arc::new(schema), vec![ids, values]).expect("two columns"));
}

fn marked(field: Field) -> Field {
    field.with_metadata([("tradejoin.encoding".to_owned(), "json".to_owned())])
}

#[test]
fn a_file_that_calls_its_texts_json_gets_no_bytes_through() {
    let folder = folder();
    let text = || -> ArrayRef { Arc::new(StringArray::from(vec!["}{\"x\":1"])) };
    let inner = Arc::new(marked(Field::new("a", DataType::Utf8, true)));
    let nested = Arc::new(StructArray::from(vec![(Arc::clone(&inner), text())]));
    for name in ["t.parquet", "t.arrow"] {
        trades(&folder, name, marked(Field::new("x", DataType::Utf8, true)), text());
        folder.ok(&format!("{RUN} {name} --output o.jsonl --columns ticker"));
        let want = "{\"instrument_id\":1,\"x\":\"}{\\\"x\\\":1\",\"ticker\":\"SPY\"}\n";
        assert_eq!(folder.read("o.jsonl"), want, "{name}");
        let ty = DataType::Struct(vec![Arc::clone(&inner)].into());
        trades(&folder, name, marked(Field::new("x", ty, true)), nested.clone());
        folder.ok(&format!("{RUN} {name} --output o.jsonl --columns ticker"));
        let want = "{\"instrument_id\":1,\"x\":{\"a\":\"}{\\\"x\\\":1\"},\"ticker\":\"SPY\"}\n";
        assert_eq!(folder.read("o.jsonl"), want, "{name}");
        trades(&folder, name, marked(Field::new("x", DataType::Utf8, true)), text());
        folder.put("k.csv", "instrument_id\n1\n");
        folder.ok(&format!(
            "run -q --trades k.csv --table t={name},key=instrument_id --columns x --output o.jsonl"
        ));
        let want = "{\"instrument_id\":1,\"x\":\"}{\\\"x\\\":1\"}\n";
        assert_eq!(folder.read("o.jsonl"), want, "{name}");
    }
}

#[test]
fn a_file_that_calls_its_bytes_records_gets_none_through() {
    let folder = folder();
    let records: ArrayRef = Arc::new(BinaryArray::from(vec![&b"not,a,\"record\n"[..]]));
    let ids: ArrayRef = Arc::new(UInt32Array::from(vec![1]));
    for (name, encoding) in [("t.parquet", "csv"), ("t.arrow", "csv"), ("t.arrow", "json")] {
        let fields = vec![
            Field::new("x", DataType::Binary, false),
            Field::new("instrument_id", DataType::UInt32, false),
        ];
        let marks = [("tradejoin.records".to_owned(), encoding.to_owned())];
        let schema = Arc::new(Schema::new_with_metadata(fields, marks));
        let columns = vec![Arc::clone(&records), Arc::clone(&ids)];
        put(&folder, name, &RecordBatch::try_new(schema, columns).expect("two columns"));
        folder.ok(&format!("{RUN} {name} --output o.csv --columns ticker"));
        assert_eq!(folder.read("o.csv"), "x,instrument_id,ticker\n6e6f742c612c227265636f72640a,1,SPY\n");
        folder.ok(&format!("{RUN} {name} --output o.jsonl --columns ticker"));
        let want = "{\"x\":\"6e6f742c612c227265636f72640a\",\"instrument_id\":1,\"ticker\":\"SPY\"}\n";
        assert_eq!(folder.read("o.jsonl"), want);
    }
}

/// A list of one time in a zone for each trade.
fn zoned_lists(zone: &str) -> (Field, ArrayRef) {
    let times = Arc::new(TimestampMicrosecondArray::from(vec![1_720_000_000_000_000]).with_timezone(zone));
    let ty = DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into()));
    let item = Arc::new(Field::new("item", ty, true));
    let lists = FixedSizeListArray::try_new(Arc::clone(&item), 1, times, None).expect("a list");
    (Field::new("x", DataType::FixedSizeList(item, 1), true), Arc::new(lists))
}

#[test]
fn times_in_lists_have_zones_of_any_name() {
    let folder = folder();
    for (zone, text) in [("UTC", "2024-07-03T09:46:40Z"), ("Europe/Berlin", "2024-07-03T11:46:40+02:00")] {
        let (field, lists) = zoned_lists(zone);
        for name in ["t.parquet", "t.arrow"] {
            trades(&folder, name, field.clone(), Arc::clone(&lists));
            for output in ["o.parquet", "o.arrow", "o.csv", "o.jsonl"] {
                folder.ok(&format!(
                    "run --instruments i.csv --trades {name} --output {output} --columns ticker"
                ));
            }
            let want = format!("{{\"instrument_id\":1,\"x\":[\"{text}\"],\"ticker\":\"SPY\"}}\n");
            assert_eq!(folder.read("o.jsonl"), want);
            folder.put("none.csv", "instrument_id,ticker,strike,expiry,option_type\n");
            folder.ok(&format!(
                "run -q --instruments none.csv --trades {name} --on-miss instruments=dead-letter --dead-letters d.jsonl"
            ));
            assert!(
                folder.read("d.jsonl").contains(&format!("\"x\":[\"{text}\"]")),
                "{}",
                folder.read("d.jsonl")
            );
        }
    }
}

#[test]
fn a_summary_shows_what_it_can_and_ends_no_run() {
    let folder = folder();
    let (field, lists) = zoned_lists("Atlantis/Poseidon");
    trades(&folder, "t.arrow", field, lists);
    let shown = folder.run("run --instruments i.csv --trades t.arrow --output o.arrow");
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    assert!((shown.stdout + &shown.stderr).contains("(cannot be shown)"));
}

/// Writes columns as other programs do, without a word of Arrow. Each is a leaf that is
/// there in every row of contract 1.
fn put_parquet<T: parquet::data_type::DataType>(
    folder: &Folder,
    column: &str,
    values: &[T::T],
    def: i16,
    reps: Option<&[i16]>,
) {
    let schema = format!("message trades {{ required int32 instrument_id; {column} }}");
    let schema = Arc::new(parse_message_type(&schema).expect("a schema"));
    let file = File::create(folder.path("t.parquet")).expect("a file");
    let mut writer = SerializedFileWriter::new(file, schema, Default::default()).expect("a header");
    let mut group = writer.next_row_group().expect("a group");
    let rows = reps.map_or(values.len(), |reps| reps.iter().filter(|rep| **rep == 0).count());
    let mut ids = group.next_column().expect("a column").expect("a column");
    ids.typed::<Int32Type>().write_batch(&vec![1; rows], None, None).expect("written");
    ids.close().expect("complete");
    let mut column = group.next_column().expect("a column").expect("a column");
    let defs = vec![def; values.len()];
    column.typed::<T>().write_batch(values, Some(&defs), reps).expect("written");
    column.close().expect("complete");
    group.close().expect("complete");
    writer.close().expect("complete");
}

/// So many days since 1970, and so many nanoseconds.
fn int96(days: i64, nanoseconds: u64) -> Int96 {
    let day = u32::try_from(days + 2_440_588).expect("a day");
    let mut value = Int96::new();
    value.set_data(nanoseconds as u32, (nanoseconds >> 32) as u32, day);
    value
}

#[test]
fn the_oldest_timestamps_are_exact_or_refused() {
    let folder = folder();
    let good = [int96(0, 1), int96(20_000, 86_399_999_999_999), int96(-1, 500_000_000)];
    put_parquet::<Int96Type>(&folder, "optional int96 at;", &good, 1, None);
    folder.ok(&format!("{RUN} t.parquet --output o.csv --columns ticker"));
    let want = "instrument_id,at,ticker\n1,1970-01-01T00:00:00.000000001Z,SPY\n\
        1,2024-10-04T23:59:59.999999999Z,SPY\n1,1969-12-31T00:00:00.5Z,SPY\n";
    assert_eq!(folder.read("o.csv"), want);
    // The last day of 9999, the first of 1, and the second behind the last that there is.
    for bad in [int96(2_932_896, 0), int96(-719_162, 0), int96(106_751, 85_637_000_000_000)] {
        let column = "optional group list (LIST) { repeated group list { optional int96 element; } }";
        for (column, def, reps) in [("optional int96 at;", 1, None), (column, 3, Some(&[0_i16, 1][..]))] {
            put_parquet::<Int96Type>(&folder, column, &[good[0], bad], def, reps);
            let name = if reps.is_some() { "list" } else { "at" };
            let error = folder.fails(65, &format!("{RUN} t.parquet --output o.parquet"));
            assert!(error.contains(&format!("t.parquet: column {name} has a timestamp (INT96)")), "{error}");
            let table = "run -q --trades k.csv --table t=t.parquet,key=instrument_id --output o.csv";
            folder.put("k.csv", "instrument_id\n1\n");
            assert!(folder.fails(65, table).contains("INT96"));
        }
    }
}

#[test]
fn times_that_have_no_text_are_errors_and_not_the_text_of_one() {
    let folder = folder();
    let list = |values: ArrayRef| -> ArrayRef {
        let item = Arc::new(Field::new("item", values.data_type().clone(), true));
        Arc::new(FixedSizeListArray::new(item, 1, values, None))
    };
    let columns: [ArrayRef; 5] = [
        Arc::new(Time32SecondArray::from(vec![Some(1), None, Some(86_400)])),
        Arc::new(DurationSecondArray::from(vec![Some(1), None, Some(1 << 62)])),
        Arc::new(Date64Array::from(vec![Some(1), None, Some(i64::MIN)])),
        list(Arc::new(TimestampSecondArray::from(vec![Some(1), None, Some(i64::MAX)]))),
        list(Arc::new(DurationSecondArray::from(vec![Some(1), None, Some(i64::MIN)]))),
    ];
    for values in columns {
        let field = Field::new("x", values.data_type().clone(), true);
        trades(&folder, "t.arrow", field.clone(), Arc::clone(&values));
        for output in ["o.csv", "o.jsonl"] {
            let error = folder.fails(74, &format!("{RUN} t.arrow --output {output}"));
            assert!(error.contains("column x: ") && error.contains(" is beyond what "), "{error}");
            let table = "run -q --trades k.csv --table t=t.arrow,key=instrument_id --output";
            folder.put("k.csv", "instrument_id\n1\n");
            folder.fails(74, &format!("{table} {output}"));
            assert!(!folder.names().contains(&output.to_owned()));
        }
        // They are shown as a note, and pass where types are kept.
        let shown = folder.run("run --instruments i.csv --trades t.arrow --output o.arrow");
        assert_eq!(shown.code, 0, "{}", shown.stderr);
        assert!((shown.stdout + &shown.stderr).contains("(cannot be shown)"));
        trades(&folder, "t.arrow", field, values.slice(0, 2));
        folder.ok(&format!("{RUN} t.arrow --output o.csv"));
        std::fs::remove_file(folder.path("o.csv")).expect("it is there");
        folder.ok(&format!("{RUN} t.arrow --output o.jsonl"));
        std::fs::remove_file(folder.path("o.jsonl")).expect("it is there");
    }
}

#[test]
fn what_a_list_that_is_null_holds_is_no_error() {
    let folder = folder();
    let mut lists = ListBuilder::new(TimestampSecondBuilder::new());
    lists.values().append_value(i64::MAX);
    lists.append(false);
    lists.values().append_value(1);
    lists.append(true);
    let lists = lists.finish();
    trades(&folder, "t.arrow", Field::new("x", lists.data_type().clone(), true), Arc::new(lists));
    folder.ok(&format!("{RUN} t.arrow --output o.jsonl --columns ticker"));
    assert!(folder.read("o.jsonl").ends_with("\"x\":[\"1970-01-01T00:00:01\"],\"ticker\":\"SPY\"}\n"));
}

#[test]
fn intervals_are_not_read_without_their_months() {
    let folder = folder();
    // Two months and three days.
    let bytes: Vec<u8> = [2_u32, 3, 0].into_iter().flat_map(u32::to_le_bytes).collect();
    let values = [FixedLenByteArray::from(bytes)];
    let column = "optional fixed_len_byte_array(12) span (INTERVAL);";
    put_parquet::<FixedLenByteArrayType>(&folder, column, &values, 1, None);
    let error = folder.fails(65, &format!("{RUN} t.parquet --output o.parquet"));
    assert!(
        error.contains("t.parquet: column span has the type INTERVAL") && error.contains("leave it out"),
        "{error}"
    );
    folder.put("k.csv", "instrument_id\n1\n");
    let error =
        folder.fails(65, "run -q --trades k.csv --table t=t.parquet,key=instrument_id --output o.csv");
    assert!(error.contains("column span has the type INTERVAL"), "{error}");
    // What Arrow itself has written of a day comes back as it was.
    let days: ArrayRef = Arc::new(IntervalDayTimeArray::from(vec![IntervalDayTimeType::make_value(3, 4)]));
    trades(&folder, "t.parquet", Field::new("span", days.data_type().clone(), true), days);
    folder.ok(&format!("{RUN} t.parquet --output o.csv --columns ticker"));
    assert_eq!(folder.read("o.csv"), "instrument_id,span,ticker\n1,3 days 0.004 secs,SPY\n");
}

#[test]
fn what_a_format_has_no_place_for_is_told_before_anything_is_read() {
    let folder = folder();
    let mut unions = UnionBuilder::new_sparse();
    unions.append::<Int32>("a", 1).expect("a value");
    let unions: ArrayRef = Arc::new(unions.build().expect("a union"));
    let mut maps = MapBuilder::new(None, Int32Builder::new(), StringBuilder::new());
    maps.keys().append_value(1);
    maps.values().append_value("a");
    maps.append(true).expect("a map");
    let maps: ArrayRef = Arc::new(maps.finish());
    let spans: ArrayRef =
        Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNanoType::make_value(1, 2, 3)]));
    let cases = [(&unions, "o.parquet"), (&spans, "o.parquet"), (&maps, "o.jsonl"), (&unions, "o.jsonl")];
    for (values, output) in cases {
        let field = Field::new("x", values.data_type().clone(), true);
        trades(&folder, "t.arrow", field, Arc::clone(values));
        let error = folder.fails(65, &format!("{RUN} t.arrow --output {output}"));
        assert!(
            error.contains("column x has the type ") && error.contains("choose another format"),
            "{error}"
        );
        assert!(!error.contains("panicked"), "{error}");
        folder.ok(&format!("{RUN} t.arrow --output o.arrow"));
        folder.ok(&format!("{RUN} t.arrow --output o.csv"));
    }
    // Trades that are put aside are written in full, bad records as far as it goes.
    trades(&folder, "t.arrow", Field::new("x", maps.data_type().clone(), true), Arc::clone(&maps));
    let letters = format!("{RUN} t.arrow --output o.csv --dead-letters d.jsonl");
    folder.ok(&format!("{letters} --on-bad-record dead-letter"));
    let error = folder.fails(65, &format!("{letters} --on-miss instruments=dead-letter"));
    assert!(error.contains("d.jsonl") && error.contains("column x has the type Map"), "{error}");
    // What a table adds, too.
    trades(&folder, "t.arrow", Field::new("x", maps.data_type().clone(), true), maps);
    folder.put("k.csv", "instrument_id\n1\n");
    let error =
        folder.fails(65, "run -q --trades k.csv --table t=t.arrow,key=instrument_id --output o.jsonl");
    assert!(error.contains("column x has the type Map"), "{error}");
}

#[test]
fn a_list_that_is_null_is_there_in_json_so_that_it_can_be_read_back() {
    let folder = folder();
    let mut lists = ListBuilder::new(Int32Builder::new());
    (0..1_024).for_each(|_| lists.append_null());
    lists.append_value([Some(7)]);
    let lists = lists.finish();
    trades(&folder, "t.parquet", Field::new("x", lists.data_type().clone(), true), Arc::new(lists));
    folder.ok(&format!("{RUN} t.parquet --output o.jsonl --columns ticker"));
    assert!(folder.read("o.jsonl").starts_with("{\"instrument_id\":1,\"x\":null,\"ticker\":\"SPY\"}\n"));
    folder.ok(&format!("{RUN} o.jsonl --output o.csv --columns strike"));
    assert!(folder.read("o.csv").ends_with("\n1,[7],SPY,200\n"), "{}", folder.read("o.csv"));
}

#[test]
fn nested_values_are_json_in_csv_so_that_one_can_tell_what_they_hold() {
    let folder = folder();
    folder.put("k.csv", "instrument_id\n1\n");
    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.append_value([Some("x"), Some("y, \"z\"")]);
    lists.append_null();
    lists.append_value([Some("x, y"), None]);
    let lists: ArrayRef = Arc::new(lists.finish());
    let name = Arc::new(Field::new("a", lists.data_type().clone(), true));
    let pairs: ArrayRef = Arc::new(StructArray::from(vec![(name, Arc::clone(&lists))]));
    let cells = [
        (lists, r#""[""x"",""y, \""z\""""]""#, "", r#""[""x, y"",null]""#),
        (pairs, r#""{""a"":[""x"",""y, \""z\""""]}""#, r#""{""a"":null}""#, r#""{""a"":[""x, y"",null]}""#),
    ];
    for (values, first, second, third) in cells {
        for file in ["t.parquet", "t.arrow"] {
            let field = Field::new("x", values.data_type().clone(), true);
            trades(&folder, file, field.clone(), Arc::clone(&values));
            folder.ok(&format!("{RUN} {file} --output o.csv --columns ticker"));
            let want = format!("instrument_id,x,ticker\n1,{first},SPY\n1,{second},SPY\n1,{third},SPY\n");
            assert_eq!(folder.read("o.csv"), want, "{file}");
            // What a table adds, too.
            trades(&folder, file, field, values.slice(0, 1));
            folder.ok(&format!("run -q --trades k.csv --table t={file},key=instrument_id --output o.csv"));
            assert_eq!(folder.read("o.csv"), format!("instrument_id,x\n1,{first}\n"), "{file}");
            folder.ok(&format!("verify --trades k.csv --table t={file},key=instrument_id o.csv"));
        }
    }
}
