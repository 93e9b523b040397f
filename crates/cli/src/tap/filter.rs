//! Which rows are meant: `--where`.

use std::cmp::Ordering;
use std::str::Chars;

use tradejoin_config::nearest;
use tradejoin_connectors::{FieldText, RowTexts, instant_of_text};

use super::decimal::Decimal;

/// Conditions of a row, all of which hold for those that are meant.
#[derive(Clone, Debug, Default)]
pub(super) struct Filters(Vec<Filter>);

#[derive(Clone, Debug)]
struct Filter {
    /// The place of the column.
    column: usize,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    /// Like a value, or not so.
    Like(Pattern, bool),
    /// Less, equal or greater: whether each is meant.
    Compared(Bound, [bool; 3]),
}

#[derive(Clone, Debug)]
enum Pattern {
    /// A text, which may be a number.
    Text(String, Option<Decimal>),
    /// With `*` for any letters and `?` for one.
    Glob(Vec<char>),
}

#[derive(Clone, Debug)]
enum Bound {
    Number(Decimal),
    Time(i64),
}

/// The signs that stand between a column and a value; those before others that they begin
/// with.
const SIGNS: [&str; 6] = ["!=", "<=", ">=", "=", "<", ">"];

impl Filters {
    /// Conditions over these columns.
    ///
    /// # Errors
    /// What is wrong with one.
    pub(super) fn read(conditions: &[String], columns: &[String]) -> Result<Self, String> {
        conditions
            .iter()
            .map(|condition| Filter::read(condition, columns))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether the row that `fields` are at is meant.
    pub(super) fn accept(&self, fields: &mut RowTexts<'_>) -> bool {
        self.0.iter().all(|filter| filter.test.accepts(&fields.field(filter.column)))
    }
}

impl Filter {
    fn read(condition: &str, columns: &[String]) -> Result<Self, String> {
        let (column, sign, value) = match named(condition, columns) {
            Some(parts) => parts,
            None => return Err(no_column(condition, columns)),
        };
        let test = match sign {
            "=" => Test::Like(Pattern::read(value), true),
            "!=" => Test::Like(Pattern::read(value), false),
            _ => {
                let bound = Bound::read(value).ok_or_else(|| {
                    format!(
                        "--where {condition}: {sign} compares numbers and times, and {value:?} is neither"
                    )
                })?;
                Test::Compared(bound, [sign.starts_with('<'), sign.ends_with('='), sign.starts_with('>')])
            }
        };
        Ok(Self { column, test })
    }
}

/// The column that a condition begins with, its sign, and its value. A name may have signs
/// in it: the longest one that is there counts.
fn named<'c>(condition: &'c str, columns: &[String]) -> Option<(usize, &'static str, &'c str)> {
    let parts = |(column, name): (usize, &String)| {
        let rest = condition.trim_start().strip_prefix(name.as_str())?.trim_start();
        let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign))?;
        Some((name.len(), (column, sign, rest[sign.len()..].trim())))
    };
    // Of several of one name the first.
    let found = columns.iter().enumerate().rev().filter_map(parts);
    found.max_by_key(|(len, _)| *len).map(|(_, parts)| parts)
}

/// Why a condition has no column.
fn no_column(condition: &str, columns: &[String]) -> String {
    let is_at = |at: usize| SIGNS.into_iter().any(|sign| condition[at..].starts_with(sign));
    match condition.char_indices().find(|&(at, _)| is_at(at)) {
        Some((at, _)) => no_such_column(condition, condition[..at].trim(), columns),
        None => format!("--where {condition}: write COLUMN=VALUE, with one of = != < <= > >= between"),
    }
}

fn no_such_column(condition: &str, name: &str, columns: &[String]) -> String {
    let near = nearest(name, columns.iter().map(String::as_str));
    let near = near.map(|near| format!(": did you mean {near}?")).unwrap_or_default();
    format!("--where {condition}: no column {name}{near} (there are {})", columns.join(", "))
}

impl Test {
    fn accepts(&self, field: &FieldText<'_>) -> bool {
        match self {
            Self::Like(pattern, is_meant) => pattern.is_like(field) == *is_meant,
            Self::Compared(bound, [less, equal, greater]) => match bound.compare(field.text()) {
                Some(Ordering::Less) => *less,
                Some(Ordering::Equal) => *equal,
                Some(Ordering::Greater) => *greater,
                None => false,
            },
        }
    }
}

impl Pattern {
    fn read(value: &str) -> Self {
        if value.contains(['*', '?']) {
            Self::Glob(value.chars().collect())
        } else {
            Self::Text(value.to_owned(), value.parse().ok())
        }
    }

    /// Whether a field is like this; one that is not there is like an empty text.
    fn is_like(&self, field: &FieldText<'_>) -> bool {
        let text = field.text();
        match self {
            Self::Glob(glob) => matches(glob, text),
            Self::Text(value, _) if value == text => true,
            Self::Text(_, Some(number)) => {
                matches!(field, FieldText::Json(_))
                    && text.parse().is_ok_and(|value: Decimal| value == *number)
            }
            Self::Text(_, None) => false,
        }
    }
}

impl Bound {
    fn read(value: &str) -> Option<Self> {
        let number = value.parse().ok().map(Self::Number);
        number.or_else(|| instant_of_text(value).map(Self::Time))
    }

    /// How a value is to this; `None` if it is of another kind.
    fn compare(&self, text: &str) -> Option<Ordering> {
        match self {
            Self::Number(bound) => Some(text.parse::<Decimal>().ok()?.cmp(bound)),
            Self::Time(bound) => Some(instant_of_text(text)?.cmp(bound)),
        }
    }
}

/// Whether a text is like a glob.
fn matches(glob: &[char], text: &str) -> bool {
    let (mut at, mut rest) = (0, text.chars());
    // Behind the last star, and what it has not eaten.
    let mut star: Option<(usize, Chars<'_>)> = None;
    loop {
        let mut ahead = rest.clone();
        match (glob.get(at), ahead.next()) {
            (Some('*'), _) => {
                at += 1;
                star = Some((at, rest.clone()));
            }
            (Some(&wanted), Some(found)) if wanted == '?' || wanted == found => {
                at += 1;
                rest = ahead;
            }
            (None, None) => return true,
            _ => {
                let Some((behind, left)) = &mut star else { return false };
                if left.next().is_none() {
                    return false;
                }
                (at, rest) = (*behind, left.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_texts() {
        for (glob, text, expected) in [
            ("SPY*", "SPY241103C", true),
            ("SPY*", "XSPY", false),
            ("*P0*5*", "F260320P00007125", true),
            ("?é?", "aéb", true),
            ("??", "a", false),
            ("*", "", true),
            ("a*b*c", "abxbc", true),
            ("a*b*c", "abxb", false),
            ("**a", "ba", true),
        ] {
            assert_eq!(matches(&glob.chars().collect::<Vec<_>>(), text), expected, "{glob} {text}");
        }
    }

    #[test]
    fn conditions_compare_texts_numbers_and_times() {
        let columns = ["instrument", "price", "timestamp"].map(str::to_owned);
        let accepts = |condition: &str, field: FieldText<'_>| {
            let filter = Filter::read(condition, &columns).expect(condition);
            filter.test.accepts(&field)
        };
        let text = |text: &'static str| FieldText::Text(text.into());
        let json = |text: &'static str| FieldText::Json(text.into());
        for (condition, field, expected) in [
            ("instrument=SPY", text("SPY"), true),
            ("instrument!=SPY", text("SPY"), false),
            ("instrument = S*", text("SPY"), true),
            ("instrument!=S?", FieldText::None, true),
            ("instrument=", FieldText::None, true),
            ("instrument!=", text("a"), true),
            ("price=1.7", json("1.70"), true),
            ("price=1.7", text("1.70"), false),
            ("price<=1.7", json("1.70"), true),
            ("price<1.7", json("1.70"), false),
            ("price>-1e1", json("-9.5"), true),
            ("price>=0", FieldText::None, false),
            ("price<1e-9", json("1e-12"), true),
            ("price>0", json("1e-12"), true),
            ("price>0.3", json("0.30000000000000004"), true),
            ("price<=0.3", json("0.30000000000000004"), false),
            ("price>123456789012345678901234567890", json("123456789012345678901234567891"), true),
            ("price>1", json("123456789012345678901234567890"), true),
            ("price=1e-12", json("0.000000000001"), true),
            ("price=1e-12", json("0"), false),
            ("price<1", text("NaN"), false),
            ("price>1", text("inf"), false),
            ("price<1", text("-inf"), false),
            ("timestamp<2024-11-01T13:30:00.5Z", text("2024-11-01T13:30:00Z"), true),
            ("timestamp>=2024-11-01T14:30:00+01:00", text("2024-11-01T13:30:00Z"), true),
            ("timestamp>2024-11-01", text("2024-11-01"), false),
            ("timestamp>2024-11-01", json("5"), false),
        ] {
            assert_eq!(accepts(condition, field.clone()), expected, "{condition} {field:?}");
        }
    }

    #[test]
    fn the_longest_name_that_is_there_counts() {
        let columns = ["a", "a=b", "a=", "b<", "b", "a"].map(str::to_owned);
        let read = |condition: &'static str| named(condition, &columns);
        assert_eq!(read("a=b=z"), Some((1, "=", "z")));
        assert_eq!(read(" a=b != z "), Some((1, "!=", "z")));
        assert_eq!(read("a=bz"), Some((0, "=", "bz")));
        assert_eq!(read("a=>=1"), Some((2, ">=", "1")));
        assert_eq!(read("b<=1"), Some((3, "=", "1")));
        assert_eq!(read("b<5"), Some((4, "<", "5")));
        assert_eq!(read("ab=5"), None);
    }

    #[test]
    fn what_is_no_condition_is_explained() {
        let columns = ["instrument", "price"].map(str::to_owned);
        for (condition, why) in [
            ("instrument", "--where instrument: write COLUMN=VALUE, with one of = != < <= > >= between"),
            ("pric=1", "no column pric: did you mean price? (there are instrument, price)"),
            ("price<x", "--where price<x: < compares numbers and times, and \"x\" is neither"),
        ] {
            let error = Filter::read(condition, &columns).expect_err(condition);
            assert!(error.contains(why), "{error}");
        }
    }
}
