//! Single values: what is read is exactly what the text says, and reads back.

use chrono::{DateTime, Datelike as _, NaiveDate};
use tradejoin_connectors::{instant_of_text, time_for_people};
use tradejoin_model::{Expiry, OccSymbol, OptionType, Price, Strike, Ticker};

/// Prices and strikes.
pub(crate) fn decimals(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (price, strike) = (text.parse::<Price>(), text.parse::<Strike>());
    if let Ok(price) = price {
        assert_eq!(units(text, 9), Some(price.units()), "{text:?} is another number");
        assert_eq!(price.to_string().parse(), Ok(price), "{price} does not read back");
    }
    if let Ok(strike) = strike {
        assert_eq!(units(text, 3), Some(i128::from(strike.thousandths())), "{text:?} is another number");
        assert!(strike <= Strike::MAX);
        assert_eq!(strike.to_string().parse(), Ok(strike), "{strike} does not read back");
        assert_eq!(price.map(Price::units), Ok(i128::from(strike.thousandths()) * 1_000_000));
    }
    // What is plain and small is no matter of taste.
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if (1..=38).contains(&digits) && text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte))
    {
        let expected = units(text, 9).filter(|units| units.unsigned_abs() < 10_u128.pow(38));
        assert_eq!(price.ok().map(Price::units), expected, "{text:?} is a decimal, or is none");
    }
}

/// A decimal as an integer number of 10^-`scale`, if it is one, digit by digit.
pub(crate) fn units(text: &str, scale: i64) -> Option<i128> {
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent),
        None => (text, "0"),
    };
    let exponent_digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if exponent_digits.is_empty() || !exponent_digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let unsigned = number.strip_prefix(['+', '-']).unwrap_or(number);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = [whole, fraction].concat();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let significant = digits.trim_end_matches('0');
    let dropped = (digits.len() - significant.len()) as i64;
    let significant = significant.trim_start_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    // Zero alone may have an exponent beyond 64 bits.
    let exponent = exponent.parse::<i64>().ok()?;
    // The value is `significant` × 10^`power` units.
    let power = exponent.checked_add(scale)?.checked_add(dropped)? - fraction.len() as i64;
    let factor = 10_i128.checked_pow(u32::try_from(power).ok()?)?;
    let value = significant.parse::<i128>().ok()?.checked_mul(factor)?;
    Some(if number.starts_with('-') { -value } else { value })
}

/// Expiries and times.
pub(crate) fn dates(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let expiry = text.parse::<Expiry>();
    let calendar = calendar_day(text).filter(|date| (2000..=2099).contains(&date.year()));
    assert_eq!(expiry.ok().map(Expiry::epoch_days), calendar.map(|date| date.to_epoch_days()), "{text:?}");
    if let Ok(expiry) = expiry {
        assert_eq!(expiry.to_string().parse(), Ok(expiry));
        assert_eq!(Expiry::from_epoch_days(expiry.epoch_days()), Ok(expiry));
    }
    if let Some(instant) = instant_of_text(text) {
        let time = DateTime::parse_from_rfc3339(text).ok().and_then(|time| time.timestamp_nanos_opt());
        let midnight = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
        let midnight = || midnight()?.and_utc().timestamp_nanos_opt();
        assert_eq!(Some(instant), time.or_else(midnight).or_else(|| text.parse().ok()), "{text:?}");
        let shown = time_for_people(instant);
        assert_eq!(instant_of_text(&shown), Some(instant), "{text:?} is shown as {shown:?}");
    }
}

/// The day of the three forms that there are.
fn calendar_day(text: &str) -> Option<NaiveDate> {
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let format = match text.len() {
        10 if text.is_ascii() && is_digits(&text.replace('-', "")) => "%Y-%m-%d",
        8 if is_digits(text) => "%Y%m%d",
        6 if is_digits(text) => return NaiveDate::parse_from_str(&format!("20{text}"), "%Y%m%d").ok(),
        _ => return None,
    };
    let date = NaiveDate::parse_from_str(text, format).ok()?;
    // Chrono takes `2024-1-003` as well.
    (date.format(format).to_string() == text).then_some(date)
}

/// Option symbols, and their parts.
pub(crate) fn symbols(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(ticker) = text.parse::<Ticker>() {
        assert_eq!(ticker.as_bytes(), bytes);
    }
    if let Ok(option_type) = text.parse::<OptionType>() {
        assert!(option_type.as_str().get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text)));
    }
    let Ok(symbol) = text.parse::<OccSymbol>() else {
        assert!(!looks_like_a_symbol(text), "{text:?} is one");
        return;
    };
    assert!(looks_like_a_symbol(text), "{text:?} is none");
    let (compact, padded) = (symbol.compact(), symbol.padded());
    assert!([compact.as_bytes(), padded.as_bytes()].contains(&bytes), "{text:?} came out as {symbol}");
    for view in [compact, padded] {
        let shown = std::str::from_utf8(view.as_bytes()).expect("letters and digits");
        assert_eq!(shown.parse(), Ok(symbol), "{shown:?} does not read back");
    }
    assert_eq!(symbol.to_string().as_bytes(), compact.as_bytes());
}

/// Whether a text is a symbol, as the definition has it.
fn looks_like_a_symbol(text: &str) -> bool {
    let Some((root, tail)) = text.len().checked_sub(15).and_then(|at| text.split_at_checked(at)) else {
        return false;
    };
    let root = if root.len() == 6 { root.trim_end_matches(' ') } else { root };
    let is_root = (1..=6).contains(&root.len()) && root.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let (date, rest) = tail.split_at_checked(6).unwrap_or_default();
    let is_strike = |digits: &str| digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let strike = rest.strip_prefix(['C', 'P']);
    is_root && calendar_day(date).is_some() && strike.is_some_and(is_strike)
}
