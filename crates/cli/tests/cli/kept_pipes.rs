//! Kept runs whose inputs come through pipes, and are written once more.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::changes::{TABLE, at};
use crate::live_changes::pipe;
use crate::support::{Folder, Ran};
use crate::words::stream;

/// After so long what is waited for will not come.
const PATIENCE: Duration = Duration::from_secs(100);

/// Trades of a checkpoint that are more than a pipe has room for.
const MANY: u64 = 1_000;

const HEADER: &str = "trade_id,timestamp,instrument_id,note\n";

fn trade(number: u64) -> String {
    format!("{number},{number},1,{}\n", "n".repeat(100))
}

/// Of at most six letters and digits.
fn ticker(number: u64) -> String {
    format!("S{}", number % 100_000)
}

/// A change that all trades from that number on see.
fn change(number: u64) -> String {
    at(stream(&format!("i1={}", ticker(number))).trim_end().to_owned(), number as i64)
}

/// New ones, of trades and of changes: what is left in an old one stays there while a process has
/// it, such as one that another test is about to start.
fn pipes(folder: &Folder) -> [PathBuf; 2] {
    ["t.fifo", "c.fifo"].map(|name| {
        let _ = fs::remove_file(folder.path(name));
        pipe(folder, name)
    })
}

/// Writes trades and changes in the order of time, until there are so many or nobody reads them;
/// tells how many.
fn write_both(folder: &Folder, trades: u64) -> JoinHandle<u64> {
    let paths = pipes(folder);
    let open = |path| OpenOptions::new().write(true).open(path).expect("a pipe");
    let write_all = move || {
        let [mut to_trades, mut to_changes] = paths.map(open);
        let write = |file: &mut File, text: &str| file.write_all(text.as_bytes()).is_ok();
        let mut number = 0;
        let mut is_read = write(&mut to_trades, HEADER);
        while is_read && number < trades {
            is_read = write(&mut to_changes, &change(number)) && write(&mut to_trades, &trade(number));
            number += 1;
        }
        number
    };
    thread::Builder::new().spawn(write_all).expect("a thread")
}

/// Waits until a checkpoint is behind so many trades, of which somebody writes more and more, and
/// kills the run there.
fn kill_behind(folder: &Folder, mut run: Child, trades: u64, mut more: impl FnMut()) {
    let start = Instant::now();
    let is_behind = || {
        let listed = folder.run("checkpoint list state");
        let here = listed.stdout.lines().find(|line| line.contains("a run goes on here"))?;
        here.split_whitespace().nth(1)?.replace(',', "").parse::<u64>().ok()
    };
    while is_behind().is_none_or(|behind| behind < trades) {
        assert_eq!(run.try_wait().expect("a child"), None, "it ends");
        assert!(start.elapsed() < PATIENCE, "no checkpoint");
        more();
        thread::sleep(Duration::from_millis(5));
    }
    run.kill().expect("killed");
    run.wait().expect("dead");
}

/// What a run says that must end.
fn end(mut run: Child) -> Ran {
    let start = Instant::now();
    while run.try_wait().expect("a child").is_none() {
        if start.elapsed() > PATIENCE {
            run.kill().expect("killed");
            let ended = run.wait_with_output().expect("dead");
            panic!("it never ends: {}", String::from_utf8_lossy(&ended.stderr));
        }
        thread::sleep(Duration::from_millis(5));
    }
    let ended = run.wait_with_output().expect("ended");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ran { code: ended.status.code().unwrap_or(-1), stdout: text(ended.stdout), stderr: text(ended.stderr) }
}

#[test]
fn one_writer_of_both_pipes_in_the_order_of_time_is_gone_on_with() {
    for flags in ["", "--changes-wait 1000s --batch-len 100", "--changes-by arrival", "--journal j.jsonl"] {
        let folder = Folder::empty();
        folder.put("i.csv", format!("{TABLE}1,SPY,1,2024-11-03,call\n"));
        let job = "run --trades t.fifo --format csv --instruments i.csv --table-changes c.fifo --columns ticker \
                   --unmatched keep --output o.csv --checkpoint state --checkpoint-every 100rows --verbose";
        let start = || {
            let mut command = folder.command(&format!("{job} {flags}"));
            command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the command starts")
        };
        let writer = write_both(&folder, u64::MAX);
        kill_behind(&folder, start(), MANY, || ());
        // And some that were not written then.
        let trades = writer.join().expect("no panic") + 100;
        write_both(&folder, trades);
        let ran = end(start());
        assert_eq!(ran.code, 0, "{flags}: {}", ran.stderr);
        assert!(ran.stderr.contains("going on from checkpoint"), "{flags}: {}", ran.stderr);
        let output = folder.read("o.csv");
        let mut lines = output.lines();
        assert_eq!(lines.next(), Some("trade_id,timestamp,instrument_id,note,ticker"));
        for number in 0..trades {
            let (line, trade) = (lines.next().unwrap_or_default(), trade(number));
            let found = line.strip_prefix(trade.trim_end()).unwrap_or_else(|| panic!("{flags}: {line}"));
            assert!(flags.contains("arrival") || found[1..] == ticker(number), "{flags}: {line}");
        }
        assert_eq!(lines.next(), None);
    }
}

#[test]
fn other_trades_on_standard_input_are_refused() {
    let folder = Folder::empty();
    folder.put("i.csv", format!("{TABLE}1,SPY,1,2024-11-03,call\n"));
    let start = || {
        let job = "run --trades - --format csv --instruments i.csv --columns ticker --output o.csv \
                   --checkpoint state --checkpoint-every 1rows";
        let mut command = folder.command(job);
        command.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::piped());
        let mut run = command.spawn().expect("the command starts");
        (run.stdin.take().expect("a pipe"), run)
    };
    let header = "trade_id,instrument_id,bid,ask\n";
    let mut text = String::new();
    let (mut trades, run) = start();
    trades.write_all(header.as_bytes()).expect("written");
    kill_behind(&folder, run, 1, || {
        let trade = format!("{},1,10,11\n", text.lines().count());
        trades.write_all(trade.as_bytes()).expect("written");
        text += &trade;
    });
    let (mut trades, run) = start();
    let other = "trade_id,instrument_id,ask,bid\n";
    trades.write_all(format!("{other}{text}last,1,10,11\n").as_bytes()).expect("written");
    drop(trades);
    let refused = end(run);
    let said = "it is not the input that the checkpoint was made of: its first ";
    assert!(refused.code == 65 && refused.stderr.contains(said), "{}: {}", refused.code, refused.stderr);
    // And nothing of it is left behind.
    let (mut trades, run) = start();
    trades.write_all(format!("{header}{text}last,1,10,11\n").as_bytes()).expect("written");
    drop(trades);
    let ran = end(run);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let rows = format!("{text}last,1,10,11\n").replace(",11\n", ",11,SPY\n");
    assert_eq!(folder.read("o.csv"), format!("trade_id,instrument_id,bid,ask,ticker\n{rows}"));
}

/// A run with trades and changes that come through pipes.
fn start_both(folder: &Folder, flags: &str) -> Child {
    let job = "run --trades t.fifo --format csv --instruments i.csv --table-changes c.fifo --columns ticker \
               --unmatched keep --output o.csv --checkpoint state --checkpoint-every 100rows --batch-len 100";
    let mut command = folder.command(&format!("{job} {flags}"));
    command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the command starts")
}

#[test]
fn another_writer_of_one_of_two_pipes_is_refused_and_holds_nothing_up() {
    // By arrival no change may have come before the checkpoint.
    for (flags, other) in [("", "c.fifo"), ("", "t.fifo"), ("--changes-by arrival", "t.fifo")] {
        let folder = Folder::empty();
        folder.put("i.csv", format!("{TABLE}1,SPY,1,2024-11-03,call\n"));
        let start = || start_both(&folder, flags);
        let writer = write_both(&folder, u64::MAX);
        kill_behind(&folder, start(), MANY, || ());
        writer.join().expect("no panic");
        // It writes both in turn, and says something else in the first line of one.
        let paths = pipes(&folder);
        let write = move || {
            let open = |path| OpenOptions::new().write(true).open(path).expect("a pipe");
            let [mut trades, mut changes] = paths.map(open);
            let other_of = |text: String| text.replace("S0", "X0").replace("nn", "mm");
            let first = |of, text| if of == other { other_of(text) } else { text };
            let _ = trades.write_all(HEADER.as_bytes());
            let _ = changes.write_all(first("c.fifo", change(0)).as_bytes());
            let _ = trades.write_all(first("t.fifo", trade(0)).as_bytes());
            let mut number = 1;
            while changes.write_all(change(number).as_bytes()).is_ok()
                && trades.write_all(trade(number).as_bytes()).is_ok()
            {
                number += 1;
            }
        };
        thread::Builder::new().spawn(write).expect("a thread");
        let refused = end(start());
        let said =
            format!("{other}: it is not the input that the checkpoint was made of: its first 4096 bytes");
        assert!(refused.code == 65 && refused.stderr.contains(&said), "{flags}, {other}: {}", refused.stderr);
    }
}

#[test]
fn a_run_on_the_way_to_its_place_can_be_interrupted_and_gone_on_with() {
    for flags in ["", "--changes-by arrival"] {
        let folder = Folder::empty();
        folder.put("i.csv", format!("{TABLE}1,SPY,1,2024-11-03,call\n"));
        let start = || start_both(&folder, flags);
        let writer = write_both(&folder, u64::MAX);
        kill_behind(&folder, start(), MANY, || ());
        let trades = writer.join().expect("no panic");
        // More than pipes have room for, and not as many as it has to pass over; then nothing.
        let (paths, (sender, written)) = (pipes(&folder), sync_channel(0));
        let write = move || {
            let open = |path| OpenOptions::new().write(true).open(path).expect("a pipe");
            let [mut trades, mut changes] = paths.map(open);
            trades.write_all(HEADER.as_bytes()).expect("written");
            for number in 0..MANY * 8 / 10 {
                changes.write_all(change(number).as_bytes()).expect("written");
                trades.write_all(trade(number).as_bytes()).expect("written");
            }
            // The second time until nobody is there.
            let _ = sender.send(()).and_then(|()| sender.send(()));
        };
        thread::Builder::new().spawn(write).expect("a thread");
        let run = start();
        written.recv_timeout(PATIENCE).expect("it reads both");
        let pid = Pid::from_raw(i32::try_from(run.id()).expect("a process")).expect("a process");
        kill_process(pid, Signal::INT).expect("a signal");
        let ran = end(run);
        assert_eq!(ran.code, 130, "{flags}: {}", ran.stderr);
        drop(written);
        write_both(&folder, trades);
        let ran = end(start());
        assert_eq!(ran.code, 0, "{flags}: {}", ran.stderr);
        let output = folder.read("o.csv");
        let numbers =
            output.lines().skip(1).map(|line| line.split(',').next().unwrap_or_default().to_owned());
        assert!(numbers.eq((0..trades).map(|number| number.to_string())), "{flags}");
    }
}
