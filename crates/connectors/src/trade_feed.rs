//! Trades beside changes, for those who must not miss either while they wait.

use std::time::Instant;

use tradejoin_flow::{Block, BoxError, Source, SourcePosition};

/// Blocks of trades in the order of their input.
pub trait TradeFeed: Send {
    /// The next block. Until it is there waits for it, if it may wait, or for changes; or as
    /// [`Source::next_until`] does.
    ///
    /// # Errors
    /// If reading fails. After an error the feed is not asked again.
    fn arrive(&mut self, may_wait: bool, until: Option<Instant>) -> Result<Arrived, BoxError>;

    /// See [`Source::position`].
    fn position(&self) -> Option<SourcePosition> {
        None
    }

    /// See [`Source::go_on_from`].
    ///
    /// # Errors
    /// As there.
    fn go_on_from(&mut self, position: &SourcePosition) -> Result<(), BoxError> {
        let _ = position;
        Err("these trades can only be read from their beginning".into())
    }
}

/// What a feed of trades had.
#[expect(clippy::large_enum_variant, reason = "moved once for each block")]
#[derive(Debug)]
pub enum Arrived {
    /// The next block.
    Trades(Block),
    /// Nothing so far; changes may have come, or the time be over, if it was to wait.
    NotYet,
    /// Nothing any more.
    End,
}

/// Waits for its trades, whatever comes of changes meanwhile: for trades that find their
/// changes by time, and for one thread that does all.
impl<S: Source> TradeFeed for S {
    fn arrive(&mut self, _: bool, until: Option<Instant>) -> Result<Arrived, BoxError> {
        Ok(self.next_until(until)?.map_or(Arrived::End, Arrived::Trades))
    }

    fn position(&self) -> Option<SourcePosition> {
        Source::position(self)
    }

    fn go_on_from(&mut self, position: &SourcePosition) -> Result<(), BoxError> {
        Source::go_on_from(self, position)
    }
}

/// What a position of trades with changes says of the trades.
#[must_use]
pub fn of_trades(position: &SourcePosition) -> SourcePosition {
    let mut of_trades = position.clone();
    of_trades.inputs.truncate(1);
    of_trades
}
