//! Ctrl-C, and readers that go away.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Folder, TRADES};

fn interrupt(child: &Child) {
    let pid = Pid::from_child(child);
    kill_process(pid, Signal::INT).expect("the process is there");
}

/// The header and first trade of an endless file.
fn head(lines: usize) -> String {
    TRADES.lines().take(lines).map(|line| format!("{line}\n")).collect()
}

#[test]
fn an_interrupted_run_ends_cleanly_and_names_its_partial_file() {
    let folder = Folder::new();
    let job =
        "run --trades - --format csv --instruments instruments.csv --output out.csv --batch-len 1 --json";
    let mut child = folder
        .command(job)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(head(3).as_bytes()).expect("written");
    // The partial file is there once the run has begun, and then the handler is
    // in place or about to be: signal until the process is gone.
    while !folder.path("out.csv.partial").exists() {
        std::thread::yield_now();
    }
    while std::fs::metadata(folder.path("out.csv.partial")).is_ok_and(|file| file.len() == 0)
        && !handles_interrupts(&child)
    {
        std::thread::yield_now();
    }
    interrupt(&child);
    let output = child.wait_with_output().expect("it ends");
    drop(stdin);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("out.csv.partial"), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"interrupted\":true"), "the summary so far");
    assert!(!folder.path("out.csv").exists());
    let partial = std::fs::read_to_string(folder.path("out.csv.partial")).expect("the partial file");
    assert!(partial.starts_with("trade_id,"), "{partial}");
}

/// Whether the process has a handler for SIGINT: a bit of `SigCgt` in
/// `/proc/PID/status` (`man 5 proc`). Where there is no such file, after a look
/// at it.
fn handles_interrupts(child: &Child) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_none_or(|mask| mask & (1 << (libc_sigint() - 1)) != 0)
}

fn libc_sigint() -> i32 {
    Signal::INT.as_raw()
}

#[test]
fn an_interrupted_generated_run_still_adds_up() {
    let folder = Folder::empty();
    let mut child = folder
        .command("run --limit 1000000000000 --json")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    while !handles_interrupts(&child) {
        std::thread::yield_now();
    }
    interrupt(&child);
    let mut printed = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut printed).expect("text");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(printed.contains("\"interrupted\":true"), "{printed}");
}

#[test]
fn interrupted_generation_names_its_partial_file() {
    let folder = Folder::empty();
    for job in ["generate --output s.jsonl.gz", "generate --trades s.csv --instruments i.csv"] {
        let mut command = folder.command(&format!("{job} --limit 1000000000000"));
        let child = command.stderr(Stdio::piped()).spawn().expect("the command starts");
        while !folder.names().iter().any(|name| name.starts_with("s.")) {
            std::thread::yield_now();
        }
        interrupt(&child);
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{said}");
        assert!(said.contains(".partial"), "{said}");
        folder.names().iter().filter(|name| name.starts_with("s.")).for_each(|name| {
            assert!(name.ends_with(".partial"), "{name}");
            std::fs::remove_file(folder.path(name)).expect("removed");
        });
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let folder = Folder::empty();
    folder.ok("generate --trades t.csv --instruments i.csv --limit 200000 --quiet");
    for flags in ["", "--checkpoint state --checkpoint-every 1000rows --quiet"] {
        let mut child = folder
            .command(&format!("run --trades t.csv --instruments i.csv {flags}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        assert!(line.starts_with("trade_id,"));
        drop(reader);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.signal(), Some(Signal::PIPE.as_raw()), "as other tools end");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_reader_of_another_output_that_goes_away_is_an_error() {
    let folder = Folder::empty();
    folder.ok("generate --trades t.csv --instruments i.csv --limit 200000 --quiet");
    let pipe = folder.path("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::from_raw_mode(0o600)).expect("a pipe");
    folder.put("none.csv", folder.read("i.csv").lines().next().expect("a header"));
    let letters =
        "--instruments none.csv --on-miss instruments=dead-letter --dead-letters pipe --output o.csv";
    for flags in ["--instruments i.csv --output pipe --output-format csv", letters] {
        let child = folder
            .command(&format!("run --trades t.csv --quiet {flags}"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let mut reader = BufReader::new(std::fs::File::open(&pipe).expect("it is written to"));
        reader.read_line(&mut String::new()).expect("a line");
        drop(reader);
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(74), "{said}");
        assert!(said.contains("cannot write pipe: Broken pipe"), "{said}");
    }
}

/// A run whose output nobody reads behind the first line; it is there, so that it is not
/// taken for gone.
fn stuck(folder: &Folder, flags: &str) -> (Child, BufReader<ChildStdout>) {
    folder.ok("generate --trades t.csv --instruments i.csv --limit 200000 --quiet");
    let mut command = folder.command(&format!("run --trades t.csv --instruments i.csv --quiet {flags}"));
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
    let mut reader = BufReader::with_capacity(64, child.stdout.take().expect("a pipe"));
    reader.read_line(&mut String::new()).expect("a line");
    (child, reader)
}

/// The exit code of a command that ends, and what it said.
fn ended(mut child: Child) -> (Option<i32>, String) {
    let deadline = Instant::now() + Duration::from_secs(100);
    while child.try_wait().expect("a process").is_none() {
        if Instant::now() > deadline {
            child.kill().expect("killed");
            panic!("it never ends");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().expect("it ends");
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

#[test]
fn a_run_whose_output_is_stuck_ends_with_its_last_words() {
    let folder = Folder::empty();
    let (child, reader) = stuck(&folder, "");
    interrupt(&child);
    let (code, said) = ended(child);
    assert_eq!(code, Some(130), "{said}");
    let words = "a reader or writer was stuck; the file may end in the middle of a row\ninterrupted\n";
    assert_eq!(said, words);
    drop(reader);
}

#[test]
fn a_run_that_is_signalled_twice_leaves_nothing_behind() {
    let folder = Folder::empty();
    std::fs::create_dir(folder.path("kept")).expect("a folder");
    let (child, reader) = stuck(&folder, "--watch=asked --control c.sock --generations kept");
    assert_eq!((folder.path("c.sock").exists(), folder.is_empty("kept")), (true, false));
    interrupt(&child);
    std::thread::sleep(ANOTHER_EVENT);
    // It may have ended by itself.
    let _ = kill_process(Pid::from_child(&child), Signal::TERM);
    let (code, said) = ended(child);
    assert_eq!(code, Some(130), "{said}");
    assert_eq!((folder.path("c.sock").exists(), folder.is_empty("kept")), (false, true));
    drop(reader);
}

/// Long enough behind a signal for the next one to be another request.
const ANOTHER_EVENT: Duration = Duration::from_millis(300);

/// Writes a trade, and waits for the first checkpoint in `s`.
fn begin_and_keep(folder: &Folder, child: &mut Child) -> ChildStdin {
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(head(3).as_bytes()).expect("written");
    let begin = Instant::now();
    while !folder.path("s/kept").exists() {
        assert!(begin.elapsed() < Duration::from_secs(60), "there is no checkpoint");
        std::thread::yield_now();
    }
    stdin
}

/// The last checkpoint may have much to make durable: a second signal does not wait for it.
#[test]
fn a_second_signal_does_not_wait_for_the_last_checkpoint() {
    let folder = Folder::new();
    let job = "run --trades - --format csv --instruments instruments.csv --output o.csv --json --checkpoint s \
               --on-miss instruments=hold=1000rows,then=keep --checkpoint-every 1000000rows";
    folder.ok(&job
        .replace("--trades -", "--trades trades.csv")
        .replace("o.csv", "want.csv")
        .replace("s --on", "w --on"));
    let mut command = folder.command(job);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // The trades that wait at the last one: the first there is right at the beginning.
    let mut child = command.env("TRADEJOIN_FAULTS", "hang:held-2.arrow").spawn().expect("it starts");
    let stdin = begin_and_keep(&folder, &mut child);
    interrupt(&child);
    let mut said = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let mut line = || said.next().map(|line| line.expect("text"));
    while line().expect("it hangs") != "hangs at create held-2.arrow" {}
    let begin = Instant::now();
    // The first may still count as of the same event.
    while child.try_wait().expect("a process").is_none() {
        assert!(begin.elapsed() < Duration::from_secs(20), "it waits for the checkpoint");
        std::thread::sleep(ANOTHER_EVENT);
        let _ = kill_process(Pid::from_child(&child), Signal::TERM);
    }
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), line()), (Some(130), None), "no last words");
    assert!(output.stdout.is_empty(), "nor a summary");
    drop(stdin);
    // The checkpoint before stands.
    let mut command = folder.command(job);
    let trades = std::fs::File::open(folder.path("trades.csv")).expect("a file");
    let output = command.stdin(trades).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(summary["checkpoints"]["restored_in_s"].is_number(), "it went on: {summary}");
    assert_eq!(folder.read("o.csv"), folder.read("want.csv"));
}

/// Whether the tests run as under `nohup`: a signal that is ignored stays so.
fn is_hang_up_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_none_or(|mask| mask & (1 << (Signal::HUP.as_raw() - 1)) != 0)
}

/// The system tells of it and so does the shell, one behind the other.
#[test]
fn a_terminal_that_is_closed_is_one_signal() {
    if is_hang_up_ignored() {
        return;
    }
    let folder = Folder::new();
    let job = "run --trades - --format csv --instruments instruments.csv --output o.csv --checkpoint s \
               --on-miss instruments=hold=1000rows,then=keep --checkpoint-every 1000000rows";
    let mut command = folder.command(job);
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    // The last checkpoint takes its time.
    let mut child = command.env("TRADEJOIN_FAULTS", "hang:held-2.arrow").spawn().expect("it starts");
    let stdin = begin_and_keep(&folder, &mut child);
    let pid = Pid::from_child(&child);
    let hang_up = || kill_process(pid, Signal::HUP).expect("the process is there");
    hang_up();
    let mut said = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    while !said.next().expect("it hangs").expect("text").starts_with("hangs at ") {}
    hang_up();
    std::thread::sleep(ANOTHER_EVENT);
    hang_up();
    std::thread::sleep(ANOTHER_EVENT);
    assert!(child.try_wait().expect("a process").is_none(), "it waits for the last checkpoint");
    child.kill().expect("killed");
    child.wait().expect("it ends");
    drop(stdin);
}

#[test]
fn a_run_that_is_ended_before_its_inputs_are_open_leaves_nothing_behind() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("kept")).expect("a folder");
    // Nobody ever writes to it.
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.path("f"), mode).expect("a pipe");
    let job = "run --trades f --format csv --instruments instruments.csv --watch=asked --control c.sock --generations kept";
    let child = folder.command(job).stderr(Stdio::piped()).spawn().expect("the command starts");
    while folder.is_empty("kept") {
        std::thread::yield_now();
    }
    interrupt(&child);
    let (code, said) = ended(child);
    assert_eq!(code, Some(130), "{said}");
    assert_eq!((folder.path("c.sock").exists(), folder.is_empty("kept")), (false, true));
}

/// A pipe that has a reader, once the command has opened it.
fn pipe(folder: &Folder, name: &str) -> std::path::PathBuf {
    let path = folder.path(name);
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
    path
}

#[test]
fn a_table_whose_pipe_is_interrupted_is_not_taken_for_complete() {
    let folder = Folder::new();
    let path = pipe(&folder, "i.csv");
    let want = folder.ok("run --trades trades.csv --instruments instruments.csv");
    let rows: Vec<_> = crate::support::INSTRUMENTS.lines().map(|line| format!("{line}\n")).collect();
    let job = "run --trades trades.csv --instruments i.csv --output o.csv --quiet";
    for (kept, batches) in [("", ""), (" --checkpoint state --checkpoint-every 1rows", " --batch-len 1")] {
        let job = format!("{job}{kept}");
        for distribution in ["broadcast", "partitioned"] {
            let how = format!("{job} --distribution instruments={distribution}{batches}");
            let child = folder.command(&how).stderr(Stdio::piped()).spawn().expect("it starts");
            // Waits for the reader.
            let mut writer = std::fs::OpenOptions::new().write(true).open(&path).expect("a pipe");
            // The header is read when the table is opened, what follows by the run.
            for part in [rows[0].as_str(), &rows[1][..5]] {
                writer.write_all(part.as_bytes()).expect("written");
                while rustix::io::ioctl_fionread(&writer).expect("a pipe") > 0 {
                    std::thread::yield_now();
                }
            }
            interrupt(&child);
            let output = child.wait_with_output().expect("it ends");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(130), "{how}: {said}");
            if folder.path("o.csv.partial").exists() {
                let left = folder.read("o.csv.partial");
                assert!(left.lines().count() <= 1, "{how}: no trade is joined: {left}");
                std::fs::remove_file(folder.path("o.csv.partial")).expect("removed");
            }
        }
        let child = folder.command(&job).stderr(Stdio::piped()).spawn().expect("it starts");
        std::fs::write(&path, rows.concat()).expect("written");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{job}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(folder.read("o.csv"), want, "{job}");
    }
}

#[test]
fn inputs_that_say_nothing_yet_are_interrupted_all_the_same() {
    let folder = Folder::new();
    let path = pipe(&folder, "pipe");
    for (job, begun) in [
        ("--trades trades.csv --instruments pipe", ""),
        ("--trades trades.csv --table x=pipe,key=venue", "\"ven"),
        ("--trades pipe --instruments instruments.csv", "PAR1"),
        ("--trades pipe --instruments instruments.csv", "ARROW1\0\0"),
        ("--trades pipe --instruments instruments.csv", "\u{fffd}\u{fffd}"),
    ] {
        let format = if begun.starts_with("PAR") {
            "parquet"
        } else if begun.starts_with("ARR") {
            "arrow"
        } else {
            "csv"
        };
        let job = format!("run {job} --format {format} --output o.csv");
        let child = folder.command(&job).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut writer = std::fs::OpenOptions::new().write(true).open(&path).expect("a pipe");
        writer.write_all(begun.as_bytes()).expect("written");
        interrupt(&child);
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{job}: {said}");
        assert!(said.starts_with("interrupted"), "{job}: {said}");
    }
}

/// Its columns, tables and markers are not known before.
#[test]
fn a_stream_that_is_interrupted_within_its_first_lines_is_begun_anew() {
    let folder = Folder::empty();
    let row = r#"{"type":"instrument","instrument_id":1,"ticker":"SPY","strike":1,"expiry":"2024-11-03","option_type":"call"}"#;
    let job = "run --messages - --output o.csv --checkpoint state --quiet";
    for begun in [row, &row[..9]] {
        let mut command = folder.command(job);
        let child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("it starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(begun.as_bytes()).expect("written");
        while rustix::io::ioctl_fionread(&stdin).expect("a pipe") > 0 {
            std::thread::yield_now();
        }
        interrupt(&child);
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{said}");
        assert!(!folder.names().iter().any(|name| name.starts_with("o.csv")), "{:?}", folder.names());
    }
    let all = [
        row,
        r#"{"type":"snapshot_end","table":"instruments","rows":1}"#,
        r#"{"type":"trade","trade_id":1,"instrument_id":1,"price":1.5}"#,
    ];
    folder.put("m.jsonl", all.map(|line| format!("{line}\n")).concat());
    let mut command = folder.command(job);
    let child = command.stdin(std::fs::File::open(folder.path("m.jsonl")).expect("a file"));
    assert!(child.status().expect("it ends").success());
    assert_eq!(folder.read("o.csv"), "trade_id,instrument_id,price,instrument\n1,1,1.5,SPY241103C00001000\n");
}

#[test]
fn nothing_is_written_of_an_input_that_has_sent_nothing() {
    let folder = Folder::new();
    pipe(&folder, "p");
    let job = "run --trades p --format csv --instruments instruments.csv";
    let child = folder.command(job).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("it starts");
    // Waits for the reader.
    let writer = std::fs::OpenOptions::new().write(true).open(folder.path("p")).expect("a pipe");
    interrupt(&child);
    let output = child.wait_with_output().expect("it ends");
    drop(writer);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(130), &b""[..]));
}

/// A run that has its socket, and its standard input.
fn listening(folder: &Folder, command: &mut std::process::Command) -> (Child, ChildStdin) {
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let stdin = child.stdin.take().expect("a pipe");
    while !folder.path("c.sock").exists() {
        assert!(child.try_wait().expect("a process").is_none(), "it has ended");
        std::thread::yield_now();
    }
    (child, stdin)
}

#[test]
fn a_terminal_that_is_closed_ends_a_run_as_a_termination_signal_does() {
    if is_hang_up_ignored() {
        return;
    }
    let folder = Folder::new();
    let job = "run --trades - --format csv --instruments instruments.csv --users users.csv --output o.csv \
               --control c.sock --quiet";
    let (child, stdin) = listening(&folder, &mut folder.command(job));
    kill_process(Pid::from_child(&child), Signal::HUP).expect("the process is there");
    let (code, said) = ended(child);
    assert_eq!((code, folder.path("c.sock").exists()), (Some(130), false), "{said}");
    drop(stdin);
    // As `nohup` does.
    let command = folder.command(job);
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let program = command.get_program().to_string_lossy().into_owned();
    let script = format!("trap '' HUP; exec '{program}' {}", words.join(" "));
    let mut command = std::process::Command::new("sh");
    command.current_dir(folder.path("")).args(["-c", &script]);
    let (child, mut stdin) = listening(&folder, &mut command);
    kill_process(Pid::from_child(&child), Signal::HUP).expect("the process is there");
    stdin.write_all(TRADES.as_bytes()).expect("written");
    drop(stdin);
    let (code, said) = ended(child);
    assert_eq!((code, folder.read("o.csv")), (Some(0), crate::support::ENRICHED.to_owned()), "{said}");
}
