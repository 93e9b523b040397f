//! Trades that may be written again, for a later run that goes on where this one was.

use ahash::{AHashMap, AHashSet};
use tradejoin_model::{ColumnType, HeldRows, LookUp, RecentTrade, RecentTrades};

use super::{Chunk, Recent, Recents};
use crate::rows::{Rows, is_fit};

impl Recents {
    /// All of them, between two batches.
    pub(crate) fn kept(&self) -> RecentTrades {
        let mut chunks: Vec<u64> = self.chunks.keys().copied().collect();
        chunks.sort_unstable();
        let numbers: AHashMap<u64, u32> = chunks.iter().copied().zip(0..).collect();
        let trade = |trade: &Recent| RecentTrade {
            chunk: numbers[&trade.chunk],
            row: trade.row,
            number: trade.number,
            time: trade.time,
            last_time: trade.last_time,
            until: trade.until,
            lacks: trade.lacks,
            revision: trade.revision,
        };
        RecentTrades {
            trades: self.trades.iter().filter(|trade| !trade.is_gone).map(trade).collect(),
            chunks: chunks.iter().map(|chunk| self.chunks[chunk].rows.to_held()).collect(),
        }
    }

    /// Those that were kept, of tables that are looked up like this and add columns of these
    /// types; `None` if they are of others, or a row is not there or that of two.
    pub(crate) fn of_kept(
        kept: RecentTrades,
        look_ups: impl IntoIterator<Item = LookUp>,
        types: &[ColumnType],
    ) -> Option<Self> {
        let RecentTrades { chunks, trades } = kept;
        let mut recents = Self::new(look_ups);
        let tables = recents.by_key.len();
        let is_one = |rows: &HeldRows| is_fit(rows, tables, types);
        if !chunks.iter().all(is_one) {
            return None;
        }
        for rows in chunks {
            recents.add(Chunk::new(Rows::of_held(rows), 0));
        }
        let all_tables = u64::MAX.checked_shr(u64::BITS.saturating_sub(tables as u32)).unwrap_or(0);
        let mut taken = AHashSet::new();
        for trade in trades {
            let RecentTrade { row, number, time, last_time, until, lacks, revision, .. } = trade;
            let chunk = u64::from(trade.chunk) + 1;
            let entry = recents.chunks.get_mut(&chunk)?;
            if row as usize >= entry.rows.trades.num_rows()
                || lacks & !all_tables != 0
                || !taken.insert((chunk, row))
            {
                return None;
            }
            entry.left += 1;
            recents.enter_at(
                chunk,
                row,
                Recent { last_time, until, revision, ..Recent::new(number, time, lacks) },
            );
        }
        let rows = &mut recents.rows;
        recents.chunks.retain(|_, chunk| {
            let stays = chunk.left > 0;
            *rows -= if stays { 0 } else { chunk.rows.trades.num_rows() };
            stays
        });
        Some(recents)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
    use tradejoin_model::{OwnedKey, Validity};

    use super::*;

    fn rows(keys: &[u32]) -> Rows {
        let ids = UInt32Array::from(keys.to_vec());
        let batch = RecordBatch::try_from_iter([("id", Arc::new(ids.clone()) as ArrayRef)]);
        Rows { trades: batch.expect("one column"), keys: vec![ids.into()], columns: vec![] }
    }

    fn numbers(recents: &Recents, key: u32) -> Vec<u64> {
        let tickets = recents.of_key(0, &OwnedKey::Id(key), Validity::EVER).into_iter();
        tickets.filter_map(|ticket| recents.get(ticket)).map(|trade| trade.number).collect()
    }

    #[test]
    fn those_that_were_kept_are_the_same_and_leave_as_they_would_have() {
        let mut recents = Recents::new([LookUp::Latest]);
        for (first, keys) in [(1, [7, 8, 7]), (4, [7, 9, 8]), (7, [9, 9, 9])] {
            recents.push_chunk(rows(&keys));
            for row in 0..3 {
                let number = first + u64::from(row);
                let recent = Recent { until: number + 100, revision: row, ..Recent::new(number, Some(5), 1) };
                recents.enter(row, Recent { last_time: 50 - i64::from(row), ..recent });
            }
        }
        // All of the last chunk, and one in the middle.
        [1, 6, 7, 8].into_iter().for_each(|ticket| recents.leave(ticket));
        let kept = recents.kept();
        assert_eq!((kept.chunks.len(), kept.trades.len()), (3, 5));
        let mut others = Recents::of_kept(kept.clone(), [LookUp::Latest], &[]).expect("of this table");
        assert_eq!(others.kept().trades, kept.trades);
        assert_eq!((others.len(), others.bytes(), others.rows), (recents.len(), recents.bytes(), 6));
        for recents in [&mut recents, &mut others] {
            assert_eq!([7, 8, 9].map(|key| numbers(recents, key)), [vec![1, 3, 4], vec![6], vec![5]]);
            let late = recents.next_late(49).expect("one that is late");
            recents.leave(late);
            assert_eq!(recents.of_number(3), None);
            assert_eq!(numbers(recents, 7), [1, 4]);
            let one = recents.of_number(6).and_then(|ticket| recents.get(ticket)).expect("it is recent");
            assert_eq!((one.until, one.revision, one.lacks), (106, 2, 1));
        }
    }

    #[test]
    fn rows_that_are_not_there_are_refused() {
        let mut recents = Recents::new([LookUp::Latest]);
        recents.push_chunk(rows(&[7]));
        recents.enter(0, Recent::new(1, None, 0));
        let kept = recents.kept();
        assert!(Recents::of_kept(kept.clone(), [LookUp::Latest], &[]).is_some());
        assert!(Recents::of_kept(kept.clone(), [LookUp::Latest; 2], &[]).is_none(), "keys of another table");
        assert!(
            Recents::of_kept(kept.clone(), [LookUp::Latest], &[ColumnType::Integer]).is_none(),
            "a column more"
        );
        let with = |change: fn(&mut RecentTrade)| {
            let mut kept = kept.clone();
            change(&mut kept.trades[0]);
            Recents::of_kept(kept, [LookUp::Latest], &[])
        };
        assert!(with(|trade| trade.row = 1).is_none());
        assert!(with(|trade| trade.chunk = 1).is_none());
        assert!(with(|trade| trade.lacks = 2).is_none());
        let twice = RecentTrades { trades: [kept.trades.clone(), kept.trades].concat(), chunks: kept.chunks };
        assert!(Recents::of_kept(twice, [LookUp::Latest], &[]).is_none());
    }
}
