//! Rows of a batch that are to be shown.

use std::fmt;
use std::str::FromStr;

use arrow_schema::{ArrowError, Schema};
use tradejoin_connectors::{AddedColumn, FieldText, RowTexts};
use tradejoin_model::{ChangeLane, Enriched};

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
    /// Whether the message at a position is one of those: the same for any cut into batches,
    /// unless trades wait. A batch among which some have waited is put together anew, and
    /// what waits to the end is of none: a position then counts from the batch on.
    fn is_met(self, position: u64) -> bool {
        // The end of SplitMix64, so that no rhythm of the stream decides.
        let mix = |z: u64, shift: u32, by: u64| (z ^ (z >> shift)).wrapping_mul(by);
        let mixed = mix(mix(position, 30, 0xbf58_476d_1ce4_e5b9), 27, 0x94d0_49bb_1331_11eb);
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
    let mut changes_before = ChangesBefore::new(enriched);
    for row in enriched.rows() {
        if picked.lines.len() as u64 + picked.dropped >= room.limit {
            break;
        }
        let mut position = || enriched.first_position.0 + row as u64 + changes_before.count(row);
        if wanted.every != Every(1) && !wanted.every.is_met(position()) {
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

/// How many changes of a batch stand before its rows.
struct ChangesBefore<'a> {
    lanes: &'a [ChangeLane],
    /// How many of each lane do.
    counts: Vec<usize>,
}

impl<'a> ChangesBefore<'a> {
    fn new(enriched: &'a Enriched) -> Self {
        let lanes = &enriched.messages.lanes;
        Self { lanes, counts: vec![0; lanes.len()] }
    }

    /// Before a row, which does not stand before that of the last call.
    fn count(&mut self, row: usize) -> u64 {
        let mut all = 0;
        for (lane, count) in self.lanes.iter().zip(&mut self.counts) {
            while lane.at_rows.get(*count).is_some_and(|&at| at as usize <= row) {
                *count += 1;
            }
            all += *count as u64;
        }
        all
    }
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
    fn about_one_position_in_so_many_is_met() {
        let met = |every: u64| (0..100_000).filter(|&position| Every(every).is_met(position)).count();
        assert_eq!(met(1), 100_000);
        assert!((900..1_100).contains(&met(100)), "{}", met(100));
        assert_eq!(("1/1000".parse(), "7".parse()), (Ok(Every(1_000)), Ok(Every(7))));
        for text in ["", "0", "1/0", "2/3", "x", "1%"] {
            assert!(text.parse::<Every>().is_err(), "{text}");
        }
        assert_eq!(Every(7).to_string(), "1/7");
    }
}
