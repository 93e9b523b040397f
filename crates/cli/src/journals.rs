//! The journal of a run without checkpoints: an output of it, which is complete when the others
//! are.

use tradejoin_engine::Monitor;
use tradejoin_flow::{BoxError, End, Prepared, Sink};

use crate::args::RunArgs;
use crate::changes::{Changes, ChangesJournal};
use crate::reload::Watch;

/// What writes the journal, if something does: changes beside the trades, or the watch over
/// files. Dropped before the end of the run, nothing of it is left.
pub(crate) struct Journals<'w> {
    changes: Option<ChangesJournal>,
    watch: Option<&'w mut Watch>,
    monitor: Monitor,
}

impl<'w> Journals<'w> {
    /// Creates the journal of the changes; that of the watch is there.
    pub(crate) fn begin(
        args: &RunArgs,
        changes: Option<&Changes>,
        watch: &'w mut Watch,
        monitor: Monitor,
    ) -> anyhow::Result<Self> {
        let path = args.reload.journal.as_deref().filter(|_| args.kept.checkpoint.is_none());
        let changes = changes.and_then(|changes| changes.journal.clone()).filter(|_| path.is_some());
        if let (Some(journal), Some(path)) = (&changes, path) {
            journal.create(path)?;
        }
        Ok(Self { changes, watch: path.map(|_| watch), monitor })
    }

    /// A sink whose output is complete when the journal is.
    pub(crate) fn beside<S>(self, sink: S) -> Journaled<'w, S> {
        Journaled { sink, journals: self }
    }

    /// Ends the journal of a run whose account is published, and of which all has taken effect
    /// that ever will.
    fn end(&mut self, end: End) -> Result<Option<Box<dyn Prepared>>, BoxError> {
        let ledger = &self.monitor.report().ledger;
        let trades = ledger.rows_read - ledger.rejected;
        if let Some(journal) = &self.changes {
            return Ok(journal.end(trades, end)?);
        }
        let finished = self.watch.as_mut().map_or(Ok(None), |watch| watch.finish());
        // As it is, so that it has its exit code.
        let journal = finished.map_err(anyhow::Error::reallocate_into_boxed_dyn_error_without_backtrace)?;
        Ok(journal.map(|journal| journal.end(trades, end)).transpose()?)
    }
}

impl Drop for Journals<'_> {
    fn drop(&mut self) {
        self.changes.iter().for_each(ChangesJournal::give_up);
    }
}

/// A sink with a journal beside it.
pub(crate) struct Journaled<'w, S> {
    sink: S,
    journals: Journals<'w>,
}

impl<S: Sink> Sink for Journaled<'_, S> {
    type Piece = S::Piece;
    type Encoder = S::Encoder;

    fn encoder(&self) -> S::Encoder {
        self.sink.encoder()
    }

    fn write(&mut self, piece: &mut S::Piece) -> Result<(), BoxError> {
        self.sink.write(piece)
    }

    fn prepare(&mut self, end: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        let output = self.sink.prepare(end)?;
        let journal = end.map_or(Ok(None), |end| self.journals.end(end))?;
        Ok(match journal {
            Some(journal) => Box::new((output, journal)),
            None => output,
        })
    }
}
