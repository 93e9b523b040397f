//! Tables whose files are taken up together: those of a group, or one alone.

use std::str::FromStr;
use std::time::{Duration, Instant};

use super::asks::no_such_table;
use super::generations::{Generation, History};
use super::tables::Stamp;
use crate::failure::UsageError;

/// Tables that change together, as the command line has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReloadGroup(pub(crate) Vec<String>);

impl FromStr for ReloadGroup {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<_> = text.split('+').map(|name| name.trim().to_owned()).collect();
        let is_twice = (1..names.len()).any(|at| names[..at].contains(&names[at]));
        if names.len() < 2 || names.iter().any(String::is_empty) || is_twice {
            return Err("write the names of two tables or more, TABLE+TABLE".to_owned());
        }
        Ok(Self(names))
    }
}

/// Tables that are taken up together or not at all, by their places among those watched.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) tables: Vec<usize>,
    /// Since when all of their files stand still.
    still_since: Instant,
    pub(super) history: History,
    /// What was rolled back from, and stays out as long as the files have its content.
    pub(super) passed_over: Option<Generation>,
}

/// How far files have come, each by its table.
pub(super) struct Look<'s> {
    /// What they were when they were read last.
    pub(super) tried: Vec<Option<Stamp>>,
    pub(super) last: &'s [Option<Stamp>],
    pub(super) now: &'s [Option<Stamp>],
}

impl Unit {
    fn new(tables: Vec<usize>) -> Self {
        Self { tables, still_since: Instant::now(), history: History::default(), passed_over: None }
    }

    /// Whether files are due: one of them may have other content, and all have stood still
    /// since the last look, those of a group for as long as `settle`.
    pub(super) fn is_due(&mut self, look: &Look<'_>, settle: Duration) -> bool {
        let differ = |a: &[Option<Stamp>], b: &[Option<Stamp>]| self.tables.iter().any(|&at| a[at] != b[at]);
        if differ(look.now, look.last) {
            self.still_since = Instant::now();
            return false;
        }
        let is_settled = self.tables.len() == 1 || self.still_since.elapsed() >= settle;
        is_settled && differ(look.now, &look.tried)
    }
}

/// Refuses groups of tables that are not there, and tables of two groups.
pub(crate) fn check_groups(groups: &[ReloadGroup], tables: &[String]) -> Result<(), UsageError> {
    for (at, ReloadGroup(names)) in groups.iter().enumerate() {
        for name in names {
            if !tables.contains(name) {
                return Err(UsageError(format!("--reload-group: {}", no_such_table(name, tables))));
            }
            if groups[..at].iter().any(|ReloadGroup(others)| others.contains(name)) {
                return Err(UsageError(format!("--reload-group: {name} is of two groups")));
            }
        }
    }
    Ok(())
}

/// The units of the tables of these names, in their order.
pub(super) fn units(groups: &[ReloadGroup], tables: &[String]) -> Vec<Unit> {
    let place = |name: &String| tables.iter().position(|table| table == name);
    let grouped = groups.iter().map(|ReloadGroup(names)| names.iter().filter_map(place).collect());
    let mut units: Vec<Vec<usize>> = grouped.collect();
    let alone = (0..tables.len()).filter(|at| !units.iter().any(|unit| unit.contains(at)));
    let alone: Vec<_> = alone.map(|at| vec![at]).collect();
    units.extend(alone);
    units.iter_mut().for_each(|unit| unit.sort_unstable());
    units.sort_unstable();
    units.into_iter().map(Unit::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_of_one_group_or_alone() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let tables = names(&["a", "b", "c", "d"]);
        let group = |text: &str| text.parse::<ReloadGroup>();
        let units = units(&[group("d + a").expect("a group")], &tables);
        let units: Vec<_> = units.into_iter().map(|unit| unit.tables).collect();
        assert_eq!(units, [vec![0, 3], vec![1], vec![2]]);
        for text in ["", "a", "a+", "a+a"] {
            assert!(group(text).is_err(), "{text}");
        }
        let check = |texts: &[&str]| {
            let groups: Vec<_> = texts.iter().map(|text| group(text).expect("a group")).collect();
            check_groups(&groups, &tables).map_err(|error| error.to_string())
        };
        assert_eq!(check(&["a+b", "c+d"]), Ok(()));
        assert_eq!(check(&["a+b", "b+d"]), Err("--reload-group: b is of two groups".to_owned()));
        let said = check(&["a+users"]).expect_err("no such table");
        assert_eq!(said, "--reload-group: no table users is watched (there are a, b, c, d)");
    }
}
