//! Which tables of a stream of messages are ready, line by line: the start gate.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use crate::chunks::Look;
use crate::flaw::{Flaw, Reason};
use crate::json_rows::Members;
use crate::lane_builder::TableKind;
use crate::limits::Limits;
use crate::messages::{TRADE, TYPE};
use crate::parse::{json_text, trade_number};
use crate::ready::{Readiness, ReadyAfter, ReadyBy, Slot, Unready, WaitsFor};

/// The `type` of the marker behind the rows of a table that are there from the start.
pub(crate) const MARKER: &str = "snapshot_end";
/// The member of a marker that names its table.
pub(crate) const TABLE: &str = "table";

/// What the tables of a stream wait for before the first trade.
#[derive(Clone, Debug, Default)]
pub struct GateOptions {
    /// What tables wait for that are named.
    pub by_table: Vec<(TableKind, ReadyAfter)>,
    /// What all others wait for. `None` stands for the marker of those whose marker is
    /// among the first lines, the ones that the columns of trades are taken from, and
    /// for nothing of the rest.
    pub others: Option<ReadyAfter>,
}

impl GateOptions {
    /// What a table waits for, if its marker is among the first lines or not.
    fn of(&self, kind: TableKind, is_marked: bool) -> Option<ReadyAfter> {
        let named =
            self.by_table.iter().find(|(named, _)| *named == kind).map(|(_, ready_after)| *ready_after);
        named.or(self.others).or(is_marked.then_some(ReadyAfter::MARKER))
    }
}

/// The gates of all tables of a stream. Sees its lines in order, on the thread that
/// reads; once nothing is left to wait for, it need not.
#[derive(Debug)]
pub(crate) struct Gates {
    gates: Vec<Gate>,
    /// Whether the next line is a trade that waits for the time.
    has_early_trade: bool,
    /// Lines seen since verdicts were taken.
    lines: usize,
    verdicts: Vec<Verdict>,
    members: Members,
}

#[derive(Debug)]
struct Gate {
    kind: TableKind,
    /// `None` if the table waits for nothing.
    ready_after: Option<ReadyAfter>,
    /// The time at which it is ready, if there is one.
    opens_at: Option<Instant>,
    /// Lines that say that they are rows of the table.
    rows: u64,
    /// What the gate was opened by.
    ready_by: Option<ReadyBy>,
    has_marker: bool,
    slot: Slot,
}

/// What the gates say of a line of a chunk, by its number there: not to be decoded, and
/// if there is something wrong with it, what.
pub(crate) type Verdict = (usize, Result<(), Flaw>);

impl Gates {
    /// Gates of these tables, each with whether its marker is among the first lines.
    pub(crate) fn new(
        tables: impl Iterator<Item = (TableKind, bool)>,
        options: &GateOptions,
        opened_at: Instant,
        readiness: &Readiness,
        limits: Limits,
    ) -> Self {
        let gate = |(kind, is_marked)| Gate::new(kind, options.of(kind, is_marked), opened_at, readiness);
        Self {
            gates: tables.map(gate).collect(),
            has_early_trade: false,
            lines: 0,
            verdicts: Vec::new(),
            members: Members::within(limits),
        }
    }

    /// Adds the gates of other tables.
    pub(crate) fn append(&mut self, others: Self) {
        self.gates.extend(others.gates);
    }

    /// Whether a table is not ready.
    pub(crate) fn are_closed(&self) -> bool {
        self.gates.iter().any(Gate::is_closed)
    }

    /// Whether lines are still to be looked at, for a gate or a marker.
    pub(crate) fn are_watching(&self) -> bool {
        self.gates.iter().any(|gate| gate.is_closed() || gate.awaits_marker())
    }

    /// Looks at the next line.
    pub(crate) fn look(&mut self, line: &[u8]) -> Look {
        let were_closed = self.are_closed();
        let verdict = match Line::of(line, &mut self.members) {
            Line::Trade if were_closed => match self.early_trade() {
                Some(flaw) => Some(Err(flaw)),
                None => {
                    self.has_early_trade = true;
                    return Look::Leave;
                }
            },
            Line::Marker => Some(self.mark(line)),
            Line::Row(kind) => {
                self.gates.iter_mut().filter(|gate| gate.kind == kind).for_each(Gate::add_row);
                None
            }
            Line::Trade | Line::Other => None,
        };
        let taken = self.take(verdict);
        if were_closed && !self.are_closed() { Look::TakeLast } else { taken }
    }

    /// Takes a line to the chunk.
    fn take(&mut self, verdict: Option<Result<(), Flaw>>) -> Look {
        self.verdicts.extend(verdict.map(|verdict| (self.lines, verdict)));
        self.lines += 1;
        Look::Take
    }

    /// What is wrong with a trade that comes now; nothing if time alone will let it in.
    fn early_trade(&self) -> Option<Flaw> {
        let gate = self.without_time()?;
        Some(Flaw::record(Reason::EarlyTrade(Box::new(gate.as_unready()))))
    }

    /// The first closed gate that does not open by time.
    fn without_time(&self) -> Option<&Gate> {
        self.gates.iter().find(|gate| gate.is_closed() && gate.opens_at.is_none())
    }

    /// Takes a marker.
    fn mark(&mut self, line: &[u8]) -> Result<(), Flaw> {
        let Self { members, gates, .. } = self;
        let text = members.scan(line).map_err(Flaw::record)?;
        members.get_sole(text, TYPE)?;
        let kind = marked_table(members, text)?;
        let gate = gates.iter_mut().find(|gate| gate.kind == kind);
        let gate = gate.ok_or_else(|| Flaw::cell(TABLE, kind.name(), Reason::NoTable))?;
        if !gate.awaits_marker() {
            return Err(Flaw::cell(TABLE, kind.name(), Reason::MarkerUnexpected));
        }
        let rows = value(members, text, "rows")?;
        let count = trade_number(&rows).map_err(|reason| Flaw::cell("rows", &rows, reason))?;
        if count != gate.rows {
            let reason = Reason::MarkerRows { table: gate.kind.name(), rows: gate.rows };
            return Err(Flaw::cell("rows", &rows, reason));
        }
        gate.has_marker = true;
        gate.open(ReadyBy::Marker);
        Ok(())
    }

    /// When the trade that is next may be read, if it waits for that.
    pub(crate) fn early_trade_at(&self) -> Option<Instant> {
        if self.has_early_trade { self.closed().filter_map(|gate| gate.opens_at).max() } else { None }
    }

    /// Whether the gates that are closed open by time, and all until `limit` says so.
    pub(crate) fn open_in_time(&self, limit: impl Fn(Instant) -> bool) -> bool {
        self.closed().all(|gate| gate.opens_at.is_some_and(&limit))
    }

    fn closed(&self) -> impl Iterator<Item = &Gate> {
        self.gates.iter().filter(|gate| gate.is_closed())
    }

    /// Opens all gates that open by time: it has come, or nothing else will.
    pub(crate) fn open(&mut self, by: ReadyBy) {
        self.gates.iter_mut().filter(|gate| gate.opens_at.is_some()).for_each(|gate| gate.open(by));
        self.has_early_trade = false;
    }

    /// The rows of each table whose marker may still come; `None` while one is not ready.
    pub(crate) fn counted(&self) -> Option<Vec<(TableKind, u64)>> {
        let awaiting = self.gates.iter().filter(|gate| gate.awaits_marker());
        (!self.are_closed()).then(|| awaiting.map(|gate| (gate.kind, gate.rows)).collect())
    }

    /// Opens all gates, as another stream has been left that has counted these rows.
    pub(crate) fn open_as(&mut self, counted: impl Fn(TableKind) -> Option<u64>) {
        for gate in &mut self.gates {
            let rows = counted(gate.kind);
            gate.has_marker = rows.is_none();
            gate.rows = rows.unwrap_or(gate.rows);
            gate.open(ReadyBy::Start);
        }
    }

    /// The table that keeps trades waiting.
    pub(crate) fn unready(&self) -> Option<Unready> {
        self.without_time().or_else(|| self.closed().next()).map(Gate::as_unready)
    }

    /// What was said of the lines of a chunk.
    pub(crate) fn take_verdicts(&mut self) -> Vec<Verdict> {
        self.lines = 0;
        std::mem::take(&mut self.verdicts)
    }

    /// Shows how far tables have come.
    pub(crate) fn show(&self) {
        self.closed().for_each(Gate::show);
    }
}

impl Gate {
    fn new(
        kind: TableKind,
        ready_after: Option<ReadyAfter>,
        opened_at: Instant,
        readiness: &Readiness,
    ) -> Self {
        /// What is as good as never, and not beyond what the clock can tell.
        const NEVER: Duration = Duration::from_secs(u32::MAX as u64);
        let waits_for = WaitsFor::Stream(ready_after.unwrap_or_default());
        let slot = readiness.add(kind.name(), Err(waits_for));
        let time = ready_after.and_then(|ready_after| ready_after.time);
        let opens_at = time.map(|time| opened_at + time.min(NEVER));
        let mut gate = Self { kind, ready_after, opens_at, rows: 0, ready_by: None, has_marker: false, slot };
        match ready_after {
            None => gate.open(ReadyBy::Start),
            Some(ReadyAfter { rows: Some(0), .. }) => gate.open(ReadyBy::Rows),
            Some(_) => {}
        }
        gate
    }

    fn is_closed(&self) -> bool {
        self.ready_by.is_none()
    }

    fn awaits_marker(&self) -> bool {
        self.ready_after.is_some() && !self.has_marker
    }

    fn waits_for(&self) -> WaitsFor {
        WaitsFor::Stream(self.ready_after.unwrap_or_default())
    }

    fn as_unready(&self) -> Unready {
        Unready { table: self.kind.name().to_owned(), waits_for: self.waits_for(), rows: self.rows }
    }

    fn add_row(&mut self) {
        self.rows += 1;
        if self.ready_after.and_then(|ready_after| ready_after.rows) == Some(self.rows) {
            self.open(ReadyBy::Rows);
        }
    }

    fn open(&mut self, by: ReadyBy) {
        if self.is_closed() {
            self.ready_by = Some(by);
            self.show();
        }
    }

    fn show(&self) {
        self.slot.set(self.rows, self.ready_by.ok_or(self.waits_for()));
    }
}

/// The table whose marker a line is.
pub(crate) fn marked_table(members: &Members, text: &str) -> Result<TableKind, Flaw> {
    let table = value(members, text, TABLE)?;
    TableKind::ALL.into_iter().find(|kind| kind.name() == table).ok_or_else(|| {
        let names = TableKind::ALL.map(TableKind::name).join(", ");
        Flaw::cell(TABLE, &table, Reason::MarkerTable(names))
    })
}

/// The value of a member that must be there, once.
fn value<'a>(members: &'a Members, text: &'a str, name: &str) -> Result<Cow<'a, str>, Flaw> {
    let value = members.get_sole(text, name)?.and_then(json_text).filter(|value| !value.is_empty());
    value.ok_or_else(|| Flaw::empty(name))
}

/// What a line says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Trade,
    Row(TableKind),
    Marker,
    /// Something else, or no line at all as messages go.
    Other,
}

impl Line {
    fn of(line: &[u8], members: &mut Members) -> Self {
        // Most lines are trades, and have it in front.
        if line.starts_with(b"{\"type\":\"trade\"") {
            return Self::Trade;
        }
        let front = line.strip_prefix(b"{\"type\":\"").and_then(|rest| {
            let name = &rest[..memchr::memchr(b'"', rest)?];
            std::str::from_utf8(name).ok().filter(|name| !name.contains('\\'))
        });
        if let Some(name) = front {
            return Self::of_type(name);
        }
        let Ok(text) = members.scan(line) else { return Self::Other };
        members.get(text, TYPE).and_then(json_text).map_or(Self::Other, |name| Self::of_type(&name))
    }

    fn of_type(name: &str) -> Self {
        match name {
            TRADE => Self::Trade,
            MARKER => Self::Marker,
            _ => {
                let kind = TableKind::ALL.into_iter().find(|kind| kind.message_type() == name);
                kind.map_or(Self::Other, Self::Row)
            }
        }
    }
}
