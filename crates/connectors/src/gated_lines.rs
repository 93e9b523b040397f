//! The lines of a stream of messages, cut into chunks that the start gate lets by.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tradejoin_flow::SourcePosition;

use crate::chunks::{Chunk, Chunks};
use crate::error::ReadError;
use crate::gates::{GateOptions, Gates, MARKER, TABLE, Verdict};
use crate::input::InputOptions;
use crate::json_rows::{Members, Union};
use crate::lane_builder::TableKind;
use crate::limits::Limits;
use crate::messages::{TRADE, TYPE};
use crate::parse::json_text;
use crate::ready::{GateTimeout, Readiness, ReadyBy};
use crate::trades::{known_columns, only};

/// Who waits for the tables of a stream: since when, how long, and what ends it.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    source_name: Arc<str>,
    since: Instant,
    readiness: Readiness,
    timeout: Option<GateTimeout>,
    stop: Option<Arc<AtomicBool>>,
    limits: Limits,
}

impl Waiting {
    pub(crate) fn new(options: &InputOptions) -> Self {
        Self {
            source_name: options.location.name(),
            since: Instant::now(),
            readiness: options.readiness.clone(),
            timeout: options.gate_timeout.clone(),
            stop: options.stop.clone(),
            limits: options.limits,
        }
    }

    /// The gates of tables, each with whether its marker is among the first lines.
    fn gates(&self, tables: impl Iterator<Item = (TableKind, bool)>, options: &GateOptions) -> Gates {
        Gates::new(tables, options, self.since, &self.readiness, self.limits)
    }

    /// Whether there is something to wait for beyond the timeout, which holds if so.
    fn look_at(&self, gates: &Gates) {
        if let Some(timeout) = &self.timeout {
            timeout.set_idle(gates.open_in_time(|at| timeout.allows(at)));
        }
    }

    fn is_over(&self) -> bool {
        self.timeout.as_ref().is_some_and(GateTimeout::is_over)
    }

    /// What an error of reading is: whatever it says, if the time was over it is that.
    pub(crate) fn explain(&self, error: ReadError, gates: &Gates) -> ReadError {
        let timeout = self.timeout.as_ref().filter(|timeout| timeout.has_struck());
        timeout.and_then(|_| self.not_ready(gates, true)).unwrap_or(error)
    }

    fn not_ready(&self, gates: &Gates, is_late: bool) -> Option<ReadError> {
        let table = Box::new(gates.unready()?);
        let timeout = self.timeout.as_ref().filter(|_| is_late).map(GateTimeout::after);
        Some(ReadError::NotReady { source_name: Arc::clone(&self.source_name), table, timeout })
    }

    /// Waits until a moment; `false` if the run is to stop or the time is over before.
    fn until(&self, moment: Instant) -> bool {
        const INTERVAL: Duration = Duration::from_millis(50);
        loop {
            let is_stopped = self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed));
            let left = moment.saturating_duration_since(Instant::now());
            if is_stopped || left > Duration::ZERO && self.is_over() {
                return false;
            }
            if left == Duration::ZERO {
                return true;
            }
            thread::sleep(left.min(INTERVAL));
        }
    }
}

/// What the first lines of a stream tell: the columns of trades, and its tables.
pub(crate) struct FirstLines<'a> {
    /// The tables that were asked for.
    asked: Option<&'a [TableKind]>,
    options: GateOptions,
    waiting: &'a Waiting,
    /// Gates as far as these lines go, for what waiting for more lines waits for.
    gates: Gates,
    /// Each table, whether it is one of the run, and whether its marker was seen.
    tables: [(TableKind, bool, bool); TableKind::ALL.len()],
    columns: Vec<String>,
}

impl<'a> FirstLines<'a> {
    pub(crate) fn new(asked: Option<&'a [TableKind]>, options: GateOptions, waiting: &'a Waiting) -> Self {
        let is_named = |kind| options.by_table.iter().any(|(named, _)| *named == kind);
        let is_one = |kind| match asked {
            Some(asked) => asked.contains(&kind),
            None => kind == TableKind::Instruments || is_named(kind),
        };
        let tables = TableKind::ALL.map(|kind| (kind, is_one(kind), false));
        let gates = waiting.gates(tables_of_run(&tables), &options);
        Self { asked, options, waiting, gates, tables, columns: Vec::new() }
    }

    /// Reads as many lines as it takes; all of them come again.
    pub(crate) fn read(&mut self, lines: &mut Chunks) -> Result<(), ReadError> {
        let (mut members, mut union, mut trades) = (Members::within(lines.limits()), Union::default(), 0);
        let limits = lines.limits();
        self.waiting.look_at(&self.gates);
        lines.look_ahead(|line| {
            let Ok(text) = members.scan(line) else { return true };
            let ty = members.get(text, TYPE).and_then(json_text).unwrap_or_default();
            if ty == TRADE {
                members.iter(text).filter(|(name, _)| *name != TYPE).for_each(|(name, _)| union.add(name));
                trades += 1;
            } else {
                let table = members.get(text, TABLE).and_then(json_text).unwrap_or_default();
                self.see(&ty, &table);
            }
            if self.gates.are_closed() {
                self.gates.look(line);
                self.gates.take_verdicts();
                self.gates.show();
                self.waiting.look_at(&self.gates);
            }
            trades < Union::LINES && union.is_within(limits)
        })?;
        let columns = union.into_columns(lines)?;
        self.columns = if columns.is_empty() { known_columns() } else { columns };
        Ok(())
    }

    /// Notes a row or a marker of a table.
    fn see(&mut self, ty: &str, table: &str) {
        let Self { asked, tables, .. } = self;
        for (kind, is_one, is_marked) in tables {
            let is_marker = ty == MARKER && kind.name() == table;
            *is_marked |= is_marker;
            if asked.is_none() && !*is_one && (is_marker || kind.message_type() == ty) {
                *is_one = true;
                // None of its rows was counted before.
                let tables = std::iter::once((*kind, false));
                self.gates.append(self.waiting.gates(tables, &self.options));
            }
        }
    }

    pub(crate) fn gates(&self) -> &Gates {
        &self.gates
    }

    /// The columns of trades, the tables of the run, and their gates.
    pub(crate) fn found(self) -> (Vec<String>, Vec<TableKind>, Gates) {
        let tables = tables_of_run(&self.tables);
        let gates = self.waiting.gates(tables.clone(), &self.options);
        (self.columns, tables.map(|(kind, _)| kind).collect(), gates)
    }
}

/// Those that are tables of the run, each with whether its marker was seen.
fn tables_of_run(tables: &[(TableKind, bool, bool)]) -> impl Iterator<Item = (TableKind, bool)> + Clone {
    let of_run = tables.iter().filter(|(_, is_one, _)| *is_one);
    of_run.map(|&(kind, _, is_marked)| (kind, is_marked))
}

/// Lines of a stream, and what its gates say of them.
pub(crate) struct Lines {
    pub(crate) chunk: Chunk,
    /// In order.
    pub(crate) verdicts: Vec<Verdict>,
    /// Whether they came before all tables were ready.
    pub(crate) loading: bool,
}

/// Cuts a stream into chunks: where its tables become ready, one ends.
pub(crate) struct GatedLines {
    lines: Chunks,
    gates: Gates,
    waiting: Waiting,
    /// Whether a chunk was handed out.
    has_begun: bool,
}

impl GatedLines {
    pub(crate) fn new(lines: Chunks, gates: Gates, waiting: Waiting) -> Self {
        Self { lines, gates, waiting, has_begun: false }
    }

    /// The next lines, at most so many; `None` at the end.
    ///
    /// # Errors
    /// If reading fails, or a table is not ready when the stream or the time ends.
    pub(crate) fn next(&mut self, lines_max: usize) -> Result<Option<Lines>, ReadError> {
        if !self.gates.are_watching() {
            let plain = |chunk| Lines { chunk, verdicts: Vec::new(), loading: false };
            return Ok(self.lines.next(lines_max)?.map(plain));
        }
        loop {
            if let Some(moment) = self.gates.early_trade_at() {
                if !self.waiting.until(moment) {
                    return if self.waiting.is_over() { Err(self.late()) } else { Ok(None) };
                }
                self.gates.open(ReadyBy::Time);
            }
            let Self { lines, gates, waiting, .. } = self;
            let loading = gates.are_closed();
            let next = lines.next_while(lines_max, |line| gates.look(line));
            gates.show();
            waiting.look_at(gates);
            match next.map_err(|error| waiting.explain(error, gates))? {
                Some(chunk) => {
                    let verdicts = gates.take_verdicts();
                    let is_late = std::mem::replace(&mut self.has_begun, true)
                        && self.gates.are_closed()
                        && self.waiting.is_over();
                    return if is_late {
                        Err(self.late())
                    } else {
                        Ok(Some(Lines { chunk, verdicts, loading }))
                    };
                }
                None if gates.early_trade_at().is_some() => {}
                None => return self.end().map(|()| None),
            }
        }
    }

    /// See [`Chunks::wait_until`]. Not while tables are waited for.
    pub(crate) fn wait_until(&mut self, until: Option<Instant>) {
        self.lines.wait_until(until.filter(|_| !self.gates.are_closed()));
    }

    /// How far it has been read; `None` while a table is not ready.
    pub(crate) fn position(&self) -> Option<SourcePosition> {
        let counted = self.gates.counted()?;
        let mut position = SourcePosition::from(self.lines.position()?);
        // As many as a file has lines.
        let rows = counted.into_iter().map(|(kind, rows)| (rows_of(kind), rows as i64));
        position.state.extend(rows);
        Some(position)
    }

    /// Goes to where another one has been; tables are ready.
    pub(crate) fn go_on_from(&mut self, position: &SourcePosition) -> Result<(), ReadError> {
        let input = only(position, &self.waiting.source_name)?;
        let rows = |kind| position.state.get(&rows_of(kind)).map(|&rows| rows.unsigned_abs());
        self.gates.open_as(rows);
        self.waiting.look_at(&self.gates);
        self.has_begun = true;
        self.lines.go_on_from(input)
    }

    /// Nothing follows: all tables must be ready, unless the run was stopped.
    fn end(&mut self) -> Result<(), ReadError> {
        if self.lines.is_cut() {
            return Ok(());
        }
        self.gates.open(ReadyBy::End);
        self.waiting.not_ready(&self.gates, false).map_or(Ok(()), Err)
    }

    fn late(&self) -> ReadError {
        let late = self.waiting.not_ready(&self.gates, true);
        late.expect("only a closed gate makes a stream wait")
    }
}

/// Where the rows are kept that a table had so far.
fn rows_of(kind: TableKind) -> String {
    format!("rows of {}", kind.name())
}
