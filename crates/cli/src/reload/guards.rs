//! What of a newer file is refused, though it can be read.

use std::fmt;

use clap::Args;
use indicatif::HumanCount;
use tradejoin_connectors::Difference;
use tradejoin_model::LookUp;

use crate::arg_values::number;

/// What a newer file of a table must not do.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Guards {
    /// Refuse a file in which more of the table's rows are missing: 20%, or a number of rows
    #[arg(long, value_name = "SHARE", default_value = "20%")]
    pub(crate) max_removed: Share,

    /// Refuse a file with fewer rows
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = |text: &str| number::<u64>(text, 0..=u64::MAX))]
    pub(crate) min_rows: u64,
}

/// A share of rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Share {
    Percent(f64),
    Rows(u64),
}

impl std::str::FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent = |text: &str| text.parse().ok().filter(|share| (0.0..=100.0).contains(share));
        let share = match text.strip_suffix('%') {
            Some(text) => percent(text).map(Self::Percent),
            None => text.parse().ok().map(Self::Rows),
        };
        share.ok_or_else(|| "write a share such as 20%, or a number of rows".to_owned())
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Rows(rows) => write!(f, "{rows}"),
        }
    }
}

impl Share {
    /// Whether `part` of `whole` is more.
    fn is_exceeded(self, part: u64, whole: u64) -> bool {
        match self {
            Self::Percent(percent) => part as f64 * 100.0 > whole as f64 * percent,
            Self::Rows(rows) => part > rows,
        }
    }
}

impl Guards {
    /// Why a newer file is refused; `None` if it is not.
    pub(crate) fn refusal(&self, look_up: LookUp, difference: &Difference) -> Option<String> {
        let Difference { rows, rows_before, removed, duplicates, .. } = *difference;
        let counts = [rows, rows_before, removed, duplicates].map(|count| HumanCount(count).to_string());
        let [rows_shown, before_shown, removed_shown, duplicates_shown] = counts;
        if rows < self.min_rows {
            let (least, rows) = (HumanCount(self.min_rows), if rows == 1 { "row" } else { "rows" });
            return Some(format!("it has {rows_shown} {rows}, and --min-rows asks for {least}"));
        }
        if self.max_removed.is_exceeded(removed, rows_before) {
            let most = self.max_removed;
            return Some(format!(
                "{removed_shown} of {before_shown} rows are missing from it, and --max-removed allows {most}"
            ));
        }
        if duplicates > 0 && look_up != LookUp::LatestVersion {
            return Some(format!("{duplicates_shown} of its rows have a key that an earlier one has"));
        }
        inexpressible(difference)
    }
}

/// Why no changes make the rows of a file of those in force; `None` if some do.
pub(super) fn inexpressible(difference: &Difference) -> Option<String> {
    if difference.removes_keys {
        return Some("a row of it removes all rows of its key: give it the valid_from of one".to_owned());
    }
    difference.cannot_remove.then(|| {
        "a row without valid_from is missing from it while its key has others: give it a valid_to instead"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_say_what_they_refuse() {
        let guards = Guards { max_removed: Share::Percent(20.0), min_rows: 5 };
        let difference = |rows, removed, duplicates| Difference {
            rows,
            rows_before: 10,
            removed,
            duplicates,
            ..Difference::default()
        };
        let refusal =
            |difference: &Difference| guards.refusal(LookUp::Latest, difference).unwrap_or_default();
        assert_eq!(refusal(&difference(8, 2, 0)), "");
        assert_eq!(refusal(&difference(4, 2, 0)), "it has 4 rows, and --min-rows asks for 5");
        assert_eq!(refusal(&difference(1, 2, 0)), "it has 1 row, and --min-rows asks for 5");
        let missing = "3 of 10 rows are missing from it, and --max-removed allows 20%";
        assert_eq!(refusal(&difference(8, 3, 0)), missing);
        assert_eq!(refusal(&difference(8, 0, 1)), "1 of its rows have a key that an earlier one has");
        assert_eq!(guards.refusal(LookUp::LatestVersion, &difference(8, 0, 1)), None);
    }

    #[test]
    fn shares_are_read_as_they_are_shown() {
        for text in ["20%", "0%", "0.5%", "1000"] {
            assert_eq!(text.parse::<Share>().map(|share| share.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "%", "101%", "-1", "x", "1.5"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }
}
