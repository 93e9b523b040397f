//! The times of trades out of typed columns.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, TimeUnit};

use crate::error::OpenError;
use crate::flaw::{Flaw, Reason};
use crate::parse;

/// How many of a unit are a second, and how many digits behind it that makes.
pub(crate) const fn per_second(unit: TimeUnit) -> (i64, usize) {
    match unit {
        TimeUnit::Second => (1, 0),
        TimeUnit::Millisecond => (1_000, 3),
        TimeUnit::Microsecond => (1_000_000, 6),
        TimeUnit::Nanosecond => (1_000_000_000, 9),
    }
}

/// What a type of a column of times is read through, and how many nanoseconds
/// one of its integers stands for.
fn carrier(ty: &DataType) -> Option<(DataType, i64)> {
    match ty {
        DataType::Timestamp(TimeUnit::Second, _) => Some((DataType::Int64, 1_000_000_000)),
        DataType::Timestamp(TimeUnit::Millisecond, _) => Some((DataType::Int64, 1_000_000)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Some((DataType::Int64, 1_000)),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => Some((DataType::Int64, 1)),
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
            Some((DataType::UInt64, 1))
        }
        ty if ty.is_signed_integer() => Some((DataType::Int64, 1)),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some((DataType::Utf8, 1)),
        DataType::Dictionary(_, values) => carrier(values),
        // A column without any value.
        DataType::Null => Some((DataType::Int64, 1)),
        _ => None,
    }
}

/// # Errors
/// If the column holds neither timestamps nor integers nor text.
pub(crate) fn check_time_type(source_name: &Arc<str>, column: &str, ty: &DataType) -> Result<(), OpenError> {
    match carrier(ty) {
        Some(_) => Ok(()),
        None => Err(OpenError::TimeType {
            source_name: Arc::clone(source_name),
            column: column.to_owned(),
            found: ty.to_string(),
        }),
    }
}

/// The times of a batch in one column, and which of its rows are bad.
pub(crate) fn times(
    batch: &RecordBatch,
    column: usize,
) -> Result<(Int64Array, Vec<(usize, Flaw)>), ArrowError> {
    let array = batch.column(column);
    let name = batch.schema_ref().field(column).name();
    let (carrier, unit) = carrier(array.data_type()).unwrap_or((DataType::Utf8, 1));
    let array: ArrayRef =
        if *array.data_type() == carrier { Arc::clone(array) } else { cast(array, &carrier)? };
    let mut flaws = Vec::new();
    let mut read = |row: usize| match time_at(&array, row, unit)? {
        Ok(time) => Some(time),
        Err((text, reason)) => {
            flaws.push((row, Flaw::cell(name, &text, reason)));
            None
        }
    };
    let times = (0..array.len()).map(&mut read).collect();
    Ok((times, flaws))
}

fn time_at(array: &ArrayRef, row: usize, unit: i64) -> Option<Result<i64, (String, Reason)>> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Int64 => {
            let value = array.as_primitive::<Int64Type>().value(row);
            // The smallest stands for no time at all.
            let time = value.checked_mul(unit).filter(|&time| time != i64::MIN);
            time.ok_or_else(|| (value.to_string(), parse::beyond(value < 0)))
        }
        DataType::UInt64 => {
            let value = array.as_primitive::<UInt64Type>().value(row);
            i64::try_from(value).map_err(|_| (value.to_string(), parse::beyond(false)))
        }
        _ => {
            let text = array.as_string::<i32>().value(row);
            if text.is_empty() {
                return None;
            }
            parse::timestamp(text).map_err(|reason| (text.to_owned(), reason))
        }
    })
}
