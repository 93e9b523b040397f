//! Progress on a terminal.

use std::fmt::Write;
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tradejoin_connectors::{Readiness, TableReadiness};
use tradejoin_flow::{BoxError, Encode, End, NothingPrepared, Prepared, Sink};
use tradejoin_model::Enriched;

use crate::changes::{Changes, awaited};
use crate::style::{WARNING, plain};
use crate::tell::tell;

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

    /// How much there is in all, if that is known, and how the bar shows it.
    fn template(&self) -> (Option<u64>, &'static str) {
        match self {
            Self::Messages(_, total) => (Some(*total), "{bar:30} {human_pos} messages, {rate}, {eta} left"),
            Self::Bytes(bytes) => match bytes.bytes_total() {
                Some(total) => (Some(total), "{bar:30} {binary_bytes}, {binary_bytes_per_sec}, {eta} left"),
                None => (None, "{spinner} {binary_bytes}, {binary_bytes_per_sec}, {elapsed}"),
            },
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
        let _ = write!(out, "{}/s", HumanCount(state.per_sec() as u64));
    })
}

/// What is said while a run goes on.
pub(crate) enum Said<'t> {
    /// What must not be missed.
    Warning(&'t str),
    /// What is good to know.
    News(&'t str),
}

/// A bar on standard error while a run goes on, drawn only on a terminal: which table
/// is waited for, and once something is written, rate and time left.
pub(crate) struct Bar {
    bar: ProgressBar,
    progress: Option<Progress>,
    /// What changes beside the trades may be waited for, once it is known.
    changes: Arc<OnceLock<Changes>>,
    has_begun: Once,
}

impl Bar {
    /// Shows tables until something is written.
    pub(crate) fn new(readiness: Readiness, quiet: bool) -> Self {
        // Hidden by itself where standard error is no terminal.
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target);
        let changes = Arc::<OnceLock<Changes>>::default();
        let known = Arc::clone(&changes);
        // Asked for whenever the bar is drawn.
        let tables = move |_: &ProgressState, out: &mut dyn Write| {
            let text = match unready(&readiness.tables()) {
                text if text.is_empty() => known.get().and_then(awaited).unwrap_or_default(),
                text => text,
            };
            let _ = out.write_str(&text);
        };
        bar.set_style(style("{spinner} {tables}").with_key("tables", tables));
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self { bar, progress: None, changes, has_begun: Once::new() }
    }

    /// Tells of a run what its progress is, and of what it may wait for.
    pub(crate) fn begin(&mut self, progress: Progress, changes: Option<Changes>) {
        self.progress = Some(progress);
        changes.into_iter().for_each(|changes| drop(self.changes.set(changes)));
    }

    /// Draws how far the run has come.
    pub(crate) fn tick(&self) {
        let Some(progress) = &self.progress else { return };
        self.has_begun.call_once(|| {
            let (total, template) = progress.template();
            total.into_iter().for_each(|total| self.bar.set_length(total));
            self.bar.set_style(self.style(template));
            self.bar.reset_eta();
        });
        self.bar.set_position(progress.done());
    }

    /// How the bar looks, with what is waited for behind it.
    fn style(&self, template: &str) -> ProgressStyle {
        if self.changes.get().is_none() {
            return style(template);
        }
        let known = Arc::clone(&self.changes);
        let changes = move |_: &ProgressState, out: &mut dyn Write| {
            let text = known.get().and_then(awaited).map(|text| format!(", {text}"));
            let _ = out.write_str(&text.unwrap_or_default());
        };
        style(&format!("{template}{{changes}}")).with_key("changes", changes)
    }

    /// Takes the bar off the screen.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// What prints a line of text above the bar, from any thread; where it is to be
    /// `quiet` only what is a warning.
    pub(crate) fn say(&self, quiet: bool) -> impl Fn(Said<'_>) + Send + use<> {
        let bar = self.bar.clone();
        move |said| match said {
            Said::Warning(text) => {
                bar.suspend(|| tell!("{WARNING}warning{WARNING:#}: {}", plain(text)));
            }
            Said::News(text) if !quiet => bar.suspend(|| tell!("{}", plain(text))),
            Said::News(_) => {}
        }
    }

    /// A sink that draws the bar on the way to `inner`.
    pub(crate) fn watch<S: Sink>(&self, inner: S) -> Watched<'_, S> {
        Watched { bar: self, inner }
    }
}

/// What there is to say of the first table that is not ready.
fn unready(tables: &[TableReadiness]) -> String {
    let first = tables.iter().find_map(|table| Some((table, table.state.err()?)));
    let text = |(table, waits_for): (&TableReadiness, _)| {
        format!("{} {} rows, waiting for {waits_for}", table.table, HumanCount(table.rows))
    };
    first.map(text).unwrap_or_default()
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
    type Piece = S::Piece;
    type Encoder = S::Encoder;

    fn encoder(&self) -> S::Encoder {
        self.inner.encoder()
    }

    fn write(&mut self, piece: &mut S::Piece) -> Result<(), BoxError> {
        self.bar.tick();
        self.inner.write(piece)
    }

    fn prepare(&mut self, end: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        self.inner.prepare(end)
    }
}

/// A sink for results that nobody asked to have.
#[derive(Clone, Copy)]
pub(crate) struct Nowhere;

impl Sink for Nowhere {
    type Piece = ();
    type Encoder = Self;

    fn encoder(&self) -> Self {
        Self
    }

    fn write(&mut self, (): &mut ()) -> Result<(), BoxError> {
        Ok(())
    }

    fn prepare(&mut self, _: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        Ok(Box::new(NothingPrepared))
    }
}

impl Encode for Nowhere {
    type Piece = ();

    fn encode(&mut self, _: &Enriched, (): &mut ()) -> Result<(), BoxError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tradejoin_connectors::{ReadyAfter, ReadyBy, WaitsFor};

    use super::*;

    #[test]
    fn the_first_table_that_is_not_ready_is_shown() {
        let table = |table: &str, rows, state| TableReadiness { table: table.to_owned(), rows, state };
        let ready = table("venues", 3, Ok(ReadyBy::End));
        assert_eq!(unready(std::slice::from_ref(&ready)), "");
        let loading = table("instruments", 12_345, Err(WaitsFor::End));
        assert_eq!(unready(&[ready, loading]), "instruments 12,345 rows, waiting for its end");
        let after = ReadyAfter { rows: Some(10), time: Some(Duration::from_secs(5)) };
        let streamed = table("users", 2, Err(WaitsFor::Stream(after)));
        assert_eq!(unready(&[streamed]), "users 2 rows, waiting for 10 rows or 5s");
    }
}
