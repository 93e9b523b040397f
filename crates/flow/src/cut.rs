//! What a run keeps, so that a later one can go on where it was: a cut through all of it
//! at one place of the sequence.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tradejoin_model::{ChangeLane, Held, Ledger, Position};

use crate::ends::{BoxError, End};

/// How far the inputs of a run have been read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePosition {
    /// Each input of trades or of changes, in an order that the source chooses.
    pub inputs: Vec<InputPosition>,
    /// What else the source has to know to go on, by names that it chooses.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub state: BTreeMap<String, i64>,
}

impl From<InputPosition> for SourcePosition {
    fn from(input: InputPosition) -> Self {
        Self { inputs: vec![input], state: BTreeMap::new() }
    }
}

/// How far one input has been read: everything before it is in the sequence, nothing
/// behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputPosition {
    /// The input's name, as errors name it.
    pub name: String,
    /// Records, refused ones included.
    pub records: u64,
    /// Bytes of a text, as they are unpacked; 0 of formats with types.
    pub bytes: u64,
    /// Lines of a text.
    pub lines: u64,
    /// Bytes that the file had, of a regular file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
    /// xxHash (XXH64, seed 0) of the file's first bytes, as they are stored; of what is no
    /// file, such as a pipe, of those of the text as they are unpacked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Fingerprint>,
    /// That of the bytes before the place, of a text that is not packed; else of the
    /// file's last bytes. Of a text in no file, of all before the place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Fingerprint>,
}

/// The hash of some bytes of a file, by which it is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Where they begin.
    pub from: u64,
    /// How many there are.
    pub bytes: u64,
    /// Their hash.
    pub hash: u64,
}

/// How much of an output counts: what is durable at a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputPosition {
    /// The name under which it is to be complete.
    pub name: String,
    /// The name under which it is now; that of its folder if it is written in parts.
    pub partial: String,
    /// Bytes of it that count.
    pub bytes: u64,
    /// Bytes of files that are complete before it, of dead letters in several files.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes_before: u64,
    /// The hash of the last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Fingerprint>,
    /// Parts that are whole and have their names.
    pub parts: u64,
    /// Parts that are whole, and get their names once the checkpoint is durable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub staged: Vec<StagedPart>,
    /// Whether nothing follows.
    pub is_complete: bool,
}

fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

/// A part of an output that is whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedPart {
    /// The name under which it is now.
    pub partial: String,
    /// The name that it gets.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// xxHash (XXH64, seed 0) of its bytes.
    pub hash: u64,
}

/// What a sink has written up to a cut, or in all, on its way to be durable. Of a cut it is
/// carried out beside the run, which writes on meanwhile.
pub trait Prepared: Send {
    /// Makes it durable, and tells what it is, an entry for each output.
    ///
    /// # Errors
    /// If that fails: nothing is known of it then, and it is not tried again.
    fn make_durable(&mut self) -> Result<Vec<OutputPosition>, BoxError>;

    /// Gives what is whole its name: once the checkpoint is durable that tells of it, or at the
    /// end of a run that is not kept once all that it wrote is.
    ///
    /// # Errors
    /// If that fails: a later run does it, if it is kept.
    fn publish(&mut self) -> Result<(), BoxError>;
}

/// Nothing that could be lost.
#[derive(Clone, Copy, Debug, Default)]
pub struct NothingPrepared;

impl Prepared for NothingPrepared {
    fn make_durable(&mut self) -> Result<Vec<OutputPosition>, BoxError> {
        Ok(Vec::new())
    }

    fn publish(&mut self) -> Result<(), BoxError> {
        Ok(())
    }
}

/// Two, one after the other. They are published the other way round: of several outputs the
/// first, that of the trades, gets its name when the others have theirs.
impl<A: Prepared, B: Prepared> Prepared for (A, B) {
    fn make_durable(&mut self) -> Result<Vec<OutputPosition>, BoxError> {
        let mut all = self.0.make_durable()?;
        all.append(&mut self.1.make_durable()?);
        Ok(all)
    }

    fn publish(&mut self) -> Result<(), BoxError> {
        self.1.publish()?;
        self.0.publish()
    }
}

impl<P: Prepared + ?Sized> Prepared for Box<P> {
    fn make_durable(&mut self) -> Result<Vec<OutputPosition>, BoxError> {
        (**self).make_durable()
    }

    fn publish(&mut self) -> Result<(), BoxError> {
        (**self).publish()
    }
}

/// A run at one place of the sequence, between two batches.
pub struct Cut {
    /// How far its inputs have been read.
    pub source: SourcePosition,
    /// How many trades were read, refused ones not counted.
    pub trades: u64,
    /// The place of the next message.
    pub position: Position,
    /// The account of all before it.
    pub ledger: Ledger,
    /// The trades that wait; `None` in a run in which none ever does.
    pub held: Option<Held>,
    /// How many records were refused, by input.
    pub bad: BTreeMap<String, u64>,
    /// What the sink has written.
    pub output: Box<dyn Prepared>,
    /// Whether it is the last one, and how the run came to its end.
    pub end: Option<End>,
}

/// What a run starts from instead of the beginning. Its tables come from what was kept,
/// its source is where it was, and its sink holds what counts.
#[derive(Debug)]
pub struct Resume {
    /// How many trades were read, refused ones not counted.
    pub trades: u64,
    /// The place of the next message.
    pub position: Position,
    /// The account of all before it.
    pub ledger: Ledger,
    /// The trades that wait; `None` in a run in which none ever does.
    pub held: Option<Held>,
    /// How many records were refused, by input.
    pub bad: BTreeMap<String, u64>,
}

/// Keeps what a run needs to go on. Called on a thread of its own, in the order of the
/// sequence.
pub trait Keep: Send {
    /// Takes the first rows of a table, by its index, or more of them, in their order.
    ///
    /// # Errors
    /// If they cannot be kept. It is not called again.
    fn rows(&mut self, table: usize, lane: &ChangeLane) -> Result<(), BoxError>;

    /// Takes the changes of a batch, a lane for each table, which took effect behind all that
    /// were taken before. So many trades, refused ones not counted, stand before those of the
    /// batch. All tables are complete.
    ///
    /// # Errors
    /// If they cannot be kept. It is not called again.
    fn changes(&mut self, trades_before: u64, lanes: &[ChangeLane]) -> Result<(), BoxError>;

    /// Makes a cut durable behind all changes that were taken so far, and publishes the
    /// output. Gives the bytes that were written for it, those of the output not counted.
    ///
    /// # Errors
    /// If it cannot be kept: the cut before it stands. It is not called again.
    fn keep(&mut self, cut: Cut) -> Result<u64, BoxError>;
}
