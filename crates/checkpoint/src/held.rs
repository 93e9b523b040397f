//! The file with the trades that wait: Arrow streams one after the other. The first has
//! the trades, and then each chunk of rows has two: the trades' own columns, and their
//! keys with what the tables add. In a run in which trades are written again those follow
//! that may be, and those that wait with what they find by now, both in the same form.

use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{
    Array, ArrayRef, Int64Array, LargeBinaryArray, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array,
};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Metadata, Schema};
use tradejoin_disk::{Disk, Mode};
use tradejoin_model::{
    Column, Held, HeldRows, HeldTrade, Keys, RecentTrade, RecentTrades, TextColumn, Written,
};

use crate::error::CheckpointError;
use crate::hash::{Summed, Summing};
use crate::lanes::{FieldKind, field_from_arrow, field_to_arrow};
use crate::manifest::HeldState;
use crate::segment::{guarded, of_arrow};

const CHUNKS: &str = "chunks";
const LATEST_TIME: &str = "latest_time";
/// The latest time of a trade by which those leave that may be written again, if any may.
const WRITTEN: &str = "written";
/// A column that is not there in files of runs before it was kept.
const LACKS: &str = "lacks";

/// Writes the file, and makes it durable.
pub(crate) fn write(
    disk: &dyn Disk,
    folder: &Path,
    name: String,
    held: &Held,
) -> Result<HeldState, CheckpointError> {
    let path = folder.join(&name);
    let io = |doing| CheckpointError::io(&path, doing);
    let file = disk.create(&path, Mode::Private).map_err(io("make it"))?;
    let mut buffered = Summing::new(BufWriter::new(file));
    write_streams(&mut buffered, held).map_err(|error| of_arrow(&path, "write to it", error))?;
    let (mut buffered, Summed { bytes, hash }) = buffered.into_parts();
    buffered.flush().map_err(io("write to it"))?;
    let mut file = buffered.into_inner().map_err(|error| io("write to it")(error.into_error()))?;
    file.sync().map_err(io("sync it"))?;
    Ok(HeldState { file: name, trades: held.trades.len() as u64, recent: recent(held), bytes, hash })
}

/// How many trades may be written again.
fn recent(held: &Held) -> u64 {
    held.written.as_ref().map_or(0, |written| written.recent.trades.len() as u64)
}

/// Reads the file back, of a run with so many tables.
pub(crate) fn read(
    disk: &dyn Disk,
    folder: &Path,
    state: &HeldState,
    tables: usize,
) -> Result<Held, CheckpointError> {
    let path = folder.join(&state.file);
    let reader = disk.reader(&path).map_err(CheckpointError::io(&path, "read it"))?;
    let mut reader = Summing::new(reader.take(state.bytes.saturating_add(1)));
    let held = guarded(|| read_streams(&mut reader)).map_err(|error| of_arrow(&path, "read it", error))?;
    let summed = reader.sum_up().map_err(CheckpointError::io(&path, "read it"))?;
    let told = Summed { bytes: state.bytes, hash: state.hash };
    if (summed, held.trades.len() as u64, recent(&held)) != (told, state.trades, state.recent) {
        return Err(CheckpointError::damaged(&path, "it is not what its manifest says"));
    }
    check(&held, tables).map_err(|reason| CheckpointError::damaged(&path, reason))?;
    Ok(held)
}

fn write_streams(to: &mut impl Write, held: &Held) -> Result<(), ArrowError> {
    write_stream(to, &trades_to_arrow(held)?)?;
    write_chunks(to, &held.chunks)?;
    for trades in held.written.iter().flat_map(|written| [&written.recent, &written.waiting]) {
        write_stream(to, &recent_to_arrow(trades)?)?;
        write_chunks(to, &trades.chunks)?;
    }
    Ok(())
}

fn write_chunks(to: &mut impl Write, chunks: &[HeldRows]) -> Result<(), ArrowError> {
    for HeldRows { trades, keys, columns } in chunks {
        write_stream(to, trades)?;
        let keys = keys.iter().map(keys_to_arrow);
        let columns = columns.iter().map(field_to_arrow).collect::<Result<Vec<_>, _>>()?;
        let named = keys.enumerate().map(|(number, keys)| (format!("key{number}"), keys));
        let added = columns.into_iter().enumerate().map(|(number, column)| (number.to_string(), column));
        write_stream(to, &batch(named.chain(added), [], trades.num_rows())?)?;
    }
    Ok(())
}

fn read_streams(from: &mut impl Read) -> Result<Held, ArrowError> {
    let first = read_stream(from)?;
    let latest_time = number(&first, LATEST_TIME)?
        .ok_or_else(|| ArrowError::SchemaError(format!("it does not tell {LATEST_TIME}")))?;
    let trades = trades_from_arrow(&first)?;
    let chunks = read_chunks(from, &first)?;
    let written = match number(&first, WRITTEN)? {
        None => None,
        Some(latest_time) => {
            Some(Written { recent: read_recent(from)?, waiting: read_recent(from)?, latest_time })
        }
    };
    Ok(Held { chunks, trades, latest_time, written })
}

fn read_recent(from: &mut impl Read) -> Result<RecentTrades, ArrowError> {
    let first = read_stream(from)?;
    let trades = recent_from_arrow(&first)?;
    Ok(RecentTrades { chunks: read_chunks(from, &first)?, trades })
}

/// The chunks of which a batch tells how many there are.
fn read_chunks(from: &mut impl Read, first: &RecordBatch) -> Result<Vec<HeldRows>, ArrowError> {
    let chunks: usize = number(first, CHUNKS)?
        .ok_or_else(|| ArrowError::SchemaError(format!("it does not tell {CHUNKS}")))?;
    // Not taken for memory before so many have been read.
    let chunks = (0..chunks).map(|_| {
        let trades = read_stream(from)?;
        let (keys, columns) = beside_from_arrow(&read_stream(from)?)?;
        Ok(HeldRows { trades, keys, columns })
    });
    chunks.collect()
}

/// A number that a batch tells beside its columns; `None` if it does not.
fn number<T: FromStr>(batch: &RecordBatch, name: &str) -> Result<Option<T>, ArrowError> {
    let schema = batch.schema();
    let text = schema.metadata().get(name);
    let not_a_number = || ArrowError::SchemaError(format!("its {name} are no number"));
    text.map(|text| text.parse().map_err(|_| not_a_number())).transpose()
}

fn write_stream(to: &mut impl Write, batch: &RecordBatch) -> Result<(), ArrowError> {
    let mut writer = StreamWriter::try_new(to, &batch.schema())?;
    writer.write(batch)?;
    writer.finish()
}

/// The one batch of a stream; what follows the stream is not read.
fn read_stream(from: &mut impl Read) -> Result<RecordBatch, ArrowError> {
    let mut reader = StreamReader::try_new(from, None)?;
    let batch = reader.next().ok_or_else(|| ArrowError::IpcError("a batch is missing".to_owned()))??;
    match reader.next() {
        None => Ok(batch),
        Some(_) => Err(ArrowError::IpcError("there is a batch too many".to_owned())),
    }
}

fn batch(
    columns: impl Iterator<Item = (String, ArrayRef)>,
    metadata: impl IntoIterator<Item = (&'static str, String)>,
    rows: usize,
) -> Result<RecordBatch, ArrowError> {
    let field =
        |(name, array): (String, ArrayRef)| (Field::new(name, array.data_type().clone(), true), array);
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.map(field).unzip();
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata.into_iter().collect::<Metadata>()));
    RecordBatch::try_new_with_options(schema, arrays, &RecordBatchOptions::new().with_row_count(Some(rows)))
}

fn trades_to_arrow(held: &Held) -> Result<RecordBatch, ArrowError> {
    let trades = || held.trades.iter();
    let small = |value: fn(&HeldTrade) -> u32| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(trades().map(value)))
    };
    let large = |value: fn(&HeldTrade) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(trades().map(value)))
    };
    let times: ArrayRef = Arc::new(Int64Array::from_iter(trades().map(|trade| trade.time)));
    let columns = [
        ("chunk", small(|trade| trade.chunk)),
        ("row", small(|trade| trade.row)),
        ("number", large(|trade| trade.number)),
        ("waits_for", large(|trade| trade.waits_for)),
        (LACKS, large(|trade| trade.lacks)),
        ("waited_s", large(|trade| trade.waited.as_secs())),
        ("waited_ns", small(|trade| trade.waited.subsec_nanos())),
        ("time", times),
    ];
    let latest = [(LATEST_TIME, held.latest_time.to_string()), (CHUNKS, held.chunks.len().to_string())];
    let written = held.written.iter().map(|written| (WRITTEN, written.latest_time.to_string()));
    let metadata = latest.into_iter().chain(written);
    batch(columns.into_iter().map(|(name, column)| (name.to_owned(), column)), metadata, held.trades.len())
}

fn trades_from_arrow(batch: &RecordBatch) -> Result<Vec<HeldTrade>, ArrowError> {
    let small = |name| column::<UInt32Array>(batch, name);
    let large = |name| column::<UInt64Array>(batch, name);
    let (chunk, row, number) = (small("chunk")?, small("row")?, large("number")?);
    let (waits_for, waited_s, waited_ns) = (large("waits_for")?, large("waited_s")?, small("waited_ns")?);
    let lacks = batch.column_by_name(LACKS).map(|_| large(LACKS)).transpose()?;
    let time: &Int64Array = column(batch, "time")?;
    let trade = |at: usize| {
        let nanos = Some(waited_ns.value(at)).filter(|&nanos| nanos < 1_000_000_000);
        let nanos = nanos.ok_or_else(|| ArrowError::SchemaError("a time is out of range".to_owned()))?;
        Ok(HeldTrade {
            chunk: chunk.value(at),
            row: row.value(at),
            number: number.value(at),
            waits_for: waits_for.value(at),
            lacks: lacks.map_or(0, |lacks| lacks.value(at)),
            waited: Duration::new(waited_s.value(at), nanos),
            time: time.is_valid(at).then(|| time.value(at)),
        })
    };
    (0..batch.num_rows()).map(trade).collect()
}

fn recent_to_arrow(recent: &RecentTrades) -> Result<RecordBatch, ArrowError> {
    let trades = || recent.trades.iter();
    let small = |value: fn(&RecentTrade) -> u32| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(trades().map(value)))
    };
    let large = |value: fn(&RecentTrade) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(trades().map(value)))
    };
    let times: ArrayRef = Arc::new(Int64Array::from_iter(trades().map(|trade| trade.time)));
    let last_times: ArrayRef = Arc::new(Int64Array::from_iter_values(trades().map(|trade| trade.last_time)));
    let columns = [
        ("chunk", small(|trade| trade.chunk)),
        ("row", small(|trade| trade.row)),
        ("number", large(|trade| trade.number)),
        ("time", times),
        ("last_time", last_times),
        ("until", large(|trade| trade.until)),
        (LACKS, large(|trade| trade.lacks)),
        ("revision", small(|trade| trade.revision)),
    ];
    let metadata = [(CHUNKS, recent.chunks.len().to_string())];
    batch(columns.into_iter().map(|(name, column)| (name.to_owned(), column)), metadata, recent.trades.len())
}

fn recent_from_arrow(batch: &RecordBatch) -> Result<Vec<RecentTrade>, ArrowError> {
    let small = |name| column::<UInt32Array>(batch, name);
    let large = |name| column::<UInt64Array>(batch, name);
    let (chunk, row, number) = (small("chunk")?, small("row")?, large("number")?);
    let (until, lacks, revision) = (large("until")?, large(LACKS)?, small("revision")?);
    let (time, last_time): (&Int64Array, &Int64Array) = (column(batch, "time")?, column(batch, "last_time")?);
    let trade = |at: usize| RecentTrade {
        chunk: chunk.value(at),
        row: row.value(at),
        number: number.value(at),
        time: time.is_valid(at).then(|| time.value(at)),
        last_time: last_time.value(at),
        until: until.value(at),
        lacks: lacks.value(at),
        revision: revision.value(at),
    };
    Ok((0..batch.num_rows()).map(trade).collect())
}

fn column<'a, T: 'static>(batch: &'a RecordBatch, name: &str) -> Result<&'a T, ArrowError> {
    let column = batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref());
    column.ok_or_else(|| ArrowError::SchemaError(format!("column {name:?} is missing or of another type")))
}

fn keys_to_arrow(keys: &Keys) -> ArrayRef {
    match keys {
        Keys::Ids(ids) => Arc::new(ids.clone()),
        Keys::Texts(texts) => {
            Arc::new(LargeBinaryArray::from_iter((0..texts.len()).map(|row| texts.get(row))))
        }
    }
}

fn beside_from_arrow(batch: &RecordBatch) -> Result<(Vec<Keys>, Vec<Column>), ArrowError> {
    let (mut keys, mut columns) = (Vec::new(), Vec::new());
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        let other_type = || ArrowError::SchemaError(format!("column {:?} is of another type", field.name()));
        if field.name().starts_with("key") {
            let ids = array.as_any().downcast_ref().map(|ids: &UInt32Array| Keys::from(ids.clone()));
            let texts = || {
                let texts: &LargeBinaryArray = array.as_any().downcast_ref()?;
                let mut column = TextColumn::default();
                texts.iter().for_each(|text| column.push_bytes(text));
                Some(Keys::from(column))
            };
            keys.push(ids.or_else(texts).ok_or_else(other_type)?);
            continue;
        }
        let kind = match field.data_type() {
            DataType::LargeBinary => FieldKind::Text,
            DataType::Int64 => FieldKind::Integers,
            _ => return Err(other_type()),
        };
        columns.push(field_from_arrow(kind, array).map_err(ArrowError::SchemaError)?);
    }
    Ok((keys, columns))
}

/// Whether its parts can be together.
fn check(held: &Held, tables: usize) -> Result<(), String> {
    let waiting = held.trades.iter().map(|trade| (trade.chunk, trade.row, trade.waits_for | trade.lacks));
    check_rows(&held.chunks, waiting, tables)?;
    let written = held.written.iter().flat_map(|written| [&written.recent, &written.waiting]);
    for RecentTrades { chunks, trades } in written {
        check_rows(chunks, trades.iter().map(|trade| (trade.chunk, trade.row, trade.lacks)), tables)?;
    }
    Ok(())
}

/// The chunk, the row, and a bit for each of some tables, of each trade.
fn check_rows(
    chunks: &[HeldRows],
    trades: impl Iterator<Item = (u32, u32, u64)>,
    tables: usize,
) -> Result<(), String> {
    let is_beside = |rows: &HeldRows| rows.keys.len() == tables;
    if !chunks.iter().all(is_beside) {
        return Err("its trades have keys of other tables".to_owned());
    }
    for (chunk, row, of_tables) in trades {
        let chunk = chunks.get(chunk as usize);
        if chunk.is_none_or(|chunk| row as usize >= chunk.trades.num_rows()) {
            return Err("a trade is not among its rows".to_owned());
        }
        if of_tables.checked_shr(tables as u32).unwrap_or(0) != 0 {
            return Err("a trade lacks a table that is not there".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two trades of one table that wait, the second with no time.
    fn held() -> Held {
        let ids = UInt32Array::from(vec![Some(7), None]);
        let trades = RecordBatch::try_from_iter([("id", Arc::new(ids.clone()) as ArrayRef)]);
        let rows = HeldRows { trades: trades.expect("one column"), keys: vec![ids.into()], columns: vec![] };
        let trade = |row, time| HeldTrade {
            chunk: 0,
            row,
            number: 5 + u64::from(row),
            waits_for: 1,
            lacks: 0,
            waited: Duration::new(1, 999_999_999),
            time,
        };
        Held {
            chunks: vec![rows],
            trades: vec![trade(0, Some(3)), trade(1, None)],
            latest_time: 3,
            written: None,
        }
    }

    fn refused(change: impl FnOnce(&mut Held)) -> String {
        let mut held = held();
        change(&mut held);
        check(&held, 1).expect_err("its parts cannot be together")
    }

    #[test]
    fn trades_and_rows_that_cannot_be_together_are_refused() {
        assert_eq!(check(&held(), 1), Ok(()));
        assert_eq!(check(&held(), 2), Err("its trades have keys of other tables".to_owned()));
        for (chunk, row) in [(0, 2), (0, 3), (1, 0)] {
            let error = refused(|held| (held.trades[1].chunk, held.trades[1].row) = (chunk, row));
            assert_eq!(error, "a trade is not among its rows", "row {row} of chunk {chunk}");
        }
        for waits_for in [2, 3, u64::MAX] {
            let error = refused(|held| held.trades[1].waits_for = waits_for);
            assert_eq!(error, "a trade lacks a table that is not there", "{waits_for:b}");
        }
        let mut of_many = held();
        of_many.chunks[0].keys = vec![of_many.chunks[0].keys[0].clone(); 64];
        of_many.trades[0].waits_for = u64::MAX;
        assert_eq!(check(&of_many, 64), Ok(()), "it waits for all of 64 tables");
    }

    #[test]
    fn a_second_has_no_more_than_its_nanoseconds() {
        let batch = trades_to_arrow(&held()).expect("a batch");
        assert_eq!(trades_from_arrow(&batch).expect("trades"), held().trades);
        let mut columns = batch.columns().to_vec();
        let at = batch.schema().index_of("waited_ns").expect("a column");
        columns[at] = Arc::new(UInt32Array::from(vec![0, 1_000_000_000]));
        let batch = RecordBatch::try_new(batch.schema(), columns).expect("a batch");
        let error = trades_from_arrow(&batch).expect_err("another second has begun");
        assert!(error.to_string().contains("a time is out of range"), "{error}");
    }
}
