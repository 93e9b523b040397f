//! What the stream promises: the same messages however it is cut, and the
//! shares that its mix names.

use std::collections::BTreeSet;
use std::sync::Arc;

use tradejoin_flow::{Source, TableSource};
use tradejoin_generator::{GeneratedSource, GeneratorError, Keys, Mix, ReferenceRows, Stream, StreamConfig};
use tradejoin_model::{Column, Message, Messages, OccSymbol, TextView};

fn stream(mix: &str) -> Stream {
    let mix: Mix = mix.parse().expect("a mix");
    Stream::new(StreamConfig { mix, ..StreamConfig::default() }).expect("a stream")
}

/// How many of the messages at these positions are trades, instruments, users.
fn counts(stream: &Stream, positions: std::ops::Range<u64>) -> [u64; 3] {
    let mut counts = [0; 3];
    for position in positions {
        counts[match stream.message(position) {
            Message::Trade(_) => 0,
            Message::Instrument(_) => 1,
            Message::User(_) => 2,
        }] += 1;
    }
    counts
}

/// Whether a count of draws fits its share: within six standard deviations.
fn fits(count: u64, share: f64, draws: u64) -> bool {
    let draws = draws as f64;
    let deviation = (draws * share * (1.0 - share)).sqrt();
    (count as f64 - draws * share).abs() <= 6.0 * deviation
}

#[test]
fn mixes_have_their_shares_behind_their_preambles() {
    let draws = 200_000;
    for (mix, preamble, shares) in [
        ("article", [0, 1_000, 0], [0.9, 0.1, 0.0]),
        ("article-users", [0, 1_000, 100], [0.9, 0.08, 0.02]),
        ("slow", [0, 10_000, 0], [0.999, 0.001, 0.0]),
        ("trades", [0, 10_000, 0], [1.0, 0.0, 0.0]),
        ("custom:instruments=0.3,users=0.7,first-users=5", [0, 0, 5], [0.0, 0.3, 0.7]),
    ] {
        let stream = stream(mix);
        let first: u64 = preamble.iter().sum();
        assert_eq!(counts(&stream, 0..first), preamble, "{mix}");
        let counted = counts(&stream, first..first + draws);
        for (count, share) in counted.into_iter().zip(shares) {
            assert!(fits(count, share, draws), "{mix}: {counted:?}");
        }
    }
}

#[test]
fn every_id_is_in_the_preamble_that_says_so() {
    let stream = stream("slow");
    let ids: BTreeSet<u32> = (0..10_000)
        .map(|position| match stream.message(position) {
            Message::Instrument(instrument) => instrument.instrument_id.0,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(ids.into_iter().eq(0..10_000));
}

/// Everything in a sequence of blocks, as comparable text.
fn contents(blocks: &[Messages]) -> (Vec<String>, Vec<String>) {
    let mut trades = Vec::new();
    let mut changes = Vec::new();
    let mut row = 0;
    for block in blocks {
        for i in 0..block.trades.num_rows() {
            trades.push(format!("{:?}", block.trades.slice(i, 1)));
        }
        for (table, lane) in block.lanes.iter().enumerate() {
            for change in 0..lane.len() {
                let value = match &lane.fields[0] {
                    Column::Options(options) => options[change].to_string(),
                    Column::Text(names) => format!("{:?}", names.views()[change]),
                    Column::Integers(_) => unreachable!("no table has numbers"),
                };
                changes.push(format!(
                    "{table} {} {} {value}",
                    row + lane.at_rows[change],
                    lane.keys.ids()[change]
                ));
            }
        }
        row += block.trades.num_rows() as u32;
    }
    changes.sort();
    (trades, changes)
}

fn blocks_of(source: &mut GeneratedSource) -> Vec<Messages> {
    let next = || Some(source.next().expect("no faults")?.decode().expect("no faults"));
    std::iter::from_fn(next).collect()
}

#[test]
fn the_stream_is_the_same_however_it_is_cut_and_whoever_makes_it() {
    let stream = Arc::new(stream("article-users"));
    let expected = contents(&[stream.messages(0..5_000)]);
    // The last block is longer than the limit.
    for block_len in [1, 7, 512, 4_999, 10_000, usize::MAX] {
        let source = || GeneratedSource::new(Arc::clone(&stream), 0..5_000, block_len);
        let mut one_by_one = source();
        let progress = one_by_one.progress();
        let blocks = blocks_of(&mut one_by_one);
        assert!(blocks.iter().all(|block| block.len() <= block_len as u64));
        assert_eq!(contents(&blocks), expected, "blocks of {block_len}");
        assert_eq!(progress.messages(), 5_000, "the limit is exact");
        let several_at_once: Vec<_> = source().made().collect();
        assert_eq!(contents(&several_at_once), expected, "blocks of {block_len}, several at once");
    }
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let blocks = pool.install(|| stream.blocks(0..5, 1_000));
        assert_eq!(contents(&blocks), expected, "{threads} threads");
        let source = GeneratedSource::new(Arc::clone(&stream), 0..5_000, 512);
        let blocks: Vec<_> = pool.install(|| source.made().collect());
        assert_eq!(contents(&blocks), expected, "{threads} threads, one source");
    }
}

#[test]
fn trades_are_in_order_of_time_and_number_and_every_symbol_is_valid() {
    let stream = stream("article");
    let mut last = (0, 0);
    for position in 0..20_000 {
        match stream.message(position) {
            Message::Trade(trade) => {
                assert!((trade.timestamp_ns, trade.trade_id) > last);
                assert!({ trade.price }.units() > 0 && trade.quantity > 0);
                last = (trade.timestamp_ns, trade.trade_id);
            }
            Message::Instrument(instrument) => {
                assert_eq!(instrument.terms.to_string().parse::<OccSymbol>(), Ok(instrument.terms));
            }
            Message::User(_) => panic!("the mix has no users"),
        }
    }
}

#[test]
fn unknown_trades_are_unknown_to_every_change() {
    let config = StreamConfig { unknown_share: 0.25, keys: Keys::Zipf(1.2), ..StreamConfig::default() };
    let stream = Stream::new(config).expect("a stream");
    let (mut unknown, mut trades) = (0, 0);
    for position in 0..100_000 {
        match stream.message(position) {
            Message::Trade(trade) => {
                trades += 1;
                unknown += u64::from(trade.instrument_id.0 >= 10_000);
            }
            Message::Instrument(instrument) => assert!(instrument.instrument_id.0 < 10_000),
            Message::User(_) => panic!("the mix has no users"),
        }
    }
    assert!(fits(unknown, 0.25, trades), "{unknown} of {trades}");
}

#[test]
fn seeds_make_different_streams() {
    let of_seed = |seed| Stream::new(StreamConfig { seed, ..StreamConfig::default() }).expect("a stream");
    let same = (0..1_000).filter(|&p| of_seed(1).message(p) == of_seed(2).message(p)).count();
    assert!(same < 10, "{same} messages are equal");
}

#[test]
fn names_are_inline_and_tables_have_every_row_once() {
    let stream = Arc::new(stream("article-users"));
    let mut rows = ReferenceRows::users(Arc::clone(&stream));
    let mut ids = Vec::new();
    while let Some(lane) = rows.next().expect("a source without faults") {
        let Column::Text(names) = &lane.fields[0] else { panic!("names are text") };
        assert!(names.views().iter().all(|name| !name.as_bytes().is_empty() && *name != TextView::NULL));
        ids.extend(lane.keys.ids().iter().map(|key| key.0));
    }
    assert!(ids.into_iter().eq(0..10_000));
    let mut rows = ReferenceRows::instruments(stream);
    assert_eq!(rows.next().expect("no faults").map(|lane| lane.len()), Some(8_192));
}

#[test]
fn skewed_keys_reach_ten_million_instruments() {
    let config = StreamConfig { ids: 10_000_000, keys: Keys::Zipf(1.1), ..StreamConfig::default() };
    let stream = Stream::new(config).expect("a stream");
    let trades: Vec<u32> = (1_000..50_000)
        .filter_map(|position| match stream.message(position) {
            Message::Trade(trade) => Some(trade.instrument_id.0),
            _ => None,
        })
        .collect();
    assert!(trades.iter().all(|&id| id < 10_000_000));
    assert!(trades.iter().any(|&id| id > 9_000_000), "ranks are spread over all ids");
    // The share of rank 1 is 1 / ζ(1.1) but for the ranks past the last: the
    // sum of n^-1.1 up to 10 M is 10.58 - 1.995 = 8.59.
    let busiest = trades.iter().filter(|&&id| id == 0).count() as u64;
    assert!(fits(busiest, 1.0 / 8.59, trades.len() as u64), "{busiest} of {}", trades.len());
}

#[test]
fn counts_and_shares_have_bounds() {
    let with = |change: fn(&mut StreamConfig)| {
        let mut config = StreamConfig::default();
        change(&mut config);
        Stream::new(config).map(|_| ())
    };
    assert!(matches!(with(|c| c.ids = 0), Err(GeneratorError::Count { what: "instruments", .. })));
    assert!(matches!(with(|c| c.users = StreamConfig::IDS_MAX + 1), Err(GeneratorError::Count { .. })));
    assert!(matches!(with(|c| c.unknown_share = 1.5), Err(GeneratorError::Share { .. })));
    assert!(matches!(with(|c| c.unknown_share = f64::NAN), Err(GeneratorError::Share { .. })));
    assert_eq!(with(|c| c.ids = 10_000_000), Ok(()));
}
