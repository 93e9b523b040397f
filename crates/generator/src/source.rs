//! Sources that generate what they give.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tradejoin_flow::{BoxError, Source, TableSource};
use tradejoin_model::{ChangeLane, InstrumentId, Messages, UserId};

use crate::block::{Lane, names, options};
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

/// The first messages of a stream, in blocks.
#[derive(Debug)]
pub struct GeneratedSource {
    stream: Arc<Stream>,
    positions: Range<u64>,
    block_len: u64,
    /// How many blocks are made at once.
    ahead: u64,
    ready: VecDeque<Messages>,
    progress: Progress,
}

impl GeneratedSource {
    /// The messages at `positions`, in blocks of `block_len`, the last one
    /// shorter. `ahead` blocks are made at once by rayon's threads; with 1 the
    /// calling thread makes each. Both are at least 1.
    #[must_use]
    pub fn new(stream: Arc<Stream>, positions: Range<u64>, block_len: usize, ahead: usize) -> Self {
        Self {
            stream,
            positions,
            block_len: block_len.max(1) as u64,
            ahead: ahead.max(1) as u64,
            ready: VecDeque::new(),
            progress: Progress::default(),
        }
    }

    /// How far the source has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    fn fill(&mut self) {
        let Range { start, end } = self.positions;
        let next = end.min(start.saturating_add(self.ahead.saturating_mul(self.block_len)));
        let cut = |at: u64| start.saturating_add(at.saturating_mul(self.block_len)).min(next);
        let blocks = (next - start).div_ceil(self.block_len);
        if blocks == 1 {
            self.ready.push_back(self.stream.messages(start..next));
        } else {
            use rayon::prelude::*;
            let made: Vec<_> =
                (0..blocks).into_par_iter().map(|at| self.stream.messages(cut(at)..cut(at + 1))).collect();
            self.ready.extend(made);
        }
        self.positions.start = next;
    }
}

impl Source for GeneratedSource {
    fn next(&mut self) -> Result<Option<Messages>, BoxError> {
        if self.ready.is_empty() && !self.positions.is_empty() {
            self.fill();
        }
        let messages = self.ready.pop_front();
        self.progress.0.fetch_add(messages.as_ref().map_or(0, Messages::len), Ordering::Relaxed);
        Ok(messages)
    }
}

/// Every instrument, or every user, once: a table in a file of its own.
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
        lane.push(0, id.into(), stream.instrument_row(id).terms);
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
