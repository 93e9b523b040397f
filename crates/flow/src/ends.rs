//! The two ends of a run.

use std::error::Error;
use std::fmt;
use std::time::Instant;

use tradejoin_model::{ChangeLane, Enriched, Messages, Revised};

use crate::cut::{NothingPrepared, Prepared, SourcePosition};

/// An error of a source or a sink, of whatever kind; the command that chose
/// the source knows how to explain it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Where messages come from.
///
/// Whatever lengths it cuts its messages into, the sequence that they make is
/// the same.
pub trait Source: Send {
    /// The next block of the sequence, or `None` at its end. May wait.
    ///
    /// # Errors
    /// If reading fails. After an error the source is not asked again.
    fn next(&mut self) -> Result<Option<Block>, BoxError>;

    /// As [`next`](Self::next); but if it waits for input and none has come by then, it gives a
    /// block without messages, for those who have something to do meanwhile. A source that
    /// cannot tell waits on.
    ///
    /// # Errors
    /// As there.
    fn next_until(&mut self, until: Option<Instant>) -> Result<Option<Block>, BoxError> {
        let _ = until;
        self.next()
    }

    /// How far it has been read: all that it has given lies before that, and all that
    /// follows behind. `None` if it cannot be told at this moment, or ever.
    fn position(&self) -> Option<SourcePosition> {
        None
    }

    /// Goes to where another source of the same inputs has been read to, as it has told.
    /// Called before the first block is asked for.
    ///
    /// # Errors
    /// If the inputs are not the same, or the source cannot go on anywhere.
    fn go_on_from(&mut self, position: &SourcePosition) -> Result<(), BoxError> {
        let _ = position;
        Err("this source can only be read from its beginning".into())
    }
}

/// A run of messages, or what becomes one on whichever thread is free: reading
/// is one at a time, decoding is not.
pub enum Block {
    /// The messages themselves.
    Messages(Messages),
    /// What makes them. It fails if a record is bad and the source does not skip
    /// such.
    Encoded(Box<dyn FnOnce() -> Result<Messages, BoxError> + Send>),
}

impl Block {
    /// The messages.
    ///
    /// # Errors
    /// If they cannot be decoded.
    pub fn decode(self) -> Result<Messages, BoxError> {
        match self {
            Self::Messages(messages) => Ok(messages),
            Self::Encoded(decode) => decode(),
        }
    }
}

impl From<Messages> for Block {
    fn from(messages: Messages) -> Self {
        Self::Messages(messages)
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Messages(messages) => f.debug_tuple("Messages").field(&messages.len()).finish(),
            Self::Encoded(_) => f.write_str("Encoded"),
        }
    }
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

    /// About how many bytes the rows have as they are stored, if that is known
    /// before they are read.
    fn bytes_hint(&self) -> Option<u64> {
        None
    }
}

/// Where enriched trades go, in two steps: the thread that joined a batch
/// [encodes](Encode) it into a piece while it is in its cache; pieces are
/// written one after the other.
pub trait Sink: Send {
    /// What is written of one batch.
    type Piece: Default + Send;
    /// What makes pieces.
    type Encoder: Encode<Piece = Self::Piece>;

    /// An encoder for one thread. Called before the run, once for each thread.
    fn encoder(&self) -> Self::Encoder;

    /// Writes the next piece. With input order they come in the order of their
    /// positions. The piece is used again for a later batch.
    ///
    /// # Errors
    /// If writing fails. After an error the sink is not written to again.
    fn write(&mut self, piece: &mut Self::Piece) -> Result<(), BoxError>;

    /// Prepares what was written so far to be made durable, and waits for none of it.
    /// With an end it is all that there will be: that is asked for once, at the end of a run
    /// in which no stage failed, and without one only of a sink that a run is kept with.
    ///
    /// # Errors
    /// If writing what is held back fails.
    fn prepare(&mut self, end: Option<End>) -> Result<Box<dyn Prepared>, BoxError>;
}

/// Makes pieces for a sink out of enriched trades, on one thread.
pub trait Encode: Send {
    /// What it makes.
    type Piece;

    /// Replaces what `piece` holds by what is to be written of `enriched`; keeps
    /// its memory.
    ///
    /// The trades' own columns are those that the source gave, unless trades were
    /// held. What is made of them here is the first copy, and none that the engine
    /// counts: that of the format.
    ///
    /// # Errors
    /// If the trades cannot be encoded.
    fn encode(&mut self, enriched: &Enriched, piece: &mut Self::Piece) -> Result<(), BoxError>;
}

/// Where trades go that were written and are written again, in the order of the changes
/// that revise them.
pub trait Revise: Send {
    /// Writes the next ones: a few thousand at most, in pieces whose lengths depend on
    /// how the sequence is cut into batches.
    ///
    /// # Errors
    /// If writing fails. After an error it is not called again.
    fn write(&mut self, revised: Revised) -> Result<(), BoxError>;

    /// Prepares what was written so far, as [`Sink::prepare`] does.
    ///
    /// # Errors
    /// As there.
    fn prepare(&mut self, end: Option<End>) -> Result<Box<dyn Prepared>, BoxError>;
}

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything that the source has was read and written.
    Complete,
    /// It was asked to stop: the output is a part of what it would have been.
    Interrupted,
}

/// A sink that calls a function with each enriched batch in turn. The batches
/// are copied from thread to thread, which an [`Encode`] of its own avoids.
#[derive(Clone, Copy, Debug)]
pub struct ForEach<F>(pub F);

/// What [`ForEach`] copies with.
#[derive(Clone, Copy, Debug)]
pub struct Copied;

impl<F: FnMut(&Enriched) -> Result<(), BoxError> + Send> Sink for ForEach<F> {
    type Piece = Option<Enriched>;
    type Encoder = Copied;

    fn encoder(&self) -> Copied {
        Copied
    }

    fn write(&mut self, piece: &mut Option<Enriched>) -> Result<(), BoxError> {
        piece.take().map_or(Ok(()), |enriched| (self.0)(&enriched))
    }

    fn prepare(&mut self, _: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        Ok(Box::new(NothingPrepared))
    }
}

impl Encode for Copied {
    type Piece = Option<Enriched>;

    fn encode(&mut self, enriched: &Enriched, piece: &mut Option<Enriched>) -> Result<(), BoxError> {
        *piece = Some(enriched.clone());
        Ok(())
    }
}

/// Where nobody asks for revisions, they go nowhere.
impl<R: Revise> Revise for Option<R> {
    fn write(&mut self, revised: Revised) -> Result<(), BoxError> {
        self.as_mut().map_or(Ok(()), |revise| revise.write(revised))
    }

    fn prepare(&mut self, end: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        self.as_mut().map_or_else(|| Ok(Box::new(NothingPrepared) as _), |revise| revise.prepare(end))
    }
}

impl<S: Source + ?Sized> Source for Box<S> {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        (**self).next()
    }

    fn next_until(&mut self, until: Option<Instant>) -> Result<Option<Block>, BoxError> {
        (**self).next_until(until)
    }

    fn position(&self) -> Option<SourcePosition> {
        (**self).position()
    }

    fn go_on_from(&mut self, position: &SourcePosition) -> Result<(), BoxError> {
        (**self).go_on_from(position)
    }
}

impl<S: Sink + ?Sized> Sink for &mut S {
    type Piece = S::Piece;
    type Encoder = S::Encoder;

    fn encoder(&self) -> S::Encoder {
        (**self).encoder()
    }

    fn write(&mut self, piece: &mut S::Piece) -> Result<(), BoxError> {
        (**self).write(piece)
    }

    fn prepare(&mut self, end: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        (**self).prepare(end)
    }
}

impl<S: TableSource + ?Sized> TableSource for Box<S> {
    fn next(&mut self) -> Result<Option<ChangeLane>, BoxError> {
        (**self).next()
    }

    fn bytes_hint(&self) -> Option<u64> {
        (**self).bytes_hint()
    }
}
