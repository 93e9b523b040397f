//! Ids that change their meaning from day to day: what a row of a table says, and
//! what an id means on a day, are one.

use std::collections::BTreeMap;
use std::sync::Arc;

use tradejoin_flow::TableSource;
use tradejoin_generator::{Days, GeneratorError, Mix, ReferenceRows, Stream, StreamConfig};
use tradejoin_model::{Column, INTEGER_NULL, InstrumentId, Message, OccSymbol, Validity};

const DAY_NS: i64 = 24 * 3_600_000_000_000;
const IDS: u32 = 9_000;

fn stream(seed: u64, mix: Mix, days: Days) -> Arc<Stream> {
    let config = StreamConfig { seed, mix, ids: IDS, days: Some(days), ..StreamConfig::default() };
    Arc::new(Stream::new(config).expect("a stream"))
}

/// The rows of the instruments table, by id, in their order.
fn rows(stream: &Arc<Stream>) -> BTreeMap<u32, Vec<(Validity, OccSymbol)>> {
    let mut source = ReferenceRows::instruments(Arc::clone(stream));
    let mut rows: BTreeMap<u32, Vec<_>> = BTreeMap::new();
    while let Some(lane) = source.next().expect("a source without faults") {
        let Column::Options(terms) = &lane.fields[0] else { panic!("instruments are options") };
        for (change, key) in lane.keys.ids().iter().enumerate() {
            rows.entry(key.0).or_default().push((lane.validity(change), terms[change]));
        }
    }
    rows
}

/// The first time of each day on which there is a trade.
fn times_of_days(stream: &Stream, positions: u64) -> BTreeMap<u32, i64> {
    let mut times = BTreeMap::new();
    for position in 0..positions {
        if let Message::Trade(trade) = stream.message(position) {
            times.entry(stream.day(position)).or_insert(trade.timestamp_ns);
        }
    }
    times
}

#[test]
fn the_rows_of_an_id_follow_one_another_and_say_what_it_means_on_each_day() {
    for (seed, count, reused_share) in [(1, 1, 0.2), (2, 2, 1.0), (3, 5, 0.2), (4, 12, 0.5), (5, 4, 0.0)] {
        let stream = stream(seed, Mix::bare(false), Days { count, len: 10, reused_share });
        let times = times_of_days(&stream, 10 * u64::from(count));
        assert!(times.keys().copied().eq(0..count), "there is trade on every day");
        let rows = rows(&stream);
        assert!(rows.keys().copied().eq(0..IDS));
        for (&id, rows) in &rows {
            let next_from = rows.iter().skip(1).map(|(validity, _)| validity.from);
            let ends: Vec<_> = next_from.chain([INTEGER_NULL]).collect();
            let told: Vec<_> = rows.iter().map(|(validity, _)| validity.to).collect();
            assert_eq!(told, ends, "id {id}: each row ends where the next one begins, the last never");
            for (&day, &time) in &times {
                let valid: Vec<_> =
                    rows.iter().filter(|(validity, _)| validity.is_found_at(time, None)).collect();
                let meant = stream.instrument_on(InstrumentId(id), day).terms;
                assert_eq!(valid.len(), 1, "id {id}, day {day}");
                assert_eq!(valid[0].1, meant, "id {id}, day {day}");
                assert_eq!(Some(valid[0].0), stream.validity(InstrumentId(id), day));
            }
        }
    }
}

#[test]
fn a_share_of_the_ids_is_given_to_another_contract_on_each_day() {
    for share in [0.0, 0.2, 0.7, 1.0] {
        let stream = stream(7, Mix::bare(false), Days { count: 6, len: 10, reused_share: share });
        for day in 1..6 {
            let meant = |id, day| stream.instrument_on(InstrumentId(id), day).terms;
            let changed = (0..IDS).filter(|&id| meant(id, day) != meant(id, day - 1)).count();
            let starts = (0..IDS).filter(|&id| stream.tenure(InstrumentId(id), day).start == day).count();
            assert_eq!(changed, starts, "day {day}");
            let (expected, ids) = (share * f64::from(IDS), f64::from(IDS));
            let deviation = (ids * share * (1.0 - share)).sqrt();
            assert!((changed as f64 - expected).abs() <= 6.0 * deviation, "{share}: {changed} on day {day}");
        }
    }
}

#[test]
fn trades_are_in_order_of_time_and_on_their_days() {
    let stream = stream(3, Mix::article(), Days { count: 7, len: 2_500, reused_share: 0.2 });
    let (mut last, mut midnights) = (0, BTreeMap::new());
    for position in 0..17_506 {
        let Message::Trade(trade) = stream.message(position) else { continue };
        assert!(trade.timestamp_ns > last);
        last = trade.timestamp_ns;
        let midnight = midnights.entry(stream.day(position)).or_insert(last - last % DAY_NS);
        assert_eq!(*midnight, last - last % DAY_NS, "a day is within a day");
    }
    let first = midnights[&0];
    let days: Vec<_> = midnights.values().map(|midnight| (midnight - first) / DAY_NS).collect();
    assert_eq!(days, [0, 3, 4, 5, 6, 7, 10], "Friday, Monday to Friday, Monday");
}

#[test]
fn a_stream_of_days_says_what_ids_mean_on_the_day() {
    let stream = stream(5, Mix::slow(), Days { count: 4, len: 10_000, reused_share: 0.4 });
    let mut first_rows = [0; 4];
    for position in 0..40_000 {
        let Message::Instrument(row) = stream.message(position) else { continue };
        let day = stream.day(position);
        assert_eq!(row, stream.instrument_on(row.instrument_id, day));
        let offset = position - 10_000 * u64::from(day);
        first_rows[day as usize] += u32::from(u64::from(row.instrument_id.0) == offset);
    }
    assert!(first_rows.into_iter().all(|count| count >= IDS), "every id at the start of every day");
}

#[test]
fn without_days_a_stream_is_that_of_one_day_but_for_its_times() {
    let days = Days { count: 1, len: 1_000_000, reused_share: 0.2 };
    let with = stream(9, Mix::trades(), days);
    let config = StreamConfig { days: None, ..with.config().clone() };
    let without = Stream::new(config).expect("a stream");
    for position in u64::from(IDS)..20_000 {
        let (Message::Trade(with), Message::Trade(without)) =
            (with.message(position), without.message(position))
        else {
            panic!("trades alone")
        };
        assert_eq!(
            (with.trade_id, with.instrument_id, with.price),
            (without.trade_id, without.instrument_id, without.price)
        );
        assert_eq!(without.timestamp_ns / 10_000, 173_046_780_000_000 + position as i64);
    }
    for id in (0..IDS).map(InstrumentId) {
        assert_eq!((without.tenure(id, 3), without.validity(id, 0)), (0..1, None));
        assert_eq!(with.instrument_on(id, 0), without.instrument_on(id, 0));
    }
}

#[test]
fn days_have_bounds() {
    let with = |count, len, reused_share| {
        let days = Some(Days { count, len, reused_share });
        Stream::new(StreamConfig { days, ..StreamConfig::default() }).map(|_| ())
    };
    assert_eq!(with(Days::MAX, 1_001, 0.2), Ok(()));
    assert!(matches!(with(0, 2_000, 0.2), Err(GeneratorError::Count { what: "days", .. })));
    assert!(matches!(with(Days::MAX + 1, 2_000, 0.2), Err(GeneratorError::Count { what: "days", .. })));
    assert!(matches!(with(2, 1_000, 0.2), Err(GeneratorError::ShortDay { len: 1_000, first_rows: 1_000 })));
    assert!(matches!(with(2, 2_000, 1.1), Err(GeneratorError::Share { what: "reused ids", .. })));
    assert!(matches!(with(2, 2_000, f64::NAN), Err(GeneratorError::Share { .. })));
}
