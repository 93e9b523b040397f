//! Trades that wait, by rows made by hand.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int8Type;
use arrow_array::{ArrayAccessor as _, ArrayRef, DictionaryArray, RecordBatch, StringArray, UInt32Array};

use super::*;

/// So many rows, the ids of which are their numbers, with one added value.
fn rows(len: u32) -> Rows {
    let ids = UInt32Array::from_iter_values(0..len);
    let trades = RecordBatch::try_from_iter([("id", Arc::new(ids.clone()) as ArrayRef)]);
    let values = Column::Integers(vec![0; len as usize]);
    Rows { trades: trades.expect("one column"), keys: vec![ids.into()], columns: vec![values] }
}

/// So many trades that wait for the first table, each with the number of its row.
fn waiting(len: u32) -> (Waiting, Vec<Ticket>) {
    let mut waiting = Waiting::default();
    waiting.push_chunk(rows(len));
    let now = Instant::now();
    let tickets = (0..len).map(|row| waiting.enter(u64::from(row), (1, 1), now, None)).collect();
    (waiting, tickets)
}

fn key(waiting: &Waiting, ticket: Ticket) -> Option<OwnedKey> {
    waiting.key(waiting.get(ticket)?.place(), 0)
}

#[test]
fn a_trade_is_counted_with_its_entry_its_values_and_its_row() {
    let (mut waiting, tickets) = waiting(3);
    // An added value, and an id of 4 bytes.
    assert_eq!((waiting.len(), waiting.bytes()), (3, 3 * (192 + 24 + 4)));
    waiting.remove(tickets[1]).expect("it waits");
    assert_eq!((waiting.len(), waiting.bytes()), (2, 2 * (192 + 24 + 4)));
    assert!(waiting.remove(tickets[1]).is_none(), "it has left");
    assert_eq!((waiting.len(), waiting.bytes()), (2, 2 * (192 + 24 + 4)));
}

#[test]
fn rows_that_are_gone_take_no_more_room_than_those_that_wait() {
    let types = [ColumnType::Integer];
    let (mut waiting, tickets) = waiting(100);
    let rows_kept =
        |waiting: &Waiting| waiting.chunks.values().map(|c| c.rows.trades.num_rows()).sum::<usize>();
    let leave = |waiting: &mut Waiting, tickets: &[Ticket]| {
        let places: Vec<_> =
            tickets.iter().map(|&ticket| waiting.remove(ticket).expect("it waits").place()).collect();
        let taken = waiting.take(&places, &types).expect("few rows");
        waiting.tidy(&types).expect("few rows");
        let keys = |row: usize| taken.keys[0].get(row).expect("an id");
        assert!((0..tickets.len()).all(|row| keys(row) == OwnedKey::Id(tickets[row] as u32)));
    };
    leave(&mut waiting, &tickets[10..59]);
    assert_eq!(rows_kept(&waiting), 100, "51 of them wait");
    leave(&mut waiting, &tickets[59..60]);
    assert_eq!(rows_kept(&waiting), 50);
    for &ticket in tickets[..10].iter().chain(&tickets[60..]) {
        assert_eq!(key(&waiting, ticket), Some(OwnedKey::Id(ticket as u32)));
    }
    leave(&mut waiting, &tickets[..10]);
    leave(&mut waiting, &tickets[60..]);
    assert_eq!((waiting.len(), waiting.bytes(), waiting.chunks.len()), (0, 0, 0));
    assert!(waiting.first().is_none() && waiting.schema().is_none());
}

#[test]
fn rows_that_are_dropped_take_no_more_room_than_those_that_wait() {
    let (mut waiting, tickets) = waiting(100);
    let mut drop_all = |tickets: &[Ticket]| {
        for &ticket in tickets {
            let place = waiting.remove(ticket).expect("it waits").place();
            waiting.give_up(place);
        }
        waiting.tidy(&[ColumnType::Integer]).expect("few rows");
        let left = tickets.last().and_then(|last| key(&waiting, last + 1));
        (waiting.chunks.values().map(|c| c.rows.trades.num_rows()).sum::<usize>(), left)
    };
    assert_eq!(drop_all(&tickets[..49]), (100, Some(OwnedKey::Id(49))), "51 of them wait");
    assert_eq!(drop_all(&tickets[49..50]), (50, Some(OwnedKey::Id(50))));
    assert_eq!(drop_all(&tickets[50..75]), (25, Some(OwnedKey::Id(75))));
    assert_eq!(drop_all(&tickets[75..]), (0, None));
}

#[test]
fn a_chunk_of_which_rows_are_still_to_enter_stays_as_it_is() {
    let mut waiting = Waiting::default();
    waiting.push_chunk(rows(4));
    let now = Instant::now();
    // Half of them have left before the others come.
    let places = [1, 2].map(|number| {
        let ticket = waiting.enter(number, (1, 1), now, None);
        waiting.remove(ticket).expect("it waits").place()
    });
    waiting.take(&places, &[ColumnType::Integer]).expect("two rows");
    waiting.tidy(&[ColumnType::Integer]).expect("two rows");
    let others = [3, 4].map(|number| waiting.enter(number, (1, 1), now, None));
    for (id, &ticket) in (2..).zip(&others) {
        assert_eq!(key(&waiting, ticket), Some(OwnedKey::Id(id)));
    }
    assert_eq!(waiting.first().map(|(ticket, trade)| (ticket, trade.number)), Some((others[0], 3)));
}

#[test]
fn what_a_trade_waits_for_and_lacks_goes_table_by_table() {
    let mut waiting = Waiting::default();
    waiting.push_chunk(rows(1));
    let ticket = waiting.enter(1, (0b101, 0b111), Instant::now(), None);
    waiting.set_values(ticket, 0, |row, columns| {
        columns[0].set_all(std::iter::once((row, 0)), &Column::Integers(vec![7]));
    });
    let trade = |waiting: &Waiting| waiting.get(ticket).map(|trade| (trade.waits_for, trade.lacks));
    assert_eq!(trade(&waiting), Some((0b101, 0b110)));
    assert_eq!(waiting.settle(ticket, 0b001), 0b100);
    assert_eq!(waiting.settle(ticket, 0b110), 0);
    assert_eq!(waiting.settle(ticket + 1, 1), 0, "nobody");
    let place = waiting.remove(ticket).expect("it waits").place();
    let taken = waiting.take(&[place], &[ColumnType::Integer]).expect("one row");
    let Column::Integers(values) = &taken.columns[0] else { panic!("integers") };
    assert_eq!(values, &[7]);
}

#[test]
fn trades_that_were_kept_wait_again_each_at_its_own_row() {
    let held = |chunk, row| HeldTrade {
        chunk,
        row,
        number: u64::from(10 * chunk + row),
        waits_for: 1,
        lacks: 0,
        waited: std::time::Duration::ZERO,
        time: None,
    };
    let chunks = [3, 2, 2].map(|len| rows(len).to_held());
    let mut waiting = Waiting::of_held(chunks.to_vec());
    let now = Instant::now();
    let first = waiting.enter_held(&held(0, 2), now).expect("its row is there");
    let second = waiting.enter_held(&held(2, 0), now).expect("its row is there");
    assert_eq!(waiting.enter_held(&held(2, 0), now), None, "it is another's");
    assert_eq!(waiting.enter_held(&held(2, 2), now), None, "there is no such row");
    assert_eq!(waiting.enter_held(&held(3, 0), now), None, "nor such a chunk");
    waiting.drop_empty();
    assert_eq!((waiting.len(), waiting.bytes(), waiting.chunks.len()), (2, 2 * (192 + 24 + 4), 2));
    assert_eq!([first, second].map(|ticket| key(&waiting, ticket)), [2, 0].map(|id| Some(OwnedKey::Id(id))));
    let again = waiting.held(now);
    assert_eq!(again.trades.iter().map(|trade| trade.number).collect::<Vec<_>>(), [2, 20]);
    assert_eq!(again.trades.iter().map(|trade| trade.chunk).collect::<Vec<_>>(), [0, 1]);
    // Others enter behind them.
    waiting.push_chunk(rows(1));
    let third = waiting.enter(30, (1, 1), now, None);
    assert_eq!((third, key(&waiting, third)), (second + 1, Some(OwnedKey::Id(0))));
    let places = [first, second].map(|ticket| waiting.remove(ticket).expect("it waits").place());
    waiting.take(&places, &[ColumnType::Integer]).expect("two rows");
    assert_eq!((waiting.len(), waiting.chunks.len()), (1, 1));
}

#[test]
fn rows_of_small_chunks_are_copied_few_times() {
    let types = [ColumnType::Integer];
    let (mut waiting, now) = (Waiting::default(), Instant::now());
    let (mut lens, mut copied) = (AHashMap::new(), 0);
    for number in 0..10_000 {
        waiting.push_chunk(rows(1));
        waiting.enter(number, (1, 1), now, None);
        waiting.tidy(&types).expect("few rows");
        for (&chunk, entry) in &waiting.chunks {
            let len = entry.tickets.len();
            // What is put together has the number of a chunk that there was.
            copied += if lens.insert(chunk, len).is_some_and(|before| before != len) { len } else { 0 };
        }
    }
    let chunks: Vec<_> = waiting.chunks.values().map(|entry| entry.left).collect();
    assert!(chunks.len() < 100 && chunks.iter().sum::<usize>() == 10_000, "{chunks:?}");
    assert!(copied > 9_000 && copied <= 4 * 10_000, "{copied}");
}

/// All of them may share one of many values, of which each that is made anew would have all.
#[test]
fn chunks_of_dictionaries_stay_as_they_are() {
    let types = [ColumnType::Integer];
    let (mut waiting, now) = (Waiting::default(), Instant::now());
    let text = |number: u64| format!("note {number}");
    for number in 0..1_000 {
        let notes: DictionaryArray<Int8Type> = [text(number).as_str()].into_iter().collect();
        let trades = RecordBatch::try_from_iter([("note", Arc::new(notes) as ArrayRef)]);
        waiting.push_chunk(Rows { trades: trades.expect("one column"), ..rows(1) });
        waiting.enter(number, (1, 1), now, None);
        waiting.tidy(&types).expect("nothing is to be done");
    }
    assert_eq!(waiting.chunks.len(), 1_000);
    while let Some((ticket, &trade)) = waiting.first() {
        let place = waiting.remove(ticket).expect("it waits").place();
        let taken = waiting.take(&[place], &types).expect("one row");
        waiting.tidy(&types).expect("fewer rows");
        let note = taken.trades.column(0).as_dictionary::<Int8Type>().downcast_dict::<StringArray>();
        assert_eq!(note.expect("texts").value(0), text(trade.number));
    }
    assert!(waiting.chunks.is_empty());
}

#[test]
fn of_those_that_leave_behind_one_that_waits_for_ever_no_place_is_kept() {
    // Every 10,000th stays, two at a time wait beside them.
    let (mut waiting, mut stay) = (Waiting::default(), Vec::new());
    waiting.push_chunk(rows(100_000));
    let now = Instant::now();
    for number in 0..100_000 {
        let ticket = waiting.enter(number, (1, 1), now, None);
        if number % 10_000 == 0 {
            stay.push(ticket);
        }
        if let Some(before) = ticket.checked_sub(2).filter(|before| !stay.contains(before)) {
            assert_eq!(waiting.remove(before).map(|trade| trade.number), Some(number - 2));
            assert!(waiting.remove(before).is_none() && waiting.get(before).is_none(), "it has left");
        }
        assert!(waiting.trades.places() <= 1_100, "{} places", waiting.trades.places());
    }
    assert_eq!(waiting.len(), 12);
    assert_eq!(waiting.bytes(), 12 * (192 + 24 + 4));
    stay.extend([99_998, 99_999]);
    let numbers: Vec<_> = waiting.held(now).trades.iter().map(|trade| trade.number).collect();
    assert_eq!(numbers, stay, "in their order, each with its ticket");
    for &ticket in &stay {
        assert_eq!(waiting.first().map(|(first, trade)| (first, trade.number)), Some((ticket, ticket)));
        assert_eq!(key(&waiting, ticket), Some(OwnedKey::Id(ticket as u32)));
        assert_eq!(waiting.settle(ticket, 1), 0);
        waiting.remove(ticket).expect("it waits");
    }
    assert!(waiting.first().is_none() && waiting.trades.places() == 0);
    waiting.push_chunk(rows(1));
    assert_eq!(waiting.enter(100_000, (1, 1), now, None), 100_000, "no ticket is given twice");
}
