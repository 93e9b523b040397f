//! The two ends of a run.

use std::error::Error;

use tradejoin_model::{ChangeLane, Enriched, Messages};

/// An error of a source or a sink, of whatever kind; the command that chose
/// the source knows how to explain it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Where messages come from.
///
/// Whatever lengths it cuts its messages into, the sequence that they make is
/// the same.
pub trait Source: Send {
    /// The next messages of the sequence, or `None` at its end. May wait.
    ///
    /// # Errors
    /// If reading fails, or a record is bad and the source does not skip such.
    /// After an error the source is not asked again.
    fn next(&mut self) -> Result<Option<Messages>, BoxError>;
}

/// Where the rows of a table come from that are there before the first trade.
pub trait TableSource: Send {
    /// The next rows, as changes; their `at_rows` are all 0. `None` when the
    /// table is complete.
    ///
    /// # Errors
    /// If reading fails, or a row is bad and the source does not skip such.
    /// After an error the source is not asked again.
    fn next(&mut self) -> Result<Option<ChangeLane>, BoxError>;
}

/// Where enriched trades go.
pub trait Sink: Send {
    /// Takes the next trades. With input order they come in the order of their
    /// positions.
    ///
    /// # Errors
    /// If writing fails. After an error the sink is not written to again.
    fn write(&mut self, enriched: &Enriched) -> Result<(), BoxError>;

    /// Completes the output: nothing follows. Called once, at the end of a run
    /// in which no stage failed.
    ///
    /// # Errors
    /// If the output cannot be completed.
    fn finish(&mut self, end: End) -> Result<(), BoxError>;
}

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything that the source has was read and written.
    Complete,
    /// It was asked to stop: the output is a part of what it would have been.
    Interrupted,
}

impl<S: Source + ?Sized> Source for Box<S> {
    fn next(&mut self) -> Result<Option<Messages>, BoxError> {
        (**self).next()
    }
}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn write(&mut self, enriched: &Enriched) -> Result<(), BoxError> {
        (**self).write(enriched)
    }

    fn finish(&mut self, end: End) -> Result<(), BoxError> {
        (**self).finish(end)
    }
}

impl<S: Sink + ?Sized> Sink for Box<S> {
    fn write(&mut self, enriched: &Enriched) -> Result<(), BoxError> {
        (**self).write(enriched)
    }

    fn finish(&mut self, end: End) -> Result<(), BoxError> {
        (**self).finish(end)
    }
}

impl<S: TableSource + ?Sized> TableSource for Box<S> {
    fn next(&mut self) -> Result<Option<ChangeLane>, BoxError> {
        (**self).next()
    }
}
