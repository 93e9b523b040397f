//! Tables whose files change while trades flow.

use std::io::Read as _;
use std::time::Duration;

use rustix::process::Signal;

use crate::live::{Live, TABLE, table};
use crate::support::Folder;

#[test]
fn a_file_that_changes_is_in_force_without_a_restart() {
    let folder = Folder::empty();
    for how in ["--workers 3 --distribution instruments=partitioned", "--distribution instruments=broadcast"]
    {
        folder.put("i.csv", table("SPY"));
        let mut live = Live::start(&folder, how);
        assert_eq!(live.finds(1), "SPY241103C00200000");
        // Written in place, and by a rename as editors do it.
        folder.put("i.csv", table("AAPL"));
        live.until_said("instruments reloaded: rows added 0, changed 1, removed 0");
        // The run has waited for this trade since before the file changed.
        assert_eq!(live.finds(1), "AAPL241103C00200000");
        folder.put("new.csv", format!("{}2,F,7.125,260320,Put\n", table("MSFT")));
        std::fs::rename(folder.path("new.csv"), folder.path("i.csv")).expect("renamed");
        live.until_said("instruments reloaded: rows added 1, changed 1, removed 0");
        assert_eq!(live.finds(1), "MSFT241103C00200000");
        assert_eq!(live.finds(2), "F260320P00007125");
        live.end();
    }
}

#[test]
fn a_symbolic_link_that_is_swapped_is_a_file_that_changes() {
    let folder = Folder::empty();
    folder.put("old.csv", table("SPY"));
    folder.put("new.csv", table("AAPL"));
    let link = |to: &str| {
        std::os::unix::fs::symlink(folder.path(to), folder.path("link")).expect("a link");
        std::fs::rename(folder.path("link"), folder.path("i.csv")).expect("renamed");
    };
    link("old.csv");
    let mut live = Live::start(&folder, "");
    assert_eq!(live.finds(1), "SPY241103C00200000");
    link("new.csv");
    live.until_found(1, "AAPL241103C00200000");
    live.end();
}

#[test]
fn a_hang_up_makes_it_look_at_once() {
    let folder = Folder::empty();
    folder.put("i.csv", table("SPY"));
    let mut live = Live::start(&folder, "--watch=1h");
    assert_eq!(live.finds(1), "SPY241103C00200000");
    folder.put("i.csv", table("AAPL"));
    live.signal(Signal::HUP);
    live.until_found(1, "AAPL241103C00200000");
    live.end();
}

#[test]
fn a_bad_file_leaves_the_rows_in_force() {
    let folder = Folder::empty();
    let many: String = (2..12).map(|id| format!("{id},X,{id},2024-11-03,call\n")).collect();
    folder.put("i.csv", table("SPY") + &many);
    let mut live = Live::start(&folder, "");
    assert_eq!(live.finds(1), "SPY241103C00200000");
    let path = folder.path("i.csv");
    let refused = [
        (TABLE, ": it has 0 rows, and --min-rows asks for 1"),
        (&table("AAPL"), ": 10 of 11 rows are missing from it, and --max-removed allows 20%"),
        (
            &(table("AAPL") + &many + "1,Q,200,2024-11-03,call\n"),
            ": 1 of its rows have a key that an earlier one has",
        ),
        (&(table("AAPL") + &many + "13,Q,20"), ", line 13: 3 fields"),
        (&(table("AAPL") + &many + "x,Q,200,2024-11-03,call\n"), ", line 13, column instrument_id: \"x\""),
        ("id,name\n1,x\n", ": no column instrument_id"),
    ];
    for (content, why) in refused {
        std::fs::write(folder.path("new.csv"), content).expect("a file");
        std::fs::rename(folder.path("new.csv"), &path).expect("renamed");
        live.until_said(&format!("warning: instruments is not reloaded, the rows in force stay: i.csv{why}"));
        assert_eq!(live.finds(1), "SPY241103C00200000");
    }
    std::fs::remove_file(&path).expect("removed");
    live.until_said("cannot open i.csv");
    std::fs::create_dir(&path).expect("a folder");
    live.until_said("is a directory");
    std::fs::remove_dir(&path).expect("removed");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).expect("a pipe");
    live.until_said("i.csv is no file any more");
    assert_eq!(live.finds(1), "SPY241103C00200000");
    std::fs::remove_file(&path).expect("removed");
    std::fs::create_dir(&path).expect("a folder");
    assert_eq!(live.finds(1), "SPY241103C00200000");
    std::fs::remove_dir(&path).expect("removed");
    folder.put("i.csv", table("BACK") + &many);
    live.until_found(1, "BACK241103C00200000");
    live.end();
}

#[test]
fn a_trade_that_waits_goes_out_when_a_reload_brings_its_key() {
    let folder = Folder::empty();
    folder.put("i.csv", table("SPY"));
    let mut live =
        Live::start(&folder, "--on-miss instruments=hold=1000000rows,then=keep --columns instrument");
    assert_eq!(live.finds(1), "SPY241103C00200000");
    live.trades += 1;
    live.write("2,2\n");
    folder.put("i.csv", format!("{}2,F,7.125,260320,Put\n", table("AAPL")));
    // Other trades go on, and what waited goes out among them.
    let mut lines = Vec::new();
    while !lines.iter().any(|line: &String| line.starts_with("2,2,")) {
        live.trades += 1;
        live.write(&format!("{},1\n", live.trades));
        lines.push(live.line());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(lines.contains(&"2,2,F260320P00007125".to_owned()), "{lines:?}");
    live.end();
}

#[test]
fn a_reload_counts_for_what_waits_at_the_end() {
    let folder = Folder::empty();
    folder.put("i.csv", table("SPY"));
    let policy = "--on-miss instruments=hold=1000000rows,then=keep";
    let mut live = Live::start(&folder, policy);
    assert_eq!(live.finds(1), "SPY241103C00200000");
    live.write("2,2\n");
    folder.put("i.csv", format!("{}2,F,7.125,260320,Put\n", table("SPY")));
    live.until_said("instruments reloaded: rows added 1, changed 0, removed 0");
    drop(live.stdin);
    let mut rest = String::new();
    live.stdout.read_to_string(&mut rest).expect("text");
    assert_eq!(rest, "2,2,F260320P00007125\n");
    assert!(live.child.wait().expect("it ends").success());
}

#[test]
fn a_row_that_is_removed_and_comes_again_in_a_file_is_there() {
    let folder = Folder::empty();
    let with = |rows: &str| {
        format!("instrument_id,ticker,strike,expiry,option_type,deleted\n{rows}2,F,7,2024-11-03,put,\n")
    };
    let spy = "1,SPY,200,2024-11-03,call,";
    let aapl = "1,AAPL,200,2024-11-03,call,";
    folder.put("i.csv", with(&format!("{spy}true\n{spy}\n")));
    let mut live = Live::start(&folder, "--max-removed 100%");
    assert_eq!(live.finds(1), "SPY241103C00200000");
    for (rows, found) in [
        (format!("{spy}\n{aapl}true\n"), ""),
        (format!("{spy}true\n{spy}\n"), "SPY241103C00200000"),
        (format!("{spy}true\n{aapl}\n"), "AAPL241103C00200000"),
    ] {
        folder.put("i.csv", with(&rows));
        live.until_found(1, found);
    }
    // Removed, and again what is in force.
    folder.put("i.csv", with(&format!("{aapl}true\n{aapl}\n")) + "3,X,7,2024-11-03,put,\n");
    live.until_found(3, "X241103P00007000");
    assert_eq!(live.finds(1), "AAPL241103C00200000");
    live.end();
}

#[test]
fn a_journal_takes_the_place_of_nothing() {
    let folder = Folder::new();
    let job = "run --trades trades.csv --instruments instruments.csv --output o.csv --dead-letters d.jsonl";
    for (flags, why) in [
        ("--watch --journal instruments.csv", "--journal would take the place of an input, instruments.csv"),
        ("--watch --journal trades.csv", "--journal would take the place of an input, trades.csv"),
        ("--watch --journal o.csv", "--journal would take the place of the output"),
        ("--watch --journal d.jsonl", "--journal would take the place of --dead-letters"),
        ("--replay-journal o.csv", "the output would take the place of an input, o.csv"),
        ("--max-removed 5%", "--max-removed is for tables that are watched: add --watch"),
    ] {
        let said = folder.fails(2, &format!("{job} {flags}"));
        assert!(said.contains(why), "{why}: {said}");
    }
    assert!(folder.read("instruments.csv").starts_with("instrument_id"));
}

#[test]
fn what_cannot_be_watched_is_said() {
    let folder = Folder::new();
    let refused = |job: &str, why: &str| {
        let ran = folder.run(job);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains(why), "{}", ran.stderr);
    };
    refused("run --watch --limit 10", "--watch is for the tables beside --trades, and there are none");
    let pipe = "run --trades trades.csv --instruments /dev/stdin --format csv --watch";
    refused(pipe, "--watch: /dev/stdin is no file that can be read again when it changes");
    let job = "run --trades trades.csv --instruments instruments.csv";
    refused(&format!("{job} --watch --max-removed 101%"), "write a share such as 20%, or a number of rows");
}

/// A run in which tables are reloaded while trades flow, some of which wait; its trades
/// and what became of them.
pub(crate) fn journaled(folder: &Folder, flags: &str) -> (String, String) {
    folder.put("first.csv", table("SPY"));
    folder.put("i.csv", table("SPY"));
    let policy = "--on-miss instruments=hold=40rows,then=keep --wait-column waited --max-removed 100%";
    let mut live = Live::start(folder, &format!("{policy} --journal journal.jsonl {flags}"));
    assert_eq!(live.finds(1), "SPY241103C00200000,0");
    let mut trades = "trade_id,instrument_id\n1,1\n".to_owned();
    let mut output = "trade_id,instrument_id,instrument,waited\n1,1,SPY241103C00200000,0\n".to_owned();
    for round in 0..4 {
        folder.put(
            "i.csv",
            format!(
                "{}{},F,7.125,260320,Put\n",
                table(&format!("R{}", ["A", "B", "C", "D"][round])),
                2 + round
            ),
        );
        loop {
            live.trades += 2;
            let both = format!("{},{}\n{},1\n", live.trades - 1, 2 + round, live.trades);
            trades += &both;
            live.write(&both);
            // The second one never waits; what waited may go out before or behind it.
            let line = loop {
                let line = live.line();
                output += &format!("{line}\n");
                if line.starts_with(&format!("{},1,", live.trades)) {
                    break line;
                }
            };
            if line.contains(&format!("R{}", ["A", "B", "C", "D"][round])) {
                break;
            }
        }
    }
    drop(live.stdin);
    live.stdout.read_to_string(&mut output).expect("text");
    assert!(live.child.wait().expect("it ends").success());
    (trades, output)
}

#[test]
fn a_journal_repeats_a_run_whatever_its_timing_was() {
    for flags in ["--workers 1", "--workers 3 --distribution instruments=partitioned"] {
        let folder = Folder::empty();
        let (trades, output) = journaled(&folder, flags);
        folder.put("t.csv", trades);
        assert!(["RA", "RB", "RC", "RD"].iter().all(|ticker| output.contains(ticker)), "{output}");
        for again in
            ["--workers 1 --batch-len 1", "--workers 2", "--workers 7 --distribution instruments=partitioned"]
        {
            let job =
                "run --trades t.csv --instruments first.csv --unmatched keep --replay-journal journal.jsonl";
            let policy = "--on-miss instruments=hold=40rows,then=keep --wait-column waited";
            assert_eq!(folder.ok(&format!("{job} {policy} {again}")), output, "{flags}, then {again}");
        }
    }
}

#[test]
fn a_journal_repeats_the_corrections_of_a_reload() {
    let folder = Folder::empty();
    let window = "--correct 200rows --corrections";
    let (trades, output) = journaled(&folder, &format!("--workers 3 {window} c.csv"));
    folder.put("t.csv", trades);
    let corrections = folder.read("c.csv");
    assert!(corrections.contains(",changed\n"), "{corrections}");
    for again in ["--workers 1 --batch-len 1", "--workers 2 --distribution instruments=partitioned"] {
        let job =
            "run --trades t.csv --instruments first.csv --unmatched keep --replay-journal journal.jsonl";
        let policy = "--on-miss instruments=hold=40rows,then=keep --wait-column waited";
        assert_eq!(folder.ok(&format!("{job} {policy} {window} again.csv {again}")), output, "{again}");
        assert_eq!(folder.read("again.csv"), corrections, "{again}");
    }
}

#[test]
fn a_journal_of_something_else_is_refused() {
    let folder = Folder::empty();
    let (trades, _) = journaled(&folder, "");
    folder.put("t.csv", &trades);
    let refused = |job: &str, code: i32, why: &str| {
        let ran = folder.run(&format!("run {job}"));
        assert_eq!(ran.code, code, "{}", ran.stderr);
        assert!(ran.stderr.contains(why), "{why}: {}", ran.stderr);
    };
    let journal = folder.read("journal.jsonl");
    let job = "--trades t.csv --instruments first.csv --replay-journal journal.jsonl";
    refused(
        &job.replace("first", "i"),
        65,
        "instruments is not the table that the journal began with: 1 rows then, 2 now, or others",
    );
    let lines: Vec<_> = journal.lines().collect();
    let early = [&lines[..lines.len() - 1], &["{\"end\":{\"trades\":1}}"]].concat().join("\n");
    folder.put("early.jsonl", early);
    let why = "an update stands behind more trades than there are";
    refused(&job.replace("journal.jsonl", "early.jsonl"), 65, why);
    let other = journal.replacen("\"mode\":\"latest\"", "\"mode\":\"as-of\"", 1);
    folder.put("other.jsonl", other);
    let why = "the journal is of instruments in the mode as-of with the columns ";
    refused(&job.replace("journal.jsonl", "other.jsonl"), 2, why);
    let other = journal.replacen("\"fields\":[{\"options\":[", "\"fields\":[{\"texts\":[", 1);
    folder.put("other.jsonl", other);
    refused(&job.replace("journal.jsonl", "other.jsonl"), 65, "of another kind than the table");
    refused(&format!("{job} --limit 3"), 65, "the journal is of");
    folder.put("users.csv", "user_id,username\n");
    folder.put("u.csv", "trade_id,instrument_id,user_id\n");
    let other = "--trades u.csv --users users.csv --replay-journal journal.jsonl";
    refused(other, 2, "the journal is of the tables instruments, and this run has users");
    refused(&job.replace("journal.jsonl", "none.jsonl"), 66, "none.jsonl");
    let cut = |at: usize| journal.lines().take(at).fold(String::new(), |all, line| all + line + "\n");
    folder.put("journal.jsonl", cut(3));
    refused(job, 65, "journal.jsonl has no line for the end");
    folder.put("journal.jsonl", &journal[..journal.len() - 5]);
    refused(job, 65, &format!("journal.jsonl, line {}: ", journal.lines().count()));
    folder.put("journal.jsonl", &trades);
    refused(job, 65, "journal.jsonl, line 1: ");
    refused(&format!("{job} --watch"), 2, "--watch");
}

#[test]
fn a_column_that_may_be_missing_is_taken_up_when_a_newer_file_has_it() {
    let csv = [
        ("v.csv", "instrument_id,venue\n1,XNYS\n"),
        ("v.csv", "instrument_id,zone,venue\n1,east,XNYS\n"),
        ("v.csv", "instrument_id,venue\n1,ARCX\n"),
    ];
    let json = [
        ("v.jsonl", "{\"instrument_id\":1,\"venue\":\"XNYS\"}\n"),
        ("v.jsonl", "{\"instrument_id\":1,\"venue\":\"XNYS\",\"zone\":\"east\"}\n"),
        ("v.jsonl", "{\"instrument_id\":1,\"venue\":\"ARCX\"}\n"),
    ];
    for files in [csv, json] {
        let folder = Folder::empty();
        folder.put("i.csv", table("SPY"));
        let (file, content) = files[0];
        folder.put(file, content);
        let mut live =
            Live::start(&folder, &format!("--table v={file},key=instrument_id,columns=venue:zone?"));
        assert_eq!(live.finds(1), "SPY241103C00200000,XNYS,");
        for ((file, content), found) in files[1..].iter().zip(["XNYS,east", "ARCX,"]) {
            folder.put(file, content);
            live.until_found(1, &format!("SPY241103C00200000,{found}"));
        }
        live.end();
    }
}
