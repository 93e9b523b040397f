//! Progress on a terminal, and an exact end after so many messages.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tradejoin_flow::{BoxError, Sink, Source};
use tradejoin_model::{Enriched, Messages};

/// How far a run has come, in the unit that its length is known in.
pub(crate) enum Progress {
    /// Messages, of a known number.
    Messages(tradejoin_generator::Progress, u64),
    /// Bytes of files, of a number that is known unless one is a pipe.
    Bytes(tradejoin_connectors::Progress),
}

impl Progress {
    fn done(&self) -> u64 {
        match self {
            Self::Messages(progress, _) => progress.messages(),
            Self::Bytes(progress) => progress.bytes_read(),
        }
    }
}

/// A bar on standard error while a run goes on: rate and time left, drawn only
/// on a terminal.
pub(crate) struct Bar {
    bar: ProgressBar,
    progress: Progress,
}

impl Bar {
    pub(crate) fn new(progress: Progress, quiet: bool) -> Self {
        let (total, style) = match &progress {
            Progress::Messages(_, total) => {
                (Some(*total), "{bar:30} {human_pos} messages, {per_sec:.0}, {eta} left")
            }
            Progress::Bytes(bytes) => match bytes.bytes_total() {
                Some(total) => (Some(total), "{bar:30} {binary_bytes}, {binary_bytes_per_sec}, {eta} left"),
                None => (None, "{spinner} {binary_bytes}, {binary_bytes_per_sec}, {elapsed}"),
            },
        };
        // Hidden by itself where standard error is no terminal.
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(total, target);
        bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self { bar, progress }
    }

    /// Draws how far the run has come.
    pub(crate) fn tick(&self) {
        self.bar.set_position(self.progress.done());
    }

    /// Takes the bar off the screen.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// A sink that draws the bar on the way to `inner`.
    pub(crate) fn watch<S: Sink>(&self, inner: S) -> Watched<'_, S> {
        Watched { bar: self, inner }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

/// See [`Bar::watch`].
pub(crate) struct Watched<'a, S> {
    bar: &'a Bar,
    inner: S,
}

impl<S: Sink> Sink for Watched<'_, S> {
    fn write(&mut self, enriched: &Enriched) -> Result<(), BoxError> {
        self.bar.tick();
        self.inner.write(enriched)
    }

    fn finish(&mut self) -> Result<(), BoxError> {
        self.inner.finish()
    }
}

/// A source that ends after so many messages.
pub(crate) struct Limited<S> {
    inner: S,
    left: u64,
}

impl<S> Limited<S> {
    pub(crate) fn new(inner: S, limit: Option<u64>) -> Self {
        Self { inner, left: limit.unwrap_or(u64::MAX) }
    }
}

impl<S: Source> Source for Limited<S> {
    fn next(&mut self) -> Result<Option<Messages>, BoxError> {
        if self.left == 0 {
            return Ok(None);
        }
        let Some(messages) = self.inner.next()? else { return Ok(None) };
        let len = messages.len();
        let messages = if len > self.left { messages.prefix(self.left) } else { messages };
        self.left -= len.min(self.left);
        Ok(Some(messages))
    }
}

/// A sink for results that nobody asked to have.
pub(crate) struct Nowhere;

impl Sink for Nowhere {
    fn write(&mut self, _: &Enriched) -> Result<(), BoxError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), BoxError> {
        Ok(())
    }
}
