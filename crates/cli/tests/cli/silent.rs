//! Kept runs whose inputs fall silent.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::live_changes::pipe;
use crate::support::Folder;

/// After so long what is waited for will not come.
const PATIENCE: Duration = Duration::from_secs(100);
const TRADES: u64 = 5_000;
/// More than one batch of them.
const KEPT: &str = "--batch-len 100 --checkpoint state --checkpoint-every 10ms --unmatched keep --quiet";

/// A run with a pipe of trades that stays open; killed when it goes.
struct Waiting {
    child: Child,
    trades: ChildStdin,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Waiting {
    fn start(folder: &Folder, job: &str, trades: &[u8]) -> Self {
        let mut child = folder.command(job).stdin(Stdio::piped()).spawn().expect("it starts");
        let mut run = Self { trades: child.stdin.take().expect("a pipe"), child };
        run.write(trades);
        run
    }

    fn write(&mut self, trades: &[u8]) {
        self.trades.write_all(trades).expect("written");
    }

    /// Waits until there is a checkpoint behind so many trades.
    fn until_kept(&mut self, folder: &Folder, trades: u64) {
        self.until(&format!("a checkpoint behind {trades} trades"), || {
            let ran = folder.run("checkpoint list state --json");
            let list: Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
            list.as_array().is_some_and(|all| all.iter().any(|one| one["trades"] == trades))
        });
    }

    fn until(&mut self, what: &str, is_there: impl Fn() -> bool) {
        let begin = Instant::now();
        while !is_there() {
            assert!(self.child.try_wait().expect("a process").is_none(), "it has ended without {what}");
            assert!(begin.elapsed() < PATIENCE, "there is not {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn folder() -> Folder {
    let folder = Folder::empty();
    folder.put("i.csv", "instrument_id,ticker,strike,expiry,option_type\n1,SPY,100,2024-11-03,call\n");
    folder
}

fn csv() -> String {
    let rows = (0..TRADES).map(|number| format!("{number},{number},{}\n", number % 2));
    std::iter::once("trade_id,timestamp,instrument_id\n".to_owned()).chain(rows).collect()
}

#[test]
fn trades_before_a_silence_are_behind_a_checkpoint_and_in_parts() {
    let lines = (0..TRADES).map(|number| {
        format!("{{\"type\":\"trade\",\"trade_id\":{number},\"instrument_id\":{}}}\n", number % 2)
    });
    let lines: String = lines.collect();
    let row = "{\"type\":\"instrument\",\"instrument_id\":1,\"ticker\":\"SPY\",\"strike\":1,\
               \"expiry\":\"2024-11-03\",\"option_type\":\"call\"}\n{\"type\":\"snapshot_end\",\"table\":\"instruments\",\"rows\":1}\n";
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(csv().as_bytes()).expect("in memory");
    // Its end is not written.
    packed.flush().expect("in memory");
    let inputs = [
        ("--trades - --format csv --instruments i.csv", csv().into_bytes()),
        (
            "--trades - --format jsonl --instruments i.csv",
            lines.replace("\"type\":\"trade\",", "").into_bytes(),
        ),
        ("--trades - --format csv.gz --instruments i.csv", packed.get_ref().clone()),
        ("--messages -", format!("{row}{lines}").into_bytes()),
    ];
    for (input, trades) in inputs {
        for workers in [1, 2] {
            let folder = folder();
            let job =
                format!("run {input} --output parts/ --output-format parquet --workers {workers} {KEPT}");
            let mut run = Waiting::start(&folder, &job, &trades);
            run.until_kept(&folder, TRADES);
            // It has its name a moment later.
            run.until("a part", || folder.path("parts/part-000000.parquet").is_file());
            if input.contains(" csv ") {
                run.write(b"5000,5000,1\n");
                run.until_kept(&folder, TRADES + 1);
            }
        }
    }
}

#[test]
fn no_more_rows_than_were_said_are_behind_the_last_checkpoint_in_a_silence() {
    let folder = folder();
    let job = "run --trades - --format csv --instruments i.csv --output o.csv --batch-len 100 --checkpoint state \
               --checkpoint-every 1000rows --quiet";
    let mut run = Waiting::start(&folder, job, csv().as_bytes());
    run.until("a late checkpoint", || {
        let list: Value =
            serde_json::from_str(&folder.run("checkpoint list state --json").stdout).unwrap_or_default();
        let is_late = |one: &Value| one["trades"].as_u64() > Some(TRADES - 1_000);
        list.as_array().is_some_and(|all| all.iter().any(is_late))
    });
}

#[test]
fn what_stands_before_a_silence_of_changes_is_behind_a_checkpoint_and_goes_on() {
    // By time the trades from the watermark on wait for changes.
    let row = "{\"type\":\"instrument\",\"timestamp\":5,\"instrument_id\":1,\"ticker\":\"QQQ\",\"strike\":1,\
               \"expiry\":\"2024-11-03\",\"option_type\":\"call\"}\n";
    let watermark = "{\"type\":\"watermark\",\"timestamp\":2500}\n";
    for (by, changes, trades) in [
        ("timestamp", format!("{row}{watermark}"), 2_500),
        ("timestamp --changes-wait 10m", format!("{row}{watermark}"), 2_500),
        ("arrival", String::new(), TRADES),
    ] {
        let folder = folder();
        let path = pipe(&folder, "c.jsonl");
        // Opened for both, it waits for no reader.
        let open = || OpenOptions::new().read(true).write(true).open(&path).expect("a pipe");
        let job = format!(
            "run --trades - --format csv --instruments i.csv --columns ticker --table-changes c.jsonl \
             --changes-by {by} --output o.csv {KEPT}"
        );
        let mut writer = open();
        writer.write_all(changes.as_bytes()).expect("written");
        let mut run = Waiting::start(&folder, &job, csv().as_bytes());
        run.until_kept(&folder, trades);
        drop(run);
        drop(writer);
        // The next life has the same inputs, and both end.
        folder.put("t.csv", csv());
        std::fs::remove_file(&path).expect("a pipe");
        folder.put("c.jsonl", &changes);
        let input = std::fs::File::open(folder.path("t.csv")).expect("a file");
        let ended = folder.command(&job).stdin(input).output().expect("it runs");
        assert!(ended.status.success(), "{by}: {}", String::from_utf8_lossy(&ended.stderr));
        let without = job
            .replace(KEPT, "--unmatched keep")
            .replace("o.csv", "want.csv")
            .replace("--trades -", "--trades t.csv");
        folder.ok(&without);
        assert_eq!(folder.read("o.csv"), folder.read("want.csv"), "{by}");
    }
}
