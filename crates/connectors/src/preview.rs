//! A few enriched trades as text, for people to look at.

use arrow_schema::ArrowError;
use tradejoin_model::Enriched;

use crate::output::AddedColumn;
use crate::render::Cells;

/// A trade as text: its own fields, and what was added; null is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewRow {
    /// The trade's own fields.
    pub trade: Vec<String>,
    /// The added fields.
    pub added: Vec<String>,
}

/// The first `rows` trades of a batch that go on, their fields as CSV would
/// show them.
///
/// # Errors
/// If a column has a type that cannot be shown.
pub fn preview(
    enriched: &Enriched,
    added: &[AddedColumn],
    rows: usize,
) -> Result<Vec<PreviewRow>, ArrowError> {
    let schema = enriched.trades().schema();
    let fields = schema.fields().iter().zip(enriched.trades().columns());
    let trade: Vec<_> = fields.map(|(field, array)| Cells::of_csv(array, field)).collect::<Result<_, _>>()?;
    let added: Vec<_> = added
        .iter()
        .map(|added| Cells::of_added(&enriched.columns[added.index], added.column_type))
        .collect();
    let texts =
        |cells: &[Cells<'_>], row| cells.iter().map(|cells| cells.to_text(row).unwrap_or_default()).collect();
    let row = |row| PreviewRow { trade: texts(&trade, row), added: texts(&added, row) };
    Ok(enriched.rows().take(rows).map(row).collect())
}
