//! What the threads of a run share, and wait by.
//!
//! It is the standard library's, and `crossbeam-utils`'; with the feature `shuttle`, which is
//! for `tests/shuttle` alone, that of shuttle: whatever a thread does here is then a place
//! where another one may go on, as the test decides.

pub(crate) use imp::{
    AtomicBool, AtomicU64, Condvar, Mutex, MutexGuard, Ordering, Parker, PoisonError, ScopedJoinHandle,
    Unparker, scope, spawn,
};

#[cfg(not(feature = "shuttle"))]
mod imp {
    use std::io;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
    use std::thread::{Builder, Scope};
    pub(crate) use std::thread::{ScopedJoinHandle, scope};

    pub(crate) use crossbeam_utils::sync::{Parker, Unparker};

    /// Starts a thread of a scope.
    pub(crate) fn spawn<'scope, T: Send + 'scope>(
        scope: &'scope Scope<'scope, '_>,
        name: String,
        work: impl FnOnce() -> T + Send + 'scope,
    ) -> io::Result<ScopedJoinHandle<'scope, T>> {
        Builder::new().name(name).spawn_scoped(scope, work)
    }
}

#[cfg(feature = "shuttle")]
mod imp {
    use std::io;
    use std::sync::Arc;

    use shuttle::rand::Rng as _;
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard, PoisonError};
    use shuttle::thread::Scope;
    pub(crate) use shuttle::thread::{ScopedJoinHandle, scope};

    /// Steps that others may take while a thread is woken.
    const OTHERS_MAX: usize = 32;

    /// Starts a thread of a scope; those of shuttle have numbers for names.
    pub(crate) fn spawn<'scope, T: Send + 'scope>(
        scope: &'scope Scope<'scope, '_>,
        _: String,
        work: impl FnOnce() -> T + Send + 'scope,
    ) -> io::Result<ScopedJoinHandle<'scope, T>> {
        Ok(scope.spawn(work))
    }

    /// Waits for its token, as that of `crossbeam-utils`.
    pub(crate) struct Parker(Unparker);

    /// Gives the token.
    #[derive(Clone)]
    pub(crate) struct Unparker(Arc<(Mutex<bool>, Condvar)>);

    impl Parker {
        pub(crate) fn new() -> Self {
            Self(Unparker(Arc::new((Mutex::new(false), Condvar::new()))))
        }

        pub(crate) fn unparker(&self) -> &Unparker {
            &self.0
        }

        pub(crate) fn park(&self) {
            let (token, given) = &*self.0.0;
            let mut token = token.lock().unwrap_or_else(PoisonError::into_inner);
            while !*token {
                token = given.wait(token).unwrap_or_else(PoisonError::into_inner);
            }
            *token = false;
        }
    }

    impl Unparker {
        /// A call of the system, which may take as long as others have much to do.
        pub(crate) fn unpark(&self) {
            let others = shuttle::rand::thread_rng().gen_range(0..OTHERS_MAX);
            (0..others).for_each(|_| shuttle::thread::yield_now());
            let (token, given) = &*self.0;
            *token.lock().unwrap_or_else(PoisonError::into_inner) = true;
            given.notify_one();
        }
    }
}
