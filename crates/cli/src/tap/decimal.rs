//! Numbers of any size and precision, to be compared as they are written.

use std::cmp::Ordering;
use std::str::FromStr;

/// A finite number: its sign, and `0.` and the digits, times ten to the power of the
/// exponent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    is_negative: bool,
    /// Without zeros at either end; none for 0.
    digits: String,
    exponent: i64,
}

/// A text that is no finite number.
#[derive(Debug)]
pub(super) struct NoNumber;

impl FromStr for Decimal {
    type Err = NoNumber;

    fn from_str(text: &str) -> Result<Self, NoNumber> {
        let (is_negative, text) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, power(exponent)?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if mantissa.len() <= usize::from(mantissa.contains('.')) || !is_digits(whole) || !is_digits(fraction)
        {
            return Err(NoNumber);
        }
        let all = [whole, fraction].concat();
        let digits = all.trim_start_matches('0');
        if digits.is_empty() {
            // Zero has neither a sign nor a size.
            return Ok(Self { is_negative: false, digits: String::new(), exponent: 0 });
        }
        let leading = all.len() - digits.len();
        // No text has more digits than 63 bits can number.
        let exponent = exponent.saturating_add(whole.len() as i64 - leading as i64);
        Ok(Self { is_negative, digits: digits.trim_end_matches('0').to_owned(), exponent })
    }
}

/// A power of ten, which counts for the greatest there is if it is greater.
fn power(text: &str) -> Result<i64, NoNumber> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NoNumber);
    }
    let size = digits.parse().unwrap_or(i64::MAX);
    Ok(if text.starts_with('-') { -size } else { size })
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |of: &Self| match (of.digits.is_empty(), of.is_negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let size = |of: &Self| of.exponent;
        // Without leading zeros the exponent decides, and then the digits from the first on.
        let sizes = size(self).cmp(&size(other)).then_with(|| self.digits.cmp(&other.digits));
        let sizes = if self.is_negative { sizes.reverse() } else { sizes };
        sign(self).cmp(&sign(other)).then(sizes)
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_precision_have_their_order() {
        let rising = [
            "-1e400",
            "-123456789012345678901234567890",
            "-9.5",
            "-9.49999999999999999999",
            "-1e-12",
            "0",
            "1e-400",
            "1e-12",
            "0.0000000001",
            "0.3",
            "0.30000000000000004",
            "1",
            "1.7",
            "10",
            "123456789012345678901234567890",
            "123456789012345678901234567891",
            "1e99999999999999999999",
        ];
        let numbers = rising.map(|text| text.parse::<Decimal>().expect(text));
        for (at, number) in numbers.iter().enumerate() {
            for (other_at, other) in numbers.iter().enumerate() {
                assert_eq!(number.cmp(other), at.cmp(&other_at), "{} {}", rising[at], rising[other_at]);
            }
        }
    }

    #[test]
    fn a_number_is_itself_however_it_is_written() {
        for same in [
            &["1.7", "1.70", "+1.7", "17e-1", "0.17E1", "001.700"][..],
            &["0", "-0", "0.00", "0e5", "-0e-99999999999999999999", ".0", "0."],
            &["1e30", "1000000000000000000000000000000", "1000000000000000000000000000000.0"],
            &["1e-12", "0.000000000001", ".000000000001"],
        ] {
            for text in same {
                assert_eq!(text.parse::<Decimal>().ok(), same[0].parse().ok(), "{text}");
            }
        }
        for text in
            ["", "-", ".", "+.", "e5", "1e", "1e+", "1e5.0", "1.2.3", "NaN", "inf", "-inf", "1 ", "0x1"]
        {
            assert!(text.parse::<Decimal>().is_err(), "{text}");
        }
    }
}
