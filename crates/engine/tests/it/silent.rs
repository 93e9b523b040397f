//! Runs that are kept while their source waits.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tradejoin_engine::{KeepEvery, Keeping};
use tradejoin_flow::{Block, BoxError, Cut, Keep, Source, SourcePosition};
use tradejoin_model::{ChangeLane, Messages};

use crate::collect::{Collect, Revisions};
use crate::faults;
use crate::kept::Steps;
use crate::streams::{Case, TABLES};

/// Steps behind which nothing comes, though more may, and whoever waits until then is told so.
/// It ends once nobody waits for less than for ever.
struct Silent {
    steps: Steps,
    /// Told what has come of a cut, or that all steps were given.
    given: Option<SyncSender<()>>,
    begin: Instant,
}

impl Source for Silent {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        self.next_until(None)
    }

    fn next_until(&mut self, until: Option<Instant>) -> Result<Option<Block>, BoxError> {
        if let Some(block) = self.steps.next()? {
            return Ok(Some(block));
        }
        drop(self.given.take());
        let Some(until) = until else { return Ok(None) };
        if self.begin.elapsed() > Duration::from_secs(60) {
            return Err("there is no cut behind all steps".into());
        }
        while Instant::now() < until {
            std::thread::yield_now();
        }
        let nothing = faults::case(0).blocks().pop().expect("a block");
        let lanes = vec![ChangeLane::default(); TABLES].into();
        Ok(Some(Messages { lanes, ..nothing }.into()))
    }

    fn position(&self) -> Option<SourcePosition> {
        self.steps.position()
    }
}

/// Notes how many records lie before each cut, and how the run came to its end; the first one it
/// makes durable when all have been read.
struct Cuts {
    given: Receiver<()>,
    cuts: Arc<Mutex<Vec<(u64, bool)>>>,
}

impl Keep for Cuts {
    fn rows(&mut self, _: usize, _: &ChangeLane) -> Result<(), BoxError> {
        Ok(())
    }

    fn changes(&mut self, _: u64, _: &[ChangeLane]) -> Result<(), BoxError> {
        Ok(())
    }

    fn keep(&mut self, cut: Cut) -> Result<u64, BoxError> {
        // Fails when there is nobody who would tell any more.
        let _ = self.given.recv();
        let cut = (cut.source.inputs[0].records, cut.end.is_some());
        self.cuts.lock().expect("not poisoned").push(cut);
        Ok(0)
    }
}

#[test]
fn what_was_read_before_a_silence_is_kept_in_it() {
    let often = [KeepEvery::Time(Duration::from_millis(1)), KeepEvery::Trades(50)];
    for (shards, every) in [1, 3].into_iter().flat_map(|shards| often.map(|every| (shards, every))) {
        let case = Case { shards, ..faults::case(100) };
        let (given, all) = sync_channel(1);
        let cuts = Arc::default();
        let keep = Box::new(Cuts { given: all, cuts: Arc::clone(&cuts) });
        let source = Silent { steps: Steps::new(&case, 0), given: Some(given), begin: Instant::now() };
        let loads = (0..TABLES).map(|_| None).collect();
        let (sink, keeping) = (Collect(Arc::default()), Keeping { keep, every, resume: None });
        let ran = case.engine().run_kept(loads, source, sink, &mut Revisions::default(), Some(keeping));
        assert_eq!(ran.expect("a run without faults").ledger.rows_read, 100);
        let cuts = cuts.lock().expect("not poisoned");
        let all = case.steps.len() as u64;
        // The first block has 10 of them.
        assert_eq!(*cuts, [(10, false), (all, false), (all, true)], "{shards}, {every:?}");
    }
}
