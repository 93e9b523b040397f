//! The thread that reads the trades of a run whose changes count by arrival: whichever
//! comes first, trades or changes, wakes the run.

use std::panic::resume_unwind;

use anyhow::Context as _;
use tradejoin_connectors::{Arrived, ChangesReader, TradeFeed};
use tradejoin_flow::{Block, BoxError, Source};

use super::reading::{self, Reading};
use crate::sync::{JoinHandle, Receiver, SyncSender, ThreadBuilder, TryRecvError, sync_channel};

#[cfg(all(test, feature = "shuttle"))]
mod under_shuttle;

/// Blocks of trades that are read ahead, beside one in the hands of the thread.
const AHEAD: usize = 1;

/// What wakes the run.
#[expect(clippy::large_enum_variant, reason = "moved once for each block")]
enum Item {
    Trades(Block),
    Changes,
    /// The thread of the trades is done.
    Over,
}

/// The trades.
pub(super) struct Arrivals {
    items: Receiver<Item>,
    /// `None` once it has ended.
    thread: Option<JoinHandle<Result<(), BoxError>>>,
}

/// Wakes the run for changes, and once more when it goes.
pub(super) struct Waker(SyncSender<Item>);

/// Tells that the thread of the trades is done, also if it has panicked.
struct Telling(SyncSender<Item>);

/// Begins to read both.
///
/// # Errors
/// If there is no thread for one of them.
pub(super) fn start(
    mut source: Box<dyn Source>,
    reader: ChangesReader,
) -> anyhow::Result<(Arrivals, Reading)> {
    let (sender, items) = sync_channel(AHEAD);
    let changes = reading::start_waking(reader, Some(Waker(sender.clone())))?;
    let telling = Telling(sender);
    let read = move || {
        while let Some(block) = source.next()? {
            // Nobody takes it any more: the run is over.
            if telling.0.send(Item::Trades(block)).is_err() {
                break;
            }
        }
        Ok(())
    };
    // Not a stage of the run: blocks are decoded by its workers.
    let thread = ThreadBuilder::new().name("trades".to_owned()).spawn(read);
    Ok((Arrivals { items, thread: Some(thread.context("cannot read trades")?) }, changes))
}

impl TradeFeed for Arrivals {
    fn arrive(&mut self, may_wait: bool) -> Result<Arrived, BoxError> {
        let item = if may_wait {
            self.items.recv().map_err(|_| TryRecvError::Disconnected)
        } else {
            self.items.try_recv()
        };
        match item {
            Ok(Item::Trades(block)) => Ok(Arrived::Trades(block)),
            Ok(Item::Changes) | Err(TryRecvError::Empty) => Ok(Arrived::NotYet),
            Ok(Item::Over) | Err(TryRecvError::Disconnected) => {
                match self.thread.take().map_or(Ok(Ok(())), JoinHandle::join) {
                    Ok(ended) => ended.map(|()| Arrived::End),
                    // An end that is none must not pass for one.
                    Err(panic) => resume_unwind(panic),
                }
            }
        }
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
