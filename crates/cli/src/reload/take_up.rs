//! How newer files take the place of rows in force, and how older ones do again.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use indicatif::HumanCount;
use tradejoin_connectors::{Difference, OnBadRecord};
use tradejoin_engine::Update;
use tradejoin_model::LookUp;

use super::generations::{Generation, Kept, is_same};
use super::guards::inexpressible;
use super::tables::Stamp;
use super::units::Unit;
use super::watch::Watcher;
use crate::control::{Done, Outcome};
use crate::watch::Said;

/// Why a file that is being written to counts for nothing yet.
const WRITTEN_TO: &str = "it was written to while it was read: ask again when it is whole";

/// Why files are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// One of them seems to have changed.
    Changed,
    /// A signal.
    HangUp,
    /// Somebody asked, and may have named the tables.
    Asked { is_named: bool },
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) outcomes: Vec<Outcome>,
    /// The number of the update that it is.
    pub(super) update: Option<u64>,
}

/// What is being taken up.
#[derive(Default)]
struct Taking {
    taken: Taken,
    changes: Update,
    news: Vec<String>,
}

/// What a file has in place of the rows of a table.
struct Found {
    /// The table's place among those watched.
    at: usize,
    /// The file as it was before and after it was read.
    stamp: Option<Stamp>,
    difference: Difference,
    copy: Option<Result<Arc<Kept>, Arc<str>>>,
}

impl Watcher {
    /// Copies the files that the run begins with while it loads them, if generations are
    /// kept.
    pub(super) fn keep_first(&mut self) {
        if self.store.is_none() {
            return;
        }
        for unit in 0..self.units.len() {
            let tables = self.units[unit].tables.clone();
            let first = tables.into_iter().map(|at| self.copy(at, self.files[at].tried, true)).collect();
            if let Some(store) = &self.store {
                self.units[unit].history.push(first, store);
            }
        }
    }

    /// Sees to it that what was copied is what was loaded.
    pub(super) fn check_first(&mut self) {
        for Unit { tables, history, .. } in &mut self.units {
            let loaded =
                tables.iter().map(|&at| self.files[at].table.in_force.loaded() == self.files[at].tried);
            history.forget(loaded, "it changed while it was loaded");
        }
    }

    /// A copy of a table's file, which must be as it was.
    fn copy(&mut self, at: usize, stamp: Option<Stamp>, is_first: bool) -> Result<Arc<Kept>, Arc<str>> {
        let table = &self.files[at].table;
        let Some(store) = &mut self.store else { return Err("no generations are kept".into()) };
        let path = &table.file.path;
        let on_bad_record = if is_first { table.file.on_bad_record } else { OnBadRecord::Fail };
        let is_same = || Stamp::of(path) == stamp;
        let copied = match table.file.encoding() {
            _ if stamp.is_none() && is_first => Err("its rows are those of a checkpoint".to_owned()),
            _ if !is_same() => Err("it changed before it could be copied".to_owned()),
            Ok(encoding) => store
                .keep(path, encoding, on_bad_record, table.file.limits, &self.done)
                .map_err(|e| e.to_string()),
            Err(error) => Err(format!("{error:#}")),
        };
        let copied = copied.and_then(|kept| {
            if is_same() { Ok(kept) } else { Err("it changed while it was copied".to_owned()) }
        });
        copied.map_err(|why| {
            if !self.done.load(Ordering::Relaxed) {
                let name = table.name();
                let text = format!("no copy of {name} is kept, and no rollback leads to it: {why}");
                (self.say)(Said::Warning(&text));
            }
            why.into()
        })
    }

    /// Reads the files of these units, and offers all that they change as one update.
    pub(super) fn take_up(&mut self, due: &[usize], reason: Reason) -> Taken {
        let mut taking = Taking::default();
        for &unit in due {
            match self.read(unit, reason) {
                Ok(found) => {
                    for Found { at, stamp, difference, .. } in &found {
                        if !difference.is_empty() {
                            self.warn_of_kept_rows(*at);
                        }
                        (self.files[*at].tried, self.files[*at].is_held) = (*stamp, false);
                    }
                    self.note_generation(unit, &found);
                    self.put_in_force(unit, found, Done::Reloaded, &mut taking);
                }
                Err(outcomes) => taking.taken.outcomes.extend(outcomes),
            }
            if self.done.load(Ordering::Relaxed) {
                break;
            }
        }
        self.offer(taking)
    }

    /// What the files of a unit have in place of the rows in force, or why nothing of it
    /// counts.
    fn read(&mut self, unit: usize, reason: Reason) -> Result<Vec<Found>, Vec<Outcome>> {
        if self.is_passed_over(unit, reason) {
            let why = "its file is the one that was rolled back: name the table to take it up again";
            return Err(self.outcomes(unit, Done::Unchanged, why));
        }
        let written_to = |watcher: &Self| watcher.outcomes(unit, Done::Refused, WRITTEN_TO);
        // Of all before the first is read, so that all that is read is of one state.
        let before = self.stamps_of(unit);
        let is_group = before.len() > 1;
        if reason == Reason::Changed && is_group && before.iter().any(|&(at, stamp)| self.seen[at] != stamp) {
            return Err(written_to(self));
        }
        let mut found = Vec::new();
        for &(at, stamp) in &before {
            let file = &self.files[at];
            if reason == Reason::Changed && !file.is_held && stamp == file.tried {
                continue;
            }
            let difference = file.table.difference(&self.done);
            if self.done.load(Ordering::Relaxed) {
                return Err(self.outcomes(unit, Done::Refused, "the run is over"));
            }
            if file.stamp() != stamp {
                return Err(written_to(self));
            }
            found.push((at, stamp, difference));
        }
        if self.stamps_of(unit) != before {
            return Err(written_to(self));
        }
        let mut read = Vec::new();
        let mut refusals = Vec::new();
        for (at, stamp, difference) in found {
            let table = &self.files[at].table;
            let path = table.file.path.display();
            match difference {
                Ok(difference) => {
                    let refusal = self.guards.refusal(table.look_up, &difference);
                    refusals.extend(refusal.map(|why| (at, format!("{path}: {why}"))));
                    read.push(Found { at, stamp, difference, copy: None });
                }
                Err(error) => {
                    refusals.push((at, format!("{error:#}")));
                    read.push(Found { at, stamp, difference: Difference::default(), copy: None });
                }
            }
        }
        if !refusals.is_empty() {
            return Err(self.refuse(unit, &read, &refusals));
        }
        for found in &mut read {
            if self.store.is_some() && !found.difference.is_empty() {
                found.copy = Some(self.copy(found.at, found.stamp, false));
            }
        }
        if self.stamps_of(unit) != before {
            return Err(written_to(self));
        }
        Ok(read)
    }

    /// What the files of a unit are now, also of tables that nothing is read of: a file
    /// that changes meanwhile is of the next state of the unit.
    fn stamps_of(&self, unit: usize) -> Vec<(usize, Option<Stamp>)> {
        self.units[unit].tables.iter().map(|&at| (at, self.files[at].stamp())).collect()
    }

    /// Whether the files of a unit are those that were rolled back from.
    fn is_passed_over(&mut self, unit: usize, reason: Reason) -> bool {
        let Some(generation) = &self.units[unit].passed_over else { return false };
        let is_content = |(kept, &at): (&Result<Arc<Kept>, Arc<str>>, &usize)| {
            let file = &self.files[at].table.file;
            let (Ok(kept), Ok(encoding)) = (kept, file.encoding()) else { return false };
            kept.is_content_of(&file.path, encoding, &self.done).unwrap_or(false)
        };
        let tables = &self.units[unit].tables;
        let stamps: Vec<_> = tables.iter().map(|&at| self.files[at].stamp()).collect();
        let is_wanted = reason == Reason::Asked { is_named: true };
        if is_wanted || !generation.iter().zip(tables).all(is_content) {
            self.units[unit].passed_over = None;
            return false;
        }
        for (&at, stamp) in tables.iter().zip(stamps) {
            self.files[at].tried = stamp;
        }
        true
    }

    /// Says why nothing of a unit's files counts, which then stay as they are until one of
    /// them changes.
    fn refuse(&mut self, unit: usize, read: &[Found], refusals: &[(usize, String)]) -> Vec<Outcome> {
        for Found { at, stamp, .. } in read {
            (self.files[*at].tried, self.files[*at].is_held) = (*stamp, true);
        }
        let tables = &self.units[unit].tables;
        let names: Vec<_> = tables.iter().map(|&at| self.files[at].table.name()).collect();
        let all: Vec<_> = refusals.iter().map(|(_, why)| why.as_str()).collect();
        let all = all.join("; ");
        (self.say)(Said::Warning(&match &names[..] {
            [name] => format!("{name} is not reloaded, the rows in force stay: {all}"),
            names => {
                let names = names.join(" and ");
                format!("{names} are one group and not reloaded, the rows in force stay: {all}")
            }
        }));
        let mut reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        let mut outcomes = Vec::new();
        for &at in tables {
            let own = refusals.iter().find(|(refused, _)| *refused == at).map(|(_, why)| why.clone());
            let is_newer = read.iter().any(|found| found.at == at && !found.difference.is_empty());
            let why = own.clone().unwrap_or_else(|| format!("another table of its group is refused: {all}"));
            if own.is_some() || is_newer {
                reloads[at].refused += 1;
                reloads[at].last_refusal = Some(why.clone());
            }
            outcomes.push(Outcome::nothing(self.files[at].table.name(), Done::Refused, Some(why)));
        }
        outcomes
    }

    /// Outcomes of a unit that stays as it is.
    pub(super) fn outcomes(&self, unit: usize, done: Done, why: &str) -> Vec<Outcome> {
        let outcome = |&at: &usize| Outcome::nothing(self.files[at].table.name(), done, Some(why.to_owned()));
        self.units[unit].tables.iter().map(outcome).collect()
    }

    /// Goes back to the generation before of these units, in one update; if they are not
    /// `named`, of those that have one.
    pub(super) fn roll_back(&mut self, units: &[usize], is_named: bool) -> Taken {
        let mut taking = Taking::default();
        let has_one = |&unit: &usize| self.units[unit].history.before().is_some();
        let is_meant = is_named || !units.iter().any(has_one);
        let units: Vec<_> = units.iter().copied().filter(|unit| is_meant || has_one(unit)).collect();
        for unit in units {
            match self.read_before(unit) {
                Ok(found) => {
                    for &at in &self.units[unit].tables {
                        self.files[at].is_held = true;
                    }
                    let Unit { history, passed_over, .. } = &mut self.units[unit];
                    let from = history.go_back();
                    // The files still have what was rolled back from first.
                    *passed_over = passed_over.take().or(from);
                    self.put_in_force(unit, found, Done::RolledBack, &mut taking);
                }
                Err(why) => taking.taken.outcomes.extend(self.outcomes(unit, Done::Refused, &why)),
            }
        }
        self.offer(taking)
    }

    /// What the generation before has in place of the rows in force.
    fn read_before(&self, unit: usize) -> Result<Vec<Found>, String> {
        let Unit { tables, history, .. } = &self.units[unit];
        let (Some(before), Some(in_force)) = (history.before(), history.in_force()) else {
            return Err("there is nothing to go back to: no generation before is kept".to_owned());
        };
        let mut found = Vec::new();
        for ((&at, before), in_force) in tables.iter().zip(before).zip(in_force) {
            if is_same(before, in_force) {
                continue;
            }
            let table = &self.files[at].table;
            if table.look_up == LookUp::LatestVersion {
                let why =
                    "rows of a lower version never take the place of others: give a file with higher ones";
                return Err(format!("{}: {why}", table.name()));
            }
            let failed =
                |why: String| format!("{}: the generation before cannot be read: {why}", table.name());
            let kept = before.as_ref().map_err(|why| failed(why.to_string()))?;
            let reader = kept.input().and_then(|input| table.open_as(input));
            let difference = reader.and_then(|reader| table.difference_of(reader, &self.done));
            let difference = difference.map_err(|error| failed(format!("{error:#}")))?;
            if let Some(why) = inexpressible(&difference) {
                return Err(format!("{}: {why}", table.name()));
            }
            found.push(Found { at, stamp: None, difference, copy: None });
        }
        Ok(found)
    }

    /// Notes what is to be gone back to, if anything changes.
    fn note_generation(&mut self, unit: usize, found: &[Found]) {
        if found.iter().all(|found| found.difference.is_empty()) {
            return;
        }
        let Unit { tables, history, passed_over, .. } = &mut self.units[unit];
        let (Some(store), Some(in_force)) = (&self.store, history.in_force()) else { return };
        let copy = |at: usize| found.iter().find(|found| found.at == at)?.copy.clone();
        let generation: Generation =
            tables.iter().zip(in_force).map(|(&at, kept)| copy(at).unwrap_or_else(|| kept.clone())).collect();
        history.push(generation, store);
        *passed_over = None;
    }

    /// Takes changes for those of an update, and says what they are.
    fn put_in_force(&mut self, unit: usize, found: Vec<Found>, done: Done, taking: &mut Taking) {
        let mut reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<_> = found.into_iter().filter(|found| !found.difference.is_empty()).collect();
        for &at in &self.units[unit].tables {
            let table = &self.files[at].table;
            let name = table.name();
            let Some(place) = found.iter().position(|found| found.at == at) else {
                taking.taken.outcomes.push(Outcome::nothing(name, Done::Unchanged, None));
                continue;
            };
            let Difference { added, changed, removed, changes, .. } = found.swap_remove(place).difference;
            let [shown_added, shown_changed, shown_removed] = [added, changed, removed].map(HumanCount);
            let what = if done == Done::RolledBack { "rolled back" } else { "reloaded" };
            taking.news.push(format!(
                "{name} {what}: rows added {shown_added}, changed {shown_changed}, removed {shown_removed}"
            ));
            let counts = &mut reloads[at];
            *(if done == Done::RolledBack { &mut counts.rolled_back } else { &mut counts.reloaded }) += 1;
            counts.added += added;
            counts.changed += changed;
            counts.removed += removed;
            table.in_force.lock().take(&changes);
            taking.changes.push((table.index, changes));
            let table = name.to_owned();
            taking.taken.outcomes.push(Outcome { table, done, added, changed, removed, why: None });
        }
    }

    /// Offers what was taken up as one update, and says so.
    fn offer(&mut self, taking: Taking) -> Taken {
        let Taking { mut taken, changes, news } = taking;
        if !changes.is_empty() {
            let noted = self.journaling.as_ref().map(|_| changes.clone());
            let rows = changes.iter().map(|(_, changes)| changes.len()).sum();
            let number = self.updates.offer(changes);
            self.waiting.insert(number, rows);
            if let (Some(journaling), Some(noted)) = (&mut self.journaling, noted) {
                journaling.offered(number, noted);
            }
            taken.update = Some(number);
        }
        // A trade that is read from here on finds what is said.
        news.iter().for_each(|news| (self.say)(Said::News(news)));
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicBool, AtomicUsize};
    use std::time::Duration;

    use tradejoin_connectors::{
        OnBadRecord, TableColumns, TableDefinition, TableKind, TableMode, TableOptions, open_table,
        select_outputs,
    };
    use tradejoin_engine::Updates;

    use super::*;
    use crate::plan;
    use crate::reload::generations::Store;
    use crate::reload::tables::{Copying, WatchedFile, WatchedTable};
    use crate::reload::watch::Watched;
    use crate::reload::{Guards, ReloadGroup, Share, units::units};

    const NAMES: [&str; 2] = ["instruments", "users"];

    /// A table of a file, whose rows are in force.
    fn watched(index: usize, kind: TableKind, path: &Path) -> Watched {
        let table = TableDefinition::from(kind);
        let input = plan::input(path, None, None).expect("a file");
        let options = TableOptions { input, table: table.clone(), strict: false };
        let mut reader = open_table(options).expect("a table");
        let offer = TableColumns { table, columns: reader.columns().to_vec() };
        let selected = select_outputs(&[offer], [], &[]).expect("columns").tables.remove(0);
        reader.set_mode(&TableMode::Latest).expect("a mode");
        reader.load(&selected.fields).expect("columns");
        let file = WatchedFile::new(path, None).with_bad_records(OnBadRecord::Fail);
        let (watched, mut load) = WatchedTable::new(index, file, reader, &selected, &TableMode::Latest);
        while load.next().expect("rows").is_some() {}
        Watched::new(watched)
    }

    /// Two tables that are one group, and what is done whenever anything is said.
    fn watcher(paths: &[PathBuf; 2], store: Option<Store>, say: impl Fn() + Send + 'static) -> Watcher {
        let names = NAMES.map(str::to_owned);
        let kinds = [TableKind::Instruments, TableKind::Users];
        let files = (0..2).map(|at| watched(at, kinds[at], &paths[at])).collect::<Vec<_>>();
        let guards = Guards { max_removed: Share::Percent(20.0), min_rows: 1 };
        let group = [ReloadGroup(names.to_vec())];
        let mut watcher = Watcher::new(files, units(&group, &names), guards, Updates::default());
        watcher.store = store;
        watcher.say = Box::new(move |_| say());
        watcher
    }

    fn put(path: &Path, name: &str) {
        let header = if path.ends_with("u.csv") {
            format!("user_id,username\n7,{name}\n")
        } else {
            format!("instrument_id,ticker,strike,expiry,option_type\n1,{name},200,2024-11-03,call\n")
        };
        fs::write(path, header).expect("a file");
    }

    #[test]
    fn a_group_is_of_one_state_of_its_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let paths = ["i.csv", "u.csv"].map(|name| folder.path().join(name));
        paths.iter().for_each(|path| put(path, "A"));
        let store = Store::create(Some(folder.path()), 2).expect("a store");
        // No copy can be made, which is said between the reading and its end.
        store.remover()();
        let (users, said) = (paths[1].clone(), Arc::new(AtomicUsize::new(0)));
        let times = Arc::clone(&said);
        let mut watcher = watcher(&paths, Some(store), move || {
            if times.fetch_add(1, Ordering::Relaxed) == 0 {
                put(&users, "another");
            }
        });
        put(&paths[0], "B");
        watcher.seen = watcher.files.iter().map(Watched::stamp).collect();
        let taken = watcher.take_up(&[0], Reason::Changed);
        assert_eq!(said.load(Ordering::Relaxed), 1, "the other file has changed meanwhile");
        assert_eq!((taken.update, taken.outcomes[0].why.as_deref()), (None, Some(WRITTEN_TO)));
        // Nor is what has changed since it was seen to stand still.
        let taken = watcher.take_up(&[0], Reason::Changed);
        assert_eq!((taken.update, taken.outcomes[1].why.as_deref()), (None, Some(WRITTEN_TO)));
        watcher.seen = watcher.files.iter().map(Watched::stamp).collect();
        let taken = watcher.take_up(&[0], Reason::Changed);
        assert_eq!(taken.update, Some(0));
        let done = taken.outcomes.iter().map(|outcome| (outcome.table.as_str(), outcome.done));
        assert_eq!(done.collect::<Vec<_>>(), NAMES.map(|name| (name, Done::Reloaded)));
    }

    #[test]
    fn first_rows_do_not_wait_for_copies_that_panicked() {
        let folder = tempfile::tempdir().expect("a folder");
        let paths = ["i.csv", "u.csv"].map(|name| folder.path().join(name));
        paths.iter().for_each(|path| put(path, "A"));
        let store = Store::create(Some(folder.path()), 2).expect("a store");
        store.remover()();
        let watcher = watcher(&paths, Some(store), || panic!("a bug"));
        let in_force: Vec<_> = watcher.files.iter().map(|file| Arc::clone(&file.table.in_force)).collect();
        let copying = Copying::begin(watcher.files.iter().map(|file| &file.table));
        let is_copied = || in_force.iter().all(|table| !table.is_being_copied.load(Ordering::Relaxed));
        assert!(!is_copied());
        let look = || watcher.look(Duration::ZERO, &AtomicBool::new(false), Some(copying));
        assert!(catch_unwind(AssertUnwindSafe(look)).is_err());
        assert!(is_copied());
    }
}
