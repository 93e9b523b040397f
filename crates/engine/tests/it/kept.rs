//! Runs that are kept, end at any of their cuts, and go on with other workers and blocks.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use proptest::sample::Index;
use tradejoin_engine::{KeepEvery, Keeping, Report};
use tradejoin_flow::{
    Block, BoxError, Cut, End, InputPosition, Keep, OutputPosition, Prepared, Resume, Source, SourcePosition,
    TableSource,
};
use tradejoin_model::{ChangeLane, Messages, Position};

use crate::blocks::block;
use crate::collect::{Collect, Revisions};
use crate::properties::config;
use crate::streams::{Case, Rest, Rows, Step, TABLES, case, equals_oracle};

/// A cut as it was kept.
#[derive(Clone)]
struct Snapshot {
    /// Steps that were read.
    steps: usize,
    /// Rows that were written.
    rows: usize,
    /// Revisions that were written.
    revisions: usize,
    trades: u64,
    position: Position,
    ledger: tradejoin_model::Ledger,
    held: Option<tradejoin_model::Held>,
    tables: Vec<Vec<ChangeLane>>,
    end: Option<End>,
}

/// Keeps in memory.
struct Memory {
    tables: Vec<Vec<ChangeLane>>,
    /// How many trades stand before each change.
    changed: Arc<Mutex<Vec<u64>>>,
    kept: Arc<Mutex<Vec<Snapshot>>>,
}

impl Keep for Memory {
    fn rows(&mut self, table: usize, lane: &ChangeLane) -> Result<(), BoxError> {
        // As a table has them before the first trade.
        let at_rows = vec![0; lane.len()];
        self.tables[table].push(ChangeLane { at_rows, turns: Vec::new(), rejected: 0, ..lane.clone() });
        Ok(())
    }

    fn changes(&mut self, trades_before: u64, lanes: &[ChangeLane]) -> Result<(), BoxError> {
        let rows = lanes.iter().flat_map(|lane| &lane.at_rows);
        let places = rows.map(|&row| trades_before + u64::from(row));
        self.changed.lock().expect("not poisoned").extend(places);
        let mut lanes = lanes.iter().enumerate().filter(|(_, lane)| !lane.is_empty());
        lanes.try_for_each(|(table, lane)| self.rows(table, lane))
    }

    fn keep(&mut self, cut: Cut) -> Result<u64, BoxError> {
        let Cut { source, trades, position, ledger, held, mut output, end, .. } = cut;
        let outputs = output.make_durable()?;
        let snapshot = Snapshot {
            steps: source.inputs[0].records as usize,
            rows: outputs[0].bytes as usize,
            // Nothing tells of them where none are made.
            revisions: outputs.get(1).map_or(0, |revisions| revisions.bytes as usize),
            trades,
            position,
            ledger,
            held,
            tables: self.tables.clone(),
            end,
        };
        self.kept.lock().expect("not poisoned").push(snapshot);
        output.publish()?;
        Ok(1)
    }
}

/// The rows of a [`Collect`] up to a cut.
pub(crate) struct RowsSoFar(pub(crate) usize);

impl Prepared for RowsSoFar {
    fn make_durable(&mut self) -> Result<Vec<OutputPosition>, BoxError> {
        Ok(vec![OutputPosition { bytes: self.0 as u64, ..OutputPosition::default() }])
    }

    fn publish(&mut self) -> Result<(), BoxError> {
        Ok(())
    }
}

/// Steps in blocks, that can be begun anywhere.
pub(crate) struct Steps {
    steps: Vec<Step>,
    /// How many of them stand before the first trade.
    loaded: usize,
    at: usize,
    trades: u64,
    cuts: std::iter::Cycle<std::vec::IntoIter<usize>>,
}

impl Steps {
    pub(crate) fn new(case: &Case, at: usize) -> Self {
        let loaded = if case.gated { case.loaded.as_slice() } else { &[] };
        let steps = [loaded, &case.steps].concat();
        let is_trade = |step: &&Step| matches!(step, Step::Trade(..));
        let trades = steps[..at].iter().filter(is_trade).count() as u64;
        Self { steps, loaded: loaded.len(), at, trades, cuts: case.cuts.clone().into_iter().cycle() }
    }
}

impl Source for Steps {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        let loading = self.at < self.loaded;
        let end = if loading { self.loaded } else { self.steps.len() };
        let len = self.cuts.next().unwrap_or(1).min(end - self.at);
        if len == 0 {
            return Ok(None);
        }
        let steps = &self.steps[self.at..self.at + len];
        self.at += len;
        Ok(Some(Messages { loading, ..block(steps, &mut self.trades) }.into()))
    }

    fn position(&self) -> Option<SourcePosition> {
        let input = InputPosition { records: self.at as u64, ..InputPosition::default() };
        Some(input.into())
    }
}

/// How many trades stand before each of the changes that are read behind so many steps.
fn places(case: &Case, steps: usize) -> Vec<u64> {
    let loaded = if case.gated { case.loaded.len() } else { 0 };
    let mut trades = 0;
    let mut places = Vec::new();
    for (at, step) in case.steps.iter().enumerate() {
        match step {
            Step::Trade(..) => trades += 1,
            Step::Change { .. } if loaded + at >= steps => places.push(trades),
            Step::Change { .. } => {}
        }
    }
    places
}

/// What a run gave, its cuts, and where changes took effect.
struct Ran {
    rows: Rows,
    revisions: Rows,
    report: Report,
    kept: Vec<Snapshot>,
    changed: Vec<u64>,
}

/// Runs a case from a snapshot or the beginning, with the rows and revisions that count.
fn run(case: &Case, every: u64, from: Option<&Snapshot>, (mut rows, mut revisions): (Rows, Rows)) -> Ran {
    rows.truncate(from.map_or(0, |from| from.rows));
    revisions.truncate(from.map_or(0, |from| from.revisions));
    let mut revisions = Revisions { rows: revisions, ..Revisions::default() };
    let rows = Arc::new(Mutex::new(rows));
    let kept = Arc::new(Mutex::new(Vec::new()));
    let tables = from.map_or_else(|| vec![Vec::new(); TABLES], |from| from.tables.clone());
    let load = |table: usize| -> Option<Box<dyn TableSource>> {
        match from {
            Some(from) => Some(Box::new(Rest::new(from.tables[table].clone()))),
            None if case.gated => None,
            None => Some(Box::new(Rest::new(case.loaded_lanes(table)))),
        }
    };
    let changed = Arc::default();
    let keep = Memory { tables, changed: Arc::clone(&changed), kept: Arc::clone(&kept) };
    let resume = from.cloned().map(|Snapshot { trades, position, ledger, held, .. }| Resume {
        trades,
        position,
        ledger,
        held,
        bad: Default::default(),
    });
    let keeping = Keeping { keep: Box::new(keep), every: KeepEvery::Trades(every), resume };
    let source = Steps::new(case, from.map_or(0, |from| from.steps));
    let sink = Collect(Arc::clone(&rows));
    let loads = (0..TABLES).map(load).collect();
    let ran = case.engine().run_kept(loads, source, sink, &mut revisions, Some(keeping));
    let report = ran.expect("a run without faults");
    let rows = std::mem::take(&mut *rows.lock().expect("not poisoned"));
    let kept = std::mem::take(&mut *kept.lock().expect("not poisoned"));
    let mut changed = std::mem::take(&mut *changed.lock().expect("not poisoned"));
    // Those of a batch come table by table.
    changed.sort_unstable();
    Ran { rows, revisions: revisions.rows, report, kept, changed }
}

/// How a run goes on: from which cut, with what.
type Life = (Index, u32, usize, Vec<usize>, [tradejoin_model::Distribution; TABLES]);

fn life() -> impl Strategy<Value = Life> {
    use tradejoin_model::Distribution::{Auto, Broadcast, Partitioned};
    let distribution = prop_oneof![Just(Auto), Just(Broadcast), Just(Partitioned)];
    let cuts = prop::collection::vec(1..60_usize, 1..8);
    (any::<Index>(), 1..=9_u32, 1..=4_usize, cuts, prop::array::uniform4(distribution))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_run_that_goes_on_from_any_cut_ends_as_if_it_had_not_ended(
        mut case in case(),
        every in 0..40_u64,
        lives in prop::collection::vec(life(), 1..4),
    ) {
        let mut ran = run(&case, every, None, Default::default());
        let result =
            |ran: &Ran| (ran.rows.clone(), ran.revisions.clone(), Report { kept: None, ..ran.report.clone() });
        equals_oracle(&case, result(&ran))?;
        prop_assert_eq!(&ran.changed, &places(&case, 0));
        for (at, shards, queue_depth, cuts, distributions) in lives {
            prop_assert_eq!(ran.report.kept.expect("kept").cuts, ran.kept.len() as u64);
            let last = ran.kept.last().expect("the end is kept");
            prop_assert_eq!(last.end, Some(End::Complete));
            prop_assert_eq!(last.rows, ran.rows.len());
            if case.gated {
                // Rows that are loaded past the shards have no place.
                prop_assert_eq!(last.position, Position(case.messages()));
            }
            let from = ran.kept[at.index(ran.kept.len())].clone();
            if from.end.is_some() {
                break;
            }
            case = Case { shards, queue_depth, cuts, distributions, ..case };
            ran = run(&case, every, Some(&from), (ran.rows, ran.revisions));
            equals_oracle(&case, result(&ran))?;
            prop_assert_eq!(&ran.changed, &places(&case, from.steps));
        }
    }
}
