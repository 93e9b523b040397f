//! DataFusion: the trades joined with a table that is there before the first of
//! them and never changes. No message is a change, and no order is kept: easier work.

use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, anyhow};
use datafusion::arrow::array::{
    ArrayRef, AsArray as _, Decimal128Array, DictionaryArray, RecordBatch, StringArray, StringViewArray,
    TimestampNanosecondArray, UInt8Array, UInt32Array, UInt64Array,
};
use datafusion::arrow::datatypes::{
    Decimal128Type, TimestampNanosecondType, UInt8Type, UInt32Type, UInt64Type,
};
use datafusion::common::JoinType;
use datafusion::datasource::MemTable;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt as _;
use tokio::runtime::{Builder, Runtime};
use tradejoin_model::{Message, PRICE_PRECISION, PRICE_SCALE, Side, Trade, UTC};

use crate::event::Event;
use crate::sum::{Sum, TradeColumns};

/// Rows of a batch: DataFusion's own default.
const BATCH_LEN: usize = 8_192;

/// Columns of the trades, in the order of the output; the symbol stands behind them.
const TRADE_COLUMNS: [&str; 7] =
    ["trade_id", "timestamp", "instrument_id", "user_id", "price", "quantity", "side"];

/// The tables in memory, and the threads to join them with.
pub(crate) struct Peer {
    context: SessionContext,
    runtime: Runtime,
}

impl Peer {
    /// Takes over a stream in which all changes come first.
    ///
    /// # Errors
    /// If a change comes behind a trade, or the tables cannot be made.
    pub(crate) fn new(events: &[Event], partitions: usize) -> anyhow::Result<Self> {
        let first =
            events.iter().position(|event| matches!(event.0, Message::Trade(_))).unwrap_or(events.len());
        let (changes, trades) = events.split_at(first);
        let trades: Vec<_> = trades.chunks(BATCH_LEN).map(trade_batch).collect::<Result<_, _>>()?;
        let config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(BATCH_LEN);
        let context = SessionContext::new_with_config(config);
        let schema = trades.first().context("there are no trades")?.schema();
        // Neighbours go to different partitions, as a reader of a file would have it.
        let mut parts = vec![Vec::new(); partitions];
        for (index, batch) in trades.into_iter().enumerate() {
            parts[index % partitions].push(batch);
        }
        context.register_table("trades", Arc::new(MemTable::try_new(schema, parts)?))?;
        let table = instrument_batch(changes)?;
        let table = MemTable::try_new(table.schema(), vec![vec![table]])?;
        context.register_table("instruments", Arc::new(table))?;
        let runtime = Builder::new_multi_thread().worker_threads(partitions).build()?;
        Ok(Self { context, runtime })
    }

    /// Joins, each partition's result summed where it is made.
    ///
    /// # Errors
    /// If the query fails.
    pub(crate) fn run(&self) -> anyhow::Result<Sum> {
        let streams = self.runtime.block_on(self.joined())?;
        // A thread for each: the runtime may give two tasks that never wait to one.
        let sums: Vec<_> = thread::scope(|scope| {
            let start = |stream| scope.spawn(|| self.runtime.block_on(sum_of(stream)));
            let threads: Vec<_> = streams.into_iter().map(start).collect();
            threads.into_iter().map(|thread| thread.join()).collect()
        });
        let mut total = Sum::default();
        for sum in sums {
            total.merge(sum.map_err(|_| anyhow!("a partition panicked"))??);
        }
        Ok(total)
    }

    async fn joined(&self) -> anyhow::Result<Vec<SendableRecordBatchStream>> {
        let instruments = self.context.table("instruments").await?;
        let trades = self.context.table("trades").await?;
        let joined = trades.join(instruments, JoinType::Inner, &["instrument_id"], &["id"], None)?;
        let columns = [&TRADE_COLUMNS[..], &["symbol"]].concat();
        Ok(joined.select_columns(&columns)?.execute_stream_partitioned().await?)
    }
}

async fn sum_of(mut batches: SendableRecordBatchStream) -> anyhow::Result<Sum> {
    let mut sum = Sum::default();
    while let Some(batch) = batches.next().await {
        add(&mut sum, &batch?)?;
    }
    Ok(sum)
}

/// Adds the rows of a batch.
fn add(sum: &mut Sum, batch: &RecordBatch) -> anyhow::Result<()> {
    let columns = batch.columns();
    let sides = columns[6].as_dictionary::<UInt8Type>();
    let names = sides.values().as_string::<i32>();
    if names.iter().ne(Side::ALL.map(|side| Some(side.as_str()))) {
        return Err(anyhow!("the sides have other codes than they had"));
    }
    let trades = TradeColumns {
        ids: columns[0].as_primitive::<UInt64Type>().values(),
        times: columns[1].as_primitive::<TimestampNanosecondType>().values(),
        instruments: columns[2].as_primitive::<UInt32Type>().values(),
        users: columns[3].as_primitive::<UInt32Type>().values(),
        prices: columns[4].as_primitive::<Decimal128Type>().values(),
        quantities: columns[5].as_primitive::<UInt32Type>().values(),
        sides: sides.keys().values(),
    };
    let symbols = columns[7].as_string_view();
    for row in 0..batch.num_rows() {
        sum.add(&trades.trade(row), symbols.value(row).as_bytes());
    }
    Ok(())
}

/// The columns that the engine reads, too.
fn trade_batch(events: &[Event]) -> anyhow::Result<RecordBatch> {
    let trade = |event: &Event| match event.0 {
        Message::Trade(trade) => Ok(trade),
        _ => Err(anyhow!("a change stands behind a trade")),
    };
    let trades: Vec<Trade> = events.iter().map(trade).collect::<Result<_, _>>()?;
    let prices = Decimal128Array::from_iter_values(trades.iter().map(|t| t.price.units()))
        .with_precision_and_scale(PRICE_PRECISION, PRICE_SCALE as i8)?;
    let times = TimestampNanosecondArray::from_iter_values(trades.iter().map(|t| t.timestamp_ns));
    let sides = UInt8Array::from_iter_values(trades.iter().map(|t| t.side as u8));
    let names = StringArray::from_iter_values(Side::ALL.map(Side::as_str));
    let columns: [ArrayRef; 7] = [
        Arc::new(UInt64Array::from_iter_values(trades.iter().map(|t| t.trade_id))),
        Arc::new(times.with_timezone(UTC)),
        Arc::new(UInt32Array::from_iter_values(trades.iter().map(|t| t.instrument_id.0))),
        Arc::new(UInt32Array::from_iter_values(trades.iter().map(|t| t.user_id.0))),
        Arc::new(prices),
        Arc::new(UInt32Array::from_iter_values(trades.iter().map(|t| t.quantity))),
        Arc::new(DictionaryArray::<UInt8Type>::new(sides, Arc::new(names))),
    ];
    Ok(RecordBatch::try_from_iter(TRADE_COLUMNS.into_iter().zip(columns))?)
}

/// Ids and symbols.
fn instrument_batch(events: &[Event]) -> anyhow::Result<RecordBatch> {
    let (mut ids, mut symbols) = (Vec::new(), Vec::new());
    for event in events {
        if let Message::Instrument(instrument) = event.0 {
            ids.push(instrument.instrument_id.0);
            symbols.push(instrument.terms.to_string());
        }
    }
    let columns: [ArrayRef; 2] =
        [Arc::new(UInt32Array::from(ids)), Arc::new(StringViewArray::from_iter_values(symbols))];
    Ok(RecordBatch::try_from_iter(["id", "symbol"].into_iter().zip(columns))?)
}
