//! The changes of one table, in a list of files that are merged by the logarithmic
//! method: each has more than twice the rows of the one behind it, so that there are few,
//! and each change is written again only a few times.

use std::ops::Range;
use std::sync::Arc;

use tradejoin_model::{ChangeLane, Column, LookUp, TableSpec};

use crate::compact::{Deciding, Picking};
use crate::error::CheckpointError;
use crate::lanes::Shape;
use crate::manifest::Segment;
use crate::names;
use crate::segment::{BLOCK_ROWS, SegmentSource, SegmentWriter, Written};
use crate::store::Store;

/// Bytes of changes in memory, from which on they are written.
const BLOCK_BYTES: usize = 4 << 20;

/// Where files are made.
pub(crate) struct Place<'a> {
    pub store: &'a Store,
    /// The checkpoint that they are for.
    pub epoch: u64,
}

/// The state of a table, as it is written.
pub(crate) struct TableLog {
    number: usize,
    spec: TableSpec,
    /// Those of the last checkpoint.
    segments: Vec<Segment>,
    /// Those behind it, in their order.
    fresh: Vec<Written>,
    /// The last one behind it.
    open: Option<SegmentWriter>,
    /// Changes that are not written yet, all of one shape but for deletes.
    buffer: ChangeLane,
    buffer_shape: Option<Shape>,
    /// How many files the checkpoint under way has had so far.
    files: u32,
}

/// A file of the list, old or new.
enum Entry {
    Kept(Segment),
    Fresh(Written),
}

impl Entry {
    const fn segment(&self) -> &Segment {
        match self {
            Self::Kept(segment) => segment,
            Self::Fresh(written) => &written.segment,
        }
    }
}

impl TableLog {
    pub(crate) fn new(number: usize, spec: TableSpec, segments: Vec<Segment>) -> Self {
        Self {
            number,
            spec,
            segments,
            fresh: Vec::new(),
            open: None,
            buffer: ChangeLane::default(),
            buffer_shape: None,
            files: 0,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.spec.name
    }

    /// Takes the next changes, and writes them once there are enough.
    pub(crate) fn take(&mut self, place: &Place<'_>, lane: &ChangeLane) -> Result<(), CheckpointError> {
        if lane.is_empty() {
            return Ok(());
        }
        let shape = Shape { deleted: false, ..Shape::of(lane) };
        if self.buffer_shape.as_ref() != Some(&shape) {
            self.write_buffer(place)?;
            self.buffer_shape = Some(shape);
        }
        let changes: Vec<u32> = (0..lane.len() as u32).collect();
        let mut rest = changes.as_slice();
        while !rest.is_empty() {
            let (next, behind) = rest.split_at(rest.len().min(BLOCK_ROWS - self.buffer.len()));
            self.buffer.append_rows(lane, next);
            rest = behind;
            let bytes = self.buffer.fields.iter().map(Column::memory_bytes).sum::<usize>();
            if self.buffer.len() == BLOCK_ROWS || bytes >= BLOCK_BYTES {
                self.write_buffer(place)?;
            }
        }
        Ok(())
    }

    fn write_buffer(&mut self, place: &Place<'_>) -> Result<(), CheckpointError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let lane = std::mem::take(&mut self.buffer);
        let shape = Shape::of(&lane);
        if self.open.as_ref().is_some_and(|writer| !writer.shape().covers(&shape)) {
            self.close()?;
        }
        let mut writer = match self.open.take() {
            Some(writer) => writer,
            None => self.create(place, shape)?,
        };
        writer.write(&lane)?;
        self.open = Some(writer);
        Ok(())
    }

    fn create(&mut self, place: &Place<'_>, shape: Shape) -> Result<SegmentWriter, CheckpointError> {
        let name = names::segment(self.number, place.epoch, self.files);
        self.files += 1;
        place.store.check_lock()?;
        SegmentWriter::create(place.store.disk().as_ref(), place.store.folder(), name, shape)
    }

    fn close(&mut self) -> Result<(), CheckpointError> {
        if let Some(writer) = self.open.take() {
            self.fresh.push(writer.finish()?);
        }
        Ok(())
    }

    /// Makes all changes so far durable but for the names of the new files, and gives the
    /// bytes that were written.
    pub(crate) fn keep(&mut self, place: &Place<'_>) -> Result<u64, CheckpointError> {
        self.write_buffer(place)?;
        self.close()?;
        let kept = std::mem::take(&mut self.segments);
        let mut bytes = self.fresh.iter().map(|written| written.segment.bytes).sum();
        let mut entries: Vec<Entry> = kept.into_iter().map(Entry::Kept).collect();
        entries.extend(self.fresh.drain(..).map(Entry::Fresh));
        // What is merged may have fewer rows than its parts.
        while let Some(range) = to_merge(&entries) {
            let segments: Vec<_> =
                entries[range.clone()].iter().map(|entry| entry.segment().clone()).collect();
            let merged = match range.start {
                0 => self.compact(place, &segments)?,
                _ => Some(self.concatenate(place, &segments)?),
            };
            bytes += merged.as_ref().map_or(0, |merged| merged.segment.bytes);
            entries.splice(range, merged.map(Entry::Fresh));
        }
        for entry in entries {
            self.segments.push(match entry {
                Entry::Kept(segment) => segment,
                Entry::Fresh(written) => written.make_durable()?,
            });
        }
        self.files = 0;
        Ok(bytes)
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    fn source(&self, place: &Place<'_>, segments: &[Segment]) -> Result<SegmentSource, CheckpointError> {
        SegmentSource::open(Arc::clone(place.store.disk()), place.store.folder(), segments)
    }

    /// All changes of several files in one.
    fn concatenate(&mut self, place: &Place<'_>, segments: &[Segment]) -> Result<Written, CheckpointError> {
        let mut source = self.source(place, segments)?;
        let shape = source.shape().cloned().unwrap_or_else(|| Shape::of(&ChangeLane::default()));
        let mut writer = self.create(place, shape)?;
        let mut blocks = Blocks::default();
        while let Some(lane) = source.next_lane()? {
            let rows: Vec<u32> = (0..lane.len() as u32).collect();
            blocks.add(&mut writer, &lane, &rows)?;
        }
        blocks.end(&mut writer)?;
        writer.finish()
    }

    /// What all changes come to, in one file; `None` if that is nothing.
    fn compact(
        &mut self,
        place: &Place<'_>,
        segments: &[Segment],
    ) -> Result<Option<Written>, CheckpointError> {
        let mut source = self.source(place, segments)?;
        let mut deciding = Deciding::new(&self.spec);
        while let Some(lane) = source.next_lane()? {
            deciding.take(&lane);
        }
        let wanted = deciding.finish();
        let (false, Some(shape)) = (wanted.is_empty(), source.shape().cloned()) else { return Ok(None) };
        // Of deletes only tombstones stay.
        let deleted = shape.deleted && self.spec.look_up == LookUp::LatestVersion;
        let shape = Shape { deleted, ..shape };
        let mut writer = self.create(place, shape)?;
        let (mut picking, mut blocks) = (Picking::new(wanted), Blocks::default());
        let mut source = self.source(place, segments)?;
        while let Some(lane) = source.next_lane()? {
            picking.pick(&lane, |lane, rows| blocks.add(&mut writer, lane, rows))?;
        }
        blocks.end(&mut writer)?;
        writer.finish().map(Some)
    }
}

/// Puts changes together until there are enough to be written.
#[derive(Default)]
struct Blocks(ChangeLane);

impl Blocks {
    fn add(
        &mut self,
        writer: &mut SegmentWriter,
        lane: &ChangeLane,
        rows: &[u32],
    ) -> Result<(), CheckpointError> {
        if self.0.is_empty() && rows.len() == lane.len() && rows.len() >= BLOCK_ROWS {
            return writer.write(lane);
        }
        self.0.append_rows(lane, rows);
        if self.0.len() >= BLOCK_ROWS { self.end(writer) } else { Ok(()) }
    }

    fn end(&mut self, writer: &mut SegmentWriter) -> Result<(), CheckpointError> {
        writer.write(&std::mem::take(&mut self.0))
    }
}

/// Which files are to be put together next: as if each had been added to the list, and as
/// long as the last one had at least half as many rows as the one before it, the two been
/// made one.
fn to_merge(entries: &[Entry]) -> Option<Range<usize>> {
    let mut merged: Vec<(Range<usize>, u64)> = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        let mut last = (number..number + 1, entry.segment().rows);
        while let Some((range, rows)) = merged.pop() {
            if last.1.saturating_mul(2) < rows {
                merged.push((range, rows));
                break;
            }
            last = (range.start..last.0.end, rows.saturating_add(last.1));
        }
        merged.push(last);
    }
    merged.into_iter().map(|(range, _)| range).rfind(|range| range.len() > 1)
}
