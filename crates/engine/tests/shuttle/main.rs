//! Whole runs under shuttle: the threads go on in orders that are drawn from a seed, a step at
//! a time, and where none can go on there is an error. A wait with a limit is one without, so
//! that a wake-up that is lost is seen. Memory is that of one processor: weaker ones are left
//! to Miri, see `CONTRIBUTING.md`.
//!
//! `cargo test -p tradejoin-engine --features shuttle --test shuttle`
//!
//! - `runs`: a run of few blocks, each of which says what the trades in it find, and how it is kept
//! - `faults`: what fails in such a run, or panics
//! - `kept`: cuts, with and without faults, and runs that go on from them
//! - `stopped`: runs that another thread asks to stop
//! - `updates`: changes that another thread offers

use std::sync::Arc;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

mod faults;
mod kept;
mod runs;
mod stopped;
mod updates;

/// Places at which a schedule with priorities changes them.
const CHANGES: usize = 3;

/// Carries out a test in 300 orders, or as many as `TRADEJOIN_SCHEDULES` says: half of them
/// are drawn step by step, and half by priorities, which finds what needs a thread that is
/// held up for long. `TRADEJOIN_SEED` gives others.
fn check(test: impl Fn() + Send + Sync + 'static) {
    let number = |name: &str| std::env::var(name).ok().map(|n| n.parse().expect("a number"));
    let schedules: usize = number("TRADEJOIN_SCHEDULES").unwrap_or(300);
    let seed = number("TRADEJOIN_SEED").unwrap_or(1) as u64;
    let mut config = Config::new();
    // Of each thread: look-ups take more than the default.
    config.stack_size = 1 << 20;
    config.silence_warnings = true;
    let test = Arc::new(test);
    let again = Arc::clone(&test);
    let steps = RandomScheduler::new_from_seed(seed, schedules.div_ceil(2));
    Runner::new(steps, config.clone()).run(move || again());
    let priorities = PctScheduler::new_from_seed(seed, CHANGES, schedules / 2);
    Runner::new(priorities, config).run(move || test());
}

/// One of so many, as the schedule has it.
fn draw(of: u64) -> u64 {
    use shuttle::rand::Rng as _;
    shuttle::rand::thread_rng().gen_range(0..of)
}
