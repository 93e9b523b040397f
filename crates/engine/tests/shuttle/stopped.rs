//! Runs that another thread asks to stop.

use std::sync::Arc;

use shuttle::sync::{Mutex, PoisonError};
use shuttle::thread;
use tradejoin_flow::End;

use crate::check;
use crate::faults::Faults;
use crate::runs::{Blocks, Collect, Job};

#[test]
fn a_run_that_is_stopped_ends_with_what_it_had_read() {
    check(|| {
        let job = Job::drawn();
        let engine = job.engine();
        let stop = engine.stop();
        let asks = thread::spawn(move || stop.request());
        let rows = Arc::new(Mutex::new(Vec::new()));
        let source = Blocks { at: 0, end: job.blocks, faults: Faults::none() };
        let sink = Collect { rows: Arc::clone(&rows), faults: Faults::none(), is_kept: false };
        let report =
            engine.run(job.loads(None, &Faults::none()), source, sink).expect("a run without faults");
        asks.join().expect("no panic");
        let rows = std::mem::take(&mut *rows.lock().unwrap_or_else(PoisonError::into_inner));
        assert_eq!(report.ledger.check(), Ok(()));
        assert_eq!(report.ledger.rows_read, rows.len() as u64);
        assert!(Job::expected(job.blocks).starts_with(&rows), "{rows:?}, {job:?}");
        assert!(report.interrupted || rows.len() == Job::expected(job.blocks).len(), "{rows:?}, {job:?}");
    });
}

#[test]
fn a_run_that_is_stopped_keeps_where_it_was() {
    check(|| {
        let job = Job::drawn();
        let engine = job.engine();
        let stop = engine.stop();
        let asks = thread::spawn(move || stop.request());
        let (ran, rows, kept) = job.run_kept(&engine, None, &Faults::none());
        let report = ran.expect("a run without faults");
        asks.join().expect("no panic");
        assert!(Job::expected(job.blocks).starts_with(&rows), "{rows:?}, {job:?}");
        // There is no place before the table is complete.
        let Some(last) = kept.last() else {
            return assert!(report.interrupted && rows.is_empty(), "{rows:?}, {job:?}");
        };
        let end = if report.interrupted { End::Interrupted } else { End::Complete };
        assert_eq!((last.end, last.blocks), (Some(end), rows.len() as u64 / crate::runs::KEYS), "{job:?}");
    });
}
