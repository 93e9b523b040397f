//! A few trades before and after, to look at.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use comfy_table::Table;
use tradejoin_connectors::{AddedColumn, PreviewRow, preview};
use tradejoin_flow::{BoxError, Encode, End, Sink};
use tradejoin_model::Enriched;

use crate::summary::plain_table;

/// How many trades are shown.
const ROWS: usize = 5;

/// The first enriched trades of a run, as text. Clones are the same sample.
#[derive(Clone, Debug)]
pub(crate) struct Sample(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    rows: Mutex<Rows>,
    /// Whether more would not be shown.
    full: AtomicBool,
}

#[derive(Debug, Default)]
struct Rows {
    names: Vec<String>,
    added: Vec<AddedColumn>,
    rows: Vec<PreviewRow>,
}

/// A sink that keeps a sample of what it passes on, or its encoder.
pub(crate) struct Sampled<S> {
    sample: Sample,
    inner: S,
}

/// What is written, and what could be shown of it.
#[derive(Default)]
pub(crate) struct SampledPiece<P> {
    names: Vec<String>,
    rows: Vec<PreviewRow>,
    inner: P,
}

impl Sample {
    /// An empty sample of trades to which `added` is added.
    pub(crate) fn new(added: Vec<AddedColumn>) -> Self {
        Self(Arc::new(Shared { rows: Mutex::new(Rows { added, ..Rows::default() }), ..Shared::default() }))
    }

    /// A sink that fills this sample on the way to `inner`.
    pub(crate) fn of<S>(&self, inner: S) -> Sampled<S> {
        Sampled { sample: self.clone(), inner }
    }

    /// The trades before and after as a table, or `None` if none was enriched.
    pub(crate) fn table(&self) -> Option<Table> {
        let rows = self.rows();
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
    type Piece = SampledPiece<S::Piece>;
    type Encoder = Sampled<S::Encoder>;

    fn encoder(&self) -> Self::Encoder {
        self.sample.of(self.inner.encoder())
    }

    fn write(&mut self, piece: &mut Self::Piece) -> Result<(), BoxError> {
        if !piece.rows.is_empty() {
            self.sample.take(piece);
        }
        self.inner.write(&mut piece.inner)
    }

    fn finish(&mut self, end: End) -> Result<(), BoxError> {
        self.inner.finish(end)
    }
}

impl<E: Encode> Encode for Sampled<E> {
    type Piece = SampledPiece<E::Piece>;

    fn encode(&mut self, enriched: &Enriched, piece: &mut Self::Piece) -> Result<(), BoxError> {
        piece.rows.clear();
        if !self.sample.0.full.load(Ordering::Relaxed) {
            let added = self.sample.rows().added.clone();
            piece.rows = preview(enriched, &added, ROWS)?;
            let schema = enriched.trades().schema();
            piece.names = schema.fields().iter().map(|field| field.name().clone()).collect();
        }
        self.inner.encode(enriched, &mut piece.inner)
    }
}

impl Sample {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what there is still room for of a piece.
    fn take<P>(&self, piece: &mut SampledPiece<P>) {
        let mut sample = self.rows();
        let room = ROWS - sample.rows.len();
        sample.rows.extend(piece.rows.drain(..).take(room));
        sample.names = std::mem::take(&mut piece.names);
        // Rows of pieces that are encoded meanwhile are left over.
        self.0.full.store(sample.rows.len() == ROWS, Ordering::Relaxed);
    }
}
