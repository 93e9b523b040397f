//! A batch and the trades that leave among its own.

use arrow_schema::ArrowError;
use tradejoin_model::{ChangeLane, Column, ColumnType, DeadLetter, Enriched, Refused};

use crate::corrections::Touched;
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
    /// Of the records that were refused, as far as they are reached, before what of that.
    refused_at: Vec<u32>,
    places: Vec<Place>,
    waited: Vec<i64>,
    /// The numbers of those that leave.
    numbers: Vec<u64>,
    /// Rows of the batch that were copied, since they begin to wait.
    rows_taken: usize,
    /// The change that is reached, if it is none of the rows.
    behind: Option<ChangeAt>,
    /// What is told of those that wait, if that is asked for.
    told: Option<Told>,
}

/// A row that goes out or is put aside: of the batch (0) or of those that waited
/// (1).
struct Out {
    from: (usize, usize),
    aside: Option<(usize, u64)>,
}

/// A change in the order of all those of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChangeAt {
    /// The row of the batch before which it takes effect.
    pub(crate) row: u32,
    turn: u32,
    pub(crate) table: usize,
    change: u32,
}

impl ChangeAt {
    /// A change of the lane of a table.
    pub(crate) fn new(lane: &ChangeLane, table: usize, change: u32) -> Self {
        let number = change as usize;
        Self { row: lane.at_rows[number], turn: lane.turn(number), table, change }
    }
}

/// What a run that corrects wants to know of the trades that wait.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Rows of the batch that begin to wait, rising; and their values.
    pub(crate) begun: Option<(Vec<u32>, Rows)>,
    /// Those that leave, in order.
    left: Vec<Left>,
    /// The numbers of those that are dropped or put aside.
    pub(crate) ended: Vec<u64>,
}

/// A trade that waited and leaves.
#[derive(Clone, Copy, Debug)]
struct Left {
    number: u64,
    time: Option<i64>,
    lacks: u64,
    at: At,
}

/// Where a trade is written: behind so many rows of the batch, and behind a change in
/// front of the next one, if there is one behind which it goes.
#[derive(Clone, Copy, Debug)]
struct At {
    row: u32,
    behind: Option<ChangeAt>,
}

/// A trade that is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// Its row among those that go on.
    pub(crate) row: u32,
    /// Among the trades that were read, the first being 1.
    pub(crate) number: u64,
    /// When it took place, if it says.
    pub(crate) time: Option<i64>,
    /// The tables in which it has found nothing: a bit for each.
    pub(crate) lacks: u64,
    /// Whether it has waited.
    pub(crate) has_waited: bool,
    at: At,
}

impl Arrival {
    /// How many rows of the batch have been read when it is written.
    pub(crate) fn at_row(&self) -> u32 {
        self.at.row
    }

    /// Whether it is written before a change.
    pub(crate) fn is_before(&self, change: ChangeAt) -> bool {
        match self.at.behind {
            None => self.at.row <= change.row,
            Some(behind) => behind < change,
        }
    }
}

/// The tables in which a row has found nothing, out of all such rows in order.
pub(crate) fn lacks(lacking: &[(u32, usize)], row: u32) -> u64 {
    let first = lacking.partition_point(|&(other, _)| other < row);
    let own = lacking[first..].iter().take_while(|&&(other, _)| other == row);
    own.fold(0, |bits, &(_, table)| bits | 1 << table)
}

/// A batch that has passed. What is left to be done needs no order.
#[derive(Debug)]
pub struct Passed {
    enriched: Enriched,
    /// What waited, and of which row each one is: as in [`Out`]. `None` if nothing
    /// was added.
    added: Option<(Rows, Vec<(usize, usize)>)>,
    told: Told,
    types: Vec<ColumnType>,
    /// Of the batch's own rows, those that are copied: they begin to wait, or go on
    /// among others that have waited.
    own_copied: u64,
    /// The records that were refused, among what is [put together](Passed::assemble).
    refused: Vec<Refused>,
}

impl Leaving {
    pub(crate) fn new(enriched: Enriched, trades_before: u64, rows_taken: usize) -> Self {
        let (out, refused_at, places, waited, numbers) = Default::default();
        Self {
            enriched,
            trades_before,
            at: 0,
            own: 0,
            own_letter: 0,
            out,
            refused_at,
            places,
            waited,
            numbers,
            rows_taken,
            behind: None,
            told: None,
        }
    }

    /// The same, and it is told what becomes of those that wait, if `told` is there.
    pub(crate) fn telling(self, told: Option<Told>) -> Self {
        Self { told, ..self }
    }

    /// The rows before this one have been read.
    pub(crate) fn move_to(&mut self, row: u32) {
        self.at = row;
        self.behind = None;
    }

    /// A change in front of the row that is reached has taken effect.
    pub(crate) fn move_behind(&mut self, change: ChangeAt) {
        self.behind = Some(change);
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
        self.drop_out(trade);
    }

    /// A trade that waited does not go on.
    pub(crate) fn drop_out(&mut self, trade: &Trade) {
        if let Some(told) = &mut self.told {
            told.ended.push(trade.number);
        }
    }

    fn add(&mut self, trade: &Trade, aside: Option<(usize, u64)>) {
        self.add_own();
        self.out.push(Out { from: (1, self.places.len()), aside });
        self.places.push(trade.place());
        self.numbers.push(trade.number);
        if let Some(told) = &mut self.told {
            let &Trade { number, time, lacks, .. } = trade;
            told.left.push(Left { number, time, lacks, at: At { row: self.at, behind: self.behind } });
        }
        // No run reads more trades than fit.
        self.waited.push((self.trades_read() - trade.number) as i64);
    }

    /// Adds the batch's own rows that have been read, each behind the records that were refused
    /// before it. Who leaves does so right behind the last of them.
    fn add_own(&mut self) {
        let Enriched { kept, dead_letters, messages, .. } = &self.enriched;
        let refused = &messages.refused;
        for row in self.own..self.at {
            let before = refused[self.refused_at.len()..].iter().take_while(|refused| refused.at_row <= row);
            let place = self.out.len() as u32;
            self.refused_at.extend(before.map(|_| place));
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
            waiting.tidy(types)?;
            let own_copied = self.rows_taken as u64;
            let told = self.told.unwrap_or_default();
            return Ok(Passed { own_copied, told, ..Passed::untouched(self.enriched) });
        }
        self.at = self.enriched.messages.trades.num_rows() as u32;
        self.add_own();
        let mut refused = self.enriched.messages.refused.clone();
        self.refused_at.resize(refused.len(), self.out.len() as u32);
        refused.iter_mut().zip(&self.refused_at).for_each(|(refused, &row)| refused.at_row = row);
        let mut waited = waiting.take(&self.places, types)?;
        waiting.tidy(types)?;
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
        let number = |out: &Out| match out.from {
            (0, row) => self.trades_before + row as u64 + 1,
            (_, waited) => self.numbers[waited],
        };
        let numbers = Some(self.out.iter().map(number).collect());
        let own_copied = (self.rows_taken + self.out.len() - self.places.len()) as u64;
        let enriched = Enriched { numbers, kept, rows_kept, dead_letters, ..self.enriched };
        let told = self.told.unwrap_or_default();
        let added = Some((waited, rows));
        Ok(Passed { enriched, added, told, types: types.to_vec(), own_copied, refused })
    }
}

impl Passed {
    /// A batch whose trades all go on, but for those that it drops or puts aside.
    pub(crate) fn untouched(enriched: Enriched) -> Self {
        let (added, told) = (None, Told::default());
        Self { enriched, added, told, types: Vec::new(), own_copied: 0, refused: Vec::new() }
    }

    /// The batch, to which nothing may have been added that is not
    /// [assembled](Self::assembled).
    pub(crate) fn enriched(&self) -> &Enriched {
        &self.enriched
    }

    /// The same, put together.
    pub(crate) fn assembled(self) -> Result<Self, ArrowError> {
        let own_copied = self.own_copied;
        Ok(Self { own_copied, ..Self::untouched(self.assemble()?) })
    }

    /// What is told of those that wait.
    pub(crate) fn take_told(&mut self) -> Told {
        std::mem::take(&mut self.told)
    }

    /// The trades that are written, by their rows in what is
    /// [put together](Self::assemble), in order.
    pub(crate) fn arrivals(&self, touched: &Touched, told: &Told) -> Vec<Arrival> {
        let own = |row: usize, own: usize| Arrival {
            // No batch has more rows than 32 bits can number.
            row: row as u32,
            number: touched.trades_before + own as u64 + 1,
            time: touched.messages.time(own),
            lacks: lacks(&touched.lacking, own as u32),
            has_waited: false,
            at: At { row: own as u32 + 1, behind: None },
        };
        let Some((_, from)) = &self.added else {
            return self.enriched.rows().map(|row| own(row, row)).collect();
        };
        let kept = self.enriched.kept.as_deref();
        let written = from.iter().enumerate().filter(|&(row, _)| kept.is_none_or(|kept| kept[row]));
        let arrival = |(row, &(source, from)): (usize, &(usize, usize))| match source {
            0 => own(row, from),
            _ => {
                let Left { number, time, lacks, at } = told.left[from];
                Arrival { row: row as u32, number, time, lacks, has_waited: true, at }
            }
        };
        written.map(arrival).collect()
    }

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
        let Self { enriched, added, types, refused, .. } = self;
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
        let Enriched { messages, columns, .. } = all.into_enriched(refused);
        Ok(Enriched { messages, columns, ..enriched })
    }
}
