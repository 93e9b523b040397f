//! Sources that generate what they give.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use tradejoin_flow::{Block, BoxError, InputPosition, Source, SourcePosition, TableSource};
use tradejoin_model::{ChangeLane, InstrumentId, Messages, UserId};

use crate::block::{Lane, names, options};
use crate::error::GeneratorError;
use crate::stream::Stream;

/// How many messages a source has given. Clones are the same count.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    /// The messages given so far.
    #[must_use]
    pub fn messages(&self) -> u64 {
        // A count to look at: nothing is read by its leave.
        self.0.load(Ordering::Relaxed)
    }
}

/// Messages of a stream, in blocks.
///
/// As a [`Source`] it gives each block to be made by the thread that asks for
/// its messages.
#[derive(Debug)]
pub struct GeneratedSource {
    stream: Arc<Stream>,
    /// Where it begins.
    first: u64,
    /// What is left.
    positions: Range<u64>,
    block_len: u64,
    progress: Progress,
}

impl GeneratedSource {
    /// The messages at `positions`, in blocks of `block_len`, at least 1, the
    /// last one shorter.
    #[must_use]
    pub fn new(stream: Arc<Stream>, positions: Range<u64>, block_len: usize) -> Self {
        let block_len = block_len.max(1) as u64;
        Self { stream, first: positions.start, positions, block_len, progress: Progress::default() }
    }

    /// The blocks, several of which rayon's threads make at once.
    pub fn made(self) -> impl Iterator<Item = Messages> {
        Made { source: self, ready: VecDeque::new() }
    }

    /// How far the source has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// The positions of the next block, which is then taken.
    fn cut(&mut self) -> Option<Range<u64>> {
        let Range { start, end } = self.positions;
        let cut = end.min(start.saturating_add(self.block_len));
        self.positions.start = cut;
        self.progress.0.fetch_add(cut - start, Ordering::Relaxed);
        Some(start..cut).filter(|block| !block.is_empty())
    }
}

impl Source for GeneratedSource {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        Ok(self.cut().map(|positions| {
            let stream = Arc::clone(&self.stream);
            Block::Encoded(Box::new(move || Ok(stream.messages(positions))))
        }))
    }

    fn position(&self) -> Option<SourcePosition> {
        let records = self.positions.start - self.first;
        let input = InputPosition { name: "generated".to_owned(), records, ..InputPosition::default() };
        Some(input.into())
    }

    fn go_on_from(&mut self, position: &SourcePosition) -> Result<(), BoxError> {
        let Range { start, end } = self.positions;
        let records = position.inputs.iter().map(|input| input.records).sum();
        let at = self.first.checked_add(records).filter(|at| (start..=end).contains(at));
        let messages = end.saturating_sub(self.first);
        self.positions.start = at.ok_or(GeneratorError::Behind { records, messages })?;
        self.progress.0.fetch_add(self.positions.start - start, Ordering::Relaxed);
        Ok(())
    }
}

/// See [`GeneratedSource::made`].
#[derive(Debug)]
struct Made {
    source: GeneratedSource,
    ready: VecDeque<Messages>,
}

impl Iterator for Made {
    type Item = Messages;

    fn next(&mut self) -> Option<Messages> {
        if self.ready.is_empty() {
            let Self { source, ready } = self;
            // Two for each thread, so that none waits long for the slowest.
            let blocks: Vec<_> =
                std::iter::from_fn(|| source.cut()).take(2 * rayon::current_num_threads()).collect();
            let made: Vec<_> = blocks.into_par_iter().map(|block| source.stream.messages(block)).collect();
            ready.extend(made);
        }
        self.ready.pop_front()
    }
}

/// Every instrument, or every user, once: a table in a file of its own. In a stream
/// of days, instruments have a row for each contract that their id has meant.
#[derive(Debug)]
pub struct ReferenceRows {
    stream: Arc<Stream>,
    ids: Range<u32>,
    block_len: u32,
    make: fn(&Stream, Range<u32>) -> ChangeLane,
}

impl ReferenceRows {
    /// All instruments of a stream, in lanes of 8,192.
    #[must_use]
    pub fn instruments(stream: Arc<Stream>) -> Self {
        let ids = 0..stream.config().ids;
        Self { stream, ids, block_len: 8_192, make: instrument_rows }
    }

    /// All users of a stream, in lanes of 8,192.
    #[must_use]
    pub fn users(stream: Arc<Stream>) -> Self {
        let ids = 0..stream.config().users;
        Self { stream, ids, block_len: 8_192, make: user_rows }
    }
}

impl TableSource for ReferenceRows {
    fn next(&mut self) -> Result<Option<ChangeLane>, BoxError> {
        if self.ids.is_empty() {
            return Ok(None);
        }
        let end = self.ids.end.min(self.ids.start + self.block_len);
        let lane = (self.make)(&self.stream, self.ids.start..end);
        self.ids.start = end;
        Ok(Some(lane))
    }
}

fn instrument_rows(stream: &Stream, ids: Range<u32>) -> ChangeLane {
    let mut lane = Lane::new();
    for id in ids.map(InstrumentId) {
        for tenure in stream.tenures(id) {
            lane.push(0, id.into(), stream.instrument_on(id, tenure.start).terms);
            let validity = stream.validity(id, tenure.start);
            validity.into_iter().for_each(|validity| lane.push_validity(validity));
        }
    }
    lane.finish(options)
}

fn user_rows(stream: &Stream, ids: Range<u32>) -> ChangeLane {
    let mut lane = Lane::new();
    for id in ids.map(UserId) {
        lane.push(0, id.into(), stream.user_row(id).username);
    }
    lane.finish(names)
}
