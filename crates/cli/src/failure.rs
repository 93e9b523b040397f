//! What a failed command says, and the code that it exits with.

use std::process::ExitCode;

use tradejoin_checkpoint::{CheckpointError, CheckpointErrorKind};
use tradejoin_connectors::{
    Category, CreateError, DeadLettersFull, EncodingError, JournalError, LettersFailed, MergeError,
    OpenError, ReadError, ResumeError, SelectError, WriteError,
};
use tradejoin_disk::Replaced;
use tradejoin_engine::EngineError;

use crate::control::SocketError;
use crate::style::{ERROR, printable};
use crate::tell::tell;

/// Done.
pub(crate) const OK: u8 = 0;
/// What was asked about, or compared, is not so.
pub(crate) const NO: u8 = 1;
/// The command line cannot be carried out as it stands.
pub(crate) const USAGE: u8 = 2;
/// The data of an input are bad.
pub(crate) const BAD_DATA: u8 = 65;
/// An input is missing or unreadable.
pub(crate) const NO_INPUT: u8 = 66;
/// A bug of ours.
pub(crate) const BUG: u8 = 70;
/// The output cannot be made.
pub(crate) const CANNOT_CREATE: u8 = 73;
/// Reading or writing failed.
pub(crate) const IO: u8 = 74;
/// Another run has what this one needs; later it may be free.
pub(crate) const TEMPORARY: u8 = 75;
/// A checkpoint, or an output of a run that is kept, does not fit.
pub(crate) const MISFIT: u8 = 78;
/// Stopped by Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// A command line that each flag allows and their combination does not.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

/// Inputs of which nothing can come.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadData(pub(crate) String);

/// Results that differ where they must not.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongResult(pub(crate) String);

/// A thread beside those of the engine panicked.
#[derive(Debug, thiserror::Error)]
#[error("{0} failed unexpectedly")]
pub(crate) struct Panicked(pub(crate) &'static str);

/// What a failed run says. A journal is written where changes get their places among trades, and
/// ends with the output: an error of it is none of an input or of the trades.
pub(crate) fn of_run(error: EngineError) -> anyhow::Error {
    let (cause, of): (_, fn(_) -> _) = match error {
        EngineError::Source(cause) => (cause, EngineError::Source),
        EngineError::Sink(cause) => (cause, EngineError::Sink),
        error => return error.into(),
    };
    let cause = match cause.downcast::<LettersFailed>() {
        Ok(cause) => return (*cause).into(),
        Err(cause) => cause,
    };
    match cause.downcast::<JournalError>() {
        Ok(cause) if matches!(*cause, JournalError::Write { .. }) => {
            anyhow::Error::new(*cause).context("cannot write the journal")
        }
        Ok(cause) => of(cause).into(),
        Err(cause) => of(cause).into(),
    }
}

/// The exit code for an error: that of the first of its causes that has one.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(code_of).unwrap_or(IO)
}

/// Whether something of the run has become that of another, or nobody's.
pub(crate) fn is_of_another(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<Replaced>())
}

fn code_of(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if cause.is::<UsageError>() || cause.is::<tradejoin_generator::GeneratorError>() {
        return Some(USAGE);
    }
    if cause.is::<SocketError>() {
        return Some(CANNOT_CREATE);
    }
    if cause.is::<BadData>() {
        return Some(BAD_DATA);
    }
    if cause.is::<WrongResult>() || cause.is::<Panicked>() {
        return Some(BUG);
    }
    if let Some(error) = cause.downcast_ref::<CheckpointError>() {
        return Some(match error.kind() {
            CheckpointErrorKind::Locked => TEMPORARY,
            CheckpointErrorKind::Damaged
            | CheckpointErrorKind::DoesNotFit
            | CheckpointErrorKind::NewerFormat => MISFIT,
            CheckpointErrorKind::Io => IO,
        });
    }
    match cause.downcast_ref::<EngineError>() {
        Some(EngineError::Panicked { .. } | EngineError::Ledger(_)) => return Some(BUG),
        Some(EngineError::Miss(_) | EngineError::TooManyBad(_)) => return Some(BAD_DATA),
        Some(EngineError::Thread(_) | EngineError::Hold(_)) => return Some(IO),
        _ => {}
    }
    Some(match category_of(cause)? {
        Category::Usage => USAGE,
        Category::Data => BAD_DATA,
        Category::MissingInput => NO_INPUT,
        Category::CannotCreate => CANNOT_CREATE,
        Category::Io => IO,
        Category::Checkpoint => MISFIT,
    })
}

/// The category of an error of the connectors.
pub(crate) fn category_of(cause: &(dyn std::error::Error + 'static)) -> Option<Category> {
    cause
        .downcast_ref::<OpenError>()
        .map(OpenError::category)
        .or_else(|| cause.downcast_ref::<ReadError>().map(ReadError::category))
        .or_else(|| cause.downcast_ref::<EncodingError>().map(EncodingError::category))
        .or_else(|| cause.downcast_ref::<SelectError>().map(SelectError::category))
        .or_else(|| cause.downcast_ref::<CreateError>().map(CreateError::category))
        .or_else(|| cause.downcast_ref::<ResumeError>().map(ResumeError::category))
        .or_else(|| cause.downcast_ref::<WriteError>().map(WriteError::category))
        .or_else(|| cause.downcast_ref::<DeadLettersFull>().map(DeadLettersFull::category))
        .or_else(|| cause.downcast_ref::<JournalError>().map(JournalError::category))
        .or_else(|| cause.downcast_ref::<MergeError>().map(MergeError::category))
}

/// Prints an error with its causes on one line, and gives its exit code. A
/// reader of the output that has gone away is no error to speak of: the command
/// ends as the signal would have ended it.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if is_for_nobody(error) {
        // Does not return where the signal exists.
        let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGPIPE);
        return ExitCode::from(IO);
    }
    let code = exit_code(error);
    let text = format!("{error:#}");
    tell!("{ERROR}error{ERROR:#}: {}", printable(&text));
    if code == BUG { of_bug() } else { ExitCode::from(code) }
}

/// Says that it is one.
pub(crate) fn of_bug() -> ExitCode {
    tell!("this is a bug of tradejoin; please report it with the command that showed it");
    ExitCode::from(BUG)
}

/// Whether it is that the reader of standard output has gone away: that of any other output is
/// missed.
pub(crate) fn is_for_nobody(error: &anyhow::Error) -> bool {
    let output = error.chain().find_map(written_to);
    let is_standard = |name: &str| matches!(name, "standard output" | "/dev/stdout" | "/dev/fd/1");
    output.is_none_or(is_standard) && error.chain().any(is_broken_pipe)
}

/// The output that could not be written.
fn written_to<'e>(cause: &'e (dyn std::error::Error + 'static)) -> Option<&'e str> {
    if let Some(WriteError { target_name, .. }) = cause.downcast_ref() {
        return Some(target_name);
    }
    if let Some(CreateError::Io { target_name, .. }) = cause.downcast_ref() {
        return Some(target_name);
    }
    match cause.downcast_ref() {
        Some(JournalError::Write { path, .. }) => Some(path),
        _ => None,
    }
}

fn is_broken_pipe(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.downcast_ref::<WriteError>().is_some_and(WriteError::is_broken_pipe)
        || cause.downcast_ref::<CreateError>().is_some_and(CreateError::is_broken_pipe)
        || cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use tradejoin_model::Ledger;

    use super::*;

    #[test]
    fn a_ledger_that_does_not_add_up_is_a_bug_and_names_both_sides() {
        let ledger = Ledger { rows_read: 3, enriched: 2, ..Ledger::new(0) };
        let error = EngineError::from(ledger.check().expect_err("one is missing"));
        let error = Err::<(), _>(error).context("a run").expect_err("as before");
        assert_eq!(exit_code(&error), BUG);
        assert!(format!("{error:#}").ends_with("3 trades were read, but 2 have an outcome"), "{error:#}");
    }
}
