//! A few trades before and after, to look at.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_schema::SchemaRef;
use comfy_table::Table;
use tradejoin_connectors::{AddedColumn, PreviewRow, preview};
use tradejoin_flow::{BoxError, Encode, End, Prepared, Sink};
use tradejoin_model::Enriched;

use crate::summary::plain_table;

/// How many trades are shown.
const ROWS: usize = 5;

/// The first enriched trades of a run, as text. Clones are the same sample.
#[derive(Clone, Debug)]
pub(crate) struct Sample(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    schema: SchemaRef,
    added: Vec<AddedColumn>,
    rows: Mutex<Vec<PreviewRow>>,
    /// Whether more would not be shown.
    full: AtomicBool,
}

/// A sink that keeps a sample of what it passes on, or its encoder.
pub(crate) struct Sampled<S> {
    sample: Sample,
    inner: S,
}

/// What is written, and what could be shown of it.
#[derive(Default)]
pub(crate) struct SampledPiece<P> {
    rows: Vec<PreviewRow>,
    inner: P,
}

impl Sample {
    /// An empty sample of trades with the columns of `schema`, to which `added`
    /// is added.
    pub(crate) fn new(schema: SchemaRef, added: Vec<AddedColumn>) -> Self {
        Self(Arc::new(Shared { schema, added, rows: Mutex::default(), full: AtomicBool::new(false) }))
    }

    /// A sink that fills this sample on the way to `inner`.
    pub(crate) fn of<S>(&self, inner: S) -> Sampled<S> {
        Sampled { sample: self.clone(), inner }
    }

    /// The trades before and after as a table, or `None` if none was enriched.
    pub(crate) fn table(&self) -> Option<Table> {
        let rows = self.rows();
        if rows.is_empty() {
            return None;
        }
        let names = self.0.schema.fields().iter().map(|field| field.name().as_str());
        let added = self.0.added.iter().map(|column| column.name.as_str());
        let header: Vec<&str> = names.chain(["→"]).chain(added).collect();
        let mut table = plain_table(&header, usize::MAX);
        for PreviewRow { trade, added } in &*rows {
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

    fn prepare(&mut self, end: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        self.inner.prepare(end)
    }
}

impl<E: Encode> Encode for Sampled<E> {
    type Piece = SampledPiece<E::Piece>;

    fn encode(&mut self, enriched: &Enriched, piece: &mut Self::Piece) -> Result<(), BoxError> {
        piece.rows.clear();
        if !self.sample.0.full.load(Ordering::Relaxed) {
            let Shared { schema, added, .. } = &*self.sample.0;
            piece.rows = preview(enriched, schema, added, ROWS)?;
        }
        self.inner.encode(enriched, &mut piece.inner)
    }
}

impl Sample {
    fn rows(&self) -> MutexGuard<'_, Vec<PreviewRow>> {
        self.0.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what there is still room for of a piece.
    fn take<P>(&self, piece: &mut SampledPiece<P>) {
        let mut sample = self.rows();
        let room = ROWS - sample.len();
        sample.extend(piece.rows.drain(..).take(room));
        // Rows of pieces that are encoded meanwhile are left over.
        self.0.full.store(sample.len() == ROWS, Ordering::Relaxed);
    }
}
