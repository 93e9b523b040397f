//! The start gate: what tables of a stream of messages wait for.

mod support;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use support::{Files, input, skipping};
use tradejoin_connectors::{
    BadRecord, Category, Fields, GateOptions, GateTimeout, InputOptions, MessageReader, MessagesOptions,
    Place, ReadError, ReadyAfter, ReadyBy, TableKind, TableOptions, Unready, WaitsFor, open_messages,
    open_table,
};
use tradejoin_model::Messages;

const BOTH: [TableKind; 2] = TableKind::ALL;

/// A line of a stream; tables by their place.
#[derive(Clone, Copy, Debug)]
enum Line {
    Trade,
    Row(usize),
    /// A marker whose number of rows is off by so much.
    Marker(usize, i64),
    /// A row that cannot be read.
    BadRow(usize),
}

/// The stream, in JSON; rows have keys of their own, trades numbers.
fn text(lines: &[Line]) -> String {
    let mut rows = [0_i64; 2];
    let mut out = String::new();
    for (number, line) in lines.iter().enumerate() {
        out += &match *line {
            // Now and then the type stands behind.
            Line::Trade if number % 3 == 0 => {
                format!(r#"{{"instrument_id":{number},"user_id":1,"type":"trade"}}"#)
            }
            Line::Trade => format!(r#"{{"type":"trade","instrument_id":{number},"user_id":1}}"#),
            Line::Row(0) => format!(
                r#"{{"type":"instrument","instrument_id":{number},"ticker":"A","strike":1,"expiry":"2024-11-03","option_type":"call"}}"#
            ),
            Line::Row(_) => format!(r#"{{"type":"user","user_id":{number},"username":"kim"}}"#),
            Line::BadRow(table) => format!(r#"{{"type":"{}","user_id":"x"}}"#, BOTH[table].message_type()),
            Line::Marker(table, off) => {
                let count = rows[table] + off;
                format!(r#"{{"type":"snapshot_end","table":"{}","rows":{count}}}"#, BOTH[table].name())
            }
        };
        out.push('\n');
        if let Line::Row(table) | Line::BadRow(table) = line {
            rows[*table] += 1;
        }
    }
    out
}

/// What comes of a stream: its trades; the rows of each table, with the number of
/// trades before each and whether it was loaded; the lines that are bad; and how the
/// tables became ready, or the one that did not, with its rows.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    trades: Vec<usize>,
    rows: [Vec<(usize, usize, bool)>; 2],
    bad: Vec<usize>,
    end: Result<[ReadyBy; 2], (usize, u64)>,
}

/// The rules, one line at a time.
fn expected(lines: &[Line], ready_after: [Option<ReadyAfter>; 2]) -> Outcome {
    let mut outcome = Outcome { trades: vec![], rows: [vec![], vec![]], bad: vec![], end: Err((0, 0)) };
    let (mut rows, mut ready_by, mut marked) = ([0_u64; 2], [None; 2], [false; 2]);
    for table in 0..2 {
        ready_by[table] = match ready_after[table] {
            None => Some(ReadyBy::Start),
            Some(ReadyAfter { rows: Some(0), .. }) => Some(ReadyBy::Rows),
            Some(_) => None,
        };
    }
    let has_time = |table: usize| ready_after[table].is_some_and(|after| after.time.is_some());
    for (number, line) in lines.iter().enumerate() {
        match *line {
            Line::Trade => {
                if (0..2).any(|table| ready_by[table].is_none() && !has_time(table)) {
                    outcome.bad.push(number);
                    continue;
                }
                ready_by.iter_mut().for_each(|by| *by = by.or(Some(ReadyBy::Time)));
                outcome.trades.push(number);
            }
            Line::Row(table) | Line::BadRow(table) => {
                rows[table] += 1;
                let loaded = ready_by.contains(&None);
                match line {
                    Line::BadRow(_) => outcome.bad.push(number),
                    _ => outcome.rows[table].push((number, outcome.trades.len(), loaded)),
                }
                if ready_after[table].is_some_and(|after| after.rows == Some(rows[table])) {
                    ready_by[table] = ready_by[table].or(Some(ReadyBy::Rows));
                }
            }
            Line::Marker(table, off) => {
                let right = off == 0 && ready_after[table].is_some() && !marked[table];
                if right {
                    marked[table] = true;
                    ready_by[table] = ready_by[table].or(Some(ReadyBy::Marker));
                } else {
                    outcome.bad.push(number);
                }
            }
        }
    }
    for (_, ready_by) in ready_by.iter_mut().enumerate().filter(|(table, _)| has_time(*table)) {
        *ready_by = ready_by.or(Some(ReadyBy::End));
    }
    outcome.end = match ready_by.iter().position(Option::is_none) {
        Some(table) => Err((table, rows[table])),
        None => Ok(ready_by.map(|by| by.expect("all are ready"))),
    };
    outcome
}

fn options(input: InputOptions, ready_after: [Option<ReadyAfter>; 2]) -> MessagesOptions {
    let by_table = BOTH.into_iter().zip(ready_after).filter_map(|(kind, after)| Some((kind, after?)));
    let gates = GateOptions { by_table: by_table.collect(), others: None };
    MessagesOptions { input, limit: None, tables: Some(BOTH.to_vec()), fields: Fields::AsText, gates }
}

/// What a reader makes of it, in blocks of so many lines at most.
fn found(path: &Path, ready_after: [Option<ReadyAfter>; 2], batch_len: usize) -> Outcome {
    let (input, bad) = skipping(path);
    let readiness = input.readiness.clone();
    let mut reader = open_messages(options(InputOptions { batch_len, ..input }, ready_after)).expect("opens");
    let (messages, end) = read(&mut reader);
    let mut outcome = Outcome { trades: vec![], rows: [vec![], vec![]], bad: vec![], end: Err((0, 0)) };
    let mut rejected = 0;
    for messages in messages {
        let before = outcome.trades.len();
        assert!(!messages.loading || messages.trades.num_rows() == 0, "a trade among what is loaded");
        outcome.trades.extend(trade_numbers(&messages));
        for (rows, lane) in outcome.rows.iter_mut().zip(messages.lanes.iter()) {
            let keys = lane.keys.ids().iter().zip(&lane.at_rows);
            rows.extend(keys.map(|(key, at)| (key.0 as usize, before + *at as usize, messages.loading)));
            rejected += lane.rejected;
        }
        rejected += messages.rejected;
    }
    assert_eq!(rejected, bad.count(), "each is counted once");
    let line = |record: &BadRecord| match record.place {
        Place::Line(line) => line as usize - 1,
        Place::Row(_) => panic!("lines have numbers"),
    };
    outcome.bad = bad.first().iter().map(line).collect();
    outcome.bad.resize(bad.count() as usize, usize::MAX);
    let tables = readiness.tables();
    outcome.end = match end {
        None => Ok([0, 1].map(|table: usize| tables[table].state.expect("ready"))),
        Some(ReadError::NotReady { table, timeout: None, .. }) => {
            Err((BOTH.iter().position(|kind| kind.name() == table.table).expect("a table"), table.rows))
        }
        Some(error) => panic!("{error}"),
    };
    outcome
}

fn read(reader: &mut MessageReader) -> (Vec<Messages>, Option<ReadError>) {
    let mut blocks = Vec::new();
    loop {
        match reader.read() {
            Ok(Some(messages)) => blocks.push(messages),
            Ok(None) => return (blocks, None),
            Err(error) => return (blocks, Some(error)),
        }
    }
}

/// Trades are of the instrument of their number.
fn trade_numbers(messages: &Messages) -> impl Iterator<Item = usize> {
    messages.keys[0].ids().iter().flatten().map(|id| id as usize)
}

fn line() -> impl Strategy<Value = Line> {
    prop_oneof![
        3 => Just(Line::Trade),
        4 => (0..2_usize).prop_map(Line::Row),
        2 => (0..2_usize, prop_oneof![3 => Just(0), 1 => Just(1_i64)]).prop_map(|(t, off)| Line::Marker(t, off)),
        1 => (0..2_usize).prop_map(Line::BadRow),
    ]
}

fn condition() -> impl Strategy<Value = ReadyAfter> {
    let time = prop::option::weighted(0.3, Just(Duration::ZERO));
    (prop::option::of(0..6_u64), time).prop_map(|(rows, time)| ReadyAfter { rows, time })
}

proptest! {
    #[test]
    fn the_gate_follows_its_rules_at_any_block_length(
        mut lines in prop::collection::vec(line(), 0..40),
        ready_after in prop::array::uniform2(prop::option::weighted(0.8, condition())),
        batch_len in 1..12_usize,
        trades_at_end in 0..3_usize,
    ) {
        lines.extend(std::iter::repeat_n(Line::Trade, trades_at_end));
        // Without a word on a table, its marker among the first lines is waited for.
        let has_marker = |table| lines.iter().any(|line| matches!(line, Line::Marker(t, _) if *t == table));
        let meant = [0, 1].map(|table: usize| {
            ready_after[table].or_else(|| has_marker(table).then_some(ReadyAfter::MARKER))
        });
        let files = Files::new();
        let path = files.put("s.jsonl", text(&lines));
        let mut expected = expected(&lines, meant);
        for bad in expected.bad.iter_mut().skip(5) {
            *bad = usize::MAX;
        }
        let found = found(&path, ready_after, batch_len);
        prop_assert_eq!(found, expected);
    }
}

/// A pipe that holds `text` and whose writer is there and silent.
fn silent_pipe(files: &Files, name: &str, text: &[u8]) -> (std::path::PathBuf, std::fs::File) {
    let pipe = files.path(name);
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("runs").success());
    let mut writer = OpenOptions::new().read(true).write(true).open(&pipe).expect("opens");
    writer.write_all(text).expect("fits the pipe");
    (pipe, writer)
}

/// An input for whose tables the time is over: what is there is read all the same.
fn late(path: &Path) -> InputOptions {
    InputOptions { gate_timeout: Some(GateTimeout::new(Duration::ZERO)), ..input(path) }
}

#[test]
fn a_silent_stream_is_given_up_when_the_time_is_over() {
    let files = Files::new();
    let lines = text(&[Line::Row(0), Line::Row(0), Line::Row(1)]);
    for (name, bytes) in [("s.jsonl", lines.as_bytes()), ("nothing.jsonl", b""), ("nothing.jsonl.zst", b"")] {
        let (pipe, _writer) = silent_pipe(&files, name, bytes);
        let error = open_messages(options(late(&pipe), [Some(ReadyAfter::MARKER), None]));
        let error = error.err().expect("the marker has not come");
        let rows = if bytes.is_empty() { 0 } else { 2 };
        let expected = format!(
            "{}: the table instruments was not ready after 0ns (--gate-timeout): it waited for its marker, \
             and {rows} rows of it came",
            pipe.display()
        );
        assert_eq!((error.to_string(), error.category()), (expected, Category::Io));
    }
}

#[test]
fn a_stream_that_goes_silent_among_its_rows_is_given_up_too() {
    let files = Files::new();
    // The columns are known, and then nothing comes.
    let mut lines = vec![Line::Row(0)];
    lines.extend([Line::Trade; 1_024]);
    let (pipe, _writer) = silent_pipe(&files, "s.jsonl", text(&lines).as_bytes());
    let after = ReadyAfter { rows: Some(2), time: None };
    let (input, bad) = skipping(&pipe);
    let input = InputOptions { gate_timeout: late(&pipe).gate_timeout, ..input };
    let mut reader = open_messages(options(input, [Some(after), None])).expect("columns are known");
    let (_, error) = read(&mut reader);
    assert_eq!(bad.count(), 1_024, "early trades");
    let waits_for = WaitsFor::Stream(after);
    let expected = Unready { table: "instruments".to_owned(), waits_for, rows: 1 };
    match error {
        Some(ReadError::NotReady { table, timeout: Some(_), .. }) => assert_eq!(*table, expected),
        error => panic!("{error:?}"),
    }
}

#[test]
fn a_table_that_shows_up_behind_the_marker_of_another_is_waited_for() {
    let files = Files::new();
    let lines = [Line::Row(0), Line::Marker(0, 0), Line::Row(1)];
    let (pipe, _writer) = silent_pipe(&files, "s.jsonl", text(&lines).as_bytes());
    let gates = GateOptions { others: Some(ReadyAfter::MARKER), ..GateOptions::default() };
    let input = late(&pipe);
    let options = MessagesOptions { input, limit: None, tables: None, fields: Fields::AsText, gates };
    let error = open_messages(options).err().expect("the marker has not come").to_string();
    assert!(
        error.contains("the table users was not ready") && error.ends_with("1 row of it came"),
        "{error}"
    );
}

#[test]
fn a_gate_that_is_open_is_not_given_up() {
    let files = Files::new();
    let mut lines = vec![Line::Row(0), Line::Marker(0, 0)];
    lines.extend([Line::Trade; 3]);
    for ready_after in [ReadyAfter::MARKER, ReadyAfter { rows: Some(1), time: None }] {
        let path = files.put("s.jsonl", text(&lines));
        let mut reader = open_messages(options(late(&path), [Some(ready_after), None])).expect("opens");
        let (messages, error) = read(&mut reader);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(messages.iter().map(|messages| messages.trades.num_rows()).sum::<usize>(), 3);
    }
}

#[test]
fn a_stream_that_flows_on_without_a_marker_is_given_up() {
    let files = Files::new();
    let path = files.put("s.jsonl", text(&[Line::Row(0), Line::Row(0), Line::Row(0), Line::Trade]));
    let hour = ReadyAfter { rows: None, time: Some(Duration::from_secs(3_600)) };
    for (after, batch_len, rows) in [(ReadyAfter::MARKER, 1, 2), (hour, 8, 3)] {
        let input = InputOptions { batch_len, ..late(&path) };
        let mut reader = open_messages(options(input, [Some(after), None])).expect("opens");
        let (blocks, error) = read(&mut reader);
        assert_eq!(blocks.len(), 1, "what comes first is never late");
        let waits_for = WaitsFor::Stream(after);
        match error {
            Some(ReadError::NotReady { table, timeout: Some(_), .. }) => {
                assert_eq!((table.waits_for, table.rows), (waits_for, rows));
            }
            error => panic!("{error:?}"),
        }
    }
}

#[test]
fn a_table_in_a_pipe_is_given_up_and_a_file_is_not() {
    let files = Files::new();
    for (name, bytes, rows) in
        [("u.csv", "user_id,username\n1,a\n2,b\n", 2), ("v.csv", "user_id,", 0), ("u.parquet", "PAR1", 0)]
    {
        let (pipe, _writer) = silent_pipe(&files, name, bytes.as_bytes());
        let options = TableOptions { input: late(&pipe), table: TableKind::Users.into(), strict: false };
        let error = match open_table(options) {
            Ok(mut reader) => reader.read().expect_err("the end has not come").to_string(),
            Err(error) => {
                assert_eq!(error.category(), Category::Io);
                error.to_string()
            }
        };
        let expected = format!(
            "{}: the table users was not ready after 0ns (--gate-timeout): it waited for its end, and {rows} \
             rows of it came",
            pipe.display()
        );
        assert_eq!(error, expected);
    }
    let path = files.put("file.csv", "user_id,username\n1,a\n");
    let input = late(&path);
    let readiness = input.readiness.clone();
    let mut reader =
        open_table(TableOptions { input, table: TableKind::Users.into(), strict: false }).expect("opens");
    assert_eq!(readiness.tables()[0].state, Err(WaitsFor::End));
    while reader.read().expect("good").is_some() {}
    let [table] = readiness.tables().try_into().expect("one table");
    assert_eq!((table.table.as_str(), table.rows, table.state), ("users", 1, Ok(ReadyBy::End)));
}

#[test]
fn a_stop_ends_the_waiting() {
    let files = Files::new();
    let path = files.put("s.jsonl", text(&[Line::Row(0), Line::Trade]));
    let stop = Arc::new(AtomicBool::new(false));
    let input = InputOptions { stop: Some(Arc::clone(&stop)), ..input(&path) };
    let hour = ReadyAfter { rows: None, time: Some(Duration::from_secs(3_600)) };
    let mut reader = open_messages(options(input, [Some(hour), None])).expect("opens");
    let rows = reader.read().expect("good").expect("rows");
    assert!(rows.loading && rows.lanes[0].len() == 1 && rows.trades.num_rows() == 0);
    stop.store(true, Ordering::Relaxed);
    assert!(reader.read().expect("a quiet end").is_none());
}

#[test]
fn what_is_wrong_with_a_marker_is_said() {
    let files = Files::new();
    let marker = |rest: &str| format!("{{\"type\":\"snapshot_end\"{rest}}}\n");
    let right = marker(",\"table\":\"instruments\",\"rows\":0");
    for (line, expected) in [
        (
            right.clone() + &right,
            "line 2, column table: \"instruments\": no marker of this table is waited for",
        ),
        (marker(""), "line 1, column table: no value"),
        (
            marker(",\"table\":\"orders\",\"rows\":0"),
            "\"orders\": a marker names one of the tables instruments, users",
        ),
        (marker(",\"table\":\"users\",\"rows\":0"), "\"users\": a row of a table that the run does not join"),
        (marker(",\"table\":\"instruments\""), "line 1, column rows: no value"),
        (marker(",\"table\":\"instruments\",\"rows\":-1"), "column rows: \"-1\": not an unsigned integer"),
        (
            marker(",\"table\":\"instruments\",\"rows\":5"),
            "\"5\": the marker is wrong: 0 rows of instruments came",
        ),
        (right.clone() + "{\"type\":\"snapshot_end\"", "broken JSON"),
    ] {
        let path = files.put("s.jsonl", line);
        let tables = Some(vec![TableKind::Instruments]);
        let gates = GateOptions { others: Some(ReadyAfter::MARKER), ..GateOptions::default() };
        let options =
            MessagesOptions { input: input(&path), limit: None, tables, fields: Fields::AsText, gates };
        let error = read(&mut open_messages(options).expect("opens")).1.expect(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_marker_behind_the_first_lines_is_bad_unless_it_is_waited_for() {
    let files = Files::new();
    let mut lines = vec![Line::Row(0)];
    lines.extend([Line::Trade; 1_024]);
    lines.extend([Line::Row(0), Line::Marker(0, 0), Line::Trade]);
    let path = files.put("s.jsonl", text(&lines));
    for batch_len in [7, 8_192] {
        let found = found(&path, [None; 2], batch_len);
        assert_eq!((found.trades.len(), found.bad, found.end), (1_025, vec![1_026], Ok([ReadyBy::Start; 2])));
        let after = [Some(ReadyAfter { rows: Some(1), time: None }), None];
        let found = self::found(&path, after, batch_len);
        assert_eq!((found.trades.len(), found.bad.len()), (1_025, 0), "its rows are counted all the same");
    }
}
