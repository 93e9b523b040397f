//! Tables of any format: any block length gives the same rows, and those of text are
//! what the `csv` crate and the model make of them.

use tradejoin_connectors::{
    AnyTable, Encoding, Format, KeyPair, TableDefinition, TableKind, TableMode, TableOptions, open_table,
};
use tradejoin_flow::TableSource as _;
use tradejoin_model::{ChangeLane, Expiry, OccSymbol, OptionType, Strike, Ticker};

use crate::memory::Memory;
use crate::rows::{chain, change_text, csv_records};

/// What a table came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rows {
    rows: Vec<String>,
    rejected: u64,
    failure: Option<String>,
}

struct How<'h> {
    format: Format,
    table: &'h TableDefinition,
    mode: &'h TableMode,
    strict: bool,
    batch_len: usize,
}

/// Reads a table; `None` if it cannot be opened.
fn read(file: &Memory, how: &How<'_>, mut look: impl FnMut(&ChangeLane)) -> Option<Rows> {
    let How { format, table, mode, strict, batch_len } = *how;
    let input = file.skipping(Encoding::plain(format), batch_len);
    let mut reader = open_table(TableOptions { input, table: table.clone(), strict }).ok()?;
    let columns = reader.columns().to_vec();
    reader.load(&columns).ok()?;
    reader.set_mode(mode).ok()?;
    let mut found = Rows::default();
    loop {
        match reader.next() {
            Ok(Some(lane)) => {
                look(&lane);
                assert!(
                    lane.len() <= batch_len.max(lane.len() - lane.len() % batch_len) || !format.is_text()
                );
                found.rows.extend((0..lane.len()).map(|row| change_text(&lane, row)));
                found.rejected += lane.rejected;
            }
            Ok(None) => return Some(found),
            Err(error) => return Some(Rows { failure: Some(chain(&*error)), ..found }),
        }
    }
}

/// The table whose key is this column.
fn any_table(column: &str) -> TableDefinition {
    let key = vec![KeyPair { trades: column.to_owned(), table: column.to_owned() }];
    AnyTable { name: "any".to_owned(), key, columns: Vec::new() }.into()
}

/// Reads in all ways, which must not differ by the lengths of blocks.
pub(crate) fn read_alike(bytes: &[u8], format: Format) {
    let file = Memory::new(bytes);
    let tables = [
        TableKind::Instruments.into(),
        TableKind::Users.into(),
        any_table("instrument_id"),
        any_table("mic"),
    ];
    let version = TableMode::LatestVersion { column: "version".to_owned() };
    for table in &tables {
        for (mode, strict) in [
            (&TableMode::Latest, false),
            (&TableMode::Latest, true),
            (&TableMode::AsOf { tolerance: None }, false),
            (&version, false),
        ] {
            let read = |batch_len| read(&file, &How { format, table, mode, strict, batch_len }, |_| {});
            let (whole, mut apart) = (read(1_000), read(1));
            if let (Some(whole), Some(apart)) = (&whole, &mut apart)
                && whole.failure.is_some()
            {
                // Rows before the failure may have been handed on; and of columns that are
                // damaged in two places one block meets another first.
                let as_text = |failure: &Option<String>| failure.clone().filter(|_| format.is_text());
                assert_eq!(as_text(&whole.failure), as_text(&apart.failure), "{mode:?}");
                assert!(apart.failure.is_some(), "{mode:?}");
                continue;
            }
            assert_eq!(apart, whole, "{mode:?}, strict: {strict}");
        }
    }
}

/// Tables as CSV.
pub(crate) fn csv_tables(bytes: &[u8]) {
    read_alike(bytes, Format::Csv);
    instruments_by_the_book(bytes);
}

/// Tables as JSON Lines.
pub(crate) fn jsonl_tables(bytes: &[u8]) {
    read_alike(bytes, Format::JsonLines);
}

const COLUMNS: [&str; 5] = ["instrument_id", "ticker", "strike", "expiry", "option_type"];

/// Compares the instruments of a CSV file that has just their columns, or others that
/// mean nothing, with what another reader and the model make of it.
fn instruments_by_the_book(bytes: &[u8]) {
    let records = csv_records(bytes);
    let Some((Some(header), records)) = records.split_first() else { return };
    let names: Vec<_> = header.iter().collect();
    let find = |name: &str| names.iter().position(|column| *column == name.as_bytes());
    let places: Option<Vec<_>> = COLUMNS.iter().map(|name| find(name)).collect();
    let Some(places) = places.filter(|_| find("deleted").is_none()) else { return };
    let file = Memory::new(bytes);
    let (table, mode) = (TableKind::Instruments.into(), TableMode::Latest);
    let how = How { format: Format::Csv, table: &table, mode: &mode, strict: false, batch_len: 7 };
    let mut found = Vec::new();
    let read = read(&file, &how, |lane| {
        let tradejoin_model::Column::Options(symbols) = &lane.fields[0] else { panic!("options") };
        found.extend((0..lane.len()).map(|row| (lane.keys.ids()[row].0, symbols[row])));
    });
    // A name that stands twice, or by another name, is refused.
    let Some(Rows { rejected, failure: None, .. }) = read else { return };
    let (mut expected, mut refused) = (Vec::new(), 0);
    for record in records {
        let cells: Option<Vec<_>> = record
            .as_ref()
            .and_then(|record| record.iter().map(|cell| std::str::from_utf8(cell).ok()).collect());
        let cells = cells.filter(|cells| cells.len() == names.len());
        match cells
            .and_then(|cells| instrument(&places.iter().map(|&place| cells[place]).collect::<Vec<_>>()))
        {
            Some(row) => expected.push(row),
            None => refused += 1,
        }
    }
    // Other columns may be refused, too.
    if names.len() == COLUMNS.len() {
        assert_eq!((found, rejected), (expected, refused));
    }
}

fn instrument(cells: &[&str]) -> Option<(u32, OccSymbol)> {
    let id = cells[0].parse().ok().filter(|_| !cells[0].starts_with('+'))?;
    let symbol = OccSymbol {
        ticker: cells[1].parse::<Ticker>().ok()?,
        strike: cells[2].parse::<Strike>().ok()?,
        expiry: cells[3].strip_suffix("T00:00:00Z").unwrap_or(cells[3]).parse::<Expiry>().ok()?,
        option_type: cells[4].parse::<OptionType>().ok()?,
    };
    Some((id, symbol))
}
