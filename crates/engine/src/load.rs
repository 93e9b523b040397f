//! Tables that are complete before the first trade.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use arrow_array::RecordBatch;
use arrow_schema::Schema;
use tradejoin_flow::{Block, Source, SourcePosition, TableSource};
use tradejoin_model::{
    Applied, ChangeLane, Distribution, Keys, Ledger, Messages, OutputColumn, StoredTable, TableSpec, Turns,
};

use crate::config::Stop;
use crate::error::EngineError;
use crate::kept::{Event, Keeper};
use crate::pulse::Pulse;
use crate::updates::Updates;

/// The generation in force of each table that every shard has whole. A reload
/// stores a new one; the router pins what it finds for each batch.
#[derive(Debug)]
pub(crate) struct Generations(Vec<ArcSwapOption<StoredTable>>);

impl Generations {
    pub(crate) fn new(tables: usize) -> Self {
        Self((0..tables).map(|_| ArcSwapOption::empty()).collect())
    }

    /// The generation of each table at this moment.
    pub(crate) fn pin(&self) -> Vec<Option<Arc<StoredTable>>> {
        self.0.iter().map(ArcSwapOption::load_full).collect()
    }
}

/// What loading a broadcast table counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) rows: u64,
    pub(crate) applied: Applied,
    pub(crate) rejected: u64,
}

/// A source whose tables come first: the rows of a partitioned table as messages
/// without trades, so that each shard builds its own part; those of a broadcast
/// one become a generation before anything else is read.
pub(crate) struct Feed<'a, S> {
    /// The broadcast table that is being loaded.
    building: Option<StoredTable>,
    keeper: Option<&'a Keeper>,
    specs: &'a [TableSpec],
    loads: VecDeque<(usize, Box<dyn TableSource + 'a>)>,
    generations: &'a Generations,
    pub(crate) loaded: Vec<Loaded>,
    stop: &'a Stop,
    pub(crate) updates: &'a Updates,
    pulse: &'a Pulse,
    source: S,
    /// What the source gave, or its end, before an update that came while it was waited
    /// for.
    pending: Option<Option<Block>>,
}

/// What comes next in the sequence.
pub(crate) enum Next {
    /// Rows of a table that is being loaded.
    Rows(Messages),
    Block(Block),
    /// An update of this number.
    Update(u64, Messages),
}

impl<'a, S: Source> Feed<'a, S> {
    pub(crate) fn new(
        specs: &'a [TableSpec],
        loads: Vec<Option<Box<dyn TableSource + 'a>>>,
        generations: &'a Generations,
        stop: &'a Stop,
        (updates, pulse): (&'a Updates, &'a Pulse),
        keeper: Option<&'a Keeper>,
        source: S,
    ) -> Self {
        let loaded = vec![Loaded::default(); specs.len()];
        let loads = loads.into_iter().enumerate().filter_map(|(index, load)| Some((index, load?))).collect();
        let building = None;
        Self {
            keeper,
            building,
            specs,
            loads,
            generations,
            loaded,
            stop,
            updates,
            pulse,
            source,
            pending: None,
        }
    }

    /// How far the source has been read, if nothing of it waits here, and the tables are
    /// complete.
    pub(crate) fn position(&self) -> Option<SourcePosition> {
        // The end of the source is nothing of it.
        let is_between = self.loads.is_empty() && !matches!(self.pending, Some(Some(_)));
        is_between.then(|| self.source.position()).flatten()
    }

    /// How far the source has been read at the end, and what was counted for each
    /// broadcast table.
    pub(crate) fn into_end(self) -> (Option<SourcePosition>, Vec<Loaded>) {
        (self.position(), self.loaded)
    }

    fn next_update(&self) -> Option<Next> {
        let (number, update) = self.updates.take()?;
        Some(Next::Update(number, changes_alone(self.specs.len(), update, false)))
    }

    /// The next block: of the first table that is not complete, then an update that
    /// waits, or else of the source, which waits [until](Source::next_until) then. `None` at
    /// the end, or if the run is to stop.
    pub(crate) fn next(&mut self, until: Option<Instant>) -> Result<Option<Next>, EngineError> {
        while let Some((index, load)) = self.loads.front_mut() {
            if self.stop.is_requested() {
                return Ok(None);
            }
            let index = *index;
            let spec = &self.specs[index];
            let failed = |source| EngineError::TableSource { table: spec.name.clone(), source };
            match spec.distribution {
                // The engine has chosen by now.
                Distribution::Partitioned | Distribution::Auto => {
                    if let Some(lane) = load.next().map_err(failed)? {
                        let rows = changes_alone(self.specs.len(), [(index, lane)], true);
                        return Ok(Some(Next::Rows(rows)));
                    }
                }
                Distribution::Broadcast => {
                    let new = || StoredTable::new(spec.look_up, &spec.outputs);
                    let mut generation = self.building.take().unwrap_or_else(new);
                    // What was kept was counted before.
                    let resumes = self.keeper.is_some_and(Keeper::resumes);
                    let mut restored = Loaded::default();
                    let loaded = if resumes { &mut restored } else { &mut self.loaded[index] };
                    while let Some(mut lane) = load.next().map_err(failed)? {
                        if self.stop.is_requested() {
                            return Ok(None);
                        }
                        self.pulse.part();
                        add(&mut generation, &spec.outputs, &lane, loaded);
                        let refused = std::mem::take(&mut lane.refused);
                        if let Some(keeper) = self.keeper.filter(|_| !resumes) {
                            keeper.send(Event::Rows(index, Box::new(lane)));
                        }
                        if !refused.is_empty() {
                            // They go the way of all others, at once: there may be many.
                            self.building = Some(generation);
                            let none = changes_alone(self.specs.len(), [], true);
                            return Ok(Some(Next::Rows(Messages { refused, ..none })));
                        }
                    }
                    self.generations.0[index].store(Some(Arc::new(generation)));
                }
            }
            // A source that a stop has ended looks like one that is complete.
            if self.stop.is_requested() {
                return Ok(None);
            }
            self.loads.pop_front();
        }
        if let Some(update) = self.next_update() {
            return Ok(Some(update));
        }
        let block = match self.pending.take() {
            Some(block) => block,
            None => self.source.next_until(until).map_err(EngineError::Source)?,
        };
        // The source may have waited long.
        if let Some(update) = self.next_update() {
            self.pending = Some(block);
            return Ok(Some(update));
        }
        Ok(block.map(Next::Block))
    }
}

fn add(generation: &mut StoredTable, outputs: &[OutputColumn], lane: &ChangeLane, loaded: &mut Loaded) {
    loaded.rows += lane.len() as u64;
    loaded.rejected += lane.rejected;
    // A block has no more rows than 32 bits can count.
    generation.apply(outputs, lane, 0..lane.len() as u32, None, false);
    loaded.applied += generation.settle(None, &mut Vec::new());
}

/// Messages of changes without trades, each of a table, in the order of the list.
fn changes_alone(
    tables: usize,
    changes: impl IntoIterator<Item = (usize, ChangeLane)>,
    loading: bool,
) -> Messages {
    let mut lanes = vec![ChangeLane::default(); tables];
    let (mut turns, mut refused) = (Turns::default(), Vec::new());
    for (table, mut lane) in changes {
        refused.append(&mut lane.refused);
        let turn = turns.next(0, table);
        let turns = if turn > 0 { vec![turn; lane.len()] } else { Vec::new() };
        lanes[table] = ChangeLane { turns, ..lane };
    }
    Messages {
        trades: RecordBatch::new_empty(Arc::new(Schema::empty())),
        keys: vec![Keys::none(); tables],
        lanes: lanes.into(),
        times: None,
        rejected: 0,
        refused,
        loading,
    }
}

/// Adds what was loaded past the shards.
pub(crate) fn add_loaded(ledger: &mut Ledger, loaded: &[Loaded]) {
    for (table, loaded) in ledger.tables.iter_mut().zip(loaded) {
        table.rows_loaded += loaded.rows;
        table.duplicates += loaded.applied.replaced;
        table.stale += loaded.applied.stale;
        table.conflicts += loaded.applied.conflicts;
        table.overlaps += loaded.applied.overlaps;
        table.rejected += loaded.rejected;
    }
}
