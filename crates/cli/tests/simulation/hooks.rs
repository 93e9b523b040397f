//! Where a stage fails or panics: at the n-th of all the places that a run passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tradejoin_flow::BoxError;

/// What every error says that is made here.
pub(crate) const INJECTED: &str = "it was to fail here";

/// The places of one run. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hooks {
    passed: Arc<AtomicU64>,
    /// Where it fails, from 1, and whether it panics.
    fails: Option<(u64, bool)>,
}

impl Hooks {
    pub(crate) fn new(fails: Option<(u64, bool)>) -> Self {
        Self { passed: Arc::default(), fails }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.fails.is_some_and(|(at, _)| self.passed.load(Ordering::Relaxed) >= at)
    }

    /// Passes a place.
    pub(crate) fn pass(&self, place: &str) -> Result<(), BoxError> {
        let number = self.passed.fetch_add(1, Ordering::Relaxed) + 1;
        match self.fails {
            Some((at, panics)) if at == number => {
                // No panic of the product's has this payload, so that it need not be told.
                if panics {
                    std::panic::resume_unwind(Box::new(INJECTED));
                }
                Err(format!("{place}: {INJECTED}").into())
            }
            _ => Ok(()),
        }
    }
}
