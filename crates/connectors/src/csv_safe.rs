//! Fields that a spreadsheet would take for formulas, made into text.

use std::borrow::Cow;

/// Whether a program that opens CSV may calculate with a text: the signs are those of the
/// Open Worldwide Application Security Project. A plain decimal with a sign is a number
/// whoever reads it.
pub(crate) fn is_formula(text: &[u8]) -> bool {
    match text.first() {
        Some(b'=' | b'@' | b'\t' | b'\r' | b'\n') => true,
        Some(b'+' | b'-') => !is_decimal(&text[1..]),
        _ => false,
    }
}

/// Digits, with a point among them or not.
fn is_decimal(text: &[u8]) -> bool {
    let mut parts = text.splitn(2, |&byte| byte == b'.');
    parts.all(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit))
}

/// A name as it stands in the output.
pub(crate) fn guarded(name: &str) -> Cow<'_, str> {
    if is_formula(name.as_bytes()) { format!("'{name}").into() } else { name.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_no_formulas() {
        for text in [
            "=1+1", "+1+1", "-1-1", "@SUM(A1)", "\t=1", "\r=1", "\n", "-", "+", "-.5", "-5.", "--5", "-1e5",
            "-1.2.3",
        ] {
            assert!(is_formula(text.as_bytes()), "{text:?}");
        }
        for text in ["", "5", "-5", "-1.25", "+0.10", "a=b", "'=1", " =1", "1-1"] {
            assert!(!is_formula(text.as_bytes()), "{text:?}");
        }
    }
}
