//! The property that everything hangs on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::RecordBatch;
use proptest::prelude::*;
use tradejoin_engine::Order;
use tradejoin_flow::{Block, BoxError, ForEach, Source, TableSource};
use tradejoin_model::{ChangeLane, Distribution, Enriched, Key, LookUp, Messages, MissPolicy};
use tradejoin_router::Router;

use crate::blocks::text_key;
use crate::properties::config;
use crate::streams::{Case, Collect, Rest, Stamp, Step, TABLES, case, difference, equals_oracle};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_engine_equals_the_oracle(case in case()) {
        let (ledger, report) = equals_oracle(&case, case.run_correcting())?;
        // What waits is copied, and nothing is unless something waits.
        let (copied, entered) = (report.trades_copied, ledger.hold.entered);
        prop_assert!((entered..=ledger.rows_read).contains(&copied), "{} copied, {} held", copied, entered);
        prop_assert_eq!(copied == 0, entered == 0);
    }
}

/// A stream in which all trades have one key and every table is partitioned.
fn hot_key(trades: usize) -> Case {
    let change = |table| Step::Change { table, key: 5, delete: false, value: 4, stamp: Stamp::default() };
    let mut steps: Vec<Step> = (0..TABLES).map(change).collect();
    steps.extend((0..trades).map(|_| Step::Trade([Some(5); TABLES], None)));
    Case {
        loaded: vec![],
        gated: false,
        steps,
        cuts: vec![10],
        expected_cuts: vec![1],
        distributions: [Distribution::Partitioned; TABLES],
        look_ups: [LookUp::Latest; TABLES],
        shards: 4,
        queue_depth: 1,
        order: Order::Input,
        on_miss: [MissPolicy::Drop; TABLES],
        hold_rows_max: u64::MAX,
        corrections: None,
    }
}

#[test]
fn a_queue_of_one_with_all_trades_on_one_key_finishes() {
    let case = hot_key(20_000);
    let (rows, report) = case.run();
    assert_eq!(rows.len(), 20_000);
    assert!(rows.is_sorted());
    let busy = report.shards.iter().filter(|shard| shard.looked_up > 0).map(|shard| shard.shard);
    let router = Router::new(case.engine().config().shards, case.tables());
    // As an id, and as a text.
    let owners = [router.shard_of(Key(5)), router.shard_of_text(text_key(5).as_bytes())];
    assert_eq!(busy.collect::<BTreeSet<_>>(), BTreeSet::from(owners), "one key has one owner");
}

#[test]
fn trades_reach_the_sink_in_the_columns_that_the_source_gave() {
    let case = hot_key(95);
    let blocks = case.blocks();
    let columns = |trades: &RecordBatch| -> Vec<_> {
        trades.columns().iter().map(|column| Arc::as_ptr(column).addr()).collect()
    };
    let mut expected: Vec<_> = blocks
        .iter()
        .filter(|block| block.trades.num_rows() > 0)
        .map(|block| columns(&block.trades))
        .collect();
    expected.reverse();
    let sink = ForEach(|enriched: &Enriched| {
        // Of different arrays two may lie at the same place, but not while both are here.
        assert_eq!(expected.pop(), Some(columns(enriched.trades())));
        Ok(())
    });
    let loads = (0..TABLES).map(|_| None).collect();
    let report = case.engine().run(loads, Rest::new(blocks.clone()), sink).expect("a run without faults");
    assert_eq!((report.ledger.enriched, report.trades_copied), (95, 0));
    assert!(expected.is_empty());
}

#[test]
fn more_workers_than_rows_is_the_same_result() {
    let mut case = hot_key(3);
    let (expected, _) = case.expected();
    for shards in [1, 2, 64] {
        case.shards = shards;
        assert_eq!(case.run().0, expected, "{shards} shards");
    }
}

/// A source of a table, or of what is joined with it, that knows how many tables have
/// not ended.
struct InTurn<T> {
    rest: Rest<T>,
    tables_left: Arc<AtomicUsize>,
}

impl TableSource for InTurn<ChangeLane> {
    fn next(&mut self) -> Result<Option<ChangeLane>, BoxError> {
        let lane = TableSource::next(&mut self.rest)?;
        if lane.is_none() {
            self.tables_left.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(lane)
    }
}

impl Source for InTurn<Messages> {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        assert_eq!(self.tables_left.load(Ordering::Relaxed), 0, "read before the tables have ended");
        Source::next(&mut self.rest)
    }
}

#[test]
fn trades_are_not_read_before_the_tables_have_ended() {
    let mut case = hot_key(50);
    case.loaded = case.steps.drain(..TABLES).collect();
    for distribution in [Distribution::Partitioned, Distribution::Broadcast] {
        case.distributions = [distribution; TABLES];
        let tables_left = Arc::new(AtomicUsize::new(TABLES));
        let load = |table| {
            let rest = Rest::new(case.loaded_lanes(table));
            Some(Box::new(InTurn { rest, tables_left: Arc::clone(&tables_left) }) as Box<dyn TableSource>)
        };
        let source = InTurn { rest: Rest::new(case.blocks()), tables_left: Arc::clone(&tables_left) };
        let ran = case.engine().run((0..TABLES).map(load).collect(), source, Collect(Arc::default()));
        assert_eq!(ran.expect("a run without faults").ledger.enriched, 50);
    }
}

#[test]
fn rows_before_a_gate_are_loaded_for_any_workers_and_blocks() {
    let change = |key| {
        let (table, value) = (key as usize % TABLES, 4);
        Step::Change { table, key, delete: false, value, stamp: Stamp::default() }
    };
    let mut case = hot_key(0);
    case.loaded = (0..100).map(change).chain((0..10).map(change)).collect();
    case.steps = (0..100).map(|key| Step::Trade([Some(key); TABLES], None)).collect();
    (case.gated, case.on_miss) = (true, [MissPolicy::Keep; TABLES]);
    let (expected, ledger) = case.expected();
    for distribution in [Distribution::Partitioned, Distribution::Broadcast] {
        for (shards, cut) in [(1, 1_000), (2, 7), (3, 1), (16, 30)] {
            (case.distributions, case.shards, case.cuts) = ([distribution; TABLES], shards, vec![cut]);
            let (rows, report) = case.run();
            assert_eq!(difference(&rows, &expected), None, "{distribution:?}, {shards} shards, {cut}");
            assert_eq!(report.ledger, ledger, "{distribution:?}, {shards} shards, {cut}");
            let counts: Vec<_> =
                report.ledger.tables.iter().map(|table| (table.rows_loaded, table.changes)).collect();
            assert_eq!(counts, [(28, 0), (28, 0), (27, 0), (27, 0)]);
        }
    }
}

#[test]
fn loaded_duplicates_are_counted_and_the_later_row_wins() {
    let mut case = hot_key(2);
    case.steps.drain(..3);
    let change = |value| Step::Change { table: 1, key: 5, delete: false, value, stamp: Stamp::default() };
    case.loaded = vec![change(1), change(4)];
    case.on_miss = [MissPolicy::Keep; TABLES];
    for distribution in [Distribution::Partitioned, Distribution::Broadcast] {
        case.distributions = [distribution; TABLES];
        let (rows, report) = case.run();
        assert!(rows.iter().all(|row| row.columns[6].as_deref() == Some("user 4")), "{rows:?}");
        let table = &report.ledger.tables[1];
        assert_eq!((table.rows_loaded, table.duplicates, table.changes), (2, 1, 0));
    }
}
