//! What goes beyond a limit is a bad record or an error, which names the option.

mod support;

use std::error::Error as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use flate2::Compression;
use flate2::write::GzEncoder;
use support::{Files, input, read_all, skipping, trades};
use tradejoin_connectors::{Category, Fields, InputOptions, Limits, TradesOptions, open_letters};

fn within(limits: Limits, path: &Path) -> InputOptions {
    InputOptions { limits, ..input(path) }
}

/// What opening and reading a file says.
fn said(limits: Limits, path: &Path) -> String {
    let read = trades(within(limits, path), Fields::InRecord).map(|mut reader| read_all(&mut reader));
    match read {
        Err(error) => {
            assert_eq!(error.category(), Category::Data, "{error}");
            error.to_string()
        }
        Ok(read) => {
            let error = read.expect_err("beyond a limit");
            assert_eq!(error.category(), Category::Data, "{error}");
            error.to_string()
        }
    }
}

#[test]
fn a_line_that_is_too_long_is_a_bad_record() {
    let files = Files::new();
    let limits = Limits { line_bytes: 40, ..Limits::default() };
    let long = "x".repeat(50);
    let csv = files.put("t.csv", format!("instrument_id,note\n1,a\n2,{long}\n3,c\n"));
    assert!(said(limits, &csv).contains("line 3: longer than 40 bytes (--max-line)"));
    let text = format!(
        "{{\"instrument_id\":1}}\n{{\"instrument_id\":2,\"n\":\"{long}\"}}\n{{\"instrument_id\":3}}\n"
    );
    let json = files.put("t.jsonl", text);
    assert!(said(limits, &json).contains("line 2: longer than 40 bytes (--max-line)"));
    let (options, bad) = skipping(&json);
    let mut reader = trades(InputOptions { limits, ..options }, Fields::InRecord).expect("opens");
    let rows: usize = read_all(&mut reader).expect("skipped").iter().map(|m| m.trades.num_rows()).sum();
    assert_eq!((rows, bad.count()), (2, 1));
}

#[test]
fn the_end_of_a_line_is_not_counted() {
    let files = Files::new();
    let limits = Limits { line_bytes: 40, ..Limits::default() };
    let json = |note: &str| format!("{{\"instrument_id\":1,\"note\":\"{note}\"}}");
    let json_record = |len: usize| json(&"x".repeat(len - json("").len()));
    let csv_record = |len: usize| format!("1,{}", "x".repeat(len - 2));
    for end in ["", "\n", "\r\n"] {
        for len in [40, 41, 42, 43] {
            let csv = files.put("t.csv", format!("instrument_id,note\n{}{end}", csv_record(len)));
            let json = files.put("t.jsonl", json_record(len) + end);
            for path in [csv, json] {
                let (options, bad) = skipping(&path);
                let mut reader = trades(InputOptions { limits, ..options }, Fields::InRecord).expect("opens");
                let read = read_all(&mut reader).map(|_| bad.count());
                // A CSV record that is too long ends the run.
                assert_eq!(read.unwrap_or(1), u64::from(len > 40), "{len} bytes of {path:?}");
            }
        }
    }
}

#[test]
fn the_end_of_a_letter_is_not_counted() {
    let files = Files::new();
    let letter = r#"{"trade":1,"fields":{"instrument_id":1}}"#;
    for end in ["\n", "\r\n"] {
        let read = |lines: [&str; 3], line_bytes| {
            let options = within(
                Limits { line_bytes, ..Limits::default() },
                &files.put("l.jsonl", lines.map(|line| [line, end].concat()).concat()),
            );
            let key_columns = vec!["instrument_id".into()];
            let options = TradesOptions { input: options, limit: None, key_columns, fields: Fields::AsText };
            let read = open_letters(options).map(|(mut reader, _)| read_all(&mut reader));
            read.map_err(|error| error.source().map(ToString::to_string)).and_then(|read| {
                let read = read.map_err(|error| error.source().map(ToString::to_string))?;
                Ok(read.iter().map(|messages| messages.trades.num_rows()).sum::<usize>())
            })
        };
        assert_eq!(read([letter; 3], letter.len()), Ok(3), "{end:?}");
        for (lines, len, line) in
            [([letter; 3], letter.len() - 1, "line 1"), ([letter, letter, "x"], letter.len(), "line 3")]
        {
            let error = read(lines, len).expect_err("no letter").unwrap_or_default();
            assert!(error.contains(line), "{end:?}: {error}");
        }
    }
}

#[test]
fn fields_are_counted_whatever_the_record_looks_like() {
    let files = Files::new();
    let limits = Limits { fields: 3, ..Limits::default() };
    let csv = |row: &str| files.put("t.csv", format!("instrument_id,a,b\n1,2,3\n{row}\n"));
    for row in ["1,2,3,4", "1,\"2\",3,4", "1,2,3,4,\"\n"] {
        let said = said(limits, &csv(row));
        assert!(said.ends_with("line 3: more than 3 fields (--max-fields)"), "{row}: {said}");
    }
    assert!(said(limits, &csv("1,2")).ends_with("2 fields, but the header has 3"));
    let header = files.put("h.csv", "instrument_id,a,b,c\n");
    assert!(said(limits, &header).ends_with("line 1: more than 3 fields (--max-fields)"));
    let json = files.put(
        "t.jsonl",
        "{\"instrument_id\":1,\"a\":1,\"b\":1}\n{\"instrument_id\":1,\"a\":1,\"b\":1,\"a\":1}\n",
    );
    assert!(said(limits, &json).ends_with("line 2: more than 3 fields (--max-fields)"));
    // Each has few, and all together too many.
    let json = files.put("u.jsonl", "{\"instrument_id\":1,\"a\":1,\"b\":1}\n{\"instrument_id\":1,\"c\":1}\n");
    assert!(said(limits, &json).ends_with("u.jsonl: it has more than 3 columns (--max-fields)"));
}

#[test]
fn what_lies_too_deep_is_a_bad_record() {
    let files = Files::new();
    let deep = |levels: usize| {
        format!("{{\"instrument_id\":1,\"a\":{}{}}}\n", "[".repeat(levels), "]".repeat(levels))
    };
    let path = files.put("t.jsonl", format!("{}{}", deep(3), deep(1_000_000)));
    let error = said(Limits::default(), &path);
    assert!(
        error.ends_with("line 2: objects and lists lie more than 128 deep in each other (--max-depth)"),
        "{error}"
    );
    let limits = Limits { depth: 3, ..Limits::default() };
    assert!(said(limits, &path).contains("line 1: objects and lists lie more than 3 deep"));
    let limits = Limits { depth: 1_000_001, ..Limits::default() };
    let mut reader = trades(within(limits, &path), Fields::InRecord).expect("opens");
    assert!(read_all(&mut reader).is_ok(), "no stack is used for it");
    // One that does not end is none.
    let open = files.put("o.jsonl", format!("{{\"instrument_id\":1}}\n{}\n", "[".repeat(1_000_000)));
    assert!(said(Limits::default(), &open).contains("line 2: "));
}

#[test]
fn a_packed_file_unpacks_to_so_much_and_no_more() {
    let files = Files::new();
    let text = format!("instrument_id\n{}", "7\n".repeat(5_000));
    let packed = |name: &str, bytes: Vec<u8>| files.put(name, bytes);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(text.as_bytes()).expect("to memory");
    let gzip = packed("t.csv.gz", gzip.finish().expect("to memory"));
    let zstd = packed("t.csv.zst", zstd::encode_all(text.as_bytes(), 3).expect("to memory"));
    for path in [gzip, zstd] {
        let limits = Limits { unpacked_bytes: text.len() as u64, ..Limits::default() };
        let mut reader = trades(within(limits, &path), Fields::InRecord).expect("opens");
        assert!(read_all(&mut reader).is_ok());
        let limits = Limits { unpacked_bytes: text.len() as u64 - 1, ..Limits::default() };
        let error = said(limits, &path);
        assert!(error.ends_with("it unpacks to more than 10013 bytes (--max-unpacked)"), "{error}");
    }
}

/// A small file that unpacks to very much: blank lines, which make no record long.
#[test]
fn a_bomb_does_not_go_off() {
    let files = Files::new();
    let mut packer = zstd::Encoder::new(Vec::new(), 19).expect("a packer");
    packer.write_all(b"instrument_id\n1\n").expect("to memory");
    let blank = vec![b'\n'; 1 << 20];
    (0..100).for_each(|_| packer.write_all(&blank).expect("to memory"));
    let bomb = packer.finish().expect("to memory");
    let packed = bomb.len() as u64;
    let path = files.put("t.csv.zst", bomb);
    let limits = Limits { unpacked_ratio: (70 << 20) / packed, ..Limits::default() };
    let error = said(limits, &path);
    assert!(error.ends_with(" times its size (--max-ratio)"), "{error}");
}

/// Trades as Arrow IPC with packed buffers, in the format of files or of streams.
fn packed_arrow(is_file: bool, codec: CompressionType) -> Vec<u8> {
    let ids: ArrayRef = Arc::new(UInt32Array::from_iter_values((0..2_000).map(|id| id / 500)));
    let batch = RecordBatch::try_from_iter([("instrument_id", ids)]).expect("a batch");
    let options = IpcWriteOptions::default().try_with_compression(Some(codec));
    let options = options.expect("a codec");
    let mut bytes = Vec::new();
    if is_file {
        let mut writer =
            FileWriter::try_new_with_options(&mut bytes, &batch.schema(), options).expect("a writer");
        writer.write(&batch).and_then(|()| writer.finish()).expect("to memory");
    } else {
        let mut writer =
            StreamWriter::try_new_with_options(&mut bytes, &batch.schema(), options).expect("a writer");
        writer.write(&batch).and_then(|()| writer.finish()).expect("to memory");
    }
    bytes
}

#[test]
fn lengths_that_an_arrow_file_tells_are_not_believed() {
    let files = Files::new();
    for is_file in [true, false] {
        let good = packed_arrow(is_file, CompressionType::ZSTD);
        let path = files.put("t.arrow", &good);
        let mut reader = trades(input(&path), Fields::Typed).expect("opens");
        assert_eq!(
            read_all(&mut reader).expect("good").iter().map(|m| m.trades.num_rows()).sum::<usize>(),
            2_000
        );
        // Where the buffer says that it unpacks to 8,000 bytes it says 2^60.
        let says = 8_000_i64.to_le_bytes();
        let at = good.windows(8).rposition(|bytes| bytes == says).expect("a packed buffer");
        let mut bad = good.clone();
        bad[at..at + 8].copy_from_slice(&(1_i64 << 60).to_le_bytes());
        let error = said(Limits::default(), &files.put("t.arrow", bad));
        assert!(error.ends_with("is longer than 4 GiB (--max-message)"), "{error}");
        // A limit below what a good one needs.
        let limits = Limits { message_bytes: 7_999, ..Limits::default() };
        assert!(
            said(limits, &files.put("t.arrow", &good)).ends_with("is longer than 7999 bytes (--max-message)")
        );
        for cut in (0..32).chain((32..good.len()).step_by(7)) {
            let path = files.put("c.arrow", &good[..cut]);
            let category = match trades(input(&path), Fields::Typed) {
                Ok(mut reader) => read_all(&mut reader).err().map(|error| error.category()),
                Err(error) => Some(error.category()),
            };
            assert!(category.is_none_or(|category| category == Category::Data), "{cut}: {category:?}");
        }
    }
}

/// A claim within the limit of a message costs as much memory as it says.
#[test]
fn a_buffer_of_arrow_cannot_unpack_to_more_than_its_codec_packs() {
    let files = Files::new();
    for (codec, is_file) in [CompressionType::ZSTD, CompressionType::LZ4_FRAME]
        .into_iter()
        .flat_map(|codec| [(codec, true), (codec, false)])
    {
        let mut bytes = packed_arrow(is_file, codec);
        let at =
            bytes.windows(8).rposition(|bytes| bytes == 8_000_i64.to_le_bytes()).expect("a packed buffer");
        bytes[at..at + 8].copy_from_slice(&(1_i64 << 30).to_le_bytes());
        let path = files.put("t.arrow", bytes);
        assert!(said(Limits::default(), &path).ends_with("corrupt or cut off"));
        let mut reader = trades(input(&path), Fields::Typed);
        let read = reader.as_mut().map(|reader| read_all(reader).map(drop));
        let cause = match &read {
            Ok(read) => read.as_ref().expect_err("refused").source().expect("a cause").to_string(),
            Err(error) => error.source().expect("a cause").to_string(),
        };
        assert!(cause.ends_with(" bytes to 1073741824"), "{cause}");
    }
}
