//! Journals: what is read is written again as what it was.

use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use tradejoin_connectors::{Journal, JournalWriter};
use tradejoin_disk::{Disk as _, Mode, SimulatedDisk};
use tradejoin_flow::End;
use tradejoin_model::{ChangeLane, Keys, Messages};

use crate::memory::Memory;
use crate::rows::change_text;

/// A journal, read and written and read again.
pub(crate) fn journals(bytes: &[u8]) {
    let Ok(journal) = Journal::read(&Memory::new(bytes).path()) else { return };
    (0..journal.tables.len()).for_each(|table| check_together(&journal, table));
    let (disk, path) = (SimulatedDisk::new(), Path::new("journals/journal"));
    disk.create_folder(Path::new("journals"), Mode::Shared).expect("memory");
    let mut writer = JournalWriter::create_on(Arc::new(disk.clone()), path).expect("a file in memory");
    writer.begin(journal.tables.clone()).expect("memory");
    writer.updates(&journal.entries).expect("memory");
    let mut prepared = writer.end(Some(journal.trades), End::Complete).expect("memory");
    prepared.make_durable().and_then(|_| prepared.publish()).expect("memory");
    let copy = Memory::new(&disk.read(path).expect("it has its name"));
    let again = Journal::read(&copy.path()).expect("what was written is a journal");
    assert_eq!((&again.tables, again.trades), (&journal.tables, journal.trades));
    assert_eq!(entries(&again), entries(&journal));
}

/// All changes of a table in one block, as a replay may have them.
fn check_together(journal: &Journal, table: usize) {
    let mut changes = journal.entries.iter().filter(|entry| entry.table == table).map(|entry| &entry.changes);
    let Some(first) = changes.next() else { return };
    // Otherwise no run takes it.
    if journal.check_table(table, first).is_err() {
        return;
    }
    let mut lane = ChangeLane::default();
    for changes in std::iter::once(first).chain(changes) {
        lane.append_rows(changes, &(0..changes.len() as u32).collect::<Vec<_>>());
    }
    let none = RecordBatch::new_empty(Schema::empty().into());
    Messages::new(none, vec![Keys::none()], vec![lane]).expect("changes that hold together");
}

fn entries(journal: &Journal) -> Vec<(u64, usize, Vec<String>)> {
    let entry = |entry: &tradejoin_connectors::JournalEntry| {
        let changes = (0..entry.changes.len()).map(|change| change_text(&entry.changes, change));
        (entry.trades_before, entry.table, changes.collect())
    };
    journal.entries.iter().map(entry).collect()
}
