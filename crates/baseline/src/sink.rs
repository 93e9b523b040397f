//! A sink that reads every field, as the simple programs do.

use tradejoin_flow::{BoxError, Encode, End, Sink};
use tradejoin_model::Enriched;

use crate::digest::{Digest, Section, digest_enriched};

/// Digests what it is given; batches where they are joined, and their sections
/// in order.
#[derive(Debug, Default)]
pub struct Digesting(pub Digest);

impl Sink for Digesting {
    type Piece = Section;
    type Encoder = Sections;

    fn encoder(&self) -> Sections {
        Sections
    }

    fn write(&mut self, section: &mut Section) -> Result<(), BoxError> {
        self.0.append(section);
        Ok(())
    }

    fn finish(&mut self, _: End) -> Result<(), BoxError> {
        Ok(())
    }
}

/// The encoder of [`Digesting`].
#[derive(Clone, Copy, Debug)]
pub struct Sections;

impl Encode for Sections {
    type Piece = Section;

    fn encode(&mut self, enriched: &Enriched, section: &mut Section) -> Result<(), BoxError> {
        *section = digest_enriched(enriched);
        Ok(())
    }
}
