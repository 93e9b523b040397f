//! Which chunks of rows are put together, where many batches leave a few rows each.

use crate::rows::Rows;

/// Rows of a chunk that is put together, at most.
pub(crate) const CHUNK_ROWS: usize = 8_192;
/// Bytes of memory of one, at most: far from what the offsets of Arrow reach.
const CHUNK_BYTES: usize = 64 << 20;
/// Chunks that come before it is looked at what may be put together.
const NEW_MAX: usize = 64;
/// A tier is of the chunks of up to eight times the rows of the tier below.
const TIER_BITS: u32 = 3;
/// Chunks above all tiers are at least half full, and stay as they are.
const TIERS: usize = (CHUNK_ROWS.ilog2() / TIER_BITS) as usize;
/// Chunks that a tier may have: no more, or those that are put together would not rise.
const TIER_MAX: usize = 1 << TIER_BITS;

/// Whether it is time to look for chunks [to join](to_join), if so many have come since the
/// last time.
pub(crate) fn is_time_to_join(chunks_new: usize) -> bool {
    chunks_new >= NEW_MAX
}

/// Which of these chunks are to be put together, each given with its number, how many of its
/// rows are left, and its rows. A row is copied about as often as there are tiers, and no more
/// than [`TIER_MAX`] chunks are left in each.
pub(crate) fn to_join<'a>(chunks: impl Iterator<Item = (u64, usize, &'a Rows)>) -> Vec<Vec<u64>> {
    let mut tiers = [const { Vec::new() }; TIERS];
    for (chunk, left, rows) in chunks {
        let tier = left.max(1).ilog2() / TIER_BITS;
        let Some(tier) = tiers.get_mut(tier as usize) else { continue };
        let bytes = rows.memory_bytes();
        if bytes <= CHUNK_BYTES / 2 {
            tier.push((chunk, left, bytes));
        }
    }
    let mut groups = Vec::new();
    for mut tier in tiers.into_iter().filter(|tier| tier.len() > TIER_MAX) {
        tier.sort_unstable();
        let (mut group, mut rows, mut bytes) = (Vec::new(), 0, 0);
        for (chunk, chunk_rows, chunk_bytes) in tier {
            if rows + chunk_rows > CHUNK_ROWS || bytes + chunk_bytes > CHUNK_BYTES {
                groups.push(std::mem::take(&mut group));
                (rows, bytes) = (0, 0);
            }
            group.push(chunk);
            rows += chunk_rows;
            bytes += chunk_bytes;
        }
        groups.push(group);
    }
    groups.retain(|group| group.len() > 1);
    groups
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, RecordBatch, StringArray};

    use super::*;

    fn rows(text_len: usize) -> Rows {
        let texts = StringArray::from(vec!["x".repeat(text_len)]);
        let trades = RecordBatch::try_from_iter([("note", Arc::new(texts) as ArrayRef)]);
        Rows { trades: trades.expect("one column"), keys: vec![], columns: vec![] }
    }

    #[test]
    fn of_about_one_size_more_than_a_tier_has_room_for_are_put_together() {
        let rows = rows(1);
        let groups = |lens: &[usize]| to_join((0..).zip(lens).map(|(chunk, &len)| (chunk, len, &rows)));
        assert_eq!(groups(&[1; 8]), [[0; 0]; 0]);
        assert_eq!(groups(&[7, 1, 1, 1, 1, 1, 1, 1, 1]), [[0, 1, 2, 3, 4, 5, 6, 7, 8]]);
        // Those of other tiers do not count, and full ones stay.
        assert_eq!(groups(&[8, 1, 1, 1, 1, 1, 1, 1, 1, 64]), [[0; 0]; 0]);
        assert_eq!(groups(&[4_096; 20]), [[0; 0]; 0]);
        // Nothing is put together above what a chunk has room for.
        assert_eq!(groups(&[4_000; 9]), [[0, 1], [2, 3], [4, 5], [6, 7]]);
    }

    #[test]
    fn few_rows_of_many_bytes_are_not_put_together() {
        let (large, huge) = (rows(20 << 20), rows(40 << 20));
        let groups = |rows: &Rows| to_join((0..9).map(|chunk| (chunk, 1, rows)));
        assert_eq!(groups(&large), [[0, 1, 2], [3, 4, 5], [6, 7, 8]]);
        assert_eq!(groups(&huge), [[0; 0]; 0]);
    }
}
