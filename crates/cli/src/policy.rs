//! What the user says of trades that find nothing.

use std::time::Duration;

use tradejoin_engine::Holds;
use tradejoin_model::{Expired, Hold, HoldLimit, MissPolicy, TableSpec};

use crate::arg_values::count;
use crate::failure::UsageError;

/// Trades that may wait unless the user says.
pub(crate) const HOLD_ROWS: u64 = 2_000_000;
/// Bytes that they may take unless the user says.
pub(crate) const HOLD_BYTES: &str = "512MiB";

/// `TABLE=POLICY`.
pub(crate) fn of_table(text: &str) -> Result<(String, MissPolicy), String> {
    let (table, policy) = text.split_once('=').filter(|(table, _)| !table.is_empty()).ok_or_else(|| {
        "write TABLE=POLICY, such as instruments=keep or instruments=hold=100000rows".to_owned()
    })?;
    Ok((table.to_owned(), policy_of(policy)?))
}

pub(crate) fn policy_of(text: &str) -> Result<MissPolicy, String> {
    let (first, rest) = text.split_once(',').map_or((text, None), |(first, rest)| (first, Some(rest)));
    let simple = match first {
        "drop" => MissPolicy::Drop,
        "keep" => MissPolicy::Keep,
        "fail" => MissPolicy::Fail,
        "dead-letter" => MissPolicy::DeadLetter,
        _ => match first.strip_prefix("hold=") {
            Some(limit) => return hold(limit, rest),
            None if first == "hold" => {
                return Err("hold needs a limit: hold=100000rows or hold=30s".to_owned());
            }
            None => {
                return Err(format!(
                    "{first} is no policy: drop, keep, fail, dead-letter or hold=100000rows"
                ));
            }
        },
    };
    match rest {
        None => Ok(simple),
        Some(rest) => Err(format!("{rest} goes with hold alone")),
    }
}

fn hold(limit: &str, rest: Option<&str>) -> Result<MissPolicy, String> {
    let (mut then, mut clock) = (None, None);
    for option in rest.into_iter().flat_map(|rest| rest.split(',')) {
        let twice = match option.split_once('=') {
            Some(("then", "keep")) => then.replace(Expired::Keep).is_some(),
            Some(("then", "drop")) => then.replace(Expired::Drop).is_some(),
            Some(("then", "dead-letter")) => then.replace(Expired::DeadLetter).is_some(),
            Some(("then", other)) => return Err(format!("then={other}: write dead-letter, keep or drop")),
            Some(("clock", "processing")) => clock.replace(()).is_some(),
            Some(("clock", other)) => return Err(format!("clock={other}: write clock=processing")),
            _ => return Err(format!("{option} is no option of hold: then=... or clock=processing")),
        };
        if twice {
            return Err(format!("{option}: this option of hold stands twice"));
        }
    }
    let limit = match (limit.strip_suffix("rows"), clock) {
        (Some(rows), None) => {
            HoldLimit::Rows(count(rows).ok_or_else(|| {
                format!("hold={limit}: the limit is a number of trades, such as 100000rows")
            })?)
        }
        (Some(_), Some(())) => return Err("clock=processing is for a time: hold=30s".to_owned()),
        (None, Some(())) => HoldLimit::Processing(duration(limit)?),
        // Longer than any two times of trades are apart.
        (None, None) => HoldLimit::EventTime(u64::try_from(duration(limit)?.as_nanos()).unwrap_or(u64::MAX)),
    };
    Ok(MissPolicy::Hold(Hold { limit, then: then.unwrap_or_default() }))
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| format!("hold={text}: write a number of trades, 100000rows, or a time, 30s"))
}

/// A number of bytes with a unit.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        _ => return Err(format!("{unit} is no unit of bytes: KB, MB, GB, TB, KiB, MiB, GiB or TiB")),
    };
    let number: u64 = number.parse().map_err(|_| "write a size such as 64MiB or 1GB".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| format!("{text} is more than 64 bits can count"))
}

/// Gives tables the policies that the user asks for, and the others `default`.
pub(crate) fn apply(
    tables: &mut [TableSpec],
    default: MissPolicy,
    asked: &[(String, MissPolicy)],
) -> Result<(), UsageError> {
    tables.iter_mut().for_each(|table| table.on_miss = default);
    for (index, (name, policy)) in asked.iter().enumerate() {
        if asked[..index].iter().any(|(other, _)| other == name) {
            return Err(UsageError(format!("--on-miss names {name} twice")));
        }
        let table = tables.iter_mut().find(|table| table.name == *name);
        let table = table
            .ok_or_else(|| UsageError(format!("--on-miss names {name}, a table that the run has not")))?;
        table.on_miss = *policy;
    }
    if tables.len() > Holds::TABLES_MAX && tables.iter().any(|table| table.on_miss.hold().is_some()) {
        let text = format!("trades may wait in a run of at most {} tables", Holds::TABLES_MAX);
        return Err(UsageError(text));
    }
    Ok(())
}

/// Whether trades need a time, to wait by it.
pub(crate) fn needs_time(asked: &[(String, MissPolicy)]) -> bool {
    asked.iter().any(|(_, policy)| policy.needs_time())
}

/// Whether trades may be put aside for a miss in one of these tables.
pub(crate) fn puts_aside(tables: &[TableSpec]) -> bool {
    tables.iter().any(|table| match table.on_miss {
        MissPolicy::DeadLetter => true,
        MissPolicy::Hold(hold) => hold.then == Expired::DeadLetter,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_with_their_options() {
        let hold = |limit, then| Ok(("t".to_owned(), MissPolicy::Hold(Hold { limit, then })));
        for (text, expected) in [
            ("t=drop", Ok(("t".to_owned(), MissPolicy::Drop))),
            ("t=dead-letter", Ok(("t".to_owned(), MissPolicy::DeadLetter))),
            ("t=hold=1_000rows", hold(HoldLimit::Rows(1_000), Expired::DeadLetter)),
            ("t=hold=5rows,then=keep", hold(HoldLimit::Rows(5), Expired::Keep)),
            ("t=hold=2us", hold(HoldLimit::EventTime(2_000), Expired::DeadLetter)),
            (
                "t=hold=30s,then=drop,clock=processing",
                hold(HoldLimit::Processing(Duration::from_secs(30)), Expired::Drop),
            ),
        ] {
            assert_eq!(of_table(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_policy_is_said() {
        for (text, part) in [
            ("keep", "write TABLE=POLICY"),
            ("=keep", "write TABLE=POLICY"),
            ("t=kep", "kep is no policy"),
            ("t=hold", "hold needs a limit"),
            ("t=hold=rows", "a number of trades"),
            ("t=hold=fast", "100000rows, or a time"),
            ("t=hold=5rows,clock=processing", "is for a time"),
            ("t=hold=5rows,then=fail", "then=fail"),
            ("t=hold=5rows,then=keep,then=drop", "stands twice"),
            ("t=keep,then=drop", "goes with hold alone"),
        ] {
            let error = of_table(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1GB"), Ok(1_000_000_000));
        assert_eq!(size("17"), Ok(17));
        for text in ["", "MiB", "1TB2", "-1", "99999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
