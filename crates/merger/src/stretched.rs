//! What the rows of stretches find: each a part of its stretch, or nothing.

use tradejoin_model::{
    Answer, Column, LookUp, Messages, Parts, Repeat, Routed, Stretch, TableRoute, TableSpec,
};

/// What the rows of stretches find in one table.
#[derive(Debug, Default)]
pub(crate) struct Stretched {
    /// The first row that finds a part, and the number of its value among those of the
    /// shard.
    firsts: Vec<(u32, usize)>,
    /// Where those of each answer end.
    ends: Vec<usize>,
    /// Rows that find what another one has found.
    repeats: Vec<Repeat>,
    /// Rows that find nothing.
    pub(crate) missed: Vec<u32>,
}

impl Stretched {
    /// Of the table `index`.
    pub(crate) fn new(table: &TableSpec, index: usize, routed: &Routed, answers: &[Answer]) -> Self {
        let mut stretched = Self::default();
        let (TableRoute::Partitioned(partition), LookUp::AsOf { tolerance }) =
            (&routed.routes[index], table.look_up)
        else {
            return stretched;
        };
        if partition.stretches.is_empty() {
            return stretched;
        }
        for answer in answers {
            // The values of parts are behind those of rows.
            let before = partition.rows.get(answer.shard).len();
            let parts = &answer.tables[index].parts;
            for (number, stretch) in partition.stretches.of_shard(answer.shard).iter().enumerate() {
                let rows = &partition.stretches.rows()[stretch.rows.clone()];
                let at = At { parts, number, tolerance, before };
                if let Some(value) = at.of_all(stretch, &routed.batch.messages) {
                    stretched.all_find(rows, value);
                } else {
                    stretched.each_finds(rows, at, &routed.batch.messages);
                }
            }
            stretched.ends.push(stretched.firsts.len());
        }
        stretched
    }

    fn all_find(&mut self, rows: &[u32], value: usize) {
        let [of, others @ ..] = rows else { return };
        self.firsts.push((*of, value));
        self.repeats.extend(others.iter().map(|&row| Repeat { row, of: *of }));
    }

    fn each_finds(&mut self, rows: &[u32], at: At<'_>, messages: &Messages) {
        let parts = at.parts.of_stretch(at.number);
        let mut first_rows = vec![None; parts.len()];
        for &row in rows {
            let part =
                messages.time(row as usize).and_then(|time| at.parts.at(parts.clone(), time, at.tolerance));
            let Some(part) = part else {
                self.missed.push(row);
                continue;
            };
            match &mut first_rows[part - parts.start] {
                Some(of) => self.repeats.push(Repeat { row, of: *of }),
                first => {
                    *first = Some(row);
                    self.firsts.push((row, at.before + part));
                }
            }
        }
    }

    /// Puts the values of a column, of which `values` has those of an answer, at the
    /// first rows that find them.
    pub(crate) fn scatter(&self, answer: usize, values: &Column, column: &mut Column) {
        let Some(&end) = self.ends.get(answer) else { return };
        let start = answer.checked_sub(1).map_or(0, |before| self.ends[before]);
        column.set_all(self.firsts[start..end].iter().map(|&(row, value)| (row as usize, value)), values);
    }

    /// Gives all others their values.
    pub(crate) fn repeat(&self, column: &mut Column) {
        column.repeat(&self.repeats);
    }
}

/// A stretch of an answer.
#[derive(Clone, Copy)]
struct At<'a> {
    parts: &'a Parts,
    number: usize,
    tolerance: Option<u64>,
    /// Values before that of the first part.
    before: usize,
}

impl At<'_> {
    /// The number of the value that all rows find, if that is plain: the times at which
    /// a row of the table is found are those from one on and before another, so that
    /// all find what is found at the least and at the greatest time.
    fn of_all(self, stretch: &Stretch, messages: &Messages) -> Option<usize> {
        let at = |time| self.parts.at(self.parts.of_stretch(self.number), time, self.tolerance);
        let found = at(stretch.least).filter(|_| messages.untimed() == 0);
        found.filter(|_| found == at(stretch.greatest)).map(|part| self.before + part)
    }
}
