//! How many bad records a run may have.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use tradejoin_model::{Ledger, Refused, TableSpec};

/// How many bad records a run may have before it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxBad {
    /// So many, of all inputs together.
    Records(u64),
    /// A share of what is read, for each input.
    Share(Share),
}

/// A share, in millionths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u64);

impl Share {
    /// All there is.
    const ALL: u64 = 100_000_000;
    /// Digits after the point that a percentage may have.
    const DIGITS: usize = 6;

    /// A share of so many millionths of a percent; `None` for more than all.
    #[must_use]
    pub const fn new(millionths: u64) -> Option<Self> {
        if millionths <= Self::ALL { Some(Self(millionths)) } else { None }
    }

    /// Reads a percentage without its sign, such as `0.1`.
    #[must_use]
    pub fn of_percent(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(part) || part.len() > Self::DIGITS {
            return None;
        }
        let digits = format!("{whole}{part:0<width$}", width = Self::DIGITS);
        Self::new(digits.parse().ok()?)
    }

    fn is_exceeded(self, bad: u64, all: u64) -> bool {
        u128::from(bad) * u128::from(Self::ALL) > u128::from(self.0) * u128::from(all)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let part = format!("{part:06}");
        match part.trim_end_matches('0') {
            "" => write!(f, "{whole}%"),
            part => write!(f, "{whole}.{part}%"),
        }
    }
}

impl fmt::Display for MaxBad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Records(records) => write!(f, "{records}"),
            Self::Share(share) => write!(f, "{share}"),
        }
    }
}

/// More bad records than a run may have.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{bad} bad {}{of}, more than the {max} that are allowed", if *.bad == 1 { "record" } else { "records" })]
pub struct TooManyBad {
    /// How many there were by then, of the input that is judged or of all.
    pub bad: u64,
    /// Among what; empty for all that was read.
    pub of: String,
    /// What is allowed.
    pub max: MaxBad,
}

/// What has been refused so far, in the order of the sequence.
#[derive(Debug)]
pub(crate) struct Budget {
    max: Option<MaxBad>,
    bad: u64,
    by_input: BTreeMap<Arc<str>, u64>,
}

/// The input of a record that was refused, and its line or row.
pub(crate) type BadPlace = (Arc<str>, u64);

/// Where these were refused.
pub(crate) fn places(refused: &[Refused]) -> impl Iterator<Item = BadPlace> {
    refused.iter().map(|refused| (Arc::clone(&refused.source), refused.place))
}

impl Budget {
    /// Lines or rows of an input before which its share is not judged: the first bad one
    /// of a few would end every run.
    pub(crate) const JUDGED_FROM: u64 = 1_000;

    pub(crate) fn new(max: Option<MaxBad>) -> Self {
        Self { max, bad: 0, by_input: BTreeMap::new() }
    }

    /// Counts the next records that were refused; each is judged, so that it does not matter
    /// how many come at a time.
    pub(crate) fn spend(&mut self, refused: &[BadPlace]) -> Result<(), TooManyBad> {
        for (input, place) in refused {
            self.bad = self.bad.saturating_add(1);
            let of_input = self.by_input.entry(Arc::clone(input)).or_default();
            *of_input = of_input.saturating_add(1);
            match self.max {
                Some(max @ MaxBad::Records(records)) if self.bad > records => {
                    return Err(TooManyBad { bad: self.bad, of: String::new(), max });
                }
                Some(max @ MaxBad::Share(share))
                    if *place >= Self::JUDGED_FROM && share.is_exceeded(*of_input, *place) =>
                {
                    let of = format!(" in the first {place} lines or rows of {input}");
                    return Err(TooManyBad { bad: *of_input, of, max });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// How many were refused, by input.
    pub(crate) fn by_input(&self) -> BTreeMap<String, u64> {
        self.by_input.iter().map(|(input, &bad)| (input.to_string(), bad)).collect()
    }

    /// Counts those of a run before.
    pub(crate) fn go_on_from(&mut self, by_input: &BTreeMap<String, u64>) {
        self.bad = by_input.values().fold(0, |sum, &bad| sum.saturating_add(bad));
        self.by_input = by_input.iter().map(|(input, &bad)| (input.as_str().into(), bad)).collect();
    }

    /// Judges the shares of what was read in all.
    pub(crate) fn judge(&self, ledger: &Ledger, tables: &[TableSpec]) -> Result<(), TooManyBad> {
        let Some(max @ MaxBad::Share(share)) = self.max else { return Ok(()) };
        let trades = (ledger.rejected, ledger.rows_read, "trades".to_owned());
        let rows = ledger.tables.iter().zip(tables).map(|(table, spec)| {
            let all = table.rows_loaded + table.changes + table.rejected;
            (table.rejected, all, format!("rows of {}", spec.name))
        });
        let exceeded =
            std::iter::once(trades).chain(rows).find(|(bad, all, _)| share.is_exceeded(*bad, *all));
        match exceeded {
            Some((bad, all, what)) => Err(TooManyBad { bad, of: format!(" among {all} {what}"), max }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_read_exactly() {
        for (text, millionths, shown) in [
            ("0.1", 100_000, "0.1%"),
            ("100", 100_000_000, "100%"),
            ("0", 0, "0%"),
            ("12.345678", 12_345_678, "12.345678%"),
            ("1.50", 1_500_000, "1.5%"),
        ] {
            let share = Share::of_percent(text);
            assert_eq!(share, Share::new(millionths), "{text}");
            assert_eq!(share.map(|share| share.to_string()).as_deref(), Some(shown));
        }
        for text in
            ["", ".", "1.", ".1", "-1", "+1", "1e1", "100.000001", "0.1234567", "99999999999999999999"]
        {
            assert_eq!(Share::of_percent(text), None, "{text}");
        }
    }

    #[test]
    fn a_budget_is_spent_alike_however_many_come_at_a_time() {
        let places: Vec<BadPlace> = [2, 3, 999, 1_000, 1_001].map(|place| ("t".into(), place)).into();
        let spent = |max, at_a_time: usize| {
            let mut budget = Budget::new(Some(max));
            places.chunks(at_a_time).try_for_each(|places| budget.spend(places))
        };
        for at_a_time in 1..=places.len() {
            let records = |records| spent(MaxBad::Records(records), at_a_time).map_err(|error| error.bad);
            assert_eq!(records(5), Ok(()));
            assert_eq!(records(4), Err(5));
            assert_eq!(records(0), Err(1));
            let share = |text| {
                let share = Share::of_percent(text).expect("a percentage");
                spent(MaxBad::Share(share), at_a_time).map_err(|error| error.bad)
            };
            // Three of the first 999 are not judged, four of 1,000 are.
            assert_eq!(share("0.5"), Ok(()));
            assert_eq!(share("0.4"), Err(5));
            assert_eq!(share("0.3"), Err(4));
        }
    }
}
