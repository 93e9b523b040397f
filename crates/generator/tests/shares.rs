//! Draws are spread as they should be: each number over its range, two numbers
//! of a message, neighbouring messages and neighbouring seeds not by each other.

use tradejoin_generator::{Mix, Stream, StreamConfig};
use tradejoin_model::{Message, Side, Trade};

fn stream(seed: u64) -> Stream {
    let config = StreamConfig { seed, ids: 1_000, users: 1_000, mix: Mix::bare(true), ..Default::default() };
    Stream::new(config).expect("a stream")
}

fn trade(stream: &Stream, position: u64) -> Trade {
    match stream.message(position) {
        Message::Trade(trade) => trade,
        other => panic!("{other:?} in a stream of trades alone"),
    }
}

/// The numbers that are drawn for a trade, each with how many it is below.
fn numbers(position: u64, trade: &Trade) -> [(&'static str, u64, u64); 6] {
    let since = trade.timestamp_ns - 1_730_467_800_000_000_000 - position as i64 * 10_000;
    let cents = { trade.price }.units() / 10_000_000;
    [
        ("instrument", u64::from(trade.instrument_id.0), 1_000),
        ("user", u64::from(trade.user_id.0), 1_000),
        ("jitter", since as u64, 10_000),
        ("price", cents as u64 - 1, 50_000),
        ("quantity", u64::from(trade.quantity) - 1, 100),
        ("side", u64::from(trade.side == Side::Sell), 2),
    ]
}

/// That counts are those of draws which are all as likely: their chi-square is
/// within six standard deviations of its mean.
fn assert_even(counts: &[u64], what: &str) {
    let expected = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
    let chi_square: f64 = counts.iter().map(|&count| (count as f64 - expected).powi(2) / expected).sum();
    let freedom = counts.len() as f64 - 1.0;
    let distance = (chi_square - freedom).abs() / (2.0 * freedom).sqrt();
    assert!(distance < 6.0, "{what}: chi-square {chi_square} at {freedom} degrees of freedom");
}

/// That pairs of numbers below 1 hit all cells of a square alike.
fn assert_unrelated(pairs: impl Iterator<Item = (f64, f64)>, side: usize, what: &str) {
    let mut counts = vec![0; side * side];
    let cell = |number: f64| (number * side as f64) as usize;
    pairs.for_each(|(a, b)| counts[cell(a) * side + cell(b)] += 1);
    assert_even(&counts, what);
}

#[test]
fn every_number_of_a_trade_is_spread_over_its_range() {
    let stream = stream(1);
    let mut counts = [1_000, 1_000, 10_000, 50_000, 100, 2].map(|len| vec![0_u64; len]);
    let mut names = [""; 6];
    for position in 0..500_000 {
        for (index, (name, value, _)) in numbers(position, &trade(&stream, position)).into_iter().enumerate()
        {
            counts[index][value as usize] += 1;
            names[index] = name;
        }
    }
    for (counts, name) in counts.iter().zip(names) {
        assert_even(counts, name);
    }
}

/// The numbers of a trade as fractions of their ranges.
fn fractions(stream: &Stream, position: u64) -> [(&'static str, f64); 6] {
    numbers(position, &trade(stream, position))
        .map(|(name, value, bound)| (name, value as f64 / bound as f64))
}

#[test]
fn no_number_of_a_trade_tells_another_one_of_it_or_of_its_neighbours() {
    let stream = stream(1);
    let all: Vec<_> = (0..50_000).map(|position| fractions(&stream, position)).collect();
    for distance in 0..4 {
        for a in 0..6 {
            for b in 0..6 {
                // A number tells itself, and a square of 10 cuts every range evenly.
                if distance > 0 || a != b {
                    let side = if a == 5 || b == 5 { 2 } else { 10 };
                    let pairs = all.iter().zip(&all[distance..]).map(|(x, y)| (x[a].1, y[b].1));
                    let what = format!("{} and {} at a distance of {distance}", all[0][a].0, all[0][b].0);
                    assert_unrelated(pairs, side, &what);
                }
            }
        }
    }
}

#[test]
fn neighbouring_seeds_make_unrelated_streams() {
    for seed in [0, 1, 41, u64::MAX] {
        let streams = [stream(seed), stream(seed.wrapping_add(1))];
        let [one, other] = streams
            .map(|stream| (0..20_000).map(|position| fractions(&stream, position)).collect::<Vec<_>>());
        for distance in 0..4 {
            for (one, other) in [(&one, &other), (&other, &one)] {
                for number in 0..5 {
                    let pairs = one.iter().zip(&other[distance..]).map(|(x, y)| (x[number].1, y[number].1));
                    assert_unrelated(pairs, 10, &format!("{} of {seed} and its neighbour", one[0][number].0));
                }
            }
        }
    }
}

#[test]
fn kinds_of_neighbouring_messages_and_seeds_are_unrelated() {
    let mix: Mix = "custom:instruments=0.5".parse().expect("a mix");
    let of_seed = |seed| {
        let stream = Stream::new(StreamConfig { seed, mix: mix.clone(), ..Default::default() });
        let stream = stream.expect("a stream");
        (0..100_000)
            .map(|p| f64::from(matches!(stream.message(p), Message::Trade(_))) / 2.0)
            .collect::<Vec<_>>()
    };
    let (one, other) = (of_seed(1), of_seed(2));
    for distance in 0..8 {
        let pairs = |b: &[f64]| one.iter().copied().zip(b[distance..].to_vec()).collect::<Vec<_>>();
        assert_unrelated(pairs(&other).into_iter(), 2, "kinds of two seeds");
        if distance > 0 {
            assert_unrelated(pairs(&one).into_iter(), 2, "kinds of neighbours");
        }
    }
}
