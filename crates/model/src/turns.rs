//! The order of the changes of different tables that stand before the same trade.

/// Tells, of the changes of a block in the order of the sequence, the turn of each.
///
/// Before a trade the changes of turn 0 come first, those of turn 1 next, and so on; in
/// one turn the tables are in their order. So a turn ends only where a table comes behind
/// a later one, and where none does all turns are 0 and take no memory.
///
/// ```
/// use tradejoin_model::Turns;
///
/// let mut turns = Turns::default();
/// let next: Vec<_> = [(3, 0), (3, 1), (3, 1), (3, 0), (3, 1), (4, 0)]
///     .map(|(at_row, table)| turns.next(at_row, table))
///     .into();
/// assert_eq!(next, [0, 0, 0, 1, 1, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Turns {
    at_row: u32,
    table: usize,
    turn: u32,
}

impl Turns {
    /// The turn of the next change, which takes effect before this row, in this table.
    #[inline]
    pub fn next(&mut self, at_row: u32, table: usize) -> u32 {
        if at_row != self.at_row {
            self.turn = 0;
        } else if table < self.table {
            self.turn += 1;
        }
        (self.at_row, self.table) = (at_row, table);
        self.turn
    }

    /// Notes the turn of the next change, the last one so far of its lane, among
    /// [those of the lane](crate::ChangeLane::turns).
    #[inline]
    pub fn note(&mut self, at_row: u32, table: usize, change: usize, of_lane: &mut Vec<u32>) {
        let turn = self.next(at_row, table);
        if turn > 0 {
            of_lane.resize(change, 0);
            of_lane.push(turn);
        }
    }
}
