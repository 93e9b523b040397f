//! Ctrl-C: a clean stop, and soon.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, process};

use anyhow::Context as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use tradejoin_connectors::OutputHandle;
use tradejoin_engine::Stop;

use crate::failure;
use crate::tell::tell;

/// What a hang-up is to a command: the terminal is closed, or a service manager reloads it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HangUp {
    /// What SIGTERM is, unless it was ignored when the command began, as by `nohup`.
    Ends,
    /// A request to read files again: see [`Signals::hang_up`].
    Reloads,
}

/// How long a run may take to end by itself after Ctrl-C.
const GRACE: Duration = Duration::from_millis(850);
/// And one whose last checkpoint may have much to make durable. A second Ctrl-C does not wait
/// for it: the checkpoint before stands.
const GRACE_OF_KEPT: Duration = Duration::from_secs(30);

/// For how long signals behind the first tell of the same event: `timeout` signals a command and
/// then its group, and of a terminal that is closed the system tells and the shell.
const ONE_EVENT: Duration = Duration::from_millis(250);

/// How long last words may take whose reader may be stuck, too.
const WORDS: Duration = Duration::from_secs(2);
/// Signals that have been seen and not been acted on.
const SIGNALS_MAX: usize = 4;

type LastWords = Box<dyn FnOnce() + Send>;
type Remover = Box<dyn Fn() + Send>;

/// The watch over interrupt and termination signals.
///
/// The first one asks the run to stop. If the run has not ended by itself after [`GRACE`],
/// because a reader or writer is stuck, last words are said and the process ends all the
/// same; with the second one, unless that tells of the [same event](ONE_EVENT), it ends at
/// once. Both remove what would be left behind. The third one waits not even for that.
pub(crate) struct Signals {
    stop: Stop,
    last_words: Arc<Mutex<Option<LastWords>>>,
    removers: Arc<Mutex<Vec<Remover>>>,
    is_kept: Arc<AtomicBool>,
}

impl Signals {
    /// Begins to watch; to be called before anything is opened that may wait.
    pub(crate) fn install(hang_up: HangUp) -> anyhow::Result<Self> {
        let watch = Self {
            stop: Stop::default(),
            last_words: Arc::default(),
            removers: Arc::default(),
            is_kept: Arc::default(),
        };
        // A file that may not grow any more is an error of the write, not the end.
        flag::register(SIGXFSZ, Arc::default()).context("cannot watch for signals")?;
        let mut signals = vec![SIGINT, SIGTERM];
        if hang_up == HangUp::Ends && is_heeded(SIGHUP) {
            signals.push(SIGHUP);
        }
        let is_ending = Arc::<AtomicBool>::default();
        for &signal in &signals {
            flag::register_conditional_shutdown(
                signal,
                i32::from(failure::INTERRUPTED),
                Arc::clone(&is_ending),
            )
            .and_then(|_| flag::register(signal, watch.stop.flag()))
            .context("cannot watch for signals")?;
        }
        let mut signals = signal_hook::iterator::Signals::new(signals).context("cannot watch for signals")?;
        let (seeing, seen) = mpsc::sync_channel(SIGNALS_MAX);
        let see = move || {
            for signal in signals.forever() {
                // More of them than there is room for say nothing new.
                let _ = seeing.try_send((signal, Instant::now()));
            }
        };
        let (last_words, removers) = (Arc::clone(&watch.last_words), Arc::clone(&watch.removers));
        let is_kept = Arc::clone(&watch.is_kept);
        let end = move || {
            let Ok((_, first)) = seen.recv() else { return };
            let grace = if is_kept.load(Ordering::Relaxed) { GRACE_OF_KEPT } else { GRACE };
            let is_hurried = loop {
                match seen.recv_timeout(grace.saturating_sub(first.elapsed())) {
                    Ok((signal, at)) if !hurries(signal, at - first) => {}
                    another => break another.is_ok(),
                }
            };
            is_ending.store(true, Ordering::Relaxed);
            removers.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|remove| remove());
            if !is_hurried {
                say(last_words.lock().unwrap_or_else(PoisonError::into_inner).take());
            }
            process::exit(i32::from(failure::INTERRUPTED));
        };
        // Not stages of the run, and they must outlive a stage that is stuck.
        let begin = |name: &str| thread::Builder::new().name(name.to_owned());
        begin("signals").spawn(see).context("cannot watch for signals")?;
        begin("end").spawn(end).context("cannot watch for signals")?;
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

    /// What removes something that would be left behind if the run does not end by itself.
    pub(crate) fn remove_before_the_end(&self, remove: Remover) {
        self.removers.lock().unwrap_or_else(PoisonError::into_inner).push(remove);
    }

    /// Leaves a run with checkpoints the time for its last one.
    pub(crate) fn wait_for_a_checkpoint(&self) {
        self.is_kept.store(true, Ordering::Relaxed);
    }

    /// What to say if the run does not end by itself.
    pub(crate) fn before_the_end(&self, words: impl FnOnce() + Send + 'static) {
        *self.last_words.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(words));
    }
}

/// Whether a signal that comes so long behind the first is a request to end at once.
fn hurries(signal: i32, behind: Duration) -> bool {
    signal != SIGHUP && behind >= ONE_EVENT
}

/// Whether a signal is known not to be ignored, as far as the system tells without `unsafe`.
fn is_heeded(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Signals count from 1.
    ignored.is_some_and(|mask| mask >> (signal - 1) & 1 == 0)
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
            None => tell!("interrupted"),
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
    fn signals_of_one_event_are_one() {
        let [at_once, later] = [ONE_EVENT / 2, ONE_EVENT];
        assert_eq!([at_once, later].map(|behind| hurries(SIGINT, behind)), [false, true]);
        assert_eq!([at_once, later].map(|behind| hurries(SIGTERM, behind)), [false, true]);
        // A terminal is closed once, whoever tells it.
        assert_eq!([at_once, later].map(|behind| hurries(SIGHUP, behind)), [false, false]);
    }

    #[test]
    fn the_end_follows_last_words_that_panic() {
        say(Some(Box::new(|| panic!("a bug"))));
    }
}
