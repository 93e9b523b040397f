//! Cuts of runs in any order of their threads, with and without faults.

use tradejoin_flow::End;

use crate::faults::Faults;
use crate::runs::Job;
use crate::{check, draw};

#[test]
fn every_cut_is_of_one_place_and_the_end_is_kept() {
    check(|| {
        let job = Job::drawn();
        let (ran, rows, kept) = job.run_kept(&job.engine(), None, &Faults::none());
        let report = ran.expect("a run without faults");
        assert_eq!(rows, Job::expected(job.blocks), "{job:?}");
        assert_eq!(report.kept.map(|kept| kept.cuts), Some(kept.len() as u64));
        let last = kept.last().expect("the end is kept");
        assert_eq!((last.end, last.blocks), (Some(End::Complete), job.blocks), "{job:?}");
    });
}

#[test]
fn a_run_goes_on_from_any_cut_on_other_threads() {
    check(|| {
        let job = Job::drawn();
        let (ran, _, kept) = job.run_kept(&job.engine(), None, &Faults::none());
        ran.expect("a run without faults");
        let from = &kept[draw(kept.len() as u64) as usize];
        if from.end.is_none() {
            let job = job.otherwise();
            let (ran, rows, kept) = job.run_kept(&job.engine(), Some(from), &Faults::none());
            ran.expect("a run without faults");
            assert_eq!(rows, Job::expected(job.blocks), "{job:?}");
            assert_eq!(kept.last().map(|last| last.blocks), Some(job.blocks), "{job:?}");
        }
    });
}

#[test]
fn what_fails_is_told_and_nothing_is_kept_behind_it() {
    check(|| {
        let (job, faults) = (Job::drawn(), Faults::drawn_of_kept());
        let (ran, rows, kept) = job.run_kept(&job.engine(), None, &faults);
        assert!(Job::expected(job.blocks).starts_with(&rows), "{rows:?}, {job:?}");
        match ran {
            Ok(_) => assert!(!faults.are_met() && kept.last().is_some_and(|last| last.end.is_some())),
            Err(error) => faults.explain(&error),
        }
    });
}
