//! A sink that reads every field, as the simple programs do.

use tradejoin_flow::{BoxError, Encode, End, NothingPrepared, Prepared, Sink};
use tradejoin_model::Enriched;

use crate::digest::{Digest, digest_enriched};

/// Digests what it is given; batches where they are joined, and the
/// digests in order.
#[derive(Debug, Default)]
pub struct Digesting(pub Digest);

impl Sink for Digesting {
    type Piece = Digest;
    type Encoder = Digests;

    fn encoder(&self) -> Digests {
        Digests
    }

    fn write(&mut self, batch: &mut Digest) -> Result<(), BoxError> {
        self.0.append(batch);
        Ok(())
    }

    fn prepare(&mut self, _: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        Ok(Box::new(NothingPrepared))
    }
}

/// The encoder of [`Digesting`].
#[derive(Clone, Copy, Debug)]
pub struct Digests;

impl Encode for Digests {
    type Piece = Digest;

    fn encode(&mut self, enriched: &Enriched, batch: &mut Digest) -> Result<(), BoxError> {
        *batch = digest_enriched(enriched);
        Ok(())
    }
}
