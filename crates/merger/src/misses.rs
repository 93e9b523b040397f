//! What the misses of a batch come to, trade by trade.

use thiserror::Error;
use tradejoin_model::{
    Answer, DeadLetter, Ledger, LookUp, MissPolicy, Routed, TableRoute, TableSpec, Verdict,
};

use crate::missing::MissedKeys;
use crate::stretched::Stretched;

/// A trade found nothing in a table whose misses end the run.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("trade {number} of those read finds nothing in {table}: {key}")]
pub struct Miss {
    /// The table's name.
    pub table: String,
    /// The number of the trade among those that were read, the first being 1.
    pub number: u64,
    /// The column of the key, and the key.
    pub key: String,
}

/// Which rows of a batch go on, and what becomes of the others.
#[derive(Debug, Default)]
pub(crate) struct Misses {
    /// A mark for each row that goes on; `None` if all do.
    pub(crate) kept: Option<Vec<bool>>,
    pub(crate) dead_letters: Vec<DeadLetter>,
    /// Rows that wait, rising, and the tables that they wait for: a bit for each.
    pub(crate) waiting: Vec<(u32, u64)>,
    /// Every row that missed, with the table, in this order.
    pub(crate) rows: Vec<(u32, usize)>,
    /// The keys that were missed, by table; empty if none was.
    pub(crate) missed: Vec<MissedKeys>,
}

/// Judges the trades of a batch that missed, and adds their outcomes and those of
/// all others to the ledger; `stretched` has what stretches found, by table.
/// `trades_before` is how many were read before the batch.
pub(crate) fn judge(
    tables: &[TableSpec],
    routed: &Routed,
    answers: &[Answer],
    stretched: &[Stretched],
    trades_before: u64,
    ledger: &mut Ledger,
) -> Result<Misses, Miss> {
    let messages = &routed.batch.messages;
    let rows = messages.trades.num_rows() as u64;
    let mut missed: Vec<(u32, usize)> = Vec::new();
    for (table, stretched) in stretched.iter().enumerate() {
        let before = missed.len();
        let in_stretches = stretched.missed.iter().copied();
        missed.extend(missed_rows(table, routed, answers).chain(in_stretches).map(|row| (row, table)));
        if missed.len() > before {
            let repeated = repeated_misses(&routed.routes[table], rows as usize, &missed[before..]);
            missed.extend(repeated.into_iter().map(|row| (row, table)));
        }
        let account = &mut ledger.tables[table];
        account.missed = (missed.len() - before) as u64;
        account.matched = rows - account.missed;
    }
    ledger.rows_read = rows + messages.rejected;
    ledger.rejected = messages.rejected;
    let mut misses = Misses::default();
    // Runs of rising rows, one for each shard and table.
    missed.sort();
    if !missed.is_empty() {
        let rows_of = |table| missed.iter().filter(move |missed| missed.1 == table).map(|&(row, _)| row);
        let of_table = |table| MissedKeys::new(&messages.keys[table], rows_of(table), trades_before);
        misses.missed = (0..tables.len()).map(of_table).collect();
    }
    let mut unmatched = 0;
    for of_row in missed.chunk_by(|a, b| a.0 == b.0) {
        let row = of_row[0].0;
        let can_wait = |table: usize| {
            let has_time = || messages.time(row as usize).is_some();
            let by_time = matches!(tables[table].look_up, LookUp::AsOf { .. });
            let needs_time = by_time || tables[table].on_miss.needs_time();
            messages.keys[table].is_valid(row as usize) && (!needs_time || has_time())
        };
        let verdict = |table: usize| tables[table].on_miss.verdict(can_wait(table));
        let (worst, table) = of_row
            .iter()
            .map(|&(_, table)| (verdict(table), table))
            // Of several, the first table.
            .reduce(|a, b| if b.0 > a.0 { b } else { a })
            .unwrap_or((Verdict::Keep, 0));
        let number = trades_before + u64::from(row) + 1;
        unmatched += 1;
        match worst {
            Verdict::Keep => {
                ledger.unmatched_kept += 1;
                continue;
            }
            Verdict::Hold => {
                let waits = |table: &usize| verdict(*table) == Verdict::Hold;
                let waits_for = of_row.iter().map(|&(_, table)| table).filter(waits);
                misses.waiting.push((row, waits_for.fold(0, |bits, table| bits | 1 << table)));
                ledger.hold.entered += 1;
            }
            Verdict::Drop => ledger.unmatched_dropped += 1,
            Verdict::DeadLetter => {
                misses.dead_letters.push(DeadLetter { row, table, number });
                ledger.dead_lettered += 1;
            }
            Verdict::Fail => return Err(miss(&tables[table], routed, table, row, number)),
        }
        misses.kept.get_or_insert_with(|| vec![true; rows as usize])[row as usize] = false;
    }
    ledger.enriched = rows - unmatched;
    misses.rows = missed;
    Ok(misses)
}

fn missed_rows<'a>(
    table: usize,
    routed: &'a Routed,
    answers: &'a [Answer],
) -> impl Iterator<Item = u32> + use<'a> {
    let unkeyed = match &routed.routes[table] {
        TableRoute::Partitioned(partition) => partition.unkeyed.as_slice(),
        TableRoute::Whole { .. } => &[],
    };
    answers.iter().flat_map(move |answer| &answer.tables[table].missed).chain(unkeyed).copied()
}

/// The rows whose answer is that of a row that missed.
fn repeated_misses(route: &TableRoute, rows: usize, missed: &[(u32, usize)]) -> Vec<u32> {
    let TableRoute::Partitioned(partition) = route else { return Vec::new() };
    let repeats = &partition.repeats;
    if repeats.all().is_empty() {
        return Vec::new();
    }
    let mut has_missed = vec![false; rows];
    missed.iter().for_each(|&(row, _)| has_missed[row as usize] = true);
    repeats.all().iter().filter(|repeat| has_missed[repeat.of as usize]).map(|repeat| repeat.row).collect()
}

fn miss(spec: &TableSpec, routed: &Routed, table: usize, row: u32, number: u64) -> Miss {
    debug_assert_eq!(spec.on_miss, MissPolicy::Fail);
    let keys = &routed.batch.messages.keys[table];
    let key = match keys.get(row as usize) {
        Some(key) => format!("{} is {key}", spec.key_column),
        None => format!("{} is empty", spec.key_column),
    };
    Miss { table: spec.name.clone(), number, key }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
    use tradejoin_model::{
        Batch, BatchIndex, ChangeLane, Expired, Hold, HoldLimit, Messages, OwnedKey, Partition, Repeat,
        Repeats, Selections, ShardCount, ShardIndex, TableAnswer,
    };

    use super::*;

    /// Trades before the batch of these tests.
    const BEFORE: u64 = 10;

    fn hold() -> MissPolicy {
        MissPolicy::Hold(Hold { limit: HoldLimit::Rows(5), then: Expired::Drop })
    }

    /// Judges six trades, two of which have no key, beside three records that were refused, in two
    /// tables with these policies, in which one shard says that these rows miss. In the first one
    /// the fourth row finds what the second does.
    fn judged(policies: [MissPolicy; 2], missed: [&[u32]; 2]) -> (Result<Misses, Miss>, Ledger) {
        let ids = UInt32Array::from(vec![Some(1), Some(2), None, Some(2), None, Some(3)]);
        let trades = RecordBatch::try_from_iter([("id", Arc::new(ids.clone()) as ArrayRef)]);
        let keys = vec![ids.clone().into(), ids.into()];
        let lanes = vec![ChangeLane::default(), ChangeLane::default()];
        let messages = Messages::new(trades.expect("one column"), keys, lanes).expect("they fit together");
        let messages = Messages { rejected: 3, ..messages };
        let shards = ShardCount::new(1).expect("within bounds");
        let partition = |repeats| {
            let rows = Selections::of(shards, &[0, 0, 0], &[0, 1, 5]);
            let unkeyed = vec![2, 4];
            TableRoute::Partitioned(Box::new(Partition { rows, unkeyed, repeats, ..Partition::default() }))
        };
        let repeat = Repeat { row: 3, of: 1 };
        let routes = vec![partition(Repeats::new(vec![repeat], vec![1])), partition(Repeats::default())];
        let batch = Batch { index: BatchIndex(0), messages: Arc::new(messages) };
        let routed = Routed { batch, routes, shards, whole_shard: ShardIndex(0) };
        let tables = missed.map(|rows| TableAnswer { missed: rows.to_vec(), ..TableAnswer::default() });
        let answers = [Answer { shard: ShardIndex(0), tables: tables.into() }];
        let spec = |(name, on_miss)| TableSpec { on_miss, ..TableSpec::new(name, "id") };
        let tables: Vec<_> = ["first", "second"].into_iter().zip(policies).map(spec).collect();
        let stretched = [Stretched::default(), Stretched::default()];
        let mut ledger = Ledger::new(2);
        let misses = judge(&tables, &routed, &answers, &stretched, BEFORE, &mut ledger);
        (misses, ledger)
    }

    #[test]
    fn a_row_that_repeats_another_misses_with_it() {
        let (misses, ledger) = judged([MissPolicy::Keep, MissPolicy::Drop], [&[1], &[0]]);
        let misses = misses.expect("no miss ends the run");
        assert_eq!(misses.rows, [(0, 1), (1, 0), (2, 0), (2, 1), (3, 0), (4, 0), (4, 1)]);
        assert_eq!(misses.kept, Some(vec![false, true, false, true, false, true]));
        let of_table = |table: usize| (ledger.tables[table].matched, ledger.tables[table].missed);
        assert_eq!([of_table(0), of_table(1)], [(2, 4), (3, 3)]);
        assert_eq!((ledger.unmatched_kept, ledger.unmatched_dropped, ledger.enriched), (2, 3, 1));
    }

    #[test]
    fn records_that_were_refused_are_read_and_no_trades() {
        let (_, ledger) = judged([MissPolicy::Drop; 2], [&[], &[]]);
        assert_eq!((ledger.rows_read, ledger.rejected, ledger.enriched), (9, 3, 4));
        assert_eq!(ledger.tables[0].matched, 4);
    }

    #[test]
    fn the_keys_that_are_missed_are_told_of_each_table() {
        let (misses, _) = judged([MissPolicy::Keep; 2], [&[1], &[0, 5]]);
        let mut keys = crate::MissingKeys::default();
        keys.add(misses.expect("no miss ends the run").missed);
        let top = |table: usize| -> Vec<_> {
            let (keys, _) = keys.most_missed(table, 10);
            keys.into_iter().map(|key| (key.key, key.count, key.first, key.last)).collect()
        };
        let id = |id| Some(OwnedKey::Id(id));
        assert_eq!(top(0), [(id(2), 2, BEFORE + 2, BEFORE + 4), (None, 2, BEFORE + 3, BEFORE + 5)]);
        let once = |key, row| (id(key), 1, BEFORE + row, BEFORE + row);
        assert_eq!(top(1), [(None, 2, BEFORE + 3, BEFORE + 5), once(1, 1), once(3, 6)]);
    }

    #[test]
    fn a_trade_without_a_key_does_not_wait_and_others_wait_for_all_their_tables() {
        let (misses, ledger) = judged([hold(), hold()], [&[1, 5], &[5]]);
        let misses = misses.expect("no miss ends the run");
        assert_eq!(misses.waiting, [(1, 0b01), (3, 0b01), (5, 0b11)]);
        assert_eq!((ledger.hold.entered, ledger.unmatched_dropped, ledger.enriched), (3, 2, 1));
    }

    #[test]
    fn a_trade_is_put_aside_for_the_first_table_that_says_so() {
        let (misses, ledger) = judged([MissPolicy::Keep, MissPolicy::DeadLetter], [&[0], &[5]]);
        let letters = misses.expect("no miss ends the run").dead_letters;
        let expected = [2, 4, 5].map(|row| DeadLetter { row, table: 1, number: BEFORE + u64::from(row) + 1 });
        assert_eq!(letters, expected);
        assert_eq!((ledger.dead_lettered, ledger.unmatched_kept), (3, 1));
    }

    #[test]
    fn the_first_miss_of_a_table_that_ends_the_run_is_named() {
        let (misses, _) = judged([MissPolicy::Drop, MissPolicy::Fail], [&[0], &[5]]);
        let miss = misses.expect_err("three miss in it");
        assert_eq!(miss.to_string(), "trade 13 of those read finds nothing in second: id is empty");
    }
}
