//! What has stood still for long while a run goes on.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use tradejoin_connectors::{ChangesProgress, Readiness};
use tradejoin_engine::{Doing, Pulse, Stage};

use crate::arg_values::duration;
use crate::args::RunArgs;
use crate::watch::Said;

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct StallArgs {
    /// Say which stage of a run has made no progress for so long, and again after twice the time: 10s,
    /// 0 for never
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "10s",
        allow_hyphen_values = true,
        value_parser = duration,
        help_heading = "Report"
    )]
    pub(crate) stall_warning: Duration,
}

/// What stood still, for the summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Stalls {
    /// How often a stage made no progress for as long as is told.
    count: u64,
    longest_s: f64,
}

/// What the stages of a run are called.
pub(crate) struct Names {
    /// What trades come from.
    input: String,
    /// What is read at this moment in its place: tables that are not there.
    unready: Box<dyn Fn() -> Vec<String> + Send>,
    /// Pipes that are waited for.
    silent: Box<dyn Fn() -> Vec<Arc<str>> + Send>,
    output: Arc<str>,
}

impl Names {
    /// A silent pipe of changes counts where something `awaits` them: they are read ahead.
    pub(crate) fn new(
        args: &RunArgs,
        readiness: &Readiness,
        awaits: Option<ChangesProgress>,
        output: Arc<str>,
    ) -> Self {
        let name = |path: &Path| match path.to_str() {
            Some("-") => "standard input".to_owned(),
            _ => path.display().to_string(),
        };
        let input = args.input.trades.as_deref().or(args.input.messages.as_deref());
        let changes = args.changes.table_changes.as_deref().map(name);
        let tables = readiness.clone();
        let unready = move || {
            let tables = tables.tables().into_iter().filter(|table| table.state.is_err());
            tables.map(|table| table.table).collect()
        };
        let readiness = readiness.clone();
        let silent = move || {
            let is_awaited = awaits.as_ref().is_some_and(|changes| changes.awaited().is_some());
            let mut silent = readiness.silent_inputs();
            silent.retain(|input| is_awaited || changes.as_deref() != Some(&**input));
            silent
        };
        let input = input.map_or("generated trades".to_owned(), name);
        Self { input, unready: Box::new(unready), silent: Box::new(silent), output }
    }

    /// The pipes that are waited for at this moment, if somebody reads.
    fn waited_for(&self, stage: Stage) -> Option<String> {
        let silent = if stage == Stage::Read { (self.silent)() } else { Vec::new() };
        (!silent.is_empty()).then(|| silent.join(" and "))
    }

    fn of(&self, stage: Stage) -> String {
        match stage {
            Stage::Read => match (self.unready)() {
                tables if tables.is_empty() => format!("reading {}", self.input),
                tables => format!("reading rows of {}", tables.join(" and ")),
            },
            Stage::Write => format!("writing to {}", self.output),
            stage => stage.to_string(),
        }
    }
}

/// Looks at a run from a thread of its own until it is dropped.
pub(crate) struct Watchdog {
    stalls: Arc<Mutex<Stalls>>,
    _thread: Option<Looking>,
}

impl Watchdog {
    /// Tells with `say` what stands still for `after`; zero for never. What merely waits for
    /// input is news.
    pub(crate) fn begin(
        pulse: Pulse,
        names: Names,
        after: Duration,
        say: impl Fn(Said<'_>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let stalls = Arc::<Mutex<Stalls>>::default();
        let count = Arc::clone(&stalls);
        let mut watched = Watched { names, after, stages: Vec::new() };
        let look = move || watched.look(&pulse.threads(), Instant::now(), &say, &count);
        Ok(Self { stalls, _thread: Looking::begin(after, look)? })
    }

    /// What stood still so far.
    pub(crate) fn stalls(&self) -> Stalls {
        *self.stalls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stalls {
    /// Whether nothing did.
    pub(crate) fn are_none(&self) -> bool {
        self.count == 0
    }
}

/// Tells, while the inputs of a run are opened, which of them is waited for.
pub(crate) struct Opening {
    _thread: Option<Looking>,
}

impl Opening {
    /// Tells it with `say` when it has taken `after`; zero for never.
    pub(crate) fn begin(
        readiness: Readiness,
        after: Duration,
        say: impl Fn(Said<'_>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let mut silence = Silence { after, of: None, since: Instant::now(), told_after: after };
        let look = move || {
            if let Some(text) = silence.look(readiness.silent_input(), Instant::now()) {
                say(Said::News(&text));
            }
        };
        Ok(Self { _thread: Looking::begin(after, look)? })
    }
}

/// Since when which pipe is waited for.
struct Silence {
    after: Duration,
    of: Option<Arc<str>>,
    since: Instant,
    told_after: Duration,
}

impl Silence {
    fn look(&mut self, silent: Option<Arc<str>>, now: Instant) -> Option<String> {
        if self.of != silent {
            *self = Self { of: silent, since: now, told_after: self.after, ..*self };
        }
        let stood = now.duration_since(self.since);
        let input = self.of.as_ref().filter(|_| stood >= self.told_after)?;
        self.told_after = stood * 2;
        Some(format!("waiting for bytes of {input} for {}", time(stood)))
    }
}

/// A thread that looks every now and then until it is dropped.
struct Looking {
    /// Ends the thread when it goes.
    alive: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Looking {
    /// Often enough for what is told `after` a time; never if that is zero.
    fn begin(after: Duration, mut look: impl FnMut() + Send + 'static) -> std::io::Result<Option<Self>> {
        if after.is_zero() {
            return Ok(None);
        }
        let (alive, is_over) = sync_channel::<()>(0);
        let every = (after / 8).clamp(Duration::from_millis(5), Duration::from_secs(1));
        let run = move || {
            while is_over.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                look();
            }
        };
        let thread = thread::Builder::new().name("watchdog".to_owned()).spawn(run)?;
        Ok(Some(Self { alive: Some(alive), thread: Some(thread) }))
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        drop(self.alive.take());
        // It prints nothing behind what follows.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What is known of each thread.
struct Watched {
    names: Names,
    after: Duration,
    stages: Vec<Standing>,
}

/// A thread since it was seen to come further.
struct Standing {
    doing: Doing,
    /// The pipes that it waits for.
    waits_for: Option<String>,
    since: Instant,
    /// How long it may stand still until that is told.
    told_after: Duration,
}

impl Watched {
    fn look(&mut self, threads: &[Doing], now: Instant, say: &impl Fn(Said<'_>), stalls: &Mutex<Stalls>) {
        let waits_for = |doing: Doing| doing.stage.and_then(|stage| self.names.waited_for(stage));
        let fresh = |doing: Doing| Standing {
            doing,
            waits_for: waits_for(doing),
            since: now,
            told_after: self.after,
        };
        if self.stages.len() != threads.len() {
            self.stages = threads.iter().map(|&doing| fresh(doing)).collect();
            return;
        }
        for (standing, &doing) in self.stages.iter_mut().zip(threads) {
            let stood = now.duration_since(standing.since);
            let Some(stage) = standing.doing.stage else {
                *standing = fresh(doing);
                continue;
            };
            if standing.doing == doing {
                let waits_for = waits_for(doing);
                if waits_for.is_some() != standing.waits_for.is_some() {
                    // Another matter from here on.
                    *standing = fresh(doing);
                    continue;
                }
                standing.waits_for = waits_for;
            }
            let waits = standing.waits_for.is_some();
            let tell = |text: &str| say(if waits { Said::News(text) } else { Said::Warning(text) });
            let name = match &standing.waits_for {
                Some(inputs) => format!("waiting for {inputs}"),
                None => self.names.of(stage),
            };
            if !waits && standing.told_after > self.after {
                let mut stalls = stalls.lock().unwrap_or_else(PoisonError::into_inner);
                stalls.longest_s = stalls.longest_s.max(stood.as_secs_f64());
            }
            if standing.doing != doing {
                if standing.told_after > self.after {
                    tell(&format!("{name} goes on after {}", time(stood)));
                }
                *standing = fresh(doing);
            } else if stood >= standing.told_after {
                let how = if waits { "for" } else { "has made no progress for" };
                tell(&format!("{name} {how} {}", time(stood)));
                let is_first = standing.told_after == self.after;
                standing.told_after = stood * 2;
                let mut stalls = stalls.lock().unwrap_or_else(PoisonError::into_inner);
                if !waits {
                    stalls.count += u64::from(is_first);
                    stalls.longest_s = stalls.longest_s.max(stood.as_secs_f64());
                }
            }
        }
    }
}

/// A time for people: whole seconds, or milliseconds where there are none.
fn time(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use tradejoin_model::ShardIndex;

    use super::*;

    /// What is said of one thread that is seen at these seconds, while those inputs are silent.
    fn said(silent: &[&str], seen: &[(u64, Option<Stage>, u64)]) -> (Vec<String>, Stalls) {
        let silent: Vec<Arc<str>> = silent.iter().map(|&input| input.into()).collect();
        let names = Names {
            input: "t.csv".to_owned(),
            unready: Box::new(Vec::new),
            silent: Box::new(move || silent.clone()),
            output: "o.csv".into(),
        };
        let mut watched = Watched { names, after: Duration::from_secs(10), stages: Vec::new() };
        let (said, stalls) = (Mutex::new(Vec::new()), Mutex::new(Stalls::default()));
        let say = |line: Said<'_>| {
            let line = match line {
                Said::Warning(text) => format!("! {text}"),
                Said::News(text) => text.to_owned(),
            };
            said.lock().expect("one thread").push(line);
        };
        let begin = Instant::now();
        for &(at, stage, tick) in seen {
            watched.look(&[Doing { stage, tick }], begin + Duration::from_secs(at), &say, &stalls);
        }
        (said.into_inner().expect("one thread"), stalls.into_inner().expect("one thread"))
    }

    #[test]
    fn what_stands_still_is_told_again_after_twice_the_time_and_when_it_goes_on() {
        let write = Some(Stage::Write);
        let seen = [
            (0, write, 1),
            (9, write, 1),
            (10, write, 1),
            (15, write, 1),
            (20, write, 1),
            (39, write, 1),
            (41, write, 1),
            (50, None, 2),
            (90, None, 2),
        ];
        let (lines, stalls) = said(&[], &seen);
        let still = |seconds| format!("! writing to o.csv has made no progress for {seconds} s");
        let expected = [still(10), still(20), still(41), "! writing to o.csv goes on after 50 s".to_owned()];
        assert_eq!(lines, expected);
        assert_eq!(stalls, Stalls { count: 1, longest_s: 50.0 });
    }

    #[test]
    fn what_comes_further_or_has_nothing_to_do_is_not_told() {
        let shard = Some(Stage::LookUp(ShardIndex(3)));
        let seen: Vec<_> = (0..10).map(|step| (9 * step, shard, step)).collect();
        assert_eq!(said(&["t.fifo"], &seen), (vec![], Stalls::default()));
        assert_eq!(said(&[], &[(0, None, 1), (100, None, 1)]).0, [""; 0]);
        assert_eq!(
            said(&["t.fifo"], &[(0, shard, 1), (12, shard, 1)]).0,
            ["! shard 3 has made no progress for 12 s"]
        );
    }

    #[test]
    fn a_pipe_that_is_silent_is_waited_for() {
        let read = Some(Stage::Read);
        let seen = [(0, read, 1), (11, read, 1), (12, read, 2)];
        let of = |silent: &[&str], name: &str| {
            let (lines, stalls) = said(silent, &seen);
            assert_eq!(lines, [format!("{name} for 11 s"), format!("{name} goes on after 12 s")]);
            assert_eq!(stalls, Stalls::default());
        };
        of(&["i.fifo"], "waiting for i.fifo");
        of(&["i.fifo", "standard input"], "waiting for i.fifo and standard input");
        let (lines, stalls) = said(&[], &seen);
        assert_eq!(lines[0], "! reading t.csv has made no progress for 11 s");
        assert_eq!(stalls.count, 1);
    }

    #[test]
    fn an_input_that_has_sent_nothing_is_told_by_its_name() {
        let begin = Instant::now();
        let after = Duration::from_secs(10);
        let mut silence = Silence { after, of: None, since: begin, told_after: after };
        let seen = [(0, None), (1, Some("i")), (11, Some("i")), (20, Some("i")), (21, Some("i"))];
        let seen = seen.into_iter().chain([(22, Some("t")), (31, Some("t")), (32, Some("t")), (99, None)]);
        let said: Vec<_> = seen
            .filter_map(|(at, silent)| silence.look(silent.map(Arc::from), begin + Duration::from_secs(at)))
            .collect();
        let still = |input, seconds| format!("waiting for bytes of {input} for {seconds} s");
        assert_eq!(said, [still("i", 10), still("i", 20), still("t", 10)]);
    }
}
