//! Records that were refused, among the messages that were read with them.

use std::sync::Arc;

/// A record that was refused, and is counted among the rejected ones. It travels with the
/// messages that were read with it, since only these have a place in the sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The row of the batch before which it stood: 0 to the number of trades.
    pub at_row: u32,
    /// The input that it stood in.
    pub source: Arc<str>,
    /// The number of its line, or of its row, in the input, from 1.
    pub place: u64,
    /// What is to be written of it, a line without its end; empty if it is only counted.
    pub letter: Box<[u8]>,
}

impl Refused {
    /// Those that stood among the rows from `start` to before `end` of their batch, as ones of
    /// a batch that begins there: who stood in front of a row stood behind the one before it.
    #[must_use]
    pub fn among(refused: &[Self], start: usize, end: usize) -> Vec<Self> {
        let is_among = |at: usize| at <= end && (at > start || start == 0);
        let among = refused.iter().filter(|refused| is_among(refused.at_row as usize));
        // No larger than the row of one, which fits.
        among.map(|refused| Self { at_row: refused.at_row - start as u32, ..refused.clone() }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_among_the_rows_of_one_part() {
        let refused =
            |at_row| Refused { at_row, source: "trades.csv".into(), place: 1, letter: Box::default() };
        let all: Vec<_> = [0, 0, 1, 2, 4, 4].map(refused).into();
        let parts = [(0, 2), (2, 3), (3, 4)].map(|(start, end)| Refused::among(&all, start, end));
        let rows = |part: &Vec<Refused>| part.iter().map(|refused| refused.at_row).collect::<Vec<_>>();
        assert_eq!(parts.each_ref().map(rows), [vec![0, 0, 1, 2], vec![], vec![1, 1]]);
    }
}
