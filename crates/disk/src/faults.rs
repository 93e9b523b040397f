//! Which operations of a disk are to go wrong, and how.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// What is to happen on a disk: none or some of the following, with `,` between.
///
/// - `KIND@N:once`, `KIND@N:ever`: at the N-th operation that leaves something behind, or
///   from it on, an error: `eio`, `enospc`; or what a caller has to live with: `eintr`, a
///   write that is interrupted before it has written a byte, and `short`, one that writes
///   half. With `ever` each write is interrupted once.
/// - `kill@N:before`, `kill@N:half`, `kill@N:after`: the process ends there by SIGKILL; half
///   of it is half of a write, and nothing of another operation.
/// - `panic@N:once`: whoever carries it out panics there.
/// - `hang:NAME`: an operation on a file of this name never ends, and says so on standard
///   error.
/// - `count:FILE`: how many operations there have been so far is written to this file.
/// - `struck:FILE`: the first operation that failed, was interrupted or did half of what it was
///   asked for is written to this file, `create folder/file`; where nothing did there is none.
///
/// ```
/// use tradejoin_disk::Faults;
///
/// assert!("enospc@9:ever".parse::<Faults>().is_ok());
/// let error = "enospc@0:ever".parse::<Faults>().expect_err("they count from 1");
/// assert_eq!(error.to_string(), "\"enospc@0:ever\": \"0\" is no number from 1");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    pub(crate) faults: Vec<Fault>,
    pub(crate) count: Option<PathBuf>,
    pub(crate) struck: Option<PathBuf>,
    /// The name, without a folder.
    pub(crate) hang: Option<OsString>,
}

/// What happens at an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The number of the operation, from 1.
    pub at: u64,
    pub effect: Effect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Fails { with: Failure, for_ever: bool },
    Dies(Moment),
    Panics,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The device does not work.
    Device,
    /// It is full.
    Full,
    /// A signal came.
    Interrupted,
    /// Less is written than was asked for.
    Short,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Before,
    Half,
    After,
}

/// Why a text says nothing of faults.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseFaultsError {
    /// It is none of the forms.
    #[error("{0:?} is none of KIND@N:HOW, hang:NAME, count:FILE and struck:FILE")]
    NoForm(String),
    /// The number is none.
    #[error("{text:?}: {number:?} is no number from 1")]
    NoNumber {
        /// The fault.
        text: String,
        /// What stands for the number.
        number: String,
    },
    /// There is no such kind.
    #[error("{text:?}: there is no {kind:?}: it is one of eio, enospc, eintr, short, kill and panic")]
    NoKind {
        /// The fault.
        text: String,
        /// What stands for the kind.
        kind: String,
    },
    /// It does not go with the kind.
    #[error("{text:?}: {how:?} is none of {expected}")]
    NoHow {
        /// The fault.
        text: String,
        /// What stands there.
        how: String,
        /// What goes with the kind.
        expected: &'static str,
    },
}

impl FromStr for Faults {
    type Err = ParseFaultsError;

    /// # Errors
    /// If a part has none of the forms.
    fn from_str(text: &str) -> Result<Self, ParseFaultsError> {
        let mut all = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            match part.split_once(':') {
                Some(("count" | "struck" | "hang", "")) => {
                    return Err(ParseFaultsError::NoForm(part.to_owned()));
                }
                Some(("count", file)) => all.count = Some(file.into()),
                Some(("struck", file)) => all.struck = Some(file.into()),
                Some(("hang", name)) => all.hang = Some(name.into()),
                _ => all.faults.push(part.parse()?),
            }
        }
        Ok(all)
    }
}

impl FromStr for Fault {
    type Err = ParseFaultsError;

    fn from_str(text: &str) -> Result<Self, ParseFaultsError> {
        let no_form = || ParseFaultsError::NoForm(text.to_owned());
        let (kind, rest) = text.split_once('@').ok_or_else(no_form)?;
        let (number, how) = rest.split_once(':').ok_or_else(no_form)?;
        let at = number
            .parse()
            .ok()
            .filter(|&at| at > 0)
            .ok_or_else(|| ParseFaultsError::NoNumber { text: text.to_owned(), number: number.to_owned() })?;
        let no_how =
            |expected| ParseFaultsError::NoHow { text: text.to_owned(), how: how.to_owned(), expected };
        let effect = match kind {
            "kill" => Effect::Dies(match how {
                "before" => Moment::Before,
                "half" => Moment::Half,
                "after" => Moment::After,
                _ => return Err(no_how("before, half and after")),
            }),
            "panic" if how == "once" => Effect::Panics,
            "panic" => return Err(no_how("once")),
            _ => Effect::Fails {
                with: Failure::named(kind).ok_or_else(|| ParseFaultsError::NoKind {
                    text: text.to_owned(),
                    kind: kind.to_owned(),
                })?,
                for_ever: match how {
                    "once" => false,
                    "ever" => true,
                    _ => return Err(no_how("once and ever")),
                },
            },
        };
        Ok(Self { at, effect })
    }
}

impl Failure {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "eio" => Self::Device,
            "enospc" => Self::Full,
            "eintr" => Self::Interrupted,
            "short" => Self::Short,
            _ => return None,
        })
    }

    /// The error that is given; a short write is none.
    pub(crate) fn error(self) -> Option<io::Error> {
        let errno = match self {
            Self::Device => rustix::io::Errno::IO,
            Self::Full => rustix::io::Errno::NOSPC,
            Self::Interrupted => rustix::io::Errno::INTR,
            Self::Short => return None,
        };
        Some(errno.into())
    }

    /// Whether it happens to writes alone.
    pub(crate) const fn is_of_writes(self) -> bool {
        matches!(self, Self::Interrupted | Self::Short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_text_is_told() {
        let message = |text: &str| text.parse::<Faults>().expect_err("refused").to_string();
        assert_eq!(message("eio"), "\"eio\" is none of KIND@N:HOW, hang:NAME, count:FILE and struck:FILE");
        assert_eq!(
            message("eio@3"),
            "\"eio@3\" is none of KIND@N:HOW, hang:NAME, count:FILE and struck:FILE"
        );
        assert_eq!(
            message("hang:"),
            "\"hang:\" is none of KIND@N:HOW, hang:NAME, count:FILE and struck:FILE"
        );
        assert_eq!(
            message("count:"),
            "\"count:\" is none of KIND@N:HOW, hang:NAME, count:FILE and struck:FILE"
        );
        assert_eq!(message("eio@x:once"), "\"eio@x:once\": \"x\" is no number from 1");
        assert_eq!(
            message("epipe@3:once"),
            "\"epipe@3:once\": there is no \"epipe\": it is one of eio, enospc, eintr, short, kill and panic"
        );
        assert_eq!(message("eio@3:twice"), "\"eio@3:twice\": \"twice\" is none of once and ever");
        assert_eq!(message("panic@3:ever"), "\"panic@3:ever\": \"ever\" is none of once");
        assert_eq!(message("kill@3:once"), "\"kill@3:once\": \"once\" is none of before, half and after");
    }

    #[test]
    fn several_faults_stand_in_one_text() {
        let text = "kill@17:half,short@9:ever,count:/tmp/n,struck:/tmp/s,hang:file";
        let faults: Faults = text.parse().expect("faults");
        let short = Effect::Fails { with: Failure::Short, for_ever: true };
        let expected = [Fault { at: 17, effect: Effect::Dies(Moment::Half) }, Fault { at: 9, effect: short }];
        assert_eq!((faults.faults.as_slice(), faults.count), (&expected[..], Some("/tmp/n".into())));
        assert_eq!((faults.struck, faults.hang), (Some("/tmp/s".into()), Some("file".into())));
        assert_eq!("".parse(), Ok(Faults::default()));
    }
}
