//! What took effect at which place in the sequence, in a file, so that a run can be
//! repeated whatever its timing was.
//!
//! JSON Lines. The first line has the tables as they were loaded: name, rows, and a
//! digest of them. Each further line is an update of one table: how many trades stand
//! before it, and its changes, column by column; updates of several tables at one place
//! follow each other. The last line has the number of trades. Text that is not UTF-8
//! stands as `{"hex":…}`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tradejoin_disk::{Disk, RealDisk};
use tradejoin_flow::{End, Prepared};
use tradejoin_model::{ChangeKeys, ChangeKind, ChangeLane, Column, INTEGER_NULL, Key, OccSymbol, TextColumn};

use crate::encoding::Location;
use crate::journal_error::JournalError;
use crate::limits::{Limits, Size};
use crate::target::{Counted, OutputHandle, Target, buffered};

/// The version of the format.
const VERSION: u32 = 1;

/// A table as it was loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadedTable {
    /// Its name.
    pub name: String,
    /// How many rows it had.
    pub rows: u64,
    /// See [`Fingerprints::digest`](crate::Fingerprints::digest).
    pub digest: u64,
    /// How it was looked up.
    pub mode: String,
    /// The columns that were loaded.
    pub columns: Vec<String>,
}

/// An update of one table.
#[derive(Clone, Debug)]
pub struct JournalEntry {
    /// How many trades stand before it, refused ones not counted.
    pub trades_before: u64,
    /// The table, by its index.
    pub table: usize,
    /// What changes.
    pub changes: ChangeLane,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Begin { journal: u32, tables: Vec<LoadedTable> },
    Update { trades_before: u64, table: String, changes: Box<Changes> },
    End { trades: u64 },
}

/// The changes of a lane. Lists that say nothing are left out.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Changes {
    keys: Values,
    /// The places of deletions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    deleted: Vec<u32>,
    fields: Vec<Values>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    valid_from: Vec<Option<i64>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    valid_to: Vec<Option<i64>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    versions: Vec<Option<i64>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Values {
    Ids(Vec<u32>),
    Texts(Vec<Option<Text>>),
    Integers(Vec<Option<i64>>),
    Options(Vec<String>),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Text {
    Utf8(String),
    Bytes { hex: String },
}

/// Makes the lines of a journal.
#[derive(Debug)]
pub(crate) struct JournalLines {
    tables: Vec<String>,
}

impl JournalLines {
    /// Those of a run with these tables, by name.
    pub(crate) fn new(tables: Vec<String>) -> Self {
        Self { tables }
    }

    /// Writes the first line.
    pub(crate) fn begin(&self, tables: Vec<LoadedTable>, to: &mut impl Write) -> io::Result<()> {
        write(&Line::Begin { journal: VERSION, tables }, to)
    }

    /// Writes an update.
    pub(crate) fn update(&self, entry: &JournalEntry, to: &mut impl Write) -> io::Result<()> {
        let table = self.tables[entry.table].clone();
        let changes = Box::new(Changes::of(&entry.changes));
        write(&Line::Update { trades_before: entry.trades_before, table, changes }, to)
    }

    /// Writes the last line, of a run of so many trades.
    pub(crate) fn end(&self, trades: u64, to: &mut impl Write) -> io::Result<()> {
        write(&Line::End { trades }, to)
    }
}

fn write(line: &Line, to: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *to, line)?;
    to.write_all(b"\n")
}

/// Writes a journal of a run without checkpoints, under a name as an [`Output`](crate::Output)
/// has it until it is whole.
pub struct JournalWriter {
    path: Arc<str>,
    file: BufWriter<Counted>,
    /// Behind `file`: what it holds goes before the file's name.
    target: Target,
    lines: JournalLines,
}

impl JournalWriter {
    /// Creates the file. What stands there under its name stays until it is
    /// [whole](Self::end).
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn create(path: &Path) -> Result<Self, JournalError> {
        Self::create_on(Arc::new(RealDisk), path)
    }

    /// Creates the file on another disk.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn create_on(disk: Arc<dyn Disk>, path: &Path) -> Result<Self, JournalError> {
        let name: Arc<str> = path.display().to_string().into();
        let location = Location::Path(path.to_owned());
        let created = Target::create_on(disk, &location, OutputHandle::default(), None);
        let (target, file) =
            created.map_err(|source| JournalError::Create { path: Arc::clone(&name), source })?;
        Ok(Self { path: name, file: buffered(file), target, lines: JournalLines::new(Vec::new()) })
    }

    /// Writes the first line.
    ///
    /// # Errors
    /// If writing fails.
    pub fn begin(&mut self, tables: Vec<LoadedTable>) -> Result<(), JournalError> {
        self.lines = JournalLines::new(tables.iter().map(|table| table.name.clone()).collect());
        self.write(|lines, file| lines.begin(tables, file))
    }

    /// Writes updates that follow each other, which are in the file when this returns.
    ///
    /// # Errors
    /// If writing fails.
    ///
    /// # Panics
    /// If the first line has no such table.
    pub fn updates(&mut self, entries: &[JournalEntry]) -> Result<(), JournalError> {
        self.write(|lines, file| entries.iter().try_for_each(|entry| lines.update(entry, file)))
    }

    /// Writes the last line, of a run of so many trades, or none, and prepares the file to be
    /// made durable and to get its name, which it does not get if the run was interrupted.
    ///
    /// # Errors
    /// If writing fails.
    pub fn end(mut self, trades: Option<u64>, end: End) -> Result<Box<dyn Prepared>, JournalError> {
        if let Some(trades) = trades {
            self.write(|lines, file| lines.end(trades, file))?;
        }
        let mark = self.file.get_ref().mark().map_err(|source| self.failed(source))?;
        let prepared = self.target.prepare(&self.path, mark, Some(end));
        Ok(Box::new(prepared.ok_or_else(|| self.failed(io::ErrorKind::Unsupported.into()))?))
    }

    fn write(
        &mut self,
        lines: impl FnOnce(&JournalLines, &mut BufWriter<Counted>) -> io::Result<()>,
    ) -> Result<(), JournalError> {
        let written = lines(&self.lines, &mut self.file).and_then(|()| self.file.flush());
        written.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> JournalError {
        JournalError::Write { path: Arc::clone(&self.path), source }
    }
}

/// A journal that was read whole.
#[derive(Clone, Debug)]
pub struct Journal {
    /// The tables as they were loaded.
    pub tables: Vec<LoadedTable>,
    /// The updates in the order of the sequence.
    pub entries: Vec<JournalEntry>,
    /// How many trades there were.
    pub trades: u64,
}

impl Journal {
    /// Sees to it that the changes of a table are like those of `like`, in keys and
    /// fields.
    ///
    /// # Errors
    /// If they are not.
    pub fn check_table(&self, table: usize, like: &ChangeLane) -> Result<(), JournalError> {
        use std::mem::discriminant;
        let kinds = |lane: &ChangeLane| lane.fields.iter().map(discriminant).collect::<Vec<_>>();
        let is_like = |lane: &ChangeLane| {
            discriminant(&lane.keys) == discriminant(&like.keys) && kinds(lane) == kinds(like)
        };
        let mut entries = self.entries.iter().filter(|entry| entry.table == table);
        match entries.find(|entry| !is_like(&entry.changes)) {
            None => Ok(()),
            Some(entry) => Err(JournalError::OtherKinds {
                table: self.tables[table].name.clone(),
                trades: entry.trades_before,
            }),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read or is no whole journal.
    pub fn read(path: &Path) -> Result<Self, JournalError> {
        let name: Arc<str> = path.display().to_string().into();
        let file = File::open(path).map_err(|source| JournalError::Io { path: Arc::clone(&name), source })?;
        Self::read_lines(BufReader::new(file), name, Limits::LINE_BYTES_MAX)
    }

    /// Reads lines of at most so many bytes.
    fn read_lines(
        mut lines: impl BufRead,
        name: Arc<str>,
        line_bytes_max: usize,
    ) -> Result<Self, JournalError> {
        let io = |source| JournalError::Io { path: Arc::clone(&name), source };
        let (mut number, mut line) = (0, Vec::new());
        let mut next = || -> Result<Option<(u64, Line)>, JournalError> {
            line.clear();
            // One more shows that there are more.
            let room = line_bytes_max as u64 + 1;
            if lines.by_ref().take(room).read_until(b'\n', &mut line).map_err(io)? == 0 {
                return Ok(None);
            }
            number += 1;
            if line.len() > line_bytes_max && !line.ends_with(b"\n") {
                let size = Size(line_bytes_max as u64);
                return Err(wrong_line(&name, number, &format!("it is longer than {size}")));
            }
            let wrong = |error: serde_json::Error| wrong_line(&name, number, &error.to_string());
            Ok(Some((number, serde_json::from_slice(&line).map_err(wrong)?)))
        };
        let tables = match next()? {
            Some((_, Line::Begin { journal: VERSION, tables })) => tables,
            Some((line, Line::Begin { journal, .. })) => {
                let what =
                    format!("a journal of version {journal}, and this program reads version {VERSION}");
                return Err(wrong_line(&name, line, &what));
            }
            _ => return Err(wrong_line(&name, 1, "no journal begins so")),
        };
        let mut entries: Vec<JournalEntry> = Vec::new();
        loop {
            match next()? {
                Some((line, Line::Update { trades_before, table, changes })) => {
                    let wrong = |what: &str| wrong_line(&name, line, what);
                    let table = tables.iter().position(|loaded| loaded.name == table);
                    let table = table.ok_or_else(|| wrong("a table that the first line has not"))?;
                    let changes = changes.into_lane().map_err(|what| wrong(&what))?;
                    if entries.last().is_some_and(|last| last.trades_before > trades_before) {
                        return Err(wrong("it stands before the update of the line before"));
                    }
                    entries.push(JournalEntry { trades_before, table, changes });
                }
                Some((line, Line::End { trades })) => {
                    if entries.last().is_some_and(|last| last.trades_before > trades) {
                        return Err(wrong_line(
                            &name,
                            line,
                            "an update stands behind more trades than there are",
                        ));
                    }
                    return Ok(Self { tables, entries, trades });
                }
                Some((line, Line::Begin { .. })) => return Err(wrong_line(&name, line, "it begins twice")),
                None => return Err(JournalError::NoEnd { path: name }),
            }
        }
    }
}

fn wrong_line(path: &Arc<str>, line: u64, what: &str) -> JournalError {
    JournalError::Line { path: Arc::clone(path), line, what: what.to_owned() }
}

impl Changes {
    fn of(lane: &ChangeLane) -> Self {
        let is_deleted = |&change: &u32| lane.kinds[change as usize] == ChangeKind::Delete;
        Self {
            keys: match &lane.keys {
                ChangeKeys::Ids(ids) => Values::Ids(ids.iter().map(|key| key.0).collect()),
                ChangeKeys::Texts(texts) => Values::Texts(shown(texts)),
            },
            // A lane has no more changes than 32 bits can count.
            deleted: (0..lane.len() as u32).filter(is_deleted).collect(),
            fields: lane.fields.iter().map(Values::of).collect(),
            valid_from: nullable(&lane.valid_from),
            valid_to: nullable(&lane.valid_to),
            versions: nullable(&lane.versions),
        }
    }

    /// The lane, or what is wrong with it.
    fn into_lane(self) -> Result<ChangeLane, String> {
        let keys: ChangeKeys = match self.keys {
            Values::Ids(ids) => ids.into_iter().map(Key).collect::<Vec<_>>().into(),
            Values::Texts(texts) if texts.iter().any(Option::is_none) => {
                return Err("a key that is null".to_owned());
            }
            Values::Texts(texts) => read(texts)?.into(),
            Values::Integers(_) | Values::Options(_) => return Err("keys are ids or texts".to_owned()),
        };
        let len = keys.len();
        let mut kinds = vec![ChangeKind::Upsert; len];
        for place in self.deleted {
            *kinds.get_mut(place as usize).ok_or("a deletion of a key that is not there")? =
                ChangeKind::Delete;
        }
        let fields = self.fields.into_iter().map(Values::into_column).collect::<Result<Vec<_>, _>>()?;
        let stamps = [self.valid_from, self.valid_to, self.versions].map(stored);
        let is_even = fields.iter().all(|field| field.len() == len)
            && stamps.iter().all(|stamps| stamps.is_empty() || stamps.len() == len);
        if !is_even {
            return Err("lists of unequal lengths".to_owned());
        }
        let [valid_from, valid_to, versions] = stamps;
        let lane = ChangeLane {
            at_rows: vec![0; len],
            keys,
            kinds,
            fields,
            valid_from,
            valid_to,
            versions,
            ..ChangeLane::default()
        };
        let is_never = |change| lane.kinds[change] == ChangeKind::Upsert && !lane.validity(change).is_some();
        if (0..len).any(is_never) {
            return Err("a row that ends before it begins".to_owned());
        }
        Ok(lane)
    }
}

impl Values {
    fn of(column: &Column) -> Self {
        match column {
            Column::Text(texts) => Self::Texts(shown(texts)),
            Column::Integers(values) => Self::Integers(nullable(values)),
            Column::Options(symbols) => Self::Options(symbols.iter().map(OccSymbol::to_string).collect()),
        }
    }

    fn into_column(self) -> Result<Column, String> {
        Ok(match self {
            Self::Texts(texts) => Column::Text(read(texts)?),
            Self::Integers(values) => Column::Integers(stored(values)),
            Self::Options(symbols) => {
                let symbols = symbols
                    .iter()
                    .map(|symbol| symbol.parse().map_err(|error| format!("{symbol:?}: {error}")));
                Column::Options(symbols.collect::<Result<_, _>>()?)
            }
            Self::Ids(_) => return Err("a field of ids".to_owned()),
        })
    }
}

fn nullable(values: &[i64]) -> Vec<Option<i64>> {
    values.iter().map(|&value| (value != INTEGER_NULL).then_some(value)).collect()
}

fn stored(values: Vec<Option<i64>>) -> Vec<i64> {
    values.into_iter().map(|value| value.unwrap_or(INTEGER_NULL)).collect()
}

fn shown(texts: &TextColumn) -> Vec<Option<Text>> {
    let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => Text::Utf8(text.to_owned()),
        Err(_) => Text::Bytes { hex: bytes.iter().map(|byte| format!("{byte:02x}")).collect() },
    };
    (0..texts.len()).map(|row| texts.get(row).map(text)).collect()
}

fn read(texts: Vec<Option<Text>>) -> Result<TextColumn, String> {
    let mut column = TextColumn::default();
    for text in texts {
        match text {
            None => column.push(None),
            Some(Text::Utf8(text)) => column.push(Some(&text)),
            Some(Text::Bytes { hex }) => {
                let byte = |pair: &[u8]| {
                    let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
                    // Otherwise a sign would do for a digit.
                    let pair =
                        Some(pair).filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
                    u8::from_str_radix(pair, 16).ok()
                };
                let bytes: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(byte).collect();
                column.push_bytes(Some(&bytes.ok_or_else(|| format!("{hex:?} is no hexadecimal text"))?));
            }
        }
    }
    Ok(column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_has_its_name_when_it_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("j.jsonl");
        std::fs::write(&path, "old").expect("a file");
        let begin = || {
            let mut writer = JournalWriter::create(&path).expect("created");
            writer.begin(Vec::new()).expect("written");
            writer
        };
        // Two at once are two files.
        let (first, second) = (begin(), begin());
        drop(first);
        let mut prepared = second.end(Some(7), End::Complete).expect("written");
        prepared.make_durable().expect("durable");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "old", "others are not whole yet");
        prepared.publish().expect("named");
        assert!(Journal::read(&path).is_ok_and(|journal| journal.trades == 7));
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);

        let mut prepared = begin().end(Some(8), End::Interrupted).expect("written");
        prepared.make_durable().and_then(|_| prepared.publish()).expect("left where it is");
        assert!(Journal::read(&path).is_ok_and(|journal| journal.trades == 7));
        let partial = folder.path().join("j.jsonl.partial");
        assert!(Journal::read(&partial).is_ok_and(|journal| journal.trades == 8));
    }

    #[test]
    fn a_line_is_no_longer_than_it_may_be() {
        let text = "{\"begin\":{\"journal\":1,\"tables\":[]}}\n{\"end\":{\"trades\":7}}";
        let longest = text.find('\n').expect("two lines");
        let read = |text: &str, max| Journal::read_lines(text.as_bytes(), "j".into(), max);
        assert_eq!(read(text, longest).expect("within it").trades, 7);
        let error = read(text, longest - 1).expect_err("too long");
        assert_eq!(error.to_string(), format!("j, line 1: it is longer than {} bytes", longest - 1));
        let last = &text[longest + 1..];
        let error = read(&text.replace(last, &format!("{last}{}", " ".repeat(longest))), longest);
        assert!(error.expect_err("too long").to_string().starts_with("j, line 2: it is longer"));
    }
}
