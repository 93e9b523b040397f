//! What comes out, for any number of workers and every format.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use serde_json::Value;

use crate::support::{ENRICHED, Folder, TRADES};

const JOB: &str = "run --trades trades.csv --instruments instruments.csv --users users.csv";

/// The last line of what was printed, as JSON.
fn json(printed: &str) -> Value {
    serde_json::from_str(printed.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {printed}"))
}

#[test]
fn both_tables_are_joined_in_one_pass() {
    let folder = Folder::new();
    assert_eq!(folder.ok(JOB), ENRICHED);
    let printed = folder.ok(&format!("{JOB} --output out.csv --json"));
    assert_eq!(folder.read("out.csv"), ENRICHED);
    let summary = json(&printed);
    assert_eq!(summary["rows_read"], 5);
    assert_eq!(summary["rows_written"], 2);
    assert_eq!(summary["outcomes"], serde_json::json!({"enriched": 2, "unmatched": 3, "rejected": 0}));
    assert_eq!(summary["tables"][0]["missed"], 2);
    let missing = serde_json::json!([{"key": "99", "count": 2, "first_trade": 3, "last_trade": 5}]);
    assert_eq!(summary["tables"][0]["missing_keys"], missing);
    let of_users = &summary["tables"][1]["missing_keys"];
    assert_eq!((&of_users[0]["key"], &of_users[1]["key"]), (&"99".into(), &Value::Null));
    assert_eq!(summary["tables"][1]["missed"], 2);
}

#[test]
fn trades_that_find_nothing_can_be_kept() {
    let folder = Folder::new();
    let kept = folder.ok(&format!("{JOB} --unmatched keep"));
    let rows: Vec<_> = kept.lines().collect();
    assert_eq!(rows.len(), 6);
    assert_eq!(rows[3], "3,2024-11-01T13:30:01Z,99,7,0.05,1,buy,,,kim");
    assert_eq!(rows[4], "4,2024-11-01T13:30:02Z,3,99,12.345,2,sell,Z,F260320P00007125,");
    assert_eq!(rows[5], "5,2024-11-01T13:30:03Z,99,,1,1,buy,Z,,");
}

#[test]
fn the_bytes_do_not_depend_on_workers_batches_queues_or_distribution() {
    let folder = Folder::empty();
    folder.ok("generate --trades t.csv --instruments i.csv --users u.csv --ids 500 --limit 20000 --unknown-share 0.1 --quiet");
    let job = "run --trades t.csv --instruments i.csv --users u.csv --unmatched keep";
    let expected = folder.ok(job);
    assert_eq!(expected.lines().count(), 20_001);
    for workers in [1, 2, 3, 7, 16] {
        for how in ["auto", "partitioned", "broadcast"] {
            let printed = folder.ok(&format!("{job} --workers {workers} --distribution instruments={how}"));
            assert!(printed == expected, "{workers} workers, {how}");
        }
    }
    for rest in [
        "--workers 3 --batch-len 1 --limit 500",
        "--workers 5 --batch-len 333 --queue-depth 1",
        "--workers 4 --distribution instruments=broadcast,users=partitioned",
        "--workers 2 --distribution instruments=partitioned --distribution users=partitioned",
    ] {
        let printed = folder.ok(&format!("{job} {rest}"));
        let lines = printed.lines().count();
        assert!(
            printed.lines().eq(expected.lines().take(lines)) && (lines == 501 || lines == 20_001),
            "{rest}"
        );
    }
    let arrival =
        folder.ok(&format!("{job} --workers 4 --order arrival --distribution instruments=broadcast"));
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert!(sorted(&arrival) == sorted(&expected), "the same rows in any order");
}

#[test]
fn the_summary_says_how_a_table_was_spread() {
    let folder = Folder::empty();
    folder.ok("generate --trades t.csv --instruments i.csv --ids 500 --limit 2000 --quiet");
    let of_file = "run --trades t.csv --instruments i.csv --output o.csv --workers 8";
    for (line, expected) in [
        (of_file.to_owned(), "broadcast"),
        (format!("{of_file} --distribution instruments=partitioned"), "partitioned"),
        ("run --limit 2000 --workers 4".to_owned(), "broadcast"),
        ("run --limit 2000 --workers 4 --distribution instruments=partitioned".to_owned(), "partitioned"),
    ] {
        let printed = folder.ok(&format!("{line} --json"));
        let summary: serde_json::Value = serde_json::from_str(&printed).expect("one line of JSON");
        assert_eq!(summary["tables"][0]["distribution"], expected, "{line}");
    }
}

#[test]
fn no_more_workers_run_than_there_are_cores_unless_shards_are_asked_for() {
    let folder = Folder::empty();
    let line = "run --limit 2000 --workers 1024";
    let cores = std::thread::available_parallelism().expect("a number of cores").get();
    let summary: serde_json::Value =
        serde_json::from_str(&folder.ok(&format!("{line} --json"))).expect("one line of JSON");
    assert_eq!(summary["workers"], cores.min(1024));
    assert_eq!(summary["shards"].as_array().map(Vec::len), Some(cores.min(1024)));
    let text = folder.ok(line);
    assert!(text.contains(&format!("workers: {cores} of 1024 asked for, one for each core")), "{text}");
    let line = "run --limit 2000 --workers 64 --distribution instruments=partitioned --json";
    let summary: serde_json::Value = serde_json::from_str(&folder.ok(line)).expect("one line of JSON");
    assert_eq!(summary["workers"], 64);
}

#[test]
fn every_pair_of_formats_gives_the_same_rows() {
    let folder = Folder::new();
    let formats = ["csv", "csv.gz", "csv.zst", "jsonl", "ndjson.gz", "jsonl.zst", "parquet", "arrow"];
    let job = "--instruments instruments.csv --users users.csv";
    // A trade's price goes through a decimal: it comes back in the shortest form.
    let expected = ENRICHED.replace("1.70", "1.7");
    for first in formats {
        folder.ok(&format!("{JOB} --unmatched keep --columns ticker --output in.{first} --quiet"));
        for second in formats {
            folder.ok(&format!("run --trades in.{first} {job} --output out.{second} --quiet"));
            let back = folder.ok(&format!(
                "run --trades out.{second} --instruments instruments.csv --columns strike --output - --output-format csv"
            ));
            let back = back.replace(",strike\n", "\n").replace(",200\n", "\n").replace(",150.5\n", "\n");
            let back = back.replace("ticker,", "").replace(",SPY,", ",").replace(",AAPL,", ",");
            assert_eq!(back.replace("1.70", "1.7"), expected, "{first} to {second}");
        }
    }
}

#[test]
fn tables_of_every_format_are_the_same_tables() {
    let folder = Folder::empty();
    folder.ok("generate --trades t.csv --instruments i.csv --users u.csv --ids 300 --limit 2000 --quiet");
    let expected = folder.ok("run --trades t.csv --instruments i.csv --users u.csv");
    for format in ["jsonl", "parquet", "arrow", "csv.zst"] {
        folder.ok(&format!("generate --instruments i.{format} --users u.{format} --ids 300 --quiet"));
        let printed = folder.ok(&format!("run --trades t.csv --instruments i.{format} --users u.{format}"));
        assert!(printed == expected, "{format}");
    }
}

#[test]
fn columns_can_be_chosen_and_renamed() {
    let folder = Folder::new();
    let printed = folder
        .command("run --trades trades.csv --instruments instruments.csv --limit 1")
        .args(["--columns", "expiry as matures, instrument_padded,instruments.strike,option_type"])
        .output()
        .expect("the command runs");
    let printed = String::from_utf8(printed.stdout).expect("text");
    let (header, row) = printed.trim_end().split_once('\n').expect("two lines");
    assert!(header.ends_with(",venue,matures,instrument_padded,strike,option_type"), "{header}");
    assert!(row.ends_with(",2024-11-03,SPY   241103C00200000,200,call"), "{row}");
}

#[test]
fn text_comes_out_as_it_went_in() {
    let folder = Folder::new();
    folder.put("odd.csv", "px,instrument_id,when\n 01.700 ,1,yesterday\n+1e2,2,\"a \"\"b\"\"\"\n");
    assert_eq!(
        folder.ok("run --trades odd.csv --instruments instruments.csv"),
        "px,instrument_id,when,instrument\n 01.700 ,1,yesterday,SPY241103C00200000\n\
         +1e2,2,\"a \"\"b\"\"\",AAPL250117P00150500\n"
    );
    folder
        .put("odd.jsonl", "{\"instrument_id\":1,\"px\":1.700,\"deep\":{\"a\":[1,2.50]},\"s\":\"\\u00e9\"}\n");
    assert_eq!(
        folder.ok("run --trades odd.jsonl --instruments instruments.csv"),
        "{\"instrument_id\":1,\"px\":1.700,\"deep\":{\"a\":[1,2.50]},\"s\":\"\\u00e9\",\"instrument\":\"SPY241103C00200000\"}\n"
    );
}

#[test]
fn no_trades_is_a_header_and_success() {
    let folder = Folder::new();
    folder.put("empty.csv", TRADES.lines().next().unwrap_or_default());
    let header = ENRICHED.lines().next().unwrap_or_default();
    let job = "run --trades empty.csv --instruments instruments.csv --users users.csv";
    assert_eq!(folder.ok(job), format!("{header}\n"));
    for format in ["parquet", "arrow", "jsonl", "csv.gz"] {
        folder.ok(&format!("{job} --output out.{format} --quiet"));
        assert!(folder.path(&format!("out.{format}")).exists());
    }
    folder.put("nothing.jsonl", "");
    assert_eq!(folder.ok("run --trades nothing.jsonl --instruments instruments.csv"), "");
}

#[test]
fn a_file_without_a_byte_has_no_trades() {
    let folder = Folder::new();
    for ending in ["csv", "csv.gz", "csv.zst", "jsonl", "jsonl.gz"] {
        folder.put(&format!("none.{ending}"), "");
        folder.ok(&format!("run --trades none.{ending} --instruments instruments.csv --output out.csv"));
        let out = folder.read("out.csv");
        assert!(out.ends_with(",instrument\n") && out.lines().count() == 1, "{ending}: {out}");
    }
}

#[test]
fn a_limit_counts_records_whatever_the_batches_are() {
    let folder = Folder::new();
    let lines: Vec<_> = TRADES.lines().collect();
    // The second record is bad, and so is what stands behind the limit.
    let rows = [lines[0], lines[1], "x,y", lines[2], lines[3], "bad"].join("\n");
    folder.put("t.csv", rows);
    let job = "run --trades t.csv --instruments instruments.csv --output out.csv --on-bad-record skip --json";
    for batch_len in [1, 2, 3, 8_192] {
        for (limit, rows_read, rejected) in [(1, 1, 0), (2, 2, 1), (3, 3, 1), (9, 5, 2)] {
            let summary = json(&folder.ok(&format!("{job} --limit {limit} --batch-len {batch_len}")));
            assert_eq!(summary["rows_read"], rows_read, "{limit} of {batch_len}");
            assert_eq!(summary["outcomes"]["rejected"], rejected, "{limit} of {batch_len}");
        }
    }
    // What is behind the limit is not looked at.
    folder.ok("run --trades trades.csv --instruments instruments.csv --output t.parquet --limit 4");
    let job = "run --trades t.parquet --instruments instruments.csv --output out.csv --json --limit 2 --columns ticker";
    assert_eq!(json(&folder.ok(job))["rows_read"], 2);
}

#[test]
fn a_device_needs_no_ending() {
    let folder = Folder::new();
    folder.ok("run --trades trades.csv --instruments instruments.csv --output /dev/null");
}

#[test]
fn the_tables_of_a_stream_can_be_named() {
    let folder = Folder::empty();
    let mut lines = vec![
        r#"{"type":"instrument","instrument_id":1,"ticker":"SPY","strike":200,"expiry":"2024-11-03","option_type":"call"}"#;
        1
    ];
    lines.extend(vec![r#"{"type":"trade","instrument_id":1,"user_id":7}"#; 1_100]);
    lines.push(r#"{"type":"user","user_id":7,"username":"kim"}"#);
    lines.push(r#"{"type":"trade","instrument_id":1,"user_id":7}"#);
    folder.put("m.jsonl", lines.join("\n"));
    let said = folder.fails(65, "run --messages m.jsonl");
    assert!(said.contains("line 1102") && said.contains("--tables"), "{said}");
    let printed = folder.ok("run --messages m.jsonl --tables users,instruments");
    assert_eq!(
        printed,
        "{\"instrument_id\":1,\"user_id\":7,\"instrument\":\"SPY241103C00200000\",\"user\":\"kim\"}\n"
    );
    assert_eq!(folder.ok("run --messages m.jsonl --tables users --on-bad-record skip").lines().count(), 1);
}

#[test]
fn standard_input_and_output_are_files_like_any() {
    let folder = Folder::new();
    for format in ["csv", "jsonl", "parquet", "arrow"] {
        folder.ok(&format!("{JOB} --unmatched keep --columns ticker --output in.{format} --quiet"));
        let input = std::fs::File::open(folder.path(&format!("in.{format}"))).expect("the file");
        let job = format!(
            "run --trades - --format {format} --instruments instruments.csv --columns user_id -o - --json"
        );
        let job = job.replace("--columns user_id", "--columns strike --output-format csv");
        let output = folder.command(&job).stdin(input).output().expect("the command runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stdout.iter().filter(|&&byte| byte == b'\n').count(), 4, "{format}");
        let summary = json(&String::from_utf8(output.stderr).expect("text"));
        assert_eq!(summary["rows_written"], 3, "the summary goes where the trades do not");
    }
}

#[test]
fn one_stream_of_trades_and_changes_is_read_in_its_order() {
    let folder = Folder::empty();
    folder.ok("generate --mix article-users --ids 50 --limit 5000 --output s.jsonl.gz --quiet");
    let summary = json(&folder.ok("run --messages s.jsonl.gz --output out.csv --workers 3 --json"));
    let generated = json(&folder.ok("run --mix article-users --ids 50 --limit 5000 --json"));
    for key in ["rows_read", "rows_written", "outcomes", "messages"] {
        assert_eq!(summary[key], generated[key], "{key}");
    }
    assert_eq!(summary["tables"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        folder.read("out.csv").lines().count() as u64,
        summary["rows_written"].as_u64().unwrap_or(0) + 1
    );
}

#[test]
fn a_generated_run_shows_trades_before_and_after() {
    let folder = Folder::empty();
    let printed = folder.ok("run --limit 5000 --seed 7");
    assert!(printed.contains('→') && printed.contains("instrument"), "{printed}");
    assert!(printed.contains("5,000 messages"), "{printed}");
    let first = json(&folder.ok("run --limit 5000 --seed 7 --workers 1 --json"));
    let second = json(&folder.ok("run --limit 5000 --seed 7 --workers 5 --batch-len 100 --json"));
    assert_eq!(first["outcomes"], second["outcomes"]);
    assert_eq!(first["messages"], 5_000);
}

#[test]
fn the_sample_shows_the_fields_of_records_that_pass_as_they_are() {
    let folder = Folder::new();
    for (from, column, to) in [
        ("trades.csv", "ticker", "out.csv"),
        ("out.csv", "strike", "out.jsonl"),
        ("out.jsonl", "expiry", "two.jsonl"),
    ] {
        let job =
            format!("run --trades {from} --instruments instruments.csv --columns {column} --output {to}");
        let printed = folder.ok(&job);
        let line = |start: &str| {
            printed.lines().find(|line| line.trim_start().starts_with(start)).map(str::to_owned)
        };
        let names = line("trade_id").unwrap_or_else(|| panic!("{from}: {printed}"));
        assert!(names.contains("instrument_id") && names.contains("venue") && names.contains('→'), "{names}");
        let first = line("1 ").unwrap_or_else(|| panic!("{from}: {printed}"));
        assert!(
            first.contains("2024-11-01T13:30:00Z") && first.contains("1.70") && first.contains("X, Y"),
            "{first}"
        );
    }
}

#[test]
fn a_table_row_can_be_deleted_and_later_rows_win() {
    let folder = Folder::new();
    folder.put(
        "i.csv",
        "instrument_id,ticker,strike,type,expiry,deleted\n1,OLD,1,call,2024-11-03,\n2,F,2,put,2024-11-03,false\n\
         1,NEW,1,call,2024-11-03,\n2,,,,,true\n",
    );
    let ran = folder.run("run --trades trades.csv --instruments i.csv --output out.csv --columns ticker");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("1 row of instruments has a key"), "{}", ran.stderr);
    let out = folder.read("out.csv");
    assert_eq!(out.lines().count(), 2);
    assert!(out.ends_with(",NEW\n"), "{out}");
}

#[test]
fn a_trade_that_has_come_through_a_pipe_goes_on_while_the_pipe_is_open() {
    let folder = Folder::new();
    for linger in ["", "--linger 0", "--linger 500us"] {
        let job = format!("run --trades - --format csv --instruments instruments.csv {linger}");
        let mut command = folder.command(&job);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the command starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = || {
            let mut line = String::new();
            stdout.read_line(&mut line).expect("text");
            line
        };
        stdin.write_all(b"trade_id,instrument_id\n1,1\n").expect("written");
        assert_eq!(line(), "trade_id,instrument_id,instrument\n");
        for id in 1..4 {
            assert_eq!(line(), format!("{id},1,SPY241103C00200000\n"));
            stdin.write_all(format!("{},1\n", id + 1).as_bytes()).expect("written");
        }
        drop(stdin);
        assert_eq!(line(), "4,1,SPY241103C00200000\n");
        assert!(child.wait().expect("it ends").success());
    }
}

#[test]
fn a_hot_key_does_not_bind_its_shard() {
    hot_keys("--limit 200000");
}

#[test]
fn a_hot_key_does_not_bind_its_shard_as_of_a_time() {
    // Of the ids on a day nine in ten mean something else than on the day before.
    hot_keys("--limit 300000 --days 5 --reused 0.9 --mode instruments=as-of");
}

/// Runs a skewed stream on four shards, and holds it to a run on one.
fn hot_keys(stream: &str) {
    let folder = Folder::empty();
    let job = format!("run --keys zipf:1.2 --ids 5000 {stream} --unmatched keep --batch-len 8192");
    folder.ok(&format!("{job} --workers 1 --output one.csv --quiet"));
    let job = format!("{job} --workers 4 --distribution instruments=partitioned");
    let summary = json(&folder.ok(&format!("{job} --output four.csv --json")));
    assert!(folder.read("four.csv") == folder.read("one.csv"));
    let counts = |name: &str| -> Vec<u64> {
        let shards = summary["shards"].as_array().expect("shards");
        shards.iter().map(|shard| shard[name].as_u64().expect("a count")).collect()
    };
    let (looked_up, repeated) = (counts("looked_up"), counts("repeated"));
    let mean = looked_up.iter().sum::<u64>() as f64 / 4.0;
    let busiest = looked_up.iter().max().copied().unwrap_or_default() as f64;
    assert!(busiest <= 1.25 * mean, "{looked_up:?}");
    let trades = summary["rows_read"].as_u64().expect("a count");
    assert_eq!(looked_up.iter().sum::<u64>() + repeated.iter().sum::<u64>(), trades);
}
