//! An output beside what it should be, row by row.
//!
//! - `rows`: one form for the records of every format, so that rows are equal when
//!   their bytes are
//! - `found`: the rows that an output has
//! - `in_order`, `any_order`: how two sequences of rows are told apart

mod any_order;
mod found;
mod in_order;
mod rows;

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher as _};

use arrow_array::{RecordBatch, UInt32Array};
use arrow_select::take::take_record_batch;
use tradejoin_flow::BoxError;
use tradejoin_model::Column;

use crate::csv_safe::guarded;
use crate::error::OpenError;
use crate::input::InputOptions;
use crate::output::{OutputEncoder, OutputOptions, OutputPiece};

use any_order::AnyOrder;
use found::Found;
use in_order::InOrder;
use rows::{Row, cells, push_rows, unreadable};

/// What to compare, and how.
#[derive(Clone, Debug)]
pub struct ComparisonOptions {
    /// The output as it would be written; its location is where it is read.
    pub output: OutputOptions,
    /// How it is read.
    pub input: InputOptions,
    /// Whether rows may stand in any order.
    pub any_order: bool,
    /// How many differences are kept to be shown.
    pub shown_max: usize,
}

/// An output that is read while what it should be is made.
///
/// In order it holds no more rows than [`Comparison::WINDOW`] and a block; in any order
/// those that have no partner yet.
pub struct Comparison {
    encoder: OutputEncoder,
    piece: OutputPiece,
    found: Found,
    columns: Vec<String>,
    other_columns: Option<OtherColumns>,
    way: Way,
}

enum Way {
    InOrder(InOrder),
    AnyOrder(AnyOrder),
}

/// What a comparison came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Rows that should be there.
    pub rows_expected: u64,
    /// Rows that are there.
    pub rows_found: u64,
    /// Rows of which some value is another.
    pub altered: u64,
    /// Rows that are not there.
    pub missing: u64,
    /// Of these, the ones behind the last row.
    pub missing_at_end: u64,
    /// Rows that should not be there.
    pub extra: u64,
    /// Whether the last row that is there is no record.
    pub ends_broken: bool,
    /// Whether the rows that are there are those that should be, in another order.
    pub is_reordered: bool,
    /// The first differences, in the order of the rows.
    pub differences: Vec<RowDifference>,
}

/// A row that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowDifference {
    /// What is wrong with it.
    pub kind: DifferenceKind,
    /// Its number in the output, from 1; of a missing one the number that it would have.
    pub row: u64,
    /// Its `trade_id`, if it has one.
    pub trade_id: Option<String>,
    /// The values that differ; of a row that is missing or extra, all.
    pub cells: Vec<CellDifference>,
}

/// What is wrong with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DifferenceKind {
    /// Some of its values are others.
    Altered,
    /// It is not there.
    Missing,
    /// It should not be there.
    Extra,
    /// It is no record of its format.
    Unreadable,
}

/// A value that is not as it should be; `None` where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellDifference {
    /// The column; of a row that is no record, `None`.
    pub column: Option<String>,
    /// What stands there.
    pub found: Option<String>,
    /// What should.
    pub expected: Option<String>,
}

/// The columns of an output that has others than it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherColumns {
    /// Those that it has, with their types if it has such.
    pub found: Vec<String>,
    /// Those that it should have.
    pub expected: Vec<String>,
}

impl Comparison {
    /// Rows that are looked ahead, to find where two sequences meet again.
    pub const WINDOW: usize = 1_024;

    /// Opens an output.
    ///
    /// # Errors
    /// If it cannot be opened, or is no such file.
    pub fn open(options: ComparisonOptions) -> Result<Self, OpenError> {
        let ComparisonOptions { output, input, any_order, shown_max } = options;
        let OutputOptions { location, encoding, schema, added, csv_safe, .. } = output;
        let unfit = |error: BoxError| crate::error::ReadError::corrupt(&location.name(), error);
        let encoder = OutputEncoder::new(&location.name(), encoding.format, &schema, &added, csv_safe);
        let encoder = encoder.map_err(unfit)?;
        let own = schema.fields().iter().map(|field| field.name().clone());
        let mut columns: Vec<String> = own.chain(added.iter().map(|added| added.name.clone())).collect();
        if csv_safe {
            columns.iter_mut().for_each(|name| *name = guarded(name).into_owned());
        }
        let typed = encoder.columnar_schema().map(|schema| found::typed(schema));
        let found = Found::open(input, &columns)?;
        let expected = typed.unwrap_or_else(|| columns.clone());
        let other_columns =
            (found.columns() != expected).then(|| OtherColumns { found: found.columns().to_vec(), expected });
        let key = columns.iter().position(|column| column == "trade_id");
        let way = if any_order {
            Way::AnyOrder(AnyOrder::new(key, shown_max))
        } else {
            Way::InOrder(InOrder::new(key, shown_max))
        };
        Ok(Self { encoder, piece: OutputPiece::default(), found, columns, other_columns, way })
    }

    /// The columns of the output, if they are not those that it should have: then its
    /// rows cannot be compared.
    #[must_use]
    pub fn other_columns(&self) -> Option<&OtherColumns> {
        self.other_columns.as_ref()
    }

    /// Takes the next rows that should be there: of `trades` the ones with these
    /// numbers, and what is added to each of them.
    ///
    /// # Errors
    /// If they cannot be encoded, or the output cannot be read.
    pub fn push(&mut self, trades: &RecordBatch, rows: &[u32], added: &[Column]) -> Result<(), BoxError> {
        let is_whole = rows.len() == trades.num_rows() && rows.iter().copied().eq(0..rows.len() as u32);
        let taken = (!is_whole).then(|| take_record_batch(trades, &UInt32Array::from(rows.to_vec())));
        let taken = taken.transpose()?;
        self.encoder.encode_columns(taken.as_ref().unwrap_or(trades), added, &mut self.piece)?;
        let mut expected = VecDeque::new();
        push_rows(&self.piece, self.found.format(), &self.columns, &mut expected)?;
        let Self { way, found, columns, .. } = self;
        match way {
            Way::InOrder(way) => way.push(expected, found, columns),
            Way::AnyOrder(way) => way.push(expected, found),
        }
    }

    /// Nothing more should be there.
    ///
    /// # Errors
    /// If the output cannot be read.
    pub fn finish(self) -> Result<Compared, BoxError> {
        let Self { way, mut found, columns, .. } = self;
        match way {
            Way::InOrder(way) => way.finish(&mut found, &columns),
            Way::AnyOrder(way) => way.finish(&mut found, &columns),
        }
    }
}

/// The differences of one comparison, of which the first are kept.
#[derive(Debug, Default)]
struct Differences {
    compared: Compared,
    /// Where the `trade_id` stands.
    key: Option<usize>,
    shown_max: usize,
}

impl Differences {
    fn new(key: Option<usize>, shown_max: usize) -> Self {
        Self { compared: Compared::default(), key, shown_max }
    }

    /// The `trade_id` of a row.
    fn trade_id(&self, row: &Row) -> Option<String> {
        let key = self.key.filter(|_| unreadable(row).is_none())?;
        cells(row).into_iter().nth(key)?.filter(|id| !id.is_empty())
    }

    /// Whether two rows are of one trade.
    fn are_one_trade(&self, a: &Row, b: &Row) -> bool {
        self.trade_id(a).is_some_and(|id| Some(id) == self.trade_id(b))
    }

    /// Notes that `found` stands at `row`, where `expected` should.
    fn note(&mut self, row: u64, found: Option<&Row>, expected: Option<&Row>, columns: &[String]) {
        let kind = match (found, expected) {
            (Some(found), _) if unreadable(found).is_some() => DifferenceKind::Unreadable,
            (Some(_), Some(_)) => DifferenceKind::Altered,
            (None, _) => DifferenceKind::Missing,
            (Some(_), None) => DifferenceKind::Extra,
        };
        self.compared.ends_broken = kind == DifferenceKind::Unreadable;
        *match (found, expected) {
            (Some(_), Some(_)) => &mut self.compared.altered,
            (None, _) => &mut self.compared.missing,
            (Some(_), None) => &mut self.compared.extra,
        } += 1;
        if self.compared.differences.len() >= self.shown_max {
            return;
        }
        let trade_id = found.and_then(|row| self.trade_id(row));
        let trade_id = trade_id.or_else(|| expected.and_then(|row| self.trade_id(row)));
        let cells = match found.and_then(unreadable) {
            Some(text) => vec![CellDifference { column: None, found: Some(text), expected: None }],
            None => differing(found, expected, columns),
        };
        self.compared.differences.push(RowDifference { kind, row, trade_id, cells });
    }
}

fn differing(found: Option<&Row>, expected: Option<&Row>, columns: &[String]) -> Vec<CellDifference> {
    let [found, expected] = [found, expected].map(|row| row.map(cells).unwrap_or_default());
    let cell = |cells: &[Option<String>], column: usize| cells.get(column).cloned().flatten();
    let all = columns.iter().enumerate().map(|(at, column)| CellDifference {
        column: Some(column.clone()),
        found: cell(&found, at),
        expected: cell(&expected, at),
    });
    all.filter(|cell| cell.found != cell.expected).collect()
}

/// A number that is most likely another for other rows.
fn hash(row: &Row) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(row);
    hasher.finish()
}

#[cfg(test)]
mod tests;
