//! Single values out of text.

use std::borrow::Cow;

use chrono::{DateTime, Timelike as _};
use tradejoin_model::{Expiry, ParseFieldError};

use crate::flaw::Reason;

/// How the cells of a text row are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// The text itself; empty if there is none.
    Csv,
    /// A JSON token; empty if the object has no such member.
    Json,
}

impl Dialect {
    /// The text of a cell, or `None` if it has no value. An empty CSV field is
    /// an empty text: whether that is a value depends on the column.
    pub(crate) fn text(self, raw: &str) -> Option<Cow<'_, str>> {
        match self {
            Self::Csv => Some(Cow::Borrowed(raw)),
            Self::Json => json_text(raw),
        }
    }
}

/// The text of a JSON token: a string unescaped, anything else as it is, `None`
/// for null and for no token.
pub(crate) fn json_text(token: &str) -> Option<Cow<'_, str>> {
    match token.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
        // Tokens are checked when they are read.
        Some(_) => Some(serde_json::from_str(token).map_or(Cow::Borrowed(token), Cow::Owned)),
        None if token.is_empty() || token == "null" => None,
        None => Some(Cow::Borrowed(token)),
    }
}

/// Whether a JSON token, whose syntax is right, stands for a text: `"\ud800"`
/// does not.
pub(crate) fn is_sound_token(token: &str) -> bool {
    !(token.starts_with('"') && token.contains('\\')) || serde_json::from_str::<String>(token).is_ok()
}

/// An id: digits, and at most 32 bits.
pub(crate) fn id(text: &str) -> Result<u32, Reason> {
    digits(text)?;
    text.parse().map_err(|_| ParseFieldError::IdTooLarge.into())
}

/// The number of a trade: digits, and at most 64 bits.
pub(crate) fn trade_number(text: &str) -> Result<u64, Reason> {
    digits(text)?;
    text.parse().map_err(|_| Reason::IntegerTooLarge)
}

fn digits(text: &str) -> Result<(), ParseFieldError> {
    let valid = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if valid { Ok(()) } else { Err(ParseFieldError::NotAnId) }
}

/// An integer of 64 bits, but for the smallest, which stands for null.
pub(crate) fn integer(text: &str) -> Result<i64, Reason> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    digits(unsigned).map_err(|_| Reason::NotAnInteger)?;
    text.parse().ok().filter(|&v| v != i64::MIN).ok_or(Reason::IntegerTooLarge)
}

/// A point in time in nanoseconds: RFC 3339, or the integer.
pub(crate) fn timestamp(text: &str) -> Result<i64, Reason> {
    if let Some(ns) = plain_time(text.as_bytes()) {
        return Ok(ns);
    }
    match integer(text) {
        Err(Reason::IntegerTooLarge) => return Err(beyond(text.starts_with('-'))),
        Ok(ns) => return Ok(ns),
        Err(_) => {}
    }
    if is_of_far_year(text) {
        return Err(beyond(text.starts_with('-')));
    }
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| ParseFieldError::NotATime)?;
    // A second of 60, on whatever day: Unix time counts none, it would become the next one.
    if time.nanosecond() >= 1_000_000_000 {
        return Err(ParseFieldError::NotATime.into());
    }
    // Digits past the ninth would be dropped without a word.
    let fraction = text.split_once('.').map_or("", |(_, rest)| rest);
    if fraction.bytes().take_while(u8::is_ascii_digit).skip(9).any(|digit| digit != b'0') {
        return Err(ParseFieldError::TooManyDecimals { scale: 9 }.into());
    }
    let ns = time.timestamp_nanos_opt().filter(|&ns| ns != i64::MIN);
    ns.ok_or_else(|| beyond(time.timestamp() < 0))
}

/// Whether it is a time of a year beyond four digits, as ISO 8601 writes it and RFC 3339 does not.
fn is_of_far_year(text: &str) -> bool {
    let Some((year, rest)) = text.strip_prefix(['+', '-']).and_then(|text| text.split_once('-')) else {
        return false;
    };
    let is_year = year.len() >= 4 && year.bytes().all(|byte| byte.is_ascii_digit());
    // What is behind the year is that of any.
    is_year && DateTime::parse_from_rfc3339(&format!("2000-{rest}")).is_ok()
}

/// What is wrong with a time that does not fit.
pub(crate) fn beyond(is_past: bool) -> Reason {
    if is_past { ParseFieldError::TimeTooEarly.into() } else { ParseFieldError::TimeTooLate.into() }
}

/// A time in UTC as most are written, such as `2014-06-06T13:30:00.5Z`, from 1678
/// to 2261; `None` for any other text, also if it is a time.
fn plain_time(text: &[u8]) -> Option<i64> {
    let (second, rest) = text.split_at_checked(19)?;
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if marks.into_iter().any(|(at, mark)| second[at] != mark) {
        return None;
    }
    let fraction = match rest.strip_suffix(b"Z")? {
        [] => 0,
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) => {
            number(digits)? * 10_u32.pow(9 - digits.len() as u32)
        }
        _ => return None,
    };
    let year = i32::try_from(number(&second[..4])?).ok().filter(|year| (1678..=2261).contains(year))?;
    let date = chrono::NaiveDate::from_ymd_opt(year, number(&second[5..7])?, number(&second[8..10])?)?;
    let clock = [11, 14, 17].map(|at| number(&second[at..at + 2]));
    let [Some(hour @ 0..24), Some(minute @ 0..60), Some(second @ 0..60)] = clock else { return None };
    let seconds = i64::from(date.to_epoch_days()) * 86_400 + i64::from((hour * 60 + minute) * 60 + second);
    Some(seconds * 1_000_000_000 + i64::from(fraction))
}

/// At most nine digits as a number.
fn number(digits: &[u8]) -> Option<u32> {
    digits
        .iter()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0')))
}

/// `true` or `false` in any case of letters.
pub(crate) fn boolean(text: &str) -> Result<bool, Reason> {
    if text.eq_ignore_ascii_case("true") {
        Ok(true)
    } else if text.eq_ignore_ascii_case("false") {
        Ok(false)
    } else {
        Err(ParseFieldError::NotABoolean.into())
    }
}

/// An expiry: a date, also one written as the time at which it starts.
pub(crate) fn expiry(text: &str) -> Result<Expiry, Reason> {
    Ok(text.strip_suffix("T00:00:00Z").unwrap_or(text).parse()?)
}

/// A day as Arrow's `Date32`, in any year.
pub(crate) fn day(text: &str) -> Result<i64, Reason> {
    let date: chrono::NaiveDate = text.parse().map_err(|_| ParseFieldError::NotADate)?;
    // The library takes spaces, and fewer digits. Years of four digits need no memory.
    let is_digit =
        |at: usize, byte: u8| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() };
    let is_plain = text.len() == 10 && text.bytes().enumerate().all(|(at, byte)| is_digit(at, byte));
    if !is_plain && date.to_string() != text {
        return Err(ParseFieldError::NotADate.into());
    }
    Ok(i64::from(date.to_epoch_days()))
}

/// Whether a text is a number as JSON writes it.
pub(crate) fn is_json_number(text: &[u8]) -> bool {
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    let (whole, mut rest) = digit_run(unsigned);
    if whole.is_empty() || (whole.len() > 1 && whole[0] == b'0') {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let (digits, behind) = digit_run(fraction);
        if digits.is_empty() {
            return false;
        }
        rest = behind;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let unsigned = exponent.strip_prefix(b"+").or(exponent.strip_prefix(b"-")).unwrap_or(exponent);
        let (digits, behind) = digit_run(unsigned);
        return !digits.is_empty() && behind.is_empty();
    }
    rest.is_empty()
}

fn digit_run(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_digits_in_range() {
        assert_eq!(id("4294967295"), Ok(u32::MAX));
        assert_eq!(id("007"), Ok(7));
        assert_eq!(id("4294967296"), Err(ParseFieldError::IdTooLarge.into()));
        for bad in ["", "-1", "+1", "1e3", "1.0", " 1", "abc", "true", "٣"] {
            assert_eq!(id(bad), Err(ParseFieldError::NotAnId.into()), "{bad}");
        }
    }

    #[test]
    fn times_are_rfc_3339_or_nanoseconds() {
        assert_eq!(timestamp("2014-06-06T13:30:00Z"), Ok(1_402_061_400_000_000_000));
        assert_eq!(timestamp("2014-06-06T15:30:00.5+02:00"), Ok(1_402_061_400_500_000_000));
        assert_eq!(timestamp("-5"), Ok(-5));
        assert_eq!(timestamp("1970-01-01T00:00:00.0000000010Z"), Ok(1));
        for bad in ["", "yesterday", "2014-06-06", "2014-02-30T00:00:00Z", "9999-01-01T00:00:00Z", "1.5"] {
            assert!(timestamp(bad).is_err(), "{bad}");
        }
        assert!(timestamp("1970-01-01T00:00:00.0000000011Z").is_err());
        for leap in ["2016-12-31T23:59:60Z", "2024-11-01T12:30:60Z", "2024-11-01T23:59:60.5+01:00"] {
            assert_eq!(timestamp(leap), Err(ParseFieldError::NotATime.into()), "{leap}");
        }
        // The smallest of 64 bits stands for no time at all.
        let [first, last] = ["1677-09-21T00:12:43.145224193Z", "2262-04-11T23:47:16.854775807Z"];
        assert_eq!((timestamp(first), timestamp(last)), (Ok(i64::MIN + 1), Ok(i64::MAX)));
        for early in ["1677-09-21T00:12:43.145224192Z", "0001-01-01T00:00:00Z", "-9223372036854775808"] {
            assert_eq!(timestamp(early), Err(ParseFieldError::TimeTooEarly.into()), "{early}");
        }
        for late in ["2262-04-11T23:47:16.854775808Z", "9999-12-31T00:00:00Z", "9223372036854775808"] {
            assert_eq!(timestamp(late), Err(ParseFieldError::TimeTooLate.into()), "{late}");
        }
    }

    proptest::proptest! {
        #[test]
        fn plain_times_are_those_of_the_calendar(
            text in "(19|20|16|22)[0-9]{2}-(0[1-9]|1[0-3])-[0-3][0-9][Tt][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,10})?Z",
        ) {
            if let Some(ns) = plain_time(text.as_bytes()) {
                let time = DateTime::parse_from_rfc3339(&text).ok().and_then(|time| time.timestamp_nanos_opt());
                proptest::prop_assert_eq!(Some(ns), time);
            }
        }
    }

    #[test]
    fn years_beyond_four_digits_are_beyond_what_a_time_can_be() {
        assert_eq!(timestamp("+10000-01-01T00:00:00Z"), Err(beyond(false)));
        assert_eq!(timestamp("-0001-01-01T00:00:00Z"), Err(beyond(true)));
        for bad in ["+10000-13-01T00:00:00Z", "+1-01-01T00:00:00Z", "+10000-01-01", "9223372036854775807s"] {
            assert_eq!(timestamp(bad), Err(ParseFieldError::NotATime.into()), "{bad}");
        }
    }

    #[test]
    fn days_are_written_in_one_way() {
        assert_eq!(day("2024-11-03"), Ok(20_030));
        assert_eq!(day("-0001-01-01").map(|day| day < 0), Ok(true));
        for bad in
            ["", "2024-11-3", " 2024-11-03", "2024 - 11-03", "2000\u{b}-4-01 ", "2024-02-30", "20241103"]
        {
            assert_eq!(day(bad), Err(ParseFieldError::NotADate.into()), "{bad:?}");
        }
    }

    #[test]
    fn json_numbers_are_told_from_what_looks_like_them() {
        for good in ["0", "-0", "1.70", "1e5", "12E-3", "-0.5e+1"] {
            assert!(is_json_number(good.as_bytes()), "{good}");
        }
        for bad in ["", "-", "01", ".5", "1.", "+1", "1e", "NaN", "1.e5", "1e5e5", "0x1"] {
            assert!(!is_json_number(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn tokens_become_texts() {
        assert_eq!(json_text(r#""a\n\"b""#).as_deref(), Some("a\n\"b"));
        assert_eq!(json_text("1.70").as_deref(), Some("1.70"));
        assert_eq!(json_text(r#"{"a":null}"#).as_deref(), Some(r#"{"a":null}"#));
        assert_eq!(json_text("null"), None);
        assert!(!is_sound_token(r#""\ud800""#));
    }
}
