//! The join as the oracle makes it, over the sources of a run.

use std::collections::VecDeque;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use tradejoin_engine::{EngineConfig, Order};
use tradejoin_flow::{BoxError, Source, TableSource};
use tradejoin_model::{
    ChangeLane, Column, ColumnType, HoldLimit, INTEGER_NULL, Keys, Messages, MissPolicy, TableSpec,
    TextColumn,
};
use tradejoin_oracle::{Joined, Oracle};

use crate::failure::{BadData, UsageError};

/// Takes enriched trades in their order: of a block the rows with these numbers, and the
/// columns that are added to them.
pub(super) trait Take: FnMut(&RecordBatch, &[u32], &[Column]) -> Result<(), BoxError> {}

impl<F: FnMut(&RecordBatch, &[u32], &[Column]) -> Result<(), BoxError>> Take for F {}

/// A join that goes on.
pub(super) struct Rejoin {
    oracle: Oracle,
    tables: Vec<TableSpec>,
    /// Tables in which no trade may miss.
    unfailing: Vec<usize>,
    has_wait_column: bool,
    /// Blocks of which a trade may still go on, each with the number of the trade before
    /// its first.
    blocks: VecDeque<(u64, RecordBatch)>,
    trades_read: u64,
}

impl Rejoin {
    /// A join with the settings of a run.
    ///
    /// # Errors
    /// If a clock takes part in what comes of it.
    pub(super) fn new(config: &EngineConfig) -> Result<Self, UsageError> {
        let by_clock = config.tables.iter().find(|table| {
            table.on_miss.hold().is_some_and(|hold| matches!(hold.limit, HoldLimit::Processing(_)))
        });
        if let Some(table) = by_clock {
            let text = format!(
                "how long trades waited for {} was decided by the clock: no second run need give the same",
                table.name
            );
            return Err(UsageError(text));
        }
        let mut tables = config.tables.clone();
        let mut unfailing = Vec::new();
        for (index, table) in tables.iter_mut().enumerate() {
            if table.on_miss == MissPolicy::Fail {
                table.on_miss = MissPolicy::DeadLetter;
                unfailing.push(index);
            }
        }
        let outputs: usize = tables.iter().map(|table| table.outputs.len()).sum();
        let added_len = outputs + usize::from(config.wait_column);
        let oracle = Oracle::new(&tables, config.hold_rows_max, config.order == Order::Strict)
            .with_bytes_max(config.hold_bytes_max, added_len);
        let has_wait_column = config.wait_column;
        Ok(Self { oracle, tables, unfailing, has_wait_column, blocks: VecDeque::new(), trades_read: 0 })
    }

    /// Trades that were joined.
    pub(super) fn trades_read(&self) -> u64 {
        self.trades_read
    }

    /// Reads the tables that are there before the first trade.
    pub(super) fn load(&mut self, loads: Vec<Option<Box<dyn TableSource>>>) -> Result<(), BoxError> {
        let tables = loads.len();
        for (table, load) in loads.into_iter().enumerate() {
            let Some(mut load) = load else { continue };
            while let Some(lane) = load.next()? {
                self.oracle.push(&loading(table, tables, lane)?);
            }
        }
        Ok(())
    }

    /// Joins all trades.
    pub(super) fn join(&mut self, mut source: impl Source, mut take: impl Take) -> Result<(), BoxError> {
        while let Some(block) = source.next()? {
            let messages = block.decode()?;
            let joined = self.oracle.push(&messages);
            let trades_before = self.trades_read;
            self.trades_read += messages.trades.num_rows() as u64;
            self.blocks.push_back((trades_before, messages.trades));
            self.check(trades_before)?;
            self.hand_on(joined, &mut take)?;
            let waiting = self.oracle.first_waiting().unwrap_or(self.trades_read + 1);
            let is_done = |(before, block): &(u64, RecordBatch)| before + (block.num_rows() as u64) < waiting;
            while self.blocks.pop_front_if(|block| is_done(block)).is_some() {}
        }
        let joined = self.oracle.finish();
        self.hand_on(joined, &mut take)
    }

    fn check(&self, trades_before: u64) -> Result<(), BadData> {
        let missed = |table: &&usize| self.oracle.ledger().tables[**table].missed > 0;
        let Some(&table) = self.unfailing.iter().find(missed) else { return Ok(()) };
        let table = &self.tables[table].name;
        Err(BadData(format!(
            "of the trades behind trade {trades_before} one finds nothing in {table}: with --on-miss {table}=fail \
             no run of these inputs completes an output"
        )))
    }

    /// Hands trades on that are not put aside: those of one block at a time.
    fn hand_on(&self, joined: Vec<Joined>, take: &mut impl Take) -> Result<(), BoxError> {
        let on: Vec<_> = joined.into_iter().filter(|trade| trade.aside.is_none()).collect();
        let block_of = |trade: &Joined| self.blocks.partition_point(|(before, _)| *before < trade.number) - 1;
        for trades in on.chunk_by(|a, b| block_of(a) == block_of(b)) {
            let (before, block) = &self.blocks[block_of(&trades[0])];
            // A block has no more rows than 32 bits can count.
            let rows: Vec<_> = trades.iter().map(|trade| (trade.number - before - 1) as u32).collect();
            take(block, &rows, &self.columns(trades))?;
        }
        Ok(())
    }

    /// What is added to these trades.
    fn columns(&self, trades: &[Joined]) -> Vec<Column> {
        let mut columns = columns_of(&self.tables, trades);
        if self.has_wait_column {
            let waited = trades.iter().map(|trade| i64::try_from(trade.waited).unwrap_or(i64::MAX));
            columns.push(Column::Integers(waited.collect()));
        }
        columns
    }
}

/// Rows of a table that are there before the first trade, in a run of so many tables.
pub(crate) fn loading(table: usize, tables: usize, rows: ChangeLane) -> Result<Messages, BoxError> {
    let mut lanes = vec![ChangeLane::default(); tables];
    lanes[table] = rows;
    let trades = RecordBatch::new_empty(Schema::empty().into());
    let messages = Messages::new(trades, vec![Keys::none(); tables], lanes)?;
    Ok(Messages { loading: true, ..messages })
}

/// What tables add to trades that the oracle has joined, table by table.
pub(crate) fn columns_of(tables: &[TableSpec], trades: &[Joined]) -> Vec<Column> {
    let outputs = tables.iter().flat_map(|table| &table.outputs).enumerate();
    let columns = outputs.map(|(at, output)| match output.column_type {
        ColumnType::Text | ColumnType::Bytes => {
            let mut texts = TextColumn::default();
            trades.iter().for_each(|trade| texts.push_bytes(trade.columns[at].as_deref()));
            Column::Text(texts)
        }
        _ => Column::Integers(trades.iter().map(|trade| integer(trade.columns[at].as_deref())).collect()),
    });
    columns.collect()
}

/// A number that the oracle has as digits.
fn integer(digits: Option<&[u8]>) -> i64 {
    let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(INTEGER_NULL)
}
