//! Exact decimals: prices, quantities and strikes, never a float.

use std::fmt;
use std::str::FromStr;

use crate::error::ParseFieldError;

/// Digits after the point in a [`Price`], and the scale of its Arrow type.
pub const PRICE_SCALE: u32 = 9;
/// Digits before and after the point in the Arrow type of a [`Price`].
pub const PRICE_PRECISION: u8 = 38;

/// An exact decimal in units of 10⁻⁹: a price, or a quantity.
///
/// The range is that of its Arrow type: 29 digits before the point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(Rust, packed(8))] // the alignment of an i128 would cost a row of the stream 16 bytes
pub struct Price(i128);

impl Price {
    /// The price of `units` × 10⁻⁹.
    #[must_use]
    pub const fn from_units(units: i128) -> Self {
        Self(units)
    }

    /// The price as a number of 10⁻⁹.
    #[inline]
    #[must_use]
    pub const fn units(self) -> i128 {
        self.0
    }
}

impl FromStr for Price {
    type Err = ParseFieldError;

    /// Reads plain (`1.70`) and scientific (`17e-1`) notation.
    ///
    /// # Errors
    /// If `text` is no decimal, or has digits past the ninth after the point or the 29th
    /// before it: nothing is rounded.
    fn from_str(text: &str) -> Result<Self, ParseFieldError> {
        scaled(text, PRICE_SCALE).map(Self)
    }
}

impl fmt::Display for Price {
    /// The shortest exact form: no zeros at the end, no point without digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_scaled(f, self.0, PRICE_SCALE)
    }
}

/// An option's strike in thousandths: 0 to 99,999.999, the range of an OCC
/// symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Strike(u32);

impl Strike {
    /// The largest strike: 99,999.999.
    pub const MAX: Self = Self(99_999_999);
    /// Digits after the point.
    pub const SCALE: u32 = 3;
    /// Digits in all, in the Arrow type of a strike.
    pub const PRECISION: u8 = 8;

    /// The strike of `thousandths`, or `None` above [`Strike::MAX`].
    #[must_use]
    pub const fn from_thousandths(thousandths: u32) -> Option<Self> {
        if thousandths <= Self::MAX.0 { Some(Self(thousandths)) } else { None }
    }

    /// The strike in thousandths.
    #[inline]
    #[must_use]
    pub const fn thousandths(self) -> u32 {
        self.0
    }
}

impl FromStr for Strike {
    type Err = ParseFieldError;

    /// # Errors
    /// If `text` is no decimal, is negative, is 100,000 or more, or is not a
    /// whole number of thousandths.
    fn from_str(text: &str) -> Result<Self, ParseFieldError> {
        let units = scaled(text, Self::SCALE)?;
        if units < 0 {
            return Err(ParseFieldError::NegativeStrike);
        }
        u32::try_from(units).ok().and_then(Self::from_thousandths).ok_or(ParseFieldError::StrikeTooLarge)
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_scaled(f, i128::from(self.0), Self::SCALE)
    }
}

/// Digits before the point that a decimal may have; with those behind it the type has no more.
const WHOLE_DIGITS: i64 = (PRICE_PRECISION as u32 - PRICE_SCALE) as i64;

/// `text` as an integer number of 10^-`scale`, which is at most [`PRICE_SCALE`].
///
/// # Errors
/// If `text` is no decimal number, is not a whole number of that unit, or has more than
/// [`WHOLE_DIGITS`].
pub(crate) fn scaled(text: &str, scale: u32) -> Result<i128, ParseFieldError> {
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent_of(exponent)?),
        None => (text, 0),
    };
    let unsigned = number.strip_prefix(['+', '-']).unwrap_or(number);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    let len = whole.len() + fraction.len();
    if len == 0 || !digits().all(|digit| digit.is_ascii_digit()) {
        return Err(ParseFieldError::NotADecimal);
    }
    // The value is the digits without zeros at either end × 10^`power`.
    let zeros = digits().rev().take_while(|&digit| digit == b'0').count();
    let power = i64::from(exponent) - fraction.len() as i64 + zeros as i64;
    let digits = digits().take(len - zeros).skip_while(|&digit| digit == b'0');
    let before_point = digits.clone().count() as i64 + power;
    if zeros == len {
        return Ok(0);
    }
    let power = u32::try_from(power + i64::from(scale));
    let power = power.map_err(|_| ParseFieldError::TooManyDecimals { scale })?;
    if before_point > WHOLE_DIGITS {
        return Err(ParseFieldError::DecimalTooLarge);
    }
    // Below 10^38.
    let units = digits.fold(0, |units, digit| units * 10 + i128::from(digit - b'0')) * 10_i128.pow(power);
    Ok(if number.starts_with('-') { -units } else { units })
}

/// The number behind an `e`: digits with at most one sign. One that is beyond 32 bits is as
/// good as the last within.
fn exponent_of(text: &str) -> Result<i32, ParseFieldError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ParseFieldError::NotADecimal);
    }
    Ok(text.parse().unwrap_or(if text.starts_with('-') { i32::MIN } else { i32::MAX }))
}

/// Writes `units` × 10^-`scale` exactly, in the fewest characters.
pub(crate) fn write_scaled(out: &mut impl fmt::Write, units: i128, scale: u32) -> fmt::Result {
    let one = 10_u128.pow(scale);
    let (whole, mut rest) = (units.unsigned_abs() / one, units.unsigned_abs() % one);
    if units < 0 {
        out.write_char('-')?;
    }
    write!(out, "{whole}")?;
    if rest == 0 {
        return Ok(());
    }
    let mut width = scale as usize;
    while rest % 10 == 0 {
        rest /= 10;
        width -= 1;
    }
    write!(out, ".{rest:0width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_exact_and_print_shortest() {
        for (text, units, shown) in [
            ("1.7", 1_700_000_000, "1.7"),
            ("1.70", 1_700_000_000, "1.7"),
            ("-0.000000001", -1, "-0.000000001"),
            ("250", 250_000_000_000, "250"),
            ("17e-1", 1_700_000_000, "1.7"),
            ("1.7E+3", 1_700_000_000_000, "1700"),
            ("10e-10", 1, "0.000000001"),
            ("0e99", 0, "0"),
            (".5", 500_000_000, "0.5"),
            ("0.1000000000", 100_000_000, "0.1"),
        ] {
            let price: Price = text.parse().expect(text);
            assert_eq!(price.units(), units, "{text}");
            assert_eq!(price.to_string(), shown);
        }
    }

    #[test]
    fn a_price_is_refused_rather_than_rounded() {
        for text in ["", "abc", "1.0000000001", "1,5", "1_000", "--1", "1e-10", "NaN", "1e999", " 1"] {
            assert!(text.parse::<Price>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_exponent_is_as_exact_as_the_number_before_it() {
        for text in
            ["1.00000000000000000000000000001e0", "0.99999999999999999999999999999999e1", "1e-+5", "1e", "e1"]
        {
            assert!(text.parse::<Price>().is_err(), "{text}");
        }
        let too_large = Err(ParseFieldError::DecimalTooLarge);
        assert_eq!("1e29".parse::<Price>(), too_large);
        assert_eq!("1e99999999999".parse::<Price>(), too_large);
        let too_fine = Err(ParseFieldError::TooManyDecimals { scale: 9 });
        assert_eq!("1e-99999999999".parse::<Price>(), too_fine);
        assert_eq!("0e99999999999".parse::<Price>(), Ok(Price(0)));
    }

    #[test]
    fn a_price_has_29_digits_before_the_point_and_nine_behind() {
        let largest = "99999999999999999999999999999.999999999";
        assert_eq!(largest.parse::<Price>(), Ok(Price(10_i128.pow(38) - 1)));
        assert_eq!(format!("-{largest}").parse::<Price>(), Ok(Price(1 - 10_i128.pow(38))));
        assert_eq!("100000000000000000000000000000".parse::<Price>(), Err(ParseFieldError::DecimalTooLarge));
        // Zeros at either end are none of them.
        let zeros = "0".repeat(50);
        for (text, units) in [
            ("99999999999999999999.123456789".to_owned(), 99_999_999_999_999_999_999_123_456_789),
            (format!("{zeros}1.5{zeros}"), 1_500_000_000),
            (format!("1{zeros}e-50"), 1_000_000_000),
            (format!("0.{zeros}1e51"), 1_000_000_000),
            (format!(".{zeros}"), 0),
        ] {
            assert_eq!(text.parse::<Price>(), Ok(Price(units)), "{text}");
        }
    }

    #[test]
    fn a_strike_is_whole_thousandths_in_range() {
        assert_eq!("200".parse::<Strike>().map(Strike::thousandths), Ok(200_000));
        assert_eq!("0.125".parse::<Strike>().map(Strike::thousandths), Ok(125));
        assert_eq!("99999.999".parse(), Ok(Strike::MAX));
        assert_eq!("200.1250".parse::<Strike>().map(|s| s.to_string()), Ok("200.125".to_owned()));
        assert_eq!("-1".parse::<Strike>(), Err(ParseFieldError::NegativeStrike));
        assert_eq!("100000".parse::<Strike>(), Err(ParseFieldError::StrikeTooLarge));
        assert_eq!("1.0005".parse::<Strike>(), Err(ParseFieldError::TooManyDecimals { scale: 3 }));
    }
}
