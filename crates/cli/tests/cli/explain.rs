//! Why trades found what they found: a test for each kind of outcome.

use serde_json::Value;

use crate::reload::journaled;
use crate::support::Folder;
use crate::words::stream;

/// What is said of a trade of a stream in words.
fn said(words: &str, number: u64, flags: &str) -> String {
    let folder = Folder::empty();
    folder.put("s.jsonl", stream(words));
    folder.ok(&format!("explain --messages s.jsonl --row {number} {flags}"))
}

#[track_caller]
fn says(words: &str, number: u64, flags: &str, parts: &[&str]) {
    let said = said(words, number, flags);
    for part in parts {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
}

/// What is said of trades of files, as JSON.
fn explained(folder: &Folder, flags: &str) -> Vec<Value> {
    let said: Value = serde_json::from_str(&folder.ok(&format!("explain {flags} --json"))).expect("JSON");
    said["trades"].as_array().expect("trades").clone()
}

#[test]
fn a_row_of_a_file_is_told_by_its_line() {
    let folder = Folder::new();
    // Blank lines and line ends in quotes count as the editor counts them.
    folder.put("users.csv", "user_id,username\n\n8,\"two\nlines\"\n7,kim\n");
    let job = "--trades trades.csv --instruments instruments.csv --users users.csv --columns user,expiry";
    let said = folder.ok(&format!("explain --trade-id 1 {job}"));
    for part in [
        "trade 1 · trades.csv, line 2\n",
        "venue X, Y\n",
        "instruments  key 1: finds instruments.csv, line 2\n",
        "users        key 7: finds users.csv, line 5\n",
        "outcome      enriched with user kim · expiry 2024-11-03\n",
    ] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    let trade = &explained(&folder, &format!("--row 5 {job} --unmatched keep"))[0];
    assert_eq!((&trade["outcome"], &trade["for_table"]), (&"kept".into(), &"instruments".into()));
    let [instruments, users] = [&trade["tables"][0], &trade["tables"][1]];
    assert_eq!((&instruments["why"], &users["why"]), (&"never-there".into(), &"no-key".into()));
    assert_eq!(instruments["near_keys"], serde_json::json!(["3", "2", "1"]));
    assert_eq!(trade["place"]["line"], 6);
}

#[test]
fn rows_of_files_with_types_have_numbers() {
    let folder = Folder::new();
    let columns = "--columns ticker --quiet --output";
    folder.ok(&format!("run --trades trades.csv --instruments instruments.csv {columns} t.parquet"));
    folder.put("tickers.csv", "instrument_id,name\n2,two\n1,one\n3,three\n");
    folder.ok(
        "run --trades tickers.csv --instruments instruments.csv --columns ticker --output i.arrow --quiet",
    );
    let trade = &explained(
        &folder,
        "--trade-id 2 --trades t.parquet --table i=i.arrow,key=instrument_id,columns=name",
    )[0];
    assert_eq!((&trade["place"]["row"], &trade["tables"][0]["row"]["place"]["row"]), (&2.into(), &1.into()));
    assert_eq!(trade["added"]["name"], "two");
}

#[test]
fn a_trade_id_that_occurs_twice_is_explained_twice() {
    let folder = Folder::new();
    folder.put("twice.csv", "trade_id,instrument_id\n7,1\n8,2\n7,9\n");
    let job = "--trades twice.csv --instruments instruments.csv";
    let said = folder.ok(&format!("explain --trade-id 7 {job}"));
    assert!(said.contains("2 trades have trade_id 7") && said.contains("twice.csv, line 4"), "{said}");
    let trades = explained(&folder, &format!("--trade-id 7 {job}"));
    assert_eq!(
        [0, 1].map(|at| trades[at]["outcome"].as_str().expect("text").to_owned()),
        ["enriched", "dropped"]
    );
    let ran = folder.run(&format!("explain --trade-id 77 {job}"));
    assert!(ran.code == 1 && ran.stdout.contains("none of 3 trades has trade_id 77"), "{}", ran.stdout);
}

#[test]
fn of_a_stream_the_row_before_the_trade_is_told() {
    says("i1=A i1=B t1 i1=C", 1, "", &["finds s.jsonl, line 2, behind trade 0\n", "line 3"]);
    says("i1=A i$1 t1", 1, "", &["finds s.jsonl, line 1\n"]);
    // The later of two rows counts.
    let folder = Folder::new();
    folder.put("u.csv", "user_id,username\n7,old\n7,new\n");
    assert!(folder.ok("explain --row 1 --trades trades.csv --users u.csv").contains("finds u.csv, line 3"));
}

#[test]
fn a_key_that_was_never_there_has_its_neighbours() {
    says(
        "i1=A i5=B i9=C i20=D t6",
        1,
        "",
        &["no row ever has this key", "there: 5, 9, 1\n", "dropped, for instruments"],
    );
    let folder = Folder::new();
    folder.put("v.csv", "mic,city\nXNAS,NY\nXPAR,Paris\n\"Z, Y\",Ulm\n");
    let said = folder.ok("explain --row 1 --trades trades.csv --table v=v.csv,key=venue@mic");
    assert!(said.contains("key X, Y: finds nothing") && said.contains("there: Z, Y\n"), "{said}");
}

#[test]
fn a_row_that_was_removed_or_comes_later_is_told() {
    let removed = [
        "removed before, by s.jsonl, line 2, behind trade 0",
        "it comes later: s.jsonl, line 4, behind trade 1",
    ];
    says("i1=A i1! t1 i1=B", 1, "", &removed);
    says(
        "t1 t1 i1=A",
        1,
        "",
        &["no row before the trade has this key", "it comes later: s.jsonl, line 3, behind trade 2"],
    );
}

#[test]
fn a_trade_without_a_key_or_a_time_is_told() {
    says(
        "i1=A u7=B t1",
        1,
        "",
        &["users        no key: finds nothing: the trade has no value in its user_id"],
    );
    let as_of = "--mode instruments=as-of";
    says("i1=A@3 t1@4 t1", 2, as_of, &["the trade has no timestamp"]);
}

#[test]
fn by_version_the_row_that_counts_is_told() {
    let flags = "--version-column instruments=seq";
    says("i1=A#1 i1=C#3 i1=B#2 t1", 1, flags, &["finds s.jsonl, line 2, behind trade 0, version 3\n"]);
    let removed = [
        "removed before, by s.jsonl, line 2, behind trade 0, version 5",
        "later: s.jsonl, line 5, behind trade 1, version 6",
    ];
    says("i1=A#1 i1!#5 t1 i1=B#4 i1=C#6", 1, flags, &removed);
    // Of two rows with one version the greater counts, and of equal ones the first.
    says("i1=A#1 i1=B#1 i1=A#1 t1", 1, flags, &["line 2,"]);
    says("i1=A#1 i1=A#1 t1", 1, flags, &["line 1,"]);
}

#[test]
fn by_time_rows_of_other_times_are_shown() {
    let flags = "--mode instruments=as-of";
    says(
        "i1=A@3-5 i1=B@5 t1@4",
        1,
        flags,
        &["finds s.jsonl, line 1,", "valid from 1970-01-01T00:00:00.000000003Z to "],
    );
    let other =
        ["valid at other times", "s.jsonl, line 1, behind trade 0, valid from", "s.jsonl, line 2, behind"];
    says("i1=A@3-5 i1=B@8 t1@6", 1, flags, &other);
    says("i1=A@9 t1@6 i1=B@2", 1, flags, &["valid at other times", "it comes later: s.jsonl, line 3,"]);
    let old =
        ["the row valid then began 7ns before the trade, and --tolerance allows 3ns", "s.jsonl, line 1"];
    says("i1=A@3 t1@10", 1, &format!("{flags} --tolerance instruments=3ns"), &old);
    says("i1=A t1@10", 1, &format!("{flags} --tolerance instruments=3ns"), &["began since ever"]);
    says("i1=A@3 i1! t1@4", 1, flags, &["removed before, by s.jsonl, line 2"]);
}

#[test]
fn what_becomes_of_a_miss_is_told() {
    says("i1=A t2", 1, "--unmatched keep", &["kept with instrument nothing"]);
    says("i1=A t2", 1, "--on-miss instruments=dead-letter", &["put aside as a dead letter, for instruments"]);
    says("i1=A t2", 1, "--on-miss instruments=fail", &["ends the run, for instruments"]);
    // Of two misses the one that decides most.
    says("i1=A u7=B t2u8", 1, "--on-miss instruments=keep --on-miss users=drop", &["dropped, for users"]);
    let hold = "--on-miss instruments=drop --on-miss users=hold=5rows,then=dead-letter";
    says("i1=A u7=B t2u8", 1, hold, &["dropped, for instruments\n"]);
}

#[test]
fn how_long_a_trade_waited_is_told() {
    let hold = "--on-miss instruments=hold=3rows,then=keep";
    let found = [
        "finds s.jsonl, line 3, behind trade 2, which came while it waited, behind trade 2",
        "after 1 more trade was read",
    ];
    says("t1 t2 i1=A t1", 1, hold, &found);
    says(
        "t9 t2 t2 t2 t2 i9=A",
        1,
        hold,
        &[
            "kept with instrument nothing, after 3 more trades",
            "it comes later: s.jsonl, line 6, behind trade 5",
        ],
    );
    says(
        "t9 t2",
        1,
        "--on-miss instruments=hold=9rows,then=drop",
        &["dropped, for instruments, after 1 more trade"],
    );
    let both = "--on-miss instruments=hold=9rows --on-miss users=hold=9rows,then=drop";
    let found = [
        "line 3, behind trade 2, which came while it waited",
        "line 5, behind trade 3, which came while it waited",
    ];
    says("t1u7 t9 i1=A t9 u7=kim t9", 1, both, &[&found[..], &["after 2 more trades"]].concat());
    // Of two that never come the one that decides most, at the end of the stream.
    says("u8=kim t1u7 t9", 1, both, &["put aside as a dead letter, for instruments, after 1 more trade"]);
    says(
        "t9 t8 t7 i9=A",
        1,
        &format!("{hold} --hold-rows 1"),
        &["kept with instrument nothing, after 1 more trade"],
    );
    let by_time = "--on-miss instruments=hold=2ns,then=keep";
    says("t9@1 t9@3 t9@4 i9=A", 1, by_time, &["kept with instrument nothing, after 2 more trades"]);
    says("t9@1 t9@3 i9=A t9@4", 1, by_time, &["which came while it waited, behind trade 2"]);
    // Behind one that waits another waits in line.
    says(
        "i1=A t9 t1 t1 i9=B",
        2,
        &format!("{hold} --order strict"),
        &["finds s.jsonl, line 1", "after 1 more trade"],
    );
    let folder = Folder::empty();
    folder.put("s.jsonl", stream("t1"));
    folder.fails(2, "explain --row 1 --messages s.jsonl --on-miss instruments=hold=1s,clock=processing");
}

#[test]
fn with_a_journal_it_is_told_what_was_true_then() {
    let folder = Folder::empty();
    let (trades, output) = journaled(&folder, "");
    let count = trades.lines().count() - 1;
    folder.put("t.csv", trades);
    folder.put("out.csv", output);
    let hold = "--on-miss instruments=hold=40rows,then=keep";
    let job = format!("--trades t.csv --instruments first.csv --replay-journal journal.jsonl {hold}");
    let said = folder.ok(&format!("verify out.csv {job} --wait-column waited"));
    assert!(said.contains("rows are what they should be"), "{said}");
    let said = folder.ok(&format!("explain --row 1 {job}"));
    assert!(said.contains("finds first.csv, line 2\n") && said.contains("SPY241103C00200000"), "{said}");
    let said = folder.ok(&format!("explain --row {count} {job}"));
    let parts = ["finds a row of the journal, behind trade ", "enriched with instrument RD241103C00200000\n"];
    assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    let refused = folder.fails(2, "explain --row 1 --trades t.csv --instruments first.csv --watch");
    assert!(refused.contains("--replay-journal"), "{refused}");
}

#[test]
fn refused_records_are_not_counted_and_their_lines_are() {
    let folder = Folder::new();
    folder.put("t.csv", "trade_id,instrument_id\nx,y\n1,1\n");
    folder.put(
        "i.csv",
        "instrument_id,ticker,strike,expiry,option_type\n1,SPY,x,2024-11-03,call\n1,SPY,2,2024-11-03,call\n",
    );
    let said = folder.ok("explain --row 1 --trades t.csv --instruments i.csv --on-bad-record skip");
    assert!(
        said.contains("t.csv, line 3")
            && said.contains("i.csv, line 3")
            && said.contains("2 records were refused"),
        "{said}"
    );
    let ran = folder.run("explain --trade-id x --trades t.csv --instruments i.csv --on-bad-record skip");
    assert!(ran.code == 1 && ran.stdout.contains("t.csv, line 2, column instrument_id"), "{}", ran.stdout);
    folder.fails(65, "explain --row 1 --trades t.csv --instruments i.csv");
    let said = folder.fails(2, "explain --row 1 --trades - --format csv --instruments i.csv");
    assert!(said.contains("read twice"), "{said}");
    folder.fails(2, "explain --trades t.csv --instruments i.csv");
}

/// Numbers below `end`, the same in every run.
struct Draws(u64);

impl Draws {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }

    fn word(&mut self) -> String {
        let [id, user, time] = [self.below(4), self.below(3), self.below(20)];
        match self.below(12) {
            0..6 => format!("t{id}u{user}@{time}"),
            6..8 => format!("i{id}={}@{time}", self.of(&["A", "B", "C"])),
            8 => format!("i{id}!"),
            9..11 => format!("u{user}={}", self.of(&["x", "y"])),
            _ => format!("u{user}!"),
        }
    }
}

#[test]
fn what_is_explained_is_what_a_run_does() {
    let folder = Folder::empty();
    let policies =
        ["drop", "keep", "hold=3rows,then=keep", "hold=4ns,then=dead-letter", "hold=9rows,then=drop"];
    for seed in 0..16 {
        let mut draws = Draws(seed);
        let words: Vec<_> = (0..40).map(|_| draws.word()).collect();
        folder.put("s.jsonl", stream(&format!("{} t0@1 i9=A@1", words.join(" "))));
        let (instruments, users) = (draws.of(&policies), draws.of(&policies[..3]));
        let (mode, order) = (draws.of(&["latest", "as-of"]), draws.of(&["input", "strict"]));
        let letters = if instruments.contains("dead") { "--dead-letters d.jsonl" } else { "" };
        let job = format!(
            "--messages s.jsonl --tables instruments,users --mode instruments={mode} --order {order} \
             --on-miss instruments={instruments} --on-miss users={users}"
        );
        folder.ok(&format!("run {job} {letters} --wait-column waited --output o.jsonl --quiet"));
        folder.ok(&format!("verify {job} --wait-column waited --output o.jsonl"));
        let output = folder.read("o.jsonl");
        let output: Vec<Value> =
            output.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let count = words.iter().filter(|word| word.starts_with('t')).count() as u64 + 1;
        for number in (1..=count).step_by(3) {
            let trade = &explained(&folder, &format!("--row {number} {job}"))[0];
            let written = output.iter().find(|row| row["trade_id"] == number);
            let outcome = trade["outcome"].as_str().expect("text");
            assert_eq!(["enriched", "kept"].contains(&outcome), written.is_some(), "{seed}: {trade}");
            let Some(written) = written else { continue };
            assert_eq!(trade["waited"], written["waited"], "{seed}: {trade}");
            for column in ["instrument", "user"] {
                assert_eq!(trade["added"][column], written[column], "{seed}: {trade}");
            }
        }
    }
}
