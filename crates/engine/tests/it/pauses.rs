//! How long a run stands still to be kept, and what waits for threads that are slow.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tradejoin_engine::{KeepEvery, Keeping, KeptReport};
use tradejoin_flow::{
    Block, BoxError, Copied, Cut, Encode, End, ForEach, Keep, OutputPosition, Prepared, Sink, Source,
};
use tradejoin_model::{ChangeLane, Enriched, Messages, MissPolicy};

use crate::collect::{AsRows, Collect, Revisions};
use crate::faults;
use crate::kept::Steps;
use crate::streams::{Case, Rest, Rows, Stamp, Step, TABLES};

/// A run of so many changes with a trade behind each.
fn case(changes: usize) -> Case {
    let change = |value| Step::Change { table: 0, key: 1, delete: false, value, stamp: Stamp::default() };
    let steps = (0..changes).flat_map(|n| [change((n % 100) as u8), Step::Trade([Some(1); TABLES], None)]);
    Case { steps: steps.collect(), cuts: vec![2], on_miss: [MissPolicy::Keep; TABLES], ..faults::case(0) }
}

/// Runs a case with a cut every so many trades.
fn run(case: &Case, sink: impl Sink, keep: impl Keep, every: u64) -> KeptReport {
    let keeping = Keeping { keep: Box::new(keep), every: KeepEvery::Trades(every), resume: None };
    let loads = (0..TABLES).map(|_| None).collect();
    let (source, revise) = (Steps::new(case, 0), &mut Revisions::default());
    let ran = case.engine().run_kept(loads, source, sink, revise, Some(keeping));
    ran.expect("a run that goes on").kept.expect("kept")
}

/// Keeps nothing, and is with its first cut until the run has gone on for so many batches behind
/// it.
struct Slow {
    written: Receiver<()>,
    batches: usize,
}

impl Keep for Slow {
    fn rows(&mut self, _: usize, _: &ChangeLane) -> Result<(), BoxError> {
        Ok(())
    }

    fn changes(&mut self, _: u64, _: &[ChangeLane]) -> Result<(), BoxError> {
        Ok(())
    }

    fn keep(&mut self, mut cut: Cut) -> Result<u64, BoxError> {
        cut.output.make_durable()?;
        for _ in 0..std::mem::take(&mut self.batches) {
            // A run that stands still is to fail, and not to hang.
            self.written.recv_timeout(Duration::from_secs(60)).map_err(|_| "the run stands still")?;
        }
        Ok(0)
    }
}

#[test]
fn a_cut_that_is_not_durable_stops_no_batch() {
    const BATCHES: usize = 1_000;
    let (sender, written) = sync_channel(2 * BATCHES);
    let sink = ForEach(move |_: &Enriched| Ok(sender.send(())?));
    let kept = run(&case(2 * BATCHES), sink, Slow { written, batches: BATCHES }, 10);
    assert_eq!(kept.waited, Duration::ZERO, "{kept:?}");
}

/// Lets some time go by.
fn take(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::thread::yield_now();
    }
}

/// A sink that takes its time.
struct TakesTime;

impl TakesTime {
    const TO_PREPARE: Duration = Duration::from_millis(3);
    const TO_BE_DURABLE: Duration = Duration::from_millis(5);
}

impl Sink for TakesTime {
    type Piece = Option<Enriched>;
    type Encoder = Copied;

    fn encoder(&self) -> Copied {
        Copied
    }

    fn write(&mut self, _: &mut Option<Enriched>) -> Result<(), BoxError> {
        Ok(())
    }

    fn prepare(&mut self, _: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        take(Self::TO_PREPARE);
        Ok(Box::new(Self))
    }
}

impl Prepared for TakesTime {
    fn make_durable(&mut self) -> Result<Vec<OutputPosition>, BoxError> {
        take(Self::TO_BE_DURABLE);
        Ok(vec![OutputPosition::default()])
    }

    fn publish(&mut self) -> Result<(), BoxError> {
        Ok(())
    }
}

#[test]
fn how_long_writing_stood_still_and_a_cut_took_is_told() {
    let (_, written) = sync_channel(1);
    let kept = run(&case(4), TakesTime, Slow { written, batches: 0 }, 1);
    assert!(kept.cuts >= 2, "one in the run, and the end: {kept:?}");
    assert!(kept.pause_max >= TakesTime::TO_PREPARE, "{kept:?}");
    assert!(kept.durable_max >= TakesTime::TO_BE_DURABLE, "{kept:?}");
    assert_eq!(kept.waited, Duration::ZERO, "{kept:?}");
}

/// What is counted of a run whose threads take their time for each batch.
#[derive(Clone, Default)]
struct Counts {
    read: Arc<AtomicUsize>,
    done: Arc<AtomicUsize>,
    /// The most batches that were read and not done at a time.
    under_way: Arc<AtomicUsize>,
}

/// A source that counts its blocks.
struct Counted(Rest<Messages>, Counts);

impl Source for Counted {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        let block = self.0.next()?;
        self.1.read.fetch_add(usize::from(block.is_some()), Ordering::SeqCst);
        Ok(block)
    }
}

/// Rows as text, slowly.
struct Slowly(Collect, Counts);

impl Sink for Slowly {
    type Piece = Rows;
    type Encoder = SlowlyEncoded;

    fn encoder(&self) -> SlowlyEncoded {
        SlowlyEncoded(AsRows, self.1.clone())
    }

    fn write(&mut self, rows: &mut Rows) -> Result<(), BoxError> {
        self.0.write(rows)
    }

    fn prepare(&mut self, end: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        self.0.prepare(end)
    }
}

struct SlowlyEncoded(AsRows, Counts);

impl Encode for SlowlyEncoded {
    type Piece = Rows;

    fn encode(&mut self, enriched: &Enriched, rows: &mut Rows) -> Result<(), BoxError> {
        let Self(encoder, Counts { read, done, under_way }) = self;
        take(Duration::from_micros(200));
        // What others read and do between the two makes it less.
        let so_far = read.load(Ordering::SeqCst);
        let now = so_far.saturating_sub(done.fetch_add(1, Ordering::SeqCst));
        under_way.fetch_max(now, Ordering::SeqCst);
        encoder.encode(enriched, rows)
    }
}

#[test]
fn threads_that_are_slow_have_the_source_wait_and_lose_nothing() {
    for (shards, queue_depth) in [(1, 1), (3, 1), (2, 8)] {
        let case = Case { shards, queue_depth, cuts: vec![2], ..case(400) };
        let (counts, rows) = (Counts::default(), Arc::new(Mutex::new(Rows::new())));
        let source = Counted(Rest::new(case.blocks()), counts.clone());
        let sink = Slowly(Collect(Arc::clone(&rows)), counts.clone());
        case.engine().run((0..TABLES).map(|_| None).collect(), source, sink).expect("a run that goes on");
        assert_eq!(*rows.lock().expect("not poisoned"), case.expected().0);
        let under_way = counts.under_way.load(Ordering::SeqCst);
        let most = shards as usize + queue_depth;
        assert!(under_way <= most, "{under_way} of {most} batches were under way");
    }
}
