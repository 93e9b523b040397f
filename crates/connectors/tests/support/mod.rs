//! Little files, and readers and writers over them.
//!
//! What is where: `bad_input` what refusals say and what skipping leaves;
//! `formats` every format to every other; `fidelity` text that comes out as it
//! went in; `tables` reference tables; `files` names and partial files; `kept` and `parts`
//! outputs that a later run goes on with;
//! `parquet_input` and `row_groups` Parquet of several row groups; `streams` packed, broken and endless inputs;
//! `messages` tagged streams; `gates` what their tables wait for;
//! `modes` columns for look-ups by time and version; `going_on`, `going_on_mixed` and
//! `going_on_pipes` readers that go on where others have been; `csv_safe` formulas.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use tradejoin_connectors::{
    AddedColumn, BadRecords, Encoding, Fields, InputOptions, Location, OnBadRecord, OpenError, Output,
    OutputOptions, ReadError, TableKind, TableOptions, TableReader, TradeReader, TradesOptions, open_table,
    open_trades,
};
use tradejoin_flow::End;
use tradejoin_model::{ChangeLane, Column, Enriched, Messages};

pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("written");
        path
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).expect("a directory");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

pub(crate) fn input(path: &Path) -> InputOptions {
    InputOptions::new(Location::Path(path.to_owned())).expect("a known ending")
}

pub(crate) fn skipping(path: &Path) -> (InputOptions, BadRecords) {
    let bad = BadRecords::default();
    (InputOptions { on_bad_record: OnBadRecord::Skip, bad_records: bad.clone(), ..input(path) }, bad)
}

pub(crate) fn trades(input: InputOptions, fields: Fields) -> Result<TradeReader, OpenError> {
    open_trades(TradesOptions { input, limit: None, key_columns: vec!["instrument_id".into()], fields })
}

pub(crate) fn table(input: InputOptions, kind: TableKind) -> Result<TableReader, OpenError> {
    open_table(TableOptions { input, table: kind.into(), strict: false })
}

pub(crate) fn read_all(reader: &mut TradeReader) -> Result<Vec<Messages>, ReadError> {
    std::iter::from_fn(|| reader.read().transpose()).collect()
}

pub(crate) fn rows_of(reader: &mut TableReader) -> Result<Vec<ChangeLane>, ReadError> {
    std::iter::from_fn(|| reader.read().transpose()).collect()
}

pub(crate) fn keys(messages: &[Messages]) -> Vec<Option<u32>> {
    messages.iter().flat_map(|m| m.keys[0].ids().iter()).collect()
}

pub(crate) fn text(column: &Column, row: usize) -> Option<String> {
    match column {
        Column::Text(texts) => texts.get(row).map(|text| String::from_utf8_lossy(text).into_owned()),
        other => panic!("not texts: {other:?}"),
    }
}

/// Copies trades from file to file, without added columns.
pub(crate) fn convert(from: &Path, to: &Path) {
    let encoding = Encoding::of_path(to).expect("a known ending");
    let fields = if encoding.format.is_text() { Fields::AsText } else { Fields::Typed };
    let mut reader = trades(InputOptions { batch_len: 2, ..input(from) }, fields).expect("opens");
    let mut output = create(to, &reader, Vec::new());
    while let Some(messages) = reader.read().expect("good rows") {
        output.write_batch(&messages.trades).expect("written");
    }
    output.close(End::Complete).expect("complete");
}

pub(crate) fn create(to: &Path, reader: &TradeReader, added: Vec<AddedColumn>) -> Output {
    let encoding = Encoding::of_path(to).expect("a known ending");
    let location = Location::Path(to.to_owned());
    Output::create(OutputOptions { added, ..OutputOptions::new(location, encoding, reader.schema()) })
        .expect("created")
}

pub(crate) fn enriched(messages: Messages, columns: Vec<Column>, kept: Option<Vec<bool>>) -> Enriched {
    let rows = messages.trades.num_rows();
    let rows_kept = kept.as_ref().map_or(rows, |kept| kept.iter().filter(|kept| **kept).count());
    let messages = Arc::new(messages);
    Enriched {
        index: Default::default(),
        first_position: Default::default(),
        trades_before: 0,
        numbers: None,
        messages,
        columns,
        kept,
        rows_kept,
        dead_letters: Vec::new(),
    }
}

pub(crate) fn content(path: &Path) -> String {
    std::fs::read_to_string(path).expect("text")
}
