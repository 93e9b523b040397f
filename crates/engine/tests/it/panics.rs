//! A stage that panics ends the run, and the error names it and the batch: those that are made to
//! by nothing in `faults`.

use std::panic::panic_any;
use std::sync::Arc;

use arrow_array::Int64Array;
use tradejoin_engine::{CorrectionConfig, Engine, EngineError, KeepEvery, Keeping, Report, Stage};
use tradejoin_flow::{
    Block, BoxError, Cut, End, Keep, NothingPrepared, Prepared, Revise, Source, TableSource,
};
use tradejoin_model::{ChangeLane, Distribution, Expired, Hold, HoldLimit, MissPolicy, Revised};

use crate::collect::Collect;
use crate::faults::{case, place, run};
use crate::kept::Steps;
use crate::streams::{Case, Rest, Stamp, Step, TABLES};

/// A case in which trade number `at` finds nothing.
fn missing(trades: usize, at: usize) -> Case {
    let mut case = case(trades);
    case.steps[TABLES + at] = Step::Trade([Some(2); TABLES], None);
    case
}

fn nothing_loaded() -> Vec<Option<Box<dyn TableSource>>> {
    (0..TABLES).map(|_| None).collect()
}

/// The stage and what was said; without a batch.
fn beside_batches(ran: Result<Report, EngineError>) -> (Stage, String) {
    match ran {
        Err(EngineError::Panicked { stage, batch: None, message }) => (stage, message),
        ran => panic!("{ran:?}"),
    }
}

#[test]
fn a_panic_in_the_merger_is_named() {
    for shards in [1, 3] {
        // Steps 204, in block 20.
        let mut case = missing(500, 200);
        case.shards = shards;
        let hold = Hold { limit: HoldLimit::EventTime(5), then: Expired::Keep };
        case.on_miss = [MissPolicy::Hold(hold); TABLES];
        // A source that breaks its word: there are no times for its trades, which nobody asks
        // for but who judges a trade that found nothing.
        let mut blocks = case.blocks();
        blocks[20].times = Some(Int64Array::from(Vec::<i64>::new()));
        let ran = run(&case, Rest::new(blocks), Collect(Arc::default()));
        assert!(matches!(ran, Err(EngineError::Panicked { stage: Stage::Merge, .. })), "{ran:?}");
        assert_eq!(place(&case, ran), 20);
    }
}

/// Panics with the first revision.
struct Panics;

impl Revise for Panics {
    fn write(&mut self, _: Revised) -> Result<(), BoxError> {
        panic!("at the corrections")
    }

    fn prepare(&mut self, _: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        Ok(Box::new(NothingPrepared))
    }
}

#[test]
fn a_panic_where_trades_are_held_or_corrected_is_named() {
    for shards in [1, 3] {
        let mut case = case(500);
        case.shards = shards;
        let (time, bytes, rows_max, bytes_max) = (None, None, u64::MAX, u64::MAX);
        case.corrections = Some(CorrectionConfig { time, rows: Some(1_000), bytes, rows_max, bytes_max });
        // It changes what the trades before it have found.
        let stamp = Stamp { version: 2, ..Stamp::default() };
        case.steps[305] = Step::Change { table: 1, key: 1, delete: false, value: 9, stamp };
        let (engine, source) = (case.engine(), Rest::new(case.blocks()));
        let ran = engine.run_correcting(nothing_loaded(), source, Collect(Arc::default()), &mut Panics);
        assert!(
            matches!(&ran, Err(EngineError::Panicked { stage: Stage::Hold, message, .. }) if message == "at the corrections"),
            "{ran:?}"
        );
        assert_eq!(place(&case, ran), 30);
    }
}

/// What is thrown, and panics when it is let go.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("the bomb");
        }
    }
}

/// Panics behind so many blocks in a way that is not over with that.
struct Worse(Rest<tradejoin_model::Messages>);

impl Source for Worse {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        let next = self.0.next()?;
        if next.is_none() {
            panic_any(Bomb);
        }
        Ok(next)
    }
}

#[test]
fn a_panic_beside_all_tasks_ends_every_thread_and_is_named() {
    let mut case = case(50);
    for shards in [1, 3] {
        case.shards = shards;
        let ran = run(&case, Worse(Rest::new(case.blocks())), Collect(Arc::default()));
        assert_eq!(beside_batches(ran), (Stage::Schedule, "the bomb".to_owned()));
        let engine: Engine = case.engine();
        let source = Worse(Rest::new(case.blocks()));
        let (sink, pick) = (Collect(Arc::default()), &mut |_: usize| 0);
        let ran = engine.run_in_steps(nothing_loaded(), source, sink, &mut Panics, None, pick);
        assert_eq!(beside_batches(ran), (Stage::Schedule, "the bomb".to_owned()));
    }
}

/// Panics so with a cut.
struct Keeps;

impl Keep for Keeps {
    fn rows(&mut self, _: usize, _: &ChangeLane) -> Result<(), BoxError> {
        Ok(())
    }

    fn changes(&mut self, _: u64, _: &[ChangeLane]) -> Result<(), BoxError> {
        Ok(())
    }

    fn keep(&mut self, _: Cut) -> Result<u64, BoxError> {
        panic_any(Bomb)
    }
}

#[test]
fn a_panic_of_what_keeps_that_is_not_over_with_that_ends_the_run() {
    let case = case(500);
    let keeping = Keeping { keep: Box::new(Keeps), every: KeepEvery::Trades(100), resume: None };
    let (engine, source) = (case.engine(), Steps::new(&case, 0));
    let ran = engine.run_kept(nothing_loaded(), source, Collect(Arc::default()), &mut Panics, Some(keeping));
    assert_eq!(beside_batches(ran), (Stage::Keep, "the bomb".to_owned()));
}

/// Rows of a table that panic behind the first ones.
struct Rows(Option<ChangeLane>);

impl TableSource for Rows {
    fn next(&mut self) -> Result<Option<ChangeLane>, BoxError> {
        Ok(Some(self.0.take().unwrap_or_else(|| panic!("at the table"))))
    }
}

#[test]
fn a_panic_of_a_table_that_is_loaded_is_named() {
    for distribution in [Distribution::Partitioned, Distribution::Broadcast] {
        let mut case = case(500);
        case.distributions = [distribution; TABLES];
        // The row of the second table.
        let lane = case.blocks()[0].lanes[1].clone();
        let mut loads = nothing_loaded();
        loads[1] = Some(Box::new(Rows(Some(lane))));
        let engine = case.engine();
        let ran = engine.run(loads, Rest::new(case.blocks()), Collect(Arc::default()));
        assert_eq!(beside_batches(ran), (Stage::Read, "at the table".to_owned()), "{distribution:?}");
    }
}
