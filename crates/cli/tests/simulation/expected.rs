//! What a case comes to, as the oracle has it, and how it stands in files.

use tradejoin_connectors::Format;
use tradejoin_engine::Order;
use tradejoin_model::{ColumnType, Distribution, Ledger};
use tradejoin_oracle::{Joined, Oracle};

use crate::case::{Case, Kind, Step};
use crate::stream::{bad_letter, block, key_text, note_text, schema};

/// What a case comes to.
pub(crate) struct Expected {
    /// The output as text, unpacked; of parts, their rows as CSV without a header.
    pub(crate) output: String,
    pub(crate) letters: String,
    pub(crate) ledger: Ledger,
    /// Records that were refused.
    pub(crate) bad: u64,
}

/// The trades of a case: their keys and notes.
type Trades<'a> = Vec<(&'a [Option<u32>; 4], Option<u32>)>;

impl Expected {
    pub(crate) fn of(case: &Case) -> Self {
        let specs = case.tables(&[Distribution::Auto]);
        let mut oracle = Oracle::new(&specs, case.hold_rows_max, case.order == Order::Strict);
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
        let are_texts: Vec<bool> = added.iter().map(|added| added.column_type == ColumnType::Text).collect();
        let mut texts =
            Texts { format: case.encoding.format, are_texts, output: String::new(), letters: String::new() };
        if texts.format == Format::Csv {
            let names = added.iter().map(|added| format!(",{}", added.name));
            texts.output = format!("trade_id,note{}\n", names.collect::<String>());
        }
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
        Self { output: texts.output, letters: texts.letters, ledger: oracle.ledger().clone(), bad }
    }
}

struct Texts {
    format: Format,
    are_texts: Vec<bool>,
    output: String,
    letters: String,
}

impl Texts {
    fn add(&mut self, case: &Case, trades: &Trades<'_>, row: Joined) {
        let (keys, note) = trades[row.number as usize - 1];
        let own = (row.number - 1, note.map(note_text));
        if let Some(table) = row.aside {
            let key = keys[table].map(|key| match case.kinds[table] {
                Kind::ByText => key_text(key),
                _ => key.to_string(),
            });
            let (key, number) = (json(key.as_deref()), row.number);
            self.letters += &format!(
                "{{\"reason\":\"no-match\",\"table\":\"table{table}\",\"key\":{key},\"trade\":{number},\"fields\":{}}}\n",
                object(&own)
            );
            return;
        }
        let text = |value: Vec<u8>| String::from_utf8(value).expect("text");
        let mut cells: Vec<_> = row.columns.into_iter().map(|value| value.map(text)).collect();
        cells.extend(case.wait_column.then(|| Some(row.waited.to_string())));
        self.output += &match self.format {
            Format::JsonLines => self.json_line(&own, &cells),
            _ => {
                let cells = cells.into_iter().map(|cell| format!(",{}", cell.unwrap_or_default()));
                format!("{},{}{}\n", own.0, own.1.unwrap_or_default(), cells.collect::<String>())
            }
        };
    }

    fn json_line(&self, own: &(u64, Option<String>), cells: &[Option<String>]) -> String {
        let mut line = object(own);
        line.pop();
        for (number, (cell, &is_text)) in cells.iter().zip(&self.are_texts).enumerate() {
            let value = match cell {
                Some(cell) if !is_text => cell.clone(),
                cell => json(cell.as_deref()),
            };
            line += &format!(",\"c{number}\":{value}");
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
