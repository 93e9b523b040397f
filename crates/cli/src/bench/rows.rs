//! The programs, each ready to run on a feed.

use clap::ValueEnum;
use tradejoin_baseline::{
    Digesting, Outcome, Tables, fused, maps, naive, threads_channel, threads_ring, two_tables_ring,
};
use tradejoin_engine::{Engine, EngineConfig};
use tradejoin_flow::Block;
use tradejoin_model::{Distribution, Message, ShardCount, TableSpec};

use crate::bench::BenchArgs;
use crate::bench::RowName;
use crate::bench::feed::Feed;
use crate::plan;

/// A program and its settings.
pub(crate) struct Row {
    pub(crate) name: RowName,
    /// Threads that join: the shards of the engine, as asked for.
    pub(crate) workers: u32,
    /// How many of them the engine took, once it has run.
    pub(crate) workers_run: Option<u32>,
    /// How the engine spreads the instruments: as asked for, until it has run.
    pub(crate) distribution: Option<Distribution>,
    tables: Vec<TableSpec>,
    /// What the length of its blocks goes by.
    shards: ShardCount,
}

/// The rows that were asked for, in the order of the report.
pub(crate) fn of(args: &BenchArgs) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let is_wanted = |name: &RowName| args.only.is_empty() || args.only.contains(name);
    let mut tables = plan::generated_tables(&args.mix);
    plan::distribute(&mut tables, &args.distribution)?;
    for &name in RowName::value_variants().iter().filter(|name| is_wanted(name)) {
        let is_engine = name == RowName::Sharded;
        let workers: &[u32] = if is_engine { &args.workers } else { &[1] };
        for &workers in workers {
            // The fused loop reads blocks that are there for the engine.
            let shards = if name == RowName::Fused { args.workers[0] } else { workers };
            rows.push(Row {
                name,
                workers,
                workers_run: None,
                distribution: is_engine.then(|| tables[0].distribution),
                tables: tables.clone(),
                shards: plan::workers(Some(shards))?,
            });
        }
    }
    Ok(rows)
}

impl Row {
    /// Runs the program once.
    pub(crate) fn run(&mut self, feed: &Feed) -> anyhow::Result<Outcome> {
        let tables = if feed.mix().has_users() { Tables::InstrumentsAndUsers } else { Tables::Instruments };
        Ok(match (self.name, feed.in_memory()) {
            (RowName::Sharded, _) => self.sharded(feed)?,
            (RowName::Fused, _) => self.fused(feed)?,
            // Each program is compiled for either input: a boxed iterator would
            // cost it a few nanoseconds for each message.
            (name, []) => row_at_a_time(name, feed.drawn(), tables),
            (name, messages) => row_at_a_time(name, messages.iter().copied(), tables),
        })
    }

    fn fused(&self, feed: &Feed) -> anyhow::Result<Outcome> {
        let mut source = feed.blocks(self.shards);
        let mut failed = None;
        let mut next = || source.next()?.map(Block::decode).transpose();
        let blocks = std::iter::from_fn(|| {
            next().unwrap_or_else(|error| {
                failed = Some(error);
                None
            })
        });
        let outcome = fused(blocks);
        failed.map_or(Ok(outcome), |error| Err(anyhow::anyhow!(error)))
    }

    fn sharded(&mut self, feed: &Feed) -> anyhow::Result<Outcome> {
        let mut config = EngineConfig::new(self.tables.clone());
        config.shards = self.shards;
        let loads = self.tables.iter().map(|_| None).collect();
        let mut sink = Digesting::default();
        let report = Engine::new(config).run(loads, feed.blocks(self.shards), &mut sink)?;
        self.distribution = report.distributions.first().copied();
        self.workers_run = Some(report.shards.len() as u32);
        Ok(Outcome { enriched: report.ledger.enriched, unmatched: report.ledger.unmatched(), digest: sink.0 })
    }
}

fn row_at_a_time(name: RowName, messages: impl Iterator<Item = Message> + Send, tables: Tables) -> Outcome {
    match name {
        RowName::NaiveHashbrown => naive::<maps::Hashbrown>(messages, tables),
        RowName::NaiveDashmap => naive::<maps::Dash>(messages, tables),
        RowName::ThreadsChannel => threads_channel(messages, tables),
        RowName::ThreadsRing => threads_ring(messages, tables),
        RowName::TwoTablesRing => two_tables_ring(messages),
        RowName::NaiveStd | RowName::Fused | RowName::Sharded => naive::<maps::Std>(messages, tables),
    }
}
