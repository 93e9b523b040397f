//! Tables of any kind: their keys in every format, the types of what they add, and
//! what bad ones are told.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{Int32Builder, ListBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float64Array,
    Int8Array, Int16Array, Int64Array, LargeStringArray, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray, UInt64Array, types::Int8Type,
};
use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{DataType, Field};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tradejoin_connectors::{
    AnyTable, ColumnChoice, Fields, InputOptions, KeyPair, OpenError, ReadError, Selection, TableColumns,
    TableDefinition, TableMode, TableOptions, TableReader, TradeReader, TradesOptions, open_table,
    open_trades, select_outputs,
};
use tradejoin_flow::End;
use tradejoin_model::{ChangeLane, Column, Keys, TextColumn};

use support::{Files, content, create, enriched, input, read_all, rows_of, skipping};

/// A table whose key is of these columns, each `NAME` or `TRADES@TABLE`; of the others
/// `NAME?` may be missing.
fn any(key: &[&str], columns: &[&str]) -> TableDefinition {
    let pair = |text: &&str| {
        let (trades, table) = text.split_once('@').unwrap_or((text, text));
        KeyPair { trades: trades.to_owned(), table: table.to_owned() }
    };
    let choice = |text: &&str| {
        let name = text.trim_end_matches('?').to_owned();
        ColumnChoice { column: name.clone(), name, is_optional: text.ends_with('?') }
    };
    let (key, columns) = (key.iter().map(pair).collect(), columns.iter().map(choice).collect());
    AnyTable { name: "any".to_owned(), key, columns }.into()
}

fn open(input: InputOptions, table: &TableDefinition) -> Result<TableReader, OpenError> {
    open_table(TableOptions { input, table: table.clone(), strict: false })
}

fn open_keyed(path: &Path, table: &TableDefinition, fields: Fields) -> Result<TradeReader, OpenError> {
    let key_columns = vec![table.trade_key()];
    open_trades(TradesOptions { input: input(path), limit: None, key_columns, fields })
}

type Texts = Vec<Option<Vec<u8>>>;

fn texts(column: &TextColumn) -> Texts {
    (0..column.len()).map(|row| column.get(row).map(<[u8]>::to_vec)).collect()
}

/// The keys of a file as trades, and as a table, of which rows without a key are
/// skipped.
fn keys(path: &Path, table: &TableDefinition) -> (Texts, Texts) {
    let mut trades = open_keyed(path, table, Fields::AsText).expect("trades");
    let messages = read_all(&mut trades).expect("good trades");
    let of_trades = messages.iter().flat_map(|messages| match &messages.keys[0] {
        Keys::Texts(keys) => texts(keys),
        Keys::Ids(_) => panic!("keys are texts"),
    });
    let of_trades = of_trades.collect();
    let (options, _) = skipping(path);
    let lanes = rows_of(&mut open(options, table).expect("a table")).expect("good rows");
    let of_table = lanes.iter().flat_map(|lane| texts(lane.keys.texts().expect("texts"))).collect();
    (of_trades, of_table)
}

fn write(files: &Files, name: &str, columns: &[(&str, ArrayRef)]) -> PathBuf {
    let path = files.path(name);
    let batch = RecordBatch::try_from_iter_with_nullable(columns.iter().map(|(n, c)| (*n, c.clone(), true)));
    let batch = batch.expect("columns of one length");
    let file = std::fs::File::create(&path).expect("made");
    if name.ends_with("parquet") {
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
        writer.write(&batch).expect("written");
        writer.close().expect("closed");
    } else {
        let mut writer = FileWriter::try_new(file, &batch.schema()).expect("a writer");
        writer.write(&batch).expect("written");
        writer.finish().expect("closed");
    }
    path
}

#[test]
fn a_key_is_the_same_in_every_format() {
    let files = Files::new();
    let venues = ["XNYS", "", "a \"quoted\", one", "a venue with a long name, é"];
    let dictionary: DictionaryArray<Int8Type> = venues.iter().map(|v| Some(*v)).collect();
    let numbers: ArrayRef = Arc::new(Int16Array::from(vec![7, -1, 8, 9]));
    let typed = [("venue", Arc::new(dictionary) as ArrayRef), ("n", numbers)];
    let large: ArrayRef = Arc::new(LargeStringArray::from(venues.to_vec()));
    let paths = [
        files.put(
            "v.csv",
            "venue,n\nXNYS,7\n\"\",-1\n\"a \"\"quoted\"\", one\",8\n\"a venue with a long name, é\",9\n",
        ),
        files.put(
            "v.jsonl",
            "{\"venue\":\"XNYS\",\"n\":7}\n{\"venue\":null,\"n\":-1}\n\
             {\"venue\":\"a \\\"quoted\\\", one\",\"n\":\"8\"}\n{\"n\":9,\"venue\":\"a venue with a long name, \\u00e9\"}\n",
        ),
        write(&files, "v.parquet", &typed),
        write(&files, "v.arrow", &[("venue", large), typed[1].clone()]),
    ];
    let some = |text: &str| Some(text.as_bytes().to_vec());
    let expected: Vec<_> = venues.iter().map(|venue| some(venue).filter(|key| !key.is_empty())).collect();
    for path in &paths {
        let (of_trades, of_table) = keys(path, &any(&["venue"], &[]));
        assert_eq!(of_trades, expected, "{}", path.display());
        assert_eq!(of_table, expected.iter().filter(|key| key.is_some()).cloned().collect::<Vec<_>>());
        let (of_trades, of_table) = keys(path, &any(&["n"], &[]));
        assert_eq!(of_trades, ["7", "-1", "8", "9"].map(some), "{}", path.display());
        assert_eq!(of_table, of_trades);
    }
    let both: Vec<_> = paths.iter().map(|path| keys(path, &any(&["venue", "n"], &[]))).collect();
    assert_eq!(both[0].0.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true, true]);
    assert!(both.iter().all(|keys| *keys == both[0]) && both[0].1.len() == 3);
    assert_ne!(keys(&paths[0], &any(&["n", "venue"], &[])).0, both[0].0);
}

/// A column of each type, with two values and a null.
fn typed_columns() -> Vec<(&'static str, ArrayRef)> {
    let mut lists = ListBuilder::new(Int32Builder::new());
    lists.append_value([Some(1), None]);
    lists.append_null();
    lists.append_value([]);
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
    let structs = StructArray::from(vec![(Arc::new(Field::new("n", DataType::Int64, true)), numbers)]);
    let dictionary: DictionaryArray<Int8Type> = vec![Some("x"), None, Some("y")].into_iter().collect();
    vec![
        ("small", Arc::new(Int8Array::from(vec![Some(-1), None, Some(i8::MIN)]))),
        ("long", Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(7)]))),
        ("unsigned", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(0)]))),
        ("float", Arc::new(Float64Array::from(vec![Some(0.1), None, Some(-2.5)]))),
        ("flag", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("day", Arc::new(Date32Array::from(vec![Some(20_030), None, Some(-1)]))),
        (
            "time",
            Arc::new(TimestampMicrosecondArray::from(vec![Some(1), None, Some(-1)]).with_timezone("UTC")),
        ),
        (
            "amount",
            Arc::new(
                Decimal128Array::from(vec![Some(10_i128.pow(29) + 5), None, Some(-70)])
                    .with_precision_and_scale(38, 2)
                    .expect("fits"),
            ),
        ),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(&b"\x01\xff"[..]), None, Some(&b""[..])]))),
        ("text", Arc::new(StringArray::from(vec![Some("a, b"), None, Some("")]))),
        ("kind", Arc::new(dictionary)),
        ("list", Arc::new(lists.finish())),
        ("parts", Arc::new(structs)),
    ]
}

/// Adds what a table holds, row by row, to trades of as many rows.
fn add(files: &Files, trades: &Path, table: &Path, columns: &[&str], ending: &str) -> PathBuf {
    let definition = any(&["id"], columns);
    let to_text = ending.ends_with("csv") || ending.ends_with("jsonl");
    let fields = if to_text { Fields::AsText } else { Fields::Typed };
    let mut trades = open_keyed(trades, &definition, fields).expect("trades");
    let mut reader = open(input(table), &definition).expect("a table");
    let offers = [TableColumns { table: definition, columns: reader.columns().to_vec() }];
    let schema = trades.schema();
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let Selection { tables, added, .. } = select_outputs(&offers, names, &[]).expect("names of their own");
    reader.load(&tables[0].fields).expect("any type");
    let lane: ChangeLane = rows_of(&mut reader).expect("good rows").remove(0);
    let to = files.path(&format!("out.{ending}"));
    let mut output = create(&to, &trades, added);
    let messages = read_all(&mut trades).expect("good trades").remove(0);
    // A trade behind the others has found nothing.
    let columns: Vec<Column> =
        lane.fields.iter().map(|field| padded(field, messages.trades.num_rows())).collect();
    output.write_enriched(&enriched(messages, columns, None)).expect("written");
    output.close(End::Complete).expect("complete");
    to
}

fn padded(column: &Column, rows: usize) -> Column {
    let mut column = column.clone();
    column.grow(rows);
    column
}

fn read(path: &Path) -> RecordBatch {
    let file = std::fs::File::open(path).expect("there");
    if path.extension().is_some_and(|ending| ending == "parquet") {
        let mut reader =
            ParquetRecordBatchReaderBuilder::try_new(file).expect("parquet").build().expect("opens");
        reader.next().expect("a batch").expect("good")
    } else {
        FileReader::try_new(file, None).expect("arrow").next().expect("a batch").expect("good")
    }
}

#[test]
fn values_keep_their_types_from_typed_files_to_typed_files() {
    let files = Files::new();
    let trades = files.put("t.csv", "id\n1\n2\n3\n4\n");
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let columns = typed_columns();
    let all = [&[("id", ids)][..], &columns].concat();
    for from in ["table.parquet", "table.arrow"] {
        let table = write(&files, from, &all);
        for ending in ["parquet", "arrow"] {
            let out = read(&add(&files, &trades, &table, &[], ending));
            assert_eq!(out.num_columns(), 1 + columns.len());
            for (name, column) in &columns {
                let found = out.column_by_name(name).expect("added");
                let ty = if *name == "kind" { &DataType::Utf8 } else { column.data_type() };
                assert_eq!(found.data_type(), ty, "{name}, {from} to {ending}");
                let expected = arrow_cast::cast(column, ty).expect("plain");
                assert_eq!(&found.slice(0, 3), &expected, "{name}, {from} to {ending}");
                assert!(found.is_null(3), "{name}");
            }
        }
    }
}

#[test]
fn typed_values_become_text_in_text() {
    let files = Files::new();
    let trades = files.put("t.csv", "id\n1\n2\n3\n4\n");
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let table = write(&files, "table.parquet", &[&[("id", ids)][..], &typed_columns()].concat());
    let names = ["unsigned", "float", "flag", "day", "time", "amount", "text", "kind"];
    let csv = content(&add(&files, &trades, &table, &names, "csv"));
    assert_eq!(
        csv,
        "id,unsigned,float,flag,day,time,amount,text,kind\n\
         1,18446744073709551615,0.1,true,2024-11-03,1970-01-01T00:00:00.000001Z,1000000000000000000000000000.05,\"a, b\",x\n\
         2,,,,,,,,\n\
         3,0,-2.5,false,1969-12-31,1969-12-31T23:59:59.999999Z,-0.7,,y\n\
         4,,,,,,,,\n"
    );
    let json = content(&add(&files, &trades, &table, &["long", "flag", "text", "list", "parts"], "jsonl"));
    assert_eq!(
        json,
        "{\"id\":\"1\",\"long\":-9223372036854775808,\"flag\":true,\"text\":\"a, b\",\"list\":[1,null],\"parts\":{\"n\":1}}\n\
         {\"id\":\"2\",\"long\":null,\"flag\":null,\"text\":null,\"list\":null,\"parts\":{\"n\":null}}\n\
         {\"id\":\"3\",\"long\":7,\"flag\":false,\"text\":\"\",\"list\":[],\"parts\":{\"n\":3}}\n\
         {\"id\":\"4\",\"long\":null,\"flag\":null,\"text\":null,\"list\":null,\"parts\":null}\n"
    );
}

#[test]
fn text_stays_as_it_stands() {
    let files = Files::new();
    let trades = files.put("t.jsonl", "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n{\"id\":4}\n");
    let tokens = "{\"id\":1,\"n\":1.70,\"s\":\"a\\n\\u00e9\",\"o\":{\"b\": [1, 2]},\"t\":true}\n\
                  {\"id\":2,\"n\":null}\n{\"id\":3,\"n\":1e5,\"s\":\"\",\"o\":[],\"t\":false}\n";
    let table = files.put("v.jsonl", tokens);
    assert_eq!(
        content(&add(&files, &trades, &table, &[], "jsonl")),
        "{\"id\":1,\"n\":1.70,\"s\":\"a\\n\\u00e9\",\"o\":{\"b\": [1, 2]},\"t\":true}\n\
         {\"id\":2,\"n\":null,\"s\":null,\"o\":null,\"t\":null}\n\
         {\"id\":3,\"n\":1e5,\"s\":\"\",\"o\":[],\"t\":false}\n\
         {\"id\":4,\"n\":null,\"s\":null,\"o\":null,\"t\":null}\n"
    );
    assert_eq!(
        content(&add(&files, &trades, &table, &[], "csv")),
        "id,n,s,o,t\n1,1.70,\"a\né\",\"{\"\"b\"\": [1, 2]}\",true\n2,,,,\n3,1e5,,[],false\n4,,,,\n"
    );
    let out = read(&add(&files, &trades, &table, &[], "parquet"));
    let n: Vec<_> = out.column_by_name("n").expect("added").as_string::<i32>().iter().collect();
    assert_eq!(n, [Some("1.70"), None, Some("1e5"), None]);
    let table = files.put("v.csv", "n,id,s\n1.70,1,\"a, \"\"b\"\"\"\n,2,x\n007,3,\n");
    assert_eq!(
        content(&add(&files, &trades, &table, &[], "csv")),
        "id,n,s\n1,1.70,\"a, \"\"b\"\"\"\n2,,x\n3,007,\n4,,\n"
    );
    let table = write(
        &files,
        "v.arrow",
        &[
            ("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
            ("n", Arc::new(Int64Array::from(vec![5]))),
        ],
    );
    let out = read(&add(&files, &trades, &table, &[], "arrow"));
    assert_eq!(out.column_by_name("n").expect("added").as_primitive::<Int64Type>().value(0), 5);
}

#[test]
fn a_table_that_cannot_be_joined_is_told_why() {
    let files = Files::new();
    let csv = files.put("v.csv", "mic,city\nXNYS,New York\n");
    let said = |path: &Path, table: &TableDefinition| {
        open(input(path), table).map(|_| ()).expect_err("refused").to_string()
    };
    let text = said(&csv, &any(&["venue@micc"], &[]));
    assert!(text.ends_with("v.csv: no column micc; the columns are: mic, city"), "{text}");
    let text = said(&csv, &any(&["mic"], &["town"]));
    assert!(text.ends_with("v.csv: no column town; the columns are: mic, city"), "{text}");
    let text = said(&files.put("w.csv", "mic,mic\n"), &any(&["mic"], &[]));
    assert!(text.contains("the same column twice"), "{text}");
    let typed = write(&files, "v.parquet", &typed_columns());
    for (column, ty) in [("float", "Float64"), ("list", "List"), ("flag", "Boolean"), ("day", "Date32")] {
        let text = said(&typed, &any(&[column], &[]));
        assert!(text.contains(&format!("column {column} has the type {ty}")), "{text}");
        assert!(text.ends_with("but a key is of integers or texts"), "{text}");
        let error =
            open_keyed(&typed, &any(&[column], &[]), Fields::AsText).map(|_| ()).expect_err("refused");
        assert!(error.to_string().contains(&format!("column {column} has the type {ty}")), "{error}");
    }
    let trades = files.put("t.csv", "venue,price\n");
    let error = open_keyed(&trades, &any(&["mic"], &[]), Fields::AsText).map(|_| ()).expect_err("refused");
    assert!(error.to_string().ends_with("t.csv: no column mic; the columns are: venue, price"), "{error}");
}

#[test]
fn a_row_without_a_key_is_bad() {
    let files = Files::new();
    let typed: [(&str, ArrayRef); 2] = [
        ("a", Arc::new(StringArray::from(vec![Some("x"), None, Some("y")]))),
        ("b", Arc::new(Int64Array::from(vec![1, 2, 3]))),
    ];
    for (path, place) in [
        (files.put("v.csv", "a,b\nx,1\n,2\ny,3\n"), "line 3"),
        (files.put("v.jsonl", "{\"a\":\"x\",\"b\":1}\n{\"b\":2}\n{\"a\":\"y\",\"b\":3}\n"), "line 2"),
        (write(&files, "v.parquet", &typed), "row 2"),
    ] {
        for key in [&["a"][..], &["b", "a"]] {
            let error = rows_of(&mut open(input(&path), &any(key, &[])).expect("opens")).expect_err("bad");
            let expected = format!("{place}, column a: no value, but the column needs one");
            assert!(error.to_string().ends_with(&expected), "{error}");
            let (options, bad) = skipping(&path);
            let lanes = rows_of(&mut open(options, &any(key, &[])).expect("opens")).expect("skips");
            assert_eq!((lanes[0].len(), lanes[0].rejected, bad.count()), (2, 1, 1));
        }
    }
}

#[test]
fn a_key_that_stands_twice_is_refused_if_that_is_asked_for() {
    let files = Files::new();
    let path = files.put("v.csv", "a,b,c\nx,1,p\nx,2,q\nx,1,r\n");
    let read = |key: &[&str]| -> Result<Vec<ChangeLane>, ReadError> {
        let options = TableOptions { input: input(&path), table: any(key, &[]), strict: true };
        rows_of(&mut open_table(options).expect("opens"))
    };
    let error = read(&["a", "b"]).expect_err("twice").to_string();
    assert!(error.ends_with("v.csv: a+b x, 1 stands twice, in line 2 and in line 4"), "{error}");
    let error = read(&["a"]).expect_err("twice").to_string();
    assert!(error.ends_with("v.csv: a x stands twice, in line 2 and in line 3"), "{error}");
    assert_eq!(read(&["a", "b", "c"]).expect("once each")[0].len(), 3);
}

#[test]
fn a_member_that_shows_up_late_is_not_lost_without_a_word() {
    let files = Files::new();
    let lines: String = (0..1_100).map(|id| format!("{{\"id\":{id},\"a\":1}}\n")).collect();
    let path = files.put("v.jsonl", lines + "{\"id\":5,\"a\":2,\"late\":1}\n");
    let error = rows_of(&mut open(input(&path), &any(&["id"], &[])).expect("opens")).expect_err("late");
    assert!(error.to_string().contains("line 1101, column late"), "{error}");
    // Nobody asked for it.
    let lanes = rows_of(&mut open(input(&path), &any(&["id"], &["a"])).expect("opens")).expect("good");
    assert_eq!(lanes.iter().map(ChangeLane::len).sum::<usize>(), 1_101);
    let empty = files.put("empty.jsonl", "");
    assert!(
        rows_of(&mut open(input(&empty), &any(&["id"], &["a"])).expect("opens")).expect("good").is_empty()
    );
}

#[test]
fn lines_that_name_no_column_lack_the_key() {
    let files = Files::new();
    for (lines, rows, bad) in [("{}\n", 0, 1), ("x\n{}\n{\"a\":1}\n{\"id\":1,\"a\":1}\n", 1, 3)] {
        let path = files.put("v.jsonl", lines);
        for (key, columns) in [(["id"], &[][..]), (["id"], &["a"]), (["id"], &["a", "lot?"])] {
            let (options, refused) = skipping(&path);
            let read = rows_of(&mut open(options, &any(&key, columns)).expect("opens"));
            let read = read.unwrap_or_else(|error| panic!("{lines:?}, {columns:?}: {error}"));
            assert_eq!(read.iter().map(ChangeLane::len).sum::<usize>(), rows, "{lines:?}, {columns:?}");
            assert_eq!(refused.count(), bad, "{lines:?}, {columns:?}");
        }
    }
    // What a mode needs may come late, too.
    let version = TableMode::LatestVersion { column: "v".to_owned() };
    for columns in [&["a"][..], &["a", "lot?"]] {
        let path = files.put("v.jsonl", "{}\n{\"id\":1,\"a\":2,\"v\":3}\n");
        let (options, refused) = skipping(&path);
        let mut reader = open(options, &any(&["id"], columns)).expect("opens");
        reader.set_mode(&version).expect("no line says that it is missing");
        let lanes = rows_of(&mut reader).expect("skips");
        assert_eq!((lanes[0].len(), lanes[0].version(0), refused.count()), (1, 3, 1), "{columns:?}");
    }
}

#[test]
fn a_column_that_may_be_missing_is_a_text_wherever_it_is() {
    let files = Files::new();
    let key: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let lots: ArrayRef = Arc::new(Int64Array::from(vec![Some(100), None]));
    let table = any(&["id"], &["lot?"]);
    let values = |path: &Path| {
        let mut reader = open(input(path), &table).expect("a table");
        let offered = reader.columns().to_vec();
        reader.load(&offered).expect("its columns");
        let lanes = rows_of(&mut reader).expect("good rows");
        let Column::Text(values) = &lanes[0].fields[0] else { panic!("texts") };
        (offered, texts(values))
    };
    for name in ["t.parquet", "t.arrow"] {
        let (offered, absent) = values(&write(&files, name, &[("id", key.clone())]));
        assert_eq!(absent, [None, None]);
        let with = values(&write(&files, name, &[("lot", lots.clone()), ("id", key.clone())]));
        assert_eq!(with, (offered, vec![Some(b"100".to_vec()), None]), "{name}");
    }
    let (offered, absent) = values(&files.put("t.csv", "id\n1\n"));
    assert_eq!(absent, [None]);
    let with = values(&files.put("t.csv", "lot,id\n100,1\n"));
    assert_eq!(with, (offered, vec![Some(b"100".to_vec())]));
    // In JSON any line may have it.
    let (_, late) = values(&files.put("t.jsonl", "{\"id\":1}\n{\"id\":2,\"lot\":100}\n"));
    assert_eq!(late, [None, Some(b"100".to_vec())]);
}

#[test]
fn outputs_of_one_name_collide() {
    let files = Files::new();
    let path = files.put("v.csv", "mic,city,price\nXNYS,New York,1\n");
    let table = any(&["venue@mic"], &[]);
    let reader = open(input(&path), &table).expect("opens");
    let offers = [TableColumns { table, columns: reader.columns().to_vec() }];
    let error = select_outputs(&offers, ["venue", "price"], &[]).expect_err("taken").to_string();
    assert!(
        error.contains("a column \"price\" already") && error.contains("\"any.price as NAME\""),
        "{error}"
    );
    let twice = [offers[0].clone(), offers[0].clone()];
    let error = select_outputs(&twice, ["venue"], &[]).expect_err("taken").to_string();
    assert!(error.contains("a column \"city\" already"), "{error}");
    let asked = ["any.price as tick".to_owned(), "city".to_owned()];
    let selection = select_outputs(&offers, ["venue", "price"], &asked).expect("names of their own");
    let names: Vec<_> = selection.added.iter().map(|added| added.name.as_str()).collect();
    assert_eq!((names, selection.tables[0].fields.len()), (vec!["tick", "city"], 2));
}
