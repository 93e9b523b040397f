//! Files with the changes of a table.

use std::fmt;
use std::io::{self, BufWriter, Read, Take, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, SchemaRef};
use tradejoin_disk::{Disk, DiskFile, Mode};
use tradejoin_flow::{BoxError, TableSource};
use tradejoin_model::ChangeLane;

use crate::error::CheckpointError;
use crate::hash::{Summed, Summing};
use crate::lanes::Shape;
use crate::manifest::Segment;

/// Changes that are written at once.
pub(crate) const BLOCK_ROWS: usize = 32_768;
/// Bytes that are handed to the system at once.
const BUFFER_BYTES: usize = 256 << 10;

/// What an Arrow error says, one of the system's as such.
pub(crate) fn of_arrow(file: &Path, doing: &'static str, error: ArrowError) -> CheckpointError {
    match error {
        ArrowError::IoError(_, source) if source.kind() != io::ErrorKind::UnexpectedEof => {
            CheckpointError::io(file, doing)(source)
        }
        error => CheckpointError::damaged(file, error.to_string()),
    }
}

/// Reads with Arrow, which panics on some bytes that no writer makes: that is an error of
/// the file, too.
pub(crate) fn guarded<T>(read: impl FnOnce() -> Result<T, ArrowError>) -> Result<T, ArrowError> {
    // What was being read is given up.
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(ArrowError::IpcError("its bytes make no sense".to_owned())))
}

/// A file that is being written.
pub(crate) struct SegmentWriter {
    path: PathBuf,
    name: String,
    shape: Shape,
    schema: SchemaRef,
    writer: StreamWriter<Summing<BufWriter<Box<dyn DiskFile>>>>,
    rows: u64,
}

/// A file that is whole, but not durable.
pub(crate) struct Written {
    pub segment: Segment,
    path: PathBuf,
    file: Box<dyn DiskFile>,
}

impl SegmentWriter {
    pub(crate) fn create(
        disk: &dyn Disk,
        folder: &Path,
        name: String,
        shape: Shape,
    ) -> Result<Self, CheckpointError> {
        let path = folder.join(&name);
        let file = disk.create(&path, Mode::Private).map_err(CheckpointError::io(&path, "make it"))?;
        let schema = shape.schema();
        let buffered = Summing::new(BufWriter::with_capacity(BUFFER_BYTES, file));
        let writer = StreamWriter::try_new(buffered, &schema)
            .map_err(|error| of_arrow(&path, "write to it", error))?;
        Ok(Self { path, name, shape, schema, writer, rows: 0 })
    }

    pub(crate) const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Writes changes whose shape this one's covers.
    pub(crate) fn write(&mut self, lane: &ChangeLane) -> Result<(), CheckpointError> {
        if lane.is_empty() {
            return Ok(());
        }
        let written = self.shape.batch(&self.schema, lane).and_then(|batch| self.writer.write(&batch));
        written.map_err(|error| of_arrow(&self.path, "write to it", error))?;
        self.rows += lane.len() as u64;
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Written, CheckpointError> {
        let Self { path, name, writer, rows, .. } = self;
        let buffered = writer.into_inner().map_err(|error| of_arrow(&path, "write to it", error))?;
        let (mut buffered, Summed { bytes, hash }) = buffered.into_parts();
        buffered.flush().map_err(CheckpointError::io(&path, "write to it"))?;
        let file = buffered
            .into_inner()
            .map_err(|error| CheckpointError::io(&path, "write to it")(error.into_error()))?;
        Ok(Written { segment: Segment { file: name, rows, bytes, hash }, path, file })
    }
}

impl Written {
    pub(crate) fn make_durable(mut self) -> Result<Segment, CheckpointError> {
        self.file.sync().map_err(CheckpointError::io(&self.path, "sync it"))?;
        Ok(self.segment)
    }
}

/// A file that is being read. At its end it must have been what its manifest says.
pub(crate) struct SegmentReader {
    path: PathBuf,
    shape: Shape,
    reader: StreamReader<Summing<Take<Box<dyn Read + Send>>>>,
    rows: u64,
    segment: Segment,
}

impl SegmentReader {
    pub(crate) fn open(disk: &dyn Disk, folder: &Path, segment: &Segment) -> Result<Self, CheckpointError> {
        let path = folder.join(&segment.file);
        let reader = disk.reader(&path).map_err(CheckpointError::io(&path, "read it"))?;
        let reader = Summing::new(reader.take(segment.bytes.saturating_add(1)));
        let reader = guarded(|| StreamReader::try_new(reader, None))
            .map_err(|error| of_arrow(&path, "read it", error))?;
        let shape =
            Shape::read(&reader.schema()).map_err(|reason| CheckpointError::damaged(&path, reason))?;
        Ok(Self { path, shape, reader, rows: 0, segment: segment.clone() })
    }

    pub(crate) const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The next changes, in the shape `wanted`, which covers this one's.
    pub(crate) fn next(&mut self, wanted: &Shape) -> Result<Option<ChangeLane>, CheckpointError> {
        let batch = guarded(|| self.reader.next().transpose());
        let batch = batch.map_err(|error| of_arrow(&self.path, "read it", error))?;
        let Some(batch) = batch else { return self.check_end().map(|()| None) };
        let lane = self.shape.lane(&batch, wanted);
        let lane = lane.map_err(|reason| CheckpointError::damaged(&self.path, reason))?;
        self.rows += lane.len() as u64;
        Ok(Some(lane))
    }

    fn check_end(&mut self) -> Result<(), CheckpointError> {
        let summed = self.reader.get_mut().sum_up().map_err(CheckpointError::io(&self.path, "read it"))?;
        let Segment { rows, bytes, hash, .. } = self.segment;
        if (self.rows, summed) == (rows, Summed { bytes, hash }) {
            return Ok(());
        }
        Err(CheckpointError::damaged(&self.path, "it is not what its manifest says"))
    }
}

/// All changes of a table, in their order.
pub(crate) struct SegmentSource {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    segments: Vec<Segment>,
    next: usize,
    reader: Option<SegmentReader>,
    shape: Option<Shape>,
}

impl SegmentSource {
    /// Looks into each file: changes of all come in one shape.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        segments: &[Segment],
    ) -> Result<Self, CheckpointError> {
        let shape = shape_of(disk.as_ref(), folder, segments)?;
        let (folder, segments) = (folder.to_owned(), segments.to_vec());
        Ok(Self { disk, folder, segments, next: 0, reader: None, shape })
    }

    pub(crate) const fn shape(&self) -> Option<&Shape> {
        self.shape.as_ref()
    }

    pub(crate) fn next_lane(&mut self) -> Result<Option<ChangeLane>, CheckpointError> {
        let Some(shape) = &self.shape else { return Ok(None) };
        loop {
            if let Some(reader) = &mut self.reader {
                if let Some(lane) = reader.next(shape)? {
                    return Ok(Some(lane));
                }
                self.reader = None;
            }
            let Some(segment) = self.segments.get(self.next) else { return Ok(None) };
            self.next += 1;
            self.reader = Some(SegmentReader::open(self.disk.as_ref(), &self.folder, segment)?);
        }
    }
}

/// What the changes of all these files are.
fn shape_of(disk: &dyn Disk, folder: &Path, segments: &[Segment]) -> Result<Option<Shape>, CheckpointError> {
    let mut all: Option<Shape> = None;
    for segment in segments {
        let shape = SegmentReader::open(disk, folder, segment)?.shape().clone();
        let union = all.as_ref().map_or(Some(shape.clone()), |all| all.union(&shape));
        all = Some(union.ok_or_else(|| {
            CheckpointError::damaged(&folder.join(&segment.file), "its changes are of another table")
        })?);
    }
    Ok(all)
}

impl TableSource for SegmentSource {
    fn next(&mut self) -> Result<Option<ChangeLane>, BoxError> {
        Ok(self.next_lane()?)
    }

    fn bytes_hint(&self) -> Option<u64> {
        Some(self.segments.iter().fold(0, |sum: u64, segment| sum.saturating_add(segment.bytes)))
    }
}

impl fmt::Debug for SegmentSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentSource").field("segments", &self.segments).finish_non_exhaustive()
    }
}
