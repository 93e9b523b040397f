//! Ctrl-C: a clean stop, and soon.

use std::process;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use tradejoin_connectors::OutputHandle;
use tradejoin_engine::Stop;

use crate::failure;

/// How long a run may take to end by itself after Ctrl-C.
const GRACE: Duration = Duration::from_millis(850);

/// How long last words may take whose reader may be stuck, too.
const WORDS: Duration = Duration::from_secs(2);

type LastWords = Box<dyn FnOnce() + Send>;

/// The watch over interrupt and termination signals.
///
/// The first one asks the run to stop, the second ends the process at once. If
/// the run has not ended by itself after [`GRACE`], because a reader or writer
/// is stuck, last words are said and the process ends all the same.
pub(crate) struct Signals {
    stop: Stop,
    last_words: Arc<Mutex<Option<LastWords>>>,
}

impl Signals {
    /// Begins to watch; to be called before anything is opened that may wait.
    pub(crate) fn install() -> anyhow::Result<Self> {
        let watch = Self { stop: Stop::default(), last_words: Arc::default() };
        let signals = [SIGINT, SIGTERM];
        for signal in signals {
            // The order matters: the second signal finds the flag set by the first.
            flag::register_conditional_shutdown(signal, i32::from(failure::INTERRUPTED), watch.stop.flag())
                .and_then(|_| flag::register(signal, watch.stop.flag()))
                .context("cannot watch for signals")?;
        }
        let mut signals = signal_hook::iterator::Signals::new(signals).context("cannot watch for signals")?;
        let last_words = Arc::clone(&watch.last_words);
        let end = move || {
            if signals.forever().next().is_some() {
                thread::sleep(GRACE);
                let words = last_words.lock().unwrap_or_else(PoisonError::into_inner).take();
                say(words);
                process::exit(i32::from(failure::INTERRUPTED));
            }
        };
        // Not a stage of the run, and it must outlive a stage that is stuck.
        #[expect(clippy::disallowed_methods, reason = "the command's own watch over the engine")]
        thread::spawn(end);
        Ok(watch)
    }

    /// A flag that SIGHUP sets, which then does not end the process.
    pub(crate) fn hang_up() -> anyhow::Result<Arc<AtomicBool>> {
        let flag = Arc::<AtomicBool>::default();
        flag::register(SIGHUP, Arc::clone(&flag)).context("cannot watch for signals")?;
        Ok(flag)
    }

    /// The request that a signal makes.
    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// What to say if the run does not end by itself.
    pub(crate) fn before_the_end(&self, words: impl FnOnce() + Send + 'static) {
        *self.last_words.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(words));
    }
}

/// Says last words, waited for no longer than [`WORDS`]: whatever becomes of them, the end
/// follows.
fn say(words: Option<LastWords>) {
    let (saying, said) = mpsc::sync_channel::<()>(0);
    let say = move || {
        // It goes when this ends, also by a panic.
        let _saying = saying;
        match words {
            Some(words) => words(),
            None => eprintln!("interrupted"),
        }
    };
    if thread::Builder::new().name("last words".to_owned()).spawn(say).is_ok() {
        let _ = said.recv_timeout(WORDS);
    }
}

/// What to say of an output when a run was interrupted.
pub(crate) fn partial_note(handle: Option<&OutputHandle>) -> String {
    match handle.and_then(OutputHandle::path) {
        Some(path) => format!("interrupted; what was written is in {}", path.display()),
        None => "interrupted".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_follows_last_words_that_panic() {
        say(Some(Box::new(|| panic!("a bug"))));
    }
}
