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
    pub fn compact(&self) -> TextView {
        let root = self.ticker.as_bytes();
        let mut bytes = [0; Self::LEN_MAX];
        bytes[..ROOT_LEN].copy_from_slice(self.ticker.padded());
        bytes[root.len()..root.len() + TAIL_LEN].copy_from_slice(&self.tail());
        TextView::inline_ascii(&bytes, root.len() + TAIL_LEN)
    }

    /// The padded form, the root in six columns: 21 bytes.
    #[must_use]
    pub fn padded(&self) -> TextView {
        let mut bytes = [0; Self::LEN_MAX];
        bytes[..ROOT_LEN].copy_from_slice(self.ticker.padded());
        bytes[ROOT_LEN..].copy_from_slice(&self.tail());
        TextView::inline_ascii(&bytes, Self::LEN_MAX)
    }

    fn tail(&self) -> [u8; TAIL_LEN] {
        let [year, month, day] = self.expiry.yymmdd();
        let strike = self.strike.thousandths();
        // Below 10,000 each: a strike has eight digits.
        let (high, low) = (strike / 10_000, strike % 10_000);
        let mut tail = [0; TAIL_LEN];
        let [y, m, d] = [year, month, day].map(|part| pair(u32::from(part)));
        tail[..6].copy_from_slice(&[y[0], y[1], m[0], m[1], d[0], d[1]]);
        tail[6] = self.option_type.letter();
        for (place, part) in [high / 100, high % 100, low / 100, low % 100].into_iter().enumerate() {
            tail[7 + 2 * place..9 + 2 * place].copy_from_slice(&pair(part));
        }
        tail
    }
}

/// The two decimal digits of a number below 100.
fn pair(number: u32) -> [u8; 2] {
    const PAIRS: [[u8; 2]; 100] = {
        let mut pairs = [[0; 2]; 100];
        let mut n = 0;
        while n < 100 {
            pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
            n += 1;
        }
        pairs
    };
    PAIRS[number as usize]
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
