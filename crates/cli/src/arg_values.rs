//! Values of flags: out of what the user typed, and as others know them.

use std::time::Duration;

use tradejoin_connectors::ReadyAfter;
use tradejoin_engine::Order;
use tradejoin_model::{Distribution, MissPolicy};

use crate::args::{ModeArg, OrderArg, UnmatchedArg};

impl From<OrderArg> for Order {
    fn from(order: OrderArg) -> Self {
        match order {
            OrderArg::Input => Self::Input,
            OrderArg::Strict => Self::Strict,
            OrderArg::Arrival => Self::Arrival,
        }
    }
}

impl From<UnmatchedArg> for MissPolicy {
    fn from(policy: UnmatchedArg) -> Self {
        match policy {
            UnmatchedArg::Drop => Self::Drop,
            UnmatchedArg::Keep => Self::Keep,
        }
    }
}

/// What is said of a table, in the form that `write` tells.
fn of_table<'t>(text: &'t str, write: &str) -> Result<(String, &'t str), String> {
    let (table, what) = text.split_once('=').ok_or_else(|| format!("write {write}"))?;
    Ok((table.to_owned(), what))
}

pub(crate) fn distribution_of_table(text: &str) -> Result<(String, Distribution), String> {
    let (table, how) = of_table(text, "TABLE=auto, TABLE=partitioned or TABLE=broadcast")?;
    Ok((table, distribution(how)?))
}

pub(crate) fn distribution(text: &str) -> Result<Distribution, String> {
    match text {
        "auto" => Ok(Distribution::Auto),
        "partitioned" => Ok(Distribution::Partitioned),
        "broadcast" => Ok(Distribution::Broadcast),
        _ => Err(format!("{text:?} is none of auto, partitioned and broadcast")),
    }
}

pub(crate) fn mode_of_table(text: &str) -> Result<(String, ModeArg), String> {
    let (table, how) = of_table(text, "TABLE=latest or TABLE=as-of")?;
    Ok((table, mode(how)?))
}

pub(crate) fn mode(text: &str) -> Result<ModeArg, String> {
    match text {
        "latest" => Ok(ModeArg::Latest),
        "as-of" => Ok(ModeArg::AsOf),
        _ => Err(format!("{text:?} is neither latest nor as-of")),
    }
}

pub(crate) fn tolerance(text: &str) -> Result<(String, Duration), String> {
    let (table, time) = of_table(text, "TABLE=DURATION")?;
    Ok((table, duration(time)?))
}

pub(crate) fn version_column(text: &str) -> Result<(String, String), String> {
    match of_table(text, "TABLE=COLUMN")? {
        (_, "") => Err("write TABLE=COLUMN".to_owned()),
        (table, column) => Ok((table, column.to_owned())),
    }
}

/// `TABLE=CONDITION`, or the condition of all tables that are not named.
pub(crate) fn ready_after(text: &str) -> Result<(Option<String>, ReadyAfter), String> {
    let (table, conditions) = text.split_once('=').map_or((None, text), |(table, rest)| (Some(table), rest));
    let mut ready_after = ReadyAfter::MARKER;
    for condition in conditions.split(',').map(str::trim) {
        let is_twice = if condition == "marker" {
            false
        } else if let Some(rows) = condition.strip_suffix("rows") {
            let rows = count(rows);
            let rows =
                rows.ok_or_else(|| format!("{condition:?}: write a number of rows, such as 10000rows"))?;
            ready_after.rows.replace(rows).is_some()
        } else {
            let time = duration(condition);
            let time = time.map_err(|_| format!("{condition:?} is none of marker, 10000rows and 30s"))?;
            ready_after.time.replace(time).is_some()
        };
        if is_twice {
            return Err(format!("{condition:?}: rows and time may be said once each"));
        }
    }
    Ok((table.map(str::to_owned), ready_after))
}

/// A count as people write it: 20000 or 20_000.
pub(crate) fn count(text: &str) -> Option<u64> {
    text.trim().replace('_', "").parse().ok()
}

/// A time as flags have it: 1m30s.
pub(crate) fn time_text(time: Duration) -> String {
    time_of_units(time).replace(' ', "")
}

/// A time in units that are always as long: days, and what is left.
pub(crate) fn time_of_units(time: Duration) -> String {
    const DAY: u64 = 86_400;
    let (days, rest) = (time.as_secs() / DAY, Duration::new(time.as_secs() % DAY, time.subsec_nanos()));
    // Beyond that there are months, of 30.44 days.
    if days < 30 {
        return humantime::format_duration(time).to_string();
    }
    let rest = if rest.is_zero() { String::new() } else { format!(" {}", humantime::format_duration(rest)) };
    format!("{days}days{rest}")
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    // The one number that needs no unit.
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text)
        .map_err(|_| "write a time with its unit, such as 500us, 1ms or 2s".to_owned())
}

/// Trades a second, with or without its unit.
pub(crate) fn rate(text: &str) -> Result<u64, String> {
    number(text.strip_suffix("/s").unwrap_or(text), 1..=1_000_000_000)
}

/// A whole number in a range, or what the range is.
pub(crate) fn number<T: TryFrom<u64>>(text: &str, range: std::ops::RangeInclusive<u64>) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| match range.into_inner() {
        (min, u64::MAX) => format!("write a whole number of at least {min}"),
        (min, max) => format!("write a whole number from {min} to {max}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_units_that_are_always_as_long() {
        let text = |seconds| time_text(Duration::from_secs(seconds));
        assert_eq!([90, 86_400 * 29 + 1].map(text), ["1m30s", "29days1s"]);
        assert_eq!([86_400 * 100, 86_400 * 400 + 60].map(text), ["100days", "400days1m"]);
        assert_eq!(duration(&text(86_400 * 400 + 60)), Ok(Duration::from_secs(86_400 * 400 + 60)));
    }

    #[test]
    fn what_a_table_waits_for_is_read() {
        let after = |rows, seconds: Option<u64>| ReadyAfter { rows, time: seconds.map(Duration::from_secs) };
        for (text, table, expected) in [
            ("marker", None, after(None, None)),
            ("users=marker", Some("users"), after(None, None)),
            ("users=10_000rows", Some("users"), after(Some(10_000), None)),
            ("5s", None, after(None, Some(5))),
            ("users=3rows,5s", Some("users"), after(Some(3), Some(5))),
            ("users=0", Some("users"), after(None, Some(0))),
        ] {
            assert_eq!(ready_after(text), Ok((table.map(str::to_owned), expected)), "{text}");
        }
        for (text, part) in [
            ("", "none of marker"),
            ("users=", "none of marker"),
            ("users=markers", "none of marker"),
            ("users=rows", "number of rows"),
            ("users=-1rows", "number of rows"),
            ("users=1rows,2rows", "once each"),
            ("users=5", "none of marker"),
        ] {
            let error = ready_after(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
