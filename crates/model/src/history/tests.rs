//! Rows of one key in every order, beside a naive map of them.

use std::collections::BTreeMap;

use super::*;
use rows::BLOCK_ROWS;

const NULL: i64 = INTEGER_NULL;

#[test]
fn the_times_of_a_row_are_those_at_which_it_is_found() {
    const TIMES: [i64; 9] = [NULL, i64::MIN + 1, -10, 0, 1, 2, 10, i64::MAX - 1, i64::MAX];
    for (from, to) in TIMES.into_iter().flat_map(|from| TIMES.map(|to| (from, to))) {
        let validity = Validity { from, to };
        for tolerance in [None, Some(0), Some(1), Some(10), Some(u64::MAX)] {
            let times = validity.times_found(tolerance);
            for time in TIMES {
                let is_one = times.as_ref().is_some_and(|times| times.contains(&time));
                let is_found = validity.is_found_at(time, tolerance);
                assert_eq!(is_one, is_found, "{validity:?}, {tolerance:?}, at {time}");
            }
        }
    }
}

fn history(rows: &[(i64, i64, char)]) -> History<char> {
    let mut history = History::default();
    for &(from, to, value) in rows {
        assert_eq!(history.put(Validity { from, to }, value), Ok(None));
    }
    history
}

fn seen(history: &History<char>, times: impl IntoIterator<Item = i64>, tolerance: Option<u64>) -> String {
    times.into_iter().map(|time| history.at(time, tolerance).unwrap_or('-')).collect()
}

#[test]
fn a_row_is_valid_from_its_beginning_to_before_its_end() {
    let rows = [(2, 4, 'a'), (4, NULL, 'b'), (7, 8, 'c')];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let history = history(&order.map(|i| rows[i]));
        assert_eq!(seen(&history, 1..=9, None), "-aabbbc--", "an open row ends where the next begins");
    }
    let ever = history(&[(NULL, NULL, 'a'), (5, NULL, 'b')]);
    assert_eq!(seen(&ever, [NULL, i64::MIN + 1, 4, 5, i64::MAX], None), "aaabb");
}

#[test]
fn an_open_row_is_valid_until_the_next_one() {
    let rows = history(&[(NULL, NULL, 'a'), (2, 4, 'b'), (6, NULL, 'c'), (9, NULL, 'd')]);
    assert_eq!([NULL, 2, 6, 9].map(|from| rows.until(from)), [2, 4, 9, NULL]);
    assert_eq!([NULL, 2, 5, 9].map(|from| rows.next(from)), [2, 6, 6, NULL], "a gap may be between");
    let before = |from| rows.before(from).map(|(_, value)| value);
    assert_eq!([NULL, 2, 5, 9].map(before), [None, Some('a'), Some('b'), Some('c')]);
}

#[test]
fn a_row_that_began_too_long_ago_is_not_seen() {
    let rows = history(&[(NULL, 0, 'a'), (2, 6, 'b'), (8, NULL, 'c')]);
    assert_eq!(seen(&rows, -1..=11, Some(2)), "---bbb---ccc-");
    assert_eq!(seen(&rows, [2, 3, 8, 9], Some(0)), "b-c-");
    assert_eq!(seen(&rows, [i64::MAX], Some(u64::MAX)), "c");
    assert_eq!(seen(&rows, [-1], Some(u64::MAX)), "-", "since ever is longer ago than any tolerance");
}

#[test]
fn the_same_beginning_replaces_and_removes() {
    let mut rows = history(&[(2, 4, 'a'), (6, NULL, 'b')]);
    assert_eq!(rows.put(Validity { from: 2, to: NULL }, 'c'), Ok(Some('a')));
    assert_eq!(seen(&rows, 1..=7, None), "-ccccbb");
    let mut delete = |from| rows.delete(Validity { from, to: 1 }).collect::<String>();
    assert_eq!((delete(6), delete(6)), ("b".to_owned(), String::new()));
    assert_eq!(seen(&rows, 1..=7, None), "-cccccc");
    assert_eq!(rows.put(Validity { from: 8, to: NULL }, 'd'), Ok(None));
    assert_eq!(rows.delete(Validity::EVER).collect::<String>(), "cd");
    assert!(rows.is_empty());
}

#[test]
fn a_closed_row_holds_no_other_beginning() {
    let mut rows = history(&[(2, 5, 'a'), (8, NULL, 'b')]);
    let a = Overlap { validity: Validity { from: 2, to: 5 }, value: 'a' };
    let b = Overlap { validity: Validity { from: 8, to: NULL }, value: 'b' };
    for (from, to, other) in
        [(4, 6, a), (4, NULL, a), (1, 3, a), (NULL, 6, a), (2, 9, b), (6, 9, b), (3, 4, a)]
    {
        assert_eq!(rows.put(Validity { from, to }, 'x'), Err(other), "{from} to {to}");
    }
    assert_eq!(seen(&rows, 1..=9, None), "-aaa---bb", "nothing has changed");
    assert_eq!(rows.put(Validity { from: 5, to: 8 }, 'c'), Ok(None), "they may touch");
    assert_eq!(rows.put(Validity { from: 1, to: NULL }, 'd'), Ok(None), "an open one gives way");
    assert_eq!(seen(&rows, 1..=9, None), "daaacccbb");
}

/// How many blocks there are: each holds some rows, no more than it may, and two
/// neighbours are more than half full together.
fn blocks<T>(history: &History<T>) -> usize {
    let lens: Vec<_> = history.0.blocks().iter().map(Vec::len).collect();
    assert!(lens.len() == 1 || lens.iter().all(|len| (1..=BLOCK_ROWS).contains(len)), "{lens:?}");
    assert!(lens.windows(2).all(|pair| pair[0] + pair[1] > BLOCK_ROWS / 2), "{lens:?}");
    lens.len()
}

#[test]
fn a_row_moves_no_more_than_a_block_in_whatever_order_they_come() {
    const ROWS: i64 = 20_000;
    type Time = fn(i64) -> i64;
    let orders: [(&str, Time); 6] = [
        ("rising", |n| n),
        ("falling", |n| ROWS - 1 - n),
        ("rising, then falling to there", |n| if n < 512 { n } else { ROWS - 1 - (n - 512) }),
        ("from both ends", |n| if n % 2 == 0 { n / 2 } else { ROWS - 1 - n / 2 }),
        ("from the middle", |n| if n % 2 == 0 { (ROWS + n) / 2 } else { (ROWS - 1 - n) / 2 }),
        ("scattered", |n| n * 7_919 % ROWS),
    ];
    for (order, time) in orders {
        let mut history = History::default();
        for n in 0..ROWS {
            let from = time(n) * 2;
            assert_eq!(history.put(Validity { from, to: INTEGER_NULL }, from), Ok(None), "{order}");
        }
        let at = |time| history.at(time, None);
        assert_eq!(at(-1), None);
        assert!((0..ROWS).all(|n| [at(n * 2), at(n * 2 + 1)] == [Some(n * 2); 2]), "{order}");
        assert!(history.since(ROWS).map(|row| row.1).eq((ROWS / 2..ROWS).map(|n| n * 2)), "{order}");
        let blocks = blocks(&history) as i64;
        let most = if order == "rising" { 1 } else { 2 };
        assert!(blocks <= most * (ROWS / BLOCK_ROWS as i64 + 1), "{order}: {blocks} blocks");
        let bytes = history.memory_bytes();
        assert!(bytes <= 3 * ROWS as usize * size_of::<(Validity, i64)>(), "{order}: {bytes} bytes");
        assert!(history.delete(Validity::EVER).eq((0..ROWS).map(|n| n * 2)), "{order}");
        assert!(history.is_empty());
    }
}

/// What [`History::put`] does.
fn put(
    rows: &mut BTreeMap<i64, Row<u32>>,
    validity: Validity,
    value: u32,
) -> Result<Option<u32>, Overlap<u32>> {
    let overlap = |&(validity, value): &Row<u32>| Overlap { validity, value };
    if let Some((_, before)) =
        rows.range(..validity.from).next_back().filter(|(_, row)| is_cut(row.0, validity))
    {
        return Err(overlap(before));
    }
    let mut later = rows.range(validity.from..).filter(|&(&from, _)| from > validity.from);
    if let Some((_, after)) = later.next().filter(|(_, row)| is_cut(validity, row.0)) {
        return Err(overlap(after));
    }
    Ok(rows.insert(validity.from, (validity, value)).map(|(_, value)| value))
}

#[test]
fn many_rows_come_and_go_as_in_a_map() {
    const TIMES: u64 = 6_000;
    let (mut history, mut rows) = (History::default(), BTreeMap::new());
    let mut state = 1_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut blocks_max = 0;
    for step in 0..60_000_u32 {
        let from = random(TIMES) as i64;
        // More and more rows, and then fewer and fewer.
        let comes = random(20) < if step < 30_000 { 16 } else { 1 };
        let to = if random(4) == 0 { from + 1 + random(3) as i64 } else { INTEGER_NULL };
        let validity = Validity { from, to };
        if comes {
            assert_eq!(history.put(validity, step), put(&mut rows, validity, step));
        } else {
            let gone = rows.remove(&from).map(|(_, value)| value);
            assert_eq!(history.delete(validity).collect::<Vec<_>>(), Vec::from_iter(gone));
        }
        let time = random(TIMES) as i64;
        let begun = rows.range(..=time).next_back().map(|(_, row)| row);
        let next = rows.range(time + 1..).next().map(|(_, row)| row);
        assert_eq!(history.begun_last(time), begun);
        assert_eq!(history.before(time), rows.range(..time).next_back().map(|(_, &row)| row));
        assert_eq!(history.next(time), next.map_or(INTEGER_NULL, |row| row.0.from));
        assert!(
            history
                .since(time)
                .take(3)
                .eq(begun.into_iter().chain(rows.range(time + 1..).map(|(_, row)| row)).take(3))
        );
        if let Some(&(Validity { from, to }, _)) = begun {
            let until = if to == INTEGER_NULL { history.next(time) } else { to };
            assert_eq!(history.until(from), until);
        }
        assert_eq!(history.is_empty(), rows.is_empty());
        blocks_max = blocks_max.max(blocks(&history));
    }
    assert!(blocks_max > 5 && rows.len() < BLOCK_ROWS, "{blocks_max}, {}", rows.len());
    assert!(history.map(u64::from).since(-1).map(|row| row.1).eq(rows.values().map(|row| u64::from(row.1))));
    let all: Vec<_> = history.delete(Validity::EVER).collect();
    assert!(all.into_iter().eq(rows.into_values().map(|(_, value)| value)));
    assert!(history.is_empty());
}
