//! Changes from beside the source: at one place in the sequence for all shards and
//! tables, whatever the timing.

use std::sync::{Arc, Mutex};

use arrow_array::{RecordBatch, UInt32Array};
use arrow_schema::Schema;
use proptest::prelude::*;
use tradejoin_engine::{Engine, EngineConfig, InEffect, Order, Update, Updates};
use tradejoin_flow::{Block, BoxError, ForEach, Source, TableSource};
use tradejoin_model::{
    ChangeKind, ChangeLane, Column, Distribution, Enriched, Key, Messages, ShardCount, TableSpec, TextColumn,
};

use crate::properties::config;
use crate::streams::{Rest, case, equals_oracle};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn changes_from_beside_are_what_those_of_the_stream_are(mut case in case()) {
        case.gated = false;
        equals_oracle(&case, case.run_with_updates())?;
    }
}

/// Keys of both tables.
const KEYS: u32 = 500;
/// Trades of a block: more than one for each key.
const BLOCK: u32 = 1_300;

/// Every row of a table, with the number of its generation.
fn rows(generation: u64) -> ChangeLane {
    let mut values = TextColumn::default();
    (0..KEYS).for_each(|_| values.push(Some(&generation.to_string())));
    ChangeLane {
        at_rows: vec![0; KEYS as usize],
        keys: (0..KEYS).map(Key).collect::<Vec<_>>().into(),
        kinds: vec![ChangeKind::Upsert; KEYS as usize],
        fields: vec![Column::Text(values)],
        ..ChangeLane::default()
    }
}

fn both_tables(generation: u64) -> Update {
    vec![(0, rows(generation)), (1, rows(generation))]
}

/// Blocks of trades; before some of them a generation is offered.
struct Reloaded {
    updates: Updates,
    blocks: u32,
    every: u32,
    generation: u64,
}

impl Source for Reloaded {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        if self.blocks == 0 {
            return Ok(None);
        }
        self.blocks -= 1;
        if self.blocks.is_multiple_of(self.every) {
            self.generation += 1;
            assert_eq!(self.updates.offer(both_tables(self.generation)), self.generation - 1);
        }
        let keys = UInt32Array::from_iter_values((0..BLOCK).map(|row| row * 7 % KEYS));
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(BLOCK as usize));
        let trades = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)?;
        let messages =
            Messages::new(trades, vec![keys.clone().into(), keys.into()], vec![ChangeLane::default(); 2])?;
        Ok(Some(messages.into()))
    }
}

/// The generation that each trade found in both tables, and how many trades each update
/// had before it; and the bytes of the tables.
fn run(config: EngineConfig, blocks: u32, every: u32) -> (Vec<u64>, Vec<u64>, u64) {
    let engine = Engine::new(config);
    let updates = engine.updates();
    let source = Reloaded { updates: updates.clone(), blocks, every, generation: 0 };
    let found = Arc::new(Mutex::new(Vec::new()));
    let collect = ForEach(|enriched: &Enriched| {
        let value = |column: usize, row: usize| -> u64 {
            let Column::Text(texts) = &enriched.columns[column] else { panic!("a column of texts") };
            let text = texts.get(row).expect("every key is there");
            std::str::from_utf8(text).expect("text").parse().expect("a generation")
        };
        for row in enriched.rows() {
            let generations = [value(0, row), value(1, row)];
            assert_eq!(generations[0], generations[1], "both tables change at one place");
            found.lock().expect("not poisoned").push(generations[0]);
        }
        Ok(())
    });
    let load = || Some(Box::new(Rest::new(vec![rows(0)])) as Box<dyn TableSource>);
    let report = engine.run(vec![load(), load()], source, collect).expect("it runs");
    let mut in_effect = updates.in_effect();
    in_effect.sort_by_key(|update| update.update);
    let numbers = in_effect.iter().map(|update| update.update);
    assert!(numbers.eq(0..in_effect.len() as u64), "each once: {in_effect:?}");
    let changes = in_effect.len() as u64 * u64::from(KEYS);
    assert!(report.ledger.tables.iter().all(|table| table.changes == changes), "{:?}", report.ledger);
    let trades_before = in_effect.iter().map(|&InEffect { trades_before, .. }| trades_before).collect();
    let bytes = report.shards.iter().map(|shard| shard.table_bytes).sum();
    (
        Arc::into_inner(found).expect("the run is over").into_inner().expect("not poisoned"),
        trades_before,
        bytes,
    )
}

fn settings(shards: u32, order: Order, distributions: [Distribution; 2]) -> EngineConfig {
    let table = |distribution| TableSpec { distribution, ..TableSpec::users() };
    let mut config = EngineConfig::new(distributions.map(table).into());
    config.shards = ShardCount::new(shards).expect("in range");
    config.cores = config.shards;
    config.order = order;
    config
}

#[test]
fn every_trade_finds_the_generation_of_its_place_in_all_tables() {
    use Distribution::{Broadcast, Partitioned};
    for shards in [1, 2, 3, 7] {
        for distributions in [[Partitioned; 2], [Broadcast; 2], [Partitioned, Broadcast]] {
            let (found, trades_before, _) = run(settings(shards, Order::Input, distributions), 30, 3);
            assert_eq!(found.len(), 30 * BLOCK as usize);
            assert!(!trades_before.is_empty());
            for (number, generation) in (0..).zip(&found) {
                let expected = trades_before.iter().filter(|&&before| before <= number).count() as u64;
                assert_eq!(*generation, expected, "trade {number}, {shards} shards, {distributions:?}");
            }
        }
        let (mut found, trades_before, _) = run(settings(shards, Order::Arrival, [Partitioned; 2]), 30, 3);
        found.sort_unstable();
        let of_generation =
            |n: usize| found.iter().filter(|&&generation| generation == n as u64).count() as u64;
        let ends = trades_before.iter().copied().chain([found.len() as u64]);
        let mut before = 0;
        for (generation, end) in ends.enumerate() {
            assert_eq!(of_generation(generation), end - before, "the same trades in any order");
            before = end;
        }
    }
}

#[test]
fn a_thousand_updates_leave_the_memory_of_the_tables_as_it_is() {
    // Which shard answers for a broadcast table, and has room for it, is a matter of timing.
    for (shards, distribution) in [(2, Distribution::Partitioned), (1, Distribution::Broadcast)] {
        let few = run(settings(shards, Order::Input, [distribution; 2]), 20, 1);
        let many = run(settings(shards, Order::Input, [distribution; 2]), 1_000, 1);
        assert!(many.1.len() >= 900, "{} updates", many.1.len());
        assert!(many.2 <= few.2, "{} bytes after many, {} after few", many.2, few.2);
    }
}
