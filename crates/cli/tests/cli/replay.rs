//! Dead letters, once more.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::Arc;

use arrow_array::builder::{FixedSizeBinaryBuilder, ListBuilder, StringBuilder};
use arrow_array::cast::AsArray as _;
use arrow_array::{
    ArrayRef, BinaryArray, Date32Array, Decimal128Array, DurationSecondArray, Float64Array, Int16Array,
    NullArray, RecordBatch, StringArray, StructArray, Time32SecondArray, TimestampMicrosecondArray,
    UInt32Array, UInt64Array,
};
use arrow_schema::{DataType, Field};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Folder, INSTRUMENTS};

const TRADES: &str =
    "trade_id,instrument_id,note\n1,9,\"a, b\"\n2,1,x\n3,8,\n4,9,\"say \"\"hi\"\"\"\n5,7,z\n";

/// A folder in which trades 1, 3, 4 and 5 have been put aside.
fn put_aside() -> Folder {
    let folder = Folder::empty();
    folder.put("t.csv", TRADES);
    folder.put("i.csv", INSTRUMENTS);
    folder.ok("run --trades t.csv --instruments i.csv --on-miss instruments=dead-letter --dead-letters d.jsonl --output e.csv --quiet");
    folder.put("new.csv", format!("{INSTRUMENTS}9,GM,200,2024-11-03,call\n"));
    folder
}

#[test]
fn trades_that_were_put_aside_are_joined_with_a_newer_table() {
    let folder = put_aside();
    folder.ok("replay d.jsonl --instruments new.csv --output r.csv --dead-letters d2.jsonl --quiet");
    let recovered = "trade_id,instrument_id,note,instrument\n\
        1,9,\"a, b\",GM241103C00200000\n4,9,\"say \"\"hi\"\"\",GM241103C00200000\n";
    assert_eq!(folder.read("r.csv"), recovered);
    // They keep their numbers, and each time counts.
    let again = "{\"reason\":\"no-match\",\"table\":\"instruments\",\"key\":\"8\",\"trade\":3,\"tries\":2,\
        \"fields\":{\"trade_id\":3,\"instrument_id\":8,\"note\":\"\"}}\n\
        {\"reason\":\"no-match\",\"table\":\"instruments\",\"key\":\"7\",\"trade\":5,\"tries\":2,\
        \"fields\":{\"trade_id\":5,\"instrument_id\":7,\"note\":\"z\"}}\n";
    assert_eq!(folder.read("d2.jsonl"), again);
    folder.put("newer.csv", format!("{INSTRUMENTS}7,T,200,2024-11-03,call\n"));
    folder.ok("replay d2.jsonl --instruments newer.csv --output r.jsonl --dead-letters d3.jsonl.gz --quiet");
    let line = "{\"trade_id\":5,\"instrument_id\":7,\"note\":\"z\",\"instrument\":\"T241103C00200000\"}\n";
    assert_eq!(folder.read("r.jsonl"), line);
    folder.ok("replay d3.jsonl.gz --instruments newer.csv --output r.csv --dead-letters d4.jsonl --quiet");
    assert!(folder.read("d4.jsonl").contains("\"trade\":3,\"tries\":4,"), "{}", folder.read("d4.jsonl"));
    // It is not as if there had been none.
    let most = format!("\"tries\":{}", u64::MAX);
    folder.put("d5.jsonl", folder.read("d4.jsonl").replace("\"tries\":4", &most));
    folder.ok("replay d5.jsonl --instruments newer.csv --output r.csv --dead-letters d6.jsonl --quiet");
    assert!(folder.read("d6.jsonl").contains(&most), "{}", folder.read("d6.jsonl"));
}

#[test]
fn what_is_no_dead_letter_or_makes_no_sense_is_refused() {
    let folder = put_aside();
    let tables = "--instruments new.csv --output r.csv";
    folder.put("bad.jsonl", "\n{\"trade\":1,\"fields\":{\"instrument_id\":1}}\n{\"trade\":2}\n");
    let error = folder.fails(65, &format!("replay bad.jsonl {tables} --dead-letters x.jsonl"));
    assert!(
        error.contains("bad.jsonl") && error.contains("line 3 is no dead letter: it has no member fields"),
        "{error}"
    );
    folder.put("bad.jsonl", "\n{\"trade\":1,\"fields\":{\"instrument_id\":\"x\"}}\n");
    let error = folder.fails(65, &format!("replay bad.jsonl {tables} --unmatched drop"));
    assert!(error.contains("bad.jsonl, line 2, column instrument_id: \"x\""), "{error}");
    assert!(folder.fails(2, &format!("replay d.jsonl {tables}")).contains("give --dead-letters FILE"));
    assert!(
        folder
            .fails(2, &format!("replay d.jsonl {tables} --trades t.csv --unmatched drop"))
            .contains("not for a replay")
    );
    folder.fails(2, &format!("replay t.csv {tables} --dead-letters x.jsonl"));
    folder.fails(2, &format!("replay d.jsonl {tables} --dead-letters d.jsonl"));
    folder.fails(66, &format!("replay none.jsonl {tables} --dead-letters x.jsonl"));
    assert!(
        !folder.names().iter().any(|name| name.starts_with("x.jsonl") || name.starts_with("r.csv")),
        "{:?}",
        folder.names()
    );
}

/// What `run` makes of the trades with a table that has all keys but 7.
fn with_newer_table(folder: &Folder, to: &str) {
    folder.ok(&format!("run --trades t.csv --instruments newest.csv --output {to} --quiet"));
}

#[test]
fn recovered_trades_go_where_their_numbers_tell_in_every_format() {
    let folder = put_aside();
    folder.put("newest.csv", format!("{INSTRUMENTS}8,T,200,2024-11-03,call\n9,GM,200,2024-11-03,call\n"));
    for ending in ["csv", "jsonl", "csv.gz", "parquet", "arrow"] {
        let run = "run --trades t.csv --instruments i.csv --on-miss instruments=dead-letter --quiet";
        folder.ok(&format!("{run} --dead-letters d.jsonl --output e.{ending}"));
        folder.ok(&format!(
            "replay d.jsonl --instruments new.csv --into e.{ending} --output m.{ending} --dead-letters d2.jsonl --quiet"
        ));
        let (tables, to) = ("--instruments newest.csv", format!("all.{ending}"));
        folder.ok(&format!(
            "replay d2.jsonl {tables} --into m.{ending} --output {to} --dead-letters d3.jsonl --quiet"
        ));
        with_newer_table(&folder, "expected.csv");
        // As CSV, whatever they were.
        let run = format!(
            "run --trades {to} --table x=i.csv,key=instrument_id,columns=ticker --unmatched keep --output x.csv --quiet"
        );
        folder.ok(&run);
        let found: Vec<String> = folder
            .read("x.csv")
            .lines()
            .map(|line| line.rsplit_once(',').expect("a column").0.to_owned())
            .collect();
        let expected: Vec<String> = folder.read("expected.csv").lines().map(str::to_owned).collect();
        assert_eq!(found, expected, "{ending}");
        if ending == "csv" {
            assert_eq!(folder.read("all.csv"), folder.read("expected.csv"));
        }
        assert!(folder.read("d3.jsonl").contains("\"trade\":5,\"tries\":3,"));
    }
}

#[test]
fn added_columns_may_have_another_order_in_the_newer_table() {
    let folder = Folder::empty();
    folder.put("t.csv", "trade_id,venue\n1,A\n2,B\n3,A\n");
    folder.put("v1.csv", "venue,city,land\nA,x,y\n");
    folder.put("v2.csv", "venue,land,city\nA,y,x\nB,w,z\n");
    folder.put("m0.csv", "trade_id,mark\n");
    for ending in ["csv", "csv.gz", "jsonl", "parquet", "arrow"] {
        let put_aside = "--on-miss v=dead-letter --quiet";
        folder.ok(&format!(
            "run --trades t.csv --table v=v1.csv,key=venue {put_aside} --output e.{ending} --dead-letters d.jsonl"
        ));
        folder.ok(&format!(
            "replay d.jsonl --table v=v2.csv,key=venue {put_aside} --into e.{ending} --output m.{ending} \
             --dead-letters d2.jsonl"
        ));
        let said = folder.ok(&format!(
            "run --trades m.{ending} --table m=m0.csv,key=trade_id --unmatched keep --output-format csv --quiet"
        ));
        assert_eq!(said, "trade_id,venue,city,land,mark\n1,A,x,y,\n2,B,z,w,\n3,A,x,y,\n", "{ending}");
    }
}

#[test]
fn a_chain_goes_on_where_nothing_or_all_is_recovered() {
    let folder = Folder::empty();
    for (number, rows) in
        ["", "1,A,200,2024-11-03,call\n", "1,A,200,2024-11-03,call\n2,B,200,2024-11-03,call\n"]
            .into_iter()
            .enumerate()
    {
        folder.put(
            &format!("i{number}.csv"),
            format!("{}\n{rows}", INSTRUMENTS.lines().next().expect("a header")),
        );
    }
    // Only the first has a note.
    let trades =
        "{\"trade_id\":1,\"instrument_id\":1,\"note\":\"x\"}\n{\"trade_id\":2,\"instrument_id\":2}\n";
    folder.put("t.jsonl", trades);
    for ending in ["csv", "jsonl", "parquet", "arrow"] {
        let put_aside = "--on-miss instruments=dead-letter --columns ticker --quiet";
        let run = |table: u32, output: u32, letters: u32| {
            folder.ok(&format!(
                "run --trades t.jsonl --instruments i{table}.csv {put_aside} --output o{output}.{ending} \
                 --dead-letters d{letters}.jsonl"
            ));
        };
        let replay = |table: u32, [from, to]: [u32; 2]| {
            folder.ok(&format!(
                "replay d{from}.jsonl --instruments i{table}.csv {put_aside} --into o{from}.{ending} \
                 --output o{to}.{ending} --dead-letters d{to}.jsonl"
            ));
        };
        let content = |number: u32| {
            let output = format!("o{number}.{ending}");
            let columns = "--table x=i2.csv,key=instrument_id,columns=strike --unmatched keep --quiet";
            let said = folder.ok(&format!("run --trades {output} {columns} --output-format csv"));
            said.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        run(2, 9, 9);
        // Nothing is enriched at first; then nothing is recovered, one, the other, and nothing is left.
        run(0, 0, 0);
        replay(0, [0, 1]);
        replay(1, [1, 2]);
        replay(1, [2, 3]);
        replay(2, [3, 4]);
        assert_eq!(folder.read("d4.jsonl"), "");
        replay(2, [4, 5]);
        for number in [4, 5] {
            assert_eq!(content(number), content(9), "{ending}, {number}");
        }
    }
}

#[test]
fn a_trade_that_is_there_twice_is_named_with_both_places() {
    let folder = put_aside();
    let replay = "replay d.jsonl --instruments new.csv --dead-letters d2.jsonl --output m.csv --into";
    folder.ok(&format!("{replay} e.csv --quiet"));
    // Once more would have them twice.
    let error = folder.fails(
        65,
        "replay d.jsonl --instruments new.csv --dead-letters d2.jsonl --output x.csv --into m.csv",
    );
    assert!(error.contains("trade 1 stands twice, in m.csv, row 1 and in d.jsonl, row 1"), "{error}");
    folder.put("twice.csv", "trade_id,instrument_id,note,instrument\n2,1,x,A\n6,1,x,A\n2,1,y,A\n");
    let error = folder.fails(65, &format!("{replay} twice.csv"));
    assert!(error.contains("trade 2 stands twice, in twice.csv, row 1 and in twice.csv, row 3"), "{error}");
    folder.put("none.csv", "trade_id,instrument_id,note,instrument\n,1,x,A\n");
    assert!(folder.fails(65, &format!("{replay} none.csv")).contains("none.csv, row 1 has no trade_id"));
    folder.put("other.csv", "trade_id,instrument_id\n2,1\n");
    let error = folder.fails(65, &format!("{replay} other.csv"));
    assert!(
        error.contains("other.csv has the columns trade_id, instrument_id, and the recovered"),
        "{error}"
    );
    let letters = folder.read("d.jsonl");
    folder.put("d.jsonl", format!("{letters}{}\n", letters.lines().next().expect("a letter")));
    let error = folder.fails(65, &format!("{replay} e.csv"));
    assert!(error.contains("trade 1 stands twice, in d.jsonl, row 1 and in d.jsonl, row 5"), "{error}");
    assert!(
        folder
            .fails(2, "replay d.jsonl --instruments new.csv --unmatched drop --into e.csv --output e.csv")
            .contains("take the place")
    );
    folder.fails(2, "replay d.jsonl --instruments new.csv --unmatched drop --into e.csv");
    for output in ["-", "/dev/stdout"] {
        let job = "replay d.jsonl --instruments new.csv --unmatched drop --into e.csv --output";
        assert!(folder.fails(2, &format!("{job} {output}")).contains("--output is a new file"));
    }
    let said = folder.fails(
        2,
        "replay d.jsonl --instruments new.csv --unmatched drop --into e.csv --output x.csv --checkpoint state",
    );
    assert!(said.contains("leave --checkpoint out, and give the same command again"), "{said}");
    assert!(!folder.path("state").exists() && !folder.path("x.csv").exists());
}

#[test]
fn no_text_of_a_merged_file_is_a_formula_if_that_is_asked_for() {
    let folder = put_aside();
    folder.put("e.csv", folder.read("e.csv").replace(",x,", ",=1+1,"));
    let replay =
        "replay d.jsonl --instruments new.csv --unmatched drop --into e.csv --csv-safe --quiet --output";
    folder.ok(&format!("{replay} m.csv"));
    assert!(folder.read("m.csv").contains("\n2,1,'=1+1,"), "{}", folder.read("m.csv"));
    assert!(folder.fails(2, &format!("{replay} m.jsonl")).contains("--csv-safe is for an output in CSV"));
}

#[test]
fn a_replay_that_is_interrupted_while_it_merges_leaves_nothing_behind() {
    let folder = put_aside();
    let notes = (0..20_000).fold("trade_id,instrument_id,note,instrument\n".to_owned(), |mut rows, id| {
        let _ = writeln!(rows, "{},1,a note of some length,A", 1_000 + id);
        rows
    });
    folder.put("many.csv", notes);
    std::fs::create_dir(folder.path("tmp")).expect("a folder");
    let pipe = folder.path("m.csv");
    mkfifoat(CWD, &pipe, Mode::from_raw_mode(0o600)).expect("a pipe");
    let job = "replay d.jsonl --instruments new.csv --unmatched drop --into many.csv --output m.csv --quiet";
    let mut command = folder.command(job);
    let child = command.env("TMPDIR", folder.path("tmp")).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut reader = BufReader::with_capacity(64, File::open(&pipe).expect("it is written to"));
    reader.read_line(&mut String::new()).expect("a line");
    assert!(!folder.is_empty("tmp"), "it merges");
    // Nobody reads on: it cannot end by itself.
    kill_process(Pid::from_child(&child), Signal::TERM).expect("the process is there");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert_eq!(said, "interrupted: give the same command again\n");
    assert!(folder.is_empty("tmp"));
    drop(reader);
}

/// A run of typed trades of which the second and the third are put aside.
fn put_typed_aside(columns: Vec<(&str, ArrayRef)>) -> (Folder, RecordBatch) {
    let folder = Folder::empty();
    folder.put("i.csv", INSTRUMENTS);
    folder.put("new.csv", format!("{INSTRUMENTS}9,GM,200,2024-11-03,call\n"));
    let ids: ArrayRef = Arc::new(UInt64Array::from(vec![1, 2, 3]));
    let keys: ArrayRef = Arc::new(UInt32Array::from(vec![1, 9, 9]));
    let columns = [("trade_id", ids), ("instrument_id", keys)].into_iter().chain(columns);
    let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, values)| (name, values, true)));
    let batch = batch.expect("columns of three values");
    let file = File::create(folder.path("t.parquet")).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a header");
    writer.write(&batch).expect("written");
    writer.close().expect("complete");
    folder.ok("run --trades t.parquet --instruments i.csv --on-miss instruments=dead-letter --dead-letters d.jsonl --output e.parquet -q");
    (folder, batch)
}

const INTO: &str =
    "replay d.jsonl --instruments new.csv --into e.parquet --output a.parquet --dead-letters s.jsonl -q";

fn read(folder: &Folder, name: &str) -> RecordBatch {
    let file = File::open(folder.path(name)).expect("a file");
    let mut rows =
        ParquetRecordBatchReaderBuilder::try_new(file).and_then(|rows| rows.build()).expect("Parquet");
    rows.next().expect("rows").expect("rows")
}

#[test]
fn recovered_trades_have_the_values_that_they_had() {
    let mut tags = ListBuilder::new(StringBuilder::new());
    tags.append_value([Some("a")]);
    tags.append_value([Some("[\"c\"]"), None]);
    tags.append_null();
    let field = Arc::new(Field::new("n", DataType::Int16, true));
    let numbers: ArrayRef = Arc::new(Int16Array::from(vec![Some(1), None, Some(3)]));
    let mut fixed = FixedSizeBinaryBuilder::new(2);
    for bytes in [[0, 1], [2, 3], [255, 0]] {
        fixed.append_value(bytes).expect("two bytes");
    }
    let decimals = Decimal128Array::from(vec![Some(1), Some(-170), None]).with_precision_and_scale(10, 2);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("tags", Arc::new(tags.finish())),
        ("sig", Arc::new(BinaryArray::from(vec![Some(&b"\x00\xff"[..]), Some(b"\x01\x02"), None]))),
        ("fixed", Arc::new(fixed.finish())),
        ("received_at", Arc::new(TimestampMicrosecondArray::from(vec![1, -2, 3]).with_timezone("UTC"))),
        ("pair", Arc::new(StructArray::from(vec![(field, numbers)]))),
        ("nothing", Arc::new(NullArray::new(3))),
        ("day", Arc::new(Date32Array::from(vec![Some(1), None, Some(-1)]))),
        ("at", Arc::new(Time32SecondArray::from(vec![1, 2, 86_399]))),
        ("yield", Arc::new(Float64Array::from(vec![0.1, f64::NAN, f64::NEG_INFINITY]))),
        ("fee", Arc::new(decimals.expect("fits"))),
        ("note", Arc::new(StringArray::from(vec![Some("x"), Some("[1]"), Some("")]))),
    ];
    let (folder, batch) = put_typed_aside(columns);
    folder.ok(INTO);
    let merged = read(&folder, "a.parquet");
    assert_eq!(merged.num_columns(), batch.num_columns() + 1);
    for (field, values) in batch.schema().fields().iter().zip(batch.columns()) {
        assert_eq!(format!("{:?}", merged.column_by_name(field.name())), format!("{:?}", Some(values)));
    }
    assert_eq!(
        merged.column_by_name("instrument").map(|names| names.as_string::<i32>().value(2)),
        Some("GM241103C00200000")
    );
}

#[test]
fn a_recovered_value_that_cannot_be_had_again_is_refused() {
    let durations: ArrayRef = Arc::new(DurationSecondArray::from(vec![1, 2, 3]));
    let (folder, _) = put_typed_aside(vec![("took", durations)]);
    let error = folder.fails(65, INTO);
    assert!(error.contains("the column took of e.parquet") && error.contains("without --into"), "{error}");
    assert!(!folder.names().contains(&"a.parquet".to_owned()));
}
