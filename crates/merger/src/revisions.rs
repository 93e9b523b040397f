//! Trades that are to be written again, each as it was when a change touched it.

use ahash::AHashMap;
use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use arrow_select::interleave::interleave_record_batch;
use tradejoin_model::{Column, ColumnType, Revised, RevisionReason, TextColumn};

use crate::recent::{Recents, Ticket};
use crate::rows::without_columns;

/// Revisions that are not given away yet.
#[derive(Debug)]
pub(crate) struct Revisions {
    types: Vec<ColumnType>,
    /// Where the trades' own columns are: the rows of chunks, each once.
    sources: Vec<RecordBatch>,
    numbers: AHashMap<u64, usize>,
    rows: Vec<(usize, usize)>,
    /// What was added, as it is now.
    columns: Vec<Column>,
    trade_numbers: Vec<i64>,
    revisions: Vec<i64>,
    reasons: TextColumn,
}

impl Revisions {
    pub(crate) fn new(types: &[ColumnType]) -> Self {
        Self {
            types: types.to_vec(),
            sources: Vec::new(),
            numbers: AHashMap::new(),
            rows: Vec::new(),
            columns: types.iter().map(|&ty| Column::new(ty)).collect(),
            trade_numbers: Vec::new(),
            revisions: Vec::new(),
            reasons: TextColumn::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Adds a trade as it is now.
    pub(crate) fn push(&mut self, recents: &Recents, ticket: Ticket, reason: RevisionReason) {
        let (Some(trade), Some((chunk, row, rows))) = (recents.get(ticket), recents.place(ticket)) else {
            return;
        };
        let source = *self.numbers.entry(chunk).or_insert_with(|| {
            self.sources.push(rows.trades.clone());
            self.sources.len() - 1
        });
        self.rows.push((source, row));
        for (column, values) in self.columns.iter_mut().zip(&rows.columns) {
            // No chunk has more rows than 32 bits can number.
            column.append_rows(values, &[row as u32]);
        }
        // No run reads more trades than fit.
        self.trade_numbers.push(trade.number as i64);
        self.revisions.push(i64::from(trade.revision));
        self.reasons.push(Some(reason.as_str()));
    }

    /// All that were added, if there are any.
    pub(crate) fn take(&mut self) -> Result<Option<Revised>, ArrowError> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        let types = std::mem::take(&mut self.types);
        let Self { sources, rows, mut columns, trade_numbers, revisions, reasons, .. } =
            std::mem::replace(self, Self::new(&types));
        let trades = if sources[0].num_columns() == 0 {
            without_columns(rows.len())?
        } else {
            interleave_record_batch(&sources.iter().collect::<Vec<_>>(), &rows)?
        };
        columns.extend([Column::Integers(trade_numbers), Column::Integers(revisions), Column::Text(reasons)]);
        Ok(Some(Revised { trades, columns }))
    }
}
