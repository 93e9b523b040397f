//! The option symbol of the Options Clearing Corporation (OCC), also known as
//! the OSI symbol: root, expiry as YYMMDD, `C` or `P`, strike × 1000 in eight
//! digits. Source: OCC, "Options Symbology Initiative".

use std::fmt;
use std::str::FromStr;

use crate::decimal::Strike;
use crate::error::ParseFieldError;
use crate::option::{Expiry, OptionType, Ticker};
use crate::text::TextView;

/// The terms of an option, which are also the parts of its symbol.
///
/// ```
/// use tradejoin_model::OccSymbol;
///
/// let symbol: OccSymbol = "SPY241103C00200000".parse()?;
/// assert_eq!(symbol.strike.to_string(), "200");
/// assert_eq!(symbol.padded().as_bytes(), b"SPY   241103C00200000");
/// assert_eq!(symbol.to_string(), "SPY241103C00200000");
/// # Ok::<(), tradejoin_model::ParseFieldError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OccSymbol {
    /// The root.
    pub ticker: Ticker,
    /// The day of expiry.
    pub expiry: Expiry,
    /// Call or put.
    pub option_type: OptionType,
    /// The strike.
    pub strike: Strike,
}

/// Bytes after the root: six of the date, one of the type, eight of the strike.
const TAIL_LEN: usize = 15;
/// Bytes of a root in the padded form, and the most in the compact one.
const ROOT_LEN: usize = 6;

impl OccSymbol {
    /// Bytes of the padded form, and the most that a compact one has.
    pub const LEN_MAX: usize = ROOT_LEN + TAIL_LEN;

    /// The compact form, the root without spaces: 16 to 21 bytes.
    #[must_use]
    #[inline]
    pub fn compact(&self) -> TextView {
        self.with_root(self.ticker.byte_len())
    }

    /// The padded form, the root in six columns: 21 bytes.
    #[must_use]
    #[inline]
    pub fn padded(&self) -> TextView {
        self.with_root(ROOT_LEN)
    }

    /// The tail behind the first `root_len` columns of the padded root, in
    /// registers: bytes are the digits of numbers to the base 256, the first the
    /// lowest. Always inlined: the loop over changes is the dearest part of a shard,
    /// and a call for each would be felt.
    #[inline(always)]
    fn with_root(&self, root_len: usize) -> TextView {
        let [a, b, c, d, e, f] = *self.ticker.padded();
        let root = u128::from(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]));
        // 1 to 6 bytes.
        let bits = 8 * root_len as u32;
        let root = root & ((1 << bits) - 1);
        let tail = self.tail();
        TextView::of_digits(root | tail << bits, (tail >> (128 - bits)) as u64, root_len + TAIL_LEN)
    }

    /// Date, type and strike: the lowest 15 bytes.
    #[inline]
    fn tail(&self) -> u128 {
        let [year, month, day] = self.expiry.yymmdd();
        let date = pair(year) | pair(month) << 16 | pair(day) << 32;
        let letter = u64::from(self.option_type.letter());
        u128::from(date | letter << 48) | u128::from(eight_digits(self.strike.thousandths())) << 56
    }
}

/// The eight decimal digits of a number below 10⁸ as bytes, the first the lowest:
/// all halves, quarters and eighths of the number at once (as in P. Khuong, "How to
/// print integers really fast", 2017).
#[inline]
fn eight_digits(number: u32) -> u64 {
    let number = u64::from(number);
    // Two numbers below 10⁴, then four below 100, then eight below 10, each in
    // lanes of the same width; the quotients are exact in these ranges.
    let halves = (number / 10_000) | (number % 10_000) << 32;
    let tops = ((halves * 10_486) >> 20) & 0x7F_0000_007F;
    let quarters = tops | (halves - 100 * tops) << 16;
    let tops = ((quarters * 103) >> 10) & 0x000F_000F_000F_000F;
    let eighths = tops | (quarters - 10 * tops) << 8;
    eighths | 0x3030_3030_3030_3030
}

/// The two decimal digits of a number below 100, the first the lower byte.
#[inline]
fn pair(number: u8) -> u64 {
    const PAIRS: [u16; 100] = {
        let mut pairs = [0; 100];
        let mut n = 0;
        while n < 100 {
            pairs[n] = u16::from_le_bytes([b'0' + (n / 10) as u8, b'0' + (n % 10) as u8]);
            n += 1;
        }
        pairs
    };
    u64::from(PAIRS[usize::from(number)])
}

impl FromStr for OccSymbol {
    type Err = ParseFieldError;

    /// Reads the compact and the padded form.
    ///
    /// # Errors
    /// If it is neither, or one of its parts is out of range.
    fn from_str(text: &str) -> Result<Self, ParseFieldError> {
        let not_a_symbol = ParseFieldError::NotAnOccSymbol;
        let split =
            text.len().checked_sub(TAIL_LEN).filter(|&at| text.is_char_boundary(at)).ok_or(not_a_symbol)?;
        let (root, tail) = text.split_at(split);
        // Spaces belong to the padded form alone: six columns, none in front.
        let root = if root.len() == ROOT_LEN { root.trim_end_matches(' ') } else { root };
        let (date, rest) = (tail.get(..6).ok_or(not_a_symbol)?, tail.get(6..).ok_or(not_a_symbol)?);
        let (letter, strike) = (rest.get(..1).ok_or(not_a_symbol)?, rest.get(1..).ok_or(not_a_symbol)?);
        if !strike.bytes().all(|b| b.is_ascii_digit()) {
            return Err(not_a_symbol);
        }
        let thousandths = strike.parse().map_err(|_| not_a_symbol)?;
        Ok(Self {
            ticker: root.parse()?,
            expiry: date.parse()?,
            option_type: match letter {
                "C" => OptionType::Call,
                "P" => OptionType::Put,
                _ => return Err(not_a_symbol),
            },
            strike: Strike::from_thousandths(thousandths).ok_or(ParseFieldError::StrikeTooLarge)?,
        })
    }
}

impl fmt::Display for OccSymbol {
    /// The compact form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.compact().as_bytes().iter().try_for_each(|&b| write!(f, "{}", char::from(b)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_the_article() {
        let symbol = OccSymbol {
            ticker: "SPY".parse().expect("ticker"),
            expiry: "2024-11-03".parse().expect("expiry"),
            option_type: OptionType::Call,
            strike: "200".parse().expect("strike"),
        };
        assert_eq!(symbol.compact().as_bytes(), b"SPY241103C00200000");
        assert_eq!(symbol.padded().as_bytes(), b"SPY   241103C00200000");
    }

    #[test]
    fn what_is_no_symbol_is_refused() {
        for bad in [
            "",
            "241103C00200000",
            "TOOLONG241103C00200000",
            "SPY241103X00200000",
            "SPY241103c00200000",
            "SPY240230C00200000",
            "SPY241103C0020000",
            "SPY241103C+0200000",
            " SPY  241103C00200000",
            "SPY 241103C00200000",
            "S-Y241103C00200000",
            "SPY24110éC0020000",
        ] {
            assert!(bad.parse::<OccSymbol>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn both_forms_parse_back(
            root in "[A-Z0-9]{1,6}",
            days in 10_957..47_482_i32,
            put: bool,
            thousandths in 0..=99_999_999_u32,
        ) {
            let symbol = OccSymbol {
                ticker: root.parse().expect("ticker"),
                expiry: Expiry::from_epoch_days(days).expect("expiry"),
                option_type: if put { OptionType::Put } else { OptionType::Call },
                strike: Strike::from_thousandths(thousandths).expect("strike"),
            };
            for view in [symbol.compact(), symbol.padded()] {
                let text = std::str::from_utf8(view.as_bytes()).expect("ascii");
                prop_assert_eq!(text.parse::<OccSymbol>(), Ok(symbol));
            }
            let by_format = format!(
                "{root}{}{}{thousandths:08}",
                symbol.expiry.to_string()[2..].replace('-', ""),
                if put { 'P' } else { 'C' },
            );
            prop_assert_eq!(symbol.to_string(), by_format);
        }
    }
}
