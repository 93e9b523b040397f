//! What bad input gets: an error that says where, or a count.

mod support;

use support::{Files, convert, input, keys, read_all, skipping, table, trades};
use tradejoin_connectors::{
    Category, Fields, InputOptions, Location, OpenError, Place, TableKind, TradesOptions, open_trades,
};
use tradejoin_flow::Source;

const LONG_LINE: usize = (16 << 20) + 1;

#[test]
fn a_bad_trade_is_named_or_skipped() {
    let long = format!("{{\"instrument_id\":1,\"price\":\"{}\"}}\n", "x".repeat(LONG_LINE));
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("csv", b"instrument_id,price\n1,2\n\nabc,3\n4,5\n".to_vec(), ", line 4, column instrument_id: \"abc\": not an unsigned integer"),
        ("csv", b"instrument_id,price\r\n1,\"a\r\nb\"\r\n,3\r\n4,5\r\n".to_vec(), ", line 4, column instrument_id: no value, but the column needs one"),
        ("csv", b"instrument_id,price\r1,2\r\rabc,3\r4,5\r".to_vec(), ", line 4, column instrument_id: \"abc\": not an unsigned integer"),
        ("csv", b"instrument_id,price\n1,2\n4294967296,3\n4,5\n".to_vec(), ", line 3, column instrument_id: \"4294967296\": an id has at most 32 bits: 0 to 4294967295"),
        ("csv", b"instrument_id,price\n1,2\n3\n4,5".to_vec(), ", line 3: 1 field, but the header has 2"),
        ("csv", b"instrument_id,price\n1,2\n3,4,5\n4,5".to_vec(), ", line 3: 3 fields, but the header has 2"),
        ("csv", b"instrument_id,price\n1,2\n3,\xFF\xFE\n4,5\n".to_vec(), ", line 3, column price: \"\u{FFFD}\u{FFFD}\": not valid UTF-8"),
        ("jsonl", b"{\"instrument_id\":1,\"price\":2}\n\n[3]\n{\"instrument_id\":4}\n".to_vec(), ", line 3: not a JSON object"),
        ("jsonl", b"{\"instrument_id\":1,\"price\":2}\n{\"instrument_id\":\n{\"instrument_id\":4}\n".to_vec(), ", line 2: broken JSON: EOF while parsing a value at byte 17"),
        ("jsonl", b"{\"instrument_id\":1}\n{\"instrument_id\":1.0}\n{\"instrument_id\":4}\n".to_vec(), ", line 2, column instrument_id: \"1.0\": not an unsigned integer"),
        ("jsonl", b"{\"instrument_id\":\"1\"}\n{\"instrument_id\":-1}\n{\"instrument_id\":4}\n".to_vec(), ", line 2, column instrument_id: \"-1\": not an unsigned integer"),
        ("jsonl", b"{\"instrument_id\":1}\n{\"instrument_id\":null}\n{\"instrument_id\":4}\n".to_vec(), ", line 2, column instrument_id: no value, but the column needs one"),
        ("jsonl", b"{\"instrument_id\":1}\n{\"instrument_id\":\"\"}\n{\"instrument_id\":4}\n".to_vec(), ", line 2, column instrument_id: no value, but the column needs one"),
        ("jsonl", b"{\"instrument_id\":1}\n{\"instrument_id\":2,\"instrument_id\":3}\n{\"instrument_id\":4}\n".to_vec(), ", line 2, column instrument_id: \"3\": the member stands twice in its object"),
        ("jsonl", b"{\"instrument_id\":1,\"s\":\"\"}\n{\"instrument_id\":2,\"s\":\"\\ud800\"}\n{\"instrument_id\":4}\n".to_vec(), ", line 2, column s: \"\\\"\\\\ud800\\\"\": not valid UTF-8"),
        ("jsonl", b"{\"instrument_id\":1}\n\xFF\n{\"instrument_id\":4}\n".to_vec(), ", line 2: not valid UTF-8"),
        ("jsonl", [b"{\"instrument_id\":1}\n", long.as_bytes(), b"{\"instrument_id\":4}\n"].concat(), ", line 2: longer than 16 MiB (--max-line)"),
    ];
    let files = Files::new();
    for (ending, bytes, expected) in cases {
        let path = files.put(&format!("trades.{ending}"), bytes);
        let error = read_all(&mut trades(input(&path), Fields::AsText).expect("opens")).expect_err(expected);
        assert_eq!(error.to_string(), format!("{}{expected}", path.display()));
        assert_eq!(error.category(), Category::Data);

        let (options, bad) = skipping(&path);
        let messages = read_all(&mut trades(options, Fields::AsText).expect("opens")).expect("skips");
        assert_eq!(keys(&messages), [Some(1), Some(4)], "{expected}");
        assert_eq!((bad.count(), messages.iter().map(|m| m.rejected).sum()), (1, 1), "{expected}");
        assert!(bad.first()[0].to_string().ends_with(expected));
    }
}

#[test]
fn a_late_member_is_not_dropped_without_a_word() {
    let files = Files::new();
    let lines = "{\"instrument_id\":1}\n".repeat(1_024);
    let path = files.put("late.jsonl", lines + "{\"instrument_id\":2,\"price\":1}\n");
    let error = read_all(&mut trades(input(&path), Fields::AsText).expect("opens")).expect_err("late");
    assert!(error.to_string().contains(", line 1025, column price: \"1\": no object"), "{error}");
}

#[test]
fn typed_cells_are_refused_rather_than_nulled() {
    let files = Files::new();
    for (column, value, why) in [
        ("price", "1.7x", "not a decimal number"),
        ("quantity", "0.0000000001", "more than 9 digits after the point; values are never rounded"),
        ("timestamp", "yesterday", "not a time; write RFC 3339 or integer nanoseconds since 1970-01-01 UTC"),
        ("trade_id", "18446744073709551616", "an integer that does not fit 64 bits"),
        ("user_id", "x", "not an unsigned integer"),
    ] {
        let path = files.put("t.csv", format!("instrument_id,{column}\n1,\n2,{value}\n"));
        let error = read_all(&mut trades(input(&path), Fields::Typed).expect("opens")).expect_err(value);
        let expected = format!("{}, line 3, column {column}: {value:?}: {why}", path.display());
        assert_eq!(error.to_string(), expected);
        let path = files.put(
            "t.jsonl",
            format!("{{\"instrument_id\":1}}\n{{\"instrument_id\":2,\"{column}\":{value:?}}}\n"),
        );
        assert!(read_all(&mut trades(input(&path), Fields::Typed).expect("opens")).is_err(), "{value}");
    }
}

#[test]
fn bad_rows_of_typed_files_have_their_number() {
    let files = Files::new();
    let source = files.put("ids.csv", "instrument_id,trade_id\n1,1\n2,4294967296\n3,\n4,4\n");
    for ending in ["parquet", "arrow"] {
        let path = files.path(&format!("ids.{ending}"));
        convert(&source, &path);
        // The keys are in a column of 64 bits that may be null.
        let open = |input| {
            tradejoin_connectors::open_trades(tradejoin_connectors::TradesOptions {
                limit: None,
                input,
                key_columns: vec!["instrument_id".into(), "trade_id".into()],
                fields: Fields::AsText,
            })
        };
        let error = read_all(&mut open(input(&path)).expect("opens")).expect_err("too large");
        assert!(error.to_string().contains(", row 2, column trade_id: \"4294967296\": an id has"), "{error}");
        let (options, bad) = skipping(&path);
        let messages = read_all(&mut open(options).expect("opens")).expect("skips");
        assert_eq!((keys(&messages), bad.count()), (vec![Some(1), Some(3), Some(4)], 1));
        let second: Vec<_> = messages.iter().flat_map(|m| m.keys[1].ids().iter()).collect();
        assert_eq!(second, [Some(1), None, Some(4)]);
    }
}

#[test]
fn columns_that_are_missing_or_twice_are_named() {
    let files = Files::new();
    let open = |name: &str, text: &str| {
        trades(input(&files.put(name, text)), Fields::AsText).err().map(|error| {
            assert_eq!(error.category(), Category::Data);
            error.to_string()
        })
    };
    let missing = open("t.csv", "id,px\n1,2\n").expect("no key");
    assert!(missing.ends_with("t.csv: no column instrument_id; the columns are: id, px"), "{missing}");
    assert_eq!(open("t.csv", ""), None, "an empty file has no trades");
    assert!(open("t.jsonl", "{\"id\":1}\n").expect("no key").contains("no column instrument_id"));
    assert_eq!(open("t.jsonl", ""), None);
    assert_eq!(open("t.csv", "\u{FEFF}instrument_id\r\n"), None);
    for header in ["instrument_id,a,a\n", "instrument_id,px,price\n"] {
        assert!(open("t.csv", header).expect("twice").contains("are the same column twice"));
    }
    let path = files.put("i.csv", "instrument_id,ticker,strike,expiry\n");
    let error = table(input(&path), TableKind::Instruments).err().expect("no type").to_string();
    assert!(
        error.contains("no column option_type (also read as type, right); the columns are: instr"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_opened_is_told_apart() {
    let files = Files::new();
    let missing = trades(input(&files.path("none.csv")), Fields::AsText).err().expect("missing");
    assert!(matches!(missing, OpenError::Missing { .. }) && missing.category() == Category::MissingInput);
    std::fs::create_dir(files.path("dir.csv")).expect("made");
    let dir = trades(input(&files.path("dir.csv")), Fields::AsText).err().expect("a directory");
    assert!(matches!(dir, OpenError::IsDirectory { .. }) && dir.category() == Category::MissingInput);
    let ending = InputOptions::new(Location::Path(files.path("t.xls"))).expect_err("unknown");
    assert_eq!(ending.category(), Category::Usage);
    assert!(InputOptions::new(Location::Standard).is_err());
}

#[test]
fn only_the_first_few_bad_records_are_kept() {
    let files = Files::new();
    let path = files.put("t.csv", format!("instrument_id\n{}", "x\n".repeat(100)));
    let (options, bad) = skipping(&path);
    let messages = read_all(&mut trades(options, Fields::AsText).expect("opens")).expect("skips");
    assert_eq!((bad.count(), bad.first().len()), (100, 5));
    assert_eq!(messages.iter().map(|m| m.rejected).sum::<u64>(), 100);
}

#[test]
fn the_bad_records_that_are_kept_are_the_first_whoever_decodes_them() {
    let files = Files::new();
    let rows: String =
        (2..40).map(|line| if line % 3 == 0 { "1\n".to_owned() } else { format!("x{line}\n") }).collect();
    let path = files.put("t.csv", format!("instrument_id\n{rows}"));
    let (options, bad) = skipping(&path);
    let mut reader = trades(InputOptions { batch_len: 2, ..options }, Fields::InRecord).expect("opens");
    let mut blocks = Vec::new();
    while let Some(block) = reader.next().expect("reads") {
        blocks.push(block);
    }
    let rejected: u64 = blocks.into_iter().rev().map(|block| block.decode().expect("skips").rejected).sum();
    let lines: Vec<_> = bad.first().iter().map(|bad| bad.place).collect();
    assert_eq!(lines, [2, 4, 5, 7, 8].map(Place::Line));
    assert_eq!((bad.count(), rejected), (25, 25));
}

#[test]
fn a_block_fails_where_its_record_is_bad_and_those_before_it_do_not() {
    let files = Files::new();
    let path = files.put("t.csv", "instrument_id\n1\n2\n3\nx\n5\ny\n");
    let mut reader = trades(InputOptions { batch_len: 2, ..input(&path) }, Fields::AsText).expect("opens");
    let blocks = std::iter::from_fn(|| reader.next().expect("reads"));
    let decoded: Vec<_> = blocks.map(|block| block.decode().map_err(|error| error.to_string())).collect();
    let [first, second, third] = decoded.as_slice() else { panic!("three blocks") };
    assert_eq!(first.as_ref().map(|messages| messages.trades.num_rows()), Ok(2));
    assert!(second.as_ref().is_err_and(|error| error.contains("line 5, column instrument_id: \"x\"")));
    assert!(third.as_ref().is_err_and(|error| error.contains("line 7, column instrument_id: \"y\"")));
}

#[test]
fn a_limit_counts_records_and_no_more_are_read() {
    let files = Files::new();
    let path = files.put("t.csv", "instrument_id\n1\n\nx\n\"3\"\n4\n\"open");
    for (limit, expected) in [(0, vec![]), (1, vec![1]), (2, vec![1]), (3, vec![1, 3]), (4, vec![1, 3, 4])] {
        for batch_len in 1..5 {
            let (options, bad) = skipping(&path);
            let mut reader = open_trades(TradesOptions {
                input: InputOptions { batch_len, ..options },
                limit: Some(limit),
                key_columns: vec!["instrument_id".into()],
                fields: Fields::AsText,
            })
            .expect("opens");
            let messages = read_all(&mut reader).expect("skips");
            assert_eq!(keys(&messages), expected.iter().map(|&key| Some(key)).collect::<Vec<_>>());
            assert_eq!(bad.count(), u64::from(limit >= 2));
        }
    }
}
