//! One stream of tagged messages.

mod support;

use support::{Files, content, input, skipping, text};
use tradejoin_connectors::{
    Encoding, Fields, GateOptions, InputOptions, Location, MessageReader, MessageWriter, MessagesOptions,
    TableColumns, TableKind, TableMode, WrittenTable, open_messages,
};
use tradejoin_flow::End;
use tradejoin_model::{ChangeKind, Messages};

const BOTH: [TableKind; 2] = [TableKind::Instruments, TableKind::Users];

const STREAM: &str = "\
{\"type\":\"user\",\"user_id\":3,\"username\":\"ann\"}
{\"type\":\"instrument\",\"instrument_id\":1,\"ticker\":\"SPY\",\"strike\":200,\"expiry\":\"2024-11-03\",\"option_type\":\"call\"}
{\"type\":\"trade\",\"instrument_id\":1,\"user_id\":3,\"price\":1.70}
{\"type\":\"trade\",\"instrument_id\":2,\"price\":2}
{\"type\":\"instrument\",\"instrument_id\":1,\"deleted\":true}
{\"type\":\"trade\",\"instrument_id\":1,\"user_id\":3,\"price\":\"3\"}
{\"type\":\"user\",\"user_id\":3,\"username\":null}
";

fn open(input: InputOptions, tables: &[TableKind]) -> MessageReader {
    open_messages(MessagesOptions {
        input,
        limit: None,
        tables: Some(tables.to_vec()),
        fields: Fields::AsText,
        gates: GateOptions::default(),
    })
    .expect("opens")
}

fn blocks(reader: &mut MessageReader) -> Vec<Messages> {
    std::iter::from_fn(|| reader.read().expect("good")).collect()
}

#[test]
fn changes_stand_before_the_trade_that_follows() {
    let files = Files::new();
    let blocks = blocks(&mut open(input(&files.put("m.jsonl", STREAM)), &BOTH));
    let [block] = blocks.as_slice() else { panic!("one block") };
    let names: Vec<_> = block.trades.schema_ref().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["instrument_id", "user_id", "price"]);
    assert_eq!(block.lanes[0].at_rows, [0, 2]);
    assert_eq!(block.lanes[0].kinds, [ChangeKind::Upsert, ChangeKind::Delete]);
    assert_eq!(block.lanes[1].at_rows, [0, 3]);
    assert_eq!(text(&block.lanes[1].fields[0], 0).as_deref(), Some("ann"));
    assert_eq!(text(&block.lanes[1].fields[0], 1), None);
    assert_eq!(block.keys[1].ids().iter().collect::<Vec<_>>(), [Some(3), None, Some(3)]);
    // The first instrument stands behind a user.
    assert_eq!(block.lanes.iter().map(|lane| &lane.turns[..]).collect::<Vec<_>>(), [&[1][..], &[]]);
    Messages::new(block.trades.clone(), block.keys.clone(), block.lanes.to_vec()).expect("fits together");
}

#[test]
fn a_stream_that_is_written_reads_back_at_any_block_length() {
    let files = Files::new();
    let source = files.put("m.jsonl", STREAM);
    for batch_len in 1..9 {
        let path = files.path("copy.jsonl");
        let mut reader = open(InputOptions { batch_len, ..input(&source) }, &BOTH);
        let encoding = Encoding::of_path(&path).expect("known");
        let location = Location::Path(path.clone());
        let mut writer =
            MessageWriter::create(&location, encoding, &reader.schema(), &BOTH.map(WrittenTable::from))
                .expect("made");
        while let Some(messages) = reader.read().expect("good") {
            assert!(messages.len() <= batch_len as u64);
            writer.write(&messages).expect("written");
        }
        writer.close(End::Complete).expect("complete");
        assert_eq!(content(&path), STREAM, "{batch_len}");
    }
}

#[test]
fn rows_that_say_when_they_are_valid_read_back() {
    let files = Files::new();
    let row = |ends: &str| {
        format!(
            "{{\"type\":\"instrument\",\"instrument_id\":1,\"ticker\":\"SPY\",\"strike\":200,\
             \"expiry\":\"2024-11-03\",\"option_type\":\"call\",{ends}}}\n"
        )
    };
    let stream = [
        row("\"valid_from\":\"2024-11-01T00:00:00Z\",\"valid_to\":\"2024-11-04T00:00:00Z\""),
        row("\"valid_from\":\"2024-11-04T00:00:00Z\",\"valid_to\":null"),
        row("\"valid_from\":null,\"valid_to\":\"2024-10-01T00:00:00Z\""),
        "{\"type\":\"trade\",\"instrument_id\":1,\"timestamp\":\"2024-11-01T13:30:00Z\"}\n".to_owned(),
        "{\"type\":\"instrument\",\"instrument_id\":1,\"valid_from\":1730678400000000000,\"deleted\":true}\n"
            .to_owned(),
        "{\"type\":\"instrument\",\"instrument_id\":1,\"deleted\":true}\n".to_owned(),
    ]
    .concat();
    let path = files.path("copy.jsonl");
    let mut reader = open(input(&files.put("m.jsonl", &stream)), &BOTH[..1]);
    reader.set_mode(0, &TableMode::AsOf { tolerance: None }).expect("trades have times");
    let table = WrittenTable { kind: TableKind::Instruments, has_validity: true };
    let encoding = Encoding::of_path(&path).expect("known");
    let mut writer =
        MessageWriter::create(&Location::Path(path.clone()), encoding, &reader.schema(), &[table])
            .expect("made");
    while let Some(messages) = reader.read().expect("good") {
        writer.write(&messages).expect("written");
    }
    writer.close(End::Complete).expect("complete");
    assert_eq!(content(&path), stream);
}

#[test]
fn a_bad_message_is_one_that_is_neither() {
    let files = Files::new();
    let lines = [
        "{\"type\":\"order\",\"instrument_id\":1}",
        "{\"instrument_id\":1}",
        "{\"type\":\"instrument\",\"instrument_id\":1,\"ticker\":\"SPY\"}",
        "{\"type\":\"user\",\"user_id\":1,\"user_id\":2}",
        "{\"type\":\"trade\",\"instrument_id\":\"x\"}",
    ];
    let path = files.put("m.jsonl", STREAM.to_owned() + &lines.join("\n"));
    let (options, bad) = skipping(&path);
    let blocks = blocks(&mut open(options, &BOTH));
    assert_eq!((bad.count(), blocks[0].rejected, blocks[0].trades.num_rows()), (5, 3, 3));
    assert_eq!(blocks[0].lanes.iter().map(|lane| lane.rejected).collect::<Vec<_>>(), [1, 1]);
    let first = bad.first()[0].to_string();
    assert!(
        first.ends_with(
            "\"order\": the type of a message must be one of trade, instrument, user, snapshot_end"
        ),
        "{first}"
    );
}

#[test]
fn a_type_that_stands_twice_is_not_the_first_of_the_two() {
    let files = Files::new();
    let lines = [
        "{\"type\":\"user\",\"user_id\":7,\"username\":\"kim\",\"type\":\"user\"}",
        "{\"type\":\"snapshot_end\",\"table\":\"users\",\"rows\":2,\"type\":\"trade\"}",
        "{\"type\":\"snapshot_end\",\"table\":\"users\",\"rows\":2,\"rows\":1}",
        "{\"type\":\"order\",\"type\":\"trade\"}",
        "{\"type\":\"snapshot_end\",\"table\":\"users\",\"rows\":1}",
        "{\"type\":\"trade\",\"type\":\"instrument\",\"user_id\":1}",
        "{\"type\":\"snapshot_end\",\"table\":\"users\",\"rows\":1,\"type\":\"trade\"}",
        "{\"type\":\"trade\",\"user_id\":1}",
    ];
    let (options, bad) = skipping(&files.put("m.jsonl", lines.join("\n")));
    let (mut trades, mut rejected, mut of_users) = (0, 0, 0);
    for block in blocks(&mut open(options, &[TableKind::Users])) {
        trades += block.trades.num_rows();
        rejected += block.rejected;
        of_users += block.lanes[0].rejected;
    }
    assert_eq!((trades, rejected, of_users, bad.count()), (1, 5, 1, 6));
    let said = [
        (1, "type: \"\\\"user\\\"\""),
        (2, "type: \"\\\"trade\\\"\""),
        (3, "rows: \"1\""),
        (4, "type: \"\\\"trade\\\"\""),
        (6, "type: \"\\\"instrument\\\"\""),
    ];
    for (bad, (line, what)) in bad.first().iter().zip(said) {
        let said = format!("line {line}, column {what}: the member stands twice in its object");
        assert!(bad.to_string().ends_with(&said), "{bad}");
    }
}

#[test]
fn a_row_of_a_table_that_the_run_has_not_is_bad() {
    let files = Files::new();
    let (options, bad) = skipping(&files.put("m.jsonl", STREAM));
    let blocks = blocks(&mut open(options, &[TableKind::Instruments]));
    assert_eq!((blocks[0].lanes.len(), blocks[0].rejected, bad.count()), (1, 2, 2));
}

#[test]
fn the_tables_are_those_of_the_first_lines_unless_they_are_named() {
    let files = Files::new();
    let tables = |stream: &str| {
        let input = input(&files.put("m.jsonl", stream));
        let gates = GateOptions::default();
        let options = MessagesOptions { input, limit: None, tables: None, fields: Fields::AsText, gates };
        let reader = open_messages(options);
        reader.expect("opens").tables().collect::<Vec<_>>()
    };
    assert_eq!(tables(STREAM), BOTH);
    assert_eq!(tables("{\"type\":\"trade\",\"instrument_id\":1}\n"), [TableKind::Instruments]);
}

#[test]
fn further_columns_of_a_table_are_those_that_are_known() {
    let files = Files::new();
    let mut reader = open(input(&files.put("m.jsonl", STREAM)), &BOTH);
    let columns = TableColumns::of_messages(TableKind::Instruments).columns;
    reader.load(0, &columns);
    let block = reader.read().expect("good").expect("messages");
    assert_eq!(block.lanes[0].fields.len(), 1 + columns.len());
    assert!(block.lanes[0].fields.iter().all(|field| field.len() == 2));
}
