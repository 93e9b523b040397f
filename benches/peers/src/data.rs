//! The messages that all programs read, drawn before anything is timed.

use std::sync::Arc;

use tradejoin_generator::{GeneratedSource, Mix, Stream, StreamConfig};
use tradejoin_model::{Message, Messages};

use crate::event::Event;

/// Messages in a block of the engine: what `tradejoin run` takes for one worker
/// and for two.
const BLOCK_LEN: usize = 8_192;

/// One stream, as messages and as columns.
pub(crate) struct Data {
    /// In the order of the stream.
    pub(crate) events: Arc<[Event]>,
    /// The same in blocks.
    pub(crate) blocks: Vec<Messages>,
}

/// Which stream it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataSet {
    /// The mix `article`: one message in ten is a new version of an instrument.
    Changing,
    /// The mix `trades`: every instrument once, then trades alone.
    Fixed,
}

impl DataSet {
    pub(crate) const ALL: [Self; 2] = [Self::Changing, Self::Fixed];

    /// The name in the report.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Changing => "changing",
            Self::Fixed => "fixed",
        }
    }

    /// The generator's mix.
    pub(crate) fn mix(self) -> Mix {
        match self {
            Self::Changing => Mix::article(),
            Self::Fixed => Mix::trades(),
        }
    }
}

impl Data {
    /// Draws the first messages of a stream.
    ///
    /// # Errors
    /// If there is no instrument.
    pub(crate) fn draw(set: DataSet, messages: u64, ids: u32) -> anyhow::Result<Self> {
        let stream = Stream::new(StreamConfig { mix: set.mix(), ids, ..StreamConfig::default() })?;
        let events = (0..messages).map(|position| Event(stream.message(position))).collect();
        let blocks = GeneratedSource::new(Arc::new(stream), 0..messages, BLOCK_LEN).made().collect();
        Ok(Self { events, blocks })
    }

    /// The messages one by one.
    pub(crate) fn messages(&self) -> impl Iterator<Item = Message> + Send + '_ {
        self.events.iter().map(|event| event.0)
    }
}
