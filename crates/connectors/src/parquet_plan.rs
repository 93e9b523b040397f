//! How the columns of a Parquet file are encoded: what its first rows suggest.

use std::hash::Hash;

use ahash::AHashSet;
use arrow_array::cast::AsArray as _;
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DECIMAL64_MAX_PRECISION, DataType, SchemaRef};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

/// How often values must stand on average for a dictionary of them to pay.
const REPEATS_MIN: usize = 2;

/// What holds whatever the rows are.
pub(crate) fn general(schema: &SchemaRef, row_group_len: usize) -> WriterPropertiesBuilder {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(row_group_len))
        // Groups are so small that statistics of their pages tell little more.
        .set_statistics_enabled(EnabledStatistics::Chunk);
    let fixed = schema.fields().iter().filter(|field| is_fixed_length(field.data_type()));
    // The library's smallest and largest value of such a column share the
    // memory of the whole block that they are from, until the file's end.
    fixed.fold(properties, |properties, field| {
        properties.set_column_statistics_enabled(path(field.name()), EnabledStatistics::None)
    })
}

/// The encodings of columns that begin as `columns` do, in the order of `schema`:
/// no dictionary of values that hardly repeat, which is dear to build and then
/// as large as the values.
pub(crate) fn with_encodings(
    mut properties: WriterPropertiesBuilder,
    schema: &SchemaRef,
    columns: &[Vec<ArrayRef>],
) -> WriterProperties {
    for (field, pieces) in schema.fields().iter().zip(columns) {
        let Some(encoding) = direct_encoding(field.data_type()) else { continue };
        if hardly_repeat(pieces) {
            properties = properties
                .set_column_dictionary_enabled(path(field.name()), false)
                .set_column_encoding(path(field.name()), encoding);
        }
    }
    properties.build()
}

fn path(name: &str) -> ColumnPath {
    ColumnPath::new(vec![name.to_owned()])
}

/// How values of a type are encoded without a dictionary, in a way that programs
/// read that are some years old; `None` where the choice is the library's.
fn direct_encoding(ty: &DataType) -> Option<Encoding> {
    match ty {
        DataType::Int32
        | DataType::Int64
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Date32
        | DataType::Timestamp(..) => Some(Encoding::DELTA_BINARY_PACKED),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary => {
            Some(Encoding::DELTA_LENGTH_BYTE_ARRAY)
        }
        DataType::Decimal128(..) | DataType::Float64 => Some(Encoding::PLAIN),
        _ => None,
    }
}

/// Whether values of a type that has a [`direct_encoding`] hardly repeat.
fn hardly_repeat(pieces: &[ArrayRef]) -> bool {
    let len: usize = pieces.iter().map(|piece| piece.len() - piece.null_count()).sum();
    let few = len / REPEATS_MIN;
    match pieces.first().map(|piece| piece.data_type()) {
        Some(DataType::Utf8) => are_more(few, pieces, |piece| piece.as_string::<i32>().iter()),
        Some(DataType::LargeUtf8) => are_more(few, pieces, |piece| piece.as_string::<i64>().iter()),
        Some(DataType::Binary) => are_more(few, pieces, |piece| piece.as_binary::<i32>().iter()),
        Some(DataType::LargeBinary) => are_more(few, pieces, |piece| piece.as_binary::<i64>().iter()),
        Some(ty) => {
            let Some(width) = ty.primitive_width() else { return false };
            let pieces: Vec<_> = pieces.iter().map(Array::to_data).collect();
            are_more(few, &pieces, |piece| {
                let values = &piece.buffers()[0][piece.offset() * width..];
                let values = values.chunks_exact(width).take(piece.len());
                values.enumerate().map(|(row, value)| piece.is_valid(row).then_some(value))
            })
        }
        None => false,
    }
}

/// Whether there are more than `few` different values.
fn are_more<'a, P, V: Hash + Eq, I: Iterator<Item = Option<V>>>(
    few: usize,
    pieces: &'a [P],
    values: impl Fn(&'a P) -> I,
) -> bool {
    let mut different = AHashSet::new();
    pieces.iter().flat_map(values).flatten().any(|value| different.insert(value) && different.len() > few)
}

/// Whether Parquet has the type as byte arrays of one length: decimals that do
/// not fit 64 bits, among others.
fn is_fixed_length(ty: &DataType) -> bool {
    match ty {
        DataType::Decimal128(precision, _) => *precision > DECIMAL64_MAX_PRECISION,
        DataType::Decimal256(..)
        | DataType::FixedSizeBinary(_)
        | DataType::Interval(_)
        | DataType::Float16 => true,
        _ => false,
    }
}
