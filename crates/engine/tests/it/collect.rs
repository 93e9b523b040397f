//! What goes to the sinks of a run, and what the oracle gives, as text.

use std::sync::{Arc, Mutex};

use arrow_array::{RecordBatch, UInt64Array, cast::AsArray, types::UInt64Type};
use tradejoin_flow::{BoxError, Encode, End, Prepared, Revise, Sink};
use tradejoin_model::{Enriched, Revised};
use tradejoin_oracle::{Joined, Revision, text};

use crate::kept::RowsSoFar;
use crate::streams::{Row, Rows};

/// Keeps all rows as text.
#[derive(Clone)]
pub(crate) struct Collect(pub(crate) Arc<Mutex<Rows>>);

/// The rows of an enriched batch as text.
pub(crate) fn rows_of(enriched: &Enriched) -> Rows {
    let ids = trade_ids(enriched.trades());
    let mut letters = enriched.dead_letters.iter().peekable();
    let mut kept = enriched.rows().peekable();
    let mut rows = Rows::new();
    for row in 0..ids.len() {
        let letter = letters.next_if(|letter| letter.row as usize == row);
        if kept.next_if_eq(&row).is_some() == letter.is_some() {
            assert!(letter.is_none(), "a row goes on or is put aside, not both");
            continue;
        }
        assert!(letter.is_none_or(|letter| letter.number == ids.value(row) + 1), "{letter:?}");
        let columns = enriched.columns.iter().map(|column| text(column, row)).collect();
        rows.push(Row { id: ids.value(row), aside: letter.map(|letter| letter.table), columns });
    }
    assert_eq!(rows.iter().filter(|row| row.aside.is_none()).count(), enriched.rows_kept);
    assert_eq!(letters.next(), None);
    rows
}

impl Sink for Collect {
    type Piece = Rows;
    type Encoder = AsRows;

    fn encoder(&self) -> AsRows {
        AsRows
    }

    fn write(&mut self, rows: &mut Rows) -> Result<(), BoxError> {
        self.0.lock().expect("not poisoned").append(rows);
        Ok(())
    }

    fn prepare(&mut self, _: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        Ok(Box::new(RowsSoFar(self.0.lock().expect("not poisoned").len())))
    }
}

/// Makes rows of text.
pub(crate) struct AsRows;

impl Encode for AsRows {
    type Piece = Rows;

    fn encode(&mut self, enriched: &Enriched, rows: &mut Rows) -> Result<(), BoxError> {
        *rows = rows_of(enriched);
        Ok(())
    }
}

/// Keeps all revisions as rows of text.
#[derive(Default)]
pub(crate) struct Revisions {
    pub(crate) rows: Rows,
    pub(crate) has_ended: bool,
}

impl Revise for Revisions {
    fn write(&mut self, revised: Revised) -> Result<(), BoxError> {
        let ids = trade_ids(&revised.trades);
        assert!(!ids.is_empty() && !self.has_ended);
        self.rows.extend((0..ids.len()).map(|row| Row {
            id: ids.value(row),
            aside: None,
            columns: revised.columns.iter().map(|column| text(column, row)).collect(),
        }));
        Ok(())
    }

    fn prepare(&mut self, end: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        self.has_ended = end.is_some();
        Ok(Box::new(RowsSoFar(self.rows.len())))
    }
}

fn trade_ids(trades: &RecordBatch) -> &UInt64Array {
    trades.column(0).as_primitive::<UInt64Type>()
}

/// Trades are numbered from 0 here.
pub(crate) fn row_of(joined: Joined) -> Row {
    let Joined { number, columns, waited, aside } = joined;
    let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
    let mut columns: Vec<_> = columns.into_iter().map(|value| value.map(text)).collect();
    columns.push(Some(waited.to_string()));
    Row { id: number - 1, aside, columns }
}

/// A revision is a row with three columns more.
pub(crate) fn row_of_revision(revision: Revision) -> Row {
    let Revision { number, columns, waited, revision, reason } = revision;
    let mut row = row_of(Joined { number, columns, waited, aside: None });
    let more = [number.to_string(), revision.to_string(), reason.as_str().to_owned()];
    row.columns.extend(more.map(Some));
    row
}
