//! How long a step takes, whoever else is on the machine.

use std::time::{Duration, Instant};

use tradejoin_engine::thread_cpu;

/// Reads the clocks around a step, and takes off what the reading costs.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    cpu: f64,
    elapsed: f64,
}

impl Meter {
    /// A meter that knows what its own clocks cost.
    #[must_use]
    pub fn new() -> Self {
        const READINGS: usize = 2_001;
        let mut readings: Vec<_> = (0..READINGS).map(|_| reading(|| ()).1).collect();
        let mut middle = |of: fn(&(f64, f64)) -> f64| {
            readings.sort_by(|a, b| of(a).total_cmp(&of(b)));
            of(&readings[READINGS / 2])
        };
        Self { cpu: middle(|pair| pair.0), elapsed: middle(|pair| pair.1) }
    }

    /// Carries out a step and gives the nanoseconds that it took: processor time
    /// of the thread, or elapsed time if that is less. The former does not count
    /// the thread's waits, the latter tells apart what is short.
    pub fn time<T>(&self, step: impl FnOnce() -> T) -> (T, f64) {
        let (result, (cpu, elapsed)) = reading(step);
        (result, (cpu - self.cpu).min(elapsed - self.elapsed).max(0.0))
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self::new()
    }
}

/// Processor and elapsed nanoseconds of a step, with those of the reading.
fn reading<T>(step: impl FnOnce() -> T) -> (T, (f64, f64)) {
    let cpu = thread_cpu();
    let start = Instant::now();
    let result = step();
    let elapsed = start.elapsed();
    (result, (ns(thread_cpu().saturating_sub(cpu)), ns(elapsed)))
}

pub(crate) fn ns(duration: Duration) -> f64 {
    duration.as_nanos() as f64
}
