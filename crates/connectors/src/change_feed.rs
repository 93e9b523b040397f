//! Where blocks of changes come from, and how far their side has come.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tradejoin_flow::{InputPosition, SourcePosition};

use crate::error::ReadError;
use crate::table_changes::{ChangeBlock, ChangesReader};

/// What the waits in vain are kept as.
const GIVEN_UP: &str = "waits in vain";

/// Blocks of changes in the order of their input.
pub trait ChangeFeed: Send {
    /// The next block, if it is there at `until` at the latest. An `until` that has passed
    /// asks whether it is there already.
    fn next(&mut self, until: Instant) -> Fed;

    /// Where the first block begins; `None` if nobody has to know.
    fn start(&self) -> Option<InputPosition> {
        None
    }

    /// Goes to where another feed of the same input has been. One that is read on a thread
    /// of its own has been told before, and does nothing.
    ///
    /// # Errors
    /// If reading fails, or the input is another one.
    fn go_on_from(&mut self, position: &SourcePosition) -> Result<(), ReadError> {
        let _ = position;
        Ok(())
    }
}

/// What a feed had.
#[expect(clippy::large_enum_variant, reason = "moved once for each block")]
#[derive(Debug)]
pub enum Fed {
    /// The next block.
    Block(ChangeBlock),
    /// Nothing so far.
    NotYet,
    /// Nothing any more.
    End,
}

/// Reads when it is asked, however long that takes: for one thread that does all.
impl ChangeFeed for ChangesReader {
    fn next(&mut self, _: Instant) -> Fed {
        self.read().map_or(Fed::End, Fed::Block)
    }

    fn start(&self) -> Option<InputPosition> {
        self.start()
    }

    fn go_on_from(&mut self, position: &SourcePosition) -> Result<(), ReadError> {
        self.go_on_from(position)
    }
}

/// What trades wait for while they wait for changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwaitedChanges {
    /// Changes beyond this time, that of a trade.
    Beyond(i64),
    /// The end of the changes: that of the trades has come.
    End,
}

/// How far changes have come beside trades: a handle, whose clones show the same.
#[derive(Clone, Debug, Default)]
pub struct ChangesProgress(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    changes: AtomicU64,
    refused: AtomicU64,
    late: AtomicU64,
    given_up: AtomicU64,
    awaited: Mutex<Option<AwaitedChanges>>,
}

impl ChangesProgress {
    /// Changes that have their place among the trades.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Relaxed)
    }

    /// Lines that were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Changes that came when a trade that should have seen them was gone.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.0.late.load(Ordering::Relaxed)
    }

    /// How often trades, or the end, have waited in vain and gone on.
    #[must_use]
    pub fn given_up(&self) -> u64 {
        self.0.given_up.load(Ordering::Relaxed)
    }

    /// What trades wait for at this moment.
    #[must_use]
    pub fn awaited(&self) -> Option<AwaitedChanges> {
        *self.lock()
    }

    pub(crate) fn add(&self, changes: u64, late: bool) {
        self.0.changes.fetch_add(changes, Ordering::Relaxed);
        self.0.late.fetch_add(if late { changes } else { 0 }, Ordering::Relaxed);
    }

    pub(crate) fn add_refused(&self, lines: u64) {
        self.0.refused.fetch_add(lines, Ordering::Relaxed);
    }

    pub(crate) fn give_up(&self) {
        self.0.given_up.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts, with what each is kept as.
    fn counts(&self) -> [(&'static str, &AtomicU64); 4] {
        let Shared { changes, refused, late, given_up, .. } = &*self.0;
        [("changes", changes), ("refused changes", refused), ("late changes", late), (GIVEN_UP, given_up)]
    }

    /// Adds to what is kept of a source what there has been.
    pub(crate) fn tell(&self, state: &mut BTreeMap<String, i64>) {
        let counts = self.counts().map(|(name, count)| (name.to_owned(), count.load(Ordering::Relaxed)));
        // Not more than a file has lines.
        state.extend(counts.into_iter().filter(|(_, count)| *count > 0).map(|(name, n)| (name, n as i64)));
    }

    /// Counts on from there. Where waits were not counted yet, that trades have gone on
    /// without changes tells of one.
    pub(crate) fn go_on_from(&self, state: &BTreeMap<String, i64>, has_gone_on: bool) {
        for (name, count) in self.counts() {
            let least = i64::from(name == GIVEN_UP && has_gone_on);
            count.store(state.get(name).copied().unwrap_or(least).unsigned_abs(), Ordering::Relaxed);
        }
    }

    pub(crate) fn set_awaited(&self, awaited: Option<AwaitedChanges>) {
        *self.lock() = awaited;
    }

    fn lock(&self) -> MutexGuard<'_, Option<AwaitedChanges>> {
        self.0.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
