//! Those who write rows and those who look at them, in any order of their threads.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use shuttle::thread;
use tradejoin_flow::ForEach;
use tradejoin_model::{ChangeLane, Keys, Messages};

use super::*;
use crate::sync::schedules::{check, draw};

/// Trades with these numbers, to which nothing is added.
fn batch(numbers: std::ops::Range<u32>) -> Enriched {
    let ids = UInt32Array::from_iter_values(numbers);
    let rows_kept = ids.len();
    let column: ArrayRef = Arc::new(ids.clone());
    let trades = RecordBatch::try_from_iter([("trade", column)]).expect("one column");
    let messages = Messages::new(trades, vec![Keys::from(ids)], vec![ChangeLane::default()]);
    Enriched {
        index: Default::default(),
        first_position: Default::default(),
        trades_before: 0,
        numbers: None,
        messages: Arc::new(messages.expect("a valid block")),
        columns: Vec::new(),
        kept: None,
        rows_kept,
        dead_letters: Vec::new(),
    }
}

/// Two rows of each batch.
const ROWS: u32 = 2;

/// Writes so many batches to a sink with taps, and ends.
fn write(taps: Taps, batches: u32) {
    let mut sink = Taps::of(Some(taps), ForEach(|_: &Enriched| Ok(())));
    let (mut encoder, mut piece) = (sink.encoder(), Default::default());
    for batch_number in 0..batches {
        let first = batch_number * ROWS;
        encoder.encode(&batch(first..first + ROWS), &mut piece).expect("encoded");
        sink.write(&mut piece).expect("written");
    }
    drop(sink.prepare(Some(End::Complete)).expect("prepared"));
}

fn wanted() -> Wanted {
    Wanted { filters: Filters::read(&[], &[]).expect("none"), every: Every(1) }
}

/// What comes until it is complete: the rows, and those that were dropped.
fn look(attached: &Attached) -> (Vec<u32>, u64) {
    let (mut rows, mut dropped) = (Vec::new(), 0);
    loop {
        // Under shuttle it is waited for as long as it takes.
        let arrived = attached.tap.wait(PATIENCE);
        assert_eq!(arrived.failure, None);
        let number = |line: &String| -> u32 {
            let digits = line.trim().strip_prefix("{\"row\":[").and_then(|rest| rest.strip_suffix("]}"));
            digits.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{line}"))
        };
        rows.extend(arrived.lines.iter().map(number));
        dropped += arrived.dropped;
        if arrived.is_complete {
            return (rows, dropped);
        }
    }
}

#[test]
fn who_looks_misses_no_row_behind_the_first_and_is_told_the_end() {
    check(|| {
        let (batches, limit) = (draw(5) as u32, [u64::MAX, 1, 3][draw(3)]);
        let schema = batch(0..1).trades().schema();
        let taps = Taps::new(schema, Vec::new());
        // One that goes away at any time is nobody's loss.
        let goes = thread::spawn({
            let taps = taps.clone();
            move || drop(taps.attach(wanted(), 1))
        });
        let before = taps.attach(wanted(), limit);
        let writes = thread::spawn({
            let taps = taps.clone();
            move || write(taps, batches)
        });
        let looks = thread::spawn({
            let taps = taps.clone();
            move || {
                let late = taps.attach(wanted(), u64::MAX);
                look(&late)
            }
        });
        let (rows, dropped) = look(&before);
        let all = u64::from(batches * ROWS);
        assert!(rows.iter().copied().eq(0..limit.min(all) as u32) && dropped == 0, "{rows:?}, {dropped}");
        let (rows, dropped) = looks.join().expect("no panic");
        let first = rows.first().copied().unwrap_or(batches * ROWS);
        assert!(first % ROWS == 0 && rows.iter().copied().eq(first..batches * ROWS), "{rows:?}");
        assert_eq!(dropped, 0);
        writes.join().expect("no panic");
        goes.join().expect("no panic");
        drop(before);
        assert_eq!(taps.0.attached.load(Ordering::Relaxed), 0);
    });
}
