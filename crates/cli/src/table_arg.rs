//! The tables of `--table`, out of what the user typed.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tradejoin_config::nearest;
use tradejoin_connectors::{AnyTable, ColumnChoice, KeyPair};
use tradejoin_model::{Distribution, MissPolicy};

use crate::arg_values::{distribution, duration, mode};
use crate::args::{EngineArgs, InputArgs, LookUpArgs, ModeArg};
use crate::failure::UsageError;
use crate::policy::policy_of;

/// How `--table` is written, for messages.
const FORM: &str = "NAME=FILE,key=COLUMN[,columns=COLUMN:COLUMN as NAME][,distribution=partitioned|broadcast|auto]\
    [,mode=latest|as-of][,tolerance=DURATION][,version=COLUMN][,on-miss=POLICY]";
/// What may stand behind the file. The last two belong to a policy of `on-miss`, which
/// has commas, too.
const OPTIONS: [&str; 9] =
    ["key", "columns", "distribution", "mode", "tolerance", "version", "on-miss", "then", "clock"];

/// A table as the command line has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableArg {
    pub(crate) table: AnyTable,
    pub(crate) file: PathBuf,
    /// What flags may say in its place; `None` if nothing is said.
    pub(crate) distribution: Option<Distribution>,
    pub(crate) mode: Option<ModeArg>,
    pub(crate) tolerance: Option<Duration>,
    pub(crate) version: Option<String>,
    pub(crate) on_miss: Option<MissPolicy>,
}

impl FromStr for TableArg {
    type Err = String;

    /// # Errors
    /// What is wrong with it, and how it is written.
    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).map_err(|what| format!("{what}; write {FORM}"))
    }
}

fn parse(text: &str) -> Result<TableArg, String> {
    let (name, rest) = text.split_once('=').ok_or("a table has a name and a file")?;
    let name = name.trim();
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err(format!("{name:?} is no name of a table: letters, digits, _ and - make one"));
    }
    let mut parts = rest.split(',');
    let file = parts.next().unwrap_or_default();
    if file.is_empty() {
        return Err(format!("table {name} has no file"));
    }
    let said = Said::read(name, parts)?;
    let of_table = |what: String| format!("table {name}: {what}");
    let key = said.get("key").ok_or_else(|| format!("table {name} has no key"))?;
    let key = key.split('+').map(key_pair).collect::<Option<Vec<_>>>();
    let key = key.ok_or_else(|| of_table("an empty column in its key".to_owned()))?;
    let columns =
        said.get("columns").map_or(Ok(Vec::new()), |columns| columns.split(':').map(choice).collect());
    let columns = columns.map_err(|what| of_table(format!("{what} in its columns")))?;
    let arg = TableArg {
        table: AnyTable { name: name.to_owned(), key, columns },
        file: file.into(),
        distribution: said.read_as("distribution", distribution)?,
        mode: said.read_as("mode", mode)?,
        tolerance: said.read_as("tolerance", duration)?,
        version: said.get("version").map(str::to_owned),
        on_miss: said.policy().map(|text| policy_of(&text)).transpose().map_err(of_table)?,
    };
    Ok(arg)
}

/// What stands behind the file, by its name.
struct Said<'t> {
    table: &'t str,
    options: Vec<(&'t str, &'t str)>,
}

impl<'t> Said<'t> {
    fn read(table: &'t str, parts: impl Iterator<Item = &'t str>) -> Result<Self, String> {
        let mut options: Vec<(&str, &str)> = Vec::new();
        for part in parts {
            let (option, value) = part.split_once('=').unwrap_or((part, ""));
            let (option, value) = (option.trim(), value.trim());
            if !OPTIONS.contains(&option) {
                return Err(unknown(table, option));
            }
            if value.is_empty() {
                return Err(format!("table {table}: {option} has no value"));
            }
            if options.iter().any(|(other, _)| *other == option) {
                return Err(format!("table {table}: {option} stands twice"));
            }
            options.push((option, value));
        }
        let said = Self { table, options };
        match ["then", "clock"].into_iter().find(|option| said.get(option).is_some()) {
            Some(option) if said.get("on-miss").is_none() => {
                Err(format!("table {table}: {option} without on-miss=hold=..."))
            }
            _ => Ok(said),
        }
    }

    fn get(&self, option: &str) -> Option<&'t str> {
        self.options.iter().find(|(name, _)| *name == option).map(|(_, value)| *value)
    }

    fn read_as<T>(&self, option: &str, read: fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
        let value = self.get(option).map(read).transpose();
        value.map_err(|what| format!("table {}: {option}: {what}", self.table))
    }

    /// The policy of `on-miss`, with the options that stood behind it.
    fn policy(&self) -> Option<String> {
        let mut policy = self.get("on-miss")?.to_owned();
        for option in ["then", "clock"] {
            policy.extend(self.get(option).map(|value| format!(",{option}={value}")));
        }
        Some(policy)
    }
}

/// Puts what `--table` says of a table where the flags that say it of any table have
/// it.
///
/// # Errors
/// If such a flag says it, too.
pub(crate) fn spread(
    input: &InputArgs,
    look_ups: &mut LookUpArgs,
    engine: &mut EngineArgs,
) -> Result<(), UsageError> {
    for TableArg { table, mode, tolerance, version, on_miss, .. } in &input.table {
        let name = table.name.as_str();
        add(&mut look_ups.mode, name, *mode, "mode")?;
        add(&mut look_ups.tolerance, name, *tolerance, "tolerance")?;
        add(&mut look_ups.version_column, name, version.clone(), "version")?;
        add(&mut engine.on_miss, name, *on_miss, "on-miss")?;
    }
    Ok(())
}

fn add<T>(
    said: &mut Vec<(String, T)>,
    table: &str,
    value: Option<T>,
    option: &str,
) -> Result<(), UsageError> {
    let Some(value) = value else { return Ok(()) };
    if said.iter().any(|(other, _)| other == table) {
        let flag = if option == "version" { "version-column" } else { option };
        return Err(UsageError(format!("--{flag} names {table}, whose --table says {option}= already")));
    }
    said.push((table.to_owned(), value));
    Ok(())
}

/// `COLUMN`, or `TRADES_COLUMN@TABLE_COLUMN`.
fn key_pair(text: &str) -> Option<KeyPair> {
    let (trades, table) = text.split_once('@').unwrap_or((text, text));
    let (trades, table) = (trades.trim(), table.trim());
    let is_whole = !(trades.is_empty() || table.is_empty());
    is_whole.then(|| KeyPair { trades: trades.to_owned(), table: table.to_owned() })
}

/// `COLUMN`, or `COLUMN as NAME` in any case of letters; `COLUMN?` may be missing.
fn choice(text: &str) -> Result<ColumnChoice, String> {
    let (column, name) = match text.to_ascii_lowercase().rfind(" as ") {
        Some(at) => (text[..at].trim(), Some(text[at + 4..].trim())),
        None => (text.trim(), None),
    };
    let required = column.strip_suffix('?').map(str::trim_end);
    let (column, is_optional) = (required.unwrap_or(column), required.is_some());
    let name = name.unwrap_or(column);
    if column.is_empty() || name.is_empty() || column.to_ascii_lowercase().ends_with(" as") {
        return Err("an empty name".to_owned());
    }
    Ok(ColumnChoice { column: column.to_owned(), name: name.to_owned(), is_optional })
}

fn unknown(table: &str, option: &str) -> String {
    let near = nearest(option, OPTIONS.iter().copied());
    let near = near.map(|near| format!(": did you mean {near}?")).unwrap_or_default();
    format!("table {table} has an unknown option {option:?}{near} (a file's name may hold no comma)")
}

#[cfg(test)]
mod tests {
    use tradejoin_model::{Expired, Hold, HoldLimit};

    use super::*;

    fn pair(trades: &str, table: &str) -> KeyPair {
        KeyPair { trades: trades.to_owned(), table: table.to_owned() }
    }

    #[test]
    fn a_table_is_a_name_a_file_and_a_key() {
        let arg: TableArg = "venues=data/v.csv,key=venue".parse().expect("a table");
        assert_eq!((arg.table.name.as_str(), arg.file.to_str()), ("venues", Some("data/v.csv")));
        assert_eq!(
            (arg.table.key, arg.table.columns, arg.distribution),
            (vec![pair("venue", "venue")], vec![], None)
        );
        let arg: TableArg =
            "v=-,distribution=broadcast,columns=city:open AS opens at:zone? as tz:kind?,key=venue@mic + ccy"
                .parse()
                .expect("a table");
        assert_eq!(arg.table.key, [pair("venue", "mic"), pair("ccy", "ccy")]);
        let choices: Vec<_> =
            arg.table.columns.iter().map(|c| (c.column.as_str(), c.name.as_str(), c.is_optional)).collect();
        let expected = [
            ("city", "city", false),
            ("open", "opens at", false),
            ("zone", "tz", true),
            ("kind", "kind", true),
        ];
        assert_eq!(choices, expected);
        assert_eq!(arg.distribution, Some(Distribution::Broadcast));
        assert_eq!((arg.mode, arg.tolerance, arg.version, arg.on_miss), (None, None, None, None));
    }

    #[test]
    fn a_table_says_how_it_is_looked_up_and_what_becomes_of_a_miss() {
        let arg: TableArg =
            "v=v.csv,mode=as-of,then=keep,key=a,tolerance=2us,on-miss=hold=5rows".parse().expect("a table");
        let hold = Hold { limit: HoldLimit::Rows(5), then: Expired::Keep };
        assert_eq!(
            (arg.mode, arg.tolerance, arg.version, arg.on_miss),
            (Some(ModeArg::AsOf), Some(Duration::from_micros(2)), None, Some(MissPolicy::Hold(hold)))
        );
        let arg: TableArg = "v=v.csv,key=a,mode=latest,version=seq,on-miss=drop".parse().expect("a table");
        assert_eq!((arg.mode, arg.version.as_deref()), (Some(ModeArg::Latest), Some("seq")));
        assert_eq!(arg.on_miss, Some(MissPolicy::Drop));
    }

    #[test]
    fn what_is_no_table_is_explained() {
        for (text, expected) in [
            ("venues", "a table has a name and a file"),
            ("=v.csv,key=a", "\"\" is no name of a table"),
            ("a.b=v.csv,key=a", "\"a.b\" is no name of a table"),
            ("v=,key=a", "table v has no file"),
            ("v=v.csv", "table v has no key"),
            ("v=v.csv,key=", "table v: key has no value"),
            ("v=v.csv,key=a,key=b", "table v: key stands twice"),
            ("v=v.csv,key=a+", "table v: an empty column in its key"),
            ("v=v.csv,key=a@", "table v: an empty column in its key"),
            ("v=v.csv,key=a,columns=b::c", "table v: an empty name in its columns"),
            ("v=v.csv,key=a,columns=?", "table v: an empty name in its columns"),
            ("v=v.csv,key=a,columns=b as ", "table v: an empty name in its columns"),
            ("v=v.csv,key=a,column=b", "unknown option \"column\": did you mean columns?"),
            ("v=v.csv,key=a,distributon=auto", "did you mean distribution?"),
            ("v=v,w.csv,key=a", "unknown option \"w.csv\" (a file's name may hold no comma)"),
            ("v=v.csv,key=a,distribution=spread", "table v: distribution: \"spread\" is none of auto, part"),
            ("v=v.csv,key=a,mode=asof", "table v: mode: \"asof\" is neither latest nor as-of"),
            ("v=v.csv,key=a,tolerance=1", "table v: tolerance: write a time with its unit"),
            ("v=v.csv,key=a,version=", "table v: version has no value"),
            ("v=v.csv,key=a,on-miss=kep", "table v: kep is no policy"),
            ("v=v.csv,key=a,on-miss=keep,then=drop", "table v: then=drop goes with hold alone"),
            ("v=v.csv,key=a,then=drop", "table v: then without on-miss=hold"),
            ("v=v.csv,key=a,on-mis=drop", "did you mean on-miss?"),
        ] {
            let error = text.parse::<TableArg>().expect_err(text);
            assert!(error.contains(expected) && error.ends_with(FORM), "{text}: {error}");
        }
    }
}
