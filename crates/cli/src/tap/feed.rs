//! Rows of a running run, for those who look at them.
//!
//! Rows are picked where a batch is encoded, by the thread that does so, as long as anybody
//! looks, and come to the queue of who does where batches are written. What has no room
//! there is dropped and counted: nothing is waited for.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::SchemaRef;
use tradejoin_connectors::AddedColumn;
use tradejoin_flow::{BoxError, Encode, End, Prepared, Sink};
use tradejoin_model::Enriched;

use super::filter::Filters;
use super::pick::{Every, Picked, Room, Wanted, pick};
use crate::control::{Call, Reply};
use crate::failure;
use crate::sync::{AtomicUsize, Condvar, Mutex, MutexGuard, Ordering, PoisonError};

#[cfg(all(test, feature = "shuttle"))]
mod under_shuttle;

/// Rows that wait for who looks at them.
const ROWS_MAX: usize = 4_096;
/// And their bytes.
const BYTES_MAX: usize = 4 << 20;

/// How soon it is noticed that a client has gone.
const PATIENCE: Duration = Duration::from_millis(100);

/// Those who look at the rows of a run. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Taps(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    schema: SchemaRef,
    added: Vec<AddedColumn>,
    /// How many there are, to be looked at once for each batch.
    attached: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taps: Vec<Arc<Tap>>,
    /// Whether the run has ended.
    is_over: bool,
}

/// One who looks.
#[derive(Debug)]
pub(super) struct Tap {
    wanted: Wanted,
    queue: Mutex<Queue>,
    arrived: Condvar,
}

#[derive(Debug)]
struct Queue {
    lines: VecDeque<String>,
    bytes: usize,
    dropped: u64,
    /// How many more are wanted.
    limit: u64,
    is_complete: bool,
    failure: Option<String>,
}

/// What has come since the last look.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    pub(super) lines: VecDeque<String>,
    pub(super) dropped: u64,
    /// Whether no more will come.
    pub(super) is_complete: bool,
    pub(super) failure: Option<String>,
}

/// What looks at rows for as long as it lives.
pub(super) struct Attached {
    taps: Taps,
    pub(super) tap: Arc<Tap>,
}

impl Taps {
    /// Of a run whose trades have the columns of `schema`, and those that are `added`.
    pub(crate) fn new(schema: SchemaRef, added: Vec<AddedColumn>) -> Self {
        let (attached, state) = (AtomicUsize::new(0), Mutex::default());
        Self(Arc::new(Shared { schema, added, attached, state }))
    }

    /// A sink whose rows can be looked at on the way to `inner`, or if nobody can, that
    /// passes them on.
    pub(crate) fn of<S>(taps: Option<Self>, inner: S) -> Tapped<S> {
        Tapped { taps, inner }
    }

    /// The names of the columns.
    pub(super) fn columns(&self) -> Vec<String> {
        let own = self.0.schema.fields().iter().map(|field| field.name().clone());
        own.chain(self.0.added.iter().map(|column| column.name.clone())).collect()
    }

    pub(super) fn attach(&self, wanted: Wanted, limit: u64) -> Attached {
        let mut state = self.lock();
        let queue = Queue {
            lines: VecDeque::new(),
            bytes: 0,
            dropped: 0,
            limit,
            is_complete: state.is_over,
            failure: None,
        };
        let tap = Arc::new(Tap { wanted, queue: Mutex::new(queue), arrived: Condvar::new() });
        state.taps.push(Arc::clone(&tap));
        self.0.attached.store(state.taps.len(), Ordering::Relaxed);
        Attached { taps: self.clone(), tap }
    }

    /// Picks what is wanted of a batch.
    fn pick(&self, enriched: &Enriched, picked: &mut Vec<(Arc<Tap>, Picked)>) {
        let taps = self.lock().taps.clone();
        for tap in taps {
            let Some(room) = tap.room() else { continue };
            match pick(enriched, &self.0.schema, &self.0.added, &tap.wanted, room) {
                Ok(found) => picked.push((tap, found)),
                Err(error) => tap.fail(error.to_string()),
            }
        }
    }

    fn end(&self) {
        let mut state = self.lock();
        state.is_over = true;
        state.taps.iter().for_each(|tap| tap.complete());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taps {
    /// Shows a client rows until it has enough, or goes, or the run ends.
    pub(crate) fn show(
        &self,
        call: &mut Call,
        conditions: &[String],
        every: u64,
        limit: u64,
    ) -> io::Result<()> {
        let columns = self.columns();
        let filters = match Filters::read(conditions, &columns) {
            Ok(filters) => filters,
            Err(why) => return call.say(&Reply::Refused { code: failure::USAGE, why }),
        };
        let wanted = Wanted { filters, every: Every(every.max(1)) };
        let attached = self.attach(wanted, limit);
        // Only now, so that who reads it misses no trade behind it.
        call.say(&Reply::Columns(columns))?;
        loop {
            let arrived = attached.tap.wait(PATIENCE);
            let lines: Vec<u8> = arrived.lines.iter().flat_map(|line| line.bytes()).collect();
            call.send(&lines)?;
            if arrived.dropped > 0 {
                call.say(&Reply::Dropped(arrived.dropped))?;
            }
            if let Some(why) = arrived.failure {
                return call.say(&Reply::Refused { code: failure::IO, why });
            }
            if arrived.is_complete {
                return call.say(&Reply::End {});
            }
            if call.is_over() && lines.is_empty() {
                // It may have come to its end since.
                let is_complete = self.lock().is_over;
                return call.say(&if is_complete { Reply::End {} } else { failed() });
            }
            if lines.is_empty() && call.is_gone() {
                return Ok(());
            }
        }
    }
}

/// What is said of a run that ends before its output is whole.
fn failed() -> Reply {
    Reply::Refused { code: failure::IO, why: "the run has failed; what it says itself is why".to_owned() }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut state = self.taps.lock();
        state.taps.retain(|tap| !Arc::ptr_eq(tap, &self.tap));
        self.taps.0.attached.store(state.taps.len(), Ordering::Relaxed);
    }
}

impl Tap {
    /// What there is room for, if anything is wanted.
    fn room(&self) -> Option<Room> {
        let queue = self.lock();
        let room = Room {
            rows: ROWS_MAX.saturating_sub(queue.lines.len()),
            bytes: BYTES_MAX.saturating_sub(queue.bytes),
            limit: queue.limit,
        };
        (!queue.is_complete).then_some(room)
    }

    /// Takes what there is still room for.
    fn take(&self, picked: Picked) {
        let mut queue = self.lock();
        queue.dropped += picked.dropped;
        for line in picked.lines {
            if queue.limit == 0 {
                break;
            }
            if queue.lines.len() >= ROWS_MAX || queue.bytes >= BYTES_MAX {
                queue.dropped += 1;
                continue;
            }
            queue.limit -= 1;
            queue.bytes += line.len();
            queue.lines.push_back(line);
        }
        queue.is_complete |= queue.limit == 0;
        drop(queue);
        self.arrived.notify_one();
    }

    fn complete(&self) {
        self.lock().is_complete = true;
        self.arrived.notify_one();
    }

    fn fail(&self, why: String) {
        self.lock().failure = Some(why);
        self.complete();
    }

    /// What has come, waited for as long as `patience`.
    pub(super) fn wait(&self, patience: Duration) -> Arrived {
        let is_silent =
            |queue: &mut Queue| queue.lines.is_empty() && queue.dropped == 0 && !queue.is_complete;
        let waited = self.arrived.wait_timeout_while(self.lock(), patience, is_silent);
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        queue.bytes = 0;
        Arrived {
            lines: std::mem::take(&mut queue.lines),
            dropped: std::mem::take(&mut queue.dropped),
            is_complete: queue.is_complete,
            failure: queue.failure.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Taps::of`].
pub(crate) struct Tapped<S> {
    taps: Option<Taps>,
    inner: S,
}

/// What is written, and who wants what of it.
#[derive(Default)]
pub(crate) struct TappedPiece<P> {
    picked: Vec<(Arc<Tap>, Picked)>,
    inner: P,
}

impl<S: Sink> Sink for Tapped<S> {
    type Piece = TappedPiece<S::Piece>;
    type Encoder = Tapped<S::Encoder>;

    fn encoder(&self) -> Self::Encoder {
        Tapped { taps: self.taps.clone(), inner: self.inner.encoder() }
    }

    fn write(&mut self, piece: &mut Self::Piece) -> Result<(), BoxError> {
        for (tap, picked) in piece.picked.drain(..) {
            tap.take(picked);
        }
        self.inner.write(&mut piece.inner)
    }

    fn prepare(&mut self, end: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        let prepared = self.inner.prepare(end)?;
        if end.is_some() {
            self.taps.iter().for_each(Taps::end);
        }
        Ok(prepared)
    }
}

impl<E: Encode> Encode for Tapped<E> {
    type Piece = TappedPiece<E::Piece>;

    fn encode(&mut self, enriched: &Enriched, piece: &mut Self::Piece) -> Result<(), BoxError> {
        piece.picked.clear();
        if let Some(taps) = &self.taps
            && taps.0.attached.load(Ordering::Relaxed) > 0
        {
            taps.pick(enriched, &mut piece.picked);
        }
        self.inner.encode(enriched, &mut piece.inner)
    }
}
