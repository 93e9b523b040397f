//! A reader that goes on where another one has been: nothing twice, nothing left out.

mod support;

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_select::concat::concat_batches;
use proptest::prelude::*;
use support::{Files, input, read_all, skipping};
use tradejoin_connectors::{
    BadRecords, Category, Fields, InputOptions, Place, TradeReader, TradesOptions, open_trades,
};
use tradejoin_flow::InputPosition;
use tradejoin_model::Messages;

/// All that comes of some trades.
#[derive(Clone, Debug, Default, PartialEq)]
struct All {
    rows: Vec<RecordBatch>,
    keys: Vec<Option<u32>>,
    rejected: u64,
    places: Vec<Place>,
}

impl All {
    fn add(&mut self, messages: &Messages) {
        self.rows.push(messages.trades.clone());
        self.keys.extend(messages.keys[0].ids().iter());
        self.rejected += messages.rejected;
    }

    /// With the rows as one batch.
    fn whole(mut self, bad: &[&BadRecords]) -> Self {
        self.places = bad.iter().flat_map(|bad| bad.first()).map(|bad| bad.place).collect();
        if let Some(first) = self.rows.first() {
            self.rows = vec![concat_batches(&first.schema(), &self.rows).expect("alike")];
        }
        Self { rows: self.rows.into_iter().filter(|rows| rows.num_rows() > 0).collect(), ..self }
    }
}

fn open(path: &Path, batch_len: usize, limit: Option<u64>) -> (TradeReader, BadRecords) {
    let (input, bad) = skipping(path);
    let input = InputOptions { batch_len, ..input };
    let key_columns = vec!["instrument_id".into()];
    let options = TradesOptions { input, limit, key_columns, fields: Fields::AsText };
    (open_trades(options).expect("opens"), bad)
}

/// Cuts the trades between any two blocks.
fn check_cuts(path: &Path, lens: [usize; 2], limit: Option<u64>) -> Result<(), TestCaseError> {
    let (mut whole, bad) = open(path, 1_000, limit);
    let mut expected = All::default();
    read_all(&mut whole).expect("skips").iter().for_each(|messages| expected.add(messages));
    let expected = expected.whole(&[&bad]);
    let (mut first, bad) = open(path, lens[0], limit);
    let mut before = All::default();
    loop {
        let position = first.position().expect("a file");
        prop_assert_eq!(position.records, before.keys.len() as u64 + before.rejected);
        let (mut second, bad_behind) = open(path, lens[1], limit);
        second.go_on_from(&position).expect("the same file");
        let again = second.position();
        prop_assert_eq!(again.as_ref(), Some(&position));
        let mut both = before.clone();
        read_all(&mut second).expect("skips").iter().for_each(|messages| both.add(messages));
        prop_assert_eq!(&both.whole(&[&bad, &bad_behind]), &expected, "at {:?}", position);
        match first.read().expect("skips") {
            Some(messages) => before.add(&messages),
            None => return Ok(()),
        }
    }
}

/// A text of trades, packed as the name says.
fn put_text(files: &Files, name: &str, text: &str) -> std::path::PathBuf {
    let bytes = match name.rsplit('.').next() {
        Some("gz") => {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(text.as_bytes()).expect("in memory");
            packer.finish().expect("in memory")
        }
        Some("zst") => zstd::encode_all(text.as_bytes(), 1).expect("in memory"),
        _ => text.as_bytes().to_vec(),
    };
    files.put(name, bytes)
}

fn typed_rows(ids: &[&str], first: usize) -> RecordBatch {
    let notes: Int64Array = (first..first + ids.len()).map(|row| row as i64).collect();
    let columns: [(&str, ArrayRef); 2] =
        [("instrument_id", Arc::new(StringArray::from(ids.to_vec()))), ("note", Arc::new(notes))];
    RecordBatch::try_from_iter(columns).expect("as long")
}

/// Row groups and batches of these lengths.
fn put_typed(files: &Files, ids: &[&str], lens: &[usize]) -> [std::path::PathBuf; 2] {
    let schema = typed_rows(&[], 0).schema();
    let mut parquet = parquet::arrow::ArrowWriter::try_new(Vec::new(), schema.clone(), None).expect("begun");
    let mut arrow = arrow_ipc::writer::FileWriter::try_new(Vec::new(), &schema).expect("begun");
    let (mut at, mut lens) = (0, lens.iter().copied().cycle());
    while at < ids.len() {
        let end = ids.len().min(at + lens.next().unwrap_or(1));
        let rows = typed_rows(&ids[at..end], at);
        parquet.write(&rows).expect("in memory");
        parquet.flush().expect("in memory");
        arrow.write(&rows).expect("in memory");
        at = end;
    }
    let parquet = parquet.into_inner().expect("in memory");
    [files.put("t.parquet", parquet), files.put("t.arrow", arrow.into_inner().expect("in memory"))]
}

fn csv() -> impl Strategy<Value = String> {
    // At most as many bad ones as are kept to be named.
    let good = "([1-9][0-9]{0,3},([a-z]{0,4}|\"[a-z,\n\r]{0,4}(\"\")?é\")(\n|\r\n|\n\n|\r\n\r\n|\r)){0,9}";
    let bad = "((x,y|1|7,a,b|,\"b\nc\")(\n|\r\n|\r))?";
    let mark = prop_oneof![Just(""), Just("\u{feff}")];
    let end = prop_oneof![Just(""), Just("5,last"), Just("6,\"last\n\"")];
    (mark, prop_oneof![Just("\n"), Just("\r\n"), Just("\r"), Just("\n\n")], good, bad, good, bad, good, end)
        .prop_map(|(mark, line, a, b, c, d, e, end)| {
            format!("{mark}instrument_id,note{line}{a}{b}{c}{d}{e}{end}")
        })
}

fn lines() -> impl Strategy<Value = String> {
    let good =
        "(\\{\"instrument_id\":[1-9][0-9]{0,3},\"note\":\"[a-zé]{0,4}\"\\}(\n|\r\n|\n\n|\n  \r\n)){0,9}";
    let bad = "((\\{\"instrument_id\":\"x\"\\}|\\{|\\[\\])\n)?";
    let mark = prop_oneof![Just(""), Just("\u{feff}")];
    let end = prop_oneof![Just(""), Just("{\"instrument_id\":5,\"note\":\"last\"}"), Just("  ")];
    let first = "{\"instrument_id\":1,\"note\":null}\n";
    (mark, good, bad, good, bad, good, end)
        .prop_map(move |(mark, a, b, c, d, e, end)| format!("{mark}{first}{a}{b}{c}{d}{e}{end}"))
}

fn limit() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![2 => Just(None), 1 => (0..30_u64).prop_map(Some)]
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 300, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn texts_go_on_at_any_block(csv in csv(), lines in lines(), lens in [1..6_usize, 1..6_usize], limit in limit()) {
        let files = Files::new();
        for (ending, text) in [("csv", &csv), ("jsonl", &lines)] {
            for packed in ["", ".gz", ".zst"] {
                check_cuts(&put_text(&files, &format!("t.{ending}{packed}"), text), lens, limit)?;
            }
        }
    }

    #[test]
    fn typed_files_go_on_at_any_block(
        bad in proptest::collection::vec(0..40_usize, 0..5),
        rows in 0..40_usize,
        groups in proptest::collection::vec(1..9_usize, 1..4),
        lens in [1..9_usize, 1..9_usize],
        limit in limit(),
    ) {
        let files = Files::new();
        let ids: Vec<_> = (0..rows).map(|row| if bad.contains(&row) { "x" } else { "7" }).collect();
        for path in put_typed(&files, &ids, &groups) {
            check_cuts(&path, lens, limit)?;
        }
    }
}

#[test]
fn lines_of_a_csv_are_the_same_whatever_ends_them() -> Result<(), TestCaseError> {
    let files = Files::new();
    for end in ["\n", "\r\n", "\r"] {
        let rows = [
            "instrument_id,note",
            "1,a",
            "x,bad",
            "",
            "2,\"b",
            "c\"",
            "3,d",
            "",
            "",
            "y,bad",
            "4",
            "5,e",
            "",
        ];
        for packed in ["", ".gz"] {
            let path = put_text(&files, &format!("t.csv{packed}"), &rows.join(end));
            let (mut whole, bad) = open(&path, 1_000, None);
            read_all(&mut whole).expect("skips");
            let places: Vec<_> = bad.first().iter().map(|bad| bad.place).collect();
            assert_eq!(places, [3, 10, 11].map(Place::Line), "{end:?}");
            for lens in (1..8).flat_map(|first| (1..8).map(move |second| [first, second])) {
                check_cuts(&path, lens, None)?;
            }
        }
    }
    Ok(())
}

#[test]
fn a_long_text_goes_on_far_behind_its_buffer() {
    let files = Files::new();
    let rows: String = (0..60_000).map(|row| format!("{row},\"note\r\nof {row}\"\r\n")).collect();
    let text = format!("\u{feff}instrument_id,note\r\n{rows}x,bad\r\n");
    for ending in ["csv", "csv.gz", "csv.zst"] {
        let path = put_text(&files, &format!("t.{ending}"), &text);
        let mut first = open(&path, 8_192, None).0;
        for _ in 0..6 {
            first.read().expect("good");
        }
        let position = first.position().expect("a file");
        let progress = tradejoin_connectors::Progress::default();
        let options = InputOptions { progress: progress.clone(), ..input(&path) };
        let mut second = support::trades(options, Fields::InRecord).expect("opens");
        second.go_on_from(&position).expect("the same");
        let keys = support::keys(&[second.read().expect("good").expect("rows")]);
        assert_eq!((keys[0], keys.len()), (Some(6 * 8_192), 8_192), "{ending}");
        let error = read_all(&mut second).expect_err("a bad record").to_string();
        assert!(error.contains("line 120002, column instrument_id: \"x\""), "{error}");
        assert_eq!(Some(progress.bytes_read()), progress.bytes_total(), "{ending}");
    }
}

/// A place behind the second trade.
fn two_in(path: &Path) -> InputPosition {
    let mut reader = open(path, 2, None).0;
    reader.read().expect("good");
    reader.position().expect("a file")
}

fn refused(path: &Path, position: &InputPosition) -> String {
    let error = open(path, 2, None).0.go_on_from(position).expect_err("another file");
    assert_eq!(error.category(), Category::Data);
    error.to_string()
}

#[test]
fn another_file_is_refused() {
    let files = Files::new();
    let text = "instrument_id,note\n1,a\n2,b\n3,c\n4,d\n";
    let path = files.put("t.csv", text);
    let position = two_in(&path);
    files.put("t.csv", text.replace("3,c", "3,x"));
    let head = refused(&path, &position);
    assert!(
        head.contains(
            "t.csv: it is not the input that the checkpoint was made of: its first 35 bytes differ"
        ),
        "{head}"
    );
    files.put("t.csv", "instrument_id,note\n1,a\n");
    assert!(refused(&path, &position).contains("it has 23 bytes, fewer than the 35 that were there"));
    let rows = |change: &str| {
        let rows: String = (0..2_000).map(|row| format!("{row},{}\n", row * 7)).collect();
        format!("instrument_id,note\n{}", rows.replace("\n1500,10500\n", change))
    };
    let path = files.put("long.csv", rows("\n1500,10500\n"));
    let mut reader = open(&path, 1_600, None).0;
    reader.read().expect("good");
    let position = reader.position().expect("a file");
    files.put("long.csv", rows("\n1500,10501\n"));
    let tail = refused(&path, &position);
    assert!(tail.contains("the 4096 bytes from byte "), "{tail}");
    // What stands behind the place may be anything, and more may have come.
    files.put("long.csv", rows("\n1500,10500\n") + "9,9\n");
    let mut reader = open(&path, 1_000, None).0;
    reader.go_on_from(&position).expect("it has grown");
    let keys = support::keys(&read_all(&mut reader).expect("good"));
    assert_eq!((keys.len(), keys.last()), (401, Some(&Some(9))));
}

#[test]
fn a_line_without_an_end_must_not_grow() {
    let files = Files::new();
    for ending in ["csv", "csv.gz", "csv.zst"] {
        let name = format!("t.{ending}");
        let text = "instrument_id,note\n1,a\n2,b";
        let path = put_text(&files, &name, text);
        let mut position = two_in(&path);
        put_text(&files, &name, &format!("{text}\n3,c\n"));
        if ending != "csv" {
            // What is packed is other bytes.
            (position.file_bytes, position.head, position.tail) = (None, None, None);
        }
        let mut reader = open(&path, 9, None).0;
        reader.go_on_from(&position).expect("the line has its end");
        assert_eq!(support::keys(&read_all(&mut reader).expect("good")), [Some(3)], "{ending}");
        put_text(&files, &name, &format!("{text}c\n"));
        let error = refused(&path, &position);
        assert!(error.contains("its last line then, line 3, had no end"), "{error}");
        put_text(&files, &name, "instrument_id,note\n1,a\n");
        let error = refused(&path, &position);
        let shorter = if ending == "csv" { "fewer than the" } else { "it ends before what was read" };
        assert!(error.contains(shorter), "{error}");
    }
}

#[test]
fn a_typed_file_must_be_the_same_to_its_end() {
    let files = Files::new();
    let mut positions = Vec::new();
    for path in put_typed(&files, &["1"; 9], &[3]) {
        positions.push(two_in(&path));
    }
    for (path, position) in put_typed(&files, &["1"; 12], &[3]).iter().zip(&positions) {
        assert!(refused(path, position).contains(" bytes, and had "));
    }
    for (path, position) in put_typed(&files, &["2"; 9], &[3]).iter().zip(&positions) {
        assert!(refused(path, position).contains("bytes differ"));
    }
}

#[test]
fn a_file_that_is_cut_off_while_it_is_read_is_an_error() {
    let files = Files::new();
    let rows: String = (0..100_000).map(|row| format!("{row},{}\n", row * 7_919 % 1_000_003)).collect();
    let text = format!("instrument_id,note\n{rows}");
    for ending in ["csv", "csv.gz", "csv.zst"] {
        let path = put_text(&files, &format!("t.{ending}"), &text);
        let bytes = path.metadata().expect("there").len();
        let mut reader = open(&path, 1_000, None).0;
        reader.read().expect("good");
        let left = bytes * 3 / 4;
        std::fs::OpenOptions::new().write(true).open(&path).expect("opens").set_len(left).expect("shorter");
        let error = read_all(&mut reader).expect_err("cut off");
        let cause = std::error::Error::source(&error).expect("a cause").to_string();
        let expected =
            format!("it has become shorter while it was read: {bytes} bytes were there, {left} are left");
        assert_eq!((error.category(), cause), (Category::Data, expected), "{ending}");
    }
    let ids: Vec<_> = (0..20_000).map(|_| "1").collect();
    for path in put_typed(&files, &ids, &[1_000]) {
        let bytes = path.metadata().expect("there").len();
        let mut reader = open(&path, 1_000, None).0;
        reader.read().expect("good");
        std::fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .expect("opens")
            .set_len(bytes / 2)
            .expect("shorter");
        assert_eq!(read_all(&mut reader).expect_err("cut off").category(), Category::Data);
    }
}

#[test]
fn a_file_that_is_replaced_is_read_to_its_end() {
    let files = Files::new();
    let rows: String = (0..100_000).map(|row| format!("{row},{row}\n")).collect();
    let path = files.put("t.csv", format!("instrument_id,note\n{rows}"));
    let mut reader = open(&path, 1_000, None).0;
    reader.read().expect("good");
    std::fs::rename(files.put("new.csv", "instrument_id,note\n7,new\n"), &path).expect("replaced");
    let position = reader.position().expect("the open file");
    assert_eq!(read_all(&mut reader).expect("good").len(), 99);
    // By its name it is another one.
    refused(&path, &position);
}
