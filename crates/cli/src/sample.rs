//! A few trades before and after, to look at.

use std::sync::{Arc, Mutex, PoisonError};

use comfy_table::Table;
use tradejoin_connectors::{AddedColumn, PreviewRow, preview};
use tradejoin_flow::{BoxError, End, Sink};
use tradejoin_model::Enriched;

use crate::summary::plain_table;

/// How many trades are shown.
const ROWS: usize = 5;

/// The first enriched trades of a run, as text. Clones are the same sample.
#[derive(Clone, Debug)]
pub(crate) struct Sample(Arc<Mutex<Rows>>);

#[derive(Debug, Default)]
struct Rows {
    names: Vec<String>,
    added: Vec<AddedColumn>,
    rows: Vec<PreviewRow>,
}

/// A sink that keeps a sample of what it passes on.
pub(crate) struct Sampled<S> {
    sample: Sample,
    full: bool,
    inner: S,
}

impl Sample {
    /// An empty sample of trades to which `added` is added.
    pub(crate) fn new(added: Vec<AddedColumn>) -> Self {
        Self(Arc::new(Mutex::new(Rows { added, ..Rows::default() })))
    }

    /// A sink that fills this sample on the way to `inner`.
    pub(crate) fn of<S: Sink>(&self, inner: S) -> Sampled<S> {
        Sampled { sample: self.clone(), full: false, inner }
    }

    /// The trades before and after as a table, or `None` if none was enriched.
    pub(crate) fn table(&self) -> Option<Table> {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.rows.is_empty() {
            return None;
        }
        let added = rows.added.iter().map(|column| column.name.as_str());
        let header: Vec<&str> = rows.names.iter().map(String::as_str).chain(["→"]).chain(added).collect();
        let mut table = plain_table(&header, usize::MAX);
        for PreviewRow { trade, added } in &rows.rows {
            table.add_row(trade.iter().chain([&"→".to_owned()]).chain(added));
        }
        Some(table)
    }
}

impl<S: Sink> Sink for Sampled<S> {
    fn write(&mut self, enriched: &Enriched) -> Result<(), BoxError> {
        if !self.full {
            let mut rows = self.sample.0.lock().unwrap_or_else(PoisonError::into_inner);
            rows.take(enriched)?;
            self.full = rows.rows.len() >= ROWS;
        }
        self.inner.write(enriched)
    }

    fn finish(&mut self, end: End) -> Result<(), BoxError> {
        self.inner.finish(end)
    }
}

impl Rows {
    fn take(&mut self, enriched: &Enriched) -> Result<(), BoxError> {
        let fields = enriched.trades().schema();
        self.names = fields.fields().iter().map(|field| field.name().clone()).collect();
        self.rows.append(&mut preview(enriched, &self.added, ROWS - self.rows.len())?);
        Ok(())
    }
}
