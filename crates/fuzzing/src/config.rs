//! The configuration file of a run: nothing of it is passed over, and what is wrong with it
//! is told with its line.

use toml::{Table, Value};
use tradejoin_config::Config;

/// A key that no table of the file has.
const UNKNOWN: &str = "no_such_key";

/// A configuration file.
pub(crate) fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let read = match Config::parse(text) {
        Ok(config) => config,
        Err(error) => {
            assert!((1..=text.split('\n').count()).contains(&error.line), "line {}", error.line);
            assert!(!error.what.is_empty());
            return;
        }
    };
    let said: Table = match toml::from_str(text) {
        Ok(said) => said,
        // A count may be larger than numbers of TOML that are of no type.
        Err(error) => return assert!(error.message().ends_with("value was too large"), "{error}"),
    };
    let written = toml::to_string(&read).expect("it can be written");
    assert_eq!(Config::parse(&written), Ok(read.clone()), "it reads back");
    let again: Table = toml::from_str(&written).expect("TOML");
    assert_eq!(without_empty(again), without_empty(said.clone()), "nothing is passed over");
    let arguments = read.arguments(|_, _| false);
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.to_str().expect("text")).collect();
    assert!(arguments.iter().all(|argument| argument.starts_with("--")));
    assert_eq!(arguments.len(), said.iter().map(|(section, keys)| flags(section, keys)).sum::<usize>());
    assert!(read.arguments(|_, _| true).is_empty(), "flags go before it");
    refuse_unknown(&written);
}

/// Without tables and lists that have nothing in them: those that are not there are the same.
fn without_empty(table: Table) -> Table {
    let is_empty = |value: &Value| match value {
        Value::Table(table) => table.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    };
    table.into_iter().filter(|(_, value)| !is_empty(value)).collect()
}

/// How many flags say what a section says.
fn flags(section: &str, keys: &Value) -> usize {
    let Value::Table(keys) = keys else {
        assert_eq!(section, "table");
        return keys.as_array().expect("tables").len();
    };
    let flags = keys.iter().map(|(key, value)| match value {
        Value::Boolean(is_set) => usize::from(*is_set),
        // One for each table.
        Value::Table(by_table) => by_table.len(),
        Value::Array(groups) if key == "groups" => groups.len(),
        _ => 1,
    });
    flags.sum()
}

/// A key that is unknown is refused in any section, with its line.
fn refuse_unknown(written: &str) {
    // A line of a text may look like the beginning of a section.
    if written.contains("\"\"\"") || written.contains("'''") {
        return;
    }
    let lines: Vec<_> = written.lines().collect();
    let is_section = |line: &&str| line.starts_with('[') && !line.contains(['.', '"', '\'']);
    for at in (0..lines.len()).filter(|&at| is_section(&lines[at])) {
        let mut lines = lines.clone();
        let line = format!("{UNKNOWN} = 1");
        lines.insert(at + 1, &line);
        let error = Config::parse(&lines.join("\n")).expect_err("there is no such key");
        assert_eq!(error.line, at + 2, "{}", error.what);
        assert!(error.what.starts_with(&format!("unknown field `{UNKNOWN}`")), "{}", error.what);
    }
}
