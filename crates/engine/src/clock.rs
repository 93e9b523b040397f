//! What a run goes by where time decides: when a cut is due, and how long trades wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sync::{AtomicU64, Ordering};

/// A clock: that of the system, or one that stands still until somebody puts it forward, for
/// tests that are the same each time. Clones are the same clock. What a run took, for its report,
/// is always told by the system's.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<Simulated>>);

#[derive(Debug)]
struct Simulated {
    begin: Instant,
    nanos: AtomicU64,
}

impl Clock {
    /// One that stands still.
    #[must_use]
    pub fn simulated() -> Self {
        Self(Some(Arc::new(Simulated { begin: Instant::now(), nanos: AtomicU64::new(0) })))
    }

    /// Puts it forward.
    ///
    /// # Panics
    /// If it is the system's, or would go beyond 584 years.
    pub fn advance(&self, by: Duration) {
        let simulated = self.0.as_ref().expect("the system's clock goes by itself");
        let by = u64::try_from(by.as_nanos()).expect("less than 584 years");
        let before = simulated.nanos.fetch_add(by, Ordering::Relaxed);
        assert!(before.checked_add(by).is_some(), "less than 584 years");
    }

    pub(crate) fn now(&self) -> Instant {
        match &self.0 {
            None => Instant::now(),
            Some(simulated) => {
                simulated.begin + Duration::from_nanos(simulated.nanos.load(Ordering::Relaxed))
            }
        }
    }
}
