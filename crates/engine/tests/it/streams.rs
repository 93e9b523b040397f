//! Random streams over four tables of different kinds, and their outcomes.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tradejoin_engine::{Engine, EngineConfig, Order, Report, Update, Updates};
use tradejoin_flow::{Block, BoxError, Depth, Source, TableSource};
use tradejoin_merger::{CorrectionConfig, HoldConfig};
use tradejoin_model::{
    ChangeLane, ColumnType, Distribution, Expired, Hold, HoldLimit, Ledger, LookUp, Messages, MissPolicy,
    OptionPart, OutputColumn, ShardCount, TableSpec,
};
use tradejoin_oracle::{Correcting, Oracle};

pub(crate) use crate::collect::{Collect, Revisions, rows_of};
use crate::collect::{row_of, row_of_revision};

use crate::blocks::{block, cut, updates};

/// How many tables a stream has: options, names and numbers, all by id, and
/// names by a text.
pub(crate) const TABLES: usize = 4;
/// Keys are below this: few, so that they meet.
const KEYS: u32 = 12;
/// Rows begin before this time.
const TIMES: i64 = 30;

/// One message of a test stream.
#[derive(Clone)]
pub(crate) enum Step {
    /// Its keys, and when it took place.
    Trade([Option<u32>; TABLES], Option<i64>),
    Change {
        table: usize,
        key: u32,
        delete: bool,
        value: u8,
        stamp: Stamp,
    },
}

/// What tables look at that are looked up by time or by version.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stamp {
    pub(crate) from: Option<i64>,
    /// How long the row is valid.
    pub(crate) lasts: Option<i64>,
    pub(crate) version: i64,
}

/// Everything that a run may vary.
#[derive(Clone)]
pub(crate) struct Case {
    /// Rows before the first trade.
    pub(crate) loaded: Vec<Step>,
    /// Whether these come with the stream, in front of its gate, and not from tables
    /// with sources of their own.
    pub(crate) gated: bool,
    pub(crate) steps: Vec<Step>,
    pub(crate) cuts: Vec<usize>,
    /// How the stream is cut for the oracle.
    pub(crate) expected_cuts: Vec<usize>,
    pub(crate) distributions: [Distribution; TABLES],
    pub(crate) look_ups: [LookUp; TABLES],
    pub(crate) shards: u32,
    pub(crate) queue_depth: usize,
    pub(crate) order: Order,
    pub(crate) on_miss: [MissPolicy; TABLES],
    /// How many trades may wait.
    pub(crate) hold_rows_max: u64,
    /// How long trades are written again.
    pub(crate) corrections: Option<CorrectionConfig>,
}

/// What went to the sink.
pub(crate) type Rows = Vec<Row>;

/// The number of a trade, the table that puts it aside if one does, its added
/// columns and how long it has waited.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) id: u64,
    pub(crate) aside: Option<usize>,
    pub(crate) columns: Vec<Option<String>>,
}

fn change() -> impl Strategy<Value = Step> {
    // Few times and versions, so that rows meet, overlap and are late.
    let stamp = (prop::option::weighted(0.8, 0..TIMES), prop::option::of(1..12_i64), 0..6_i64)
        .prop_map(|(from, lasts, version)| Stamp { from, lasts, version });
    // Few values, so that two rows may be the same.
    let value = prop_oneof![any::<u8>(), 0..4_u8];
    (0..TABLES, 0..KEYS, prop::bool::weighted(0.2), value, stamp)
        .prop_map(|(table, key, delete, value, stamp)| Step::Change { table, key, delete, value, stamp })
}

fn policy() -> impl Strategy<Value = MissPolicy> {
    let number = || prop_oneof![3 => 0..60_u64, 1 => Just(u64::MAX)];
    let limit = prop_oneof![number().prop_map(HoldLimit::Rows), number().prop_map(HoldLimit::EventTime)];
    let then = prop_oneof![Just(Expired::Keep), Just(Expired::Drop), Just(Expired::DeadLetter)];
    prop_oneof![
        1 => Just(MissPolicy::Drop),
        1 => Just(MissPolicy::Keep),
        1 => Just(MissPolicy::DeadLetter),
        3 => (limit, then).prop_map(|(limit, then)| MissPolicy::Hold(Hold { limit, then })),
    ]
}

fn trade() -> impl Strategy<Value = Step> {
    let key = || prop::option::weighted(0.9, 0..KEYS);
    ([key(), key(), key(), key()], prop::option::weighted(0.9, -2..TIMES + 9))
        .prop_map(|(keys, time)| Step::Trade(keys, time))
}

/// Windows that close soon, by each of their limits.
fn corrections() -> impl Strategy<Value = Option<CorrectionConfig>> {
    let few = |most: u64| prop::option::of(0..most);
    let most = |most: u64| prop_oneof![3 => Just(u64::MAX), 1 => 0..most];
    let config = (few(25), few(80), few(20_000), most(40), most(20_000)).prop_map(
        |(time, rows, bytes, rows_max, bytes_max)| CorrectionConfig {
            time,
            rows,
            bytes,
            rows_max,
            bytes_max,
        },
    );
    prop::option::weighted(0.7, config)
}

fn look_up() -> impl Strategy<Value = LookUp> {
    prop_oneof![
        Just(LookUp::Latest),
        Just(LookUp::LatestVersion),
        prop::option::of(0..12_u64).prop_map(|tolerance| LookUp::AsOf { tolerance }),
    ]
}

prop_compose! {
    pub(crate) fn case()(
        loaded in prop::collection::vec(change(), 0..60),
        share in 1..10_u32,
        len in 0..400_usize,
    )(
        loaded in Just(loaded),
        gated in any::<bool>(),
        steps in prop::collection::vec(prop_oneof![share => change(), 10 - share => trade()], len),
        cuts in prop::collection::vec(1..60_usize, 1..8),
        expected_cuts in prop_oneof![
            Just(vec![1]),
            Just(vec![usize::MAX]),
            prop::collection::vec(1..60_usize, 1..8),
        ],
        distributions in prop::array::uniform4(prop_oneof![
            Just(Distribution::Auto),
            Just(Distribution::Partitioned),
            Just(Distribution::Broadcast),
        ]),
        look_ups in prop::array::uniform4(look_up()),
        shards in 1..=9_u32,
        queue_depth in 1..=4_usize,
        order in prop_oneof![Just(Order::Input), Just(Order::Strict), Just(Order::Arrival)],
        // Boxed: four of its trees take most of a test's stack.
        on_miss in prop::array::uniform4(policy().boxed()),
        hold_rows_max in prop_oneof![Just(u64::MAX), 0..20_u64],
        corrections in corrections().boxed(),
    ) -> Case {
        Case {
            loaded,
            gated,
            steps,
            cuts,
            expected_cuts,
            distributions,
            look_ups,
            shards,
            queue_depth,
            order,
            on_miss,
            hold_rows_max,
            corrections,
        }
    }
}

impl Case {
    pub(crate) fn tables(&self) -> Vec<TableSpec> {
        let mut instruments = TableSpec::instruments();
        instruments.outputs.extend([
            OutputColumn::option("padded", OptionPart::Padded),
            OutputColumn::option("ticker", OptionPart::Ticker),
            OutputColumn::option("strike", OptionPart::Strike),
            OutputColumn::option("expiry", OptionPart::Expiry),
            OutputColumn::option("option_type", OptionPart::OptionType),
        ]);
        let mut numbers = TableSpec::users();
        numbers.name = "numbers".to_owned();
        numbers.outputs = vec![OutputColumn::field("number", 0, ColumnType::Integer)];
        let mut by_text = TableSpec::users();
        by_text.name = "by_text".to_owned();
        let mut tables = vec![instruments, TableSpec::users(), numbers, by_text];
        for (table, spec) in tables.iter_mut().enumerate() {
            spec.distribution = self.distributions[table];
            spec.look_up = self.look_ups[table];
            spec.on_miss = self.on_miss[table];
        }
        tables
    }

    /// The stream as the engine reads it.
    pub(crate) fn blocks(&self) -> Vec<Messages> {
        self.cut(&self.cuts)
    }

    /// The stream cut into blocks of the lengths that `cuts` repeats. Rows before a gate
    /// have blocks of their own.
    fn cut(&self, cuts: &[usize]) -> Vec<Messages> {
        let mut blocks = if self.gated { cut(&self.loaded, cuts) } else { Vec::new() };
        blocks.iter_mut().for_each(|block| block.loading = true);
        blocks.append(&mut cut(&self.steps, cuts));
        blocks
    }

    /// The rows that each table has before the first trade, in lanes of 7.
    pub(crate) fn loaded_lanes(&self, table: usize) -> Vec<ChangeLane> {
        let of_table = |step: &&Step| matches!(step, Step::Change { table: t, .. } if *t == table);
        let steps: Vec<Step> = self.loaded.iter().filter(of_table).cloned().collect();
        steps.chunks(7).map(|steps| block(steps, &mut 0).lanes[table].clone()).collect()
    }

    /// How many messages there are.
    pub(crate) fn messages(&self) -> u64 {
        (self.loaded.len() + self.steps.len()) as u64
    }

    pub(crate) fn engine(&self) -> Engine {
        let mut config = EngineConfig::new(self.tables());
        config.shards = ShardCount::new(self.shards).expect("in range");
        // As many workers as asked for, whatever machine the test runs on.
        config.cores = config.shards;
        config.queue_depth = Depth::new(self.queue_depth).expect("in range");
        config.order = self.order;
        config.hold_rows_max = self.hold_rows_max;
        config.hold_bytes_max = u64::MAX;
        config.wait_column = true;
        config.corrections = self.corrections;
        Engine::new(config)
    }

    /// How trades wait, as [`Case::engine`] has it.
    pub(crate) fn hold_config(&self) -> HoldConfig {
        HoldConfig {
            rows_max: self.hold_rows_max,
            bytes_max: u64::MAX,
            in_line: self.order == Order::Strict,
            wait_column: true,
        }
    }

    pub(crate) fn run(&self) -> (Rows, Report) {
        let (rows, _, report) = self.run_correcting();
        (rows, report)
    }

    /// What went to the sink, and what was written again.
    pub(crate) fn run_correcting(&self) -> (Rows, Rows, Report) {
        let rows = Arc::new(Mutex::new(Rows::new()));
        let load = |table| Some(Box::new(Rest::new(self.loaded_lanes(table))) as Box<dyn TableSource>);
        let loads = (0..TABLES).map(|table| load(table).filter(|_| !self.gated)).collect();
        let (sink, mut revisions) = (Collect(Arc::clone(&rows)), Revisions::default());
        let ran = self.engine().run_correcting(loads, Rest::new(self.blocks()), sink, &mut revisions);
        let rows = std::mem::take(&mut *rows.lock().expect("not poisoned"));
        assert_eq!(revisions.has_ended, self.corrections.is_some());
        (rows, revisions.rows, ran.expect("a run without faults"))
    }

    /// As [`Case::run_correcting`], but all changes behind the loaded rows come from beside the
    /// source.
    pub(crate) fn run_with_updates(&self) -> (Rows, Rows, Report) {
        let rows = Arc::new(Mutex::new(Rows::new()));
        let load = |table| Some(Box::new(Rest::new(self.loaded_lanes(table))) as Box<dyn TableSource>);
        let engine = self.engine();
        let (mut trades, mut pieces) = (0, Vec::new());
        let is_change = |step: &Step| matches!(step, Step::Change { .. });
        let mut cuts = self.cuts.iter().cycle();
        for run in self.steps.chunk_by(|a, b| is_change(a) == is_change(b)) {
            if is_change(&run[0]) {
                pieces.extend(updates(run).into_iter().map(Piece::Changes));
                continue;
            }
            let len = cuts.next().map_or(run.len(), |&cut| cut);
            pieces.extend(run.chunks(len).map(|steps| Piece::Trades(block(steps, &mut trades))));
        }
        let source = Pieces { updates: engine.updates(), pieces: pieces.into_iter() };
        let loads = (0..TABLES).map(load).collect();
        let (sink, mut revisions) = (Collect(Arc::clone(&rows)), Revisions::default());
        let ran = engine.run_correcting(loads, source, sink, &mut revisions);
        let rows = std::mem::take(&mut *rows.lock().expect("not poisoned"));
        (rows, revisions.rows, ran.expect("a run without faults"))
    }

    /// The oracle's rows and ledger for the same stream.
    pub(crate) fn expected(&self) -> (Rows, Ledger) {
        let (rows, _, ledger) = self.expected_revisions();
        (rows, ledger)
    }

    /// The same with what it writes again.
    pub(crate) fn expected_revisions(&self) -> (Rows, Rows, Ledger) {
        let tables = self.tables();
        let added = tables.iter().map(|table| table.outputs.len()).sum::<usize>() + 1;
        let correcting = self.corrections.map(|config| {
            let CorrectionConfig { time, rows, bytes, rows_max, bytes_max } = config;
            Correcting { time, rows, bytes, rows_max, bytes_max }
        });
        let mut oracle = Oracle::new(&tables, self.hold_rows_max, self.order == Order::Strict)
            .with_bytes_max(u64::MAX, added)
            .correcting(correcting);
        if !self.gated {
            let mut loads = block(&self.loaded, &mut 0);
            loads.loading = true;
            oracle.push(&loads);
        }
        let mut rows = Rows::new();
        for block in self.cut(&self.expected_cuts) {
            rows.extend(oracle.push(&block).into_iter().map(row_of));
        }
        rows.extend(oracle.finish().into_iter().map(row_of));
        let revisions = oracle.take_revisions().into_iter().map(row_of_revision).collect();
        (rows, revisions, oracle.ledger().clone())
    }
}

/// Holds what a run gave to what the oracle gives for the same stream; gives the
/// ledger.
///
/// # Errors
/// If they differ.
pub(crate) fn equals_oracle(
    case: &Case,
    (mut rows, revisions, report): (Rows, Rows, Report),
) -> Result<(Ledger, Report), TestCaseError> {
    let (mut expected, expected_revisions, ledger) = case.expected_revisions();
    if case.order == Order::Arrival {
        rows.sort();
        expected.sort();
    }
    prop_assert_eq!(difference(&rows, &expected), None);
    prop_assert_eq!(difference(&revisions, &expected_revisions), None, "revisions");
    prop_assert_eq!(&report.ledger, &ledger);
    prop_assert!(!report.interrupted);
    Ok((ledger, report))
}

/// Where two outputs differ first: the place, and what each has there.
pub(crate) fn difference(rows: &Rows, expected: &Rows) -> Option<String> {
    let len = rows.len().max(expected.len());
    let at = (0..len).find(|&at| rows.get(at) != expected.get(at))?;
    Some(format!("row {at}: {:?}\nexpected: {:?}", rows.get(at), expected.get(at)))
}

/// Yields what it was given.
pub(crate) struct Rest<T>(std::vec::IntoIter<T>);

impl<T> Rest<T> {
    pub(crate) fn new(items: Vec<T>) -> Self {
        Self(items.into_iter())
    }
}

impl<T: Into<Block> + Send> Source for Rest<T> {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        Ok(self.0.next().map(T::into))
    }
}

impl TableSource for Rest<ChangeLane> {
    fn next(&mut self) -> Result<Option<ChangeLane>, BoxError> {
        Ok(self.0.next())
    }
}

/// What comes next: trades, or changes that are offered from beside.
enum Piece {
    Trades(Messages),
    Changes(Update),
}

/// Yields the trades, and offers the changes.
struct Pieces {
    updates: Updates,
    pieces: std::vec::IntoIter<Piece>,
}

impl Source for Pieces {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        let update = match self.pieces.next() {
            None => return Ok(None),
            Some(Piece::Trades(trades)) => return Ok(Some(trades.into())),
            Some(Piece::Changes(update)) => update,
        };
        self.updates.offer(update);
        // It takes effect behind a block without trades and before whatever follows.
        Ok(Some(block(&[], &mut 0).into()))
    }
}
