//! The threads that read trades and changes, and the run that waits for either, in any order.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use tradejoin_connectors::{
    ChangeTable, ChangesBy, ChangesOptions, ChangesProgress, Encoding, InputOptions, Location,
    TableDefinition, TableKind, TableMode, WithChanges, WithChangesOptions, open_changes,
};
use tradejoin_flow::{Block, BoxError, Source};
use tradejoin_model::{ChangeKeys, ChangeLane, Keys, Messages};

use super::*;
use crate::sync::schedules::{check, draw};

/// Blocks of one trade each, whose key is its number.
struct Trades {
    at: u32,
    end: u32,
    then: Then,
}

/// What comes behind the last trade.
enum Then {
    End,
    Error,
    /// The end, but not before this is told, or nobody is there to tell it.
    Waits(Receiver<()>),
}

impl Source for Trades {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        if self.at == self.end {
            return match &self.then {
                Then::End => Ok(None),
                Then::Error => Err("a broken pipe".into()),
                Then::Waits(told) => Ok(told.recv().ok().and(None)),
            };
        }
        let ids = UInt32Array::from(vec![self.at]);
        self.at += 1;
        let column: ArrayRef = Arc::new(ids.clone());
        let trades = RecordBatch::try_from_iter([("user_id", column)])?;
        Ok(Some(Messages::new(trades, vec![Keys::from(ids)], vec![ChangeLane::default()])?.into()))
    }
}

/// A file with so many changes, each of a key of its own.
fn changes(count: u32) -> tempfile::NamedTempFile {
    let line = |id| format!("{{\"type\":\"user\",\"user_id\":{id},\"username\":\"u{id}\"}}\n");
    let file = tempfile::Builder::new().suffix(".jsonl").tempfile().expect("a file");
    std::fs::write(file.path(), (0..count).map(line).collect::<String>()).expect("written");
    file
}

fn reader(path: &Path) -> ChangesReader {
    let encoding = Encoding::of_path(path).expect("a known ending");
    let input = InputOptions {
        // A change for each block.
        batch_len: 1,
        ..InputOptions::with_encoding(Location::Path(path.to_owned()), encoding)
    };
    let table = ChangeTable {
        table: TableDefinition::Preset(TableKind::Users),
        fields: Vec::new(),
        mode: TableMode::default(),
        known: None,
    };
    let options = ChangesOptions { tables: vec![table], timed: false, nearest: |_, _| None };
    open_changes(input).and_then(|opened| opened.reader(options)).expect("a file")
}

/// The keys of the trades and of the changes that come out, and how it ends; `told` is told once
/// so many changes have come.
fn merged(
    trades: Trades,
    path: &Path,
    (count, told): (u32, &SyncSender<()>),
) -> (Vec<u32>, Vec<u32>, Result<(), String>) {
    let (trades, changes) = start(Box::new(trades), reader(path), false, None).expect("threads");
    let options = WithChangesOptions {
        by: ChangesBy::Arrival,
        tables: 1,
        changes_max: 2,
        wait: None,
        stop: None,
        progress: ChangesProgress::default(),
        is_kept: false,
    };
    let mut source = WithChanges::new(trades, changes, options);
    let (mut found, mut changed) = (Vec::new(), Vec::new());
    loop {
        if changed.len() == count as usize {
            let _ = told.try_send(());
        }
        let block = match source.next() {
            Ok(Some(block)) => block,
            Ok(None) => return (found, changed, Ok(())),
            Err(error) => return (found, changed, Err(error.to_string())),
        };
        let messages = block.decode().expect("a good block");
        for row in 0..messages.trades.num_rows() {
            found.push(messages.keys[0].get(row).expect("an id").to_string().parse().expect("a number"));
        }
        if let ChangeKeys::Ids(ids) = &messages.lanes[0].keys {
            changed.extend(ids.iter().map(|id| id.0));
        }
    }
}

#[test]
fn trades_and_changes_all_come_out_whichever_wakes_the_run() {
    let files: Vec<_> = (0..5).map(changes).collect();
    check(move || {
        let (end, count) = (draw(5) as u32, draw(5) as u32);
        let (tells, told) = sync_channel(1);
        // Where the trades wait for the changes, these have to wake the run.
        let then =
            [Then::End, Then::Error, Then::Waits(told)].into_iter().nth(draw(3)).expect("one of three");
        let fails = matches!(then, Then::Error);
        let (found, changed, ended) =
            merged(Trades { at: 0, end, then }, files[count as usize].path(), (count, &tells));
        assert!(found.iter().copied().eq(0..end), "{found:?}");
        if fails {
            assert_eq!(ended, Err("a broken pipe".to_owned()));
            assert!(changed.iter().copied().eq(0..changed.len() as u32), "{changed:?}");
        } else {
            assert_eq!(ended, Ok(()));
            assert!(changed.iter().copied().eq(0..count), "{changed:?}");
        }
    });
}

#[test]
fn a_run_that_goes_away_lets_both_threads_end() {
    let file = changes(4);
    check(move || {
        let (mut trades, changes) =
            start(Box::new(Trades { at: 0, end: 4, then: Then::End }), reader(file.path()), false, None)
                .expect("threads");
        for _ in 0..draw(4) {
            trades.arrive(draw(2) == 0, None).expect("no error");
        }
        // In either order; a thread that waited for ever would be the end of the test.
        if draw(2) == 0 {
            drop(trades);
            drop(changes);
        } else {
            drop(changes);
            drop(trades);
        }
    });
}
