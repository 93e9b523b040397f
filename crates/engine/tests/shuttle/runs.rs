//! A run of few blocks, each of which says what the trades in it find, and how it is kept.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::UInt64Type;
use arrow_array::{RecordBatch, UInt32Array, UInt64Array};
use arrow_schema::{DataType, Field, Schema};
use shuttle::sync::{Mutex, PoisonError};
use tradejoin_engine::{Engine, EngineConfig, EngineError, KeepEvery, Keeping, Report};
use tradejoin_flow::{
    Block, BoxError, Cut, Depth, Encode, End, InputPosition, Keep, NothingPrepared, OutputPosition, Prepared,
    Resume, Revise, Sink, Source, SourcePosition, TableSource,
};
use tradejoin_model::{
    ChangeKind, ChangeLane, Column, Distribution, Enriched, Expired, Hold, HoldLimit, Key, Ledger, Messages,
    MissPolicy, Position, Revised, ShardCount, TableSpec, TextColumn,
};

use crate::draw;
use crate::faults::{Faults, Place};

/// Keys of the table. A block has a trade of each, and a change of each before them.
pub(crate) const KEYS: u64 = 2;
/// What a key has before the first block.
const LOADED: &str = "loaded";

/// Everything that a run may vary.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) blocks: u64,
    /// Whether the table has rows before the first trade.
    is_loaded: bool,
    distribution: Distribution,
    shards: u32,
    queue_depth: usize,
    /// Whether batches pass one after the other.
    holds: bool,
    /// Trades between two cuts.
    every: u64,
}

impl Job {
    pub(crate) fn drawn() -> Self {
        let distribution = [Distribution::Partitioned, Distribution::Broadcast][draw(2) as usize];
        Self {
            blocks: draw(6),
            is_loaded: draw(2) == 0,
            distribution,
            shards: 1 + draw(3) as u32,
            queue_depth: 1 + draw(2) as usize,
            holds: draw(2) == 0,
            every: draw(5),
        }
    }

    /// The same on other threads.
    pub(crate) fn otherwise(self) -> Self {
        let Self { blocks, is_loaded, holds, .. } = self;
        Self { blocks, is_loaded, holds, ..Self::drawn() }
    }

    pub(crate) fn engine(&self) -> Engine {
        let mut table = TableSpec { distribution: self.distribution, ..TableSpec::users() };
        if self.holds {
            table.on_miss = MissPolicy::Hold(Hold { limit: HoldLimit::Rows(u64::MAX), then: Expired::Keep });
        }
        let mut config = EngineConfig::new(vec![table]);
        config.shards = ShardCount::new(self.shards).expect("in range");
        config.cores = config.shards;
        config.queue_depth = Depth::new(self.queue_depth).expect("in range");
        Engine::new(config)
    }

    /// What the first blocks give.
    pub(crate) fn expected(blocks: u64) -> Vec<String> {
        (0..blocks).flat_map(|of| (0..KEYS).map(move |key| format!("{} {of}", of * KEYS + key))).collect()
    }

    /// What is kept of the table behind the first blocks.
    fn changes(&self, blocks: u64) -> Vec<String> {
        let loaded = self.is_loaded.then(|| LOADED.to_owned());
        loaded.into_iter().chain((0..blocks).map(|block| block.to_string())).collect()
    }

    /// The rows of the table, as they are before the first trade.
    pub(crate) fn loads(
        &self,
        from: Option<&Snapshot>,
        faults: &Faults,
    ) -> Vec<Option<Box<dyn TableSource>>> {
        let values = from.map_or_else(|| self.changes(0), |from| from.changes.clone());
        vec![if from.is_some() || self.is_loaded { load(values, faults) } else { None }]
    }

    /// Runs it from a cut or the beginning, kept; gives what was written, and the cuts.
    pub(crate) fn run_kept(
        &self,
        engine: &Engine,
        from: Option<&Snapshot>,
        faults: &Faults,
    ) -> (Result<Report, EngineError>, Vec<String>, Vec<Snapshot>) {
        let rows = Arc::new(Mutex::new(Self::expected(from.map_or(0, |from| from.blocks))));
        let kept = Arc::new(Mutex::new(Vec::new()));
        let changes = from.map(|from| from.changes.clone()).unwrap_or_default();
        let memory = Memory { job: *self, changes, kept: Arc::clone(&kept), faults: faults.clone() };
        let resume = from.map(|from| Resume {
            trades: from.blocks * KEYS,
            position: from.position,
            ledger: from.ledger.clone(),
            held: from.held.clone(),
            bad: Default::default(),
        });
        let keeping = Keeping { keep: Box::new(memory), every: KeepEvery::Trades(self.every), resume };
        let at = from.map_or(0, |from| from.blocks);
        let source = Blocks { at, end: self.blocks, faults: faults.clone() };
        let sink = Collect { rows: Arc::clone(&rows), faults: faults.clone(), is_kept: true };
        let ran = engine.run_kept(self.loads(from, faults), source, sink, &mut Unread, Some(keeping));
        let take = |rows: &Mutex<Vec<String>>| {
            std::mem::take(&mut *rows.lock().unwrap_or_else(PoisonError::into_inner))
        };
        let kept = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
        (ran, take(&rows), kept)
    }
}

/// A table that has had these values.
pub(crate) fn load(values: Vec<String>, faults: &Faults) -> Option<Box<dyn TableSource>> {
    Some(Box::new(Lanes(values.into_iter(), faults.clone())))
}

/// A change of every key to a value.
pub(crate) fn lane(value: &str) -> ChangeLane {
    let mut values = TextColumn::default();
    (0..KEYS).for_each(|_| values.push(Some(value)));
    ChangeLane {
        at_rows: vec![0; KEYS as usize],
        keys: (0..KEYS).map(|key| Key(key as u32)).collect::<Vec<_>>().into(),
        kinds: vec![ChangeKind::Upsert; KEYS as usize],
        fields: vec![Column::Text(values)],
        ..ChangeLane::default()
    }
}

/// Trades of every key, with what stands before them.
pub(crate) fn messages(number: u64, lane: ChangeLane) -> Messages {
    let ids = UInt64Array::from_iter_values(number * KEYS..(number + 1) * KEYS);
    let schema = Schema::new(vec![Field::new("trade_id", DataType::UInt64, false)]);
    let trades = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids)]).expect("one column");
    let keys = UInt32Array::from_iter_values((0..KEYS).map(|key| key as u32));
    Messages::new(trades, vec![keys.into()], vec![lane]).expect("a valid block")
}

/// The value of all rows of a lane.
fn value_of(lane: &ChangeLane) -> String {
    let Column::Text(values) = &lane.fields[0] else { panic!("a column of texts") };
    let texts: Vec<_> = (0..lane.len()).map(|row| values.get(row)).collect();
    assert!(texts.len() == KEYS as usize && texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    String::from_utf8(texts[0].expect("a value").to_vec()).expect("text")
}

/// Rows of a table.
struct Lanes(std::vec::IntoIter<String>, Faults);

impl TableSource for Lanes {
    fn next(&mut self) -> Result<Option<ChangeLane>, BoxError> {
        self.1.meet(Place::Load)?;
        Ok(self.0.next().map(|value| lane(&value)))
    }
}

/// The blocks of a job.
pub(crate) struct Blocks {
    pub(crate) at: u64,
    pub(crate) end: u64,
    pub(crate) faults: Faults,
}

impl Source for Blocks {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        self.faults.meet(Place::Read)?;
        if self.at == self.end {
            return Ok(None);
        }
        let (number, faults) = (self.at, self.faults.clone());
        self.at += 1;
        Ok(Some(Block::Encoded(Box::new(move || {
            faults.meet(Place::Decode)?;
            Ok(messages(number, lane(&number.to_string())))
        }))))
    }

    fn position(&self) -> Option<SourcePosition> {
        // It may take as long as all that others do with the block before.
        (0..draw(64)).for_each(|_| shuttle::thread::yield_now());
        Some(InputPosition { records: self.at, ..InputPosition::default() }.into())
    }
}

/// Keeps rows as text: the number of the trade, and what it found.
pub(crate) struct Collect {
    pub(crate) rows: Arc<Mutex<Vec<String>>>,
    pub(crate) faults: Faults,
    pub(crate) is_kept: bool,
}

impl Sink for Collect {
    type Piece = Vec<String>;
    type Encoder = Faults;

    fn encoder(&self) -> Faults {
        self.faults.clone()
    }

    fn write(&mut self, piece: &mut Vec<String>) -> Result<(), BoxError> {
        self.faults.meet(Place::Write)?;
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).append(piece);
        Ok(())
    }

    fn prepare(&mut self, _: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        if !self.is_kept {
            assert!(!self.faults.are_met(), "a failed run has no end");
            return Ok(Box::new(NothingPrepared));
        }
        self.faults.meet(Place::Prepare)?;
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
        Ok(Box::new(RowsSoFar { rows, faults: self.faults.clone() }))
    }
}

impl Encode for Faults {
    type Piece = Vec<String>;

    fn encode(&mut self, enriched: &Enriched, rows: &mut Vec<String>) -> Result<(), BoxError> {
        self.meet(Place::Encode)?;
        let ids = enriched.trades().column(0).as_primitive::<UInt64Type>();
        let Column::Text(found) = &enriched.columns[0] else { panic!("a column of texts") };
        let found = |row| String::from_utf8_lossy(found.get(row).unwrap_or_default()).into_owned();
        *rows = enriched.rows().map(|row| format!("{} {}", ids.value(row), found(row))).collect();
        Ok(())
    }
}

struct RowsSoFar {
    rows: u64,
    faults: Faults,
}

impl Prepared for RowsSoFar {
    fn make_durable(&mut self) -> Result<Vec<OutputPosition>, BoxError> {
        self.faults.meet(Place::MakeDurable)?;
        Ok(vec![OutputPosition { bytes: self.rows, ..OutputPosition::default() }])
    }

    fn publish(&mut self) -> Result<(), BoxError> {
        self.faults.meet(Place::Publish)
    }
}

pub(crate) struct Unread;

impl Revise for Unread {
    fn write(&mut self, _: Revised) -> Result<(), BoxError> {
        Ok(())
    }

    fn prepare(&mut self, _: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        Ok(Box::new(NothingPrepared))
    }
}

/// A cut as it was kept, which all of it says is behind the same block.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) blocks: u64,
    pub(crate) end: Option<End>,
    changes: Vec<String>,
    position: Position,
    ledger: Ledger,
    held: Option<tradejoin_model::Held>,
}

/// Keeps in memory.
struct Memory {
    job: Job,
    changes: Vec<String>,
    kept: Arc<Mutex<Vec<Snapshot>>>,
    faults: Faults,
}

impl Keep for Memory {
    fn rows(&mut self, _: usize, lane: &ChangeLane) -> Result<(), BoxError> {
        self.faults.meet(Place::Changes)?;
        self.changes.push(value_of(lane));
        Ok(())
    }

    fn changes(&mut self, trades_before: u64, lanes: &[ChangeLane]) -> Result<(), BoxError> {
        self.rows(0, &lanes[0])?;
        let block = self.changes.last().and_then(|value| value.parse::<u64>().ok());
        assert_eq!(block.map(|block| block * KEYS), Some(trades_before), "{:?}", self.job);
        Ok(())
    }

    fn keep(&mut self, cut: Cut) -> Result<u64, BoxError> {
        self.faults.meet(Place::Keep)?;
        let Cut { source, trades, position, ledger, held, mut output, end, .. } = cut;
        let blocks = source.inputs[0].records;
        assert_eq!(trades, blocks * KEYS, "trades before the place of the source: {:?}", self.job);
        assert_eq!(output.make_durable()?[0].bytes, blocks * KEYS, "rows before it: {:?}", self.job);
        assert_eq!(self.changes, self.job.changes(blocks), "changes before it: {:?}", self.job);
        assert_eq!((ledger.check(), ledger.rows_read), (Ok(()), trades));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(kept.last().is_none_or(|last| last.blocks <= blocks && last.end.is_none()), "{:?}", self.job);
        kept.push(Snapshot { blocks, end, changes: self.changes.clone(), position, ledger, held });
        drop(kept);
        output.publish()?;
        Ok(1)
    }
}
