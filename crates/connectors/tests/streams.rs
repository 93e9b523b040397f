//! Packed, broken and endless inputs.

mod support;

use std::fs::OpenOptions;
use std::io::Write;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_ipc::MetadataVersion;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use support::{Files, convert, create, input, keys, read_all, trades};
use tradejoin_connectors::{Category, Fields, InputOptions, Progress};
use tradejoin_flow::End;

const CSV: &str = "instrument_id,note\n1,a\n2,b\n";

#[test]
fn members_and_frames_are_read_to_the_last() {
    let files = Files::new();
    let (one, two) = (files.put("one.csv", CSV), files.put("two.csv", "instrument_id,note\n"));
    for ending in ["csv.gz", "csv.zst"] {
        let path = files.path(&format!("out.{ending}"));
        convert(&one, &path);
        let first = std::fs::read(&path).expect("there");
        convert(&two, &path);
        // The second member holds a header alone: a bad record with a key.
        let second = std::fs::read(&path).expect("there");
        let path = files.put(&format!("both.{ending}"), [second, first].concat());
        let error = read_all(&mut trades(input(&path), Fields::AsText).expect("opens")).expect_err("header");
        assert!(error.to_string().contains("line 2, column instrument_id: \"instrument_id\""), "{error}");
    }
}

#[test]
fn a_packed_output_of_many_pieces_reads_back() {
    let files = Files::new();
    let rows: String = (0..30_000).map(|i| format!("{i},{}\n", i * 7_919 % 1_000_003)).collect();
    let text = format!("instrument_id,note\n{rows}");
    let source = files.put("in.csv", &text);
    for ending in ["csv.gz", "csv.zst"] {
        // Pieces large enough for frames of their own, and some that are not.
        for batch_len in [20_000, 9_000, 100] {
            let path = files.path(&format!("out.{ending}"));
            let mut reader =
                trades(InputOptions { batch_len, ..input(&source) }, Fields::InRecord).expect("opens");
            let mut output = create(&path, &reader, Vec::new());
            while let Some(messages) = reader.read().expect("good") {
                output.write_batch(&messages.trades).expect("written");
            }
            output.close(End::Complete).expect("complete");
            let back = files.path("back.csv");
            convert(&path, &back);
            assert_eq!(std::fs::read_to_string(&back).expect("text"), text, "{ending} {batch_len}");
        }
        let empty = files.put("none.csv", "instrument_id\n");
        convert(&empty, &files.path(&format!("none.{ending}")));
        convert(&files.path(&format!("none.{ending}")), &files.path("back.csv"));
        assert_eq!(std::fs::read(files.path("back.csv")).expect("there"), b"instrument_id\n", "{ending}");
    }
}

#[test]
fn what_has_come_through_a_pipe_does_not_wait_for_the_rest() {
    let files = Files::new();
    let two = files.put("two.csv", CSV);
    let three = files.put("three.csv", "instrument_id,note\n3,c\n");
    for ending in ["csv", "csv.gz", "csv.zst", "jsonl", "jsonl.gz"] {
        let part = |source| {
            let part = files.path(&format!("part.{ending}"));
            convert(source, &part);
            std::fs::read(&part).expect("there")
        };
        let pipe = files.path(&format!("pipe.{ending}"));
        assert!(Command::new("mkfifo").arg(&pipe).status().expect("runs").success());
        let mut writer = OpenOptions::new().read(true).write(true).open(&pipe).expect("opens");
        let first = part(&two);
        // The columns of JSON Lines are those of the first 1,024 lines.
        let more: Vec<u8> = if ending.starts_with("jsonl") {
            let lines = "{\"instrument_id\":9,\"note\":null}\n".repeat(1_024);
            let lines = files.put("lines.jsonl", lines);
            let packed = files.path(&format!("lines-packed.{ending}"));
            convert(&lines, &packed);
            std::fs::read(packed).expect("there")
        } else {
            Vec::new()
        };
        writer.write_all(&[first, more.clone()].concat()).expect("fits the pipe");
        let mut reader = trades(input(&pipe), Fields::AsText).expect("opens");
        let mut read = || keys(&[reader.read().expect("good").expect("rows")]);
        // The writer is there and silent: a reader that waits for it waits for ever.
        let mut rows = read();
        let expected = 2 + if more.is_empty() { 0 } else { 1_024 };
        while rows.len() < expected {
            rows.extend(read());
        }
        assert_eq!((&rows[..2], rows.len()), (&[Some(1), Some(2)][..], expected), "{ending}");
        writer.write_all(&part(&three)).expect("fits the pipe");
        drop(writer);
        let rest = reader.read();
        match ending.starts_with("csv") {
            // The header of the second part is a record of the whole.
            true => assert!(rest.expect_err("a header").to_string().contains("line 4"), "{ending}"),
            false => assert_eq!(keys(&[rest.expect("good").expect("rows")]), [Some(3)], "{ending}"),
        }
    }
}

#[test]
fn broken_files_are_errors_of_data() {
    let files = Files::new();
    let rows: String = (0..5_000).map(|i| format!("{i},{}\n", i * 7_919 % 1_000)).collect();
    let source = files.put("in.csv", format!("instrument_id,note\n{rows}"));
    for ending in ["csv.gz", "csv.zst", "parquet", "arrow"] {
        let whole = files.path(&format!("whole.{ending}"));
        convert(&source, &whole);
        let bytes = std::fs::read(&whole).expect("there");
        let cut = files.put(&format!("cut.{ending}"), &bytes[..bytes.len() / 2]);
        let error = match trades(input(&cut), Fields::AsText) {
            Ok(mut reader) => read_all(&mut reader).expect_err(ending).category(),
            Err(error) => error.category(),
        };
        assert_eq!(error, Category::Data, "{ending}");
        // Any one byte may be wrong: an error or other rows, but no panic.
        for at in (0..bytes.len()).step_by(bytes.len() / 60 + 1) {
            let mut wrong = bytes.clone();
            wrong[at] ^= 0x55;
            let path = files.put(&format!("wrong.{ending}"), wrong);
            if let Ok(mut reader) = trades(input(&path), Fields::AsText) {
                while let Ok(Some(_)) = reader.read() {}
            }
        }
    }
}

#[test]
fn an_arrow_stream_ends_behind_a_message_and_nowhere_else() {
    let files = Files::new();
    let batch = |ids: [u32; 2]| {
        let ids: ArrayRef = Arc::new(UInt32Array::from(ids.to_vec()));
        RecordBatch::try_from_iter([("instrument_id", ids)]).expect("a column")
    };
    let batches = [batch([1, 2]), batch([3, 4])];
    let (new, old) = (IpcWriteOptions::default(), IpcWriteOptions::try_new(8, true, MetadataVersion::V4));
    for options in [new, old.expect("without markers in front")] {
        let schema = batches[0].schema();
        let writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options);
        let mut writer = writer.expect("begun");
        let mut ends = vec![(writer.get_ref().len(), 0)];
        for batch in &batches {
            writer.write(batch).expect("in memory");
            ends.push((writer.get_ref().len(), ends.last().map_or(0, |(_, rows)| rows + batch.num_rows())));
        }
        let bytes = writer.into_inner().expect("in memory");
        ends.push((bytes.len(), 4));
        for len in 0..=bytes.len() {
            let path = files.put("cut.arrow", &bytes[..len]);
            let read = trades(input(&path), Fields::AsText).map_err(|e| (e.category(), e.to_string()));
            let read =
                read.and_then(|mut reader| read_all(&mut reader).map_err(|e| (e.category(), e.to_string())));
            match (read, ends.iter().find(|(end, _)| *end == len)) {
                (Ok(messages), Some((_, rows))) => assert_eq!(keys(&messages).len(), *rows, "{len}"),
                (Err((Category::Data, text)), None) => assert!(text.contains("cut.arrow"), "{text}"),
                (other, expected) => panic!("{len}: {other:?} for {expected:?}"),
            }
        }
    }
    let path = files.path("file.arrow");
    convert(&files.put("in.csv", CSV), &path);
    let bytes = std::fs::read(&path).expect("there");
    for len in 0..bytes.len() {
        let error = trades(input(&files.put("cut.arrow", &bytes[..len])), Fields::AsText).err();
        assert_eq!(error.map(|error| error.category()), Some(Category::Data), "{len}");
    }
}

#[test]
fn progress_ends_at_the_size_of_the_file() {
    let files = Files::new();
    let source = files.put("in.csv", CSV);
    for ending in ["csv", "jsonl.zst", "parquet"] {
        let path = files.path(&format!("out.{ending}"));
        convert(&source, &path);
        let progress = Progress::default();
        let options = InputOptions { progress: progress.clone(), ..input(&path) };
        read_all(&mut trades(options, Fields::AsText).expect("opens")).expect("good");
        let size = path.metadata().expect("there").len();
        assert_eq!((progress.bytes_read(), progress.bytes_total()), (size, Some(size)), "{ending}");
    }
}

#[test]
fn a_pipe_ends_when_it_is_told_and_half_a_record_is_no_record() {
    let files = Files::new();
    for (ending, whole, half) in
        [("csv", CSV, "3,c"), ("jsonl", "{\"instrument_id\":1}\n{\"instrument_id\":2}\n", "{\"instr")]
    {
        let path = files.path(&format!("pipe.{ending}"));
        assert!(Command::new("mkfifo").arg(&path).status().expect("runs").success());
        // Reading and writing, so that there is always a writer.
        let mut writer = OpenOptions::new().read(true).write(true).open(&path).expect("opens");
        writer.write_all(whole.as_bytes()).expect("fits the pipe");
        writer.write_all(half.as_bytes()).expect("fits the pipe");
        let stop = Arc::new(AtomicBool::new(false));
        let options = InputOptions { stop: Some(Arc::clone(&stop)), ..input(&path) };
        let messages = std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let mut reader = trades(options, Fields::AsText).expect("opens");
                read_all(&mut reader).expect("a quiet end")
            });
            // The pipe is empty once all of it was read.
            while rustix::io::ioctl_fionread(&writer).expect("a pipe") > 0 {
                std::thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
            reading.join().expect("no panic")
        });
        assert_eq!(keys(&messages), [Some(1), Some(2)], "{ending}");
    }
}

#[test]
fn typed_formats_are_read_from_a_pipe() {
    let files = Files::new();
    let source = files.put("in.csv", CSV);
    for ending in ["parquet", "arrow"] {
        let (file, pipe) = (files.path(&format!("file.{ending}")), files.path(&format!("pipe.{ending}")));
        convert(&source, &file);
        assert!(Command::new("mkfifo").arg(&pipe).status().expect("runs").success());
        let bytes = std::fs::read(&file).expect("there");
        let messages = std::thread::scope(|scope| {
            scope.spawn(|| std::fs::write(&pipe, &bytes).expect("written"));
            let mut reader = trades(input(&pipe), Fields::AsText).expect("opens");
            read_all(&mut reader).expect("good")
        });
        assert_eq!(keys(&messages), [Some(1), Some(2)], "{ending}");
    }
}

#[test]
fn the_stream_format_is_told_by_its_start() {
    let files = Files::new();
    let pipe = files.path("out.arrow");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("runs").success());
    let source = files.put("in.csv", CSV);
    let bytes = std::thread::scope(|scope| {
        let reading = scope.spawn(|| std::fs::read(&pipe).expect("read"));
        convert(&source, &pipe);
        reading.join().expect("no panic")
    });
    assert!(!bytes.starts_with(b"ARROW1"));
    let path = files.put("stream.arrow", bytes);
    let messages = read_all(&mut trades(input(&path), Fields::AsText).expect("opens")).expect("good");
    assert_eq!(keys(&messages), [Some(1), Some(2)]);
}
