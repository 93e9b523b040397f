//! A batch and the trades that leave among its own.

use arrow_schema::ArrowError;
use tradejoin_model::{Column, ColumnType, DeadLetter, Enriched};

use crate::rows::Rows;
use crate::waiting::{Place, Trade, Waiting};

/// A batch that passes, and what leaves on the way.
pub(crate) struct Leaving {
    enriched: Enriched,
    trades_before: u64,
    /// The row that is reached: all before it have been read.
    at: u32,
    /// The first row that is not in `out`.
    own: u32,
    /// The first of the batch's own dead letters that is not in `out`.
    own_letter: usize,
    /// What goes out in place of the batch's own rows; empty until a trade leaves.
    out: Vec<Out>,
    places: Vec<Place>,
    waited: Vec<i64>,
    /// Rows of the batch that were copied, since they begin to wait.
    rows_taken: usize,
}

/// A row that goes out or is put aside: of the batch (0) or of those that waited
/// (1).
struct Out {
    from: (usize, usize),
    aside: Option<(usize, u64)>,
}

/// A batch that has passed. What is left to be done needs no order.
#[derive(Debug)]
pub struct Passed {
    enriched: Enriched,
    /// What waited, and of which row each one is: as in [`Out`]. `None` if nothing
    /// was added.
    added: Option<(Rows, Vec<(usize, usize)>)>,
    types: Vec<ColumnType>,
    /// Of the batch's own rows, those that are copied: they begin to wait, or go on
    /// among others that have waited.
    own_copied: u64,
}

impl Leaving {
    pub(crate) fn new(enriched: Enriched, trades_before: u64, rows_taken: usize) -> Self {
        let (out, places, waited) = Default::default();
        Self { enriched, trades_before, at: 0, own: 0, own_letter: 0, out, places, waited, rows_taken }
    }

    /// The rows before this one have been read.
    pub(crate) fn move_to(&mut self, row: u32) {
        self.at = row;
    }

    /// The row that is reached.
    pub(crate) fn row(&self) -> u32 {
        self.at
    }

    /// How many trades leave.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// One more row has been read.
    pub(crate) fn move_by_one(&mut self) {
        self.at += 1;
    }

    /// How many trades have been read.
    pub(crate) fn trades_read(&self) -> u64 {
        self.trades_before + u64::from(self.at)
    }

    /// A trade that waited goes on.
    pub(crate) fn push(&mut self, trade: &Trade) {
        self.add(trade, None);
    }

    /// A trade that waited is put aside, for a miss in a table.
    pub(crate) fn put_aside(&mut self, trade: &Trade, table: usize) {
        self.add(trade, Some((table, trade.number)));
    }

    fn add(&mut self, trade: &Trade, aside: Option<(usize, u64)>) {
        self.add_own();
        self.out.push(Out { from: (1, self.places.len()), aside });
        self.places.push(trade.place());
        // No run reads more trades than fit.
        self.waited.push((self.trades_read() - trade.number) as i64);
    }

    /// Adds the batch's own rows that have been read.
    fn add_own(&mut self) {
        let Enriched { kept, dead_letters, .. } = &self.enriched;
        for row in self.own..self.at {
            let letter = dead_letters.get(self.own_letter).filter(|letter| letter.row == row);
            if letter.is_some() || kept.as_ref().is_none_or(|kept| kept[row as usize]) {
                let aside = letter.map(|letter| (letter.table, letter.number));
                self.out.push(Out { from: (0, row as usize), aside });
                self.own_letter += usize::from(letter.is_some());
            }
        }
        self.own = self.at;
    }

    /// The batch is through.
    pub(crate) fn pass(
        mut self,
        waiting: &mut Waiting,
        types: &[ColumnType],
        wait_column: bool,
    ) -> Result<Passed, ArrowError> {
        if self.places.is_empty() {
            let own_copied = self.rows_taken as u64;
            return Ok(Passed { enriched: self.enriched, added: None, types: Vec::new(), own_copied });
        }
        self.at = self.enriched.messages.trades.num_rows() as u32;
        self.add_own();
        let mut waited = waiting.take(&self.places, types)?;
        if wait_column && let Some(column) = waited.columns.last_mut() {
            *column = Column::Integers(self.waited);
        }
        let letter = |(row, out): (usize, &Out)| {
            out.aside.map(|(table, number)| DeadLetter { row: row as u32, table, number })
        };
        let dead_letters: Vec<_> = self.out.iter().enumerate().filter_map(letter).collect();
        let rows_kept = self.out.len() - dead_letters.len();
        let kept =
            (!dead_letters.is_empty()).then(|| self.out.iter().map(|out| out.aside.is_none()).collect());
        let rows = self.out.iter().map(|out| out.from).collect();
        let own_copied = (self.rows_taken + self.out.len() - self.places.len()) as u64;
        let enriched = Enriched { kept, rows_kept, dead_letters, ..self.enriched };
        Ok(Passed { enriched, added: Some((waited, rows)), types: types.to_vec(), own_copied })
    }
}

impl Passed {
    /// How many of the batch's trades have their own columns copied: those that begin
    /// to wait, and if others that have waited leave among them, all that go on or are
    /// put aside. A trade counts once in its life, whatever else is copied of it when
    /// it has waited.
    #[must_use]
    pub fn trades_copied(&self) -> u64 {
        self.own_copied
    }

    /// Puts the batch and what was added to it together.
    ///
    /// # Errors
    /// If the rows are more than Arrow can address.
    pub fn assemble(self) -> Result<Enriched, ArrowError> {
        let Self { enriched, added, types, .. } = self;
        let Some((waited, mut rows)) = added else { return Ok(enriched) };
        let (messages, columns) = (&enriched.messages, enriched.columns);
        let own = Rows { trades: messages.trades.clone(), keys: messages.keys.clone(), columns };
        let all = if own.trades.num_rows() == 0 {
            // Changes alone: they need not have the columns of trades.
            rows.iter_mut().for_each(|from| from.0 = 0);
            Rows::gather(&[&waited], &types, &rows)?
        } else {
            Rows::gather(&[&own, &waited], &types, &rows)?
        };
        let Enriched { messages, columns, .. } = all.into_enriched();
        Ok(Enriched { messages, columns, ..enriched })
    }
}
