//! What bad input gets, and what is left behind.

use std::fs;
use std::process::Stdio;

use crate::support::{Folder, INSTRUMENTS, TRADES};

const JOB: &str = "run --trades trades.csv --instruments instruments.csv --output out.csv";

#[test]
fn an_input_that_is_missing_or_no_file_is_66_and_leaves_no_output() {
    let folder = Folder::new();
    fs::create_dir(folder.path("dir.csv")).expect("a folder");
    for name in ["missing.csv", "dir.csv"] {
        for job in [
            format!("run --trades {name} --instruments instruments.csv --output out.csv"),
            format!("run --trades trades.csv --instruments {name} --output out.csv"),
            format!("run --trades trades.csv --users {name} --output out.csv"),
        ] {
            let said = folder.fails(66, &job);
            assert!(said.contains(name), "{said}");
        }
    }
    let said = folder.fails(66, "run --messages missing.jsonl --output out.csv");
    assert!(said.contains("missing.jsonl") && said.contains("No such file"), "{said}");
    // Whatever its name says of its format.
    folder.fails(66, "run --trades missing --instruments instruments.csv");
    fs::create_dir(folder.path("dir")).expect("a folder");
    let said = folder.fails(66, "run --trades dir --instruments instruments.csv");
    assert!(said.contains("directory"), "{said}");
    assert_eq!(folder.names(), ["dir", "dir.csv", "instruments.csv", "trades.csv", "users.csv"]);
}

#[test]
fn what_cannot_be_meant_is_2() {
    let folder = Folder::new();
    folder.put("trades.txt", TRADES);
    for (line, words) in [
        ("run --trades trades.txt --instruments instruments.csv", ".parquet"),
        ("run --trades - --instruments instruments.csv", "--format"),
        ("run --trades trades.csv --instruments instruments.csv --output out.xls", ".csv"),
        ("run --trades trades.csv --instruments instruments.csv --format tsv", "tsv"),
        ("run --trades trades.csv", "--instruments"),
        ("run --instruments instruments.csv", "--trades"),
        ("run --trades - --format csv --instruments -", "standard input"),
        ("run --workers 0", "from 1 to 1024"),
        ("run --workers x", "from 1 to 1024"),
        ("run --workers -1", "from 1 to 1024"),
        ("run --workers 1.5", "from 1 to 1024"),
        ("run --batch-len 0", "from 1 to 1048576"),
        ("run --queue-depth 0", "from 1 to 65536"),
        ("run --queue-depth 99999999999999999999", "from 1 to 65536"),
        ("run --limit 0", "at least 1"),
        ("run --linger 5", "with its unit"),
        ("run --linger -1", "with its unit"),
        ("run --table-ready-after marker", "--messages"),
        ("run --trades trades.csv --users users.csv --table-ready-after users=marker", "ready at its end"),
        ("run --messages - --table-ready-after users=5", "none of marker"),
        ("run --messages - --table-ready-after orders=marker", "orders"),
        ("run --messages - --table-ready-after users=marker --tables instruments", "users"),
        ("run --messages - --table-ready-after users=marker --table-ready-after users=2rows", "twice"),
        ("run --messages - --table-ready-after marker --table-ready-after 2rows", "twice"),
        ("run --messages - --gate-timeout 5s", "--table-ready-after"),
        ("run --gate-timeout 5s", "generated"),
        ("run --trades trades.csv --users users.csv --gate-timeout 5", "with its unit"),
        ("run --ids 0", "from 1 to"),
        ("run --output-format csv", "--output"),
        ("run --output o.jsonl --csv-safe", "CSV"),
        ("run --strict", "--strict"),
        ("run --tables users", "--messages"),
        ("run --mix nonsense", "article-users"),
        ("run --keys zipf", "zipf:EXPONENT"),
        ("run --unknown-share 2", "0 to 1"),
        ("run --distribution orders=broadcast", "orders"),
        ("run --distribution instruments=everywhere", "everywhere"),
        ("run --distribution users=broadcast", "users"),
        ("run --distribution instruments=broadcast,instruments=partitioned", "twice"),
        ("run --trades trades.csv --instruments instruments.csv --mix article", "--mix"),
        ("run --trades trades.csv --instruments instruments.csv --columns nothing", "instruments.strike"),
        ("run --trades trades.csv --instruments instruments.csv --output trades.csv", "trades.csv"),
        (
            "run --trades trades.csv --instruments instruments.csv --output ./instruments.csv",
            "instruments.csv",
        ),
        ("run --trades trades.csv --instruments instruments.csv --seed 2", "--seed"),
        ("run --trades trades.csv --instruments instruments.csv --keys zipf:1.2", "--keys"),
        ("run --trades trades.csv --instruments instruments.csv --columns strike,strike", "as NAME"),
        ("run --no-such-flag", "--no-such-flag"),
        ("bench --workers 0", "from 1 to 1024"),
        ("bench --messages 0", "at least 1"),
        ("bench --rate 0", "from 1 to 1000000000"),
        ("bench --rate -5", "from 1 to 1000000000"),
        ("bench --rate 1000/m", "from 1 to 1000000000"),
        ("bench --rate 1000 --seconds 0", "from 1 to 3600"),
        ("bench --rate 1000 --linger 5", "with its unit"),
        ("bench --rate 1000 --seconds 1 --messages 10", "--messages"),
        ("bench --rate 1000 --rounds 2", "--rounds"),
        ("bench --rate 1000 --only fused", "--only"),
        ("bench --rate 1000 --generate-inside", "--generate-inside"),
        ("bench --rate 1000 --messages 10", "no trade"),
        ("bench --rate 1000 --mix custom:instruments=1", "--mix has none"),
        ("bench --rate 1000000000 --seconds 3600", "shorter"),
        ("bench --seconds 1", "--rate"),
        ("bench --linger 1ms", "--rate"),
        ("generate --trades - --instruments -", "two outputs"),
        ("generate --trades a.csv --users ./a.csv", "two outputs"),
        ("generate", "--output <FILE>|--trades <FILE>|--instruments <FILE>|--users <FILE>"),
        ("generate --output stream.csv", "JSON Lines"),
        ("", "Usage"),
    ] {
        let said = folder.fails(2, line);
        assert!(said.contains(words), "{line}: {said}");
    }
    assert!(!folder.path("out.xls").exists());
}

#[test]
fn a_missing_column_is_65_and_says_what_there_is() {
    let folder = Folder::new();
    folder.put("short.csv", "instrument_id,ticker,strike,expiry\n1,A,1,2024-11-03\n");
    let said = folder.fails(65, "run --trades trades.csv --instruments short.csv --output out.csv");
    for words in ["short.csv", "option_type", "type, right", "instrument_id, ticker, strike, expiry"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    folder.put("noid.csv", "id,price\n1,2\n");
    let said = folder.fails(65, "run --trades noid.csv --instruments instruments.csv --output out.csv");
    assert!(said.contains("instrument_id") && said.contains("id, price"), "{said}");
    assert!(!folder.path("out.csv").exists() && !folder.path("out.csv.partial").exists());
}

/// A table row that is bad, the column and the value that are to be named.
const BAD_ROWS: &[(&str, &str, &str)] = &[
    ("x1,SPY,200,2024-11-03,call", "instrument_id", "x1"),
    ("-1,SPY,200,2024-11-03,call", "instrument_id", "-1"),
    ("4294967296,SPY,200,2024-11-03,call", "instrument_id", "4294967296"),
    ("1,TOOLONG,200,2024-11-03,call", "ticker", "TOOLONG"),
    ("1,SPY,-200,2024-11-03,call", "strike", "-200"),
    ("1,SPY,100000,2024-11-03,call", "strike", "100000"),
    ("1,SPY,200.0005,2024-11-03,call", "strike", "200.0005"),
    ("1,SPY,200,2024-02-30,call", "expiry", "2024-02-30"),
    ("1,SPY,200,1999-12-31,call", "expiry", "1999-12-31"),
    ("1,SPY,200,2024-11-03,straddle", "option_type", "straddle"),
    ("1,SPY,,2024-11-03,call", "strike", "no value"),
];

#[test]
fn a_bad_table_row_is_65_with_file_line_column_and_value() {
    for (row, column, value) in BAD_ROWS {
        let folder = Folder::new();
        folder.put("bad.csv", format!("{INSTRUMENTS}{row}\n2,F,1,2024-11-03,put\n"));
        let said = folder.fails(65, "run --trades trades.csv --instruments bad.csv --output out.csv");
        for words in ["bad.csv", "line 5", &format!("column {column}"), value] {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert!(!folder.path("out.csv").exists() && !folder.path("out.csv.partial").exists());
        let ran =
            folder.run("run --trades trades.csv --instruments bad.csv --output out.csv --on-bad-record skip");
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stderr.contains("1 bad record") && ran.stderr.contains("line 5"), "{}", ran.stderr);
    }
}

#[test]
fn a_bad_trade_is_65_or_counted_and_the_rest_goes_on() {
    let folder = Folder::new();
    let rows = [
        &b"6,t,abc,7,1,1,buy,Z"[..],
        b"6,t,-1,7,1,1,buy,Z",
        b"6,t,4294967296,7,1,1,buy,Z",
        b"6,t,,7,1,1,buy,Z",
        b"6,t,1,7,1,1,buy",
        b"6,t,1,7,1,1,buy,Z,extra",
        b"6,t,1,7,1,1,b\xffy,Z",
    ];
    for row in rows {
        let mut file = TRADES.as_bytes().to_vec();
        file.extend_from_slice(row);
        file.extend_from_slice(b"\n7,t,1,7,9,1,sell,Z\n");
        folder.put("trades.csv", file);
        let said = folder.fails(65, JOB);
        assert!(said.contains("trades.csv") && said.contains("line 7"), "{said}");
        let ran = folder.run(&format!("{JOB} --on-bad-record skip --json"));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(
            ran.stdout.contains("\"rows_read\":7") && ran.stdout.contains("\"rejected\":1"),
            "{}",
            ran.stdout
        );
        assert!(folder.read("out.csv").ends_with("7,t,1,7,9,1,sell,Z,SPY241103C00200000\n"));
    }
}

#[test]
fn nothing_is_rounded_on_its_way_to_a_typed_file() {
    let folder = Folder::new();
    for (value, column) in [("1.0000000001", "price"), ("cheap", "price"), ("1e400", "price")] {
        folder.put("trades.csv", format!("instrument_id,price\n1,{value}\n"));
        let said =
            folder.fails(65, "run --trades trades.csv --instruments instruments.csv --output out.parquet");
        assert!(said.contains(column) && said.contains(value) && said.contains("line 2"), "{said}");
        assert!(!folder.path("out.parquet").exists());
    }
}

#[test]
fn a_key_that_stands_twice_is_counted_or_refused() {
    let folder = Folder::new();
    folder.put("twice.csv", format!("{INSTRUMENTS}1,NEW,1,2024-11-03,put\n"));
    let job = "run --trades trades.csv --instruments twice.csv --output out.csv";
    let ran = folder.run(&format!("{job} --json"));
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.contains("\"duplicate_keys\":1"), "{}", ran.stdout);
    assert!(folder.read("out.csv").contains("NEW241103P00001000"));
    let said = folder.fails(65, &format!("{job} --strict"));
    assert!(said.contains("line 2") && said.contains("line 5"), "{said}");
}

#[test]
fn an_output_that_cannot_be_made_is_73() {
    let folder = Folder::new();
    let said =
        folder.fails(73, "run --trades trades.csv --instruments instruments.csv --output no/such/out.csv");
    assert!(said.contains("no/such/out.csv"), "{said}");
    fs::create_dir(folder.path("out.csv")).expect("a folder");
    folder.fails(73, JOB);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_74() {
    let folder = Folder::new();
    let said = folder.fails(
        74,
        "run --trades trades.csv --instruments instruments.csv --output /dev/full --output-format csv",
    );
    assert!(said.contains("/dev/full"), "{said}");
    for line in ["completions bash", "bench --messages 1000 --rounds 1", "run --limit 10 --json"] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("a device");
        let output = folder.command(line).stdout(full).output().expect("the command runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(74), "{line}: {said}");
        assert!(!said.contains("panicked"), "{line}: {said}");
    }
}

#[test]
fn standard_output_stays_empty_if_the_tables_cannot_be_read() {
    let folder = Folder::new();
    folder.put("i.csv", format!("{INSTRUMENTS}x,F,1,2026-03-20,put\n"));
    let ran = folder.run("run --trades trades.csv --instruments i.csv");
    assert_eq!((ran.code, ran.stdout.as_str()), (65, ""));
}

#[test]
fn refused_rows_of_tables_are_counted_with_their_table() {
    let folder = Folder::new();
    folder.put("i.csv", format!("{INSTRUMENTS}x,F,1,2026-03-20,put\n"));
    for how in ["partitioned", "broadcast"] {
        let printed = folder.ok(&format!(
            "run --trades trades.csv --instruments i.csv --output out.csv --on-bad-record skip --json \
             --distribution instruments={how}"
        ));
        let summary: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
        assert_eq!(summary["rows_read"], 5);
        assert_eq!(
            (&summary["outcomes"]["rejected"], &summary["tables"][0]["rejected"]),
            (&0.into(), &1.into())
        );
    }
    let lines = [
        r#"{"type":"instrument","instrument_id":1,"ticker":"SPY","strike":200,"expiry":"2024-11-03","option_type":"call"}"#,
        r#"{"type":"instrument","instrument_id":2,"ticker":"SPY","strike":-1,"expiry":"2024-11-03","option_type":"call"}"#,
        r#"{"type":"trade","instrument_id":1}"#,
        r#"{"type":"trade","instrument_id":"x"}"#,
        "",
    ];
    folder.put("m.jsonl", lines.join("\n"));
    let printed = folder.ok("run --messages m.jsonl --output out.jsonl --on-bad-record skip --json");
    let summary: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(summary["rows_read"], 2);
    assert_eq!((&summary["outcomes"]["rejected"], &summary["tables"][0]["rejected"]), (&1.into(), &1.into()));
}

#[test]
fn what_stood_in_the_place_of_the_output_stays_until_it_is_whole() {
    let folder = Folder::new();
    folder.put("out.csv", "what stood here");
    folder.put("trades.csv", format!("{TRADES}6,t,abc,7,1,1,buy,Z\n"));
    folder.fails(65, JOB);
    assert_eq!(folder.read("out.csv"), "what stood here");
    folder.ok(&format!("{JOB} --on-bad-record skip"));
    assert_ne!(folder.read("out.csv"), "what stood here");
    assert_eq!(folder.names(), ["instruments.csv", "out.csv", "trades.csv", "users.csv"]);
}

#[test]
fn a_file_that_is_not_what_its_name_says_is_65() {
    let folder = Folder::new();
    for name in ["t.parquet", "t.arrow", "t.csv.gz", "t.jsonl.zst"] {
        folder.put(name, TRADES);
        let ran = folder.run(&format!("run --trades {name} --instruments instruments.csv"));
        assert_eq!(ran.code, 65, "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains(name) && !ran.stderr.contains("panicked"), "{}", ran.stderr);
    }
    let output =
        folder.command("run --trades t.jsonl --instruments instruments.csv").stdin(Stdio::null()).output();
    assert_eq!(output.expect("the command runs").status.code(), Some(66));
}

#[test]
fn letters_that_cannot_be_written_are_told_as_such() {
    let folder = Folder::new();
    let job = "run --trades trades.csv --instruments instruments.csv --on-miss instruments=dead-letter";
    let said = folder.fails(74, &format!("{job} --output o.csv --dead-letters /dev/full"));
    let why = "cannot write the dead letters: cannot write /dev/full: No space left on device";
    assert!(said.starts_with(&format!("error: {why}")), "{said}");
}
