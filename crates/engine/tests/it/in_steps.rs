//! Whole runs on one thread, in any order of their tasks.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use proptest::sample::Index;
use tradejoin_engine::{Engine, EngineError, Order, Report};
use tradejoin_flow::TableSource;

use crate::collect::{Collect, Revisions};
use crate::properties::config;
use crate::streams::{Case, Rest, Rows, TABLES, case, equals_oracle};

/// Runs a case in the order of these picks, again and again.
fn run(case: &Case, engine: &Engine, picks: &[Index]) -> Result<(Rows, Revisions, Report), EngineError> {
    let rows = Arc::new(Mutex::new(Rows::new()));
    let load = |table| Some(Box::new(Rest::new(case.loaded_lanes(table))) as Box<dyn TableSource>);
    let loads = (0..TABLES).map(|table| load(table).filter(|_| !case.gated)).collect();
    let (source, sink) = (Rest::new(case.blocks()), Collect(Arc::clone(&rows)));
    let (mut revisions, mut picks) = (Revisions::default(), picks.iter().cycle());
    let mut pick = |of| picks.next().map_or(0, |pick| pick.index(of));
    let report = engine.run_in_steps(loads, source, sink, &mut revisions, None, &mut pick)?;
    let rows = std::mem::take(&mut *rows.lock().expect("not poisoned"));
    Ok((rows, revisions, report))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_run_in_steps_equals_the_oracle_in_any_order_of_them(
        case in case(),
        picks in prop::collection::vec(any::<Index>(), 1..60),
    ) {
        let (rows, revisions, report) = run(&case, &case.engine(), &picks).expect("a run without faults");
        equals_oracle(&case, (rows, revisions.rows, report))?;
    }

    #[test]
    fn a_run_in_steps_that_is_stopped_ends_and_accounts_for_what_it_wrote(
        case in case(),
        picks in prop::collection::vec(any::<Index>(), 1..60),
        at in 0..40_usize,
    ) {
        let engine = case.engine();
        let (stop, mut steps) = (engine.stop(), 0);
        let source = Rest::new(case.blocks());
        let rows = Arc::new(Mutex::new(Rows::new()));
        let mut picks = picks.iter().cycle();
        let mut pick = |of| {
            steps += 1;
            if steps > at {
                stop.request();
            }
            picks.next().map_or(0, |pick| pick.index(of))
        };
        let loads = (0..TABLES).map(|_| None).collect();
        let sink = Collect(Arc::clone(&rows));
        let report = engine.run_in_steps(loads, source, sink, &mut Revisions::default(), None, &mut pick);
        let report = report.expect("a run without faults");
        let ledger = report.ledger;
        prop_assert_eq!(ledger.check(), Ok(()));
        let written = ledger.enriched + ledger.unmatched_kept + ledger.dead_lettered;
        let rows = rows.lock().expect("not poisoned").len() as u64;
        // In line a trade has its outcome before it is written, which it may never be if what
        // is under way is dropped.
        if case.order == Order::Strict {
            prop_assert!(rows <= written);
        } else {
            prop_assert_eq!(rows, written);
        }
    }
}
