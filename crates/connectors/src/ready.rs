//! What a table waits for before the first trade, how far it has come, and by when it
//! is to be ready.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::ReadError;
use crate::input::InputOptions;

/// When a table that comes with a stream of messages is ready: at its marker, and if
/// more is said here, after so many rows or so much time, whichever comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadyAfter {
    /// Rows of the table, refused ones included.
    pub rows: Option<u64>,
    /// Since the stream was opened. A trade that comes earlier waits.
    pub time: Option<Duration>,
}

impl ReadyAfter {
    /// At its marker alone.
    pub const MARKER: Self = Self { rows: None, time: None };
}

impl fmt::Display for ReadyAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.rows, self.time) {
            (None, None) => f.write_str("its marker"),
            (Some(rows), None) => RowCount(rows).fmt(f),
            (None, Some(time)) => write!(f, "{time:?}"),
            (Some(rows), Some(time)) => write!(f, "{} or {time:?}", RowCount(rows)),
        }
    }
}

/// A number of rows, in words.
pub(crate) struct RowCount(pub(crate) u64);

impl fmt::Display for RowCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, if self.0 == 1 { "row" } else { "rows" })
    }
}

/// What a table that is not ready waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// A table with an input of its own: the end of it.
    End,
    /// A table that comes with a stream of messages.
    Stream(ReadyAfter),
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End => f.write_str("its end"),
            Self::Stream(ready_after) => ready_after.fmt(f),
        }
    }
}

/// What has made a table ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyBy {
    /// It waits for nothing: all its rows come with the trades.
    Start,
    /// The end of its input.
    End,
    /// Its marker.
    Marker,
    /// The number of its rows.
    Rows,
    /// The time that has passed.
    Time,
}

impl ReadyBy {
    /// As a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::End => "end",
            Self::Marker => "marker",
            Self::Rows => "rows",
            Self::Time => "time",
        }
    }
}

/// Whether a table is ready, and what has come of it until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableReadiness {
    /// The table's name.
    pub table: String,
    /// Its rows before it was ready, refused ones included.
    pub rows: u64,
    /// What has made it ready, or what it waits for.
    pub state: Result<ReadyBy, WaitsFor>,
}

/// A table that is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unready {
    /// The table's name.
    pub table: String,
    /// What it waits for.
    pub waits_for: WaitsFor,
    /// Its rows so far, refused ones included.
    pub rows: u64,
}

/// How far tables have come that are to be ready before the first trade, and which input
/// keeps them: a handle, whose clones show the same.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    tables: Arc<Mutex<Vec<TableReadiness>>>,
    silent: Arc<Mutex<Vec<Arc<str>>>>,
}

impl Readiness {
    /// Every table, in the order in which they were opened.
    #[must_use]
    pub fn tables(&self) -> Vec<TableReadiness> {
        self.lock().clone()
    }

    /// The pipe that is waited for at this moment; of several the one that has last become silent.
    #[must_use]
    pub fn silent_input(&self) -> Option<Arc<str>> {
        self.silent().last().cloned()
    }

    /// The pipes that are waited for at this moment, the one that has last become silent at the
    /// end.
    #[must_use]
    pub fn silent_inputs(&self) -> Vec<Arc<str>> {
        self.silent().clone()
    }

    /// Notes that an input is waited for, until what is returned goes.
    pub(crate) fn wait_for(&self, input: &Arc<str>) -> Silence<'_> {
        self.silent().push(Arc::clone(input));
        Silence(self, Arc::clone(input))
    }

    /// The place of a table, which begins anew if it was there.
    pub(crate) fn add(&self, table: &str, state: Result<ReadyBy, WaitsFor>) -> Slot {
        let mut tables = self.lock();
        let index = tables.iter().position(|other| other.table == table).unwrap_or(tables.len());
        let new = TableReadiness { table: table.to_owned(), rows: 0, state };
        match tables.get_mut(index) {
            Some(table) => *table = new,
            None => tables.push(new),
        }
        Slot { readiness: self.clone(), index }
    }

    fn silent(&self) -> MutexGuard<'_, Vec<Arc<str>>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<TableReadiness>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Readiness::wait_for`].
#[derive(Debug)]
pub(crate) struct Silence<'a>(&'a Readiness, Arc<str>);

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        let mut silent = self.0.silent();
        let at = silent.iter().position(|input| Arc::ptr_eq(input, &self.1));
        at.map(|at| silent.remove(at));
    }
}

/// The place of one table in a [`Readiness`].
#[derive(Debug)]
pub(crate) struct Slot {
    readiness: Readiness,
    index: usize,
}

impl Slot {
    pub(crate) fn set(&self, rows: u64, state: Result<ReadyBy, WaitsFor>) {
        let table = &mut self.readiness.lock()[self.index];
        (table.rows, table.state) = (rows, state);
    }
}

/// By when tables are to be ready: a handle, whose clones are the same.
#[derive(Clone, Debug)]
pub struct GateTimeout(Arc<TimeoutState>);

#[derive(Debug)]
struct TimeoutState {
    after: Duration,
    /// `None` if that is beyond what the clock can tell.
    until: Mutex<Option<Instant>>,
    /// Whether there is nothing to wait for at this moment.
    is_idle: AtomicBool,
    /// Whether an input gave up waiting.
    has_struck: AtomicBool,
}

impl GateTimeout {
    /// So long from now.
    #[must_use]
    pub fn new(after: Duration) -> Self {
        let until = Mutex::new(Instant::now().checked_add(after));
        let (is_idle, has_struck) = (AtomicBool::new(false), AtomicBool::new(false));
        Self(Arc::new(TimeoutState { after, until, is_idle, has_struck }))
    }

    /// Counts from now on: what was waited for until now was not a table.
    pub fn restart(&self) {
        *self.until() = Instant::now().checked_add(self.0.after);
    }

    /// Notes whether there is nothing to wait for.
    pub(crate) fn set_idle(&self, is_idle: bool) {
        self.0.is_idle.store(is_idle, Ordering::Relaxed);
    }

    /// How long an input may wait; `None` for ever.
    pub(crate) fn left(&self) -> Option<Duration> {
        let until = self.until().filter(|_| !self.0.is_idle.load(Ordering::Relaxed));
        until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.left() == Some(Duration::ZERO)
    }

    /// Notes that an input gives up waiting.
    pub(crate) fn strike(&self) {
        self.0.has_struck.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_struck(&self) -> bool {
        self.0.has_struck.load(Ordering::Relaxed)
    }

    /// Whether a moment lies before the end.
    pub(crate) fn allows(&self, moment: Instant) -> bool {
        self.until().is_none_or(|until| moment <= until)
    }

    pub(crate) fn after(&self) -> Duration {
        self.0.after
    }

    fn until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A table with an input of its own, on the way to its end.
#[derive(Debug)]
pub(crate) struct Loading {
    source_name: Arc<str>,
    table: String,
    slot: Slot,
    timeout: Option<GateTimeout>,
    stop: Option<Arc<AtomicBool>>,
    /// Rows in the blocks that were handed out, refused ones included.
    rows: u64,
}

impl Loading {
    pub(crate) fn new(table: &str, options: &InputOptions) -> Self {
        Self {
            source_name: options.location.name(),
            table: table.to_owned(),
            slot: options.readiness.add(table, Err(WaitsFor::End)),
            timeout: options.gate_timeout.clone(),
            stop: options.stop.clone(),
            rows: 0,
        }
    }

    /// Notes rows: `pending` of a block that is not handed out yet.
    pub(crate) fn show(&self, pending: u64) {
        self.slot.set(self.rows + pending, Err(WaitsFor::End));
    }

    /// Notes a block of rows, or the end.
    ///
    /// # Errors
    /// If rows still come, although the time for it is over.
    pub(crate) fn add(&mut self, block: Option<u64>) -> Result<(), ReadError> {
        match block {
            Some(rows) => {
                // The first may be all of them.
                let is_first = self.rows == 0;
                self.rows += rows;
                self.show(0);
                let late = self.timeout.as_ref().filter(|timeout| !is_first && timeout.is_over());
                late.map_or(Ok(()), |timeout| Err(self.late(timeout, 0)))
            }
            None => {
                let is_stopped = self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed));
                if !is_stopped {
                    self.slot.set(self.rows, Ok(ReadyBy::End));
                }
                Ok(())
            }
        }
    }

    /// What an error of reading is, with so many rows in a block that was not handed
    /// out: whatever it says, if the time was over it is that.
    pub(crate) fn explain<E: From<ReadError>>(&self, error: E, pending: u64) -> E {
        match &self.timeout {
            Some(timeout) if timeout.has_struck() => self.late(timeout, pending).into(),
            _ => error,
        }
    }

    fn late(&self, timeout: &GateTimeout, pending: u64) -> ReadError {
        ReadError::NotReady {
            source_name: Arc::clone(&self.source_name),
            table: Box::new(Unready {
                table: self.table.clone(),
                waits_for: WaitsFor::End,
                rows: self.rows + pending,
            }),
            timeout: Some(timeout.after()),
        }
    }
}
