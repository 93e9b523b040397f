//! Changes of tables beside the trades.

use std::fmt::Write as _;

use serde_json::Value;

use crate::support::Folder;
use crate::words::{stream, written};

pub(crate) const TABLE: &str = "instrument_id,ticker,strike,expiry,option_type\n";

/// A stream in words as two: trades, and changes each with the time of the next trade.
fn apart(words: &str) -> (String, String) {
    let (mut trades, mut changes, mut waiting) = (String::new(), String::new(), Vec::new());
    let mut last = 0;
    for line in stream(words).lines() {
        match line.strip_prefix("{\"type\":\"trade\",") {
            Some(rest) => {
                let _ = writeln!(trades, "{{{rest}");
                let trade: Value = serde_json::from_str(line).expect("a trade");
                last = trade["timestamp"].as_i64().unwrap_or(last);
                for change in waiting.drain(..) {
                    changes += &at(change, last);
                }
            }
            None => waiting.push(line.to_owned()),
        }
    }
    changes.extend(waiting.into_iter().map(|change| at(change, last + 1)));
    (trades, changes)
}

/// A line of changes with its time.
pub(crate) fn at(line: String, time: i64) -> String {
    line.replacen('{', &format!("{{\"timestamp\":{time},"), 1) + "\n"
}

/// A folder with the trades `t.jsonl`, the changes `c.jsonl`, and tables without rows.
fn beside(words: &str) -> Folder {
    let folder = Folder::empty();
    let (trades, changes) = apart(words);
    folder.put("t.jsonl", trades);
    folder.put("c.jsonl", changes);
    folder.put("i.csv", TABLE);
    folder.put("u.csv", "user_id,username\n");
    folder
}

const JOB: &str = "--trades t.jsonl --instruments i.csv --table-changes c.jsonl --columns ticker";

/// What a run writes of changes with times of their own.
fn timed(trades: &str, changes: &str, options: &str) -> String {
    let folder = beside(trades);
    let lines = changes.split_whitespace().map(|word| {
        let (change, time) = word.split_once('@').expect("a time");
        at(stream(change).trim_end().to_owned(), time.parse().expect("a time"))
    });
    folder.put("c.jsonl", lines.collect::<String>());
    written(&folder.ok(&format!("run {JOB} {options}")))
}

pub(crate) fn summary(text: &str) -> Value {
    serde_json::from_str(text.lines().last().expect("a summary")).expect("JSON")
}

#[test]
fn a_change_takes_effect_before_the_first_trade_that_is_not_older() {
    let rows = timed("t1@1 t1@2 t1@2 t1@4 t1@5", "i1=A@2 i1=B@3 i1!@5", "--unmatched keep");
    assert_eq!(rows, "1:- 2:A 3:A 4:B 5:-");
}

#[test]
fn a_time_that_goes_back_counts_as_the_latest_before_it() {
    assert_eq!(timed("t1@1 t1@5", "i2=X@3 i1=A@1", "--unmatched keep"), "1:- 2:A");
    assert_eq!(timed("t1@5 t1@1 t1@6", "i1=A@5 i1=B@6", "--unmatched keep"), "1:A 2:A 3:B");
}

#[test]
fn a_trade_without_a_time_lets_no_change_in() {
    assert_eq!(timed("t1 t1@1 t1", "i1=A@1 i1=B@2", "--unmatched keep"), "1:- 2:A 3:A");
}

#[test]
fn a_watermark_changes_nothing_and_what_follows_counts_from_it_on() {
    let folder = beside("t1@1 t1@4 t1@5 t1@6");
    let change = |word: &str, time| at(stream(word).trim_end().to_owned(), time);
    let watermark = "{\"type\":\"watermark\",\"timestamp\":5}\n";
    let earlier = "{\"timestamp\":1,\"type\":\"watermark\"}\n";
    folder.put("c.jsonl", change("i1=A", 2) + watermark + earlier + &change("i1=B", 3));
    for cut in ["--batch-len 1", "--batch-len 8192"] {
        assert_eq!(written(&folder.ok(&format!("run {JOB} --unmatched keep {cut}"))), "1:- 2:A 3:B 4:B");
    }
    let summary = summary(&folder.ok(&format!("run {JOB} --output o.jsonl --json")));
    assert_eq!(
        (&summary["table_changes"]["changes"], &summary["table_changes"]["refused"]),
        (&2.into(), &0.into())
    );
    // By arrival its time is not looked at, by timestamp it must have one.
    folder.put("c.jsonl", "{\"type\":\"watermark\"}\n");
    folder.ok(&format!("run {JOB} --changes-by arrival"));
    let said = folder.fails(65, &format!("run {JOB}"));
    assert!(said.contains("c.jsonl, line 1, column timestamp"), "{said}");
}

#[test]
fn a_journal_that_cannot_be_written_is_no_fault_of_an_input() {
    let folder = beside("t1@1 i1=A t1@2");
    let said = folder.fails(74, &format!("run {JOB} --journal /dev/full"));
    assert!(said.contains("error: cannot write the journal: cannot write /dev/full: "), "{said}");
}

#[test]
fn a_table_of_watermarks_is_refused() {
    let folder = beside("t1@1");
    folder.put("w.csv", "instrument_id,mark\n1,a\n");
    let job = "run --trades t.jsonl --table watermark=w.csv,key=instrument_id --table-changes c.jsonl";
    let said = folder.fails(2, job);
    assert!(said.contains("type watermark is a row of no table"), "{said}");
}

#[test]
fn at_the_end_of_the_trades_the_rest_of_the_changes_takes_effect() {
    let policy = "--on-miss instruments=hold=100rows,then=keep";
    assert_eq!(timed("t1@1 t2@2", "i1=A@7 i1=B@8", policy), "1:A 2:-");
    let folder = beside("t1@1 i2=X i2=Y");
    let ran = folder.ok(&format!("run {JOB} --output o.jsonl --json"));
    assert_eq!(summary(&ran)["tables"][0]["changes"], 2);
    assert_eq!(summary(&ran)["table_changes"]["changes"], 2);
    assert_eq!(summary(&ran)["table_changes"]["reproducible"], true);
}

#[test]
fn at_the_end_of_the_changes_the_trades_go_on() {
    assert_eq!(timed("t1@1 t1@2 t1@3", "i1=A@1", ""), "1:A 2:A 3:A");
    assert_eq!(timed("t1@1 t1@2", "", "--unmatched keep"), "1:- 2:-");
}

#[test]
fn changes_beside_count_in_every_mode() {
    let as_of = "--mode instruments=as-of --unmatched keep";
    let folder = beside("i1=A@2-4 t1@1 t1@3 i1=B@4 t1@5 i1!@4 t1@6");
    folder.put("i.csv", TABLE.replace("option_type", "option_type,valid_from,valid_to"));
    assert_eq!(written(&folder.ok(&format!("run {JOB} {as_of}"))), "1:- 2:A 3:B 4:-");
    let folder = beside("i1=A#5 t1@1 i1=B#4 t1@2 i1=C#6 t1@3 i1!#5 t1@4");
    folder.put("i.csv", TABLE.replace("option_type", "option_type,seq"));
    let versions = "--version-column instruments=seq";
    assert_eq!(written(&folder.ok(&format!("run {JOB} {versions}"))), "1:A 2:A 3:C 4:C");
}

/// A stream of trades and changes that looks like chance.
fn chance(len: usize) -> String {
    let (mut state, mut time, mut words) = (7_u64, 1, String::new());
    for _ in 0..len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (kind, id, name) =
            (state >> 60, state >> 40 & 7, ["A", "B", "C", "D"][(state >> 50 & 3) as usize]);
        let _ = match kind {
            0..=1 => write!(words, "i{id}={name} "),
            2 => write!(words, "i{id}! "),
            3..=4 => write!(words, "u{id}={name} "),
            5 => write!(words, "u{id}! "),
            _ => {
                time += 1;
                write!(words, "t{id}u{}@{time} ", state >> 36 & 7)
            }
        };
    }
    words
}

#[test]
fn changes_beside_are_those_among_the_trades_for_any_workers_and_batches() {
    let words = chance(3_000);
    let folder = beside(&words);
    folder.put("s.jsonl", stream(&words));
    let columns = "--columns ticker,user --output o.jsonl --json";
    let policy = "--on-miss instruments=hold=50rows,then=keep --on-miss users=hold=40rows,then=keep";
    let among = format!("run --messages s.jsonl --tables instruments,users {columns} {policy}");
    let expected = summary(&folder.ok(&among));
    let rows = folder.read("o.jsonl");
    let job = format!("run {JOB},user --users u.csv --output o.jsonl --json {policy}");
    for flags in [
        "--workers 1",
        "--workers 1 --batch-len 1",
        "--workers 3 --batch-len 7 --distribution instruments=partitioned,users=partitioned",
        "--workers 2 --batch-len 100 --queue-depth 1 --distribution users=partitioned",
    ] {
        let found = summary(&folder.ok(&format!("{job} {flags}")));
        assert_eq!(folder.read("o.jsonl"), rows, "{flags}");
        for name in ["rows_read", "outcomes", "unmatched", "messages"] {
            assert_eq!(found[name], expected[name], "{flags}: {name}");
        }
        for name in ["entered", "found", "expired", "early"] {
            assert_eq!(found["hold"][name], expected["hold"][name], "{flags}: {name}");
        }
        for table in [0, 1] {
            for name in ["changes", "matched", "missed", "rejected"] {
                assert_eq!(found["tables"][table][name], expected["tables"][table][name], "{flags}: {name}");
            }
        }
    }
    for (packed, ending) in [("generate", "jsonl"), ("run", "parquet")] {
        // Formats that are written from slices of a block.
        let job = format!("{job} --batch-len 10").replace("o.jsonl", &format!("{packed}.{ending}"));
        folder.ok(&job);
        assert!(folder.ok(&job.replacen("run", "verify", 1)).contains("\"verdict\":\"equal\""), "{ending}");
    }
    let journaled = format!("{job} --journal j.jsonl --workers 3");
    folder.ok(&journaled);
    let replayed = job.replace("--table-changes c.jsonl", "--replay-journal j.jsonl");
    folder.ok(&replayed);
    assert_eq!(folder.read("o.jsonl"), rows, "by its journal");
}

#[test]
fn a_table_of_any_kind_may_change() {
    let folder = Folder::new();
    folder.ok("run --trades trades.csv --users users.csv --output typed.parquet --quiet");
    folder.put("venues.jsonl", "{\"mic\":\"Z\",\"city\":\"Bonn\",\"at\":[1]}\n");
    folder.put(
        "c.jsonl",
        "{\"type\":\"prices\",\"timestamp\":\"2024-11-01T13:30:02Z\",\"trade_id\":4,\"price\":7.50,\"quantity\":9}\n\
         {\"type\":\"venues\",\"timestamp\":\"2024-11-01T13:30:02Z\",\"mic\":\"Z\",\"city\":\"Köln\",\"at\":{\"x\":1.70}}\n\
         {\"type\":\"prices\",\"timestamp\":\"2024-11-01T13:30:03Z\",\"trade_id\":1,\"deleted\":true}\n\
         {\"type\":\"prices\",\"timestamp\":\"2024-11-01T13:30:03Z\",\"trade_id\":5,\"price\":null}\n",
    );
    let job = "--trades trades.csv --table prices=typed.parquet,key=trade_id,columns=price\\as\\was:quantity\\as\\of \
               --table venues=venues.jsonl,key=venue@mic --table-changes c.jsonl --unmatched keep";
    let run = |command: &str, more: &str| {
        let words = format!("{command} {job} {more}");
        let mut child = folder.command("");
        child.args(words.split_whitespace().map(|word| word.replace("\\as\\", " as ")));
        let output = child.output().expect("the command runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let rows = run("run", "--output-format jsonl");
    let rows: Vec<_> = rows.lines().map(|line| line.split_once(",\"was\":").expect("added").1).collect();
    assert_eq!(rows[1], "250,\"of\":3,\"city\":\"Bonn\",\"at\":[1]}");
    assert_eq!(rows[3], "7.5,\"of\":9,\"city\":\"Köln\",\"at\":{\"x\":1.70}}");
    assert_eq!(rows[4], "null,\"of\":null,\"city\":\"Köln\",\"at\":{\"x\":1.70}}");
    run("run", "--output o.parquet");
    run("verify", "--output o.parquet");
}

#[test]
fn a_bad_line_of_changes_is_a_bad_record() {
    let folder = Folder::new();
    folder.put("venues.csv", "mic,city\nZ,Bonn\n");
    let job = "run --trades trades.csv --instruments instruments.csv --table venues=venues.csv,key=venue@mic \
               --table-changes c.jsonl --output o.csv --json";
    let good = "{\"type\":\"venues\",\"timestamp\":1,\"mic\":\"Z\",\"city\":\"Bern\"}\n";
    for (line, expected) in [
        (
            "{\"type\":\"venuse\"}",
            "column type: \"venuse\": no table of the run has rows of this type: it is one of instrument, venues: did you mean venues?",
        ),
        ("{\"type\":\"trade\"}", "it is one of instrument, venues"),
        ("{\"mic\":\"Z\"}", "column type: \"\": no table"),
        ("{\"type\":\"venues\",\"mic\":\"Z\",\"city\":\"Ulm\"}", "column timestamp: no value"),
        (
            "{\"type\":\"venues\",\"timestamp\":\"noon\",\"mic\":\"Z\"}",
            "column timestamp: \"noon\": not a time",
        ),
        (
            "{\"type\":\"venues\",\"timestamp\":2,\"mic\":\"Z\",\"ctiy\":\"Ulm\"}",
            "column ctiy: \"\\\"Ulm\\\"\": the table has no column of this name",
        ),
        ("{\"type\":\"venues\",\"timestamp\":2,\"city\":\"Ulm\"}", "column mic: no value"),
        (
            "{\"type\":\"venues\",\"timestamp\":2,\"mic\":\"Z\",\"deleted\":7}",
            "column deleted: \"7\": not a boolean",
        ),
        (
            "{\"type\":\"instrument\",\"timestamp\":2,\"instrument_id\":1,\"ticker\":\"?\"}",
            "column ticker: \"?\"",
        ),
        ("[1]", "not a JSON object"),
        (
            "{\"type\":\"watermark\",\"timestamp\":2,\"type\":\"venues\",\"mic\":\"Z\"}",
            "column type: \"\\\"venues\\\"\": the member stands twice in its object",
        ),
        (
            "{\"type\":\"venues\",\"timestamp\":2,\"mic\":\"Z\",\"type\":\"instrument\"}",
            "column type: \"\\\"instrument\\\"\": the member stands twice",
        ),
    ] {
        folder.put("c.jsonl", format!("{good}{line}\n{good}"));
        let said = folder.fails(65, job);
        assert!(said.contains("c.jsonl, line 2") && said.contains(expected), "{line}: {said}");
        assert!(!folder.names().contains(&"o.csv".to_owned()), "{line}");
        let skipped = summary(&folder.ok(&format!("{job} --on-bad-record skip")));
        assert_eq!(skipped["table_changes"]["refused"], 1, "{line}");
        assert_eq!(skipped["table_changes"]["changes"], 2, "{line}");
        assert_eq!(
            (&skipped["rows_read"], &skipped["outcomes"]["rejected"]),
            (&5.into(), &0.into()),
            "{line}"
        );
        std::fs::remove_file(folder.path("o.csv")).expect("removed");
    }
}

#[test]
fn what_makes_no_sense_of_changes_beside_is_refused() {
    let folder = Folder::new();
    folder.put("c.jsonl", "");
    folder.put("untimed.csv", "trade_id,instrument_id\n1,1\n");
    folder.put("odd.csv", "type,city\n1,Bonn\n");
    let job = "--trades trades.csv --instruments instruments.csv";
    for (code, line, expected) in [
        (66, format!("run {job} --table-changes none.jsonl"), "none.jsonl"),
        (2, format!("run {job} --table-changes c.csv"), "--table-changes are JSON Lines"),
        (2, format!("run {job} --changes-by arrival"), "add --table-changes FILE"),
        (2, format!("run {job} --changes-wait 1s"), "add --table-changes FILE"),
        (2, format!("run {job} --journal j.jsonl"), "add --watch or --table-changes"),
        (2, format!("run {job} --table-changes c.jsonl --watch"), "--table-changes and --watch"),
        (
            2,
            format!("run {job} --table-changes c.jsonl --replay-journal j.jsonl"),
            "leave out --table-changes",
        ),
        (2, "run --messages c.jsonl --table-changes c.jsonl".to_owned(), "has its changes among them"),
        (2, "run --table-changes c.jsonl".to_owned(), "beside --trades, and there are none"),
        (
            2,
            "replay c.jsonl --instruments instruments.csv --table-changes c.jsonl --unmatched drop"
                .to_owned(),
            "not for a replay",
        ),
        (
            2,
            format!("run {} --table-changes c.jsonl", job.replace("trades.csv", "untimed.csv")),
            "no column timestamp",
        ),
        (
            2,
            format!("run {} --format csv --table-changes -", job.replace("trades.csv", "-")),
            "can be read once",
        ),
        (
            2,
            format!("run {job} --table-changes c.jsonl --output c.jsonl"),
            "would take the place of an input",
        ),
        (
            2,
            format!("run {job} --table o=odd.csv,key=trade_id@type --table-changes c.jsonl"),
            "has a column type",
        ),
        (
            2,
            format!("run {job} --table instrument=odd.csv,key=trade_id@city --table-changes c.jsonl"),
            "would be of two tables",
        ),
        (
            2,
            format!("verify o.csv {job} --table-changes c.jsonl --changes-by arrival"),
            "nobody can ask again",
        ),
        (2, format!("explain --row 1 {job} --table-changes -"), "can be read once"),
    ] {
        let said = folder.fails(code, &line);
        assert!(said.contains(expected), "{line}: {said}");
    }
    let by_arrival = job.replace("trades.csv", "untimed.csv");
    folder.ok(&format!("run {by_arrival} --table-changes c.jsonl --changes-by arrival"));
}

#[test]
fn changes_beside_are_said_in_the_settings_and_the_file_of_settings() {
    let folder = beside("i1=A t1@1");
    folder.put(
        "c.toml",
        "[input]\ntrades = \"t.jsonl\"\ninstruments = \"i.csv\"\ntable_changes = \"c.jsonl\"\nchanges_by = \"timestamp\"\n\
         changes_wait = \"5m\"\n[output]\nfile = \"o.jsonl\"\ncolumns = [\"ticker\"]\n",
    );
    let said = folder.ok("run --config c.toml");
    assert!(
        said.contains("table-changes c.jsonl · changes-by timestamp") && said.contains("changes-wait 5m"),
        "{said}"
    );
    assert!(said.contains("changes beside the trades, by timestamp: 1, 0 lines refused, 0 late\n"), "{said}");
    assert_eq!(written(&folder.read("o.jsonl")), "1:A");
}

#[test]
fn a_trade_is_explained_by_a_line_of_changes() {
    let folder = beside("i2=X i1=A t1@1 i1! t1@2 t1@3");
    folder.put("c.jsonl", format!("{}\n", folder.read("c.jsonl")));
    let said = folder.ok(&format!("explain --row 1 {JOB}"));
    assert!(said.contains("key 1: finds c.jsonl, line 2"), "{said}");
    let said = folder.ok(&format!("explain --trade-id 3 {JOB}"));
    assert!(said.contains("trade 3 · t.jsonl, line 3"), "{said}");
    assert!(said.contains("removed before, by c.jsonl, line 3, behind trade 1"), "{said}");
}

#[test]
fn a_trade_that_has_waited_is_enriched_only_if_nothing_else_is_missing() {
    let folder = Folder::empty();
    folder.put("t.csv", "trade_id,timestamp,k\n1,10,5\n2,20,5\n3,30,6\n");
    folder.put("a.csv", "id,x\n6,SIX\n");
    folder.put("b.csv", "id,y\n6,city\n");
    folder.put("c.jsonl", "{\"type\":\"a\",\"timestamp\":15,\"id\":5,\"x\":\"FIVE\"}\n");
    for workers in [1, 2] {
        let job = format!(
            "run --trades t.csv --table a=a.csv,key=k@id,columns=x --table b=b.csv,key=k@id,columns=y \
             --on-miss a=hold=100rows,then=keep --on-miss b=keep --table-changes c.jsonl --output o.csv \
             --workers {workers} --json"
        );
        let summary: serde_json::Value = serde_json::from_str(&folder.ok(&job)).expect("JSON");
        // The first one has waited, and the second has found the row.
        let rows = "1,10,5,FIVE,\n2,20,5,FIVE,\n3,30,6,SIX,city\n";
        let found: std::collections::BTreeSet<_> =
            folder.read("o.csv").lines().skip(1).map(str::to_owned).collect();
        assert_eq!(found, rows.lines().map(str::to_owned).collect());
        let outcomes = &summary["outcomes"];
        assert_eq!((&outcomes["enriched"], &outcomes["unmatched"]), (&1.into(), &2.into()), "{outcomes}");
    }
}
