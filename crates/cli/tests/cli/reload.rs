//! Tables whose files change while trades flow.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Stdio};

use crate::support::Folder;

const TABLE: &str = "instrument_id,ticker,strike,expiry,option_type\n";

/// A table of one row.
fn table(ticker: &str) -> String {
    format!("{TABLE}1,{ticker},200,2024-11-03,call\n")
}

/// A run that reads trades from a pipe.
struct Live {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
    trades: u64,
}

impl Live {
    fn start(folder: &Folder, flags: &str) -> Self {
        let job =
            format!("run --trades - --format csv --instruments i.csv --watch=5ms --unmatched keep {flags}");
        let mut command = folder.command(&job);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut live = Self { child, stdin, stdout, stderr, trades: 0 };
        live.write("trade_id,instrument_id\n");
        live
    }

    fn write(&mut self, text: &str) {
        self.stdin.write_all(text.as_bytes()).expect("written");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("text");
        line.trim_end().to_owned()
    }

    /// What the next trade of an instrument finds.
    fn finds(&mut self, instrument: u32) -> String {
        self.trades += 1;
        self.write(&format!("{},{instrument}\n", self.trades));
        if self.trades == 1 {
            assert!(self.line().starts_with("trade_id,instrument_id,instrument"));
        }
        let line = self.line();
        let found = line.strip_prefix(&format!("{},{instrument},", self.trades));
        found.unwrap_or_else(|| panic!("{line}")).to_owned()
    }

    /// Trades, until one of them finds this.
    fn until_found(&mut self, instrument: u32, expected: &str) {
        while self.finds(instrument) != expected {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Waits until it says this, on standard error.
    fn until_said(&mut self, expected: &str) {
        let mut line = String::new();
        while !line.contains(expected) {
            line.clear();
            assert_ne!(self.stderr.read_line(&mut line).expect("text"), 0, "it never says {expected}");
        }
    }

    fn end(mut self) {
        drop(self.stdin);
        assert!(self.child.wait().expect("it ends").success());
    }
}

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
        live.until_found(1, "AAPL241103C00200000");
        folder.put("new.csv", format!("{}2,F,7.125,260320,Put\n", table("MSFT")));
        std::fs::rename(folder.path("new.csv"), folder.path("i.csv")).expect("renamed");
        live.until_found(1, "MSFT241103C00200000");
        assert_eq!(live.finds(2), "F260320P00007125");
        live.until_said("instruments reloaded: 0 rows added, 1 changed, 0 removed");
        live.until_said("instruments reloaded: 1 rows added, 1 changed, 0 removed");
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
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(lines.contains(&"2,2,F260320P00007125".to_owned()), "{lines:?}");
    live.end();
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
    std::io::Read::read_to_string(&mut live.stdout, &mut output).expect("text");
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
        "instruments is not the table that the journal began with, of 1 rows: it has 2",
    );
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
