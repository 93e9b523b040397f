use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, UInt64Array};
use tradejoin_flow::{End, Sink as _};
use tradejoin_model::{Column, ColumnType, INTEGER_NULL};

use super::*;
use crate::encoding::{Encoding, Format, Location};
use crate::output::{AddedColumn, Output};

const ENCODINGS: [&str; 6] = ["csv", "csv.gz", "jsonl", "jsonl.zst", "parquet", "arrow"];

/// A trade: its id, and what was added.
type Trade = (u64, i64);

/// An output of trades, and a comparison with others.
fn compare(ending: &str, written: &[Trade], expected: &[Trade], any_order: bool) -> Compared {
    let dir = tempfile::tempdir().expect("a folder");
    let location = Location::Path(dir.path().join(format!("out.{ending}")));
    let encoding = Encoding::of_location(&location).expect("known");
    let options = OutputOptions {
        added: vec![AddedColumn::plain("lot", ColumnType::Integer, 0)],
        ..OutputOptions::new(location.clone(), encoding, trades(&[]).schema())
    };
    let mut output = Output::create(options.clone()).expect("a file");
    let mut piece = OutputPiece::default();
    output.encoder().encode_columns(&trades(written), &[lots(written)], &mut piece).expect("encoded");
    output.write_piece(&mut piece).expect("written");
    output.close(End::Complete).expect("written");
    let input = InputOptions::with_encoding(location, encoding);
    let options = ComparisonOptions { output: options, input, any_order, shown_max: 3 };
    let mut comparison = Comparison::open(options).expect("opens");
    assert_eq!(comparison.other_columns(), None);
    for part in expected.chunks(7) {
        let rows: Vec<_> = (0..part.len() as u32).collect();
        comparison.push(&trades(part), &rows, &[lots(part)]).expect("compared");
    }
    comparison.finish().expect("compared")
}

fn trades(trades: &[Trade]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(trades.iter().map(|&(id, _)| Some(id)).collect::<UInt64Array>());
    RecordBatch::try_from_iter_with_nullable([("trade_id", ids, true)]).expect("one column")
}

fn lots(trades: &[Trade]) -> Column {
    Column::Integers(trades.iter().map(|&(_, lot)| lot).collect())
}

fn some(count: u64) -> Vec<Trade> {
    (0..count).map(|id| (id, if id % 5 == 0 { INTEGER_NULL } else { id as i64 % 3 })).collect()
}

/// Altered, missing, extra.
fn counts(compared: &Compared) -> [u64; 3] {
    [compared.altered, compared.missing, compared.extra]
}

#[test]
fn equal_rows_are_equal_in_every_format_and_order() {
    let rows = some(5_000);
    let mut mixed = rows.clone();
    mixed.rotate_left(1_500);
    for ending in ENCODINGS {
        let compared = compare(ending, &rows, &rows, false);
        assert_eq!((counts(&compared), compared.rows_found), ([0; 3], 5_000), "{ending}");
        assert_eq!(counts(&compare(ending, &mixed, &rows, true)), [0; 3], "{ending}");
    }
}

#[test]
fn an_altered_a_missing_and_an_extra_row_are_told_apart() {
    let rows = some(5_000);
    let mut written = rows.clone();
    written[10].1 = 77;
    written.remove(3_000);
    written.insert(4_000, (9_999, 1));
    for ending in ENCODINGS {
        for any_order in [false, true] {
            let compared = compare(ending, &written, &rows, any_order);
            assert_eq!(counts(&compared), [1, 1, 1], "{ending}");
            let altered = &compared.differences[0];
            assert_eq!((altered.row, altered.trade_id.as_deref()), (11, Some("10")), "{ending}");
            assert_eq!(altered.cells.len(), 1);
            assert_eq!(altered.cells[0].column.as_deref(), Some("lot"));
            assert_eq!(altered.cells[0].found.as_deref(), Some("77"));
            let other = |kind| compared.differences.iter().find(|row| row.kind == kind).map(|row| row.row);
            assert_eq!(other(DifferenceKind::Extra), Some(4_001), "{ending}");
            if !any_order {
                assert_eq!(other(DifferenceKind::Missing), Some(3_001), "{ending}");
            }
        }
    }
}

#[test]
fn what_was_cut_or_sorted_is_told() {
    let rows = some(3_000);
    let cut = compare("csv", &rows[..2_000], &rows, false);
    assert_eq!((counts(&cut), cut.missing_at_end), ([0, 1_000, 0], 1_000));
    let mut sorted = rows.clone();
    sorted.reverse();
    assert!(compare("csv", &sorted, &rows, false).is_reordered);
    assert!(!compare("csv", &rows, &rows, false).is_reordered);
    sorted[7].1 = 77;
    assert!(!compare("csv", &sorted, &rows, false).is_reordered);
    let longer = compare("jsonl", &rows, &rows[..2_990], false);
    assert_eq!((counts(&longer), longer.differences.len()), ([0, 0, 10], 3));
}

#[test]
fn rows_are_equal_however_they_are_quoted() {
    let columns = ["a".to_owned(), "b".to_owned()];
    let rows = |text: &str, format| {
        let chunk = crate::chunks::Chunk { bytes: text.as_bytes().to_vec(), line: 1, ..Default::default() };
        let mut found = VecDeque::new();
        rows::push_text(&chunk, format, &columns, &mut found);
        found
    };
    assert_eq!(rows("1,x\n", Format::Csv), rows("\"1\",\"x\"\r\n", Format::Csv));
    let json = rows("{\"a\":1,\"b\":\"/\"}\n", Format::JsonLines);
    assert_eq!(json, rows("{\"b\": \"\\/\", \"a\": 1}\n", Format::JsonLines));
    assert_ne!(json, rows("{\"a\":1.0,\"b\":\"/\"}\n", Format::JsonLines));
    assert_ne!(rows("{\"a\":null}\n", Format::JsonLines), rows("{}\n", Format::JsonLines));
    for broken in
        rows("1\n1,2,3\n", Format::Csv).iter().chain(&rows("{\"a\":1\n{\"c\":1}\n", Format::JsonLines))
    {
        assert!(unreadable(broken).is_some());
    }
}
