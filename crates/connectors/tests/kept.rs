//! An output that a later run goes on with has the bytes of one that was never disturbed.

mod support;

use std::fs::{self, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use rustix::fs::{CWD, Mode, mkfifoat};
use support::{Files, content, enriched, input, trades};
use tradejoin_connectors::{
    Beside, BesidePiece, Category, CreateError, DeadLetterOptions, DeadLetters, Encoding, Fields, Kept,
    LetterRotation, LetterTime, Location, Output, OutputOptions, TradeReader, resume_letter_files,
};
use tradejoin_disk::{Disk, RealDisk};
use tradejoin_flow::{BoxError, Encode as _, End, ForEach, OutputPosition, Sink as _};
use tradejoin_model::{DeadLetter, Enriched, Messages, TableSpec};

const TEXTS: [&str; 6] = ["csv", "jsonl", "csv.gz", "csv.zst", "jsonl.gz", "jsonl.zst"];

fn disk() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

/// Trades in blocks of a few rows, or of one.
fn reader(files: &Files, rows: usize) -> TradeReader {
    let lines: String = (0..rows).map(|row| format!("{row},note {}\n", row * 7919)).collect();
    let path = files.put("in.csv", format!("instrument_id,note\n{lines}"));
    trades(tradejoin_connectors::InputOptions { batch_len: 3, ..input(&path) }, Fields::AsText)
        .expect("opens")
}

fn blocks(files: &Files, rows: usize) -> (TradeReader, Vec<Messages>) {
    let mut reader = reader(files, rows);
    let blocks = support::read_all(&mut reader).expect("good rows");
    (reader, blocks)
}

fn try_open(path: &Path, reader: &TradeReader, from: Option<OutputPosition>) -> Result<Output, CreateError> {
    let encoding = Encoding::of_path(path).expect("known");
    let kept = Some(Kept { disk: disk(), owner: "owner".to_owned(), from });
    let options = OutputOptions::new(Location::Path(path.to_owned()), encoding, reader.schema());
    Output::create(OutputOptions { kept, ..options })
}

fn open(path: &Path, reader: &TradeReader, from: Option<OutputPosition>) -> Output {
    try_open(path, reader, from).unwrap_or_else(|error| panic!("{error}"))
}

fn write(output: &mut Output, blocks: &[Messages]) {
    blocks.iter().for_each(|block| output.write_batch(&block.trades).expect("written"));
}

/// A checkpoint: what a manifest would tell of the output.
fn cut(output: &mut Output, end: Option<End>) -> OutputPosition {
    let mut prepared = output.prepare(end).expect("prepared");
    let mut positions = prepared.make_durable().expect("durable");
    prepared.publish().expect("published");
    assert_eq!(positions.len(), 1);
    positions.remove(0)
}

fn unpacked(path: &Path) -> String {
    let bytes = fs::read(path).expect("readable");
    let mut text = String::new();
    let read = match path.extension().and_then(|ending| ending.to_str()) {
        Some("gz") => flate2::read::MultiGzDecoder::new(&*bytes).read_to_string(&mut text),
        Some("zst") => zstd::Decoder::new(&*bytes).expect("frames").read_to_string(&mut text),
        _ => bytes.as_slice().read_to_string(&mut text),
    };
    read.expect("whole");
    text
}

/// What an output without checkpoints has.
fn undisturbed(files: &Files, ending: &str, reader: &TradeReader, blocks: &[Messages]) -> String {
    let path = files.path(&format!("undisturbed.{ending}"));
    let mut output = support::create(&path, reader, Vec::new());
    write(&mut output, blocks);
    output.close(End::Complete).expect("complete");
    unpacked(&path)
}

#[test]
fn what_is_gone_on_with_is_as_if_nothing_had_happened() {
    for ending in TEXTS {
        let files = Files::new();
        let (reader, blocks) = blocks(&files, 40);
        let path = files.path(&format!("out.{ending}"));
        let mut output = open(&path, &reader, None);
        write(&mut output, &blocks[..5]);
        let position = cut(&mut output, None);
        assert!(!position.is_complete && !path.exists() && Path::new(&position.partial).exists(), "{ending}");
        assert_eq!(position.name, path.to_str().expect("text"));
        // What is written from here on is lost with its run.
        write(&mut output, &blocks[5..9]);
        drop(output);
        let mut output = open(&path, &reader, Some(position.clone()));
        assert_eq!(output.handle().bytes_written(), position.bytes);
        write(&mut output, &blocks[5..]);
        let last = cut(&mut output, Some(End::Complete));
        assert!(last.is_complete && output.handle().path() == Some(path.clone()));
        assert_eq!(fs::metadata(&path).expect("there").len(), last.bytes);
        drop(output);
        assert_eq!(unpacked(&path), undisturbed(&files, ending, &reader, &blocks), "{ending}");
        assert!(!Path::new(&position.partial).exists());
    }
}

#[test]
fn a_checkpoint_before_the_first_row_and_none_at_all_are_the_same_output() {
    for ending in TEXTS {
        let files = Files::new();
        let (reader, _) = blocks(&files, 1);
        let path = files.path(&format!("out.{ending}"));
        let mut output = open(&path, &reader, None);
        let position = cut(&mut output, None);
        drop(output);
        let mut output = open(&path, &reader, Some(position));
        cut(&mut output, None);
        cut(&mut output, Some(End::Complete));
        assert_eq!(unpacked(&path), undisturbed(&files, ending, &reader, &[]), "{ending}");
    }
}

#[test]
fn an_interrupted_run_is_gone_on_with() {
    for ending in TEXTS {
        let files = Files::new();
        let (reader, blocks) = blocks(&files, 20);
        let path = files.path(&format!("out.{ending}"));
        let mut output = open(&path, &reader, None);
        write(&mut output, &blocks[..2]);
        let position = cut(&mut output, Some(End::Interrupted));
        assert!(!position.is_complete && output.handle().path() != Some(path.clone()));
        drop(output);
        let mut output = open(&path, &reader, Some(position));
        write(&mut output, &blocks[2..]);
        cut(&mut output, Some(End::Complete));
        assert_eq!(unpacked(&path), undisturbed(&files, ending, &reader, &blocks), "{ending}");
    }
}

#[test]
fn a_file_that_no_checkpoint_knows_of_is_removed() {
    let files = Files::new();
    let (reader, blocks) = blocks(&files, 20);
    let mut output = open(&files.path("out.csv"), &reader, None);
    write(&mut output, &blocks);
    drop(output);
    assert_eq!(files.names(), ["in.csv"]);
    let mut output = open(&files.path("out.csv"), &reader, None);
    // Be it that it could not be made durable.
    drop(output.prepare(None).expect("prepared"));
    drop(output);
    assert_eq!(files.names(), ["in.csv", "out.csv.owner.partial"]);
}

#[test]
fn what_a_checkpoint_does_not_tell_of_is_refused() {
    let files = Files::new();
    let (reader, blocks) = blocks(&files, 30);
    let path = files.path("out.csv");
    let mut output = open(&path, &reader, None);
    write(&mut output, &blocks);
    let position = cut(&mut output, None);
    drop(output);
    let partial = files.path("out.csv.owner.partial");
    let whole = fs::read(&partial).expect("readable");
    let refused = |position: &OutputPosition| {
        let error = try_open(&path, &reader, Some(position.clone())).err().expect("refused");
        (error.category(), error.to_string())
    };
    OpenOptions::new()
        .write(true)
        .open(&partial)
        .and_then(|file| file.set_len(position.bytes - 7))
        .expect("cut");
    let (category, text) = refused(&position);
    assert_eq!(category, Category::Checkpoint);
    let bytes = position.bytes;
    assert!(
        text.contains("out.csv.owner.partial") && text.contains(&format!("7 bytes shorter than the {bytes}")),
        "{text}"
    );

    let mut edited = whole.clone();
    edited[25] ^= 1;
    fs::write(&partial, edited).expect("written");
    let (category, text) = refused(&position);
    assert!(category == Category::Checkpoint && text.contains("was changed"), "{text}");

    fs::write(&partial, &whole).expect("written");
    let complete = OutputPosition { is_complete: true, ..position.clone() };
    let other =
        OutputPosition { name: files.path("x.csv").to_str().expect("text").to_owned(), ..position.clone() };
    let elsewhere = OutputPosition {
        partial: files.path("in.csv").to_str().expect("text").to_owned(),
        ..position.clone()
    };
    let stream = OutputPosition { partial: String::new(), ..position.clone() };
    for wrong in [&complete, &other, &elsewhere, &stream] {
        assert_eq!(refused(wrong).0, Category::Checkpoint, "{wrong:?}");
    }
    assert_eq!(fs::read(&partial).expect("readable"), whole, "nothing that was refused is touched");

    fs::remove_file(&partial).expect("removed");
    let (category, text) = refused(&position);
    assert!(category == Category::Checkpoint && text.contains("missing"), "{text}");
}

#[test]
fn a_file_of_which_nothing_counts_is_begun_anew_and_takes_no_others_place() {
    let files = Files::new();
    let (reader, blocks) = blocks(&files, 30);
    let path = files.put("out.jsonl", "of an earlier run");
    let mut output = open(&path, &reader, None);
    let position = cut(&mut output, None);
    assert_eq!(position.bytes, 0);
    drop(output);
    fs::remove_file(&position.partial).expect("removed");
    let mut output = open(&path, &reader, Some(position.clone()));
    assert_eq!(content(&path), "of an earlier run");
    write(&mut output, &blocks);
    cut(&mut output, Some(End::Complete));
    drop(output);
    let want = undisturbed(&files, "jsonl", &reader, &blocks);
    assert_eq!(content(&path), want);
    // As behind a checkpoint that is damaged, which told that it was complete.
    let mut output = open(&path, &reader, Some(position));
    write(&mut output, &blocks);
    cut(&mut output, Some(End::Complete));
    assert_eq!(content(&path), want);
}

#[test]
fn no_link_is_followed() {
    let files = Files::new();
    let (reader, blocks) = blocks(&files, 3);
    let victim = files.put("victim", "kept");
    symlink(&victim, files.path("out.csv.owner.partial")).expect("linked");
    let mut output = open(&files.path("out.csv"), &reader, None);
    write(&mut output, &blocks);
    let position = cut(&mut output, None);
    assert_eq!(position.partial, files.path("out.csv.owner.partial").to_str().expect("text"));
    assert_eq!(content(&victim), "kept", "the link went, not what it led to");
    drop(output);
    // Nor when it is gone on with.
    let partial = files.path("out.csv.owner.partial");
    fs::rename(&partial, &victim).expect("moved");
    symlink(&victim, &partial).expect("linked");
    let before = content(&victim);
    let refused = try_open(&files.path("out.csv"), &reader, Some(position)).err().expect("refused");
    assert_eq!((refused.category(), content(&victim)), (Category::Checkpoint, before));
}

#[test]
fn a_complete_output_gets_its_name_once_in_all_three_states() {
    let files = Files::new();
    let (reader, blocks) = blocks(&files, 30);
    let path = files.put("out.csv", "old");
    let mut output = open(&path, &reader, None);
    write(&mut output, &blocks);
    let mut prepared = output.prepare(Some(End::Complete)).expect("prepared");
    let position = prepared.make_durable().expect("durable").remove(0);
    // The run dies before it publishes.
    drop((prepared, output));
    assert_eq!(content(&path), "old");
    let republish = || Output::republish(&disk(), &position);
    let rest = |bytes: &str| {
        use std::io::Write as _;
        let file = OpenOptions::new().append(true).open(files.path("out.csv.owner.partial"));
        file.and_then(|mut file| file.write_all(bytes.as_bytes())).expect("written");
    };
    rest("rest of a buffer");
    republish().expect("it is named");
    assert_eq!(content(&path), undisturbed(&files, "csv", &reader, &blocks));
    republish().expect("it has its name");
    fs::write(&path, "other").expect("written");
    assert_eq!(republish().expect_err("it is another").category(), Category::Checkpoint);
    fs::remove_file(&path).expect("removed");
    assert_eq!(republish().expect_err("it is gone").category(), Category::Checkpoint);
}

#[test]
fn trades_that_are_put_aside_are_kept_beside_the_others() {
    let files = Files::new();
    let (reader, blocks) = blocks(&files, 6);
    let kept = |from| Some(Kept { disk: disk(), owner: "owner".to_owned(), from });
    let open_both = |from: Option<&[OutputPosition]>| {
        let letters = DeadLetters::create(DeadLetterOptions {
            location: Location::Path(files.path("aside.jsonl")),
            encoding: "jsonl".parse().expect("known"),
            schema: reader.schema(),
            tables: vec![TableSpec::instruments()],
            letters: None,
            time: LetterTime::None,
            bytes_max: None,
            rotation: None,
            kept: kept(from.map(|from| from[1].clone())),
            disk: disk(),
        });
        let output = open(&files.path("out.csv"), &reader, from.map(|from| from[0].clone()));
        letters.expect("created").beside(output)
    };
    let put = |sink: &mut Beside<Output>, block: &Messages| {
        let mut batch = enriched(block.clone(), Vec::new(), Some(vec![true, false, true]));
        batch.dead_letters = vec![DeadLetter { row: 1, table: 0, number: 2 }];
        let mut piece = BesidePiece::default();
        sink.encoder().encode(&batch, &mut piece).and_then(|()| sink.write(&mut piece)).expect("written");
    };
    let keep = |sink: &mut Beside<Output>, end| {
        let mut prepared = sink.prepare(end).expect("prepared");
        let positions = prepared.make_durable().expect("durable");
        prepared.publish().expect("published");
        positions
    };
    let mut sink = open_both(None);
    put(&mut sink, &blocks[0]);
    let positions = keep(&mut sink, None);
    put(&mut sink, &blocks[0]);
    drop(sink);
    let mut sink = open_both(Some(&positions));
    put(&mut sink, &blocks[1]);
    keep(&mut sink, Some(End::Complete));
    assert_eq!(content(&files.path("out.csv")).lines().count(), 5);
    let letters = content(&files.path("aside.jsonl"));
    let ids: Vec<_> =
        letters.lines().filter_map(|line| line.split("\"key\":").nth(1)?.split(',').next()).collect();
    assert_eq!(ids, ["\"1\"", "\"4\""]);
}

type Discard = fn(&Enriched) -> Result<(), BoxError>;
type Nowhere = ForEach<Discard>;

/// The newest checkpoint may be damaged: the one before it goes on in a file that was completed
/// meanwhile, and has its name.
#[test]
fn letters_go_on_from_an_older_checkpoint_in_a_file_that_was_complete() {
    let files = Files::new();
    let (reader, blocks) = blocks(&files, 3);
    let base = files.path("aside.jsonl");
    let open = |outputs: &[OutputPosition]| {
        let from = resume_letter_files(&disk(), &base, outputs)?;
        let letters = DeadLetters::create(DeadLetterOptions {
            location: Location::Path(base.clone()),
            encoding: "jsonl".parse().expect("known"),
            schema: reader.schema(),
            tables: vec![TableSpec::instruments()],
            letters: None,
            time: LetterTime::None,
            bytes_max: None,
            rotation: Some(LetterRotation { file_bytes_max: 250, files_max: None }),
            kept: Some(Kept { disk: disk(), owner: "owner".to_owned(), from }),
            disk: disk(),
        });
        Ok::<_, BoxError>(letters?.beside(ForEach((|_| Ok(())) as Discard)))
    };
    let put = |sink: &mut Beside<Nowhere>, number: u64| {
        let mut batch = enriched(blocks[0].clone(), Vec::new(), Some(vec![false; 3]));
        batch.dead_letters = vec![DeadLetter { row: 1, table: 0, number }];
        let mut piece = BesidePiece::default();
        sink.encoder().encode(&batch, &mut piece).and_then(|()| sink.write(&mut piece)).expect("written");
    };
    let keep = |sink: &mut Beside<Nowhere>, end| {
        let mut prepared = sink.prepare(end).expect("prepared");
        let positions = prepared.make_durable().expect("durable");
        prepared.publish().expect("published");
        positions
    };
    let mut sink = open(&[]).expect("begins");
    let mut kept = Vec::new();
    for number in 1..=7 {
        put(&mut sink, number);
        kept.push(keep(&mut sink, None));
    }
    drop(sink);
    let numbers = |name: &str| {
        let text = content(&files.path(name));
        let number = |line: &str| line.split("\"trade\":").nth(1)?.split(',').next()?.parse::<u64>().ok();
        text.lines().filter_map(number).collect::<Vec<_>>()
    };
    assert_eq!((numbers("aside.jsonl"), numbers("aside.000001.jsonl")), (vec![1, 2], vec![3, 4]));
    // From the third: it was in the middle of the second file.
    let mut sink = open(&kept[2]).expect("goes on");
    assert_eq!(numbers("aside.000001.jsonl.owner.partial"), [3]);
    (4..=7).for_each(|number| put(&mut sink, number));
    keep(&mut sink, Some(End::Complete));
    let all = ["aside.jsonl", "aside.000001.jsonl", "aside.000002.jsonl", "aside.000003.jsonl"];
    assert_eq!(all.map(numbers).concat(), (1..=7).collect::<Vec<_>>());
    assert_eq!(files.names().len(), 5, "{:?}", files.names());
    // Nor is one taken for it that was edited.
    fs::rename(files.path("aside.000001.jsonl"), files.path("other.jsonl")).expect("renamed");
    fs::write(files.path("aside.000001.jsonl"), "other".repeat(100)).expect("written");
    assert!(open(&kept[2]).err().expect("refused").to_string().contains("aside.000001.jsonl"));
    assert!(files.path("aside.000001.jsonl").exists());
}

#[test]
fn what_was_not_kept_cannot_be_prepared() {
    let files = Files::new();
    let reader = reader(&files, 1);
    assert!(support::create(&files.path("out.csv"), &reader, Vec::new()).prepare(None).is_err());
}

#[test]
fn a_device_is_written_to_at_least_once() {
    let files = Files::new();
    let (reader, blocks) = blocks(&files, 9);
    let csv = || "csv".parse().expect("known");
    let options = |from| OutputOptions {
        kept: Some(Kept { disk: disk(), owner: "owner".to_owned(), from }),
        ..OutputOptions::new(Location::Path("/dev/null".into()), csv(), reader.schema())
    };
    let mut output = Output::create(options(None)).expect("opens");
    write(&mut output, &blocks);
    let position = cut(&mut output, None);
    assert!(position.partial.is_empty() && position.bytes > 50, "{position:?}");
    let mut output = Output::create(options(Some(position.clone()))).expect("opens");
    write(&mut output, &blocks);
    let last = cut(&mut output, Some(End::Complete));
    // The header, too.
    assert_eq!(last.bytes, 2 * position.bytes);
    Output::republish(&disk(), &last).expect("nothing is to be named");
}

/// Whoever reads it in the second life has not seen what the first has written.
#[test]
fn a_pipe_that_is_gone_on_with_has_the_header_again() {
    let files = Files::new();
    let (reader, blocks) = blocks(&files, 6);
    let path = files.path("pipe.csv");
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("a pipe");
    // Open at both ends, it lets nobody wait.
    let mut pipe = OpenOptions::new().read(true).write(true).open(&path).expect("a pipe");
    let mut output = open(&path, &reader, None);
    write(&mut output, &blocks[..1]);
    let position = cut(&mut output, None);
    assert!(position.partial.is_empty() && position.bytes > 0);
    drop(output);
    let mut output = open(&path, &reader, Some(position));
    write(&mut output, &blocks[1..]);
    let last = cut(&mut output, Some(End::Complete));
    let text = content(&files.path("in.csv"));
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    let expected = [&lines[..4], &lines[..1], &lines[4..]].concat().concat();
    assert_eq!((last.is_complete, last.bytes), (true, expected.len() as u64));
    let mut read = vec![0; expected.len()];
    pipe.read_exact(&mut read).expect("as many bytes");
    assert_eq!(String::from_utf8(read).expect("text"), expected);
}

/// What happens to an output: blocks are written, a checkpoint is kept, or its run dies.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write(usize),
    Keep,
    Die,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![(1..6usize).prop_map(Step::Write), Just(Step::Keep), Just(Step::Die)];
    prop::collection::vec(step, 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_cut_is_seen_in_what_is_written(steps in steps(), ending in prop::sample::select(&TEXTS)) {
        let files = Files::new();
        let (reader, blocks) = blocks(&files, 90);
        let path = files.path(&format!("out.{ending}"));
        let mut output = open(&path, &reader, None);
        let (mut next, mut kept) = (0, (0, None));
        for step in steps {
            match step {
                Step::Write(len) => {
                    let end = (next + len).min(blocks.len());
                    write(&mut output, &blocks[next..end]);
                    next = end;
                }
                Step::Keep => kept = (next, Some(cut(&mut output, None))),
                Step::Die => {
                    drop(output);
                    output = open(&path, &reader, kept.1.clone());
                    next = kept.0;
                }
            }
        }
        write(&mut output, &blocks[next..]);
        cut(&mut output, Some(End::Complete));
        prop_assert_eq!(unpacked(&path), undisturbed(&files, ending, &reader, &blocks));
        prop_assert_eq!(files.names().len(), 3);
    }
}
