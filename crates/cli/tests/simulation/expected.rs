//! What a case comes to, as the oracle has it, and how it stands in files.

use tradejoin_connectors::Format;
use tradejoin_engine::Order;
use tradejoin_model::{ColumnType, Distribution, Ledger};
use tradejoin_oracle::{Joined, Oracle};

use crate::case::{Case, Kind, Step};
use crate::stream::{block, key_text, note_text, schema};

/// What a case comes to.
pub(crate) struct Expected {
    /// The output as text, unpacked; of parts, their rows as CSV without a header.
    pub(crate) output: String,
    pub(crate) letters: String,
    pub(crate) ledger: Ledger,
}

/// The trades of a case: their keys and notes.
type Trades<'a> = Vec<(&'a [Option<u32>; 4], Option<u32>)>;

impl Expected {
    pub(crate) fn of(case: &Case) -> Self {
        let specs = case.tables(&[Distribution::Auto]);
        let mut oracle = Oracle::new(&specs, case.hold_rows_max, case.order == Order::Strict);
        let (schema, mut trades) = (schema(), 0);
        let mut loaded = block(&case.kinds, &case.loaded, &schema, &mut trades);
        loaded.loading = true;
        let mut rows = oracle.push(&loaded);
        rows.extend(oracle.push(&block(&case.kinds, &case.steps, &schema, &mut trades)));
        rows.extend(oracle.finish());
        let of_step = |step| match step {
            &Step::Trade { ref keys, note, .. } => Some((keys, note)),
            _ => None,
        };
        let trades: Trades<'_> = case.steps.iter().filter_map(of_step).collect();
        let added = case.added();
        let are_texts: Vec<bool> = added.iter().map(|added| added.column_type == ColumnType::Text).collect();
        let mut texts =
            Texts { format: case.encoding.format, are_texts, output: String::new(), letters: String::new() };
        if texts.format == Format::Csv {
            let names = added.iter().map(|added| format!(",{}", added.name));
            texts.output = format!("trade_id,note{}\n", names.collect::<String>());
        }
        rows.into_iter().for_each(|row| texts.add(case, &trades, row));
        Self { output: texts.output, letters: texts.letters, ledger: oracle.ledger().clone() }
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
