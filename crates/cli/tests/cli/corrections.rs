//! The truth table of corrections in `docs/semantics.md`: a test for each line, of its
//! name.

use serde_json::Value;

use crate::support::Folder;
use crate::words::stream;

/// What a run over a stream writes again: for each revision the number of the trade and
/// of the revision, what is added, and the reason.
fn corrected(words: &str, options: &str) -> String {
    let (revisions, _) = corrected_and_told(words, options);
    revisions
}

/// The same with what the summary says of it.
fn corrected_and_told(words: &str, options: &str) -> (String, Value) {
    let folder = Folder::empty();
    folder.put("s.jsonl", stream(words));
    let tables = if words.contains("u7=") { "instruments,users" } else { "instruments" };
    let columns = if words.contains("u7=") { "ticker,user" } else { "ticker" };
    let job = format!(
        "run --messages s.jsonl --tables {tables} --columns {columns} --output o.jsonl --corrections c.jsonl --json"
    );
    let window = if options.contains("--correct") { "" } else { "--correct 100rows" };
    let printed = folder.ok(&format!("{job} {window} {options}"));
    let summary: Value = serde_json::from_str(printed.trim()).expect("a summary");
    let revision = |line: &str| {
        let row: Value = serde_json::from_str(line).expect("a trade");
        assert_eq!(row["trade_id"], row["trade_number"], "{row}");
        let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
        let user = row.get("user").map(|_| format!("/{}", text("user"))).unwrap_or_default();
        let (number, revision) = (&row["trade_number"], &row["revision"]);
        format!("{number}.{revision}:{}{user} {}", text("ticker"), text("reason"))
    };
    let revisions: Vec<_> = folder.read("c.jsonl").lines().map(revision).collect();
    (revisions.join(", "), summary["corrections"].clone())
}

const KEEP: &str = "--unmatched keep";

#[test]
fn a_trade_is_written_again_when_its_row_changes() {
    assert_eq!(
        corrected("i1=A i2=X t1 t2 t1 i1=B t1 i1=C", ""),
        "1.1:B changed, 3.1:B changed, 1.2:C changed, 3.2:C changed, 4.1:C changed"
    );
    assert_eq!(
        corrected("i1=A u7=kim t1u7 u7=pat i1=B", ""),
        "1.1:A/pat changed, 1.2:B/pat changed",
        "with what it has in all tables"
    );
}

#[test]
fn a_row_that_comes_late_is_written_then() {
    assert_eq!(corrected("t1 t2 i1=A t1 i2=B", KEEP), "1.1:A late, 2.1:B late");
}

#[test]
fn a_trade_whose_row_is_deleted_is_written_without() {
    assert_eq!(corrected("i1=A t1 i1! i1! i1=A t1", ""), "1.1:- deleted, 1.2:A late");
}

#[test]
fn the_same_values_again_are_no_revision() {
    assert_eq!(corrected("i1=A t1 i1=A i1=B i1=B i2=A i2!", ""), "1.1:B changed");
}

#[test]
fn only_what_was_written_is_written_again() {
    assert_eq!(corrected("t1 i1=A t1 i1=B", ""), "2.1:B changed", "the first was dropped");
    let aside = "--on-miss instruments=dead-letter --dead-letters d.jsonl";
    assert_eq!(corrected("t1 i1=A t1 i1=B", aside), "2.1:B changed");
}

#[test]
fn a_trade_without_a_key_is_not_written_again() {
    assert_eq!(corrected("i1=A t1 u7=kim u7=pat", KEEP), "");
}

#[test]
fn by_version_a_row_that_counts_corrects() {
    let versions = "--version-column instruments=seq --unmatched keep";
    assert_eq!(
        corrected("i1=A#5 t1 i1=B#4 i1=C#6 i1!#5 i1!#7 i1=D#6 i1=E#8", versions),
        "1.1:C changed, 1.2:- deleted, 1.3:E late"
    );
}

#[test]
fn as_of_a_row_corrects_the_trades_of_its_time() {
    let as_of = "--mode instruments=as-of --unmatched keep";
    assert_eq!(
        corrected("i1=A@0 t1@1 t1@5 t1@9 i1=B@4-8 i1=C@20", as_of),
        "2.1:B changed, 3.1:- deleted",
        "behind its end there is nothing, as if it had always been there"
    );
    assert_eq!(corrected("t1@1 t1@5 i1=A@3 i1=B@0", as_of), "2.1:A late, 1.1:B late");
    assert_eq!(
        corrected("i1=A@0 t1@5 t1@9 i1=B@4", &format!("{as_of} --tolerance instruments=4ns")),
        "1.1:B late",
        "the second finds nothing now either"
    );
}

#[test]
fn as_of_a_removal_brings_the_row_before_to_light() {
    let as_of = "--mode instruments=as-of --unmatched keep";
    assert_eq!(
        corrected("i1=A@0 i1=B@4 t1@5 t1@3 i1!@4 i1!", as_of),
        "1.1:A deleted, 1.2:- deleted, 2.1:- deleted"
    );
    assert_eq!(corrected("i1=A@0-4 i1=B@4 t1@5 i1!@4", as_of), "1.1:- deleted", "that had ended");
    assert_eq!(corrected("i1=A@0 i1=B@4-5 t1@6 i1!@4", as_of), "1.1:A late", "it had found nothing");
}

#[test]
fn a_trade_is_recent_until_its_window_closes() {
    let words = "i1=A t1@10 t1@15 t1@16 i1=B";
    for (window, expected) in [
        ("1rows", "3.1:B changed"),
        ("2rows", "2.1:B changed, 3.1:B changed"),
        ("5ns", "2.1:B changed, 3.1:B changed"),
        ("6ns", "1.1:B changed, 2.1:B changed, 3.1:B changed"),
        ("6ns,1rows", "3.1:B changed"),
        ("0ns,9rows", "3.1:B changed"),
        // A trade of this stream is counted with some 260 bytes.
        ("600B", "2.1:B changed, 3.1:B changed"),
        ("100B,9rows", ""),
    ] {
        let (found, told) = corrected_and_told(words, &format!("--correct {window}"));
        assert_eq!(found, expected, "{window}");
        assert_eq!(told["early"], 0, "the window was asked for");
    }
}

#[test]
fn a_trade_without_a_time_is_never_recent_by_time() {
    let (found, told) = corrected_and_told("i1=A t1@10 t1 i1=B", "--correct 5ns");
    assert_eq!(found, "1.1:B changed");
    assert_eq!(told["untimed"], 1);
    assert_eq!(corrected("i1=A t1@10 t1 i1=B", "--correct 9rows"), "1.1:B changed, 2.1:B changed");
}

#[test]
fn a_held_trade_is_recent_from_where_it_leaves() {
    let hold = "--on-miss users=hold=9rows,then=keep --on-miss instruments=keep";
    assert_eq!(
        corrected("i1=A t1u7 i1=B u7=kim i1=C u7=pat", hold),
        "1.1:B/kim changed, 1.2:C/kim changed, 1.3:C/pat changed",
        "it was written with A, which it had found at its own place"
    );
    assert_eq!(corrected("i1=A t1u7 i1=B i1=A u7=kim", hold), "", "it finds that again");
    assert_eq!(corrected("t1u7 i1=A u7=kim", hold), "1.1:A/kim late");
    let hold = "--on-miss instruments=hold=1rows,then=keep";
    assert_eq!(corrected("t1 t2 i1=A t3", hold), "1.1:A late", "it had come to its limit");
}

#[test]
fn what_corrections_need_is_asked_for() {
    let folder = Folder::empty();
    folder.put("s.jsonl", stream("i1=A t1 i1=B"));
    let job = "run --messages s.jsonl --columns ticker";
    let both = format!("{job} --output o.jsonl --correct");
    for (line, expected) in [
        (format!("{both} 5rows"), "--corrections <FILE>"),
        (format!("{job} --corrections c.jsonl"), "--correct <WINDOW>"),
        (format!("{both} 5rows --corrections c.csv"), "has the format of the output, which is jsonl"),
        (format!("{both} 5rows --corrections -"), "a file of its own"),
        (format!("{both} 5rows --corrections o.jsonl"), "would take the place of the output"),
        (format!("{both} 5rows --corrections s.jsonl"), "would take the place of an input"),
        (format!("{both} 5x --corrections c.jsonl"), "write a time, 5m"),
        (format!("{both} 5m --corrections c.jsonl"), "goes by the timestamp of the trades"),
        (
            format!("{both} 5rows --corrections c.jsonl --wait-column reason"),
            "--corrections has a column reason of its own",
        ),
        ("run --limit 9 --correct 5m --corrections c.csv".to_owned(), "with --days"),
    ] {
        let said = folder.fails(2, &line);
        assert!(said.contains(expected), "{line}: {said}");
        assert_eq!(folder.names(), ["s.jsonl"], "{line}");
    }
}

#[test]
fn corrections_that_cannot_be_written_end_the_run() {
    let folder = Folder::empty();
    let job = "run --limit 20000 --ids 50 --quiet --output o.csv --correct 1000rows --corrections";
    let said = folder.fails(74, &format!("{job} /dev/full"));
    assert!(said.contains("cannot write the corrections: cannot write /dev/full"), "{said}");
    assert!(folder.names().is_empty(), "and leave no output");
    assert!(folder.fails(73, &format!("{job} nowhere/c.csv")).contains("nowhere/c.csv"));
    assert!(folder.names().is_empty());
}

#[test]
fn corrections_are_the_same_for_any_workers_and_batches() {
    let folder = Folder::empty();
    folder.ok(
        "generate --output s.jsonl --mix article-users --ids 40 --limit 9000 --unknown-share 0.01 --quiet",
    );
    let hold =
        "--on-miss instruments=hold=40rows,then=keep --on-miss users=hold=70rows --dead-letters d.jsonl";
    // More than go to a piece; and few, since users are late.
    for (policy, least) in [("--unmatched keep", 9_000), (hold, 300)] {
        for (output, corrections) in
            [("o.jsonl", "c.jsonl"), ("o.jsonl", "c.jsonl.zst"), ("o.arrow", "c.arrow")]
        {
            let run = |rest: &str| {
                folder.ok(&format!(
                    "run --messages s.jsonl {policy} --quiet --output {output} \
                     --correct 2000rows,600kB --corrections {corrections} {rest}"
                ));
                std::fs::read(folder.path(corrections)).expect("a file")
            };
            let expected = run("--workers 1");
            if corrections == "c.jsonl" {
                let lines = expected.iter().filter(|&&byte| byte == b'\n').count();
                assert!(lines > least, "{lines} revisions");
            }
            for rest in [
                "--workers 2",
                "--workers 5 --batch-len 777 --distribution instruments=partitioned",
                "--workers 3 --batch-len 1 --queue-depth 1 --distribution users=partitioned",
                "--workers 4 --batch-len 65536 --order arrival",
            ] {
                assert!(run(rest) == expected, "{policy}, {corrections}, {rest}");
            }
        }
    }
}

#[test]
fn an_output_is_the_same_with_and_without_corrections() {
    let folder = Folder::new();
    let job = "run --trades trades.csv --instruments instruments.csv --users users.csv --unmatched keep";
    let expected = folder.ok(job);
    let found = folder.ok(&format!("{job} --correct 5m --corrections c.csv"));
    assert_eq!(found, expected);
    let header = expected.lines().next().expect("a header");
    assert_eq!(
        folder.read("c.csv"),
        format!("{header},trade_number,revision,reason\n"),
        "nothing has changed"
    );
    folder.put("o.csv", &expected);
    let verify = job.replacen("run", "verify o.csv", 1);
    folder.ok(&format!("{verify} --correct 5m --corrections c.csv"));
}
