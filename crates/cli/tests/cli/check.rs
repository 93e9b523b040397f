//! What a check predicts of a run, and how near it comes.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Folder, INSTRUMENTS, TRADES};

fn checked(folder: &Folder, code: i32, flags: &str) -> Value {
    let ran = folder.run(&format!("check --json {flags}"));
    assert_eq!(ran.code, code, "{flags}\n{}\n{}", ran.stdout, ran.stderr);
    serde_json::from_str(&ran.stdout).expect("JSON")
}

/// The share of trades in percent that is predicted to find a row in the first table.
fn percent(report: &Value) -> f64 {
    100.0 * report["tables"][0]["match_share"].as_f64().expect("a share")
}

#[test]
fn one_percent_of_the_trades_predicts_the_match_rate_within_one_percent() {
    let folder = Folder::empty();
    folder.ok("generate --limit 300000 --unknown-share 0.1 --trades t.csv --instruments i.csv --quiet");
    // Unknown instruments all at the end, and one in seven bad: the start is like nothing else.
    let trades = folder.read("t.csv");
    let (head, rows) = trades.split_once('\n').expect("a header");
    let is_known =
        |row: &&str| row.split(',').nth(2).is_some_and(|id| id.parse::<u32>().is_ok_and(|id| id < 10_000));
    let (known, unknown): (Vec<&str>, Vec<&str>) = rows.lines().partition(is_known);
    let found = 100.0 * known.len() as f64 / 300_000.0;
    folder.put("end.csv", format!("{head}\n{}\n{}\n", known.join("\n"), unknown.join("\n")));
    for to in ["end.jsonl", "end.csv.gz", "end.parquet", "end.arrow"] {
        let run = "run --trades end.csv --instruments i.csv --unmatched keep --quiet --columns ticker";
        folder.ok(&format!("{run} --output {to}"));
    }
    for file in ["t.csv", "end.csv", "end.jsonl", "end.csv.gz", "end.parquet", "end.arrow"] {
        let report = checked(&folder, 0, &format!("--trades {file} --instruments i.csv --sample 1%"));
        let (rows, total) = (report["trades"]["rows"].as_f64(), report["trades"]["rows_total"].as_f64());
        assert!(rows.is_some_and(|rows| (2_500.0..3_500.0).contains(&rows)), "{file}: {rows:?}");
        assert!(total.is_some_and(|total| (total - 300_000.0).abs() < 3_000.0), "{file}: {total:?}");
        assert!((percent(&report) - found).abs() < 1.0, "{file}: {} is not {found}", percent(&report));
        assert_eq!(report["trades"]["sampled"], "blocks");
    }
    let all = checked(&folder, 0, "--trades end.csv --instruments i.csv --sample 100%");
    assert_eq!((all["trades"]["rows"].as_u64(), &all["trades"]["sampled"]), (Some(300_000), &"whole".into()));
    assert!((percent(&all) - found).abs() < 1e-9);
}

#[test]
fn a_small_file_is_read_whole_and_thresholds_are_told_by_the_code() {
    let folder = Folder::new();
    let inputs = "--trades trades.csv --instruments instruments.csv --users users.csv";
    let text = folder.ok(&format!("check {inputs} --workers 1"));
    for expected in [
        "trades.csv: all of 5 trades\n",
        "instruments  3     60.00 %  2       0           0         0",
        "users        2     60.00 %  2       0           0         0",
        "missing: 99 ×2\n",
        "missing: 99 ×1, none ×1\n",
        "a run takes 1 worker, and ",
    ] {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words(&text).contains(&words(expected)), "{expected}: {text}");
    }
    let report = checked(&folder, 0, &format!("{inputs} --min-match 60% --distribution users=partitioned"));
    assert_eq!(report["enriched_share"], 0.4);
    assert_eq!(
        (&report["tables"][0]["distribution"], &report["tables"][1]["distribution"]),
        (&"broadcast".into(), &"partitioned".into())
    );
    let memory = |table: usize| report["tables"][table]["memory_bytes"].as_u64().expect("a number");
    assert!(memory(0) > 0 && memory(1) > 0);
    assert_eq!(report["memory_bytes"], memory(0) + memory(1));
    assert_eq!(
        report["trades"]["columns"][2],
        serde_json::json!({"name": "instrument_id", "type": "UInt32"})
    );

    let report = checked(&folder, 1, &format!("{inputs} --min-match 60% --min-match users=61%"));
    let problem = "60.00 % of the trades find a row in users, and --min-match asks for 61%";
    assert_eq!(report["problems"], serde_json::json!([problem]));
    checked(&folder, 1, &format!("{inputs} --on-miss users=fail"));
    assert!(folder.fails(2, &format!("check {inputs} --min-match venues=1%")).contains("venues"));
    assert!(folder.fails(2, &format!("check {inputs} --min-match 5")).contains("write a share"));
    folder.fails(2, "check --messages stream.jsonl");
    folder.fails(66, "check --trades none.csv --users users.csv");
    folder.fails(65, "check --trades users.csv --instruments instruments.csv");
}

#[test]
fn bad_records_duplicates_and_overlaps_are_counted_and_the_first_is_shown() {
    let folder = Folder::empty();
    folder.put("trades.csv", format!("{TRADES}6,2024-11-01T13:30:03Z,x,,1,1,buy,Z\n7,bad\n"));
    folder.put(
        "instruments.csv",
        format!("{INSTRUMENTS}2,F,1,260320,Put\n2,F,2,260320,Put\ny,F,2,260320,Put\n"),
    );
    let inputs = "--trades trades.csv --instruments instruments.csv";
    let report = checked(&folder, 1, inputs);
    assert_eq!((&report["trades"]["rows"], &report["trades"]["rejected"]), (&7.into(), &2.into()));
    let table = &report["tables"][0];
    assert_eq!((&table["duplicates"], &table["bad_rows"]), (&2.into(), &1.into()));
    assert_eq!(table["duplicate_keys"], serde_json::json!(["2"]));
    let first = [
        "trades.csv, line 7, column instrument_id: \"x\": not an unsigned integer",
        "instruments.csv, line 7, column instrument_id: \"y\": not an unsigned integer",
    ];
    assert_eq!(report["bad_records"], serde_json::json!(first));
    // A run that skips them does not end there.
    checked(&folder, 0, &format!("{inputs} --on-bad-record skip"));
    checked(&folder, 1, &format!("{inputs} --on-bad-record skip --strict"));

    folder.put(
        "days.csv",
        "id,v,valid_from,valid_to\n\
        1,a,2024-01-01T00:00:00Z,2025-01-01T00:00:00Z\n1,b,2024-12-01T00:00:00Z,\n2,c,,\n",
    );
    let table = "--table days=days.csv,key=instrument_id@id,mode=as-of";
    let report = checked(&folder, 1, &format!("--trades trades.csv {table}"));
    let table = &report["tables"][0];
    assert_eq!(
        (&table["overlaps"], &table["bad_rows"], &table["mode"]),
        (&1.into(), &0.into(), &"as-of".into())
    );
}

#[test]
fn blocks_begin_with_a_record_wherever_they_are() {
    let folder = Folder::empty();
    folder.put("i.csv", INSTRUMENTS);
    let mut trades = String::from("trade_id,note,instrument_id\n");
    for trade in 0..20_000 {
        let _ = writeln!(trades, "{trade},\"a, b\n{trade},\"\"c\"\", 7\nx\",{}", trade % 4);
    }
    folder.put("t.csv", trades);
    let report = checked(&folder, 0, "--trades t.csv --instruments i.csv --sample 10% --min-match 70%");
    assert_eq!((&report["trades"]["rejected"], &report["trades"]["sampled"]), (&0.into(), &"blocks".into()));
    assert!((percent(&report) - 75.0).abs() < 1.0, "{report}");
}

#[test]
fn of_a_pipe_the_start_is_read_which_is_said() {
    let folder = Folder::new();
    let pipe = |flags: &str| {
        let line = format!("check --trades - --format csv --instruments instruments.csv {flags}");
        let mut child =
            folder.command(&line).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
        let rows = "1,2024-11-01T13:30:00Z,1,7,1,1,buy,\n".repeat(10_000);
        let head = TRADES.lines().next().expect("a header");
        // It may have read enough before all is written.
        let _ = child.stdin.take().expect("a pipe").write_all(format!("{head}\n{rows}").as_bytes());
        let output = child.wait_with_output().expect("it ends");
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    let (code, text) = pipe("--sample 100");
    assert!(code == Some(0) && text.contains("trades of a pipe, which may be unlike the others"), "{text}");
    let (code, text) = pipe("");
    assert!(code == Some(0) && text.contains("-: all of 10,000 trades"), "{text}");
}
