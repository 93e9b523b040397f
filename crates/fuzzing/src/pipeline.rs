//! The whole join: any trades with any instruments give what the oracle gives, for any
//! number of workers and any block length.

use std::sync::{Arc, Mutex};

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use tradejoin_connectors::{
    Encoding, Fields, Format, TableColumns, TableKind, TableOptions, TradeReader, TradesOptions, open_table,
    open_trades, select_outputs,
};
use tradejoin_engine::{Engine, EngineConfig};
use tradejoin_flow::{ForEach, TableSource};
use tradejoin_model::{Distribution, Enriched, Keys, Ledger, Messages, MissPolicy, ShardCount, TableSpec};
use tradejoin_oracle::{Oracle, bytes as value};

use crate::memory::Memory;

const CSV: Encoding = Encoding::plain(Format::Csv);
/// What stands between trades and instruments.
pub(crate) const BETWEEN: &[u8] = b"\n==\n";

/// Trades, a line of `==`, and instruments.
pub(crate) fn pipeline(bytes: &[u8]) {
    let at = bytes.windows(BETWEEN.len()).position(|window| window == BETWEEN);
    let Some(at) = at else { return };
    let (trades, instruments) = (Memory::new(&bytes[..=at]), Memory::new(&bytes[at + BETWEEN.len()..]));
    for on_miss in [MissPolicy::Keep, MissPolicy::Drop] {
        let Some(expected) = by_the_oracle(&trades, &instruments, on_miss) else { return };
        assert_eq!(expected.ledger.check(), Ok(()));
        for (shards, batch_len, distribution) in
            [(1, 1_000, Distribution::Broadcast), (3, 2, Distribution::Partitioned)]
        {
            let joined = by_the_engine(&trades, &instruments, on_miss, (shards, batch_len, distribution));
            assert_eq!(
                joined.expect("the oracle could"),
                expected,
                "{shards} workers, blocks of {batch_len}"
            );
        }
    }
}

/// What a join came to.
#[derive(Debug, PartialEq, Eq)]
struct Joined {
    /// The number of each trade that goes on, and what was added to it.
    rows: Vec<(u64, Vec<Option<Vec<u8>>>)>,
    ledger: Ledger,
}

/// The inputs of a join.
struct Inputs {
    trades: TradeReader,
    table: Box<dyn TableSource>,
    spec: TableSpec,
}

/// Opens both inputs; `None` if that cannot be.
fn open(trades: &Memory, instruments: &Memory, batch_len: usize) -> Option<Inputs> {
    let table = TableOptions {
        input: instruments.skipping(CSV, batch_len),
        table: TableKind::Instruments.into(),
        strict: false,
    };
    let mut table = open_table(table).ok()?;
    let trades = TradesOptions {
        input: trades.skipping(CSV, batch_len),
        limit: None,
        key_columns: vec!["instrument_id".into()],
        fields: Fields::AsText,
    };
    let trades = open_trades(trades).ok()?;
    let offers = [TableColumns { table: TableKind::Instruments.into(), columns: table.columns().to_vec() }];
    let wanted =
        ["instrument", "instrument_padded", "strike", "expiry"].map(|name| format!("{name} as added {name}"));
    let schema = trades.schema();
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let mut selection = select_outputs(&offers, names, &wanted).ok()?;
    let selected = selection.tables.pop()?;
    table.load(&selected.fields).ok()?;
    Some(Inputs { trades, table: Box::new(table), spec: selected.spec })
}

fn by_the_oracle(trades: &Memory, instruments: &Memory, on_miss: MissPolicy) -> Option<Joined> {
    let Inputs { mut trades, mut table, spec } = open(trades, instruments, 1_000)?;
    let mut oracle = Oracle::new(&[TableSpec { on_miss, ..spec }], 1_000, false);
    while let Some(lane) = table.next().ok()? {
        let none = RecordBatch::new_empty(Schema::empty().into());
        let rows = Messages::new(none, vec![Keys::none()], vec![lane]).expect("rows of a table");
        oracle.push(&Messages { loading: true, ..rows });
    }
    let mut rows = Vec::new();
    while let Some(messages) = trades.read().ok()? {
        rows.extend(oracle.push(&messages).into_iter().map(|trade| (trade.number, trade.columns)));
    }
    rows.extend(oracle.finish().into_iter().map(|trade| (trade.number, trade.columns)));
    Some(Joined { rows, ledger: oracle.ledger().clone() })
}

fn by_the_engine(
    trades: &Memory,
    instruments: &Memory,
    on_miss: MissPolicy,
    (shards, batch_len, distribution): (u32, usize, Distribution),
) -> Option<Joined> {
    let Inputs { trades, table, spec } = open(trades, instruments, batch_len)?;
    let mut config = EngineConfig::new(vec![TableSpec { distribution, on_miss, ..spec }]);
    config.shards = ShardCount::new(shards)?;
    let rows = Arc::new(Mutex::new(Vec::new()));
    let sink = ForEach(|enriched: &Enriched| {
        let added = |row: usize| enriched.columns.iter().map(|column| value(column, row)).collect();
        let numbered = enriched.rows().map(|row| (enriched.trades_before + row as u64 + 1, added(row)));
        rows.lock().expect("no panic").extend(numbered);
        Ok(())
    });
    let report = Engine::new(config).run(vec![Some(table)], trades, sink).ok()?;
    let rows = rows.lock().expect("no panic").clone();
    Some(Joined { rows, ledger: report.ledger })
}
