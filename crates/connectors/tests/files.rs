//! An output file appears when it is whole.

mod support;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;

use support::{Files, content, create, input, trades};
use tradejoin_connectors::{
    Category, DeadLetterOptions, DeadLetters, Encoding, Fields, LetterTime, Location, Output, OutputOptions,
    TradeReader,
};
use tradejoin_disk::RealDisk;
use tradejoin_flow::{End, Sink as _};
use tradejoin_model::TableSpec;

fn reader(files: &Files) -> TradeReader {
    trades(input(&files.put("in.csv", "instrument_id\n1\n")), Fields::AsText).expect("opens")
}

#[test]
fn it_has_a_partial_name_until_it_is_finished() {
    let files = Files::new();
    let mut reader = reader(&files);
    let path = files.put("out.csv", "old");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o6640)).expect("set");
    let mut output = create(&path, &reader, Vec::new());
    let handle = output.handle();
    output.write_batch(&reader.read().expect("good").expect("rows").trades).expect("written");
    let partial = files.path("out.csv.partial");
    assert_eq!((content(&path).as_str(), handle.path()), ("old", Some(partial.clone())));
    assert!(partial.exists());
    output.close(End::Complete).expect("complete");
    drop(output);
    assert_eq!(content(&path), "instrument_id\n1\n");
    assert_eq!((handle.path(), handle.bytes_written()), (Some(path.clone()), 16));
    // Who may write it, and not as whom it runs.
    assert_eq!(path.metadata().expect("there").permissions().mode() & 0o7777, 0o640);
    assert_eq!(files.names(), ["in.csv", "out.csv"]);
}

#[test]
fn dropped_before_that_it_leaves_nothing() {
    let files = Files::new();
    let reader = reader(&files);
    for ending in ["csv", "jsonl.gz", "csv.zst", "parquet", "arrow"] {
        drop(create(&files.path(&format!("out.{ending}")), &reader, Vec::new()));
        assert_eq!(files.names(), ["in.csv"], "{ending}");
    }
}

#[test]
fn an_interrupted_run_leaves_a_readable_partial_file() {
    let files = Files::new();
    for ending in ["csv", "parquet", "arrow", "jsonl.gz"] {
        let mut reader = reader(&files);
        let path = files.path(&format!("out.{ending}"));
        let mut output = create(&path, &reader, Vec::new());
        output.write_batch(&reader.read().expect("good").expect("rows").trades).expect("written");
        output.close(End::Interrupted).expect("complete");
        let partial = output.handle().path().expect("a file");
        assert_eq!(partial, files.path(&format!("out.{ending}.partial")));
        assert!(!path.exists());
        std::fs::rename(&partial, &path).expect("renamed");
        let rows = trades(input(&path), Fields::AsText).expect("opens").read().expect("good").expect("rows");
        assert_eq!(rows.trades.num_rows(), 1, "{ending}");
    }
}

#[test]
fn the_trades_get_their_name_when_the_letters_have_theirs() {
    let files = Files::new();
    let reader = reader(&files);
    let (output, letters) = (files.put("out.csv", "old"), files.path("letters.jsonl"));
    let write = || {
        let options = DeadLetterOptions {
            location: Location::Path(letters.clone()),
            encoding: "jsonl".parse().expect("known"),
            schema: reader.schema(),
            tables: vec![TableSpec::instruments()],
            letters: None,
            time: LetterTime::None,
            bytes_max: None,
            rotation: None,
            kept: None,
            disk: Arc::new(RealDisk),
        };
        let mut sink =
            DeadLetters::create(options).expect("made").beside(create(&output, &reader, Vec::new()));
        let mut prepared = sink.prepare(Some(End::Complete)).expect("prepared");
        drop(sink);
        prepared.make_durable().expect("durable");
        assert!(!letters.is_file() && content(&output) == "old", "neither has its name");
        prepared
    };
    let mut prepared = write();
    std::fs::create_dir(&letters).expect("in the way");
    assert!(prepared.publish().is_err());
    drop(prepared);
    assert_eq!(content(&output), "old");
    assert_eq!(files.names(), ["in.csv", "letters.jsonl", "out.csv"], "nothing partial is left");
    std::fs::remove_dir(&letters).expect("removed");
    write().publish().expect("published");
    assert_eq!((content(&output), content(&letters)), ("instrument_id\n".to_owned(), String::new()));
}

#[test]
fn a_partial_file_that_is_there_is_left_alone() {
    let files = Files::new();
    let reader = reader(&files);
    let other = files.put("out.csv.partial", "of another run");
    let mut output = create(&files.path("out.csv"), &reader, Vec::new());
    assert_eq!(output.handle().path(), Some(files.path("out.csv.2.partial")));
    output.close(End::Complete).expect("complete");
    assert_eq!(content(&other), "of another run");
    assert_eq!(files.names(), ["in.csv", "out.csv", "out.csv.partial"]);
}

#[test]
fn a_link_stays_a_link_and_a_device_a_device() {
    let files = Files::new();
    let reader = reader(&files);
    let target = files.put("target.csv", "old");
    symlink("target.csv", files.path("link.csv")).expect("linked");
    create(&files.path("link.csv"), &reader, Vec::new()).close(End::Complete).expect("complete");
    assert!(files.path("link.csv").is_symlink());
    assert_eq!(content(&target), "instrument_id\n");
    for ending in ["csv", "arrow", "parquet"] {
        let mut output = Output::create(OutputOptions::new(
            Location::Path("/dev/null".into()),
            ending.parse().expect("known"),
            reader.schema(),
        ))
        .expect("created");
        output.close(End::Complete).expect("complete");
    }
    assert!(!std::path::Path::new("/dev/null.partial").exists());
}

#[test]
fn what_cannot_be_created_is_told() {
    let files = Files::new();
    let reader = reader(&files);
    std::fs::create_dir(files.path("dir.csv")).expect("made");
    for name in ["none/out.csv", "dir.csv", "in.csv/out.csv"] {
        let path = files.path(name);
        let encoding = Encoding::of_path(&path).expect("known");
        let error = Output::create(OutputOptions::new(Location::Path(path), encoding, reader.schema()))
            .err()
            .expect(name);
        assert_eq!(error.category(), Category::CannotCreate, "{error}");
    }
    assert_eq!(files.names(), ["dir.csv", "in.csv"]);
}

#[test]
fn a_full_disk_is_an_error_of_writing() {
    let files = Files::new();
    let mut reader = reader(&files);
    let mut output = Output::create(OutputOptions::new(
        Location::Path("/dev/full".into()),
        "csv".parse().expect("known"),
        reader.schema(),
    ))
    .expect("created");
    output.write_batch(&reader.read().expect("good").expect("rows").trades).expect("buffered");
    let error = output.close(End::Complete).expect_err("full");
    assert_eq!((error.category(), error.is_broken_pipe()), (Category::Io, false));
}
