//! What a run does when a stage fails: it ends, and says which.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tradejoin_engine::{Engine, EngineError, KeepEvery, Keeping, Order, Stage, Stop};
use tradejoin_flow::{
    Block, BoxError, Cut, Encode, End, Keep, NothingPrepared, Prepared, Revise, Sink, Source,
};
use tradejoin_model::{
    ChangeKind, ChangeLane, Column, Distribution, Enriched, Key, LookUp, Messages, MissPolicy, Position,
    Revised, TextColumn,
};

use crate::streams::{Case, Collect, Rest, Rows, Stamp, Step, TABLES};

pub(crate) fn case(trades: usize) -> Case {
    let change = |table| Step::Change { table, key: 1, delete: false, value: 1, stamp: Stamp::default() };
    let mut steps: Vec<Step> = (0..TABLES).map(change).collect();
    steps.extend((0..trades).map(|_| Step::Trade([Some(1); TABLES], None)));
    Case {
        loaded: vec![],
        gated: false,
        steps,
        cuts: vec![10],
        expected_cuts: vec![1],
        distributions: [
            Distribution::Partitioned,
            Distribution::Broadcast,
            Distribution::Partitioned,
            Distribution::Partitioned,
        ],
        look_ups: [LookUp::Latest; TABLES],
        shards: 3,
        queue_depth: 1,
        order: Order::Input,
        on_miss: [MissPolicy::Drop; TABLES],
        hold_rows_max: u64::MAX,
        corrections: None,
    }
}

pub(crate) fn run(
    case: &Case,
    source: impl Source,
    sink: impl Sink,
) -> Result<tradejoin_engine::Report, EngineError> {
    case.engine().run((0..TABLES).map(|_| None).collect(), source, sink)
}

/// A source that does `then` once the blocks that it has are out.
struct Then<F>(Rest<Messages>, F);

impl<F: FnMut() -> Result<Option<Messages>, BoxError> + Send> Source for Then<F> {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        match self.0.next()? {
            Some(block) => Ok(Some(block)),
            None => Ok((self.1)()?.map(Block::from)),
        }
    }
}

/// A sink that does `then` at its third batch.
struct Third<F>(u32, F);

impl<F: FnMut() -> Result<(), BoxError> + Send> Sink for Third<F> {
    type Piece = ();
    type Encoder = Nothing;

    fn encoder(&self) -> Nothing {
        Nothing
    }

    fn write(&mut self, _: &mut ()) -> Result<(), BoxError> {
        self.0 += 1;
        if self.0 == 3 { (self.1)() } else { Ok(()) }
    }

    fn prepare(&mut self, end: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        assert!(end.is_none(), "a failed run has no end");
        Ok(Box::new(NothingPrepared))
    }
}

struct Nothing;

impl Encode for Nothing {
    type Piece = ();

    fn encode(&mut self, _: &Enriched, _: &mut ()) -> Result<(), BoxError> {
        Ok(())
    }
}

#[test]
fn a_source_that_fails_ends_the_run() {
    let case = case(500);
    let source = Then(Rest::new(case.blocks()), || Err("broken pipe of bits".into()));
    let rows = Arc::new(Mutex::new(Rows::new()));
    let error = run(&case, source, Collect(Arc::clone(&rows))).expect_err("the source failed");
    assert!(matches!(error, EngineError::Source(_)), "{error:?}");
    assert_eq!(rows.lock().expect("not poisoned").len(), 500, "what was read before is written");
}

#[test]
fn a_sink_that_fails_ends_the_run_while_others_wait_on_full_links() {
    let case = case(5_000);
    let error = run(&case, Rest::new(case.blocks()), Third(0, || Err("disk full".into())));
    assert!(matches!(error, Err(EngineError::Sink(_))), "{error:?}");
}

#[test]
fn a_sink_that_fails_stops_a_source_that_waits() {
    let case = case(50);
    let engine = case.engine();
    let stop = engine.stop();
    // Like a pipe without data: it returns when the run is asked to stop.
    let source = Then(Rest::new(case.blocks()), move || {
        while !stop.is_requested() {
            std::thread::yield_now();
        }
        Ok(None)
    });
    let loads = (0..TABLES).map(|_| None).collect();
    let error = engine.run(loads, source, Third(0, || Err("disk full".into())));
    assert!(matches!(error, Err(EngineError::Sink(_))), "{error:?}");
}

/// The blocks of a case, of which the last is decoded while another thread waits for the next one.
struct Waits {
    blocks: std::vec::IntoIter<Block>,
    /// Whether it is waited for.
    waits: Arc<AtomicBool>,
    stop: Stop,
}

impl Waits {
    fn new(
        case: &Case,
        stop: Stop,
        last: impl FnOnce(Messages) -> Result<Messages, BoxError> + Send + 'static,
    ) -> Self {
        let waits = Arc::new(AtomicBool::new(false));
        let mut blocks = case.blocks();
        let messages = blocks.pop().expect("a case has blocks");
        let mut blocks: Vec<_> = blocks.into_iter().map(Block::from).collect();
        let is_waited_for = Arc::clone(&waits);
        blocks.push(Block::Encoded(Box::new(move || {
            while !is_waited_for.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            last(messages)
        })));
        Self { blocks: blocks.into_iter(), waits, stop }
    }
}

impl Source for Waits {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        if let Some(block) = self.blocks.next() {
            return Ok(Some(block));
        }
        self.waits.store(true, Ordering::Release);
        while !self.stop.is_requested() {
            std::thread::yield_now();
        }
        Ok(None)
    }
}

#[test]
fn a_batch_that_fails_in_its_turn_stops_a_source_that_waits() {
    let mut case = case(50);
    let loads = || (0..TABLES).map(|_| None).collect();
    let engine = case.engine();
    let source = Waits::new(&case, engine.stop(), |_| Err("line 7: no number".into()));
    let error = engine.run(loads(), source, Collect(Arc::default()));
    assert!(matches!(error, Err(EngineError::Source(_))), "{error:?}");
    // The key of the last trade is in no table.
    case.on_miss = [MissPolicy::Fail; TABLES];
    case.steps.push(Step::Trade([Some(2); TABLES], None));
    let engine = case.engine();
    let error = engine.run(loads(), Waits::new(&case, engine.stop(), Ok), Collect(Arc::default()));
    assert!(matches!(error, Err(EngineError::Miss(_))), "{error:?}");
}

/// Blocks of which number `at` has texts where the first table has options: a
/// source that breaks its word.
fn broken(case: &Case, at: usize) -> Vec<Messages> {
    let mut blocks = case.blocks();
    let mut lanes = blocks[at].lanes.to_vec();
    let mut names = TextColumn::default();
    names.push(Some("not an option"));
    lanes[0].at_rows = vec![0];
    lanes[0].keys = vec![Key(1)].into();
    lanes[0].kinds = vec![ChangeKind::Upsert];
    lanes[0].fields = vec![Column::Text(names)];
    blocks[at].lanes = lanes.into();
    blocks
}

/// The batch at which something panicked, whose place is what the blocks before it say, as
/// is told.
pub(crate) fn place(case: &Case, ran: Result<tradejoin_engine::Report, EngineError>) -> usize {
    let error = ran.expect_err("a panic");
    let text = error.to_string();
    let EngineError::Panicked { stage, batch: Some(batch), message } = error else { panic!("{text}") };
    let blocks = case.blocks();
    let before = &blocks[..batch.index.0 as usize];
    let messages: u64 = before.iter().map(Messages::len).sum();
    let trades: usize = before.iter().map(|block| block.trades.num_rows()).sum();
    assert_eq!(batch.begins_at, Some((Position(messages), trades as u64)));
    let place =
        format!("at batch {}, which begins at position {messages}, behind {trades} trades", before.len());
    assert_eq!(text, format!("{stage} failed unexpectedly {place}: {message}"));
    before.len()
}

#[test]
fn a_stage_that_panics_is_named() {
    let case = case(5_000);
    let mut blocks: Vec<_> = case.blocks().into_iter().map(Block::from).collect();
    blocks[200] = Block::Encoded(Box::new(|| panic!("at the decoder")));
    let error = run(&case, Rest::new(blocks), Collect(Arc::default()));
    assert!(
        matches!(&error, Err(EngineError::Panicked { stage: Stage::Decode, message, .. }) if message == "at the decoder")
    );
    let text = error.expect_err("a panic").to_string();
    assert!(text.starts_with("decoding failed unexpectedly at batch 200"), "{text}");
    let error = run(&case, Rest::new(broken(&case, 200)), Collect(Arc::default()));
    assert!(matches!(error, Err(EngineError::Panicked { stage: Stage::LookUp(_), .. })), "{error:?}");
    assert_eq!(place(&case, error), 200);
}

#[test]
fn a_shard_that_panics_is_named() {
    let mut case = case(100);
    case.shards = 2;
    let mut blocks = case.blocks();
    // A change that has a key and a place among the trades, and is of no kind.
    let mut lanes = blocks[5].lanes.to_vec();
    lanes[0].keys.push(Key(1));
    lanes[0].at_rows.push(0);
    blocks[5].lanes = lanes.into();
    let error = run(&case, Rest::new(blocks), Collect(Arc::default()));
    let Err(EngineError::Panicked { stage: Stage::LookUp(shard), batch: Some(batch), .. }) = error else {
        panic!("{error:?}")
    };
    let router = tradejoin_router::Router::new(case.engine().config().shards, case.tables());
    assert_eq!(shard, router.shard_of(Key(1)));
    assert_eq!(batch.index.0, 5);
}

/// A sink whose encoder panics at its third batch.
struct Encoder(Arc<Mutex<u32>>);

impl Sink for Encoder {
    type Piece = ();
    type Encoder = Self;

    fn encoder(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    fn write(&mut self, _: &mut ()) -> Result<(), BoxError> {
        Ok(())
    }

    fn prepare(&mut self, end: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        assert!(end.is_none(), "a failed run has no end");
        Ok(Box::new(NothingPrepared))
    }
}

impl Encode for Encoder {
    type Piece = ();

    fn encode(&mut self, _: &Enriched, _: &mut ()) -> Result<(), BoxError> {
        let mut left = self.0.lock().expect("no one panics with it");
        *left -= 1;
        let is_over = *left == 0;
        drop(left);
        assert!(!is_over, "at the encoder");
        Ok(())
    }
}

#[test]
fn a_panic_in_an_encoder_is_named() {
    let case = case(500);
    let error = run(&case, Rest::new(case.blocks()), Encoder(Arc::new(Mutex::new(3))));
    assert!(matches!(error, Err(EngineError::Panicked { stage: Stage::Encode, .. })), "{error:?}");
    place(&case, error);
}

/// Panics with a cut.
struct Keeps;

impl Keep for Keeps {
    fn rows(&mut self, _: usize, _: &ChangeLane) -> Result<(), BoxError> {
        Ok(())
    }

    fn changes(&mut self, _: u64, _: &[ChangeLane]) -> Result<(), BoxError> {
        Ok(())
    }

    fn keep(&mut self, _: Cut) -> Result<u64, BoxError> {
        panic!("at the keeper")
    }
}

#[test]
fn a_panic_in_what_keeps_is_named() {
    let case = case(500);
    let keeping = Keeping { keep: Box::new(Keeps), every: KeepEvery::Trades(100), resume: None };
    let loads = (0..TABLES).map(|_| None).collect();
    let engine = case.engine();
    let source = Rest::new(case.blocks());
    let error = engine.run_kept(loads, source, Collect(Arc::default()), &mut Unread, Some(keeping));
    let text = error.expect_err("a panic").to_string();
    assert_eq!(text, "keeping a checkpoint failed unexpectedly: at the keeper");
}

struct Unread;

impl Revise for Unread {
    fn write(&mut self, _: Revised) -> Result<(), BoxError> {
        Ok(())
    }

    fn prepare(&mut self, _: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        Ok(Box::new(NothingPrepared))
    }
}

#[test]
fn a_stage_that_panics_stops_a_source_that_waits() {
    let case = case(50);
    let engine = case.engine();
    let stop = engine.stop();
    let source = Then(Rest::new(broken(&case, 0)), move || {
        while !stop.is_requested() {
            std::thread::yield_now();
        }
        Ok(None)
    });
    let error = engine.run((0..TABLES).map(|_| None).collect(), source, Collect(Arc::default()));
    assert!(matches!(error, Err(EngineError::Panicked { .. })), "{error:?}");
}

#[test]
fn a_panic_at_either_end_is_named() {
    let case = case(500);
    let source = Then(Rest::new(case.blocks()), || panic!("at the source"));
    let error = run(&case, source, Collect(Arc::default()));
    assert!(
        matches!(&error, Err(EngineError::Panicked { stage: Stage::Read, message, .. }) if message == "at the source")
    );
    let error = run(&case, Rest::new(case.blocks()), Third(0, || panic!("at the sink")));
    assert!(
        matches!(&error, Err(EngineError::Panicked { stage: Stage::Write, message, .. }) if message == "at the sink")
    );
    place(&case, error);
}

/// A source without an end that asks for the stop itself.
fn endless(case: &Case, stop: Stop, after: usize) -> impl Source {
    let blocks = case.blocks();
    let mut given = 0;
    Then(Rest::new(vec![]), move || {
        given += 1;
        if given == after {
            stop.request();
        }
        Ok(Some(blocks[given % blocks.len()].clone()))
    })
}

#[test]
fn a_stopped_run_completes_what_it_has_read_and_adds_up() {
    let case = case(100);
    let engine: Engine = case.engine();
    let rows = Arc::new(Mutex::new(Rows::new()));
    let loads = (0..TABLES).map(|_| None).collect();
    let source = endless(&case, engine.stop(), 300);
    let report = engine.run(loads, source, Collect(Arc::clone(&rows))).expect("a clean stop");
    assert!(report.interrupted);
    assert_eq!(report.ledger.rows_written(), rows.lock().expect("not poisoned").len() as u64);
    assert_eq!(engine.monitor().report().ledger, report.ledger, "the last state is published");
}
