//! What waits to be kept, in its order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tradejoin_flow::Cut;
use tradejoin_model::ChangeLane;

use crate::run::lock;
use crate::sync::{Condvar, Mutex, PoisonError};

/// What goes to the thread that keeps.
pub(crate) enum Event {
    /// The changes of a batch.
    Changes(Changes),
    /// Rows of one table that do not go through a batch.
    Rows(usize, Box<ChangeLane>),
    Cut(Box<Cut>),
    /// Nothing follows.
    End,
}

/// What a batch changes, or loads.
pub(crate) struct Changes {
    /// By table.
    pub(crate) lanes: Arc<[ChangeLane]>,
    /// Whether they are first rows of a table.
    pub(crate) are_rows: bool,
    /// Trades before the batch, refused ones not counted; known when it is written.
    pub(crate) trades_before: u64,
}

/// Bytes of changes that may wait to be kept: what a slow disk may be behind before writing
/// waits for it. Few of them where tests are to see what that does.
const BYTES_MAX: usize = if cfg!(feature = "shuttle") { 1 } else { 64 << 20 };

impl Event {
    /// Memory that it holds. There is one cut at a time: it never waits for room.
    fn bytes(&self) -> usize {
        match self {
            Self::Changes(Changes { lanes, .. }) => lanes.iter().map(ChangeLane::memory_bytes).sum(),
            Self::Rows(_, lane) => lane.memory_bytes(),
            Self::Cut(_) | Self::End => 0,
        }
    }
}

/// A queue with room for so many bytes, or for one event that has more.
pub(super) struct Events {
    bytes_max: usize,
    queue: Mutex<Queue>,
    /// An event has come.
    has_come: Condvar,
    /// There is more room, or nobody takes anything any more.
    has_room: Condvar,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<(Event, usize)>,
    bytes: usize,
    /// Those who wait for room.
    waiting: usize,
    is_closed: bool,
}

impl Events {
    pub(super) fn new() -> Self {
        Self::of_bytes(BYTES_MAX)
    }

    /// For a run of one thread, which must not wait for itself.
    pub(super) fn unbounded() -> Self {
        Self::of_bytes(usize::MAX)
    }

    pub(super) fn of_bytes(bytes_max: usize) -> Self {
        let (has_come, has_room) = (Condvar::new(), Condvar::new());
        Self { bytes_max, queue: Mutex::default(), has_come, has_room }
    }

    /// Puts an event behind the others once there is room, and gives how long that took. If
    /// nobody takes it any more, it is dropped.
    pub(super) fn send(&self, event: Event) -> Duration {
        let bytes = event.bytes();
        let mut queue = lock(&self.queue);
        let mut waited = Duration::ZERO;
        if queue.lacks_room(bytes, self.bytes_max) {
            let begin = Instant::now();
            queue.waiting += 1;
            while queue.lacks_room(bytes, self.bytes_max) {
                queue = self.has_room.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            queue.waiting -= 1;
            waited = begin.elapsed();
        }
        if !queue.is_closed {
            queue.bytes += bytes;
            queue.events.push_back((event, bytes));
            drop(queue);
            self.has_come.notify_one();
        }
        waited
    }

    /// The first one, waited for.
    pub(super) fn next(&self) -> Event {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(event) = self.take(&mut queue) {
                return event;
            }
            queue = self.has_come.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The first one, if there is one.
    pub(super) fn try_next(&self) -> Option<Event> {
        self.take(&mut lock(&self.queue))
    }

    fn take(&self, queue: &mut Queue) -> Option<Event> {
        let (event, bytes) = queue.events.pop_front()?;
        queue.bytes -= bytes;
        if queue.waiting > 0 {
            self.has_room.notify_all();
        }
        Some(event)
    }

    pub(super) fn is_empty(&self) -> bool {
        lock(&self.queue).events.is_empty()
    }

    /// Whether somebody waits for room.
    #[cfg(test)]
    pub(super) fn is_waited_for(&self) -> bool {
        lock(&self.queue).waiting > 0
    }

    /// Takes nothing any more, and lets those go who wait.
    pub(super) fn close(&self) {
        let mut queue = lock(&self.queue);
        queue.is_closed = true;
        queue.events.clear();
        drop(queue);
        self.has_room.notify_all();
    }
}

impl Queue {
    fn lacks_room(&self, bytes: usize, bytes_max: usize) -> bool {
        !self.is_closed && bytes > 0 && self.bytes > 0 && self.bytes.saturating_add(bytes) > bytes_max
    }
}
