//! All that was said of the keys of some trades, and what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tradejoin_connectors::{BadRecord, NamedText, Place, Readiness, added_texts};
use tradejoin_engine::{Order, Stop};
use tradejoin_flow::{Source as _, TableSource};
use tradejoin_model::{
    ChangeKind, ChangeLane, Column, ColumnType, Expired, HoldLimit, LookUp, Messages, MissPolicy,
    OutputColumn, OutputSource, OwnedKey, TableSpec, Validity, Verdict,
};
use tradejoin_oracle::{Joined, Oracle};

use crate::args::RunArgs;
use crate::destination::Destination;
use crate::failure::UsageError;
use crate::job::Job;
use crate::plan;
use crate::verify::{columns_of, loading};

use super::Stopped;
use super::find::Trade;
use super::near::nearest;

/// Where a row comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    File(Arc<str>, Place),
    Journal,
}

/// A change of a key that is asked for.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) table: usize,
    pub(super) key: OwnedKey,
    pub(super) origin: Origin,
    /// Trades before it in the sequence.
    pub(super) trades_before: u64,
    /// Whether it is there before the first trade.
    pub(super) is_loaded: bool,
    pub(super) kind: ChangeKind,
    pub(super) validity: Validity,
    /// In a table with versions.
    pub(super) version: Option<i64>,
}

/// What became of a trade.
#[derive(Clone, Debug)]
pub(super) struct Explained {
    /// The row that it found in each table, by its index among the events.
    pub(super) rows: Vec<Option<usize>>,
    /// What the tables add to it.
    pub(super) added: Vec<NamedText>,
    pub(super) waited: u64,
    /// What its misses come to, with the table that decides; `None` without any.
    pub(super) verdict: Option<(Verdict, usize)>,
    /// In each table where it found nothing, keys next to its own that were there.
    pub(super) near: Vec<Vec<OwnedKey>>,
}

/// What is known of some trades.
pub(super) struct Traced {
    pub(super) tables: Vec<TableSpec>,
    /// In the order of the sequence.
    pub(super) events: Vec<Event>,
    /// One for each trade.
    pub(super) explained: Vec<Explained>,
    /// Records of all inputs that were refused: one of them may be what is looked for.
    pub(super) refused: u64,
    /// The first of them.
    pub(super) first_refused: Vec<BadRecord>,
}

/// Follows what was said of the keys of `trades` through all inputs.
pub(super) fn trace(run: &RunArgs, trades: &[Trade]) -> anyhow::Result<Traced> {
    let destination = Destination::new(run)?;
    let job = Job::open(run, &destination, &Readiness::default(), &Stop::default(), None)?;
    let config = plan::engine_config(&run.engine, job.tables)?;
    let tables = config.tables.clone();
    if tables
        .iter()
        .any(|table| table.on_miss.hold().is_some_and(|hold| matches!(hold.limit, HoldLimit::Processing(_))))
    {
        let text = "how long trades waited was decided by the clock, which nobody can ask again";
        return Err(UsageError(text.to_owned()).into());
    }
    let tagged: Vec<_> = tables.iter().map(tagged).collect();
    let outputs: usize = tables.iter().map(|table| table.outputs.len()).sum();
    let added_len = outputs + usize::from(run.wait_column.is_some());
    let mut tracer = Tracer {
        run,
        wanted: trades.iter().flat_map(|trade| trade.keys.iter().cloned().enumerate()).collect(),
        oracle: Oracle::new(&tagged, config.hold_rows_max, config.order == Order::Strict)
            .with_bytes_max(config.hold_bytes_max, added_len),
        events: Vec::new(),
        present: vec![BTreeSet::new(); tables.len()],
        trades_read: 0,
        joined: BTreeMap::new(),
        numbers: trades.iter().map(|trade| trade.number).collect(),
    };
    let mut near = BTreeMap::new();
    for (table, load) in job.loads.into_iter().enumerate() {
        load.map_or(Ok(()), |load| tracer.load(table, load, tables.len())).map_err(Stopped)?;
    }
    let is_replayed = run.reload.replay_journal.is_some();
    let mut source = job.source;
    while let Some(block) = source.next().map_err(Stopped)? {
        let messages = block.decode().map_err(Stopped)?;
        let before = tracer.trades_read;
        tracer.push(messages, is_replayed);
        for trade in trades.iter().filter(|trade| (before + 1..=tracer.trades_read).contains(&trade.number)) {
            near.insert(trade.number, tracer.near(trade, &tables));
        }
    }
    let rest = tracer.oracle.finish();
    tracer.keep(rest);
    let explained = trades.iter().map(|trade| {
        let joined = tracer.joined.remove(&trade.number);
        let near = near.remove(&trade.number).unwrap_or_default();
        explained(trade, joined, near, &tables, &tagged, &job.added)
    });
    let explained = explained.collect::<anyhow::Result<_>>()?;
    Ok(Traced {
        tables,
        events: tracer.events,
        explained,
        refused: job.bad_records.count(),
        first_refused: job.bad_records.first(),
    })
}

struct Tracer<'r> {
    run: &'r RunArgs,
    /// The keys of the trades, each with its table.
    wanted: BTreeSet<(usize, Option<OwnedKey>)>,
    oracle: Oracle,
    events: Vec<Event>,
    /// By table, the keys that have a row.
    present: Vec<BTreeSet<OwnedKey>>,
    trades_read: u64,
    joined: BTreeMap<u64, Joined>,
    numbers: BTreeSet<u64>,
}

impl Tracer<'_> {
    fn load(
        &mut self,
        table: usize,
        mut load: Box<dyn TableSource>,
        tables: usize,
    ) -> Result<(), tradejoin_flow::BoxError> {
        while let Some(lane) = load.next()? {
            self.push(loading(table, tables, lane)?, false);
        }
        Ok(())
    }

    fn push(&mut self, mut messages: Messages, is_replayed: bool) {
        let origin = match self.run.last_read.as_ref().and_then(|last| last.get()) {
            Some((name, place)) if !is_replayed || messages.loading => Origin::File(name, place),
            _ => Origin::Journal,
        };
        let is_loaded = messages.loading;
        let lanes = messages.lanes.iter().enumerate();
        messages.lanes = lanes.map(|(table, lane)| self.tag(table, lane, &origin, is_loaded)).collect();
        self.trades_read += messages.trades.num_rows() as u64;
        let joined = self.oracle.push(&messages);
        self.keep(joined);
    }

    fn keep(&mut self, joined: Vec<Joined>) {
        let wanted = joined.into_iter().filter(|joined| self.numbers.contains(&joined.number));
        self.joined.extend(wanted.map(|joined| (joined.number, joined)));
    }

    /// The changes with the number of each in front of their fields: that of its event, or 0
    /// if nobody asked for its key.
    fn tag(&mut self, table: usize, lane: &ChangeLane, origin: &Origin, is_loaded: bool) -> ChangeLane {
        let mut tags = Vec::with_capacity(lane.len());
        for change in 0..lane.len() {
            let key = lane.keys.get(change);
            let (validity, kind) = (lane.validity(change), lane.kinds[change]);
            match kind {
                ChangeKind::Upsert => drop(self.present[table].insert(key.clone())),
                // One row of several may go, and leave the others.
                ChangeKind::Delete if validity != Validity::EVER => {}
                ChangeKind::Delete => drop(self.present[table].remove(&key)),
            }
            let wanted = (table, Some(key));
            if !self.wanted.contains(&wanted) {
                tags.push(0);
                continue;
            }
            let (table, key) = (wanted.0, wanted.1.unwrap_or_else(|| lane.keys.get(change)));
            self.events.push(Event {
                table,
                key,
                origin: origin.clone(),
                trades_before: self.trades_read + u64::from(lane.at_rows[change]),
                is_loaded,
                kind,
                validity,
                version: (!lane.versions.is_empty()).then(|| lane.version(change)),
            });
            // Of rows that are equal in all else, the first stays.
            tags.push(-(self.events.len() as i64));
        }
        let mut tagged = lane.clone();
        tagged.fields.insert(0, Column::Integers(tags));
        tagged
    }

    /// The keys next to those of a trade that are there.
    fn near(&self, trade: &Trade, tables: &[TableSpec]) -> Vec<Vec<OwnedKey>> {
        let near = |(table, key): (usize, &Option<OwnedKey>)| match key {
            Some(key) if !self.present[table].contains(key) => {
                nearest(key, &self.present[table], &tables[table])
            }
            _ => Vec::new(),
        };
        trade.keys.iter().enumerate().map(near).collect()
    }
}

/// A table whose rows have a number in front, which it adds behind all else; none of its
/// misses makes a trade vanish.
fn tagged(table: &TableSpec) -> TableSpec {
    let mut tagged = table.clone();
    for output in &mut tagged.outputs {
        output.source = match output.source {
            OutputSource::Field(field) => OutputSource::Field(field + 1),
            OutputSource::Option(field, part) => OutputSource::Option(field + 1, part),
        };
    }
    tagged.outputs.push(OutputColumn::field("", 0, ColumnType::Integer));
    tagged.on_miss = match table.on_miss {
        MissPolicy::Drop | MissPolicy::Fail => MissPolicy::DeadLetter,
        MissPolicy::Hold(mut hold) => {
            if hold.then == Expired::Drop {
                hold.then = Expired::DeadLetter;
            }
            MissPolicy::Hold(hold)
        }
        other => other,
    };
    tagged
}

fn explained(
    trade: &Trade,
    joined: Option<Joined>,
    near: Vec<Vec<OwnedKey>>,
    tables: &[TableSpec],
    tagged: &[TableSpec],
    added: &[tradejoin_connectors::AddedColumn],
) -> anyhow::Result<Explained> {
    let mut rows = Vec::new();
    let waited = joined.as_ref().map_or(0, |joined| joined.waited);
    let columns = joined.map(|mut joined| {
        let mut at = 0;
        for table in tagged {
            at += table.outputs.len() - 1;
            let tag = joined.columns.remove(at);
            let tag = tag.and_then(|tag| String::from_utf8_lossy(&tag).parse::<i64>().ok());
            rows.push(tag.and_then(|tag| usize::try_from(-tag - 1).ok()));
        }
        columns_of(tables, &[joined])
    });
    rows.resize(tables.len(), None);
    // A wait column is none of the tables'.
    let columns = columns.unwrap_or_default();
    let added: Vec<_> = added.iter().filter(|added| added.index < columns.len()).cloned().collect();
    let texts = added_texts(&added, &columns, 0)?;
    let verdict = verdict(trade, &rows, tables);
    Ok(Explained { rows, added: texts, waited, verdict, near })
}

/// What the misses of a trade come to in the end, and the first table that decides it.
fn verdict(trade: &Trade, rows: &[Option<usize>], tables: &[TableSpec]) -> Option<(Verdict, usize)> {
    let misses = || tables.iter().enumerate().filter(|(table, _)| rows[*table].is_none());
    // Of equals, the first.
    let worst =
        |verdicts: Vec<(Verdict, usize)>| verdicts.into_iter().rev().max_by_key(|(verdict, _)| *verdict);
    let at_its_place = |(table, spec): (usize, &TableSpec)| {
        let needs_time = matches!(spec.look_up, LookUp::AsOf { .. }) || spec.on_miss.needs_time();
        let can_wait = trade.keys[table].is_some() && (trade.time.is_some() || !needs_time);
        (spec.on_miss.verdict(can_wait), table)
    };
    match worst(misses().map(at_its_place).collect()) {
        Some((Verdict::Hold, _)) => {
            let then =
                |(table, spec): (usize, &TableSpec)| Some((spec.on_miss.hold()?.then.verdict(), table));
            worst(misses().filter_map(then).collect())
        }
        verdict => verdict,
    }
}
