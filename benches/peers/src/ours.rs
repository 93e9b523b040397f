//! The yardstick, and the engine.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, TimestampNanosecondType, UInt8Type, UInt32Type, UInt64Type};
use tradejoin_baseline::{Digesting, Outcome, Tables, maps, naive as join};
use tradejoin_engine::{Engine, EngineConfig};
use tradejoin_flow::{Block, BoxError, Encode, End, NothingPrepared, Prepared, Sink, Source};
use tradejoin_model::{Column, Distribution, Enriched, Message, Messages, ShardCount, TableSpec};

use crate::data::Data;
use crate::sum::{Sum, TradeColumns};

/// The right answers, by a plain loop of its own: that of the programs that keep
/// the order, and the sum of the others.
pub(crate) fn expected(data: &Data) -> (Outcome, Sum) {
    let mut symbols = BTreeMap::new();
    let (mut outcome, mut sum) = (Outcome::default(), Sum::default());
    for message in data.messages() {
        match message {
            Message::Instrument(instrument) => {
                symbols.insert(instrument.instrument_id, instrument.terms.to_string());
            }
            Message::Trade(trade) => match symbols.get(&trade.instrument_id) {
                Some(symbol) => {
                    outcome.enriched += 1;
                    outcome.digest.add(&trade, symbol, None);
                    sum.add(&trade, symbol.as_bytes());
                }
                None => outcome.unmatched += 1,
            },
            Message::User(_) => {}
        }
    }
    (outcome, sum)
}

/// One thread, the standard library's map, the symbol cloned for each trade.
pub(crate) fn naive(data: &Data) -> Outcome {
    join::<maps::Std>(data.messages(), Tables::Instruments)
}

/// The engine, with the checksum that is timed.
///
/// # Errors
/// If the run fails.
pub(crate) fn tradejoin(data: &Data, workers: u32, distribution: Distribution) -> anyhow::Result<Outcome> {
    let mut sink = Digesting::default();
    let report = engine(workers, distribution).run(vec![None], Blocks(data.blocks.iter()), &mut sink)?;
    Ok(Outcome { enriched: report.ledger.enriched, unmatched: report.ledger.unmatched(), digest: sink.0 })
}

/// The engine, with the sum that does not depend on the order.
///
/// # Errors
/// If the run fails.
pub(crate) fn tradejoin_sum(data: &Data, workers: u32, distribution: Distribution) -> anyhow::Result<Sum> {
    let mut sink = Summing::default();
    engine(workers, distribution).run(vec![None], Blocks(data.blocks.iter()), &mut sink)?;
    Ok(sink.0)
}

fn engine(workers: u32, distribution: Distribution) -> Engine {
    let mut table = TableSpec::instruments();
    table.distribution = distribution;
    let mut config = EngineConfig::new(vec![table]);
    config.shards = ShardCount::new(workers).unwrap_or(config.shards);
    Engine::new(config)
}

/// Blocks in memory, handed out by reference count.
struct Blocks<'a>(std::slice::Iter<'a, Messages>);

impl Source for Blocks<'_> {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        Ok(self.0.next().cloned().map(Block::from))
    }
}

/// Sums batches row by row.
#[derive(Default)]
struct Summing(Sum);

impl Sink for Summing {
    type Piece = Sum;
    type Encoder = Sums;

    fn encoder(&self) -> Sums {
        Sums
    }

    fn write(&mut self, sum: &mut Sum) -> Result<(), BoxError> {
        self.0.merge(*sum);
        Ok(())
    }

    fn prepare(&mut self, _: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        Ok(Box::new(NothingPrepared))
    }
}

struct Sums;

impl Encode for Sums {
    type Piece = Sum;

    fn encode(&mut self, enriched: &Enriched, sum: &mut Sum) -> Result<(), BoxError> {
        let columns = enriched.trades().columns();
        let trades = TradeColumns {
            ids: columns[0].as_primitive::<UInt64Type>().values(),
            times: columns[1].as_primitive::<TimestampNanosecondType>().values(),
            instruments: columns[2].as_primitive::<UInt32Type>().values(),
            users: columns[3].as_primitive::<UInt32Type>().values(),
            prices: columns[4].as_primitive::<Decimal128Type>().values(),
            quantities: columns[5].as_primitive::<UInt32Type>().values(),
            sides: columns[6].as_dictionary::<UInt8Type>().keys().values(),
        };
        let Column::Text(symbols) = &enriched.columns[0] else {
            return Err("the symbol is no text".into());
        };
        *sum = Sum::default();
        for row in enriched.rows() {
            sum.add(&trades.trade(row), symbols.get(row).ok_or("a trade that is kept has no symbol")?);
        }
        Ok(())
    }
}
