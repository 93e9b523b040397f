//! How often a run is kept.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tradejoin_engine::KeepEvery;

use crate::arg_values::{count, time_text};

/// How often a run is kept, as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Every(KeepEvery);

impl From<Every> for KeepEvery {
    fn from(every: Every) -> Self {
        every.0
    }
}

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(rows) = text.strip_suffix("rows") {
            let rows =
                count(rows).filter(|&rows| rows > 0).ok_or("write a number of trades, such as 20000rows")?;
            return Ok(Self(KeepEvery::Trades(rows)));
        }
        match humantime::parse_duration(text) {
            Ok(time) if time > Duration::ZERO => Ok(Self(KeepEvery::Time(time))),
            _ => Err("write a time, 10s, or a number of trades, 20000rows".to_owned()),
        }
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            KeepEvery::Time(time) => f.write_str(&time_text(time)),
            KeepEvery::Trades(trades) => write!(f, "{trades}rows"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_or_a_number_of_trades() {
        let shown = |text: &str| text.parse::<Every>().map(|every| every.to_string());
        assert_eq!(shown("1m 30s"), Ok("1m30s".to_owned()));
        assert_eq!(shown("20_000rows"), Ok("20000rows".to_owned()));
        for text in ["", "0s", "0rows", "10", "-1s", "rows", "banana"] {
            assert!(shown(text).is_err(), "{text:?}");
        }
    }
}
