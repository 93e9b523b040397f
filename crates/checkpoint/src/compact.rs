//! What all changes of a table come to: the few that a table made of them has to see.

use std::cmp::Ordering;

use ahash::AHashMap;
use tradejoin_model::{ChangeKind, ChangeLane, Column, History, LookUp, OutputColumn, OwnedKey, TableSpec};

use crate::error::CheckpointError;

/// Finds out which of a table's changes decide what it is, lane after lane, without
/// keeping them: each is known by its number, from 0.
#[derive(Debug)]
pub(crate) struct Deciding {
    next: u64,
    rows: Rows,
}

#[derive(Debug)]
enum Rows {
    /// The last upsert of each key; deleted keys are not there.
    Latest(AHashMap<OwnedKey, u64>),
    /// The change in force of each key, a tombstone among them.
    Versions(Versions),
    /// The rows of each key by their time.
    AsOf(AHashMap<OwnedKey, History<u64>>),
}

/// The changes in force where versions decide.
#[derive(Debug)]
struct Versions {
    outputs: Vec<OutputColumn>,
    winners: AHashMap<OwnedKey, Winner>,
    /// What each winner adds, by slot.
    values: Vec<Column>,
    /// What a change adds that has the version in force.
    new_values: Vec<Column>,
}

#[derive(Clone, Copy, Debug)]
struct Winner {
    change: u64,
    version: i64,
    gone: bool,
    /// Where its values are; those of a tombstone mean nothing.
    slot: usize,
}

impl Deciding {
    pub(crate) fn new(spec: &TableSpec) -> Self {
        let rows = match spec.look_up {
            LookUp::Latest => Rows::Latest(AHashMap::new()),
            LookUp::LatestVersion => Rows::Versions(Versions::new(&spec.outputs)),
            LookUp::AsOf { .. } => Rows::AsOf(AHashMap::new()),
        };
        Self { next: 0, rows }
    }

    /// Takes the next changes.
    pub(crate) fn take(&mut self, lane: &ChangeLane) {
        for row in 0..lane.len() {
            let (key, change) = (lane.keys.get(row), self.next);
            self.next += 1;
            match &mut self.rows {
                Rows::Latest(last) => match lane.kinds[row] {
                    ChangeKind::Upsert => drop(last.insert(key, change)),
                    ChangeKind::Delete => drop(last.remove(&key)),
                },
                Rows::Versions(versions) => versions.take(lane, row, key, change),
                Rows::AsOf(histories) => place(histories, lane, row, key, change),
            }
        }
    }

    /// The numbers of the changes that count, rising.
    pub(crate) fn finish(self) -> Vec<u64> {
        let mut changes: Vec<_> = match self.rows {
            Rows::Latest(last) => last.into_values().collect(),
            Rows::Versions(versions) => versions.winners.into_values().map(|winner| winner.change).collect(),
            // Rows of a history overlap in no order.
            Rows::AsOf(histories) => {
                let all = tradejoin_model::Validity::EVER;
                histories.into_values().flat_map(|mut rows| rows.delete(all).collect::<Vec<_>>()).collect()
            }
        };
        changes.sort_unstable();
        changes
    }
}

impl Versions {
    fn new(outputs: &[OutputColumn]) -> Self {
        let column = |output: &OutputColumn| Column::new(output.column_type);
        let mut new_values: Vec<_> = outputs.iter().map(column).collect();
        new_values.iter_mut().for_each(|value| value.grow(1));
        let values = outputs.iter().map(column).collect();
        Self { outputs: outputs.to_vec(), winners: AHashMap::new(), values, new_values }
    }

    /// Keeps the higher version; of two with the same one a delete, else the greater
    /// values.
    fn take(&mut self, lane: &ChangeLane, row: usize, key: OwnedKey, change: u64) {
        let (version, gone) = (lane.version(row), lane.kinds[row] == ChangeKind::Delete);
        let found = self.winners.get(&key).copied();
        let slot = found.map_or(self.winners.len(), |winner| winner.slot);
        let wins = found.is_none_or(|winner| {
            let order = version.cmp(&winner.version).then(gone.cmp(&winner.gone));
            let order =
                order.then_with(|| if gone { Ordering::Equal } else { self.compare(lane, row, slot) });
            order == Ordering::Greater
        });
        if !wins {
            return;
        }
        for (output, values) in self.outputs.iter().zip(&mut self.values) {
            values.grow((slot + 1).next_power_of_two());
            if !gone {
                output.render(&lane.fields, std::iter::once((slot, row)), values);
            }
        }
        self.winners.insert(key, Winner { change, version, gone, slot });
    }

    /// Orders what a change adds against what is in force.
    fn compare(&mut self, lane: &ChangeLane, row: usize, slot: usize) -> Ordering {
        let Self { outputs, values, new_values, .. } = self;
        for (output, value) in outputs.iter().zip(new_values.iter_mut()) {
            output.render(&lane.fields, std::iter::once((0, row)), value);
        }
        let orders = new_values.iter().zip(values).map(|(new, old)| new.compare(0, old, slot));
        orders.fold(Ordering::Equal, Ordering::then)
    }
}

/// Lets a change take effect; one that overlaps another does not.
fn place(
    histories: &mut AHashMap<OwnedKey, History<u64>>,
    lane: &ChangeLane,
    row: usize,
    key: OwnedKey,
    change: u64,
) {
    let validity = lane.validity(row);
    match lane.kinds[row] {
        ChangeKind::Upsert => {
            // What it overlaps was there first, and stays.
            let _ = histories.entry(key).or_default().put(validity, change);
        }
        ChangeKind::Delete => {
            if let Some(history) = histories.get_mut(&key) {
                history.delete(validity).for_each(drop);
                if history.is_empty() {
                    histories.remove(&key);
                }
            }
        }
    }
}

/// Picks, lane after lane, the changes of these numbers, rising.
pub(crate) struct Picking {
    wanted: std::iter::Peekable<std::vec::IntoIter<u64>>,
    next: u64,
    rows: Vec<u32>,
}

impl Picking {
    pub(crate) fn new(wanted: Vec<u64>) -> Self {
        Self { wanted: wanted.into_iter().peekable(), next: 0, rows: Vec::new() }
    }

    /// Hands on those of the next changes that are wanted.
    pub(crate) fn pick(
        &mut self,
        lane: &ChangeLane,
        mut hand_on: impl FnMut(&ChangeLane, &[u32]) -> Result<(), CheckpointError>,
    ) -> Result<(), CheckpointError> {
        let (first, end) = (self.next, self.next + lane.len() as u64);
        self.next = end;
        self.rows.clear();
        while let Some(change) = self.wanted.next_if(|&change| change < end) {
            // Below the length of a lane, which 32 bits number.
            self.rows.push((change - first) as u32);
        }
        hand_on(lane, &self.rows)
    }
}
