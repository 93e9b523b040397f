//! Blocks whose added values are too long for an array, in parts that are not.

use std::ops::Range;

use tradejoin_model::Column;

use crate::text_encoder::Added;

/// Bytes of long values for which arrays are made at a time, unless one is longer: Arrow
/// counts those of a column in 31 bits.
pub(crate) const ARRAY_BYTES: usize = 1 << 30;
/// The same where a text is made of the arrays, which can be many times as long.
pub(crate) const SHOWN_BYTES: usize = ARRAY_BYTES / 8;

/// Cuts the rows of a block where the values of these columns come to more than `bytes_max`;
/// `None` if they do not. A longer row is a part by itself.
pub(crate) fn parts<'a>(
    columns: impl Iterator<Item = &'a Column> + Clone,
    rows: usize,
    bytes_max: usize,
) -> Option<Vec<Range<usize>>> {
    let texts = columns.filter_map(|column| match column {
        Column::Text(texts) => Some(texts),
        Column::Integers(_) | Column::Options(_) => None,
    });
    // No more than the memory that holds them: of nearly all blocks that is enough to know.
    if texts.clone().map(|texts| texts.memory_bytes()).sum::<usize>() <= bytes_max {
        return None;
    }
    let (mut parts, mut start, mut bytes) = (Vec::new(), 0, 0);
    for row in 0..rows {
        let of_row: usize = texts.clone().map(|texts| texts.get(row).map_or(0, <[u8]>::len)).sum();
        if bytes + of_row > bytes_max && row > start {
            parts.push(start..row);
            (start, bytes) = (row, 0);
        }
        bytes += of_row;
    }
    parts.push(start..rows);
    (parts.len() > 1).then_some(parts)
}

/// Copies of added columns that have these rows alone.
pub(crate) fn copies(added: &[Added<'_>], rows: &Range<usize>) -> Vec<Column> {
    // A block has no more rows than 32 bits can count.
    let rows: Vec<_> = rows.clone().map(|row| row as u32).collect();
    let copy = |column: &Column| {
        let mut copy = column.none_of_kind();
        copy.append_rows(column, &rows);
        copy
    };
    added.iter().map(|(column, _)| copy(column)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
    use arrow_schema::DataType;
    use arrow_select::concat::concat_batches;
    use tradejoin_model::{ColumnType, Enriched, Messages, TextColumn};

    use super::*;
    use crate::encoding::Format;
    use crate::output::{AddedColumn, OutputEncoder, OutputPiece};
    use crate::values::{ValueCodec, ValueEncoding};

    const ROWS: usize = 40;

    fn texts(values: impl Iterator<Item = Option<Vec<u8>>>) -> Column {
        let mut column = TextColumn::default();
        values.for_each(|value| column.push_bytes(value.as_deref()));
        Column::Text(column)
    }

    /// Texts, tokens, values of a type and integers; one of them long.
    fn added() -> (Vec<AddedColumn>, Vec<Column>) {
        let len = |row: usize| if row == 7 { 5_000 } else { row * 37 % 90 };
        let text = |row: usize| (!row.is_multiple_of(5)).then(|| vec![b'a' + (row % 26) as u8; len(row)]);
        let token = |row: usize| text(row).map(|text| [b"\"", text.as_slice(), b"\""].concat());
        let codec = ValueCodec::new(&DataType::Binary).expect("a type that is held");
        let bytes = (0..ROWS).map(text).collect::<Vec<_>>();
        let array: ArrayRef =
            Arc::new(bytes.iter().map(Option::as_deref).collect::<arrow_array::BinaryArray>());
        let rows = codec.encode(&array).expect("encoded");
        let columns = vec![
            texts((0..ROWS).map(text)),
            texts((0..ROWS).map(token)),
            texts(rows.iter().map(|row| Some(row.data().to_vec()))),
            Column::Integers((0..ROWS as i64).collect()),
        ];
        let plain = |name, ty, index| AddedColumn::plain(name, ty, index);
        let added = vec![
            plain("text", ColumnType::Text, 0),
            AddedColumn { encoding: ValueEncoding::JsonToken, ..plain("token", ColumnType::Text, 1) },
            AddedColumn {
                encoding: ValueEncoding::Arrow(DataType::Binary),
                ..plain("bytes", ColumnType::Bytes, 2)
            },
            plain("number", ColumnType::Integer, 3),
        ];
        (added, columns)
    }

    #[test]
    fn parts_have_all_rows_in_order_and_no_more_bytes_than_one_row_needs() {
        let columns = added().1;
        let lens = |row| -> usize {
            columns
                .iter()
                .map(|column| match column {
                    Column::Text(texts) => texts.get(row).map_or(0, <[u8]>::len),
                    _ => 0,
                })
                .sum()
        };
        for bytes_max in [0, 1, 90, 300, 6_000] {
            let parts = parts(columns.iter(), ROWS, bytes_max).expect("more than one");
            assert!(parts.iter().cloned().flatten().eq(0..ROWS), "{parts:?}");
            for pair in parts.windows(2) {
                let bytes: usize = pair[0].clone().map(lens).sum();
                assert!(bytes <= bytes_max || pair[0].len() == 1, "{bytes} of {bytes_max}");
                assert!(bytes + lens(pair[1].start) > bytes_max, "{bytes} of {bytes_max}");
            }
        }
        let all: usize = (0..ROWS).map(lens).sum();
        assert_eq!(parts(columns.iter(), ROWS, all), None);
        assert_eq!(parts(columns.iter(), ROWS, all - 1).map(|parts| parts.len()), Some(2));
        assert_eq!(parts(columns.iter(), 0, 0), None);
    }

    #[test]
    fn a_block_of_long_texts_comes_out_the_same_in_parts() {
        let ids: ArrayRef = Arc::new((0..ROWS as u32).collect::<UInt32Array>());
        let trades = RecordBatch::try_from_iter([("trade", ids)]).expect("a column");
        let (added, columns) = added();
        let enriched = |kept: Option<Vec<bool>>| Enriched {
            index: Default::default(),
            first_position: Default::default(),
            trades_before: 0,
            numbers: None,
            messages: Arc::new(Messages::new(trades.clone(), Vec::new(), Vec::new()).expect("no tables")),
            columns: columns.clone(),
            rows_kept: kept.as_ref().map_or(ROWS, |kept| kept.iter().filter(|kept| **kept).count()),
            kept,
            dead_letters: Vec::new(),
        };
        let all = [enriched(None), enriched(Some((0..ROWS).map(|row| row % 3 > 0).collect()))];
        for (format, enriched) in [Format::Arrow, Format::Parquet, Format::Csv, Format::JsonLines]
            .into_iter()
            .flat_map(|format| all.iter().map(move |enriched| (format, enriched)))
        {
            let encoder = OutputEncoder::new(&"out".into(), format, &trades.schema(), &added, false);
            let mut encoder = encoder.expect("a place for each column");
            let mut encoded = |bytes_max| {
                encoder.array_bytes = bytes_max;
                let mut piece = OutputPiece::default();
                encoder.encode_enriched(enriched, &mut piece).expect("encoded");
                let (text, batches) = piece.rows();
                let rows = batches.first().map(|first| concat_batches(&first.schema(), batches));
                (text.to_vec(), rows.transpose().expect("of one schema"), batches.len())
            };
            let (text, rows, batches) = encoded(ARRAY_BYTES);
            assert_eq!(batches, usize::from(!format.is_text()));
            assert!(rows.as_ref().is_none_or(|rows| rows.num_rows() == enriched.rows_kept));
            for bytes_max in [1, 100, 1_000] {
                let (in_parts, of_parts, batches) = encoded(bytes_max);
                assert!((in_parts, of_parts) == (text.clone(), rows.clone()), "{format:?} {bytes_max}");
                assert!(format.is_text() || batches > 1, "{format:?} {bytes_max}");
            }
        }
    }
}
