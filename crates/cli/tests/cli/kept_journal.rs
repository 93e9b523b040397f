//! Runs whose output depends on when something came, and that are killed: their journal
//! says what happened, and gives the same output again.

use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::checkpoints::{newest, wait_for_checkpoint};
use crate::support::Folder;

const KEYS: u32 = 12;
/// Bytes of trades that are written at a time.
const PIECE: usize = 700;
/// Trades of a run.
const TRADES: usize = 20_000;
const KILLS_MAX: u32 = 4;

fn how_many(default: u32) -> u32 {
    std::env::var("TRADEJOIN_REPLAYS").map_or(default, |text| text.parse().expect("a number"))
}

/// Some rows of the table, drawn; always row 0.
fn rows(draw: &mut StdRng) -> String {
    let header = "instrument_id,ticker,strike,expiry,option_type\n".to_owned();
    (0..KEYS).fold(header, |mut rows, id| {
        if id > 0 && draw.random_bool(0.3) {
            return rows;
        }
        let ticker = char::from(b'A' + draw.random_range(0..26));
        let _ = writeln!(rows, "{id},{ticker},{},2024-11-03,call", draw.random_range(1..1_000));
        rows
    })
}

fn trades(draw: &mut StdRng, count: usize) -> String {
    (0..count).fold("trade_id,instrument_id\n".to_owned(), |mut trades, number| {
        let _ = writeln!(trades, "{number},{}", draw.random_range(0..KEYS));
        trades
    })
}

/// Lines of changes, drawn.
fn changes(draw: &mut StdRng, count: usize) -> String {
    (0..count).fold(String::new(), |mut changes, _| {
        let id = draw.random_range(1..KEYS);
        let _ = if draw.random_bool(0.2) {
            writeln!(changes, r#"{{"type":"instrument","instrument_id":{id},"deleted":true}}"#)
        } else {
            let strike = draw.random_range(1..900);
            writeln!(
                changes,
                r#"{{"type":"instrument","instrument_id":{id},"ticker":"NEW","strike":{strike},"expiry":"2025-01-17","option_type":"put"}}"#
            )
        };
        changes
    })
}

/// What differs from life to life.
fn how(draw: &mut StdRng) -> String {
    let (workers, batch_len) = (draw.random_range(1..5), 1_u32 << draw.random_range(3..11));
    let distribution = if draw.random_bool(0.5) { "broadcast" } else { "partitioned" };
    format!("--workers {workers} --batch-len {batch_len} --distribution instruments={distribution}")
}

const POLICY: &str =
    "--unmatched keep --on-miss instruments=hold=300rows,then=keep --wait-column waited --output o.csv";

fn start(folder: &Folder, inputs: &str, draw: &mut StdRng) -> (Child, ChildStdin) {
    let job = format!(
        "run --trades - --format csv --instruments i.csv {inputs} {POLICY} {} --journal j.jsonl \
         --checkpoint state --checkpoint-every 200rows --quiet",
        how(draw)
    );
    let mut command = folder.command(&job);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let stdin = child.stdin.take().expect("a pipe");
    (child, stdin)
}

/// Writes trades in pieces with pauses, and tells what happens before each; `false` if the
/// other side is dead.
fn feed(mut to: ChildStdin, trades: &str, mut before: impl FnMut(usize) -> bool) -> bool {
    for (piece, text) in trades.as_bytes().chunks(PIECE).enumerate() {
        if !before(piece) {
            return false;
        }
        match to.write_all(text) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return false,
            written => written.expect("written"),
        }
        thread::sleep(Duration::from_micros(300));
    }
    true
}

/// Lets a run live some lives, each killed once it has come further, and end. `turn` is
/// called before each piece of trades. Gives how often it was killed.
fn lives(
    folder: &Folder,
    inputs: &str,
    trades: &str,
    draw: &mut StdRng,
    mut turn: impl FnMut(&mut StdRng),
) -> u32 {
    let mut kills = 0;
    loop {
        let begin = newest(folder);
        // The first one does not end by itself, however slow the disk is.
        let die_at = begin + if kills == 0 { 1 } else { draw.random_range(1..4) };
        let (mut child, stdin) = start(folder, inputs, draw);
        let is_whole = feed(stdin, trades, |piece| {
            turn(draw);
            if kills == 0 && piece == trades.len() / PIECE / 2 {
                wait_for_checkpoint(folder, begin);
            }
            kills == KILLS_MAX || newest(folder) < die_at
        });
        if is_whole {
            let output = child.wait_with_output().expect("it ends");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            return kills;
        }
        child.kill().expect("killed");
        child.wait().expect("it ends");
        kills += 1;
    }
}

/// Sees to it that the journal gives the output of the run once more, and gives how many
/// updates it has.
fn check(folder: &Folder, trades: &str, first: &str, draw: &mut StdRng) -> usize {
    folder.put("t.csv", trades);
    folder.put("first.csv", first);
    let job = "--trades t.csv --instruments first.csv --replay-journal j.jsonl";
    let policy = POLICY.replace("o.csv", "again.csv");
    folder.ok(&format!("run {job} {policy} {}", how(draw)));
    assert!(folder.read("again.csv") == folder.read("o.csv"), "the journal says something else");
    folder.ok(&format!("verify {job} {POLICY}"));
    folder.read("j.jsonl").matches("{\"update\":").count()
}

#[test]
fn changes_by_arrival_of_a_run_that_was_killed_are_in_its_journal() {
    let (mut kills, mut updates) = (0, 0);
    for seed in 0..u64::from(how_many(3)) {
        let mut draw = StdRng::seed_from_u64(seed);
        let folder = Folder::empty();
        let (first, trades) = (rows(&mut draw), trades(&mut draw, TRADES));
        folder.put("i.csv", &first);
        folder.put("c.jsonl", changes(&mut draw, 2_000));
        let inputs = "--table-changes c.jsonl --changes-by arrival";
        kills += lives(&folder, inputs, &trades, &mut draw, |_| {});
        updates += check(&folder, &trades, &first, &mut draw);
        let journal = folder.read("j.jsonl");
        let keys = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            line["update"]["changes"]["keys"]["ids"].as_array().map_or(0, Vec::len)
        };
        assert_eq!(journal.lines().map(keys).sum::<usize>(), 2_000, "each change is there once");
    }
    assert!(kills > 0 && updates > 0, "{kills} kills, {updates} updates");
}

#[test]
fn reloads_of_a_run_that_was_killed_are_in_its_journal() {
    let (mut kills, mut updates) = (0, 0);
    for seed in 0..u64::from(how_many(3)) {
        let mut draw = StdRng::seed_from_u64(seed);
        let folder = Folder::empty();
        let (first, trades) = (rows(&mut draw), trades(&mut draw, TRADES));
        folder.put("i.csv", &first);
        let inputs = "--watch=1ms --max-removed 100% --min-rows 0";
        kills += lives(&folder, inputs, &trades, &mut draw, |draw| {
            // The first one stays for as long as it may be loaded.
            if newest(&folder) > 0 && draw.random_bool(0.3) {
                folder.put("new", rows(draw));
                fs::rename(folder.path("new"), folder.path("i.csv")).expect("renamed");
            }
        });
        updates += check(&folder, &trades, &first, &mut draw);
    }
    assert!(kills > 0 && updates > 0, "{kills} kills, {updates} updates");
}
