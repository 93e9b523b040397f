//! A few enriched trades as text, for people to look at.

use std::borrow::Cow;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_schema::{ArrowError, FieldRef, Schema};
use tradejoin_model::{Column, Enriched};

use crate::csv_rows;
use crate::json_rows::Members;
use crate::limits::Limits;
use crate::output::AddedColumn;
use crate::parse::json_text;
use crate::render::Cells;
use crate::trade_layout::{ENCODING_CSV, ENCODING_JSON, ENCODING_KEY, RECORDS_KEY};
use crate::values::{AddedValues, ValueEncoding};

/// A trade as text: its own fields, and what was added; null is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewRow {
    /// The trade's own fields.
    pub trade: Vec<String>,
    /// The added fields.
    pub added: Vec<String>,
}

/// The first `rows` trades of a batch that go on, their fields as CSV would
/// show them, or a note where that is impossible: what it is shown to is no reason to end a
/// run. `schema` is that of their source.
///
/// # Errors
/// If a column that was added has a type that no output can have.
pub fn preview(
    enriched: &Enriched,
    schema: &Schema,
    added: &[AddedColumn],
    rows: usize,
) -> Result<Vec<PreviewRow>, ArrowError> {
    let trades = enriched.trades();
    let values = AddedValues::of_all(added)?;
    let added = added.iter().zip(&values);
    let len = trades.num_rows();
    let added = added.map(|(added, values)| Cells::of_added_csv(&enriched.columns[added.index], values));
    let added: Vec<_> = added.map(|cells| Cells::or_note(cells, len)).collect();
    let texts =
        |cells: &[Cells<'_>], row| cells.iter().map(|cells| cells.to_text(row).unwrap_or_default()).collect();
    let rows = enriched.rows().take(rows);
    if let Some(records) = trades.columns().first().and_then(|column| column.as_binary_opt::<i32>())
        && let Some(encoding) = trades.schema_ref().metadata().get(RECORDS_KEY)
    {
        let fields = |row| record_fields(records.value(row), encoding, schema);
        return Ok(rows.map(|row| PreviewRow { trade: fields(row), added: texts(&added, row) }).collect());
    }
    let fields = schema.fields().iter().zip(trades.columns());
    let trade: Vec<_> =
        fields.map(|(field, array)| Cells::or_note(Cells::of_csv(array, field), len)).collect();
    Ok(rows.map(|row| PreviewRow { trade: texts(&trade, row), added: texts(&added, row) }).collect())
}

/// A field: its name and its text, if it has a value.
pub type NamedText = (String, Option<String>);

/// The fields of a trade, those of a block that does not hold whole records, as text.
///
/// # Errors
/// If a column has a type that cannot be shown.
pub fn trade_texts(trades: &RecordBatch, row: usize) -> Result<Vec<NamedText>, ArrowError> {
    let fields = trades.schema_ref().fields().iter().zip(trades.columns());
    let text = |(field, array): (&FieldRef, _)| {
        let text = Cells::of_csv(array, field)?.to_text(row);
        let is_token = field.metadata().get(ENCODING_KEY).is_some_and(|encoding| encoding == ENCODING_JSON);
        let text = if is_token { text.and_then(|token| Some(json_text(&token)?.into_owned())) } else { text };
        Ok((field.name().clone(), text.filter(|text| !text.is_empty())))
    };
    fields.map(text).collect()
}

/// What tables add to a trade, as text: `columns` are all that they add.
///
/// # Errors
/// If a column has a type that cannot be shown.
pub fn added_texts(
    added: &[AddedColumn],
    columns: &[Column],
    row: usize,
) -> Result<Vec<NamedText>, ArrowError> {
    let values = AddedValues::of_all(added)?;
    let text = |(added, values): (&AddedColumn, _)| {
        let text = Cells::of_added_csv(&columns[added.index], values)?.to_text(row);
        let text = match added.encoding {
            ValueEncoding::JsonToken => text.and_then(|token| Some(json_text(&token)?.into_owned())),
            _ => text,
        };
        Ok((added.name.clone(), text))
    };
    added.iter().zip(&values).map(text).collect()
}

/// The fields of a record as they stand in it.
fn record_fields(record: &[u8], encoding: &str, schema: &Schema) -> Vec<String> {
    // It came out of a text that is UTF-8.
    let text = std::str::from_utf8(record).unwrap_or_default();
    if encoding == ENCODING_CSV {
        let mut cells = Vec::new();
        csv_rows::split(text, &mut cells);
        return cells.into_iter().map(Cow::into_owned).collect();
    }
    let mut members = Members::within(Limits::NONE);
    let found = members.scan(record).is_ok();
    let token = |name: &str| members.get(text, name).filter(|_| found).unwrap_or_default().to_owned();
    schema.fields().iter().map(|field| token(field.name())).collect()
}
