//! What fails in a run, or panics, at a place and a time that are drawn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use shuttle::sync::{Mutex, PoisonError};
use tradejoin_engine::EngineError;
use tradejoin_flow::BoxError;

use crate::runs::{Blocks, Collect, Job};
use crate::{check, draw};

/// Where something may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Load,
    Read,
    Decode,
    Encode,
    Write,
    Prepare,
    Changes,
    Keep,
    MakeDurable,
    Publish,
}

impl Place {
    const IN_A_RUN: [Self; 5] = [Self::Load, Self::Read, Self::Decode, Self::Encode, Self::Write];
    const OF_WHAT_KEEPS: [Self; 4] = [Self::Changes, Self::Keep, Self::MakeDurable, Self::Publish];

    /// Whether it is the thread that keeps that comes there.
    fn is_beside(self) -> bool {
        Self::OF_WHAT_KEEPS.contains(&self)
    }
}

/// What is to fail. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Arc<Fault>);

#[derive(Debug, Default)]
struct Fault {
    /// Where, at the how-manieth time from 0, and whether by a panic.
    at: Option<(Place, u64, bool)>,
    times: AtomicU64,
    is_met: AtomicBool,
}

const TEXT: &str = "a fault";

impl Faults {
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// One of a run without what keeps it.
    fn drawn() -> Self {
        Self::at(Place::IN_A_RUN[draw(5) as usize])
    }

    /// One of a run that is kept.
    pub(crate) fn drawn_of_kept() -> Self {
        match draw(10) {
            place @ 0..5 => Self::at(Place::IN_A_RUN[place as usize]),
            5 => Self::at(Place::Prepare),
            place => Self::at(Place::OF_WHAT_KEEPS[place as usize - 6]),
        }
    }

    fn at(place: Place) -> Self {
        let at = Some((place, draw(7), draw(2) == 0));
        Self(Arc::new(Fault { at, ..Fault::default() }))
    }

    /// Fails or panics, if it is to be here and now.
    pub(crate) fn meet(&self, place: Place) -> Result<(), BoxError> {
        // Others may go on before whatever a stage does.
        shuttle::thread::yield_now();
        let Some((at, time, by_panic)) = self.0.at else { return Ok(()) };
        if at != place || self.0.times.fetch_add(1, Ordering::Relaxed) != time {
            return Ok(());
        }
        self.0.is_met.store(true, Ordering::Relaxed);
        if by_panic { panic!("{TEXT}") } else { Err(TEXT.into()) }
    }

    pub(crate) fn are_met(&self) -> bool {
        self.0.is_met.load(Ordering::Relaxed)
    }

    /// Holds the error of a run to the fault that it met.
    pub(crate) fn explain(&self, error: &EngineError) {
        let told = format!("{error:?}");
        assert!(self.are_met() && told.contains(TEXT), "{told}");
        let (place, ..) = self.0.at.expect("what was met is there");
        if place.is_beside() {
            assert!(told.starts_with("Keep(") || told.contains("stage: Keep"), "{told}");
        }
    }
}

#[test]
fn a_stage_that_fails_ends_the_run_whoever_waits_for_whom() {
    check(|| {
        let (job, faults) = (Job::drawn(), Faults::drawn());
        let rows = Arc::new(Mutex::new(Vec::new()));
        let source = Blocks { at: 0, end: job.blocks, faults: faults.clone() };
        let sink = Collect { rows: Arc::clone(&rows), faults: faults.clone(), is_kept: false };
        let ran = job.engine().run(job.loads(None, &faults), source, sink);
        let rows = std::mem::take(&mut *rows.lock().unwrap_or_else(PoisonError::into_inner));
        match ran {
            Ok(report) => {
                assert!(!faults.are_met() && !report.interrupted);
                assert_eq!(rows, Job::expected(job.blocks), "{job:?}");
            }
            Err(error) => {
                faults.explain(&error);
                assert!(Job::expected(job.blocks).starts_with(&rows), "{rows:?}, {job:?}");
            }
        }
    });
}
