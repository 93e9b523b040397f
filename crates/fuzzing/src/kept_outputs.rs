//! Outputs that a later run goes on with: cut anywhere, with whatever stands behind what
//! counts, they end with the bytes of one that nothing disturbed; and one of which something
//! is missing that counts is refused as it is.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{RecordBatch, StringArray, UInt32Array};
use tradejoin_connectors::{
    Compression, CreateError, Encoding, Format, Kept, Location, Output, OutputOptions,
};
use tradejoin_disk::{Disk, Mode, SimulatedDisk};
use tradejoin_flow::{End, OutputPosition};

use crate::drawn::Drawn;
use crate::memory::Memory;
use crate::trades::{How, read};

const FOLDER: &str = "outputs";
const NAME: &str = "outputs/kept";
const STEPS_MAX: usize = 48;

/// A disk with a folder for outputs.
fn disk() -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    let made = disk.create_folder(Path::new(FOLDER), Mode::Shared);
    made.and_then(|()| disk.sync_folder(Path::new(""))).expect("a disk without faults");
    disk
}

/// The rows of a run, of lengths that are drawn.
struct Rows {
    lengths: [u8; 4],
}

impl Rows {
    fn batch(&self, rows: std::ops::Range<u32>) -> RecordBatch {
        let notes = rows.clone().map(|row| {
            let len = usize::from(self.lengths[row as usize % 4]) * (row as usize % 3);
            format!("note \"{row}\"\n").repeat(len)
        });
        let notes: StringArray = notes.map(Some).collect();
        let ids = UInt32Array::from_iter_values(rows);
        RecordBatch::try_from_iter([("instrument_id", Arc::new(ids) as _), ("note", Arc::new(notes) as _)])
            .expect("columns of one length")
    }
}

/// A run and what is kept of it.
struct Life {
    rows: Rows,
    encoding: Encoding,
    disk: SimulatedDisk,
    output: Option<Output>,
    /// Rows that were written.
    written: u32,
    /// What the last checkpoint tells, and the rows before it.
    kept: (Option<OutputPosition>, u32),
}

/// What becomes of an output, step by step.
pub(crate) fn kept_outputs(bytes: &[u8]) {
    let mut drawn = Drawn::new(bytes);
    let format = [Format::Csv, Format::JsonLines][usize::from(drawn.below(2))];
    let compressions = [Compression::None, Compression::Gzip, Compression::Zstd];
    let encoding = Encoding { format, compression: compressions[usize::from(drawn.below(3))] };
    let mut life = Life {
        rows: Rows { lengths: drawn.bytes() },
        encoding,
        disk: disk(),
        output: None,
        written: 0,
        kept: (None, 0),
    };
    life.go_on();
    for _ in 0..STEPS_MAX {
        if drawn.is_empty() {
            break;
        }
        match drawn.below(8) {
            0..3 => life.write(u32::from(drawn.below(9))),
            3 => life.cut(None),
            4 => {
                // The power fails: what was not synced may be anything.
                let disk = life.disk.crash(u64::from_le_bytes(drawn.bytes()));
                life.output = None;
                life.disk = disk;
                life.go_on();
            }
            5 => life.go_on(),
            6 => {
                life.output = None;
                life.tear(&drawn.text());
                life.go_on();
            }
            _ => {
                life.output = None;
                if life.damage(&mut drawn) {
                    return;
                }
                life.go_on();
            }
        }
    }
    life.write(3);
    life.cut(Some(End::Complete));
    let position = life.kept.0.as_ref().expect("it is complete");
    let disk: Arc<dyn Disk> = Arc::new(life.disk.crash(u64::from_le_bytes(drawn.bytes())));
    Output::republish(&disk, position).expect("it has its name, or gets it");
    let whole = disk.read(Path::new(NAME)).expect("there");
    assert_eq!(disk.size(Path::new(&position.partial)).expect("asked"), None);
    life.check(&whole);
}

impl Life {
    /// A run that goes on where the last checkpoint was.
    fn go_on(&mut self) {
        self.output = None;
        self.output = Some(self.open().expect("what counts is there"));
        self.written = self.kept.1;
    }

    fn open(&self) -> Result<Output, CreateError> {
        let disk = Arc::new(self.disk.clone());
        let kept = Some(Kept { disk, owner: "fuzz".to_owned(), from: self.kept.0.clone() });
        let schema = self.rows.batch(0..0).schema();
        let options = OutputOptions::new(Location::Path(NAME.into()), self.encoding, schema);
        Output::create(OutputOptions { kept, ..options })
    }

    fn write(&mut self, rows: u32) {
        let output = self.output.as_mut().expect("open");
        output.write_batch(&self.rows.batch(self.written..self.written + rows)).expect("written");
        self.written += rows;
    }

    fn cut(&mut self, end: Option<End>) {
        let mut prepared = self.output.as_mut().expect("open").prepare(end).expect("prepared");
        let mut positions = prepared.make_durable().expect("a disk without faults");
        self.kept = (positions.pop(), self.written);
        if end.is_none() {
            prepared.publish().expect("nothing to do");
        }
    }

    /// Writes behind what counts, as a run does that dies.
    fn tear(&self, text: &str) {
        if let Some(position) = &self.kept.0 {
            let mut file = self.disk.open(Path::new(&position.partial)).expect("there");
            file.write_all(text.as_bytes()).expect("written");
        }
    }

    /// Takes something away of what counts, or changes it: that must be seen, and nothing be
    /// done. `false` if nothing counts.
    fn damage(&self, drawn: &mut Drawn<'_>) -> bool {
        let Some(position) = self.kept.0.as_ref().filter(|position| position.bytes > 0) else { return false };
        let path = Path::new(&position.partial);
        let mut bytes = self.disk.read(path).expect("there");
        // All of them are among those that are hashed.
        let counts = usize::try_from(position.bytes).expect("few");
        let hashed = counts.min(64 << 10);
        let at = counts - 1 - usize::from(u16::from_le_bytes(drawn.bytes())) % hashed;
        if drawn.below(2) == 0 {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << drawn.below(8);
        }
        let mut file = self.disk.open(path).expect("there");
        file.set_len(0).and_then(|()| file.write_all(&bytes)).expect("written");
        assert!(self.open().is_err(), "{at} of {counts}");
        assert_eq!(self.disk.read(path).expect("there"), bytes, "it is left as it is");
        true
    }

    /// What the output has is what one has that nothing disturbed.
    fn check(&self, whole: &[u8]) {
        let undisturbed = Self {
            rows: Rows { lengths: self.rows.lengths },
            encoding: self.encoding,
            disk: disk(),
            output: None,
            written: 0,
            kept: (None, 0),
        };
        let expected = undisturbed.at_once(self.written);
        if self.encoding.compression == Compression::None {
            assert_eq!(whole, expected);
        }
        let rows = |bytes| {
            let how = How { encoding: self.encoding, ..How::new(self.encoding.format) };
            read(&Memory::new(bytes), &how).expect("it opens").1
        };
        let read = rows(whole);
        assert_eq!((read.events.len(), &read.failure), (self.written as usize, &None));
        assert_eq!(read, rows(&expected));
    }

    /// The bytes of an output that is written without a stop.
    fn at_once(mut self, rows: u32) -> Vec<u8> {
        self.go_on();
        self.write(rows);
        let mut whole = self.output.as_mut().expect("open").prepare(Some(End::Complete)).expect("prepared");
        whole.make_durable().and_then(|_| whole.publish()).expect("a disk without faults");
        self.disk.read(Path::new(NAME)).expect("there")
    }
}
