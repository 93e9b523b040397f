//! Keys out of typed columns.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType};

use crate::error::OpenError;
use crate::flaw::{Flaw, Reason};
use crate::parse;
use crate::trade_layout::KeyColumn;
use tradejoin_model::ParseFieldError;

/// What a type of a key column is read through.
pub(crate) fn carrier(ty: &DataType) -> Option<DataType> {
    match ty {
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => Some(DataType::UInt64),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Some(DataType::Int64),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(DataType::Utf8),
        DataType::Dictionary(_, values) => carrier(values),
        // A column without any value.
        DataType::Null => Some(DataType::UInt64),
        _ => None,
    }
}

/// # Errors
/// If the column holds neither integers nor text.
pub(crate) fn check_key_type(source_name: &Arc<str>, column: &str, ty: &DataType) -> Result<(), OpenError> {
    match carrier(ty) {
        Some(_) => Ok(()),
        None => Err(OpenError::KeyType {
            source_name: Arc::clone(source_name),
            column: column.to_owned(),
            found: ty.to_string(),
        }),
    }
}

/// # Errors
/// If the column holds neither integers nor text.
pub(crate) fn check_key_part_type(
    source_name: &Arc<str>,
    column: &str,
    ty: &DataType,
) -> Result<(), OpenError> {
    match carrier(ty) {
        Some(_) => Ok(()),
        None => Err(OpenError::KeyPartType {
            source_name: Arc::clone(source_name),
            column: column.to_owned(),
            found: ty.to_string(),
        }),
    }
}

/// The keys of a batch in one column, and which of its rows are bad.
pub(crate) fn keys(
    batch: &RecordBatch,
    key: KeyColumn,
) -> Result<(UInt32Array, Vec<(usize, Flaw)>), ArrowError> {
    let array = batch.column(key.column);
    let name = batch.schema_ref().field(key.column).name();
    let carrier = carrier(array.data_type()).unwrap_or(DataType::Utf8);
    let array: ArrayRef =
        if *array.data_type() == carrier { Arc::clone(array) } else { cast(array, &carrier)? };
    let mut flaws = Vec::new();
    let mut read = |row: usize| match key_at(&array, row) {
        Some(Ok(key)) => Some(key),
        Some(Err((text, reason))) => {
            flaws.push((row, Flaw::cell(name, &text, reason)));
            None
        }
        None if key.required => {
            flaws.push((row, Flaw::empty(name)));
            None
        }
        None => None,
    };
    let keys = (0..array.len()).map(&mut read).collect();
    Ok((keys, flaws))
}

fn key_at(array: &ArrayRef, row: usize) -> Option<Result<u32, (String, Reason)>> {
    if array.is_null(row) {
        return None;
    }
    let too_large = |value: String| (value, ParseFieldError::IdTooLarge.into());
    Some(match array.data_type() {
        DataType::UInt64 => {
            let value = array.as_primitive::<UInt64Type>().value(row);
            u32::try_from(value).map_err(|_| too_large(value.to_string()))
        }
        DataType::Int64 => {
            let value = array.as_primitive::<Int64Type>().value(row);
            match u32::try_from(value) {
                Ok(key) => Ok(key),
                Err(_) if value < 0 => Err((value.to_string(), ParseFieldError::NotAnId.into())),
                Err(_) => Err(too_large(value.to_string())),
            }
        }
        _ => {
            let text = array.as_string::<i32>().value(row);
            if text.is_empty() {
                return None;
            }
            parse::id(text).map_err(|reason| (text.to_owned(), reason))
        }
    })
}
