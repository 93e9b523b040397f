//! What writes the pieces of an output in its format.

use std::error::Error;
use std::io::BufWriter;

use arrow_schema::SchemaRef;

use crate::column_writer::ColumnWriter;
use crate::encoding::Encoding;
use crate::frames::FrameWriter;
use crate::output::{AddedColumn, Kind, OutputPiece};
use crate::parts::Parts;
use crate::target::{Counted, Mark, buffered};
use crate::text_encoder::csv_header;

pub(crate) type AnyError = Box<dyn Error + Send + Sync>;

/// What is there of a file when a writer gets it.
#[derive(Clone, Copy)]
pub(crate) struct Begun {
    /// Whether an earlier run has written to it.
    pub(crate) has_begun: bool,
    /// Whether it is a regular file with a name.
    pub(crate) is_named: bool,
}

pub(crate) enum Writer {
    Text(FrameWriter<BufWriter<Counted>>),
    Columns(ColumnWriter),
    Parts(Box<Parts>),
    Finished,
}

impl Writer {
    pub(crate) fn new(
        encoding: Encoding,
        kind: &Kind,
        schema: &SchemaRef,
        added: &[AddedColumn],
        file: Counted,
        begun: Begun,
    ) -> Result<Self, AnyError> {
        let text = |file: Counted, header| {
            let is_live = file.is_live();
            let writer = FrameWriter::new(buffered(file), encoding.compression, header);
            Self::Text(writer.live(is_live).begun(begun.has_begun))
        };
        Ok(match kind {
            Kind::Csv(style) => {
                let own = schema.fields().iter().map(|field| field.name().as_str());
                let all: Vec<_> = own.chain(added.iter().map(|added| added.name.as_str())).collect();
                let mut header = Vec::new();
                csv_header(all.into_iter(), *style, &mut header);
                text(file, header)
            }
            Kind::Json(_) => text(file, Vec::new()),
            Kind::Columns(shape) => {
                Self::Columns(ColumnWriter::new(encoding.format, &shape.schema, file, begun.is_named)?)
            }
        })
    }

    pub(crate) fn write(&mut self, piece: &OutputPiece) -> Result<(), AnyError> {
        let (text, is_frame, columns) = piece.parts();
        match (self, columns) {
            (Self::Text(writer), _) if is_frame => writer.write_frame(text)?,
            (Self::Text(writer), _) => writer.write_text(text)?,
            (Self::Columns(writer), batches) => batches.iter().try_for_each(|batch| writer.write(batch))?,
            (Self::Parts(parts), batches) => batches.iter().try_for_each(|batch| parts.write(batch))?,
            (Self::Finished, _) => return Err("the output is finished".into()),
        }
        Ok(())
    }

    /// Writes what is held back, and gives what the file has then.
    pub(crate) fn mark(&mut self) -> Result<Mark, AnyError> {
        match self {
            Self::Text(writer) => {
                writer.pause()?;
                Ok(writer.file().get_ref().mark()?)
            }
            Self::Columns(_) | Self::Parts(_) => Err("its format is whole or nothing".into()),
            Self::Finished => Err("the output is finished".into()),
        }
    }

    /// Writes the rest, and gives what the file has then.
    pub(crate) fn finish(self) -> Result<Mark, AnyError> {
        match self {
            Self::Text(mut writer) => {
                writer.complete()?;
                Ok(writer.file().get_ref().mark()?)
            }
            Self::Columns(writer) => Ok(writer.finish()?.mark()?),
            Self::Parts(_) => Err("an output in parts is completed by a checkpoint".into()),
            Self::Finished => Err("the output is finished".into()),
        }
    }
}
