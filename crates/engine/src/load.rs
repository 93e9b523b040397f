//! Tables that are complete before the first trade.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use arrow_array::{RecordBatch, UInt32Array};
use arrow_schema::Schema;
use tradejoin_flow::TableSource;
use tradejoin_model::{Applied, ChangeLane, Distribution, KeyedTable, Messages, TableSpec};

use crate::config::Stop;
use crate::error::EngineError;

/// The generation in force of each table that every shard has whole. A reload
/// stores a new one; the router pins what it finds for each batch.
#[derive(Debug)]
pub(crate) struct Generations(Vec<ArcSwapOption<KeyedTable>>);

impl Generations {
    pub(crate) fn new(tables: usize) -> Self {
        Self((0..tables).map(|_| ArcSwapOption::empty()).collect())
    }

    /// The generation of each table at this moment.
    pub(crate) fn pin(&self) -> Vec<Option<Arc<KeyedTable>>> {
        self.0.iter().map(ArcSwapOption::load_full).collect()
    }
}

/// What loading a broadcast table counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) rows: u64,
    pub(crate) duplicates: u64,
    pub(crate) rejected: u64,
}

/// Reads every table that has a source to its end. A broadcast table becomes a
/// generation; the rows of a partitioned one go to `emit` as messages without
/// trades, ahead of all others, so that each shard builds its own part. Ends
/// early if `emit` says so or the run is asked to stop.
pub(crate) fn load(
    specs: &[TableSpec],
    sources: Vec<Option<Box<dyn TableSource + '_>>>,
    generations: &Generations,
    stop: &Stop,
    mut emit: impl FnMut(Messages) -> bool,
) -> Result<Vec<Loaded>, EngineError> {
    let mut loaded = vec![Loaded::default(); specs.len()];
    for (index, source) in sources.into_iter().enumerate() {
        let Some(mut source) = source else { continue };
        let spec = &specs[index];
        let failed = |source| EngineError::TableSource { table: spec.name.clone(), source };
        match spec.distribution {
            Distribution::Broadcast => {
                let mut generation = KeyedTable::new(spec.outputs.clone().into());
                while let Some(lane) = source.next().map_err(failed)? {
                    if stop.is_requested() {
                        return Ok(loaded);
                    }
                    add(&mut generation, &lane, &mut loaded[index]);
                }
                generations.0[index].store(Some(Arc::new(generation)));
            }
            Distribution::Partitioned => {
                while let Some(lane) = source.next().map_err(failed)? {
                    if stop.is_requested() || !emit(rows_alone(specs.len(), index, lane)) {
                        return Ok(loaded);
                    }
                }
            }
        }
    }
    Ok(loaded)
}

fn add(generation: &mut KeyedTable, lane: &ChangeLane, loaded: &mut Loaded) {
    loaded.rows += lane.len() as u64;
    loaded.rejected += lane.rejected;
    for index in 0..lane.len() {
        let applied = generation.apply(lane, index);
        loaded.duplicates += u64::from(applied == Applied::Replaced);
    }
    generation.reclaim();
}

/// Messages of the rows of one table, without trades.
fn rows_alone(tables: usize, table: usize, lane: ChangeLane) -> Messages {
    let mut lanes = vec![ChangeLane::default(); tables];
    lanes[table] = lane;
    Messages {
        trades: RecordBatch::new_empty(Arc::new(Schema::empty())),
        keys: vec![UInt32Array::from(Vec::<u32>::new()); tables],
        lanes: lanes.into(),
        rejected: 0,
        loading: true,
    }
}
