//! Rows of a batch that are to be shown.

use std::fmt;
use std::str::FromStr;

use arrow_schema::{ArrowError, Schema};
use tradejoin_connectors::{AddedColumn, FieldText, RowTexts};
use tradejoin_model::Enriched;

use super::filter::Filters;

/// How many trades there are for each that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Every(pub(super) u64);

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let every = text.strip_prefix("1/").unwrap_or(text).parse().ok().filter(|&every| every > 0);
        every.map(Self).ok_or_else(|| "write a share such as 1/1000".to_owned())
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1/{}", self.0)
    }
}

impl Every {
    /// Whether the trade of a number is one of those: the same for any cut into batches.
    fn is_met(self, number: u64) -> bool {
        // The end of SplitMix64, so that no rhythm of the stream decides.
        let mix = |z: u64, shift: u32, by: u64| (z ^ (z >> shift)).wrapping_mul(by);
        let mixed = mix(mix(number, 30, 0xbf58_476d_1ce4_e5b9), 27, 0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).is_multiple_of(self.0)
    }
}

/// What is wanted of trades that go on.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) filters: Filters,
    pub(super) every: Every,
}

/// What of a batch there is to show.
#[derive(Debug, Default)]
pub(super) struct Picked {
    /// Rows as lines of JSON, each `{"row":[…]}` with a value for each column.
    pub(super) lines: Vec<String>,
    /// Rows for which there is no room.
    pub(super) dropped: u64,
}

/// Room for what is picked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) rows: usize,
    pub(super) bytes: usize,
    /// Rows of which no more are wanted at all.
    pub(super) limit: u64,
}

/// Picks the rows of a batch that are wanted.
///
/// # Errors
/// If a column has a type that cannot be shown.
pub(super) fn pick(
    enriched: &Enriched,
    schema: &Schema,
    added: &[AddedColumn],
    wanted: &Wanted,
    room: Room,
) -> Result<Picked, ArrowError> {
    let columns = schema.fields().len() + added.len();
    let mut fields = RowTexts::new(enriched, schema, added)?;
    let mut picked = Picked::default();
    let mut bytes = 0;
    for row in enriched.rows() {
        if picked.lines.len() as u64 + picked.dropped >= room.limit {
            break;
        }
        if wanted.every != Every(1) && !wanted.every.is_met(enriched.number(row)) {
            continue;
        }
        fields.go_to(row);
        if !wanted.filters.accept(&mut fields) {
            continue;
        }
        if picked.lines.len() >= room.rows || bytes >= room.bytes {
            picked.dropped += 1;
            continue;
        }
        let line = line(&mut fields, columns);
        bytes += line.len();
        picked.lines.push(line);
    }
    Ok(picked)
}

fn line(fields: &mut RowTexts<'_>, columns: usize) -> String {
    let mut line = String::from("{\"row\":[");
    for column in 0..columns {
        line.push_str(if column == 0 { "" } else { "," });
        match fields.field(column) {
            FieldText::None => line.push_str("null"),
            FieldText::Json(token) => line.push_str(&token),
            FieldText::Text(text) => line.push_str(&serde_json::Value::from(text).to_string()),
        }
    }
    line.push_str("]}\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_one_number_in_so_many_is_met() {
        let met = |every: u64| (0..100_000).filter(|&number| Every(every).is_met(number)).count();
        assert_eq!(met(1), 100_000);
        assert!((900..1_100).contains(&met(100)), "{}", met(100));
        assert_eq!(("1/1000".parse(), "7".parse()), (Ok(Every(1_000)), Ok(Every(7))));
        for text in ["", "0", "1/0", "2/3", "x", "1%"] {
            assert!(text.parse::<Every>().is_err(), "{text}");
        }
        assert_eq!(Every(7).to_string(), "1/7");
    }
}
