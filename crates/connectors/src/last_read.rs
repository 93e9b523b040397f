//! Where the record stands that was read last.

use std::sync::{Arc, Mutex, PoisonError};

use crate::flaw::Place;

/// Where the first record of the block stands that was read last: a handle, whose clones
/// show the same, and which may serve many inputs. With blocks of one record
/// ([`InputOptions::batch_len`](crate::InputOptions)) that are read by one thread, the
/// place of each.
#[derive(Clone, Debug, Default)]
pub struct LastRead(Arc<Mutex<Option<Record>>>);

/// The file of a record, and where it stands in it.
type Record = (Arc<str>, Place);

impl LastRead {
    /// The file and the place in it; `None` if nothing was read.
    #[must_use]
    pub fn get(&self) -> Option<(Arc<str>, Place)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, source_name: &Arc<str>, place: Place) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Arc::clone(source_name), place));
    }
}
