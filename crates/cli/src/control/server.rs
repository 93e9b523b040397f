//! Who answers for a run: a thread that takes calls, and one for each call.
//!
//! None of them is a stage of the run, and none holds it up: what they wait for is their
//! client, or what the run says by itself.

use std::io::{self, BufRead as _, BufReader, Read as _, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::HumanBytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tradejoin_connectors::Readiness;

use super::socket::Socket;
use super::wire::{Reply, Request};
use crate::failure;
use crate::reload::Asks;
use crate::tap::Taps;

/// Calls at a time.
const CALLS_MAX: usize = 8;
/// Bytes of a request.
const REQUEST_BYTES_MAX: u64 = 64 << 10;
/// How long a client may take to ask.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a run waits at its end for answers that are under way.
const GRACE: Duration = Duration::from_secs(1);
/// The same, if it was interrupted.
const GRACE_INTERRUPTED: Duration = Duration::from_millis(100);

/// What a run can be asked for.
#[derive(Clone)]
pub(crate) struct Services {
    /// The watch over files, if there is one.
    pub(crate) asks: Option<Asks>,
    /// Its trades.
    pub(crate) taps: Taps,
}

/// What a run can be asked for once it has begun, and which input keeps it until then.
#[derive(Clone)]
struct Lobby {
    services: Arc<OnceLock<Services>>,
    readiness: Readiness,
}

/// Takes calls until the run ends, and then removes the socket.
pub(crate) struct Server {
    done: Arc<AtomicBool>,
    services: Arc<OnceLock<Services>>,
    taking: Option<Taking>,
}

/// The thread that takes calls. It has the socket, which goes with it.
struct Taking {
    thread: JoinHandle<Vec<Answering>>,
    /// The other end of what the thread waits for beside calls: dropped, it wakes that
    /// thread and nobody else, whoever listens at the socket's path by now.
    wake: UnixStream,
    remove: Box<dyn Fn() + Send>,
}

/// A call that is being answered, and its end of the line.
type Answering = (JoinHandle<()>, UnixStream);

impl Server {
    /// Begins to take calls, of which none is served before the run [begins](Self::serve).
    ///
    /// # Errors
    /// If the system has no thread for it.
    pub(crate) fn begin(socket: Socket, readiness: Readiness) -> anyhow::Result<Self> {
        let done = Arc::<AtomicBool>::default();
        let remove = socket.remover();
        let ends = socket.listener.set_nonblocking(true).and_then(|()| UnixStream::pair());
        let (wake, woken) = ends.context("cannot take calls")?;
        let services = Arc::<OnceLock<Services>>::default();
        let take = {
            let (done, lobby) = (Arc::clone(&done), Lobby { services: Arc::clone(&services), readiness });
            move || take_calls(&socket, &woken, &lobby, &done)
        };
        let thread = thread::Builder::new().name("control".to_owned()).spawn(take);
        let thread = thread.context("cannot take calls")?;
        Ok(Self { done, services, taking: Some(Taking { thread, wake, remove }) })
    }

    /// Answers from now on what is asked. To be called once, when the run begins.
    pub(crate) fn serve(&self, services: Services) {
        // A second time changes nothing.
        let _ = self.services.set(services);
    }

    /// Takes no more calls, and lets answers end that are under way, if they do soon.
    pub(crate) fn finish(&mut self, is_interrupted: bool) {
        let Some(Taking { thread, wake, remove }) = self.taking.take() else { return };
        self.done.store(true, Ordering::Relaxed);
        drop(wake);
        let deadline = Instant::now() + GRACE;
        while !thread.is_finished() {
            if Instant::now() > deadline {
                return remove();
            }
            thread::sleep(Duration::from_millis(1));
        }
        let calls = thread.join().unwrap_or_default();
        // Who has not asked by now is not waited for.
        calls.iter().for_each(|(_, stream)| drop(stream.shutdown(Shutdown::Read)));
        let deadline = Instant::now() + if is_interrupted { GRACE_INTERRUPTED } else { GRACE };
        while calls.iter().any(|(call, _)| !call.is_finished()) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.finish(true);
    }
}

/// Takes calls until it is woken, and gives those that go on.
fn take_calls(socket: &Socket, woken: &UnixStream, lobby: &Lobby, done: &Arc<AtomicBool>) -> Vec<Answering> {
    let mut calls: Vec<Answering> = Vec::new();
    loop {
        let mut ready = [PollFd::new(&socket.listener, PollFlags::IN), PollFd::new(woken, PollFlags::IN)];
        let waited = poll(&mut ready, None);
        if done.load(Ordering::Relaxed) {
            return calls;
        }
        let stream = waited.map_err(io::Error::from).and_then(|_| socket.listener.accept());
        // What it inherits of the listener depends on the system.
        let stream = stream.and_then(|(stream, _)| stream.set_nonblocking(false).map(|()| stream));
        let stream = match stream {
            Ok(stream) => stream,
            // Who called has gone already.
            Err(error) if is_for_now(&error) => continue,
            // Such as too many open files: it may be better soon.
            Err(_) => {
                thread::sleep(Duration::from_millis(50));
                continue;
            }
        };
        // One that has ended may be about to be noticed.
        let deadline = Instant::now() + Duration::from_millis(500);
        loop {
            calls.retain(|(call, _)| !call.is_finished());
            if calls.len() < CALLS_MAX || done.load(Ordering::Relaxed) || Instant::now() > deadline {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let mut call = Call { stream, done: Arc::clone(done) };
        if calls.len() == CALLS_MAX {
            let why = format!("{CALLS_MAX} others speak to this run");
            let _ = call.say(&Reply::Refused { code: failure::IO, why });
            continue;
        }
        let (lobby, line) = (lobby.clone(), call.stream.try_clone());
        let answer = thread::Builder::new().name("call".to_owned()).spawn(move || call.answer(&lobby));
        calls.extend(answer.and_then(|answer| Ok((answer, line?))));
    }
}

impl Lobby {
    /// Why nothing is answered so far.
    fn why(&self) -> String {
        match self.readiness.silent_input() {
            Some(input) => {
                format!("the run has not begun: it waits for bytes of {input}; ask again then")
            }
            None => "the run has not begun: it opens its files; ask again when it has".to_owned(),
        }
    }
}

/// A client that called.
pub(crate) struct Call {
    stream: UnixStream,
    done: Arc<AtomicBool>,
}

impl Call {
    /// Reads what is asked, and answers it. A client that goes away is nobody's loss.
    fn answer(&mut self, lobby: &Lobby) {
        let answered = self.request().and_then(|request| match (request, lobby.services.get()) {
            (Ok(request), Some(services)) => self.serve(request, services),
            (Ok(_), None) => self.say(&Reply::Refused { code: failure::IO, why: lobby.why() }),
            (Err(why), _) => self.say(&Reply::Refused { code: failure::USAGE, why }),
        });
        if answered.is_ok() {
            let _ = self.stream.shutdown(Shutdown::Both);
        }
    }

    fn request(&mut self) -> io::Result<Result<Request, String>> {
        self.stream.set_read_timeout(Some(PATIENCE))?;
        self.stream.set_write_timeout(Some(Duration::from_millis(100)))?;
        let mut line = Vec::new();
        BufReader::new((&self.stream).take(REQUEST_BYTES_MAX)).read_until(b'\n', &mut line)?;
        if line.len() as u64 == REQUEST_BYTES_MAX && line.last() != Some(&b'\n') {
            let limit = HumanBytes(REQUEST_BYTES_MAX);
            return Ok(Err(format!(
                "more is asked than the {limit} that a request may have: name less at once"
            )));
        }
        Ok(serde_json::from_slice(&line)
            .map_err(|error| format!("this version does not know what is asked: {error}")))
    }

    fn serve(&mut self, request: Request, services: &Services) -> io::Result<()> {
        match request {
            Request::Reload { tables } => self.reload(&tables, false, services),
            Request::Rollback { tables } => self.reload(&tables, true, services),
            Request::Tap { conditions, every, limit } => {
                services.taps.show(self, &conditions, every, limit.unwrap_or(u64::MAX))
            }
        }
    }

    fn reload(&mut self, tables: &[String], is_rollback: bool, services: &Services) -> io::Result<()> {
        let Some(asks) = &services.asks else {
            let why =
                "this run does not watch its tables: start it with --watch, or --watch=asked".to_owned();
            return self.say(&Reply::Refused { code: failure::USAGE, why });
        };
        match asks.ask(tables, is_rollback) {
            Err((code, why)) => self.say(&Reply::Refused { code, why }),
            Ok(replies) => loop {
                match replies.recv_timeout(Duration::from_millis(100)) {
                    Ok(reply) => self.say(&reply)?,
                    // Nobody waits for what comes with a trade, if one comes.
                    Err(RecvTimeoutError::Timeout) if self.is_gone() => return Ok(()),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                }
            },
        }
    }

    /// Whether the run has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    /// Whether the client has hung up. One that says no more may still listen.
    pub(crate) fn is_gone(&self) -> bool {
        let mut line = [PollFd::new(&self.stream, PollFlags::empty())];
        let looked = poll(&mut line, Some(&Timespec::default()));
        looked.is_ok() && line[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
    }

    /// Sends a line.
    pub(crate) fn say(&mut self, reply: &Reply) -> io::Result<()> {
        let mut line = serde_json::to_vec(reply)?;
        line.push(b'\n');
        self.send(&line)
    }

    /// Sends bytes, for as long as the client takes unless the run has ended.
    pub(crate) fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let mut deadline = None;
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if is_for_now(&error) => {
                    if self.done.load(Ordering::Relaxed)
                        && Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + GRACE)
                    {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether it may be better soon.
pub(super) fn is_for_now(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
