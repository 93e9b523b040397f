//! Rows of hot keys by what they meet, for tables that are looked up by time.

use tradejoin_model::{Repeats, Selections, ShardCount, Stretch, Stretches};

/// Makes a stretch of each row of `rows` that others repeat and of these, were it not
/// for their times, and takes it out of `rows`. There are so many `trades` in the
/// batch, and `time` has those of rows.
pub(crate) fn take_stretches(
    shards: ShardCount,
    rows: &mut Selections,
    repeats: &Repeats,
    trades: usize,
    time: impl Fn(u32) -> Option<i64>,
) -> Stretches {
    let repeats = repeats.all();
    if repeats.is_empty() {
        return Stretches::default();
    }
    // Of a row that others repeat how many do, and then the number of its stretch.
    let mut of_row = vec![0_u32; trades];
    repeats.iter().for_each(|repeat| of_row[repeat.of as usize] += 1);
    let mut all: Vec<Stretch> = Vec::new();
    let mut ends = vec![0; shards.as_usize()];
    let (mut in_order, mut start) = (vec![0; 2 * repeats.len()], 0);
    let mut add = |stretch: &mut Stretch, row: u32| {
        in_order[stretch.rows.end] = row;
        stretch.rows.end += 1;
        if let Some(time) = time(row) {
            stretch.least = stretch.least.min(time);
            stretch.greatest = stretch.greatest.max(time);
        }
    };
    rows.retain(|shard, row| {
        let of_row = &mut of_row[row as usize];
        if *of_row == 0 {
            return true;
        }
        let mut stretch = Stretch { rows: start..start, least: i64::MAX, greatest: i64::MIN };
        add(&mut stretch, row);
        start += 1 + *of_row as usize;
        // No more than there are rows.
        *of_row = all.len() as u32;
        all.push(stretch);
        ends[shard.as_usize()] = all.len();
        false
    });
    for repeat in repeats {
        add(&mut all[of_row[repeat.of as usize] as usize], repeat.row);
    }
    in_order.truncate(start);
    // A shard without stretches ends where the one before it does.
    let mut end = 0;
    for of_shard in &mut ends {
        end = end.max(*of_shard);
        *of_shard = end;
    }
    Stretches::new(all, in_order, ends)
}

#[cfg(test)]
mod tests {
    use tradejoin_model::{Repeat, ShardIndex};

    use super::*;

    #[test]
    fn a_stretch_has_rows_that_meet_the_same_and_the_bounds_of_their_times() {
        let times = [9, 7, 5, 3, 8, 6, 4, 2];
        let shards = ShardCount::new(3).expect("within bounds");
        // Two keys of the first shard, the first of which changes; one of the third.
        let mut rows = Selections::of(shards, &[0, 0, 0, 2, 2], &[0, 1, 6, 8, 11]);
        let pairs = [(2, 0), (3, 1), (4, 1), (5, 0), (10, 0), (7, 6), (9, 8)];
        let repeats = Repeats::new(pairs.map(|(row, of)| Repeat { row, of }).to_vec(), vec![6, 0, 1]);
        let time = |row| times.get(row as usize).copied();
        let found = take_stretches(shards, &mut rows, &repeats, 12, time);
        let of_shard = |shard| -> Vec<_> {
            let stretches = found.of_shard(ShardIndex(shard)).iter();
            stretches.map(|s| (&found.rows()[s.rows.clone()], s.least, s.greatest)).collect()
        };
        assert_eq!(of_shard(0), [(&[0, 2, 5, 10][..], 5, 9), (&[1, 3, 4], 3, 8), (&[6, 7], 2, 4)]);
        assert_eq!(of_shard(1), []);
        assert_eq!(of_shard(2), [(&[8, 9][..], i64::MAX, i64::MIN)]);
        assert_eq!(rows.all(), [11]);
    }
}
