//! The tables of `--table`, out of what the user typed.

use std::path::PathBuf;
use std::str::FromStr;

use tradejoin_connectors::{AnyTable, ColumnChoice, KeyPair};
use tradejoin_model::Distribution;

/// How `--table` is written, for messages.
const FORM: &str =
    "NAME=FILE,key=COLUMN[,columns=COLUMN:COLUMN as NAME][,distribution=partitioned|broadcast|auto]";
/// What may stand behind the file.
const OPTIONS: [&str; 3] = ["key", "columns", "distribution"];

/// A table as the command line has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableArg {
    pub(crate) table: AnyTable,
    pub(crate) file: PathBuf,
    /// `None` if nothing is said.
    pub(crate) distribution: Option<Distribution>,
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
    let [mut key, mut columns, mut distribution] = [None; 3];
    for part in parts {
        let (option, value) = part.split_once('=').unwrap_or((part, ""));
        let place = match option.trim() {
            "key" => &mut key,
            "columns" => &mut columns,
            "distribution" => &mut distribution,
            other => return Err(unknown(name, other)),
        };
        if value.trim().is_empty() {
            return Err(format!("table {name}: {} has no value", option.trim()));
        }
        if place.replace(value).is_some() {
            return Err(format!("table {name}: {} stands twice", option.trim()));
        }
    }
    let key = key.ok_or_else(|| format!("table {name} has no key"))?;
    let key = key.split('+').map(key_pair).collect::<Option<Vec<_>>>();
    let key = key.ok_or_else(|| format!("table {name}: an empty column in its key"))?;
    let columns = columns.map_or(Ok(Vec::new()), |columns| columns.split(':').map(choice).collect());
    let columns = columns.map_err(|what| format!("table {name}: {what} in its columns"))?;
    let distribution = match distribution.map(str::trim) {
        None => None,
        Some("partitioned") => Some(Distribution::Partitioned),
        Some("broadcast") => Some(Distribution::Broadcast),
        Some("auto") => Some(Distribution::Auto),
        Some(other) => return Err(format!("table {name}: {other:?} is no distribution")),
    };
    let table = AnyTable { name: name.to_owned(), key, columns };
    Ok(TableArg { table, file: file.into(), distribution })
}

/// `COLUMN`, or `TRADES_COLUMN@TABLE_COLUMN`.
fn key_pair(text: &str) -> Option<KeyPair> {
    let (trades, table) = text.split_once('@').unwrap_or((text, text));
    let (trades, table) = (trades.trim(), table.trim());
    let is_whole = !(trades.is_empty() || table.is_empty());
    is_whole.then(|| KeyPair { trades: trades.to_owned(), table: table.to_owned() })
}

/// `COLUMN`, or `COLUMN as NAME` in any case of letters.
fn choice(text: &str) -> Result<ColumnChoice, String> {
    let (column, name) = match text.to_ascii_lowercase().rfind(" as ") {
        Some(at) => (text[..at].trim(), text[at + 4..].trim()),
        None => (text.trim(), text.trim()),
    };
    if column.is_empty() || name.is_empty() || column.to_ascii_lowercase().ends_with(" as") {
        return Err("an empty name".to_owned());
    }
    Ok(ColumnChoice { column: column.to_owned(), name: name.to_owned() })
}

fn unknown(table: &str, option: &str) -> String {
    let near = nearest(option, OPTIONS.iter().copied());
    let near = near.map(|near| format!(": did you mean {near}?")).unwrap_or_default();
    format!("table {table} has an unknown option {option:?}{near} (a file's name may hold no comma)")
}

/// That of `known` which a mistyped word was most likely meant to be.
pub(crate) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let distant = known.map(|known| (strsim::osa_distance(word, known), known));
    // One slip, or two in a longer word.
    let close = distant.filter(|(distance, known)| *distance <= 1 + known.len() / 6);
    close.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
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
        let arg: TableArg = "v=-,distribution=broadcast,columns=city:open AS opens at,key=venue@mic + ccy"
            .parse()
            .expect("a table");
        assert_eq!(arg.table.key, [pair("venue", "mic"), pair("ccy", "ccy")]);
        let choices: Vec<_> =
            arg.table.columns.iter().map(|choice| (choice.column.as_str(), choice.name.as_str())).collect();
        assert_eq!(choices, [("city", "city"), ("open", "opens at")]);
        assert_eq!(arg.distribution, Some(Distribution::Broadcast));
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
            ("v=v.csv,key=a,columns=b as ", "table v: an empty name in its columns"),
            ("v=v.csv,key=a,column=b", "unknown option \"column\": did you mean columns?"),
            ("v=v.csv,key=a,distributon=auto", "did you mean distribution?"),
            ("v=v,w.csv,key=a", "unknown option \"w.csv\" (a file's name may hold no comma)"),
            ("v=v.csv,key=a,distribution=spread", "table v: \"spread\" is no distribution"),
        ] {
            let error = text.parse::<TableArg>().expect_err(text);
            assert!(error.contains(expected) && error.ends_with(FORM), "{text}: {error}");
        }
    }
}
