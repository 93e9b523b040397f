//! How each table of a run is looked up, out of what was typed.

use tradejoin_connectors::TableMode;

use crate::args::{LookUpArgs, ModeArg};
use crate::failure::UsageError;

/// The mode of each table of a run, by their names, in their order.
pub(crate) fn modes(args: &LookUpArgs, tables: &[&str]) -> Result<Vec<TableMode>, UsageError> {
    check_names("--mode", &args.mode, tables)?;
    check_names("--tolerance", &args.tolerance, tables)?;
    check_names("--version-column", &args.version_column, tables)?;
    tables.iter().map(|table| mode(args, table)).collect()
}

fn mode(args: &LookUpArgs, table: &str) -> Result<TableMode, UsageError> {
    let tolerance = of_table(&args.tolerance, table);
    let version_column = of_table(&args.version_column, table);
    match (of_table(&args.mode, table).copied().unwrap_or(ModeArg::Latest), tolerance, version_column) {
        (ModeArg::Latest, Some(_), _) => Err(UsageError(format!(
            "--tolerance is for tables that are looked up by time: add --mode {table}=as-of"
        ))),
        (ModeArg::Latest, None, None) => Ok(TableMode::Latest),
        (ModeArg::Latest, None, Some(column)) => Ok(TableMode::LatestVersion { column: column.clone() }),
        (ModeArg::AsOf, _, Some(_)) => Err(UsageError(format!(
            "--version-column is for tables in the mode latest, and {table} is looked up by time"
        ))),
        (ModeArg::AsOf, tolerance, None) => {
            // No two times are further apart than this can tell.
            let nanoseconds =
                |tolerance: &std::time::Duration| u64::try_from(tolerance.as_nanos()).unwrap_or(u64::MAX);
            Ok(TableMode::AsOf { tolerance: tolerance.map(nanoseconds) })
        }
    }
}

fn of_table<'a, T>(said: &'a [(String, T)], table: &str) -> Option<&'a T> {
    said.iter().find(|(name, _)| name == table).map(|(_, what)| what)
}

/// Checks that what `flag` says is of tables of the run, and of each once.
pub(crate) fn check_names<T>(flag: &str, said: &[(String, T)], tables: &[&str]) -> Result<(), UsageError> {
    for (index, (name, _)) in said.iter().enumerate() {
        if said[..index].iter().any(|(other, _)| other == name) {
            return Err(UsageError(format!("{flag} names {name} twice")));
        }
        if !tables.contains(&name.as_str()) {
            return Err(UsageError(format!("{flag} names {name}, a table that the run has not")));
        }
    }
    Ok(())
}
