//! Readers of trades and changes that go on where others have been.

mod support;

use std::path::Path;

use proptest::prelude::*;
use support::{Files, input, skipping};
use tradejoin_connectors::{
    BadRecords, ChangeTable, ChangesBy, ChangesOptions, ChangesProgress, Fields, GateOptions, InputOptions,
    Journal, JournalEntry, LoadedTable, MessageReader, MessagesOptions, Replayed, TableKind, TableMode,
    TradesOptions, WithChanges, WithChangesOptions, open_changes, open_messages, open_trades,
};
use tradejoin_flow::{Source, SourcePosition};
use tradejoin_model::{ChangeKeys, Messages};

const BOTH: [TableKind; 2] = [TableKind::Instruments, TableKind::Users];

/// What a sequence consists of, in its order.
#[derive(Clone, Debug, Default, PartialEq)]
struct Sequence {
    /// Trades by their key, changes by table and key.
    items: Vec<String>,
    /// By the trades before them and their place, records of trades that were refused.
    refused: Vec<(usize, u64)>,
    trades: usize,
    rejected: u64,
}

impl Sequence {
    fn add(&mut self, messages: &Messages) {
        let mut items: Vec<(usize, u32, String)> = Vec::new();
        for (table, lane) in messages.lanes.iter().enumerate() {
            self.rejected += lane.rejected;
            let ChangeKeys::Ids(keys) = &lane.keys else { panic!("ids") };
            for (change, key) in keys.iter().enumerate() {
                let turn = lane.turn(change);
                items.push((lane.at_rows[change] as usize, turn, format!("table {table} {}", key.0)));
            }
        }
        // In the order of rows and turns, of tables where those are the same.
        items.sort_by_key(|&(row, turn, _)| (row, turn));
        let mut items = items.into_iter().peekable();
        let rows = messages.trades.num_rows();
        let trades: Vec<_> = messages.keys[0].ids().iter().map(|key| format!("trade {key:?}")).collect();
        for row in 0..=rows {
            while let Some((_, _, item)) = items.next_if(|(at, _, _)| *at == row) {
                self.items.push(item);
            }
            self.items.extend(trades.get(row).cloned());
        }
        let of_trades = messages.refused.iter().filter(|refused| refused.source.ends_with(".csv"));
        let places = of_trades.map(|refused| (self.trades + refused.at_row as usize, refused.place));
        self.refused.extend(places);
        self.trades += rows;
        self.rejected += messages.rejected;
    }

    fn add_all(&mut self, source: &mut dyn Source) {
        while let Some(block) = source.next().expect("skips") {
            self.add(&block.decode().expect("skips"));
        }
    }
}

/// Cuts a sequence wherever its position is known, and tells how often that was, and how often it
/// was not.
fn check_cuts<'s>(open: impl Fn(bool) -> Box<dyn Source + 's>) -> Result<(usize, usize), TestCaseError> {
    check_cuts_as(open, |sequence| sequence)
}

/// The same of what `seen` makes of sequences.
fn check_cuts_as<'s>(
    open: impl Fn(bool) -> Box<dyn Source + 's>,
    seen: fn(Sequence) -> Sequence,
) -> Result<(usize, usize), TestCaseError> {
    let mut expected = Sequence::default();
    expected.add_all(&mut *open(false));
    let expected = seen(expected);
    let (mut first, mut before, mut cuts, mut blocks) = (open(true), Sequence::default(), 0, 0);
    loop {
        if let Some(position) = first.position() {
            let kept = serde_json::to_string(&position).expect("a position");
            let position: SourcePosition = serde_json::from_str(&kept).expect("as it was written");
            let mut second = open(false);
            second.go_on_from(&position).expect("the same inputs");
            let again = second.position();
            prop_assert_eq!(again.as_ref(), Some(&position));
            let mut both = before.clone();
            both.add_all(&mut *second);
            prop_assert_eq!(&seen(both), &expected, "at {:?}", position);
            cuts += 1;
        }
        let next = first.next().expect("skips");
        blocks += usize::from(next.is_some());
        match next {
            Some(block) => before.add(&block.decode().expect("skips")),
            None => return Ok((cuts, blocks + 1 - cuts)),
        }
    }
}

fn messages(path: &Path, batch_len: usize, gates: GateOptions) -> (MessageReader, BadRecords) {
    let (input, bad) = skipping(path);
    let input = InputOptions { batch_len, ..input };
    let (tables, fields) = (Some(BOTH.to_vec()), Fields::AsText);
    (open_messages(MessagesOptions { input, limit: None, tables, fields, gates }).expect("opens"), bad)
}

fn instrument(id: u32, more: &str) -> String {
    format!("{{\"type\":\"instrument\",\"instrument_id\":{id},\"deleted\":true{more}}}\n")
}

fn message() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (1..9_u32).prop_map(|id| format!("{{\"type\":\"trade\",\"instrument_id\":{id},\"user_id\":1}}\n")),
        2 => (1..9_u32).prop_map(|id| instrument(id, "")),
        1 => (1..9_u32).prop_map(|id| format!("{{\"type\":\"user\",\"user_id\":{id},\"deleted\":true}}\r\n")),
        1 => Just("{\"type\":\"instrument\",\"instrument_id\":\"x\",\"deleted\":true}\n".to_owned()),
        1 => Just("{\"type\":\"trade\",\"instrument_id\":\"x\",\"user_id\":1}\n\n".to_owned()),
    ]
}

fn trades_csv(times: &[i64]) -> String {
    let mut time = 0;
    let row = |(number, step): (usize, &i64)| {
        time += step;
        // Each ninth is bad.
        if number % 9 == 8 { format!("x,{time}\n") } else { format!("{},{time}\n", number + 1) }
    };
    "instrument_id,timestamp\n".to_owned() + &times.iter().enumerate().map(row).collect::<String>()
}

fn changes_jsonl(steps: &[(i64, u32)]) -> String {
    let mut time = 0;
    let line = |(number, &(step, kind)): (usize, &(i64, u32))| {
        time += step;
        let at = format!(",\"timestamp\":{time}");
        match kind {
            0 => format!("{{\"type\":\"watermark\"{at}}}\n"),
            1 => format!("{{\"type\":\"user\",\"user_id\":{number},\"deleted\":true{at}}}\n\n"),
            2 => format!("{{\"type\":\"instrument\",\"instrument_id\":\"x\"{at}}}\n"),
            _ => instrument(number as u32, &at),
        }
    };
    steps.iter().enumerate().map(line).collect()
}

fn timed(path: &Path, batch_len: usize) -> tradejoin_connectors::TradeReader {
    let input = InputOptions { batch_len, ..skipping(path).0 };
    let key_columns = vec!["instrument_id".into(), "instrument_id".into()];
    let options = TradesOptions { input, limit: None, key_columns, fields: Fields::AsText };
    let mut reader = open_trades(options).expect("opens");
    reader.require_times().expect("there are");
    reader
}

fn with_changes(trades: &Path, changes: &Path, lens: (usize, usize), by: ChangesBy) -> impl Source + use<> {
    let table = |kind: TableKind| ChangeTable {
        table: kind.into(),
        fields: Vec::new(),
        mode: TableMode::Latest,
        known: None,
    };
    let options = ChangesOptions { tables: BOTH.map(table).into(), timed: true, nearest: |_, _| None };
    let input = InputOptions { batch_len: lens.1, ..skipping(changes).0 };
    let reader = open_changes(input).expect("opens").reader(options).expect("no columns");
    let options = WithChangesOptions {
        by,
        tables: 2,
        changes_max: lens.1,
        wait: None,
        stop: None,
        progress: ChangesProgress::default(),
        is_kept: true,
    };
    WithChanges::in_turn(timed(trades, lens.0), reader, options)
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 300, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn messages_go_on_once_tables_are_ready(
        rows in 0..7_u32,
        marker in any::<bool>(),
        rest in proptest::collection::vec(message(), 0..30),
        lens in [1..6_usize, 1..6_usize],
    ) {
        let files = Files::new();
        let marker = if marker { format!("{{\"type\":\"snapshot_end\",\"table\":\"instruments\",\"rows\":{rows}}}\n") } else { String::new() };
        let first: String = (0..rows).map(|id| instrument(id, "")).collect();
        let path = files.put("m.jsonl", first + &marker + &rest.concat());
        let cuts = check_cuts(|first| {
            Box::new(messages(&path, lens[usize::from(first)], GateOptions::default()).0)
        })?;
        prop_assert!(cuts.0 > 0 || !marker.is_empty());
    }

    #[test]
    fn trades_with_changes_go_on_behind_whatever_was_handed_on(
        times in proptest::collection::vec(0..4_i64, 0..30),
        changes in proptest::collection::vec((-2..5_i64, 0..6_u32), 0..30),
        lens in [(1..6_usize, 1..6_usize), (1..6_usize, 1..6_usize)],
    ) {
        let files = Files::new();
        let trades = files.put("t.csv", trades_csv(&times));
        let changes = files.put("c.jsonl", changes_jsonl(&changes));
        let cuts = check_cuts(|first| {
            Box::new(with_changes(&trades, &changes, lens[usize::from(first)], ChangesBy::Timestamp))
        })?;
        prop_assert_eq!(cuts.1, 0, "there is a position everywhere");
    }

    #[test]
    fn by_arrival_all_comes_once_whichever_comes_first(
        times in proptest::collection::vec(0..4_i64, 0..30),
        changes in proptest::collection::vec((-2..5_i64, 0..6_u32), 0..30),
        lens in [(1..6_usize, 1..6_usize), (1..6_usize, 1..6_usize)],
    ) {
        let files = Files::new();
        let trades = files.put("t.csv", trades_csv(&times));
        let changes = files.put("c.jsonl", changes_jsonl(&changes));
        // Where the changes are among the trades depends on the blocks.
        let apart = |mut sequence: Sequence| {
            sequence.items.sort_by_key(|item| item.starts_with("trade "));
            sequence
        };
        let open = |first| -> Box<dyn Source> {
            Box::new(with_changes(&trades, &changes, lens[usize::from(first)], ChangesBy::Arrival))
        };
        prop_assert!(check_cuts_as(open, apart)?.0 > times.len() / 6);
    }

    #[test]
    fn a_journal_goes_on_behind_any_block(
        places in proptest::collection::vec(0..20_u64, 0..20),
        trades in 0..20_usize,
        lens in [1..6_usize, 1..6_usize],
    ) {
        let files = Files::new();
        let path = files.put("t.csv", trades_csv(&vec![1; trades]));
        let good = trades as u64 - trades as u64 / 9;
        let mut places: Vec<_> = places.into_iter().map(|place| place.min(good)).collect();
        places.sort_unstable();
        let entry = |(number, &trades_before): (usize, &u64)| JournalEntry {
            trades_before,
            table: number % 2,
            changes: tradejoin_model::ChangeLane {
                at_rows: vec![0],
                keys: vec![tradejoin_model::Key(number as u32)].into(),
                kinds: vec![tradejoin_model::ChangeKind::Delete],
                ..Default::default()
            },
        };
        let loaded = |name: &str| LoadedTable {
            name: name.to_owned(),
            rows: 0,
            digest: 0,
            mode: String::new(),
            columns: Vec::new(),
        };
        let (tables, entries) = (["instruments", "users"].map(loaded), places.iter().enumerate().map(entry));
        let journal = Journal { tables: tables.into(), entries: entries.collect(), trades: good };
        let cuts = check_cuts(|first| {
            Box::new(Replayed::new(timed(&path, lens[usize::from(first)]), journal.clone()))
        })?;
        prop_assert!(cuts.0 > trades / 6);
    }
}

#[test]
fn a_stream_has_no_place_before_its_marker() {
    let files = Files::new();
    let stream = instrument(1, "")
        + &instrument(2, "")
        + "{\"type\":\"snapshot_end\",\"table\":\"instruments\",\"rows\":2}\n{\"type\":\"trade\",\"instrument_id\":1,\"user_id\":1}\n";
    let mut reader = messages(&files.put("m.jsonl", stream), 1, GateOptions::default()).0;
    let known: Vec<_> = (0..5)
        .map(|_| {
            let known = reader.position().is_some();
            reader.read().expect("good");
            known
        })
        .collect();
    assert_eq!(known, [false, false, false, true, true]);
}

#[test]
fn a_marker_that_is_still_to_come_counts_rows_from_the_beginning() {
    use tradejoin_connectors::ReadyAfter;
    let files = Files::new();
    let marker =
        |rows: u32| format!("{{\"type\":\"snapshot_end\",\"table\":\"instruments\",\"rows\":{rows}}}\n");
    let gates = || GateOptions {
        by_table: vec![(TableKind::Instruments, ReadyAfter { rows: Some(1), ..ReadyAfter::MARKER })],
        others: None,
    };
    for (rows, bad_lines) in [(3, 0), (2, 1)] {
        let stream = (1..4).map(|id| instrument(id, "")).collect::<String>() + &marker(rows);
        let path = files.put("m.jsonl", stream);
        let mut first = messages(&path, 1, gates()).0;
        first.read().expect("good");
        first.read().expect("good");
        let position = first.position().expect("it is ready");
        let (mut second, bad) = messages(&path, 9, gates());
        second.go_on_from(&position).expect("the same");
        while second.read().expect("skips").is_some() {}
        assert_eq!(bad.count(), bad_lines);
    }
}

#[test]
fn dead_letters_go_on_with_their_numbers() {
    use tradejoin_connectors::open_letters;
    let files = Files::new();
    let letter =
        |id: u32| format!("{{\"trade\":{},\"tries\":2,\"fields\":{{\"instrument_id\":{id}}}}}\n", id * 10);
    let path = files.put("dead.jsonl", (1..8).map(letter).collect::<String>());
    let open = |batch_len| {
        let input = InputOptions { batch_len, ..input(&path) };
        let key_columns = vec!["instrument_id".into()];
        open_letters(TradesOptions { input, limit: None, key_columns, fields: Fields::AsText })
            .expect("opens")
    };
    let (mut first, _) = open(3);
    first.read().expect("good");
    let position = first.position().expect("a file");
    let (mut second, letters) = open(9);
    second.go_on_from(&position).expect("the same");
    assert_eq!(support::keys(&[second.read().expect("good").expect("rows")]), [4, 5, 6, 7].map(Some));
    assert_eq!(letters.get(4).expect("read").trade, 40);
}
