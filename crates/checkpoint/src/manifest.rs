//! What a checkpoint consists of: the one file that makes it one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use tradejoin_flow::{End, OutputPosition, SourcePosition};
use tradejoin_model::Ledger;

use crate::error::CheckpointError;
use crate::hash::hash_of;
use crate::names::Name;

/// The newest format that this version reads, and the one that it writes.
pub const FORMAT: u32 = 1;
/// The most bytes that a manifest may have.
pub(crate) const BYTES_MAX: usize = 64 << 20;
/// No count of a run is greater: sums of some do not overflow.
const COUNT_MAX: u64 = 1 << 56;

/// Everything that a checkpoint is, but for the contents of its files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format of the folder.
    pub format: u32,
    /// The version of tradejoin that wrote it.
    pub tradejoin: String,
    /// The number of the checkpoint, from 1.
    pub epoch: u64,
    /// When it was written, in RFC 3339: for people.
    pub created: String,
    /// What determines the output of the job.
    pub job: BTreeMap<String, String>,
    /// How far the inputs have been read.
    pub source: SourcePosition,
    /// How many trades were read, refused ones not counted.
    pub trades: u64,
    /// The place of the next message.
    pub position: u64,
    /// The account of all before it.
    pub ledger: Ledger,
    /// How many records were refused, by input.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bad: BTreeMap<String, u64>,
    /// The tables, in the order of the job.
    pub tables: Vec<TableState>,
    /// The trades that wait, and those that may be written again; `None` in a run in which
    /// none ever does.
    pub held: Option<HeldState>,
    /// How much of each output counts.
    pub outputs: Vec<OutputPosition>,
    /// Whether nothing follows, and why not.
    pub end: Option<EndState>,
}

/// The state of a table: all its changes, or what they come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableState {
    /// The table's name.
    pub name: String,
    /// Its changes, in their order.
    pub segments: Vec<Segment>,
}

/// A file with changes of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// Its name in the folder.
    pub file: String,
    /// How many changes it has.
    pub rows: u64,
    /// How many bytes it has.
    pub bytes: u64,
    /// xxHash (XXH64, seed 0) of them.
    pub hash: u64,
}

/// The file with the trades that wait, and with those that may be written again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldState {
    /// Its name in the folder.
    pub file: String,
    /// How many trades wait.
    pub trades: u64,
    /// How many may be written again.
    #[serde(default, skip_serializing_if = "is_none")]
    pub recent: u64,
    /// How many bytes it has.
    pub bytes: u64,
    /// xxHash (XXH64, seed 0) of them.
    pub hash: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as it is called")]
const fn is_none(count: &u64) -> bool {
    *count == 0
}

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndState {
    /// Everything was read and written.
    Complete,
    /// It was asked to stop, and may go on.
    Interrupted,
}

impl From<End> for EndState {
    fn from(end: End) -> Self {
        match end {
            End::Complete => Self::Complete,
            End::Interrupted => Self::Interrupted,
        }
    }
}

/// What every format has.
#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

const CHECKSUM: &str = ",\n  \"checksum\": \"";
const END: &str = "\"\n}\n";
const DIGITS: usize = 16;

impl Manifest {
    /// The manifest as a file: JSON, with the hash of all bytes before it as its last
    /// member.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.truncate(bytes.len() - "\n}".len());
        let checksum = hash_of(&bytes);
        bytes.extend_from_slice(format!("{CHECKSUM}{checksum:016x}{END}").as_bytes());
        Ok(bytes)
    }

    /// Reads a file back, of this name.
    pub(crate) fn read(path: &Path, epoch: u64, bytes: &[u8]) -> Result<Self, CheckpointError> {
        let damaged = |reason: &str| CheckpointError::damaged(path, reason);
        let body = checked(bytes).ok_or_else(|| damaged("its bytes do not have the checksum it tells"))?;
        let json = [body, b"\n}"].concat();
        let not_one = |error: serde_json::Error| damaged(&format!("it is no manifest ({error})"));
        let AnyFormat { format } = serde_json::from_slice(&json).map_err(not_one)?;
        if format > FORMAT {
            return Err(CheckpointError::NewerFormat { file: path.to_owned(), format, known: FORMAT });
        }
        let manifest: Self = serde_json::from_slice(&json).map_err(not_one)?;
        manifest.check(epoch).map_err(|reason| damaged(&reason))?;
        Ok(manifest)
    }

    /// The names of its files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        let segments = self.tables.iter().flat_map(|table| &table.segments);
        let held = self.held.iter().map(|held| held.file.as_str());
        segments.map(|segment| segment.file.as_str()).chain(held)
    }

    /// Whether its parts can be together: a checksum tells only that they are as they
    /// were written.
    fn check(&self, epoch: u64) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("there is no format {}", self.format));
        }
        if self.epoch != epoch || epoch == 0 || epoch >= COUNT_MAX {
            return Err(format!("it tells of checkpoint {}", self.epoch));
        }
        if self.ledger.tables.len() != self.tables.len() {
            return Err("its ledger is of other tables".to_owned());
        }
        if self.trades >= COUNT_MAX || self.position >= COUNT_MAX || !has_small_counts(&self.ledger) {
            return Err("a count is out of range".to_owned());
        }
        self.ledger.check().map_err(|error| error.to_string())?;
        self.check_files()
    }

    fn check_files(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.files().find(|&file| !seen.insert(file)) {
            return Err(format!("it names {twice:?} twice"));
        }
        for (number, table) in self.tables.iter().enumerate() {
            for Segment { file, rows, .. } in &table.segments {
                let fits = matches!(Name::read(file), Some(Name::Segment { table, epoch })
                    if table == number && epoch <= self.epoch);
                if !fits || *rows == 0 || *rows >= COUNT_MAX {
                    return Err(format!("{file:?} is no file of table {:?}", table.name));
                }
            }
        }
        match &self.held {
            Some(held) if Name::read(&held.file) != Some(Name::Held { epoch: self.epoch }) => {
                Err(format!("{:?} is no file of trades that wait", held.file))
            }
            _ => Ok(()),
        }
    }
}

/// What stands before the checksum, if that is right.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_suffix(END.as_bytes())?;
    let (rest, digits) = rest.split_at_checked(rest.len().checked_sub(DIGITS)?)?;
    let body = rest.strip_suffix(CHECKSUM.as_bytes())?;
    // As it is written: there is one way.
    (format!("{:016x}", hash_of(body)).as_bytes() == digits).then_some(body)
}

fn has_small_counts(ledger: &Ledger) -> bool {
    fn is_small(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::Number(number) => number.as_u64().is_some_and(|count| count < COUNT_MAX),
            serde_json::Value::Array(values) => values.iter().all(is_small),
            serde_json::Value::Object(members) => members.values().all(is_small),
            _ => true,
        }
    }
    serde_json::to_value(ledger).is_ok_and(|value| is_small(&value))
}
