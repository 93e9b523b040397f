//! What a case comes to, as the oracle has it, and how it stands in files.

use tradejoin_connectors::Format;
use tradejoin_engine::{CorrectionConfig, Order};
use tradejoin_model::{ColumnType, Distribution, Ledger, Revised};
use tradejoin_oracle::{Correcting, Joined, Oracle, Revision};

use crate::case::{Case, Kind, Step};
use crate::stream::{bad_letter, block, key_text, note_text, schema};

/// What a case comes to.
pub(crate) struct Expected {
    /// The output as text, unpacked; of parts, their rows as CSV without a header.
    pub(crate) output: String,
    pub(crate) letters: String,
    /// What is written again, as text.
    pub(crate) corrections: String,
    pub(crate) ledger: Ledger,
    /// Records that were refused.
    pub(crate) bad: u64,
}

/// The trades of a case: their keys and notes.
type Trades<'a> = Vec<(&'a [Option<u32>; 4], Option<u32>)>;

impl Expected {
    pub(crate) fn of(case: &Case) -> Self {
        let specs = case.tables(&[Distribution::Auto]);
        let correcting = case.corrections.map(|config| {
            let CorrectionConfig { time, rows, bytes, rows_max, bytes_max } = config;
            Correcting { time, rows, bytes, rows_max, bytes_max }
        });
        let oracle = Oracle::new(&specs, case.hold_rows_max, case.order == Order::Strict);
        let mut oracle = oracle.correcting(correcting);
        let (schema, mut numbered) = (schema(), 0);
        let mut loaded = block(&case.kinds, &case.loaded, &schema, &mut numbered);
        loaded.loading = true;
        oracle.push(&loaded);
        let of_step = |step| match step {
            &Step::Trade { ref keys, note, .. } => Some((keys, note)),
            _ => None,
        };
        let mut bad = 0;
        let trades: Trades<'_> = case.steps.iter().filter_map(of_step).collect();
        let added = case.added();
        let columns: Vec<_> = added.iter().map(|added| (added.name.clone(), added.column_type)).collect();
        let more = Revised::COLUMNS.iter().map(|&(name, of_type)| (name.to_owned(), of_type));
        let revised: Vec<_> = columns.iter().cloned().chain(more).collect();
        let mut texts = Texts {
            output: Text::new(case.encoding.format, columns),
            letters: String::new(),
            corrections: Text::new(case.corrected().format, revised),
        };
        let mut rest = case.steps.as_slice();
        loop {
            // What is refused stands between the trades before it and those behind.
            let len = rest.iter().position(|step| matches!(step, Step::Bad(..))).unwrap_or(rest.len());
            let (steps, behind) = rest.split_at(len);
            let joined = oracle.push(&block(&case.kinds, steps, &schema, &mut numbered));
            joined.into_iter().for_each(|row| texts.add(case, &trades, row));
            let Some(Step::Bad(_, place)) = behind.first() else { break };
            oracle.push(&block(&case.kinds, &behind[..1], &schema, &mut numbered));
            let letter = bad_letter(*place);
            if !letter.is_empty() {
                texts.letters += &(letter + "\n");
            }
            bad += 1;
            rest = &behind[1..];
        }
        oracle.finish().into_iter().for_each(|row| texts.add(case, &trades, row));
        oracle.take_revisions().into_iter().for_each(|revision| texts.revise(case, &trades, revision));
        let Texts { output, letters, corrections } = texts;
        let [output, corrections] = [output, corrections].map(|text| text.text);
        Self { output, letters, corrections, ledger: oracle.ledger().clone(), bad }
    }
}

struct Texts {
    output: Text,
    letters: String,
    corrections: Text,
}

/// Rows as text, with the names and types of the columns behind the trades' own.
struct Text {
    format: Format,
    columns: Vec<(String, ColumnType)>,
    text: String,
}

type Cells = Vec<Option<String>>;

impl Texts {
    fn add(&mut self, case: &Case, trades: &Trades<'_>, row: Joined) {
        let (keys, note) = trades[row.number as usize - 1];
        let own = (row.number - 1, note.map(note_text));
        let Some(table) = row.aside else {
            return self.output.add(&own, cells(case, row.columns, row.waited));
        };
        let key = keys[table].map(|key| match case.kinds[table] {
            Kind::ByText => key_text(key),
            _ => key.to_string(),
        });
        let (key, number) = (json(key.as_deref()), row.number);
        self.letters += &format!(
            "{{\"reason\":\"no-match\",\"table\":\"table{table}\",\"key\":{key},\"trade\":{number},\"fields\":{}}}\n",
            object(&own)
        );
    }

    fn revise(&mut self, case: &Case, trades: &Trades<'_>, row: Revision) {
        let Revision { number, columns, waited, revision, reason } = row;
        let own = (number - 1, trades[number as usize - 1].1.map(note_text));
        let mut cells = cells(case, columns, waited);
        cells.extend([number.to_string(), revision.to_string(), reason.as_str().to_owned()].map(Some));
        self.corrections.add(&own, cells);
    }
}

fn cells(case: &Case, columns: Vec<Option<Vec<u8>>>, waited: u64) -> Cells {
    let text = |value: Vec<u8>| String::from_utf8(value).expect("text");
    let cells = columns.into_iter().map(|value| value.map(text));
    cells.chain(case.wait_column.then(|| Some(waited.to_string()))).collect()
}

impl Text {
    fn new(format: Format, columns: Vec<(String, ColumnType)>) -> Self {
        let mut text = String::new();
        if format == Format::Csv {
            let names = columns.iter().map(|(name, _)| format!(",{name}"));
            text = format!("trade_id,note{}\n", names.collect::<String>());
        }
        Self { format, columns, text }
    }

    fn add(&mut self, own: &(u64, Option<String>), cells: Cells) {
        self.text += &match self.format {
            Format::JsonLines => self.json_line(own, &cells),
            _ => {
                let cells = cells.into_iter().map(|cell| format!(",{}", cell.unwrap_or_default()));
                format!("{},{}{}\n", own.0, own.1.as_deref().unwrap_or_default(), cells.collect::<String>())
            }
        };
    }

    fn json_line(&self, own: &(u64, Option<String>), cells: &[Option<String>]) -> String {
        let mut line = object(own);
        line.pop();
        for ((name, of_type), cell) in self.columns.iter().zip(cells) {
            let value = match cell {
                Some(cell) if *of_type == ColumnType::Integer => cell.clone(),
                cell => json(cell.as_deref()),
            };
            line += &format!(",\"{name}\":{value}");
        }
        line + "}\n"
    }
}

fn object((id, note): &(u64, Option<String>)) -> String {
    format!("{{\"trade_id\":{id},\"note\":{}}}", json(note.as_deref()))
}

/// No text here has anything to escape.
fn json(text: Option<&str>) -> String {
    text.map_or("null".to_owned(), |text| format!("\"{text}\""))
}
