//! The truth table of `docs/semantics.md`: a test for each line, of its name.

use std::io::Write as _;
use std::process::Stdio;

use crate::support::Folder;
use crate::words::{as_of, aside, by_version, fails, gated, ready, run, run_with_users, stream, written};

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
    assert_eq!(run_with_users("i1=A u7=kim t1u7 u7! t1u7 u7=pat t1u7", ""), "1:A/kim 3:A/pat");
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
    // In JSON as in CSV.
    folder.put("users.csv", "user_id,username\n7,kim\n");
    folder.put("t.csv", "user_id,price\n,\n7,1\n");
    folder.put("t.jsonl", "{\"user_id\":\"\",\"price\":\"\"}\n{\"user_id\":7,\"price\":1}\n");
    for output in ["o.csv", "o.parquet"] {
        for trades in ["t.csv", "t.jsonl"] {
            let job = "--users users.csv --unmatched keep --quiet";
            folder.ok(&format!("run --trades {trades} {job} --output {output}"));
            folder.ok(&format!("verify {output} --trades t.csv --users users.csv --unmatched keep"));
        }
    }
    folder.put("t.jsonl", "{\"instrument_id\":\"\"}\n");
    folder.put("i.csv", "instrument_id,ticker,strike,expiry,option_type\n");
    let said = folder.fails(65, "run --trades t.jsonl --instruments i.csv --output o.csv");
    assert!(said.contains("column instrument_id: no value"), "{said}");
}

const MARKER: &str = "--table-ready-after instruments=marker";
const SKIP: &str = "--unmatched keep --on-bad-record skip";

#[test]
fn a_streamed_table_is_ready_at_its_marker() {
    let words = "i1=A i2=B i$2 t1 i1=C t1";
    assert_eq!(gated(words, MARKER), ready("1:A 2:C", "marker", 2, 1));
    assert_eq!(gated(words, ""), ready("1:A 2:C", "marker", 2, 1), "it is among the first lines");
    assert_eq!(gated("i$0 t1", "--unmatched keep"), ready("1:-", "marker", 0, 0));
    assert_eq!(gated("i1=A t1 i1=B t1", ""), ready("1:A 2:B", "start", 0, 2), "no marker, no gate");
    // Each table has its own.
    assert_eq!(run_with_users("u7=kim u$1 i1=A i$1 t1u7", ""), "1:A/kim");
}

#[test]
fn a_trade_before_its_tables_are_ready_is_a_bad_record() {
    let said = fails(65, "i1=A t1 i$1 t1", MARKER);
    let expected = "line 2: a trade before the table instruments is ready, which waits for its marker; 1 row of it came so far";
    assert!(said.contains(expected), "{said}");
    assert_eq!(gated("i1=A t1 i2=B i$2 t1", SKIP), ready("2:A", "marker", 2, 0));
    assert!(fails(65, "i1=A i$1 t1 u7=kim u$1", "").contains("the table users is ready"));
}

#[test]
fn a_marker_with_a_wrong_number_of_rows_is_a_bad_record() {
    let said = fails(65, "i1=A i$2 t1", "");
    let expected = "line 2, column rows: \"2\": the marker is wrong: 1 row of instruments came before it";
    assert!(said.contains(expected), "{said}");
    // It is left out: the table waits for a right one.
    assert_eq!(gated("i1=A i$2 t1 i$1 t1", SKIP), ready("2:A", "marker", 1, 0));
    assert!(fails(65, "i1=A i$2 t1", SKIP).contains("ended before the table instruments was ready"));
}

#[test]
fn a_marker_that_is_not_waited_for_is_a_bad_record() {
    let second = "line 4, column table: \"instruments\": no marker of this table is waited for";
    assert!(fails(65, "i1=A i$1 t1 i$1", "").contains(second));
    assert!(fails(65, "i1=A u$0 t1", "--tables instruments").contains("does not join"));
    let late = format!("i1=A {} i$1", "t1 ".repeat(1_024));
    assert!(fails(65, &late, "").contains("line 1026, column table"));
    assert_eq!(gated(&late, "--table-ready-after instruments=1rows").1, "rows", "it is told to wait");
}

#[test]
fn a_stream_that_ends_before_its_marker_ends_the_run() {
    let said = fails(65, "i1=A i2=B", MARKER);
    let expected = "the messages ended before the table instruments was ready: it waited for its marker, and 2 rows of it came";
    assert!(said.contains(expected), "{said}");
    assert!(fails(65, "", MARKER).contains("0 rows of it came"));
    assert!(fails(65, "i1=A i$1 t1", &format!("{MARKER} --limit 1")).contains("1 row of it came"));
}

#[test]
fn a_table_may_be_ready_after_so_many_rows() {
    let two = "--table-ready-after instruments=2rows";
    assert_eq!(gated("i1=A i2=B i3=C t1 i1=D t1", two), ready("1:A 2:D", "rows", 2, 2));
    assert_eq!(gated("i1=A i$1 t1", two), ready("1:A", "marker", 1, 0), "whichever comes first");
    assert_eq!(gated("i1=A i1=B t1 i$2 t1", two), ready("1:B 2:B", "rows", 2, 0), "the marker is right");
    assert!(fails(65, "i1=A i2=B t1 i$3 t1", two).contains("2 rows of instruments came before it"));
    assert!(fails(65, "i1=A t1 i2=B t1", two).contains("waits for 2 rows; 1 row of it came so far"));
    assert!(fails(65, "i1=A", two).contains("it waited for 2 rows, and 1 row of it came"));
}

#[test]
fn a_table_may_be_ready_after_so_much_time() {
    let soon = "--unmatched keep --table-ready-after instruments=1ms";
    let (rows, ready_after, ..) = gated("i1=A t1 t2 i2=B t2", soon);
    assert_eq!((rows.as_str(), ready_after.as_str()), ("1:A 2:- 3:B", "time"));
    let hour = "--table-ready-after instruments=3600s";
    assert_eq!(gated("i1=A i2=B", hour), ready("", "end", 2, 0), "nothing is there to wait for it");
    assert_eq!(gated("i1=A i$1 t1", hour), ready("1:A", "marker", 1, 0));
}

#[test]
fn with_no_rows_to_wait_for_a_table_waits_for_nothing() {
    let none = "--unmatched keep --table-ready-after 0rows";
    assert_eq!(gated("t1 i1=A t1 i$1 t1", none), ready("1:- 2:A 3:A", "rows", 0, 1));
    assert!(fails(65, "t1 i1=A i$2", none).contains("1 row of instruments came before it"));
}

#[test]
fn a_table_that_is_not_ready_in_time_ends_the_run() {
    let folder = Folder::new();
    for (job, table, waits_for) in [
        ("--messages - --table-ready-after instruments=marker", "instruments", "its marker"),
        ("--messages - --table-ready-after users=9rows", "users", "9 rows"),
        ("--messages - --table-ready-after instruments=3600s", "instruments", "3600s"),
        ("--trades trades.csv --users - --format csv", "users", "its end"),
    ] {
        let mut command = folder.command(&format!("run {job} --gate-timeout 1ms --output o.jsonl"));
        let mut child =
            command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let head = if job.contains("--trades") { "user_id,username\n".to_owned() } else { stream("i1=A") };
        // The time may be over before it is read.
        let _ = stdin.write_all(head.as_bytes());
        // The pipe stays open.
        let output = child.wait_with_output().expect("it ends");
        drop(stdin);
        let said = String::from_utf8_lossy(&output.stderr);
        let expected = format!(
            "standard input: the table {table} was not ready after 1ms (--gate-timeout): it waited for {waits_for}"
        );
        assert!(said.contains(&expected), "{said}");
        assert_eq!(output.status.code(), Some(74), "{said}");
        assert!(!folder.path("o.jsonl").exists());
    }
}

#[test]
fn a_gated_run_is_the_same_for_any_workers_and_batches() {
    let trades: String =
        (0..300).map(|i| format!("t{} i{}={} ", i % 40, i % 50, ["A", "B"][i % 2])).collect();
    let words = format!("{} i$100 {trades}", "i7=Q i8=R ".repeat(50));
    let expected = gated(&words, "--workers 1");
    for rest in [
        "--workers 2 --batch-len 1",
        "--workers 3 --batch-len 7 --distribution instruments=partitioned",
        "--workers 4 --batch-len 65536 --distribution instruments=broadcast",
    ] {
        assert_eq!(gated(&words, rest), expected, "{rest}");
    }
}

fn is(rows: &str, count: u64) -> (String, u64) {
    (rows.to_owned(), count)
}

#[test]
fn by_version_the_highest_counts_in_any_order() {
    assert_eq!(by_version("i1=A#1 t1 i1=B#3 t1 i1=C#2 t1", "stale"), is("1:A 2:B 3:B", 1));
    assert_eq!(by_version("i1=B#3 t1 i1=C#2 t1 i1=A#1 t1", "stale"), is("1:B 2:B 3:B", 2));
}

#[test]
fn by_version_a_late_row_with_a_lower_one_does_nothing() {
    assert_eq!(by_version("i1=B#-3 i1=A#-4 t1 i1!#-5 t1", "stale"), is("1:B 2:B", 2));
}

#[test]
fn by_version_a_removal_stays_as_a_tombstone() {
    assert_eq!(by_version("i1!#5 i1=A#4 t1 i1=B#6 t1 i1!#7 i1=C#6 t1", "stale"), is("1:- 2:B 3:-", 2));
}

#[test]
fn by_version_the_greater_of_two_rows_with_one_counts() {
    assert_eq!(by_version("i1=B#1 i1=B#1 t1 i1=A#1 t1 i1=C#1 t1", "conflicts"), is("1:B 2:B 3:C", 2));
    assert_eq!(by_version("i1=B#1 i1!#1 t1 i1=C#1 t1", "conflicts"), is("1:- 2:-", 2));
}

#[test]
fn as_of_a_row_counts_from_its_beginning_to_before_its_end() {
    let rows = "i1=C@7 i1=A@3-5 i1=B@5";
    let trades = "t1@2 t1@3 t1@4 t1@5 t1@6 t1@7 t1@8";
    let seen = "1:- 2:A 3:A 4:B 5:B 6:C 7:C";
    assert_eq!(as_of(&format!("{rows} {trades}"), "missed"), is(seen, 1));
    let since_ever = seen.replace("1:-", "1:D");
    assert_eq!(as_of(&format!("{rows} i1=D {trades}"), "missed"), is(&since_ever, 0));
}

#[test]
fn as_of_a_row_valid_later_than_the_trade_is_not_found() {
    assert_eq!(as_of("i1=A@1 i1=B@5 t1@3 t1@5", "matched"), is("1:A 2:B", 2));
}

#[test]
fn as_of_a_late_row_takes_its_place() {
    assert_eq!(as_of("i1=A@1 i1=C@9 t1@6 i1=B@5 t1@6 t1@4 t1@9", "missed"), is("1:A 2:B 3:A 4:C", 0));
}

#[test]
fn as_of_a_gap_between_two_rows_is_missed() {
    assert_eq!(as_of("i1=A@1-3 i1=B@5-7 t1@2 t1@3 t1@4 t1@5 t1@7", "missed"), is("1:A 2:- 3:- 4:B 5:-", 3));
}

#[test]
fn as_of_a_removal_takes_the_row_that_begins_then_or_all() {
    assert_eq!(
        as_of("i1=A@1 i1=B@5 t1@6 i1!@5 t1@6 i1!@4 t1@6 i1! t1@6", "missed"),
        is("1:B 2:A 3:A 4:-", 1)
    );
}

#[test]
fn as_of_the_same_beginning_replaces_the_row() {
    assert_eq!(as_of("i1=A@1-9 t1@6 i1=B@1-4 t1@6 t1@3", "overlaps"), is("1:A 2:- 3:B", 0));
}

#[test]
fn as_of_two_rows_may_not_overlap() {
    assert_eq!(as_of("i1=A@1-9 i1=B@5 i1=C@-2 t1@6 t1@0", "overlaps"), is("1:A 2:-", 2));
}

#[test]
fn as_of_a_row_that_began_too_long_ago_is_not_found() {
    let options = "--mode instruments=as-of --tolerance instruments=3ns --unmatched keep";
    assert_eq!(run("i1=A@1 t1@4 t1@5 i2=B t2@5", options), "1:A 2:- 3:-");
}

#[test]
fn as_of_a_trade_without_a_time_misses() {
    assert_eq!(as_of("i1=A t1@4 t1", "untimed"), is("1:A 2:-", 1));
    let options = "--mode instruments=as-of --on-miss instruments=hold=9rows,then=keep";
    assert_eq!(run("t1 t1@4 i1=A", options), "1:- 2:A", "it waits for nothing");
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
fn by_version_a_held_trade_waits_for_a_row_that_counts() {
    let options =
        "--version-column instruments=seq --on-miss instruments=hold=9rows,then=keep --wait-column waited";
    assert_eq!(run("i2=X#1 i1!#5 t1 i1=A#4 t2 i1=B#6 t2", options), "2:X+0 1:B+1 3:X+0");
}

#[test]
fn as_of_a_held_trade_waits_for_a_row_of_its_time() {
    let hold = "--mode instruments=as-of --on-miss instruments=hold=9rows,then=keep --wait-column waited";
    let others = "i1=A@8 i1=B@1-5 i1=C@5-6";
    assert_eq!(run(&format!("i2=X t1@6 {others} t2@1 i1=D@6 t2@1"), hold), "2:X+0 1:D+1 3:X+0");
    // The open row of 1 would be valid at 6, if that of 5 were not there.
    assert_eq!(run("i2=X i1=B@5-6 t1@6 i1=A@1 t2@1 i1!@5 t2@1 i1=A@1 t2@1", hold), "2:X+0 3:X+0 1:A+2 4:X+0");
    let tolerance = format!("{hold} --tolerance instruments=2ns");
    assert_eq!(run("i2=X@1 t1@6 i1=A@3 t2@1 i1=B@4 t1@7", &tolerance), "2:X+0 1:B+1 3:-+0");
    // Those that wait for one key may wait for different rows.
    assert_eq!(run("i2=X t1@2 t1@9 t1@3 i1=A@8 t2@1 i1=B@1", hold), "2:A+1 4:X+0 1:B+3 3:B+1");
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
fn a_trade_may_wait_by_its_timestamp() {
    let folder = Folder::empty();
    let trade = |id: u32, instrument: u32, time: &str| {
        format!(r#"{{"type":"trade","trade_id":{id},"instrument_id":{instrument},"timestamp":{time}}}"#)
            + "\n"
    };
    let lines = [
        trade(1, 1, "\"2024-11-01T13:30:00Z\""),
        trade(2, 2, "\"2024-11-01T13:30:01Z\""),
        trade(3, 2, "null"),
        trade(4, 9, "\"2024-11-01T13:30:05Z\""),
        stream("i1=A i2=B"),
        trade(5, 1, "\"2024-11-01T13:30:05.5Z\""),
    ];
    folder.put("s.jsonl", lines.concat());
    let job = "run --messages s.jsonl --columns ticker --on-miss instruments=hold=5s,then=keep --wait-column waited";
    // The first has waited for exactly five seconds when its row comes.
    assert_eq!(written(&folder.ok(job)), "3:-+0 1:A+3 2:B+2 5:A+0 4:-+1");
    let shorter = job.replace("=5s", "=4s");
    assert_eq!(written(&folder.ok(&shorter)), "3:-+0 1:-+3 2:B+2 5:A+0 4:-+1");
    let ran = folder.run(&job.replace("--messages s.jsonl", "--limit 10"));
    assert_eq!(ran.code, 2, "{}", ran.stderr);
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
fn between_two_trades_the_order_of_their_rows_counts() {
    for (order, expected) in
        [("input", "2:F/pat 1:SPY/kim 3:SPY/kim"), ("strict", "1:SPY/kim 2:F/pat 3:SPY/kim")]
    {
        for (workers, batch_len) in [(1, 1), (1, 3), (1, 8192), (2, 4), (3, 5), (5, 6), (5, 8192)] {
            let on_miss = "--on-miss instruments=hold=30s,then=drop --on-miss users=hold=30s,then=drop";
            let cut = format!("{on_miss} --order {order} --workers {workers} --batch-len {batch_len}");
            let found = run_with_users("t7u1@0 t8u9@1 i8=F u1=kim u9=pat i7=SPY t7u1@5", &cut);
            assert_eq!(found, expected, "{cut}");
        }
    }
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
