//! Whether all times of a column can be written.

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{Array as _, ArrayRef, UInt64Array};
use arrow_cast::cast;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType};
use arrow_select::take::take;

use crate::nested::children;

/// Refuses dates, times and durations, also within lists and structs, that are beyond what
/// has a text: where they are written, an error would go out as a value.
pub(crate) fn check_times(array: &ArrayRef) -> Result<(), ArrowError> {
    let checked = check(array);
    if checked.is_ok() || !array.data_type().is_nested() {
        return checked;
    }
    // What a list holds may belong to rows that are not written.
    let rows = UInt64Array::from_iter_values(0..array.len() as u64);
    check(&take(array, &rows, None)?)
}

fn check(array: &ArrayRef) -> Result<(), ArrowError> {
    children(array).iter().try_for_each(check)?;
    let is_time = array.data_type().is_temporal() && !matches!(array.data_type(), DataType::Interval(_));
    if !is_time {
        return Ok(());
    }
    let numbers = cast(array, &DataType::Int64)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    let rows = || numbers.iter().enumerate().filter_map(|(row, number)| Some((number?, row)));
    let options = FormatOptions::new();
    let formatter = ArrayFormatter::try_new(array, &options)?;
    // What has a text lies between two bounds: the least and the greatest tell of all.
    for (number, row) in rows().min().into_iter().chain(rows().max()) {
        let text = formatter.value(row).try_to_string();
        if text.is_err() || text.is_ok_and(|text| text == "<invalid>") {
            let ty = array.data_type();
            return Err(ArrowError::CastError(format!("{number} is beyond what {ty} can be as text")));
        }
    }
    Ok(())
}
