//! Resources that run short: memory, an output that nobody reads, an input that drips.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::checkpoints::epochs;
use crate::support::Folder;

/// After so long what is waited for will not come.
const PATIENCE: Duration = Duration::from_secs(100);
const HEADER: &str = "trade_id,instrument_id,price,note\n";

/// The command under a limit of the shell, such as `-d 65536`.
fn limited(folder: &Folder, limit: &str, job: &str) -> Command {
    let binary = assert_cmd::cargo::cargo_bin!("tradejoin");
    let mut command = Command::new("sh");
    let script = format!("ulimit {limit}; exec '{}' {job}", binary.display());
    command.current_dir(folder.path("")).args(["-c", &script]).stdin(Stdio::null());
    // Without memory the runtime waits for itself when it is to say where it found none.
    command.env_remove("RUST_BACKTRACE");
    command
}

/// Does something on a thread of its own.
fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    thread::Builder::new().spawn(work).expect("a thread")
}

/// How a command ends, which it must.
fn ended(mut child: Child) -> Output {
    let begin = Instant::now();
    while child.try_wait().expect("a process").is_none() {
        if begin.elapsed() > PATIENCE {
            child.kill().expect("killed");
            panic!("it never ends");
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("it ends")
}

/// A folder with a table of seven instruments.
fn folder() -> Folder {
    let folder = Folder::empty();
    let row = |id: u64| format!("{id},SPY,{},2024-11-03,call\n", 100 + id);
    let rows: String = (0..7).map(row).collect();
    folder.put("i.csv", format!("instrument_id,ticker,strike,expiry,option_type\n{rows}"));
    folder
}

/// Trades of about 100 bytes each, of so many instruments.
fn trades(numbers: std::ops::Range<u64>, ids: u64) -> String {
    let note = "x".repeat(80);
    numbers.map(|number| format!("{number},{},{}.25,{note}\n", number % ids, number % 90)).collect()
}

/// Little work under way.
const SMALL: &str = "--workers 2 --queue-depth 2 --batch-len 2000 --max-in-flight 1MiB";

#[test]
fn a_long_input_takes_no_more_memory_than_a_limit_leaves() {
    /// Of data, in KiB: less than the input has.
    const LIMIT_KIB: u64 = 64 << 10;
    const TRADES: u64 = 1_000_000;
    let folder = folder();
    let job = format!("run --trades - --format csv --instruments i.csv --output - --json {SMALL}");
    let mut command = limited(&folder, &format!("-d {LIMIT_KIB}"), &job);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("a shell");
    let mut stdin = child.stdin.take().expect("a pipe");
    let writer = beside(move || {
        stdin.write_all(HEADER.as_bytes()).expect("written");
        let mut bytes = 0;
        for first in (0..TRADES).step_by(10_000) {
            let rows = trades(first..first + 10_000, 7);
            bytes += rows.len() as u64;
            stdin.write_all(rows.as_bytes()).expect("written");
        }
        bytes
    });
    let mut reader = BufReader::with_capacity(1 << 20, child.stdout.take().expect("a pipe"));
    let (mut line, mut lines) = (String::new(), 0);
    while reader.read_line(&mut line).expect("text") > 0 {
        if lines > 0 {
            let expected = format!("{},{},", lines - 1, (lines - 1) % 7);
            assert!(line.starts_with(&expected) && line.contains(",SPY241103C0010"), "{lines}: {line}");
        }
        lines += 1;
        line.clear();
    }
    let output = ended(child);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    assert_eq!(lines, TRADES + 1);
    let bytes = writer.join().expect("it writes");
    assert!(bytes > LIMIT_KIB << 10, "{bytes} would fit");
}

/// Whatever it is that finds no memory, the run ends, and nothing stands under the name of the
/// output that is not whole; with checkpoints the next one goes on.
#[test]
fn a_run_without_memory_ends_and_the_next_one_goes_on() {
    const FIRST: u64 = 1_000;
    let folder = folder();
    // Half of them wait for rows that never come: memory grows from trade to trade.
    let rows = trades(0..60_000, 14);
    folder.put("t.csv", format!("{HEADER}{rows}"));
    let job = |trades: &str, output: &str| {
        format!(
            "run --trades {trades} --format csv --instruments i.csv --on-miss instruments=hold=1000000rows,then=keep \
             --workers 2 --batch-len 200 --output {output}"
        )
    };
    folder.ok(&job("t.csv", "want.csv"));
    let want = folder.read("want.csv");
    let kept = format!("{} --checkpoint state --checkpoint-every 1000rows", job("-", "o.csv"));
    let first = format!("{HEADER}{}", trades(0..FIRST, 14));
    let newest = || epochs(&folder).into_iter().max();
    // The program has about 3 MiB of data of its own, without which it is not even loaded.
    let (mut failed, mut limit_kib) = (0, 4 << 10);
    let (before, said) = loop {
        let before = newest();
        let mut command = limited(&folder, &format!("-d {limit_kib}"), &kept);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a shell");
        let mut stdin = child.stdin.take().expect("a pipe");
        // Whoever dies early does not read it.
        let _ = stdin.write_all(first.as_bytes());
        let begin = Instant::now();
        while newest().is_none() && child.try_wait().expect("a process").is_none() {
            assert!(begin.elapsed() < PATIENCE, "there is no checkpoint");
            thread::sleep(Duration::from_millis(1));
        }
        let rest = rows[first.len() - HEADER.len()..].to_owned();
        let writer = beside(move || drop(stdin.write_all(rest.as_bytes())));
        let Output { status, stderr, .. } = ended(child);
        writer.join().expect("it ends");
        let said = String::from_utf8_lossy(&stderr).into_owned();
        if status.success() {
            break (before, said);
        }
        // An allocation that fails ends the process, and its words go before.
        let is_ended = status.code() == Some(74) || status.signal() == Some(Signal::ABORT.as_raw());
        assert!(is_ended && !said.is_empty(), "{limit_kib} KiB: {status} {said}");
        assert!(!folder.path("o.csv").exists());
        assert!(newest() >= before, "no checkpoint is lost");
        failed += 1;
        limit_kib += limit_kib / 8;
        assert!(limit_kib < 4 << 20, "{said}");
    };
    let before = before.unwrap_or_else(|| panic!("none of {failed} runs that had too little came so far"));
    assert!(said.contains(&format!("going on from checkpoint {before}, ")), "{said}");
    assert!(newest() > Some(before));
    assert!(folder.read("o.csv") == want);
}

/// The lines that come out of a run, each as soon as it is there.
fn lines_of(output: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = sync_channel(1_000);
    beside(move || {
        for line in BufReader::new(output).lines() {
            // Whoever asked for them may have seen enough.
            let _ = sender.send(line.expect("text"));
        }
    });
    lines
}

#[test]
fn an_output_that_nobody_reads_stops_the_reading_of_the_input() {
    /// What is under way, what pipes hold, and what readers and writers have in their buffers.
    const TAKEN_MAX: u64 = 8 << 20;
    const TRADES: u64 = 200_000;
    let folder = folder();
    let job = format!(
        "run --trades - --format csv --instruments i.csv --output - --verbose --stall-warning 50ms {SMALL}"
    );
    let mut command = folder.command(&job);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let (mut stdin, taken) = (child.stdin.take().expect("a pipe"), Arc::<AtomicU64>::default());
    let counted = Arc::clone(&taken);
    let writer = beside(move || {
        stdin.write_all(HEADER.as_bytes()).expect("written");
        for first in (0..TRADES).step_by(100) {
            let rows = trades(first..first + 100, 7);
            stdin.write_all(rows.as_bytes()).expect("written");
            counted.fetch_add(rows.len() as u64, Ordering::Relaxed);
        }
    });
    let said = lines_of(child.stderr.take().expect("a pipe"));
    let is_told = |line: &String| line.contains("writing to standard output has made no progress for");
    // The second one comes when it has stood for longer.
    for _ in 0..2 {
        let told = std::iter::from_fn(|| said.recv_timeout(PATIENCE).ok()).find(is_told);
        assert!(told.is_some(), "it never says what stands still");
        let taken = taken.load(Ordering::Relaxed);
        assert!(taken < TAKEN_MAX, "{taken} bytes were read, and nothing written");
    }
    let mut output = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut output).expect("text");
    writer.join().expect("it writes");
    assert!(taken.load(Ordering::Relaxed) > 2 * TAKEN_MAX);
    assert!(said.iter().any(|line| line.contains("writing to standard output goes on after")));
    assert!(ended(child).status.success());
    let rows = output.lines().skip(1).enumerate();
    let wrong = rows.clone().find(|(number, row)| !row.starts_with(&format!("{number},{},", number % 7)));
    assert_eq!((rows.count() as u64, wrong), (TRADES, None));
}

/// Those that nothing is written to any more wait for the checkpoint, but not open.
#[test]
fn many_files_of_letters_before_a_checkpoint_are_not_open_at_once() {
    let folder = folder();
    folder.put("t.csv", format!("{HEADER}{}", trades(0..20_000, 14)));
    let job = "run --trades t.csv --instruments i.csv --on-miss instruments=dead-letter --dead-letters d.jsonl \
               --dead-letters-rotate 4KiB --output o.csv --checkpoint state --checkpoint-every 1000000rows --quiet";
    let ran = limited(&folder, "-n 96", job).output().expect("a shell");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let files = folder.names().iter().filter(|name| name.starts_with("d.")).count();
    assert!(files > 150, "{files} would fit");
}

#[test]
fn a_row_comes_out_with_the_last_byte_of_its_line() {
    const TRADES: u64 = 8;
    let folder = folder();
    let job = "run --trades - --format csv --instruments i.csv --output - --unmatched keep --quiet \
               --checkpoint state --checkpoint-every 1rows --workers 2";
    let mut command = folder.command(job);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let rows = lines_of(child.stdout.take().expect("a pipe"));
    let mut drip = |text: &str| {
        for byte in text.bytes() {
            stdin.write_all(&[byte]).expect("written");
            thread::sleep(Duration::from_millis(1));
        }
    };
    drip("trade_id,instrument_id,note\n");
    // Checkpoints go on while it drips.
    let is_kept = || epochs(&folder).into_iter().max() >= Some(TRADES / 2);
    let begin = Instant::now();
    for number in (0..).take_while(|&number| number < TRADES || !is_kept()) {
        assert!(begin.elapsed() < PATIENCE, "{:?}", epochs(&folder));
        let own = format!("{number},{number},\"é, {number}\"");
        drip(&own);
        assert!(rows.try_recv().is_err(), "the line is not whole");
        drip("\n");
        if number == 0 {
            let header = rows.recv_timeout(PATIENCE).expect("a header");
            assert_eq!(header, "trade_id,instrument_id,note,instrument");
        }
        let found = if number < 7 { format!("SPY241103C00{}000", 100 + number) } else { String::new() };
        let row = rows.recv_timeout(PATIENCE).expect("the row of a line that is whole");
        assert_eq!(row, format!("{own},{found}"));
    }
    drop(stdin);
    assert!(ended(child).status.success());
    assert!(rows.recv().is_err(), "nothing comes twice");
}
