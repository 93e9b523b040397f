//! Who speaks to a run.

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tradejoin_connectors::OpenError;

use super::server::is_for_now;
use super::wire::Request;

/// A call to a run.
pub(crate) struct Client {
    lines: BufReader<UnixStream>,
    /// A line that has come in part.
    line: Vec<u8>,
}

/// What has come.
pub(crate) enum Heard {
    /// A line, without its end.
    Line(Vec<u8>),
    /// Nothing in the time that was given.
    Nothing,
    /// No more will come.
    End,
}

impl Client {
    /// Calls the run that listens at `path`, and asks.
    ///
    /// # Errors
    /// If nobody listens there.
    pub(crate) fn ask(path: &Path, request: &Request) -> anyhow::Result<Self> {
        let missing = |source| OpenError::Missing { source_name: path.display().to_string().into(), source };
        let mut stream = UnixStream::connect(path).map_err(missing).context("no run listens there")?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        match stream.write_all(&line) {
            // It may have said why before it was asked.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written.context("the run does not listen")?,
        }
        Ok(Self { lines: BufReader::new(stream), line: Vec::new() })
    }

    /// The next line of the answer, waited for as long as `patience`, or for ever.
    ///
    /// # Errors
    /// If the call breaks off.
    pub(crate) fn next(&mut self, patience: Option<Duration>) -> anyhow::Result<Heard> {
        if patience.is_some_and(|patience| patience.is_zero()) && self.lines.buffer().is_empty() {
            return Ok(Heard::Nothing);
        }
        self.lines.get_ref().set_read_timeout(patience.filter(|patience| !patience.is_zero()))?;
        match self.lines.read_until(b'\n', &mut self.line) {
            Ok(_) if self.line.last() == Some(&b'\n') => {
                self.line.pop();
                Ok(Heard::Line(std::mem::take(&mut self.line)))
            }
            Ok(_) => Ok(Heard::End),
            Err(error) if is_for_now(&error) => Ok(Heard::Nothing),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(Heard::End),
            Err(error) => Err(error).context("the call broke off"),
        }
    }
}
