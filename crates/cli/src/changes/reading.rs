//! The thread that reads changes, a few blocks ahead of the trades.

use std::panic::resume_unwind;
use std::time::Instant;

use anyhow::Context as _;
use tradejoin_connectors::{ChangeBlock, ChangeFeed, ChangesReader, Fed};
use tradejoin_flow::InputPosition;

use super::arrivals::Waker;
use crate::sync::{JoinHandle, Receiver, RecvTimeoutError, SyncSender, ThreadBuilder, sync_channel};

/// Blocks that are read ahead, beside one in the hands of the thread and one that is being
/// merged.
const AHEAD: usize = 2;

/// What the thread reads.
pub(super) struct Reading {
    blocks: Receiver<ChangeBlock>,
    thread: Option<JoinHandle<()>>,
    start: Option<InputPosition>,
}

/// Begins to read.
///
/// # Errors
/// If there is no thread for it.
pub(super) fn start(reader: ChangesReader) -> anyhow::Result<Reading> {
    start_waking(reader, None)
}

/// Begins to read, and wakes somebody behind each block and at the end.
///
/// # Errors
/// If there is no thread for it.
pub(super) fn start_waking(mut reader: ChangesReader, waker: Option<Waker>) -> anyhow::Result<Reading> {
    let (sender, blocks) = sync_channel(AHEAD);
    let start = reader.start();
    // Whoever is woken at the end finds that it is one: what sends goes first.
    let ends = Ends { sender, waker };
    let read = move || {
        // The whole of it, not each half on its own.
        let ends = ends;
        while let Some(block) = reader.read() {
            if block.is_nothing() {
                // A sign of life, for which going on must not wait: the run may wait for it.
                let _ = ends.sender.try_send(block);
            } else if ends.sender.send(block).is_err() {
                // Nobody takes it any more: the run is over.
                break;
            }
            ends.waker.iter().for_each(Waker::wake);
        }
    };
    // Not a stage of the run: what it reads gets its place where the source is read.
    let thread = ThreadBuilder::new().name("changes".to_owned()).spawn(read);
    Ok(Reading { blocks, thread: Some(thread.context("cannot read changes")?), start })
}

/// What the thread has in its hands: let go of in this order.
struct Ends {
    sender: SyncSender<ChangeBlock>,
    waker: Option<Waker>,
}

impl ChangeFeed for Reading {
    fn next(&mut self, until: Instant) -> Fed {
        match self.blocks.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(block) => Fed::Block(block),
            Err(RecvTimeoutError::Timeout) => Fed::NotYet,
            Err(RecvTimeoutError::Disconnected) => {
                // An end that is none must not pass for one.
                if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
                    resume_unwind(panic);
                }
                Fed::End
            }
        }
    }

    fn start(&self) -> Option<InputPosition> {
        self.start.clone()
    }
}
