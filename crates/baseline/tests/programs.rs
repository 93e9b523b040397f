//! The programs agree with each other and with a result worked out by hand.

use std::sync::Arc;

use arrow_array::types::UInt8Type;
use arrow_array::{
    ArrayRef, Decimal128Array, DictionaryArray, RecordBatch, StringArray, TimestampNanosecondArray,
    UInt8Array, UInt32Array, UInt64Array,
};
use tradejoin_baseline::{
    Digest, Outcome, Tables, digest_enriched, fused, maps, naive, row_digest, threads_channel, threads_ring,
    two_tables_ring,
};
use tradejoin_model::{
    BatchIndex, ChangeKind, ChangeLane, Column, Enriched, Instrument, InstrumentId, Key, Keys, Message,
    Messages, OccSymbol, PRICE_PRECISION, PRICE_SCALE, Position, Price, Side, TextColumn, TextView, Trade,
    UTC, User, UserId, trade_schema,
};

const FIRST: &str = "SPY241103C00200000";
const SECOND: &str = "AAPL250117P00150000";

fn trade(trade_id: u64, instrument_id: u32, user_id: u32) -> Trade {
    Trade {
        trade_id,
        timestamp_ns: 1_000 * trade_id as i64,
        instrument_id: InstrumentId(instrument_id),
        user_id: UserId(user_id),
        price: Price::from_units(1_700_000_000),
        quantity: 3,
        side: Side::Sell,
    }
}

fn instrument(id: u32, symbol: &str) -> Message {
    let terms: OccSymbol = symbol.parse().expect("a symbol");
    Message::Instrument(Instrument { instrument_id: InstrumentId(id), terms })
}

fn user(id: u32, name: &str) -> Message {
    Message::User(User { user_id: UserId(id), username: TextView::inline(name).expect("a short name") })
}

/// A miss, a hit, a hit on a new version, and a trade whose user is unknown.
fn messages() -> Vec<Message> {
    vec![
        user(7, "kim"),
        Message::Trade(trade(1, 1, 7)),
        instrument(1, FIRST),
        Message::Trade(trade(2, 1, 7)),
        instrument(1, SECOND),
        Message::Trade(trade(3, 1, 7)),
        Message::Trade(trade(4, 1, 8)),
    ]
}

fn expected(rows: &[(Trade, &str, Option<&str>)], unmatched: u64) -> Outcome {
    let mut digest = Digest::default();
    rows.iter().for_each(|(trade, symbol, user)| digest.add(trade, symbol, *user));
    Outcome { enriched: rows.len() as u64, unmatched, digest }
}

#[test]
fn programs_that_keep_the_order_give_the_result_worked_out_by_hand() {
    let one = expected(
        &[(trade(2, 1, 7), FIRST, None), (trade(3, 1, 7), SECOND, None), (trade(4, 1, 8), SECOND, None)],
        1,
    );
    let two = expected(&[(trade(2, 1, 7), FIRST, Some("kim")), (trade(3, 1, 7), SECOND, Some("kim"))], 2);
    for (tables, expected) in [(Tables::Instruments, one), (Tables::InstrumentsAndUsers, two)] {
        let feed = || messages().into_iter();
        assert_eq!(naive::<maps::Std>(feed(), tables), expected);
        assert_eq!(naive::<maps::Hashbrown>(feed(), tables), expected);
        assert_eq!(naive::<maps::Dash>(feed(), tables), expected);
        assert_eq!(threads_channel(feed(), tables), expected);
        assert_eq!(threads_ring(feed(), tables), expected);
    }
}

#[test]
fn more_messages_than_a_ring_holds_all_arrive() {
    let many = || messages().into_iter().cycle().take(70_000);
    let outcome = naive::<maps::Std>(many(), Tables::Instruments);
    assert_eq!(outcome.enriched + outcome.unmatched, 40_000);
    assert_eq!(threads_channel(many(), Tables::Instruments), outcome);
    assert_eq!(threads_ring(many(), Tables::Instruments), outcome);
    let racing = two_tables_ring(many());
    assert_eq!(racing.enriched + racing.unmatched, 40_000);
}

#[test]
fn the_digest_tells_orders_and_texts_apart() {
    let (a, b) = ((trade(1, 1, 1), FIRST, None), (trade(2, 1, 1), FIRST, None));
    let digest = |rows: &[(Trade, &str, Option<&str>)]| expected(rows, 0).digest;
    assert_ne!(digest(&[a, b]), digest(&[b, a]));
    assert_ne!(digest(&[a]), digest(&[(a.0, SECOND, None)]));
    assert_ne!(digest(&[a]), digest(&[(a.0, FIRST, Some("kim"))]));
}

#[test]
fn the_digest_of_rows_tells_which_trade_has_which_text() {
    let row = |id, symbol: &str, user: Option<&str>| {
        row_digest(&trade(id, 1, 1), symbol.as_bytes(), user.map(str::as_bytes))
    };
    let sum = row(1, FIRST, None).wrapping_add(row(2, SECOND, None));
    assert_ne!(sum, row(1, SECOND, None).wrapping_add(row(2, FIRST, None)));
    assert_ne!(row(1, FIRST, None), row(1, FIRST, Some("kim")));
}

/// The trades as columns.
fn columns(trades: &[Trade]) -> RecordBatch {
    let decimals = |values: Vec<i128>| {
        let array =
            Decimal128Array::from(values).with_precision_and_scale(PRICE_PRECISION, PRICE_SCALE as i8);
        Arc::new(array.expect("the type of a price"))
    };
    let sides = UInt8Array::from_iter_values(trades.iter().map(|t| t.side as u8));
    let names = StringArray::from_iter_values(Side::ALL.map(Side::as_str));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt64Array::from_iter_values(trades.iter().map(|t| t.trade_id))),
        Arc::new(
            TimestampNanosecondArray::from_iter_values(trades.iter().map(|t| t.timestamp_ns))
                .with_timezone(UTC),
        ),
        Arc::new(UInt32Array::from_iter_values(trades.iter().map(|t| t.instrument_id.0))),
        Arc::new(UInt32Array::from_iter_values(trades.iter().map(|t| t.user_id.0))),
        decimals(trades.iter().map(|t| t.price.units()).collect()),
        Arc::new(UInt32Array::from_iter_values(trades.iter().map(|t| t.quantity))),
        Arc::new(DictionaryArray::<UInt8Type>::new(sides, Arc::new(names))),
    ];
    RecordBatch::try_new(trade_schema(), columns).expect("the columns of the schema")
}

/// The trades as an enriched batch, in which `kept` go on.
fn enriched(trades: &[Trade], texts: [&[&str]; 2], kept: Option<Vec<bool>>) -> Enriched {
    let column = |texts: &[&str]| {
        let mut column = TextColumn::default();
        texts.iter().for_each(|text| column.push(Some(text)));
        Column::Text(column)
    };
    let rows_kept = kept.as_ref().map_or(trades.len(), |kept| kept.iter().filter(|&&kept| kept).count());
    Enriched {
        index: BatchIndex(0),
        first_position: Position(0),
        trades_before: 0,
        numbers: None,
        messages: Arc::new(Messages::new(columns(trades), vec![], vec![]).expect("valid")),
        columns: texts.into_iter().filter(|texts| !texts.is_empty()).map(column).collect(),
        kept,
        rows_kept,
        dead_letters: Vec::new(),
    }
}

#[test]
fn rows_and_columns_have_one_digest() {
    let trades: Vec<_> = (1..=60).map(|n| trade(n, n as u32, 100 - n as u32)).collect();
    let long = "a text of more than twenty-three bytes";
    for texts in [[FIRST, "", SECOND], [FIRST, long, SECOND]] {
        let texts: Vec<_> = texts.into_iter().cycle().take(trades.len()).collect();
        let some = (0..trades.len()).map(|row| row % 25 > 1).collect();
        for kept in [None, Some(some)] {
            for with_users in [false, true] {
                let rows: Vec<_> = (0..trades.len())
                    .filter(|&row| kept.as_ref().is_none_or(|kept: &Vec<_>| kept[row]))
                    .map(|row| (trades[row], texts[row], with_users.then_some(texts[row])))
                    .collect();
                let mut digest = Digest::default();
                let users: &[&str] = if with_users { &texts } else { &[] };
                let batch = digest_enriched(&enriched(&trades, [&texts, users], kept.clone()));
                digest.append(&batch);
                assert_eq!(digest, expected(&rows, 0).digest);
                // Once more behind itself: the order counts, where it is cut does not.
                digest.append(&batch);
                let twice = [rows.clone(), rows].concat();
                assert_eq!(digest, expected(&twice, 0).digest);
            }
        }
    }
}

/// Messages as one block, with the changes of as many tables as are joined.
fn block(messages: &[Message], tables: Tables) -> Messages {
    let mut trades = Vec::new();
    let (mut instruments, mut users) = (ChangeLane::default(), ChangeLane::default());
    let (mut terms, mut names) = (Vec::new(), TextColumn::default());
    for message in messages {
        let (lane, key) = match message {
            Message::Trade(trade) => {
                trades.push(*trade);
                continue;
            }
            Message::Instrument(instrument) => {
                terms.push(instrument.terms);
                (&mut instruments, instrument.instrument_id.0)
            }
            Message::User(user) => {
                names.push_view(user.username);
                (&mut users, user.user_id.0)
            }
        };
        lane.at_rows.push(trades.len() as u32);
        lane.keys.push(Key(key));
        lane.kinds.push(ChangeKind::Upsert);
    }
    instruments.fields.push(Column::Options(terms));
    users.fields.push(Column::Text(names));
    let instrument_ids = UInt32Array::from_iter_values(trades.iter().map(|t| t.instrument_id.0));
    let user_ids = UInt32Array::from_iter_values(trades.iter().map(|t| t.user_id.0));
    let (mut keys, mut lanes) = (vec![instrument_ids, user_ids], vec![instruments, users]);
    if tables == Tables::Instruments {
        keys.truncate(1);
        lanes.truncate(1);
    }
    Messages::new(columns(&trades), keys.into_iter().map(Keys::from).collect(), lanes)
        .expect("a key and a place for each")
}

#[test]
fn the_fused_loop_gives_what_the_naive_program_gives_however_blocks_are_cut() {
    let mut all = messages();
    // An id far away: the array becomes a map, and keeps what it had.
    all.extend([
        instrument(4_000_000_000, FIRST),
        Message::Trade(trade(5, 4_000_000_000, 7)),
        Message::Trade(trade(6, 1, 7)),
        Message::Trade(trade(7, 3, 7)),
        instrument(1, FIRST),
    ]);
    for tables in [Tables::Instruments, Tables::InstrumentsAndUsers] {
        let expected = naive::<maps::Std>(all.iter().copied(), tables);
        assert!(expected.enriched > 0 && expected.unmatched > 0);
        for len in 1..=all.len() {
            let blocks = all.chunks(len).map(|messages| block(messages, tables));
            assert_eq!(fused(blocks), expected, "blocks of {len}");
        }
    }
}

#[test]
fn the_fused_loop_finds_nothing_for_no_key_and_for_a_deleted_one() {
    let all = [instrument(1, FIRST), Message::Trade(trade(1, 1, 7)), instrument(1, SECOND)];
    let mut deleting = block(&all, Tables::Instruments);
    let mut lane = deleting.lanes[0].clone();
    lane.kinds[1] = ChangeKind::Delete;
    deleting.lanes = vec![lane].into();
    let after = block(&[Message::Trade(trade(2, 1, 7))], Tables::Instruments);
    let mut keyless = block(&all[..2], Tables::Instruments);
    keyless.keys = vec![UInt32Array::from(vec![None]).into()];
    let expected = expected(&[(trade(1, 1, 7), FIRST, None)], 2);
    assert_eq!(fused([deleting, after, keyless].into_iter()), expected);
}
