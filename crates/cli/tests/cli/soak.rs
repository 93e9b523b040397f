//! Many reloads in a row, and journals of runs whose timing is drawn.
//!
//! A few of each here; `TRADEJOIN_RELOADS` and `TRADEJOIN_REPLAYS` say how many, and
//! the second tier asks for 1,000 and 100. And a run with all that may grow in use, for
//! `TRADEJOIN_SOAK_SECONDS`: a few here, half an hour there.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::support::Folder;

/// Keys of the table, whose rows all change with every reload.
const KEYS: u32 = 1_000;
/// Trades that are written at a time.
const BLOCK: u32 = 2_000;
/// Reloads after which memory is looked at first.
const SETTLED: u32 = 5;
/// By how much memory may grow from then on: caches of threads, but no reload.
const GROWTH_MAX_KIB: u64 = 12 << 10;

fn how_many(variable: &str, default: u32) -> u32 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// The table, every row with the number of the generation.
fn generation(number: u32) -> String {
    (0..KEYS).fold("id,generation\n".to_owned(), |mut rows, key| {
        let _ = writeln!(rows, "{key},{number}");
        rows
    })
}

/// Puts a file in the place of another at once, as editors do it.
fn replace(folder: &Folder, name: &str, content: impl AsRef<[u8]>) {
    folder.put("new", content);
    std::fs::rename(folder.path("new"), folder.path(name)).expect("renamed");
}

/// Writes blocks of trades as fast as they are read, until it is told to stop, and gives
/// their number.
fn write_trades(mut to: ChildStdin, stop: &AtomicBool) -> u64 {
    let mut trades = 0;
    to.write_all(b"trade_id,instrument_id\n").expect("written");
    while !stop.load(Ordering::Relaxed) {
        let block = (0..BLOCK).fold(String::new(), |mut block, number| {
            let _ = writeln!(block, "{},{}", trades + u64::from(number), number % KEYS);
            block
        });
        to.write_all(block.as_bytes()).expect("written");
        trades += u64::from(BLOCK);
    }
    trades
}

/// Reads the enriched trades, whose generations never go back; notes the last one, and
/// gives how many trades there were.
fn read_generations(from: ChildStdout, last: &AtomicU32) -> u64 {
    let mut trades = 0;
    for line in BufReader::new(from).lines().skip(1) {
        let line = line.expect("text");
        let (_, found) = line.rsplit_once(',').expect("columns");
        let found: u32 = found.parse().expect("every trade finds a row");
        assert!(found >= last.load(Ordering::Relaxed), "an older generation: {line}");
        last.store(found, Ordering::Relaxed);
        trades += 1;
    }
    trades
}

/// Resident memory of a process in KiB, where the system tells.
fn resident_kib(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[test]
fn reloads_in_a_row_under_load_leave_memory_flat_and_the_ledger_exact() {
    let reloads = how_many("TRADEJOIN_RELOADS", 20);
    for distribution in ["partitioned", "broadcast"] {
        let folder = Folder::empty();
        folder.put("g.csv", generation(1));
        let table = format!("g=g.csv,key=instrument_id@id,columns=generation,distribution={distribution}");
        let job =
            format!("run --trades - --format csv --table {table} --watch=5ms --workers 2 --verbose --json");
        let mut command = folder.command(&job);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let (stdin, stdout) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let (stop, last) = (AtomicBool::new(false), AtomicU32::new(0));
        let mut resident = Vec::new();
        let (written, read) = thread::scope(|threads| {
            let writer = threads.spawn(|| write_trades(stdin, &stop));
            let reader = threads.spawn(|| read_generations(stdout, &last));
            // The first one is what it begins with.
            for number in 1..=reloads + 1 {
                replace(&folder, "g.csv", generation(number));
                while last.load(Ordering::Relaxed) < number {
                    assert!(!reader.is_finished(), "{distribution}: it ended before generation {number}");
                    thread::sleep(Duration::from_millis(1));
                }
                if number > SETTLED.min(reloads) {
                    resident.extend(resident_kib(child.id()));
                }
            }
            stop.store(true, Ordering::Relaxed);
            (writer.join().expect("it writes"), reader.join().expect("it reads"))
        });
        let summary = stderr.lines().map(|line| line.expect("text")).find(|line| line.starts_with('{'));
        let summary: serde_json::Value = serde_json::from_str(&summary.expect("a summary")).expect("JSON");
        assert!(child.wait().expect("it ends").success());
        assert_eq!(read, written, "{distribution}");
        assert_eq!(summary["rows_read"], written);
        assert_eq!(summary["outcomes"]["enriched"], written);
        assert_eq!(summary["reloads"][0]["reloaded"], reloads);
        assert_eq!(summary["reloads"][0]["changed"], u64::from(reloads) * u64::from(KEYS));
        let (first, most) = (resident.first().copied(), resident.iter().max().copied());
        if let (Some(first), Some(most)) = (first, most) {
            assert!(most <= first + GROWTH_MAX_KIB, "{distribution}: from {first} to {most} KiB");
        }
    }
}

/// Row 0 of a table and some of others, drawn.
fn drawn_table(draw: &mut StdRng) -> String {
    let mut rows = String::new();
    for id in 0..10 {
        if id == 0 || draw.random_bool(0.7) {
            let ticker = char::from(b'A' + draw.random_range(0..26));
            let _ = writeln!(rows, "{id},{ticker},{},2024-11-03,call", draw.random_range(1..1_000));
        }
    }
    format!("instrument_id,ticker,strike,expiry,option_type\n{rows}")
}

#[test]
fn a_journal_gives_the_same_bytes_whatever_the_timing_was() {
    const POLICY: &str = "--unmatched keep --on-miss instruments=hold=300rows,then=keep --wait-column waited";
    for seed in 0..u64::from(how_many("TRADEJOIN_REPLAYS", 4)) {
        let mut draw = StdRng::seed_from_u64(seed);
        let folder = Folder::empty();
        folder.put("first.csv", drawn_table(&mut draw));
        folder.put("i.csv", folder.read("first.csv"));
        let setting = |draw: &mut StdRng| {
            let distribution = if draw.random_bool(0.5) { "broadcast" } else { "partitioned" };
            let (workers, batch_len) = (draw.random_range(1..5), 1_u32 << draw.random_range(0..14));
            format!("--workers {workers} --batch-len {batch_len} --distribution instruments={distribution}")
        };
        let watch = "--watch=1ms --max-removed 100% --min-rows 0 --journal journal.jsonl";
        let job = format!(
            "run --trades - --format csv --instruments i.csv {POLICY} {watch} {}",
            setting(&mut draw)
        );
        let mut command = folder.command(&job);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (mut trades, mut output) = ("trade_id,instrument_id\n1,0\n".to_owned(), String::new());
        stdin.write_all(trades.as_bytes()).expect("written");
        // The header: it has the table that the journal begins with.
        stdout.read_line(&mut output).expect("text");
        // One at least, and others when it so happens.
        replace(&folder, "i.csv", drawn_table(&mut draw));
        let said = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let mut said = said.map(|line| line.expect("text"));
        assert!(said.any(|line| line.starts_with("instruments reloaded")), "seed {seed}");
        thread::scope(|threads| {
            let rest = threads.spawn(|| stdout.read_to_string(&mut output).expect("text"));
            for _ in 0..30 {
                if draw.random_bool(0.4) {
                    replace(&folder, "i.csv", drawn_table(&mut draw));
                }
                // What is in force when these are read is a matter of timing.
                let start = trades.len();
                for _ in 0..draw.random_range(0..400) {
                    let _ = writeln!(trades, "{},{}", trades.len(), draw.random_range(0..12));
                }
                stdin.write_all(&trades.as_bytes()[start..]).expect("written");
                thread::sleep(Duration::from_micros(draw.random_range(0..6_000)));
            }
            drop(stdin);
            assert!(child.wait().expect("it ends").success(), "seed {seed}");
            rest.join().expect("it reads");
        });
        folder.put("t.csv", &trades);
        assert!(folder.read("journal.jsonl").contains("{\"update\":"), "seed {seed}");
        let job = "run --trades t.csv --instruments first.csv --replay-journal journal.jsonl";
        let again = folder.ok(&format!("{job} {POLICY} {}", setting(&mut draw)));
        assert!(again == output, "seed {seed}: other bytes");
        // And what one thread makes of it, by a way of its own.
        folder.put("o.csv", &output);
        let job = "verify --trades t.csv --instruments first.csv --replay-journal journal.jsonl";
        folder.ok(&format!("{job} {POLICY} --output o.csv"));
    }
}

/// What a block of a stream comes to.
#[derive(Clone, Copy, Default)]
struct Counts {
    trades: u64,
    changes: u64,
    bad: u64,
}

/// A block of messages: trades, most of whose instruments are there, changes, and lines that
/// are none. Every instrument that is missed comes within the block or the next.
fn drawn_block(draw: &mut StdRng) -> (String, Counts) {
    let (mut block, mut counts) = (String::new(), Counts::default());
    for _ in 0..BLOCK {
        let id = draw.random_range(0..KEYS);
        match draw.random_range(0..100) {
            0..8 => {
                let strike = draw.random_range(1..900);
                let _ = writeln!(
                    block,
                    r#"{{"type":"instrument","instrument_id":{id},"ticker":"SPY","strike":{strike},"expiry":"2024-11-03","option_type":"call"}}"#
                );
                counts.changes += 1;
            }
            8..10 => {
                let _ = writeln!(block, r#"{{"type":"instrument","instrument_id":{id},"deleted":true}}"#);
                counts.changes += 1;
            }
            10 => {
                let _ = writeln!(block, r#"{{"type":"trade","instrument_id":"x{id}"}}"#);
                counts.bad += 1;
            }
            _ => {
                let _ =
                    writeln!(block, r#"{{"type":"trade","trade_id":1,"instrument_id":{id},"price":1.25}}"#);
                counts.trades += 1;
            }
        }
    }
    (block, counts)
}

#[test]
fn memory_stays_flat_with_all_that_may_grow_in_use() {
    let time = Duration::from_secs(how_many("TRADEJOIN_SOAK_SECONDS", 4).into());
    let folder = Folder::empty();
    let mut draw = StdRng::seed_from_u64(1);
    let blocks: Vec<_> = (0..64).map(|_| drawn_block(&mut draw)).collect();
    let job = "run --messages - --tables instruments --on-miss instruments=hold=20000rows,then=drop \
               --output /dev/null --output-format jsonl --on-bad-record skip \
               --checkpoint state --checkpoint-every 200ms --workers 2 --json";
    let mut command = folder.command(job);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let (begin, mut counts, mut resident) = (Instant::now(), Counts::default(), Vec::new());
    let mut looked = begin;
    for (block, of_block) in blocks.iter().cycle() {
        stdin.write_all(block.as_bytes()).expect("written");
        counts.trades += of_block.trades;
        counts.changes += of_block.changes;
        counts.bad += of_block.bad;
        if looked.elapsed() > time / 100 {
            looked = Instant::now();
            resident.extend(resident_kib(child.id()));
        }
        if begin.elapsed() > time {
            break;
        }
    }
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(summary["rows_read"], counts.trades + counts.bad);
    assert_eq!(summary["outcomes"]["rejected"], counts.bad);
    assert_eq!(summary["tables"][0]["changes"], counts.changes);
    let outcomes = ["enriched", "unmatched", "rejected"].map(|name| summary["outcomes"][name].as_u64());
    assert_eq!(outcomes.into_iter().flatten().sum::<u64>(), counts.trades + counts.bad);
    assert!(summary["checkpoints"]["count"].as_u64() > Some(2), "{}", summary["checkpoints"]);
    assert_flat(&resident, time);
}

/// What holds, tables and buffers come to has been reached after a third; from sample to
/// sample the allocator gives and takes some.
fn assert_flat(resident: &[u64], time: Duration) {
    const LONG: Duration = Duration::from_secs(300);
    let third = resident.len() / 3;
    let mean = |samples: &[u64]| samples.iter().sum::<u64>() / (samples.len().max(1) as u64);
    if third > 0 {
        let (middle, last) = (mean(&resident[third..2 * third]), mean(&resident[2 * third..]));
        let slack = if time < LONG { GROWTH_MAX_KIB } else { middle / 50 };
        assert!(last <= middle + slack, "from {middle} to {last} KiB: {resident:?}");
    }
}

/// A table of which a tenth of the keys is missing, others each time, and every row is another.
fn churned(number: u32) -> String {
    (0..KEYS).filter(|key| !(key + number).is_multiple_of(10)).fold(
        "id,generation\n".to_owned(),
        |mut rows, key| {
            let _ = writeln!(rows, "{key},{number}");
            rows
        },
    )
}

/// A block of trades, one in a hundred of which is bad; how many are not.
fn drawn_trades(draw: &mut StdRng) -> (String, u64) {
    let (mut block, mut trades) = (String::new(), 0);
    for _ in 0..BLOCK {
        let is_bad = draw.random_range(0..100) == 0;
        let cut = if is_bad { "" } else { ",a note" };
        let _ = writeln!(block, "1,{}{cut}", draw.random_range(0..KEYS));
        trades += u64::from(!is_bad);
    }
    (block, trades)
}

#[test]
fn memory_stays_flat_while_tables_are_reloaded_and_trades_wait_and_are_corrected() {
    let time = Duration::from_secs(how_many("TRADEJOIN_SOAK_SECONDS", 4).into());
    let folder = Folder::empty();
    folder.put("g.csv", churned(0));
    let mut draw = StdRng::seed_from_u64(2);
    let blocks: Vec<_> = (0..64).map(|_| drawn_trades(&mut draw)).collect();
    let job = "run --trades - --format csv --watch=5ms --max-removed 100% --workers 2 --json \
               --table g=g.csv,key=instrument_id@id,columns=generation,distribution=partitioned \
               --on-miss g=hold=20000rows,then=dead-letter --correct 20000rows --corrections c.fifo \
               --on-bad-record dead-letter --dead-letters d.fifo --dead-letters-max 1TiB \
               --output /dev/null --output-format csv \
               --checkpoint state --checkpoint-every 200ms";
    for name in ["c.fifo", "d.fifo"] {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, folder.path(name), mode).expect("a pipe");
        let pipe = std::fs::File::options().read(true).write(true).open(folder.path(name));
        let mut pipe = pipe.expect("a pipe");
        // Open for both, so that it neither waits nor ends.
        let read = move || std::io::copy(&mut pipe, &mut std::io::sink());
        thread::Builder::new().spawn(read).expect("a thread");
    }
    let mut command = folder.command(job);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"trade_id,instrument_id,note\n").expect("written");
    let (begin, mut trades, mut bad, mut resident, mut number) = (Instant::now(), 0, 0, Vec::new(), 0);
    let mut looked = begin;
    for (block, of_block) in blocks.iter().cycle() {
        stdin.write_all(block.as_bytes()).expect("written");
        trades += of_block;
        bad += u64::from(BLOCK) - of_block;
        if looked.elapsed() > time / 100 {
            looked = Instant::now();
            resident.extend(resident_kib(child.id()));
            number += 1;
            replace(&folder, "g.csv", churned(number));
        }
        if begin.elapsed() > time {
            break;
        }
    }
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let count = |value: &serde_json::Value| value.as_u64().expect("a count");
    assert_eq!(summary["rows_read"], trades + bad);
    let (outcomes, of_misses) = (&summary["outcomes"], &summary["unmatched"]);
    assert_eq!(outcomes["rejected"], bad);
    assert_eq!(count(&outcomes["enriched"]) + count(&outcomes["unmatched"]), trades);
    assert_eq!(of_misses["dead_lettered"], outcomes["unmatched"]);
    let hold = &summary["hold"];
    assert_eq!(
        count(&hold["entered"]),
        count(&hold["found"]) + count(&hold["expired"]) + count(&hold["early"])
    );
    for what in [&hold["found"], &summary["corrections"]["changed"], &summary["reloads"][0]["reloaded"]] {
        assert!(count(what) > 0, "{summary}");
    }
    assert!(count(&summary["checkpoints"]["count"]) > 2, "{}", summary["checkpoints"]);
    assert_flat(&resident, time);
}
