//! Signals that this process has got and no thread of it has taken yet.
//!
//! Ctrl-C ends all processes of a pipeline. Where the machine is busy, the end of a writer can be
//! seen before the signal that has ended it is.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

/// SIGHUP, SIGINT and SIGTERM, as bits.
const ENDING: u64 = 1 | 1 << 1 | 1 << 14;
/// How often it is looked, and after what time again.
const LOOKS: u32 = 200;
const INTERVAL: Duration = Duration::from_millis(1);

/// Waits until a signal that is to end this process has arrived, if there is one; for 0.2 s at
/// most. Where the system does not tell, for nothing.
pub(super) fn let_arrive() {
    for _ in 0..LOOKS {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        // One that is ignored never waits.
        if pending(&status) & ENDING == 0 {
            break;
        }
        sleep(INTERVAL);
    }
}

/// The signals that wait for any thread, from the text of `/proc/PID/status`: see proc(5).
fn pending(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_that_wait_are_those_of_the_process() {
        let status =
            "Name:\tx\nSigPnd:\t0000000000000002\nShdPnd:\t0000000000004001\nSigIgn:\t0000000000001000\n";
        assert_eq!(pending(status), 0x4001);
        assert_eq!(pending(status) & ENDING, 1 << 14 | 1);
        assert_eq!((pending(""), pending("ShdPnd:\tx\n")), (0, 0));
    }

    #[test]
    fn nothing_is_waited_for_where_nothing_waits() {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        assert_eq!(pending(&status) & ENDING, 0);
        let_arrive();
    }
}
