//! Trades of text: any block length gives the same rows, and they are those that the
//! `csv` and `serde_json` crates find.

use arrow_schema::SchemaRef;
use tradejoin_connectors::{
    Compression, Encoding, Fields, Format, OnBadRecord, TradeKey, TradeReader, TradesOptions, open_letters,
    open_trades,
};

use crate::json::{Line, lines};
use crate::memory::Memory;
use crate::rows::{Field, Read, chain, csv_records};

/// The lengths of blocks that are compared.
pub(crate) const BATCH_LENS: [usize; 3] = [1, 3, 1_000];

/// How trades are read.
#[derive(Clone)]
pub(crate) struct How {
    pub(crate) encoding: Encoding,
    pub(crate) batch_len: usize,
    pub(crate) fields: Fields,
    pub(crate) keys: Vec<TradeKey>,
}

impl How {
    pub(crate) fn new(format: Format) -> Self {
        let (encoding, fields) = (Encoding::plain(format), Fields::AsText);
        Self { encoding, batch_len: 1_000, fields, keys: Vec::new() }
    }
}

/// Opens trades, bad ones skipped.
fn open(file: &Memory, how: &How) -> Result<TradeReader, String> {
    let How { encoding, batch_len, fields, keys } = how.clone();
    let input = file.skipping(encoding, batch_len);
    let options = TradesOptions { input, limit: None, key_columns: keys, fields };
    open_trades(options).map_err(|error| chain(&error))
}

/// Reads trades, bad ones skipped. What cannot be opened is told.
pub(crate) fn read(file: &Memory, how: &How) -> Result<(SchemaRef, Read), String> {
    let mut trades = open(file, how)?;
    let schema = trades.schema();
    let read = Read::all(&mut trades, &schema);
    Ok((schema, read))
}

/// The same with the keys that there are; `None` if there are none, which no run has.
pub(crate) fn with_keys(file: &Memory, how: &How) -> Option<How> {
    let schema = open(file, how).ok()?.schema();
    Some(How { keys: keys_in(&schema), ..how.clone() }).filter(|how| !how.keys.is_empty())
}

/// The ids that a file has, and its first columns as a key of texts.
fn keys_in(schema: &SchemaRef) -> Vec<TradeKey> {
    let has = |name: &&str| schema.column_with_name(name).is_some();
    let ids = ["instrument_id", "user_id"].into_iter().filter(has).map(TradeKey::from);
    let names: Vec<_> = schema.fields().iter().take(2).map(|field| field.name().clone()).collect();
    ids.chain((names.len() == 2).then_some(TradeKey::Texts(names))).collect()
}

/// Reads in all block lengths, which must not differ, with the keys that there are.
fn read_alike(file: &Memory, how: &How) -> Option<(SchemaRef, Read)> {
    let how = with_keys(file, how)?;
    let whole = read(file, &how).ok();
    for batch_len in BATCH_LENS {
        for fields in [how.fields, Fields::InRecord] {
            // Whole records tell their fields as they stand.
            let other = read(file, &How { batch_len, fields, ..how.clone() }).ok();
            assert_eq!(other, whole, "blocks of {batch_len}, {fields:?}");
        }
    }
    let typed = [1, 1_000].map(|batch_len| {
        read(file, &How { batch_len, fields: Fields::Typed, ..how.clone() }).map(|(_, read)| read)
    });
    assert_eq!(typed[0], typed[1], "values with types");
    fail(file, &how);
    whole
}

/// Where the first bad record is an error, nothing else may happen.
fn fail(file: &Memory, how: &How) {
    let input = file.input(how.encoding, 2);
    assert_eq!(input.on_bad_record, OnBadRecord::Fail);
    let options = TradesOptions { input, limit: Some(7), key_columns: how.keys.clone(), fields: how.fields };
    let Ok(mut trades) = open_trades(options) else { return };
    while let Ok(Some(_)) = trades.read() {}
}

/// Trades as CSV.
pub(crate) fn csv_trades(bytes: &[u8]) {
    let file = Memory::new(bytes);
    let Some((schema, read)) = read_alike(&file, &How::new(Format::Csv)) else { return };
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let id = |name| names.iter().position(|column| *column == name);
    let (instrument, user) = (id("instrument_id"), id("user_id"));
    let mut records = csv_records(bytes).into_iter();
    if let Some(header) = records.next() {
        let header = header.expect("a header within whose quotes the text ends is refused");
        assert!(header.iter().eq(names.iter().map(|name| name.as_bytes())));
    }
    let mut rows = read.trades();
    let mut rejected = 0;
    for record in records {
        let cells: Option<Vec<_>> = record
            .as_ref()
            .and_then(|record| record.iter().map(|cell| std::str::from_utf8(cell).ok()).collect());
        let cells = cells.filter(|cells| {
            cells.len() == names.len()
                && instrument.is_none_or(|column| cells[column].parse::<u32>().is_ok())
                && user.is_none_or(|column| cells[column].is_empty() || cells[column].parse::<u32>().is_ok())
                && [instrument, user].into_iter().flatten().all(|column| !cells[column].starts_with('+'))
        });
        let Some(cells) = cells else {
            rejected += 1;
            continue;
        };
        let (fields, _) = rows.next().expect("a row that the other reader has");
        assert!(fields.iter().map(Field::text).eq(cells.iter().copied()), "{fields:?}, not {cells:?}");
    }
    assert_eq!((rows.next(), read.rejected), (None, rejected));
}

/// Trades as JSON Lines.
pub(crate) fn jsonl_trades(bytes: &[u8]) {
    let file = Memory::new(bytes);
    let Some((schema, read)) = read_alike(&file, &How::new(Format::JsonLines)) else { return };
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let has_objects = lines(bytes).any(|line| matches!(line, Line::Object(_)));
    let mut rows = read.trades();
    let mut rejected = 0;
    for line in lines(bytes) {
        let members = match &line {
            Line::Object(members) if has_objects => members,
            _ => {
                rejected += 1;
                continue;
            }
        };
        let Some(fields) = line.fields(&names).filter(|_| members.iter().all(|(_, value)| value.is_sound()))
        else {
            rejected += 1;
            continue;
        };
        let id = |name, required: bool| match names.iter().position(|column| *column == name) {
            Some(column) => match fields[column].text() {
                "" => !required,
                text => text.parse::<u32>().is_ok() && !text.starts_with('+'),
            },
            None => true,
        };
        if !(id("instrument_id", true) && id("user_id", false)) {
            rejected += 1;
            continue;
        }
        let (found, _) = rows.next().expect("a row that the other reader has");
        assert_eq!(found, fields);
    }
    assert_eq!((rows.next(), read.rejected), (None, rejected));
}

/// Trades in gzip or Zstandard.
pub(crate) fn packed_trades(bytes: &[u8]) {
    let file = Memory::new(bytes);
    for compression in [Compression::Gzip, Compression::Zstd] {
        for format in [Format::Csv, Format::JsonLines] {
            let how = How { encoding: Encoding { format, compression }, ..How::new(format) };
            let whole = read(&file, &how);
            let apart = read(&file, &How { batch_len: 1, ..how });
            assert_eq!(apart, whole, "{format:?} in {compression:?}");
        }
    }
}

/// Dead letters that are to be replayed.
pub(crate) fn dead_letters(bytes: &[u8]) {
    let file = Memory::new(bytes);
    let read = |batch_len| {
        let input = file.skipping(Encoding::plain(Format::JsonLines), batch_len);
        let options = TradesOptions {
            input,
            limit: None,
            key_columns: vec!["instrument_id".into()],
            fields: Fields::AsText,
        };
        let (mut trades, letters) = open_letters(options).ok()?;
        let schema = trades.schema();
        let read = Read::all(&mut trades, &schema);
        let letters: Vec<_> = (1..).map_while(|number| letters.get(number)).collect();
        Some((read, letters))
    };
    let whole = read(1_000);
    for batch_len in BATCH_LENS {
        assert_eq!(read(batch_len), whole, "blocks of {batch_len}");
    }
    if let Some((Read { events, rejected, failure: None }, letters)) = whole {
        assert_eq!(events.len() as u64 + rejected, letters.len() as u64, "a trade or a flaw for each");
    }
}
