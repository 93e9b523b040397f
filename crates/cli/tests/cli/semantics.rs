//! The truth table of `docs/semantics.md`: a test for each line, of its name.

use serde_json::Value;

use crate::support::Folder;

/// A stream of messages, in words: `t1` and `t1u7` are trades of instrument 1 (and
/// user 7), `i1=SPY` and `u7=kim` upserts, `i1!` and `u7!` deletes.
fn stream(words: &str) -> String {
    let mut lines = String::new();
    let mut trades = 0;
    for word in words.split_whitespace() {
        let line = match word.split_at(1) {
            ("t", ids) => {
                trades += 1;
                let (instrument, user) = ids.split_once('u').unwrap_or((ids, "null"));
                format!(r#""type":"trade","trade_id":{trades},"instrument_id":{instrument},"user_id":{user}"#)
            }
            ("i", rest) => match rest.split_once('=') {
                Some((id, ticker)) => format!(
                    r#""type":"instrument","instrument_id":{id},"ticker":"{ticker}","strike":1,"expiry":"2024-11-03","option_type":"call""#
                ),
                None => {
                    let id = rest.trim_end_matches('!');
                    format!(r#""type":"instrument","instrument_id":{id},"deleted":true"#)
                }
            },
            ("u", rest) => match rest.split_once('=') {
                Some((id, name)) => format!(r#""type":"user","user_id":{id},"username":"{name}""#),
                None => format!(r#""type":"user","user_id":{},"deleted":true"#, rest.trim_end_matches('!')),
            },
            _ => unreachable!("{word}"),
        };
        lines += &format!("{{{line}}}\n");
    }
    lines
}

/// What a run over a stream writes: for each trade its number and what was added.
fn run(words: &str, options: &str) -> String {
    let folder = Folder::empty();
    folder.put("s.jsonl", stream(words));
    written(&folder.ok(&format!("run --messages s.jsonl --columns ticker {options}")))
}

/// The same with users.
fn run_with_users(words: &str, options: &str) -> String {
    let folder = Folder::empty();
    folder.put("s.jsonl", stream(words));
    let job = "run --messages s.jsonl --tables instruments,users --columns ticker,user";
    written(&folder.ok(&format!("{job} {options}")))
}

fn written(lines: &str) -> String {
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).expect("a trade");
        let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
        let user = row.get("user").map(|_| format!("/{}", text("user"))).unwrap_or_default();
        let waited = row.get("waited").map(|waited| format!("+{waited}")).unwrap_or_default();
        format!("{}:{}{user}{waited}", row["trade_id"], text("ticker"))
    };
    lines.lines().map(row).collect::<Vec<_>>().join(" ")
}

/// The trades that a run puts aside, with table and key.
fn aside(words: &str, options: &str) -> (String, Vec<String>) {
    let folder = Folder::empty();
    folder.put("s.jsonl", stream(words));
    let job =
        "run --messages s.jsonl --tables instruments,users --columns ticker,user --dead-letters d.jsonl";
    let rows = written(&folder.ok(&format!("{job} {options}")));
    let letter = |line: &str| {
        let letter: Value = serde_json::from_str(line).expect("a letter");
        assert_eq!(letter["reason"], "no-match");
        assert_eq!(letter["fields"]["trade_id"], letter["trade"]);
        format!("{}:{}={}", letter["trade"], letter["table"].as_str().expect("a name"), letter["key"])
    };
    (rows, folder.read("d.jsonl").lines().map(letter).collect())
}

#[test]
fn a_trade_sees_the_rows_before_it() {
    assert_eq!(run("i1=A t1 i1=B t1 t1 i1=C", ""), "1:A 2:B 3:B");
}

#[test]
fn a_row_of_a_file_is_there_before_the_first_trade() {
    let folder = Folder::new();
    assert_eq!(
        folder.ok("run --trades trades.csv --instruments instruments.csv --columns ticker").lines().count(),
        4
    );
}

#[test]
fn a_deleted_row_is_missed() {
    assert_eq!(run("i1=A t1 i1! t1 i1=B t1", "--unmatched keep"), "1:A 2:- 3:B");
}

#[test]
fn a_delete_of_a_key_that_is_not_there_changes_nothing() {
    assert_eq!(run("i1! i1=A t1 i2! t1", ""), "1:A 2:A");
}

#[test]
fn the_later_of_two_rows_of_a_file_counts() {
    let folder = Folder::new();
    folder.put("users.csv", "user_id,username\n7,old\n7,new\n8,pat\n");
    let job = "run --trades trades.csv --users users.csv --columns user";
    assert!(folder.ok(job).contains(",new\n"));
    let ran = folder.run(&format!("{job} --strict"));
    assert_eq!(ran.code, 65);
    assert!(ran.stderr.contains("line 2") && ran.stderr.contains("line 3"), "{}", ran.stderr);
}

#[test]
fn a_row_that_cannot_be_read_leaves_the_old_one_in_force() {
    let bad = r#"{"type":"instrument","instrument_id":1,"ticker":"B","strike":"x","expiry":"2024-11-03","option_type":"call"}"#;
    let folder = Folder::empty();
    folder.put("s.jsonl", format!("{}{bad}\n{}", stream("i1=A"), stream("t1")));
    assert_eq!(folder.run("run --messages s.jsonl").code, 65);
    assert_eq!(written(&folder.ok("run --messages s.jsonl --columns ticker --on-bad-record skip")), "1:A");
}

#[test]
fn a_row_of_a_table_that_the_run_has_not_is_a_bad_record() {
    let folder = Folder::empty();
    folder.put("s.jsonl", stream("i1=A u7=kim t1"));
    let ran = folder.run("run --messages s.jsonl --tables instruments");
    assert_eq!(ran.code, 65);
    assert!(ran.stderr.contains("line 2"), "{}", ran.stderr);
}

#[test]
fn a_trade_without_a_key_misses() {
    let options = "--unmatched keep --on-miss users=hold=9rows,then=keep";
    assert_eq!(run_with_users("i1=A t1 u7=kim t1u7", options), "1:A/- 2:A/kim");
    let folder = Folder::empty();
    folder.put("s.jsonl", format!("{}{{\"type\":\"trade\",\"instrument_id\":null}}\n", stream("i1=A t1")));
    assert_eq!(folder.run("run --messages s.jsonl").code, 65);
}

#[test]
fn a_miss_is_dropped_and_counted() {
    assert_eq!(run("t1 i1=A t1", ""), "2:A");
    assert_eq!(run("t1 i1=A t1", "--unmatched keep --on-miss instruments=drop"), "2:A");
}

#[test]
fn a_miss_is_kept_with_empty_columns() {
    assert_eq!(run("t1 i1=A t1", "--on-miss instruments=keep"), "1:- 2:A");
}

#[test]
fn a_miss_ends_the_run() {
    let folder = Folder::empty();
    folder.put("s.jsonl", stream("i1=A t1 t2 t1"));
    let ran = folder.run("run --messages s.jsonl --columns ticker --on-miss instruments=fail");
    assert_eq!((ran.code, ran.stdout.as_str()), (65, ""));
    assert!(ran.stderr.contains("trade 2 of those read finds nothing in instruments: instrument_id is 2"));
}

#[test]
fn a_miss_is_put_aside_with_its_reason() {
    let (rows, letters) = aside("t1u7 i1=A u7=kim t1u7", "--on-miss instruments=dead-letter");
    assert_eq!((rows.as_str(), letters), ("2:A/kim", vec![r#"1:instruments="1""#.to_owned()]));
}

#[test]
fn of_two_misses_the_one_that_decides_most_counts() {
    let both = |instruments: &str, users: &str| {
        let options = format!("--on-miss instruments={instruments} --on-miss users={users}");
        let (rows, letters) = aside("t1u7 i1=A u7=kim t1u7", &options);
        (rows, letters.len())
    };
    let hold = "hold=9rows,then=keep";
    assert_eq!(both("drop", "dead-letter"), ("2:A/kim".to_owned(), 1));
    assert_eq!(both("dead-letter", hold), ("2:A/kim".to_owned(), 1));
    assert_eq!(
        run_with_users(
            "t1u7 i1=A u7=kim t1u7",
            &format!("--on-miss instruments=drop --on-miss users={hold}")
        ),
        "2:A/kim",
        "dropped, although the other table would wait"
    );
    assert_eq!(
        run_with_users(
            "t1u7 i1=A u7=kim t1u7",
            &format!("--on-miss instruments=keep --on-miss users={hold}")
        ),
        "1:-/kim 2:A/kim",
        "it waits for the one and does without the other"
    );
}

#[test]
fn a_held_trade_goes_out_behind_the_row_that_it_waited_for() {
    let options = "--on-miss instruments=hold=9rows,then=drop --wait-column waited";
    assert_eq!(run("i2=B t1 t2 t1 i1=A t2 i1=C t1", options), "2:B+0 1:A+2 3:A+0 4:B+0 5:C+0");
}

#[test]
fn a_held_trade_keeps_what_it_found() {
    let options = "--on-miss instruments=hold=9rows,then=drop --on-miss users=drop";
    assert_eq!(run_with_users("u7=kim t1u7 u7=pat u7! i1=A i1=B", options), "1:A/kim");
}

#[test]
fn a_trade_that_misses_in_two_tables_waits_for_both() {
    let hold = "hold=9rows,then=drop";
    let options = format!("--on-miss instruments={hold} --on-miss users={hold} --wait-column waited");
    assert_eq!(
        run_with_users("i2=B u8=pat t1u7 i1=A t2u8 u7=kim t2u8", &options),
        "2:B/pat+0 1:A/kim+1 3:B/pat+0"
    );
}

#[test]
fn at_its_limit_a_held_trade_has_the_outcome_that_was_declared() {
    let words = "i2=B u8=pat t1u8 t2u8 t2u8 i1=A t2u8";
    let with = |then: &str| format!("--on-miss instruments=hold=1rows{then} --on-miss users=dead-letter");
    let keep = "1:-/pat";
    assert_eq!(aside(words, &with(",then=keep")), (format!("2:B/pat {keep} 3:B/pat 4:B/pat"), vec![]));
    assert_eq!(aside(words, &with(",then=drop")), ("2:B/pat 3:B/pat 4:B/pat".to_owned(), vec![]));
    let letter = vec![r#"1:instruments="1""#.to_owned()];
    assert_eq!(aside(words, &with("")), ("2:B/pat 3:B/pat 4:B/pat".to_owned(), letter));
}

#[test]
fn at_the_end_all_that_wait_have_that_outcome() {
    assert_eq!(run("i2=B t1 t3 t2", "--on-miss instruments=hold=9rows,then=keep"), "3:B 1:- 2:-");
}

#[test]
fn over_the_limits_the_oldest_leave_early() {
    let options = "--on-miss instruments=hold=9rows,then=keep";
    assert_eq!(run("t1 t3 t4 i1=A i3=C i4=D", &format!("{options} --hold-rows 2")), "1:- 2:C 3:D");
    assert_eq!(run("t1 t3 t4 i1=A i3=C i4=D", &format!("{options} --hold-bytes 1")), "1:- 2:- 3:-");
}

#[test]
fn with_input_order_nobody_waits_for_a_held_trade() {
    let options = "--on-miss instruments=hold=9rows,then=drop --order input";
    assert_eq!(run("i2=B t1 t2 t1 i1=A t1 t2", options), "2:B 1:A 3:A 4:A 5:B");
}

#[test]
fn with_strict_order_others_wait_in_line() {
    let options = "--on-miss instruments=hold=9rows,then=drop --order strict --wait-column waited";
    assert_eq!(run("i2=B t2 t1 t2 t1 i1=A t2", options), "1:B+0 2:A+2 3:B+1 4:A+0 5:B+0");
    let few = format!("{options} --hold-rows 2");
    assert_eq!(
        run("i2=B t1 t2 t2 i1=A t2", &few),
        "2:B+1 3:B+0 4:B+0",
        "the first left early, for the third"
    );
}

#[test]
fn a_held_trade_is_the_same_for_any_workers_and_batches() {
    let folder = Folder::empty();
    folder.ok(
        "generate --output s.jsonl --mix article-users --ids 2000 --limit 9000 --unknown-share 0.01 --quiet",
    );
    for order in ["input", "strict"] {
        let job = format!(
            "run --messages s.jsonl --on-miss instruments=hold=400rows --on-miss users=hold=700rows,then=keep \
             --hold-rows 3000 --order {order} --dead-letters d.jsonl --wait-column waited"
        );
        let expected = (folder.ok(&format!("{job} --workers 1")), folder.read("d.jsonl"));
        let (written, aside) = (expected.0.lines().count(), expected.1.lines().count());
        assert!(written > 2_000 && aside > 500, "{written} written, {aside} put aside");
        for rest in [
            "--workers 2",
            "--workers 5 --batch-len 777 --distribution instruments=partitioned",
            "--workers 3 --batch-len 1 --queue-depth 1 --distribution users=partitioned",
            "--workers 4 --batch-len 65536 --distribution instruments=broadcast",
        ] {
            let found = (folder.ok(&format!("{job} {rest}")), folder.read("d.jsonl"));
            assert!(found == expected, "{order}, {rest}");
        }
    }
}
