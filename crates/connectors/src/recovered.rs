//! Recovered trades in the columns and types of the run that put them aside.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, Field, SchemaRef};
use arrow_select::concat::concat;

use crate::json_values::JsonArrays;
use crate::merge::MergeError;
use crate::parse::json_text;
use crate::render::Cells;
use crate::trade_layout::{ENCODING_JSON, ENCODING_KEY, RECORDS_KEY};

/// Rows with the columns of `schema`, in their order and types; whole records as they are.
/// `known` are the same rows, with the types of what is known of trades.
///
/// # Errors
/// If a value is none of its column's type. None is rounded, or taken for another.
pub(crate) fn as_in(
    rows: &RecordBatch,
    known: Option<&RecordBatch>,
    schema: &SchemaRef,
    enriched: &Arc<str>,
) -> Result<RecordBatch, MergeError> {
    if rows.schema_ref().metadata().contains_key(RECORDS_KEY) {
        return Ok(rows.clone());
    }
    let column = |field: &Arc<Field>| {
        let column = column(rows, known, field).and_then(|values| {
            let is_null = !field.is_nullable() && values.null_count() > 0;
            if is_null { Err("it has no nulls, and the trade has no value".into()) } else { Ok(values) }
        });
        column.map_err(|source| MergeError::Value {
            enriched: Arc::clone(enriched),
            column: field.name().clone(),
            source,
        })
    };
    let columns = schema.fields().iter().map(column).collect::<Result<_, _>>()?;
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|source| MergeError::Value {
        enriched: Arc::clone(enriched),
        column: String::new(),
        source: source.into(),
    })
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn column(rows: &RecordBatch, known: Option<&RecordBatch>, field: &Field) -> Result<ArrayRef, BoxError> {
    if let Some(values) = known.and_then(|known| known.column_by_name(field.name()))
        && *field.data_type() != DataType::Utf8
        && values.data_type() == field.data_type()
    {
        return Ok(Arc::clone(values));
    }
    // A list or a struct that no letter has is null.
    let Some(values) = rows.column_by_name(field.name()) else {
        return Ok(new_null_array(field.data_type(), rows.num_rows()));
    };
    let found = rows.schema_ref().field_with_name(field.name())?;
    let are_tokens = found.metadata().get(ENCODING_KEY).is_some_and(|encoding| encoding == ENCODING_JSON);
    if found == field || (values.data_type() == field.data_type() && !are_tokens) {
        return Ok(Arc::clone(values));
    }
    if !are_tokens {
        return Err(format!("its type is {}, not {}", field.data_type(), values.data_type()).into());
    }
    let cells = Cells::of_csv(values, found)?;
    let tokens = (0..rows.num_rows()).map(|row| cells.to_text(row).filter(|token| token != "null"));
    typed(field.data_type(), tokens)
}

/// The values of a type that tokens stand for.
fn typed(ty: &DataType, tokens: impl Iterator<Item = Option<String>>) -> Result<ArrayRef, BoxError> {
    if matches!(ty, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
        let texts = tokens.map(|token| json_text(&token?).map(|text| text.into_owned()));
        let texts: ArrayRef = Arc::new(texts.collect::<StringArray>());
        return Ok(cast(&texts, ty)?);
    }
    let null = new_null_array(ty, 1);
    let mut values = JsonArrays::new(ty)?;
    let mut array = |token: Option<String>| match token {
        None => Ok(Arc::clone(&null)),
        Some(token) => values.read(&token).map_err(|reason| format!("{token}: {reason}")),
    };
    let arrays = tokens.map(&mut array).collect::<Result<Vec<_>, _>>()?;
    let arrays: Vec<_> = arrays.iter().map(AsRef::as_ref).collect();
    let all = if arrays.is_empty() { new_null_array(ty, 0) } else { concat(&arrays)? };
    if all.data_type() == ty {
        Ok(all)
    } else {
        Err(ArrowError::CastError(format!("{} instead of {ty}", all.data_type())).into())
    }
}
