//! Blocks in memory, cut into any lengths by their trades.

use tradejoin_generator::Stream;
use tradejoin_model::{ChangeLane, Column, Messages, TextColumn};

/// Messages of a stored block.
const BLOCK_LEN: u64 = 1 << 16;

/// The beginning of a stream, drawn before anything is timed.
pub(crate) struct Stored {
    blocks: Vec<Messages>,
    trades: u64,
}

/// How much of a stream is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// So many messages.
    Messages(u64),
    /// Messages until there are so many trades.
    Trades(u64),
}

impl Stored {
    /// Draws the beginning of a stream.
    pub(crate) fn draw(stream: &Stream, extent: Extent) -> Self {
        let mut stored = Self { blocks: Vec::new(), trades: 0 };
        let mut position = 0;
        while match extent {
            Extent::Messages(messages) => position < messages,
            Extent::Trades(trades) => stored.trades < trades,
        } {
            let end = match extent {
                Extent::Messages(messages) => messages.min(position + BLOCK_LEN),
                Extent::Trades(_) => position + BLOCK_LEN,
            };
            let block = stream.messages(position..end);
            stored.trades += block.trades.num_rows() as u64;
            stored.blocks.push(block);
            position = end;
        }
        stored
    }

    /// How many trades there are.
    pub(crate) fn trades(&self) -> u64 {
        self.trades
    }

    /// The blocks, to be cut until so many trades are given.
    pub(crate) fn cuts(&self, trades: u64) -> Cuts<'_> {
        Cuts { blocks: &self.blocks, row: 0, left: trades.min(self.trades) }
    }
}

/// What has not been cut off yet.
pub(crate) struct Cuts<'a> {
    blocks: &'a [Messages],
    /// The first row of the first block that is still there.
    row: usize,
    left: u64,
}

impl Cuts<'_> {
    /// The most trades that the next cut can have; 0 at the end.
    pub(crate) fn most(&mut self) -> usize {
        // A block whose trades are all given has nothing left: its last changes went
        // with its last trade, or for want of one go with a cut without trades.
        while let Some(block) = self.blocks.first()
            && self.row == block.trades.num_rows()
            && self.row > 0
        {
            self.blocks = &self.blocks[1..];
            self.row = 0;
        }
        let rows = self.blocks.first().map_or(0, |block| block.trades.num_rows() - self.row);
        // No more than there are in memory.
        rows.min(usize::try_from(self.left).unwrap_or(usize::MAX))
    }

    /// A block whose messages are all changes, if that is what comes next.
    pub(crate) fn changes(&mut self) -> Option<Messages> {
        self.most();
        let (first, rest) = self.blocks.split_first()?;
        if self.left == 0 || first.trades.num_rows() > 0 {
            return None;
        }
        self.blocks = rest;
        Some(first.clone())
    }

    /// The next trades, at most [`Self::most`], with the changes before each of
    /// them, and behind the last trade of a block also those behind it.
    pub(crate) fn cut(&mut self, rows: usize) -> Option<Messages> {
        let rows = rows.min(self.most());
        let block = self.blocks.first().filter(|_| rows > 0)?;
        let (start, end) = (self.row, self.row + rows);
        self.row = end;
        self.left -= rows as u64;
        let lanes = block.lanes.iter().map(|lane| cut_lane(lane, start, end, block.trades.num_rows()));
        Some(Messages {
            trades: block.trades.slice(start, rows),
            keys: block.keys.iter().map(|keys| keys.slice(start, rows)).collect(),
            lanes: lanes.collect(),
            times: block.times.as_ref().map(|times| times.slice(start, rows)),
            rejected: 0,
            refused: Vec::new(),
            loading: false,
        })
    }
}

/// The changes before the rows from `start` to below `end` of `rows`.
fn cut_lane(lane: &ChangeLane, start: usize, end: usize, rows: usize) -> ChangeLane {
    let place = |row: usize| lane.at_rows.partition_point(|&at_row| (at_row as usize) < row);
    let from = place(start);
    let to = if end == rows { lane.len() } else { place(end) };
    ChangeLane {
        // No smaller than `start`, which fits like the row itself.
        at_rows: lane.at_rows[from..to].iter().map(|&at_row| at_row - start as u32).collect(),
        keys: lane.keys.ids()[from..to].to_vec().into(),
        kinds: lane.kinds[from..to].to_vec(),
        fields: lane.fields.iter().map(|field| cut_column(field, from, to)).collect(),
        turns: lane.turns.get(from..to.min(lane.turns.len())).unwrap_or_default().to_vec(),
        // A generator's rows have neither times nor versions.
        ..ChangeLane::default()
    }
}

fn cut_column(column: &Column, from: usize, to: usize) -> Column {
    match column {
        Column::Options(options) => Column::Options(options[from..to].to_vec()),
        Column::Integers(values) => Column::Integers(values[from..to].to_vec()),
        // A generator's texts are inline.
        Column::Text(texts) => Column::Text(texts.views()[from..to].iter().copied().collect::<TextColumn>()),
    }
}

#[cfg(test)]
mod tests {
    use tradejoin_baseline::{Tables, fused, maps, naive};
    use tradejoin_generator::{Mix, StreamConfig};

    use super::*;

    fn stream(mix: Mix) -> Stream {
        Stream::new(StreamConfig { mix, ..StreamConfig::default() }).expect("a valid configuration")
    }

    fn all<'a>(mut cuts: Cuts<'a>, rows: usize) -> impl Iterator<Item = Messages> + 'a {
        std::iter::from_fn(move || cuts.changes().or_else(|| cuts.cut(rows)))
    }

    #[test]
    fn a_stream_gives_the_same_however_it_is_cut() {
        const LEN: u64 = 140_000;
        for (mix, tables) in [
            (Mix::article(), Tables::Instruments),
            (Mix::article_users(), Tables::InstrumentsAndUsers),
            // More changes at the start than a stored block has messages.
            ("custom:first-instruments=70000,instruments=0.1".parse().expect("a mix"), Tables::Instruments),
        ] {
            let stream = stream(mix);
            let expected = naive::<maps::Std>((0..LEN).map(|position| stream.message(position)), tables);
            let stored = Stored::draw(&stream, Extent::Messages(LEN));
            assert_eq!(stored.trades(), expected.enriched + expected.unmatched);
            for rows in [1, 7, 8_192, usize::MAX] {
                assert_eq!(fused(all(stored.cuts(u64::MAX), rows)), expected, "cuts of {rows}");
            }
        }
    }

    #[test]
    fn as_many_trades_are_given_as_are_asked_for() {
        let stored = Stored::draw(&stream(Mix::article()), Extent::Trades(100_000));
        assert!(stored.trades() >= 100_000);
        let given: usize = all(stored.cuts(70_001), 1_000).map(|block| block.trades.num_rows()).sum();
        assert_eq!(given, 70_001);
    }
}
