//! The terms of an option: ticker, expiry, type.

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, NaiveDate};

use crate::error::ParseFieldError;

/// The root of an option symbol: 1 to 6 ASCII letters or digits, in the case
/// that they came in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticker {
    /// Left-aligned, padded with spaces, as in the padded OCC form.
    bytes: [u8; 6],
}

impl Ticker {
    /// The bytes of the ticker, without padding: 1 to 6.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.byte_len()]
    }

    /// How many bytes there are without padding: 1 to 6.
    #[inline]
    pub(crate) fn byte_len(&self) -> usize {
        let [a, b, c, d, e, f] = self.bytes;
        // What differs from spaces; the first byte does, and spaces are at the end.
        let differing = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]) ^ 0x2020_2020_2020;
        8 - (differing.leading_zeros() / 8) as usize
    }

    /// The six bytes of the ticker, padded with spaces at the end.
    #[inline]
    #[must_use]
    pub const fn padded(&self) -> &[u8; 6] {
        &self.bytes
    }

    /// A ticker from its bytes.
    ///
    /// # Errors
    /// If it is not 1 to 6 ASCII letters or digits.
    pub fn from_bytes(text: &[u8]) -> Result<Self, ParseFieldError> {
        if text.is_empty() || text.len() > 6 || !text.iter().all(u8::is_ascii_alphanumeric) {
            return Err(ParseFieldError::NotATicker);
        }
        let mut bytes = [b' '; 6];
        bytes[..text.len()].copy_from_slice(text);
        Ok(Self { bytes })
    }
}

impl FromStr for Ticker {
    type Err = ParseFieldError;

    /// # Errors
    /// If it is not 1 to 6 ASCII letters or digits.
    fn from_str(text: &str) -> Result<Self, ParseFieldError> {
        Self::from_bytes(text.as_bytes())
    }
}

impl fmt::Display for Ticker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|&b| write!(f, "{}", char::from(b)))
    }
}

impl fmt::Debug for Ticker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticker({self})")
    }
}

/// The day on which an option expires: in 2000 to 2099, weekends included.
///
/// It is kept as the parts that a symbol shows: symbols are rendered more often
/// than days are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expiry {
    /// Years since 2000: 0 to 99.
    year: u8,
    /// 1 to 12.
    month: u8,
    /// 1 to 31, a day that the month has.
    day: u8,
}

impl Expiry {
    /// The expiry on `date`.
    ///
    /// # Errors
    /// If its year is outside 2000 to 2099.
    pub fn new(date: NaiveDate) -> Result<Self, ParseFieldError> {
        let year = u8::try_from(date.year() - 2000).ok().filter(|&year| year < 100);
        let year = year.ok_or(ParseFieldError::ExpiryOutOfRange)?;
        // Months and days fit a byte.
        Ok(Self { year, month: date.month() as u8, day: date.day() as u8 })
    }

    /// The expiry `days` after 1970-01-01, Arrow's `Date32`.
    ///
    /// # Errors
    /// If its year is outside 2000 to 2099.
    pub fn from_epoch_days(days: i32) -> Result<Self, ParseFieldError> {
        NaiveDate::from_epoch_days(days).ok_or(ParseFieldError::ExpiryOutOfRange).and_then(Self::new)
    }

    /// Days since 1970-01-01, Arrow's `Date32`.
    #[must_use]
    pub fn epoch_days(self) -> i32 {
        let year = 2000 + i32::from(self.year);
        let date = NaiveDate::from_ymd_opt(year, u32::from(self.month), u32::from(self.day));
        date.unwrap_or_default().to_epoch_days()
    }

    /// The last two digits of the year, the month, the day: each below 100.
    #[inline]
    #[must_use]
    pub const fn yymmdd(self) -> [u8; 3] {
        [self.year, self.month, self.day]
    }
}

impl FromStr for Expiry {
    type Err = ParseFieldError;

    /// Reads `2024-11-03`, `20241103` and `241103`.
    ///
    /// # Errors
    /// If it is none of these, no day of the calendar, or outside 2000 to 2099.
    fn from_str(text: &str) -> Result<Self, ParseFieldError> {
        let (year, rest) = match text.as_bytes() {
            [y @ .., b'-', m1, m2, b'-', d1, d2] if y.len() == 4 => (number(y)?, [*m1, *m2, *d1, *d2]),
            [y @ .., m1, m2, d1, d2] if y.len() == 4 => (number(y)?, [*m1, *m2, *d1, *d2]),
            [y @ .., m1, m2, d1, d2] if y.len() == 2 => (2000 + number(y)?, [*m1, *m2, *d1, *d2]),
            _ => return Err(ParseFieldError::NotADate),
        };
        let (month, day) = (number(&rest[..2])?, number(&rest[2..])?);
        let year = i32::try_from(year).map_err(|_| ParseFieldError::NotADate)?;
        NaiveDate::from_ymd_opt(year, month, day).ok_or(ParseFieldError::NoSuchDay).and_then(Self::new)
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [year, month, day] = self.yymmdd();
        write!(f, "20{year:02}-{month:02}-{day:02}")
    }
}

/// A short run of ASCII digits as a number.
fn number(digits: &[u8]) -> Result<u32, ParseFieldError> {
    digits.iter().try_fold(0, |sum, b| {
        if b.is_ascii_digit() { Ok(sum * 10 + u32::from(b - b'0')) } else { Err(ParseFieldError::NotADate) }
    })
}

/// A right to buy or to sell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OptionType {
    /// The right to buy.
    Call,
    /// The right to sell.
    Put,
}

impl OptionType {
    /// `call` or `put`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Put => "put",
        }
    }

    /// `C` or `P`.
    #[inline]
    #[must_use]
    pub const fn letter(self) -> u8 {
        match self {
            Self::Call => b'C',
            Self::Put => b'P',
        }
    }
}

impl FromStr for OptionType {
    type Err = ParseFieldError;

    /// Reads `call`, `put`, `c` and `p` in any case.
    ///
    /// # Errors
    /// If it is none of these.
    fn from_str(text: &str) -> Result<Self, ParseFieldError> {
        if text.eq_ignore_ascii_case("call") || text.eq_ignore_ascii_case("c") {
            Ok(Self::Call)
        } else if text.eq_ignore_ascii_case("put") || text.eq_ignore_ascii_case("p") {
            Ok(Self::Put)
        } else {
            Err(ParseFieldError::NotAnOptionType)
        }
    }
}

impl fmt::Display for OptionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticker_has_one_to_six_letters_or_digits() {
        assert_eq!(Ticker::from_bytes(b"spy").map(|t| t.to_string()), Ok("spy".to_owned()));
        assert_eq!(Ticker::from_bytes(b"AAPL7").map(|t| *t.padded()), Ok(*b"AAPL7 "));
        for bad in [&b""[..], b"TOOLONG", b"BRK.B", b"A B", "É".as_bytes()] {
            assert_eq!(Ticker::from_bytes(bad), Err(ParseFieldError::NotATicker));
        }
    }

    #[test]
    fn three_forms_of_a_date_are_one_expiry() {
        for text in ["2024-11-03", "20241103", "241103"] {
            assert_eq!(text.parse::<Expiry>().map(|e| e.to_string()), Ok("2024-11-03".to_owned()));
        }
        assert_eq!("2024-02-30".parse::<Expiry>(), Err(ParseFieldError::NoSuchDay));
        assert_eq!("1999-12-31".parse::<Expiry>(), Err(ParseFieldError::ExpiryOutOfRange));
        assert_eq!("2100-01-01".parse::<Expiry>(), Err(ParseFieldError::ExpiryOutOfRange));
        for bad in ["", "2024-1-03", "24-11-03", "2024/11/03", "2411031", "-41103", "2024-11-0x", "+20241103"]
        {
            assert_eq!(bad.parse::<Expiry>(), Err(ParseFieldError::NotADate), "{bad}");
        }
    }

    #[test]
    fn every_day_survives_arrow_and_text() {
        for days in 10_957..47_482 {
            let expiry = Expiry::from_epoch_days(days).expect("in range");
            assert_eq!(expiry.epoch_days(), days);
            assert_eq!(expiry.to_string().parse(), Ok(expiry));
        }
        assert!(Expiry::from_epoch_days(10_956).is_err());
        assert!(Expiry::from_epoch_days(47_482).is_err());
    }

    #[test]
    fn an_option_type_is_read_in_any_case() {
        for text in ["call", "CALL", "C", "c"] {
            assert_eq!(text.parse(), Ok(OptionType::Call));
        }
        assert_eq!("Put".parse(), Ok(OptionType::Put));
        assert_eq!("".parse::<OptionType>(), Err(ParseFieldError::NotAnOptionType));
    }
}
