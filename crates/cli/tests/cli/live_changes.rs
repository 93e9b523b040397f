//! Changes of tables that come through a pipe beside the trades.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::changes::{TABLE, at, summary};
use crate::support::Folder;
use crate::words::stream;

/// After so long what is waited for will not come.
const PATIENCE: Duration = Duration::from_secs(100);

/// A run with trades and changes that come through pipes.
struct Live {
    child: Child,
    trades: ChildStdin,
    changes: File,
    output: BufReader<ChildStdout>,
    /// All trades, and all that was read of the output.
    written: String,
    read: String,
}

const HEADER: &str = "trade_id,timestamp,instrument_id\n";

impl Live {
    fn start(folder: &Folder, flags: &str) -> Self {
        Self::start_with(folder, "c.fifo", flags)
    }

    /// With changes that come through a pipe of this name.
    fn start_with(folder: &Folder, name: &str, flags: &str) -> Self {
        folder.put("i.csv", format!("{TABLE}1,SPY,1,2024-11-03,call\n"));
        let _ = std::fs::remove_file(folder.path(name));
        let path = pipe(folder, name);
        // Opened for both, it waits for no reader.
        let changes = OpenOptions::new().read(true).write(true).open(path).expect("a pipe");
        let job = "run --trades - --format csv --instruments i.csv --columns ticker --json";
        // What a flag says of trades without a row counts for each table.
        let unmatched = if flags.contains("--on-miss") { "" } else { "--unmatched keep" };
        let mut command = folder.command(&format!("{job} --table-changes {name} {unmatched} {flags}"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let trades = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut live = Self { child, trades, changes, output, written: String::new(), read: String::new() };
        live.write(HEADER);
        live
    }

    fn write(&mut self, trades: &str) {
        self.written += trades;
        self.trades.write_all(trades.as_bytes()).expect("written");
    }

    /// A change of instrument 1, or of the one that is named before an equals sign.
    fn change(&mut self, ticker: &str, time: i64) {
        let word = if ticker.contains('=') { format!("i{ticker}") } else { format!("i1={ticker}") };
        let line = at(stream(&word).trim_end().to_owned(), time);
        self.changes.write_all(line.as_bytes()).expect("written");
    }

    fn watermark(&mut self, time: i64) {
        let line = format!("{{\"type\":\"watermark\",\"timestamp\":{time}}}\n");
        self.changes.write_all(line.as_bytes()).expect("written");
    }

    /// What the first trade becomes once a watermark is beyond it.
    fn line_of(&mut self, trade: &str, watermark: i64) -> String {
        self.write(trade);
        self.watermark(watermark);
        assert_eq!(self.line(), "trade_id,timestamp,instrument_id,ticker");
        self.line()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("text");
        self.read += &line;
        line.trim_end().to_owned()
    }

    /// Trades, from this number on, until one finds a ticker; gives the next number.
    fn until_found(&mut self, mut number: u64, ticker: &str) -> u64 {
        let start = Instant::now();
        loop {
            self.write(&format!("{number},{number},1\n"));
            number += 1;
            if self.line().ends_with(&format!(",{ticker}")) {
                return number;
            }
            assert!(start.elapsed() < PATIENCE, "no trade finds {ticker}");
        }
    }

    /// Interrupts it, and gives what it says.
    fn interrupt(mut self) -> String {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process")).expect("a process");
        kill_process(pid, Signal::INT).expect("a signal");
        self.output.read_to_string(&mut self.read).expect("text");
        let ended = self.child.wait_with_output().expect("it ends");
        assert_eq!(ended.status.code(), Some(130));
        String::from_utf8_lossy(&ended.stderr).into_owned()
    }

    /// Ends both inputs, and gives the trades, the output and the summary.
    fn end(mut self) -> (String, String, Value) {
        drop((self.trades, self.changes));
        self.output.read_to_string(&mut self.read).expect("text");
        let ended = self.child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{said}");
        (self.written, self.read, summary(&said))
    }
}

#[test]
fn trades_wait_for_changes_that_may_be_theirs() {
    let folder = Folder::empty();
    let mut live = Live::start(&folder, "");
    live.write("1,10,1\n");
    live.change("AAPL", 10);
    // Only this tells that there is no other change for the first trade.
    live.change("F", 11);
    assert_eq!([live.line(), live.line()], ["trade_id,timestamp,instrument_id,ticker", "1,10,1,AAPL"]);
    live.write("2,10,1\n3,11,1\n");
    assert_eq!(live.line(), "2,10,1,AAPL");
    let (_, read, summary) = live.end();
    assert!(read.ends_with("3,11,1,F\n"), "{read}");
    assert_eq!(summary["table_changes"]["late"], 0);
}

#[test]
fn trades_that_waited_long_enough_go_on_and_changes_may_be_late() {
    let folder = Folder::empty();
    let mut live = Live::start(&folder, "--changes-wait 20ms --journal j.jsonl");
    live.write("1,10,1\n");
    assert_eq!([live.line(), live.line()], ["trade_id,timestamp,instrument_id,ticker", "1,10,1,SPY"]);
    live.change("AAPL", 5);
    live.until_found(11, "AAPL");
    let (trades, output, summary) = live.end();
    let changes = &summary["table_changes"];
    assert_eq!((&changes["late"], &changes["reproducible"]), (&1.into(), &false.into()));
    folder.put("t.csv", trades);
    let job =
        "run --trades t.csv --instruments i.csv --columns ticker --unmatched keep --replay-journal j.jsonl";
    assert_eq!(folder.ok(&format!("{job} --workers 3 --batch-len 2")), output);
}

#[test]
fn by_arrival_a_change_is_where_the_trades_are_and_its_journal_repeats_it() {
    let folder = Folder::empty();
    for flags in ["--workers 1", "--workers 3 --distribution instruments=partitioned"] {
        let mut live = Live::start(&folder, &format!("--changes-by arrival --journal j.jsonl {flags}"));
        live.write("1,1,1\n");
        assert_eq!([live.line(), live.line()], ["trade_id,timestamp,instrument_id,ticker", "1,1,1,SPY"]);
        let mut number = 2;
        for ticker in ["AAPL", "F"] {
            live.change(ticker, 0);
            number = live.until_found(number, ticker);
        }
        let (trades, output, summary) = live.end();
        assert_eq!(summary["table_changes"]["changes"], 2);
        folder.put("t.csv", trades);
        let job = "run --trades t.csv --instruments i.csv --columns ticker --unmatched keep --replay-journal j.jsonl";
        for again in ["--workers 1 --batch-len 1", "--workers 7 --distribution instruments=partitioned"] {
            assert_eq!(folder.ok(&format!("{job} {again}")), output, "{flags}, then {again}");
        }
    }
}

/// A pipe with a name.
pub(crate) fn pipe(folder: &Folder, name: &str) -> PathBuf {
    let path = folder.path(name);
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o600)).expect("a pipe");
    path
}

#[test]
fn one_writer_may_open_both_pipes_before_a_line_of_either() {
    let folder = Folder::empty();
    folder.put("i.csv", format!("{TABLE}1,SPY,1,2024-11-03,call\n"));
    let (trades, changes) = (pipe(&folder, "t.fifo"), pipe(&folder, "c.fifo"));
    let job = "run --trades t.fifo --format csv --instruments i.csv --table-changes c.fifo --columns ticker";
    let child = folder.command(job).stdout(Stdio::piped()).spawn().expect("the command starts");
    // Opens when the run has opened its end, and reads nothing yet.
    let mut trades = OpenOptions::new().write(true).open(trades).expect("the run reads trades");
    // Fails where nobody reads.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let changes = OpenOptions::new().write(true).custom_flags(nonblocking).open(changes);
    let mut changes = changes.expect("the run reads changes");
    changes.write_all(at(stream("i1=AAPL").trim_end().to_owned(), 5).as_bytes()).expect("written");
    trades.write_all(format!("{HEADER}1,10,1\n").as_bytes()).expect("written");
    drop((trades, changes));
    let ended = child.wait_with_output().expect("it ends");
    assert!(String::from_utf8_lossy(&ended.stdout).ends_with("\n1,10,1,AAPL\n"));
}

#[test]
fn one_writer_may_open_all_pipes_and_leave_those_of_which_it_has_said_all() {
    let folder = Folder::empty();
    let [trades, first, second] = ["t.fifo", "i.fifo", "x.fifo"].map(|name| pipe(&folder, name));
    let job = "run --trades t.fifo --format csv --instruments i.fifo --table x=x.fifo,key=instrument_id \
               --columns ticker,x.word";
    let mut child = folder.command(job).stdout(Stdio::piped()).spawn().expect("the command starts");
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    // Waits for the run, unless that has ended.
    let mut open = |path: PathBuf| loop {
        match OpenOptions::new().write(true).custom_flags(nonblocking).open(&path) {
            Ok(pipe) => break pipe,
            Err(_) => assert_eq!(child.try_wait().expect("a child"), None, "{}", path.display()),
        }
        std::thread::yield_now();
    };
    // The trades, which are read last, first; and of the table that is read first nothing yet.
    let mut trades = open(trades);
    trades.write_all(format!("{HEADER}1,10,1\n").as_bytes()).expect("written");
    drop(trades);
    let mut second = open(second);
    second.write_all(b"instrument_id,word\n1,one\n").expect("written");
    drop(second);
    open(first).write_all(format!("{TABLE}1,SPY,1,2024-11-03,call\n").as_bytes()).expect("written");
    let ended = child.wait_with_output().expect("it ends");
    assert!(String::from_utf8_lossy(&ended.stdout).ends_with("\n1,10,1,SPY,one\n"));
}

#[test]
fn a_change_frees_a_held_trade_while_the_next_trade_waits_for_others() {
    let folder = Folder::empty();
    let mut live = Live::start(&folder, "--on-miss instruments=hold=100rows,then=keep");
    live.write("1,10,2\n");
    // Beyond the first trade, which is held.
    live.change("1=AAPL", 11);
    live.write("2,20,1\n");
    live.change("2=F", 15);
    assert_eq!([live.line(), live.line()], ["trade_id,timestamp,instrument_id,ticker", "1,10,2,F"]);
    let (_, read, _) = live.end();
    assert!(read.ends_with("2,20,1,AAPL\n"), "{read}");
}

#[test]
fn a_watermark_lets_trades_go_on_where_changes_are_sparse() {
    let folder = Folder::empty();
    let mut live = Live::start(&folder, "");
    live.change("AAPL", 5);
    assert_eq!(live.line_of("1,10,1\n", 11), "1,10,1,AAPL");
    // More than pipes have room for, each before the next watermark, and no change among them.
    for number in (20..20_000).step_by(1_000) {
        let trades: String = (number..number + 1_000).map(|time| format!("{time},{time},1\n")).collect();
        live.write(&trades);
        live.watermark(number + 1_000);
        (0..1_000).for_each(|_| assert!(live.line().ends_with(",AAPL")));
    }
    live.change("F", 300_000);
    live.write("2,300000,1\n");
    let (_, read, summary) = live.end();
    assert!(read.ends_with("2,300000,1,F\n"), "{read}");
    assert_eq!(summary["table_changes"]["changes"], 2);
}

#[test]
fn by_arrival_changes_take_effect_while_no_trade_comes() {
    let folder = Folder::empty();
    for flags in ["--workers 1", "--workers 3 --journal j.jsonl --changes-wait 1000s"] {
        let hold = "--on-miss instruments=hold=100rows,then=keep --changes-by arrival --batch-len 100";
        let mut live = Live::start(&folder, &format!("{hold} {flags}"));
        live.write("1,1,2\n2,2,1\n");
        // So the first is held.
        assert_eq!([live.line(), live.line()], ["trade_id,timestamp,instrument_id,ticker", "2,2,1,SPY"]);
        live.change("2=F", 1);
        assert_eq!(live.line(), "1,1,2,F");
        // More than all pipes and blocks on the way have room for.
        let change = at(stream("i3=X").trim_end().to_owned(), 1);
        live.changes.write_all(change.repeat(100_000).as_bytes()).expect("written");
        live.write("3,3,3\n");
        let (_, read, summary) = live.end();
        assert!(read.contains("3,3,3,X\n"), "{read}");
        assert_eq!(summary["table_changes"]["changes"], 100_001);
    }
}

#[test]
fn by_arrival_a_run_whose_trades_are_silent_can_be_interrupted() {
    let folder = Folder::empty();
    let mut live = Live::start(&folder, "--changes-by arrival");
    live.write("1,4,1\n");
    assert_eq!([live.line(), live.line()], ["trade_id,timestamp,instrument_id,ticker", "1,4,1,SPY"]);
    let said = live.interrupt();
    assert!(said.contains("\"interrupted\":true") && said.contains("\"rows_read\":1,"), "{said}");
}

#[test]
fn packed_changes_without_a_byte_do_not_hold_up_trades_by_arrival() {
    let folder = Folder::empty();
    let mut live = Live::start_with(&folder, "c.jsonl.gz", "--changes-by arrival");
    live.write("1,1,1\n");
    assert_eq!([live.line(), live.line()], ["trade_id,timestamp,instrument_id,ticker", "1,1,1,SPY"]);
    live.end();
}

#[test]
fn a_run_that_waits_for_changes_can_be_interrupted() {
    let folder = Folder::empty();
    let mut live = Live::start(&folder, "");
    live.change("AAPL", 5);
    // The first is before all that may come, the second is not.
    live.write("1,4,1\n2,6,1\n");
    assert_eq!([live.line(), live.line()], ["trade_id,timestamp,instrument_id,ticker", "1,4,1,SPY"]);
    let said = live.interrupt();
    assert!(said.contains("\"interrupted\":true") && said.contains("\"rows_read\":1,"), "{said}");
}

/// Changes that have been read may belong behind trades that have not come.
#[test]
fn a_stop_while_trades_are_awaited_is_no_end_of_theirs() {
    let folder = Folder::empty();
    let begin = |trades: &str| {
        let mut live = Live::start(&folder, "--checkpoint state --checkpoint-every 1rows");
        [("T10", 10), ("T20", 20), ("T30", 30)].iter().for_each(|&(ticker, time)| live.change(ticker, time));
        live.write("1,1,1\n");
        live.write(trades);
        live
    };
    let mut live = begin("");
    assert_eq!([live.line(), live.line()], ["trade_id,timestamp,instrument_id,ticker", "1,1,1,SPY"]);
    let said = live.interrupt();
    assert!(said.contains("the same command goes on where it was"), "{said}");
    let mut live = begin("2,15,1\n3,25,1\n");
    let lines = [live.line(), live.line(), live.line()];
    assert_eq!(lines, ["trade_id,timestamp,instrument_id,ticker", "2,15,1,T10", "3,25,1,T20"]);
    let (_, _, summary) = live.end();
    assert_eq!((&summary["rows_read"], &summary["table_changes"]["changes"]), (&3.into(), &3.into()));
}

#[test]
fn a_run_that_waits_for_changes_keeps_what_it_has_handed_on() {
    let folder = Folder::empty();
    let begin = || {
        let mut live = Live::start(&folder, "--checkpoint state --checkpoint-every 1rows");
        live.change("AAPL", 5);
        // Of one block. The first is before all that may come, the second is not.
        live.write("1,4,1\n2,6,1\n");
        live
    };
    let mut live = begin();
    assert_eq!([live.line(), live.line()], ["trade_id,timestamp,instrument_id,ticker", "1,4,1,SPY"]);
    let said = live.interrupt();
    assert!(said.contains("the same command goes on where it was"), "{said}");
    let shown = folder.ok("checkpoint show state");
    assert!(shown.contains("interrupted: the same command goes on"), "{shown}");
    // Both producers send the same again.
    let mut live = begin();
    live.watermark(7);
    assert_eq!([live.line(), live.line()], ["trade_id,timestamp,instrument_id,ticker", "2,6,1,AAPL"]);
    let (_, _, summary) = live.end();
    assert_eq!((&summary["rows_read"], &summary["table_changes"]["changes"]), (&2.into(), &1.into()));
}
