//! What changes do to trades before them: those that would find something else now.

use crate::column::{Column, INTEGER_NULL};
use crate::history::Validity;
use crate::keyed::Slot;
use crate::table::OutputColumn;

/// A change that took effect, as trades before it see it: which of its key it
/// touches, and what these find now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Its index in the lane.
    pub change: u32,
    /// The times of the trades that it touches: all, unless rows are looked up
    /// [as of a time](crate::LookUp::AsOf).
    pub times: Validity,
    /// What they find now.
    pub found: Now,
}

/// What trades that a change touches find behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Now {
    /// The row of the change itself, where it is [found](Validity::is_found_at).
    Own(Validity),
    /// Where the row of the change has gone, one that began before it: its values
    /// are those of this number in [`Effects::revealed`].
    Revealed(Validity, u32),
    /// Nothing.
    Nothing,
}

impl Effect {
    /// A change of the row that all trades of its key find.
    #[must_use]
    pub fn of_any_time(change: u32, is_upsert: bool) -> Self {
        let found = if is_upsert { Now::Own(Validity::EVER) } else { Now::Nothing };
        Self { change, times: Validity::EVER, found }
    }
}

/// What the changes of one table in a batch do, in the order of the changes.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// One for each change that took effect and may touch a trade before it.
    pub all: Vec<Effect>,
    /// Values of rows that came to light, a column for each that the table adds;
    /// none at all where no row did.
    pub revealed: Vec<Column>,
}

impl Effects {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.all.clear();
        self.revealed.clear();
    }

    /// Adds those that another shard has for the same table and batch; to be
    /// [sorted](Self::sort) when all are here.
    pub fn append(&mut self, other: &mut Self) {
        let before = self.revealed.first().map_or(0, Column::len) as u32;
        self.all.extend(other.all.drain(..).map(|effect| match effect.found {
            Now::Revealed(validity, number) => {
                Effect { found: Now::Revealed(validity, before + number), ..effect }
            }
            _ => effect,
        }));
        if self.revealed.is_empty() {
            self.revealed = std::mem::take(&mut other.revealed);
            return;
        }
        for (column, other) in self.revealed.iter_mut().zip(other.revealed.drain(..)) {
            let rows: Vec<u32> = (0..other.len() as u32).collect();
            column.append_rows(&other, &rows);
        }
    }

    /// Puts them into the order of the changes.
    pub fn sort(&mut self) {
        self.all.sort_unstable_by_key(|effect| effect.change);
    }
}

/// Effects in the making: rows that come to light are slots, until their values are
/// [gathered](Noted::take).
#[derive(Clone, Debug, Default)]
pub(crate) struct Noted {
    all: Vec<Effect>,
    revealed: Vec<Slot>,
}

impl Noted {
    pub(crate) fn push(&mut self, effect: Effect) {
        self.all.push(effect);
    }

    /// A row with this validity took effect, and the next one of its key begins then.
    pub(crate) fn put(&mut self, change: u32, validity: Validity, next: i64) {
        let times = Validity { from: validity.from, to: next };
        self.push(Effect { change, times, found: Now::Own(validity) });
    }

    /// The row that began then has gone, and that `before` it, if there is one, comes
    /// to light.
    pub(crate) fn delete(&mut self, change: u32, from: i64, next: i64, before: Option<(Validity, Slot)>) {
        let found = before.filter(|_| from != INTEGER_NULL).map_or(Now::Nothing, |(validity, slot)| {
            self.revealed.push(slot);
            // Fewer than there are changes.
            Now::Revealed(validity, self.revealed.len() as u32 - 1)
        });
        let to = if from == INTEGER_NULL { INTEGER_NULL } else { next };
        self.push(Effect { change, times: Validity { from, to }, found });
    }

    /// Moves all to `effects`, with values out of the columns of the table and the
    /// generation below it.
    pub(crate) fn take(
        &mut self,
        outputs: &[OutputColumn],
        own: &[Column],
        below: Option<&[Column]>,
        effects: &mut Effects,
    ) {
        effects.clear();
        effects.all.append(&mut self.all);
        if self.revealed.is_empty() {
            return;
        }
        for (index, output) in outputs.iter().enumerate() {
            let mut column = Column::new(output.column_type);
            column.gather(&own[index], below.map(|columns| &columns[index]), &self.revealed);
            effects.revealed.push(column);
        }
        self.revealed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column::ColumnType;

    #[test]
    fn rows_that_shards_bring_to_light_keep_their_values() {
        let shard = |change, value| {
            let found = Now::Revealed(Validity::EVER, 0);
            Effects {
                all: vec![Effect { change, times: Validity::EVER, found }],
                revealed: vec![Column::Integers(vec![value])],
            }
        };
        let mut sum = Effects::default();
        [shard(7, 70), shard(3, 30), Effects::default(), shard(5, 50)]
            .iter_mut()
            .for_each(|other| sum.append(other));
        sum.sort();
        let values = sum.all.iter().map(|effect| match (effect.found, &sum.revealed[0]) {
            (Now::Revealed(_, number), Column::Integers(values)) => (effect.change, values[number as usize]),
            _ => unreachable!("a row of integers that came to light"),
        });
        assert_eq!(values.collect::<Vec<_>>(), [(3, 30), (5, 50), (7, 70)]);
    }

    #[test]
    fn what_has_gone_for_ever_brings_nothing_to_light() {
        let mut noted = Noted::default();
        noted.delete(0, INTEGER_NULL, 5, Some((Validity::EVER, 0)));
        let outputs = [OutputColumn::field("n", 0, ColumnType::Integer)];
        let mut effects = Effects::default();
        noted.take(&outputs, &[Column::Integers(vec![1])], None, &mut effects);
        assert_eq!(effects.all, [Effect::of_any_time(0, false)]);
        assert!(effects.revealed.is_empty());
    }
}
