//! Rows on a terminal, in a pipe, or as JSON Lines.

use std::io::{self, IsTerminal as _, Write};

use anstream::AutoStream;
use serde_json::value::RawValue;

use crate::style::{HEADING, plain};

/// Rows by which the widths of columns are found.
const LOOK_AHEAD: usize = 20;

/// How rows are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Aligned, for people.
    Table,
    Csv,
    JsonLines,
}

/// Shows rows as they come.
pub(super) struct Show<W> {
    out: W,
    form: Form,
    names: Vec<String>,
    /// Rows that wait for the widths of the columns, with whether each value is a number.
    waiting: Vec<Vec<(String, bool)>>,
    widths: Vec<usize>,
    has_header: bool,
    pub(super) shown: u64,
}

impl Show<AutoStream<io::Stdout>> {
    /// On standard output: a table on a terminal, CSV elsewhere, unless it is to be JSON.
    pub(super) fn new(names: Vec<String>, json: bool) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let form = match (json, is_terminal) {
            (true, _) => Form::JsonLines,
            (false, true) => Form::Table,
            (false, false) => Form::Csv,
        };
        // Elsewhere values stand as they are, whatever is in them.
        let out = if is_terminal { anstream::stdout() } else { AutoStream::always_ansi(io::stdout()) };
        Self::to(out, form, names)
    }
}

impl<W: Write> Show<W> {
    fn to(out: W, form: Form, names: Vec<String>) -> Self {
        let widths = names.iter().map(|name| name.chars().count()).collect();
        Self { out, form, names, waiting: Vec::new(), widths, has_header: false, shown: 0 }
    }

    /// Shows what can be shown before the first row.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        if self.form == Form::Csv { self.header() } else { Ok(()) }
    }

    /// Shows a row, or keeps it back until more are there.
    pub(super) fn row(&mut self, values: &[Box<RawValue>]) -> io::Result<()> {
        self.shown += 1;
        match self.form {
            Form::JsonLines => {
                let name = |name: &String| serde_json::Value::from(name.as_str());
                let member = |(of, value)| format!("{}:{value}", name(of));
                let members: Vec<_> = self.names.iter().zip(values).map(member).collect();
                writeln!(self.out, "{{{}}}", members.join(","))
            }
            Form::Csv => {
                self.header()?;
                let cells: Vec<_> = values.iter().map(|value| csv_cell(&text(value))).collect();
                writeln!(self.out, "{}", cells.join(","))
            }
            Form::Table => {
                self.waiting.push(values.iter().map(|value| (text(value), is_number(value))).collect());
                if self.has_header || self.waiting.len() == LOOK_AHEAD { self.flush() } else { Ok(()) }
            }
        }
    }

    /// Shows what was kept back.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        for row in &self.waiting {
            for ((cell, _), width) in row.iter().zip(&mut self.widths) {
                *width = (*width).max(cell.chars().count());
            }
        }
        if !self.waiting.is_empty() {
            self.header()?;
        }
        for row in std::mem::take(&mut self.waiting) {
            let cells = row.iter().zip(&self.widths);
            let cells = cells.map(|((cell, is_number), width)| aligned(cell, *width, *is_number));
            let line = cells.collect::<Vec<_>>().join("  ");
            writeln!(self.out, "{}", line.trim_end())?;
        }
        self.out.flush()
    }

    /// Shows the last rows, and where there are none, at least what they would have.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.flush()?;
        self.header()?;
        self.out.flush()
    }

    fn header(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.has_header, true) {
            return Ok(());
        }
        match self.form {
            Form::JsonLines => Ok(()),
            Form::Csv => {
                let names: Vec<_> = self.names.iter().map(|name| csv_cell(name)).collect();
                writeln!(self.out, "{}", names.join(","))
            }
            Form::Table => {
                let names = self.names.iter().zip(&self.widths);
                let names: Vec<_> = names.map(|(name, width)| aligned(name, *width, false)).collect();
                writeln!(self.out, "{HEADING}{}{HEADING:#}", names.join("  ").trim_end())
            }
        }
    }
}

fn aligned(cell: &str, width: usize, to_the_right: bool) -> String {
    // A line of its own for each row.
    let cell = cell.replace(['\n', '\r', '\t'], " ");
    let cell = plain(&cell);
    if to_the_right { format!("{cell:>width$}") } else { format!("{cell:width$}") }
}

fn is_number(value: &RawValue) -> bool {
    value.get().starts_with(|c: char| c.is_ascii_digit() || c == '-')
}

/// The text of a value: a string without its quotes, nothing for null.
fn text(value: &RawValue) -> String {
    match value.get() {
        "null" => String::new(),
        text if text.starts_with('"') => serde_json::from_str(text).unwrap_or_else(|_| text.to_owned()),
        token => token.to_owned(),
    }
}

fn csv_cell(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(form: Form, rows: &[&str]) -> String {
        let names = ["id", "a name"].map(str::to_owned).to_vec();
        let mut show = Show::to(Vec::new(), form, names);
        for row in rows {
            let values: Vec<Box<RawValue>> = serde_json::from_str(row).expect("a row");
            show.row(&values).expect("written");
        }
        show.end().expect("written");
        String::from_utf8(anstream::adapter::strip_bytes(&show.out).into_vec()).expect("text")
    }

    #[test]
    fn rows_are_shown_in_each_form() {
        let rows = [r#"[7,"é \"x\", y"]"#, "[1.70,null]", r#"[12345,"a\nb"]"#];
        let table = "id     a name\n    7  é \"x\", y\n 1.70\n12345  a b\n";
        assert_eq!(shown(Form::Table, &rows), table);
        assert_eq!(shown(Form::Csv, &rows), "id,a name\n7,\"é \"\"x\"\", y\"\n1.70,\n12345,\"a\nb\"\n");
        let json = "{\"id\":7,\"a name\":\"é \\\"x\\\", y\"}\n{\"id\":1.70,\"a name\":null}\n";
        assert_eq!(shown(Form::JsonLines, &rows[..2]), json);
        let hostile = [r#"[1,"\u001b[2J\u0007x"]"#];
        assert_eq!(shown(Form::Table, &hostile).lines().last(), Some(" 1  \\u{1b}[2J\\u{7}x"));
        assert_eq!(shown(Form::Csv, &[]), "id,a name\n");
        assert_eq!(shown(Form::JsonLines, &[]), "");
    }

    #[test]
    fn a_column_grows_with_what_comes_later() {
        let mut rows = vec!["[1,\"a\"]"; LOOK_AHEAD];
        rows.extend(["[123456,\"b\"]", "[1,\"c\"]"]);
        let shown = shown(Form::Table, &rows);
        let last: Vec<_> = shown.lines().skip(LOOK_AHEAD).collect();
        assert_eq!(last, [" 1  a", "123456  b", "     1  c"]);
    }
}
