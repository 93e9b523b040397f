//! A few trades before and after, to look at.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_cast::display::{ArrayFormatter, FormatOptions};
use comfy_table::Table;
use tradejoin_flow::{BoxError, Sink};
use tradejoin_model::{Column, Enriched, TableSpec};

use crate::summary::plain_table;

/// How many trades are shown.
const ROWS: usize = 5;

/// The first enriched trades of a run, as text. Clones are the same sample.
#[derive(Clone, Debug)]
pub(crate) struct Sample(Arc<Mutex<Rows>>);

#[derive(Debug, Default)]
struct Rows {
    names: Vec<String>,
    added: Vec<String>,
    rows: Vec<(Vec<String>, Vec<String>)>,
}

/// A sink that keeps a sample of what it passes on.
pub(crate) struct Sampled<S> {
    sample: Sample,
    full: bool,
    inner: S,
}

impl Sample {
    /// An empty sample of trades joined with `tables`.
    pub(crate) fn new(tables: &[TableSpec]) -> Self {
        let added =
            tables.iter().flat_map(|table| &table.outputs).map(|output| output.name.clone()).collect();
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
        let header: Vec<&str> = rows
            .names
            .iter()
            .map(String::as_str)
            .chain(["→"])
            .chain(rows.added.iter().map(String::as_str))
            .collect();
        let mut table = plain_table(&header, usize::MAX);
        for (trade, added) in &rows.rows {
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

    fn finish(&mut self) -> Result<(), BoxError> {
        self.inner.finish()
    }
}

impl Rows {
    fn take(&mut self, enriched: &Enriched) -> Result<(), BoxError> {
        let trades = enriched.trades();
        let options = FormatOptions::default();
        let formatters: Vec<ArrayFormatter<'_>> = trades
            .columns()
            .iter()
            .map(|array| ArrayFormatter::try_new(array, &options))
            .collect::<Result<_, _>>()?;
        self.names = trades.schema().fields().iter().map(|field| field.name().clone()).collect();
        for row in enriched.rows().take(ROWS - self.rows.len()) {
            let trade =
                formatters.iter().map(|formatter| shorten(formatter.value(row).to_string())).collect();
            let added = enriched.columns.iter().map(|column| text(column, row)).collect();
            self.rows.push((trade, added));
        }
        Ok(())
    }
}

/// A decimal without the zeros at its end.
fn shorten(text: String) -> String {
    let is_decimal = text.contains('.') && text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-');
    if is_decimal { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn text(column: &Column, row: usize) -> String {
    match column {
        Column::Text(texts) => {
            texts.get(row).map(|b| String::from_utf8_lossy(b).into_owned()).unwrap_or_default()
        }
        Column::Integers(values) => values[row].to_string(),
        Column::Options(_) => String::new(),
    }
}
