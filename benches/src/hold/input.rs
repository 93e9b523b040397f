//! The stream of found trades, and the crowd that waits.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, UInt32Array, UInt64Array};
use tradejoin_baseline::{Digest, Tables, maps, naive};
use tradejoin_flow::{Block, BoxError, Source};
use tradejoin_generator::{GeneratedSource, Mix, Stream, StreamConfig};
use tradejoin_model::{ChangeKind, ChangeLane, Column, InstrumentId, Key, Messages, OccSymbol, trade_schema};

use crate::hold::Variant;

/// Messages before they come again, at most.
const CYCLE: u64 = 1 << 20;
/// Instruments that the stream's trades have, all of them defined at its beginning.
const IDS: u32 = 10_000;
/// One message in ten is a change, as with the mix `article`.
const MIX: &str = "custom:instruments=0.1,first-instruments=every";
/// Trades of the crowd have ids from here on.
const CROWD_IDS: u64 = 1 << 40;
/// And their instruments these.
const CROWD_KEYS: u32 = 1 << 20;

/// Trades that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crowd {
    /// How many there are.
    pub trades: u64,
    /// How many keys they wait for, in turn. Those with an even number come at last.
    pub keys: u32,
    /// What they have their limit by.
    pub by: WaitBy,
}

/// What limits how long trades wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitBy {
    /// The number of trades behind them.
    #[default]
    Number,
    /// The times of trades.
    Time,
}

impl Crowd {
    /// The key that one of them waits for.
    fn key_of(self, number: u64) -> u32 {
        (number % u64::from(self.keys)) as u32
    }

    /// Whether the key of one of them comes.
    pub(crate) fn comes(self, number: u64) -> bool {
        self.key_of(number).is_multiple_of(2)
    }

    /// How many of them have a key that comes.
    pub(crate) fn come(self) -> u64 {
        (0..self.trades).filter(|&number| self.comes(number)).count() as u64
    }

    /// Which of them a trade with this id is, if it is one of them.
    #[inline]
    pub(crate) fn number_of(trade_id: u64) -> Option<u64> {
        trade_id.checked_sub(CROWD_IDS)
    }
}

/// All that runs read, in memory.
#[derive(Debug)]
pub struct Input {
    stream: Stream,
    crowd: Crowd,
    /// Messages of the stream.
    messages: u64,
    /// Of these, trades, all of which find their instrument.
    found: u64,
    expected: Digest,
    /// The stream, given again and again until there are `batches`.
    blocks: Vec<Messages>,
    batches: usize,
    waiting: Vec<Messages>,
    /// The keys that come at last.
    coming: Vec<Messages>,
}

impl Input {
    /// At least so many messages whose trades find their instruments, in blocks of
    /// one length, and a crowd.
    ///
    /// # Panics
    /// If a length is 0.
    #[must_use]
    pub fn new(messages: u64, block_len: usize, crowd: Crowd) -> Self {
        let mix: Mix = MIX.parse().expect("a mix");
        let config = StreamConfig { mix, ids: IDS, ..StreamConfig::default() };
        let stream = Stream::new(config).expect("a valid configuration");
        let batches = messages.div_ceil(block_len as u64);
        let in_cycle = batches.min(CYCLE / block_len as u64).max(1);
        let (cycle, messages) = (in_cycle * block_len as u64, batches * block_len as u64);
        let source = GeneratedSource::new(Arc::new(stream.clone()), 0..cycle, block_len);
        let outcome = naive::<maps::Std>(
            (0..messages).map(|position| stream.message(position % cycle)),
            Tables::Instruments,
        );
        assert_eq!(outcome.unmatched, 0, "every instrument is there before the first trade");
        Self {
            waiting: waiting(&stream, crowd, block_len),
            coming: coming(&stream, crowd, block_len),
            stream,
            crowd,
            messages,
            found: outcome.enriched,
            expected: outcome.digest,
            blocks: source.made().map(timed).collect(),
            batches: batches as usize,
        }
    }

    /// Those who wait in a crowded run.
    #[must_use]
    pub fn crowd(&self) -> Crowd {
        self.crowd
    }

    /// Messages of the stream.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Trades of the stream.
    #[must_use]
    pub fn found(&self) -> u64 {
        self.found
    }

    pub(crate) fn expected(&self) -> Digest {
        self.expected
    }

    /// What a trade of the crowd finds if its key comes.
    pub(crate) fn terms_of(&self, number: u64) -> OccSymbol {
        self.stream.instrument_on(instrument(self.crowd.key_of(number)), 0).terms
    }

    pub(crate) fn source(&self, variant: Variant) -> impl Source + '_ {
        let stream = self.blocks.iter().cycle().take(self.batches);
        let (before, behind) = match variant {
            Variant::Crowded => (self.waiting.as_slice(), self.coming.as_slice()),
            Variant::Dropping | Variant::Alone => (&[][..], &[][..]),
        };
        Blocks(before.iter().chain(stream).chain(behind))
    }
}

fn instrument(key: u32) -> InstrumentId {
    InstrumentId(CROWD_KEYS + key)
}

/// The crowd: trades as the stream has them, but for their ids and instruments.
fn waiting(stream: &Stream, crowd: Crowd, block_len: usize) -> Vec<Messages> {
    let config = StreamConfig { mix: Mix::bare(false), ..stream.config().clone() };
    let stream = Arc::new(Stream::new(config).expect("a valid configuration"));
    let mut first = 0;
    let block = |block: Messages| {
        let numbers = first..first + block.trades.num_rows() as u64;
        first = numbers.end;
        let instruments: UInt32Array =
            numbers.clone().map(|number| Some(instrument(crowd.key_of(number)).0)).collect();
        let mut columns = block.trades.columns().to_vec();
        columns[0] = Arc::new(UInt64Array::from_iter_values(numbers.map(|number| CROWD_IDS + number)));
        columns[2] = Arc::new(instruments.clone()) as ArrayRef;
        let trades = RecordBatch::try_new(block.trades.schema(), columns).expect("columns as before");
        timed(Messages { trades, keys: vec![instruments.into()], ..block })
    };
    GeneratedSource::new(stream, 0..crowd.trades, block_len).made().map(block).collect()
}

/// The same with the times of the trades, which they may wait by.
fn timed(block: Messages) -> Messages {
    let times = block.trades.column(1).as_primitive::<TimestampNanosecondType>();
    let times = Int64Array::new(times.values().clone(), None);
    Messages { times: Some(times), ..block }
}

/// Blocks of the keys that come.
fn coming(stream: &Stream, crowd: Crowd, block_len: usize) -> Vec<Messages> {
    let keys: Vec<_> = (0..crowd.keys).filter(|key| key.is_multiple_of(2)).map(instrument).collect();
    let block = |keys: &[InstrumentId]| {
        let lane = ChangeLane {
            at_rows: vec![0; keys.len()],
            keys: keys.iter().map(|&key| Key::from(key)).collect::<Vec<_>>().into(),
            kinds: vec![ChangeKind::Upsert; keys.len()],
            fields: vec![Column::Options(
                keys.iter().map(|&key| stream.instrument_on(key, 0).terms).collect(),
            )],
            ..ChangeLane::default()
        };
        let none = UInt32Array::from_iter_values([]).into();
        Messages::new(RecordBatch::new_empty(trade_schema()), vec![none], vec![lane]).expect("a valid block")
    };
    keys.chunks(block_len).map(block).collect()
}

/// Blocks in memory, handed out by reference count.
struct Blocks<I>(I);

impl<'a, I: Iterator<Item = &'a Messages> + Send> Source for Blocks<I> {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        Ok(self.0.next().cloned().map(Block::from))
    }
}
