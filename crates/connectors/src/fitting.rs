//! Whether a format has a place for the columns of an output, before anything is read.

use arrow_array::new_empty_array;
use arrow_schema::{DataType, Field, FieldRef, IntervalUnit, SchemaRef};
use thiserror::Error;

use crate::encoding::Format;
use crate::output::AddedColumn;
use crate::render::Cells;
use crate::values::AddedValues;

/// A column that a format has no place for.
#[derive(Debug, Error)]
#[error(
    "column {} has the type {ty}, which {format} cannot hold{}: choose another format, or leave the column out",
    name.escape_debug(),
    reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default()
)]
pub(crate) struct Unfit {
    name: String,
    ty: DataType,
    format: &'static str,
    reason: Option<String>,
}

/// # Errors
/// If a column can have no value in the format.
pub(crate) fn check_columns(
    format: Format,
    trades: &SchemaRef,
    added: &[AddedColumn],
    values: &[AddedValues],
) -> Result<(), Unfit> {
    let own = trades.fields().iter().map(|field| check(format, field));
    let added = added.iter().zip(values);
    let added = added
        .map(|(added, values)| check(format, &Field::new(&added.name, values.arrow_type(), true).into()));
    own.chain(added).collect()
}

fn check(format: Format, field: &FieldRef) -> Result<(), Unfit> {
    let ty = field.data_type();
    let unfit = |format, reason| Err(Unfit { name: field.name().clone(), ty: ty.clone(), format, reason });
    // No text is made of no rows, but what would make it is there.
    let shown = match format {
        Format::Csv => Cells::of_csv(&new_empty_array(ty), field).map(drop),
        Format::JsonLines => Cells::of_json(&new_empty_array(ty), field).map(drop),
        Format::Parquet if !is_for_parquet(ty) => return unfit("Parquet", None),
        Format::Parquet | Format::Arrow => Ok(()),
    };
    let name = if format == Format::Csv { "CSV" } else { "JSON Lines" };
    shown.or_else(|error| unfit(name, Some(error.to_string())))
}

/// Whether the library writes values of the type; of a union it panics, and of others it
/// tells with the first rows.
fn is_for_parquet(ty: &DataType) -> bool {
    match ty {
        DataType::Union(..) | DataType::Interval(IntervalUnit::MonthDayNano) => false,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::Map(item, _)
        | DataType::RunEndEncoded(_, item) => is_for_parquet(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_for_parquet(field.data_type())),
        DataType::Dictionary(_, values) => is_for_parquet(values),
        _ => true,
    }
}
