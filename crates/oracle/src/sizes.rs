//! How many bytes a trade that waits is counted with.

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_schema::DataType;

/// 192 for what is kept about it, 24 for each added value, and its own values.
pub(crate) fn trade_bytes(trades: &RecordBatch, row: usize, added_len: usize) -> u64 {
    // Larger trades than 4 GiB count as that.
    (192 + 24 * added_len as u64 + own_bytes(trades, row)).min(u64::from(u32::MAX))
}

/// How many bytes a trade's own values are counted with.
pub(crate) fn own_bytes(trades: &RecordBatch, row: usize) -> u64 {
    trades.columns().iter().map(|column| value_bytes(column, row)).sum()
}

/// A text with what tells its length; 64 for what has no width.
fn value_bytes(column: &ArrayRef, row: usize) -> u64 {
    let bytes = match column.data_type() {
        DataType::Utf8 => 4 + column.as_string::<i32>().value(row).len(),
        DataType::Binary => 4 + column.as_binary::<i32>().value(row).len(),
        DataType::LargeUtf8 => 8 + column.as_string::<i64>().value(row).len(),
        DataType::LargeBinary => 8 + column.as_binary::<i64>().value(row).len(),
        DataType::Utf8View => 16 + column.as_string_view().value(row).len(),
        DataType::BinaryView => 16 + column.as_binary_view().value(row).len(),
        DataType::Boolean => 1,
        DataType::Dictionary(keys, _) => keys.primitive_width().unwrap_or(64),
        other => other.primitive_width().unwrap_or(64),
    };
    bytes as u64
}
