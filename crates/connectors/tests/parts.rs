//! An output in parts has the rows of one file, however often it was gone on with.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use proptest::prelude::*;
use support::{Files, input, trades};
use tradejoin_connectors::{
    Category, CreateError, Encoding, Fields, InputOptions, Kept, Location, Output, OutputOptions, TradeReader,
};
use tradejoin_disk::{Disk, RealDisk};
use tradejoin_flow::{End, OutputPosition};
use tradejoin_model::Messages;

const FORMATS: [&str; 2] = ["parquet", "arrow"];

fn disk() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

fn blocks(files: &Files, rows: usize) -> (TradeReader, Vec<Messages>) {
    let lines: String = (0..rows).map(|row| format!("{row},note {}\n", row * 7919)).collect();
    let path = files.put("in.csv", format!("instrument_id,note\n{lines}"));
    let options = InputOptions { batch_len: 3, ..input(&path) };
    let mut reader = trades(options, Fields::Typed).expect("opens");
    let blocks = support::read_all(&mut reader).expect("good rows");
    (reader, blocks)
}

fn try_open(
    location: &Path,
    format: &str,
    reader: &TradeReader,
    from: Option<OutputPosition>,
) -> Result<Output, CreateError> {
    open_as("owner", location, format, reader, from)
}

fn open_as(
    owner: &str,
    location: &Path,
    format: &str,
    reader: &TradeReader,
    from: Option<OutputPosition>,
) -> Result<Output, CreateError> {
    let encoding: Encoding = format.parse().expect("known");
    let kept = Some(Kept { disk: disk(), owner: owner.to_owned(), from });
    let options = OutputOptions::new(Location::Path(location.to_owned()), encoding, reader.schema());
    Output::create(OutputOptions { kept, ..options })
}

/// An output in the folder `out`.
fn open(files: &Files, format: &str, reader: &TradeReader, from: Option<OutputPosition>) -> Output {
    try_open(&files.path("out/"), format, reader, from).unwrap_or_else(|error| panic!("{error}"))
}

fn write(output: &mut Output, blocks: &[Messages]) {
    blocks.iter().for_each(|block| output.write_batch(&block.trades).expect("written"));
}

/// A checkpoint, whose run dies before it gives names if `publish` says so.
fn cut(output: &mut Output, end: Option<End>, publish: bool) -> OutputPosition {
    let mut prepared = output.prepare(end).expect("prepared");
    let mut positions = prepared.make_durable().expect("durable");
    if publish {
        prepared.publish().expect("published");
    }
    positions.remove(0)
}

/// What is in the folder, but for the file that its run locks.
fn names(files: &Files) -> Vec<String> {
    let names = RealDisk.list(&files.path("out")).expect("a folder");
    names.into_iter().filter(|name| name != ".lock").collect()
}

/// All rows of one file after the other.
fn rows_of(paths: &[std::path::PathBuf]) -> RecordBatch {
    let rows = paths.iter().flat_map(|path| {
        let mut reader = trades(input(path), Fields::Typed).expect("opens");
        support::read_all(&mut reader).expect("good rows").into_iter().map(|messages| messages.trades)
    });
    let rows: Vec<_> = rows.collect();
    concat_batches(&rows[0].schema(), &rows).expect("of one schema")
}

/// The rows of the parts that have names; the list agrees with them.
fn rows_of_parts(files: &Files, format: &str, is_complete: bool) -> RecordBatch {
    let parts = names(files).into_iter().filter(|name| name.starts_with("part-"));
    let paths: Vec<_> = parts.map(|name| files.path("out").join(name)).collect();
    let expected =
        (0..paths.len()).map(|number| files.path("out").join(format!("part-{number:06}.{format}")));
    assert_eq!(paths, expected.collect::<Vec<_>>(), "numbers are dense");
    let rows = rows_of(&paths);
    let text = fs::read(files.path("out/_manifest.json")).expect("a list");
    let list: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    let bytes: u64 = paths.iter().map(|path| path.metadata().expect("there").len()).sum();
    assert_eq!((&list["is_complete"], &list["rows"]), (&is_complete.into(), &rows.num_rows().into()));
    assert_eq!((&list["bytes"], list["parts"].as_array().map(Vec::len)), (&bytes.into(), Some(paths.len())));
    rows
}

fn undisturbed(files: &Files, format: &str, reader: &TradeReader, blocks: &[Messages]) -> RecordBatch {
    let path = files.path(&format!("undisturbed.{format}"));
    let mut output = support::create(&path, reader, Vec::new());
    write(&mut output, blocks);
    output.close(End::Complete).expect("complete");
    rows_of(&[path])
}

#[test]
fn parts_appear_with_their_checkpoint() {
    for format in FORMATS {
        let files = Files::new();
        let (reader, blocks) = blocks(&files, 30);
        let mut output = open(&files, format, &reader, None);
        write(&mut output, &blocks[..4]);
        assert_eq!(names(&files), [format!(".part-000000.{format}.owner.partial")]);
        let position = cut(&mut output, None, true);
        assert_eq!((position.parts, position.staged.len(), position.staged[0].rows), (0, 1, 12));
        assert_eq!(names(&files), ["_manifest.json".to_owned(), format!("part-000000.{format}")]);
        // Nothing came since.
        assert_eq!(cut(&mut output, None, true).parts, 1);
        write(&mut output, &blocks[4..]);
        assert!(cut(&mut output, Some(End::Complete), true).is_complete);
        assert_eq!(output.handle().path(), Some(files.path("out")));
        output.close(End::Complete).expect("nothing is left to do");
        drop(output);
        assert_eq!(rows_of_parts(&files, format, true), undisturbed(&files, format, &reader, &blocks));
    }
}

#[test]
fn an_output_without_rows_has_its_columns() {
    for format in FORMATS {
        let files = Files::new();
        let (reader, _) = blocks(&files, 1);
        let mut output = open(&files, format, &reader, None);
        cut(&mut output, None, true);
        assert_eq!(names(&files), ["_manifest.json"]);
        cut(&mut output, Some(End::Complete), true);
        assert_eq!(names(&files), ["_manifest.json".to_owned(), format!("part-000000.{format}")]);
        let part = files.path("out").join(format!("part-000000.{format}"));
        assert_eq!(trades(input(&part), Fields::Typed).expect("opens").schema().fields().len(), 2);
    }
}

#[test]
fn staged_parts_get_their_names_in_every_state() {
    for format in FORMATS {
        let files = Files::new();
        let (reader, blocks) = blocks(&files, 30);
        let mut output = open(&files, format, &reader, None);
        write(&mut output, &blocks[..4]);
        let mut position = cut(&mut output, None, false);
        write(&mut output, &blocks[4..5]);
        drop(output);
        // As earlier versions named it.
        let staged = position.staged[0].partial.clone();
        position.staged[0].partial = format!(".part-000000.{format}.partial");
        fs::rename(files.path("out").join(staged), files.path("out").join(&position.staged[0].partial))
            .expect("renamed");
        // Not named yet; named already; both beside parts that no checkpoint tells of.
        for _ in 0..2 {
            fs::write(files.path("out").join(format!("part-000001.{format}")), "x").expect("written");
            fs::write(files.path("out/of-others.txt"), "x").expect("written");
            drop(open(&files, format, &reader, Some(position.clone())));
            let expected = ["_manifest.json", "of-others.txt", &format!("part-000000.{format}")];
            assert_eq!(names(&files), expected);
        }
        let part = files.path("out").join(format!("part-000000.{format}"));
        let whole = fs::read(&part).expect("readable");
        let refused = |position: &OutputPosition| {
            let error = try_open(&files.path("out/"), format, &reader, Some(position.clone()))
                .err()
                .expect("refused");
            assert_eq!(error.category(), Category::Checkpoint, "{error}");
            error.to_string()
        };
        fs::write(&part, &whole[..whole.len() - 3]).expect("written");
        assert!(refused(&position).contains("3 bytes shorter"));
        let mut edited = whole.clone();
        edited[20] ^= 1;
        fs::write(&part, edited).expect("written");
        assert!(refused(&position).contains("was changed"));
        fs::remove_file(&part).expect("removed");
        assert!(refused(&position).contains("missing"));
        let mut outside = position.clone();
        outside.staged[0].name = "../in.csv".to_owned();
        assert!(refused(&outside).contains("another output"));
    }
}

#[test]
fn a_complete_output_gets_its_last_part_once() {
    for format in FORMATS {
        let files = Files::new();
        let (reader, blocks) = blocks(&files, 30);
        let mut output = open(&files, format, &reader, None);
        write(&mut output, &blocks[..4]);
        cut(&mut output, None, true);
        write(&mut output, &blocks[4..]);
        let position = cut(&mut output, Some(End::Complete), false);
        drop(output);
        for _ in 0..2 {
            Output::republish(&disk(), &position).expect("it is named");
            assert_eq!(rows_of_parts(&files, format, true), undisturbed(&files, format, &reader, &blocks));
        }
        fs::remove_file(files.path("out").join(format!("part-000000.{format}"))).expect("removed");
        assert_eq!(Output::republish(&disk(), &position).expect_err("gone").category(), Category::Checkpoint);
    }
}

#[test]
fn a_folder_is_asked_for_and_has_no_parts_of_others() {
    let files = Files::new();
    let (reader, blocks) = blocks(&files, 3);
    for location in [files.path("out.parquet"), files.path("in.csv")] {
        let error = try_open(&location, "parquet", &reader, None).err().expect("no folder");
        assert_eq!(error.category(), Category::Usage);
        assert!(error.to_string().contains("name a folder, such as trades/"), "{error}");
    }
    fs::create_dir(files.path("out")).expect("made");
    // Of a run that died before its first checkpoint; what a link leads to stays.
    let victim = files.put("victim", "kept");
    symlink(&victim, files.path("out/.part-000000.parquet.owner.partial")).expect("linked");
    let mut output =
        try_open(&files.path("out"), "parquet", &reader, None).unwrap_or_else(|error| panic!("{error}"));
    write(&mut output, &blocks);
    cut(&mut output, None, true);
    assert_eq!(support::content(&victim), "kept");
    let error = try_open(&files.path("out"), "parquet", &reader, None).err().expect("it has parts");
    assert_eq!(error.category(), Category::CannotCreate, "{error}");
}

#[test]
fn a_folder_is_one_runs_at_a_time() {
    let files = Files::new();
    let (reader, blocks) = blocks(&files, 30);
    let other = || {
        let error = open_as("other", &files.path("out/"), "parquet", &reader, None).err().expect("refused");
        assert_eq!(error.category(), Category::CannotCreate, "{error}");
        error.to_string()
    };
    let mut output = open(&files, "parquet", &reader, None);
    // Neither has a part.
    assert!(other().contains("another run writes its parts in this folder"));
    write(&mut output, &blocks[..4]);
    assert!(other().contains("another run writes its parts in this folder"));
    let ended = OutputPosition { is_complete: true, ..cut(&mut output, None, true) };
    let in_use = Output::republish(&disk(), &ended).expect_err("its run has not ended");
    assert_eq!(in_use.category(), Category::CannotCreate, "{in_use}");
    write(&mut output, &blocks[4..]);
    let position = cut(&mut output, Some(End::Complete), true);
    // The part of it that is written was left alone.
    let rows = undisturbed(&files, "parquet", &reader, &blocks);
    assert_eq!(rows_of_parts(&files, "parquet", true), rows);
    drop(output);
    assert!(other().contains("parts of another run"));
    Output::republish(&disk(), &position).expect("it is named");
    assert_eq!(rows_of_parts(&files, "parquet", true), rows);
}

#[test]
fn what_a_checkpoint_of_others_tells_of_is_left_alone() {
    let files = Files::new();
    let (reader, blocks) = blocks(&files, 30);
    let mut first = open(&files, "parquet", &reader, None);
    write(&mut first, &blocks[..4]);
    // It dies before the part has its name.
    let position = cut(&mut first, None, false);
    drop(first);
    let other = open_as("other", &files.path("out/"), "parquet", &reader, None);
    let mut other = other.unwrap_or_else(|error| panic!("{error}"));
    write(&mut other, &blocks);
    cut(&mut other, Some(End::Complete), true);
    drop(other);
    let all = [".part-000000.parquet.owner.partial", "_manifest.json", "part-000000.parquet"];
    assert_eq!(names(&files), all);
    let error = try_open(&files.path("out/"), "parquet", &reader, Some(position)).err().expect("refused");
    assert_eq!(error.category(), Category::Checkpoint, "{error}");
    assert!(error.to_string().contains("part-000000.parquet: this part is of another run"), "{error}");
    assert_eq!(names(&files), all);
    assert_eq!(rows_of_parts(&files, "parquet", true), undisturbed(&files, "parquet", &reader, &blocks));
}

#[test]
fn a_checkpoint_without_a_part_keeps_other_runs_away() {
    let files = Files::new();
    let (reader, _) = blocks(&files, 1);
    let mut output = open(&files, "parquet", &reader, None);
    let position = cut(&mut output, None, true);
    drop(output);
    let error = open_as("other", &files.path("out/"), "parquet", &reader, None).err().expect("refused");
    assert!(error.to_string().contains("parts of another run"), "{error}");
    open(&files, "parquet", &reader, Some(position));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Write(usize),
    Keep { publish: bool },
    Die,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (1..6usize).prop_map(Step::Write),
        1 => any::<bool>().prop_map(|publish| Step::Keep { publish }),
        1 => Just(Step::Die),
    ];
    prop::collection::vec(step, 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_cut_is_seen_in_the_rows(steps in steps(), format in prop::sample::select(&FORMATS)) {
        let files = Files::new();
        let (reader, blocks) = blocks(&files, 90);
        let mut output = open(&files, format, &reader, None);
        let (mut next, mut kept) = (0, (0, None));
        for step in steps {
            match step {
                Step::Write(len) => {
                    let end = (next + len).min(blocks.len());
                    write(&mut output, &blocks[next..end]);
                    next = end;
                }
                Step::Keep { publish } => {
                    kept = (next, Some(cut(&mut output, None, publish)));
                    if !publish {
                        // Whose parts have no names does not go on.
                        drop(output);
                        output = open(&files, format, &reader, kept.1.clone());
                    }
                }
                Step::Die => {
                    drop(output);
                    output = open(&files, format, &reader, kept.1.clone());
                    next = kept.0;
                }
            }
        }
        write(&mut output, &blocks[next..]);
        cut(&mut output, Some(End::Complete), true);
        prop_assert_eq!(rows_of_parts(&files, format, true), undisturbed(&files, format, &reader, &blocks));
    }
}
