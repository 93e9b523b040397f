//! Ctrl-C: a clean stop, and soon.

use std::process;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use tradejoin_engine::Stop;

use crate::failure;

/// How long a run may take to end by itself after Ctrl-C.
const GRACE: Duration = Duration::from_millis(850);

/// Lets the first interrupt or termination signal ask the run to stop, and the
/// second end the process at once. If the run has not ended by itself after
/// [`GRACE`], because a reader or writer is stuck, `last_words` are said and
/// the process ends all the same.
pub(crate) fn install(stop: &Stop, last_words: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    let signals = [SIGINT, SIGTERM];
    for signal in signals {
        // The order matters: the second signal finds the flag set by the first.
        flag::register_conditional_shutdown(signal, i32::from(failure::INTERRUPTED), stop.flag())
            .and_then(|_| flag::register(signal, stop.flag()))
            .context("cannot watch for signals")?;
    }
    let mut signals = Signals::new(signals).context("cannot watch for signals")?;
    let watch = move || {
        if signals.forever().next().is_some() {
            thread::sleep(GRACE);
            last_words();
            process::exit(i32::from(failure::INTERRUPTED));
        }
    };
    // Not a stage of the run, and it must outlive a stage that is stuck.
    #[expect(clippy::disallowed_methods, reason = "the command's own watch over the engine")]
    thread::spawn(watch);
    Ok(())
}
