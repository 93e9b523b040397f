//! Short names for what may be wrong with a record: a closed list, for programs.

use tradejoin_model::ParseFieldError;

use crate::flaw::Reason;

/// The code of a trade that is put aside since it found nothing in a table.
pub const NO_MATCH: &str = "no-match";

/// The code of each variant, and the list of all: one that is forgotten does not compile.
macro_rules! codes {
    ($($variant:pat $(if $guard:expr)? => $code:literal,)*) => {
        const OF_RECORDS: &[&str] = &[$($code),*];

        impl Reason {
            /// A short name for programs, which stays the same.
            #[must_use]
            pub fn code(&self) -> &'static str {
                match self {
                    Self::Field(error) => error.code(),
                    $($variant $(if $guard)? => $code,)*
                }
            }
        }
    };
}

codes! {
    Self::Empty => "no-value",
    Self::IntegerTooLarge => "integer-too-large",
    Self::NotAnInteger => "not-an-integer",
    Self::NotUtf8 => "not-utf8",
    // Which of the two is told; the list has both.
    Self::FieldCount { found, expected } if found < expected => "too-few-fields",
    Self::FieldCount { .. } => "too-many-fields",
    Self::NotJson(_) => "not-json",
    Self::NotAnObject => "not-an-object",
    Self::UnknownMember => "unknown-member",
    Self::DuplicateMember => "duplicate-member",
    Self::OpenQuote { .. } | Self::EndsInQuotes => "open-quote",
    Self::TooLong { .. } => "too-long",
    Self::TooManyFields { .. } => "more-fields-than-allowed",
    Self::TooDeep { .. } => "too-deep",
    Self::NoTable => "no-table",
    Self::EarlyTrade(_) => "early-trade",
    Self::MarkerTable(_) => "marker-table",
    Self::MarkerRows { .. } => "marker-rows",
    Self::MarkerUnexpected => "marker-unexpected",
    Self::NeverValid { .. } => "never-valid",
    Self::Overlap(_) => "overlap",
    Self::NotOfType(_) => "not-of-type",
    Self::TooFine => "too-fine",
    Self::NoColumn => "no-column",
    Self::ChangeType(_) => "change-type",
    Self::MessageType(_) => "message-type",
}

/// All reasons that dead letters may have, without a second of any.
#[must_use]
pub fn reason_codes() -> Vec<&'static str> {
    [&[NO_MATCH], OF_RECORDS, ParseFieldError::CODES].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_told_apart() {
        let codes = reason_codes();
        assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len());
        let is_plain = |code: &&str| code.bytes().all(|byte| b"abcdefghijklmnopqrstuvwxyz8-".contains(&byte));
        assert!(codes.iter().all(is_plain));
        let fields = |found| Reason::FieldCount { found, expected: 3 }.code();
        assert_eq!([fields(2), fields(4)], ["too-few-fields", "too-many-fields"]);
        assert_eq!(Reason::from(ParseFieldError::NotAnId).code(), "not-an-id");
    }
}
