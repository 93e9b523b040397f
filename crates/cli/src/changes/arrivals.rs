//! The thread that reads the trades of a run whose changes count by arrival: whichever
//! comes first, trades or changes, wakes the run.

use std::panic::resume_unwind;
use std::time::Instant;

use anyhow::Context as _;
use tradejoin_connectors::{Arrived, ChangesReader, TradeFeed};
use tradejoin_flow::{Block, BoxError, Source, SourcePosition};

use super::reading::{self, Reading};
use crate::sync::{
    JoinHandle, Receiver, RecvTimeoutError, SyncSender, ThreadBuilder, TryRecvError, sync_channel,
};

#[cfg(all(test, feature = "shuttle"))]
mod under_shuttle;

/// Blocks of trades that are read ahead, beside one in the hands of the thread.
const AHEAD: usize = 1;

/// What wakes the run.
#[expect(clippy::large_enum_variant, reason = "moved once for each block")]
enum Item {
    /// And how far they have been read, if that is to be known.
    Trades(Block, Option<SourcePosition>),
    Changes,
    /// The thread of the trades is done.
    Over,
}

/// What reading came to, and what was read.
type Ended = (Result<(), BoxError>, Box<dyn Source>);

/// The trades.
pub(super) struct Arrivals {
    items: Receiver<Item>,
    /// How far the trades were read that were handed out.
    position: Option<SourcePosition>,
    /// `None` once it has ended.
    thread: Option<JoinHandle<Ended>>,
}

/// Wakes the run for changes, and once more when it goes.
pub(super) struct Waker(SyncSender<Item>);

/// Tells that the thread of the trades is done, also if it has panicked.
struct Telling(SyncSender<Item>);

/// Begins to read both, and looks how far, if the run `is_kept`. The trades go on `from` a
/// place before, while the changes go to theirs: one writer may write both.
///
/// # Errors
/// If there is no thread for one of them.
pub(super) fn start(
    mut source: Box<dyn Source>,
    reader: ChangesReader,
    is_kept: bool,
    from: Option<SourcePosition>,
) -> anyhow::Result<(Arrivals, Reading)> {
    let position = from.clone().or_else(|| Source::position(&source)).filter(|_| is_kept);
    let (sender, items) = sync_channel(AHEAD);
    let changes = reading::start_waking(reader, Some(Waker(sender.clone())))?;
    let telling = Telling(sender);
    let read = move || {
        let ended = hand_out(&mut source, from, is_kept, &telling.0);
        // It goes when this is heard: a writer of both who finds its pipe closed may leave, and
        // what the changes lack then must not be told in the place of this.
        (ended, source)
    };
    // Not a stage of the run: blocks are decoded by its workers.
    let thread = ThreadBuilder::new().name("trades".to_owned()).spawn(read);
    Ok((Arrivals { items, position, thread: Some(thread.context("cannot read trades")?) }, changes))
}

/// Reads until the end, or until nobody takes it any more: the run is over.
fn hand_out(
    source: &mut Box<dyn Source>,
    from: Option<SourcePosition>,
    is_kept: bool,
    items: &SyncSender<Item>,
) -> Result<(), BoxError> {
    if let Some(from) = from {
        Source::go_on_from(source, &from)?;
    }
    while let Some(block) = source.next()? {
        let position = if is_kept { Source::position(source) } else { None };
        if items.send(Item::Trades(block, position)).is_err() {
            break;
        }
    }
    Ok(())
}

impl TradeFeed for Arrivals {
    fn arrive(&mut self, may_wait: bool, until: Option<Instant>) -> Result<Arrived, BoxError> {
        let item = match until.filter(|_| may_wait) {
            Some(until) => {
                let patience = until.saturating_duration_since(Instant::now());
                self.items.recv_timeout(patience).map_err(|error| match error {
                    RecvTimeoutError::Timeout => TryRecvError::Empty,
                    RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
                })
            }
            None if may_wait => self.items.recv().map_err(|_| TryRecvError::Disconnected),
            None => self.items.try_recv(),
        };
        match item {
            Ok(Item::Trades(block, position)) => {
                self.position = position;
                Ok(Arrived::Trades(block))
            }
            Ok(Item::Changes) | Err(TryRecvError::Empty) => Ok(Arrived::NotYet),
            Ok(Item::Over) | Err(TryRecvError::Disconnected) => {
                match self.thread.take().map(JoinHandle::join) {
                    None => Ok(Arrived::End),
                    Some(Ok((ended, _))) => ended.map(|()| Arrived::End),
                    // An end that is none must not pass for one.
                    Some(Err(panic)) => resume_unwind(panic),
                }
            }
        }
    }

    fn position(&self) -> Option<SourcePosition> {
        self.position.clone()
    }

    /// The trades, or the thread that reads them, have been told before.
    fn go_on_from(&mut self, _: &SourcePosition) -> Result<(), BoxError> {
        Ok(())
    }
}

impl Waker {
    /// Where there is no room the run is about to look anyway.
    pub(super) fn wake(&self) {
        let _ = self.0.try_send(Item::Changes);
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        self.wake();
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        // Fails where the run is over.
        let _ = self.0.send(Item::Over);
    }
}
