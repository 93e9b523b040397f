//! The oldest timestamps of Parquet, `INT96`: a day and the nanoseconds in it.
//!
//! They are read as nanoseconds, as exact as they are, and the library lets those before 1677
//! or behind 2262 wrap around. Seconds never do: they tell which have.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, TimeUnit};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::Type;
use parquet::errors::ParquetError;
use parquet::schema::types::SchemaDescriptor;
use thiserror::Error;

use crate::nested::children;

/// A column has a timestamp that wrapped around.
#[derive(Debug, Error)]
#[error("column {column}: a timestamp that nanoseconds cannot hold")]
pub(crate) struct FarTime {
    pub(crate) column: String,
}

/// The metadata by which such timestamps are read as seconds; `None` if there are none.
pub(crate) fn in_seconds(
    metadata: &ArrowReaderMetadata,
) -> Result<Option<ArrowReaderMetadata>, ParquetError> {
    let leaves = metadata.parquet_schema().columns();
    if leaves.iter().all(|leaf| leaf.physical_type() != Type::INT96) {
        return Ok(None);
    }
    let mut are_int96 = leaves.iter().map(|leaf| leaf.physical_type() == Type::INT96);
    let schema = metadata.schema();
    let fields: Fields = schema.fields().iter().map(|field| of_field(field, &mut are_int96)).collect();
    let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
    let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options).map(Some)
}

/// Whether a column has such timestamps in it.
pub(crate) fn is_int96(schema: &SchemaDescriptor, root: usize) -> bool {
    let of_root = (0..schema.num_columns()).filter(|&leaf| schema.get_column_root_idx(leaf) == root);
    of_root.into_iter().any(|leaf| schema.column(leaf).physical_type() == Type::INT96)
}

/// The same field in seconds. Both schemas have their leaves in the same order.
fn of_field(field: &FieldRef, are_int96: &mut impl Iterator<Item = bool>) -> FieldRef {
    let mut inner = |field: &FieldRef| of_field(field, are_int96);
    let ty = match field.data_type() {
        DataType::List(item) => DataType::List(inner(item)),
        DataType::LargeList(item) => DataType::LargeList(inner(item)),
        DataType::FixedSizeList(item, len) => DataType::FixedSizeList(inner(item), *len),
        DataType::ListView(item) => DataType::ListView(inner(item)),
        DataType::LargeListView(item) => DataType::LargeListView(inner(item)),
        DataType::Map(entries, sorted) => DataType::Map(inner(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        leaf => match (are_int96.next(), leaf) {
            (Some(true), DataType::Timestamp(_, zone)) => DataType::Timestamp(TimeUnit::Second, zone.clone()),
            _ => leaf.clone(),
        },
    };
    Arc::new(Field::clone(field).with_data_type(ty))
}

/// Whether all timestamps are those that they are in seconds.
pub(crate) fn are_whole(values: &ArrayRef, seconds: &ArrayRef) -> bool {
    let (DataType::Timestamp(unit, _), DataType::Timestamp(TimeUnit::Second, _)) =
        (values.data_type(), seconds.data_type())
    else {
        let (values, seconds) = (children(values), children(seconds));
        return values.iter().zip(&seconds).all(|(values, seconds)| are_whole(values, seconds));
    };
    let in_second: i64 = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let integers = |times: &ArrayRef| cast(times, &DataType::Int64);
    let (Ok(values), Ok(seconds)) = (integers(values), integers(seconds)) else { return false };
    let pairs = values.as_primitive::<Int64Type>().iter();
    let mut pairs = pairs.zip(seconds.as_primitive::<Int64Type>());
    pairs.all(|(value, seconds)| value.map(|value| value.div_euclid(in_second)) == seconds)
}
