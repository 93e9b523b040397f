//! The rows of a table in memory, whichever way they are looked up.

use std::ops::AddAssign;

use crate::as_of::AsOfTable;
use crate::batch::{ChangeKind, ChangeLane};
use crate::column::Column;
use crate::effects::{Effect, Effects, Noted};
use crate::keyed::{Found, KeyedTable};
use crate::routed::Appeared;
use crate::stretches::ByTime;
use crate::table::{LookUp, OutputColumn};
use crate::text::TextColumn;
use crate::versioned::VersionedTable;

/// What became of changes beyond that they took effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Upserts whose key was there already; with look-ups by time, their key with
    /// their beginning.
    pub replaced: u64,
    /// Changes with a lower version than that in force, which do nothing.
    pub stale: u64,
    /// Changes with the version in force and other content.
    pub conflicts: u64,
    /// Upserts that were refused, since their time overlaps that of a row that was
    /// there.
    pub overlaps: u64,
}

impl AddAssign for Applied {
    fn add_assign(&mut self, other: Self) {
        self.replaced += other.replaced;
        self.stale += other.stale;
        self.conflicts += other.conflicts;
        self.overlaps += other.overlaps;
    }
}

/// A table's rows. A batch is taken in three steps, see [`KeyedTable`]:
/// [`apply`](StoredTable::apply), [`find`](StoredTable::find),
/// [`settle`](StoredTable::settle). The generation `below` is of the same kind,
/// and the same in all three.
#[derive(Clone, Debug)]
pub struct StoredTable {
    rows: Rows,
    applied: Applied,
    /// Of the batch under way, where they are known when it is applied.
    appeared: Vec<Appeared>,
    /// What changes do to trades before them, if that is asked for; where rows are
    /// looked up by time, these know it.
    noted: Option<Noted>,
}

#[derive(Clone, Debug)]
enum Rows {
    Latest(KeyedTable),
    LatestVersion(VersionedTable),
    AsOf(AsOfTable),
}

impl StoredTable {
    /// A table without rows that adds `outputs`.
    #[must_use]
    pub fn new(look_up: LookUp, outputs: &[OutputColumn]) -> Self {
        let rows = match look_up {
            LookUp::Latest => Rows::Latest(KeyedTable::new(outputs)),
            LookUp::LatestVersion => Rows::LatestVersion(VersionedTable::new(outputs)),
            LookUp::AsOf { tolerance } => Rows::AsOf(AsOfTable::new(outputs, tolerance)),
        };
        Self { rows, applied: Applied::default(), appeared: Vec::new(), noted: None }
    }

    /// The same table, which notes what changes do to trades before them.
    #[must_use]
    pub fn noting_effects(mut self) -> Self {
        match &mut self.rows {
            Rows::AsOf(rows) => rows.note_effects(),
            Rows::Latest(_) | Rows::LatestVersion(_) => self.noted = Some(Noted::default()),
        }
        self
    }

    /// The columns, one for each output, indexed by slot.
    #[inline]
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        match &self.rows {
            Rows::Latest(rows) => rows.columns(),
            Rows::LatestVersion(rows) => rows.rows().columns(),
            Rows::AsOf(rows) => rows.columns(),
        }
    }

    /// Takes changes of `lane`: those at `changes`, rising. `outputs` are what the
    /// table adds, as when it was made. With `is_waited_for` the changes that a
    /// trade may have waited for are noted.
    ///
    /// # Panics
    /// If a change is out of bounds, the lane's fields are not those that the
    /// outputs are made of, the table has 2³⁰ rows, or the last batch was not
    /// settled.
    #[inline]
    pub fn apply(
        &mut self,
        outputs: &[OutputColumn],
        lane: &ChangeLane,
        changes: impl Iterator<Item = u32> + Clone,
        below: Option<&Self>,
        is_waited_for: bool,
    ) {
        let appeared = is_waited_for.then_some(&mut self.appeared);
        match &mut self.rows {
            Rows::Latest(rows) => {
                if let Some(noted) = &mut self.noted {
                    let is_upsert = |change: u32| lane.kinds[change as usize] == ChangeKind::Upsert;
                    let effect = |change| Effect::of_any_time(change, is_upsert(change));
                    changes.clone().map(effect).for_each(|effect| noted.push(effect));
                }
                self.applied.replaced = rows.apply(outputs, lane, changes, below.map(Self::keyed), appeared);
            }
            Rows::LatestVersion(rows) => {
                let noted = self.noted.as_mut();
                self.applied =
                    rows.apply(outputs, lane, changes, below.map(Self::versioned), appeared, noted);
            }
            Rows::AsOf(rows) => {
                rows.apply(outputs, lane, changes, below.map(Self::as_of), is_waited_for);
            }
        }
    }

    /// What [`Self::find`] takes for keys that are texts: those of `rows`, in this
    /// table and the generation `below`.
    pub fn number_keys(
        &self,
        keys: &TextColumn,
        rows: impl Iterator<Item = u32>,
        below: Option<&Self>,
        numbers: &mut Vec<Option<u32>>,
    ) {
        match &self.rows {
            Rows::Latest(own) => own.number_keys(keys, rows, below.map(Self::keyed), numbers),
            Rows::LatestVersion(own) => {
                own.rows().number_keys(keys, rows, below.map(Self::keyed), numbers);
            }
            Rows::AsOf(own) => own.number_keys(keys, rows, below.map(Self::as_of), numbers),
        }
    }

    /// Finds the slots of `keys`, those of the rows `row(0)`, `row(1)`, …, rising,
    /// in this table and else in the generation `below`, with exactly the changes
    /// that stand before each row; where rows are looked up by time, at that which
    /// `by_time` has for them, and among them its stretches. `found` is overwritten,
    /// and `missed` becomes the rows without a match, but for those of stretches. To be
    /// called once for a batch, or not at all.
    #[inline]
    pub fn find(
        &mut self,
        keys: impl ExactSizeIterator<Item = Option<u32>> + Clone,
        row: impl Fn(usize) -> u32,
        by_time: ByTime<'_>,
        below: Option<&Self>,
        found: &mut Found,
        missed: &mut Vec<u32>,
    ) {
        match &mut self.rows {
            Rows::Latest(rows) => rows.find(keys, row, below.map(Self::keyed), found, missed),
            Rows::LatestVersion(rows) => {
                rows.rows().find(keys, row, below.map(Self::keyed), found, missed);
            }
            Rows::AsOf(rows) => rows.find(keys, row, by_time, below.map(Self::as_of), found, missed),
        }
    }

    /// Ends the batch, and tells what became of its changes: what was found before
    /// must not be read any more. `appeared` becomes those that a trade may have
    /// waited for, if that was asked for.
    pub fn settle(&mut self, below: Option<&Self>, appeared: &mut Vec<Appeared>) -> Applied {
        appeared.clear();
        match &mut self.rows {
            Rows::Latest(rows) => rows.settle(),
            Rows::LatestVersion(rows) => rows.settle(),
            Rows::AsOf(rows) => self.applied = rows.settle(below.map(Self::as_of), appeared),
        }
        appeared.append(&mut self.appeared);
        std::mem::take(&mut self.applied)
    }

    /// What the changes of the batch that was [settled](Self::settle) last do to
    /// trades before them, if the table [notes](Self::noting_effects) it.
    pub fn take_effects(&mut self, outputs: &[OutputColumn], below: Option<&Self>, effects: &mut Effects) {
        let below = below.map(Self::columns);
        match (&mut self.rows, &mut self.noted) {
            (Rows::AsOf(rows), _) => {
                if let Some((noted, columns)) = rows.noted() {
                    noted.take(outputs, columns, below, effects);
                }
            }
            // No row comes to light here.
            (_, Some(noted)) => noted.take(outputs, &[], None, effects),
            (_, None) => {}
        }
    }

    /// Bytes of memory in use, those of maps estimated from their capacity.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match &self.rows {
            Rows::Latest(rows) => rows.memory_bytes(),
            Rows::LatestVersion(rows) => rows.memory_bytes(),
            Rows::AsOf(rows) => rows.memory_bytes(),
        }
    }

    fn keyed(&self) -> &KeyedTable {
        match &self.rows {
            Rows::Latest(rows) => rows,
            Rows::LatestVersion(rows) => rows.rows(),
            Rows::AsOf(_) => unreachable!("a generation is looked up as its table is"),
        }
    }

    fn versioned(&self) -> &VersionedTable {
        match &self.rows {
            Rows::LatestVersion(rows) => rows,
            _ => unreachable!("a generation is looked up as its table is"),
        }
    }

    fn as_of(&self) -> &AsOfTable {
        match &self.rows {
            Rows::AsOf(rows) => rows,
            _ => unreachable!("a generation is looked up as its table is"),
        }
    }
}
