//! Bad records that are put aside, and how many there may be: a test for each line of
//! `docs/semantics.md`, of its name.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;

use crate::support::{Folder, INSTRUMENTS};

/// The letters of a file.
fn letters(folder: &Folder, name: &str) -> Vec<Value> {
    let object = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    folder.read(name).lines().map(object).collect()
}

/// The reasons of a run with these arguments, which goes well.
pub(crate) fn reasons(folder: &Folder, run: &str) -> Vec<String> {
    let aside = "--on-bad-record dead-letter --dead-letters d.jsonl --unmatched keep --output o.jsonl";
    folder.ok(&format!("run {run} {aside}"));
    let letters = letters(folder, "d.jsonl");
    letters.iter().map(|letter| letter["reason"].as_str().expect("a reason").to_owned()).collect()
}

#[test]
fn a_bad_record_is_put_aside_with_its_reason() {
    let folder = Folder::new();
    folder.put("t.csv", b"trade_id,instrument_id\na,1\nb,x\nc,\xff\nd,2,3\n");
    let run = "--trades t.csv --instruments instruments.csv";
    assert_eq!(reasons(&folder, run), ["not-an-id", "not-utf8", "too-many-fields"]);
    let said = "t.csv, line 3, column instrument_id: \"x\": not an unsigned integer";
    let expected = serde_json::json!({
        "reason": "not-an-id", "source": "t.csv", "line": 3, "column": "instrument_id", "value": "x",
        "message": said, "raw": "b,x",
    });
    let found = letters(&folder, "d.jsonl");
    assert_eq!(found[0], expected);
    assert_eq!(found[1]["raw_base64"], "Yyz/");
    assert_eq!(found[2]["raw"], "d,2,3");
    let ran = folder.run(&format!(
        "run {run} --on-bad-record dead-letter --dead-letters d.jsonl --output o.csv --json --dead-letter-time"
    ));
    let summary: Value = serde_json::from_str(&ran.stdout).expect("a summary");
    assert_eq!((&summary["outcomes"]["rejected"], &summary["rows_read"]), (&3.into(), &4.into()));
    assert!(ran.stderr.contains(&format!("3 bad records were put aside in d.jsonl; the first:\n  {said}")));
    let time = letters(&folder, "d.jsonl")[0]["time"].as_str().map(str::len);
    assert_eq!(time, Some("2024-11-03T00:00:00.000Z".len()));
}

#[test]
fn bad_rows_of_tables_come_before_trades() {
    let folder = Folder::new();
    folder.put("i.csv", format!("{INSTRUMENTS}x,SPY,1,2024-11-03,call\n5,SPY,1,2024-02-30,call\n"));
    folder.put("u.jsonl", "{\"user_id\":1,\"username\":\"kim\"}\n{\"user_id\":-1,\"username\":\"lee\"}\n");
    folder.put("t.csv", "trade_id,instrument_id,user_id\na,y,1\n");
    let run = "--trades t.csv --instruments i.csv --users u.jsonl";
    let mut seen = BTreeSet::new();
    for distribution in ["partitioned", "broadcast"] {
        for batch_len in [1, 2, 100] {
            let flags = format!(
                "{run} --batch-len {batch_len} --workers 3 --distribution instruments={distribution} \
                 --distribution users={distribution}"
            );
            assert_eq!(reasons(&folder, &flags), ["not-an-id", "no-such-day", "not-an-id", "not-an-id"]);
            seen.insert(folder.read("d.jsonl"));
        }
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
    let sources: Vec<_> = letters(&folder, "d.jsonl").iter().map(|letter| letter["source"].clone()).collect();
    assert_eq!(sources, ["i.csv", "i.csv", "u.jsonl", "t.csv"]);
}

#[test]
fn a_long_record_is_cut_and_its_length_told() {
    let folder = Folder::new();
    let note = "é".repeat(100_000);
    folder.put("t.csv", format!("instrument_id,note\nx,{note}\n"));
    reasons(&folder, "--trades t.csv --instruments instruments.csv");
    let letter = &letters(&folder, "d.jsonl")[0];
    assert_eq!(letter["raw"].as_str().map(str::len), Some(64 << 10));
    assert_eq!(letter["raw_bytes"], 200_002);
}

#[test]
fn a_quote_that_is_never_closed_is_one_bad_record() {
    let folder = Folder::new();
    let rest = (3..=10_000).fold(String::new(), |mut rest, id| {
        let _ = writeln!(rest, "{id},1,n");
        rest
    });
    folder.put("t.csv", format!("trade_id,instrument_id,note\n1,1,n\n2,1,\"n\n{rest}"));
    folder.put("i.csv", format!("{INSTRUMENTS}4,\"SPY,1,2024-11-03,call\n5,SPY,1,2024-11-03,call\n"));
    folder.put("head.csv", "trade_id,\"instrument_id\n1,1\n");
    let good = "--trades trades.csv --instruments instruments.csv";
    let trades = "--trades t.csv --instruments instruments.csv";
    let table = "--trades trades.csv --instruments i.csv";
    let header = "--trades head.csv --instruments instruments.csv";
    let said = |place: &str| format!("{place}: a quote is never closed, so that all to the end of the input");
    for (run, place) in [(trades, "t.csv, line 3"), (table, "i.csv, line 5"), (header, "head.csv, line 1")] {
        for command in ["run --quiet --output o.csv", "check"] {
            let code = if command == "check" && run != header { 1 } else { 65 };
            let ran = folder.run(&format!("{command} {run}"));
            assert_eq!(ran.code, code, "{command} {run}: {}{}", ran.stdout, ran.stderr);
            assert!([ran.stdout, ran.stderr].concat().contains(&said(place)), "{command} {run}");
        }
    }
    assert_eq!(folder.names(), ["head.csv", "i.csv", "instruments.csv", "t.csv", "trades.csv", "users.csv"]);

    assert_eq!(reasons(&folder, trades), ["open-quote"]);
    let letter = &letters(&folder, "d.jsonl")[0];
    assert_eq!((&letter["line"], letter.get("column")), (&3.into(), None));
    assert_eq!(letter["raw"].as_str().map(str::len), Some(64 << 10));
    assert_eq!(letter["raw_bytes"], "2,1,\"n\n".len() + rest.len());
    assert_eq!(folder.read("o.jsonl").lines().count(), 1);
    assert_eq!(reasons(&folder, table), ["open-quote"]);
    let kept = format!("run {trades} --on-bad-record skip --output o.csv --checkpoint kept --json");
    let summary: Value = serde_json::from_str(&folder.ok(&kept)).expect("a summary");
    assert_eq!((&summary["rows_read"], &summary["outcomes"]["rejected"]), (&2.into(), &1.into()));

    // Of an output, too, even if nothing stands behind the quote.
    folder.ok(&format!("run {good} --unmatched keep --output o.csv --quiet"));
    folder.put("o.csv", format!("{}\"", folder.read("o.csv").trim_end()));
    let ran = folder.run(&format!("verify o.csv {good} --unmatched keep"));
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stdout.contains("row 5, trade_id 5: is no record"), "{}", ran.stdout);
}

#[test]
fn a_bad_row_without_a_text_is_told_by_its_fields() {
    let folder = Folder::new();
    folder.put("t.csv", "instrument_id,note\n1,a\n,b\n2,c\n");
    let convert = "--table x=instruments.csv,key=note@ticker,columns=strike --unmatched keep";
    folder.ok(&format!("run --trades t.csv {convert} --output t.parquet"));
    let run = "--trades t.parquet --instruments instruments.csv";
    assert_eq!(reasons(&folder, run), ["no-value"]);
    let letter = &letters(&folder, "d.jsonl")[0];
    assert_eq!((&letter["row"], &letter["fields"]["note"]), (&2.into(), &"b".into()));
    assert_eq!((letter.get("raw"), letter.get("line")), (None, None));
}

/// The record of a letter, as it stood.
fn raw(letter: &Value) -> Vec<u8> {
    if let Some(text) = letter["raw"].as_str() {
        return text.as_bytes().to_vec();
    }
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = letter["raw_base64"].as_str().expect("one or the other");
    let (mut bytes, mut bits) = (Vec::new(), 0_u32);
    for (at, digit) in text.trim_end_matches('=').chars().enumerate() {
        bits = bits << 6 | DIGITS.find(digit).expect("a digit") as u32;
        if at % 4 != 0 {
            bytes.push((bits >> (6 - 2 * (at % 4))) as u8);
        }
    }
    bytes
}

/// A line with something wrong, most often: no quote and no end of a line, so that it stays one.
fn spoilt(draw: &mut StdRng, line: &str) -> Vec<u8> {
    // Of an object no part that would be another member.
    let ways = if line.starts_with('{') { 4 } else { 6 };
    let mut bytes = line.as_bytes().to_vec();
    let at = draw.random_range(0..bytes.len());
    match draw.random_range(0..ways) {
        0 => bytes[at] = 0xff,
        1 => bytes.truncate(at.max(1)),
        2 => bytes[at] = 0,
        3 => bytes = b"garbage".to_vec(),
        4 => bytes.insert(at, b','),
        _ => bytes[at] = b'x',
    }
    bytes
}

/// Runs in many ways, and gives what is written and what is put aside: the same each time.
fn written_in_many_ways(folder: &Folder, run: &str) -> (String, Vec<Value>) {
    let mut first = None;
    for (workers, batch_len) in [(1, 1), (1, 1_000), (2, 7), (3, 2), (2, 64)] {
        let aside = "--on-bad-record dead-letter --dead-letters d.jsonl --quiet";
        folder.ok(&format!("run {run} {aside} --workers {workers} --batch-len {batch_len}"));
        let written = (folder.read("o"), folder.read("d.jsonl"));
        let expected = first.get_or_insert_with(|| written.clone());
        assert_eq!(&written, expected, "{run}, {workers} workers, batches of {batch_len}");
    }
    (folder.read("o"), letters(folder, "d.jsonl"))
}

/// Checks that each line is either the beginning of the next one that was written or the next
/// that was put aside.
fn check_each_once(lines: &[Vec<u8>], written: &[&[u8]], letters: &[Value], first_line: u64) {
    let (mut written, mut letters) = (written.iter(), letters.iter().peekable());
    for (line, number) in lines.iter().zip(first_line..) {
        match letters.next_if(|letter| letter["line"] == number) {
            Some(letter) => assert_eq!(&raw(letter), line, "line {number}"),
            None => {
                let text = String::from_utf8_lossy(line);
                let next = written.next().unwrap_or_else(|| panic!("line {number} is lost: {text}"));
                assert!(next.starts_with(line), "line {number}: {text}");
            }
        }
    }
    assert_eq!((written.next(), letters.next()), (None, None), "nothing else");
}

#[test]
fn every_line_is_written_or_put_aside_for_any_workers_and_batches() {
    let folder = Folder::new();
    for seed in 0..8 {
        let mut draw = StdRng::seed_from_u64(seed);
        let share = draw.random_range(0.0..0.3);
        let mut lines: [Vec<Vec<u8>>; 2] = Default::default();
        for number in 0..draw.random_range(1..200) {
            let key = draw.random_range(1..5);
            let of_csv = format!("{number},{key},note");
            let of_json = format!("{{\"trade_id\":{number},\"instrument_id\":{key},\"note\":\"n\"}}");
            let is_bad = number > 0 && draw.random_bool(share);
            for (lines, line) in lines.iter_mut().zip([of_csv, of_json]) {
                lines.push(if is_bad { spoilt(&mut draw, &line) } else { line.into() });
            }
        }
        let [of_csv, of_json] = &lines;
        let run = |file: &str, to: &str| {
            format!(
                "--trades {file} --instruments instruments.csv --unmatched keep --output o --output-format {to}"
            )
        };
        folder.put("t.csv", [&b"trade_id,instrument_id,note\n"[..], &of_csv.join(&b'\n')].concat());
        let (written, aside) = written_in_many_ways(&folder, &run("t.csv", "csv"));
        let rows: Vec<_> = written.lines().skip(1).map(str::as_bytes).collect();
        check_each_once(of_csv, &rows, &aside, 2);
        folder.put("t.jsonl", of_json.join(&b'\n'));
        let (written, aside) = written_in_many_ways(&folder, &run("t.jsonl", "jsonl"));
        // Without the bracket at the end, which stands behind what is added.
        let rows: Vec<_> = written.lines().map(|line| line.replace(",\"instrument\"", "}")).collect();
        let rows: Vec<_> = rows.iter().map(String::as_bytes).collect();
        check_each_once(of_json, &rows, &aside, 1);
    }
}

#[test]
fn letters_of_a_stream_stand_in_its_order() {
    let folder = Folder::empty();
    for seed in 0..12 {
        let mut draw = StdRng::seed_from_u64(seed);
        let mut stream = Vec::new();
        for number in 0..draw.random_range(1..300) {
            let key = draw.random_range(1..9);
            let line = match draw.random_range(0..5) {
                0 => format!("{{\"type\":\"user\",\"user_id\":{key},\"username\":\"u{number}\"}}"),
                1 => format!(
                    "{{\"type\":\"instrument\",\"instrument_id\":{key},\"ticker\":\"A\",\"strike\":{number},\
                     \"expiry\":\"2024-11-03\",\"option_type\":\"C\",\"deleted\":{}}}",
                    draw.random_bool(0.4)
                ),
                _ => format!(
                    "{{\"type\":\"trade\",\"trade_id\":{number},\"instrument_id\":{key},\"user_id\":{}}}",
                    draw.random_range(1..9)
                ),
            };
            let is_bad = number > 0 && draw.random_bool(0.2);
            stream.extend(if is_bad { spoilt(&mut draw, &line) } else { line.into_bytes() });
            stream.push(b'\n');
        }
        folder.put("s.jsonl", &stream);
        let rows = draw.random_range(1..20);
        for policies in [
            "--on-miss instruments=dead-letter --on-miss users=dead-letter".to_owned(),
            format!("--on-miss instruments=hold={rows}rows --on-miss users=dead-letter"),
            format!("--on-miss instruments=hold={rows}rows --on-miss users=hold=5rows --order strict"),
        ] {
            let run = "--messages s.jsonl --tables instruments,users --output o --output-format jsonl";
            let (_, aside) = written_in_many_ways(&folder, &format!("{run} {policies}"));
            let lines: Vec<_> = aside.iter().filter_map(|letter| letter["line"].as_u64()).collect();
            assert!(lines.is_sorted(), "{lines:?}");
            if !policies.contains("hold") {
                // What is put aside at its own place stands between the bad lines around it.
                let trades: Vec<_> = aside.iter().filter_map(|letter| letter["trade"].as_u64()).collect();
                assert!(trades.is_sorted(), "{trades:?}");
            }
        }
    }
}

#[test]
fn a_letter_stands_behind_what_was_read_before_it() {
    let folder = Folder::empty();
    let change = "{\"type\":\"instrument\",\"instrument_id\":1,\"ticker\":\"A\",\"strike\":1,\
                  \"expiry\":\"2024-11-03\",\"option_type\":\"C\"}";
    let user = "{\"type\":\"user\",\"user_id\":1,\"username\":\"u\"}";
    let trade = "{\"type\":\"trade\",\"instrument_id\":1,\"user_id\":2}";
    let other = trade.replace(":1,", ":3,");
    // The change frees the first trade of one table; of the other it waits to its limit.
    let lines = [trade, "bad", change, "bad", user, "bad", &other, "bad", &other, "bad", &other, "bad"];
    folder.put("s.jsonl", lines.join("\n"));
    let run = "--messages s.jsonl --tables instruments,users --output o --output-format jsonl \
               --on-miss instruments=hold=1rows --on-miss users=hold=2rows";
    let (_, aside) = written_in_many_ways(&folder, run);
    let places: Vec<_> = aside
        .iter()
        .map(|letter| match (&letter["line"], &letter["trade"]) {
            (Value::Null, trade) => format!("t{trade}"),
            (line, _) => line.to_string(),
        })
        .collect();
    assert_eq!(places.join(" "), "2 4 6 8 t1 t2 10 t3 12 t4", "{aside:?}");
}

#[test]
fn refused_changes_have_the_place_of_the_change_before_them() {
    let folder = Folder::new();
    for seed in 0..8 {
        let mut draw = StdRng::seed_from_u64(seed);
        let mut trades = b"trade_id,timestamp,instrument_id\n".to_vec();
        let mut changes = Vec::new();
        let (mut time, mut of_changes) = (1_000_u64, 1_000_u64);
        for number in 0..draw.random_range(1..200) {
            time += draw.random_range(0..3);
            let line = format!("{number},{time},{}", draw.random_range(1..6));
            trades.extend(if draw.random_bool(0.2) { spoilt(&mut draw, &line) } else { line.into_bytes() });
            trades.push(b'\n');
            while draw.random_bool(0.4) {
                of_changes += draw.random_range(0..4);
                let line = match draw.random_range(0..5) {
                    0 => format!("{{\"type\":\"watermark\",\"timestamp\":{of_changes}}}"),
                    _ => format!(
                        "{{\"type\":\"instrument\",\"timestamp\":{of_changes},\"instrument_id\":{},\"ticker\":\"A\",\
                         \"strike\":1,\"expiry\":\"2024-11-03\",\"option_type\":\"C\",\"deleted\":{}}}",
                        draw.random_range(1..6),
                        draw.random_bool(0.5)
                    ),
                };
                changes.extend(if draw.random_bool(0.3) {
                    spoilt(&mut draw, &line)
                } else {
                    line.into_bytes()
                });
                changes.push(b'\n');
            }
        }
        folder.put("t.csv", &trades);
        folder.put("c.jsonl", &changes);
        let run = "--trades t.csv --instruments instruments.csv --table-changes c.jsonl --output o \
                   --output-format csv";
        for policy in ["dead-letter", "hold=4rows"] {
            written_in_many_ways(&folder, &format!("{run} --on-miss instruments={policy}"));
        }
    }
}

/// Trades of which these lines are bad.
fn trades_with(bad: &[usize], lines: usize) -> String {
    let mut trades = "trade_id,instrument_id\n".to_owned();
    for line in 2..=lines {
        let _ = writeln!(trades, "{line},{}", if bad.contains(&line) { "x" } else { "1" });
    }
    trades
}

#[test]
fn one_bad_record_too_many_ends_the_run() {
    let folder = Folder::new();
    folder.put("t.csv", trades_with(&[3, 5, 60, 61], 100));
    folder.put("i.csv", format!("{INSTRUMENTS}x,SPY,1,2024-11-03,call\n"));
    let run = "run --trades t.csv --instruments i.csv --output o.csv --quiet --on-bad-record";
    for (workers, batch_len) in [(1, 1), (3, 5), (2, 1_000)] {
        for policy in ["skip", "dead-letter --dead-letters d.jsonl"] {
            let run = format!("{run} {policy} --workers {workers} --batch-len {batch_len}");
            folder.ok(&format!("{run} --max-bad 5"));
            let said = folder.fails(65, &format!("{run} --max-bad 2"));
            let expected = "error: 3 bad records, more than the 2 that are allowed (--max-bad); the first: i.csv, line 5, \
                            column instrument_id: \"x\": not an unsigned integer; t.csv, line 3, ";
            assert!(said.starts_with(expected), "{said}");
            assert_eq!(said.matches("not an unsigned integer").count(), 3, "{said}");
            folder.fails(65, &format!("{run} --max-bad 4"));
            folder.fails(65, &format!("{run} --max-bad 0"));
        }
    }
    let said = folder.fails(2, &format!("{run} fail --max-bad 2"));
    assert!(said.contains("--max-bad is for bad records that are left out"), "{said}");
    let said = folder.fails(2, &format!("{run} dead-letter"));
    assert!(said.contains("give --dead-letters FILE"), "{said}");
    assert!(folder.fails(2, &format!("{run} skip --max-bad few")).contains("such as 0.1%"));
}

#[test]
fn a_share_is_judged_from_line_1000_on_and_at_the_end() {
    let folder = Folder::new();
    let run = "run --trades t.csv --instruments instruments.csv --output o.csv --quiet --on-bad-record skip";
    let ended = |bad: &[usize], lines: usize, share: &str| {
        folder.put("t.csv", trades_with(bad, lines));
        let ended = [(1, 1), (3, 100), (2, 100_000)].map(|(workers, batch_len)| {
            let ran =
                folder.run(&format!("{run} --max-bad {share} --workers {workers} --batch-len {batch_len}"));
            assert!([0, 65].contains(&ran.code), "{}", ran.stderr);
            ran.stderr.split_once(", more than").map(|(what, _)| what.replace("error: ", ""))
        });
        assert!(ended.iter().all(|other| *other == ended[0]), "{ended:?}");
        ended[0].clone()
    };
    // The first line is bad, and few of all are.
    assert_eq!(ended(&[2, 3, 4], 3_001, "0.1%"), None);
    assert_eq!(ended(&[2, 3, 4], 3_000, "0.1%").as_deref(), Some("3 bad records among 2999 trades"));
    let first: Vec<_> = (2..=12).collect();
    let early = ended(&[&first[..], &[1_000]].concat(), 20_000, "1%");
    assert_eq!(early.as_deref(), Some("12 bad records in the first 1000 lines or rows of t.csv"));
    assert_eq!(ended(&[&first[..], &[1_200]].concat(), 20_000, "1%"), None, "12 of 1,200 are one percent");
    folder.put("t.csv", trades_with(&[], 10));
    folder.put("instruments.csv", format!("{INSTRUMENTS}x,SPY,1,2024-11-03,call\n"));
    for distribution in ["partitioned", "broadcast"] {
        let said =
            folder.fails(65, &format!("{run} --max-bad 24.99% --distribution instruments={distribution}"));
        assert!(said.contains("1 bad record among 4 rows of instruments, more than the 24.99%"), "{said}");
        folder.ok(&format!("{run} --max-bad 25% --distribution instruments={distribution}"));
    }
}

#[test]
fn dead_letters_beyond_their_bound_end_the_run() {
    let folder = Folder::new();
    folder.put("t.csv", trades_with(&[3, 5], 10));
    let run = "run --trades t.csv --instruments instruments.csv --output o.csv --on-bad-record dead-letter \
               --dead-letters d.jsonl --quiet";
    folder.ok(run);
    let bytes = folder.read("d.jsonl").len();
    for batch_len in [1, 100] {
        let run = format!("{run} --batch-len {batch_len} --dead-letters-max");
        folder.ok(&format!("{run} {bytes}"));
        let said = folder.fails(65, &format!("{run} {}", bytes - 1));
        assert!(
            said.contains(&format!("d.jsonl: the dead letters take more than {} bytes", bytes - 1)),
            "{said}"
        );
    }
}

#[test]
fn a_replay_leaves_bad_records_where_they_are() {
    let folder = Folder::new();
    folder.put("t.csv", "trade_id,instrument_id\na,1\nb,x\nc,5\nd,y\ne,2\nf,6\n");
    let aside = "--on-bad-record dead-letter --on-miss instruments=dead-letter --dead-letters d.jsonl";
    folder.ok(&format!("run --trades t.csv --instruments instruments.csv {aside} --output o.csv"));
    folder.put("newer.csv", format!("{INSTRUMENTS}5,SPY,1,2024-11-03,call\n"));
    let replay = "replay d.jsonl --instruments newer.csv --dead-letters still.jsonl";
    let ran = folder.run(&format!("{replay} --output r.csv"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("2 dead letters are of bad records, and are left where they are"),
        "{}",
        ran.stderr
    );
    assert_eq!(folder.read("r.csv"), "trade_id,instrument_id,instrument\nc,5,SPY241103C00001000\n");
    let still = letters(&folder, "still.jsonl");
    assert_eq!(still.iter().map(|letter| letter["trade"].as_u64()).collect::<Vec<_>>(), [Some(4)]);
    folder.ok(&format!("{replay} --into o.csv --output all.csv"));
    let all = folder.read("all.csv");
    let ids: String = all.lines().skip(1).map(|line| &line[..1]).collect();
    assert_eq!(ids, "ace");
    folder.put("d.jsonl", "{\"reason\":\"no-reason\",\"message\":\"m\",\"trade\":1,\"fields\":{}}\n");
    assert!(folder.fails(65, &format!("{replay} --output r.csv")).contains("reason is \"no-reason\""));
}

#[test]
fn a_budget_counts_on_where_a_run_goes_on() {
    let folder = Folder::new();
    let bad: Vec<_> = (1..=5).map(|number| number * 300).collect();
    folder.put("t.csv", trades_with(&bad, 2_000));
    let run =
        "run --trades t.csv --instruments instruments.csv --on-bad-record dead-letter --quiet --batch-len 10";
    folder.ok(&format!("{run} --output whole.csv --dead-letters whole.jsonl"));
    let kept = format!(
        "{run} --output o.csv --dead-letters d.jsonl --checkpoint state --checkpoint-every 1rows --dead-letters-max"
    );
    let bytes = folder.read("whole.jsonl").len();
    for (max, said) in [(3, "4 bad records"), (4, "5 bad records")] {
        let ran = folder.fails(65, &format!("{kept} {bytes} --max-bad {max}"));
        assert!(ran.contains(said), "{ran}");
    }
    let said = folder.fails(65, &format!("{kept} {} --max-bad 5", bytes - 1));
    assert!(said.contains("the dead letters take more than"), "{said}");
    folder.ok(&format!("{kept} {bytes} --max-bad 5"));
    assert_eq!(folder.read("d.jsonl"), folder.read("whole.jsonl"));
    assert_eq!(folder.read("o.csv"), folder.read("whole.csv"));
    let packed = "--dead-letters d.jsonl.gz --dead-letters-max 1GB --checkpoint other";
    let said = folder.fails(2, &format!("{run} --output o.csv {packed}"));
    assert!(said.contains("--dead-letters-max for a packed file"), "{said}");
}
