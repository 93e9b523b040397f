//! The tables of a check.

use std::sync::{Arc, Mutex, PoisonError};

use tradejoin_connectors::{
    BadRecord, BadRecords, InputOptions, OnBadRecord, RepeatedKeys, TableColumn, TableColumns,
    TableDefinition, TableMode, TableOptions, TableReader, TradeKey, open_table,
};
use tradejoin_flow::{BoxError, TableSource};
use tradejoin_model::{ChangeLane, Distribution, LookUp, OwnedKey};

/// Keys that stand in a table more than once, and are named.
const REPEATED_KEYS: usize = 5;

/// A table that is open.
pub(super) struct CheckedTable {
    reader: TableReader,
    pub(super) distribution: Distribution,
    notes: Notes,
}

/// What is noted of a table while it is read. Clones are the same notes.
#[derive(Clone)]
pub(super) struct Notes {
    /// The columns of its file, with their types where its format has types.
    pub(super) columns: Vec<(String, Option<String>)>,
    bad_records: BadRecords,
    repeated: Arc<Mutex<RepeatedKeys>>,
}

impl CheckedTable {
    pub(super) fn open(
        input: InputOptions,
        table: TableDefinition,
        distribution: Distribution,
    ) -> anyhow::Result<Self> {
        let bad_records = BadRecords::default();
        let input =
            InputOptions { on_bad_record: OnBadRecord::Skip, bad_records: bad_records.clone(), ..input };
        let reader = open_table(TableOptions { input, table, strict: false })?;
        let columns = reader.file_columns();
        let repeated = Arc::new(Mutex::new(RepeatedKeys::new(LookUp::Latest)));
        Ok(Self { reader, distribution, notes: Notes { columns, bad_records, repeated } })
    }

    pub(super) fn name(&self) -> &str {
        self.reader.table().name()
    }

    pub(super) fn trade_key(&self) -> TradeKey {
        self.reader.table().trade_key()
    }

    pub(super) fn set_mode(&mut self, mode: &TableMode) -> anyhow::Result<()> {
        self.notes.repeated = Arc::new(Mutex::new(RepeatedKeys::new(mode.look_up())));
        Ok(self.reader.set_mode(mode)?)
    }

    pub(super) fn offer(&self) -> TableColumns {
        TableColumns { table: self.reader.table().clone(), columns: self.reader.columns().to_vec() }
    }

    pub(super) fn load_fields(&mut self, fields: &[TableColumn]) -> anyhow::Result<()> {
        Ok(self.reader.load(fields)?)
    }

    pub(super) fn notes(&self) -> Notes {
        self.notes.clone()
    }

    /// What the engine loads the table from.
    pub(super) fn load(self) -> Box<dyn TableSource> {
        Box::new(Noting { reader: self.reader, repeated: self.notes.repeated })
    }
}

impl Notes {
    /// Rows that cannot be read, but for those that overlap others.
    pub(super) fn bad_rows(&self) -> u64 {
        self.bad_records.count() - self.overlaps()
    }

    pub(super) fn overlaps(&self) -> u64 {
        self.bad_records.overlaps()
    }

    /// The first rows that cannot be read or overlap others.
    pub(super) fn first_bad(&self) -> Vec<BadRecord> {
        self.bad_records.first()
    }

    /// How many rows have a key that an earlier one has, and the first such keys.
    pub(super) fn repeated(&self) -> (u64, Vec<OwnedKey>) {
        let repeated = self.repeated.lock().unwrap_or_else(PoisonError::into_inner);
        (repeated.count(), repeated.first().to_vec())
    }
}

/// Notes the keys of a table on their way.
struct Noting {
    reader: TableReader,
    repeated: Arc<Mutex<RepeatedKeys>>,
}

impl TableSource for Noting {
    fn next(&mut self) -> Result<Option<ChangeLane>, BoxError> {
        let lane = TableSource::next(&mut self.reader)?;
        if let Some(lane) = &lane {
            self.repeated.lock().unwrap_or_else(PoisonError::into_inner).take(lane, REPEATED_KEYS);
        }
        Ok(lane)
    }

    fn bytes_hint(&self) -> Option<u64> {
        self.reader.bytes_hint()
    }
}
