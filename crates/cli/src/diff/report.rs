//! What `diff-table` prints: for people, and as JSON for programs.

use std::fmt::Write as _;

use indicatif::HumanCount;
use serde::Serialize;
use tradejoin_connectors::Difference;

use super::rows::{Cell, Row, Rows};
use crate::style::{ERROR, FAINT, HEADING};

/// What a newer file changes. The field names are its JSON form.
#[derive(Debug, Default, Serialize)]
pub(super) struct DiffReport {
    pub(super) old: String,
    pub(super) new: String,
    pub(super) table: String,
    pub(super) key: String,
    pub(super) mode: &'static str,
    /// The columns that are compared.
    pub(super) columns: Vec<String>,
    pub(super) rows_before: u64,
    /// What is counted in the newer file; `None` if it cannot be read.
    pub(super) counts: Option<Counts>,
    pub(super) columns_added: Vec<String>,
    pub(super) columns_removed: Vec<String>,
    pub(super) types_changed: Vec<TypeChange>,
    /// What all keys looked like, and what all new ones do.
    pub(super) key_type_changed: Option<[&'static str; 2]>,
    pub(super) first: Rows,
    pub(super) would_reload: bool,
    pub(super) refusal: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Counts {
    rows: u64,
    added: u64,
    changed: u64,
    removed: u64,
    duplicates: u64,
}

/// A column of another type.
#[derive(Debug, Serialize)]
pub(super) struct TypeChange {
    column: String,
    old: String,
    new: String,
}

impl DiffReport {
    /// Notes the columns that the newer file has and the other has not, and so on.
    pub(super) fn compare_columns(
        &mut self,
        old: &[(String, Option<String>)],
        new: &[(String, Option<String>)],
    ) {
        let find = |columns: &[(String, Option<String>)], name: &str| {
            columns.iter().find(|(other, _)| other == name).map(|(_, ty)| ty.clone())
        };
        let missing = |from: &[(String, Option<String>)], all: &[(String, Option<String>)]| {
            all.iter().map(|(name, _)| name).filter(|name| find(from, name).is_none()).cloned().collect()
        };
        self.columns_added = missing(old, new);
        self.columns_removed = missing(new, old);
        // A format without types has none that could change.
        let change = |(column, old): &(String, Option<String>)| {
            let (old, new) = (old.clone()?, find(new, column)??);
            (old != new).then(|| TypeChange { column: column.clone(), old, new })
        };
        self.types_changed = old.iter().filter_map(change).collect();
    }

    pub(super) fn take_difference(&mut self, difference: &Difference) {
        let Difference { rows, added, changed, removed, duplicates, .. } = *difference;
        self.counts = Some(Counts { rows, added, changed, removed, duplicates });
    }

    /// Comes to a verdict.
    pub(super) fn judge(&mut self, refusal: Option<String>) {
        self.would_reload = refusal.is_none();
        self.refusal = refusal;
    }

    pub(super) fn is_refused(&self) -> bool {
        !self.would_reload
    }

    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Self { table, key, mode, .. } = self;
        let columns = if self.columns.is_empty() { "none".to_owned() } else { self.columns.join(", ") };
        writeln!(out, "{HEADING}{table}{HEADING:#} by {key} · mode {mode} · columns compared: {columns}")?;
        let before = HumanCount(self.rows_before);
        match self.counts {
            Some(Counts { rows, added, changed, removed, duplicates }) => {
                let [rows, added, changed, removed, duplicates] =
                    [rows, added, changed, removed, duplicates].map(HumanCount);
                writeln!(
                    out,
                    "rows {before} → {rows}: {added} added, {changed} changed, {removed} removed, {duplicates} duplicates"
                )?;
            }
            None => writeln!(out, "rows {before} → unknown")?,
        }
        for (what, names) in
            [("columns added", &self.columns_added), ("columns removed", &self.columns_removed)]
        {
            if !names.is_empty() {
                writeln!(out, "{what}: {}", names.join(", "))?;
            }
        }
        for TypeChange { column, old, new } in &self.types_changed {
            writeln!(out, "type of {column}: {old} → {new}")?;
        }
        if let Some([old, new]) = self.key_type_changed {
            writeln!(out, "the keys were {old}, and all new ones are {new}")?;
        }
        self.write_rows(out)?;
        match (&self.refusal, self.counts) {
            (Some(why), _) => writeln!(out, "{ERROR}would be refused{ERROR:#}: {why}"),
            (None, Some(Counts { added: 0, changed: 0, removed: 0, .. })) => {
                writeln!(out, "{HEADING}would be reloaded{HEADING:#}: no row says anything else")
            }
            (None, _) => writeln!(out, "{HEADING}would be reloaded{HEADING:#}"),
        }
    }

    fn write_rows(&self, out: &mut String) -> std::fmt::Result {
        let Some(counts) = self.counts else { return Ok(()) };
        let Rows { added, changed, removed, duplicates } = &self.first;
        for (what, rows, count) in [
            ("added", added, counts.added),
            ("changed", changed, counts.changed),
            ("removed", removed, counts.removed),
            ("duplicates", duplicates, counts.duplicates),
        ] {
            if rows.is_empty() {
                continue;
            }
            writeln!(out, "\n{HEADING}{what}{HEADING:#}")?;
            rows.iter().try_for_each(|row| write_row(out, row, what == "changed"))?;
            match count.saturating_sub(rows.len() as u64) {
                0 => {}
                more => writeln!(out, "  {FAINT}and {} more{FAINT:#}", HumanCount(more))?,
            }
        }
        if [added, changed, removed, duplicates].into_iter().any(|rows| !rows.is_empty()) {
            writeln!(out)?;
        }
        Ok(())
    }
}

fn write_row(out: &mut String, row: &Row, has_old: bool) -> std::fmt::Result {
    write!(out, "  {}", row.key)?;
    if let Some(from) = &row.valid_from {
        write!(out, " from {from}")?;
    }
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
    for (index, Cell { column, old, new }) in row.columns.iter().enumerate() {
        out.push_str(if index == 0 { ": " } else { ", " });
        write!(out, "{column} ")?;
        if has_old {
            write!(out, "{} → ", shown(old))?;
        }
        out.push_str(&shown(new));
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_compared_by_name_and_types_where_both_have_them() {
        let columns = |columns: &[(&str, Option<&str>)]| -> Vec<_> {
            columns.iter().map(|(name, ty)| ((*name).to_owned(), ty.map(str::to_owned))).collect()
        };
        let mut report = DiffReport::default();
        let old = columns(&[("id", Some("Int32")), ("desk", Some("Utf8")), ("lot", Some("Int64"))]);
        report
            .compare_columns(&old, &columns(&[("lot", None), ("id", Some("Utf8")), ("city", Some("Utf8"))]));
        assert_eq!(
            (report.columns_added.join(","), report.columns_removed.join(",")),
            ("city".into(), "desk".into())
        );
        let [change] = report.types_changed.as_slice() else { panic!("{:?}", report.types_changed) };
        assert_eq!(
            (change.column.as_str(), change.old.as_str(), change.new.as_str()),
            ("id", "Int32", "Utf8")
        );
    }
}
