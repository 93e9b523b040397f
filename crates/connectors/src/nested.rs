//! Arrays within arrays.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef};
use arrow_schema::DataType;

/// The arrays that an array is made of; none if it is of plain values.
pub(crate) fn children(array: &ArrayRef) -> Vec<ArrayRef> {
    let one = |values: &ArrayRef| vec![Arc::clone(values)];
    match array.data_type() {
        DataType::List(_) => one(array.as_list::<i32>().values()),
        DataType::LargeList(_) => one(array.as_list::<i64>().values()),
        DataType::ListView(_) => one(array.as_list_view::<i32>().values()),
        DataType::LargeListView(_) => one(array.as_list_view::<i64>().values()),
        DataType::FixedSizeList(..) => one(array.as_fixed_size_list().values()),
        DataType::Map(..) => array.as_map().entries().columns().to_vec(),
        DataType::Struct(_) => array.as_struct().columns().to_vec(),
        DataType::Dictionary(..) => one(array.as_any_dictionary().values()),
        _ => Vec::new(),
    }
}
