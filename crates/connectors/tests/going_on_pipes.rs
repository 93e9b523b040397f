//! Readers of pipes that go on where others have been: whoever writes says the same again.

mod support;

use std::cell::Cell;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::{CWD, Mode, mkfifoat};
use support::{Files, input, keys, read_all, skipping, trades};
use tradejoin_connectors::{
    Category, ChangeTable, ChangesBy, ChangesOptions, ChangesProgress, ChangesReader, Fields, InputOptions,
    Limits, TableKind, TableMode, TradeReader, WithChanges, WithChangesOptions, open_changes,
};
use tradejoin_flow::{Block, InputPosition, Source, SourcePosition};
use tradejoin_model::ChangeKeys;

/// Pipes, each of which is written once.
struct Pipes {
    files: Files,
    made: Cell<usize>,
}

impl Pipes {
    fn new() -> Self {
        Self { files: Files::new(), made: Cell::new(0) }
    }

    /// A pipe with such an ending to which somebody writes this text, packed if it says so, in
    /// pieces of this length.
    fn of(&self, ending: &str, text: &str, piece: usize) -> PathBuf {
        let (path, _) = self.written(ending, text, piece);
        path
    }

    fn written(&self, ending: &str, text: &str, piece: usize) -> (PathBuf, JoinHandle<bool>) {
        let path = self.files.path(&format!("t{}.{ending}", self.made.replace(self.made.get() + 1)));
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("a pipe");
        let bytes = match ending.rsplit('.').next() {
            Some("gz") => {
                let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                packer.write_all(text.as_bytes()).expect("in memory");
                packer.finish().expect("in memory")
            }
            Some("zst") => zstd::encode_all(text.as_bytes(), 1).expect("in memory"),
            _ => text.as_bytes().to_vec(),
        };
        let pipe = path.clone();
        // Whether all was read: a reader that has seen enough leaves.
        let write = move || {
            let mut pipe = OpenOptions::new().write(true).open(pipe).expect("a pipe");
            bytes.chunks(piece).all(|piece| pipe.write_all(piece).is_ok())
        };
        (path, thread::Builder::new().spawn(write).expect("a thread"))
    }
}

fn options(path: PathBuf, batch_len: usize) -> InputOptions {
    let limits = Limits { line_bytes: 1_000, ..Limits::default() };
    InputOptions { batch_len, limits, linger: Duration::from_secs(1_000), ..skipping(&path).0 }
}

fn open(path: PathBuf, batch_len: usize) -> TradeReader {
    trades(options(path, batch_len), Fields::AsText).expect("opens")
}

/// Trades in either format: of JSON Lines one is too long for what is read at a time, and one for
/// the limit alone, and of CSV such a record would be the end.
fn texts() -> [(&'static str, String); 2] {
    let csv = |id: usize| match id {
        20 => format!("20,\"{}\"\r\n", "a\r\n".repeat(300)),
        30 => format!("30,{}\n\n\n", "b".repeat(900)),
        _ => format!("{id},note of {id}\n"),
    };
    let line = |id: usize| match id {
        20 => format!("{{\"instrument_id\":20,\"note\":\"{}\"}}\n", "a".repeat(300_000)),
        30 => format!("{{\"instrument_id\":30,\"note\":\"{}\"}}\n \n", "b".repeat(2_000)),
        _ => format!("{{\"instrument_id\":{id},\"note\":\"é\"}}\n"),
    };
    let csv = format!("\u{feff}instrument_id,note\n{}", (1..400).map(csv).collect::<String>());
    [("csv", csv), ("jsonl", (1..400).map(line).collect())]
}

#[test]
fn trades_of_a_pipe_go_on_at_any_block() {
    let pipes = Pipes::new();
    for (ending, text) in texts() {
        for packed in ["", ".gz", ".zst"] {
            let ending = format!("{ending}{packed}");
            let expected = keys(&read_all(&mut open(pipes.of(&ending, &text, 9_000), 400)).expect("skips"));
            let mut first = open(pipes.of(&ending, &text, 70_000), 50);
            let mut before = Vec::new();
            loop {
                let position = first.position().expect("a text");
                let kept = serde_json::to_string(&position).expect("a position");
                let position: InputPosition = serde_json::from_str(&kept).expect("as it was written");
                let mut second = open(pipes.of(&ending, &text, 5_000), 70);
                second.go_on_from(&position).expect("the same");
                assert_eq!(second.position().map(unnamed), Some(unnamed(position.clone())), "{ending}");
                let mut both = before.clone();
                both.extend(keys(&read_all(&mut second).expect("skips")));
                assert_eq!(both, expected, "{ending}, at {position:?}");
                match first.read().expect("skips") {
                    Some(block) => before.extend(keys(&[block])),
                    None => break,
                }
            }
        }
    }
}

/// A place in whichever pipe.
fn unnamed(position: InputPosition) -> InputPosition {
    InputPosition { name: String::new(), ..position }
}

/// So many trades behind a header.
fn rows(header: &str, count: usize) -> String {
    let rows: String = (0..count).map(|row| format!("{row},{}\n", row * 7)).collect();
    format!("{header}\n{rows}")
}

fn refused(pipes: &Pipes, ending: &str, text: &str, position: &InputPosition) -> String {
    let mut reader = open(pipes.of(ending, text, 5_000), 100);
    let error = reader.go_on_from(position).expect_err("another text");
    assert_eq!(error.category(), Category::Data);
    error.to_string()
}

#[test]
fn another_text_in_a_pipe_is_refused() {
    let pipes = Pipes::new();
    for ending in ["csv", "csv.gz", "csv.zst"] {
        let text = rows("instrument_id,ask", 2_000);
        let mut reader = open(pipes.of(ending, &text, 5_000), 1_600);
        reader.read().expect("good");
        let position = reader.position().expect("a text");
        drop(reader);
        let other = "it is not the input that the checkpoint was made of: its first";
        let swapped = refused(&pipes, ending, &rows("instrument_id,bid", 2_000), &position);
        assert!(swapped.contains(&format!("{other} 4096 bytes differ")), "{swapped}");
        let far = refused(&pipes, ending, &text.replace("\n1500,10500\n", "\n1500,10501\n"), &position);
        assert!(far.contains(&format!("{other} {} bytes differ", position.bytes)), "{far}");
        let short = refused(&pipes, ending, &rows("instrument_id,ask", 1_500), &position);
        assert!(short.contains("it ends before what was read of it"), "{short}");
        // What stands behind the place may be anything.
        let more = text.replace("\n1700,11900\n", "\n1700,1\n") + "9,9\n";
        let mut reader = open(pipes.of(ending, &more, 5_000), 1_000);
        reader.go_on_from(&position).expect("the same up to there");
        assert_eq!(keys(&read_all(&mut reader).expect("good")).len(), 401);
        // What was kept before there were hashes of pipes is gone on with.
        let unknown = InputPosition { head: None, tail: None, ..position };
        let mut reader = open(pipes.of(ending, &rows("instrument_id,bid", 2_000), 5_000), 1_000);
        reader.go_on_from(&unknown).expect("nothing tells");
        assert_eq!(keys(&read_all(&mut reader).expect("good")).len(), 400);
    }
}

#[test]
fn a_short_text_in_a_pipe_is_known_by_all_of_it() {
    let pipes = Pipes::new();
    let text = "instrument_id,bid,ask\n1,1,2\n2,2,3\n3,3,4\n";
    let mut reader = open(pipes.of("csv", text, 100), 2);
    let begun = reader.position().expect("a text");
    reader.read().expect("good");
    let position = reader.position().expect("a text");
    for (position, bytes) in [(begun, 22), (position, 34)] {
        let swapped = refused(&pipes, "csv", &text.replace("bid,ask", "ask,bid"), &position);
        assert!(swapped.contains(&format!("its first {bytes} bytes differ")), "{swapped}");
        let mut again = open(pipes.of("csv", &text.replace("3,3,4", "5,5,5"), 3), 9);
        again.go_on_from(&position).expect("the same up to there");
        assert_eq!(keys(&read_all(&mut again).expect("good")).last(), Some(&Some(5)));
    }
}

#[test]
fn another_text_is_refused_before_as_much_of_it_has_come() {
    let pipes = Pipes::new();
    let mut reader = open(pipes.of("csv", &rows("instrument_id,ask", 2_000), 5_000), 1_900);
    reader.read().expect("good");
    let position = reader.position().expect("a text");
    let path = pipes.files.path("live.csv");
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("a pipe");
    // Opened for both, it waits for no reader, and has no end while this one is there.
    let mut live = OpenOptions::new().read(true).write(true).open(&path).expect("a pipe");
    live.write_all(rows("instrument_id,bid", 600).as_bytes()).expect("fits the pipe");
    let (sender, refused) = sync_channel(1);
    let go_on = move || sender.send(open(path, 100).go_on_from(&position));
    thread::Builder::new().spawn(go_on).expect("a thread");
    let refused = refused.recv_timeout(Duration::from_secs(100)).expect("it waits for no more");
    assert!(refused.expect_err("another text").to_string().contains("its first 4096 bytes differ"));
}

#[test]
fn a_stop_on_the_way_to_the_place_leaves_it_where_it_was() {
    let pipes = Pipes::new();
    // More than a pipe has room for.
    let text = rows("instrument_id,ask", 20_000);
    let mut reader = open(pipes.of("csv", &text, 5_000), 19_000);
    reader.read().expect("good");
    let position = reader.position().expect("a text");
    let stop = Arc::new(AtomicBool::new(false));
    let path = pipes.of("csv", &text, 5_000);
    let options = InputOptions { stop: Some(Arc::clone(&stop)), ..input(&path) };
    let mut reader = trades(options, Fields::AsText).expect("opens");
    stop.store(true, Ordering::Relaxed);
    reader.go_on_from(&position).expect("stopped");
    assert_eq!(reader.read().expect("stopped").map(|block| block.len()), None);
    assert_eq!(reader.position().map(unnamed), Some(unnamed(position)));
}

fn changes(path: PathBuf, batch_len: usize) -> ChangesReader {
    let table = ChangeTable {
        table: TableKind::Instruments.into(),
        fields: Vec::new(),
        mode: TableMode::Latest,
        known: None,
    };
    let options = ChangesOptions { tables: vec![table], timed: true, nearest: |_, _| None };
    let input = self::options(path, batch_len);
    open_changes(input).expect("opens").reader(options).expect("no columns")
}

/// Changes of these times.
fn lines(times: impl Iterator<Item = i64>) -> String {
    times
        .map(|time| {
            format!(
                "{{\"type\":\"instrument\",\"instrument_id\":{time},\"timestamp\":{time},\"deleted\":true}}\n"
            )
        })
        .collect()
}

fn with_changes(trades: PathBuf, changes: PathBuf, batch_len: usize) -> Box<dyn Source> {
    let mut trades = open(trades, batch_len);
    trades.require_times().expect("there are");
    let options = WithChangesOptions {
        by: ChangesBy::Timestamp,
        tables: 1,
        changes_max: 7,
        wait: None,
        stop: None,
        progress: ChangesProgress::default(),
        is_kept: true,
    };
    Box::new(WithChanges::in_turn(trades, self::changes(changes, batch_len), options))
}

/// The keys of trades, and of changes behind a minus sign.
fn sequence(source: &mut dyn Source) -> Vec<i64> {
    std::iter::from_fn(|| source.next().expect("good")).flat_map(items).collect()
}

fn items(block: Block) -> Vec<i64> {
    let block = block.decode().expect("good");
    let mut items = Vec::new();
    let changes = block.lanes.iter().flat_map(|lane| {
        let ChangeKeys::Ids(keys) = &lane.keys else { panic!("ids") };
        lane.at_rows.iter().zip(keys.iter()).map(|(row, key)| (*row, -i64::from(key.0))).collect::<Vec<_>>()
    });
    let mut changes = changes.peekable();
    for (row, key) in keys(std::slice::from_ref(&block)).into_iter().enumerate() {
        while let Some((_, change)) = changes.next_if(|(at, _)| *at as usize == row) {
            items.push(change);
        }
        items.extend(key.map(i64::from));
    }
    items.extend(changes.map(|(_, change)| change));
    items
}

#[test]
fn trades_and_changes_of_pipes_go_on_anywhere() {
    let pipes = Pipes::new();
    let trades: String = (1..60).map(|time| format!("{time},{time}\n")).collect();
    let trades = format!("instrument_id,timestamp\n{trades}");
    // With one line that is too long among them.
    let long = format!("{{\"type\":\"{}\"}}\n", "x".repeat(200_000));
    let changes = lines(1..25) + &long + &lines(25..70);
    for ending in ["jsonl", "jsonl.gz"] {
        let open = |batch_len, piece| {
            let (trades, changes) =
                (pipes.of("csv", &trades, piece), pipes.of(ending, &changes, piece * 1_000));
            with_changes(trades, changes, batch_len)
        };
        let expected = sequence(&mut *open(100, 1_000));
        let (mut first, mut before, mut hashed) = (open(13, 50), Vec::new(), 0);
        loop {
            if let Some(position) = first.position() {
                hashed += usize::from(position.inputs[1].tail.is_some());
                let mut second = open(10, 70);
                second.go_on_from(&position).expect("the same");
                let unnamed = |position: &SourcePosition| {
                    let inputs = position.inputs.iter().cloned().map(unnamed).collect::<Vec<_>>();
                    (inputs, position.state.clone())
                };
                assert_eq!(second.position().as_ref().map(unnamed), Some(unnamed(&position)));
                let mut both = before.clone();
                both.extend(sequence(&mut *second));
                assert_eq!(both, expected, "at {position:?}");
            }
            match first.next().expect("good") {
                Some(block) => before.extend(items(block)),
                None => break,
            }
        }
        assert!(hashed > 10, "{hashed} places are known again");
    }
}

#[test]
fn a_pipe_that_nobody_goes_on_with_is_not_hashed() {
    let (pipes, text) = (Pipes::new(), "trade_id,instrument_id\n1,1\n");
    for is_kept in [true, false] {
        let options = InputOptions { is_kept, ..options(pipes.of("csv", text, 9), 10) };
        let mut reader = trades(options, Fields::AsText).expect("opens");
        read_all(&mut reader).expect("good rows");
        let position = reader.position().expect("a position");
        let InputPosition { bytes, head, tail, .. } = position;
        assert_eq!((bytes, head.is_some(), tail.is_some()), (text.len() as u64, is_kept, is_kept));
    }
}

#[test]
fn other_changes_are_refused_when_the_first_is_read_and_their_writer_is_heard_out() {
    let pipes = Pipes::new();
    let text = lines(0..3_000);
    let mut reader = changes(pipes.of("jsonl", &text, 5_000), 2_000);
    let mut source = {
        let trades = pipes.of("csv", "instrument_id,timestamp\n1,2500\n2,2600\n", 100);
        let changes = pipes.of("jsonl", &text, 5_000);
        with_changes(trades, changes, 2_000)
    };
    while source.next().expect("good").is_some() {}
    let position = source.position().expect("texts");
    // Those that it was made of are all there.
    reader.go_on_from(&position).expect("told later");
    let mut steps = 0;
    while reader.read().is_some_and(|block| block.is_nothing()) {
        steps += 1;
    }
    assert!(steps > 0, "no sign of life");
    let (path, writer) = pipes.written("jsonl", &text.replace(":0,", ":7,"), 5_000);
    let mut reader = changes(path, 2_000);
    reader.go_on_from(&position).expect("told later");
    assert_eq!(reader.start().map(unnamed), position.inputs.get(1).cloned().map(unnamed));
    let refused = reader.read().expect("a block");
    assert!(!refused.is_nothing());
    assert!(reader.read().is_none());
    assert!(writer.join().expect("no panic"), "all was read");
}
