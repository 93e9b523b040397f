//! Blocks are the messages: every column and every change, however the stream
//! is cut.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, TimestampNanosecondType, UInt8Type, UInt32Type, UInt64Type};
use tradejoin_flow::Source as _;
use tradejoin_generator::{Days, GeneratedSource, Keys, Mix, Stream, StreamConfig};
use tradejoin_model::{
    ChangeKind, ChangeLane, Column, Instrument, InstrumentId, Message, Messages, Price, Side, Trade, User,
    UserId,
};

/// The trades of a block, read from its columns.
fn trades(block: &Messages) -> Vec<Message> {
    let column = |index: usize| block.trades.column(index);
    let sides = column(6).as_dictionary::<UInt8Type>();
    let names = sides.values().as_string::<i32>();
    let trade = |row| Trade {
        trade_id: column(0).as_primitive::<UInt64Type>().value(row),
        timestamp_ns: column(1).as_primitive::<TimestampNanosecondType>().value(row),
        instrument_id: InstrumentId(column(2).as_primitive::<UInt32Type>().value(row)),
        user_id: UserId(column(3).as_primitive::<UInt32Type>().value(row)),
        price: Price::from_units(column(4).as_primitive::<Decimal128Type>().value(row)),
        quantity: column(5).as_primitive::<UInt32Type>().value(row),
        side: *Side::ALL
            .iter()
            .find(|side| side.as_str() == names.value(usize::from(sides.keys().value(row))))
            .expect("a side"),
    };
    (0..block.trades.num_rows()).map(|row| Message::Trade(trade(row))).collect()
}

/// The changes of one table of a block: before which row, and what.
fn changes(block: &Messages, table: usize) -> Vec<(u32, Message)> {
    let lane = &block.lanes[table];
    assert!(lane.kinds.iter().all(|kind| *kind == ChangeKind::Upsert));
    let message = |index: usize| match &lane.fields[0] {
        Column::Options(terms) => Message::Instrument(Instrument {
            instrument_id: InstrumentId(lane.keys.ids()[index].0),
            terms: terms[index],
        }),
        Column::Text(names) => {
            Message::User(User { user_id: UserId(lane.keys.ids()[index].0), username: names.views()[index] })
        }
        Column::Integers(_) => unreachable!("no table has numbers"),
    };
    (0..lane.len()).map(|index| (lane.at_rows[index], message(index))).collect()
}

/// That a block is the messages at its positions.
fn check(stream: &Stream, first: u64, block: &Messages) {
    let (mut expected_trades, mut expected_changes) = (Vec::new(), [Vec::new(), Vec::new()]);
    let mut in_order = Vec::new();
    let (mut times, mut validities) = (Vec::new(), Vec::new());
    for position in first..first + block.len() {
        let row = expected_trades.len() as u32;
        let message = stream.message(position);
        let table = if matches!(message, Message::User(_)) { 1 } else { 0 };
        if !matches!(message, Message::Trade(_)) {
            in_order.push((row, table));
        }
        match message {
            Message::Trade(trade) => {
                times.push(trade.timestamp_ns);
                expected_trades.push(Message::Trade(trade));
            }
            Message::Instrument(row_of_id) => {
                validities.extend(stream.validity(row_of_id.instrument_id, stream.day(position)));
                expected_changes[0].push((row, Message::Instrument(row_of_id)));
            }
            change @ Message::User(_) => expected_changes[1].push((row, change)),
        }
    }
    assert_eq!(trades(block), expected_trades);
    let are_days = stream.config().days.is_some();
    assert_eq!(block.times.as_ref().map(|times| times.values().to_vec()), are_days.then_some(times));
    let lane = &block.lanes[0];
    assert_eq!(lane.valid_from.len(), if are_days { lane.len() } else { 0 });
    let found: Vec<_> = (0..lane.valid_from.len()).map(|change| lane.validity(change)).collect();
    assert_eq!(found, validities);
    for (key, column) in block.keys.iter().zip([2, 3]) {
        assert_eq!(key.ids(), block.trades.column(column).as_primitive::<UInt32Type>());
    }
    let tables = if stream.config().mix.has_users() { 2 } else { 1 };
    assert_eq!((block.lanes.len(), block.keys.len()), (tables, tables));
    for (table, expected) in expected_changes.iter().take(tables).enumerate() {
        assert_eq!(&changes(block, table), expected);
    }
    assert!(tables == 2 || expected_changes[1].is_empty());
    let places = |(table, lane): (usize, &ChangeLane)| -> Vec<_> {
        (0..lane.len()).map(|change| (lane.at_rows[change], lane.turn(change), table)).collect()
    };
    let mut by_turn: Vec<_> = block.lanes.iter().enumerate().flat_map(places).collect();
    by_turn.sort_unstable();
    assert_eq!(by_turn.into_iter().map(|(row, _, table)| (row, table)).collect::<Vec<_>>(), in_order);
}

#[test]
fn blocks_are_the_messages_for_every_mix_every_distribution_of_keys_and_every_length() {
    let mixes = [
        Mix::article(),
        Mix::article_users(),
        Mix::slow(),
        Mix::trades(),
        Mix::bare(true),
        Mix::bare(false),
        "custom:instruments=0.5,users=0.5".parse().expect("a mix"),
        "custom:instruments=0.3,users=0.2,first-users=every,first-instruments=700".parse().expect("a mix"),
    ];
    for mix in mixes {
        for keys in [Keys::Uniform, Keys::Zipf(1.0), Keys::Zipf(1.3)] {
            for unknown_share in [0.0, 0.2, 1.0] {
                let config = StreamConfig {
                    mix: mix.clone(),
                    keys,
                    unknown_share,
                    ids: 900,
                    users: 300,
                    ..Default::default()
                };
                let stream = Stream::new(config).expect("a stream");
                for block_len in [1, 7, 511, 512, 513, 3_000] {
                    let end = (block_len * 3).clamp(2_500, 3_000);
                    for first in (0..end).step_by(block_len as usize) {
                        check(&stream, first, &stream.messages(first..end.min(first + block_len)));
                    }
                }
            }
        }
    }
}

#[test]
fn blocks_are_the_messages_of_any_days() {
    for mix in [
        Mix::article(),
        Mix::slow(),
        Mix::bare(true),
        "custom:users=0.2,first-users=every".parse().expect("a mix"),
    ] {
        for (count, len, reused_share) in [(1, 1_100, 0.5), (2, 1_500, 1.0), (3, 1_001, 0.0), (7, 1_024, 0.3)]
        {
            let days = Some(Days { count, len, reused_share });
            let config =
                StreamConfig { mix: mix.clone(), ids: 1_000, users: 300, days, ..Default::default() };
            let stream = Stream::new(config).expect("a stream");
            for block_len in [1, 7, 512, 1_000, 5_000, 9_000] {
                let end = 9_000.min(40 * block_len);
                for first in (0..end).step_by(block_len as usize) {
                    check(&stream, first, &stream.messages(first..end.min(first + block_len)));
                }
            }
            check(&stream, 990, &stream.messages(990..1_110));
        }
    }
}

#[test]
fn a_block_far_into_the_stream_is_its_messages() {
    let stream = Stream::new(StreamConfig::default()).expect("a stream");
    let first = 1 << 40;
    check(&stream, first, &stream.messages(first..first + 2_000));
    assert!(stream.messages(first..first).is_empty());
}

#[test]
fn a_source_goes_on_where_another_one_has_been() {
    let stream = Arc::new(Stream::new(StreamConfig::default()).expect("a stream"));
    let source = |positions, len| GeneratedSource::new(Arc::clone(&stream), positions, len);
    let read = |source: &mut GeneratedSource| source.next().expect("made").map(|block| block.decode());
    let mut first = source(500..2_500, 700);
    read(&mut first);
    read(&mut first);
    let position = first.position().expect("known");
    assert_eq!((&*position.inputs[0].name, position.inputs[0].records), ("generated", 1_400));
    let mut second = source(500..2_500, 300);
    second.go_on_from(&position).expect("as long");
    assert_eq!(second.progress().messages(), 1_400);
    check(&stream, 1_900, &read(&mut second).expect("a block").expect("made"));
    check(&stream, 2_200, &read(&mut second).expect("a block").expect("made"));
    assert!(read(&mut second).is_none());
    let error = source(500..1_899, 300).go_on_from(&position).expect_err("too short");
    assert!(error.to_string().starts_with("1400 messages were generated before, but now there are 1399"));
}
