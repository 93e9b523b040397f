//! The jobs that are killed: every kind of input and output, with trades that wait, tables
//! that change and records that are bad.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::DataType;
use serde_json::Value;

/// A run with checkpoints, but for how often and by whom.
pub(crate) struct Job {
    pub(crate) name: &'static str,
    pub(crate) line: &'static str,
    /// Its tables, in the order of a summary.
    pub(crate) tables: &'static [&'static str],
    /// The outputs in a folder, as they are compared.
    pub(crate) outputs: fn(&Path) -> BTreeMap<String, Vec<u8>>,
}

/// The stream of those that have one.
pub(crate) const STREAM: &str = "m.jsonl";

pub(crate) const JOBS: &[Job] = &[
    Job {
        name: "CSV files to CSV",
        line: "--trades t.csv --instruments i.csv --users u.csv --unmatched keep --output out/o.csv",
        tables: &["instruments", "users"],
        outputs: bytes,
    },
    Job {
        name: "a stream, trades that wait",
        line: "--messages m.jsonl --on-miss instruments=hold=3000rows,then=dead-letter \
               --wait-column waited --output out/o.jsonl --dead-letters out/d.jsonl",
        tables: &["instruments"],
        outputs: bytes,
    },
    Job {
        name: "a stream, waiting in line, Zstandard",
        line: "--messages m.jsonl --on-miss instruments=hold=900rows,then=keep --order strict \
               --output out/o.csv.zst --output-format csv.zst",
        tables: &["instruments"],
        outputs: bytes,
    },
    Job {
        name: "CSV to Parquet parts",
        line: "--trades t.csv --instruments i.csv --users u.csv --unmatched keep \
               --output out/parts/ --output-format parquet",
        tables: &["instruments", "users"],
        outputs: rows,
    },
    Job {
        name: "Parquet to Arrow parts",
        line: "--trades t.parquet --instruments i.csv --unmatched keep --output out/parts/ --output-format arrow",
        tables: &["instruments"],
        outputs: rows,
    },
    Job {
        name: "bad records, packed",
        line: "--trades bad.csv.gz --instruments i.csv --on-bad-record skip --unmatched keep --output out/o.csv.gz",
        tables: &["instruments"],
        outputs: bytes,
    },
    Job {
        name: "bad records and misses that are put aside",
        line: "--trades bad.csv.gz --instruments bad-i.csv --on-bad-record dead-letter --on-miss instruments=dead-letter \
               --output out/o.csv --dead-letters out/d.jsonl --max-bad 500 --dead-letters-max 100MiB \
               --dead-letters-rotate 16KiB",
        tables: &["instruments"],
        outputs: bytes,
    },
    Job {
        name: "bad lines of a stream that are put aside, packed",
        line: "--messages bad.jsonl --on-bad-record dead-letter --on-miss instruments=hold=700rows \
               --output out/o.jsonl --dead-letters out/d.jsonl.zst --max-bad 5%",
        tables: &["instruments"],
        outputs: bytes,
    },
    Job {
        name: "reloads of a journal, waiting",
        line: "--trades t.csv --instruments i0.csv --replay-journal j.jsonl \
               --on-miss instruments=hold=2000rows,then=keep --output out/o.csv",
        tables: &["instruments"],
        outputs: bytes,
    },
    Job {
        name: "changes beside the trades, some bad",
        line: "--trades t.csv --instruments i0.csv --table-changes bad-c.jsonl --on-bad-record dead-letter \
               --unmatched keep --output out/o.csv --dead-letters out/d.jsonl",
        tables: &["instruments"],
        outputs: bytes,
    },
    Job {
        name: "changes beside the trades, with a journal",
        line: "--trades t.csv --instruments i0.csv --table-changes c.jsonl --journal out/j.jsonl \
               --on-miss instruments=hold=500rows,then=keep --output out/o.csv",
        tables: &["instruments"],
        outputs: with_journal,
    },
    Job {
        name: "changes beside the trades that revise them, waiting",
        line: "--trades t.csv --instruments i0.csv --table-changes c.jsonl --correct 3000rows \
               --corrections out/c.csv --on-miss instruments=hold=500rows,then=keep --output out/o.csv",
        tables: &["instruments"],
        outputs: bytes,
    },
    Job {
        name: "a stream that revises what was written, packed",
        line: "--messages m.jsonl --unmatched keep --correct 5000rows,1MiB --corrections out/c.jsonl.gz \
               --output out/o.jsonl",
        tables: &["instruments"],
        outputs: bytes,
    },
];

/// Trades of a job.
const TRADES: u32 = 20_000;

fn tradejoin(folder: &Path, line: &str) {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("tradejoin"));
    let output = command.current_dir(folder).args(line.split_whitespace()).output().expect("it runs");
    assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Makes the inputs of all jobs.
pub(crate) fn prepare(folder: &Path) {
    fs::create_dir(folder).expect("a folder");
    let stream = format!("--limit {TRADES} --ids 500 --unknown-share 0.05");
    tradejoin(folder, &format!("generate {stream} --trades t.csv --instruments i.csv --users u.csv"));
    tradejoin(folder, &format!("generate {stream} --trades t.parquet --instruments i.csv"));
    tradejoin(folder, &format!("generate {stream} --mix article --seed 7 --output m.jsonl"));
    let trades = fs::read_to_string(folder.join("t.csv")).expect("trades");
    fs::write(folder.join("bad.csv.gz"), packed(&with_bad(&trades))).expect("written");
    let stream = fs::read_to_string(folder.join("m.jsonl")).expect("a stream");
    fs::write(folder.join("bad.jsonl"), with_bad(&stream)).expect("written");
    let instruments = fs::read_to_string(folder.join("i.csv")).expect("instruments");
    fs::write(folder.join("bad-i.csv"), with_bad(&instruments)).expect("written");
    // A table that lacks half of its rows; the others come while trades flow.
    let (header, rows) = instruments.split_once('\n').expect("a header");
    let (mut first, mut changes) = (format!("{header}\n"), String::new());
    let times: Vec<&str> = trades.lines().skip(1).filter_map(|line| line.split(',').nth(1)).collect();
    for (number, row) in rows.lines().enumerate() {
        if number % 2 == 0 {
            let _ = writeln!(first, "{row}");
        }
        let time = times[(number * 37) % times.len()];
        let cells: Vec<_> = row.split(',').collect();
        let _ = writeln!(
            changes,
            "{time}\t{{\"type\":\"instrument\",\"timestamp\":\"{time}\",\"instrument_id\":{},\"ticker\":\"{}\",\
             \"strike\":{},\"expiry\":\"{}\",\"option_type\":\"{}\"}}",
            cells[0], cells[1], cells[2], cells[3], cells[4]
        );
    }
    let mut changes: Vec<_> = changes.lines().collect();
    changes.sort_unstable();
    let changes: String =
        changes.iter().filter_map(|line| line.split_once('\t')).fold(String::new(), |mut all, (_, line)| {
            let _ = writeln!(all, "{line}");
            all
        });
    fs::write(folder.join("i0.csv"), first).expect("written");
    fs::write(folder.join("bad-c.jsonl"), with_bad(&changes)).expect("written");
    fs::write(folder.join("c.jsonl"), changes).expect("written");
    tradejoin(
        folder,
        "run --trades t.csv --instruments i0.csv --table-changes c.jsonl --journal j.jsonl --output o.csv",
    );
    fs::remove_file(folder.join("o.csv")).expect("it was written");
}

/// The same with bad records among the good ones.
fn with_bad(trades: &str) -> String {
    trades.lines().enumerate().fold(String::new(), |mut all, (number, line)| {
        let _ = writeln!(all, "{line}");
        if number % 97 == 96 {
            let _ = writeln!(all, "{number},no time,x{number},,,,");
        }
        all
    })
}

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, text.as_bytes()).expect("in memory");
    encoder.finish().expect("in memory")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

/// The files with their bytes, unpacked: where frames end depends on the checkpoints.
fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |path: PathBuf| {
        let mut bytes = fs::read(&path).expect("a file");
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.ends_with(".gz") {
            let packed = std::mem::take(&mut bytes);
            flate2::read::MultiGzDecoder::new(&packed[..]).read_to_end(&mut bytes).expect("gzip");
        } else if name.ends_with(".zst") {
            bytes = zstd::decode_all(&bytes[..]).expect("Zstandard");
        }
        (name, bytes)
    };
    files(folder).into_iter().map(read).collect()
}

/// The same, with a line for each change of a journal: how many a line has depends on the
/// blocks.
pub(crate) fn with_journal(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = bytes(folder);
    if let Some(journal) = all.get_mut("j.jsonl") {
        let lines = std::str::from_utf8(journal).expect("text").lines();
        *journal = lines.flat_map(changes).flat_map(|line| format!("{line}\n").into_bytes()).collect();
    }
    all
}

/// The changes on a line of a journal, which has nothing but instruments.
fn changes(line: &str) -> Vec<String> {
    let line: Value = serde_json::from_str(line).expect("JSON");
    let Some(update) = line.get("update") else { return vec![line.to_string()] };
    let changes = &update["changes"];
    let value = |list: &Value, at: usize| {
        let values = list.as_object().expect("a kind").values().next().expect("values");
        values[at].clone()
    };
    let keys = changes["keys"]["ids"].as_array().expect("ids").len();
    let change = |at: usize| {
        let fields: Vec<_> =
            changes["fields"].as_array().expect("fields").iter().map(|field| value(field, at)).collect();
        let key = value(&changes["keys"], at);
        format!("{} {} {key} {}", update["trades_before"], update["table"], Value::from(fields))
    };
    (0..keys).map(change).collect()
}

/// The rows of all parts one after the other, as CSV: where parts end depends on the
/// checkpoints.
pub(crate) fn rows(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = Vec::new();
    for path in files(&folder.join("parts")) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(
            name.starts_with("part-") || ["_manifest.json", ".lock"].contains(&&*name),
            "{name} is left over"
        );
        let batches: Vec<RecordBatch> = match path.extension().and_then(|ending| ending.to_str()) {
            Some("parquet") => parquet(&path),
            Some("arrow") => {
                let reader = arrow_ipc::reader::FileReader::try_new(File::open(&path).expect("a file"), None);
                reader.expect("Arrow").map(|batch| batch.expect("rows")).collect()
            }
            _ => continue,
        };
        batches.iter().for_each(|batch| append(batch, &mut all));
    }
    BTreeMap::from([("rows".to_owned(), all)])
}

fn parquet(path: &Path) -> Vec<RecordBatch> {
    let file = File::open(path).expect("a file");
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    reader.build().expect("rows").map(|batch| batch.expect("rows")).collect()
}

/// Every value as text, times as numbers.
fn append(batch: &RecordBatch, all: &mut Vec<u8>) {
    let options = FormatOptions::default();
    let plain = |column: &ArrayRef| match column.data_type() {
        DataType::Timestamp(..) => cast(column, &DataType::Int64).expect("a number"),
        _ => column.clone(),
    };
    let columns: Vec<_> = batch.columns().iter().map(plain).collect();
    let formatter = |column| ArrayFormatter::try_new(column, &options).expect("a value");
    let columns: Vec<_> = columns.iter().map(|column| formatter(column.as_ref())).collect();
    for row in 0..batch.num_rows() {
        for column in &columns {
            all.extend_from_slice(column.value(row).to_string().as_bytes());
            all.push(b',');
        }
        all.push(b'\n');
    }
}
