//! What threads of the command share, and wait by, where one may miss the other.
//!
//! It is the standard library's; with the feature `shuttle`, which is for the unit tests
//! `under_shuttle` alone, that of shuttle: whatever a thread does here is then a place where
//! another one may go on, as the test decides.

pub(crate) use imp::{
    AtomicUsize, Condvar, JoinHandle, Mutex, MutexGuard, Ordering, PoisonError, Receiver, RecvTimeoutError,
    SyncSender, ThreadBuilder, TryRecvError, sync_channel,
};

#[cfg(not(feature = "shuttle"))]
mod imp {
    pub(crate) use std::sync::atomic::{AtomicUsize, Ordering};
    pub(crate) use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
    pub(crate) use std::thread::{Builder as ThreadBuilder, JoinHandle};
}

#[cfg(feature = "shuttle")]
mod imp {
    use std::time::Duration;

    pub(crate) use shuttle::sync::atomic::{AtomicUsize, Ordering};
    use shuttle::sync::mpsc;
    pub(crate) use shuttle::sync::mpsc::{RecvTimeoutError, SyncSender, TryRecvError};
    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard, PoisonError};
    pub(crate) use shuttle::thread::{Builder as ThreadBuilder, JoinHandle};

    pub(crate) fn sync_channel<T>(bound: usize) -> (SyncSender<T>, Receiver<T>) {
        let (sender, receiver) = mpsc::sync_channel(bound);
        (sender, Receiver(receiver))
    }

    /// One that does not wait where there is no time to.
    pub(crate) struct Receiver<T>(mpsc::Receiver<T>);

    impl<T> Receiver<T> {
        pub(crate) fn recv(&self) -> Result<T, mpsc::RecvError> {
            self.0.recv()
        }

        pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
            self.0.try_recv()
        }

        /// Time does not pass under shuttle: without any there is nothing, and any is for ever.
        pub(crate) fn recv_timeout(&self, patience: Duration) -> Result<T, RecvTimeoutError> {
            if !patience.is_zero() {
                return self.0.recv().map_err(|_| RecvTimeoutError::Disconnected);
            }
            self.0.try_recv().map_err(|error| match error {
                TryRecvError::Empty => RecvTimeoutError::Timeout,
                TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
            })
        }
    }
}

#[cfg(all(test, feature = "shuttle"))]
pub(crate) mod schedules {
    //! Orders in which the threads of a test go on.

    use std::sync::Arc;

    use shuttle::scheduler::{PctScheduler, RandomScheduler};
    use shuttle::{Config, Runner};

    /// Carries out a test in 300 orders, or as many as `TRADEJOIN_SCHEDULES` says: half of
    /// them drawn step by step, and half by priorities. `TRADEJOIN_SEED` gives others.
    pub(crate) fn check(test: impl Fn() + Send + Sync + 'static) {
        let number = |name: &str| std::env::var(name).ok().map(|n| n.parse().expect("a number"));
        let schedules: usize = number("TRADEJOIN_SCHEDULES").unwrap_or(300);
        let seed = number("TRADEJOIN_SEED").unwrap_or(1) as u64;
        let mut config = Config::new();
        config.stack_size = 1 << 20;
        config.silence_warnings = true;
        let test = Arc::new(test);
        let again = Arc::clone(&test);
        let steps = RandomScheduler::new_from_seed(seed, schedules.div_ceil(2));
        Runner::new(steps, config.clone()).run(move || again());
        let priorities = PctScheduler::new_from_seed(seed, 3, schedules / 2);
        Runner::new(priorities, config).run(move || test());
    }

    /// One of so many, as the schedule has it.
    pub(crate) fn draw(of: usize) -> usize {
        use shuttle::rand::Rng as _;
        shuttle::rand::thread_rng().gen_range(0..of)
    }
}
