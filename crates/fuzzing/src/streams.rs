//! Streams that have changes among their trades, or beside them: any block length gives
//! the same sequence.

use tradejoin_connectors::{
    AnyTable, ChangeTable, ChangesBy, ChangesOptions, ChangesProgress, Encoding, Fields, Format, GateOptions,
    KeyPair, MessagesOptions, ReadyAfter, TableColumn, TableKind, TableMode, TradesOptions, WithChanges,
    WithChangesOptions, open_changes, open_messages, open_trades,
};
use tradejoin_model::ColumnType;

use crate::json::lines;
use crate::memory::Memory;
use crate::rows::{Event, Read};

const JSON: Encoding = Encoding::plain(Format::JsonLines);

/// Trades and rows of tables in one stream.
pub(crate) fn messages(bytes: &[u8]) {
    let file = Memory::new(bytes);
    for mode in [TableMode::Latest, TableMode::AsOf { tolerance: None }] {
        for (tables, others) in [
            (None, None),
            (Some(TableKind::ALL.to_vec()), Some(ReadyAfter { rows: Some(2), time: None })),
            (Some(vec![TableKind::Users]), None),
        ] {
            let read = |batch_len| {
                let gates = GateOptions { by_table: Vec::new(), others };
                let (tables, fields) = (tables.clone(), Fields::AsText);
                let options = MessagesOptions {
                    input: file.skipping(JSON, batch_len),
                    limit: None,
                    tables,
                    fields,
                    gates,
                };
                let mut messages = open_messages(options).ok()?;
                for table in 0..messages.tables().count() {
                    messages.set_mode(table, &mode).ok()?;
                }
                let schema = messages.schema();
                Some(Read::all(&mut messages, &schema))
            };
            let whole = read(1_000);
            for batch_len in [1, 2, 5] {
                assert_eq!(read(batch_len), whole, "blocks of {batch_len}");
            }
            if let Some(Read { events, rejected, failure: None }) = whole {
                let (taken, lines) = (events.len() + rejected as usize, lines(bytes).count());
                // What is neither is a marker, one for each table at most.
                assert!(taken + TableKind::ALL.len() >= lines, "{taken} of {lines} lines");
                assert!(taken <= lines);
            }
        }
    }
}

const TRADES: &str = "\
instrument_id,user_id,venue,timestamp
1,7,XNYS,2024-11-01T13:30:00Z
2,,XPAR,2024-11-01T13:30:01Z
1,8,XNYS,2024-11-01T13:30:01.5Z
3,7,,2024-11-01T13:30:02Z
2,9,XPAR,2024-11-01T13:30:03Z
";

/// The tables that change beside the trades.
fn tables(mode: &TableMode) -> Vec<ChangeTable> {
    let preset = |kind: TableKind| ChangeTable {
        table: kind.into(),
        fields: vec![
            TableColumn::plain("desk", ColumnType::Text),
            TableColumn::plain("lot", ColumnType::Integer),
        ],
        mode: mode.clone(),
        known: None,
    };
    let key = vec![KeyPair { trades: "venue".to_owned(), table: "mic".to_owned() }];
    let venues = AnyTable { name: "venues".to_owned(), key, columns: Vec::new() };
    let names = ["mic", "city", "tick", "valid_from", "valid_to"];
    let any = ChangeTable {
        table: venues.into(),
        fields: vec![
            TableColumn::plain("city", ColumnType::Text),
            TableColumn::plain("tick", ColumnType::Text),
        ],
        mode: mode.clone(),
        known: Some(names.map(str::to_owned).to_vec()),
    };
    vec![preset(TableKind::Instruments), preset(TableKind::Users), any]
}

/// Changes of tables, by the times of trades.
pub(crate) fn table_changes(bytes: &[u8]) {
    let (trades, changes) = (Memory::new(TRADES.as_bytes()), Memory::new(bytes));
    for mode in [TableMode::Latest, TableMode::AsOf { tolerance: None }] {
        let read = |trades_len, changes_len| {
            let tables = tables(&mode);
            let options = TradesOptions {
                input: trades.input(Encoding::plain(Format::Csv), trades_len),
                limit: None,
                key_columns: tables.iter().map(|table| table.table.trade_key()).collect(),
                fields: Fields::AsText,
            };
            let mut source = open_trades(options).expect("trades");
            source.require_times().expect("trades have times");
            let schema = source.schema();
            let with = WithChangesOptions {
                by: ChangesBy::Timestamp,
                tables: tables.len(),
                changes_max: 1_000,
                wait: None,
                stop: None,
                progress: ChangesProgress::default(),
                is_kept: false,
            };
            let changes = open_changes(changes.skipping(JSON, changes_len)).expect("a file");
            let changes = changes.reader(ChangesOptions { tables, timed: true, nearest: |_, _| None });
            let changes = changes.expect("tables that can change");
            Read::all(&mut WithChanges::in_turn(source, changes, with), &schema)
        };
        let whole = read(1_000, 1_000);
        for (trades_len, changes_len) in [(1, 1), (2, 3), (1_000, 1)] {
            assert_eq!(read(trades_len, changes_len), whole, "blocks of {trades_len} and {changes_len}");
        }
        if whole.failure.is_none() {
            let trades = whole.events.iter().filter(|event| matches!(event, Event::Trade { .. })).count();
            assert_eq!(trades, TRADES.lines().count() - 1, "every trade goes on");
            let changes = whole.events.len() - trades + whole.rejected as usize;
            assert!(changes <= lines(bytes).count(), "no line is two changes");
        }
    }
}
