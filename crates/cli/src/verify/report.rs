//! What `tradejoin verify` says.

use std::fmt::Write as _;
use std::time::Duration;

use indicatif::HumanCount;
use serde_json::{Value, json};
use tradejoin_connectors::{CellDifference, Compared, DifferenceKind, OtherColumns, RowDifference};

use crate::args::{OrderArg, ReportArgs, RunArgs};
use crate::failure;
use crate::print::{json_line, print};
use crate::style::{FAINT, HEADING};

/// What came of a comparison.
pub(super) struct Report {
    output: String,
    is_any_order: bool,
    pub(super) trades_read: u64,
    pub(super) compared: Compared,
    /// The columns, if these differ: rows were not compared then.
    pub(super) columns: Option<OtherColumns>,
}

/// What it all comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Equal,
    Columns,
    Reordered,
    Cut,
    Differs,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Columns => "other-columns",
            Self::Reordered => "reordered",
            Self::Cut => "cut",
            Self::Differs => "differs",
        }
    }
}

impl Report {
    pub(super) fn new(run: &RunArgs) -> Self {
        let output = run.output.as_ref().map(|path| path.display().to_string());
        Self {
            output: output.unwrap_or_default(),
            is_any_order: run.engine.order == OrderArg::Arrival,
            trades_read: 0,
            compared: Compared::default(),
            columns: None,
        }
    }

    /// Prints it, and gives the exit code that tells the same.
    pub(super) fn print(&self, report: ReportArgs, elapsed: Duration) -> anyhow::Result<u8> {
        let text = match report {
            ReportArgs { json: true, .. } => json_line(&self.json(elapsed))?,
            ReportArgs { quiet: true, .. } => String::new(),
            _ => self.text(elapsed),
        };
        print(&text)?;
        Ok(if self.verdict() == Verdict::Equal { failure::OK } else { failure::NO })
    }

    fn verdict(&self) -> Verdict {
        let Compared { altered, missing, missing_at_end, extra, ends_broken, is_reordered, .. } =
            self.compared;
        match [altered, missing, extra] {
            _ if self.columns.is_some() => Verdict::Columns,
            [0, 0, 0] => Verdict::Equal,
            _ if is_reordered => Verdict::Reordered,
            [_, _, 0] if missing == missing_at_end && altered == u64::from(ends_broken) => Verdict::Cut,
            _ => Verdict::Differs,
        }
    }

    fn json(&self, elapsed: Duration) -> Value {
        let Compared { rows_expected, rows_found, altered, missing, extra, .. } = self.compared;
        let differences: Vec<_> = self.compared.differences.iter().map(row_json).collect();
        let columns = self.columns.as_ref();
        json!({
            "output": self.output,
            "verdict": self.verdict().as_str(),
            "trades_read": self.trades_read,
            "rows_expected": rows_expected,
            "rows_found": rows_found,
            "altered": altered,
            "missing": missing,
            "extra": extra,
            "columns": columns.map(|columns| json!({"found": columns.found, "expected": columns.expected})),
            "differences": differences,
            "elapsed_s": elapsed.as_secs_f64(),
        })
    }

    fn text(&self, elapsed: Duration) -> String {
        let mut text = String::new();
        let Compared { rows_expected, rows_found, altered, missing, missing_at_end, extra, .. } =
            self.compared;
        let [shown_expected, shown_found] = [rows_expected, rows_found].map(HumanCount);
        let output = &self.output;
        let _ = match self.verdict() {
            Verdict::Equal => {
                let are = if rows_expected == 1 {
                    "row is what it should be"
                } else {
                    "rows are what they should be"
                };
                writeln!(text, "{HEADING}{shown_expected} {are}{HEADING:#}")
            }
            Verdict::Columns => {
                self.say_columns(&mut text);
                Ok(())
            }
            Verdict::Reordered => writeln!(
                text,
                "{HEADING}{output} has all {shown_found} rows, in another order{HEADING:#}\nit was sorted, or written \
                 with --order arrival: compare it in any order with --order arrival, or run again with --order input"
            ),
            Verdict::Cut => writeln!(
                text,
                "{HEADING}{output} ends behind row {shown_found}, and {} of {shown_expected} rows are \
                 missing{HEADING:#}\nit was cut, or its run was stopped: run again, or give the --limit that it had",
                HumanCount(missing_at_end)
            ),
            Verdict::Differs => writeln!(
                text,
                "{HEADING}{output} is not what it should be: {}, of {shown_expected}{HEADING:#}",
                counts([altered, missing, extra])
            ),
        };
        if !matches!(self.verdict(), Verdict::Equal | Verdict::Columns | Verdict::Reordered) {
            self.say_rows(&mut text);
        }
        let order = if self.is_any_order { ", in any order, by their hashes" } else { "" };
        let _ = writeln!(
            text,
            "{FAINT}{} trades joined again by one thread and compared{order} in {:.1} s{FAINT:#}",
            HumanCount(self.trades_read),
            elapsed.as_secs_f64()
        );
        text
    }

    fn say_columns(&self, text: &mut String) {
        let Some(OtherColumns { found, expected }) = &self.columns else { return };
        let list =
            |columns: &[String]| if columns.is_empty() { "none".to_owned() } else { columns.join(", ") };
        let _ = writeln!(
            text,
            "{HEADING}{} has other columns than it should{HEADING:#}\n  it has     {}\n  it should  {}\n\
             give the flags of its run, such as --users, --columns or --wait-column; rows were not compared",
            self.output,
            list(found),
            list(expected)
        );
    }

    fn say_rows(&self, text: &mut String) {
        let compared = &self.compared;
        compared.differences.iter().for_each(|row| say_row(row, text));
        let all = compared.altered + compared.missing + compared.extra;
        let more = all - compared.differences.len() as u64;
        if more > 0 {
            let _ = writeln!(text, "  and {} more: --show {all} shows all", HumanCount(more));
        }
        let between = compared.missing - compared.missing_at_end;
        if between > 0 && self.verdict() == Verdict::Differs {
            let _ = writeln!(
                text,
                "if its run dropped more trades, or was told anything else, give verify the same flags: \
                 --unmatched, --on-miss, --on-bad-record"
            );
        }
    }
}

/// `1 row altered, 2 missing`.
fn counts([altered, missing, extra]: [u64; 3]) -> String {
    let parts = [(altered, "altered"), (missing, "missing"), (extra, "too many")];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0);
    let all: Vec<_> = parts
        .enumerate()
        .map(|(at, (count, what))| {
            let rows = if count == 1 { "row " } else { "rows " };
            format!("{} {}{what}", HumanCount(count), if at == 0 { rows } else { "" })
        })
        .collect();
    all.join(", ")
}

fn say_row(row: &RowDifference, text: &mut String) {
    let trade = row.trade_id.as_ref().map(|id| format!(", trade_id {id}")).unwrap_or_default();
    let at = HumanCount(row.row);
    let values = |side: fn(&CellDifference) -> &Option<String>| {
        let shown = row
            .cells
            .iter()
            .filter_map(|cell| Some(format!("{} {}", cell.column.as_ref()?, shown(side(cell)))));
        shown.collect::<Vec<_>>().join(", ")
    };
    let _ = match row.kind {
        DifferenceKind::Missing => {
            writeln!(text, "  before row {at}{trade}: a row is missing: {}", values(|cell| &cell.expected))
        }
        DifferenceKind::Extra => {
            writeln!(text, "  row {at}{trade}: should not be there: {}", values(|cell| &cell.found))
        }
        DifferenceKind::Unreadable => {
            let found = row.cells.first().map_or(&None, |cell| &cell.found);
            writeln!(text, "  row {at}{trade}: is no record with these columns: {}", shown(found))
        }
        DifferenceKind::Altered => row.cells.iter().try_for_each(|cell| {
            let column = cell.column.as_deref().unwrap_or_default();
            let [found, expected] = [&cell.found, &cell.expected].map(shown);
            writeln!(text, "  row {at}{trade}, column {column}: {found}, should be {expected}")
        }),
    };
}

/// A value for people.
fn shown(value: &Option<String>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(text) => format!("\"{}\"", text.escape_debug()),
    }
}

fn row_json(row: &RowDifference) -> Value {
    let kind = match row.kind {
        DifferenceKind::Altered => "altered",
        DifferenceKind::Missing => "missing",
        DifferenceKind::Extra => "extra",
        DifferenceKind::Unreadable => "unreadable",
    };
    let cell = |cell: &CellDifference| json!({"column": cell.column, "found": cell.found, "expected": cell.expected});
    let cells: Vec<_> = row.cells.iter().map(cell).collect();
    json!({"kind": kind, "row": row.row, "trade_id": row.trade_id, "cells": cells})
}
